package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// customer is the stream of a customer of a shard, as scriptedLog.claim names it.
func customer(shard int, name string) domain.StreamID {
	return domain.CustomerStream(fmt.Sprintf("%d-%s", shard, name))
}

// fill claims a number of entries with a few customers, and returns them.
func fill(log *scriptedLog, shard, entries int) []*domain.Entry {
	filled := make([]*domain.Entry, entries)
	for i := range filled {
		filled[i] = log.claim(shard, counted("a", string(rune('b'+i%3)), "a")...)
	}
	return filled
}

func appliesOffered[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	s.settle(c)
	reads := s.log.readCount()
	for _, e := range fill(s.log, 1, 5) {
		c.Offer(e)
		s.steps(c, 1)
		s.checkAt(1, e.Index)
	}
	if s.log.readCount() != reads {
		s.Errorf("the log was read %d times", s.log.readCount()-reads)
	}
}

func pullsMissing[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{PageBytes: 500})
	s.settle(c)
	entries := fill(s.log, 1, 20)
	c.Offer(entries[0])
	c.Offer(entries[19])
	s.steps(c, 1)
	s.checkAtTail()
	more := s.log.claim(1, counted("a")...)
	c.Hint(1, more.Index)
	s.steps(c, 1)
	s.checkAtTail()
}

func skipsDuplicates[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	for _, e := range fill(s.log, 1, 5) {
		for range 3 {
			c.Offer(e)
			s.steps(c, 1)
		}
	}
	for _, e := range s.log.original(1) {
		c.Offer(&e)
	}
	s.steps(c, 1)
	s.checkAtTail()
}

func ordersMessages[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	s.settle(c)
	entries := fill(s.log, 1, 9)
	for i := len(entries) - 1; i >= 0; i-- {
		c.Offer(entries[i])
	}
	s.steps(c, 1)
	s.checkAtTail()
}

func findsLost[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{PageBytes: 300})
	s.settle(c)
	fill(s.log, 0, 7)
	fill(s.log, 1, 7)
	s.settle(c)
	s.checkAtTail()
}

func boundsWaiting[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{WaitingEntries: 2})
	s.settle(c)
	for _, e := range fill(s.log, 1, 30)[1:] {
		c.Offer(e)
	}
	s.steps(c, 1)
	s.checkAtTail()
}

func boundsBatches[T projector.Tx](s *scene[T]) {
	const most = 10
	c := s.instance(projector.Config{MaxEvents: most, PageBytes: 2000})
	fill(s.log, 1, 50)
	s.settle(c)
	s.checkAtTail()
	if c.store.largest > most || c.store.largest < most/2 {
		s.Errorf("the largest transaction applied %d events, want nearly %d", c.store.largest, most)
	}
}

func appliesEmptyEntry[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 1)
	s.log.claim(1)
	fill(s.log, 1, 1)
	s.settle(c)
	s.checkAtTail()
}

// crashAt makes an instance crash at the nth time that it comes to an op.
func crashAt[T projector.Tx](c *instance[T], when op, nth int) {
	c.store.on(func(o op) error {
		if o == when {
			if nth--; nth == 0 {
				return c.store.crash()
			}
		}
		return nil
	})
}

func crashBeforeCommit[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{MaxEvents: 3})
	fill(s.log, 1, 6)
	crashAt(c, opCommit, 3)
	for !c.store.isCrashed() {
		_, _ = c.Step(s.ctx, 1)
	}
	s.checkAt(1, 2)
	s.settle(s.instance(projector.Config{}))
	s.checkAtTail()
}

func crashAfterCommit[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{MaxEvents: 3})
	fill(s.log, 1, 6)
	crashAt(c, opCommitted, 3)
	for !c.store.isCrashed() {
		_, _ = c.Step(s.ctx, 1)
	}
	s.checkAt(1, 3)
	s.settle(s.instance(projector.Config{}))
	s.checkAtTail()
}

func lostCommit[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{MaxEvents: 3})
	fill(s.log, 1, 6)
	commits := 0
	c.store.on(func(o op) error {
		if o == opCommitted {
			if commits++; commits%2 == 1 {
				return errFlaky
			}
		}
		return nil
	})
	s.settle(c)
	s.checkAtTail()
}

func twoInstances[T projector.Tx](s *scene[T]) {
	one, other := s.instance(projector.Config{MaxEvents: 4}), s.instance(projector.Config{MaxEvents: 7})
	for i, e := range fill(s.log, 1, 30) {
		one.Offer(e)
		other.Offer(e)
		if i%3 == 0 {
			_, _ = one.Step(s.ctx, 1)
		} else if i%5 == 0 {
			_, _ = other.Step(s.ctx, 1)
		}
		s.check()
	}
	s.steps(other, 1)
	s.steps(one, 1)
	s.checkAtTail()
}

func overlappingInstances[T projector.Tx](s *scene[T]) {
	one, other := s.instance(projector.Config{MaxEvents: 3}), s.instance(projector.Config{MaxEvents: 6})
	fill(s.log, 1, 12)
	s.settleShard(other, 0)
	one.store.on(func(o op) error {
		if o == opApply || o == opBegin {
			ctx, cancel := contextFor(s.ctx)
			defer cancel()
			_, _ = other.Step(ctx, 1)
		}
		return nil
	})
	s.settle(one)
	s.checkAtTail()
}

func parks[T projector.Tx](kind string) func(*scene[T]) {
	return func(s *scene[T]) {
		c := s.instance(projector.Config{})
		fill(s.log, 1, 10)
		s.log.claim(1, counted("x", "a")...)
		s.log.claim(1, line{"a", kindCounted}, line{"x", kindCounted}, line{"x", kind}, line{"b", kindCounted}, line{"x", kindCounted})
		fill(s.log, 1, 10)
		s.settle(c)
		s.checkAtTail()
		s.checkParked(map[domain.StreamID]uint64{customer(1, "x"): 3})
		if status := c.Status()[1]; status.Parked != 1 || status.Differs {
			s.Errorf("the status does not say that one stream is parked: %+v", status)
		}
		s.fixed[kind] = true
		if err := c.RetryParked(s.ctx, customer(1, "x")); err != nil {
			s.Fatal(err)
		}
		s.checkAtTail()
		s.checkParked(map[domain.StreamID]uint64{})
	}
}

func parksMany[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	want := make(map[domain.StreamID]uint64)
	for i := range 60 {
		name := fmt.Sprintf("x%d", i)
		s.log.claim(1, line{"a", kindCounted}, line{name, kindPoison}, line{"b", kindCounted}, line{name, kindPoison})
		want[customer(1, name)] = 1
	}
	s.settle(c)
	s.checkAtTail()
	s.checkParked(want)
}

func laterEventsWait[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	s.log.claim(1, line{"x", kindPoison})
	s.settle(c)
	for range 5 {
		c.Offer(s.log.claim(1, counted("x", "a", "x")...))
		s.steps(c, 1)
		s.checkAtTail()
	}
	s.checkParked(map[domain.StreamID]uint64{customer(1, "x"): 1})
	s.fixed[kindPoison] = true
	restarted := s.instance(projector.Config{PageBytes: 300})
	if err := restarted.RetryParked(s.ctx, customer(1, "x")); err != nil {
		s.Fatal(err)
	}
	s.checkAtTail()
	c.Offer(s.log.claim(1, counted("x", "a", "x")...))
	s.steps(c, 1)
	s.checkAtTail()
}

func retryStopsAtCheckpoint[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	s.log.claim(1, line{"x", kindPoison}, line{"a", kindCounted})
	fill(s.log, 1, 3)
	s.log.claim(1, counted("x", "a")...)
	s.settle(c)
	for range 3 {
		s.log.claim(1, counted("x", "a", "x")...)
	}
	s.fixed[kindPoison] = true
	if err := c.RetryParked(s.ctx, customer(1, "x")); err != nil {
		s.Fatal(err)
	}
	s.checkAt(1, 5)
	s.checkParked(map[domain.StreamID]uint64{})
	s.settle(c)
	s.checkAtTail()
}

func retryFromLog[T projector.Tx](s *scene[T]) {
	for _, derived := range []uint64{0, 1, 2, 4, 6} {
		name := fmt.Sprintf("x%d", derived)
		c := s.instance(projector.Config{PageBytes: 400})
		for range 3 {
			s.log.claim(1, line{name, kindPoison}, line{"a", kindCounted}, line{name, kindCounted})
			fill(s.log, 1, 1)
		}
		s.settle(c)
		s.log.derive(1, s.log.tail(1)-6+derived)
		s.fixed[kindPoison] = true
		if err := c.RetryParked(s.ctx, customer(1, name)); err != nil {
			s.Fatal(err)
		}
		s.checkAtTail()
		s.checkParked(map[domain.StreamID]uint64{})
		s.fixed[kindPoison] = false
	}
}

func retryStillFails[T projector.Tx](s *scene[T]) {
	for _, kind := range []string{kindPoison, kindPlain, kindPanic} {
		c := s.instance(projector.Config{})
		s.log.claim(1, line{kind, kindCounted}, line{kind, kind}, line{"a", kindCounted}, line{kind, kindCounted})
		s.settle(c)
		for attempt := 2; attempt < 4; attempt++ {
			err := c.RetryParked(s.ctx, customer(1, kind))
			if parked, ok := errors.AsType[*projector.ParkedError](err); !ok || parked.Parked.FirstSeq != 2 || parked.Parked.Attempts != attempt {
				s.Fatalf("attempt %d: %v", attempt, err)
			}
			s.checkAtTail()
			if p, is, err := s.subject.Store.ParkedStream(s.ctx, customer(1, kind)); err != nil || !is || p.Attempts != attempt || p.FirstSeq != 2 {
				s.Fatalf("attempt %d: parked %+v, %v, %v", attempt, p, is, err)
			}
		}
	}
}

func retryMovesOn[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	s.log.claim(1, line{"x", kindPoison}, line{"x", kindCounted})
	s.log.claim(1, line{"x", kindCounted}, line{"x", kindPlain}, line{"x", kindCounted})
	s.settle(c)
	s.fixed[kindPoison] = true
	if err := c.RetryParked(s.ctx, customer(1, "x")); !errors.Is(err, projector.ErrParked) {
		s.Fatalf("retried: %v", err)
	}
	s.checkAtTail()
	s.checkParked(map[domain.StreamID]uint64{customer(1, "x"): 4})
	s.fixed[kindPlain] = true
	if err := c.RetryParked(s.ctx, customer(1, "x")); err != nil {
		s.Fatal(err)
	}
	s.checkAtTail()
	s.checkParked(map[domain.StreamID]uint64{})
}

func retryCrashes[T projector.Tx](s *scene[T]) {
	for _, when := range []op{opApply, opUnpark, opCommit, opCommitted} {
		s.fixed[kindPoison] = false
		name := string(when)
		s.log.claim(1, line{name, kindPoison}, line{"a", kindCounted}, line{name, kindCounted})
		s.settle(s.instance(projector.Config{}))
		s.fixed[kindPoison] = true
		c := s.instance(projector.Config{})
		crashAt(c, when, 1)
		if err := c.RetryParked(s.ctx, customer(1, name)); err == nil {
			s.Fatalf("%s: the retry of a crashed process succeeded", when)
		}
		s.checkAtTail()
		err := s.instance(projector.Config{}).RetryParked(s.ctx, customer(1, name))
		if when == opCommitted && !errors.Is(err, projector.ErrNotParked) || when != opCommitted && err != nil {
			s.Fatalf("%s: retried again: %v", when, err)
		}
		s.checkAtTail()
		s.checkParked(map[domain.StreamID]uint64{})
	}
}

func retryNotParked[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 3)
	s.settle(c)
	if err := c.RetryParked(s.ctx, customer(1, "a")); !errors.Is(err, projector.ErrNotParked) {
		s.Fatalf("retried: %v", err)
	}
	s.checkAtTail()
}

func transientNeverParks[T projector.Tx](s *scene[T]) {
	for _, when := range []op{opCheckpoints, opBegin, opParked, opApply, opCommit} {
		c := s.instance(projector.Config{})
		for _, e := range fill(s.log, 1, 5) {
			c.Offer(e)
		}
		failures := 0
		c.store.on(func(o op) error {
			if o == when && failures < 50 {
				failures++
				return fmt.Errorf("%s: %w", when, projector.ErrTransient)
			}
			return nil
		})
		s.settle(c)
		s.checkAtTail()
		s.checkParked(map[domain.StreamID]uint64{})
		if when != opCheckpoints && failures < 50 {
			s.Errorf("%s failed only %d times", when, failures)
		}
	}
	c := s.instance(projector.Config{})
	s.settle(c)
	failures := 0
	s.log.on(func() error {
		if failures++; failures < 20 {
			return errFlaky
		}
		return nil
	})
	c.Hint(1, fill(s.log, 1, 5)[4].Index)
	s.settle(c)
	s.checkAtTail()
	s.checkParked(map[domain.StreamID]uint64{})
}

func plainFailureGoesAway[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{Tries: 3})
	fill(s.log, 1, 5)
	failures := 0
	c.store.on(func(o op) error {
		if o == opApply && failures < 2 {
			failures++
			return errFlaky
		}
		return nil
	})
	s.settle(c)
	s.checkAtTail()
	s.checkParked(map[domain.StreamID]uint64{})
}

// outageParksNothing: a store that can't write can't park either, so an event that fails only because everything fails
// is never parked, whatever its error says.
func outageParksNothing[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 5)
	out := true
	c.store.on(func(o op) error {
		if out && (o == opApply || o == opPark || o == opCommit) {
			return errFlaky
		}
		return nil
	})
	for range 100 {
		_, _ = c.Step(s.ctx, 1)
	}
	s.checkAt(1, 0)
	out = false
	s.settle(c)
	s.checkAtTail()
	s.checkParked(map[domain.StreamID]uint64{})
}

func forgottenTail[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 5)
	s.settle(c)
	s.log.forget(1, 3)
	if outcome, err := c.Look(s.ctx, 1); outcome != projector.Stopped {
		s.Fatalf("the look found %v, %v", outcome, err)
	}
	s.checkStopped(c, 1)
	s.otherShardGoesOn(c)
	s.checkStopped(s.stoppedAfterRestart(), 1)
}

func forgottenTailAndWentOn[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 5)
	s.settle(c)
	s.log.forget(1, 3)
	for range 3 {
		c.Offer(s.log.replace(1, counted("a", "b")...))
	}
	s.steps(c, 1)
	s.checkStopped(c, 1)
	s.otherShardGoesOn(c)
}

func changedEntry[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 5)
	s.settle(c)
	s.log.change(1, 5)
	s.settleShard(c, 1)
	s.checkStopped(c, 1)
	s.otherShardGoesOn(c)
}

func lostEntry[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{PageBytes: 100})
	fill(s.log, 1, 5)
	s.settle(c)
	entries := fill(s.log, 1, 5)
	s.log.change(1, 8) // what follows on entry 8 does not follow on this one
	c.Hint(1, entries[4].Index)
	s.settleShard(c, 1)
	if outcome, err := c.Step(s.ctx, 1); outcome != projector.Stopped {
		s.Fatalf("the shard goes on: %v, %v", outcome, err)
	}
}

func hiddenHole[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 5)
	s.settle(c)
	fill(s.log, 1, 5)
	s.log.hide(1, 7)
	s.settleShard(c, 1)
	s.checkStopped(c, 1)
	s.checkAt(1, 6)
	s.otherShardGoesOn(c)
}

func logDiffers[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 5)
	s.settle(c)
	s.log.on(func() error { return fmt.Errorf("reading: %w", domain.ErrHistoryDiffers) })
	_, _ = c.Look(s.ctx, 1)
	s.checkStopped(c, 1)
	s.log.on(nil)
	s.otherShardGoesOn(c)
}

func strayMessage[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	other := newScriptedLog()
	other.claim(1, counted("z")...)
	for range 5 {
		other.replace(1, counted("z")...)
	}
	fill(s.log, 1, 4)
	s.settle(c)
	for _, stray := range other.entries[1] {
		c.Offer(&stray)
		s.steps(c, 1)
		s.check()
	}
	fill(s.log, 1, 4)
	s.settle(c)
	s.checkAtTail()
}

// otherShardGoesOn checks that shard 0 does not care.
func (s *scene[T]) otherShardGoesOn(c *instance[T]) {
	s.Helper()
	entries := fill(s.log, 0, 3)
	c.Offer(entries[0])
	s.settleShard(c, 0)
	s.checkAt(0, s.log.tail(0))
}

// stoppedAfterRestart is a new instance that has looked at shard 1.
func (s *scene[T]) stoppedAfterRestart() *instance[T] {
	c := s.instance(projector.Config{})
	_, _ = c.Look(s.ctx, 1)
	return c
}

func waits[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	fill(s.log, 1, 3)
	s.settle(c)
	e := s.log.claim(1, counted("a")...)
	pos := e.Events[0].Position
	for _, waiter := range []*projector.Waiter{c.Waiter(), projector.NewWaiter(s.subject.Store)} {
		if err := waiter.WaitFor(s.ctx, domain.Position{Shard: 1, Index: 3}, customer(1, "a")); err != nil {
			s.Fatal(err)
		}
		ctx, cancel := contextFor(s.ctx)
		if err := waiter.WaitFor(ctx, pos, customer(1, "a")); err == nil {
			s.Error("a position is said to be applied that is not")
		}
		cancel()
	}
	done := make(chan error)
	for _, waiter := range []*projector.Waiter{c.Waiter(), projector.NewWaiter(s.subject.Store)} {
		go func() { done <- waiter.WaitFor(s.ctx, pos, customer(1, "a")) }()
	}
	c.Offer(e)
	s.steps(c, 1)
	for range 2 {
		if err := <-done; err != nil {
			s.Error(err)
		}
	}
}

func waitsForParked[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	s.log.claim(1, counted("x", "a")...)
	s.log.claim(1, line{"x", kindPoison}, line{"a", kindCounted})
	s.log.claim(1, counted("x", "a")...)
	s.settle(c)
	for _, waiter := range []*projector.Waiter{c.Waiter(), projector.NewWaiter(s.subject.Store)} {
		for index, parked := range map[uint64]bool{1: false, 2: true, 3: true, 4: true} {
			ctx, cancel := context.WithTimeout(s.ctx, patience) // it needs none of it, but the answer of a busy server
			err := waiter.WaitFor(ctx, domain.Position{Shard: 1, Index: index}, customer(1, "x"))
			cancel()
			if errors.Is(err, projector.ErrParked) != parked || !parked && err != nil {
				s.Errorf("waiting for entry %d of a stream parked at entry 2: %v", index, err)
			}
		}
		if err := waiter.WaitFor(s.ctx, domain.Position{Shard: 1, Index: 3}, customer(1, "a")); err != nil {
			s.Errorf("waiting for another stream: %v", err)
		}
	}
}

// waitsForParkedMeanwhile: the stream is parked after the wait has begun.
func waitsForParkedMeanwhile[T projector.Tx](s *scene[T]) {
	c := s.instance(projector.Config{})
	s.settle(c)
	e := s.log.claim(1, line{"x", kindPoison}, line{"a", kindCounted})
	begun, done := make(chan struct{}, 10), make(chan error)
	c.store.on(func(o op) error {
		if o == opLookUp {
			begun <- struct{}{}
		}
		return nil
	})
	go func() { done <- c.WaitFor(s.ctx, e.Events[0].Position, customer(1, "x")) }()
	<-begun
	c.Offer(e)
	s.steps(c, 1)
	if err := <-done; !errors.Is(err, projector.ErrParked) {
		s.Errorf("waiting for a stream that was parked meanwhile: %v", err)
	}
}

// quick is a configuration for tests that run consumers by themselves.
var quick = projector.Config{
	QuietMin: 2 * time.Millisecond, QuietMax: 20 * time.Millisecond,
	RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond, Elsewhere: 2 * time.Millisecond,
}
