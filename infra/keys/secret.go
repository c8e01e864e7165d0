package keys

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
)

// SecretBytes is the length of a secret.
const SecretBytes = 32

// Secret is 32 random bytes. What it is used for gets a key of its own, derived from it.
type Secret struct{ bytes [SecretBytes]byte }

// OpenSecret reads the secret in a file, and makes one when there is none.
func OpenSecret(path string) (Secret, error) {
	s, err := ReadSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	_, _ = rand.Read(s.bytes[:]) // never fails
	if err := createFile(path, []byte(s.text())); err != nil && !errors.Is(err, fs.ErrExist) {
		return Secret{}, fmt.Errorf("making the secret %s: %w", path, err)
	}
	return ReadSecret(path)
}

// ReadSecret reads the secret in a file. It is fs.ErrNotExist (wrapped) when there is none.
func ReadSecret(path string) (Secret, error) {
	content, err := readFile(path)
	if err != nil {
		return Secret{}, fmt.Errorf("reading the secret: %w", err)
	}
	s, err := ParseSecret(string(bytes.TrimSpace(content)))
	if err != nil {
		return Secret{}, fmt.Errorf("secret %s: %w", path, err)
	}
	return s, nil
}

// ParseSecret reads the base64 of 32 bytes.
func ParseSecret(text string) (Secret, error) {
	var s Secret
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != len(s.bytes) {
		return Secret{}, fmt.Errorf("it is not the base64 of %d bytes", len(s.bytes)) // the text is secret
	}
	copy(s.bytes[:], b)
	return s, nil
}

func (s Secret) text() string { return base64.StdEncoding.EncodeToString(s.bytes[:]) + "\n" }

// Key is the key for a purpose: 32 bytes that say nothing about the secret or about other purposes' keys.
func (s Secret) Key(purpose string) []byte {
	key, err := hkdf.Expand(sha256.New, s.bytes[:], "carryon/"+purpose, SecretBytes)
	if err != nil {
		panic("hkdf: " + err.Error()) // the lengths are constants
	}
	return key
}

// Format keeps the secret out of logs, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }
