package query

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
)

// KeyedPseudonyms are pseudonyms by HMAC-SHA-256: without the key nobody can tell who is behind one, nor make one for
// somebody he knows.
type KeyedPseudonyms struct{ key []byte }

var _ Pseudonyms = (*KeyedPseudonyms)(nil)

// NewPseudonyms makes pseudonyms with a key, which all processes must share and keep: with another one the same
// customers have other pseudonyms.
func NewPseudonyms(key []byte) *KeyedPseudonyms {
	return &KeyedPseudonyms{key: append([]byte("carryon pseudonym v1\x00"), key...)}
}

// Customer is a customer's pseudonym.
func (p *KeyedPseudonyms) Customer(id string) string { return "pc_" + p.hash("customer", id) }

// Device is a device's pseudonym. The same device id of two customers has two.
func (p *KeyedPseudonyms) Device(customer, device string) string {
	return "pd_" + p.hash("device", customer, device)
}

var pseudonymEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func (p *KeyedPseudonyms) hash(parts ...string) string {
	h := hmac.New(sha256.New, p.key)
	for _, part := range parts {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return pseudonymEncoding.EncodeToString(h.Sum(nil)[:16])
}
