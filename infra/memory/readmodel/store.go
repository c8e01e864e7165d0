// Package readmodel is a read-model store in memory, for tests: tables of rows under string keys, with the same
// transactions, checkpoints and parked streams as the stores on disk.
package readmodel

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"carryon/domain"
	"carryon/projector"
)

// Store is a read model in memory. Its zero value is not usable: see New.
type Store struct {
	mu          sync.Mutex
	rows        map[row][]byte
	checkpoints map[int]projector.Checkpoint
	parked      map[domain.StreamID]projector.Parked
	locked      map[int]bool
}

// row is where a value stands.
type row struct{ table, key string }

var _ projector.Store[*Tx] = (*Store)(nil)

// New makes an empty store.
func New() *Store {
	return &Store{
		rows:        make(map[row][]byte),
		checkpoints: make(map[int]projector.Checkpoint),
		parked:      make(map[domain.StreamID]projector.Parked),
		locked:      make(map[int]bool),
	}
}

// Begin opens a transaction, and returns ErrElsewhere (wrapped) while another one is open on the shard.
func (s *Store) Begin(ctx context.Context, shard int) (*Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locked[shard] {
		return nil, fmt.Errorf("shard %d: %w", shard, projector.ErrElsewhere)
	}
	s.locked[shard] = true
	return &Tx{
		store: s, shard: shard, at: s.checkpoints[shard],
		rows: make(map[row][]byte), parked: make(map[domain.StreamID]*projector.Parked),
	}, nil
}

// Checkpoints are the last applied entries by shard.
func (s *Store) Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.checkpoints), ctx.Err()
}

// Parked lists parked streams in order of stream, after the given one.
func (s *Store) Parked(ctx context.Context, after domain.StreamID, limit int) ([]projector.Parked, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []projector.Parked
	for _, stream := range slices.Sorted(maps.Keys(s.parked)) {
		if stream > after && len(found) < limit {
			found = append(found, s.parked[stream])
		}
	}
	return found, ctx.Err()
}

// ParkedStream looks one stream up.
func (s *Store) ParkedStream(ctx context.Context, stream domain.StreamID) (projector.Parked, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, is := s.parked[stream]
	return p, is, ctx.Err()
}

// Get reads a committed value. It must not be changed.
func (s *Store) Get(table, key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, found := s.rows[row{table, key}]
	return value, found
}

// Table is a copy of a table's committed values by key.
func (s *Store) Table(table string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string][]byte)
	for at, value := range s.rows {
		if at.table == table {
			found[at.key] = value
		}
	}
	return found
}

// Tx is one transaction on one shard. It is used by one goroutine at a time.
type Tx struct {
	store  *Store
	shard  int
	at     projector.Checkpoint
	rows   map[row][]byte                        // nil: deleted
	parked map[domain.StreamID]*projector.Parked // nil: unparked
	done   bool

	Hurried bool // Hurry was called
}

// Hurry has nothing to hurry: a test sees that it was called.
func (t *Tx) Hurry() { t.Hurried = true }

// Checkpoint is the last applied entry.
func (t *Tx) Checkpoint() projector.Checkpoint { return t.at }

// Get reads a value as this transaction sees it. It must not be changed.
func (t *Tx) Get(table, key string) ([]byte, bool) {
	if value, written := t.rows[row{table, key}]; written {
		return value, value != nil
	}
	return t.store.Get(table, key)
}

// Put writes a value, which must not be changed any more.
func (t *Tx) Put(table, key string, value []byte) {
	if value == nil {
		value = []byte{}
	}
	t.rows[row{strings.Clone(table), strings.Clone(key)}] = value
}

// Delete removes a value.
func (t *Tx) Delete(table, key string) { t.rows[row{table, key}] = nil }

// ParkedAmong returns those of the streams that are parked.
func (t *Tx) ParkedAmong(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.Parked, error) {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	found := make(map[domain.StreamID]projector.Parked)
	for _, stream := range streams {
		if changed, is := t.parked[stream]; is {
			if changed != nil {
				found[stream] = *changed
			}
		} else if p, is := t.store.parked[stream]; is {
			found[stream] = p
		}
	}
	return found, ctx.Err()
}

// Park parks a stream.
func (t *Tx) Park(ctx context.Context, p projector.Parked) error {
	t.parked[p.Stream] = &p
	return ctx.Err()
}

// Unpark lets a stream flow again.
func (t *Tx) Unpark(ctx context.Context, stream domain.StreamID) error {
	t.parked[stream] = nil
	return ctx.Err()
}

// Commit makes everything visible at once.
func (t *Tx) Commit(ctx context.Context, to projector.Checkpoint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if t.done {
		return fmt.Errorf("shard %d: the transaction has ended", t.shard)
	}
	for at, value := range t.rows {
		if value == nil {
			delete(t.store.rows, at)
		} else {
			t.store.rows[at] = value
		}
	}
	for stream, p := range t.parked {
		if p == nil {
			delete(t.store.parked, stream)
		} else {
			t.store.parked[stream] = *p
		}
	}
	t.store.checkpoints[t.shard] = to
	t.end()
	return nil
}

// Rollback gives everything up.
func (t *Tx) Rollback() {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if !t.done {
		t.end()
	}
}

func (t *Tx) end() {
	t.done = true
	delete(t.store.locked, t.shard)
}
