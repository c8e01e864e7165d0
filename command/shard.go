package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"carryon/domain"
)

// shard is a shard's writer without hands. It does no I/O, starts no goroutine and sets no timer: what is to be done it
// says in tasks, and what came of them it is told. So every interleaving can be played, and one lock-free loop can run
// it. Its rules:
//
//   - At most one entry is claimed at a time (flight). Until it is known what came of it, no later index is touched.
//   - While it is claimed, what arrives is decided already, into the next batch (open), on the states that the claimed
//     batch will leave. If the claim is not applied, both are dropped and decided again on what is found.
//   - An answer is given when the entry it rests on is known to be in the log: the commands of a batch when its claim is
//     applied, and whatever writes nothing together with a batch that was decided after it arrived; if there is none,
//     when the log was seen to end where it was decided.
type shard struct {
	cfg       WriterConfig
	number    int
	folding   Folding
	clock     Clock
	random    *rand.Rand
	reference func() (domain.Reference, error)
	logger    *slog.Logger
	figures   *shardFigures

	tasks []task

	// The log as far as it is known.
	opened   bool // what was in the log at the start has been read
	head     domain.Head
	recorded time.Time // recorded_at of the head
	target   uint64    // entry up to which is being read
	recent   recentEntries

	// What is asked of the log now.
	op       operation
	flight   *batch         // claimed, or waiting for a look at the head
	open     *batch         // decided while the other is in flight
	launched bool           // the flight, in the last step
	failures int            // in a row, of the operation that is being repeated
	taken    int            // claims in a row that found another's entry
	linger   linger         // after a batch, for those it answered
	limit    int            // payload bytes of a batch; less than the setting when the store took only less
	gathered []domain.Event // empty: where the events of the next batch gather

	// Who waits.
	queue      []*pending // decidable, in order of arrival
	arrivals   uint64
	unanswered int
	elsewhere  int // tasks that will end with an answer: fetches, searches, forwards
	pace       pace

	// Streams in memory.
	streams   map[domain.StreamID]*stream
	hot, cold ring      // of the loaded streams: those ready to be decided on, and those kept encoded
	changed   []*stream // by what was settled, since they were last weighed
	unweighed int       // bytes, about, that they have grown by
	toLoad    []*stream
	loading   []*stream // loads that have begun

	// Histories and snapshots.
	derived  uint64
	deriving bool
	verify   bool // the progress is to be read before more is derived
	derives  int
	lag      []underived
	lagging  int // events in lag
	saving   bool
	unsaved  []Snapshot

	ended   error // nil: at work; ErrClosed, or why the shard is stopped
	closing bool
}

// operation is what the shard waits for.
type operation uint8

const (
	opNone     operation = iota
	opOpening            // the progress, at the start
	opReading            // entries that others wrote
	opClaiming           // the flight's claim
	opLooking            // the head, for a flight that writes nothing
	opPausing            // a moment, before one of these
)

func (o operation) String() string {
	return [...]string{"idle", "opening", "reading", "claiming", "looking", "pausing"}[o]
}

// task is what the shard wants done.
type task interface{ isTask() }

type (
	// progressTask: read the progress of the histories, tell opened or progressed.
	progressTask struct{ told func(uint64, error) }
	// readTask: read a page of the log from there, tell read.
	readTask struct{ from uint64 }
	// claimTask: claim the entry, tell claimed.
	claimTask struct{ entry *domain.Entry }
	// headTask: read the head, tell looked.
	headTask struct{}
	// pauseTask: call then after a while.
	pauseTask struct {
		d    time.Duration
		then func()
	}
	// loadTask: load a stream up to an entry, tell loaded.
	loadTask struct {
		stream *stream
		wanted loadRequest
	}
	// eventsTask: read some events of a stream, call told.
	eventsTask struct {
		wanted eventsRequest
		told   func([]domain.Event, error)
	}
	// deriveTask: derive the histories of entries from there on, tell derivedTo. No entries: read them first.
	deriveTask struct {
		from    uint64
		entries []*domain.Entry
	}
	// saveTask: save snapshots, tell saved.
	saveTask struct{ snapshots []Snapshot }
	// publishTask: hand the entry to the bus, or drop it.
	publishTask struct{ entry *domain.Entry }
	// forwardTask: hand the command to the process that writes the shard, tell forwarded.
	forwardTask struct {
		p      *pending
		writer string
	}
	// answerTask: the submission has its answer.
	answerTask struct{ p *pending }
)

func (progressTask) isTask() {}
func (readTask) isTask()     {}
func (claimTask) isTask()    {}
func (headTask) isTask()     {}
func (pauseTask) isTask()    {}
func (loadTask) isTask()     {}
func (eventsTask) isTask()   {}
func (deriveTask) isTask()   {}
func (saveTask) isTask()     {}
func (publishTask) isTask()  {}
func (forwardTask) isTask()  {}
func (answerTask) isTask()   {}

// pending is a submission in its shard. The shard owns it until it has answered.
type pending struct {
	ctx  context.Context // of the caller who waits; a forward ends with it
	sub  Submission
	read bool // wants the state, and decides nothing
	key  commandKey
	hash [16]byte
	time int64 // of the command id

	done chan struct{} // receives when answered

	stage     stage
	arrival   uint64
	stream    *stream
	answered  bool   // the caller has gone with an answer, although the shard is not done
	noForward bool   // the shard's writer could not be reached
	searched  uint64 // the history was searched for the command id up to this seq

	// What was decided, and then the answer: the caller's, once done has received.
	from, to int    // its events in the batch
	repeats  uint64 // the recorded refusal, or the first event of the same command, that answers it
	outcome  outcome
}

// outcome is an answer.
type outcome struct {
	result  Result
	version Version
	err     error
}

type stage uint8

const (
	stageQueued    stage = iota // waits to be decided, or for its stream
	stageDecided                // in a batch
	stageElsewhere              // being fetched, searched for or forwarded
)

// stream is a stream in the shard's memory, or on its way there.
type stream struct {
	id         domain.StreamID
	folded     *folded // nil while it is loaded, or frozen
	frozen     *frozen // in its place, for a stream that nobody has asked for lately
	loading    bool
	reloads    int
	through    uint64     // entry up to which the load goes
	waiting    []*pending // for the load
	flight     *draft     // what the claimed batch will leave
	open       *draft     // what the open batch will leave
	saved      uint64     // seq of the newest snapshot
	bytes      int
	unanswered int
	bad        error // an event can't be folded: nothing is decided here any more

	in           *ring // nil: not loaded
	newer, older *stream
}

// draft is what a batch that is not yet applied will leave of a stream.
type draft struct {
	state    domain.Aggregate
	seq      uint64
	position domain.Position
	commands []*pending // in order, each with events
}

// batch is what was decided at one moment, and becomes one entry of the log.
type batch struct {
	entry     domain.Entry
	subs      []*pending // in order, with those that write nothing
	touched   []*stream  // that have a draft
	writes    int        // commands with events
	bytes     int        // payloads
	full      bool
	reference domain.Reference
	noRef     error
	launched  bool // no longer open: in flight
	claimedAt time.Time
	unknown   bool // a claim of it was made and not answered
}

const (
	maxBatchCommands = 1024
	maxDecisionAge   = time.Second // a batch that waited longer for its turn is decided again
	verifyEvery      = 64          // derivations between looks at the progress
	maxReloads       = 3
	maxTakenPause    = 4 // pauses of who finds another writer at work double up to the fourth: 40 ms, unless set otherwise
)

func (s *shard) do(t task) { s.tasks = append(s.tasks, t) }

// first has a task done before those that wait, as a claim before the answers of the one before it: nobody loses anything
// by it, and the store is idle.
func (s *shard) first(t task) { s.tasks = slices.Insert(s.tasks, 0, t) }

// take hands the tasks over.
func (s *shard) take(into []task) []task {
	into = append(into, s.tasks...)
	clear(s.tasks)
	s.tasks = s.tasks[:0]
	return into
}

func (s *shard) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// start reads what is in the log already.
func (s *shard) start() {
	s.streams = make(map[domain.StreamID]*stream)
	s.recent.limit = s.cfg.RecentBytes
	s.limit = s.cfg.BatchBytes
	s.askProgress()
}

func (s *shard) askProgress() {
	s.op = opOpening
	s.do(progressTask{told: s.openedAt})
}

// openedAt is told the progress at the start. What follows it is read, so that it can be derived.
func (s *shard) openedAt(progress uint64, err error) {
	if s.ended != nil {
		s.op = opNone
		return
	}
	if err != nil {
		s.failed("reading the progress of the histories", err, s.askProgress)
		return
	}
	s.failures = 0
	s.derived, s.verify = progress, false
	s.readFrom(max(progress, 1))
}

func (s *shard) readFrom(index uint64) {
	s.op = opReading
	s.do(readTask{from: index})
}

// read is told a page of the log.
func (s *shard) read(from uint64, entries []domain.Entry, err error) {
	if s.ended != nil {
		s.op = opNone
		return
	}
	if err != nil {
		if errors.Is(err, ErrDiffers) {
			s.stop(err)
			return
		}
		s.failed("reading the log", err, func() { s.readFrom(from) })
		return
	}
	s.failures = 0
	if !s.opened && s.head.Index == 0 && s.derived > 0 {
		if len(entries) == 0 {
			s.stop(fmt.Errorf("entry %d of shard %d, up to which histories were derived, is not in its log: %w", s.derived, s.number, ErrDiffers))
			return
		}
		first := entries[0]
		s.head = domain.Head{Index: first.Index, ID: first.ID, Writer: first.Writer}
		s.recorded = first.RecordedAt
		s.recent.add(&first, s.needed())
		entries = entries[1:]
		if len(entries) == 0 {
			s.readFrom(s.head.Index + 1)
			return
		}
	}
	for i := range entries {
		if err := s.follow(&entries[i]); err != nil {
			s.stop(err)
			return
		}
	}
	switch {
	case len(entries) > 0 && (!s.opened || s.head.Index < s.target):
		s.readFrom(s.head.Index + 1)
	case s.head.Index < s.target:
		s.stop(fmt.Errorf("shard %d was said to end at entry %d, but entry %d is not there: %w", s.number, s.target, s.head.Index+1, ErrDiffers))
	case !s.opened:
		s.opened = true
		s.op = opNone
		s.startLoads()
	default:
		s.caughtUp()
	}
}

// follow takes up an entry that was read: one that another process wrote, or wrote before this one began.
func (s *shard) follow(e *domain.Entry) error {
	if e.Index != s.head.Index+1 || e.PreviousID != s.head.ID {
		return fmt.Errorf("entry %d (%s, after %s) of shard %d follows entry %d (%s): %w", e.Index, e.ID, e.PreviousID, s.number,
			s.head.Index, s.head.ID, ErrDiffers)
	}
	s.advance(e)
	s.verify = true
	for i := range e.Events {
		ev := &e.Events[i]
		st := s.streams[ev.Stream]
		if st != nil && st.frozen != nil { // out of date, and nobody waits for it
			s.drop(st)
			continue
		}
		if st == nil || st.folded == nil || st.bad != nil || ev.Seq <= st.folded.seq {
			continue
		}
		if err := st.folded.apply(ev, s.cfg.KeyKept); err != nil {
			if tooNew(err) {
				return err
			}
			s.spoil(st, err)
			continue
		}
		s.weigh(st)
	}
	return nil
}

// advance makes an entry the head.
func (s *shard) advance(e *domain.Entry) {
	s.head = domain.Head{Index: e.Index, ID: e.ID, Writer: e.Writer}
	if e.RecordedAt.After(s.recorded) {
		s.recorded = e.RecordedAt
	}
	s.recent.add(e, s.needed())
	if e.Index > s.derived {
		s.lag = append(s.lag, underived{index: e.Index, events: len(e.Events), since: s.now()})
		s.lagging += len(e.Events)
	}
	s.derive()
}

// spoil stops a stream: an event that was claimed can't be folded.
func (s *shard) spoil(st *stream, err error) {
	st.bad = err
	s.figures.badStreams.Add(1)
	s.logger.Error("stream stopped", "shard", s.number, "error", err.Error())
}

// failed repeats an operation after a pause that grows.
func (s *shard) failed(what string, err error, again func()) {
	if s.ended != nil && s.flight == nil {
		s.op = opNone
		return
	}
	s.failures++
	if s.failures == 1 || s.failures%100 == 0 {
		s.logger.Warn(what+" failed and is repeated", "shard", s.number, "failures", s.failures, "error", err.Error())
	}
	s.op = opPausing
	s.do(pauseTask{d: s.backoff(s.failures), then: func() {
		if s.ended != nil && s.flight == nil {
			s.op = opNone
			return
		}
		again()
	}})
}

// backoff is the n-th pause: it doubles, up to a limit, and half of it is chance.
func (s *shard) backoff(n int) time.Duration {
	d := s.cfg.BackoffMax
	if n < 20 {
		d = min(d, s.cfg.BackoffMin<<(n-1))
	}
	return d/2 + time.Duration(s.random.Int64N(int64(d/2)+1))
}

// submit takes a submission in.
func (s *shard) submit(p *pending) {
	s.unanswered++
	s.arrivals++
	p.arrival = s.arrivals
	switch {
	case s.ended != nil:
		s.refuse(p, s.endedError())
		return
	case s.unanswered > s.cfg.QueuePerShard:
		s.refuse(p, &OverloadedError{Queue: "shard", RetryAfter: s.pace.wait(s.unanswered)})
		return
	}
	st := s.use(p.sub.Stream)
	st.unanswered++
	p.stream = st
	if st.unanswered > s.cfg.QueuePerStream {
		s.refuse(p, &OverloadedError{Queue: "stream", RetryAfter: s.pace.wait(1)})
		return
	}
	s.enqueue(p)
}

// enqueue lets a submission wait for its stream, or for its turn.
func (s *shard) enqueue(p *pending) {
	st := p.stream
	p.stage = stageQueued
	switch {
	case st.bad != nil:
		s.refuse(p, unreadable(st.id, st.bad))
	case st.folded == nil:
		st.waiting = append(st.waiting, p)
		s.load(st)
	case s.answerRecorded(p):
	default:
		s.queue = append(s.queue, p)
	}
}

// step decides what waits and claims what is decided. It is called when everything that has arrived was taken in, and
// tidy when what it wants done has begun.
func (s *shard) step() {
	if s.launched = false; !s.opened || s.ended != nil && s.flight == nil {
		return
	}
	if s.worthwhile() {
		s.launch()
	}
	s.gather()
	s.launch()
}

// worthwhile tells whether so much is decided that the idle store gets it at once, before what has arrived since is decided
// too: half of what a claim usually holds.
func (s *shard) worthwhile() bool {
	return s.op == opNone && s.open != nil && 2*float64(len(s.open.subs)) >= s.pace.commands
}

// launch claims the open batch, when nothing is in flight.
func (s *shard) launch() {
	if s.op != opNone || s.open == nil || s.ended != nil {
		return
	}
	if s.now().Sub(s.open.entry.RecordedAt) > maxDecisionAge {
		s.dropOpen()
		s.gather()
		if s.open == nil {
			return
		}
	}
	if s.lingers() {
		return
	}
	b := s.open
	s.open, s.flight = nil, b
	s.owns(b)
	for _, st := range b.touched {
		st.flight, st.open = st.open, nil
	}
	b.launched, b.claimedAt, s.launched = true, s.now(), true
	if b.writes == 0 {
		s.op = opLooking
		s.do(headTask{})
		return
	}
	s.claim()
}

// owns gives a batch memory of its own for its events, of the right size: they are kept for a while. Where they gathered, the
// next ones do.
func (s *shard) owns(b *batch) {
	gathered := b.entry.Events
	b.entry.Events = slices.Clone(gathered)
	if cap(gathered) <= maxGathered {
		clear(gathered)
		s.gathered = gathered[:0]
	}
}

// maxGathered events have memory that is kept for the next ones.
const maxGathered = 4 * maxBatchCommands

// Callers who were answered together often come back together. Who gives them a moment has them in one batch with those
// who gathered meanwhile; otherwise the callers of a busy shard fall into two groups that take turns, and every round of
// the store serves only half of them. A single caller waits for nobody.
type linger struct {
	since   time.Time
	most    time.Duration // a fraction of a round; 0: not at all
	until   int           // or until so many have gathered
	pausing bool
}

const (
	lingerFraction = 6 // of a round
	maxLinger      = time.Millisecond
	// minLinger is the shortest pause worth beginning: a busy machine ends a shorter one late, while the store is idle, and
	// rounds that are so quick gain little from being larger.
	minLinger = time.Millisecond / 2
)

func (s *shard) lingerAfter(b *batch, now time.Time) {
	s.linger.most = 0
	if len(b.subs) < 2 {
		return
	}
	most := min(s.pace.round/lingerFraction, maxLinger)
	if most < minLinger {
		return
	}
	s.linger.since, s.linger.most, s.linger.until = now, most, len(b.subs)
	if s.open != nil {
		s.linger.until += len(s.open.subs)
	}
}

// lingers tells whether the open batch waits for more.
func (s *shard) lingers() bool {
	l := &s.linger
	if since := s.now().Sub(l.since); l.most <= 0 || since < 0 || since >= l.most || len(s.open.subs) >= l.until || s.open.full {
		l.most = 0
		return false
	}
	if !l.pausing {
		l.pausing = true
		s.do(pauseTask{d: l.most, then: func() { l.pausing, l.most = false, 0 }})
	}
	return true
}

func (s *shard) claim() {
	s.op = opClaiming
	s.first(claimTask{entry: &s.flight.entry})
}

// claimed is told what came of the claim.
func (s *shard) claimed(c Claimed, err error) {
	b := s.flight
	if b == nil { // given up
		return
	}
	switch {
	case err == nil && (c.Applied || c.Head.Index == b.entry.Index && c.Head.ID == b.entry.ID):
		s.failures, s.taken = 0, 0
		s.figures.claimed(outcomeApplied)
		s.settle(b)
	case err == nil:
		s.failures = 0
		s.figures.claimed(outcomeTaken)
		s.lost(b, c.Head)
	case b.unknown || maybeWritten(err): // once a claim of an entry is unknown, no later error says what became of it
		b.unknown = true
		s.figures.claimed(outcomeUnknown)
		s.failed(fmt.Sprintf("claiming entry %d", b.entry.Index), err, s.claim)
	default:
		s.failures = 0
		s.figures.claimed(outcomeFailed)
		s.unwritten(b, err)
	}
}

// maybeWritten tells whether a claim that failed may have been applied all the same. A bare context error says neither.
func maybeWritten(err error) bool {
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	return errors.Is(err, ErrUnknown) || ended && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrClosed)
}

// settle makes what a batch left the truth, and answers its commands.
func (s *shard) settle(b *batch) {
	s.flight, s.op = nil, opNone
	s.limit = min(s.cfg.BatchBytes, s.limit*2)
	for _, st := range b.touched {
		d := st.flight
		st.flight = nil
		st.folded.state = d.state
	}
	for _, p := range b.subs {
		for i := p.from; i < p.to; i++ {
			p.stream.folded.advance(&b.entry.Events[i], s.cfg.KeyKept)
		}
	}
	s.advance(&b.entry)
	s.do(publishTask{entry: &b.entry})
	s.changed = append(s.changed, b.touched...)
	s.unweighed += b.bytes + rememberedSize*b.writes
	now := s.now()
	s.pace.observe(now.Sub(b.claimedAt), len(b.subs))
	s.figures.batch(len(b.subs), len(b.entry.Events), now.Sub(b.claimedAt))
	s.lingerAfter(b, now)
	s.answerAll(b)
}

// lost drops what was decided, because another process wrote the entry, and reads what it wrote.
func (s *shard) lost(b *batch, found domain.Head) {
	if found.Index < b.entry.Index {
		s.flight, s.op = nil, opNone
		s.giveBack(b)
		s.stop(fmt.Errorf("the log of shard %d ends at entry %d (%s), but entry %d (%s) was in it: %w", s.number,
			found.Index, found.ID, s.head.Index, s.head.ID, ErrDiffers))
		return
	}
	s.taken++
	s.decideAgain(b)
	s.catchUp(found.Index)
}

// catchUp reads what others wrote, up to an entry that is known to be there.
func (s *shard) catchUp(to uint64) {
	if s.ended != nil {
		s.op = opNone
		return
	}
	s.target = to
	if to > s.head.Index+uint64(s.cfg.LeapEntries) && !s.deriving {
		s.leap()
		return
	}
	s.readFrom(s.head.Index + 1)
}

// caughtUp goes on after others' entries were read. Who lost twice in a row hands over, or lets chance decide.
func (s *shard) caughtUp() {
	s.op = opNone
	if s.taken < 2 {
		return
	}
	if s.head.Writer != s.cfg.Name {
		s.forward(s.head.Writer)
	}
	s.op = opPausing
	s.do(pauseTask{d: s.backoff(min(s.taken-1, maxTakenPause)), then: func() { s.op = opNone }})
}

// unwritten takes note that a batch was not written and will not be.
func (s *shard) unwritten(b *batch, err error) {
	if errors.Is(err, ErrDiffers) {
		s.flight, s.op = nil, opNone
		s.giveBack(b)
		s.stop(err)
		return
	}
	if errors.Is(err, ErrTooLarge) && b.writes > 1 {
		s.limit = max(1, b.bytes/2)
		s.decideAgain(b)
		s.op = opNone
		return
	}
	for _, p := range b.subs {
		if p.to > p.from {
			s.answer(p, outcome{err: fmt.Errorf("recording %s: %w", p.sub.Meta.CommandID, err)})
		}
	}
	s.decideAgain(b)
	s.op = opNone
}

// looked is told the head, for a batch that writes nothing.
func (s *shard) looked(h domain.Head, err error) {
	b := s.flight
	if b == nil { // given up
		return
	}
	for _, st := range b.touched { // by decisions that came to nothing
		st.flight = nil
	}
	switch {
	case err != nil:
		s.flight, s.op = nil, opNone
		for _, p := range b.subs {
			s.answer(p, outcome{err: fmt.Errorf("looking at the head of shard %d: %w: %w", s.number, ErrUnavailable, err)})
		}
	case h.Index == s.head.Index && h.ID == s.head.ID:
		s.flight, s.op = nil, opNone
		s.answerAll(b)
	case h.Index > s.head.Index:
		s.decideAgain(b)
		s.catchUp(h.Index)
	default:
		s.flight, s.op = nil, opNone
		s.giveBack(b)
		s.stop(fmt.Errorf("the log of shard %d ends at entry %d (%s), but entry %d (%s) was in it: %w", s.number,
			h.Index, h.ID, s.head.Index, s.head.ID, ErrDiffers))
	}
}

// decideAgain drops what was decided on a state that is no longer the newest. Its submissions wait again, in order.
func (s *shard) decideAgain(b *batch) {
	s.flight = nil
	open := s.open
	s.open = nil
	queue := s.queue
	s.queue = nil
	s.giveBack(b)
	if open != nil {
		s.giveBack(open)
	}
	s.queue = append(s.queue, queue...)
}

func (s *shard) dropOpen() {
	open, queue := s.open, s.queue
	s.open, s.queue = nil, nil
	s.giveBack(open)
	s.queue = append(s.queue, queue...)
}

// giveBack lets those wait again that a batch did not serve. Who was told "unknown" and left is not served any more: he
// gets the truth when he asks again.
func (s *shard) giveBack(b *batch) {
	for _, st := range b.touched {
		if b.launched {
			st.flight = nil
		} else {
			st.open = nil
		}
	}
	for _, p := range b.subs {
		if p.answered {
			continue
		}
		p.from, p.to, p.repeats, p.outcome = 0, 0, 0, outcome{}
		if s.ended != nil {
			s.refuse(p, s.endedError())
			continue
		}
		if p.stream.bad != nil {
			s.refuse(p, unreadable(p.stream.id, p.stream.bad))
			continue
		}
		p.stage = stageQueued
		s.queue = append(s.queue, p)
	}
}

// forward hands everything that waits, and may be, to the process that writes the shard.
func (s *shard) forward(writer string) {
	s.queue = slices.DeleteFunc(s.queue, func(p *pending) bool {
		if p.noForward || p.sub.Forward == nil {
			return false
		}
		p.stage = stageElsewhere
		s.elsewhere++
		s.do(forwardTask{p: p, writer: writer})
		return true
	})
}

// forwarded is told the answer of the process that writes the shard.
func (s *shard) forwarded(p *pending, r Result, err error) {
	s.elsewhere--
	switch {
	case p.answered:
	case err != nil && errors.Is(err, ErrUnavailable) && s.ended == nil:
		p.noForward = true
		s.enqueue(p)
	default:
		s.answer(p, outcome{result: r, err: err})
	}
}

// abandon takes note that a caller waits no longer.
func (s *shard) abandon(p *pending, cause error) {
	if p.answered {
		return
	}
	id := p.sub.Meta.CommandID
	switch {
	case p.stage == stageQueued:
		s.queue = without(s.queue, p)
		p.stream.waiting = without(p.stream.waiting, p)
		s.refuse(p, fmt.Errorf("command %s was not decided: %w: %w", id, ErrUnavailable, cause))
	case p.read || p.stage == stageDecided && p.to == p.from:
		s.answer(p, outcome{err: fmt.Errorf("command %s recorded nothing: %w: %w", id, ErrUnavailable, cause)})
	default:
		s.answer(p, outcome{err: fmt.Errorf("command %s: %w: %w", id, ErrUnknown, cause)})
	}
}

func without(list []*pending, p *pending) []*pending {
	if i := slices.Index(list, p); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// stop ends the shard in this process, because going on would be wrong.
func (s *shard) stop(err error) {
	s.figures.stopped.Store(true)
	s.logger.Error("shard stopped", "shard", s.number, "error", err.Error())
	if s.op == opReading || s.op == opOpening {
		s.op = opNone
	}
	s.end(err)
}

// close stops gathering. What is in flight is settled.
func (s *shard) close() {
	if !s.closing && s.ended == nil {
		s.keepAll()
	}
	s.closing = true
	s.end(ErrClosed)
}

func (s *shard) end(err error) {
	if s.ended != nil {
		return
	}
	s.ended = err
	if s.open != nil {
		s.dropOpen()
	}
	refused := s.queue
	s.queue = nil
	for _, st := range s.streams {
		refused = append(refused, st.waiting...)
		st.waiting = nil
	}
	slices.SortFunc(refused, func(a, b *pending) int { return cmp.Compare(a.arrival, b.arrival) })
	for _, p := range refused {
		s.refuse(p, s.endedError())
	}
	if s.flight != nil && s.flight.writes == 0 {
		for _, p := range s.flight.subs {
			s.answer(p, outcome{err: s.endedError()})
		}
	}
}

func (s *shard) endedError() error {
	if errors.Is(s.ended, ErrClosed) {
		return fmt.Errorf("shard %d: %w", s.number, ErrClosed)
	}
	return fmt.Errorf("shard %d is stopped: %w: %w", s.number, ErrUnavailable, s.ended)
}

// abort gives up: who waits for the claim in flight is told that its outcome is unknown.
func (s *shard) abort() {
	s.close()
	if s.flight == nil {
		return
	}
	for _, p := range s.flight.subs {
		s.answer(p, outcome{err: fmt.Errorf("command %s: the process ended before its claim was known: %w", p.sub.Meta.CommandID, ErrUnknown)})
	}
	s.flight, s.op = nil, opNone
}

// finished tells whether a shard that was closed is done with everything.
func (s *shard) finished() bool {
	return s.closing && s.flight == nil && len(s.loading) == 0 && s.elsewhere == 0 && s.unanswered == 0 &&
		!s.deriving && !s.saving && (s.op == opNone || s.op == opPausing)
}

func (s *shard) refuse(p *pending, err error) { s.answer(p, outcome{err: err}) }

// answer gives a submission its answer, once.
func (s *shard) answer(p *pending, o outcome) {
	if p.answered {
		return
	}
	p.answered = true
	p.outcome = o
	s.unanswered--
	if p.stream != nil {
		p.stream.unanswered--
		s.release(p.stream)
	}
	s.figures.answered(&o)
	s.do(answerTask{p: p})
}

func unreadable(stream domain.StreamID, err error) error {
	if errors.Is(err, ErrDiffers) {
		return fmt.Errorf("stream %s: %w: %w", stream, ErrUnreadable, err)
	}
	return fmt.Errorf("stream %s: %w: %w: %w", stream, ErrUnreadable, ErrUnavailable, err)
}

// pace tells how long a queue takes.
type pace struct {
	round    time.Duration // of a claim
	commands float64       // in a batch
}

func (p *pace) observe(round time.Duration, commands int) {
	p.round += (round - p.round) / 8
	p.commands += (float64(commands) - p.commands) / 8
}

// wait is when it makes sense to come back to a queue of that length: between 100 ms and 30 s.
func (p *pace) wait(queued int) time.Duration {
	rounds := float64(queued) / max(1, p.commands)
	return min(max(time.Duration(rounds*float64(p.round)), 100*time.Millisecond), 30*time.Second)
}
