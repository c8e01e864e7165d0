package readmodel

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

func TestRecentKeepsWhatWasUsedLatelyWithinItsLimit(t *testing.T) {
	t.Parallel()
	r := newRecent[int](100, func(n int) int { return n })
	for k := range 1000 {
		r.put(k, 1)
		if v, ok := r.get(0); !ok || v != 1 {
			t.Fatalf("what is used all the time is gone after %d others", k)
		}
		if n := len(r.young) + len(r.old); n > 102 {
			t.Fatalf("%d are kept, at most 100 should be", n)
		}
	}
	if _, ok := r.get(1); ok {
		t.Error("what was not used for long is kept")
	}
	for range 1000 {
		r.put(0, 7) // the same again and again takes no more room
	}
	if len(r.young)+len(r.old) < 50 {
		t.Errorf("replacing one has dropped others: %d are left", len(r.young)+len(r.old))
	}
	r.forget()
	if _, ok := r.get(0); ok || r.used != 0 {
		t.Error("it does not forget")
	}
}

// Two connections write, roll back, mend and are read by turns: each of them always sees what was committed last, whatever
// it remembers.
func TestWhatIsRememberedIsWhatStandsInTheFile(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			stores, lists := make([]*Customers, 2), make([]*Timeline, 2)
			for i := range stores {
				stores[i] = openedIn(t, func() (*Customers, error) {
					return OpenCustomers(t.Context(), filepath.Join(dir, "customers.1.db"), query.NewPseudonyms([]byte("k")))
				})
				lists[i] = openedIn(t, func() (*Timeline, error) { return OpenTimeline(t.Context(), filepath.Join(dir, "timeline.1.db")) })
			}
			for i := range stores { // small enough to drop what is still wanted
				stores[i].saved.limit, lists[i].numbers.limit = 6*(stateOverhead+2), 6
			}
			states, numbered := map[domain.StreamID]projector.CustomerState{}, map[domain.StreamID]uint64{}
			for step := range 200 {
				switchTo := rng.IntN(len(stores))
				if rng.IntN(8) > 0 { // mostly the same one goes on
					switchTo = 0
				}
				states = stepOfCustomers(t, rng, stores[switchTo], states, step)
				numbered = stepOfNumbers(t, rng, lists[switchTo], numbered, step)
			}
		})
	}
}

func openedIn[S interface{ Close() error }](t *testing.T, open func() (S, error)) S {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func someStreams(rng *rand.Rand) []domain.StreamID {
	var some []domain.StreamID
	for i := range 12 {
		if rng.IntN(3) == 0 {
			some = append(some, domain.CustomerStream(fmt.Sprint("c", i)))
		}
	}
	return some
}

// stepOfCustomers does one transaction, which may be rolled back, and returns what must stand in the file then.
func stepOfCustomers(t *testing.T, rng *rand.Rand, s *Customers, before map[domain.StreamID]projector.CustomerState, step int) map[domain.StreamID]projector.CustomerState {
	t.Helper()
	after := maps.Clone(before)
	tx, err := s.Begin(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	read, err := tx.States(t.Context(), someStreams(rng))
	if err != nil {
		t.Fatal(err)
	}
	for stream, got := range read {
		if want := before[stream]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("step %d: %s is read as %v, %v was committed", step, stream, got, want)
		}
	}
	var rows []projector.CustomerState
	for _, stream := range someStreams(rng) {
		row := projector.CustomerState{
			Stream: stream, Version: before[stream].Version + 1, FoldVersion: domain.FoldVersion, State: []byte(fmt.Sprint(step)),
			Position: domain.Position{Shard: 1, Index: uint64(step)}, RecordedAt: time.Unix(int64(1+step), 123).UTC(),
		}
		rows = append(rows, row)
		row.RecordedAt = row.RecordedAt.Truncate(time.Microsecond)
		after[stream] = row
	}
	if err := tx.SaveStates(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	if rng.IntN(6) == 0 {
		gone := domain.CustomerStream(fmt.Sprint("c", rng.IntN(12)))
		clearing, ok := tx.(projector.Clearing)
		if !ok {
			t.Fatal("it can't be cleared")
		}
		if err := clearing.Clear(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		delete(after, gone)
	}
	if rng.IntN(4) == 0 {
		return before
	}
	if err := tx.Commit(t.Context(), projector.Checkpoint{Index: uint64(step + 1)}); err != nil {
		t.Fatal(err)
	}
	if states, err := tx.States(t.Context(), someStreams(rng)); err == nil {
		t.Fatalf("a transaction that is over answered %v", states)
	}
	if err := tx.SaveStates(t.Context(), rows[:0]); err == nil {
		t.Fatal("a transaction that is over saved states")
	}
	all, err := s.StatesAfter(t.Context(), "", 100)
	if err != nil || len(all) != len(after) {
		t.Fatalf("step %d: %d states, %v; want %d", step, len(all), err, len(after))
	}
	for _, got := range all {
		if want := after[got.Stream]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("step %d: %s stands as %v, want %v", step, got.Stream, got, want)
		}
		if found, err := s.ThingsBehind(t.Context(), s.pseudonyms.Customer(got.Stream.ID())); err != nil || len(found) != 1 || found[0].Customer != got.Stream.ID() {
			t.Fatalf("step %d: behind the pseudonym of %s: %v, %v", step, got.Stream, found, err)
		}
	}
	return after
}

// stepOfNumbers sets versions of some streams, or takes one away.
func stepOfNumbers(t *testing.T, rng *rand.Rand, s *Timeline, before map[domain.StreamID]uint64, step int) map[domain.StreamID]uint64 {
	t.Helper()
	after := maps.Clone(before)
	tx, err := s.begin(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	var rows []projector.StreamVersion
	for _, stream := range someStreams(rng) {
		after[stream]++
		rows = append(rows, projector.StreamVersion{Stream: stream, Version: after[stream], Position: domain.Position{Shard: 1, Index: uint64(step)}})
	}
	if err := tx.SetVersions(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	if rng.IntN(6) == 0 {
		gone := domain.CustomerStream(fmt.Sprint("c", rng.IntN(12)))
		if err := tx.forget(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		delete(after, gone)
	}
	known := slices.Sorted(maps.Keys(after))
	numbers, err := tx.numbersOf(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range known {
		var n int64
		if found, err := tx.one(t.Context(), "SELECT id FROM streams WHERE stream = ?", []any{stream}, &n); err != nil || !found || n != numbers[stream] {
			t.Fatalf("step %d: %s has number %d, and %d is remembered (%v)", step, stream, n, numbers[stream], err)
		}
	}
	if rng.IntN(4) == 0 {
		return before
	}
	if err := tx.Commit(t.Context(), projector.Checkpoint{Index: uint64(step + 1)}); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		stream := domain.CustomerStream(fmt.Sprint("c", i))
		if v, err := s.StreamVersion(t.Context(), stream); err != nil || v.Version != after[stream] {
			t.Fatalf("step %d: %s is at version %d (%v), want %d", step, stream, v.Version, err, after[stream])
		}
	}
	return after
}
