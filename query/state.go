package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
)

// State asks for everything that a customer's history adds up to, at any moment.
type State struct {
	By          Caller
	Customer    string
	AsOf        time.Time // zero: now; a past moment is folded from the event store
	Consistency Consistency
}

// StateAnswer is the state at a moment.
type StateAnswer struct {
	Made
	AsOf  time.Time `json:"as_of"`
	State StateView `json:"state"`
}

// StateView is everything that is shown of a state.
type StateView struct {
	Summary    domain.Summary       `json:"customer"`
	Devices    []DeviceRow          `json:"devices"`
	Licenses   []domain.LicenseView `json:"licenses"`
	Exceptions []ExceptionRow       `json:"exceptions"`
}

// StateHandler answers State.
type StateHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history at that moment.
func (h StateHandler) Handle(ctx context.Context, q State) (StateAnswer, error) {
	if err := errors.Join(domain.CheckID("customer", q.Customer), q.Consistency.check()); err != nil {
		return StateAnswer{}, err
	}
	if err := h.p.Desk.admit(ctx, q.By, q.Customer, "state"); err != nil {
		return StateAnswer{}, err
	}
	b, err := h.p.openBooks(ctx, q.Customer, q.Consistency, q.AsOf)
	if err != nil {
		return StateAnswer{}, fmt.Errorf("read state: %w", renamed(err, "at", "as_of"))
	}
	view := StateView{Summary: b.customer.Summary(b.ref, b.at), Licenses: b.customer.Licenses(b.ref, b.at)}
	words := h.p.wordsOf(q.By, q.Customer)
	if view.Devices, err = deviceRows(ctx, words, b.customer.Devices(b.ref, b.at)); err != nil {
		return StateAnswer{}, fmt.Errorf("read state: %w", err)
	}
	if view.Exceptions, err = exceptionRows(ctx, words, b.customer.Exceptions(b.at)); err != nil {
		return StateAnswer{}, fmt.Errorf("read state: %w", err)
	}
	return StateAnswer{Made: b.Made, AsOf: b.at, State: view}, nil
}

// renamed gives a bad parameter the name that the caller knows it by.
func renamed(err error, from, to string) error {
	if e, ok := errors.AsType[*domain.FieldError](err); ok && e.Field == from {
		return &domain.FieldError{Field: to, Problem: e.Problem}
	}
	return err
}
