package command

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"carryon/domain"
)

// Meta is what every command carries.
type Meta struct {
	CommandID   string       // UUIDv7 (RFC 9562), the Idempotency-Key or one minted at the edge
	Minted      bool         // minted by us: the caller sent none
	Actor       domain.Actor // who, and in which role
	IfMatch     *uint64      // the stream's version that the caller has seen; nil: any
	Correlation string       // the request's id
}

// Result is the answer to a command, assembled from what was recorded, so that the same command id gets the same
// answer from any process, after any crash.
type Result struct {
	Stream   domain.StreamID
	Version  uint64           // the stream's seq after the command
	Position domain.Position  // of the last event; zero when nothing was recorded
	Events   []domain.Event   // recorded by this command; empty when nothing changed
	Decision *domain.Decision // for commands that the rules decide; Outcome tells whether it was refused
	License  *SignedLicense   // of a grant
	Repeated bool             // the answer of an earlier attempt or of an equal refusal
	Impact   *Touched         // of a dry run of a withdrawal or policy

	Elsewhere bool // another process answered, which writes the shard
}

// Refused tells whether the rules refused the command. Nothing was granted, and Decision says why.
func (r *Result) Refused() bool {
	return r.Decision != nil && r.Decision.Outcome == domain.OutcomeRefuse
}

// ReasonGiven is a reason as a person gives it, before its words are sealed.
type ReasonGiven struct {
	Code string // lost_device, chargeback, fraud, studio, customer, other
	Text string // personal
	Case string
}

// namesake is the command id as the rules see it, who derive the ids of licences, decisions and exceptions from it: with
// the name of whose stream it goes to. A command id is its caller's choice, and two callers may choose the same one;
// what they bring about must have different ids all the same. A grant without the books and the books' own have one
// owner, so they name the same licence.
func namesake(stream domain.StreamID, commandID string) string { return stream.ID() + "/" + commandID }

// derivedCommandID is the id of a command that follows from another one: a UUIDv7 with the time of the first and bits
// that are a hash of both, so that whoever does it again does it under the same id.
func derivedCommandID(commandID, what string) string {
	raw, err := parseUUIDv7(commandID)
	sum := sha256.Sum256([]byte(commandID + "/" + what))
	if err != nil {
		copy(raw[:6], sum[16:])
	}
	copy(raw[6:], sum[:10])
	raw[6], raw[8] = raw[6]&0x0f|0x70, raw[8]&0x3f|0x80
	h := hex.EncodeToString(raw[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

var errNotUUIDv7 = errors.New("is not a UUID of version 7, as in 0198c0de-7a11-7000-8000-000000000000")

// CommandTime reads the client's time out of a command id (RFC 9562, version 7: the first 48 bits are milliseconds
// since 1970).
func CommandTime(commandID string) (time.Time, error) {
	raw, err := parseUUIDv7(commandID)
	if err != nil {
		return time.Time{}, err
	}
	ms := int64(raw[0])<<40 | int64(raw[1])<<32 | int64(raw[2])<<24 | int64(raw[3])<<16 | int64(raw[4])<<8 | int64(raw[5])
	return time.UnixMilli(ms).UTC(), nil
}

// CanonicalCommandID is a command id in small letters, the one form in which it is compared and kept.
func CanonicalCommandID(commandID string) (string, error) {
	if _, err := parseUUIDv7(commandID); err != nil {
		return "", err
	}
	return strings.ToLower(commandID), nil
}

func parseUUIDv7(s string) (raw [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return raw, errNotUUIDv7
	}
	var digits [32]byte
	n := copy(digits[:], s[:8])
	n += copy(digits[n:], s[9:13])
	n += copy(digits[n:], s[14:18])
	n += copy(digits[n:], s[19:23])
	copy(digits[n:], s[24:])
	if _, err := hex.Decode(raw[:], digits[:]); err != nil {
		return raw, errNotUUIDv7
	}
	if raw[6]>>4 != 7 || raw[8]>>6 != 2 {
		return raw, errNotUUIDv7
	}
	return raw, nil
}

// DriftError says that the time in an acquire's or renewal's command id is too old, or in the future, by our clock.
// It wraps ErrTokenDrift.
type DriftError struct {
	CommandTime time.Time     // as the caller's clock had it
	ServerTime  time.Time     // ours: what the caller should set its clock by
	MaxAge      time.Duration // how old a command id may be
	MaxAhead    time.Duration // how far ahead of our clock it may be
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("%v: the command id's time is %s, ours is %s; it may be up to %s old and %s ahead", ErrTokenDrift,
		e.CommandTime.Format(time.RFC3339Nano), e.ServerTime.Format(time.RFC3339Nano), e.MaxAge, e.MaxAhead)
}

// Unwrap lets errors.Is find ErrTokenDrift.
func (e *DriftError) Unwrap() error { return ErrTokenDrift }
