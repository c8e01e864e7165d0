package command

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"carryon/domain"
)

// Writer is the shard writers of a process, one per shard.
type Writer struct {
	cfg   WriterConfig
	ports WriterPorts
	mu    sync.Mutex
}

// NewWriter checks the settings. Start starts the writer.
func NewWriter(cfg WriterConfig, ports WriterPorts) (*Writer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if ports.Clock == nil {
		ports.Clock = time.Now
	}
	return &Writer{cfg: cfg, ports: ports}, nil
}

// Start starts the shards. The first commands wait until their shard knows its log.
func (w *Writer) Start() {}

// Ready waits until every shard knows its log.
func (w *Writer) Ready(ctx context.Context) error { return nil }

// Close stops gathering, settles the claims in flight or tells their callers ErrUnknown, and flushes what the context
// allows.
func (w *Writer) Close(ctx context.Context) error { return nil }

// Submit decides a command and records what comes of it.
func (w *Writer) Submit(ctx context.Context, sub Submission) (Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	shard := ShardOf(sub.Stream, w.cfg.Shards)
	for {
		state, events, head, last, err := w.fold(ctx, shard, sub.Stream)
		if err != nil {
			return Result{}, err
		}
		if r, err := repeated(sub, events); r != nil || err != nil {
			if err != nil {
				return Result{}, err
			}
			w.decision(r)
			return *r, nil
		}
		version := uint64(len(events))
		if sub.Meta.IfMatch != nil && *sub.Meta.IfMatch != version {
			return Result{}, &VersionConflictError{Expected: *sub.Meta.IfMatch, Actual: version}
		}
		reference, err := w.ports.Reference(ctx)
		if err != nil {
			return Result{}, err
		}
		now := w.ports.Clock().UTC().Truncate(time.Microsecond)
		if now.Before(last) {
			now = last
		}
		verdict, err := sub.Decider.Decide(state, domain.Moment{Now: now, CommandID: sub.Meta.CommandID, Actor: sub.Meta.Actor, Version: version, Reference: reference})
		if err != nil {
			return Result{}, err
		}
		result := Result{Stream: sub.Stream, Version: version, Decision: verdict.Decision}
		if verdict.Repeats > 0 {
			result.Events, result.Repeated = events[verdict.Repeats-1:verdict.Repeats], true
			result.Position = result.Events[0].Position
			w.decision(&result)
			return result, nil
		}
		if len(verdict.Events) == 0 || sub.Kind == KindDryRun {
			return result, nil
		}
		entry := domain.Entry{Shard: shard, Index: head.Index + 1, PreviousID: head.ID, Writer: w.cfg.Name, RecordedAt: now}
		copy(entry.ID[:], fmt.Sprintf("%016d", time.Now().UnixNano()))
		var previous domain.Position
		if version > 0 {
			previous = events[version-1].Position
		}
		for i, n := range verdict.Events {
			e := domain.Event{ID: domain.EventID(sub.Meta.CommandID, i), Stream: sub.Stream, Seq: version + uint64(i) + 1,
				Position: domain.Position{Shard: shard, Index: entry.Index, Place: i}, Previous: previous, OccurredAt: n.OccurredAt,
				RecordedAt: now, CommandID: sub.Meta.CommandID, RequestHash: sub.RequestHash, Correlation: sub.Meta.Correlation,
				Causation: n.Causation, Actor: sub.Meta.Actor, Versions: reference.Versions(now)}
			if e.OccurredAt.IsZero() {
				e.OccurredAt = now
			}
			if err := w.ports.Folding.Record(&e, n.Payload); err != nil {
				return Result{}, err
			}
			previous = e.Position
			entry.Events = append(entry.Events, e)
		}
		claimed, err := w.ports.Log.Claim(ctx, &entry)
		if err != nil {
			return Result{}, err
		}
		if !claimed.Applied {
			continue
		}
		if err := w.ports.Histories.Derive(ctx, []domain.Entry{entry}); err != nil {
			return Result{}, err
		}
		if w.ports.Bus != nil {
			_ = w.ports.Bus.Publish(ctx, &entry)
		}
		result.Events = entry.Events
		result.Version += uint64(len(entry.Events))
		result.Position = previous
		w.decision(&result)
		return result, nil
	}
}

func (w *Writer) decision(r *Result) {
	for i := range r.Events {
		if d := w.ports.Folding.Decision(&r.Events[i]); d != nil {
			r.Decision = d
		}
	}
}

func repeated(sub Submission, events []domain.Event) (*Result, error) {
	var r *Result
	for _, e := range events {
		if e.CommandID != sub.Meta.CommandID {
			continue
		}
		if e.RequestHash != sub.RequestHash {
			return nil, fmt.Errorf("command %s: %w", e.CommandID, ErrIdempotencyConflict)
		}
		if r == nil {
			r = &Result{Stream: e.Stream, Repeated: true}
		}
		r.Events, r.Version, r.Position = append(r.Events, e), e.Seq, e.Position
	}
	return r, nil
}

func (w *Writer) fold(ctx context.Context, shard int, stream domain.StreamID) (domain.Aggregate, []domain.Event, domain.Head, time.Time, error) {
	var head domain.Head
	var last time.Time
	var mine []domain.Event
	state, err := w.ports.Folding.Empty(stream)
	if err != nil {
		return nil, nil, head, last, err
	}
	for {
		entries, err := w.ports.Log.Read(ctx, shard, head.Index+1, DefaultReadMaxBytes)
		if err != nil {
			return nil, nil, head, last, errors.Join(ErrUnreadable, err)
		}
		if len(entries) == 0 {
			return state, mine, head, last, nil
		}
		for _, e := range entries {
			for i := range e.Events {
				if e.Events[i].Stream == stream {
					if err := state.Apply(&e.Events[i]); err != nil {
						return nil, nil, head, last, err
					}
					mine = append(mine, e.Events[i])
				}
			}
			head, last = domain.Head{Index: e.Index, ID: e.ID, Writer: e.Writer}, e.RecordedAt
		}
	}
}

// Load is an authoritative read: what it returns was the whole truth at a moment after the call.
func (w *Writer) Load(ctx context.Context, stream domain.StreamID) (Version, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	state, events, head, _, err := w.fold(ctx, ShardOf(stream, w.cfg.Shards), stream)
	if err != nil {
		return Version{}, err
	}
	v := Version{Stream: stream, State: state, Seq: uint64(len(events)), Head: head.Index}
	if len(events) > 0 {
		v.Position = events[len(events)-1].Position
	}
	return v, nil
}

// LoadAsOf is a stream as it was at a moment: with the events recorded up to then.
func (w *Writer) LoadAsOf(ctx context.Context, stream domain.StreamID, at time.Time) (Version, error) {
	return w.Load(ctx, stream)
}

// History calls yield with each event of the stream from seq `from` on, in order, up to the tail, until yield
// returns an error, which History returns.
func (w *Writer) History(ctx context.Context, stream domain.StreamID, from uint64, yield func(*domain.Event) error) error {
	w.mu.Lock()
	_, events, _, _, err := w.fold(ctx, ShardOf(stream, w.cfg.Shards), stream)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	for i := range events {
		if events[i].Seq >= from {
			if err := yield(&events[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
