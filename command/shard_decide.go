package command

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"carryon/domain"
)

// Deciding: what waits is decided in order of arrival, each command on the state that the ones before it will leave,
// all of a batch at one moment. Nothing of it is true before the batch is in the log.

// gather decides what waits into the open batch.
func (s *shard) gather() {
	if s.ended != nil || s.op != opNone && s.op != opClaiming && s.op != opLooking || s.open != nil && s.open.full {
		return
	}
	held := s.held()
	rest := s.queue[:0]
	for i, p := range s.queue {
		if held && !p.read && p.sub.Kind == KindCommand {
			rest = append(rest, p)
			continue
		}
		if !s.decide(p) { // the batch is full
			rest = append(rest, s.queue[i:]...)
			break
		}
	}
	clear(s.queue[len(rest):])
	s.queue = rest
}

// openBatch is the batch that gathers, a new one if there is none.
func (s *shard) openBatch() *batch {
	if s.open != nil {
		return s.open
	}
	before, last := s.head, s.recorded
	if f := s.flight; f != nil && f.writes > 0 {
		before, last = domain.Head{Index: f.entry.Index, ID: f.entry.ID}, f.entry.RecordedAt
	}
	now := s.now()
	if now.Before(last) {
		now = last
	}
	b := &batch{entry: domain.Entry{
		Shard: s.number, Index: before.Index + 1, ID: s.newBatchID(), PreviousID: before.ID, Writer: s.cfg.Name, RecordedAt: now,
		Events: s.gathered,
	}}
	s.gathered = nil
	b.reference, b.noRef = s.reference()
	s.open = b
	return b
}

func (s *shard) newBatchID() domain.BatchID {
	var id domain.BatchID
	for i := range 2 {
		v := s.random.Uint64()
		for j := range 8 {
			id[8*i+j] = byte(v >> (8 * j))
		}
	}
	return id
}

// decide decides one submission, or answers it from what is recorded. It returns false when the batch has no room.
func (s *shard) decide(p *pending) bool {
	st := p.stream
	switch {
	case st.bad != nil:
		s.refuse(p, unreadable(st.id, st.bad))
		return true
	case s.answerRecorded(p):
		return true
	}
	b := s.openBatch()
	if len(b.subs) >= maxBatchCommands {
		b.full = true
		return false
	}
	if p.read {
		s.ride(b, p, outcome{}) // it gets what the batch leaves
		return true
	}
	if p.sub.Kind == KindCommand {
		if first := st.drafted(p.key); first != nil {
			s.ride(b, p, s.again(p, first))
			return true
		}
		if s.search(p) {
			return true
		}
	}
	if err := s.admit(b, p); err != nil {
		s.ride(b, p, outcome{err: err})
		return true
	}
	verdict, err := s.ask(b, p)
	if err != nil {
		s.ride(b, p, outcome{err: err})
		return true
	}
	if p.sub.Kind == KindDryRun {
		verdict.Events = nil
		if verdict.Decision != nil {
			verdict.Repeats = 0
		}
	}
	if len(verdict.Events) == 0 {
		p.repeats = verdict.Repeats
		s.ride(b, p, outcome{result: Result{Stream: st.id, Version: st.seq(), Decision: verdict.Decision}})
		return true
	}
	return s.write(b, p, verdict)
}

// ride lets an answer that writes nothing wait until the batch is known to be in the log.
func (s *shard) ride(b *batch, p *pending, o outcome) {
	p.stage, p.outcome = stageDecided, o
	b.subs = append(b.subs, p)
}

// again answers a command whose id was decided a moment ago and is not yet in the log.
func (s *shard) again(p, first *pending) outcome {
	if p.hash != first.hash {
		return outcome{err: conflict(p)}
	}
	p.repeats = s.firstSeq(first)
	return outcome{}
}

// firstSeq is the seq of the first event that a decided command wants recorded.
func (s *shard) firstSeq(p *pending) uint64 {
	for _, b := range [...]*batch{s.flight, s.open} {
		if b == nil || p.from >= len(b.entry.Events) {
			continue
		}
		if e := &b.entry.Events[p.from]; e.CommandID == p.sub.Meta.CommandID {
			return e.Seq
		}
	}
	return 0
}

func conflict(p *pending) error {
	return fmt.Errorf("command %s was given with another body: %w", p.sub.Meta.CommandID, ErrIdempotencyConflict)
}

// lastMoment is the last that RFC 3339 has, in microseconds since 1970.
var lastMoment = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC).UnixMicro()

// admit refuses what is not to be decided: too late or too early, on another version, or without reference data.
func (s *shard) admit(b *batch, p *pending) error {
	now := b.entry.RecordedAt
	if p.sub.KeyBound && !p.sub.Meta.Minted {
		// A key's 48 bits reach further than a time can be written down; the answer says the last moment that can.
		t := time.UnixMicro(min(p.time, lastMoment)).UTC()
		if p.time == noTime || t.Before(now.Add(-s.cfg.KeyMaxAge)) || t.After(now.Add(s.cfg.KeyMaxAhead)) {
			return &DriftError{CommandTime: t, ServerTime: now, MaxAge: s.cfg.KeyMaxAge, MaxAhead: s.cfg.KeyMaxAhead}
		}
	}
	if want := p.sub.Meta.IfMatch; want != nil && *want != p.stream.seq() {
		return &VersionConflictError{Expected: *want, Actual: p.stream.seq()}
	}
	if b.noRef != nil {
		return fmt.Errorf("reference data for command %s: %w: %w", p.sub.Meta.CommandID, ErrUnavailable, b.noRef)
	}
	return nil
}

// ask lets the domain decide. A decision that panics refuses its own command alone.
func (s *shard) ask(b *batch, p *pending) (v domain.Verdict, err error) {
	state, seq, _ := p.stream.current()
	defer func() {
		if value := recover(); value != nil {
			v, err = domain.Verdict{}, &PanicError{Command: p.sub.Meta.CommandID, Value: fmt.Sprint(value)}
			s.logger.Error("decision panicked", "shard", s.number, "command_id", p.sub.Meta.CommandID, "stack", string(debug.Stack()))
			s.redraft(b, p.stream)
		}
	}()
	return p.sub.Decider.Decide(state, domain.Moment{
		Now: b.entry.RecordedAt, CommandID: namesake(p.stream.id, p.sub.Meta.CommandID), Actor: p.sub.Meta.Actor, Version: seq, Reference: b.reference,
	})
}

// write puts a verdict's events into the batch, and folds them into the draft of the stream. It returns false when the
// batch has no room for them.
func (s *shard) write(b *batch, p *pending, verdict domain.Verdict) bool {
	from := len(b.entry.Events)
	size, err := s.record(b, p, verdict)
	if err != nil {
		b.entry.Events = b.entry.Events[:from]
		s.ride(b, p, outcome{err: err})
		return true
	}
	if b.writes > 0 && b.bytes+size > s.limit {
		b.entry.Events = b.entry.Events[:from]
		b.full = true
		return false
	}
	d := s.draft(b, p.stream)
	for i := from; i < len(b.entry.Events); i++ {
		e := &b.entry.Events[i]
		if err := guarded(func() error { return d.state.Apply(e) }); err != nil {
			b.entry.Events = b.entry.Events[:from]
			s.redraft(b, p.stream)
			s.ride(b, p, outcome{err: fmt.Errorf("command %s: its event %d can't be folded: %w", p.sub.Meta.CommandID, i-from+1, err)})
			return true
		}
	}
	last := &b.entry.Events[len(b.entry.Events)-1]
	d.seq, d.position = last.Seq, last.Position
	d.commands = append(d.commands, p)
	p.from, p.to, p.stage = from, len(b.entry.Events), stageDecided
	b.subs = append(b.subs, p)
	b.writes++
	b.bytes += size
	b.full = b.bytes >= s.limit
	return true
}

// record appends the events of a verdict to the batch and returns the size of their payloads.
func (s *shard) record(b *batch, p *pending, verdict domain.Verdict) (int, error) {
	if n := len(verdict.Events); n > MaxCommandEvents {
		return 0, fmt.Errorf("command %s: %d events, at most %d are taken: %w", p.sub.Meta.CommandID, n, MaxCommandEvents, ErrTooLarge)
	}
	_, seq, previous := p.stream.current()
	var versions domain.Versions
	if verdict.Decision != nil {
		versions = verdict.Decision.Versions
	} else {
		versions = b.reference.Versions(b.entry.RecordedAt)
	}
	size := 0
	for n := range verdict.Events {
		fresh := &verdict.Events[n]
		b.entry.Events = append(b.entry.Events, domain.Event{
			ID: domain.EventID(string(p.stream.id)+"/"+p.sub.Meta.CommandID, n), Stream: p.stream.id, Seq: seq + uint64(n) + 1,
			Position: domain.Position{Shard: s.number, Index: b.entry.Index, Place: len(b.entry.Events)}, Previous: previous,
			OccurredAt: fresh.OccurredAt.UTC().Truncate(time.Microsecond), RecordedAt: b.entry.RecordedAt,
			CommandID: p.sub.Meta.CommandID, RequestHash: p.sub.RequestHash, Correlation: p.sub.Meta.Correlation,
			Causation: fresh.Causation, Actor: p.sub.Meta.Actor, Versions: versions,
		})
		e := &b.entry.Events[len(b.entry.Events)-1]
		if fresh.OccurredAt.IsZero() {
			e.OccurredAt = b.entry.RecordedAt
		}
		if err := guarded(func() error { return s.folding.Record(e, fresh.Payload) }); err != nil {
			return 0, fmt.Errorf("command %s: writing its event %d: %w", p.sub.Meta.CommandID, n+1, err)
		}
		if len(e.Payload) > MaxEventBytes {
			return 0, fmt.Errorf("command %s: event %d is %d bytes, at most %d are taken: %w", p.sub.Meta.CommandID, n+1, len(e.Payload), MaxEventBytes, ErrTooLarge)
		}
		size += len(e.Payload)
		previous = e.Position
	}
	if size > MaxCommandBytes {
		return 0, fmt.Errorf("command %s: its events are %d bytes, at most %d are taken: %w", p.sub.Meta.CommandID, size, MaxCommandBytes, ErrTooLarge)
	}
	return size, nil
}

// current is the stream as the decisions so far will leave it. The state is not the caller's to keep.
func (st *stream) current() (domain.Aggregate, uint64, domain.Position) {
	switch {
	case st.open != nil:
		return st.open.state, st.open.seq, st.open.position
	case st.flight != nil:
		return st.flight.state, st.flight.seq, st.flight.position
	default:
		return st.folded.state, st.folded.seq, st.folded.position
	}
}

func (st *stream) seq() uint64 {
	_, seq, _ := st.current()
	return seq
}

// drafted finds a command among those decided and not yet in the log.
func (st *stream) drafted(key commandKey) *pending {
	for _, d := range [...]*draft{st.open, st.flight} {
		if d == nil {
			continue
		}
		for _, p := range d.commands {
			if p.key == key {
				return p
			}
		}
	}
	return nil
}

// draft is what the batch will leave of the stream, begun as a copy of what it found.
func (s *shard) draft(b *batch, st *stream) *draft {
	if st.open == nil {
		state, seq, position := st.current()
		st.open = &draft{state: state.Clone(), seq: seq, position: position}
		b.touched = append(b.touched, st)
	}
	return st.open
}

// redraft makes the open draft anew from the decisions that stand, after one that may have damaged it.
func (s *shard) redraft(b *batch, st *stream) {
	spoilt := st.open
	if spoilt == nil {
		return
	}
	st.open = nil
	state, seq, position := st.current()
	fresh := &draft{state: state.Clone(), seq: seq, position: position, commands: spoilt.commands}
	for _, p := range spoilt.commands {
		for i := p.from; i < p.to; i++ {
			e := &b.entry.Events[i]
			if err := fresh.state.Apply(e); err != nil { // it could be folded before
				s.spoil(st, errors.Join(fmt.Errorf("folding event %d of %s again", e.Seq, e.Stream), err))
				break
			}
			fresh.seq, fresh.position = e.Seq, e.Position
		}
	}
	st.open = fresh
}

// answerRecorded answers a command whose id is in applied state: nothing has to be waited for.
func (s *shard) answerRecorded(p *pending) bool {
	if p.read || p.sub.Kind != KindCommand {
		return false
	}
	r, ok := p.stream.folded.memory.find(p.key)
	if !ok {
		return false
	}
	if r.hash != p.hash {
		s.refuse(p, conflict(p))
		return true
	}
	s.fetch(p, eventsRequest{stream: p.stream.id, shard: s.number, seq: r.seq, count: int(r.events), index: r.index}, unseen)
	return true
}

// search looks for a command among those that are no longer remembered one by one, if it may be there.
func (s *shard) search(p *pending) bool {
	first, last := p.stream.folded.memory.search(p.time)
	first = max(first, p.searched+1)
	if last == 0 || first > last {
		return false
	}
	p.stage = stageElsewhere
	s.elsewhere++
	wanted := eventsRequest{stream: p.stream.id, shard: s.number, seq: first, count: int(last - first + 1), commandID: p.sub.Meta.CommandID}
	s.do(eventsTask{wanted: wanted, told: func(events []domain.Event, err error) {
		s.elsewhere--
		switch {
		case p.answered:
		case err != nil:
			s.refuse(p, unseen(p, err))
		case s.ended != nil:
			s.refuse(p, s.endedError())
		case len(events) == 0:
			p.searched = last
			s.enqueue(p)
		case hashOfRequest(events[0].RequestHash) != p.hash:
			s.refuse(p, conflict(p))
		default:
			s.answer(p, outcome{result: s.recordedResult(p, events, true)})
		}
	}})
	return true
}

// fetch answers a submission from recorded events. When these can't be read, the answer is what failed makes of it.
func (s *shard) fetch(p *pending, wanted eventsRequest, failed func(*pending, error) error) {
	if events, ok := s.recent.events(wanted); ok {
		s.answer(p, outcome{result: s.recordedResult(p, events, true)})
		return
	}
	p.stage = stageElsewhere
	s.elsewhere++
	s.do(eventsTask{wanted: wanted, told: func(events []domain.Event, err error) {
		s.elsewhere--
		if err == nil && len(events) != wanted.count {
			err = fmt.Errorf("%d events of %s from %d on are recorded, %d were found: %w", wanted.count, wanted.stream, wanted.seq, len(events), ErrDiffers)
		}
		if err != nil {
			s.refuse(p, failed(p, err))
			return
		}
		s.answer(p, outcome{result: s.recordedResult(p, events, true)})
	}})
}

// unseen is told to whom repeats a command that is, or may be, recorded, when the record can't be read. Nobody may
// conclude from it that nothing was recorded.
func unseen(p *pending, err error) error {
	return fmt.Errorf("command %s may be recorded, and the record can't be read: %w: %v", p.sub.Meta.CommandID, ErrUnknown, err) //nolint:errorlint // ErrUnreadable stays hidden
}

// unshown is told to whom gets an earlier refusal for an answer, when that can't be read. The books could be read, and
// they refuse.
func unshown(p *pending, err error) error {
	return fmt.Errorf("command %s is refused as an earlier one was, and that record can't be read: %w: %v", p.sub.Meta.CommandID, ErrUnavailable, err) //nolint:errorlint // ErrUnreadable stays hidden
}

// answerAll answers the submissions of a batch that is known to be in the log.
func (s *shard) answerAll(b *batch) {
	for _, p := range b.subs {
		switch {
		case p.answered:
		case p.to > p.from:
			s.answer(p, outcome{result: s.recordedResult(p, b.entry.Events[p.from:p.to:p.to], false)})
		case p.read:
			s.answer(p, outcome{version: s.look(p.stream)})
		case p.repeats > 0:
			s.repeat(p)
		default:
			s.answer(p, p.outcome)
		}
	}
}

// look is a stream as the head of the log leaves it.
func (s *shard) look(st *stream) Version {
	f := st.folded
	return Version{Stream: st.id, State: f.state.Clone(), Seq: f.seq, Position: f.position, Head: s.head.Index}
}

// repeat answers with what is recorded: the same command's events, or an earlier, equal refusal.
func (s *shard) repeat(p *pending) {
	memory := &p.stream.folded.memory
	if r, ok := memory.find(p.key); ok && r.seq == p.repeats {
		s.fetch(p, eventsRequest{stream: p.stream.id, shard: s.number, seq: r.seq, count: int(r.events), index: r.index}, unseen)
		return
	}
	s.fetch(p, eventsRequest{stream: p.stream.id, shard: s.number, seq: p.repeats, count: 1, index: memory.at(p.repeats)}, unshown)
}

// recordedResult assembles an answer from recorded events.
func (s *shard) recordedResult(p *pending, events []domain.Event, repeated bool) Result {
	last := &events[len(events)-1]
	r := Result{Stream: p.sub.Stream, Version: last.Seq, Position: last.Position, Events: events, Repeated: repeated}
	for i := range events {
		if d, err := s.folding.Decision(&events[i]); err == nil && d != nil { // whoever shows the events says why one can't be read
			r.Decision = d
			break
		}
	}
	if events[0].CommandID != p.sub.Meta.CommandID { // an equal refusal: nothing was recorded by this command
		r.Events = nil
		r.Version = max(r.Version, p.outcome.result.Version)
	}
	return r
}
