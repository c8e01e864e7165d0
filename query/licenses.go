package query

import (
	"context"
	"time"
)

// Licenses asks for a customer's licences.
type Licenses struct {
	By          Caller
	Customer    string
	DeviceID    string
	TitleID     string
	State       string // active, released, revoked, expired; empty: all
	Order       string // newest (default), oldest: by issue
	Page        Page
	Consistency Consistency
}

// LicensesAnswer is a page of a customer's licences.
type LicensesAnswer struct {
	Made
	At         time.Time     `json:"at"`
	Licenses   []LicenseView `json:"licenses"`
	NextCursor string        `json:"next_cursor,omitempty"`
}

// LicensesHandler answers Licenses.
type LicensesHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history.
func (h LicensesHandler) Handle(ctx context.Context, q Licenses) (LicensesAnswer, error) {
	return LicensesAnswer{}, ErrUnavailable
}
