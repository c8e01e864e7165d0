package sqlite_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carryon/domain"
	"carryon/infra/sqlite"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func openLog(t testing.TB, path string) *sqlite.LogStore {
	t.Helper()
	s, err := sqlite.OpenLog(t.Context(), path, sqlite.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newLog(t testing.TB) *sqlite.LogStore {
	return openLog(t, filepath.Join(t.TempDir(), "carryon.db"))
}

// chain makes entries that follow on each other, as a writer would.
type chain struct {
	shard int
	index uint64
	id    domain.BatchID
	seqs  map[domain.StreamID]domain.Event
	salt  string
}

func newChain(shard int) *chain {
	return &chain{shard: shard, seqs: make(map[domain.StreamID]domain.Event)}
}

// next makes the next entry, with an event for each stream.
func (c *chain) next(streams ...domain.StreamID) *domain.Entry {
	c.index++
	e := &domain.Entry{Shard: c.shard, Index: c.index, PreviousID: c.id, Writer: "writer-1", RecordedAt: epoch.Add(time.Duration(c.index) * time.Millisecond)}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%d/%s", c.shard, c.index, c.salt))
	e.ID = domain.BatchID(sum[:16])
	c.id = e.ID
	for place, stream := range streams {
		before := c.seqs[stream]
		event := domain.Event{
			ID: fmt.Sprintf("evt_%s_%d", stream, before.Seq+1), Stream: stream, Seq: before.Seq + 1, Previous: before.Position,
			Position: domain.Position{Shard: c.shard, Index: c.index, Place: place}, Type: "LicenseIssued", SchemaVersion: 1,
			OccurredAt: e.RecordedAt, RecordedAt: e.RecordedAt, CommandID: fmt.Sprintf("cmd-%d-%d", c.index, place),
			Actor: domain.Actor{ID: "device-1", Role: domain.RoleDevice}, Payload: fmt.Appendf(nil, `{"stream":%q,"seq":%d}`, stream, before.Seq+1),
		}
		c.seqs[stream] = event
		e.Events = append(e.Events, event)
	}
	return e
}

var ignorePrivate = cmpopts.IgnoreUnexported(domain.Event{})

func sameEvents(t testing.TB, want, got []domain.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got, ignorePrivate); diff != "" {
		t.Error(diff)
	}
}

func claim(t testing.TB, s *sqlite.LogStore, e *domain.Entry) {
	t.Helper()
	got, err := s.Claim(t.Context(), e)
	if err != nil || !got.Applied {
		t.Fatalf("claim of entry %d: %+v, %v", e.Index, got, err)
	}
}

func TestAClaimedEntryIsReadBackAsItWas(t *testing.T) {
	t.Parallel()
	s, c := newLog(t), newChain(1)
	first, second := c.next("customer/a", "customer/b", "customer/a"), c.next("customer/b")
	claim(t, s, first)
	claim(t, s, second)
	page, err := s.Read(t.Context(), 1, 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]domain.Entry{*first, *second}, page, ignorePrivate); diff != "" {
		t.Error(diff)
	}
	events, err := s.ReadStream(t.Context(), "customer/b", 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	sameEvents(t, []domain.Event{first.Events[1], second.Events[0]}, events)
}
