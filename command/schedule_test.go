package command_test

import (
	"context"
	"errors"
	"flag"
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

// Random schedules: the real shard writers of two processes work on one shard of one log, without goroutines and without
// time. What happens next is drawn: a call reaches the store, its answer arrives or is lost, a claim is decided late, a
// pause ends, a client gives a command, gives it again at the other process, loses patience, a process crashes and
// begins anew. A seed names a schedule and can be played again:
//
//	go test ./command -run TestEverySchedule -schedule-seed 42 -v
var (
	schedules    = flag.Int("schedules", 400, "random schedules to play")
	scheduleSeed = flag.Uint64("schedule-seed", 0, "the one schedule to play; 0: as many as -schedules says")
)

func TestEveryScheduleLeavesEachAcknowledgedCommandInTheLogOnce(t *testing.T) {
	t.Parallel()
	if *scheduleSeed != 0 {
		w := newSchedule(*scheduleSeed)
		err := w.play()
		for _, line := range w.trace {
			t.Log(line)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	first := rand.Uint64N(1 << 40)
	t.Logf("seeds %d to %d", first+1, first+uint64(*schedules))
	var seen coverage
	for i := range *schedules {
		seed := first + uint64(i) + 1
		w := newSchedule(seed)
		if err := w.play(); err != nil {
			t.Fatalf("schedule -schedule-seed %d: %v", seed, err)
		}
		seen.add(&w.seen)
	}
	t.Logf("%+v", seen)
	if *schedules >= 100 && (seen.unknown == 0 || seen.taken == 0 || seen.crashes == 0 || seen.late == 0 || seen.repeated == 0 || seen.reads == 0) {
		t.Fatalf("the schedules never came to what they are for: %+v", seen)
	}
}

// Breaking a rule on purpose must be noticed, or the test above proves nothing.
func TestTheScheduleTestNoticesBrokenRules(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*brokenLog){
		"an answer is given before the claim is known":              func(l *brokenLog) { l.unknownIsApplied = true },
		"an unknown claim is taken for one that failed":             func(l *brokenLog) { l.unknownIsFailed = true },
		"a taken claim is taken for an applied one":                 func(l *brokenLog) { l.takenIsApplied = true },
		"the log applies claims without looking at the predecessor": func(l *brokenLog) { l.blind = true },
		"a look at the head shows an old one":                       func(l *brokenLog) { l.oldHead = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 2000; seed++ {
				w := newSchedule(seed)
				w.broken = broken
				if err := w.play(); err != nil {
					t.Logf("noticed by schedule %d: %v", seed, err)
					return
				}
			}
			t.Fatal("2000 schedules, and nobody noticed")
		})
	}
}

// coverage counts what schedules came to.
type coverage struct {
	steps, answered, refused, unknown, taken, crashes, late, repeated, reads, abandoned int
}

func (c *coverage) add(o *coverage) {
	c.steps += o.steps
	c.answered += o.answered
	c.refused += o.refused
	c.unknown += o.unknown
	c.taken += o.taken
	c.crashes += o.crashes
	c.late += o.late
	c.repeated += o.repeated
	c.reads += o.reads
	c.abandoned += o.abandoned
}

// schedule is a world to be played by one seed.
type schedule struct {
	random    *rand.Rand
	store     *memory.Store
	processes []*simulated
	clients   []*client
	now       time.Time
	healed    bool // from here on nothing goes wrong any more
	inside    bool // a call is being made between those of another
	trace     []string
	seen      coverage
	broken    func(*brokenLog)
}

const (
	simShard     = 1
	faultySteps  = 1500
	healingSteps = 40_000
	perClient    = 6
)

func newSchedule(seed uint64) *schedule {
	w := &schedule{
		random: rand.New(rand.NewPCG(seed, 7)), store: memory.NewStore(), now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
	}
	for i := range 4 {
		w.clients = append(w.clients, &client{name: i})
	}
	return w
}

func (w *schedule) log(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%5d ", w.seen.steps)+fmt.Sprintf(format, args...))
}

func (w *schedule) chance(oneIn int) bool { return w.random.IntN(oneIn) == 0 }

// simulated is one life of a process.
type simulated struct {
	name    string
	skew    time.Duration
	conn    *memory.Connection
	core    *command.Core
	jobs    []command.Job // not yet at the store
	answers []func()      // not yet back
}

func (w *schedule) begin(i int) error {
	p := &simulated{name: fmt.Sprintf("p%d.%d", i, w.seen.crashes), conn: w.store.Connect(), skew: time.Duration(w.random.IntN(20)-10) * time.Second}
	p.conn.Inject(w.fault)
	log := command.Log(p.conn)
	if w.broken != nil {
		b := &brokenLog{Log: p.conn}
		w.broken(b)
		log = b
	}
	writer, err := command.NewWriter(command.WriterConfig{
		Name: p.name, SnapshotEvery: 2 + w.random.IntN(4), RecentBytes: 1 + w.random.IntN(10_000), CacheBytes: 1 + w.random.IntN(6_000), HotBytes: w.random.IntN(1_500),
		ConcurrentLoads: 1 + w.random.IntN(2), MaxDeriveEvents: 5 + w.random.IntN(50), DeriveBatchBytes: 1 + w.random.IntN(200), BatchBytes: 20 + w.random.IntN(200),
	}, command.WriterPorts{
		Log: log, Histories: p.conn, Snapshots: p.conn, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
		Clock:     func() time.Time { return w.now.Add(p.skew) },
		Random:    rand.NewPCG(w.random.Uint64(), w.random.Uint64()),
	})
	if err != nil {
		return err
	}
	p.core = command.NewCore(writer, simShard)
	w.log("%s begins", p.name)
	for len(w.processes) <= i {
		w.processes = append(w.processes, nil)
	}
	w.processes[i] = p
	w.step(p)
	return nil
}

// fault draws what goes wrong with a call.
func (w *schedule) fault(_ context.Context, call memory.Call) memory.Fault {
	if w.healed {
		return memory.None
	}
	if call.Operation == memory.OpClaim {
		if w.chance(3) {
			return []memory.Fault{memory.LoseAnswer, memory.LoseClaim, memory.DecideLate, memory.Unavailable}[w.random.IntN(4)]
		}
		return memory.None
	}
	if w.chance(12) {
		return memory.Unavailable
	}
	w.meanwhile()
	return memory.None
}

// meanwhile lets other calls reach the store between those that one load makes.
func (w *schedule) meanwhile() {
	if w.inside || !w.chance(3) {
		return
	}
	w.inside = true
	defer func() { w.inside = false }()
	for range 1 + w.random.IntN(3) {
		if p := w.processes[w.random.IntN(len(w.processes))]; p != nil && len(p.jobs) > 0 {
			w.perform(p, w.random.IntN(len(p.jobs)))
		}
	}
}

// step lets a process decide, and takes what it wants done.
func (w *schedule) step(p *simulated) {
	for _, job := range p.core.Step() {
		w.log("%s wants %s%s", p.name, job.Kind, describe(job.Entry))
		p.jobs = append(p.jobs, job)
	}
}

func describe(e *domain.Entry) string {
	if e == nil {
		return ""
	}
	s := fmt.Sprintf(" %d (%.8s)", e.Index, e.ID)
	for i := range e.Events {
		s += fmt.Sprintf(" %s@%d", e.Events[i].CommandID, e.Events[i].Seq)
	}
	return s
}

// play plays the schedule and says what is wrong.
func (w *schedule) play() error {
	for i := range 2 {
		if err := w.begin(i); err != nil {
			return err
		}
	}
	for w.seen.steps < faultySteps && !w.done() {
		if err := w.once(); err != nil {
			return err
		}
	}
	w.healed = true
	w.log("from here on nothing goes wrong")
	w.store.SettleAll()
	for end := w.seen.steps + healingSteps; !w.done(); {
		if w.seen.steps > end {
			return errors.New("everything works, and still not everyone has an answer")
		}
		if err := w.once(); err != nil {
			return err
		}
	}
	if err := w.judge(); err != nil {
		return err
	}
	return w.derived()
}

// derived goes on for as long as it may take until a process looks how far the histories are, and then expects them to
// be at the tail of the log.
func (w *schedule) derived() error {
	p := w.processes[0]
	for n := range 150 {
		waiting := p.core.Submit(context.Background(), command.Submission{
			Stream: "customer/z", Meta: command.Meta{CommandID: fmt.Sprint("z-", n)}, RequestHash: "z", Decider: conformance.Add{Amount: 1},
		})
		w.step(p)
		for len(p.jobs)+len(p.answers) > 0 {
			if len(p.jobs) > 0 {
				w.perform(p, w.random.IntN(len(p.jobs)))
			}
			if len(p.answers) > 0 {
				tell := p.answers[0]
				p.answers = p.answers[1:]
				tell()
				w.step(p)
			}
		}
		if answer, ok := waiting.Answer(); !ok || answer.Err != nil {
			return fmt.Errorf("everything works, but a command gets %v, %w", ok, answer.Err)
		}
	}
	progress, err := p.conn.Progress(context.Background(), simShard)
	if err != nil {
		return err
	}
	if tail := w.store.Head(simShard).Index; progress != tail {
		return fmt.Errorf("the histories are at entry %d of %d", progress, tail)
	}
	return nil
}

// once lets one thing happen.
func (w *schedule) once() error {
	w.seen.steps++
	w.now = w.now.Add(time.Duration(w.random.IntN(200)) * time.Millisecond)
	for {
		i := w.random.IntN(len(w.processes))
		p := w.processes[i]
		switch draw := w.random.IntN(100); {
		case draw < 40 && len(p.jobs) > 0:
			w.perform(p, w.random.IntN(len(p.jobs)))
			return nil
		case draw < 75 && len(p.answers) > 0:
			n := w.random.IntN(len(p.answers))
			tell := p.answers[n]
			p.answers = slices.Delete(p.answers, n, n+1)
			tell()
			w.step(p)
			return p.stopped()
		case draw >= 75 && draw < 95:
			return w.clients[w.random.IntN(len(w.clients))].act(w)
		case draw == 95 && !w.healed && w.store.Late() > 0:
			w.log("a late claim is decided")
			w.store.Settle(w.random.IntN(w.store.Late()))
			return nil
		case draw == 96 && !w.healed && w.chance(4):
			return w.crash(i)
		case draw == 97 && !w.healed && w.chance(3):
			w.store.LoseSnapshots()
			return nil
		case draw == 98 && !w.healed && w.chance(3):
			w.store.FallBack(simShard, uint64(w.random.IntN(10)))
			return nil
		}
	}
}

func (p *simulated) stopped() error {
	if err := p.core.Stopped(); err != nil {
		return fmt.Errorf("%s stopped: %w", p.name, err)
	}
	return nil
}

// perform lets a call reach the store. Its answer arrives later.
func (w *schedule) perform(p *simulated, n int) {
	job := p.jobs[n]
	p.jobs = slices.Delete(p.jobs, n, n+1)
	before := w.store.Late()
	tell := job.Do(context.Background())
	if job.Kind == "claim" {
		w.seen.late += w.store.Late() - before
		if head := w.store.Head(simShard); head.ID != job.Entry.ID && head.Index >= job.Entry.Index {
			w.seen.taken++
		}
	}
	w.log("%s did %s%s", p.name, job.Kind, describe(job.Entry))
	p.answers = append(p.answers, tell)
}

// crash ends a process. What it had sent may still reach the store.
func (w *schedule) crash(i int) error {
	p := w.processes[i]
	w.seen.crashes++
	w.log("%s crashes", p.name)
	for n := range p.jobs {
		if p.jobs[n].Kind == "claim" && w.chance(2) {
			p.jobs[n].Do(context.Background())
			w.log("and yet its claim %s is on its way", describe(p.jobs[n].Entry))
		}
	}
	for _, c := range w.clients {
		if c.at == p {
			c.forget(w)
		}
	}
	return w.begin(i)
}

// client gives commands, one after the other, and the same one again until it knows what became of it, or gives up.
type client struct {
	name    int
	given   []*given
	at      *simulated // where it waits; nil: nowhere
	waiting *command.Waiting
	read    *reading
}

// given is a command as its client knows it.
type given struct {
	id      string
	stream  domain.StreamID
	add     conformance.Add
	decider command.Decider // add, or one that fails
	ifMatch *uint64
	result  *command.Result
	failed  bool // the last answer said that it was not and will not be written
	unknown bool // some answer, or a crash, left it open
	over    bool // the client gives it no more
}

// reading is an authoritative read.
type reading struct {
	stream domain.StreamID
	least  int64 // what was acknowledged before it began
}

func (w *schedule) done() bool {
	for _, c := range w.clients {
		if c.waiting != nil || len(c.given) < perClient || !c.given[len(c.given)-1].over {
			return false
		}
	}
	return true
}

func (c *client) act(w *schedule) error {
	if c.waiting != nil {
		return c.look(w)
	}
	p := w.processes[w.random.IntN(len(w.processes))]
	if w.chance(5) {
		stream := w.stream()
		c.read = &reading{stream: stream, least: w.acknowledged(stream)}
		c.at, c.waiting = p, p.core.Load(context.Background(), stream)
		w.log("client %d reads %s at %s", c.name, stream, p.name)
		w.step(p)
		return nil
	}
	if n := len(c.given); n == 0 || c.given[n-1].over {
		if n == perClient {
			return nil
		}
		amount := int64(1)
		if w.chance(4) {
			amount = -1_000 // refused
		}
		g := &given{id: fmt.Sprintf("c%d-%d", c.name, n), stream: w.stream(), add: conformance.Add{Amount: amount, Events: 1 + w.random.IntN(3)}}
		g.decider = g.add
		switch w.random.IntN(12) {
		case 0:
			g.decider = conformance.Spoil{}
		case 1:
			g.decider = command.DeciderFunc(func(domain.Aggregate, domain.Moment) (domain.Verdict, error) { panic("drawn") })
		case 2:
			version := uint64(w.random.IntN(12))
			g.ifMatch = &version
		}
		c.given = append(c.given, g)
	}
	g := c.given[len(c.given)-1]
	w.log("client %d gives %s for %s to %s", c.name, g.id, g.stream, p.name)
	c.at, c.waiting = p, p.core.Submit(context.Background(), command.Submission{
		Stream: g.stream, Meta: command.Meta{CommandID: g.id, IfMatch: g.ifMatch}, RequestHash: g.id, Decider: g.decider,
	})
	w.step(p)
	return nil
}

func (w *schedule) stream() domain.StreamID {
	return []domain.StreamID{"customer/a", "customer/b", "customer/c"}[w.random.IntN(3)]
}

// acknowledged is what the clients know to be recorded of a stream.
func (w *schedule) acknowledged(stream domain.StreamID) (sum int64) {
	for _, c := range w.clients {
		for _, g := range c.given {
			if g.stream == stream && g.result != nil && g.add.Amount > 0 {
				sum += int64(len(g.result.Events))
			}
		}
	}
	return sum
}

// look sees whether there is an answer; sometimes the client leaves before.
func (c *client) look(w *schedule) error {
	answer, ok := c.waiting.Answer()
	if !ok {
		if w.chance(10) && !w.healed {
			w.log("client %d leaves", c.name)
			w.seen.abandoned++
			p := c.at
			p.core.Abandon(c.waiting)
			w.step(p)
		}
		return nil
	}
	result, err := answer.Result, answer.Err
	c.at, c.waiting = nil, nil
	w.seen.answered++
	if c.read != nil {
		read := c.read
		c.read = nil
		if err != nil {
			return expected(err)
		}
		w.seen.reads++
		if got := answer.Version.State.(*conformance.Tally).Sum(); got < read.least {
			return fmt.Errorf("client %d read a sum of %d at %d of %s, after %d was acknowledged", c.name, got, answer.Version.Seq, read.stream, read.least)
		}
		return nil
	}
	g := c.given[len(c.given)-1]
	w.log("client %d is answered %s: version %d at %s, repeated %v, %v", c.name, g.id, result.Version, result.Position, result.Repeated, err)
	switch {
	case err == nil && g.result != nil:
		if len(g.result.Events) == 0 { // an equal refusal, which wrote nothing: it is decided anew, and may be recorded now
			g.result = &result
		}
		if len(g.result.Events) > 0 && g.result != &result && (result.Version != g.result.Version || result.Position != g.result.Position || !result.Repeated) {
			return fmt.Errorf("command %s was answered with version %d at %s, and before with %d at %s", g.id, result.Version, result.Position, g.result.Version, g.result.Position)
		}
		g.over = true
		w.seen.repeated++
	case err == nil:
		g.result, g.failed = &result, false
		g.over = !w.chance(3) // or the answer is lost on the way, and it asks again
	case errors.Is(err, command.ErrUnknown):
		g.unknown = true
		w.seen.unknown++
	case g.decider != command.Decider(g.add) && !errors.Is(err, command.ErrUnavailable) || errors.Is(err, command.ErrVersionConflict) && g.ifMatch != nil:
		g.failed, g.over = true, true
		w.seen.refused++
	default:
		g.failed = true
		if !g.unknown && g.result == nil && w.chance(3) {
			g.over = true // "not written", and never given again: it must not be in the log
		}
		return expected(err)
	}
	return nil
}

// forget is what a client knows when the process it waited for crashes.
func (c *client) forget(w *schedule) {
	if c.read == nil {
		c.given[len(c.given)-1].unknown = true
	}
	c.at, c.waiting, c.read = nil, nil, nil
}

func expected(err error) error {
	if errors.Is(err, command.ErrUnavailable) && !errors.Is(err, command.ErrDiffers) {
		return nil
	}
	return fmt.Errorf("unexpected answer: %w", err)
}

// judge compares the log with what the clients know.
func (w *schedule) judge() error {
	entries := w.store.Entries(simShard)
	recorded := make(map[string][]domain.Event)
	last := make(map[domain.StreamID]domain.Event)
	var before domain.Entry
	for _, e := range entries {
		if e.Index != before.Index+1 || e.PreviousID != before.ID || e.RecordedAt.Before(before.RecordedAt) {
			return fmt.Errorf("entry %d does not follow entry %d", e.Index, before.Index)
		}
		before = e
		for _, ev := range e.Events {
			if ev.Seq != last[ev.Stream].Seq+1 || ev.Previous != last[ev.Stream].Position {
				return fmt.Errorf("event %d of %s in entry %d follows event %d", ev.Seq, ev.Stream, e.Index, last[ev.Stream].Seq)
			}
			if got := recorded[ev.CommandID]; len(got) > 0 && got[0].Position.Index != e.Index {
				return fmt.Errorf("command %s is in entry %d and in entry %d", ev.CommandID, got[0].Position.Index, e.Index)
			}
			last[ev.Stream] = ev
			recorded[ev.CommandID] = append(recorded[ev.CommandID], ev)
		}
	}
	for _, c := range w.clients {
		for _, g := range c.given {
			got := recorded[g.id]
			switch {
			case g.result == nil && g.failed && !g.unknown && len(got) > 0:
				return fmt.Errorf("command %s was answered with a failure, and is in entry %d", g.id, got[0].Position.Index)
			case g.result == nil:
			case len(g.result.Events) != len(got) && len(g.result.Events) > 0:
				return fmt.Errorf("command %s was answered with %d events, %d are in the log", g.id, len(g.result.Events), len(got))
			case len(got) > 0 && (g.result.Version != got[len(got)-1].Seq || g.result.Position != got[len(got)-1].Position):
				return fmt.Errorf("command %s was answered with version %d at %s, and is at %d in entry %d", g.id, g.result.Version, g.result.Position, got[len(got)-1].Seq, got[0].Position.Index)
			}
		}
	}
	return nil
}

// brokenLog breaks a rule between the writer and the log.
type brokenLog struct {
	command.Log
	unknownIsApplied, unknownIsFailed, takenIsApplied, blind, oldHead bool

	known domain.Head
}

func (l *brokenLog) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	if l.blind {
		head, err := l.Log.Head(ctx, e.Shard)
		if err == nil && head.Index >= e.Index {
			moved := *e
			moved.Index, moved.PreviousID = head.Index+1, head.ID
			e = &moved
		}
	}
	claimed, err := l.Log.Claim(ctx, e)
	switch {
	case errors.Is(err, command.ErrUnknown) && l.unknownIsApplied:
		return command.Claimed{Applied: true}, nil
	case errors.Is(err, command.ErrUnknown) && l.unknownIsFailed:
		return command.Claimed{}, command.ErrUnavailable
	case err == nil && !claimed.Applied && l.takenIsApplied:
		return command.Claimed{Applied: true}, nil
	}
	if claimed.Applied {
		l.known = domain.Head{Index: e.Index, ID: e.ID}
	}
	return claimed, err
}

func (l *brokenLog) Head(ctx context.Context, shard int) (domain.Head, error) {
	head, err := l.Log.Head(ctx, shard)
	if err == nil && l.oldHead && l.known.Index > 0 {
		return l.known, nil
	}
	return head, err
}
