package command_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
)

// ledger is what the model knows to be true, from what reached the store, independently of what the program thinks. It
// judges each step.
type ledger struct {
	log    []*recordedEntry // as it is now
	hash   []uint64         // of the log up to each entry
	all    map[domain.BatchID]*recordedEntry
	byID   map[string]recordedCommand // recorded commands, by id
	last   map[domain.StreamID]recordedEvent
	forgot int                        // entries that the log forgot: from then on, nobody can keep his word
	acked  map[domain.StreamID]uint64 // the highest seq that somebody was told
	broken error

	mistaken map[string]map[domain.BatchID]bool // entries that the log forgot, by the lives that acknowledged them
}

type recordedEntry struct {
	index    uint64
	id       domain.BatchID
	writer   string
	previous *recordedEntry
	recorded time.Time
	events   []recordedEvent
}

type recordedEvent struct {
	id       string
	stream   domain.StreamID
	seq      uint64
	position domain.Position
	command  string
	amount   int64
}

type recordedCommand struct {
	first, last uint64 // seq
	position    domain.Position
}

func newLedger() *ledger {
	return &ledger{
		all: make(map[domain.BatchID]*recordedEntry), byID: make(map[string]recordedCommand),
		last: make(map[domain.StreamID]recordedEvent), acked: make(map[domain.StreamID]uint64),
		mistaken: make(map[string]map[domain.BatchID]bool),
	}
}

func (l *ledger) breaks(format string, args ...any) {
	if l.broken == nil {
		l.broken = fmt.Errorf(format, args...)
	}
}

func (l *ledger) tail() *recordedEntry {
	if len(l.log) == 0 {
		return nil
	}
	return l.log[len(l.log)-1]
}

func (l *ledger) index() uint64 { return uint64(len(l.log)) }

// look sees whether a claim has made the log longer.
func (l *ledger) look(w *model, e *domain.Entry) {
	head := w.store.Head(modelShard)
	switch tail := l.tail(); {
	case head.Index == l.index() && (tail == nil || head.ID == tail.id):
	case head.Index == l.index()+1 && head.ID == e.ID:
		l.append(w, e)
	default:
		l.breaks("the log's head is entry %d (%.8s), after a claim of entry %d (%.8s)", head.Index, head.ID, e.Index, e.ID)
	}
}

// append takes an entry down, and sees whether it may follow.
func (l *ledger) append(w *model, e *domain.Entry) {
	r := &recordedEntry{index: e.Index, id: e.ID, writer: e.Writer, previous: l.tail(), recorded: e.RecordedAt}
	if r.previous != nil && (e.PreviousID != r.previous.id || e.RecordedAt.Before(r.previous.recorded)) {
		l.breaks("entry %d does not follow on entry %d", e.Index, r.previous.index)
	}
	for _, forgotten := range l.mistaken { // an old claim may arrive once more: then the log holds again what it had forgotten
		delete(forgotten, e.ID)
	}
	if len(l.mistaken[e.Writer]) > 0 && l.all[e.ID] == nil {
		l.breaks("%s writes entry %d, after the log forgot what it had acknowledged", e.Writer, e.Index)
	}
	for i := range e.Events {
		l.event(r, &e.Events[i], i)
		if g := w.givens[e.Events[i].CommandID]; l.forgot == 0 && !g.mayBeWrittenBy(e.Writer) {
			l.breaks("command %s is written by %s, where its caller was told that it was not", g.id, e.Writer)
		}
	}
	h := uint64(1)
	if n := len(l.hash); n > 0 {
		h = l.hash[n-1]
	}
	l.hash = append(l.hash, mix(h, hashID(e.ID)))
	l.log = append(l.log, r)
	l.all[e.ID] = r
}

func (l *ledger) event(r *recordedEntry, e *domain.Event, place int) {
	before := l.last[e.Stream]
	ev := recordedEvent{id: e.ID, stream: e.Stream, seq: e.Seq, position: e.Position, command: e.CommandID}
	if e.Type == "Added" {
		ev.amount = 1
	}
	if want := (domain.Position{Shard: modelShard, Index: r.index, Place: place}); e.Position != want {
		l.breaks("event %d of %s says that it stands at %+v, and stands at %+v", e.Seq, e.Stream, e.Position, want)
	}
	if l.forgot == 0 && (e.Seq != before.seq+1 || e.Previous != before.position) {
		l.breaks("event %d of %s in entry %d, which says to follow %s, follows event %d at %s", e.Seq, e.Stream, r.index, e.Previous, before.seq, before.position)
	}
	switch c, known := l.byID[e.CommandID]; {
	case !known:
		l.byID[e.CommandID] = recordedCommand{first: e.Seq, last: e.Seq, position: e.Position}
	case l.forgot == 0 && (c.position.Index != r.index || c.last+1 != e.Seq):
		l.breaks("command %s is in entry %d and in entry %d", e.CommandID, c.position.Index, r.index)
	default:
		c.last, c.position = e.Seq, e.Position
		l.byID[e.CommandID] = c
	}
	l.last[e.Stream] = ev
	r.events = append(r.events, ev)
}

// forget takes note that the log forgot its newest entry.
func (l *ledger) forget(w *model) {
	e := l.tail()
	for _, g := range w.givens {
		for _, c := range g.calls {
			told := c.answered && !c.read && c.answer.Err == nil && !c.answer.Result.Repeated && c.answer.Result.Position.Index == e.index
			if told && c.life == e.writer {
				if l.mistaken[c.life] == nil {
					l.mistaken[c.life] = map[domain.BatchID]bool{}
				}
				l.mistaken[c.life][e.id] = true
			}
		}
	}
	l.log, l.hash = l.log[:len(l.log)-1], l.hash[:len(l.hash)-1]
	l.forgot++
	for i := range e.events {
		delete(l.byID, e.events[i].command)
	}
	clear(l.last)
	for _, e := range l.log {
		for _, ev := range e.events {
			l.last[ev.stream] = ev
		}
	}
}

// fold is what an entry and those before it say of a stream.
func (l *ledger) fold(upTo *recordedEntry, stream domain.StreamID) (events []recordedEvent) {
	if upTo == nil {
		return nil
	}
	events = l.fold(upTo.previous, stream)
	for _, e := range upTo.events {
		if e.stream == stream {
			events = append(events, e)
		}
	}
	return events
}

// answered judges an answer.
func (l *ledger) answered(c *call) {
	if c.read {
		l.read(c)
		return
	}
	answer, g := c.answer, c.given
	recorded, known := l.byID[g.id]
	result := answer.Result
	switch {
	case l.forgot > 0: // what was recorded may be gone, and with it what was repeated
		g.result, g.final = answer.Err == nil, errors.Is(answer.Err, command.ErrVersionConflict)
		g.unknown = true
	case answer.Err == nil && len(result.Events) > 0:
		if !known || recorded.last != result.Version || recorded.position != result.Position || int(recorded.last-recorded.first)+1 != len(result.Events) {
			l.breaks("command %s was answered with version %d at %s and %d events, and in the log is %+v", g.id, result.Version, result.Position, len(result.Events), recorded)
		}
		for i := range result.Events {
			if e := &result.Events[i]; e.CommandID != g.id || e.Seq != recorded.first+uint64(i) {
				l.breaks("command %s was answered with event %d of command %s", g.id, e.Seq, e.CommandID)
			}
		}
		if c.client != nil {
			if !result.Repeated && g.fresh {
				l.breaks("command %s was twice answered as if for the first time", g.id)
			}
			g.fresh = g.fresh || !result.Repeated
		}
		g.result = true
		l.acked[g.stream] = max(l.acked[g.stream], result.Version)
	case answer.Err == nil:
		if c.known {
			l.breaks("command %s was recorded before it was given again, and is answered as if nothing were", g.id)
		}
		g.result = true
	case errors.Is(answer.Err, command.ErrUnknown):
		g.unknown = true
	case errors.Is(answer.Err, command.ErrUnavailable):
		if !injected(answer.Err) {
			l.breaks("nothing went wrong, and command %s is answered: %w", g.id, answer.Err)
		}
		g.failed++
	case errors.Is(answer.Err, command.ErrVersionConflict) && g.ifMatch != nil || errors.Is(answer.Err, errDecider):
		if c.known {
			l.breaks("command %s was recorded before it was given again, and is answered %w", g.id, answer.Err)
		}
		g.failed++
		g.final = true
	default:
		l.breaks("command %s: unexpected answer: %w", g.id, answer.Err)
	}
}

// injected tells whether a failure was made to happen, or is a limit of memory.
func injected(err error) bool {
	return !errors.Is(err, command.ErrDiffers) &&
		(strings.Contains(err.Error(), "injected") || strings.Contains(err.Error(), "no longer in memory") || errors.Is(err, context.Canceled))
}

// read judges an authoritative read.
func (l *ledger) read(c *call) {
	if l.forgot > 0 { // what was told may be gone
		return
	}
	if c.answer.Err != nil {
		if !errors.Is(c.answer.Err, command.ErrUnavailable) || !injected(c.answer.Err) {
			l.breaks("nothing went wrong, and a read of %s is answered: %w", c.given.stream, c.answer.Err)
		}
		return
	}
	v := c.answer.Version
	if v.Seq < c.least {
		l.breaks("%s was read at version %d, after version %d had been told", v.Stream, v.Seq, c.least)
	}
	if v.Head > l.index() {
		l.breaks("%s was read up to entry %d of %d", v.Stream, v.Head, l.index())
		return
	}
	var upTo *recordedEntry
	if v.Head > 0 {
		upTo = l.log[v.Head-1]
	}
	sum := int64(0)
	events := l.fold(upTo, v.Stream)
	for _, e := range events {
		sum += e.amount
	}
	if got := v.State.(*conformance.Tally).Sum(); uint64(len(events)) != v.Seq || got != sum {
		l.breaks("%s was read up to entry %d as version %d with sum %d, and the log says version %d with sum %d", v.Stream, v.Head, v.Seq, got, len(events), sum)
	}
	l.acked[v.Stream] = max(l.acked[v.Stream], v.Seq)
}

// fingerprint tells logs apart.
func (l *ledger) fingerprint() uint64 {
	h := uint64(l.forgot)
	if n := len(l.hash); n > 0 {
		h = mix(h, l.hash[n-1])
	}
	for _, stream := range modelStreams {
		h = mix(h, l.acked[stream])
	}
	return h
}
