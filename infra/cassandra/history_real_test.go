//go:build real

package cassandra_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
)

func TestHistoriesOfAnySizeComeBack(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	cfg.Layout.HistoryBucket = 100
	s, c := open(t, cfg), newChain(1)
	want := make(map[domain.StreamID][]domain.Event)
	for i := range 12 { // events from a few bytes to many, streams from one event to 700
		e := c.next("customer/big", "customer/small", domain.CustomerStream(fmt.Sprint("c-", i)))
		e.Events[0].Payload, e.Events[1].Payload = noise(200<<10), noise(10+i*400)
		for range 58 {
			event := c.last["customer/long"]
			event.ID, event.Stream, event.Type, event.SchemaVersion = fmt.Sprint("evt-", event.Seq), "customer/long", "Added", 1
			event.Previous = event.Position
			event.Seq++
			event.RecordedAt, event.OccurredAt = e.RecordedAt, e.RecordedAt
			event.Position = domain.Position{Shard: 1, Index: e.Index, Place: len(e.Events)}
			event.Payload = []byte(`{}`)
			c.last["customer/long"] = event
			e.Events = append(e.Events, event)
		}
		claim(t, s, e)
		for _, event := range e.Events {
			want[event.Stream] = append(want[event.Stream], event)
		}
		if err := s.Derive(t.Context(), []domain.Entry{*e}); err != nil {
			t.Fatal(err)
		}
	}
	for _, maxBytes := range []int{1000, 1 << 20} {
		for stream, events := range want {
			if diff := cmp.Diff(events, streamOf(t, s, stream, maxBytes), ignorePrivate); diff != "" {
				t.Errorf("%s: %.2000s", stream, diff)
			}
		}
	}
}

func TestAHoleBeforeAnotherBucketIsTold(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	cfg.Layout.HistoryBucket = 4
	s, c := open(t, cfg), newChain(1)
	for range 12 {
		e := c.next("customer/a")
		claim(t, s, e)
	}
	if err := s.Derive(t.Context(), c.entries); err != nil {
		t.Fatal(err)
	}
	for _, gone := range [][2]uint64{{8, 8}, {5, 8}, {7, 8}} {
		loseHistory(t, cfg, "customer/a", gone[0], gone[1])
		for _, from := range []uint64{1, gone[0]} {
			var err error
			for next := from; err == nil; {
				var page []domain.Event
				if page, err = s.ReadStream(t.Context(), "customer/a", next, 1); err == nil && len(page) == 0 {
					t.Fatalf("events %v are gone, and reading from %d on ended at %d", gone, from, next)
				}
				next += uint64(len(page))
			}
			if !errors.Is(err, command.ErrDiffers) {
				t.Errorf("%v", err)
			}
		}
		if err := s.Derive(t.Context(), c.entries); err != nil {
			t.Fatal(err)
		}
		if got := streamOf(t, s, "customer/a", 1<<20); len(got) != 12 {
			t.Fatalf("%d events after deriving again", len(got))
		}
	}
}

func TestProgressMovesOnlyWhenEveryRowIsThere(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	s, c := open(t, cfg), newChain(1)
	for range 3 {
		claim(t, s, c.next("customer/a", "customer/b"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Derive(ctx, c.entries); !errors.Is(err, command.ErrUnavailable) {
		t.Error(err)
	}
	raw(t, cfg).exec(`ALTER TABLE history DROP place`)
	if err := s.Derive(t.Context(), c.entries); err == nil {
		t.Error("a history that can't be written was derived")
	}
	if index, err := open(t, cfg).Progress(t.Context(), 1); err != nil || index != 0 {
		t.Errorf("%d, %v", index, err)
	}
}

func TestAProcessThatComesLateDoesNotMoveTheProgressBack(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	late, other, c := open(t, cfg), open(t, cfg), newChain(1)
	for range 6 {
		claim(t, late, c.next("customer/a"))
	}
	derive := func(s *cassandra.Store, from, to int) {
		t.Helper()
		if err := s.Derive(t.Context(), c.entries[from:to]); err != nil {
			t.Fatal(err)
		}
	}
	derive(late, 0, 2)
	derive(other, 2, 6)
	derive(late, 2, 4) // knows only of its own
	if index, err := other.Progress(t.Context(), 1); err != nil || index != 6 {
		t.Errorf("%d, %v", index, err)
	}
}
