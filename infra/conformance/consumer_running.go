package conformance

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// contextFor is a context for what is not expected to happen, or to need no time.
func contextFor(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 50*time.Millisecond)
}

// patience is how long tests wait for what must happen.
const patience = 30 * time.Second

// slowModel: a model whose transaction hangs holds no other model of the process.
func slowModel[T projector.Tx](factory func(t testing.TB) ConsumerSubject[T]) func(*scene[T]) {
	return func(s *scene[T]) {
		slow := newScene(s.T, factory(s.T))
		// Of the slow model's other shards nothing is asked here, so that none of their transactions is under way when all
		// are told to stop: a server may commit one after whoever asked for it has gone.
		slow.log, slow.shards = s.log, []int{1}
		ctx, cancel := context.WithCancel(s.ctx)
		var group sync.WaitGroup
		defer group.Wait()
		defer cancel()

		fast, hanging := s.instance(quick), slow.instance(quick)
		reached := hanging.store.hangAt(ctx, opApply)
		runners := projector.Runners{hanging, fast}
		group.Go(func() { _ = runners.Run(ctx) })

		offer(runners, fill(s.log, 1, 1)...)
		<-reached
		entries := fill(s.log, 1, 20)
		offer(runners, entries...)
		offer(runners, fill(s.log, 0, 20)...)
		s.waitForTails(fast, s.shards...)
		cancel()
		group.Wait()
		s.checkAtTail()
		slow.checkAt(1, 0)
	}
}

// slowShard: a shard of which no transaction begins holds no other shard of its model.
func slowShard[T projector.Tx](s *scene[T]) {
	ctx, cancel := context.WithCancel(s.ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()

	one := s.instance(quick)
	reached := one.store.hangAt(ctx, opBegin)
	group.Go(func() { _ = one.Run(ctx) })
	one.Offer(fill(s.log, 1, 1)[0])
	<-reached
	offer(projector.Runners{one}, fill(s.log, 0, 20)...)
	s.waitForTails(one, 0)
	cancel()
	group.Wait()
	s.checkAt(0, s.log.tail(0))
	s.checkAt(1, 0)
}

// hangAt lets the first who comes to an op hang there until the context ends, and whoever comes there once he has left.
// Others go on meanwhile. The channel is closed when the first has come.
func (g *guardedStore[T]) hangAt(ctx context.Context, where op) <-chan struct{} {
	reached := make(chan struct{})
	var once sync.Once
	g.on(func(o op) error {
		if o != where {
			return nil
		}
		once.Do(func() { close(reached) })
		<-ctx.Done()
		return ctx.Err()
	})
	return reached
}

// waitForTails waits until an instance has applied all of some shards.
func (s *scene[T]) waitForTails(c *instance[T], shards ...int) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for _, shard := range shards {
		pos := domain.Position{Shard: shard, Index: s.log.tail(shard)}
		if err := c.WaitFor(ctx, pos, customer(shard, "a")); err != nil {
			s.Fatal(err)
		}
	}
}

func offer(runners projector.Runners, entries ...*domain.Entry) {
	for _, e := range entries {
		for _, r := range runners {
			r.Offer(e)
		}
	}
}

// runs: two instances run by themselves, some messages come, some come twice, some not at all, and one instance
// crashes in between.
func runs[T projector.Tx](s *scene[T]) {
	ctx, cancel := context.WithCancel(s.ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	one, other := s.instance(quick), s.instance(quick)
	group.Go(func() {
		if err := one.Run(ctx); err != nil {
			s.Error(err)
		}
	})
	group.Go(func() { _ = other.Run(ctx) })
	for i := range 200 {
		shard := i % 2
		kind := kindCounted
		if i == 100 {
			kind = kindPoison
		}
		e := s.log.claim(shard, line{"a", kindCounted}, line{"x", kind}, line{"b", kindCounted})
		if i%7 != 0 {
			one.Offer(e)
		}
		if i%3 != 0 {
			other.Offer(e)
			one.Offer(e)
		}
		if i == 120 {
			_ = other.store.crash()
		}
	}
	s.waitForTails(one, s.shards...)
	wait, cancelWait := context.WithTimeout(s.ctx, patience)
	defer cancelWait()
	if err := one.WaitFor(wait, domain.Position{Shard: 0, Index: 100}, customer(0, "x")); !errors.Is(err, projector.ErrParked) {
		s.Errorf("waiting for the parked stream: %v", err)
	}
	cancel()
	group.Wait()
	s.checkAtTail()
	s.checkParked(map[domain.StreamID]uint64{customer(0, "x"): 51})
}
