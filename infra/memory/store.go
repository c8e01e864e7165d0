// Package memory is a log, histories and snapshots in memory, for tests: with the faults that real stores have, on
// demand.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"carryon/command"
	"carryon/domain"
)

// Store is the truth that the connections of all writers share. It is what survives when a writer crashes.
type Store struct {
	mu        sync.Mutex
	shards    map[int]*shard
	histories map[domain.StreamID]map[uint64]domain.Event
	snapshots map[domain.StreamID]command.Snapshot
	late      []lateClaim
}

type shard struct {
	entries  []domain.Entry // entry i stands at i-1
	progress uint64
}

// lateClaim is one that was answered "unknown" and that the store has yet to decide.
type lateClaim struct{ entry domain.Entry }

// NewStore is an empty store.
func NewStore() *Store {
	return &Store{
		shards:    make(map[int]*shard),
		histories: make(map[domain.StreamID]map[uint64]domain.Event),
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
	if e.Index == 0 || e.Index > head.Index+1 {
		return command.Claimed{Head: head}
	}
	if e.Index <= head.Index {
		return command.Claimed{Applied: sh.entries[e.Index-1].ID == e.ID, Head: head}
	}
	if e.PreviousID != head.ID {
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
		e := copyEntry(&sh.entries[i])
		size += entrySize(&e)
		if len(page) > 0 && size > maxBytes {
			break
		}
		page = append(page, e)
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
	if len(entries) == 0 {
		return nil
	}
	for i := range entries {
		if i > 0 && (entries[i].Index != entries[i-1].Index+1 || entries[i].Shard != entries[0].Shard) {
			return fmt.Errorf("deriving entry %d of shard %d after entry %d of shard %d: not contiguous",
				entries[i].Index, entries[i].Shard, entries[i-1].Index, entries[i-1].Shard)
		}
		for j := range entries[i].Events {
			e := &entries[i].Events[j]
			if s.histories[e.Stream] == nil {
				s.histories[e.Stream] = make(map[uint64]domain.Event)
			}
			s.histories[e.Stream][e.Seq] = copyEvent(e)
		}
	}
	sh := s.shard(entries[0].Shard)
	if sh.progress == entries[0].Index-1 {
		sh.progress = entries[len(entries)-1].Index
	}
	return nil
}

func (s *Store) readStream(stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.histories[stream]
	seqs := make([]uint64, 0, len(rows))
	for seq := range rows {
		if seq >= from {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	var page []domain.Event
	size := 0
	for i, seq := range seqs {
		if want := max(from, 1) + uint64(i); seq != want {
			return nil, fmt.Errorf("history of %s: event %d follows a hole at %d: %w", stream, seq, want, command.ErrDiffers)
		}
		e := rows[seq]
		size += len(e.Payload)
		if len(page) > 0 && size > maxBytes {
			break
		}
		page = append(page, copyEvent(&e))
	}
	return page, nil
}

// copyEntry keeps what a store keeps: bytes, and nothing that only this process knows.
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

// Connect opens a connection for one writer.
func (s *Store) Connect() *Connection { return &Connection{store: s} }

// Connection is a writer's way to the store.
type Connection struct {
	store *Store
}

var (
	_ command.Log       = (*Connection)(nil)
	_ command.Histories = (*Connection)(nil)
	_ command.Snapshots = (*Connection)(nil)
)

// Claim implements command.Log.
func (c *Connection) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	if err := ctx.Err(); err != nil {
		return command.Claimed{}, fmt.Errorf("claiming entry %d of shard %d: %w: %w", e.Index, e.Shard, command.ErrUnavailable, err)
	}
	return c.store.claim(e), nil
}

// Head implements command.Log.
func (c *Connection) Head(ctx context.Context, shard int) (domain.Head, error) {
	return c.store.head(shard), ctx.Err()
}

// Read implements command.Log.
func (c *Connection) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.store.read(shard, from, maxBytes)
}

// Progress implements command.Histories.
func (c *Connection) Progress(ctx context.Context, shard int) (uint64, error) {
	return c.store.progress(shard), ctx.Err()
}

// Derive implements command.Histories.
func (c *Connection) Derive(ctx context.Context, entries []domain.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.store.derive(entries)
}

// ReadStream implements command.Histories.
func (c *Connection) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.store.readStream(stream, from, maxBytes)
}

// LoadSnapshot implements command.Snapshots.
func (c *Connection) LoadSnapshot(ctx context.Context, stream domain.StreamID) (command.Snapshot, bool, error) {
	if err := ctx.Err(); err != nil {
		return command.Snapshot{}, false, err
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	snapshot, ok := c.store.snapshots[stream]
	return snapshot, ok, nil
}

// SaveSnapshots implements command.Snapshots.
func (c *Connection) SaveSnapshots(ctx context.Context, snapshots []command.Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	for _, snapshot := range snapshots {
		snapshot.Data = slices.Clone(snapshot.Data)
		c.store.snapshots[snapshot.Stream] = snapshot
	}
	return nil
}
