package query

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Limits of every question.
const (
	DefaultPageSize = 50
	MaxPageSize     = 200
	MaxQueryBytes   = 512 // of a full-text query or an id that is looked up
	MaxFilterValues = 20  // of one filter
)

// Page is a part of a long answer.
type Page struct {
	Limit  int    // 1 to 200; 0: 50
	Cursor string // from the answer before; empty: the beginning
}

func (p Page) size() (int, error) {
	switch {
	case p.Limit == 0:
		return DefaultPageSize, nil
	case p.Limit < 1 || p.Limit > MaxPageSize:
		return 0, fieldError("limit", "is %d; 1 to %d are possible", p.Limit, MaxPageSize)
	}
	return p.Limit, nil
}

// Cursors makes and reads cursors: opaque to the caller, signed so that none can be made up, and bound to the question
// they were given for.
type Cursors struct{ key []byte }

// NewCursors signs with key, which all query processes must share.
func NewCursors(key []byte) *Cursors {
	return &Cursors{key: append([]byte("carryon cursor v1\x00"), key...)}
}

const cursorMAC = 16

// seal makes a cursor that continues question at place.
func (c *Cursors) seal(question any, place any) (string, error) {
	body, err := json.Marshal(place)
	if err != nil {
		return "", fmt.Errorf("make a cursor: %w", err)
	}
	mac, err := c.mac(question, body)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(mac, body...)), nil
}

// open reads a cursor that seal made for the same question.
func (c *Cursors) open(question any, cursor string, place any) error {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) < cursorMAC || len(raw) > 4096 {
		return fieldError("cursor", "is not one that was given out here")
	}
	mac, err := c.mac(question, raw[cursorMAC:])
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, raw[:cursorMAC]) {
		return fieldError("cursor", "was not given out for this question: repeat the parameters of the first page, or leave the cursor out")
	}
	if err := json.Unmarshal(raw[cursorMAC:], place); err != nil {
		return fieldError("cursor", "is not one that was given out here")
	}
	return nil
}

func (c *Cursors) mac(question any, body []byte) ([]byte, error) {
	asked, err := json.Marshal(question)
	if err != nil {
		return nil, fmt.Errorf("make a cursor: %w", err)
	}
	h := hmac.New(sha256.New, c.key)
	fmt.Fprintf(h, "%d:", len(asked))
	h.Write(asked)
	h.Write(body)
	return h.Sum(nil)[:cursorMAC], nil
}
