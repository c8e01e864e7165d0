package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"carryon/command"
	"carryon/domain"
)

// process is one process's shard writer over a store, in the suite's own little world.
type process struct {
	*command.Writer
	wire *wire
	bus  *bus
}

// setting changes how a process is made.
type setting func(*command.WriterConfig, *command.WriterPorts)

// start starts a process. It is closed when the test ends.
func start(t *testing.T, name string, ports Ports, settings ...setting) *process {
	t.Helper()
	p := &process{wire: &wire{ports: ports}, bus: &bus{}}
	cfg := command.WriterConfig{Name: name, BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond, HotBytes: 1} // idle states are frozen at once
	with := command.WriterPorts{
		Log: p.wire, Histories: p.wire, Snapshots: p.wire, Bus: p.bus, Folding: TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return NoReference{}, nil },
	}
	for _, set := range settings {
		set(&cfg, &with)
	}
	var err error
	if p.Writer, err = command.NewWriter(cfg, with); err != nil {
		t.Fatalf("making the writer of %s: %v", name, err)
	}
	p.Start()
	t.Cleanup(func() {
		if err := p.stop(); err != nil && !p.wire.isSevered() {
			t.Errorf("closing %s: %v", name, err)
		}
	})
	return p
}

// stop closes the writer. What it waited for is settled, unless that takes very long.
func (p *process) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return p.Close(ctx)
}

// crash ends the process as a power cut would: nothing of it reaches the store any more.
func (p *process) crash() {
	p.wire.sever()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Close(ended) // only ends its goroutines
}

// newID is a fresh command id.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// give submits a command.
func (p *process) give(ctx context.Context, stream domain.StreamID, id string, a Add) (command.Result, error) {
	return p.Submit(ctx, submission(stream, id, a))
}

func submission(stream domain.StreamID, id string, a Add) command.Submission {
	return command.Submission{
		Stream: stream, Meta: command.Meta{CommandID: id, Actor: domain.Actor{ID: "test", Role: domain.RoleService}},
		RequestHash: fmt.Sprintf("%d/%d/%d", a.Amount, a.Events, len(a.Filler)), Decider: a,
	}
}

// must submits a command that has to be recorded.
func (p *process) must(t *testing.T, stream domain.StreamID, id string, a Add) command.Result {
	t.Helper()
	r, err := p.give(t.Context(), stream, id, a)
	if err != nil {
		t.Fatalf("command %s on %s: %v", id, stream, err)
	}
	return r
}

// sum reads a tally authoritatively.
func (p *process) sum(t *testing.T, stream domain.StreamID) (sum int64, seq uint64) {
	t.Helper()
	v, err := p.Load(t.Context(), stream)
	if err != nil {
		t.Fatalf("reading %s: %v", stream, err)
	}
	state := v.State.(*Tally)
	if state.events != v.Seq || v.Seq > 0 && v.Position.Index == 0 || v.Position.Index > v.Head {
		t.Fatalf("reading %s: %+v with a state of %d events", stream, v, state.events)
	}
	return state.sum, v.Seq
}

// bus takes entries, as long as it is not told to block.
type bus struct {
	mu      sync.Mutex
	entries []uint64
	block   chan struct{} // not nil: Publish waits for it
}

// Publish implements command.Bus.
func (b *bus) Publish(ctx context.Context, e *domain.Entry) error {
	b.mu.Lock()
	block := b.block
	b.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, e.Index)
	return nil
}

// wire is a process's way to the store: it counts, and it can be damaged.
type wire struct {
	ports Ports

	mu      sync.Mutex
	severed bool
	onClaim func(ctx context.Context, e *domain.Entry) damage // before a claim; may wait
	onRead  func(what string) error                           // before any other call
	counts  counts
}

type damage uint8

const (
	undamaged damage = iota
	loseAnswer
	loseClaim
)

// counts is what was read.
type counts struct {
	claims, reads int
	events        int // of histories and of the log
	bytes         int // payloads and snapshots
}

func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.severed = true
}

func (w *wire) isSevered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.severed
}

// set changes what happens from now on.
func (w *wire) set(change func(*wire)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *wire) count(events, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.events += events
	w.counts.bytes += bytes
}

// counted returns what was counted since the last call.
func (w *wire) counted() counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.counts
	w.counts = counts{}
	return c
}

var errWire = errors.New("the wire is cut")

func (w *wire) before(what string) error {
	w.mu.Lock()
	onRead, severed := w.onRead, w.severed
	w.counts.reads++
	w.mu.Unlock()
	if severed {
		return fmt.Errorf("%s: %w: %w", what, command.ErrUnavailable, errWire)
	}
	if onRead != nil {
		return onRead(what)
	}
	return nil
}

// Claim implements command.Log.
func (w *wire) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	w.mu.Lock()
	onClaim := w.onClaim
	w.counts.claims++
	w.mu.Unlock()
	hurt := undamaged
	if onClaim != nil {
		hurt = onClaim(ctx, e)
	}
	unknown := fmt.Errorf("claiming entry %d: %w: %w", e.Index, command.ErrUnknown, errWire)
	if w.isSevered() || hurt == loseClaim {
		return command.Claimed{}, unknown
	}
	claimed, err := w.ports.Log.Claim(ctx, e)
	if w.isSevered() || hurt == loseAnswer {
		return command.Claimed{}, unknown
	}
	return claimed, err
}

// Head implements command.Log.
func (w *wire) Head(ctx context.Context, shard int) (domain.Head, error) {
	if err := w.before("head"); err != nil {
		return domain.Head{}, err
	}
	return w.ports.Log.Head(ctx, shard)
}

// Read implements command.Log.
func (w *wire) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	if err := w.before("read"); err != nil {
		return nil, err
	}
	entries, err := w.ports.Log.Read(ctx, shard, from, maxBytes)
	for i := range entries {
		w.count(len(entries[i].Events), payloads(entries[i].Events))
	}
	return entries, err
}

// Progress implements command.Histories.
func (w *wire) Progress(ctx context.Context, shard int) (uint64, error) {
	if err := w.before("progress"); err != nil {
		return 0, err
	}
	return w.ports.Histories.Progress(ctx, shard)
}

// Derive implements command.Histories.
func (w *wire) Derive(ctx context.Context, entries []domain.Entry) error {
	if err := w.before("derive"); err != nil {
		return err
	}
	return w.ports.Histories.Derive(ctx, entries)
}

// ReadStream implements command.Histories.
func (w *wire) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	if err := w.before("read stream"); err != nil {
		return nil, err
	}
	events, err := w.ports.Histories.ReadStream(ctx, stream, from, maxBytes)
	w.count(len(events), payloads(events))
	return events, err
}

// LoadSnapshot implements command.Snapshots.
func (w *wire) LoadSnapshot(ctx context.Context, stream domain.StreamID) (command.Snapshot, bool, error) {
	if err := w.before("load snapshot"); err != nil {
		return command.Snapshot{}, false, err
	}
	s, ok, err := w.ports.Snapshots.LoadSnapshot(ctx, stream)
	w.count(0, len(s.Data))
	return s, ok, err
}

// SaveSnapshots implements command.Snapshots.
func (w *wire) SaveSnapshots(ctx context.Context, snapshots []command.Snapshot) error {
	if err := w.before("save snapshots"); err != nil {
		return err
	}
	return w.ports.Snapshots.SaveSnapshots(ctx, snapshots)
}

func payloads(events []domain.Event) int {
	n := 0
	for i := range events {
		n += len(events[i].Payload)
	}
	return n
}

// audit reads a shard's log and checks what has to hold whatever happened: the chain, positions, recorded_at that never
// decreases, seqs without holes, each event after the one it names, the events of a command together and once. It
// returns the events by command id.
func audit(t *testing.T, log command.Log, shard int) map[string][]domain.Event {
	t.Helper()
	commands := make(map[string][]domain.Event)
	last := make(map[domain.StreamID]domain.Event)
	var head domain.Head
	var recorded time.Time
	for _, e := range readAll(t, log, shard, 1<<20) {
		if e.Index != head.Index+1 || e.PreviousID != head.ID || e.RecordedAt.Before(recorded) || len(e.Events) == 0 {
			t.Fatalf("entry %d of %d events, recorded at %s, follows entry %d, recorded at %s", e.Index, len(e.Events), e.RecordedAt, head.Index, recorded)
		}
		head, recorded = headOf(&e), e.RecordedAt
		seen := make(map[string]bool)
		for place, ev := range e.Events {
			before := last[ev.Stream]
			if ev.Seq != before.Seq+1 || ev.Previous != before.Position || !ev.RecordedAt.Equal(e.RecordedAt) ||
				ev.Position != (domain.Position{Shard: shard, Index: e.Index, Place: place}) {
				t.Fatalf("event %d of %s at %s.%d, after that at %s, follows event %d at %s.%d", ev.Seq, ev.Stream, ev.Position, ev.Position.Place,
					ev.Previous, before.Seq, before.Position, before.Position.Place)
			}
			if !seen[ev.CommandID] && len(commands[ev.CommandID]) > 0 {
				t.Fatalf("command %s was recorded twice: in entry %d and in entry %d", ev.CommandID, commands[ev.CommandID][0].Position.Index, e.Index)
			}
			if seen[ev.CommandID] && before.CommandID != ev.CommandID {
				t.Fatalf("the events of command %s are not together in entry %d", ev.CommandID, e.Index)
			}
			seen[ev.CommandID] = true
			commands[ev.CommandID] = append(commands[ev.CommandID], ev)
			last[ev.Stream] = ev
		}
	}
	return commands
}

// filler makes a payload of about that many bytes.
func filler(bytes int) string { return strings.Repeat("x", bytes) }
