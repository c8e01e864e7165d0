package command_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"carryon/domain"
	"carryon/infra/explore"
	"carryon/projector"
)

// move is something that may happen next.
type move struct {
	kind  moveKind
	who   int // the process, instance or client
	n     int // of its jobs, answers or messages, or the process that a client turns to
	fault fault
}

type moveKind uint8

const (
	writerCalls moveKind = iota
	writerHears
	writerHearsMore // and something else arrives before it decides
	writerDecides
	writerEnds // crashes
	storeDecides
	clientGives
	clientGoes
	readerBegins
	readerCalls
	readerReceives
	readerEnds
	operatorRetries
	operatorCalls
	operatorFixes
	serverUnlocks // ends the session that holds the lock of the read model
	storeLoses    // what the store may not, or may, lose
	clockMoves
)

// Moves lists what may happen next. It begins with what goes well and goes on.
func (w *model) Moves() int {
	if w.listed {
		return len(w.moves)
	}
	w.moves, w.listed = w.moves[:0], true
	for who, p := range w.writers {
		for n, j := range p.jobs {
			if !j.blocked() {
				w.add(writerCalls, who, n, none)
			}
		}
		for n := range p.answers {
			w.add(writerHears, who, n, none)
			if w.bursts {
				w.add(writerHearsMore, who, n, none)
			}
		}
		if p.burst {
			w.add(writerDecides, who, 0, none)
		}
	}
	for n := range w.late {
		w.add(storeDecides, 0, n, none)
	}
	for who, c := range w.clients {
		if c.waiting == nil && c.current() != nil {
			for n := range w.writers {
				if !w.pinned || n == who%len(w.writers) {
					w.add(clientGives, who, n, none)
				}
			}
		}
	}
	for who, r := range w.readers {
		if r.co != nil {
			w.add(readerCalls, who, 0, none)
		}
		if r.wants() != "" {
			w.add(readerBegins, who, 0, none)
		}
		for n := range r.messages {
			w.add(readerReceives, who, n, none)
		}
	}
	w.listOperator()
	if h := w.rows.holder; h != nil && h.s.dead {
		w.add(serverUnlocks, 0, 0, none)
	}
	if w.drift > 0 {
		w.add(clockMoves, 0, 0, none)
	}
	if w.budget > 0 {
		w.listFaults()
	}
	return len(w.moves)
}

func (w *model) listOperator() {
	if !w.operator {
		return
	}
	if w.retry != nil && w.retry.co != nil {
		w.add(operatorCalls, 0, 0, none)
		return
	}
	for n, stream := range modelStreams {
		if _, parked := w.rows.parked[stream]; parked && len(w.rows.poison) == 0 {
			w.add(operatorRetries, 0, n, none)
		}
	}
	if len(w.rows.poison) > 0 {
		w.add(operatorFixes, 0, 0, none)
	}
}

// listFaults lists what may go wrong.
func (w *model) listFaults() {
	for who, p := range w.writers {
		for n, j := range p.jobs {
			switch {
			case j.blocked():
			case j.Kind == "claim":
				for _, f := range [...]fault{claimAnswerLost, claimLost, claimDecidedLate, claimRefused} {
					w.addFault(writerCalls, who, n, f)
				}
			default:
				w.addFault(writerCalls, who, n, callFails)
			}
		}
		w.addFault(writerEnds, who, 0, writerCrashes)
		if slices.ContainsFunc(p.jobs, func(j *job) bool { return j.Kind == "claim" }) {
			w.addFault(writerEnds, who, 0, writerCrashesClaiming)
		}
	}
	for who, c := range w.clients {
		if c.waiting != nil {
			w.addFault(clientGoes, who, 0, clientLeaves)
			w.addFault(clientGoes, who, 0, clientVanishes)
		}
	}
	for who, r := range w.readers {
		for n := range r.messages {
			w.addFault(readerReceives, who, n, messageDoubled)
			w.addFault(readerReceives, who, n, messageLost)
		}
		w.addFault(readerEnds, who, 0, consumerCrashes)
		if r.co == nil {
			continue
		}
		w.addFault(readerCalls, who, 0, callFails)
		if r.co.call == "commit" {
			w.addFault(readerCalls, who, 0, commitAnswerLost)
		}
		if h := w.rows.holder; h != nil && h.s == r.session {
			w.addFault(readerEnds, who, 0, holderHangs)
			w.addFault(serverUnlocks, 0, 0, holderHangs) // although it lives
		}
	}
	if w.retry != nil && w.retry.co != nil {
		w.addFault(operatorCalls, 0, 0, callFails)
	}
	if w.ledger.index() > 0 {
		w.addFault(storeLoses, 0, 0, logForgets)
		w.addFault(storeLoses, 0, 0, progressFallsBack)
		if len(w.ledger.tail().events) > 0 && len(w.rows.poison) == 0 {
			w.addFault(storeLoses, 0, 0, eventIsPoison)
		}
	}
	if len(w.snapshots) > 0 {
		w.addFault(storeLoses, 0, 0, snapshotsVanish)
	}
}

func (w *model) add(kind moveKind, who, n int, f fault) {
	w.moves = append(w.moves, move{kind: kind, who: who, n: n, fault: f})
}

func (w *model) addFault(kind moveKind, who, n int, f fault) {
	if w.faults&f != 0 {
		w.add(kind, who, n, f)
	}
}

// Do lets a move happen.
func (w *model) Do(i int) error {
	w.Moves()
	m := w.moves[i]
	w.listed = false
	if m.fault != none {
		w.budget--
	}
	switch m.kind {
	case writerCalls:
		w.writers[m.who].perform(m.n, m.fault)
	case writerHears:
		w.writers[m.who].hear(m.n, false)
	case writerHearsMore:
		w.writers[m.who].hear(m.n, true)
	case writerDecides:
		w.writers[m.who].step()
	case writerEnds:
		w.writers[m.who].crash(m.fault == writerCrashesClaiming)
	case storeDecides:
		w.decideLate(m.n)
	case clientGives:
		w.clientGives(w.clients[m.who], w.writers[m.n])
	case clientGoes:
		w.clientGoes(w.clients[m.who], m.fault == clientLeaves)
	case readerBegins:
		w.readers[m.who].round(w.readers[m.who].wants())
	case readerCalls:
		w.readers[m.who].resume(m.fault)
	case readerReceives:
		w.readers[m.who].deliver(m.n, m.fault)
	case readerEnds:
		w.readers[m.who].crash(m.fault == holderHangs)
	case operatorRetries:
		w.retry = newReader(w, 9)
		w.retry.retryParked(modelStreams[m.n])
	case operatorCalls:
		w.retry.resume(m.fault)
	case operatorFixes:
		clear(w.rows.poison)
	case serverUnlocks:
		w.rows.holder.end()
	case storeLoses:
		w.storeLoses(m.fault)
	case clockMoves:
		w.now = w.now.Add(w.drift / 8)
	}
	return w.ledger.broken
}

func (w *model) decideLate(n int) {
	e := w.late[n]
	w.late = slices.Delete(w.late, n, n+1)
	_, _ = w.decide(w.store.Connect(), e)
}

func (w *model) clientGives(c *caller, p *writer) {
	c.note(mix(uint64(p.n), 5))
	c.waiting = w.give(c.current(), p, c)
	p.decide(false)
}

// clientGoes is a client who waits no longer: he leaves, which the process notices, or is just not there any more.
func (w *model) clientGoes(c *caller, leaves bool) {
	call := c.waiting
	if !call.read {
		call.given.unknown = true
	}
	if leaves {
		call.at.told(mix(71, hashText(call.given.id)))
		call.at.core.Abandon(call.waiting)
		call.at.step() // it answers, and the client hears that
	}
	if c.waiting == call {
		c.lost()
	}
}

func (w *model) storeLoses(f fault) {
	switch f {
	case logForgets:
		w.store.Forget(modelShard, 1)
		w.ledger.forget(w)
	case progressFallsBack:
		w.store.FallBack(modelShard, 0)
	case snapshotsVanish:
		w.store.LoseSnapshots()
		clear(w.snapshots)
	case eventIsPoison:
		e := w.ledger.tail().events[0]
		if w.rows.at.Index < w.ledger.index() {
			w.rows.poison[e.id] = true
		}
	}
}

// Key names a move.
func (w *model) Key(i int) string {
	m := w.moves[i]
	wrong := ""
	if name := faultNames[m.fault]; m.fault != none && name != "" {
		wrong = ", " + name
	}
	switch m.kind {
	case writerCalls:
		return fmt.Sprintf("w%d: %s%s", m.who, w.writers[m.who].jobs[m.n].name(), wrong)
	case writerHears, writerHearsMore:
		more := ""
		if m.kind == writerHearsMore {
			more = ", and more"
		}
		return fmt.Sprintf("w%d hears of its %s%s", m.who, w.writers[m.who].answers[m.n].name(), more)
	case writerDecides:
		return fmt.Sprintf("w%d decides", m.who)
	case writerEnds:
		return fmt.Sprintf("w%d%s", m.who, wrong)
	case storeDecides:
		return fmt.Sprintf("the store decides on the late claim of entry %d%s", w.late[m.n].Index, commandsOf(w.late[m.n]))
	case clientGives:
		g := w.clients[m.who].current()
		what := "gives " + g.id + " for"
		if g.read {
			what = "reads"
		}
		return fmt.Sprintf("client %d %s %s to w%d", m.who, what, g.stream, m.n)
	case clientGoes:
		return fmt.Sprintf("client %d%s", m.who, wrong)
	case readerBegins:
		return fmt.Sprintf("c%d begins to %s", m.who, w.readers[m.who].wants())
	case readerCalls:
		return fmt.Sprintf("c%d: %s%s", m.who, w.readers[m.who].co.call, wrong)
	case readerReceives:
		return fmt.Sprintf("c%d receives entry %d%s", m.who, w.readers[m.who].messages[m.n].entry.Index, wrong)
	case readerEnds:
		return fmt.Sprintf("c%d%s", m.who, wrong)
	case operatorRetries:
		return fmt.Sprintf("the operator retries %s", modelStreams[m.n])
	case operatorCalls:
		return fmt.Sprintf("the retry: %s%s", w.retry.co.call, wrong)
	case operatorFixes:
		return "the operator fixes what can't be applied"
	case serverUnlocks:
		return "the read model's server ends the session that holds the lock"
	case storeLoses:
		return map[fault]string{
			logForgets: "the log forgets its newest entry", progressFallsBack: "the progress of the histories falls back",
			snapshotsVanish: "the snapshots vanish", eventIsPoison: "the newest entry's first event can't be applied to the read model",
		}[m.fault]
	case clockMoves:
		return "the clock moves"
	}
	return fmt.Sprintf("%+v", m)
}

// Weight is how likely a random schedule takes a move.
func (w *model) Weight(i int) int {
	switch m := w.moves[i]; {
	case m.kind == writerEnds || m.kind == readerEnds || m.kind == storeLoses:
		return 1
	case m.kind == serverUnlocks && m.fault != none || m.kind == clientGoes:
		return 1
	case m.fault != none:
		return 2
	case m.kind == clockMoves || m.kind == storeDecides || m.kind == operatorRetries || m.kind == operatorFixes:
		return 4
	case m.kind == clientGives || m.kind == writerHearsMore:
		return 8
	}
	return 16
}

// settleSteps is more than it takes for everything to come to its end.
const settleSteps = 20_000

// Settle lets everything come to its end, in turn and with nothing going wrong any more, and judges what became of it.
// What was not delivered by now is lost: the consumers have to find it in the log.
func (w *model) Settle() error {
	w.healed, w.budget, w.listed = true, 0, false
	for len(w.late) > 0 {
		w.decideLate(0)
	}
	clear(w.rows.poison)
	for _, r := range w.readers {
		r.messages = nil
	}
	for steps := 0; w.broken() == nil; steps++ {
		if steps > settleSteps {
			return fmt.Errorf("nothing goes wrong any more, and still it does not come to an end: %s", w.busy())
		}
		if !w.onward() {
			break
		}
	}
	if err := w.broken(); err != nil {
		return err
	}
	return w.judge()
}

// busy tells what is still being done.
func (w *model) busy() (what string) {
	w.listed = false
	for i := range w.Moves() {
		what += w.Key(i) + "; "
	}
	return what
}

func (w *model) broken() error { return w.ledger.broken }

// onward lets each part do one thing, and tells whether anything was left to do.
func (w *model) onward() bool {
	some := false
	w.now = w.now.Add(100 * time.Millisecond)
	for _, p := range w.writers {
		some = p.oldest() || some
	}
	for n, c := range w.clients {
		if c.waiting == nil && c.current() != nil && w.ledger.forgot == 0 {
			w.clientGives(c, w.writers[n%len(w.writers)])
			some = true
		}
	}
	if h := w.rows.holder; h != nil && h.s.dead {
		h.end()
	}
	for _, r := range w.readers {
		r.messages = nil
		switch kind := r.wants(); {
		case r.co != nil:
			r.resume(none)
			some = true
		case kind != "":
			r.round(kind)
			some = true
		}
	}
	return w.operate() || some
}

// operate goes on with a retry, or begins one.
func (w *model) operate() bool {
	if w.retry != nil && w.retry.co != nil {
		w.retry.resume(none)
		return true
	}
	for _, stream := range modelStreams {
		if _, parked := w.rows.parked[stream]; parked && w.ledger.forgot == 0 {
			w.retry = newReader(w, 9)
			w.retry.retryParked(stream)
			return true
		}
	}
	return false
}

// judge is for when all has come to its end.
func (w *model) judge() error {
	for _, c := range w.clients {
		if g := c.current(); g != nil && w.ledger.forgot == 0 {
			return fmt.Errorf("nothing is left to do, and client %d has no answer to %s", c.n, g.id)
		}
	}
	if len(w.calls) > 0 {
		return fmt.Errorf("nothing is left to do, and %s has no answer at %s", w.calls[0].given.id, w.calls[0].life)
	}
	for _, r := range w.readers {
		if r.outcome != projector.Stopped && w.rows.at.Index != w.ledger.index() {
			return fmt.Errorf("nothing is left to do, and the read model is at entry %d of %d", w.rows.at.Index, w.ledger.index())
		}
	}
	if w.rows.judge(); w.broken() != nil {
		return w.broken()
	}
	if len(w.rows.parked) > 0 && w.ledger.forgot == 0 {
		return fmt.Errorf("nothing is left to do, and %d streams are parked", len(w.rows.parked))
	}
	return w.judgeLog()
}

// judgeLog sees whether the log still holds what was written, and the histories what is in the log.
func (w *model) judgeLog() error {
	entries := w.store.Entries(modelShard)
	if len(entries) != len(w.ledger.log) {
		return fmt.Errorf("the log has %d entries, %d were written", len(entries), len(w.ledger.log))
	}
	for i := range entries {
		e, r := &entries[i], w.ledger.log[i]
		if e.ID != r.id || len(e.Events) != len(r.events) {
			return fmt.Errorf("entry %d is not as it was written", e.Index)
		}
	}
	if w.ledger.forgot > 0 {
		return nil
	}
	// Where several writers derive, one may miss that another moved the progress meanwhile. That costs work until it looks
	// again, some derivations later, and nothing else.
	alone := len(w.writers) == 1 && w.faults&progressFallsBack == 0
	if progress, _ := w.store.Connect().Progress(context.Background(), modelShard); alone && progress != w.ledger.index() {
		return fmt.Errorf("nothing is left to do, and the histories are at entry %d of %d", progress, w.ledger.index())
	}
	for _, stream := range modelStreams {
		if err := w.judgeHistory(stream); err != nil {
			return err
		}
	}
	return nil
}

// judgeHistory sees whether a history is a beginning of its stream.
func (w *model) judgeHistory(stream domain.StreamID) error {
	events, err := w.store.Connect().ReadStream(context.Background(), stream, 1, 1<<30)
	if err != nil {
		return err
	}
	want := w.ledger.fold(w.ledger.tail(), stream)
	if len(events) > len(want) {
		return fmt.Errorf("the history of %s has %d events, the log has %d", stream, len(events), len(want))
	}
	for i := range events {
		if events[i].ID != want[i].id || events[i].Position != want[i].position {
			return fmt.Errorf("event %d in the history of %s is not the log's", i+1, stream)
		}
	}
	return nil
}

var _ explore.World = (*model)(nil)
