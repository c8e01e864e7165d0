package query

import (
	"context"
	"time"
)

// Customer asks for a customer's plan, membership, device slots and counters with their reset dates.
type Customer struct {
	By          Caller
	Customer    string
	Consistency Consistency
}

// CustomerAnswer is a customer at one moment.
type CustomerAnswer struct {
	Made
	At      time.Time       `json:"at"` // the moment that durations and counters are told for
	Summary CustomerSummary `json:"customer"`
}

// CustomerHandler answers Customer.
type CustomerHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history.
func (h CustomerHandler) Handle(ctx context.Context, q Customer) (CustomerAnswer, error) {
	return CustomerAnswer{}, ErrUnavailable
}
