package projector

// An event that can't be applied parks its stream, not the shard. Later events of the stream wait behind it in the
// histories and the log; everything else flows. A retry applies the stream from the first failed seq up to the shard's
// checkpoint, and not beyond, in one transaction with the unparking. Upcasters and fixes apply, because the events are
// read anew.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"carryon/domain"
)

// ParkedError says where a stream is parked. It wraps ErrParked.
type ParkedError struct{ Parked Parked }

func (e *ParkedError) Error() string {
	return fmt.Sprintf("%s is parked at seq %d: %s", e.Parked.Stream, e.Parked.FirstSeq, e.Parked.Reason)
}

// Unwrap lets errors.Is find ErrParked.
func (e *ParkedError) Unwrap() error { return ErrParked }

// Parked lists parked streams in order of stream, after the given one.
func (c *Consumer[T]) Parked(ctx context.Context, after domain.StreamID, limit int) ([]Parked, error) {
	return c.store.Parked(ctx, after, limit)
}

// RetryParked applies what a parked stream has missed. It returns ErrNotParked (wrapped) when the stream is not
// parked; a *ParkedError when an event still can't be applied: then what comes before that event is applied, and the
// stream stays parked there. While another instance works on the shard it waits, as long as ctx allows. It needs no Run.
func (c *Consumer[T]) RetryParked(ctx context.Context, stream domain.StreamID) error {
	return c.retryParked(ctx, stream, 0)
}

// DropParked leaves out, for good, the event that a stream is parked at, and applies what follows. It returns
// ErrParkedElsewhere (wrapped) when the stream is parked at another event than the one with the seq, and else what
// RetryParked does.
func (c *Consumer[T]) DropParked(ctx context.Context, stream domain.StreamID, seq uint64) error {
	return c.retryParked(ctx, stream, seq)
}

// retryParked retries a stream, without the event that has the seq dropped; 0: none is dropped.
func (c *Consumer[T]) retryParked(ctx context.Context, stream domain.StreamID, dropped uint64) error {
	for {
		parked, is, err := c.store.ParkedStream(ctx, stream)
		if err == nil && !is {
			err = ErrNotParked
		}
		if err == nil {
			if dropped != 0 && dropped != parked.FirstSeq {
				return fmt.Errorf("%s: %s is parked at seq %d, not %d: %w", c.Name(), stream, parked.FirstSeq, dropped, ErrParkedElsewhere)
			}
			err = c.retry(ctx, parked, dropped)
		}
		if !errors.Is(err, ErrElsewhere) || ctx.Err() != nil {
			if err != nil {
				return fmt.Errorf("%s: retrying %s: %w", c.Name(), stream, err)
			}
			return nil
		}
		sleep(ctx, vary(c.cfg.Elsewhere))
	}
}

// retry tries the whole stream first, then, when an event fails, what comes before it.
func (c *Consumer[T]) retry(ctx context.Context, parked Parked, dropped uint64) error {
	s := c.byShard[parked.Shard]
	if s == nil { // a retry serves shards that this process does not consume, too
		s = newShardState(parked.Shard, c.cfg)
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	err := c.retryUpTo(ctx, s, parked, stillFailing{dropped: dropped})
	for oneByOne := false; err != nil; {
		failed, ok := errors.AsType[*applyError](err)
		switch {
		case !ok || isTransient(ctx, err):
			return err
		case failed.event == nil && oneByOne:
			return err
		case failed.event == nil:
			oneByOne = true
			err = c.retryUpTo(ctx, s, parked, stillFailing{dropped: dropped, oneByOne: true})
		default:
			return c.parkAgain(ctx, s, parked, dropped, failed)
		}
	}
	s.recountParked()
	return nil
}

// stillFailing is how a retry is done: without an event that is dropped; after a first failure event by event, or up to
// the event that fails.
type stillFailing struct {
	dropped  uint64 // seq of the event that is left out
	oneByOne bool
	parked   Parked // where the stream stays parked, when Stream is set
}

// parkAgain applies what comes before the failing event, and leaves the stream parked there.
func (c *Consumer[T]) parkAgain(ctx context.Context, s *shardState, parked Parked, dropped uint64, failed *applyError) error {
	again := parked
	again.Reason = reasonOf(failed.err)
	if failed.event.Seq == parked.FirstSeq {
		again.Attempts++
	} else {
		again.FirstSeq, again.Position, again.Attempts = failed.event.Seq, failed.event.Position, 1
	}
	if err := c.retryUpTo(ctx, s, parked, stillFailing{dropped: dropped, parked: again}); err != nil {
		return err
	}
	return &ParkedError{Parked: again}
}

// retryUpTo is one transaction of a retry.
func (c *Consumer[T]) retryUpTo(ctx context.Context, s *shardState, parked Parked, how stillFailing) error {
	tx, err := c.store.Begin(ctx, parked.Shard)
	if err != nil {
		return fmt.Errorf("opening a transaction: %w", err)
	}
	defer tx.Rollback()
	at := tx.Checkpoint()
	rows, err := tx.ParkedAmong(ctx, []domain.StreamID{parked.Stream})
	if err != nil {
		return fmt.Errorf("looking the parked stream up: %w", err)
	}
	if row, is := rows[parked.Stream]; !is {
		return ErrNotParked
	} else if row.FirstSeq != parked.FirstSeq {
		return fmt.Errorf("%w: it is retried now", ErrElsewhere)
	}
	stays := how.parked.Stream != ""
	for events, err := range c.missed(ctx, parked, at) {
		if err != nil {
			return err
		}
		if stays {
			events = before(events, how.parked.FirstSeq)
		}
		if len(events) > 0 && events[0].Seq == how.dropped {
			events = events[1:]
		}
		if err := c.apply(ctx, tx, events, how.oneByOne); err != nil {
			return err
		}
	}
	if stays {
		err = tx.Park(ctx, how.parked)
	} else {
		err = tx.Unpark(ctx, parked.Stream)
	}
	if err != nil {
		return fmt.Errorf("updating the parked stream: %w", err)
	}
	if err := c.stillThere(ctx, parked.Shard, at); err != nil {
		return err
	}
	if err := tx.Commit(ctx, at); err != nil {
		return refusedBy(fmt.Errorf("committing: %w", err))
	}
	return nil
}

// stillThere makes sure that a retry read the history that was applied up to the checkpoint. A log that forgot its tail
// may have been written on differently since.
func (c *Consumer[T]) stillThere(ctx context.Context, shard int, at Checkpoint) error {
	entries, err := c.fresh.Read(ctx, shard, at.Index, 1)
	if err != nil {
		return fmt.Errorf("reading entry %d, which was applied last: %w", at.Index, err)
	}
	if len(entries) == 0 || entries[0].ID != at.ID {
		return fmt.Errorf("%w: entry %d was applied as batch %s and is not in the log", ErrHistoryDiffers, at.Index, at.ID)
	}
	return nil
}

// before cuts events off at a seq.
func before(events []*domain.Event, seq uint64) []*domain.Event {
	for i, event := range events {
		if event.Seq >= seq {
			return events[:i]
		}
	}
	return events
}

// missed are the events of a parked stream from the first failed one up to the checkpoint, in order, in pages: from the
// histories, and where these lack, from the log.
func (c *Consumer[T]) missed(ctx context.Context, parked Parked, upTo Checkpoint) iter.Seq2[[]*domain.Event, error] {
	return func(yield func([]*domain.Event, error) bool) {
		next, from := parked.FirstSeq, parked.Position.Index
		derived, err := c.histories.Progress(ctx, parked.Shard) // before the histories: they hold at least this much
		if err != nil {
			yield(nil, fmt.Errorf("reading the histories' progress: %w", err))
			return
		}
		take := func(events []domain.Event) ([]*domain.Event, error) {
			var page []*domain.Event
			for i := range events {
				event := &events[i]
				if event.Stream != parked.Stream || event.Seq < next || event.Position.Index > upTo.Index {
					continue
				}
				if event.Seq != next {
					return nil, fmt.Errorf("%w: event %d follows event %d", ErrHistoryDiffers, event.Seq, next-1)
				}
				page = append(page, event)
				next, from = event.Seq+1, event.Position.Index
			}
			return page, nil
		}
		for {
			events, err := c.histories.ReadStream(ctx, parked.Stream, next, c.cfg.PageBytes)
			if err != nil {
				yield(nil, fmt.Errorf("reading the history from seq %d on: %w", next, err))
				return
			}
			page, err := take(events)
			if err != nil || len(page) > 0 {
				if !yield(page, err) || err != nil {
					return
				}
			}
			if len(page) == 0 || len(page) < len(events) {
				break
			}
		}
		for from = max(from, derived+1); from <= upTo.Index; {
			entries, err := c.log.Read(ctx, parked.Shard, from, c.cfg.PageBytes)
			if err == nil && len(entries) == 0 {
				err = fmt.Errorf("%w: entry %d was applied and is not in the log", ErrHistoryDiffers, from)
			}
			if err != nil {
				yield(nil, fmt.Errorf("reading the log from entry %d on: %w", from, err))
				return
			}
			after := entries[len(entries)-1].Index + 1
			for i := range entries {
				page, err := take(entries[i].Events)
				if err != nil || len(page) > 0 {
					if !yield(page, err) || err != nil {
						return
					}
				}
			}
			from = after
		}
		if next == parked.FirstSeq {
			yield(nil, fmt.Errorf("%w: event %d is neither in the history nor in the log", ErrHistoryDiffers, next))
		}
	}
}

// parkedNow logs and counts streams that were parked.
func (c *Consumer[T]) parkedNow(s *shardState, parks []Parked) {
	for _, p := range parks {
		c.logger.Error("parked a stream", "shard", p.Shard, "stream_kind", p.Stream.Kind(), "seq", p.FirstSeq,
			"position", p.Position, "reason", p.Reason)
		c.metrics.parked(c.Name(), s.shard)
	}
	if len(parks) > 0 {
		s.mu.Lock()
		s.parked += len(parks)
		s.mu.Unlock()
	}
}

// recountParked makes the next look count parked streams again.
func (s *shardState) recountParked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parkedAt = time.Time{}
	s.parked = max(s.parked-1, 0)
}

// countEvery is how long a count of parked streams is good for.
const countEvery = 30 * time.Second

// countParked counts the shard's parked streams, now and then. A count that fails is tried at the next look.
func (c *Consumer[T]) countParked(ctx context.Context, s *shardState) {
	s.mu.Lock()
	counted := s.parkedAt
	s.mu.Unlock()
	if now := time.Now(); !counted.IsZero() && now.Sub(counted) < countEvery {
		return
	}
	count := 0
	for p, err := range allParked(ctx, c.store) {
		if err != nil {
			return
		}
		if p.Shard == s.shard {
			count++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parked, s.parkedAt = count, time.Now()
}

// allParked lists every parked stream, page by page.
func allParked(ctx context.Context, store interface {
	Parked(ctx context.Context, after domain.StreamID, limit int) ([]Parked, error)
},
) iter.Seq2[Parked, error] {
	const page = 500
	return func(yield func(Parked, error) bool) {
		var after domain.StreamID
		for {
			parked, err := store.Parked(ctx, after, page)
			if err != nil {
				yield(Parked{}, err)
				return
			}
			for _, p := range parked {
				if !yield(p, nil) {
					return
				}
				after = p.Stream
			}
			if len(parked) < page {
				return
			}
		}
	}
}
