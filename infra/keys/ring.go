package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"path/filepath"
	"strings"

	"carryon/command"
)

// Ring is everything that an installation signs and hides with: a folder with the licence keys, the access token keys and
// the secret. It signs licences.
type Ring struct {
	*Set          // the licence keys
	Tokens *Set   // the access token keys
	Secret Secret // of pseudonyms and cursors
}

var _ command.Signer = (*Ring)(nil)

// Open reads the folder, and makes what is not there.
func Open(dir string, now command.Clock) (*Ring, error) {
	licences, err := OpenSet(filepath.Join(dir, "licence"), now)
	if err != nil {
		return nil, err
	}
	tokens, err := OpenSet(filepath.Join(dir, "token"), now)
	if err != nil {
		return nil, err
	}
	secret, err := OpenSecret(filepath.Join(dir, "secret"))
	if err != nil {
		return nil, err
	}
	return &Ring{Set: licences, Tokens: tokens, Secret: secret}, nil
}

// CursorKey signs the cursors of the query API.
func (r *Ring) CursorKey() []byte { return r.Secret.Key("cursors") }

// Pseudonyms hide identities from analysts.
func (r *Ring) Pseudonyms() Pseudonyms { return Pseudonyms{key: r.Secret.Key("pseudonyms")} }

// Pseudonyms are keyed hashes: the same for the same thing, and without the key nobody can try out who it is.
type Pseudonyms struct{ key []byte }

// Customer is the pseudonym of a customer.
func (p Pseudonyms) Customer(id string) string { return "pc_" + p.hash("customer", id) }

// Device is the pseudonym of a customer's device.
func (p Pseudonyms) Device(customer, device string) string {
	return "pd_" + p.hash("device", customer, device)
}

var alphabet = base32.StdEncoding.WithPadding(base32.NoPadding)

// hash has 130 bits. Ids hold no NUL, so no two things are written alike.
func (p Pseudonyms) hash(parts ...string) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(strings.Join(parts, "\x00")))
	return strings.ToLower(alphabet.EncodeToString(mac.Sum(nil)))[:26]
}
