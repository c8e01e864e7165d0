package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"carryon/api/chaos"
	"carryon/api/config"
	"carryon/api/simulate"
)

type chaosCommand struct {
	Seed          uint64        `help:"The course of the faults is drawn from it." default:"1"`
	Events        int64         `help:"Go on until so many events are recorded; 0: any number." default:"0"`
	Faults        int64         `help:"Go on until so many faults have happened; 0: any number." default:"0"`
	Duration      time.Duration `help:"Begin no round after this time; 0: with --events or --faults no bound, else 2m." default:"0s"`
	Resume        bool          `help:"Go on with the run that is in the data folder."`
	RoundCommands int64         `help:"Commands of a round, between two audits." default:"8000"`
	RoundFaults   int           `help:"Faults of a round." default:"10"`
	StoreEvents   int64         `help:"A store with so many events is compared as a whole, and left for an empty one; 0: never." default:"250000"`
	Households    int           `help:"Customers of a round." default:"120"`
	Callers       int           `help:"Commands at once." default:"24"`
	Writers       int           `help:"Processes that decide (distributed profile)." default:"2"`
	Projectors    int           `help:"Processes that project (distributed profile)." default:"2"`
	Queries       int           `help:"Processes that answer questions (distributed profile)." default:"1"`
	Control       string        `help:"Program that does something to a server: it is called with kill, pause, resume or up, and cassandra, kafka, postgres or elasticsearch, as scripts/stack/stack is. Without it servers are left alone (distributed profile)." placeholder:"FILE"`
}

// Help is shown by --help.
func (chaosCommand) Help() string {
	return `Runs rounds: starts processes of this very program on stores of its own, loads them, and meanwhile kills them with -9, kills them while they start, pauses them, ends them in order, sets their clocks wrong by up to a day, cuts, delays and half-opens connections, loses answers, and fills queues by bursts. After each round it looks for every acknowledged command, and compares event store and read models: some streams after a round, all of them before a store is left and at the end.

In the distributed profile (--profile distributed and its settings) there are several processes of each role, with proxies between each of them and the servers and the other processes; processes are hidden from each other, so that two own one shard; with --control the servers, too, are killed and paused. Keyspace, database, topic and prefix must be of its own: they are filled, and left as they are.

Killed with -9 itself, it leaves nothing behind on Linux but servers that it had paused; elsewhere the processes that it started go on and are to be ended by hand.

--data names a folder of its own, empty or with a run to --resume. What was found stays there: store, journal, and what each process said. Exit status: 0 nothing was found, 3 something was skipped, doubled, lost, never answered or answered differently, 1 it could not be done.`
}

// Run makes chaos.
func (c chaosCommand) Run(r *run) error {
	if c.Events == 0 && c.Faults == 0 && c.Duration == 0 {
		c.Duration = 2 * time.Minute
	}
	if r.config.Profile == config.ProfileDistributed {
		c.StoreEvents = 0 // there is one store, which is configured
	}
	folder := r.config.Data
	state, err := c.state(r.config, folder)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	// One folder of keys for all stores and processes.
	settings := *r.config
	if settings.Keys == "" {
		settings.Keys = filepath.Join(folder, "keys")
	}
	keys, err := r.wiring.Keys(&settings)
	if err != nil {
		return err
	}
	titles, err := r.wiring.Catalogue(&settings)
	if err != nil {
		return err
	}
	site, err := c.newSite(r, &settings)
	if err != nil {
		return err
	}
	const day = 24 * time.Hour // that a clock may be wrong by
	show := newChaosProgress(r.Err, c, state)
	err = chaos.Run(r.ctx, site, chaos.Options{
		Folder: folder, Seed: state.Seed, Events: c.Events, Faults: c.Faults, Duration: c.Duration,
		RoundCommands: c.RoundCommands, RoundFaults: c.RoundFaults, StoreEvents: c.StoreEvents,
		Load: simulate.Options{
			Households: c.Households, Callers: c.Callers, Repeats: 0.02, Patience: 200, KeysBehind: day + time.Hour,
			Titles: titles, Lookup: titles.Title,
		},
		Token:    newTokens(keys, 2*day).get,
		Say:      func(format string, args ...any) { fmt.Fprintf(r.Err, "chaos: "+format+"\n", args...) },
		Progress: func(events, faults int64) { show.set(events, faults) },
	}, state)
	show.done()
	if errors.Is(err, chaos.ErrFound) {
		fmt.Fprintf(r.Err, "chaos: what was found is in %s; --seed %d draws the same course again\n", folder, state.Seed)
		return errors.Join(state.Print(r.Out), fmt.Errorf("%w: see above", ErrFound))
	}
	if err != nil {
		if r.ctx.Err() != nil {
			err = fmt.Errorf("%w; go on with: carryon chaos --data %s --resume", err, folder)
		}
		return errors.Join(state.Print(r.Out), err)
	}
	if state.Events < c.Events || state.Faults() < c.Faults {
		fmt.Fprintf(r.Err, "chaos: the time is over; go on with: carryon chaos --data %s --resume\n", folder)
	}
	return state.Print(r.Out)
}

func (c chaosCommand) check() error {
	var found complaints
	wrong := found.wrong
	wrong(c.Events < 0 || c.Faults < 0 || c.StoreEvents < 0, "--events, --faults or --store-events is negative")
	wrong(c.Duration < 0, "--duration is negative")
	wrong(c.RoundCommands < 100 || c.RoundCommands > 10_000_000, "--round-commands is outside 100 to 10000000")
	wrong(c.RoundFaults < 0 || c.RoundFaults > 1000, "--round-faults is outside 0 to 1000")
	wrong(c.Households < 1 || c.Households > 100_000, "--households is outside 1 to 100000")
	wrong(c.Writers < 1 || c.Writers > 16 || c.Projectors < 1 || c.Projectors > 16 || c.Queries < 1 || c.Queries > 16, "--writers, --projectors or --queries is outside 1 to 16")
	wrong(c.Callers < 1 || c.Callers > 1000, "--callers is outside 1 to 1000")
	return found.err()
}

// state is that of the run to go on with, or of a new one in a folder that holds nothing.
func (c chaosCommand) state(settings *config.Config, folder string) (*chaos.State, error) {
	where := ""
	if settings.Profile == config.ProfileDistributed {
		where = "keyspace " + settings.Cassandra.Keyspace
	}
	if c.Resume {
		state, err := chaos.LoadState(folder)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%w: there is no run in %s to --resume", errUsage, folder)
		case err != nil:
			return nil, err
		case state.Profile != settings.Profile || state.Where != where:
			return nil, fmt.Errorf("%w: the run in %s is one of the %s profile, %s", errUsage, folder, state.Profile, cmp.Or(state.Where, "in that folder"))
		case !state.Clean():
			return nil, fmt.Errorf("%w: the run in %s has found something: look at it, and begin in another folder", errUsage, folder)
		}
		return state, nil
	}
	switch fresh, err := chaos.Fresh(folder); {
	case err != nil:
		return nil, err
	case !fresh:
		return nil, fmt.Errorf("%w: %s is not empty: name a folder of its own with --data, or --resume", errUsage, folder)
	}
	return chaos.NewState(settings.Profile, where, c.Seed), nil
}

// newSite is where chaos happens in a profile.
func (c chaosCommand) newSite(r *run, settings *config.Config) (chaos.Site, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if settings.Profile == config.ProfileDistributed {
		return c.newTown(r, settings, program)
	}
	return &chaosFolder{r: r, settings: settings, program: program}, nil
}

// chaosFolder is the embedded profile: one process with everything, on a folder.
type chaosFolder struct {
	r        *run
	settings *config.Config
	program  string
}

// The queues are small, so that bursts fill them.
var chaosQueues = []string{"CARRYON_SHARD_QUEUE=128", "CARRYON_CUSTOMER_QUEUE=8"}

func (s *chaosFolder) data(dir string) string { return filepath.Join(dir, "data") }

// Processes is one.
func (s *chaosFolder) Processes(_ int, dir string) ([]*chaos.Process, error) {
	env := append(s.settings.Environ(), chaosQueues...)
	env = append(env, "CARRYON_DATA="+s.data(dir), "CARRYON_LISTEN=127.0.0.1:0", "CARRYON_KEYS="+s.settings.Keys)
	p, err := chaos.NewProcess("carryon", s.program, s.settings.Roles, []string{"serve", "--log-level", "warn"}, env, filepath.Join(dir, "carryon.log"))
	if err != nil {
		return nil, err
	}
	return []*chaos.Process{p}, nil
}

// Servers: there are none.
func (s *chaosFolder) Servers() []*chaos.Server { return nil }

// Audit audits the folder.
func (s *chaosFolder) Audit(ctx context.Context, store int, dir, journal string, complete bool) (chaos.Audited, error) {
	settings := *s.settings
	settings.Data = s.data(dir)
	return auditChaos(ctx, s.r, &settings, uint64(store), journal, complete) //nolint:gosec // positive
}

// sampledStreams are compared where not all are.
const sampledStreams = 60

// auditChaos does what verify --catch-up --journal does.
func auditChaos(ctx context.Context, r *run, settings *config.Config, seed uint64, journal string, complete bool) (out chaos.Audited, err error) {
	auditing := *r
	auditing.ctx, auditing.config = ctx, settings
	if !complete { // else it takes long enough for its progress to be shown
		auditing.Err = io.Discard
	}
	system, err := auditing.openKept(OpenOptions{OnlyReads: true})
	if err != nil {
		return out, err
	}
	defer auditing.close(system)
	if err := auditing.catchUp(system); err != nil {
		return out, err
	}
	kept, err := checkJournal(&auditing, system, journal, 0)
	if err != nil {
		return out, err
	}
	o := AuditOptions{Seed: seed}
	if !complete {
		o.Sample = sampledStreams
	}
	report, err := auditing.audit(system, o)
	if err != nil {
		return out, err
	}
	out = chaos.Audited{Journal: int64(kept.lines), Lost: int64(len(kept.lost)), Doubled: int64(len(kept.doubled)), Recomputed: report.Recomputed}
	for _, shard := range report.Shards {
		out.Events += int64(shard.Events) //nolint:gosec // far from overflowing
	}
	for _, found := range append(kept.lost, kept.doubled...) {
		out.Says = append(out.Says, found.Error())
	}
	for _, d := range report.Differences {
		switch {
		case d.Skipped():
			out.Skipped++
		case d.Doubled():
			out.Doubled++
		default:
			out.Otherwise++
		}
		out.Says = append(out.Says, d.String())
	}
	out.Otherwise += int64(report.More)
	for _, m := range report.Models {
		if m.Lag > 0 {
			out.Skipped++
			out.Says = append(out.Says, fmt.Sprintf("%s, shard %d: stands at entry %d of %d", m.Model, m.Shard, m.Applied, m.Tail))
		}
	}
	for _, p := range report.Parked {
		out.Otherwise++
		out.Says = append(out.Says, fmt.Sprintf("%s: %s is parked at %d: %s", p.Model, p.Parked.Stream, p.Parked.FirstSeq, p.Parked.Reason))
	}
	return out, nil
}

// chaosProgress shows events, or faults where only their number is wanted.
type chaosProgress struct {
	mu     sync.Mutex
	show   progress
	faults bool
}

func newChaosProgress(w io.Writer, c chaosCommand, resumed *chaos.State) *chaosProgress {
	if c.Events == 0 && c.Faults > 0 {
		return &chaosProgress{show: resumedProgress(w, "chaos", "faults", c.Faults, resumed.Faults()), faults: true}
	}
	return &chaosProgress{show: resumedProgress(w, "chaos", "events", c.Events, resumed.Events)}
}

func (p *chaosProgress) set(events, faults int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults {
		events = faults
	}
	p.show.Set(events)
}

func (p *chaosProgress) done() { p.show.Done() }
