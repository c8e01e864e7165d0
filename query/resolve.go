package query

import (
	"context"
)

// Resolve asks who stands behind a pseudonym. It needs a reason, and is recorded.
type Resolve struct {
	By        Caller
	Pseudonym string // of a customer or device
	Reason    string // 1 to 512 bytes
}

// ResolveAnswer is who stands behind a pseudonym.
type ResolveAnswer struct {
	Customer string `json:"customer"`
	DeviceID string `json:"device_id,omitempty"` // when the pseudonym is a device's
}

// ResolveHandler answers Resolve.
type ResolveHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a pseudonym that nothing has; that is recorded too.
func (h ResolveHandler) Handle(ctx context.Context, q Resolve) (ResolveAnswer, error) {
	return ResolveAnswer{}, ErrUnavailable
}

// Accesses asks who looked at a customer.
type Accesses struct {
	By       Caller
	Customer string
	Page     Page
}

// AccessesAnswer is a page of recorded looks, newest first.
type AccessesAnswer struct {
	Accesses   []Access `json:"accesses"`
	NextCursor string   `json:"next_cursor,omitempty"`
}

// AccessHandler answers Accesses.
type AccessHandler struct{ p *Ports }

// Handle answers with a page of recorded looks; for operators only.
func (h AccessHandler) Handle(ctx context.Context, q Accesses) (AccessesAnswer, error) {
	return AccessesAnswer{}, ErrUnavailable
}
