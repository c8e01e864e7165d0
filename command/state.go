package command

import (
	"context"
	"fmt"

	"carryon/domain"
)

// State is what the books say of a customer now: an authoritative read, which sees whatever anyone was told is
// recorded. A customer of whom nothing was recorded has version 0.
func (a *App) State(ctx context.Context, customer string) (CustomerState, error) {
	if err := checkCustomer(customer); err != nil {
		return CustomerState{}, err
	}
	v, err := a.writer.Load(ctx, domain.CustomerStream(customer))
	if err != nil {
		return CustomerState{}, fmt.Errorf("reading the books of customer %s: %w", customer, err)
	}
	state, ok := v.State.(*domain.Customer)
	if !ok {
		return CustomerState{}, errNotACustomer(v.Stream, v.State)
	}
	return CustomerState{State: state, Version: v.Seq, Position: v.Position}, nil
}

// StateAsOf is what the books said of a customer at a moment of the past: what was recorded up to and including a time,
// or a seq. It folds the stream from its first event.
func (a *App) StateAsOf(ctx context.Context, customer string, when AsOf) (CustomerState, error) {
	if when.IsNow() {
		return a.State(ctx, customer)
	}
	return a.books.Customer(ctx, customer, when)
}

func checkCustomer(customer string) error {
	var f form
	f.id("customer", customer)
	return f.err()
}

func errNotACustomer(stream domain.StreamID, state domain.Aggregate) error {
	return fmt.Errorf("stream %s holds %T, not a customer's books", stream, state)
}
