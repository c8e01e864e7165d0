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

// Lists that are made from the books are short and whole. Their cursor names the last thing that was shown, so that what
// comes or is forgotten before it shifts nothing.

// listPlace is where a page of a list ended.
type listPlace struct {
	ID string `json:"i"`
	At int    `json:"a"` // its place, for when it is forgotten
}

// listFrom reads the page's cursor; the question is what it was given for.
func (p *Ports) listFrom(page *Page, question ...string) (listPlace, error) {
	var from listPlace
	if page.Cursor == "" {
		return from, nil
	}
	err := p.Cursors.open(question, page.Cursor, &from)
	return from, err
}

// listPage is a page of a list, and the cursor of the next; empty: there is none.
func listPage[T any](p *Ports, list []T, from listPlace, size int, id func(*T) string, question ...string) ([]T, string, error) {
	begin := min(from.At, len(list))
	for i := range list {
		if from.ID != "" && id(&list[i]) == from.ID {
			begin = i + 1
		}
	}
	end := min(begin+size, len(list))
	shown := list[begin:end:end]
	if end == len(list) {
		return shown, "", nil
	}
	cursor, err := p.Cursors.seal(question, listPlace{ID: id(&list[end-1]), At: end})
	return shown, cursor, err
}

func only[T any](list []T, keep func(*T) bool) []T {
	kept := make([]T, 0, len(list))
	for i := range list {
		if keep(&list[i]) {
			kept = append(kept, list[i])
		}
	}
	return kept
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
