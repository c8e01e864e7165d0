package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// How fresh an answer must be is the caller's choice, per call: as far as the read model is (the default); at least
// some version of the stream or position of the log, waited for; or folded from the event store. So whoever just
// issued a command can read his own write.

// Modes of Consistency.
const (
	Projected     = "projected"     // from the read model
	Authoritative = "authoritative" // folded from the event store
)

// Consistency is what the caller asks for. The zero Consistency is "projected, as it is".
type Consistency struct {
	Mode        string          // projected (also ""), authoritative
	MinVersion  uint64          // of the stream; 0: any
	MinPosition domain.Position // of the log; zero: any
}

// Made says what an answer was made from.
type Made struct {
	Version     uint64          `json:"version"`            // the stream's seq
	Position    domain.Position `json:"-"`                  // of that event
	PositionRef string          `json:"position,omitempty"` // the same as shard:index
	Consistency string          `json:"consistency"`        // projected, authoritative
}

func madeFrom(version uint64, at domain.Position, mode string) Made {
	m := Made{Version: version, Position: at, Consistency: mode}
	if at.Index > 0 {
		m.PositionRef = at.String()
	}
	return m
}

// Waiter waits for one read model: see projector.Waiter.
type Waiter interface {
	// WaitFor waits until the model has passed a position. It returns projector.ErrParked (wrapped) when the stream is
	// parked at or before it, and the context's error when that ends first.
	WaitFor(ctx context.Context, pos domain.Position, stream domain.StreamID) error
	// WaitForVersion waits until the model shows a version of a stream; current reads the one that it shows.
	WaitForVersion(ctx context.Context, stream domain.StreamID, version uint64, current func(context.Context) (uint64, error)) error
}

// Versioned is a read model that knows how far it is with each stream.
type Versioned interface {
	// StreamVersion is the zero StreamVersion, but for the stream, when the model knows nothing of it.
	StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error)
}

// Tails knows where the shards' logs end.
type Tails interface {
	// Shards are the shards that there are.
	Shards() []int
	// Head is the last entry of a shard, as a linearizable read.
	Head(ctx context.Context, shard int) (domain.Head, error)
}

// A read model that keeps up has come as far as was asked for within this. Only then the log is asked whether that is
// there at all: for what is not, nobody needs to wait until the deadline.
const askLogAfter = 200 * time.Millisecond

// wait returns once a read model has reached what c asks for of the stream; empty: of no one stream.
func (p *Ports) wait(ctx context.Context, c Consistency, model string, versions Versioned, stream domain.StreamID) error {
	if c.MinVersion == 0 && c.MinPosition.Index == 0 {
		return nil
	}
	if err := p.checkShard(c.MinPosition); err != nil {
		return err
	}
	waiter := p.Waiters[model]
	if waiter == nil {
		return fmt.Errorf("wait for read model %s: %w", model, ErrUnavailable)
	}
	began := time.Now()
	if c.MinPosition.Index > 0 {
		err := patiently(ctx, func(ctx context.Context) error { return waiter.WaitFor(ctx, c.MinPosition, stream) },
			func(ctx context.Context) error { return p.recorded(ctx, c.MinPosition, stream) })
		if err != nil {
			return notReached(err, BehindError{Model: model, Stream: stream, Wanted: "position " + c.MinPosition.String(), Waited: time.Since(began)})
		}
	}
	if c.MinVersion == 0 || versions == nil {
		return nil
	}
	reached := "" // as long as no reading has come back
	current := func(ctx context.Context) (uint64, error) {
		v, err := versions.StreamVersion(ctx, stream)
		if err == nil {
			reached = fmt.Sprintf("version %d", v.Version)
		}
		return v.Version, err
	}
	err := patiently(ctx, func(ctx context.Context) error { return waiter.WaitForVersion(ctx, stream, c.MinVersion, current) },
		func(ctx context.Context) error { return p.hasVersion(ctx, stream, c.MinVersion) })
	if err != nil {
		return notReached(err, BehindError{
			Model: model, Stream: stream, Wanted: fmt.Sprintf("version %d", c.MinVersion), Reached: reached, Waited: time.Since(began),
		})
	}
	return nil
}

// patiently waits, and looks on the way whether there is something to wait for.
func patiently(ctx context.Context, wait, look func(context.Context) error) error {
	soon, cancel := context.WithTimeout(ctx, askLogAfter)
	err := wait(soon)
	cancel()
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	if behind, ok := errors.AsType[*BehindError](look(ctx)); ok {
		return behind
	}
	return wait(ctx) // it is there, or can't be looked for now
}

func (p *Ports) checkShard(at domain.Position) error {
	if at.Index == 0 || p.Tails == nil || slices.Contains(p.Tails.Shards(), at.Shard) {
		return nil
	}
	shards := p.Tails.Shards()
	return fieldError("min_position", "is in shard %d, which there is not; the shards are %d to %d", at.Shard, shards[0], shards[len(shards)-1])
}

// recorded returns a *BehindError for a position behind the end of its shard's log.
func (p *Ports) recorded(ctx context.Context, at domain.Position, stream domain.StreamID) error {
	if at.Index == 0 || p.Tails == nil {
		return nil
	}
	head, err := p.Tails.Head(ctx, at.Shard)
	if err != nil || head.Index >= at.Index {
		return err
	}
	return &BehindError{
		Stream: stream, Wanted: "position " + at.String(), Reached: "position " + domain.Position{Shard: at.Shard, Index: head.Index}.String(),
	}
}

// hasVersion returns a *BehindError when the event store has no such version of the stream.
func (p *Ports) hasVersion(ctx context.Context, stream domain.StreamID, version uint64) error {
	if p.Books == nil {
		return nil
	}
	for _, err := range p.Books.Events(ctx, stream, version) {
		return err
	}
	return &BehindError{Stream: stream, Wanted: fmt.Sprintf("version %d", version)}
}

// notReached tells apart why a wait ended.
func notReached(err error, behind BehindError) error {
	if parked, ok := errors.AsType[*projector.ParkedError](err); ok {
		return &ParkedError{Model: behind.Model, Stream: behind.Stream, FirstSeq: parked.Parked.FirstSeq}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &behind
	}
	if absent, ok := errors.AsType[*BehindError](err); ok && absent.Reached == "" {
		absent.Reached = behind.Reached // the model has shown all that there is, or will soon
	}
	return err
}

// reached refuses an answer that is older than what was asked for. The event store is as far as the log is, and the past
// changes no more: there is nothing to wait for.
func (p *Ports) reached(ctx context.Context, c Consistency, made Made, stream domain.StreamID) error {
	if made.Version < c.MinVersion {
		return &BehindError{
			Stream: stream, Wanted: fmt.Sprintf("version %d", c.MinVersion), Reached: fmt.Sprintf("version %d", made.Version),
		}
	}
	if c.Mode != Authoritative { // the read model has waited for it
		return nil
	}
	if err := p.checkShard(c.MinPosition); err != nil {
		return err
	}
	return p.recorded(ctx, c.MinPosition, stream)
}

func (c Consistency) check() error {
	if c.Mode != "" && c.Mode != Projected && c.Mode != Authoritative {
		return fieldError("consistency", "is %q; projected and authoritative are possible", c.Mode)
	}
	return nil
}
