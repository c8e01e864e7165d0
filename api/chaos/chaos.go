// Package chaos runs processes of the program under a load while it kills and pauses them, sets their clocks wrong and
// spoils their connections, and has everything compared afterwards: what was acknowledged, the event store, and the read
// models, event by event.
//
// It works in rounds. The course of a round's faults is drawn from the seed and the round's number, and each fault
// begins when a share of the round's commands was sent, so that a round can be played again; how the processes meet
// the faults is up to the machine. What was done is kept in the folder after each round: an interrupted run goes on there.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"carryon/api/simulate"
	"carryon/domain"
)

// Options of a run. The caller's own part, which processes there are and how they are audited, is in Site.
type Options struct {
	Folder   string
	Seed     uint64
	Events   int64         // at least so many; 0: any number
	Faults   int64         // at least so many; 0: any number
	Duration time.Duration // begin no round after this; 0: no bound

	RoundCommands int64 // sent in a round
	RoundFaults   int   // in a round
	StoreEvents   int64 // after so many a store is audited as a whole, and left for an empty one; 0: never

	Load  simulate.Options // households, callers, titles; the rest is the round's
	Token func(role domain.Role, customer string) (string, error)
	Say   func(format string, args ...any)
	// Progress is told the events and faults so far, now and then. May be nil.
	Progress func(events, faults int64)
}

// Site is where it happens.
type Site interface {
	// Processes are those of a store, not started yet. Store is the number of the store, from 1 on; dir is its folder.
	Processes(store int, dir string) ([]*Process, error)
	// Audit runs the projectors up to the tails and compares everything of a store: all streams, or some.
	Audit(ctx context.Context, store int, dir, journal string, complete bool) (Audited, error)
	// Servers are those that processes talk to; nil: none.
	Servers() []*Server
}

// Audited is what an audit counted and found.
type Audited struct {
	Events     int64 // in the store
	Journal    int64 // acknowledged commands that were looked for
	Skipped    int64 // events that are not where they belong
	Doubled    int64 // commands or events that are there twice
	Lost       int64 // acknowledged commands that are not recorded
	Otherwise  int64 // differences of another kind
	Says       []string
	Recomputed int // comparisons of a stream's rows with its events
}

// Found tells whether something is wrong.
func (a *Audited) Found() bool { return a.Skipped+a.Doubled+a.Lost+a.Otherwise > 0 }

// ErrFound is wrapped by Run when something was lost, skipped, doubled, left unknown or answered differently.
var ErrFound = errors.New("chaos found something")

// Run goes on from a state until enough was done. The state tells what was done, also when an error is returned.
func Run(ctx context.Context, site Site, o Options, state *State) error {
	began := time.Now()
	before := state.Elapsed
	for over := false; !over && !state.enough(&o); {
		r := &round{o: &o, site: site, state: state, number: state.Rounds + 1, late: func() bool { return o.Duration > 0 && time.Since(began) >= o.Duration }}
		err := r.run(ctx)
		state.Elapsed = before + time.Since(began).Round(time.Second)
		switch {
		case err != nil && !errors.Is(err, ErrFound):
			return fmt.Errorf("round %d (seed %d): %w", r.number, o.Seed, err)
		case err != nil:
			return errors.Join(fmt.Errorf("round %d (seed %d), in %s: %w", r.number, o.Seed, r.dir, err), state.Save(o.Folder))
		}
		if err := state.Save(o.Folder); err != nil {
			return err
		}
		over = r.timeUp
	}
	return nil
}

// round is one round: a load, faults, peace, an audit.
type round struct {
	o      *Options
	site   Site
	state  *State
	number int
	late   func() bool
	timeUp bool // no other round follows

	dir       string // of the store
	processes []*Process
	sent      atomic.Int64
	begun     atomic.Int64 // faults
	journal   *simulate.JournalFile

	mu    sync.Mutex
	found []string
	done  map[Kind]int64
}

func (r *round) run(ctx context.Context) error {
	r.state.Attempts++
	if err := r.state.Save(r.o.Folder); err != nil {
		return err
	}
	r.done = map[Kind]int64{}
	r.dir = filepath.Join(r.o.Folder, fmt.Sprintf("store-%d", r.state.Store))
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	journal := filepath.Join(r.dir, "journal")
	var err error
	if r.journal, err = simulate.OpenJournal(journal); err != nil {
		return err
	}
	loads, err := r.live(ctx)
	if err = errors.Join(err, r.journal.Close()); err != nil {
		if errors.Is(err, ErrFound) {
			r.state.Found = append(r.state.Found, err.Error())
		}
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.timeUp = r.late()
	full := r.o.StoreEvents > 0 && r.state.InStore+2*r.o.RoundCommands >= r.o.StoreEvents
	complete := full || r.timeUp || r.state.Rounds == 0
	audited, err := r.site.Audit(ctx, r.state.Store, r.dir, journal, complete)
	if err == nil && !complete && r.enoughWith(&audited) { // nothing comes after it
		complete = true
		audited, err = r.site.Audit(ctx, r.state.Store, r.dir, journal, complete)
	}
	if err != nil {
		return fmt.Errorf("the audit could not be done: %w", err)
	}
	return r.conclude(loads, &audited, complete, full)
}

// enoughWith tells whether this was the last round.
func (r *round) enoughWith(a *Audited) bool {
	ahead := *r.state
	ahead.Events += a.Events - ahead.InStore
	for _, n := range r.done {
		ahead.faults += n
	}
	return ahead.enough(r.o)
}

// live starts the processes, has them loaded and spoiled, and ends them in order. It answers what came of the loads.
func (r *round) live(ctx context.Context) (loads []*simulate.Report, err error) {
	if r.processes, err = r.site.Processes(r.state.Store, r.dir); err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range r.processes {
			p.Release()
		}
	}()
	course := Draw(r.o.Seed, r.number, r.o.RoundFaults, r.processes, r.site.Servers())
	for _, p := range r.processes {
		if err := p.Start(ctx, course.Clocks[p.Name]); err != nil {
			return nil, err
		}
		if course.Clocks[p.Name] != 0 {
			r.count(ClockWrong)
		}
	}
	target := r.target(r.o.Load.Callers)
	prefix := fmt.Sprintf("x%d-%d-%d-", r.o.Seed, r.number, r.state.Attempts)
	var working sync.WaitGroup
	loaded, end := context.WithCancelCause(ctx)
	defer end(nil)
	type ended struct {
		report *simulate.Report
		err    error
	}
	load := make(chan ended, 1)
	working.Go(func() {
		options := r.o.Load
		options.Seed, options.Prefix, options.Commands, options.Journal = r.o.Seed+uint64(r.number)<<20, prefix, r.o.RoundCommands, r.journal //nolint:gosec // any bits do
		options.Progress = func(sent int64) {
			r.sent.Store(sent)
			if r.o.Progress != nil {
				r.o.Progress(r.state.Events+r.journal.Lines(), r.state.faults+r.begun.Load()) // a command has one event at least
			}
		}
		report, err := simulate.Run(loaded, target, options)
		r.sent.Store(r.o.RoundCommands)
		load <- ended{report, err}
	})
	watching, enough := context.WithCancel(loaded)
	var watch sync.WaitGroup
	watch.Go(func() { r.watch(watching, end) })
	bursts := r.spoil(loaded, end, course, prefix)
	working.Wait()
	enough()
	watch.Wait()
	main := <-load
	for report := range bursts {
		loads = append(loads, report)
	}
	loads = append(loads, main.report)
	if cause := context.Cause(loaded); cause != nil {
		return loads, cause
	}
	if main.err != nil {
		return loads, fmt.Errorf("the load: %w", main.err)
	}
	for _, p := range r.processes {
		if err := p.Fell(); err != nil {
			r.find("%v", err)
		}
	}
	for _, report := range loads {
		if len(r.found) > 0 {
			break // who fell can't be asked
		}
		if err := r.see(ctx, report); err != nil {
			return loads, err
		}
	}
	for _, p := range r.processes {
		if err := p.End(ctx); err != nil {
			r.find("%v", err)
		}
	}
	return loads, nil
}

// stuckAfter is how long nothing may go on: far longer than any fault lasts, and any server takes to start.
const stuckAfter = 3 * time.Minute

// watch ends a load that does not go on.
func (r *round) watch(ctx context.Context, end context.CancelCauseFunc) {
	last, since := int64(-1), time.Now()
	for pause(ctx, time.Second) {
		if sent := r.sent.Load(); sent != last {
			last, since = sent, time.Now()
		}
		if time.Since(since) > stuckAfter {
			end(fmt.Errorf("%w: no commands were answered for %s, after %d of the round; see the logs of the processes", ErrFound, stuckAfter, last))
			return
		}
	}
}

// target is all processes that take commands, and one that answers questions.
func (r *round) target(callers int) *simulate.HTTP {
	var commands []string
	queries := ""
	for _, p := range r.processes {
		if p.Has("command") {
			commands = append(commands, p.URL())
		}
		if p.Has("query") && queries == "" {
			queries = p.URL()
		}
	}
	target := simulate.NewHTTP(commands, queries, callers, r.o.Token)
	target.Client.Timeout = 12 * time.Second // longer than a process takes to say that it does not know
	return target
}

// see checks that everything acknowledged can be seen through the query API, once it is peaceful.
func (r *round) see(ctx context.Context, report *simulate.Report) error {
	for attempt := 0; ; attempt++ {
		_, err := r.target(r.o.Load.Callers).CheckVisible(ctx, report, nil)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, simulate.ErrMissing) && attempt > 0:
			r.find("%v", err)
			return nil
		case attempt >= 60: // two minutes of peace
			r.find("what was acknowledged can't be asked for: %v", err)
			return nil
		}
		if !pause(ctx, 2*time.Second) {
			return ctx.Err()
		}
	}
}

func (r *round) find(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = append(r.found, fmt.Sprintf(format, args...))
}

// conclude puts a round into the state.
func (r *round) conclude(loads []*simulate.Report, a *Audited, complete, full bool) error {
	s := r.state
	var commands, refused, unknown, differ int64
	for _, l := range loads {
		commands += l.Sent
		unknown += l.Unknowns
		differ += int64(len(l.Differ))
		for _, n := range l.Refusals {
			refused += n
		}
		for code, n := range l.Problems {
			s.Problems[code] += n
		}
		s.Repeats += l.Repeats
		for _, d := range l.Differ {
			r.found = append(r.found, "a repeated command was answered differently: "+d)
		}
	}
	for kind, n := range r.done {
		s.FaultKinds[kind] += n
		s.faults += n
	}
	s.Rounds++
	s.Commands += commands
	s.Refused += refused
	s.Acknowledged += r.journal.Lines()
	s.Events += a.Events - s.InStore
	s.InStore = a.Events
	s.Skipped += a.Skipped
	s.Doubled += a.Doubled
	s.Lost += a.Lost
	s.Unknown += unknown
	s.Differently += differ
	s.Otherwise += a.Otherwise + int64(len(r.found)) - differ
	s.Recomputed += int64(a.Recomputed)
	s.Found = append(append(s.Found, r.found...), a.Says...)
	how := "some streams compared"
	if complete {
		how = "everything compared"
	}
	r.o.Say("round %d: %d commands, %d faults, %d events in store %d, %s", r.number, commands, r.begun.Load(), a.Events, s.Store, how)
	if len(s.Found) > 0 || unknown > 0 || a.Found() {
		if unknown > 0 {
			s.Found = append(s.Found, fmt.Sprintf("%d commands were never answered", unknown))
		}
		return fmt.Errorf("%w:\n  %s", ErrFound, strings.Join(s.Found[:min(len(s.Found), 20)], "\n  "))
	}
	if full {
		if err := os.RemoveAll(r.dir); err != nil {
			return err
		}
		s.Store++
		s.InStore = 0
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
