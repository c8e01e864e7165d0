package projector

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"carryon/domain"
)

// Remade is an Auditable that makes a stream's rows anew by the model's own projection, in a scratch store, and compares
// what both stores show. A scratch store serves some hundred streams, because opening one costs more than a stream.
type Remade[T Tx] struct {
	projection Projection[T]
	open       func(ctx context.Context) (Store[T], func() error, error)
	stored     func(ctx context.Context, stream domain.StreamID) ([]string, error)
	show       func(ctx context.Context, scratch Store[T], stream domain.StreamID) ([]string, error)

	scratch Store[T]
	done    func() error // nil: no scratch store is open
	served  map[domain.StreamID]bool
}

// scratchServes so many streams.
const scratchServes = 256

// Remaking makes a Remade. open makes an empty store and says how to close it; stored and show read all that the
// model's own store, and a scratch store, show of a stream, a line for each row, in any order. Audit closes what is
// open in the end.
func Remaking[T Tx](projection Projection[T], open func(ctx context.Context) (Store[T], func() error, error),
	stored func(ctx context.Context, stream domain.StreamID) ([]string, error),
	show func(ctx context.Context, scratch Store[T], stream domain.StreamID) ([]string, error),
) *Remade[T] {
	return &Remade[T]{projection: projection, open: open, stored: stored, show: show}
}

// AuditStream compares line by line.
func (r *Remade[T]) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	stored, err := r.stored(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("reading the stored rows: %w", err)
	}
	if err := r.renew(ctx, stream); err != nil {
		return nil, err
	}
	if err := r.remake(ctx, r.scratch, events); err != nil {
		if _, failed := errors.AsType[*applyError](err); failed && !isTransient(ctx, err) {
			return []string{"its events can't be applied any more: " + err.Error()}, nil
		}
		return nil, err
	}
	made, err := r.show(ctx, r.scratch, stream)
	if err != nil {
		return nil, fmt.Errorf("reading the rows made anew: %w", err)
	}
	return differing(stored, made), nil
}

// renew sees to it that there is a scratch store that has room, and has not seen the stream.
func (r *Remade[T]) renew(ctx context.Context, stream domain.StreamID) (err error) {
	if r.done != nil && len(r.served) < scratchServes && !r.served[stream] {
		r.served[stream] = true
		return nil
	}
	if err := r.Close(); err != nil {
		return err
	}
	if r.scratch, r.done, err = r.open(ctx); err != nil {
		return fmt.Errorf("opening a scratch store: %w", err)
	}
	r.served = map[domain.StreamID]bool{stream: true}
	return nil
}

// Close closes the scratch store.
func (r *Remade[T]) Close() error {
	if r.done == nil {
		return nil
	}
	done := r.done
	r.done = nil
	if err := done(); err != nil {
		return fmt.Errorf("closing a scratch store: %w", err)
	}
	return nil
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
		return &applyError{err: err}
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
			words = append(words, NotGiven+stored[0])
			stored = stored[1:]
		case len(stored) == 0 || made[0] < stored[0]:
			words = append(words, NotStored+made[0])
			made = made[1:]
		default:
			stored, made = stored[1:], made[1:]
		}
	}
	return words
}
