package projector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strings"
	"time"

	"carryon/domain"
)

// errMoved: the checkpoint is not where it was last seen, because another instance worked on the shard meanwhile.
var errMoved = errors.New("the checkpoint has moved")

// applyError is a failure of the projection, as against one of the store. Event is set when the failure is one
// event's: it said so, or it was applied by itself.
type applyError struct {
	event  *domain.Event
	poison bool // the failure says by itself that it will not go away
	err    error
}

func (e *applyError) Error() string { return e.err.Error() }
func (e *applyError) Unwrap() error { return e.err }

// advance applies a batch in one transaction. A batch that fails is made smaller by half, down to one entry, which is
// then applied event by event: so the one event that fails is found, and its stream parked, in a transaction that
// applies all others.
func (c *Consumer[T]) advance(ctx context.Context, s *shardState, batch []*domain.Entry) (Outcome, error) {
	for {
		started := time.Now()
		err := c.attempt(ctx, s, batch)
		c.metrics.transaction(c.Name(), time.Since(started), err)
		var failed *applyError
		switch {
		case err == nil:
			c.succeeded(s, batch)
			return Progressed, nil
		case errors.Is(err, errMoved):
			return Progressed, nil
		case !errors.As(err, &failed) || isTransient(ctx, err):
			s.acquit() // the store may be what failed before, too
			return c.judge(s, Failed, err)
		}
		s.failures++
		switch {
		case failed.event != nil && (failed.poison || s.doubt(failed.event) >= c.cfg.Tries):
			c.suspect(s, failed)
			if len(s.suspects) >= manySuspects && len(batch) > 1 {
				s.span = len(batch) / 2
				batch = batch[:s.span]
			}
		case failed.event != nil || (!failed.poison && s.failures < c.cfg.Tries):
			return c.judge(s, Failed, err)
		case len(batch) > 1:
			s.span = len(batch) / 2
			batch = batch[:s.span]
		default:
			s.oneByOne = true
		}
	}
}

// manySuspects in one batch make it smaller, because each costs an attempt at the whole of it.
const manySuspects = 16

// attempt does one transaction: it applies the batch's events, but for those of parked streams, which wait, and parks
// the streams of suspects.
func (c *Consumer[T]) attempt(ctx context.Context, s *shardState, batch []*domain.Entry) error {
	tx, err := c.store.Begin(ctx, s.shard)
	if err != nil {
		return fmt.Errorf("opening a transaction: %w", err)
	}
	defer tx.Rollback()
	if t, ok := any(tx).(Patient); ok && c.waiter.awaited() {
		t.Hurry()
	}
	if at := tx.Checkpoint(); at != s.last {
		s.acquit() // another instance has dealt with these events
		s.moveTo(at)
		c.waiter.reached(c.epoch, s.shard, at)
		return errMoved
	}
	events, parks, err := c.flowing(ctx, tx, s, batch)
	if err != nil {
		return err
	}
	for _, p := range parks {
		if err := tx.Park(ctx, p); err != nil {
			return fmt.Errorf("parking %s: %w", p.Stream, err)
		}
	}
	if err := c.apply(ctx, tx, events, s.oneByOne); err != nil {
		return err
	}
	if err := tx.Commit(ctx, checkpointOf(batch)); err != nil {
		return refusedBy(fmt.Errorf("committing up to entry %d: %w", checkpointOf(batch).Index, err))
	}
	c.parkedNow(s, parks)
	return nil
}

func checkpointOf(batch []*domain.Entry) Checkpoint {
	newest := batch[len(batch)-1]
	return Checkpoint{Index: newest.Index, ID: newest.ID}
}

// flowing are the events of a batch whose streams are not parked, and the streams to be parked with it.
func (c *Consumer[T]) flowing(ctx context.Context, tx T, s *shardState, batch []*domain.Entry) ([]*domain.Event, []Parked, error) {
	total := 0
	for _, e := range batch {
		total += len(e.Events)
	}
	if total == 0 {
		return nil, nil, nil
	}
	all := make([]*domain.Event, 0, total)
	streams := make([]domain.StreamID, 0, total)
	seen := make(map[domain.StreamID]struct{}, total)
	for _, e := range batch {
		for i := range e.Events {
			event := &e.Events[i]
			all = append(all, event)
			if _, again := seen[event.Stream]; !again {
				seen[event.Stream] = struct{}{}
				streams = append(streams, event.Stream)
			}
		}
	}
	parked, err := tx.ParkedAmong(ctx, streams)
	if err != nil {
		return nil, nil, fmt.Errorf("looking for parked streams: %w", err)
	}
	if len(parked) == 0 && len(s.suspects) == 0 {
		return all, nil, nil
	}
	parked = maps.Clone(parked)
	if parked == nil {
		parked = make(map[domain.StreamID]Parked)
	}
	var parks []Parked
	flowing := all[:0]
	for _, event := range all {
		_, waits := parked[event.Stream]
		if suspect, is := s.suspects[event.Stream]; is && suspect.FirstSeq == event.Seq && !waits {
			parks = append(parks, suspect)
			parked[event.Stream] = suspect
		}
		// An event is left out only because its stream is parked already, or in this very transaction.
		if _, waits := parked[event.Stream]; !waits {
			flowing = append(flowing, event)
		}
	}
	return flowing, parks, nil
}

// apply hands events to the projection, together or, to find the one that fails, one by one.
func (c *Consumer[T]) apply(ctx context.Context, tx T, events []*domain.Event, oneByOne bool) error {
	if !oneByOne {
		return c.applyTogether(ctx, tx, events)
	}
	for i := range events {
		if err := c.applyTogether(ctx, tx, events[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Consumer[T]) applyTogether(ctx context.Context, tx T, events []*domain.Event) error {
	if len(events) == 0 {
		return nil
	}
	err := c.callProjection(ctx, tx, events)
	if err == nil {
		return nil
	}
	failed := &applyError{err: err, poison: isPermanent(err)}
	if poison, ok := errors.AsType[*PoisonError](err); ok {
		failed.event = among(events, poison.Event)
	}
	if len(events) == 1 {
		failed.event = events[0]
	}
	return failed
}

// callProjection turns a panic into an error.
func (c *Consumer[T]) callProjection(ctx context.Context, tx T, events []*domain.Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.logger.Error("the projection panicked", "panic", r, "stack", string(debug.Stack()))
			err = &panicError{value: r}
		}
	}()
	return c.projection.Apply(ctx, tx, events)
}

// panicError is a panic of a projection.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// refusedBy turns a commit that failed because of one event into a failure of that event.
func refusedBy(err error) error {
	if poison, ok := errors.AsType[*PoisonError](err); ok && poison.Event != nil {
		return &applyError{event: poison.Event, poison: true, err: err}
	}
	return err
}

// among finds an event by stream and seq.
func among(events []*domain.Event, wanted *domain.Event) *domain.Event {
	if wanted == nil {
		return nil
	}
	for _, event := range events {
		if event.Stream == wanted.Stream && event.Seq == wanted.Seq {
			return event
		}
	}
	return nil
}

// isTransient tells whether an error says that it will go away.
func isTransient(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrTransient) || errors.Is(err, ErrElsewhere) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// isPermanent tells whether an error says that it will not go away while this program runs.
func isPermanent(err error) bool {
	if _, panicked := errors.AsType[*panicError](err); panicked {
		return true
	}
	return errors.Is(err, ErrPoison) || errors.Is(err, domain.ErrUnknownEventType) || errors.Is(err, domain.ErrFutureVersion)
}

// doubt counts that an event failed by itself.
func (s *shardState) doubt(event *domain.Event) int {
	if s.doubts.stream != event.Stream || s.doubts.seq != event.Seq {
		s.doubts = doubt{stream: event.Stream, seq: event.Seq}
	}
	s.doubts.times++
	return s.doubts.times
}

// acquit forgets what was held against events.
func (s *shardState) acquit() {
	clear(s.suspects)
	s.doubts, s.failures = doubt{}, 0
}

// suspect takes an event for poison: the next attempt parks its stream.
func (c *Consumer[T]) suspect(s *shardState, failed *applyError) {
	event := failed.event
	s.suspects[event.Stream] = Parked{
		Stream: event.Stream, Shard: s.shard, FirstSeq: event.Seq, Position: event.Position,
		Reason: reasonOf(failed.err), Attempts: 1, Since: c.clock(),
	}
	s.doubts = doubt{}
}

// succeeded moves on after a transaction.
func (c *Consumer[T]) succeeded(s *shardState, batch []*domain.Entry) {
	events := 0
	for _, e := range batch {
		events += len(e.Events)
	}
	entries, last := len(batch), checkpointOf(batch)
	s.moveTo(last) // batch is a part of ready, which is cut here
	s.acquit()
	s.oneByOne = false
	s.span = min(max(2*s.span, 2), maxSpan)
	c.waiter.moved(c.epoch, s.shard, last)
	c.metrics.applied(c.Name(), s.shard, entries, events)
	if c.cfg.Applied != nil {
		c.cfg.Applied(s.shard, entries, events)
	}
}

// maxReason is the longest reason that is kept with a parked stream, in bytes.
const maxReason = 1000

// reasonOf is what a parked stream says about itself.
func reasonOf(err error) string {
	reason := err.Error()
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	return strings.ToValidUTF8(reason, "")
}
