package forward_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carryon/infra/memory"
)

var (
	chaosSeeds = flag.Int("chaos.seeds", 2, "how many random courses of events to play")
	chaosFirst = flag.Uint64("chaos.first", 1, "the first seed")
)

// Processes begin, leave, die, are stopped and go on; the list of members is away; claims are lost, answered without an
// answer, decided late. Whatever the course of events: every command is answered, is in the log once, and its answer is
// what the log says.
func TestWhateverHappensEveryCommandIsRecordedOnceAndAnsweredTruly(t *testing.T) {
	t.Parallel()
	for n := range *chaosSeeds {
		seed := *chaosFirst + uint64(n)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 99))
	s := newSystem(t)
	var mu sync.Mutex
	faults := rand.New(rand.NewPCG(seed, 100))
	s.fault = func(_ context.Context, call memory.Call) memory.Fault {
		mu.Lock()
		defer mu.Unlock()
		if call.Operation != memory.OpClaim {
			return memory.None
		}
		switch n := faults.IntN(200); {
		case n < 4:
			return memory.LoseAnswer
		case n < 8:
			return memory.LoseClaim
		case n < 10:
			return memory.DecideLate
		}
		return memory.None
	}
	s.begin()
	s.begin()
	s.begin()
	pause(t.Context(), settle)
	l := s.load(12, "customer")
	stopped := map[*process]bool{}
	broken := false
	var story []string
	tell := func(format string, args ...any) {
		story = append(story, fmt.Sprintf("%.1f s: ", time.Since(began).Seconds())+fmt.Sprintf(format, args...))
	}
	for range 25 {
		alive := s.alive()
		p := alive[random.IntN(len(alive))]
		switch n := random.IntN(12); {
		case n < 2 && len(alive) < 4:
			tell("%s begins", s.begin().name)
		case n < 4 && len(alive)-len(stopped) > 2 && !stopped[p]:
			tell("%s dies", p.name)
			p.kill()
		case n < 5 && len(alive)-len(stopped) > 2 && !stopped[p] && !broken:
			tell("%s leaves", p.name)
			p.leave()
		case n < 7 && len(alive)-len(stopped) > 1 && !stopped[p]:
			tell("%s is stopped", p.name)
			p.stop()
			stopped[p] = true
		case n < 9:
			for p := range stopped {
				tell("%s goes on", p.name)
				p.resume()
				delete(stopped, p)
				break
			}
		case n < 10:
			broken = !broken
			tell("the list of members is away: %t", broken)
			if s.members.Break(nil); broken {
				s.members.Break(errors.New("away"))
			}
		case n < 11:
			tell("%d claims are decided late", s.store.Late())
			s.store.SettleAll()
		}
		pause(t.Context(), time.Duration(random.IntN(3000))*time.Millisecond)
	}
	s.members.Break(nil)
	for p := range stopped {
		p.resume()
	}
	s.store.SettleAll()
	pause(t.Context(), settle)
	if _, _, answered := l.reset(); answered == 0 {
		t.Error("nobody was answered")
	}
	l.check()
	if t.Failed() {
		for _, line := range story {
			t.Log(line)
		}
	}
}

// began is when pretended time begins.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
