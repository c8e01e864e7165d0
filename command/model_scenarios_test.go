package command_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/explore"
	"carryon/projector"
)

// What is explored. A failure prints the command that plays its schedule again, as in
//
//	go test ./command -run TestTheModelPlaysOneSchedule -v -model.scenario 'two writers' -model.play 0a2
var (
	modelScenario  = flag.String("model.scenario", "", "the scenario of the one schedule to play, or of the search")
	modelPlay      = flag.String("model.play", "", "the one schedule to play")
	modelSeed      = flag.Uint64("model.seed", 1, "the first seed of the random schedules")
	modelSchedules = flag.Int("model.schedules", 1000, "random schedules to play")
	modelBudget    = flag.Int("model.budget", 0, "how much more goes wrong in each scenario than in a quick test")
	modelStates    = flag.Int("model.states", 1500, "give a search up after so many states; 0: never")
	modelWorkers   = flag.Int("model.workers", min(2, runtime.GOMAXPROCS(0)), "schedules that are played at the same time")
)

func one(stream int) act { return act{stream: stream, add: conformance.Add{Amount: 1}} }

func twice(a act) act { a.again = 1; return a }

func from(version uint64, a act) act { a.ifMatch = &version; return a }

func readOf(stream int) act { return act{stream: stream, read: true} }

// scenarios are explored to the end: every schedule in which so much goes wrong as the budget says.
var scenarios = []scenario{
	{
		name: "two writers", writers: 2, budget: 1,
		clients: [][]act{{one(0)}, {one(0)}},
		faults:  claimFaults | writerCrashes | writerCrashesClaiming | clientVanishes,
	},
	{
		name: "the same command at both writers", writers: 2, budget: 2,
		clients: [][]act{{twice(from(0, one(0)))}},
		faults:  claimFaults | writerCrashesClaiming | clientLeaves | clientVanishes,
	},
	{
		name: "reads beside another writer", writers: 2, budget: 1,
		clients: [][]act{{one(0)}, {readOf(0)}},
		faults:  claimFaults | callFails | writerCrashes,
	},
	{
		name: "one busy writer", writers: 1, budget: 2,
		clients: [][]act{{one(0), one(0)}, {one(1)}},
		faults:  claimFaults | writerCrashesClaiming | clientLeaves,
	},
	{
		name: "one busy writer beside another", writers: 2, budget: 0,
		clients: [][]act{{one(0)}, {one(0)}, {one(0)}},
	},
	{
		name: "histories and snapshots", writers: 1, budget: 1, slow: true,
		clients: [][]act{{one(0), one(0), one(0)}},
		faults:  callFails | writerCrashes | progressFallsBack | snapshotsVanish,
		config:  func(c *command.WriterConfig) { c.SnapshotEvery, c.RecentBytes, c.CacheBytes, c.HotBytes = 1, 1, 1, 1 },
	},
	{
		name: "derivations that fail", writers: 1, budget: 1, slow: true,
		clients: [][]act{{one(0), one(0)}},
		faults:  callFails | writerCrashes,
	},
	{
		name: "derived by another writer", writers: 2, budget: 1, slow: true, pinned: true,
		clients: [][]act{{one(0)}, {one(0)}},
		faults:  callFails,
		config:  func(c *command.WriterConfig) { c.RecentBytes = 1 },
	},
	{
		name: "loading beside another writer", writers: 2,
		clients: [][]act{{one(0)}, {one(1)}, {one(0)}},
	},
	{
		name: "leaping over what another wrote", writers: 2, budget: 0,
		clients: [][]act{{one(0), one(0), one(1)}, {one(0)}},
		config:  func(c *command.WriterConfig) { c.LeapEntries = 1 },
	},
	{
		name: "frozen streams", writers: 2, budget: 0,
		clients: [][]act{{one(0), one(1), one(0)}, {one(0)}},
		config:  func(c *command.WriterConfig) { c.HotBytes = 1 },
	},
	{
		name: "handing over", writers: 2, budget: 0, forwards: true,
		clients: [][]act{{one(0), one(0)}, {one(1), one(1)}},
		faults:  callFails | writerCrashes | claimAnswerLost,
	},
	{
		name: "a consumer", writers: 1, consumers: 1, budget: 1,
		clients: [][]act{{one(0), one(0), one(1)}},
		faults:  consumerCrashes | commitAnswerLost | messageDoubled | messageLost,
	},
	{
		name: "two consumers", writers: 1, consumers: 2,
		clients: [][]act{{one(0), one(0)}},
		faults:  consumerCrashes | commitAnswerLost | messageDoubled | holderHangs | messageLost,
	},
	{
		name: "two consumers of a store without locks", writers: 1, consumers: 2, kind: conditional,
		clients: [][]act{{one(0), one(0)}},
		faults:  consumerCrashes | commitAnswerLost | messageDoubled | messageLost,
	},
	{
		name: "two consumers of a store of documents", writers: 1, consumers: 2, kind: documents,
		clients: [][]act{{one(0), one(0)}},
		faults:  consumerCrashes | commitAnswerLost | messageDoubled | messageLost,
	},
	{
		name: "a parked stream", writers: 1, consumers: 1, operator: true, poison: domain.EventID("customer/a/c0-0", 0),
		clients: [][]act{{one(0), one(0)}},
		faults:  consumerCrashes | commitAnswerLost,
	},
	{
		name: "a parked stream in a store without locks", writers: 1, consumers: 1, kind: conditional, operator: true, poison: domain.EventID("customer/a/c0-0", 0),
		clients: [][]act{{one(0), one(0)}, {one(1)}},
	},
	{
		name: "a log that forgets", writers: 2, budget: 1,
		clients: [][]act{{one(0), one(0)}, {one(1)}},
		faults:  logForgets,
	},
	{
		name: "a consumer of a log that forgets", writers: 2, consumers: 1, budget: 1, pinned: true,
		clients: [][]act{{one(0)}, {one(1), one(1)}},
		faults:  logForgets,
	},
	{
		name: "all together", writers: 2, consumers: 1, budget: 1,
		clients: [][]act{{one(0)}, {one(0)}},
		faults:  claimFaults | writerCrashesClaiming | consumerCrashes | commitAnswerLost,
	},
}

func scenarioNamed(name string) (scenario, bool) {
	for _, sc := range scenarios {
		if sc.name == name {
			return sc, true
		}
	}
	var seed uint64
	if _, err := fmt.Sscanf(name, "seed %d", &seed); err == nil {
		return randomScenario(seed), true
	}
	return scenario{}, false
}

// randomScenario draws what a random schedule begins with.
func randomScenario(seed uint64) scenario {
	r := rand.New(rand.NewPCG(seed, 2))
	sc := scenario{
		name: fmt.Sprintf("seed %d", seed), seed: seed, writers: 1 + r.IntN(3), consumers: 1 + r.IntN(2), kind: storeKind(r.IntN(3)),
		faults: fault(r.Uint32()) &^ logForgets, budget: r.IntN(20), forwards: r.IntN(2) == 0, operator: true, hints: r.IntN(4) == 0,
		bursts: r.IntN(2) == 0, slow: true, pageBytes: 1 + r.IntN(60), drift: time.Duration(r.IntN(3)) * 4 * time.Second,
	}
	leap := 1 + r.IntN(4)
	if r.IntN(20) == 0 && sc.kind != documents { // which are not taken back: the audit finds them
		sc.faults = sc.faults&^eventIsPoison | logForgets
		leap = 1024 // who leaps does not look back
	}
	for range 1 + r.IntN(4) {
		var script []act
		for range 1 + r.IntN(4) {
			script = append(script, randomAct(r))
		}
		sc.clients = append(sc.clients, script)
	}
	snapshots, recent, cache, hot, batch := 1+r.IntN(4), 1+r.IntN(5000), 1+r.IntN(4000), r.IntN(1500), 20+r.IntN(200)
	loads, derive := 1+r.IntN(2), 1+r.IntN(200)
	sc.config = func(c *command.WriterConfig) {
		c.LeapEntries = leap
		c.SnapshotEvery, c.RecentBytes, c.CacheBytes, c.HotBytes, c.BatchBytes = snapshots, recent, cache, hot, batch
		c.ConcurrentLoads, c.DeriveBatchBytes, c.MaxDeriveEvents = loads, derive, 5
	}
	events, waiting, tries := 1+r.IntN(8), 1+r.IntN(4), 1+r.IntN(3)
	sc.consume = func(c *projector.Config) { c.MaxEvents, c.WaitingEntries, c.Tries = events, waiting, tries }
	return sc
}

func randomAct(r *rand.Rand) act {
	a := one(r.IntN(len(modelStreams)))
	a.add.Events = 1 + r.IntN(3)
	a.again = r.IntN(3) / 2
	switch r.IntN(12) {
	case 0, 1:
		return readOf(a.stream)
	case 2, 3:
		a.add = conformance.Add{Amount: -1000}
	case 4:
		a = from(uint64(r.IntN(4)), a)
	}
	return a
}

func TestNoScheduleOfTheModelBreaksARule(t *testing.T) {
	for _, sc := range scenarios {
		if *modelScenario != "" && *modelScenario != sc.name {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			sc := sc
			sc.budget += *modelBudget
			begin := time.Now()
			done, failed := search(sc, *modelStates)
			took := time.Since(begin)
			t.Logf("%v, in %s: %.0f states a second", done, took.Round(time.Millisecond), float64(done.States)/took.Seconds())
			if failed != nil {
				t.Fatal(report(sc.name, failed))
			}
		})
	}
}

// maxDepth is more moves than any schedule of a scenario takes, unless somebody begins the same again and again.
const maxDepth = 300

func search(sc scenario, states int) (explore.Searched, *explore.Failure) {
	return explore.Search{New: func() explore.World { return newModel(sc) }, Workers: *modelWorkers, States: states, Depth: maxDepth}.Run()
}

func report(scenario string, f *explore.Failure) string {
	return fmt.Sprintf("%v\n\nFound after %d states and %d schedules, in one of %d moves. To play it again:\n"+
		"go test ./command -run TestTheModelPlaysOneSchedule -v -model.scenario '%s' -model.budget %d -model.play '%s'",
		f, f.Found.States, f.Found.Schedules, f.Found.Moves, scenario, *modelBudget, f.Path)
}

func TestTheModelPlaysOneSchedule(t *testing.T) {
	sc, found := scenarioNamed(cmp.Or(*modelScenario, scenarios[0].name)) // in which, if nothing is asked for, nothing happens
	if !found {
		t.Fatalf("there is no scenario %q", *modelScenario)
	}
	sc.budget += *modelBudget
	path, err := explore.ParsePath(*modelPlay)
	if err != nil {
		t.Fatal(err)
	}
	w := newModel(sc)
	defer w.Close()
	keys, broken, err := explore.Play(w, path)
	for i, key := range keys {
		t.Logf("%4d  %s", i+1, key)
	}
	if err != nil || broken != nil {
		t.Fatal(err, broken)
	}
}

// randomMoves is the longest random schedule, before it settles.
const randomMoves = 400

func TestNoRandomScheduleOfTheModelBreaksARule(t *testing.T) {
	begin := time.Now()
	random := explore.Random{New: func(seed uint64) explore.World { return newModel(randomScenario(seed)) }, Workers: *modelWorkers, Moves: randomMoves}
	played, seed, failed := random.Run(*modelSeed, *modelSchedules)
	took := time.Since(begin)
	t.Logf("%d schedules, %d moves, in %s: %.0f schedules a second", played.Schedules, played.Moves, took.Round(time.Millisecond),
		float64(played.Schedules)/took.Seconds())
	if failed != nil {
		t.Fatal(report(fmt.Sprintf("seed %d", seed), failed))
	}
}
