package projector

import (
	"context"
	"fmt"
	"slices"

	"carryon/domain"
)

// Remade is an Auditable that makes a stream's rows anew by the model's own projection, in an empty store, and compares
// what both stores show.
type Remade[T Tx] struct {
	projection Projection[T]
	scratch    func(ctx context.Context) (Store[T], func() error, error)
	stored     func(ctx context.Context, stream domain.StreamID) ([]string, error)
	show       func(ctx context.Context, scratch Store[T], stream domain.StreamID) ([]string, error)
}

// Remaking makes a Remade. scratch opens an empty store and says how to close it; stored and show read all that the
// model's own store, and a scratch store, show of a stream, a line for each row, in any order.
func Remaking[T Tx](projection Projection[T], scratch func(ctx context.Context) (Store[T], func() error, error),
	stored func(ctx context.Context, stream domain.StreamID) ([]string, error),
	show func(ctx context.Context, scratch Store[T], stream domain.StreamID) ([]string, error),
) *Remade[T] {
	return &Remade[T]{projection: projection, scratch: scratch, stored: stored, show: show}
}

// AuditStream compares line by line.
func (r *Remade[T]) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) (words []string, err error) {
	stored, err := r.stored(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("reading the stored rows: %w", err)
	}
	scratch, done, err := r.scratch(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a scratch store: %w", err)
	}
	defer func() {
		if failed := done(); err == nil {
			err = failed
		}
	}()
	if err := r.remake(ctx, scratch, events); err != nil {
		return nil, err
	}
	made, err := r.show(ctx, scratch, stream)
	if err != nil {
		return nil, fmt.Errorf("reading the rows made anew: %w", err)
	}
	return differing(stored, made), nil
}

// remake applies a stream's events to an empty store.
func (r *Remade[T]) remake(ctx context.Context, scratch Store[T], events []domain.Event) error {
	if len(events) == 0 {
		return nil
	}
	last := events[len(events)-1].Position
	tx, err := scratch.Begin(ctx, last.Shard)
	if err != nil {
		return fmt.Errorf("opening a transaction: %w", err)
	}
	defer tx.Rollback()
	pointers := make([]*domain.Event, len(events))
	for i := range events {
		pointers[i] = &events[i]
	}
	if err := r.projection.Apply(ctx, tx, pointers); err != nil {
		return fmt.Errorf("applying the events: %w", err)
	}
	if err := tx.Commit(ctx, Checkpoint{Index: last.Index}); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// differing names the lines that only one side has.
func differing(stored, made []string) []string {
	slices.Sort(stored)
	slices.Sort(made)
	var words []string
	for len(stored) > 0 || len(made) > 0 {
		switch {
		case len(made) == 0 || len(stored) > 0 && stored[0] < made[0]:
			words = append(words, "stored, but not what the events give: "+stored[0])
			stored = stored[1:]
		case len(stored) == 0 || made[0] < stored[0]:
			words = append(words, "not stored, but what the events give: "+made[0])
			made = made[1:]
		default:
			stored, made = stored[1:], made[1:]
		}
	}
	return words
}
