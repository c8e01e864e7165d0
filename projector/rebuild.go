package projector

// A rebuild fills a new generation of a read model from the first entry of every shard, beside the one that is read. It
// is the same consumer with the same contract, so it may be killed at any moment and goes on from its checkpoints. When
// it is at the tails it is audited; readers go over to it only when the audit is clean, nothing is parked in it that was
// not before, and it has come to the tails that stood when the audit began. The old generation goes afterwards.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"carryon/domain"
)

// RebuildConfig is how a model is rebuilt. The zero value of each field means its default.
type RebuildConfig struct {
	// MaxEvents and MaxBytes bound a transaction: see Config. They are larger here.
	MaxEvents int // 16,384
	MaxBytes  int // 16 MiB
	// Workers: with 1 the log is read and applied by turns, with more it is read and decoded ahead. As many streams are
	// compared at once by the audit.
	Workers int // 2
	// Busy tells whether the process serves somebody now; nil: it never does. While it does, the rebuild works only for
	// Share of the time.
	Busy  func() bool
	Share float64 // 0.25
}

func (c RebuildConfig) withDefaults() RebuildConfig {
	setDefault(&c.MaxEvents, 16384)
	setDefault(&c.MaxBytes, 16<<20)
	setDefault(&c.Workers, 2)
	if c.Share <= 0 || c.Share > 1 {
		c.Share = 0.25
	}
	return c
}

// longestRest is how long a rebuild rests at most after one transaction.
const longestRest = 2 * time.Second

// courtesy is how long to rest after work that took so long.
func (c RebuildConfig) courtesy(took time.Duration) time.Duration {
	if c.Busy == nil || !c.Busy() {
		return 0
	}
	return min(time.Duration(float64(took)*(1-c.Share)/c.Share), longestRest)
}

// RebuildOptions say what a rebuild has to fulfil before it is read.
type RebuildOptions struct {
	// Sample is how many streams its audit makes anew; 0: all of them. The chain, the checkpoints, the parked streams and
	// what a model can compare within itself are always audited as a whole.
	Sample int
	// AcceptParked lets a generation be read in which streams are parked that were not before.
	AcceptParked bool
}

// RebuildState is what a rebuild does now.
type RebuildState string

// The states of a rebuild.
const (
	RebuildFilling   RebuildState = "filling"   // it applies the log
	RebuildAuditing  RebuildState = "auditing"  // it is compared with the log
	RebuildSwitching RebuildState = "switching" // readers go over to it
	RebuildPaused    RebuildState = "paused"    // until it is resumed, or the process ends
	RebuildDone      RebuildState = "done"      // it is read
	RebuildFailed    RebuildState = "failed"    // Err says why; what was built is kept for the next try, unless it was wrong
	RebuildCancelled RebuildState = "cancelled" // what was built is gone
	RebuildWaiting   RebuildState = "waiting"   // begun, and not worked on by this process
)

// RebuildStatus is how far a rebuild is.
type RebuildStatus struct {
	Model      string
	Generation int // that is built
	State      RebuildState
	Err        string // why it failed

	EntriesDone, EntriesTotal uint64 // of the log; the total grows with it
	EventsDone, EventsTotal   uint64 // in them
	// Estimated says that entries were counted at the mean of those that were applied since this process took the rebuild
	// on.
	Estimated bool
	Rate      float64       // events applied per second, lately
	Left      time.Duration // until all are applied, at that rate; 0: not known

	Stage                  string // of the audit
	StageDone, StageTotal  int64
	Began, Ended           time.Time // in this process
	Differences, NewParked int       // that kept it from being read
}

// Over tells whether nothing more comes of a rebuild.
func (s RebuildStatus) Over() bool {
	return s.State == RebuildDone || s.State == RebuildFailed || s.State == RebuildCancelled
}

// Rebuildable is a read model that can be rebuilt: a Model of any store.
type Rebuildable interface {
	Runner
	// Generation is the number of the generation that is read; 0 before there is one.
	Generation() int
	// StartRebuild begins a rebuild in the background, or carries on one that was begun. A process that does not Run
	// leaves it to one that does. It returns ErrRebuilding (wrapped) when one is under way.
	StartRebuild(ctx context.Context, o RebuildOptions) error
	// Rebuild does all of it, and returns when the new generation is read and the old one gone.
	Rebuild(ctx context.Context, o RebuildOptions, report func(RebuildStatus)) error
	// PauseRebuild and ResumeRebuild return ErrNoRebuild (wrapped) when there is none in this process.
	PauseRebuild() error
	ResumeRebuild() error
	// CancelRebuild ends a rebuild and drops what was built. It returns ErrNoRebuild (wrapped) when there is none, and
	// ErrRebuilding (wrapped) when another process works on it.
	CancelRebuild(ctx context.Context) error
	// RebuildStatus is that of the newest rebuild, and whether there is one.
	RebuildStatus(ctx context.Context) (RebuildStatus, bool)
}

var _ Rebuildable = (*Model[Tx, Store[Tx]])(nil)

// errCancelled: somebody wanted the rebuild to end.
var errCancelled = errors.New("the rebuild was cancelled")

// rebuild is one rebuild in this process.
type rebuild struct {
	cancel func() // because the process ends
	giveUp context.CancelCauseFunc
	over   chan struct{} // closed when nothing more happens

	mu      sync.Mutex
	status  RebuildStatus
	paused  chan struct{} // closed to resume; nil: not paused
	pausing chan struct{} // closed to pause
	before  RebuildState  // what a paused one goes on with
	entries uint64        // applied by this process
	events  uint64        // in them
	mark    rateMark      // where the rate is counted from
	next    rateMark      // where it will be
	clock   func() time.Time
}

type rateMark struct {
	at     time.Time
	events uint64
}

// rateWindow is the time over which the rate is counted, at least, once it has passed.
const rateWindow = 5 * time.Second

func (r *rebuild) set(f func(*RebuildStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.status)
}

func (r *rebuild) enter(state RebuildState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused != nil {
		r.before = state
		return
	}
	r.status.State = state
}

func (r *rebuild) pause() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Over() {
		return false
	}
	if r.paused == nil {
		r.paused, r.before = make(chan struct{}), r.status.State
		r.status.State = RebuildPaused
		close(r.pausing)
	}
	return true
}

func (r *rebuild) resume() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Over() {
		return false
	}
	if r.paused != nil {
		close(r.paused)
		r.paused, r.pausing = nil, make(chan struct{})
		r.status.State = r.before
		r.mark, r.next = rateMark{}, rateMark{}
	}
	return true
}

// unpaused waits while the rebuild is paused, and then returns what is closed when it is paused the next time.
func (r *rebuild) unpaused(ctx context.Context) (<-chan struct{}, error) {
	for {
		r.mu.Lock()
		paused, pausing := r.paused, r.pausing
		r.mu.Unlock()
		if paused == nil {
			return pausing, context.Cause(ctx)
		}
		select {
		case <-paused:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// applied counts what a transaction has applied.
func (r *rebuild) applied(_, entries, events int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries += uint64(entries)
	r.events += uint64(events)
	now := r.clock()
	if r.mark.at.IsZero() {
		r.mark = rateMark{now, r.events - uint64(events)}
		r.next = r.mark
	}
	if now.Sub(r.next.at) >= rateWindow {
		r.mark, r.next = r.next, rateMark{now, r.events}
	}
}

// snapshot is the status, with what follows from what was counted.
func (r *rebuild) snapshot() RebuildStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	if r.entries > 0 {
		mean := float64(r.events) / float64(r.entries)
		s.EventsTotal = r.events + uint64(mean*float64(s.EntriesTotal-min(r.entries, s.EntriesTotal)))
		s.EventsDone = r.events + uint64(mean*float64(s.EntriesDone-min(r.entries, s.EntriesDone)))
		s.Estimated = r.entries < s.EntriesTotal
	}
	if took := r.clock().Sub(r.mark.at).Seconds(); !r.mark.at.IsZero() && took > 0 && !s.Over() {
		s.Rate = float64(r.events-r.mark.events) / took
		if s.Rate > 0 && s.EventsTotal > s.EventsDone {
			s.Left = time.Duration(float64(s.EventsTotal-s.EventsDone) / s.Rate * float64(time.Second))
		}
	}
	return s
}

// beginRebuild makes sure that nobody else rebuilds the model. release says that this one is over.
func (m *Model[T, M]) beginRebuild(ctx context.Context) (r *rebuild, release func(), err error) {
	r = &rebuild{over: make(chan struct{}), pausing: make(chan struct{}), clock: time.Now}
	r.status = RebuildStatus{Model: m.Name(), State: RebuildFilling, Began: m.ports.Clock()}
	m.mu.Lock()
	before := m.rebuild
	if before != nil && !before.snapshot().Over() {
		m.mu.Unlock()
		return nil, nil, fmt.Errorf("%s: generation %d: %w", m.Name(), before.snapshot().Generation, ErrRebuilding)
	}
	r.cancel = func() {}
	m.rebuild = r
	m.mu.Unlock()
	letGo, err := m.ports.Generations.Claim(ctx)
	if err != nil {
		m.mu.Lock()
		m.rebuild = before
		m.mu.Unlock()
		close(r.over) // for who wanted to end it meanwhile
		return nil, nil, err
	}
	return r, func() { letGo(); close(r.over) }, nil
}

// StartRebuild begins a rebuild in the background, or carries on one that was begun.
func (m *Model[T, M]) StartRebuild(ctx context.Context, o RebuildOptions) error {
	m.mu.Lock()
	lifetime := m.lifetime
	m.mu.Unlock()
	if lifetime == nil {
		return m.requestRebuild(ctx)
	}
	r, release, err := m.beginRebuild(ctx)
	if err != nil {
		return err
	}
	m.inBackground(lifetime, r, release, o)
	return nil
}

// requestRebuild begins a generation that a process with projectors takes up.
func (m *Model[T, M]) requestRebuild(ctx context.Context) error {
	release, err := m.ports.Generations.Claim(ctx)
	if err != nil {
		return err
	}
	defer release()
	unfinished, err := m.unfinished(ctx)
	if err != nil {
		return err
	}
	if len(unfinished) > 0 {
		return fmt.Errorf("%s: generation %d waits for a projector: %w", m.Name(), slices.Max(unfinished), ErrRebuilding)
	}
	_, err = m.ports.Generations.Create(ctx)
	return err
}

func (m *Model[T, M]) inBackground(lifetime context.Context, r *rebuild, release func(), o RebuildOptions) {
	ctx := m.cancellable(lifetime, r)
	m.runners.Go(func() {
		defer release()
		if err := m.finish(ctx, r, m.build(ctx, r, o)); err != nil && lifetime.Err() == nil {
			m.logger.Error("the read model could not be rebuilt", "error", err)
		}
	})
}

func (m *Model[T, M]) cancellable(ctx context.Context, r *rebuild) context.Context {
	ctx, giveUp := context.WithCancelCause(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	r.giveUp = giveUp
	r.cancel = func() { giveUp(context.Canceled) }
	return ctx
}

// adopt carries on a rebuild that was begun and that nobody works on.
func (m *Model[T, M]) adopt(ctx context.Context) error {
	m.mu.Lock()
	r := m.rebuild
	m.mu.Unlock()
	var known RebuildStatus
	if r != nil {
		if known = r.snapshot(); !known.Over() {
			return nil
		}
	}
	unfinished, err := m.unfinished(ctx)
	if err != nil || len(unfinished) == 0 || slices.Max(unfinished) == known.Generation { // that one failed here
		return err
	}
	r, release, err := m.beginRebuild(ctx)
	if errors.Is(err, ErrRebuilding) {
		return nil
	}
	if err != nil {
		return err
	}
	m.logger.Info("a rebuild of the read model is carried on", "generation", slices.Max(unfinished))
	m.inBackground(ctx, r, release, RebuildOptions{Sample: adoptedSample})
	return nil
}

// adoptedSample is how many streams are audited when nobody says.
const adoptedSample = 1000

// unfinished are the generations behind the one that is read.
func (m *Model[T, M]) unfinished(ctx context.Context) ([]int, error) {
	list, err := m.ports.Generations.List(ctx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	current, err := m.ports.Generations.Current(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(n int) bool { return n <= current }), nil
}

// Rebuild does all of it, in the foreground.
func (m *Model[T, M]) Rebuild(ctx context.Context, o RebuildOptions, report func(RebuildStatus)) error {
	r, release, err := m.beginRebuild(ctx)
	if err != nil {
		return err
	}
	defer release()
	ctx = m.cancellable(ctx, r)
	told := make(chan struct{})
	var telling sync.WaitGroup
	if report != nil {
		telling.Go(func() {
			for {
				report(r.snapshot())
				timer := time.NewTimer(rebuildLook)
				select {
				case <-timer.C:
				case <-told:
					timer.Stop()
					report(r.snapshot())
					return
				}
			}
		})
	}
	err = m.finish(ctx, r, m.build(ctx, r, o))
	close(told)
	telling.Wait()
	if err != nil {
		return err
	}
	m.mu.Lock()
	since := m.since
	m.mu.Unlock()
	sleep(ctx, m.cfg.Grace-time.Since(since)) // nobody else may be there to drop what was read before
	return errors.Join(m.tidy(ctx), context.Cause(ctx))
}

// finish says how it ended.
func (m *Model[T, M]) finish(ctx context.Context, r *rebuild, err error) error {
	state := RebuildDone
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errCancelled):
		state, err = RebuildCancelled, m.dropUnfinished(context.WithoutCancel(ctx))
	default:
		state = RebuildFailed
	}
	r.set(func(s *RebuildStatus) {
		s.State, s.Ended = state, m.ports.Clock()
		if err != nil {
			s.Err = err.Error()
		}
	})
	if state == RebuildCancelled && err == nil {
		return errCancelled
	}
	return err
}

func (m *Model[T, M]) dropUnfinished(ctx context.Context) error {
	unfinished, err := m.unfinished(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range unfinished {
		errs = append(errs, m.ports.Generations.Drop(ctx, n))
	}
	return errors.Join(errs...)
}

// openUnfinished opens the generation that was begun last, or begins one. Others that were begun are dropped.
func (m *Model[T, M]) openUnfinished(ctx context.Context) (from, number int, store M, err error) {
	if from, err = m.ports.Generations.Current(ctx); err != nil {
		return from, number, store, err
	}
	unfinished, err := m.unfinished(ctx)
	if err != nil {
		return from, number, store, err
	}
	for i, n := range unfinished {
		if i < len(unfinished)-1 {
			if err := m.ports.Generations.Drop(ctx, n); err != nil {
				return from, number, store, err
			}
			continue
		}
		if store, err = m.ports.Open(ctx, n); !errors.Is(err, ErrStale) {
			return from, n, store, err
		}
		if err := m.ports.Generations.Drop(ctx, n); err != nil {
			return from, number, store, err
		}
	}
	if number, err = m.ports.Generations.Create(ctx); err != nil {
		return from, number, store, err
	}
	store, err = m.ports.Open(ctx, number)
	return from, number, store, err
}

// build fills, audits and promotes.
func (m *Model[T, M]) build(ctx context.Context, r *rebuild, o RebuildOptions) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("rebuilding %s: %w", m.Name(), err)
		}
	}()
	from, number, store, err := m.openUnfinished(ctx)
	if err != nil {
		return err
	}
	handedOver := false
	defer func() {
		if !handedOver {
			err = errors.Join(err, closeStore(store))
		}
	}()
	r.set(func(s *RebuildStatus) { s.Generation = number })
	m.logger.Info("the read model is rebuilt", "generation", number)
	failed := m.fill(ctx, r, store, func(ctx context.Context, c *Consumer[T]) error {
		if err := m.retryAll(ctx, store, c); err != nil {
			return err
		}
		tails, err := heads(ctx, m.fresh, m.ports.Shards) // once: beside traffic they move on for ever
		if err == nil {
			err = m.awaitTails(ctx, r, c, tails)
		}
		if err == nil {
			err = filled(ctx, store)
		}
		if err != nil {
			return err
		}
		return m.auditRebuild(ctx, r, store, c, o)
	})
	if errors.Is(failed, errNotClean) {
		return errors.Join(failed, m.dropWrong(ctx, number, store))
	}
	if failed != nil {
		return failed
	}
	if !o.AcceptParked {
		if err := m.compareParked(ctx, r, store); err != nil {
			return err
		}
	}
	r.enter(RebuildSwitching)
	if _, err := r.unpaused(ctx); err != nil {
		return err
	}
	did, err := m.ports.Generations.PromoteFrom(ctx, from, number)
	if err != nil {
		return err
	}
	if !did {
		return errors.New("another generation was promoted meanwhile; rebuild again if that is still wanted")
	}
	handedOver = true
	return m.goOver(ctx, number, store)
}

// errNotClean: what was built is not what the log gives.
var errNotClean = errors.New("the audit of what was rebuilt is not clean")

// dropWrong drops what was built: carrying it on would not make it right.
func (m *Model[T, M]) dropWrong(ctx context.Context, number int, store M) error {
	return errors.Join(closeStore(store), m.ports.Generations.Drop(ctx, number))
}

// fill runs a consumer into a generation while something else is done with it.
func (m *Model[T, M]) fill(ctx context.Context, r *rebuild, store M, meanwhile func(context.Context, *Consumer[T]) error) error {
	log := m.fresh
	if m.cfg.Rebuild.Workers > 1 {
		open := (*domain.Event).Decode
		if opener, is := any(m.ports.Projection).(Opener); is {
			open = opener.Open
		}
		reading := readAhead(m.fresh, len(m.ports.Shards), open)
		defer reading.Close()
		log = reading
	}
	cfg := m.cfg.Consumer
	cfg.MaxEvents, cfg.MaxBytes = m.cfg.Rebuild.MaxEvents, m.cfg.Rebuild.MaxBytes
	cfg.Courtesy, cfg.Applied, cfg.Turns, cfg.Assigned = m.cfg.Rebuild.courtesy, r.applied, nil, nil
	cfg.Logger = cfg.Logger.With("generation", r.snapshot().Generation)
	consumer := NewConsumer(cfg, m.ports.Projection, Store[T](store), log, m.ports.Histories, m.ports.Shards, m.ports.Clock, nil)
	running, stop := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	var failed error
	group.Go(func() {
		failed = runUnlessPaused(running, r, consumer)
		if failed != nil {
			stop(failed)
		}
	})
	err := meanwhile(running, consumer)
	stop(nil)
	group.Wait()
	if failed != nil {
		return failed
	}
	return err
}

// runUnlessPaused runs a consumer until ctx ends, but for the time in which the rebuild is paused.
func runUnlessPaused[T Tx](ctx context.Context, r *rebuild, c *Consumer[T]) error {
	for {
		pausing, err := r.unpaused(ctx)
		if err != nil {
			return nil
		}
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- c.Run(running) }() // ends with stop
		select {
		case <-pausing:
			stop()
			<-ended //nolint:errcheck // it was told to end
		case err := <-ended:
			stop()
			if ctx.Err() == nil {
				return err // every shard has stopped
			}
			return nil
		}
	}
}

// retryAll retries what a rebuild has parked before it was interrupted: the program may be another one by now.
func (m *Model[T, M]) retryAll(ctx context.Context, store M, c *Consumer[T]) error {
	for p, err := range allParked(ctx, Store[T](store)) {
		if err == nil {
			err = c.RetryParked(ctx, p.Stream)
		}
		if err != nil && !errors.Is(err, ErrParked) && !errors.Is(err, ErrNotParked) {
			return err
		}
	}
	return nil
}

// rebuildLook is how often a rebuild looks how far it is, and tells it.
const rebuildLook = 25 * time.Millisecond

// awaitTails waits until everything up to the tails is applied.
func (m *Model[T, M]) awaitTails(ctx context.Context, r *rebuild, c *Consumer[T], tails map[int]uint64) error {
	for ; ; sleep(ctx, rebuildLook) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		there, err := m.far(r, c, tails)
		if there || err != nil {
			return err
		}
	}
}

// far tells whether everything up to the tails is applied.
func (m *Model[T, M]) far(r *rebuild, c *Consumer[T], tails map[int]uint64) (bool, error) {
	there := true
	done, total := uint64(0), uint64(0)
	for _, status := range c.Status() {
		if status.Differs {
			return false, fmt.Errorf("shard %d: %s: %w", status.Shard, status.Err, ErrHistoryDiffers)
		}
		tail := tails[status.Shard]
		c.Hint(status.Shard, tail)
		done, total = done+min(status.Applied.Index, tail), total+tail
		there = there && status.Applied.Index >= tail
	}
	r.set(func(s *RebuildStatus) { s.EntriesDone, s.EntriesTotal = done, total })
	return there, nil
}

// auditRebuild compares a generation with the log as it stands now.
func (m *Model[T, M]) auditRebuild(ctx context.Context, r *rebuild, store M, c *Consumer[T], o RebuildOptions) error {
	r.enter(RebuildAuditing)
	tails, err := heads(ctx, m.fresh, m.ports.Shards)
	if err != nil {
		return err
	}
	if err := m.awaitTails(ctx, r, c, tails); err != nil {
		return err
	}
	rows, _ := any(store).(Auditable)
	audited := AuditedStore{Name: m.Name(), Store: Store[T](store), Rows: rows}
	last := time.Now()
	report, err := Audit(ctx, AuditTarget{
		Log: m.fresh, Histories: m.ports.Histories, Shards: m.ports.Shards, ShardOf: m.ports.ShardOf, Models: []AuditedStore{audited},
	}, AuditOptions{Sample: o.Sample, Seed: uint64(r.snapshot().Generation), Workers: m.cfg.Rebuild.Workers, Progress: func(stage string, done, total int64) {
		r.set(func(s *RebuildStatus) { s.Stage, s.StageDone, s.StageTotal = stage, done, total })
		_, _ = r.unpaused(ctx)
		if took := time.Since(last); took > 20*time.Millisecond {
			sleep(ctx, m.cfg.Rebuild.courtesy(took))
			last = time.Now()
		}
	}})
	if err != nil {
		return err
	}
	differences := make([]error, 0, len(report.Differences))
	for i, d := range report.Differences {
		if i == maxNamed {
			break
		}
		differences = append(differences, errors.New(d.String()))
	}
	if len(differences) > 0 {
		found := len(report.Differences) + report.More
		r.set(func(s *RebuildStatus) { s.Differences = found })
		return fmt.Errorf("%w: %d differences: %w", errNotClean, found, errors.Join(differences...))
	}
	return m.awaitTails(ctx, r, c, tails)
}

// maxNamed differences or streams are named in an error.
const maxNamed = 5

// compareParked refuses a generation in which streams are parked that are not parked where they are read now.
func (m *Model[T, M]) compareParked(ctx context.Context, r *rebuild, store M) error {
	var anew []error
	found := 0
	for p, err := range allParked(ctx, Store[T](store)) {
		if err != nil {
			return err
		}
		old, was, err := m.ParkedStream(ctx, p.Stream)
		if err != nil {
			return err
		}
		if was && old.FirstSeq <= p.FirstSeq {
			continue
		}
		if found++; found <= maxNamed {
			anew = append(anew, &ParkedError{Parked: p})
		}
	}
	if found == 0 {
		return nil
	}
	r.set(func(s *RebuildStatus) { s.NewParked = found })
	return fmt.Errorf("%d streams are parked in it that are not parked in what is read; mend what keeps them and rebuild again, or accept them: %w", found, errors.Join(anew...))
}

// PauseRebuild lets a rebuild rest until it is resumed.
func (m *Model[T, M]) PauseRebuild() error { return m.onRebuild((*rebuild).pause) }

// ResumeRebuild lets a paused rebuild go on.
func (m *Model[T, M]) ResumeRebuild() error { return m.onRebuild((*rebuild).resume) }

func (m *Model[T, M]) onRebuild(do func(*rebuild) bool) error {
	m.mu.Lock()
	r := m.rebuild
	m.mu.Unlock()
	if r == nil || !do(r) {
		return fmt.Errorf("%s: %w", m.Name(), ErrNoRebuild)
	}
	return nil
}

// CancelRebuild ends a rebuild and drops what was built.
func (m *Model[T, M]) CancelRebuild(ctx context.Context) error {
	m.mu.Lock()
	r := m.rebuild
	m.mu.Unlock()
	if r != nil && !r.snapshot().Over() {
		m.mu.Lock()
		giveUp := r.giveUp
		m.mu.Unlock()
		if giveUp != nil {
			giveUp(errCancelled)
		}
		select {
		case <-r.over:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	release, err := m.ports.Generations.Claim(ctx)
	if err != nil {
		return err
	}
	defer release()
	unfinished, err := m.unfinished(ctx)
	if err == nil && len(unfinished) == 0 {
		err = fmt.Errorf("%s: %w", m.Name(), ErrNoRebuild)
	}
	if err != nil {
		return err
	}
	return m.dropUnfinished(ctx)
}

// RebuildStatus is that of the newest rebuild, and whether there is one: in this process, or begun in another.
func (m *Model[T, M]) RebuildStatus(ctx context.Context) (RebuildStatus, bool) {
	m.mu.Lock()
	r := m.rebuild
	m.mu.Unlock()
	var here RebuildStatus
	if r != nil {
		if here = r.snapshot(); !here.Over() {
			return here, true
		}
	}
	unfinished, err := m.unfinished(ctx)
	if err == nil && len(unfinished) > 0 && slices.Max(unfinished) != here.Generation {
		return RebuildStatus{Model: m.Name(), Generation: slices.Max(unfinished), State: RebuildWaiting}, true
	}
	return here, r != nil
}
