package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
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

// Progress is how far a read model is with one stream.
type Progress struct {
	Applied   uint64          // last applied entry of the stream's shard
	Version   uint64          // the stream's seq in this read model, 0 when it knows nothing of it
	Position  domain.Position // of the event with that seq
	ParkedAt  uint64          // seq of the first event that waits; 0: not parked
	ParkedPos domain.Position // of that event
}

// ProgressModel is what every read model can tell about itself.
type ProgressModel interface {
	// Model is the read model's name.
	Model() string
	// StreamProgress tells how far the model is with a stream. shard is the stream's, when the caller knows it from a
	// position; -1 otherwise, and then Applied may be 0 when the model knows nothing of the stream.
	StreamProgress(ctx context.Context, stream domain.StreamID, shard int) (Progress, error)
}

// Waiter tells when a read model has moved. It is a hint: who waits looks at the model itself.
type Waiter interface {
	// Moved returns a channel that is closed when the named read model next commits.
	Moved(model string) <-chan struct{}
}

// lookAgain is how often a wait looks at the read model when no hint comes: another process may be the one that
// writes it.
const lookAgain = 20 * time.Millisecond

// wait returns once the model has reached what c asks for of the stream.
func (c Consistency) wait(ctx context.Context, model ProgressModel, waiter Waiter, stream domain.StreamID) error {
	if c.MinVersion == 0 && c.MinPosition.Index == 0 {
		return nil
	}
	shard := -1
	if c.MinPosition.Index > 0 {
		shard = c.MinPosition.Shard
	}
	began := time.Now()
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		var moved <-chan struct{}
		if waiter != nil {
			moved = waiter.Moved(model.Model())
		}
		p, err := model.StreamProgress(ctx, stream, shard)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("look how far %s is with %s: %w", model.Model(), stream, err)
		}
		if err == nil {
			reached, err := c.reached(p, model.Model(), stream)
			if reached || err != nil {
				return err
			}
		}
		select {
		case <-moved:
		case <-ticker.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return c.behind(p, model.Model(), stream, time.Since(began))
		}
	}
}

// reached tells whether p is far enough, and whether it can't get any further.
func (c Consistency) reached(p Progress, model string, stream domain.StreamID) (bool, error) {
	if p.ParkedAt > 0 && (c.MinVersion >= p.ParkedAt || c.MinPosition.Index >= p.ParkedPos.Index && c.MinPosition.Index > 0) {
		return false, &ParkedError{Model: model, Stream: stream, FirstSeq: p.ParkedAt}
	}
	return p.Version >= c.MinVersion && p.Applied >= c.MinPosition.Index, nil
}

func (c Consistency) behind(p Progress, model string, stream domain.StreamID, waited time.Duration) error {
	e := &BehindError{Model: model, Stream: stream, Waited: waited}
	if c.MinVersion > 0 {
		e.Wanted, e.Reached = fmt.Sprintf("version %d", c.MinVersion), fmt.Sprintf("version %d", p.Version)
		return e
	}
	e.Wanted, e.Reached = "position "+c.MinPosition.String(), fmt.Sprintf("position %d:%d", c.MinPosition.Shard, p.Applied)
	return e
}

func (c Consistency) check() error {
	if c.Mode != "" && c.Mode != Projected && c.Mode != Authoritative {
		return fieldError("consistency", "is %q; projected and authoritative are possible", c.Mode)
	}
	return nil
}

// Books folds a customer's stream from the event store: the authoritative way.
type Books interface {
	// Customer folds the whole stream, as a linearizable read. A stream without events gives version 0.
	Customer(ctx context.Context, customer string) (Folded, error)
	// CustomerAsOf folds the events recorded up to and including a moment.
	CustomerAsOf(ctx context.Context, customer string, at time.Time) (Folded, error)
	// Events are a customer's events from a seq on, in order, as many as fit in maxBytes; none: there are no more.
	Events(ctx context.Context, customer string, from uint64, maxBytes int) ([]domain.Event, error)
}

// Folded is a customer's state and the event it was folded up to.
type Folded struct {
	State    *domain.Customer
	Version  uint64
	Position domain.Position
}
