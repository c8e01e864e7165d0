package projector

// Rows that an audit found wrong are mended stream by stream: in one transaction everything that the model holds of the
// stream goes, and its events are applied from the first one on, up to the shard's checkpoint and not beyond. That is
// the retry of a parked stream with another beginning, and as safe beside a projector that works: the shard is locked,
// or the commit is conditional. Readers see the old rows until the new ones stand.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"carryon/domain"
)

// Clearing is a transaction in which what a stream gave can be taken away.
type Clearing interface {
	Tx
	// Clear removes the rows of a stream, and takes what it added to sums over streams back, as far as the stored rows
	// tell. Events of the stream that are applied after it in the transaction find nothing of it. A store that can't
	// remove rows before the commit removes then what was not written again.
	Clear(ctx context.Context, stream domain.StreamID) error
}

// SelfMending is a transaction of a model that is a SelfAuditable.
type SelfMending interface {
	Tx
	// MendItself makes sums over streams agree with what they count.
	MendItself(ctx context.Context) error
}

// Forgetting is a Clearing that keeps something of a stream, for what will be applied after it.
type Forgetting interface {
	Clearing
	// Forget removes that, too.
	Forget(ctx context.Context, stream domain.StreamID) error
}

// Sweeping is a transaction of a store whose Clear leaves rows behind the last event of a stream alone, because others may
// be writing there.
type Sweeping interface {
	Tx
	// Sweep removes with the commit those rows of a stream that stand there now and are behind the end, which it reads
	// after it has looked at them.
	Sweep(ctx context.Context, stream domain.StreamID, end func(context.Context) (uint64, error)) error
}

// Mendable is a read model whose rows can be made anew, a stream at a time.
type Mendable interface {
	// Mend makes the rows of a stream anew. A parked stream stays parked: what it shows is what came before. It returns
	// ErrNotMendable (wrapped) for a model that can only be rebuilt, and ErrHistoryDiffers (wrapped) when the stream's
	// events can't be read up to the checkpoint. After any error all is as it was before.
	Mend(ctx context.Context, shard int, stream domain.StreamID) error
	// Sweep takes away the rows of a stream behind its end in the log, which end reads; all of them when that is 0, and
	// what is held under a name that is no stream's.
	Sweep(ctx context.Context, shard int, stream domain.StreamID, end func(context.Context) (uint64, error)) error
	// MendItself makes sums over streams agree with what they count. It returns ErrNotMendable (wrapped) for a model
	// that has none.
	MendItself(ctx context.Context) error
}

// ErrNotMendable: the rows can't be made anew for one stream; the read model must be rebuilt.
var ErrNotMendable = errors.New("it can't be mended in parts, only rebuilt")

// Mend makes the rows of a stream anew: see Mendable. While another instance works on the shard it waits, as long as ctx
// allows. It needs no Run.
func (c *Consumer[T]) Mend(ctx context.Context, shard int, stream domain.StreamID) error {
	err := c.inTurn(ctx, shard, func(tx T) error { return c.mend(ctx, tx, shard, stream) })
	if err != nil {
		return fmt.Errorf("%s: mending %s: %w", c.Name(), stream, err)
	}
	c.logger.Warn("made the rows of a stream anew", "shard", shard, "stream_kind", stream.Kind())
	return nil
}

// Sweep takes away rows that the log knows nothing of: see Mendable.
func (c *Consumer[T]) Sweep(ctx context.Context, shard int, stream domain.StreamID, end func(context.Context) (uint64, error)) error {
	err := c.inTurn(ctx, shard, func(tx T) error { return c.sweep(ctx, tx, shard, stream, end) })
	if err != nil {
		return fmt.Errorf("%s: removing what is held of %s: %w", c.Name(), stream, err)
	}
	c.logger.Warn("removed rows of a stream that the log does not know", "shard", shard, "stream_kind", stream.Kind())
	return nil
}

func (c *Consumer[T]) sweep(ctx context.Context, tx T, shard int, stream domain.StreamID, end func(context.Context) (uint64, error)) error {
	if sweeping, can := any(tx).(Sweeping); can {
		return sweeping.Sweep(ctx, stream, end)
	}
	clearing, can := any(tx).(Clearing)
	if !can {
		return ErrNotMendable
	}
	last, err := end(ctx)
	if err != nil {
		return err
	}
	if last > 0 { // it has begun since; so nothing of it is a stray any more
		return c.mend(ctx, tx, shard, stream)
	}
	if err := clearing.Clear(ctx, stream); err != nil {
		return err
	}
	if forgetting, can := any(tx).(Forgetting); can {
		return forgetting.Forget(ctx, stream)
	}
	return nil
}

// MendItself makes sums agree: see Mendable. All who do it meet at one shard, so that no two add what lacks.
func (c *Consumer[T]) MendItself(ctx context.Context) error {
	err := c.inTurn(ctx, slices.Min(slices.Collect(maps.Keys(c.byShard))), func(tx T) error {
		self, can := any(tx).(SelfMending)
		if !can {
			return ErrNotMendable
		}
		return self.MendItself(ctx)
	})
	if err != nil {
		return fmt.Errorf("%s: mending sums: %w", c.Name(), err)
	}
	return nil
}

// inTurn changes rows of a shard in a transaction that leaves the checkpoint where it is, as often as others come first.
func (c *Consumer[T]) inTurn(ctx context.Context, shard int, change func(tx T) error) error {
	s := c.byShard[shard]
	if s == nil { // of a shard that this process does not consume
		s = newShardState(shard, c.cfg)
	}
	once := func() error {
		if err := s.acquire(ctx); err != nil {
			return err
		}
		defer s.release()
		tx, err := c.store.Begin(ctx, shard)
		if err != nil {
			return fmt.Errorf("opening a transaction: %w", err)
		}
		defer tx.Rollback()
		at := tx.Checkpoint()
		if err := change(tx); err != nil {
			return err
		}
		if err := tx.Commit(ctx, at); err != nil {
			return refusedBy(fmt.Errorf("committing: %w", err))
		}
		return nil
	}
	for {
		err := once()
		if !errors.Is(err, ErrElsewhere) || ctx.Err() != nil {
			return err
		}
		sleep(ctx, vary(c.cfg.Elsewhere))
	}
}

func (c *Consumer[T]) mend(ctx context.Context, tx T, shard int, stream domain.StreamID) error {
	clearing, can := any(tx).(Clearing)
	if !can {
		return ErrNotMendable
	}
	at := tx.Checkpoint()
	rows, err := tx.ParkedAmong(ctx, []domain.StreamID{stream})
	if err != nil {
		return fmt.Errorf("looking up whether it is parked: %w", err)
	}
	parked, is := rows[stream]
	if err := clearing.Clear(ctx, stream); err != nil {
		return fmt.Errorf("removing its rows: %w", err)
	}
	whole := Parked{Stream: stream, Shard: shard, FirstSeq: 1, Position: domain.Position{Shard: shard, Index: 1}}
	for events, err := range c.missed(ctx, whole, at) {
		if err != nil {
			return err
		}
		if is {
			events = before(events, parked.FirstSeq)
		}
		if err := c.apply(ctx, tx, events, false); err != nil {
			return err
		}
	}
	return c.stillThere(ctx, shard, at)
}
