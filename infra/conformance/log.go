package conformance

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carryon/command"
	"carryon/domain"
)

// Log tests the contract of command.Log: of racing claims of an entry exactly one wins; what a claim answered is visible
// to every later read; reads are contiguous, in order, paged by bytes, and end at the tail; bytes come back bit for bit;
// a repeated claim is recognised; a store that forgot its tail refuses the next claim.
func Log(t *testing.T, factory Factory) {
	tests := []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"an empty log has no head and nothing to read", logEmpty},
		{"what was claimed is visible at once, to every process", logVisible},
		{"every field and byte comes back as it was", logBytes},
		{"pages are contiguous, bounded by bytes, and end at the tail", logPages},
		{"a claim of an entry that another batch has is taken, and names the head", logTaken},
		{"a claim after a gap or after another predecessor writes nothing", logGap},
		{"a repeated claim gives the first result, even after later entries", logRepeated},
		{"shards know nothing of each other", logShards},
		{"of racing claims exactly one wins, and the log is linearizable", logRacing},
		{"readers beside writers see prefixes of one log", logReadersBesideWriters},
		{"an entry of a megabyte, and one of 256 events, is taken or clearly refused", logLarge},
		{"a call ends with its context, and a claim that it ended can be claimed again", logContext},
		{"everything is there after a restart", logReopened},
		{"a store that forgot its tail refuses the next claim", logForgotten},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, factory(t))
		})
	}
}

// batch makes the entry after a head, with one event for each stream.
func batch(shard int, after domain.Head, writer string, streams ...domain.StreamID) *domain.Entry {
	e := &domain.Entry{
		Shard: shard, Index: after.Index + 1, ID: randomID(), PreviousID: after.ID, Writer: writer,
		RecordedAt: time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC).Add(time.Duration(after.Index) * time.Millisecond),
	}
	for i, stream := range streams {
		e.Events = append(e.Events, event(e, i, stream, 1, fmt.Appendf(nil, `{"entry":%d,"place":%d}`, e.Index, i)))
	}
	return e
}

func event(e *domain.Entry, place int, stream domain.StreamID, seq uint64, payload []byte) domain.Event {
	command := fmt.Sprintf("%s-%d", e.ID, place)
	return domain.Event{
		ID: domain.EventID(command, 0), Stream: stream, Seq: seq,
		Position: domain.Position{Shard: e.Shard, Index: e.Index, Place: place},
		Type:     "Added", SchemaVersion: 1, OccurredAt: e.RecordedAt.Add(-time.Hour), RecordedAt: e.RecordedAt,
		CommandID: command, RequestHash: "hash", Actor: domain.Actor{ID: "device-1", Role: domain.RoleDevice}, Payload: payload,
	}
}

func randomID() (id domain.BatchID) {
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}

func headOf(e *domain.Entry) domain.Head {
	return domain.Head{Index: e.Index, ID: e.ID, Writer: e.Writer}
}

// claim claims and expects to be applied.
func claim(t *testing.T, log command.Log, e *domain.Entry) domain.Head {
	t.Helper()
	got, err := log.Claim(t.Context(), e)
	if err != nil || !got.Applied {
		t.Fatalf("claiming entry %d of shard %d: %+v, %v; want it applied", e.Index, e.Shard, got, err)
	}
	return headOf(e)
}

// fillLog claims some entries and returns them.
func fillLog(t *testing.T, log command.Log, shard, entries int) []domain.Entry {
	t.Helper()
	var all []domain.Entry
	var head domain.Head
	for i := range entries {
		e := batch(shard, head, "writer", domain.CustomerStream(fmt.Sprintf("c-%d-%d", shard, i)))
		head = claim(t, log, e)
		all = append(all, *e)
	}
	return all
}

// readAll reads a shard to its tail.
func readAll(t *testing.T, log command.Log, shard, maxBytes int) []domain.Entry {
	t.Helper()
	var all []domain.Entry
	for {
		page, err := log.Read(t.Context(), shard, uint64(len(all))+1, maxBytes)
		if err != nil {
			t.Fatalf("reading shard %d from %d: %v", shard, len(all)+1, err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// sameRecord compares what is recorded: payloads as bytes.
var sameRecord = cmp.Options{
	cmpopts.IgnoreUnexported(domain.Event{}), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }),
}

func sameEntries(t *testing.T, got, want []domain.Entry) {
	t.Helper()
	if diff := cmp.Diff(want, got, sameRecord...); diff != "" {
		t.Fatalf("entries differ (- want, + got):\n%s", diff)
	}
}

func expectHead(t *testing.T, log command.Log, shard int, want domain.Head) {
	t.Helper()
	if got, err := log.Head(t.Context(), shard); err != nil || got != want {
		t.Fatalf("the head of shard %d is %+v (%v), want %+v", shard, got, err, want)
	}
}

func logEmpty(t *testing.T, s Subject) {
	log := s.Connect(t).Log
	expectHead(t, log, 1, domain.Head{})
	for _, from := range []uint64{1, 2, 1000} {
		if got, err := log.Read(t.Context(), 1, from, 1<<20); err != nil || len(got) != 0 {
			t.Fatalf("reading an empty log from %d: %d entries, %v", from, len(got), err)
		}
	}
}

func logVisible(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	here, there := ports[0].Log, ports[1].Log
	var head domain.Head
	for i := range 20 {
		e := batch(1, head, fmt.Sprintf("writer-%d", i%2), "customer/a", "customer/b")
		for j := range e.Events {
			e.Events[j].Seq = e.Index
		}
		head = claim(t, []command.Log{here, there}[i%2], e)
		for _, log := range []command.Log{here, there} {
			expectHead(t, log, 1, head)
			got, err := log.Read(t.Context(), 1, e.Index, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			sameEntries(t, got, []domain.Entry{*e})
		}
	}
}

func logBytes(t *testing.T, s Subject) {
	log := s.Connect(t).Log
	payloads := []string{
		`{}`, `{"b":1,"a":2}`, `{ "spaces" :  true }`, `{"number":1.50000000000000000001e+03,"big":123456789012345678901234567890}`,
		`{"text":"\u00e9é\u2028<&>\"\\","zero":"\u0000"}`, `[1,[2,[3]]]`, `null`, `"just text"`,
	}
	head := domain.Head{}
	var want []domain.Entry
	for i, payload := range payloads {
		e := batch(1, head, "writer é/1", "customer/a", "customer/~._:@-Z")
		e.RecordedAt = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC).Add(time.Duration(i) * time.Microsecond)
		for j := range e.Events {
			e.Events[j].Seq = uint64(i) + 1
			e.Events[j].RecordedAt = e.RecordedAt
		}
		e.Events[0] = domain.Event{
			ID: fmt.Sprintf("evt-%d", i), Stream: "customer/a", Seq: uint64(i) + 1,
			Position: domain.Position{Shard: 1, Index: e.Index, Place: 0}, Previous: previousOf(want, 0),
			Type: "Añy type", SchemaVersion: 7, OccurredAt: time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC), RecordedAt: e.RecordedAt,
			CommandID: "01890a5d-ac96-774b-bcce-b302099a8057", RequestHash: "h\"é", Correlation: "corr", Causation: "cause",
			Actor:    domain.Actor{ID: "agent 7", Role: domain.RoleSupport},
			Versions: domain.Versions{Policy: 3, Plan: 2, DeviceTypes: 1, Catalogue: "sha", Reference: 1 << 60}, Payload: []byte(payload),
		}
		e.Events[1].Previous = previousOf(want, 1)
		head = claim(t, log, e)
		want = append(want, *e)
	}
	sameEntries(t, readAll(t, log, 1, 1<<20), want)
}

// previousOf is the position of the event at a place of the last entry.
func previousOf(entries []domain.Entry, place int) domain.Position {
	if len(entries) == 0 {
		return domain.Position{}
	}
	return entries[len(entries)-1].Events[place].Position
}

// noise is a payload that can't be compressed to much less.
func noise(bytes int) []byte {
	raw := make([]byte, bytes*3/4)
	for i := range raw {
		raw[i] = byte(rand.Uint32())
	}
	return append(append([]byte{'"'}, base64.RawStdEncoding.EncodeToString(raw)...), '"')
}

func logPages(t *testing.T, s Subject) {
	log := s.Connect(t).Log
	const entries, size = 30, 4000
	var head domain.Head
	var want []domain.Entry
	for i := range entries {
		e := batch(1, head, "writer")
		e.Events = []domain.Event{event(e, 0, "customer/a", uint64(i)+1, noise(size))}
		e.Events[0].Previous = previousOf(want, 0)
		head = claim(t, log, e)
		want = append(want, *e)
	}
	for _, maxBytes := range []int{1, size, 3*size + size/2, 10 * size, 1 << 30} {
		sameEntries(t, readAll(t, log, 1, maxBytes), want)
	}
	for _, from := range []uint64{1, 7, entries} {
		page, err := log.Read(t.Context(), 1, from, 1)
		if err != nil || len(page) != 1 || page[0].Index != from {
			t.Fatalf("reading one byte from %d: %d entries, %v; want that one entry", from, len(page), err)
		}
		page, err = log.Read(t.Context(), 1, from, 5*size)
		if err != nil || len(page) > 6 || from+3 <= entries && len(page) < 2 {
			t.Fatalf("reading %d bytes from %d: %d entries of %d bytes, %v", 5*size, from, len(page), size, err)
		}
	}
	if page, err := log.Read(t.Context(), 1, entries+1, 1<<20); err != nil || len(page) != 0 {
		t.Fatalf("reading after the tail: %d entries, %v", len(page), err)
	}
}

func logTaken(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	here, there := ports[0].Log, ports[1].Log
	first := batch(1, domain.Head{}, "winner", "customer/a")
	head := claim(t, here, first)
	for range 2 {
		got, err := there.Claim(t.Context(), batch(1, domain.Head{}, "loser", "customer/b"))
		if err != nil || got.Applied || got.Head != head {
			t.Fatalf("claiming a taken entry: %+v, %v; want the head %+v", got, err, head)
		}
		head = claim(t, here, batch(1, head, "winner", "customer/c"))
	}
	expectHead(t, there, 1, head)
}

func logGap(t *testing.T, s Subject) {
	log := s.Connect(t).Log
	entries := fillLog(t, log, 1, 3)
	head := headOf(&entries[2])
	for name, e := range map[string]*domain.Entry{
		"after a gap":               batch(1, domain.Head{Index: 5, ID: randomID()}, "w", "customer/x"),
		"after another predecessor": batch(1, domain.Head{Index: 3, ID: randomID()}, "w", "customer/x"),
		"after no predecessor":      batch(1, domain.Head{Index: 3}, "w", "customer/x"),
		"after the one before":      batch(1, domain.Head{Index: 3, ID: entries[1].ID}, "w", "customer/x"),
	} {
		got, err := log.Claim(t.Context(), e)
		if errors.Is(err, command.ErrUnknown) || err == nil && (got.Applied || got.Head != head) {
			t.Errorf("%s: %+v, %v; want it refused, with the head %+v or an error", name, got, err, head)
		}
		expectHead(t, log, 1, head)
	}
	sameEntries(t, readAll(t, log, 1, 1<<20), entries)
}

func logRepeated(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	winner := batch(1, domain.Head{}, "winner", "customer/a")
	loser := batch(1, domain.Head{}, "loser", "customer/b")
	head := claim(t, ports[0].Log, winner)
	again := func(when string) {
		t.Helper()
		for _, p := range ports {
			if got, err := p.Log.Claim(t.Context(), winner); err != nil || !got.Applied {
				t.Fatalf("repeating the winner %s: %+v, %v; want applied", when, got, err)
			}
			if got, err := p.Log.Claim(t.Context(), loser); err != nil || got.Applied {
				t.Fatalf("repeating the loser %s: %+v, %v; want taken", when, got, err)
			}
		}
	}
	again("at once")
	for range 300 { // more than one bucket of a store that has buckets
		head = claim(t, ports[1].Log, batch(1, head, "later", "customer/c"))
	}
	again("after later entries")
	expectHead(t, ports[0].Log, 1, head)
	if got := readAll(t, ports[0].Log, 1, 1<<20); len(got) != 301 || got[0].ID != winner.ID {
		t.Fatalf("%d entries, the first is %s; want 301, and %s first", len(got), got[0].ID, winner.ID)
	}
}

func logShards(t *testing.T, s Subject) {
	log := s.Connect(t).Log
	reference, customers := fillLog(t, log, domain.ReferenceShard, 3), fillLog(t, log, 1, 5)
	sameEntries(t, readAll(t, log, domain.ReferenceShard, 1<<20), reference)
	sameEntries(t, readAll(t, log, 1, 1<<20), customers)
	expectHead(t, log, domain.ReferenceShard, headOf(&reference[2]))
}

func logLarge(t *testing.T, s Subject) {
	log := s.Connect(t).Log
	var head domain.Head
	try := func(what string, events, size int) {
		t.Helper()
		e := batch(1, head, "writer")
		for i := range events {
			e.Events = append(e.Events, event(e, i, domain.StreamID(fmt.Sprintf("customer/%d-%d", e.Index, i)), 1, noise(size)))
		}
		got, err := log.Claim(t.Context(), e)
		if limit := s.Capabilities.MaxEntryBytes; limit > 0 && events*size > limit {
			if !errors.Is(err, command.ErrTooLarge) {
				t.Fatalf("%s: %+v, %v; want ErrTooLarge", what, got, err)
			}
			expectHead(t, log, 1, head)
			return
		}
		if err != nil || !got.Applied {
			t.Fatalf("%s: %+v, %v", what, got, err)
		}
		head = headOf(e)
		page, err := log.Read(t.Context(), 1, e.Index, 1)
		if err != nil {
			t.Fatal(err)
		}
		sameEntries(t, page, []domain.Entry{*e})
	}
	try("one event of the largest size", 1, command.MaxEventBytes-4)
	try("256 small events", command.MaxCommandEvents, 100)
	try("the largest command", 4, command.MaxEventBytes-4)
	try("no events at all", 0, 0)
}

func logContext(t *testing.T, s Subject) {
	log := s.Connect(t).Log
	entries := fillLog(t, log, 1, 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := log.Head(ended, 1); err == nil {
		t.Error("Head answered after its context had ended")
	}
	if _, err := log.Read(ended, 1, 1, 1<<20); err == nil {
		t.Error("Read answered after its context had ended")
	}
	e := batch(1, headOf(&entries[0]), "writer", "customer/x")
	if got, err := log.Claim(ended, e); err == nil {
		t.Errorf("Claim answered %+v after its context had ended", got)
	}
	claim(t, log, e)
	sameEntries(t, readAll(t, log, 1, 1<<20), append(entries, *e))
}

func logReopened(t *testing.T, s Subject) {
	skipWithout(t, s.Reopen != nil, "be opened again")
	log := s.Connect(t).Log
	entries := fillLog(t, log, 1, 10)
	log = s.Reopen(t).Log
	sameEntries(t, readAll(t, log, 1, 1<<20), entries)
	last := entries[9]
	if got, err := log.Claim(t.Context(), &last); err != nil || !got.Applied {
		t.Fatalf("repeating the last claim after a restart: %+v, %v; want applied", got, err)
	}
	claim(t, log, batch(1, headOf(&last), "writer", "customer/x"))
}

func logForgotten(t *testing.T, s Subject) {
	skipWithout(t, s.Forget != nil, "forget its tail on demand")
	log := s.Connect(t).Log
	entries := fillLog(t, log, 1, 5)
	s.Forget(t, 1, 2)
	got, err := log.Claim(t.Context(), batch(1, headOf(&entries[4]), "writer", "customer/x"))
	if errors.Is(err, command.ErrUnknown) || err == nil && (got.Applied || got.Head.Index >= 5) {
		t.Fatalf("claiming after what was forgotten: %+v, %v; want it refused with the head that is left, or an error", got, err)
	}
	sameEntries(t, readAll(t, log, 1, 1<<20), entries[:3])
}

func logReadersBesideWriters(t *testing.T, s Subject) {
	const entries = 150
	ports := s.connect(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for i := range 2 {
		readers.Go(func() {
			log := ports[i].Log
			var known []domain.Entry
			for ctx.Err() == nil && len(known) < entries {
				head, err := log.Head(t.Context(), 1)
				if err != nil {
					t.Errorf("reading the head: %v", err)
					return
				}
				page, err := log.Read(t.Context(), 1, uint64(len(known))+1, 2000)
				if err != nil {
					t.Errorf("reading from %d: %v", len(known)+1, err)
					return
				}
				if len(page) == 0 && head.Index > uint64(len(known)) {
					t.Errorf("nothing to read from %d, although the head was at %d", len(known)+1, head.Index)
					return
				}
				for _, e := range page {
					var before domain.BatchID
					if len(known) > 0 {
						before = known[len(known)-1].ID
					}
					if e.Index != uint64(len(known))+1 || e.PreviousID != before {
						t.Errorf("entry %d after %s follows entry %d, %s", e.Index, e.PreviousID, len(known), before)
						return
					}
					known = append(known, e)
				}
			}
		})
	}
	var head domain.Head
	for i := range entries {
		head = claim(t, ports[i%2].Log, batch(1, head, "writer", "customer/a", "customer/b", "customer/c"))
	}
	defer cancel()
	readers.Wait()
}

// The operations of the racing test, and what they answered.
type (
	logInput struct {
		op    string // claim, head, read
		entry *domain.Entry
		from  uint64
	}
	logOutput struct {
		claimed command.Claimed
		head    domain.Head
		ids     string // of the entries read
	}
)

// logModel is what a log should do: its state is the ids of its entries, one after the other.
var logModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		log, in, out := state.(string), input.(logInput), output.(logOutput)
		length := uint64(len(log) / 32)
		switch in.op {
		case "head":
			return out.head.Index == length && (length == 0 || out.head.ID.String() == log[len(log)-32:]), log
		case "read":
			from := min((in.from-1)*32, uint64(len(log)))
			return out.ids == log[from:], log
		}
		id := in.entry.ID.String()
		before := domain.BatchID{}.String()
		if length > 0 {
			before = log[len(log)-32:]
		}
		recognised := in.entry.Index <= length && log[(in.entry.Index-1)*32:in.entry.Index*32] == id
		fits := in.entry.Index == length+1 && in.entry.PreviousID.String() == before
		switch {
		case recognised:
			return out.claimed.Applied, log
		case fits:
			return out.claimed.Applied, log + id
		default:
			return !out.claimed.Applied && out.claimed.Head.Index == length && (length == 0 || out.claimed.Head.ID.String() == before), log
		}
	},
}

// logRacing lets processes claim, repeat and read one shard, and searches for an order in which one log at a time could
// have answered so. Histories are short: the search grows fast.
func logRacing(t *testing.T, s Subject) {
	const processes, rounds, shards = 4, 4, 6
	ports := s.connect(t, processes)
	for shard := 1; shard <= shards; shard++ {
		if shard > 1 && s.Capabilities.shardsOf() < shard {
			break
		}
		var mu sync.Mutex
		var history []porcupine.Operation
		var wins int
		begin := time.Now()
		var all sync.WaitGroup
		for p := range processes {
			all.Go(func() {
				run := func(in logInput, f func() (logOutput, error)) (logOutput, bool) {
					call := time.Since(begin).Nanoseconds()
					out, err := f()
					if err != nil {
						t.Errorf("%s by process %d: %v", in.op, p, err)
						return out, false
					}
					mu.Lock()
					defer mu.Unlock()
					history = append(history, porcupine.Operation{ClientId: p, Input: in, Call: call, Output: out, Return: time.Since(begin).Nanoseconds()})
					return out, true
				}
				log := ports[p].Log
				for range rounds {
					head, ok := run(logInput{op: "head"}, func() (logOutput, error) {
						h, err := log.Head(t.Context(), shard)
						return logOutput{head: h}, err
					})
					if !ok {
						return
					}
					e := batch(shard, head.head, fmt.Sprint("process ", p), "customer/a")
					for range 2 { // and once more: it must be recognised
						got, ok := run(logInput{op: "claim", entry: e}, func() (logOutput, error) {
							c, err := log.Claim(t.Context(), e)
							return logOutput{claimed: c}, err
						})
						if !ok {
							return
						}
						if got.claimed.Applied {
							mu.Lock()
							wins++
							mu.Unlock()
						}
					}
					if _, ok := run(logInput{op: "read", from: e.Index}, func() (logOutput, error) {
						page, err := log.Read(t.Context(), shard, e.Index, 1<<20)
						var ids string
						for _, entry := range page {
							ids += entry.ID.String()
						}
						return logOutput{ids: ids}, err
					}); !ok {
						return
					}
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		if result := porcupine.CheckOperationsTimeout(logModel, history, 20*time.Second); result != porcupine.Ok {
			for _, op := range history {
				t.Logf("process %d [%d, %d] %+v → %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
			}
			t.Fatalf("shard %d: linearizable? %s", shard, result)
		}
		if got := len(readAll(t, ports[0].Log, shard, 1<<20)); wins != 2*got {
			t.Fatalf("shard %d: %d claims were applied (each was made twice), the log has %d entries", shard, wins, got)
		}
	}
}
