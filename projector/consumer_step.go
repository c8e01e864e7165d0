package projector

import (
	"context"
	"errors"
	"fmt"

	"carryon/domain"
)

// Outcome is how a round of work on a shard went.
type Outcome int

// The outcomes of a round.
const (
	Idle       Outcome = iota // nothing to do
	Progressed                // entries were applied or found, or something was learned: go on at once
	Elsewhere                 // another instance works on the shard: leave it for a while
	Failed                    // try again after a pause
	Stopped                   // history differs: this shard is not worked on any more
)

func (o Outcome) String() string {
	return [...]string{"idle", "progressed", "elsewhere", "failed", "stopped"}[o]
}

// Step does one round of work on a shard: it takes the entries that wait, pulls what lacks from the log, and applies
// what one transaction may hold. It never sleeps. Run repeats it; an exploring test calls it by itself.
func (c *Consumer[T]) Step(ctx context.Context, shard int) (Outcome, error) {
	return c.round(ctx, shard, func(s *shardState) (Outcome, error) {
		if !s.known {
			if outcome, err := c.look(ctx, s); outcome != Idle && outcome != Progressed {
				return outcome, err
			}
		}
		batch, err := c.gather(ctx, s)
		if err != nil {
			return c.judge(s, Failed, err)
		}
		if len(batch) == 0 {
			return s.idleUnlessReady(), nil
		}
		return c.advance(ctx, s, batch)
	})
}

// Look reads the log itself from the last applied entry on. That entry must be there, with the id that was applied, and
// everything up to the log's head must follow on: else history differs. What is new is kept for the next Step.
func (c *Consumer[T]) Look(ctx context.Context, shard int) (Outcome, error) {
	return c.round(ctx, shard, func(s *shardState) (Outcome, error) { return c.look(ctx, s) })
}

// round does something under the right to work on a shard, unless the shard has stopped.
func (c *Consumer[T]) round(ctx context.Context, shard int, do func(*shardState) (Outcome, error)) (Outcome, error) {
	s, err := c.state(shard)
	if err != nil {
		return Stopped, err
	}
	if err := s.acquire(ctx); err != nil {
		return Failed, err
	}
	defer s.release()
	if err := s.stoppedBy(); err != nil {
		return Stopped, err
	}
	outcome, err := do(s)
	s.note(outcome, err)
	return outcome, err
}

// judge turns an error into an outcome, and stops the shard when history differs.
func (c *Consumer[T]) judge(s *shardState, otherwise Outcome, err error) (Outcome, error) {
	switch {
	case err == nil:
		return otherwise, nil
	case errors.Is(err, ErrHistoryDiffers):
		err = s.stop(fmt.Errorf("%s: %w", c.Name(), err))
		c.waiter.stopped(c.epoch, s.shard, err)
		c.metrics.differs(c.Name(), s.shard)
		c.logger.Error("the shard stops: history differs", "shard", s.shard, "error", err)
		return Stopped, err
	case errors.Is(err, ErrElsewhere):
		return Elsewhere, nil
	default:
		return Failed, fmt.Errorf("%s, shard %d: %w", c.Name(), s.shard, err)
	}
}

func (c *Consumer[T]) look(ctx context.Context, s *shardState) (Outcome, error) {
	checkpoints, err := c.store.Checkpoints(ctx)
	if err != nil {
		return c.judge(s, Failed, fmt.Errorf("reading the checkpoints: %w", err))
	}
	last, heard := checkpoints[s.shard], s.heardOf()
	s.ready, s.known = nil, false
	s.moveTo(last)
	head, entries, err := c.readFrom(ctx, s.shard, last)
	if err == nil {
		err = s.appendRead(entries)
	}
	if err != nil {
		return c.judge(s, Failed, fmt.Errorf("looking at the log from entry %d on: %w", last.Index, err))
	}
	s.known = true
	s.correctTail(heard, max(head.Index, s.end().Index))
	c.waiter.reached(c.epoch, s.shard, last)
	c.countParked(ctx, s)
	return s.idleUnlessReady(), nil
}

func (s *shardState) idleUnlessReady() Outcome {
	if len(s.ready) > 0 {
		return Progressed
	}
	return Idle
}

// readFrom reads what follows the last applied entry in the log itself, after it found that entry there.
func (c *Consumer[T]) readFrom(ctx context.Context, shard int, last Checkpoint) (domain.Head, []domain.Entry, error) {
	head, err := c.fresh.Head(ctx, shard) // first, so that what it names must be seen by the reads
	if err != nil {
		return head, nil, err
	}
	entries, err := c.fresh.Read(ctx, shard, max(last.Index, 1), c.cfg.PageBytes)
	if err != nil {
		return head, nil, err
	}
	if last.Index > 0 {
		if len(entries) == 0 || entries[0].Index != last.Index {
			return head, nil, fmt.Errorf("%w: entry %d was applied and is not in the log, whose head is entry %d",
				ErrHistoryDiffers, last.Index, head.Index)
		}
		if entries[0].ID != last.ID {
			return head, nil, fmt.Errorf("%w: entry %d was applied as batch %s and is batch %s in the log",
				ErrHistoryDiffers, last.Index, last.ID, entries[0].ID)
		}
		entries = entries[1:]
	}
	if len(entries) == 0 && head.Index > last.Index {
		if entries, err = c.fresh.Read(ctx, shard, last.Index+1, c.cfg.PageBytes); err != nil {
			return head, nil, err
		}
		if len(entries) == 0 {
			return head, nil, fmt.Errorf("%w: entry %d is missing below the head, entry %d", ErrHistoryDiffers, last.Index+1, head.Index)
		}
	}
	return head, entries, nil
}

// gather collects the entries of the next transaction: those offered first, those missing from the log.
func (c *Consumer[T]) gather(ctx context.Context, s *shardState) ([]*domain.Entry, error) {
	for {
		if !s.takeWaiting() {
			return nil, c.suspectMessage(ctx, s)
		}
		batch, full := s.batch()
		heard := s.heardOf()
		if full || heard <= s.end().Index {
			s.isFull(full)
			return batch, nil
		}
		next := s.end().Index + 1
		entries, err := c.log.Read(ctx, s.shard, next, c.cfg.PageBytes)
		if err != nil {
			return nil, fmt.Errorf("reading the log from entry %d on: %w", next, err)
		}
		if len(entries) == 0 { // heard of what is not there, or not yet
			s.correctTail(heard, next-1)
			return batch, nil
		}
		c.metrics.pulled(c.Name(), s.shard, len(entries))
		if s.appendRead(entries) != nil {
			if batch, _ = s.batch(); len(batch) > 0 {
				return batch, nil // what follows on comes first; the look begins where it ends
			}
			return nil, c.suspectMessage(ctx, s)
		}
	}
}

func (s *shardState) isFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// suspectMessage asks the log after entries were met that do not follow on. A message may be a stray of another log;
// only the log itself says whether history differs.
func (c *Consumer[T]) suspectMessage(ctx context.Context, s *shardState) error {
	c.metrics.brokenChain(c.Name(), s.shard)
	s.forget()
	_, err := c.look(ctx, s)
	return err
}

// batch is as many of the ready entries as one transaction may hold, at least one, and whether it holds no more.
func (s *shardState) batch() ([]*domain.Entry, bool) {
	events, bytes := 0, 0
	for i, e := range s.ready {
		events, bytes = events+len(e.Events), bytes+entrySize(e)
		if i > 0 && (i >= s.span || events > s.cfg.MaxEvents || bytes > s.cfg.MaxBytes) {
			return s.ready[:i], true
		}
	}
	return s.ready, len(s.ready) >= s.span || events >= s.cfg.MaxEvents || bytes >= s.cfg.MaxBytes
}
