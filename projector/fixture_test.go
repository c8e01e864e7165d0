package projector_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/memory/readmodel"
	"carryon/projector"
)

// journal is a log with histories that tests write and damage.
type journal struct {
	mu      sync.Mutex
	entries map[int][]domain.Entry
	history map[domain.StreamID][]domain.Event
	derived map[int]uint64
	reads   int
	fail    error
}

var start = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func newJournal() *journal {
	return &journal{
		entries: make(map[int][]domain.Entry), history: make(map[domain.StreamID][]domain.Event), derived: make(map[int]uint64),
	}
}

// claim appends an entry of one event for each customer, and derives it.
func (j *journal) claim(shard int, customers ...string) *domain.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	index := uint64(len(j.entries[shard])) + 1
	e := domain.Entry{Shard: shard, Index: index, RecordedAt: start.Add(time.Duration(index) * time.Second)}
	binary.BigEndian.PutUint64(e.ID[:], index)
	e.ID[15] = byte(shard + 1)
	if index > 1 {
		e.PreviousID = j.entries[shard][index-2].ID
	}
	for place, customer := range customers {
		stream := domain.CustomerStream(customer)
		event := domain.Event{
			Stream: stream, Seq: uint64(len(j.history[stream])) + 1, Position: domain.Position{Shard: shard, Index: index, Place: place},
			Type: "Counted", SchemaVersion: 1, RecordedAt: e.RecordedAt, Payload: fmt.Appendf(nil, `{"of":%q}`, customer),
		}
		event.ID = fmt.Sprintf("%s#%d", stream, event.Seq)
		if event.Seq > 1 {
			event.Previous = j.history[stream][event.Seq-2].Position
		}
		j.history[stream] = append(j.history[stream], event)
		e.Events = append(e.Events, event)
	}
	j.entries[shard] = append(j.entries[shard], e)
	j.derived[shard] = index
	return &e
}

func (j *journal) Head(_ context.Context, shard int) (domain.Head, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries := j.entries[shard]
	if len(entries) == 0 {
		return domain.Head{}, j.fail
	}
	return domain.Head{Index: entries[len(entries)-1].Index, ID: entries[len(entries)-1].ID}, j.fail
}

func (j *journal) Read(_ context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reads++
	if j.fail != nil {
		return nil, j.fail
	}
	if from > uint64(len(j.entries[shard])) {
		return nil, nil
	}
	return slices.Clone(j.entries[shard][from-1 : min(from+uint64(maxBytes/1000), uint64(len(j.entries[shard])))]), nil
}

func (j *journal) Progress(_ context.Context, shard int) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.derived[shard], j.fail
}

func (j *journal) ReadStream(_ context.Context, stream domain.StreamID, from uint64, _ int) ([]domain.Event, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []domain.Event
	for _, event := range j.history[stream] {
		if event.Seq >= from {
			found = append(found, event)
		}
	}
	return found, j.fail
}

func (j *journal) readCount() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.reads
}

// counting is a projection that lists each stream's events in order.
type counting struct{ poison string }

func (counting) Name() string { return "counting" }

func (p counting) Apply(_ context.Context, tx *readmodel.Tx, events []*domain.Event) error {
	for _, event := range events {
		if event.ID == p.poison {
			return &projector.PoisonError{Event: event, Err: fmt.Errorf("made to fail")}
		}
		listed, _ := tx.Get("events", string(event.Stream))
		tx.Put("events", string(event.Stream), fmt.Appendf(nil, "%s%d;", listed, event.Seq))
	}
	return nil
}

// show is what a store shows of a stream.
func show(_ context.Context, store projector.Store[*readmodel.Tx], stream domain.StreamID) ([]string, error) {
	value, _ := store.(*readmodel.Store).Get("events", string(stream))
	return slices.DeleteFunc(strings.Split(string(value), ";"), func(s string) bool { return s == "" }), nil
}

// recounting counts a stream's events anew in an empty store, and compares.
type recounting struct{ store *readmodel.Store }

func (r recounting) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	scratch := readmodel.New()
	tx, err := scratch.Begin(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	for i := range events {
		if err := (counting{}).Apply(ctx, tx, []*domain.Event{&events[i]}); err != nil {
			return nil, err
		}
	}
	if err := tx.Commit(ctx, projector.Checkpoint{Index: 1}); err != nil {
		return nil, err
	}
	stored, err := show(ctx, r.store, stream)
	if err != nil {
		return nil, err
	}
	made, err := show(ctx, scratch, stream)
	return projector.Differing(stored, made), err
}

// fixture is a journal, a store and a consumer of shards 0 and 1.
type fixture struct {
	*projector.Consumer[*readmodel.Tx]
	journal *journal
	store   *readmodel.Store
	now     time.Time
}

func newFixture(cfg projector.Config, projection projector.Projection[*readmodel.Tx], metrics *projector.Metrics) *fixture {
	f := &fixture{journal: newJournal(), store: readmodel.New(), now: start}
	f.Consumer = projector.NewConsumer(cfg, projection, f.store, f.journal, f.journal, []int{0, 1}, func() time.Time { return f.now }, metrics)
	return f
}

// settle applies everything, shard by shard.
func (f *fixture) settle(t *testing.T) {
	t.Helper()
	for _, shard := range []int{0, 1} {
		for range 1000 {
			outcome, err := f.Step(t.Context(), shard)
			if outcome == projector.Idle {
				outcome, err = f.Look(t.Context(), shard)
			}
			if err != nil {
				t.Fatal(err)
			}
			if outcome == projector.Idle {
				break
			}
		}
	}
}

func (f *fixture) applied(shard int) uint64 {
	checkpoints, _ := f.store.Checkpoints(context.Background())
	return checkpoints[shard].Index
}

// setBack forgets all entries of a shard behind an index, as a store does that is restored from an older copy.
func (j *journal) setBack(shard int, index uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries[shard] = j.entries[shard][:index]
	j.derived[shard] = index
	for stream, events := range j.history {
		j.history[stream] = slices.DeleteFunc(events, func(e domain.Event) bool { return e.Position.Shard == shard && e.Position.Index > index })
	}
}
