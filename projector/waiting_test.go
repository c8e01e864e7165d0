package projector_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carryon/domain"
	"carryon/infra/memory/readmodel"
	"carryon/projector"
)

// polled counts how often the checkpoints are read.
type polled struct {
	*readmodel.Store
	reads atomic.Int64
}

func (p *polled) Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error) {
	p.reads.Add(1)
	return p.Store.Checkpoints(ctx)
}

func TestManyWhoWaitShareOneReadingOfTheCheckpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(projector.Config{}, counting{}, nil)
		store := &polled{Store: f.store}
		waiter := projector.NewWaiter(store)
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() {
				if err := waiter.WaitFor(t.Context(), domain.Position{Shard: 1, Index: 1}, "customer/a"); err != nil {
					t.Error(err)
				}
			})
		}
		pass(2 * time.Second)
		if reads := store.reads.Load(); reads < 15 || reads > 60 {
			t.Errorf("200 who wait read the checkpoints %d times in two seconds", reads)
		}
		f.journal.claim(1, "a")
		f.settle(t)
		before := time.Now()
		group.Wait()
		if took := time.Since(before); took > 120*time.Millisecond {
			t.Errorf("they noticed after %v", took)
		}
	})
}

func TestAWaitInTheConsumersProcessEndsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(projector.Config{}, counting{}, nil)
		f.settle(t)
		e := f.journal.claim(1, "a")
		before := time.Now()
		var took time.Duration
		var group sync.WaitGroup
		group.Go(func() {
			if err := f.WaitFor(t.Context(), e.Events[0].Position, "customer/a"); err != nil {
				t.Error(err)
			}
			took = time.Since(before)
		})
		synctest.Wait()
		f.Offer(e)
		if outcome, err := f.Step(t.Context(), 1); outcome != projector.Progressed {
			t.Errorf("%v, %v", outcome, err)
		}
		group.Wait()
		if took != 0 {
			t.Errorf("it ended after %v", took)
		}
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waiter := projector.NewWaiter(readmodel.New())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := time.Now()
		err := waiter.WaitFor(ctx, domain.Position{Shard: 1, Index: 1}, "customer/a")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != time.Second {
			t.Errorf("after %v: %v", time.Since(before), err)
		}
	})
}

func TestAWaitForAVersionEndsWhenTheRowsShowIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(projector.Config{}, counting{poison: "customer/a#4"}, nil)
		shown := func(context.Context) (uint64, error) {
			lines, err := show(context.Background(), f.store, "customer/a")
			return uint64(len(lines)), err
		}
		results := make(map[uint64]chan error)
		for version := uint64(1); version <= 4; version++ {
			result := make(chan error, 1)
			results[version] = result
			go func() { result <- f.Waiter().WaitForVersion(t.Context(), "customer/a", version, shown) }()
		}
		for version := uint64(1); version <= 4; version++ {
			synctest.Wait()
			select {
			case err := <-results[version]:
				t.Errorf("version %d is said to be shown before it was applied: %v", version, err)
			default:
			}
			f.journal.claim(1, "a")
			f.settle(t)
			err := <-results[version]
			if version == 4 != errors.Is(err, projector.ErrParked) || version < 4 && err != nil {
				t.Errorf("version %d: %v", version, err)
			}
		}
	})
}
