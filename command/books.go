package command

import (
	"context"
	"fmt"
	"iter"
	"time"

	"carryon/domain"
)

// Books reads streams from the event store itself: the authoritative way. It reads the histories and, where these lack,
// the log, and notices a hole in either. It needs no shard writer, so a process that only answers questions can have one.
type Books struct {
	log       Log
	histories Histories
	folding   Folding
	shards    int
}

// NewBooks reads the streams of a layout with that many customer shards.
func NewBooks(log Log, histories Histories, folding Folding, shards int) *Books {
	return &Books{log: log, histories: histories, folding: folding, shards: shards}
}

// AsOf is a moment of a stream's past: what was recorded up to and including a time, or a seq. The zero AsOf is now.
type AsOf struct {
	Time time.Time // UTC; zero: not by time
	Seq  uint64    // 0: not by seq
}

// IsNow tells whether the moment is the present.
func (w AsOf) IsNow() bool { return w.Time.IsZero() && w.Seq == 0 }

func (w AsOf) includes(e *domain.Event) bool {
	return (w.Seq == 0 || e.Seq <= w.Seq) && (w.Time.IsZero() || !e.RecordedAt.After(w.Time))
}

// CustomerState is a customer's folded state, and the event up to which it is folded.
type CustomerState struct {
	State      *domain.Customer // the caller's own
	Version    uint64           // the stream's seq; 0: no events
	Position   domain.Position  // of the event with that seq
	RecordedAt time.Time        // of that event
	Catalogue  string           // version that the last of the decisions was made from; empty: the one in force
}

// Customer folds what was recorded about a customer up to a moment. The present is a linearizable read: whatever any
// process was told is recorded before the call, is in it.
func (b *Books) Customer(ctx context.Context, customer string, when AsOf) (CustomerState, error) {
	if err := checkCustomer(customer); err != nil {
		return CustomerState{}, err
	}
	state := CustomerState{State: domain.NewCustomer(customer)}
	for e, err := range b.Events(ctx, domain.CustomerStream(customer), 1) {
		if err != nil {
			return CustomerState{}, err
		}
		if !when.includes(e) {
			break
		}
		if err := state.State.Apply(e); err != nil {
			return CustomerState{}, fmt.Errorf("folding customer %s: %w", customer, err)
		}
		state.Version, state.Position, state.RecordedAt = e.Seq, e.Position, e.RecordedAt
		if e.Versions.Catalogue != "" {
			state.Catalogue = e.Versions.Catalogue
		}
	}
	return state, nil
}

// Events are a stream's events from a seq on, in order, to the last one that is in the log.
func (b *Books) Events(ctx context.Context, stream domain.StreamID, from uint64) iter.Seq2[*domain.Event, error] {
	return func(yield func(*domain.Event, error) bool) {
		shard := ShardOf(stream, b.shards)
		// The order matters: what is derived after `derived` was read may be met twice, but nothing is missed.
		derived, err := b.histories.Progress(ctx, shard)
		if err != nil {
			yield(nil, fmt.Errorf("reading stream %s: %w", stream, err))
			return
		}
		next := from
		for {
			events, err := b.histories.ReadStream(ctx, stream, next, DefaultReadMaxBytes)
			if err != nil {
				yield(nil, fmt.Errorf("reading the history of %s from %d: %w", stream, next, err))
				return
			}
			if len(events) == 0 {
				break
			}
			for i := range events {
				if events[i].Seq != next {
					yield(nil, fmt.Errorf("reading the history of %s: event %d where %d should be: %w", stream, events[i].Seq, next, ErrDiffers))
					return
				}
				if !yield(&events[i], nil) {
					return
				}
				next++
			}
		}
		b.tail(ctx, stream, shard, derived+1, next, yield)
	}
}

// tail yields what the log holds of the stream beyond its history.
func (b *Books) tail(ctx context.Context, stream domain.StreamID, shard int, from, next uint64, yield func(*domain.Event, error) bool) {
	for {
		entries, err := b.log.Read(ctx, shard, from, DefaultReadMaxBytes)
		if err != nil {
			yield(nil, fmt.Errorf("reading the log of shard %d from %d: %w", shard, from, err))
			return
		}
		if len(entries) == 0 {
			return
		}
		for i := range entries {
			for j := range entries[i].Events {
				e := &entries[i].Events[j]
				if e.Stream != stream || e.Seq < next {
					continue
				}
				if e.Seq != next {
					yield(nil, fmt.Errorf("reading %s in the log: event %d where %d should be: %w", stream, e.Seq, next, ErrDiffers))
					return
				}
				if !yield(e, nil) {
					return
				}
				next++
			}
		}
		from = entries[len(entries)-1].Index + 1
	}
}
