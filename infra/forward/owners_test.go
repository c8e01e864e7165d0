package forward_test

import (
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"
)

// during lets the load go on for a while, and expects no caller to be told of a failure.
func (l *load) during(what string, d time.Duration) {
	l.system.t.Helper()
	pause(l.ctx, d)
	failed, slowest, answered := l.reset()
	l.system.t.Logf("%s: %d answers, the slowest after %s", what, answered, slowest)
	if answered == 0 {
		l.system.t.Errorf("%s: nobody was answered", what)
	}
	for failure, times := range failed {
		l.system.t.Errorf("%s: %d times: %s", what, times, failure)
	}
}

// owned are how many shards each living process writes, as all of them have it.
func (s *system) owned() map[string]int {
	s.t.Helper()
	count := map[string]int{}
	for shard := range shards + 1 {
		agreed := ""
		for _, p := range s.alive() {
			owner, here := p.roster.Owner(shard)
			if here != (owner == p.name) || agreed != "" && owner != agreed {
				s.t.Errorf("%s holds %s for the owner of shard %d, another one %s", p.name, owner, shard, agreed)
			}
			agreed = owner
		}
		count[agreed]++
	}
	return count
}

func TestProcessesShareTheShardsAndForwardWhatIsAnothers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		a, b, c := s.begin(), s.begin(), s.begin()
		pause(t.Context(), settle+2*time.Second)
		if count := s.owned(); count[a.name] < 2 || count[b.name] < 2 || count[c.name] < 2 {
			t.Fatalf("shards are shared out as %v", count)
		}
		l := s.load(16, "customer")
		l.during("three processes", 5*time.Second)
		for _, p := range []*process{a, b, c} {
			if p.forwarded.Load() == 0 {
				t.Errorf("nothing was forwarded to %s", p.name)
			}
		}
		l.check()
		for shard := range shards + 1 {
			owner, _ := a.roster.Owner(shard)
			for _, e := range s.store.Entries(shard) {
				if e.Writer != owner {
					t.Fatalf("entry %d of shard %d is by %s, the owner is %s", e.Index, shard, e.Writer, owner)
				}
			}
		}
	})
}

func TestAProcessJoinsUnderLoadWithoutAnErrorForCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.begin()
		s.begin()
		pause(t.Context(), settle+2*time.Second)
		l := s.load(16, "customer")
		l.during("two processes", 3*time.Second)
		third := s.begin()
		l.during("a third one that has to settle", settle)
		l.during("a third one that has settled", 4*time.Second)
		if s.owned()[third.name] == 0 {
			t.Error("the third process was given nothing")
		}
		l.check()
	})
}

func TestAProcessLeavesUnderLoadWithoutAnErrorForCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.begin()
		second := s.begin()
		s.begin()
		pause(t.Context(), settle+2*time.Second)
		l := s.load(16, "customer")
		l.during("three processes", 3*time.Second)
		second.leave()
		l.during("one has left", 3*time.Second)
		if n := s.owned()[second.name]; n != 0 {
			t.Errorf("who has left owns %d shards", n)
		}
		l.check()
	})
}

func TestAnOwnerDiesUnderLoadWithoutAnErrorForTheOthersCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.begin()
		victim := s.begin()
		s.begin()
		pause(t.Context(), settle+2*time.Second)
		l := s.load(16, "customer")
		l.during("three processes", 3*time.Second)
		victim.kill()
		l.during("one has died", 500*time.Millisecond)
		l.during("until it is forgotten", ttl+2*time.Second)
		if n := s.owned()[victim.name]; n != 0 {
			t.Errorf("the dead process owns %d shards", n)
		}
		l.check()
	})
}

func TestAnOwnerHangsUnderLoadWithoutAnErrorForTheOthersCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.begin()
		victim := s.begin()
		s.begin()
		pause(t.Context(), settle+2*time.Second)
		l := s.load(16, "customer")
		l.during("three processes", 3*time.Second)
		victim.stop()
		s.gone(victim) // a balancer notices, too
		l.during("one hangs", ttl+4*time.Second)
		if n := s.owned()[victim.name]; n != 0 {
			t.Errorf("the process that hangs owns %d shards", n)
		}
		victim.resume()
		s.mu.Lock()
		s.processes = append(s.processes, victim)
		s.mu.Unlock()
		l.during("it goes on", 4*time.Second)
		if n := s.owned()[victim.name]; n == 0 {
			t.Error("the process that goes on was given nothing")
		}
		l.check()
	})
}

// Two processes that know nothing of each other both hold every shard for theirs: slow, and right.
func TestTwoOwnersAtOnceAreSlowAndRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.begin()
		alone := s.load(16, "early")
		alone.during("one owner", 3*time.Second)
		alone.end()
		s.members.Break(errors.New("the list of members can't be reached"))
		s.begin()
		l := s.load(16, "late")
		l.during("two owners", 10*time.Second)
		l.end()
		maps.Copy(l.answers, alone.answers)
		maps.Copy(l.given, alone.given)
		l.check()
	})
}

// Who loses two claims in a row hands what waits over to who won them.
func TestTwoOwnersThatKnowEachOtherHandOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.stubborn = true
		a, b := s.begin(), s.begin()
		pause(t.Context(), 2*time.Second)
		l := s.load(16, "customer")
		l.during("two owners that know each other", 10*time.Second)
		if handed := a.forwarded.Load() + b.forwarded.Load(); handed == 0 {
			t.Error("nothing was handed over")
		} else {
			t.Logf("%d commands were handed over", handed)
		}
		l.check()
	})
}

// A shard's new owner has not followed its log. He must not have to read what was written in all that time.
func TestTakingOverDoesNotMeanReadingWhatTheOtherWrote(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.members.Break(errors.New("the list of members can't be reached"))
		idle := s.begin()
		s.gone(idle) // nobody asks it, for now
		busy := s.begin()
		l := s.load(16, "customer")
		l.during("the one at work", 10*time.Second)
		idle.hasRead()
		s.mu.Lock()
		s.processes = append(s.processes, idle)
		s.mu.Unlock()
		busy.kill()
		l.during("the one that takes over", 2*time.Second)
		entries, first := uint64(0), map[int]uint64{}
		for shard := 1; shard <= shards; shard++ {
			entries += uint64(len(s.store.Entries(shard)))
		}
		for _, call := range idle.hasRead() {
			if at, read := first[call.Shard]; !read || call.Index < at {
				first[call.Shard] = call.Index
			}
		}
		for shard, index := range first {
			if head := uint64(len(s.store.Entries(shard))); index < head/2 {
				t.Errorf("shard %d has %d entries, and was read from %d on", shard, head, index)
			}
		}
		if entries < 1000 || len(first) == 0 {
			t.Errorf("%d entries, of which %v were read: nothing was tested", entries, first)
		}
		l.check()
	})
}
