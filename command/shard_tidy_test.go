package command_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/memory"
)

// Snapshots are left for a step in which nothing is claimed. A shard that claims in every step takes them all the same.
func TestAShardThatClaimsInEveryStepSavesSnapshotsAllTheSame(t *testing.T) {
	t.Parallel()
	const every, rounds = 10, 1000
	core := busyCore(t, command.WriterConfig{SnapshotEvery: every})
	var tell func() // what came of the claim in flight
	saved := 0
	step := func() {
		p := play(t, core)
		saved += p.saved
		tell = p.tell
	}
	step()
	core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
	step()
	for round := range rounds {
		if tell == nil {
			t.Fatalf("nothing was claimed in round %d", round)
		}
		next := core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
		tell()
		tell = nil
		step()
		if _, ok := next.Answer(); ok {
			t.Fatal("answered before its claim was")
		}
	}
	if saved == 0 {
		t.Errorf("no snapshot in %d rounds that each wrote an event, one is due after %d", rounds, every)
	}
	before := saved
	for range 2 * every {
		tell()
		tell = nil
		step() // nothing to claim
		core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
		step()
	}
	if saved == before {
		t.Errorf("no snapshot in %d rounds with a quiet step each", 2*every)
	}
}

// What was claimed last before the end is due a snapshot like the rest.
func TestAShardThatIsClosedSavesTheSnapshotsOfItsLastClaim(t *testing.T) {
	t.Parallel()
	const every = 20
	core := busyCore(t, command.WriterConfig{SnapshotEvery: every})
	play(t, core)
	waiting := core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
	tell := play(t, core).tell
	for range 2 * every {
		waiting = core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
	}
	tell()
	tell = play(t, core).tell
	if tell == nil {
		t.Fatal("nothing was claimed")
	}
	core.Close()
	tell()
	last := play(t, core)
	if a, ok := waiting.Answer(); !ok || a.Err != nil {
		t.Fatalf("a command whose claim was in flight at the end: %v, %v", a, ok)
	}
	if last.saved == 0 {
		t.Errorf("no snapshot of the last %d events", 2*every)
	}
}

// Reads ask something of the log in every step, too.
func TestAShardThatLooksInEveryStepLetsGoOfWhatHasNoRoom(t *testing.T) {
	t.Parallel()
	const room, streams = 16 << 10, 1000
	core := busyCore(t, command.WriterConfig{CacheBytes: room, HotBytes: room / 2})
	play(t, core)
	var told []func()
	for i := range streams {
		core.Load(t.Context(), domain.StreamID(fmt.Sprintf("customer/%d", i)))
		for _, tell := range told { // the load of the one before, and the look for the one before that
			tell()
		}
		told = told[:0]
		looks := i < 2
		for _, j := range core.Step() {
			looks = looks || j.Kind == "head"
			told = append(told, j.Do(t.Context()))
		}
		if !looks {
			t.Fatalf("nothing was asked of the log in step %d", i)
		}
		if held := core.Held(); held > 2*room {
			t.Fatalf("%d bytes are held after %d streams, with room for %d", held, i+1, room)
		}
	}
	if core.Held() < room/4 {
		t.Fatalf("only %d bytes are held: the streams were not loaded", core.Held())
	}
}

// What streams grow by in claims counts before they are weighed.
func TestAShardThatClaimsInEveryStepHoldsNoMoreThanItHasRoomFor(t *testing.T) {
	t.Parallel()
	const room, streams, commands = 512 << 10, 250, 60
	core := busyCore(t, command.WriterConfig{CacheBytes: room, HotBytes: room / 2})
	play(t, core)
	stream := func(i int) domain.StreamID { return domain.StreamID(fmt.Sprintf("customer/%d", i)) }
	for i := range streams {
		core.Load(t.Context(), stream(i))
		play(t, core)
	}
	var tell func()
	for i := range streams {
		for range commands {
			core.Submit(t.Context(), adding(stream(i), tallyID(), 1))
		}
		if tell != nil {
			tell()
		}
		if tell = play(t, core).tell; tell == nil {
			t.Fatalf("nothing was claimed for stream %d", i)
		}
		if held := core.Weighed(); held > room+room/4 {
			t.Fatalf("%d bytes are held after %d streams, with room for %d", held, i+1, room)
		}
	}
}

// What was decided while the store was at work is claimed when it is idle again, and what has arrived since is decided while
// it works; where little was decided, both are claimed together. The claim comes before the answers of the one before it.
func TestAnIdleStoreGetsWhatIsDecided(t *testing.T) {
	t.Parallel()
	const usual = 8
	core := busyCore(t, command.WriterConfig{})
	play(t, core)
	submit := func(n int) {
		for range n {
			core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
		}
	}
	claimed := func() (events int, tell func()) {
		for _, j := range core.Step() {
			switch told := j.Do(t.Context()); j.Kind {
			case "claim":
				events, tell = len(j.Entry.Events), told
			default:
				told()
			}
		}
		return events, tell
	}
	submit(usual)
	tell := play(t, core).tell
	for range 50 { // what is usual is learnt
		submit(usual)
		tell()
		if _, tell = claimed(); tell == nil {
			t.Fatal("nothing was claimed")
		}
	}
	for _, c := range []struct{ decided, arrived, want int }{
		{usual, 3, usual}, {3, 0, 3 + 3}, {usual / 2, 2, usual / 2}, {1, 4, 2 + 1 + 4},
	} {
		submit(c.decided)
		if n, _ := claimed(); n != 0 {
			t.Fatal("claimed while a claim is in flight")
		}
		submit(c.arrived)
		tell()
		n, next := claimed()
		if n != c.want {
			t.Errorf("%d decided and %d arrived: %d claimed, not %d", c.decided, c.arrived, n, c.want)
		}
		if tell = next; tell == nil {
			t.Fatal("nothing was claimed")
		}
	}
	if core.Late {
		t.Error("a claim waited for answers to be given")
	}
}

func busyCore(t *testing.T, cfg command.WriterConfig) *command.Core {
	t.Helper()
	cfg.Name = "busy"
	conn := memory.NewStore().Connect()
	writer, err := command.NewWriter(cfg, command.WriterPorts{
		Log: conn, Histories: conn, Snapshots: conn, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
		Clock:     time.Now, Random: rand.NewPCG(1, 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	return command.NewCore(writer, 1)
}

// played is what came of the steps up to a claim, or to the end of all work.
type played struct {
	tell  func() // what came of the claim in flight; nil: there is none
	saved int
}

func play(t *testing.T, core *command.Core) played {
	t.Helper()
	var p played
	for jobs := core.Step(); len(jobs) > 0; {
		for _, j := range jobs {
			switch told := j.Do(t.Context()); j.Kind {
			case "claim":
				p.tell = told
			case "save":
				p.saved++
				told()
			default:
				told()
			}
		}
		if jobs = nil; p.tell == nil { // a claim in flight: what comes next comes with its answer
			jobs = core.Step()
		}
	}
	return p
}
