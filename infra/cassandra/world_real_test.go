//go:build real || ring

package cassandra_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
	"carryon/infra/conformance"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// chain makes entries that follow on each other, as a writer would.
type chain struct {
	shard   int
	entries []domain.Entry
	last    map[domain.StreamID]domain.Event
	salt    string
}

func newChain(shard int) *chain {
	return &chain{shard: shard, last: make(map[domain.StreamID]domain.Event)}
}

// next makes the next entry, with an event for each stream.
func (c *chain) next(streams ...domain.StreamID) *domain.Entry {
	index := uint64(len(c.entries)) + 1
	e := domain.Entry{Shard: c.shard, Index: index, Writer: "writer-1", RecordedAt: epoch.Add(time.Duration(index) * time.Millisecond)}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%d/%s", c.shard, index, c.salt))
	e.ID = domain.BatchID(sum[:16])
	if index > 1 {
		e.PreviousID = c.entries[index-2].ID
	}
	for place, stream := range streams {
		before := c.last[stream]
		event := domain.Event{
			ID: fmt.Sprintf("evt_%s_%d", stream, before.Seq+1), Stream: stream, Seq: before.Seq + 1, Previous: before.Position,
			Position: domain.Position{Shard: c.shard, Index: index, Place: place}, Type: "LicenseIssued", SchemaVersion: 1,
			OccurredAt: e.RecordedAt, RecordedAt: e.RecordedAt, CommandID: fmt.Sprintf("cmd-%d-%d", index, place),
			Actor: domain.Actor{ID: "device-1", Role: domain.RoleDevice}, Payload: fmt.Appendf(nil, `{"stream":%q,"seq":%d}`, stream, before.Seq+1),
		}
		c.last[stream] = event
		e.Events = append(e.Events, event)
	}
	c.entries = append(c.entries, e)
	return &e
}

var ignorePrivate = cmp.Options{
	cmpopts.IgnoreUnexported(domain.Event{}), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }),
}

func claim(t testing.TB, s *cassandra.Store, e *domain.Entry) {
	t.Helper()
	got, err := s.Claim(t.Context(), e)
	if err != nil || !got.Applied {
		t.Fatalf("claim of entry %d of shard %d: %+v, %v", e.Index, e.Shard, got, err)
	}
}

// wantLog reads a log from its beginning to its end.
func wantLog(t testing.TB, s *cassandra.Store, c *chain) {
	t.Helper()
	var all []domain.Entry
	for {
		page, err := s.Read(t.Context(), c.shard, uint64(len(all))+1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
	}
	if diff := cmp.Diff(c.entries, all, ignorePrivate); diff != "" {
		t.Error(diff)
	}
}

// streamOf reads a history to its end.
func streamOf(t testing.TB, s *cassandra.Store, stream domain.StreamID, maxBytes int) []domain.Event {
	t.Helper()
	var all []domain.Event
	for {
		page, err := s.ReadStream(t.Context(), stream, uint64(len(all))+1, maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// eventually tries until it is right.
func eventually(t testing.TB, try func() (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var err error
	for {
		var ok bool
		if ok, err = try(); ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it did not come right; at last: %v", err)
		}
	}
}

// noise is a payload that can't be compressed to much less.
func noise(bytes int) []byte {
	raw := make([]byte, bytes*3/4)
	_, _ = rand.Read(raw)
	return append(append([]byte{'"'}, base64.RawStdEncoding.EncodeToString(raw)...), '"')
}

// startWriter runs a shard writer over a store, with a domain that adds up.
func startWriter(t testing.TB, name string, s *cassandra.Store) *command.Writer {
	t.Helper()
	w, err := command.NewWriter(command.WriterConfig{Name: name, Shards: s.Layout().Shards}, command.WriterPorts{
		Log: s, Histories: s, Snapshots: s, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}
