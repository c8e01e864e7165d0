package projector

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"carryon/domain"
)

// Runner is a Consumer of any store: what wiring, status pages and APIs need of it.
type Runner interface {
	// Name is the read model's name.
	Name() string
	// Offer and Hint tell about entries; they never block and may drop.
	Offer(e *domain.Entry)
	Hint(shard int, index uint64)
	// Run applies entries until ctx ends.
	Run(ctx context.Context) error
	// Status tells how far each shard is.
	Status() []ShardStatus
	// WaitFor waits until a position is applied.
	WaitFor(ctx context.Context, pos domain.Position, stream domain.StreamID) error
	// Waiter is for reads that wait by version.
	Waiter() *Waiter
	// Parked lists parked streams; RetryParked retries one.
	Parked(ctx context.Context, after domain.StreamID, limit int) ([]Parked, error)
	RetryParked(ctx context.Context, stream domain.StreamID) error
	// DropParked leaves out the event that a stream is parked at.
	DropParked(ctx context.Context, stream domain.StreamID, seq uint64) error
}

var _ Runner = (*Consumer[Tx])(nil)

// Waiter lets reads wait on this consumer's read model.
func (c *Consumer[T]) Waiter() *Waiter { return c.waiter }

// Runners are the read models of one process, in the order in which they were given.
type Runners []Runner

// Run runs all of them until ctx ends. A model that stops does not stop the others.
func (rs Runners) Run(ctx context.Context) error {
	errs := make([]error, len(rs))
	var group sync.WaitGroup
	for i, r := range rs {
		group.Go(func() { errs[i] = r.Run(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// Status is that of all models and shards.
func (rs Runners) Status() []ShardStatus {
	var all []ShardStatus
	for _, r := range rs {
		all = append(all, r.Status()...)
	}
	return all
}

// Named finds a read model. It returns domain.ErrNotFound (wrapped) for an unknown name.
func (rs Runners) Named(name string) (Runner, error) {
	for _, r := range rs {
		if r.Name() == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("read model %q: %w", name, domain.ErrNotFound)
}

// WaitFor waits until every model has applied a position.
func (rs Runners) WaitFor(ctx context.Context, pos domain.Position, stream domain.StreamID) error {
	for _, r := range rs {
		if err := r.WaitFor(ctx, pos, stream); err != nil {
			return fmt.Errorf("%s: %w", r.Name(), err)
		}
	}
	return nil
}
