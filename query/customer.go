package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
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
	At      time.Time      `json:"at"` // the moment that durations and counters are told for
	Summary domain.Summary `json:"customer"`
}

// CustomerHandler answers Customer.
type CustomerHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history.
func (h CustomerHandler) Handle(ctx context.Context, q Customer) (CustomerAnswer, error) {
	b, err := h.p.customerBooks(ctx, q.By, q.Customer, "customer", q.Consistency)
	if err != nil {
		return CustomerAnswer{}, err
	}
	return CustomerAnswer{Made: b.Made, At: b.at, Summary: b.customer.Summary(b.ref, b.at)}, nil
}

// customerBooks lets the caller in and opens the books as they are.
func (p *Ports) customerBooks(ctx context.Context, by Caller, customer, what string, c Consistency) (books, error) {
	if err := errors.Join(domain.CheckID("customer", customer), c.check()); err != nil {
		return books{}, err
	}
	if err := p.Desk.admit(ctx, by, customer, what); err != nil {
		return books{}, err
	}
	b, err := p.openBooks(ctx, customer, c, time.Time{})
	if err != nil {
		return books{}, fmt.Errorf("read %s: %w", what, err)
	}
	return b, nil
}
