package projector_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/memory/readmodel"
	"carryon/projector"
)

// shelf holds the generations of a model in memory, as all processes see them.
type shelf struct {
	mu      sync.Mutex
	current int
	stores  map[int]*readmodel.Store
	claimed bool
	drops   []int
}

func newShelf() *shelf { return &shelf{current: 1, stores: map[int]*readmodel.Store{}} }

func (s *shelf) Current(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, nil
}

func (s *shelf) List(context.Context) ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.stores)), nil
}

func (s *shelf) Create(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.current + 1
	for s.stores[n] != nil {
		n++
	}
	s.stores[n] = readmodel.New()
	return n, nil
}

func (s *shelf) PromoteFrom(_ context.Context, from, generation int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != from {
		return false, nil
	}
	s.current = generation
	return true, nil
}

func (s *shelf) Drop(_ context.Context, generation int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation == s.current {
		return projector.ErrCurrent
	}
	delete(s.stores, generation)
	s.drops = append(s.drops, generation)
	return nil
}

func (s *shelf) Claim(context.Context) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed {
		return nil, projector.ErrRebuilding
	}
	s.claimed = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.claimed = false
	}, nil
}

func (s *shelf) open(_ context.Context, generation int) (countedStore, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stores[generation] == nil {
		s.stores[generation] = readmodel.New()
	}
	return countedStore{s.stores[generation]}, nil
}

// countedStore is a store whose streams are compared with what counting makes of their events.
type countedStore struct{ *readmodel.Store }

func (a countedStore) AuditStream(_ context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	want := ""
	for i := range events {
		want += fmt.Sprintf("%d;", events[i].Seq)
	}
	if got, _ := a.Get("events", string(stream)); string(got) != want {
		return []string{fmt.Sprintf("%q instead of %q", got, want)}, nil
	}
	return nil, nil
}

type countingModel = projector.Model[*readmodel.Tx, countedStore]

// newCounting is a process that has the model open.
func newCounting(t *testing.T, s *shelf, j *journal, p projector.Projection[*readmodel.Tx], cfg projector.ModelConfig) *countingModel {
	t.Helper()
	cfg.WatchEvery, cfg.Grace = 5*time.Millisecond, 10*time.Millisecond
	cfg.Consumer.QuietMin, cfg.Consumer.QuietMax = time.Millisecond, 5*time.Millisecond
	m := projector.NewModel(cfg, projector.ModelPorts[*readmodel.Tx, countedStore]{
		Projection: p, Generations: s, Open: s.open, Log: j, Histories: j, Shards: []int{0, 1}, Clock: time.Now,
	})
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// runModel runs a model until the test ends or stop is called.
func runModel(t *testing.T, m interface {
	Run(ctx context.Context) error
}) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.Run(ctx) // what stops it is in its status
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func filledJournal(entries int) *journal {
	j := newJournal()
	for i := range entries {
		j.claim(i%2, fmt.Sprintf("c%d", i%7*2+i%2))
	}
	return j
}

func shown(t *testing.T, m *countingModel, customer string) string {
	t.Helper()
	store, done, err := m.Take()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	value, _ := store.Get("events", string(domain.CustomerStream(customer)))
	return string(value)
}

func TestARebuildIsReadInOneStepByEveryProcessAndTheOldGenerationGoes(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), filledJournal(400)
	m, other := newCounting(t, s, j, counting{}, projector.ModelConfig{}), newCounting(t, s, j, counting{}, projector.ModelConfig{})
	runModel(t, m)
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	go other.Watch(watching)
	eventually(t, "the first generation is at the tails", func() bool { return len(shown(t, m, "c0")) > 0 })
	old, done, err := other.Take() // a reader who takes his time
	if err != nil {
		t.Fatal(err)
	}
	if err := m.StartRebuild(t.Context(), projector.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // beside traffic
		j.claim(i%2, fmt.Sprintf("c%d", i%2))
	}
	eventually(t, "both read the second generation", func() bool { return m.Generation() == 2 && other.Generation() == 2 })
	if status, is := m.RebuildStatus(t.Context()); !is || status.State != projector.RebuildDone {
		eventually(t, "the rebuild is done", func() bool {
			status, _ = m.RebuildStatus(t.Context())
			return status.State == projector.RebuildDone
		})
	}
	if value, _ := old.Get("events", "customer/c0"); len(value) == 0 {
		t.Error("a reader lost what he reads from")
	}
	done()
	eventually(t, "the first generation is dropped", func() bool {
		list, _ := s.List(t.Context())
		return slices.Equal(list, []int{2})
	})
	eventually(t, "the second generation is at the tails", func() bool {
		position := j.entries[0][len(j.entries[0])-1]
		cp, err := m.Checkpoints(t.Context())
		return err == nil && cp[0].Index == position.Index
	})
}

func TestTwoRebuildsOfOneModelAreRefused(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), filledJournal(50)
	m, other := newCounting(t, s, j, counting{}, projector.ModelConfig{}), newCounting(t, s, j, counting{}, projector.ModelConfig{})
	runModel(t, m)
	if err := m.StartRebuild(t.Context(), projector.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := m.PauseRebuild(); err == nil {
		if err := m.StartRebuild(t.Context(), projector.RebuildOptions{}); !errors.Is(err, projector.ErrRebuilding) {
			t.Errorf("a second one in the same process: %v", err)
		}
		if err := other.Rebuild(t.Context(), projector.RebuildOptions{}, nil); !errors.Is(err, projector.ErrRebuilding) {
			t.Errorf("a second one in another process: %v", err)
		}
		if status, is := m.RebuildStatus(t.Context()); !is || status.State != projector.RebuildPaused {
			t.Errorf("status: %+v", status)
		}
		if err := m.ResumeRebuild(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the second generation is read", func() bool { return m.Generation() == 2 })
	if err := m.PauseRebuild(); err == nil {
		eventually(t, "the rebuild is over", func() bool { st, _ := m.RebuildStatus(t.Context()); return st.Over() })
	}
}

func TestAnInterruptedRebuildGoesOnFromItsCheckpoints(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), filledJournal(600)
	m := newCounting(t, s, j, counting{}, projector.ModelConfig{Rebuild: projector.RebuildConfig{MaxEvents: 20}})
	for interrupted := 0; ; interrupted++ {
		ctx, cancel := context.WithCancel(t.Context())
		err := m.Rebuild(ctx, projector.RebuildOptions{}, func(st projector.RebuildStatus) {
			if st.EntriesDone > uint64(100*interrupted) && interrupted < 3 {
				cancel()
			}
		})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || interrupted > 50 {
			t.Fatalf("interrupted %d times: %v", interrupted, err)
		}
		if m.Generation() != 1 {
			break
		}
	}
	if m.Generation() != 2 {
		t.Fatalf("generation %d is read", m.Generation())
	}
	report, err := auditOf(t, m, j)
	if err != nil || !report.Clean() {
		t.Errorf("%v %v", report.Differences, err)
	}
}

func auditOf(t *testing.T, m *countingModel, j *journal) (projector.AuditReport, error) {
	t.Helper()
	store, done, err := m.Audited()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	return projector.Audit(t.Context(), projector.AuditTarget{Log: j, Histories: j, Shards: []int{0, 1}, Models: []projector.AuditedStore{store}}, projector.AuditOptions{})
}

func TestAnotherProcessCarriesOnWhatAKilledOneHasBegun(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), filledJournal(100)
	if _, err := s.Create(t.Context()); err != nil { // as one who was killed at once leaves it
		t.Fatal(err)
	}
	m := newCounting(t, s, j, counting{}, projector.ModelConfig{})
	runModel(t, m)
	eventually(t, "what was begun is finished and read", func() bool { return m.Generation() == 2 })
}

// lying writes something else for one event than it should.
type lying struct {
	counting
	wrong *bool
}

func (p lying) Apply(ctx context.Context, tx *readmodel.Tx, events []*domain.Event) error {
	if err := p.counting.Apply(ctx, tx, events); err != nil {
		return err
	}
	if *p.wrong {
		tx.Put("events", "customer/c0", []byte("nonsense"))
	}
	return nil
}

func TestAGenerationThatIsWrongIsNotReadAndIsNamed(t *testing.T) {
	t.Parallel()
	s, j, wrong := newShelf(), filledJournal(60), true
	m := newCounting(t, s, j, lying{wrong: &wrong}, projector.ModelConfig{})
	err := m.Rebuild(t.Context(), projector.RebuildOptions{}, nil)
	if err == nil || m.Generation() != 1 || !slices.Equal(s.drops, []int{2}) {
		t.Fatalf("%v; generation %d is read, dropped are %v", err, m.Generation(), s.drops)
	}
	status, _ := m.RebuildStatus(t.Context())
	if status.State != projector.RebuildFailed || status.Differences == 0 {
		t.Errorf("status: %+v", status)
	}
	wrong = false
	if err := m.Rebuild(t.Context(), projector.RebuildOptions{}, nil); err != nil || m.Generation() != 2 {
		t.Errorf("after it was mended: %v, generation %d", err, m.Generation())
	}
}

// choosy can't apply an event as long as it does not want to.
type choosy struct {
	counting
	refuses *string
}

func (p choosy) Apply(ctx context.Context, tx *readmodel.Tx, events []*domain.Event) error {
	return counting{poison: *p.refuses}.Apply(ctx, tx, events)
}

func TestAGenerationThatParksMoreIsNotReadUntilItIsMendedOrAccepted(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), filledJournal(60)
	refuses := ""
	m := newCounting(t, s, j, choosy{refuses: &refuses}, projector.ModelConfig{})
	refuses = "customer/c0#2"
	err := m.Rebuild(t.Context(), projector.RebuildOptions{}, nil)
	if !errors.Is(err, projector.ErrParked) || m.Generation() != 1 {
		t.Fatalf("%v; generation %d is read", err, m.Generation())
	}
	if status, _ := m.RebuildStatus(t.Context()); status.NewParked != 1 {
		t.Errorf("status: %+v", status)
	}
	refuses = ""
	if err := m.Rebuild(t.Context(), projector.RebuildOptions{}, nil); err != nil || m.Generation() != 2 {
		t.Fatalf("after it was mended: %v; generation %d is read", err, m.Generation())
	}
	refuses = "customer/c0#2"
	if err := m.Rebuild(t.Context(), projector.RebuildOptions{AcceptParked: true}, nil); err != nil || m.Generation() != 3 {
		t.Errorf("accepted: %v; generation %d is read", err, m.Generation())
	}
}

func TestACancelledRebuildLeavesNothing(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), filledJournal(100)
	m := newCounting(t, s, j, counting{}, projector.ModelConfig{})
	if err := m.CancelRebuild(t.Context()); !errors.Is(err, projector.ErrNoRebuild) {
		t.Errorf("without one: %v", err)
	}
	if _, err := s.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.CancelRebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.List(t.Context()); !slices.Equal(list, []int{1}) {
		t.Errorf("the generations are %v", list)
	}
}

func TestALogThatWasSetBackIsFoundAndMendedByARebuild(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), filledJournal(40)
	m := newCounting(t, s, j, counting{}, projector.ModelConfig{})
	runModel(t, m)
	eventually(t, "all is applied", func() bool { cp, _ := m.Checkpoints(t.Context()); return cp[0].Index == 20 && cp[1].Index == 20 })
	j.setBack(0, 10)
	differs := func() bool {
		for _, st := range m.Status() {
			if st.Shard == 0 && st.Differs {
				return true
			}
		}
		return false
	}
	eventually(t, "history differs", differs)
	if err := m.StartRebuild(t.Context(), projector.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a generation of what there is is read", func() bool { return m.Generation() == 2 })
	eventually(t, "nothing differs any more", func() bool { return !differs() })
	cp, err := m.Checkpoints(t.Context())
	if err != nil || cp[0].Index != 10 {
		t.Errorf("%v %v", cp, err)
	}
}

func TestADroppedEventIsLeftOutAndWhatFollowsIsApplied(t *testing.T) {
	t.Parallel()
	f := newFixture(projector.Config{}, counting{poison: "customer/a#2"}, nil)
	for range 3 {
		f.journal.claim(0, "a", "b")
	}
	f.settle(t)
	if err := f.DropParked(t.Context(), "customer/a", 3); !errors.Is(err, projector.ErrParkedElsewhere) {
		t.Errorf("another event than the one it is parked at: %v", err)
	}
	if err := f.DropParked(t.Context(), "customer/a", 2); err != nil {
		t.Fatal(err)
	}
	if value, _ := f.store.Get("events", "customer/a"); string(value) != "1;3;" {
		t.Errorf("applied are %s", value)
	}
	if value, _ := f.store.Get("events", "customer/b"); string(value) != "1;2;3;" {
		t.Errorf("of the other stream are applied %s", value)
	}
	if err := f.DropParked(t.Context(), "customer/a", 2); !errors.Is(err, projector.ErrNotParked) {
		t.Errorf("again: %v", err)
	}
}

// busyJournal is a log that grows whenever somebody looks where it ends.
type busyJournal struct {
	*journal
	busy atomic.Bool
}

func (j *busyJournal) Head(ctx context.Context, shard int) (domain.Head, error) {
	if j.busy.Load() {
		j.claim(shard, fmt.Sprintf("s%d", shard))
	}
	return j.journal.Head(ctx, shard)
}

func TestARebuildEndsBesideTrafficThatDoesNot(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), &busyJournal{journal: filledJournal(40)}
	m := projector.NewModel(quickModel(), projector.ModelPorts[*readmodel.Tx, countedStore]{
		Projection: counting{}, Generations: s, Open: s.open, Log: j, Histories: j, Shards: []int{0, 1}, Clock: time.Now,
	})
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	runModel(t, m)
	j.busy.Store(true)
	if err := m.StartRebuild(t.Context(), projector.RebuildOptions{Sample: 5}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new generation is read", func() bool { return m.Generation() == 2 })
	j.busy.Store(false)
}

// gatedStore lets a test hold up who asks how far it is.
type gatedStore struct {
	*readmodel.Store
	gate *gate
}

type gate struct {
	shut atomic.Bool
	open chan struct{}
}

func (g gatedStore) Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error) {
	if g.gate.shut.Load() {
		select {
		case <-g.gate.open:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return g.Store.Checkpoints(ctx)
}

func TestNobodyIsToldOfAGenerationBeforeItIsRead(t *testing.T) {
	t.Parallel()
	s, j := newShelf(), filledJournal(40)
	first, others := &gate{open: make(chan struct{})}, &gate{}
	m := projector.NewModel(quickModel(), projector.ModelPorts[*readmodel.Tx, gatedStore]{
		Projection: counting{}, Generations: s, Log: j, Histories: j, Shards: []int{0, 1}, Clock: time.Now,
		Open: func(ctx context.Context, n int) (gatedStore, error) {
			c, err := s.open(ctx, n)
			if n == 1 {
				return gatedStore{c.Store, first}, err
			}
			return gatedStore{c.Store, others}, err
		},
	})
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	runModel(t, m)
	ctx := t.Context()
	// Another process builds a generation and promotes it; this one goes over, and is held up while it asks how far the
	// old one is.
	if _, err := s.Create(ctx); err != nil {
		t.Fatal(err)
	}
	at := func(generation int) uint64 {
		c, err := s.stores[generation].Checkpoints(ctx)
		if err != nil {
			t.Error(err)
		}
		return min(c[0].Index, c[1].Index)
	}
	built := projector.NewConsumer(quickModel().Consumer, projector.Projection[*readmodel.Tx](counting{}), projector.Store[*readmodel.Tx](s.stores[2]), j, j, []int{0, 1}, time.Now, nil)
	building, stop := context.WithCancel(ctx)
	var builder sync.WaitGroup
	builder.Go(func() { _ = built.Run(building) })
	eventually(t, "both generations are at the tails", func() bool { return at(1) == 20 && at(2) == 20 })
	stop()
	builder.Wait()
	first.shut.Store(true)
	if _, err := s.PromoteFrom(ctx, 1, 2); err != nil {
		t.Fatal(err)
	}
	e := j.claim(0, "c0")
	m.Hint(0, e.Index)
	eventually(t, "the new generation has it", func() bool { c, err := s.stores[2].Checkpoints(ctx); return err == nil && c[0].Index == e.Index })
	waiting, enough := context.WithTimeout(ctx, 50*time.Millisecond)
	defer enough()
	err := m.WaitFor(waiting, e.Events[0].Position, e.Events[0].Stream)
	// The old generation has it after all when it was hinted at before the other one's promotion was noticed.
	old, asking := s.stores[1].Checkpoints(ctx)
	if asking != nil {
		t.Fatal(asking)
	}
	if err == nil && m.Generation() == 1 && old[0].Index < e.Index {
		t.Error("it was said to be applied, and the generation that is read does not have it")
	}
	close(first.open)
	if err := m.WaitFor(ctx, e.Events[0].Position, e.Events[0].Stream); err != nil {
		t.Error(err)
	}
	eventually(t, "the new generation is read", func() bool { return m.Generation() == 2 })
}

func quickModel() projector.ModelConfig {
	cfg := projector.ModelConfig{WatchEvery: 5 * time.Millisecond, Grace: time.Hour}
	cfg.Consumer.QuietMin, cfg.Consumer.QuietMax = time.Millisecond, 5*time.Millisecond
	return cfg
}
