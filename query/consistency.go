package query

import (
	"context"
	"errors"
	"fmt"
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

// wait returns once the model has reached what c asks for of the stream.
func (c Consistency) wait(ctx context.Context, model string, waiter Waiter, versions Versioned, stream domain.StreamID) error {
	if c.MinVersion == 0 && c.MinPosition.Index == 0 {
		return nil
	}
	if waiter == nil {
		return fmt.Errorf("wait for read model %s: %w", model, ErrUnavailable)
	}
	began := time.Now()
	if c.MinPosition.Index > 0 {
		if err := waiter.WaitFor(ctx, c.MinPosition, stream); err != nil {
			return notReached(err, BehindError{Model: model, Stream: stream, Wanted: "position " + c.MinPosition.String(), Waited: time.Since(began)})
		}
	}
	if c.MinVersion == 0 || versions == nil {
		return nil
	}
	reached := "" // as long as no reading has come back
	err := waiter.WaitForVersion(ctx, stream, c.MinVersion, func(ctx context.Context) (uint64, error) {
		v, err := versions.StreamVersion(ctx, stream)
		if err == nil {
			reached = fmt.Sprintf("version %d", v.Version)
		}
		return v.Version, err
	})
	if err != nil {
		return notReached(err, BehindError{
			Model: model, Stream: stream, Wanted: fmt.Sprintf("version %d", c.MinVersion), Reached: reached, Waited: time.Since(began),
		})
	}
	return nil
}

// notReached tells apart why a wait ended.
func notReached(err error, behind BehindError) error {
	if parked, ok := errors.AsType[*projector.ParkedError](err); ok {
		return &ParkedError{Model: behind.Model, Stream: behind.Stream, FirstSeq: parked.Parked.FirstSeq}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &behind
	}
	return err
}

// reached refuses an answer from the event store that is older than what was asked for. The store is as far as the log is:
// there is nothing to wait for.
func (c Consistency) reached(made Made, stream domain.StreamID) error {
	if made.Version >= c.MinVersion {
		return nil
	}
	return &BehindError{
		Stream: stream, Wanted: fmt.Sprintf("version %d", c.MinVersion), Reached: fmt.Sprintf("version %d", made.Version),
	}
}

func (c Consistency) check() error {
	if c.Mode != "" && c.Mode != Projected && c.Mode != Authoritative {
		return fieldError("consistency", "is %q; projected and authoritative are possible", c.Mode)
	}
	return nil
}
