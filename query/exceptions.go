package query

import (
	"context"
	"time"
)

// Exceptions asks what support has allowed a customer.
type Exceptions struct {
	By          Caller
	Customer    string
	State       string // active, used, expired, withdrawn; empty: all
	Page        Page
	Consistency Consistency
}

// ExceptionsAnswer is a page of a customer's exceptions, in order of id.
type ExceptionsAnswer struct {
	Made
	At         time.Time       `json:"at"`
	Exceptions []ExceptionView `json:"exceptions"`
	NextCursor string          `json:"next_cursor,omitempty"`
}

// ExceptionsHandler answers Exceptions.
type ExceptionsHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history.
func (h ExceptionsHandler) Handle(ctx context.Context, q Exceptions) (ExceptionsAnswer, error) {
	return ExceptionsAnswer{}, ErrUnavailable
}
