package domain

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
)

// Ids are derived from the id of the command that brings the thing about, never drawn: a command that is decided again,
// by any process, names the same things. An id is a short prefix and 26 letters and digits, which are the first 128
// bits of a hash.

var idAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// LicenseID is the id of the licence that a command issues.
func LicenseID(commandID string) string { return derivedID("lic_", commandID, 0) }

// DecisionID is the id of the decision on a command.
func DecisionID(commandID string) string { return derivedID("dec_", commandID, 0) }

// ExceptionID is the id of the exception that a command grants.
func ExceptionID(commandID string) string { return derivedID("exc_", commandID, 0) }

// EventID is the id of a command's n-th event; the first has number 0.
func EventID(commandID string, n int) string { return derivedID("evt_", commandID, n) }

func derivedID(prefix, commandID string, n int) string {
	var seed [192]byte
	s := append(seed[:0], prefix...)
	s = strconv.AppendInt(s, int64(n), 10)
	s = append(s, '/')
	s = append(s, commandID...)
	sum := sha256.Sum256(s)
	var id [32]byte
	return string(idAlphabet.AppendEncode(append(id[:0], prefix...), sum[:16]))
}
