package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Transport is a way for entries from the writers to the read models, new and empty.
type Transport struct {
	// Publish hands an entry to the transport, as a shard writer does. It never blocks.
	Publish func(e *domain.Entry)
	// Subscribe lets a process's read models listen, and returns when messages come to them. The processes of a test
	// share what comes, if the transport can share. It ends with stop, or with the test.
	Subscribe func(t *testing.T, listener Listener) (stop func())
}

// Listener is told what a transport brings.
type Listener interface {
	Name() string
	Offer(e *domain.Entry)
	Hint(shard int, index uint64)
}

// Transports runs the consumer contract (see Consumer) with a real transport between the log and the read models, and
// what a transport itself has to keep: order within a shard, and a name for what is too large to carry. The customer
// shard 1 and the reference shard 0 are used. The transport should take messages of at most 512 KiB.
func Transports[T projector.Tx](t *testing.T, subjects func(t testing.TB) ConsumerSubject[T], factory func(t *testing.T) Transport) {
	tests := []struct {
		name string
		run  func(*scene[T], Transport)
	}{
		{"brings every entry, and the log is not read", transportBrings[T]},
		{"keeps the order within a shard", transportOrder[T]},
		{"names an entry that is too large to carry", transportNames[T]},
		{"may lose, double and reorder, and every entry is applied once", transportMangles[T]},
		{"may be joined and left at any time", transportJoinLeave[T]},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newScene(t, subjects(t)), factory(t))
		})
	}
}

// deaf never looks at the log by itself.
var deaf = projector.Config{QuietMin: time.Hour, QuietMax: time.Hour, Pace: time.Millisecond}

// running runs a consumer until the test ends.
func (s *scene[T]) running(c *instance[T]) {
	ctx, cancel := context.WithCancel(s.ctx)
	var group sync.WaitGroup
	group.Go(func() {
		if err := c.Run(ctx); err != nil {
			s.Error(err)
		}
	})
	s.Cleanup(func() {
		cancel()
		group.Wait()
	})
}

// reaches waits until a consumer's read model shows the tails.
func (s *scene[T]) reaches(c *instance[T]) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 2*patience)
	defer cancel()
	for _, shard := range s.shards {
		if err := c.WaitFor(ctx, domain.Position{Shard: shard, Index: s.log.tail(shard)}, customer(shard, "a")); err != nil {
			s.Fatalf("shard %d does not reach entry %d: %v", shard, s.log.tail(shard), err)
		}
	}
}

func transportBrings[T projector.Tx](s *scene[T], transport Transport) {
	one := s.instance(deaf)
	transport.Subscribe(s.T, one)
	s.running(one)
	looks := s.log.readCount() // a consumer looks where it stands when it begins
	for i := range 100 {
		transport.Publish(s.log.claim(i%2, counted("a", "b", "c")...))
	}
	s.reaches(one)
	s.checkAtTail()
	if reads := s.log.readCount() - looks; reads > len(s.shards) {
		s.Errorf("the log was read %d times, although every message came", reads)
	}
}

// heard is a listener that writes down what it is told.
type heard struct {
	mu      sync.Mutex
	entries map[int][]uint64 // indexes by shard
	hints   map[int][]uint64
	changed chan struct{} // holds one after a change
}

func newHeard() *heard {
	return &heard{entries: map[int][]uint64{}, hints: map[int][]uint64{}, changed: make(chan struct{}, 1)}
}

func (*heard) Name() string { return "heard" }

func (h *heard) Offer(e *domain.Entry)        { h.note(h.entries, e.Shard, e.Index) }
func (h *heard) Hint(shard int, index uint64) { h.note(h.hints, shard, index) }

func (h *heard) note(where map[int][]uint64, shard int, index uint64) {
	h.mu.Lock()
	where[shard] = append(where[shard], index)
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// waits waits until something is true of what was heard.
func (h *heard) waits(t *testing.T, what string, is func() bool) {
	t.Helper()
	timeout := time.After(2 * patience)
	for {
		h.mu.Lock()
		done := is()
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-h.changed:
		case <-timeout:
			t.Fatalf("waited for %s: entries %v, hints %v", what, h.entries, h.hints)
		}
	}
}

func transportOrder[T projector.Tx](s *scene[T], transport Transport) {
	const each = 400
	h := newHeard()
	transport.Subscribe(s.T, h)
	for i := range 2 * each {
		transport.Publish(s.log.claim(i%2, counted("a")...))
	}
	h.waits(s.T, "all entries", func() bool { return len(h.entries[0]) >= each && len(h.entries[1]) >= each })
	for shard, indexes := range h.entries {
		for i, index := range indexes {
			if index != uint64(i)+1 {
				s.Fatalf("shard %d: message %d brings entry %d", shard, i+1, index)
			}
		}
	}
}

func transportNames[T projector.Tx](s *scene[T], transport Transport) {
	one, h := s.instance(deaf), newHeard()
	transport.Subscribe(s.T, both{one, h})
	s.running(one)
	large := s.log.claimLarge(1)
	transport.Publish(large)
	transport.Publish(s.log.claim(1, counted("a")...))
	transport.Publish(s.log.claim(0, counted("a")...))
	s.reaches(one)
	s.checkAtTail()
	h.waits(s.T, "the name of the large entry", func() bool { return len(h.hints[1]) > 0 && len(h.entries[1]) > 0 })
	if h.hints[1][0] != large.Index {
		s.Errorf("entry %d is only named, want %d", h.hints[1][0], large.Index)
	}
}

// both tells two listeners.
type both struct{ one, other Listener }

func (b both) Name() string { return b.one.Name() }

func (b both) Offer(e *domain.Entry) {
	b.one.Offer(e)
	b.other.Offer(e)
}

func (b both) Hint(shard int, index uint64) {
	b.one.Hint(shard, index)
	b.other.Hint(shard, index)
}

func transportMangles[T projector.Tx](s *scene[T], transport Transport) {
	one, other := s.instance(quick), s.instance(quick)
	transport.Subscribe(s.T, one)
	transport.Subscribe(s.T, other)
	s.running(one)
	s.running(other)
	var held *domain.Entry
	for i := range 300 {
		e := s.log.claim(i%2, counted("a", fmt.Sprint("x", i%5))...)
		switch i % 5 {
		case 0: // lost
		case 1: // doubled
			transport.Publish(e)
			transport.Publish(e)
		case 2: // late
			held = e
		default:
			transport.Publish(e)
			if held != nil {
				transport.Publish(held)
				held = nil
			}
		}
	}
	s.reaches(one)
	s.reaches(other)
	s.checkAtTail()
}

func transportJoinLeave[T projector.Tx](s *scene[T], transport Transport) {
	first, second, third := s.instance(quick), s.instance(quick), s.instance(quick)
	leave := transport.Subscribe(s.T, first)
	for _, c := range []*instance[T]{first, second, third} {
		s.running(c)
	}
	publish := func(n int) {
		for i := range n {
			transport.Publish(s.log.claim(i%2, counted("a", "b")...))
		}
	}
	publish(60)
	transport.Subscribe(s.T, second)
	publish(60)
	leave()
	publish(60)
	transport.Subscribe(s.T, third)
	publish(60)
	for _, c := range []*instance[T]{first, second, third} {
		s.reaches(c)
	}
	s.checkAtTail()
}

// claimLarge appends an entry whose events are as large as events may be, and together too large for a message, however
// well they are compressed.
func (l *scriptedLog) claimLarge(shard int) *domain.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.next(shard, "", counted("a", "b", "c", "d", "e", "f"))
	for i := range e.Events {
		noise := make([]byte, 120<<10)
		_, _ = rand.Read(noise)
		e.Events[i].Payload = fmt.Appendf(nil, "%q", hex.EncodeToString(noise))
	}
	l.entries[shard] = append(l.entries[shard], e)
	l.claimed[shard] = append(l.claimed[shard], e)
	l.derived[shard] = e.Index
	return &e
}

// TransportRig is a read model that runs by itself over a log, for tests of a transport's own faults. It is the listener
// that the transport has to tell.
type TransportRig[T projector.Tx] struct {
	*instance[T]
	scene *scene[T]
	next  int
}

// NewTransportRig starts a read model, which ends with the test.
func NewTransportRig[T projector.Tx](t *testing.T, subject ConsumerSubject[T]) *TransportRig[T] {
	s := newScene(t, subject)
	r := &TransportRig[T]{instance: s.instance(projector.Config{}), scene: s}
	s.running(r.instance)
	return r
}

// Claim appends an entry to the log, and returns it for the transport to carry, or not.
func (r *TransportRig[T]) Claim() *domain.Entry {
	r.next++
	return r.scene.log.claim(r.next%2, counted("a", fmt.Sprint("x", r.next%7))...)
}

// Reaches waits until the read model shows the tails, and checks that every event was applied once.
func (r *TransportRig[T]) Reaches() {
	r.scene.Helper()
	r.scene.reaches(r.instance)
	r.scene.checkAtTail()
}
