package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carryon/command"
	"carryon/domain"
)

// Histories tests the contract of command.Histories: a stream's events come in order, paged by bytes, bit for bit, with
// their positions; deriving again writes the same; the progress moves only from the entry before the first derived one;
// a hole is ErrDiffers.
func Histories(t *testing.T, factory Factory) {
	tests := []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"a stream without events has no history", historiesEmpty},
		{"streams come back in order, each whole, from any seq on", historiesInOrder},
		{"pages are bounded by bytes and end at the last event", historiesPages},
		{"every field and byte comes back as it was claimed", historiesBytes},
		{"deriving again changes nothing", historiesAgain},
		{"the progress never skips an entry", historiesProgress},
		{"two processes may derive at once", historiesRacing},
		{"a hole is told, not skipped", historiesHole},
		{"everything is there after a restart", historiesReopened},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, factory(t))
		})
	}
}

// chronicle claims entries that spread events over some streams, and keeps what each stream's history has to be.
type chronicle struct {
	entries []domain.Entry
	streams map[domain.StreamID][]domain.Event
}

// write claims entries of a shard, each with several events of several of the streams; nothing is derived.
func (c *chronicle) write(t *testing.T, log command.Log, shard, entries int, streams ...domain.StreamID) {
	t.Helper()
	if c.streams == nil {
		c.streams = make(map[domain.StreamID][]domain.Event)
	}
	var head domain.Head
	if n := len(c.entries); n > 0 {
		head = headOf(&c.entries[n-1])
	}
	random := rand.New(rand.NewPCG(1, uint64(len(c.entries))))
	for range entries {
		e := batch(shard, head, "writer")
		for place := range 1 + random.IntN(2*len(streams)) {
			c.add(e, place, streams[random.IntN(len(streams))], noise(100+random.IntN(400)))
		}
		head = claim(t, log, e)
		c.entries = append(c.entries, *e)
	}
}

func (c *chronicle) add(e *domain.Entry, place int, stream domain.StreamID, payload []byte) {
	history := c.streams[stream]
	ev := event(e, place, stream, uint64(len(history))+1, payload)
	if n := len(history); n > 0 {
		ev.Previous = history[n-1].Position
	}
	e.Events = append(e.Events, ev)
	c.streams[stream] = append(history, ev)
}

// history reads a stream's history to its end.
func history(t *testing.T, h command.Histories, stream domain.StreamID, from uint64, maxBytes int) []domain.Event {
	t.Helper()
	var all []domain.Event
	for {
		page, err := h.ReadStream(t.Context(), stream, from+uint64(len(all)), maxBytes)
		if err != nil {
			t.Fatalf("reading %s from %d: %v", stream, from+uint64(len(all)), err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

func (c *chronicle) expect(t *testing.T, h command.Histories) {
	t.Helper()
	for stream, want := range c.streams {
		sameEvents(t, history(t, h, stream, 1, 1<<20), want)
	}
}

func sameEvents(t *testing.T, got, want []domain.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got, sameRecord...); diff != "" {
		t.Fatalf("events differ (- want, + got):\n%s", diff)
	}
}

func derive(t *testing.T, h command.Histories, entries []domain.Entry) {
	t.Helper()
	if err := h.Derive(t.Context(), entries); err != nil {
		t.Fatalf("deriving %d entries: %v", len(entries), err)
	}
}

func expectProgress(t *testing.T, h command.Histories, shard int, want uint64) {
	t.Helper()
	if got, err := h.Progress(t.Context(), shard); err != nil || got != want {
		t.Fatalf("the progress of shard %d is %d (%v), want %d", shard, got, err, want)
	}
}

func historiesEmpty(t *testing.T, s Subject) {
	h := s.Connect(t).Histories
	expectProgress(t, h, 1, 0)
	if got := history(t, h, "customer/nobody", 1, 1<<20); len(got) != 0 {
		t.Fatalf("%d events of nobody", len(got))
	}
	derive(t, h, nil)
	expectProgress(t, h, 1, 0)
}

func historiesInOrder(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	var c, reference chronicle
	c.write(t, ports[0].Log, 1, 40, "customer/a", "customer/a-", "customer/b", "customer/c")
	reference.write(t, ports[0].Log, domain.ReferenceShard, 10, "title/a", "policy/a")
	if s.Capabilities.Derives {
		for stream := range c.streams {
			if got := history(t, ports[0].Histories, stream, 1, 1<<20); len(got) != 0 {
				t.Fatalf("%d events of %s before they were derived", len(got), stream)
			}
		}
	}
	derive(t, ports[0].Histories, c.entries[:7])
	derive(t, ports[0].Histories, c.entries[7:8])
	derive(t, ports[0].Histories, c.entries[8:])
	derive(t, ports[0].Histories, reference.entries)
	for _, p := range ports {
		c.expect(t, p.Histories)
		reference.expect(t, p.Histories)
		expectProgress(t, p.Histories, 1, 40)
		expectProgress(t, p.Histories, domain.ReferenceShard, 10)
	}
	for stream, want := range c.streams {
		for from := range len(want) + 2 {
			sameEvents(t, history(t, ports[1].Histories, stream, uint64(from)+1, 900), want[min(from, len(want)):])
		}
	}
}

func historiesPages(t *testing.T, s Subject) {
	ports := s.Connect(t)
	const events, size = 40, 3000
	var c chronicle
	c.streams = make(map[domain.StreamID][]domain.Event)
	var head domain.Head
	for range events / 4 {
		e := batch(1, head, "writer")
		for place := range 4 {
			c.add(e, place, "customer/a", noise(size))
		}
		head = claim(t, ports.Log, e)
		c.entries = append(c.entries, *e)
	}
	derive(t, ports.Histories, c.entries)
	for _, maxBytes := range []int{1, size, 5 * size, 1 << 30} {
		sameEvents(t, history(t, ports.Histories, "customer/a", 1, maxBytes), c.streams["customer/a"])
	}
	for _, from := range []uint64{1, 6, events} {
		page, err := ports.Histories.ReadStream(t.Context(), "customer/a", from, 1)
		if err != nil || len(page) != 1 || page[0].Seq != from {
			t.Fatalf("reading one byte from %d: %d events, %v; want that one", from, len(page), err)
		}
		page, err = ports.Histories.ReadStream(t.Context(), "customer/a", from, 5*size)
		if err != nil || len(page) > 6 || from+3 <= events && len(page) < 2 {
			t.Fatalf("reading %d bytes from %d: %d events of %d bytes, %v", 5*size, from, len(page), size, err)
		}
	}
}

func historiesBytes(t *testing.T, s Subject) {
	ports := s.Connect(t)
	var c chronicle
	c.streams = make(map[domain.StreamID][]domain.Event)
	e := batch(1, domain.Head{}, "writer")
	for place, payload := range []string{`{ "b" : 1, "a":1.50 }`, `null`, `{"text":"\u00e9é\u2028<&>\"\\"}`} {
		c.add(e, place, "customer/a", []byte(payload))
	}
	other := &e.Events[1]
	other.Type, other.SchemaVersion, other.Causation, other.Correlation = "Añy type", 9, "cause", "corr"
	other.Actor, other.Versions = domain.Actor{ID: "agent 7", Role: domain.RoleSupport}, domain.Versions{Policy: 3, Catalogue: "sha", Reference: 1 << 60}
	claim(t, ports.Log, e)
	derive(t, ports.Histories, []domain.Entry{*e})
	sameEvents(t, history(t, ports.Histories, "customer/a", 1, 1<<20), e.Events)
}

func historiesAgain(t *testing.T, s Subject) {
	ports := s.Connect(t)
	var c chronicle
	c.write(t, ports.Log, 1, 12, "customer/a", "customer/b")
	derive(t, ports.Histories, c.entries)
	derive(t, ports.Histories, c.entries)
	derive(t, ports.Histories, c.entries[3:9])
	derive(t, ports.Histories, c.entries[:1])
	expectProgress(t, ports.Histories, 1, 12)
	c.expect(t, ports.Histories)
}

func historiesProgress(t *testing.T, s Subject) {
	skipWithout(t, s.Capabilities.Derives, "be behind its log: its histories are the log")
	ports := s.connect(t, 2)
	var c chronicle
	c.write(t, ports[0].Log, 1, 10, "customer/a", "customer/b")
	expectProgress(t, ports[0].Histories, 1, 0)
	derive(t, ports[0].Histories, c.entries[4:6])
	expectProgress(t, ports[1].Histories, 1, 0)
	derive(t, ports[1].Histories, c.entries[:4])
	expectProgress(t, ports[0].Histories, 1, 4)
	derive(t, ports[0].Histories, c.entries[3:8])
	expectProgress(t, ports[0].Histories, 1, 4)
	derive(t, ports[1].Histories, c.entries[4:])
	expectProgress(t, ports[0].Histories, 1, 10)
	c.expect(t, ports[0].Histories)
}

func historiesRacing(t *testing.T, s Subject) {
	ports := s.connect(t, 3)
	var c chronicle
	c.write(t, ports[0].Log, 1, 60, "customer/a", "customer/b", "customer/c")
	var all sync.WaitGroup
	for i, p := range ports {
		all.Go(func() {
			for from := 0; from < len(c.entries); from += i + 1 {
				if err := p.Histories.Derive(t.Context(), c.entries[from:min(from+i+1, len(c.entries))]); err != nil {
					t.Errorf("deriving from entry %d: %v", from+1, err)
				}
				if got, err := p.Histories.ReadStream(t.Context(), "customer/a", 1, 1<<20); err != nil && !errors.Is(err, command.ErrDiffers) {
					t.Errorf("reading beside it: %d events, %v", len(got), err)
				}
			}
		})
	}
	all.Wait()
	c.expect(t, ports[0].Histories)
	derive(t, ports[0].Histories, c.entries[mustProgress(t, ports[0].Histories):])
	expectProgress(t, ports[0].Histories, 1, 60)
}

func mustProgress(t *testing.T, h command.Histories) uint64 {
	t.Helper()
	p, err := h.Progress(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func historiesHole(t *testing.T, s Subject) {
	skipWithout(t, s.LoseHistory != nil, "lose events of a history on demand")
	ports := s.Connect(t)
	var c chronicle
	c.write(t, ports.Log, 1, 30, "customer/a")
	derive(t, ports.Histories, c.entries)
	s.LoseHistory(t, "customer/a", 5, 7)
	for _, from := range []uint64{1, 4, 5, 6} {
		var err error
		for next := from; err == nil && next < 10; {
			var page []domain.Event
			page, err = ports.Histories.ReadStream(t.Context(), "customer/a", next, 1)
			if len(page) == 0 {
				break
			}
			next = page[len(page)-1].Seq + 1
		}
		if !errors.Is(err, command.ErrDiffers) {
			t.Errorf("reading over the hole from %d: %v, want ErrDiffers", from, err)
		}
	}
	derive(t, ports.Histories, c.entries)
	c.expect(t, ports.Histories)
}

func historiesReopened(t *testing.T, s Subject) {
	skipWithout(t, s.Reopen != nil, "be opened again")
	ports := s.Connect(t)
	var c chronicle
	c.write(t, ports.Log, 1, 20, "customer/a", "customer/b")
	derive(t, ports.Histories, c.entries)
	h := s.Reopen(t).Histories
	expectProgress(t, h, 1, 20)
	c.expect(t, h)
}

// Snapshots tests the contract of command.Snapshots: the newest comes back bit for bit, saving replaces, and a stream
// without one has none.
func Snapshots(t *testing.T, factory Factory) {
	tests := []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"a stream without a snapshot has none", snapshotsNone},
		{"what was saved comes back bit for bit, to every process", snapshotsBytes},
		{"saving replaces, stream by stream", snapshotsReplace},
		{"processes may save and load at once", snapshotsRacing},
		{"they may be lost", snapshotsLost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, factory(t))
		})
	}
}

func snapshot(stream domain.StreamID, seq uint64, data []byte) command.Snapshot {
	return command.Snapshot{
		Stream: stream, Seq: seq, Position: domain.Position{Shard: 1, Index: seq * 3, Place: int(seq % 7)}, FoldVersion: 4, Data: data,
	}
}

func save(t *testing.T, s command.Snapshots, snapshots ...command.Snapshot) {
	t.Helper()
	if err := s.SaveSnapshots(t.Context(), snapshots); err != nil {
		t.Fatalf("saving %d snapshots: %v", len(snapshots), err)
	}
}

func expectSnapshot(t *testing.T, s command.Snapshots, want command.Snapshot) {
	t.Helper()
	got, ok, err := s.LoadSnapshot(t.Context(), want.Stream)
	if err != nil || !ok {
		t.Fatalf("loading the snapshot of %s: %v, %v", want.Stream, ok, err)
	}
	same := bytes.Equal(got.Data, want.Data)
	got.Data, want.Data = nil, nil
	if diff := cmp.Diff(want, got); diff != "" || !same {
		t.Fatalf("the snapshot of %s differs (same data: %v):\n%s", want.Stream, same, diff)
	}
}

func snapshotsNone(t *testing.T, s Subject) {
	snapshots := s.Connect(t).Snapshots
	save(t, snapshots)
	save(t, snapshots, snapshot("customer/a", 1, []byte("a")))
	if got, ok, err := snapshots.LoadSnapshot(t.Context(), "customer/b"); ok || err != nil {
		t.Fatalf("a snapshot that nobody saved: %+v, %v", got, err)
	}
}

func snapshotsBytes(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	var every []byte
	for i := range 256 {
		every = append(every, byte(i))
	}
	saved := []command.Snapshot{
		snapshot("customer/a", 1, every), snapshot("customer/~._:@-Z", 1<<40, bytes.Repeat(every, 4096)),
		snapshot("title/t", 3, []byte{0}), snapshot("customer/é", 9, noise(1000)),
	}
	save(t, ports[0].Snapshots, saved...)
	for _, p := range ports {
		for _, want := range saved {
			expectSnapshot(t, p.Snapshots, want)
		}
	}
	if s.Reopen != nil {
		p := s.Reopen(t)
		for _, want := range saved {
			expectSnapshot(t, p.Snapshots, want)
		}
	}
}

func snapshotsReplace(t *testing.T, s Subject) {
	snapshots := s.Connect(t).Snapshots
	save(t, snapshots, snapshot("customer/a", 10, []byte("ten")), snapshot("customer/b", 20, []byte("twenty")))
	save(t, snapshots, snapshot("customer/a", 11, []byte("eleven")))
	expectSnapshot(t, snapshots, snapshot("customer/a", 11, []byte("eleven")))
	expectSnapshot(t, snapshots, snapshot("customer/b", 20, []byte("twenty")))
}

func snapshotsRacing(t *testing.T, s Subject) {
	ports := s.connect(t, 3)
	var all sync.WaitGroup
	for i, p := range ports {
		all.Go(func() {
			for seq := uint64(1); seq <= 20; seq++ {
				data := fmt.Appendf(nil, `{"seq":%d,"by":%d}`, seq, i)
				if err := p.Snapshots.SaveSnapshots(t.Context(), []command.Snapshot{snapshot("customer/a", seq, data), snapshot("customer/b", seq, data)}); err != nil {
					t.Errorf("saving: %v", err)
				}
				got, ok, err := p.Snapshots.LoadSnapshot(t.Context(), "customer/a")
				var read struct{ Seq uint64 }
				if err != nil || !ok || json.Unmarshal(got.Data, &read) != nil || read.Seq != got.Seq {
					t.Errorf("a snapshot of seq %d holds %s (%v)", got.Seq, got.Data, err)
				}
			}
		})
	}
	all.Wait()
}

func snapshotsLost(t *testing.T, s Subject) {
	skipWithout(t, s.LoseSnapshots != nil, "lose its snapshots on demand")
	snapshots := s.Connect(t).Snapshots
	save(t, snapshots, snapshot("customer/a", 1, []byte("a")))
	s.LoseSnapshots(t)
	if _, ok, err := snapshots.LoadSnapshot(t.Context(), "customer/a"); ok || err != nil {
		t.Fatalf("a lost snapshot: %v, %v", ok, err)
	}
	save(t, snapshots, snapshot("customer/a", 2, []byte("b")))
	expectSnapshot(t, snapshots, snapshot("customer/a", 2, []byte("b")))
}
