package conformance

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"time"

	"carryon/domain"
)

// scriptedLog is a log, and its histories, that can be damaged: entries vanish or change, reads fail. It keeps what
// was claimed apart, for the oracle.
type scriptedLog struct {
	mu      sync.Mutex
	entries map[int][]domain.Entry // what it shows now
	claimed map[int][]domain.Entry // what was ever claimed
	derived map[int]uint64         // histories go so far
	seqs    map[domain.StreamID]domain.Event
	reads   int
	hook    func() error // asked at each read; nil: all goes well
	hides   map[int]uint64
}

func newScriptedLog() *scriptedLog {
	return &scriptedLog{
		entries: make(map[int][]domain.Entry), claimed: make(map[int][]domain.Entry),
		derived: make(map[int]uint64), seqs: make(map[domain.StreamID]domain.Event), hides: make(map[int]uint64),
	}
}

// line is one event to be claimed: its kind, and the customer whose stream it belongs to.
type line struct{ customer, kind string }

// counted are plain events of some customers.
func counted(customers ...string) []line {
	lines := make([]line, len(customers))
	for i, customer := range customers {
		lines[i] = line{customer, kindCounted}
	}
	return lines
}

// claim appends an entry to a shard, and returns it as a message would bring it. Customers belong to the shard in
// whose entries they are used first; the suite does not mix them.
func (l *scriptedLog) claim(shard int, lines ...line) *domain.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.next(shard, "", lines)
	l.entries[shard] = append(l.entries[shard], e)
	l.claimed[shard] = append(l.claimed[shard], e)
	l.derived[shard] = e.Index
	return &e
}

// next makes the entry that follows on what the log shows now. Another salt makes another batch.
func (l *scriptedLog) next(shard int, salt string, lines []line) domain.Entry {
	index := uint64(len(l.entries[shard])) + 1
	id := sha256.Sum256(fmt.Appendf(nil, "%d/%d/%s", shard, index, salt))
	e := domain.Entry{
		Shard: shard, Index: index, ID: domain.BatchID(id[:16]), Writer: "suite",
		RecordedAt: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(index) * time.Second),
	}
	if index > 1 {
		e.PreviousID = l.entries[shard][index-2].ID
	}
	for place, line := range lines {
		stream := domain.CustomerStream(fmt.Sprintf("%d-%s", shard, line.customer))
		before := l.seqs[stream]
		event := domain.Event{
			ID: fmt.Sprintf("%s#%d%s", stream, before.Seq+1, salt), Stream: stream, Seq: before.Seq + 1,
			Position: domain.Position{Shard: shard, Index: index, Place: place}, Previous: before.Position,
			Type: line.kind, SchemaVersion: 1, OccurredAt: e.RecordedAt, RecordedAt: e.RecordedAt, Payload: []byte(`{}`),
		}
		l.seqs[stream] = event
		e.Events = append(e.Events, event)
	}
	return e
}

func (l *scriptedLog) original(shard int) []domain.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.claimed[shard])
}

func (l *scriptedLog) tail(shard int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.entries[shard]))
}

// forget makes the log end at an entry.
func (l *scriptedLog) forget(shard int, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[shard] = slices.Clone(l.entries[shard][:last])
}

// replace appends another batch than was claimed before at this place.
func (l *scriptedLog) replace(shard int, lines ...line) *domain.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.next(shard, "another", lines)
	l.entries[shard] = append(l.entries[shard], e)
	return &e
}

// change gives an entry of the log another id.
func (l *scriptedLog) change(shard int, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[shard] = slices.Clone(l.entries[shard])
	l.entries[shard][index-1].ID[0] ^= 0xff
}

// hide makes an entry unreadable: reads end before it, and say nothing.
func (l *scriptedLog) hide(shard int, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hides[shard] = index
}

// derive sets how far the histories go.
func (l *scriptedLog) derive(shard int, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.derived[shard] = index
}

// on sets what is asked at each read.
func (l *scriptedLog) on(hook func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = hook
}

func (l *scriptedLog) readCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

func (l *scriptedLog) ask() error {
	l.mu.Lock()
	hook := l.hook
	l.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook()
}

// Head is the newest entry.
func (l *scriptedLog) Head(_ context.Context, shard int) (domain.Head, error) {
	if err := l.ask(); err != nil {
		return domain.Head{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := l.entries[shard]
	if len(entries) == 0 {
		return domain.Head{}, nil
	}
	newest := entries[len(entries)-1]
	return domain.Head{Index: newest.Index, ID: newest.ID, Writer: newest.Writer}, nil
}

// Read returns entries from an index on.
func (l *scriptedLog) Read(_ context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	if err := l.ask(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	var found []domain.Entry
	for i := from - 1; i < uint64(len(l.entries[shard])); i++ {
		e := l.entries[shard][i]
		if e.Index == l.hides[shard] {
			break
		}
		if maxBytes -= 100 * (len(e.Events) + 1); maxBytes < 0 && len(found) > 0 {
			break
		}
		found = append(found, e)
	}
	return found, nil
}

// Progress is how far the histories go.
func (l *scriptedLog) Progress(_ context.Context, shard int) (uint64, error) {
	if err := l.ask(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.derived[shard], nil
}

// ReadStream returns the events of a stream that were derived.
func (l *scriptedLog) ReadStream(_ context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	if err := l.ask(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []domain.Event
	for shard, entries := range l.entries {
		for _, e := range entries {
			for _, event := range e.Events {
				if event.Stream != stream || event.Seq < from || e.Index > l.derived[shard] {
					continue
				}
				if maxBytes -= 100; maxBytes < 0 && len(found) > 0 {
					return found, nil
				}
				found = append(found, event)
			}
		}
	}
	return found, nil
}
