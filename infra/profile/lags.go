package profile

import (
	"context"
	"errors"
	"sync"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// lags tell how far the read models are in a process that applies nothing, whose consumers know nothing: the stores know
// what is applied, and the log knows what there is.
type lags struct{ s *System }

const (
	// askLogFor is how long the log may take to say where it ends; then the lag is not known.
	askLogFor = 2 * time.Second
	// countParked is how many parked streams are counted at most.
	countParked = 10_000
)

// logEnds are the ends of the shards' logs, and the times at which the entries were recorded that are waited for.
type logEnds struct {
	log   projector.Log
	heads map[int]uint64
	err   error

	mu       sync.Mutex
	recorded map[domain.Position]time.Time
}

func (l lags) ends(ctx context.Context) *logEnds {
	ends := &logEnds{log: l.s.log, heads: make(map[int]uint64), recorded: make(map[domain.Position]time.Time)}
	for _, shard := range l.s.layout.shards() {
		head, err := l.s.log.Head(ctx, shard)
		if err != nil {
			ends.err = err
			return ends
		}
		ends.heads[shard] = head.Index
	}
	return ends
}

// waiting is when an entry was recorded; zero: it can't be read.
func (e *logEnds) waiting(ctx context.Context, shard int, index uint64) time.Time {
	at := domain.Position{Shard: shard, Index: index}
	e.mu.Lock()
	defer e.mu.Unlock()
	if when, known := e.recorded[at]; known {
		return when
	}
	when := time.Time{}
	if entries, err := e.log.Read(ctx, shard, index, 1); err == nil && len(entries) > 0 {
		when = entries[0].RecordedAt
	}
	e.recorded[at] = when
	return when
}

// of are a model's shards.
func (l lags) of(ctx context.Context, m readModel, ends *logEnds) (shards []query.ProjectionShard, parked int) {
	checkpoints, away := m.Checkpoints(ctx)
	streams, err := m.Parked(ctx, "", countParked)
	away = errors.Join(away, err)
	for _, shard := range l.s.layout.shards() {
		applied := checkpoints[shard].Index
		s := query.ProjectionShard{Shard: shard, Applied: applied, Tail: max(applied, ends.heads[shard])}
		switch s.LagEntries = s.Tail - applied; {
		case away != nil:
			s.Unknown, s.LagEntries = "the read model's store can't be asked what it has applied", 0
		case ends.err != nil:
			s.Unknown = "the log can't be asked where it ends"
		case s.LagEntries > 0:
			if when := ends.waiting(ctx, shard, applied+1); !when.IsZero() {
				s.LagSeconds = max(0, l.s.clock().Sub(when).Seconds())
			}
		}
		shards = append(shards, s)
	}
	return shards, len(streams)
}
