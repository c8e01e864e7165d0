package memory

import (
	"slices"

	"carryon/command"
	"carryon/domain"
)

// Fault is what goes wrong with one call.
type Fault uint8

// The faults. Those of a claim answer command.ErrUnknown: whoever claimed can't tell them apart.
const (
	None        Fault = iota
	LoseAnswer        // a claim is decided, and the answer is lost
	LoseClaim         // a claim never reaches the store
	DecideLate        // a claim is decided later, when Settle or SettleAll says so
	Unavailable       // the call does nothing and returns command.ErrUnavailable
)

// Operation is what a call does.
type Operation string

// The operations.
const (
	OpClaim         Operation = "claim"
	OpHead          Operation = "head"
	OpRead          Operation = "read"
	OpProgress      Operation = "progress"
	OpDerive        Operation = "derive"
	OpReadStream    Operation = "read stream"
	OpLoadSnapshot  Operation = "load snapshot"
	OpSaveSnapshots Operation = "save snapshots"
)

// Call is one call of a port, before it is carried out.
type Call struct {
	Operation Operation
	Shard     int             // of those that name one
	Index     uint64          // of a claim, a read or a derivation: the first entry
	Stream    domain.StreamID // of those that name one
}

// Entries are the entries of a shard's log.
func (s *Store) Entries(shard int) []domain.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []domain.Entry
	for i := range s.shard(shard).entries {
		all = append(all, copyEntry(&s.shard(shard).entries[i]))
	}
	return all
}

// Late tells how many claims wait to be decided late.
func (s *Store) Late() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.late)
}

// Settle decides the n-th late claim now.
func (s *Store) Settle(n int) {
	s.mu.Lock()
	e := s.late[n]
	s.late = slices.Delete(s.late, n, n+1)
	s.mu.Unlock()
	s.claim(&e)
}

// SettleAll decides all late claims now, in the order in which they came.
func (s *Store) SettleAll() {
	for s.Late() > 0 {
		s.Settle(0)
	}
}

func (s *Store) decideLate(e *domain.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = append(s.late, copyEntry(e))
}

// Forget lets a shard's log forget its newest entries, as a store does that acknowledged what it had not made durable.
// What was derived from them stays.
func (s *Store) Forget(shard int, entries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shard(shard)
	sh.entries = sh.entries[:max(0, len(sh.entries)-entries)]
}

// Underive drops everything that is derived: histories, progress and snapshots.
func (s *Store) Underive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.histories)
	clear(s.snapshots)
	for _, sh := range s.shards {
		sh.progress = 0
	}
}

// FallBack lets the progress of a shard's histories fall back, as after a crash.
func (s *Store) FallBack(shard int, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shard(shard)
	sh.progress = min(sh.progress, to)
}

// LoseHistory drops events of a stream's history, from one seq to another.
func (s *Store) LoseHistory(stream domain.StreamID, from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.histories[stream]
	for seq := from; seq <= to && seq <= uint64(len(rows)); seq++ {
		rows[seq-1] = nil
	}
	for len(rows) > 0 && rows[len(rows)-1] == nil {
		rows = rows[:len(rows)-1]
	}
	s.histories[stream] = rows
}

// LoseSnapshots drops all snapshots.
func (s *Store) LoseSnapshots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.snapshots)
}

// Snapshot is the stored snapshot of a stream.
func (s *Store) Snapshot(stream domain.StreamID) (command.Snapshot, bool) {
	return s.loadSnapshot(stream)
}

// Head is the newest entry of a shard's log.
func (s *Store) Head(shard int) domain.Head { return s.head(shard) }
