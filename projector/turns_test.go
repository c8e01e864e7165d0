package projector_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carryon/domain"
	"carryon/infra/memory/readmodel"
	"carryon/projector"
)

// slowly counts who applies at the same time; it never comes back while hang is set.
type slowly struct {
	counting
	now, most *atomic.Int64
	hang      chan struct{}
}

func (s slowly) Apply(ctx context.Context, tx *readmodel.Tx, events []*domain.Event) error {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	if s.hang != nil {
		<-s.hang
	}
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
	}
	return s.counting.Apply(ctx, tx, events)
}

func TestConsumersTakeTurns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		busy bool
		most int64
	}{{"while commands queue", true, 1}, {"otherwise", false, 2}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			consumersTakeTurns(t, projector.NewTurns(2, 1, 1, func() bool { return c.busy }), c.most)
		})
	}
}

func consumersTakeTurns(t *testing.T, turns *projector.Turns, atOnce int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		fixtures := make([]*fixture, 3)
		for i := range fixtures {
			fixtures[i] = newFixture(projector.Config{Turns: turns}, slowly{now: &now, most: &most}, nil)
		}
		together(t, fixtures, func() {
			for range 20 {
				for _, f := range fixtures {
					f.Offer(f.journal.claim(1, "a"))
				}
				pass(20 * time.Millisecond)
			}
			for _, f := range fixtures {
				if f.applied(1) != 20 {
					t.Errorf("applied up to %d of 20", f.applied(1))
				}
			}
		})
		if most.Load() != atOnce {
			t.Errorf("%d applied at the same time, not %d", most.Load(), atOnce)
		}
	})
}

func TestAModelThatHangsHoldsNoOtherForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := projector.NewTurns(1, 1, 1, func() bool { return false })
		var now, most atomic.Int64
		hang := make(chan struct{})
		hanging := newFixture(projector.Config{Turns: turns}, slowly{now: &now, most: &most, hang: hang}, nil)
		other := newFixture(projector.Config{Turns: turns}, slowly{now: &now, most: &most}, nil)
		together(t, []*fixture{hanging, other}, func() {
			hanging.Offer(hanging.journal.claim(1, "a"))
			pass(time.Millisecond)
			other.Offer(other.journal.claim(1, "a"))
			pass(time.Second)
			if other.applied(1) != 1 {
				t.Error("the other model was held")
			}
			close(hang)
			pass(time.Second)
			if hanging.applied(1) != 1 {
				t.Error("the model that hung did not go on")
			}
		})
	})
}

// Whoever goes on because his patience ended is counted: they go one after the other, not all at once.
func TestBehindOneThatHangsTheOthersGoOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := projector.NewTurns(1, 1, 1, func() bool { return false })
		var held, now, most atomic.Int64
		hang := make(chan struct{})
		hanging := newFixture(projector.Config{Turns: turns}, slowly{now: &held, most: &held, hang: hang}, nil)
		others := make([]*fixture, 4)
		for i := range others {
			others[i] = newFixture(projector.Config{Turns: turns}, slowly{now: &now, most: &most}, nil)
		}
		together(t, slices.Concat(others, []*fixture{hanging}), func() {
			hanging.Offer(hanging.journal.claim(1, "a"))
			pass(time.Millisecond)
			for range 5 {
				for _, f := range others {
					f.Offer(f.journal.claim(1, "a"))
				}
				pass(time.Second)
			}
			for _, f := range others {
				if f.applied(1) != 5 {
					t.Errorf("applied up to %d of 5", f.applied(1))
				}
			}
			close(hang)
			pass(time.Second)
		})
		if most.Load() != 1 {
			t.Errorf("%d went on at the same time", most.Load())
		}
	})
}

// Where a model has many shards, all of them are waited for as far as Turns know; they may not all go at once.
func TestManyWhoAreWaitedForDoNotAllGoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := projector.NewTurns(1, 1, 1, func() bool { return false })
		var now, most atomic.Int64
		fixtures := make([]*fixture, 5)
		for i := range fixtures {
			fixtures[i] = newFixture(projector.Config{Turns: turns}, slowly{now: &now, most: &most}, nil)
		}
		together(t, fixtures, func() {
			answers := make(chan error, len(fixtures))
			for _, f := range fixtures {
				go func() { answers <- f.WaitFor(t.Context(), domain.Position{Shard: 1, Index: 1}, "customer/a") }()
			}
			pass(time.Millisecond)
			asked := time.Now()
			for _, f := range fixtures {
				f.Offer(f.journal.claim(1, "a"))
			}
			for range fixtures {
				if err := <-answers; err != nil {
					t.Error(err)
				}
			}
			if waited := time.Since(asked); waited > 50*time.Millisecond {
				t.Errorf("the last one waited %v", waited)
			}
		})
		if most.Load() != 2 {
			t.Errorf("%d applied at the same time, not 2", most.Load())
		}
	})
}

// However many are waited for, and however long they take, the others go on.
func TestTheOthersGoOnBesideManyWhoAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := projector.NewTurns(1, 1, 1, func() bool { return false })
		var now, most atomic.Int64
		hang := make(chan struct{})
		other := newFixture(projector.Config{Turns: turns}, counting{}, nil)
		fixtures := []*fixture{other}
		for range 20 {
			fixtures = append(fixtures, newFixture(projector.Config{Turns: turns}, slowly{now: &now, most: &most, hang: hang}, nil))
		}
		together(t, fixtures, func() {
			answers := make(chan error, len(fixtures))
			for _, f := range fixtures[1:] {
				go func() { answers <- f.WaitFor(t.Context(), domain.Position{Shard: 1, Index: 1}, "customer/a") }()
				f.Offer(f.journal.claim(1, "a"))
			}
			pass(time.Millisecond)
			other.Offer(other.journal.claim(1, "a"))
			pass(300 * time.Millisecond)
			if other.applied(1) != 1 {
				t.Error("the other was held")
			}
			if now.Load() == 20 {
				t.Error("all who are waited for went at once")
			}
			close(hang)
			for range fixtures[1:] {
				if err := <-answers; err != nil {
					t.Error(err)
				}
			}
		})
	})
}

// together runs several consumers at once.
func together(t *testing.T, fixtures []*fixture, do func()) {
	t.Helper()
	if len(fixtures) == 0 {
		do()
		return
	}
	_ = running(t, fixtures[0], func() { together(t, fixtures[1:], do) })
}

// noting writes down who applies, and whether in a hurry.
type noting struct {
	counting
	name string
	into chan<- string
}

func (n noting) Apply(ctx context.Context, tx *readmodel.Tx, events []*domain.Event) error {
	if tx.Hurried {
		n.name += " in a hurry"
	}
	n.into <- n.name
	return n.counting.Apply(ctx, tx, events)
}

func TestWhoIsWaitedForGoesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := projector.NewTurns(1, 1, 1, func() bool { return false })
		var now, most atomic.Int64
		hang, applied := make(chan struct{}), make(chan string, 2)
		holder := newFixture(projector.Config{Turns: turns}, slowly{now: &now, most: &most, hang: hang}, nil)
		early := newFixture(projector.Config{Turns: turns}, noting{name: "early", into: applied}, nil)
		awaited := newFixture(projector.Config{Turns: turns}, noting{name: "awaited", into: applied}, nil)
		together(t, []*fixture{holder, early, awaited}, func() {
			for _, f := range []*fixture{holder, early, awaited} {
				f.Offer(f.journal.claim(1, "a"))
				pass(time.Millisecond)
			}
			asked := time.Now()
			if err := awaited.WaitFor(t.Context(), domain.Position{Shard: 1, Index: 1}, "customer/a"); err != nil {
				t.Error(err)
			}
			if waited := time.Since(asked); waited > 10*time.Millisecond {
				t.Errorf("who was waited for waited %v for others' turns", waited)
			}
			close(hang)
			if first := <-applied; first != "awaited in a hurry" {
				t.Errorf("%s went first", first)
			}
			if second := <-applied; second != "early" {
				t.Errorf("then %s", second)
			}
		})
	})
}

func TestOthersHoldBackWhileSomebodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := projector.NewTurns(2, 2, 1, func() bool { return false })
		var now, most atomic.Int64
		hang, applied := make(chan struct{}), make(chan string, 1)
		awaited := newFixture(projector.Config{Turns: turns}, slowly{now: &now, most: &most, hang: hang}, nil)
		other := newFixture(projector.Config{Turns: turns}, noting{name: "other", into: applied}, nil)
		together(t, []*fixture{awaited, other}, func() {
			answer := make(chan error, 1)
			go func() { answer <- awaited.WaitFor(t.Context(), domain.Position{Shard: 1, Index: 1}, "customer/a") }()
			pass(time.Millisecond)
			awaited.Offer(awaited.journal.claim(1, "a"))
			pass(time.Millisecond)
			other.Offer(other.journal.claim(1, "a"))
			pass(50 * time.Millisecond)
			if len(applied) > 0 {
				t.Error("another applied beside the one that is waited for")
			}
			close(hang)
			if err := <-answer; err != nil {
				t.Error(err)
			}
			pass(time.Second)
			if len(applied) == 0 {
				t.Error("the other did not go on afterwards")
			}
		})
	})
}
