package command

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"carryon/domain"
)

// Writer is the shard writers of a process: one loop per shard, and the hands that do its I/O.
type Writer struct {
	cfg   WriterConfig
	ports WriterPorts
	load  *loader

	ctx    context.Context // the life of what Start started
	cancel context.CancelFunc
	shards []*runner // by number
	start  sync.Once
	wg     sync.WaitGroup
}

// NewWriter checks the settings. Nothing runs before Start.
func NewWriter(cfg WriterConfig, ports WriterPorts) (*Writer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := ports.complete(); err != nil {
		return nil, err
	}
	w := &Writer{cfg: cfg, ports: ports}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.load = &loader{log: ports.Log, histories: ports.Histories, snapshots: ports.Snapshots, folding: ports.Folding, keep: cfg.KeyKept, logger: ports.Logger}
	for n := range cfg.Shards + 1 {
		w.shards = append(w.shards, w.newRunner(n))
	}
	return w, nil
}

// complete fills in what may be left out, and names what may not.
func (p *WriterPorts) complete() error {
	f := &p.Folding
	if p.Log == nil || p.Histories == nil || p.Snapshots == nil || p.Reference == nil || f.Empty == nil || f.Restore == nil || f.Record == nil || f.Decision == nil {
		return errors.New("shard writer: Log, Histories, Snapshots, Folding and Reference are needed")
	}
	if p.Clock == nil {
		p.Clock = time.Now
	}
	if p.Logger == nil {
		p.Logger = slog.New(slog.DiscardHandler)
	}
	if p.Metrics == nil {
		p.Metrics = NewWriterMetrics(nil)
	}
	if p.Random == nil {
		var seed [16]byte
		_, _ = crand.Read(seed[:]) // never fails
		p.Random = rand.NewPCG(binary.NativeEndian.Uint64(seed[:8]), binary.NativeEndian.Uint64(seed[8:]))
	}
	return nil
}

// Start starts the shards. The first commands wait until their shard knows its log.
func (w *Writer) Start() {
	w.start.Do(func() {
		for _, r := range w.shards {
			r.start()
		}
	})
}

// Ready waits until every shard knows its log. It returns why a shard can't be written by this process (ErrDiffers,
// domain.ErrFutureVersion), if that shows already.
func (w *Writer) Ready(ctx context.Context) error {
	for _, r := range w.shards {
		select {
		case <-r.ready:
			if r.unfit != nil {
				return r.unfit
			}
		case <-r.over:
			return fmt.Errorf("shard %d: %w", r.core.number, ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("waiting for shard %d: %w", r.core.number, ctx.Err())
		}
	}
	return nil
}

// Close stops gathering: what waits is answered with ErrClosed. The claims in flight are settled, histories, snapshots
// and the bus are served as long as the context allows; then, callers whose claim is still not known are told so
// (ErrUnknown). It returns the context's error if there was not enough time. Nothing of the writer runs afterwards.
func (w *Writer) Close(ctx context.Context) error {
	w.start.Do(func() { // never started
		for _, r := range w.shards {
			r.core.close()
			r.start()
		}
	})
	for _, r := range w.shards {
		r.post(message{do: r.core.close})
	}
	var err error
	for _, r := range w.shards {
		select {
		case <-r.over:
			continue
		case <-ctx.Done():
		}
		err = fmt.Errorf("closing the shard writers: %w", ctx.Err())
		r.post(message{do: r.core.abort})
	}
	if err != nil {
		w.cancel()
	}
	for _, r := range w.shards {
		<-r.over
	}
	for _, r := range w.shards {
		select {
		case <-r.published:
		case <-ctx.Done(): // what is not published, consumers find in the log
		}
	}
	w.cancel()
	w.wg.Wait()
	return err
}

// Submit has a command decided and what comes of it recorded. When it returns a Result, that is in the log for good; the
// same command id gets the same Result again, from any process. Its events are shared and are not to be changed. Errors, beside those of the Decider, wrap
//
//   - ErrUnknown: it is not known whether the command was recorded; the same command id gets the true answer later;
//   - ErrIdempotencyConflict, ErrTokenDrift (*DriftError), ErrVersionConflict (*VersionConflictError);
//   - ErrOverloaded (*OverloadedError), ErrClosed, ErrUnavailable, ErrStoreFull, ErrTooLarge, *PanicError;
//   - ErrUnreadable with ErrUnavailable or ErrDiffers: the stream's history can't be read.
//
// With any error but ErrUnknown, nothing was recorded under this command id, and nothing will be on account of this call.
func (w *Writer) Submit(ctx context.Context, sub Submission) (Result, error) {
	if sub.Decider == nil || sub.Meta.CommandID == "" || sub.Stream.ID() == "" {
		return Result{}, fmt.Errorf("submitting to stream %q: stream, command id and decider are needed", sub.Stream)
	}
	p := newCommand(ctx, sub)
	w.wait(p)
	return p.outcome.result, p.outcome.err
}

// Load is an authoritative read: what it returns was the whole truth about the stream at a moment after the call.
func (w *Writer) Load(ctx context.Context, stream domain.StreamID) (Version, error) {
	if stream.ID() == "" {
		return Version{}, fmt.Errorf("reading stream %q: it names nothing", stream)
	}
	p := newRead(ctx, stream)
	w.wait(p)
	return p.outcome.version, p.outcome.err
}

func newCommand(ctx context.Context, sub Submission) *pending {
	if id, err := CanonicalCommandID(sub.Meta.CommandID); err == nil {
		sub.Meta.CommandID = id
	}
	return &pending{
		ctx: ctx, sub: sub, done: make(chan struct{}, 1),
		key: keyOf(sub.Meta.CommandID), time: keyTime(sub.Meta.CommandID), hash: hashOfRequest(sub.RequestHash),
	}
}

func newRead(ctx context.Context, stream domain.StreamID) *pending {
	return &pending{ctx: ctx, sub: Submission{Stream: stream}, read: true, done: make(chan struct{}, 1)}
}

// wait hands a submission to its shard and waits for the answer, or for what the shard says to a caller who leaves.
func (w *Writer) wait(p *pending) {
	r := w.shards[ShardOf(p.sub.Stream, w.cfg.Shards)]
	if !r.post(message{p: p}) {
		p.outcome.err = fmt.Errorf("shard %d: %w", r.core.number, ErrClosed)
		return
	}
	select {
	case <-p.done:
	case <-p.ctx.Done():
		cause := context.Cause(p.ctx)
		if !r.post(message{do: func() { r.core.abandon(p, cause) }}) {
			<-r.over
		}
		<-p.done
	}
}

// Waiting is how many submissions have no answer yet, in all shards.
func (w *Writer) Waiting() int {
	var n int64
	for _, r := range w.shards {
		n += r.unanswered.Load()
	}
	return int(n)
}

// ShardStatus is where a shard stands.
type ShardStatus struct {
	Shard         int
	Head          domain.Head
	Derived       uint64 // entry up to which histories are derived
	Underived     int    // events behind it
	Operation     string // what the shard waits for
	Waiting       int    // submissions without an answer
	Streams       int    // in memory
	CacheBytes    int
	StoppedReason string // empty: at work
}

// Status tells where each shard stands.
func (w *Writer) Status(ctx context.Context) ([]ShardStatus, error) {
	var all []ShardStatus
	for _, r := range w.shards {
		told := make(chan ShardStatus, 1)
		if !r.post(message{do: func() { told <- r.core.status() }}) {
			return nil, fmt.Errorf("shard %d: %w", r.core.number, ErrClosed)
		}
		select {
		case status := <-told:
			all = append(all, status)
		case <-r.over:
			return nil, fmt.Errorf("shard %d: %w", r.core.number, ErrClosed)
		case <-ctx.Done():
			return nil, fmt.Errorf("status of shard %d: %w", r.core.number, ctx.Err())
		}
	}
	return all, nil
}

func (s *shard) status() ShardStatus {
	status := ShardStatus{
		Shard: s.number, Head: s.head, Derived: s.derived, Underived: s.lagging, Operation: s.op.String(), Waiting: s.unanswered,
		Streams: len(s.streams), CacheBytes: s.hot.bytes + s.cold.bytes,
	}
	if s.ended != nil {
		status.StoppedReason = s.ended.Error()
	}
	return status
}

// runner runs a shard: it passes messages in, one after the other, and has tasks done.
type runner struct {
	w    *Writer
	core *shard

	mu    sync.Mutex
	inbox []message
	shut  bool
	wake  chan struct{} // holds one when the inbox is not empty

	publish   chan *domain.Entry
	published chan struct{} // closed when the publisher has ended
	ready     chan struct{} // closed when the log is known, or is known to be unfit
	unfit     error         // set before ready is closed
	over      chan struct{} // closed when the loop has ended

	unanswered atomic.Int64 // of the core, for others to see
}

// message is a submission, or something else to be told to the shard.
type message struct {
	p  *pending
	do func()
}

func (w *Writer) newRunner(number int) *runner {
	r := &runner{
		w: w, wake: make(chan struct{}, 1), publish: make(chan *domain.Entry, w.cfg.PublishQueue),
		published: make(chan struct{}), ready: make(chan struct{}), over: make(chan struct{}),
	}
	r.core = &shard{
		cfg: w.cfg, number: number, folding: w.ports.Folding, clock: w.ports.Clock,
		random:    rand.New(rand.NewPCG(w.ports.Random.Uint64(), w.ports.Random.Uint64())),
		reference: func() (domain.Reference, error) { return w.ports.Reference(w.ctx) },
		logger:    w.ports.Logger, figures: w.ports.Metrics.of(number),
	}
	return r
}

func (r *runner) start() {
	r.w.wg.Go(r.loop)
	r.w.wg.Go(r.publisher)
}

// post leaves a message; false: the shard is over.
func (r *runner) post(m message) bool {
	r.mu.Lock()
	if r.shut {
		r.mu.Unlock()
		return false
	}
	r.inbox = append(r.inbox, m)
	first := len(r.inbox) == 1
	r.mu.Unlock()
	if first {
		r.wake <- struct{}{}
	}
	return true
}

func (r *runner) loop() {
	defer close(r.over)
	defer close(r.publish)
	r.core.start()
	turns := [...]func(){r.core.step, r.giveWay, r.core.tidy}
	var messages []message
	var tasks []task
	ready := false
	for {
		for _, turn := range turns {
			turn()
			tasks = r.core.take(tasks[:0])
			for _, t := range tasks {
				r.perform(t)
			}
			clear(tasks)
		}
		r.core.figures.gauges(r.core)
		r.unanswered.Store(int64(r.core.unanswered))
		if !ready && (r.core.opened || r.core.ended != nil) {
			if ready = true; r.core.ended != nil {
				r.unfit = r.core.endedError()
			}
			close(r.ready)
		}
		if r.core.finished() && r.shutIfEmpty() {
			return
		}
		<-r.wake
		r.mu.Lock()
		messages, r.inbox = r.inbox, messages[:0]
		r.mu.Unlock()
		for _, m := range messages {
			if m.p != nil {
				r.core.submit(m.p)
			} else {
				m.do()
			}
		}
		clear(messages)
	}
}

// giveWay lets what was launched begin first: everybody waits for the store, and what has arrived meanwhile can be decided
// while it works.
func (r *runner) giveWay() {
	if r.core.launched {
		runtime.Gosched()
	}
}

// shutIfEmpty takes no more messages, unless there are some.
func (r *runner) shutIfEmpty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = len(r.inbox) == 0
	return r.shut
}

// perform has a task done.
func (r *runner) perform(t task) {
	switch t := t.(type) {
	case answerTask:
		t.p.done <- struct{}{}
	case pauseTask:
		r.pause(t)
	case publishTask:
		select {
		case r.publish <- t.entry:
		default:
			r.core.figures.dropped.Inc()
		}
	default:
		r.work(r.w.job(r.core, t))
	}
}

// job is the I/O of a task. What it returns is to be called by whoever runs the shard: it tells what came of it.
func (w *Writer) job(core *shard, t task) func(context.Context) (tell func()) {
	log, histories := w.ports.Log, w.ports.Histories
	switch t := t.(type) {
	case claimTask:
		return func(ctx context.Context) func() {
			claimed, err := log.Claim(ctx, t.entry)
			return func() { core.claimed(claimed, err) }
		}
	case headTask:
		return func(ctx context.Context) func() {
			head, err := log.Head(ctx, core.number)
			return func() { core.looked(head, err) }
		}
	case readTask:
		return func(ctx context.Context) func() {
			entries, err := log.Read(ctx, core.number, t.from, DefaultReadMaxBytes)
			return func() { core.read(t.from, entries, err) }
		}
	case progressTask:
		return func(ctx context.Context) func() {
			progress, err := histories.Progress(ctx, core.number)
			return func() { t.told(progress, err) }
		}
	case loadTask:
		return func(ctx context.Context) func() {
			loaded, err := w.load.load(ctx, t.wanted)
			return func() { core.loaded(t.stream, t.wanted.through, loaded, err) }
		}
	case eventsTask:
		return func(ctx context.Context) func() {
			events, err := w.load.events(ctx, t.wanted)
			return func() { t.told(events, err) }
		}
	case deriveTask:
		return func(ctx context.Context) func() {
			index, err := w.derive(ctx, core.number, t)
			return func() { core.derivedTo(index, err) }
		}
	case saveTask:
		return func(ctx context.Context) func() {
			err := w.ports.Snapshots.SaveSnapshots(ctx, t.snapshots)
			return func() { core.saved(err) }
		}
	case forwardTask:
		return func(context.Context) func() { // the caller's own context ends it
			result, err := t.p.sub.Forward(t.p.ctx, t.writer)
			return func() { core.forwarded(t.p, result, err) }
		}
	}
	panic(fmt.Sprintf("task %T has no hands", t))
}

// work does I/O beside the loop and tells the shard what came of it.
func (r *runner) work(do func(context.Context) func()) {
	r.w.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.w.ctx, r.w.cfg.StoreTimeout)
		defer cancel()
		r.post(message{do: do(ctx)})
	})
}

func (r *runner) pause(t pauseTask) {
	r.w.wg.Go(func() {
		timer := time.NewTimer(t.d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.over:
		case <-r.w.ctx.Done():
		}
		r.post(message{do: t.then})
	})
}

// publisher hands entries to the bus, one after the other. The bus may be slow or away: the log has it all.
func (r *runner) publisher() {
	defer close(r.published)
	for entry := range r.publish {
		if r.w.ports.Bus == nil {
			continue
		}
		if err := r.w.ports.Bus.Publish(r.w.ctx, entry); err != nil {
			r.core.figures.dropped.Inc()
			r.core.logger.Debug("entry not published", "shard", entry.Shard, "index", entry.Index, "error", err.Error())
		}
	}
}

// derive writes entries into the histories, and reads them first if the shard no longer has them.
func (w *Writer) derive(ctx context.Context, shard int, t deriveTask) (uint64, error) {
	var entries []domain.Entry
	if len(t.entries) == 0 {
		read, err := w.ports.Log.Read(ctx, shard, t.from, w.cfg.DeriveBatchBytes)
		if err != nil {
			return 0, fmt.Errorf("reading entries from %d on: %w", t.from, err)
		}
		if len(read) == 0 {
			return 0, &forgottenError{fmt.Sprintf("entry %d of shard %d was in the log and is not: %v", t.from, shard, ErrDiffers)}
		}
		entries = read
	}
	for _, e := range t.entries {
		entries = append(entries, *e)
	}
	last := entries[len(entries)-1].Index
	if err := w.ports.Histories.Derive(ctx, entries); err != nil {
		return 0, fmt.Errorf("deriving entries %d to %d: %w", t.from, last, err)
	}
	return last, nil
}
