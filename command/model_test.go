package command_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/explore"
	"carryon/infra/memory"
	"carryon/projector"
)

// The model: real shard writers, real consumers, and between them a log, a bus and a read model in memory on which
// everything goes wrong that can. There are no goroutines, no clock and no sleeps: every call of the program to the
// outside is a move of the schedule, and so is every answer, message, crash and client. How it works and what it can't
// see: docs/decisions/0014-the-model-checker.md.

const modelShard = 1

var modelStreams = []domain.StreamID{"customer/a", "customer/b", "customer/c"}

var (
	modelStart   = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	modelMetrics = command.NewWriterMetrics(nil)
	errDecider   = errors.New("the decider says no")
)

// scenario is what a model begins with, and what may happen in it.
type scenario struct {
	name      string
	writers   int
	consumers int
	kind      storeKind
	clients   [][]act
	faults    fault  // those that may happen
	budget    int    // how many of them
	pinned    bool   // each client stays with one writer
	forwards  bool   // a writer may hand commands over to another
	operator  bool   // retries parked streams
	hints     bool   // messages are bare indexes
	poison    string // the event that can't be applied to the read model, until that is fixed
	bursts    bool   // several things may reach a writer before it decides
	slow      bool   // what goes on behind the claims is explored, too: derivations and snapshots
	pageBytes int    // most that a read of the log or a history returns; 0: everything
	config    func(*command.WriterConfig)
	consume   func(*projector.Config)
	seed      uint64
	drift     time.Duration // clocks differ by so much at most, and move
}

// act is one thing a client wants: a command that adds to a stream, or a read of it.
type act struct {
	stream  int
	add     conformance.Add
	decider command.Decider // in place of add
	ifMatch *uint64
	read    bool
	again   int // how often it is given again after it was answered
}

// model is a world to be explored.
type model struct {
	scenario
	random  *rand.Rand // of what is drawn at the beginning
	store   *memory.Store
	ledger  *ledger
	rows    *readModel
	writers []*writer
	readers []*reader
	clients []*caller
	givens  map[string]*request
	calls   []*call // that wait for an answer
	late    []*domain.Entry
	retry   *reader // the operator's

	running *coroutine // whose code runs now
	fault   fault      // of the single call that is made now
	digest  uint64     // of what that was told

	derived   map[domain.BatchID]bool
	snapshots map[domain.StreamID]uint64
	now       time.Time
	healed    bool
	moves     []move
	listed    bool
	pageBytes int
}

var _ explore.World = (*model)(nil)

func newModel(sc scenario) *model {
	w := &model{
		scenario: sc, random: rand.New(rand.NewPCG(sc.seed, 3)), store: memory.NewStore(), ledger: newLedger(),
		givens: make(map[string]*request), derived: make(map[domain.BatchID]bool), snapshots: make(map[domain.StreamID]uint64),
		now: modelStart, pageBytes: cmp.Or(sc.pageBytes, 1<<20),
	}
	w.rows = newReadModel(w, sc.kind)
	if sc.poison != "" {
		w.rows.poison[sc.poison] = true
	}
	for n, script := range sc.clients {
		c := &caller{n: n}
		for i, a := range script {
			c.script = append(c.script, newRequest(n, i, a))
			w.givens[c.script[i].id] = c.script[i]
		}
		w.clients = append(w.clients, c)
	}
	for n := range sc.consumers {
		w.readers = append(w.readers, newReader(w, n))
	}
	for n := range sc.writers {
		w.writers = append(w.writers, &writer{w: w, n: n, skew: w.draw(sc.drift)})
		w.writers[n].begin()
	}
	for _, p := range w.writers { // the first lives begin on an empty log, and nothing happens meanwhile
		for len(p.jobs)+len(p.answers) > 0 {
			p.oldest()
		}
	}
	return w
}

func (w *model) draw(most time.Duration) time.Duration {
	if most == 0 {
		return 0
	}
	return time.Duration(w.random.Int64N(2*int64(most))) - most
}

// collect takes the answers that were given, and judges them.
func (w *model) collect() {
	w.calls = slices.DeleteFunc(w.calls, func(c *call) bool {
		answer, ok := c.waiting.Answer()
		if !ok {
			return false
		}
		c.answer, c.answered = answer, true
		w.ledger.answered(c)
		if c.client != nil && c.client.waiting == c {
			c.client.answered(c)
		}
		return true
	})
}

// Close ends all coroutines.
func (w *model) Close() {
	for _, p := range w.writers {
		p.end()
	}
	for _, r := range append(slices.Clone(w.readers), w.retry) {
		if r != nil {
			r.end()
		}
	}
}

// Fingerprint follows from what each part was told so far, in its order: parts are deterministic. Histories that differ
// only in the order of what does not concern each other are one state.
func (w *model) Fingerprint() uint64 {
	h := mix(w.ledger.fingerprint(), w.rows.fingerprint())
	progress, _ := w.store.Connect().Progress(context.Background(), modelShard)
	h = mix(h, progress)
	h = mix(h, uint64(w.budget))
	h = mix(h, uint64(w.now.Sub(modelStart)))
	sum := uint64(0)
	for id := range w.derived {
		sum += mix(19, hashID(id))
	}
	for stream, snapshot := range w.snapshots {
		sum += mix(hashText(string(stream)), snapshot)
	}
	for _, e := range w.late {
		sum += mix(23, hashID(e.ID))
	}
	h = mix(h, sum)
	for _, p := range w.writers {
		h = mix(h, p.fingerprint())
	}
	for _, r := range w.readers {
		h = mix(h, r.fingerprint())
	}
	if w.retry != nil {
		h = mix(h, w.retry.fingerprint())
	}
	for _, c := range w.clients {
		h = mix(h, c.history)
	}
	return h
}

// request is a command or read as its client knows it.
type request struct {
	act
	id     string
	stream domain.StreamID
	calls  []*call

	fresh   bool // somebody was answered as the first
	result  bool // was told to have succeeded
	unknown bool
	final   bool // it was refused, and would be again
	failed  int
	again   int
}

// call is one time that a command was given to a process.
type call struct {
	given    *request
	client   *caller // nil: forwarded
	at       *writer
	life     string
	waiting  *command.Waiting
	known    bool   // was recorded already
	least    uint64 // version that a read has to see
	read     bool
	answered bool
	answer   command.Answer
	dead     bool // the process crashed meanwhile
}

func newRequest(client, n int, a act) *request {
	return &request{act: a, id: fmt.Sprintf("c%d-%d", client, n), stream: modelStreams[a.stream], again: a.again}
}

// mayBeWrittenBy tells whether somebody who gave the command there was told nothing to the contrary.
func (g *request) mayBeWrittenBy(life string) bool {
	return slices.ContainsFunc(g.calls, func(c *call) bool {
		return c.life == life && (!c.answered || c.dead || errors.Is(c.answer.Err, command.ErrUnknown))
	})
}

func (g *request) submission() command.Submission {
	decider := g.decider
	if decider == nil {
		decider = g.add
	}
	return command.Submission{Stream: g.stream, Meta: command.Meta{CommandID: g.id, IfMatch: g.ifMatch}, RequestHash: g.id, Decider: decider}
}

// give hands a command or a read to a writer.
func (w *model) give(g *request, p *writer, by *caller) *call {
	_, known := w.ledger.byID[g.id]
	c := &call{given: g, client: by, at: p, life: p.name, known: known, read: g.read, least: w.ledger.acked[g.stream]}
	g.calls = append(g.calls, c)
	if g.read {
		c.waiting = p.core.Load(context.Background(), g.stream)
	} else {
		sub := g.submission()
		if w.forwards && by != nil {
			sub.Forward = func(_ context.Context, to string) (command.Result, error) { return w.forward(g, p, to) }
		}
		c.waiting = p.core.Submit(context.Background(), sub)
	}
	w.calls = append(w.calls, c)
	p.told(mix(31, hashText(g.id)))
	return c
}

// forward is a command on its way from one writer to another, and its answer on its way back.
func (w *model) forward(g *request, from *writer, to string) (command.Result, error) {
	if w.reach("forward", nil) == callFails {
		w.told(14)
		return command.Result{}, fmt.Errorf("forwarding %s: %w", g.id, command.ErrUnavailable)
	}
	at := slices.IndexFunc(w.writers, func(p *writer) bool { return p.name == to })
	if at < 0 || w.writers[at] == from {
		w.told(15)
		return command.Result{}, fmt.Errorf("forwarding %s to %s: nobody there: %w", g.id, to, command.ErrUnavailable)
	}
	c := w.give(g, w.writers[at], nil)
	w.writers[at].step()
	f := w.reach("hear of the forwarded command", func() bool { return c.answered || c.dead })
	if c.dead || f == callFails {
		w.told(16)
		return command.Result{}, fmt.Errorf("forwarding %s to %s: %w", g.id, to, command.ErrUnknown)
	}
	w.told(17, hashError(c.answer.Err), c.answer.Result.Version)
	return c.answer.Result, c.answer.Err
}

// caller gives its commands one after the other, and each again until it knows what came of it.
type caller struct {
	n       int
	script  []*request
	at      int
	waiting *call
	history uint64
}

func (c *caller) current() *request {
	if c.at == len(c.script) {
		return nil
	}
	return c.script[c.at]
}

func (c *caller) note(v uint64) { c.history = mix(c.history, v) }

// answered takes an answer, and decides whether to go on with the next command.
func (c *caller) answered(call *call) {
	g := call.given
	c.waiting = nil
	c.note(mix(hashError(call.answer.Err), mix(call.answer.Result.Version, call.answer.Version.Seq)))
	switch {
	case call.answer.Err == nil && g.again > 0:
		g.again--
	case call.answer.Err == nil || g.final || call.at.w.ledger.forgot > 0: // by then a writer may be stopped for good
		c.at++
	}
}

// lost is what a client makes of a process that crashed, or of its own leaving.
func (c *caller) lost() {
	c.note(7)
	c.waiting = nil
}
