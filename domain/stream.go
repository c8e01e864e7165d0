package domain

import (
	"fmt"
	"strings"
)

// StreamID names a stream: its kind, a slash and an id, as in "customer/c-42".
//
// A customer's stream is the consistency boundary of everything that customer holds, because limits span devices and
// titles. The other kinds live in the reference shard: what is decided about titles and policies for everyone, and the
// grants that were made while a customer's books could not be read.
type StreamID string

// The kinds of stream.
const (
	KindCustomer = "customer" // a customer's account
	KindTitle    = "title"    // withdrawals of a title
	KindPolicy   = "policy"   // published versions of a policy document
	KindFailOpen = "failopen" // grants made while the customer's books could not be read
)

// MaxIDLength is the longest id, in bytes, that any customer, device, licence, title or profile may have.
const MaxIDLength = 128

// CustomerStream is the stream of a customer.
func CustomerStream(customer string) StreamID { return StreamID(KindCustomer + "/" + customer) }

// TitleStream is the stream of a title.
func TitleStream(title string) StreamID { return StreamID(KindTitle + "/" + title) }

// PolicyStream is the stream of a policy document.
func PolicyStream(policy string) StreamID { return StreamID(KindPolicy + "/" + policy) }

// FailOpenStream is the stream of grants made while a customer's books could not be read.
func FailOpenStream(customer string) StreamID { return StreamID(KindFailOpen + "/" + customer) }

// Kind is the part before the slash, ID the part after it.
func (s StreamID) Kind() string { kind, _, _ := strings.Cut(string(s), "/"); return kind }

// ID is the part after the first slash.
func (s StreamID) ID() string { _, id, _ := strings.Cut(string(s), "/"); return id }

// IsReference tells whether the stream lives in the reference shard, shard 0.
func (s StreamID) IsReference() bool { return s.Kind() != KindCustomer }

// CheckID says whether id may name a thing: 1 to 128 bytes of letters, digits and -._~:@ . What names the thing in
// the error is field.
func CheckID(field, id string) error {
	if id == "" {
		return &FieldError{Field: field, Problem: "is missing"}
	}
	if len(id) > MaxIDLength {
		return &FieldError{Field: field, Problem: fmt.Sprintf("is %d bytes long, at most %d are allowed", len(id), MaxIDLength)}
	}
	for _, r := range id {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._~:@", r):
		default:
			return &FieldError{Field: field, Problem: fmt.Sprintf("holds %q; letters, digits and -._~:@ are allowed", r)}
		}
	}
	return nil
}

// FieldError says which field of a request or document is wrong, and what would be right.
type FieldError struct {
	Field   string // as the caller wrote it, dotted inside documents: plans.ads.limits.max_download_devices
	Problem string // continues the sentence that begins with the field
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }
