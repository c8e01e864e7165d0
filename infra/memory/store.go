// Package memory is a log, histories and snapshots in memory, for tests, with the faults that real stores and networks
// have: on demand, and each by itself.
package memory

import (
	"fmt"
	"slices"
	"sync"

	"carryon/command"
	"carryon/domain"
)

// Store is what survives when a process crashes. Processes work with it through connections of their own.
type Store struct {
	mu        sync.Mutex
	shards    map[int]*shard
	histories map[domain.StreamID][]*domain.Event // the event with seq n stands at n-1; nil: not there
	snapshots map[domain.StreamID]command.Snapshot
	late      []domain.Entry // claims that were answered "unknown" and are yet to be decided
}

type shard struct {
	entries  []domain.Entry // entry i stands at i-1
	progress uint64
}

// NewStore is an empty store.
func NewStore() *Store {
	return &Store{
		shards:    make(map[int]*shard),
		histories: make(map[domain.StreamID][]*domain.Event),
		snapshots: make(map[domain.StreamID]command.Snapshot),
	}
}

func (s *Store) shard(n int) *shard {
	sh := s.shards[n]
	if sh == nil {
		sh = &shard{}
		s.shards[n] = sh
	}
	return sh
}

func (sh *shard) head() domain.Head {
	if len(sh.entries) == 0 {
		return domain.Head{}
	}
	last := &sh.entries[len(sh.entries)-1]
	return domain.Head{Index: last.Index, ID: last.ID, Writer: last.Writer}
}

// claim decides a claim, as the conditional write of a real store does.
func (s *Store) claim(e *domain.Entry) command.Claimed {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shard(e.Shard)
	head := sh.head()
	switch {
	case 0 < e.Index && e.Index <= head.Index:
		return command.Claimed{Applied: sh.entries[e.Index-1].ID == e.ID, Head: head}
	case e.Index != head.Index+1 || e.PreviousID != head.ID:
		return command.Claimed{Head: head}
	}
	sh.entries = append(sh.entries, copyEntry(e))
	return command.Claimed{Applied: true, Head: sh.head()}
}

func (s *Store) head(n int) domain.Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shard(n).head()
}

func (s *Store) read(n int, from uint64, maxBytes int) ([]domain.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from == 0 {
		return nil, fmt.Errorf("reading shard %d: entries begin at 1", n)
	}
	sh := s.shard(n)
	var page []domain.Entry
	size := 0
	for i := from - 1; i < uint64(len(sh.entries)); i++ {
		e := &sh.entries[i]
		if size += entrySize(e); len(page) > 0 && size > maxBytes {
			break
		}
		page = append(page, copyEntry(e))
	}
	return page, nil
}

func (s *Store) progress(n int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shard(n).progress
}

func (s *Store) derive(entries []domain.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range entries {
		e := &entries[i]
		if i > 0 && (e.Index != entries[i-1].Index+1 || e.Shard != entries[0].Shard) {
			return fmt.Errorf("deriving entry %d of shard %d after entry %d of shard %d: not contiguous",
				e.Index, e.Shard, entries[i-1].Index, entries[i-1].Shard)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	for i := range entries {
		for j := range entries[i].Events {
			s.setHistory(&entries[i].Events[j])
		}
	}
	sh := s.shard(entries[0].Shard)
	if sh.progress == entries[0].Index-1 {
		sh.progress = entries[len(entries)-1].Index
	}
	return nil
}

func (s *Store) setHistory(e *domain.Event) {
	rows := s.histories[e.Stream]
	for uint64(len(rows)) < e.Seq {
		rows = append(rows, nil)
	}
	row := copyEvent(e)
	rows[e.Seq-1] = &row
	s.histories[e.Stream] = rows
}

func (s *Store) readStream(stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.histories[stream]
	var page []domain.Event
	size := 0
	for seq := max(from, 1); seq <= uint64(len(rows)); seq++ {
		e := rows[seq-1]
		if e == nil {
			return nil, fmt.Errorf("history of %s: event %d is not there, but later ones are: %w", stream, seq, command.ErrDiffers)
		}
		if size += len(e.Payload); len(page) > 0 && size > maxBytes {
			break
		}
		page = append(page, copyEvent(e))
	}
	return page, nil
}

func (s *Store) loadSnapshot(stream domain.StreamID) (command.Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot, ok := s.snapshots[stream]
	snapshot.Data = slices.Clone(snapshot.Data)
	return snapshot, ok
}

func (s *Store) saveSnapshots(snapshots []command.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, snapshot := range snapshots {
		snapshot.Data = slices.Clone(snapshot.Data)
		s.snapshots[snapshot.Stream] = snapshot
	}
}

// copyEntry keeps what a store keeps: bytes, and nothing that only the writing process knows.
func copyEntry(e *domain.Entry) domain.Entry {
	c := *e
	c.Events = make([]domain.Event, len(e.Events))
	for i := range e.Events {
		c.Events[i] = copyEvent(&e.Events[i])
	}
	return c
}

func copyEvent(e *domain.Event) domain.Event {
	return domain.Event{
		ID: e.ID, Stream: e.Stream, Seq: e.Seq, Position: e.Position, Previous: e.Previous,
		Type: e.Type, SchemaVersion: e.SchemaVersion, OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt,
		CommandID: e.CommandID, RequestHash: e.RequestHash, Correlation: e.Correlation, Causation: e.Causation,
		Actor: e.Actor, Versions: e.Versions, Payload: slices.Clone(e.Payload),
	}
}

func entrySize(e *domain.Entry) int {
	size := 0
	for i := range e.Events {
		size += len(e.Events[i].Payload)
	}
	return size
}
