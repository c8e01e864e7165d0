package command

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"carryon/domain"
)

func entryOf(index uint64, payload int) *domain.Entry {
	return &domain.Entry{Index: index, Events: []domain.Event{{Stream: "customer/a", Seq: index, Payload: make([]byte, payload)}}}
}

func TestRecentEntriesAreKeptAsLongAsTheyAreNeededAndFitAndLeaveViewsAlone(t *testing.T) {
	t.Parallel()
	const limit = 8 << 20
	r := recentEntries{limit: limit}
	random := rand.New(rand.NewPCG(1, 2))
	type seen struct {
		view        []*domain.Entry
		first, last uint64
	}
	var views []seen
	needed := uint64(1)
	for index := uint64(1); index <= 2000; index++ {
		if index%700 > 400 && random.IntN(10) == 0 {
			needed += uint64(random.IntN(int(index-needed) + 1)) // at times it stays far behind
		}
		r.add(entryOf(index, random.IntN(40_000)), needed)
		v := r.view()
		first := v[0].Index
		bytes := sizeOf(v)
		if bytes != r.bytes || bytes > limit || first < needed && bytes > 2*recentKept {
			t.Fatalf("%d bytes (counted: %d) from entry %d on, needed from %d on", bytes, r.bytes, first, needed)
		}
		if dropped := first > 1 && first > needed; dropped && bytes < limit-200_000 {
			t.Fatalf("entry %d is needed, and only %d bytes from entry %d on are kept", needed, bytes, first)
		}
		views = append(views, seen{v, first, index})
		if got, ok := r.events(eventsRequest{stream: "customer/a", seq: index, count: 1, index: index}); !ok || got[0].Seq != index {
			t.Fatalf("the newest event: %+v, %v", got, ok)
		}
		if _, ok := r.events(eventsRequest{stream: "customer/a", seq: index, count: 2, index: index}); ok {
			t.Fatal("found more events than there are")
		}
		if _, ok := r.events(eventsRequest{stream: "customer/a", seq: 1, count: 1}); ok {
			t.Fatal("found events without knowing their entry")
		}
		if from := r.from(index + 1); len(from) != 0 {
			t.Fatalf("%d entries after the newest", len(from))
		}
	}
	for _, v := range views {
		if v.view[0].Index != v.first || v.view[len(v.view)-1].Index != v.last || uint64(len(v.view)) != v.last-v.first+1 {
			t.Fatalf("the view of %d to %d has changed", v.first, v.last)
		}
	}
}

func sizeOf(entries []*domain.Entry) (bytes int) {
	for _, e := range entries {
		bytes += memoryBytes(e)
	}
	return bytes
}

// The ring of loaded streams keeps the order of use.
func TestStreamsAreKeptInOrderOfUse(t *testing.T) {
	t.Parallel()
	s := &shard{streams: make(map[domain.StreamID]*stream)}
	var want []domain.StreamID // oldest first
	random := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		id := domain.StreamID(fmt.Sprint(random.IntN(12)))
		st := s.use(id)
		at := slices.Index(want, id)
		if at >= 0 {
			want = slices.Delete(want, at, at+1)
		}
		switch {
		case at < 0:
			st.bytes = 1
			s.hot.push(st)
		case random.IntN(3) == 0:
			s.drop(st)
			checkRing(t, &s.hot, want)
			continue
		}
		want = append(want, id)
		checkRing(t, &s.hot, want)
	}
}

func checkRing(t *testing.T, r *ring, want []domain.StreamID) {
	t.Helper()
	var got []domain.StreamID
	for st := r.oldest(); st != nil; st = r.after(st) {
		got = append(got, st.id)
	}
	if !slices.Equal(got, want) || r.bytes != len(want) {
		t.Fatalf("the ring is %v (%d bytes), want %v", got, r.bytes, want)
	}
}

func TestPausesGrowUpToALimit(t *testing.T) {
	t.Parallel()
	s := &shard{cfg: WriterConfig{}.withDefaults(), random: rand.New(rand.NewPCG(1, 1))}
	for n := 1; n < 100; n++ {
		whole := min(s.cfg.BackoffMax, s.cfg.BackoffMin<<min(n-1, 20))
		if d := s.backoff(n); d < whole/2 || d > whole {
			t.Fatalf("pause %d is %s, want between %s and %s", n, d, whole/2, whole)
		}
	}
}
