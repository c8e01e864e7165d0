package projector

// Model is a read model in its generations: readers and the consumer see the current one, and go over to another in one
// step. When another generation was promoted, here or by another process, the consumer of the old one ends first; the
// new one is brought at least as far; then readers are given the new one, and the old one is closed when its last reader
// is done. So no reader sees less than he saw before, and none is interrupted.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"carryon/domain"
)

// ModelConfig is how a model works. The zero value of each field means its default.
type ModelConfig struct {
	Consumer Config        // of the generation that is read
	Rebuild  RebuildConfig // of one that is being built
	// WatchEvery is about how often it is looked whether another process has promoted a generation.
	WatchEvery time.Duration // 500 ms
	// Grace is how long a generation is left in peace that is not read any more: other processes may not know yet.
	Grace time.Duration // 3 s
}

func (c ModelConfig) withDefaults() ModelConfig {
	setDefault(&c.WatchEvery, 500*time.Millisecond)
	setDefault(&c.Grace, 3*time.Second)
	c.Consumer = c.Consumer.withDefaults()
	c.Rebuild = c.Rebuild.withDefaults()
	return c
}

// ModelPorts are what a model is made from.
type ModelPorts[T Tx, M Store[T]] struct {
	Projection  Projection[T]
	Generations Generations
	// Open opens a generation. It returns ErrStale (wrapped) for one that must be built anew.
	Open      func(ctx context.Context, generation int) (M, error)
	Log       Log
	Histories Histories
	Shards    []int
	ShardOf   func(domain.StreamID) int // for the audit of a rebuild; may be nil
	Clock     func() time.Time
	Metrics   *Metrics // may be nil
}

// Model is one read model of a process. All methods may be called at any time from any goroutine, but Run, which one
// goroutine calls at a time.
type Model[T Tx, M Store[T]] struct {
	cfg    ModelConfig
	ports  ModelPorts[T, M]
	fresh  Log // the log itself
	waiter *Waiter
	logger *slog.Logger
	taken  atomic.Int64 // how often it was read

	switching chan struct{} // holds a token while the model goes over to another generation

	mu       sync.Mutex
	read     *generation[T, M] // that readers are given; nil: not open yet
	active   *activity[T]      // of the consumer
	since    time.Time         // when read became what it is
	closed   bool
	left     map[int]*generation[T, M] // not read any more, and not closed yet
	rebuild  *rebuild                  // the newest in this process
	runners  sync.WaitGroup            // rebuilds of this process
	lifetime context.Context           // of Run; nil: it does not run
}

// generation is an open one.
type generation[T Tx, M Store[T]] struct {
	number int
	store  M
	users  int // under Model.mu
}

// activity is what a consumer does for a generation.
type activity[T Tx] struct {
	number   int
	consumer *Consumer[T]
	over     chan struct{} // closed when another consumer takes its place
	running  chan struct{} // closed when it does not run any more; nil: it does not run
}

var _ Runner = (*Model[Tx, Store[Tx]])(nil)

// ErrNotOpen: the read model could not be opened yet; it is tried again.
var ErrNotOpen = errors.New("read model is not open yet")

// NewModel makes a model. It is read after Open.
func NewModel[T Tx, M Store[T]](cfg ModelConfig, ports ModelPorts[T, M]) *Model[T, M] {
	cfg = cfg.withDefaults()
	m := &Model[T, M]{
		cfg: cfg, ports: ports, fresh: ports.Log, logger: cfg.Consumer.Logger.With("model", ports.Projection.Name()),
		switching: make(chan struct{}, 1), left: make(map[int]*generation[T, M]),
	}
	if f, ok := ports.Log.(interface{ Fresh() Log }); ok {
		m.fresh = f.Fresh()
	}
	m.waiter = NewWaiter(m)
	m.active = m.activityOf(0, m.newConsumer(noStore[T]{}, 0))
	return m
}

// Name is the read model's name.
func (m *Model[T, M]) Name() string { return m.ports.Projection.Name() }

// Open opens the generation that is read. One that is stale is given up: the next is begun, empty, and read at once;
// everything in it comes from the log. When the store can't say now (ErrTransient), Watch and Run try again.
func (m *Model[T, M]) Open(ctx context.Context) error {
	number, store, err := m.openCurrent(ctx)
	if errors.Is(err, ErrTransient) {
		m.logger.Warn("the read model can't be opened yet and is tried again", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	return m.goOver(ctx, number, store)
}

// openCurrent opens whatever generation is read in the end.
func (m *Model[T, M]) openCurrent(ctx context.Context) (number int, store M, err error) {
	for {
		if number, err = m.ports.Generations.Current(ctx); err != nil {
			return number, store, err
		}
		store, err = m.ports.Open(ctx, number)
		if errors.Is(err, ErrStale) {
			err = m.replace(ctx, number, err)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return number, store, err
		}
		again, err := m.ports.Generations.Current(ctx)
		if err == nil && again == number {
			if err = filled(ctx, store); err == nil {
				return number, store, nil
			}
		}
		if err := errors.Join(err, closeStore(store)); err != nil { // it was replaced in this moment
			return number, store, err
		}
	}
}

// filled tells a store that it is about to be read.
func filled(ctx context.Context, store any) error {
	if s, wants := store.(Fillable); wants {
		return s.Filled(ctx)
	}
	return nil
}

// replace promotes an empty generation in the place of one that is of no use.
func (m *Model[T, M]) replace(ctx context.Context, stale int, why error) error {
	next, err := m.ports.Generations.Create(ctx)
	if err != nil {
		return err
	}
	did, err := m.ports.Generations.PromoteFrom(ctx, stale, next)
	if err != nil || !did {
		return errors.Join(err, m.ports.Generations.Drop(ctx, next))
	}
	m.logger.Warn("the read model is made anew from the log", "generation", next, "because", why)
	return nil
}

// Take hands out the generation that is read, until done is called. What is taken stays open and consistent until then,
// whatever is promoted meanwhile. It returns ErrNotOpen (wrapped) when it could not be opened yet.
func (m *Model[T, M]) Take() (store M, done func(), err error) {
	m.taken.Add(1)
	return m.take()
}

func (m *Model[T, M]) take() (store M, done func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.read
	if g == nil || m.closed {
		return store, func() {}, fmt.Errorf("%s: %w, %w", m.Name(), ErrTransient, ErrNotOpen)
	}
	g.users++
	return g.store, sync.OnceFunc(func() { m.giveBack(g) }), nil
}

func (m *Model[T, M]) giveBack(g *generation[T, M]) {
	m.mu.Lock()
	g.users--
	idle := g.users == 0 && m.left[g.number] == g
	m.mu.Unlock()
	if idle {
		m.closeLeft(g)
	}
}

// closeLeft closes a generation that nobody reads any more.
func (m *Model[T, M]) closeLeft(g *generation[T, M]) {
	if err := closeStore(g.store); err != nil {
		m.logger.Warn("closing a generation that is not read any more", "generation", g.number, "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.left, g.number)
}

func closeStore(store any) error {
	if c, can := store.(io.Closer); can {
		return c.Close()
	}
	return nil
}

// Audited is the generation that is read, as what an audit compares and what is mended, until done is called.
func (m *Model[T, M]) Audited() (_ AuditedStore, done func(), err error) {
	number := m.Generation() // before the store: a newer one is not mended for what was found in an older one
	store, done, err := m.take()
	if err != nil {
		return AuditedStore{}, done, err
	}
	rows, _ := any(store).(Auditable)
	return AuditedStore{Name: m.Name(), Store: Store[T](store), Rows: rows, Mend: mendable[T, M]{m, number}}, done, nil
}

// mendable is a generation of a model, as long as it is read.
type mendable[T Tx, M Store[T]] struct {
	model  *Model[T, M]
	number int
}

// consumer writes to the generation. There is one whatever runs.
func (m mendable[T, M]) consumer() (*Consumer[T], error) {
	m.model.mu.Lock()
	defer m.model.mu.Unlock()
	if m.model.active.number != m.number {
		return nil, fmt.Errorf("generation %d of %s: %w", m.number, m.model.Name(), ErrNotRead)
	}
	return m.model.active.consumer, nil
}

// Mend makes the rows of a stream anew.
func (m mendable[T, M]) Mend(ctx context.Context, shard int, stream domain.StreamID) error {
	c, err := m.consumer()
	if err != nil {
		return err
	}
	return c.Mend(ctx, shard, stream)
}

// Sweep takes away rows that the log knows nothing of.
func (m mendable[T, M]) Sweep(ctx context.Context, shard int, stream domain.StreamID, end func(context.Context) (uint64, error)) error {
	c, err := m.consumer()
	if err != nil {
		return err
	}
	return c.Sweep(ctx, shard, stream, end)
}

// MendItself makes sums agree.
func (m mendable[T, M]) MendItself(ctx context.Context) error {
	c, err := m.consumer()
	if err != nil {
		return err
	}
	return c.MendItself(ctx)
}

// Generation is the number of the generation that is read; 0 before there is one.
func (m *Model[T, M]) Generation() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.read == nil {
		return 0
	}
	return m.read.number
}

// Taken counts how often the model was read.
func (m *Model[T, M]) Taken() int64 { return m.taken.Load() }

// Close closes what is open. Rebuilds end first; they go on when the model is next run.
func (m *Model[T, M]) Close() error {
	m.mu.Lock()
	if m.rebuild != nil {
		m.rebuild.cancel()
	}
	m.mu.Unlock()
	m.runners.Wait()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	open := []*generation[T, M]{}
	if m.read != nil {
		open = append(open, m.read)
	}
	for _, g := range m.left {
		open = append(open, g)
	}
	m.mu.Unlock()
	var errs []error
	for _, g := range open {
		errs = append(errs, closeStore(g.store))
	}
	return errors.Join(errs...)
}

// Run keeps the generation that is read up to date, and goes over to another when one is promoted, until ctx ends. It
// returns what stopped all shards before, if anything did: an error that wraps ErrHistoryDiffers. A rebuild that was
// begun and is nobody's is carried on.
func (m *Model[T, M]) Run(ctx context.Context) error {
	m.mu.Lock()
	m.lifetime = ctx
	m.mu.Unlock()
	var beside sync.WaitGroup
	beside.Go(func() { m.watch(ctx, true) })
	err := m.consume(ctx)
	m.mu.Lock()
	m.lifetime = nil
	m.mu.Unlock()
	beside.Wait()
	m.runners.Wait()
	return err
}

// Watch goes over to another generation when one is promoted, until ctx ends, for a process that reads and applies
// nothing.
func (m *Model[T, M]) Watch(ctx context.Context) { m.watch(ctx, false) }

// consume runs the consumer of the moment.
func (m *Model[T, M]) consume(ctx context.Context) error {
	var stopped error
	for ctx.Err() == nil {
		a, ended := m.begin()
		stopped = m.consumeOne(ctx, a)
		ended()
	}
	return stopped
}

func (m *Model[T, M]) begin() (a *activity[T], ended func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a = m.active
	running := make(chan struct{})
	a.running = running
	return a, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		a.running = nil
		close(running)
	}
}

// consumeOne runs a consumer until another takes its place or ctx ends.
func (m *Model[T, M]) consumeOne(ctx context.Context, a *activity[T]) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	result := make(chan error, 1)
	if a.number > 0 {
		go func() { result <- a.consumer.Run(running) }() // ends with stop
	} else {
		go func() { <-running.Done(); result <- nil }() // nothing is open yet
	}
	select {
	case <-a.over:
		stop()
		<-result //nolint:errcheck // it was told to end
		return nil
	case <-ctx.Done():
		return <-result
	case err := <-result: // every shard has stopped
		if ctx.Err() == nil {
			select {
			case <-a.over:
				return nil
			case <-ctx.Done():
			}
		}
		return err
	}
}

func (m *Model[T, M]) activityOf(number int, c *Consumer[T]) *activity[T] {
	return &activity[T]{number: number, consumer: c, over: make(chan struct{})}
}

// goOver makes a generation the one that is read here: the consumer first, then, when it has come as far as the old one
// was, the readers.
func (m *Model[T, M]) goOver(ctx context.Context, number int, store M) error {
	select {
	case m.switching <- struct{}{}:
		defer func() { <-m.switching }()
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), closeStore(store))
	}
	old := m.readNow()
	if old != nil && old.number == number {
		return closeStore(store) // somebody was faster
	}
	// Nobody who waits hears of the new one before readers are given it.
	epoch := m.waiter.nextEpoch()
	m.supersede(m.activityOf(number, m.newConsumer(store, epoch)))
	if old != nil {
		if err := m.reach(ctx, store, old.store); err != nil {
			m.supersede(m.activityOf(old.number, m.newConsumer(old.store, epoch-1))) // all goes on as it was, until the next look
			return errors.Join(err, closeStore(store))
		}
	}
	m.mu.Lock()
	m.waiter.restart()
	m.read, m.since = &generation[T, M]{number: number, store: store}, time.Now()
	closeOld := false
	if old != nil {
		m.left[old.number] = old
		closeOld = old.users == 0
	}
	m.mu.Unlock()
	if closeOld {
		m.closeLeft(old)
	}
	if old != nil {
		m.logger.Info("another generation of the read model is read now", "generation", number, "before", old.number)
	}
	return nil
}

// newConsumer is the one that keeps what is read up to date.
func (m *Model[T, M]) newConsumer(store Store[T], epoch uint64) *Consumer[T] {
	c := NewConsumer(m.cfg.Consumer, m.ports.Projection, store, m.ports.Log, m.ports.Histories, m.ports.Shards, m.ports.Clock, m.ports.Metrics)
	c.waiter, c.epoch = m.waiter, epoch
	return c
}

func (m *Model[T, M]) readNow() *generation[T, M] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read
}

// supersede puts a consumer in the place of another, and waits until that one has ended.
func (m *Model[T, M]) supersede(a *activity[T]) {
	m.mu.Lock()
	old := m.active
	m.active = a
	close(old.over)
	running := old.running
	m.mu.Unlock()
	if running != nil {
		<-running
	}
}

// reachPatience bounds how long readers are kept on a generation that nobody brings forward any more.
const reachPatience = 30 * time.Second

// reach waits until a generation shows at least what another one shows; or all that there is, when that one was made
// from a log that has been set back since.
func (m *Model[T, M]) reach(ctx context.Context, store, old M) error {
	for begin := time.Now(); ; sleep(ctx, pollMin) {
		done, err := m.hasReached(ctx, store, old)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case done:
			return nil
		case time.Since(begin) > reachPatience:
			m.logger.Warn("the new generation of the read model is behind the old one, and is read all the same", "error", err)
			return nil
		case err != nil && !errors.Is(err, ErrTransient):
			return err
		}
	}
}

func (m *Model[T, M]) hasReached(ctx context.Context, store, old M) (bool, error) {
	before, err := old.Checkpoints(ctx)
	if err != nil {
		return false, fmt.Errorf("how far the old generation is: %w", err)
	}
	now, err := store.Checkpoints(ctx)
	if err != nil {
		return false, fmt.Errorf("how far the new generation is: %w", err)
	}
	for shard, at := range before {
		if now[shard].Index >= at.Index {
			continue
		}
		head, err := m.fresh.Head(ctx, shard)
		if err != nil {
			return false, fmt.Errorf("reading the head of shard %d: %w", shard, err)
		}
		if now[shard].Index < head.Index {
			return false, nil
		}
	}
	return true, nil
}

// watch looks, now and then, what other processes have done with the generations.
func (m *Model[T, M]) watch(ctx context.Context, projects bool) {
	for said := false; ctx.Err() == nil; sleep(ctx, vary(m.cfg.WatchEvery)) {
		err := m.follow(ctx)
		if err == nil && projects {
			err = m.adopt(ctx)
		}
		if err == nil {
			err = m.tidy(ctx)
		}
		if err != nil && ctx.Err() == nil && !said {
			m.logger.Warn("looking after the generations of the read model", "error", err)
		}
		said = err != nil // once, until it works again
	}
}

// follow goes over to the generation that is promoted.
func (m *Model[T, M]) follow(ctx context.Context) error {
	promoted, err := m.ports.Generations.Current(ctx)
	if err != nil || promoted == m.Generation() {
		return err
	}
	number, store, err := m.openCurrent(ctx)
	if err != nil {
		return err
	}
	return m.goOver(ctx, number, store)
}

// tidy drops generations that were read once, when everybody has had time to leave them.
func (m *Model[T, M]) tidy(ctx context.Context) error {
	m.mu.Lock()
	read, since := m.read, m.since
	m.mu.Unlock()
	if read == nil || time.Since(since) < m.cfg.Grace {
		return nil
	}
	list, err := m.ports.Generations.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range list {
		if n >= read.number || m.isOpen(n) {
			continue
		}
		if err := m.ports.Generations.Drop(ctx, n); err != nil {
			errs = append(errs, err)
			continue
		}
		m.logger.Info("dropped a generation of the read model", "generation", n)
	}
	return errors.Join(errs...)
}

func (m *Model[T, M]) isOpen(number int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left[number] != nil
}

// consumer is that of the generation that is promoted.
func (m *Model[T, M]) consumer() *Consumer[T] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.active.consumer
}

// Offer and Hint tell about entries; they never block and may drop.
func (m *Model[T, M]) Offer(e *domain.Entry) { m.consumer().Offer(e) }

// Hint tells that a shard has an entry with this index.
func (m *Model[T, M]) Hint(shard int, index uint64) { m.consumer().Hint(shard, index) }

// Status tells how far each shard is.
func (m *Model[T, M]) Status() []ShardStatus { return m.consumer().Status() }

// WaitFor waits until a position is applied in the generation that is read.
func (m *Model[T, M]) WaitFor(ctx context.Context, pos domain.Position, stream domain.StreamID) error {
	return m.waiter.WaitFor(ctx, pos, stream)
}

// Waiter is for reads that wait by version, whatever generation is read.
func (m *Model[T, M]) Waiter() *Waiter { return m.waiter }

// Checkpoints are the last applied entries by shard in the generation that is read.
func (m *Model[T, M]) Checkpoints(ctx context.Context) (map[int]Checkpoint, error) {
	store, done, err := m.take()
	if err != nil {
		return nil, err
	}
	defer done()
	return store.Checkpoints(ctx)
}

// ParkedStream looks one stream up.
func (m *Model[T, M]) ParkedStream(ctx context.Context, stream domain.StreamID) (Parked, bool, error) {
	store, done, err := m.take()
	if err != nil {
		return Parked{}, false, err
	}
	defer done()
	return store.ParkedStream(ctx, stream)
}

// Parked lists parked streams in order of stream, after the given one.
func (m *Model[T, M]) Parked(ctx context.Context, after domain.StreamID, limit int) ([]Parked, error) {
	store, done, err := m.take()
	if err != nil {
		return nil, err
	}
	defer done()
	return store.Parked(ctx, after, limit)
}

// RetryParked applies what a parked stream has missed: see Consumer.RetryParked.
func (m *Model[T, M]) RetryParked(ctx context.Context, stream domain.StreamID) error {
	_, done, err := m.take() // keeps the store open
	if err != nil {
		return err
	}
	defer done()
	return m.consumer().RetryParked(ctx, stream)
}

// DropParked leaves out the event that a stream is parked at: see Consumer.DropParked.
func (m *Model[T, M]) DropParked(ctx context.Context, stream domain.StreamID, seq uint64) error {
	_, done, err := m.take()
	if err != nil {
		return err
	}
	defer done()
	return m.consumer().DropParked(ctx, stream, seq)
}

// noStore stands where no store is open yet.
type noStore[T Tx] struct{}

func (noStore[T]) Begin(context.Context, int) (tx T, err error) {
	return tx, fmt.Errorf("%w: %w", ErrTransient, ErrNotOpen)
}

func (noStore[T]) Checkpoints(context.Context) (map[int]Checkpoint, error) {
	return nil, fmt.Errorf("%w: %w", ErrTransient, ErrNotOpen)
}

func (noStore[T]) Parked(context.Context, domain.StreamID, int) ([]Parked, error) {
	return nil, fmt.Errorf("%w: %w", ErrTransient, ErrNotOpen)
}

func (noStore[T]) ParkedStream(context.Context, domain.StreamID) (Parked, bool, error) {
	return Parked{}, false, fmt.Errorf("%w: %w", ErrTransient, ErrNotOpen)
}
