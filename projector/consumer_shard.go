package projector

import (
	"context"
	"fmt"
	"sync"
	"time"

	"carryon/domain"
)

// shardState is what a consumer knows about one shard. It is split by who may touch it: what stands under mu is for
// everybody and is held for moments; what stands under work belongs to whoever works on the shard, for as long as a
// transaction takes.
type shardState struct {
	shard int
	cfg   Config
	wake  chan struct{} // holds a signal when there may be something to do
	work  chan struct{} // holds a token while somebody works on the shard

	// Under work.
	known    bool            // last was read from the store and found in the log
	ready    []*domain.Entry // contiguous, from last.Index+1 on
	span     int             // most entries that the next transaction may take: halved by failures
	oneByOne bool            // apply event by event, to find the one that fails
	failures int             // of the next transaction, in a row
	doubts   doubt
	suspects map[domain.StreamID]Parked // found, to be parked with the transaction that covers them

	mu           sync.Mutex
	last         Checkpoint
	tail         uint64                   // the highest index heard of
	waiting      map[uint64]*domain.Entry // offered, beyond ready
	waitingBytes int
	marks        marks
	stopped      error // wraps ErrHistoryDiffers
	failure      error // the last one, nil after progress
	elsewhere    bool  // another instance was found working on it
	full         bool  // the last transaction held as much as one may: there is a backlog
	parked       int
	parkedAt     time.Time // when parked was counted; zero: count again
}

// doubt counts how often one event has failed by itself.
type doubt struct {
	stream domain.StreamID
	seq    uint64
	times  int
}

func newShardState(shard int, cfg Config) *shardState {
	return &shardState{
		shard: shard, cfg: cfg,
		wake: make(chan struct{}, 1), work: make(chan struct{}, 1),
		span:     maxSpan,
		suspects: make(map[domain.StreamID]Parked),
		waiting:  make(map[uint64]*domain.Entry),
		marks:    newMarks(),
	}
}

// maxSpan is more entries than any transaction takes.
const maxSpan = 1 << 16

// acquire waits for the right to work on the shard; release gives it back.
func (s *shardState) acquire(ctx context.Context) error {
	select {
	case s.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *shardState) release() { <-s.work }

// signal says that there may be something to do.
func (s *shardState) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// await waits for a signal, and tells whether one came in time.
func (s *shardState) await(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.wake:
		return true
	case <-ctx.Done():
		return true
	case <-timer.C:
		return false
	}
}

// offer keeps an entry until its turn comes, and tells whether there was room.
func (s *shardState) offer(e *domain.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail = max(s.tail, e.Index)
	if e.Index <= s.last.Index || s.waiting[e.Index] != nil {
		return true
	}
	s.marks.add(e)
	size := entrySize(e)
	if len(s.waiting) >= s.cfg.WaitingEntries || s.waitingBytes+size > s.cfg.WaitingBytes {
		return false
	}
	s.waiting[e.Index] = e
	s.waitingBytes += size
	return true
}

func (s *shardState) hint(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail = max(s.tail, index)
}

// takeWaiting appends offered entries to ready as long as they follow on, and tells whether the chain held.
func (s *shardState) takeWaiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		end := s.end()
		e := s.waiting[end.Index+1]
		if e == nil {
			return true
		}
		s.removeWaiting(e)
		if e.PreviousID != end.ID {
			return false
		}
		s.ready = append(s.ready, e)
	}
}

func (s *shardState) removeWaiting(e *domain.Entry) {
	delete(s.waiting, e.Index)
	s.waitingBytes -= entrySize(e)
}

// appendRead appends entries that were read from the log to ready. The error wraps ErrHistoryDiffers.
func (s *shardState) appendRead(entries []domain.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range entries {
		e, end := &entries[i], s.end()
		if err := follows(end, e); err != nil {
			return err
		}
		s.ready = append(s.ready, e)
		s.tail = max(s.tail, e.Index)
		s.marks.add(e)
	}
	return nil
}

// follows says what is wrong when e is not the entry after last.
func follows(last Checkpoint, e *domain.Entry) error {
	if e.Index != last.Index+1 {
		return fmt.Errorf("%w: shard %d: entry %d comes after entry %d", ErrHistoryDiffers, e.Shard, e.Index, last.Index)
	}
	if e.PreviousID != last.ID {
		return fmt.Errorf("%w: shard %d: entry %d follows batch %s, but entry %d is batch %s", ErrHistoryDiffers,
			e.Shard, e.Index, e.PreviousID, last.Index, last.ID)
	}
	return nil
}

// end is the last entry of ready, or the last applied one.
func (s *shardState) end() Checkpoint {
	if n := len(s.ready); n > 0 {
		return Checkpoint{Index: s.ready[n-1].Index, ID: s.ready[n-1].ID}
	}
	return s.last
}

// moveTo sets the last applied entry, and forgets what is not beyond it.
func (s *shardState) moveTo(last Checkpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last.Index < s.last.Index || (last.Index == s.last.Index && last.ID != s.last.ID) {
		s.ready, s.known = nil, false // the store went back: look where the log stands
	}
	for len(s.ready) > 0 && s.ready[0].Index <= last.Index {
		if s.ready[0].Index == last.Index && s.ready[0].ID != last.ID {
			s.ready, s.known = nil, false
			break
		}
		s.ready[0] = nil
		s.ready = s.ready[1:]
	}
	if len(s.ready) > 0 && s.ready[0].Index != last.Index+1 {
		s.ready = nil
	}
	if len(s.ready) == 0 {
		s.ready = nil
	}
	s.last = last
	s.tail = max(s.tail, last.Index)
	for _, e := range s.waiting {
		if e.Index <= last.Index {
			s.removeWaiting(e)
		}
	}
	s.marks.applied(last.Index)
}

// forget drops all entries that are not applied, because they may not be the log's.
func (s *shardState) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready, s.known = nil, false
	clear(s.waiting)
	s.waitingBytes = 0
}

// behind tells whether the last transaction held as much as one may.
func (s *shardState) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

// correctTail takes back what was heard of but is not there, unless more was heard of meanwhile.
func (s *shardState) correctTail(heard, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tail == heard || s.tail < to {
		s.tail = to
	}
}

func (s *shardState) heardOf() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tail
}

func (s *shardState) stop(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == nil {
		s.stopped = err
	}
	return s.stopped
}

func (s *shardState) stoppedBy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// note remembers how the last round went, for the status.
func (s *shardState) note(outcome Outcome, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.elsewhere = outcome == Elsewhere
	if outcome != Elsewhere {
		s.failure = err
	}
}

// envelopeBytes is about what an event takes beside its payload.
const envelopeBytes = 512

// entrySize is about how many bytes of memory an entry holds.
func entrySize(e *domain.Entry) int {
	size := envelopeBytes
	for i := range e.Events {
		size += envelopeBytes + len(e.Events[i].Payload)
	}
	return size
}
