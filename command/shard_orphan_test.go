package command_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/memory"
)

// A command that is with another process comes back after a leap, and after a load of its stream came to nothing: it has
// to be decided on the same stream as those that were decided meanwhile.
func TestACommandThatComesBackAfterALeapIsDecidedOnTheStreamThatEverybodyUses(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func(t *testing.T, w *taken){
		"the load failed": func(t *testing.T, w *taken) {
			w.conn.Inject(failing(memory.OpLoadSnapshot, memory.OpProgress))
			w.core.Submit(t.Context(), adding("customer/x", tallyID(), 1))
			w.run("forward", "pause", "derive")
			w.conn.Inject(nil)
		},
		"its caller left before the load began": func(t *testing.T, w *taken) {
			w.core.Submit(t.Context(), adding("customer/z", tallyID(), 1)) // is being loaded, and only one is at a time
			w.run("forward", "load", "derive", "claim")
			gone := w.core.Submit(t.Context(), adding("customer/x", tallyID(), 1))
			w.run("forward", "load", "derive", "claim")
			w.core.Abandon(gone)
			w.run("forward")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTaken(t)
			away := w.handOver(t, "customer/x")
			w.leap(t)
			load(t, w)
			meanwhile := w.core.Submit(t.Context(), adding("customer/x", tallyID(), 1))
			w.run("forward", "claim")
			w.run("claim") // the other process can't be reached
			w.run()
			for _, p := range []*command.Waiting{away, meanwhile} {
				if a, ok := p.Answer(); !ok || a.Err != nil {
					t.Errorf("answered %v: %v", ok, a.Err)
				}
			}
			seqs := map[domain.StreamID]uint64{}
			for _, e := range w.store.Entries(1) {
				for _, ev := range e.Events {
					if ev.Seq != seqs[ev.Stream]+1 {
						t.Errorf("event %s has seq %d and follows seq %d", ev.ID, ev.Seq, seqs[ev.Stream])
					}
					seqs[ev.Stream] = ev.Seq
				}
			}
			if seqs["customer/x"] != 3 {
				t.Errorf("the stream has %d events", seqs["customer/x"])
			}
		})
	}
}

// taken is a shard that another process writes, played step by step.
type taken struct {
	store *memory.Store
	conn  *memory.Connection
	other *tallies
	core  *command.Core
	jobs  []command.Job
	ctx   context.Context
	wrote int
}

func newTaken(t *testing.T) *taken {
	t.Helper()
	store := memory.NewStore()
	w := &taken{store: store, conn: store.Connect(), other: newTallies(t, store), ctx: t.Context()}
	w.other.add(t, "customer/x", tallyID())
	w.derived(t)
	writer, err := command.NewWriter(command.WriterConfig{Name: "b", LeapEntries: 2, ConcurrentLoads: 1}, command.WriterPorts{
		Log: w.conn, Histories: w.conn, Snapshots: w.conn, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
		Clock:     time.Now, Random: rand.NewPCG(1, 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.core = command.NewCore(writer, 1)
	w.run()
	return w
}

func (w *taken) derived(t *testing.T) {
	t.Helper()
	w.other.until(t, "derived", func(s command.ShardStatus) bool { return s.Underived == 0 && s.Derived == s.Head.Index })
}

// run does what is to be done but what is held back, until nothing is left.
func (w *taken) run(hold ...string) {
	for done := true; done; {
		w.jobs = append(w.jobs, w.core.Step()...)
		done = w.one(func(j command.Job) bool { return !slices.Contains(hold, j.Kind) })
	}
}

func (w *taken) one(which func(command.Job) bool) bool {
	i := slices.IndexFunc(w.jobs, which)
	if i < 0 {
		return false
	}
	j := w.jobs[i]
	w.jobs = slices.Delete(w.jobs, i, i+1)
	j.Do(w.ctx)()
	return true
}

// others has the other process write.
func (w *taken) others(t *testing.T, entries int) {
	t.Helper()
	for range entries {
		w.wrote++
		w.other.add(t, domain.StreamID(fmt.Sprintf("customer/o%d", w.wrote)), tallyID())
	}
	w.derived(t)
}

// handOver gives a command that finds its entry taken twice, and is handed to the other process, which does not answer.
func (w *taken) handOver(t *testing.T, stream domain.StreamID) *command.Waiting {
	t.Helper()
	sub := adding(stream, tallyID(), 1)
	sub.Forward = func(context.Context, string) (command.Result, error) { return command.Result{}, command.ErrUnavailable }
	p := w.core.Submit(t.Context(), sub)
	for range 2 {
		w.run("claim", "forward")
		w.others(t, 1)
		w.one(func(j command.Job) bool { return j.Kind == "claim" })
	}
	w.run("forward")
	if !slices.ContainsFunc(w.jobs, func(j command.Job) bool { return j.Kind == "forward" }) {
		t.Fatal("nothing was handed over")
	}
	return p
}

// leap has the other process write so much that the next command leaps.
func (w *taken) leap(t *testing.T) {
	t.Helper()
	w.others(t, 6)
	p := w.core.Submit(t.Context(), adding("customer/y", tallyID(), 1))
	w.run("forward")
	if a, ok := p.Answer(); !ok || a.Err != nil {
		t.Fatalf("answered %v: %v", ok, a.Err)
	}
}
