package projector

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"carryon/domain"
)

// Shared is a log that the consumers of one process read through, so that an entry is read and decoded once for all of
// them. It keeps the entries met last, bounded by bytes. What it hands out must not be changed.
type Shared struct {
	log      Log
	maxBytes int

	mu      sync.Mutex
	byIndex map[place]*domain.Entry
	byID    map[domain.BatchID]*domain.Entry
	queue   []*domain.Entry // in the order in which they came
	bytes   int
	reading map[int]chan struct{} // per shard, holds a token while somebody reads the log
}

type place struct {
	shard int
	index uint64
}

// NewShared makes a shared log that keeps at most maxBytes of entries, as they were recorded: decoded payloads take
// about as much again.
func NewShared(log Log, maxBytes int) *Shared {
	return &Shared{
		log: log, maxBytes: maxBytes,
		byIndex: make(map[place]*domain.Entry), byID: make(map[domain.BatchID]*domain.Entry),
		reading: make(map[int]chan struct{}),
	}
}

var _ Log = (*Shared)(nil)

// Fresh is the log itself, for those who must know what it says now.
func (s *Shared) Fresh() Log { return s.log }

// Head is the log's.
func (s *Shared) Head(ctx context.Context, shard int) (domain.Head, error) {
	return s.log.Head(ctx, shard)
}

// Read returns entries from memory when the first of them is there, and else reads the log. Of several who want the
// same entries one reads.
func (s *Shared) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	if entries := s.kept(shard, from, maxBytes); len(entries) > 0 {
		return entries, nil
	}
	token := s.token(shard)
	select {
	case token <- struct{}{}:
		defer func() { <-token }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another reader of shard %d: %w", shard, context.Cause(ctx))
	}
	if entries := s.kept(shard, from, maxBytes); len(entries) > 0 {
		return entries, nil
	}
	entries, err := s.log.Read(ctx, shard, from, maxBytes)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		entries[i] = *s.Keep(&entries[i])
	}
	return entries, nil
}

// Keep remembers an entry that was claimed or has arrived, and returns it as it is remembered: with its payloads
// decoded. The one that was handed in is not touched.
func (s *Shared) Keep(e *domain.Entry) *domain.Entry {
	if kept, found := s.Find(e.ID); found {
		return kept
	}
	e = decoded(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.byID[e.ID]; kept != nil {
		return kept
	}
	s.byID[e.ID] = e
	s.byIndex[place{e.Shard, e.Index}] = e
	s.queue = append(s.queue, e)
	s.bytes += entrySize(e)
	for s.bytes > s.maxBytes && len(s.queue) > 0 {
		s.dropOldest()
	}
	return e
}

// decoded is an entry whose payloads are decoded, so that the read models need not do it one after the other. Its
// maker may still use the one that came, so that is copied where there is something to decode.
func decoded(e *domain.Entry) *domain.Entry {
	for i := range e.Events {
		if e.Events[i].IsDecoded() {
			continue
		}
		shared := *e
		shared.Events = slices.Clone(e.Events)
		for i := range shared.Events {
			shared.Events[i].Decode()
		}
		return &shared
	}
	return e
}

func (s *Shared) dropOldest() {
	oldest := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.bytes -= entrySize(oldest)
	delete(s.byID, oldest.ID)
	at := place{oldest.Shard, oldest.Index}
	if s.byIndex[at] == oldest {
		delete(s.byIndex, at)
	}
}

// Find looks an entry up by its batch id.
func (s *Shared) Find(id domain.BatchID) (*domain.Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, found := s.byID[id]
	return e, found
}

// kept are the entries in memory that follow on from an index.
func (s *Shared) kept(shard int, from uint64, maxBytes int) []domain.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []domain.Entry
	for bytes := 0; ; from++ {
		e := s.byIndex[place{shard, from}]
		if e == nil {
			return entries
		}
		if bytes += entrySize(e); bytes > maxBytes && len(entries) > 0 {
			return entries
		}
		entries = append(entries, *e)
	}
}

func (s *Shared) token(shard int) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading[shard] == nil {
		s.reading[shard] = make(chan struct{}, 1)
	}
	return s.reading[shard]
}
