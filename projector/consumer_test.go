package projector_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"carryon/domain"
	"carryon/infra/memory/readmodel"
	"carryon/projector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running runs a fixture's consumer in a bubble of its own time, in which the fixture must be made, and stops it.
func running(t *testing.T, f *fixture, during func()) (result error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { result = f.Run(ctx) })
	synctest.Wait()
	during()
	cancel()
	group.Wait()
	return result
}

// pass lets a bubble's time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// failing makes a store fail until it is healed, and counts.
type failing struct {
	*readmodel.Store
	mu       sync.Mutex
	err      error
	attempts int
}

func (s *failing) Begin(ctx context.Context, shard int) (*readmodel.Tx, error) {
	s.mu.Lock()
	s.attempts++
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.Store.Begin(ctx, shard)
}

// since counts the attempts after an earlier count.
func (s *failing) since(before int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts - before
}

func (s *failing) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = nil
}

func TestAnOfferedEntryIsAppliedAtOnceAfterAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, checkAnOfferedEntryIsAppliedAtOnceAfterAPause)
}

func checkAnOfferedEntryIsAppliedAtOnceAfterAPause(t *testing.T) {
	f := newFixture(projector.Config{Pace: 10 * time.Millisecond}, counting{}, nil)
	_ = running(t, f, func() {
		for range 50 {
			pass(11 * time.Millisecond)
			before := time.Now()
			e := f.journal.claim(1, "a", "b")
			f.Offer(e)
			synctest.Wait()
			if f.applied(1) != e.Index || time.Since(before) > 0 {
				t.Fatalf("applied up to %d of %d after %v", f.applied(1), e.Index, time.Since(before))
			}
		}
	})
}

func TestAModelThatNobodyWaitsForTakesItsTimeUntilSomebodyDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, checkAModelThatNobodyWaitsForTakesItsTimeUntilSomebodyDoes)
}

func checkAModelThatNobodyWaitsForTakesItsTimeUntilSomebodyDoes(t *testing.T) {
	f := newFixture(projector.Config{Pace: 10 * time.Millisecond, Leisure: 50 * time.Millisecond}, counting{}, nil)
	_ = running(t, f, func() {
		pass(time.Second)
		var steps, last uint64
		for range 500 { // one a millisecond
			f.Offer(f.journal.claim(1, "a"))
			synctest.Wait()
			if at := f.applied(1); at != last {
				steps, last = steps+1, at
			}
			pass(time.Millisecond)
		}
		if steps < 9 || steps > 12 {
			t.Errorf("500 entries in half a second were applied in %d transactions, want about 10", steps)
		}
		pass(time.Second)
		f.Offer(f.journal.claim(1, "a"))
		pass(15 * time.Millisecond) // the pace is over, the leisure is not
		e := f.journal.claim(1, "a")
		f.Offer(e)
		synctest.Wait()
		if f.applied(1) >= e.Index {
			t.Fatal("it was applied although nobody waits")
		}
		before := time.Now()
		if err := f.WaitFor(t.Context(), domain.Position{Shard: 1, Index: e.Index}, "customer/a"); err != nil {
			t.Error(err)
		}
		if took := time.Since(before); took > time.Millisecond {
			t.Errorf("who waits waited for %v", took)
		}
	})
}

func TestEntriesThatComeCloseTogetherShareATransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, checkEntriesThatComeCloseTogetherShareATransaction)
}

func checkEntriesThatComeCloseTogetherShareATransaction(t *testing.T) {
	f := newFixture(projector.Config{Pace: 10 * time.Millisecond}, counting{}, nil)
	_ = running(t, f, func() {
		pass(time.Second)
		var steps, last uint64
		for range 500 { // one a millisecond
			f.Offer(f.journal.claim(1, "a"))
			synctest.Wait()
			if at := f.applied(1); at != last {
				steps, last = steps+1, at
			}
			pass(time.Millisecond)
		}
		if steps < 45 || steps > 55 {
			t.Errorf("500 entries in half a second were applied in %d transactions, want about 50", steps)
		}
		pass(10 * time.Millisecond)
		if tail := uint64(len(f.journal.entries[1])); f.applied(1) != tail {
			t.Errorf("applied up to %d of %d", f.applied(1), tail)
		}
	})
}

func TestABacklogWaitsForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(projector.Config{MaxEvents: 4, PageBytes: 3000}, counting{}, nil)
		for range 200 {
			f.journal.claim(1, "a", "b")
		}
		before := time.Now()
		_ = running(t, f, func() {
			if f.applied(1) != 200 || time.Since(before) > 0 {
				t.Errorf("applied up to %d of 200 after %v", f.applied(1), time.Since(before))
			}
		})
	})
}

func TestALostMessageCostsNoMoreThanAQuietMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, checkALostMessageCostsNoMoreThanAQuietMoment)
}

func checkALostMessageCostsNoMoreThanAQuietMoment(t *testing.T) {
	f := newFixture(projector.Config{QuietMin: 100 * time.Millisecond, QuietMax: time.Second}, counting{}, nil)
	_ = running(t, f, func() {
		for range 20 {
			f.journal.claim(1, "a")
			pass(1200 * time.Millisecond) // a second and its fifth
			synctest.Wait()
			if f.applied(1) != uint64(len(f.journal.entries[1])) {
				t.Fatalf("applied up to %d of %d", f.applied(1), len(f.journal.entries[1]))
			}
		}
	})
}

func TestAQuietShardIsLookedAtRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, checkAQuietShardIsLookedAtRarely)
}

func checkAQuietShardIsLookedAtRarely(t *testing.T) {
	f := newFixture(projector.Config{QuietMin: 100 * time.Millisecond, QuietMax: 2 * time.Second}, counting{}, nil)
	f.journal.claim(0, "a")
	_ = running(t, f, func() {
		pass(10 * time.Second)
		before := f.journal.readCount()
		pass(time.Minute)
		if looks := f.journal.readCount() - before; looks < 2*25 || looks > 2*38 {
			t.Errorf("two shards were looked at %d times in a minute, want about 60", looks)
		}
	})
}

func TestAShardWhoseMessagesGoElsewhereIsLookedAtMoreRarelyAndStillFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, checkAShardWhoseMessagesGoElsewhere)
}

func checkAShardWhoseMessagesGoElsewhere(t *testing.T) {
	f := newFixture(projector.Config{
		QuietMin: 100 * time.Millisecond, QuietMax: time.Second, QuietElsewhere: 20 * time.Second, Assigned: func(shard int) bool { return shard == 0 },
	}, counting{}, nil)
	_ = running(t, f, func() {
		pass(30 * time.Second)
		f.journal.claim(0, "a")
		f.journal.claim(1, "b")
		pass(1200 * time.Millisecond)
		if f.applied(0) != 1 {
			t.Error("a shard of our own was not looked at within a second")
		}
		before := f.journal.readCount()
		pass(5 * time.Minute)
		if f.applied(1) != 1 {
			t.Error("a shard whose messages go elsewhere was not followed")
		}
		// Our own one is looked at about every second, and the other one about every twenty.
		if looks := f.journal.readCount() - before; looks > 420 {
			t.Errorf("%d looks in five minutes", looks)
		}
	})
}

func TestPausesAfterFailuresGrowAndAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, checkPausesAfterFailuresGrowAndAreBounded)
}

func checkPausesAfterFailuresGrowAndAreBounded(t *testing.T) {
	store := &failing{Store: readmodel.New(), err: fmt.Errorf("locked: %w", projector.ErrTransient)}
	f := &fixture{journal: newJournal(), store: store.Store}
	f.Consumer = projector.NewConsumer(projector.Config{RetryMin: 50 * time.Millisecond, RetryMax: 5 * time.Second},
		projector.Projection[*readmodel.Tx](counting{}), projector.Store[*readmodel.Tx](store), f.journal, f.journal, []int{1}, time.Now, nil)
	e := f.journal.claim(1, "a")
	_ = running(t, f, func() {
		f.Offer(e)
		pass(time.Second)
		if attempts := store.since(0); attempts < 3 || attempts > 8 {
			t.Errorf("%d attempts in the first second", attempts)
		}
		pass(30 * time.Second)
		before := store.since(0)
		pass(time.Minute)
		if attempts := store.since(before); attempts < 10 || attempts > 15 {
			t.Errorf("%d attempts in a minute, want about 12", attempts)
		}
		if status := f.Status()[0]; status.Err == "" || status.LagEntries != 1 {
			t.Errorf("the status does not tell: %+v", status)
		}
		store.heal()
		pass(6 * time.Second)
		if f.applied(1) != 1 || f.Status()[0].Err != "" {
			t.Errorf("not applied after the store was healed: %+v", f.Status()[0])
		}
	})
}

func TestAStoppedShardHoldsNoOtherAndIsReportedInTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, checkAStoppedShardHoldsNoOtherAndIsReportedInTheEnd)
}

func checkAStoppedShardHoldsNoOtherAndIsReportedInTheEnd(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics := projector.NewMetrics(registry)
	f := newFixture(projector.Config{}, counting{}, metrics)
	metrics.Watch(f)
	for range 5 {
		f.journal.claim(1, "a")
	}
	err := running(t, f, func() {
		pass(time.Second)
		f.journal.mu.Lock()
		f.journal.entries[1] = f.journal.entries[1][:3]
		f.journal.mu.Unlock()
		pass(10 * time.Second)
		e := f.journal.claim(0, "b")
		f.Offer(e)
		synctest.Wait()
		if f.applied(0) != 1 {
			t.Error("the other shard is held")
		}
		if err := f.WaitFor(t.Context(), domain.Position{Shard: 1, Index: 6}, "customer/a"); !errors.Is(err, projector.ErrHistoryDiffers) {
			t.Errorf("waiting in a stopped shard: %v", err)
		}
	})
	if !errors.Is(err, projector.ErrHistoryDiffers) {
		t.Errorf("Run ended with %v", err)
	}
	for name, want := range map[string]float64{
		"carryon_projector_history_differs": 1, "carryon_projector_history_differs_total": 1, "carryon_projector_applied_index": 5,
	} {
		if got := gauge(t, registry, name, "1"); got != want {
			t.Errorf("%s of shard 1 is %v, want %v", name, got, want)
		}
	}
}

// gauge reads a metric of a shard.
func gauge(t *testing.T, registry *prometheus.Registry, name, shard string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if family.GetName() == name && label.GetName() == "shard" && label.GetValue() == shard {
					return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
				}
			}
		}
	}
	t.Fatalf("there is no %s of shard %s", name, shard)
	return 0
}

func TestTheStatusTellsTheLagInEntriesEventsAndTime(t *testing.T) {
	t.Parallel()
	f := newFixture(projector.Config{MaxEvents: 2}, counting{}, nil)
	offer := func(customers ...string) { f.Offer(f.journal.claim(1, customers...)) }
	offer("a", "b")
	f.settle(t)
	check := func(want projector.ShardStatus) {
		t.Helper()
		got := f.Status()[1]
		want.Model, want.Shard = "counting", 1
		got.Applied.ID = domain.BatchID{}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	check(projector.ShardStatus{Applied: projector.Checkpoint{Index: 1}, Tail: 1})
	offer("a", "b", "c", "d")
	offer("a")
	f.now = start.Add(12 * time.Second) // entry 2 was recorded at second 2
	check(projector.ShardStatus{Applied: projector.Checkpoint{Index: 1}, Tail: 3, LagEntries: 2, LagEvents: 5, Lag: 10 * time.Second})
	if _, err := f.Step(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	check(projector.ShardStatus{Applied: projector.Checkpoint{Index: 2}, Tail: 3, LagEntries: 1, LagEvents: 1, Lag: 9 * time.Second})
	f.Hint(1, 7) // four more, of which nothing is known: 7 events in 3 entries, a mean of 7/3
	check(projector.ShardStatus{Applied: projector.Checkpoint{Index: 2}, Tail: 7, LagEntries: 5, LagEvents: 10, LagEstimated: true, Lag: 9 * time.Second})
	f.settle(t)
	check(projector.ShardStatus{Applied: projector.Checkpoint{Index: 3}, Tail: 3})
}

func TestCatchUpAppliesWhatIsThereAndStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(projector.Config{MaxEvents: 3, PageBytes: 4000}, counting{}, nil)
		for range 100 {
			f.journal.claim(0, "a")
			f.journal.claim(1, "b", "c")
		}
		var last, of int64
		err := projector.Runners{f}.CatchUp(t.Context(), f.journal, []int{0, 1}, func(done, total int64) { last, of = done, total })
		if err != nil || f.applied(0) != 100 || f.applied(1) != 100 || last != 200 || of != 200 {
			t.Errorf("applied %d and %d, reported %d of %d: %v", f.applied(0), f.applied(1), last, of, err)
		}
		f.journal.entries[1] = f.journal.entries[1][:50]
		f.journal.claim(0, "a")
		if err := (projector.Runners{f}).CatchUp(t.Context(), f.journal, []int{0, 1}, nil); !errors.Is(err, projector.ErrHistoryDiffers) {
			t.Errorf("catching up with a log that forgot its tail: %v", err)
		}
	})
}
