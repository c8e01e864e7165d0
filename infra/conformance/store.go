package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carryon/command"
	"carryon/domain"
)

// Store tests the shard writer over a store, as a whole: whatever processes do at once, whatever answers are lost and
// whoever crashes, what was answered is in the log once and for good, and what was refused is not.
func Store(t *testing.T, factory Factory) {
	tests := []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"a command's events are recorded together, and are the answer", storeRecords},
		{"commands of one batch build on each other", storeBatch},
		{"a stale version writes nothing, and a repeated command is found before its version is looked at", storeVersions},
		{"the same command id gets the first result: from any process, after any crash", storeRepeats},
		{"the same command id with another body is a conflict", storeConflicts},
		{"a refusal is recorded once and answers its equals until something else happens", storeRefusals},
		{"dry runs and reads write nothing and see everything", storeDryRuns},
		{"the largest commands are recorded whole, larger ones are refused whole", storeLimits},
		{"more than a batch holds goes into several", storeSplits},
		{"two processes on one shard leave no hole and lose nothing", storeTwoWriters},
		{"unknown never comes back as a failure that was written", storeUnknown},
		{"a caller whose deadline passes is told that the outcome is unknown, and learns it by asking again", storeDeadline},
		{"closing settles what is in flight and refuses what waits", storeClose},
		{"with snapshots, loading costs the same for a long history as for a short one", storeLoading},
		{"snapshots may vanish at any time", storeWithoutSnapshots},
		{"a hole in a history is filled from the log", storeHole},
		{"a process stops when the log has forgotten its tail", storeForgotten},
		{"recorded_at never decreases, whatever the clocks say", storeClocks},
		{"everything is there after a restart", storeRestart},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, factory(t))
		})
	}
}

const alice, bob domain.StreamID = "customer/alice", "customer/bob"

func storeRecords(t *testing.T, s Subject) {
	ports := s.Connect(t)
	p := start(t, "one", ports)
	id := newID()
	r := p.must(t, alice, id, Add{Amount: 2, Events: 3})
	if r.Version != 3 || len(r.Events) != 3 || r.Repeated || r.Position != r.Events[2].Position || r.Position.Index != 1 {
		t.Fatalf("the first result: %+v", r)
	}
	recorded := audit(t, ports.Log, 1)[id]
	sameEvents(t, r.Events, recorded)
	for n, e := range recorded {
		want := domain.Event{
			ID: domain.EventID(string(alice)+"/"+id, n), Stream: alice, Seq: uint64(n) + 1, Position: e.Position, Previous: e.Previous, Type: "Added", SchemaVersion: 1,
			OccurredAt: e.RecordedAt, RecordedAt: e.RecordedAt, CommandID: id, RequestHash: "2/3/0", Actor: domain.Actor{ID: "test", Role: domain.RoleService},
			Versions: NoReference{}.Versions(e.RecordedAt), Payload: []byte(`{"amount":2}`),
		}
		sameEvents(t, []domain.Event{e}, []domain.Event{want})
	}
	if sum, seq := p.sum(t, alice); sum != 6 || seq != 3 {
		t.Fatalf("the sum is %d at %d", sum, seq)
	}
	if r := p.must(t, alice, newID(), Add{}); len(r.Events) != 0 || r.Version != 3 || r.Position != (domain.Position{}) {
		t.Fatalf("a command that changes nothing: %+v", r)
	}
}

func storeBatch(t *testing.T, s Subject) {
	ports := s.Connect(t)
	p := start(t, "one", ports)
	p.must(t, bob, newID(), Add{Amount: 1})
	release := p.wire.hold()
	var all sync.WaitGroup
	results := make([]command.Result, 40)
	for i := range results {
		all.Go(func() { results[i] = p.must(t, []domain.StreamID{alice, bob}[i%2], newID(), Add{Amount: 1}) })
	}
	p.waiting(t, len(results))
	release()
	all.Wait()
	seqs := map[domain.StreamID][]uint64{}
	for _, r := range results {
		seqs[r.Stream] = append(seqs[r.Stream], r.Version)
	}
	for stream, got := range seqs {
		slices.Sort(got)
		for i := range got {
			if want := got[0] + uint64(i); got[i] != want {
				t.Fatalf("versions of %s: %v", stream, got)
			}
		}
	}
	audit(t, ports.Log, 1)
	if entries := readAll(t, ports.Log, 1, 1<<20); len(entries) > 4 {
		t.Fatalf("%d entries for commands that waited together", len(entries))
	}
}

func storeVersions(t *testing.T, s Subject) {
	ports := s.Connect(t)
	p := start(t, "one", ports)
	at := func(version uint64, id string) (command.Result, error) {
		sub := submission(alice, id, Add{Amount: 1})
		sub.Meta.IfMatch = &version
		return p.Submit(t.Context(), sub)
	}
	first := newID()
	if r, err := at(0, first); err != nil || r.Version != 1 {
		t.Fatalf("If-Match 0 on a new stream: %+v, %v", r, err)
	}
	for _, stale := range []uint64{0, 2, 1 << 60} {
		id := newID()
		_, err := at(stale, id)
		var conflict *command.VersionConflictError
		if !errors.Is(err, command.ErrVersionConflict) || !errors.As(err, &conflict) || conflict.Actual != 1 || conflict.Expected != stale {
			t.Fatalf("If-Match %d at version 1: %v", stale, err)
		}
		if len(audit(t, ports.Log, 1)[id]) != 0 {
			t.Fatal("a stale If-Match wrote something")
		}
	}
	if r, err := at(0, first); err != nil || r.Version != 1 || !r.Repeated {
		t.Fatalf("repeated with the version it had: %+v, %v", r, err)
	}
	if r, err := at(1, newID()); err != nil || r.Version != 2 {
		t.Fatalf("If-Match 1 at version 1: %+v, %v", r, err)
	}
}

// sameAnswer compares answers but for whether they were given before.
func sameAnswer(t *testing.T, got, want command.Result) {
	t.Helper()
	if !got.Repeated {
		t.Errorf("the answer to a repeated command does not say so: %+v", got)
	}
	got.Repeated, want.Repeated = false, false
	if diff := cmp.Diff(want, got, sameRecord...); diff != "" {
		t.Fatalf("another answer to the same command (- first, + now):\n%s", diff)
	}
}

func storeRepeats(t *testing.T, s Subject) {
	ports := s.connect(t, 4)
	one, two := start(t, "one", ports[0]), start(t, "two", ports[1])
	id := newID()
	first := one.must(t, alice, id, Add{Amount: 5, Events: 2})
	again := func(p *process) {
		t.Helper()
		sameAnswer(t, p.must(t, alice, id, Add{Amount: 5, Events: 2}), first)
	}
	again(one)
	again(two)
	for range 10 {
		two.must(t, alice, newID(), Add{Amount: 1})
		one.must(t, alice, newID(), Add{Amount: 1})
	}
	again(one)
	again(two)

	// The claim is applied, and the process crashes before anyone is told.
	lost := newID()
	applied := make(chan struct{})
	cut := sync.OnceFunc(func() { one.wire.sever(); close(applied) })
	one.wire.set(func(w *wire) {
		w.onClaim = func(_ context.Context, e *domain.Entry) damage {
			if _, err := w.ports.Log.Claim(context.Background(), e); err == nil && e.Events[0].CommandID == lost {
				cut()
			}
			return loseAnswer
		}
	})
	var all sync.WaitGroup
	all.Go(func() {
		if r, err := one.give(t.Context(), alice, lost, Add{Amount: 7}); err == nil {
			t.Errorf("a crashed process answered %+v", r)
		}
	})
	<-applied
	one.crash()
	all.Wait()
	three := start(t, "three", ports[2])
	r := three.must(t, alice, lost, Add{Amount: 7})
	if !r.Repeated || len(audit(t, ports[2].Log, 1)[lost]) != 1 {
		t.Fatalf("repeated after a crash: %+v", r)
	}
	again(three)
	two.crash()
	four := start(t, "four", ports[3])
	sameAnswer(t, four.must(t, alice, lost, Add{Amount: 7}), r)
	if sum, _ := four.sum(t, alice); sum != 2*5+20+7 {
		t.Fatalf("the sum is %d", sum)
	}
}

func storeConflicts(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	one, two := start(t, "one", ports[0]), start(t, "two", ports[1])
	id := newID()
	one.must(t, alice, id, Add{Amount: 5})
	for _, p := range []*process{one, two} {
		if r, err := p.give(t.Context(), alice, id, Add{Amount: 6}); !errors.Is(err, command.ErrIdempotencyConflict) {
			t.Fatalf("the same id with another body: %+v, %v", r, err)
		}
	}
	release := one.wire.hold()
	var all sync.WaitGroup
	one.giveAsync(t, &all, bob, newID(), Add{Amount: 1}) // in flight, so that the next ones wait together
	one.claiming(t)
	same := newID()
	var errs [2]error
	for i := range errs {
		all.Go(func() { _, errs[i] = one.give(t.Context(), bob, same, Add{Amount: int64(10 + i)}) })
	}
	one.waiting(t, 3)
	release()
	all.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[:]...), command.ErrIdempotencyConflict) {
		t.Fatalf("the same id with two bodies at once: %v", errs)
	}
}

func storeRefusals(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	one, two := start(t, "one", ports[0]), start(t, "two", ports[1])
	id := newID()
	first := one.must(t, alice, id, Add{Amount: -1})
	if !first.Refused() || len(first.Events) != 1 || first.Version != 1 {
		t.Fatalf("a refusal: %+v", first)
	}
	for _, p := range []*process{one, two} {
		r := p.must(t, alice, newID(), Add{Amount: -1})
		if !r.Repeated || len(r.Events) != 0 || r.Version != 1 || r.Position != first.Position || r.Decision.ID != first.Decision.ID {
			t.Fatalf("an equal refusal: %+v", r)
		}
		sameAnswer(t, p.must(t, alice, id, Add{Amount: -1}), first)
	}
	two.must(t, alice, newID(), Add{Amount: 1})
	if r := one.must(t, alice, newID(), Add{Amount: -2}); r.Repeated || r.Version != 3 || r.Decision.CustomerVersion != 2 {
		t.Fatalf("a refusal after something happened: %+v", r)
	}
	if got := len(audit(t, ports[0].Log, 1)); got != 3 {
		t.Fatalf("%d commands were recorded, want 3", got)
	}
}

func storeDryRuns(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	one, two := start(t, "one", ports[0]), start(t, "two", ports[1])
	for i := range 5 {
		one.must(t, alice, newID(), Add{Amount: 2})
		if sum, seq := two.sum(t, alice); sum != int64(2*i+2) || seq != uint64(i+1) {
			t.Fatalf("after %d commands of another process, the sum is %d at %d", i+1, sum, seq)
		}
	}
	for _, amount := range []int64{3, -100} {
		sub := submission(alice, newID(), Add{Amount: amount})
		sub.Kind = command.KindDryRun
		r, err := two.Submit(t.Context(), sub)
		if err != nil || len(r.Events) != 0 || r.Version != 5 || r.Refused() != (amount < 0) {
			t.Fatalf("a dry run of %d: %+v, %v", amount, r, err)
		}
	}
	if got := len(readAll(t, ports[0].Log, 1, 1<<20)); got != 5 {
		t.Fatalf("%d entries, want 5", got)
	}
}

func storeLimits(t *testing.T, s Subject) {
	ports := s.Connect(t)
	p := start(t, "one", ports)
	const frame = len(`{"amount":1,"filler":""}`)
	for _, tt := range []struct {
		name string
		add  Add
		ok   bool
	}{
		{"an event of 256 KiB", Add{Amount: 1, Filler: filler(command.MaxEventBytes - frame)}, true},
		{"an event of 256 KiB and a byte", Add{Amount: 1, Filler: filler(command.MaxEventBytes - frame + 1)}, false},
		{"256 events", Add{Amount: 1, Events: command.MaxCommandEvents}, true},
		{"257 events", Add{Amount: 1, Events: command.MaxCommandEvents + 1}, false},
		{"a command of 1 MiB", Add{Amount: 1, Events: 4, Filler: filler(command.MaxEventBytes - frame)}, true},
		{"a command of more", Add{Amount: 1, Events: 5, Filler: filler(command.MaxEventBytes - frame)}, false},
	} {
		_, before := p.sum(t, alice)
		id := newID()
		r, err := p.give(t.Context(), alice, id, tt.add)
		want := tt.ok && (s.Capabilities.MaxEntryBytes == 0 || max(1, tt.add.Events)*(frame+len(tt.add.Filler)) <= s.Capabilities.MaxEntryBytes)
		if want != (err == nil) || err != nil && !errors.Is(err, command.ErrTooLarge) {
			t.Fatalf("%s: %v", tt.name, err)
		}
		recorded := audit(t, ports.Log, 1)[id]
		if want && len(recorded) != max(1, tt.add.Events) || !want && len(recorded) > 0 {
			t.Fatalf("%s: %d events were recorded", tt.name, len(recorded))
		}
		if want {
			sameEvents(t, r.Events, recorded)
		} else if _, after := p.sum(t, alice); after != before {
			t.Fatalf("%s: the version went from %d to %d", tt.name, before, after)
		}
	}
}

func storeSplits(t *testing.T, s Subject) {
	ports := s.Connect(t)
	p := start(t, "one", ports)
	p.must(t, bob, newID(), Add{Amount: 1})
	release := p.wire.hold()
	var all sync.WaitGroup
	const commands, size = 40, 20_000
	for i := range commands {
		p.giveAsync(t, &all, domain.CustomerStream(fmt.Sprint(i%7)), newID(), Add{Amount: 1, Filler: filler(size)})
	}
	p.waiting(t, commands)
	release()
	all.Wait()
	if got := len(audit(t, ports.Log, 1)); got != commands+1 {
		t.Fatalf("%d commands were recorded, want %d", got, commands+1)
	}
	for _, e := range readAll(t, ports.Log, 1, 1<<20) {
		if got := payloads(e.Events); got > command.TargetBatchBytes {
			t.Errorf("entry %d holds %d bytes of %d commands", e.Index, got, len(e.Events))
		}
	}
}

func storeTwoWriters(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	ps := []*process{start(t, "one", ports[0]), start(t, "two", ports[1])}
	const callers, each = 8, 25
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := make(map[string]command.Result)
	for c := range callers {
		all.Go(func() {
			for i := range each {
				id := newID()
				stream := domain.CustomerStream(fmt.Sprint((c + i) % 3))
				r, err := ps[(c+i)%2].give(t.Context(), stream, id, Add{Amount: 1, Events: 1 + i%3})
				if err != nil {
					t.Errorf("command %s: %v", id, err)
					return
				}
				mu.Lock()
				answers[id] = r
				mu.Unlock()
			}
		})
	}
	all.Wait()
	recorded := audit(t, ports[0].Log, 1)
	if len(recorded) != len(answers) {
		t.Fatalf("%d commands are in the log, %d were answered", len(recorded), len(answers))
	}
	total := map[domain.StreamID]int64{}
	for id, r := range answers {
		sameEvents(t, r.Events, recorded[id])
		total[r.Stream] += int64(len(r.Events))
	}
	for _, p := range ps {
		for stream, want := range total {
			if sum, seq := p.sum(t, stream); sum != want || seq != uint64(want) {
				t.Fatalf("%s: the sum is %d at %d, want %d", stream, sum, seq, want)
			}
		}
	}
}

func storeUnknown(t *testing.T, s Subject) {
	ports := s.connect(t, 2)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	chance := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	ps := []*process{start(t, "one", ports[0]), start(t, "two", ports[1])}
	for _, p := range ps {
		p.wire.set(func(w *wire) {
			w.onClaim = func(context.Context, *domain.Entry) damage {
				return []damage{undamaged, loseAnswer, loseClaim}[chance(3)]
			}
		})
	}
	type given struct {
		id     string
		stream domain.StreamID
		first  *command.Result
		err    error
	}
	const callers, each = 6, 12
	all := make([][]given, callers)
	var wait sync.WaitGroup
	for c := range callers {
		wait.Go(func() {
			for range each {
				g := given{id: newID(), stream: domain.CustomerStream(fmt.Sprint(chance(3)))}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+chance(30))*time.Millisecond)
				r, err := ps[chance(2)].give(ctx, g.stream, g.id, Add{Amount: 1})
				cancel()
				if g.err = err; err == nil {
					g.first = &r
				}
				all[c] = append(all[c], g)
			}
		})
	}
	wait.Wait()
	for _, p := range ps {
		p.wire.set(func(w *wire) { w.onClaim = nil })
	}
	settled := func() map[string][]domain.Event { // every claim in flight is known once a later command is answered
		for _, p := range ps {
			p.must(t, alice, newID(), Add{Amount: 1})
		}
		return audit(t, ports[0].Log, 1)
	}
	recorded := settled()
	unknown := 0
	for _, g := range slices.Concat(all...) {
		switch {
		case g.err == nil:
			sameEvents(t, g.first.Events, recorded[g.id])
		case errors.Is(g.err, command.ErrUnknown):
			unknown++
		case errors.Is(g.err, command.ErrUnavailable):
			if len(recorded[g.id]) != 0 {
				t.Errorf("command %s is in the log, and was answered with %v", g.id, g.err)
			}
		default:
			t.Errorf("command %s: %v", g.id, g.err)
		}
	}
	t.Logf("%d of %d commands were answered with unknown", unknown, callers*each)
	for _, g := range slices.Concat(all...) { // everyone asks again, at the other process too
		r := ps[chance(2)].must(t, g.stream, g.id, Add{Amount: 1})
		if before := recorded[g.id]; len(before) > 0 {
			sameEvents(t, r.Events, before)
		}
	}
	recorded = settled()
	for _, g := range slices.Concat(all...) {
		if len(recorded[g.id]) != 1 {
			t.Errorf("command %s has %d events, want 1", g.id, len(recorded[g.id]))
		}
	}
}

func storeDeadline(t *testing.T, s Subject) {
	ports := s.Connect(t)
	p := start(t, "one", ports)
	p.must(t, alice, newID(), Add{Amount: 1})
	release := p.wire.hold()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	inFlight, queued := newID(), newID()
	var errs [2]error
	all.Go(func() { _, errs[0] = p.give(ctx, alice, inFlight, Add{Amount: 1}) })
	p.claiming(t)
	reading := make(chan error, 1)
	all.Go(func() { _, err := p.Load(ctx, alice); reading <- err })
	p.waiting(t, 2)
	cancel()
	all.Wait()
	if !errors.Is(errs[0], command.ErrUnknown) || !errors.Is(errs[0], context.Canceled) {
		t.Fatalf("whose claim was in flight: %v", errs[0])
	}
	if err := <-reading; errors.Is(err, command.ErrUnknown) || !errors.Is(err, command.ErrUnavailable) {
		t.Fatalf("who only read: %v", err)
	}
	release()
	if r := p.must(t, alice, inFlight, Add{Amount: 1}); !r.Repeated || r.Version != 2 {
		t.Fatalf("asked again: %+v", r)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.give(ended, "customer/cold", queued, Add{Amount: 1})
	if err != nil && !errors.Is(err, command.ErrUnknown) && !errors.Is(err, command.ErrUnavailable) {
		t.Fatalf("given with a context that had ended: %v", err)
	}
	p.sum(t, "customer/cold")
	if recorded := len(audit(t, ports.Log, 1)[queued]) > 0; recorded && err != nil && !errors.Is(err, command.ErrUnknown) {
		t.Fatalf("recorded, and answered with %v", err)
	}
}

func storeClose(t *testing.T, s Subject) {
	ports := s.Connect(t)
	p := start(t, "one", ports)
	p.must(t, alice, newID(), Add{Amount: 1})
	release := p.wire.hold()
	var all sync.WaitGroup
	first, later := newID(), newID()
	var errs [2]error
	all.Go(func() { _, errs[0] = p.give(t.Context(), alice, first, Add{Amount: 1}) })
	p.claiming(t)
	all.Go(func() { _, errs[1] = p.give(t.Context(), alice, later, Add{Amount: 1}) })
	p.waiting(t, 2)
	closed := make(chan error, 1)
	all.Go(func() { closed <- p.stop() })
	for {
		if _, err := p.give(t.Context(), bob, newID(), Add{}); errors.Is(err, command.ErrClosed) {
			break
		}
	}
	release()
	all.Wait()
	if err := <-closed; err != nil {
		t.Fatalf("closing: %v", err)
	}
	if errs[0] != nil || !errors.Is(errs[1], command.ErrClosed) {
		t.Fatalf("in flight: %v; waiting: %v", errs[0], errs[1])
	}
	recorded := audit(t, ports.Log, 1)
	if len(recorded[first]) != 1 || len(recorded[later]) != 0 {
		t.Fatalf("in flight: %d events; waiting: %d events", len(recorded[first]), len(recorded[later]))
	}
	if s.Capabilities.Derives {
		expectProgress(t, ports.Histories, 1, 2)
	}
}

func storeLoading(t *testing.T, s Subject) {
	const every = 100
	small := func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.SnapshotEvery = every }
	ports := s.connect(t, 2)
	writer := start(t, "writer", ports[0], small)
	lengths := []int{10, 1_000, 100_000}
	stream := func(n int) domain.StreamID { return domain.CustomerStream(fmt.Sprint("of-", n)) }
	for _, n := range lengths {
		for left := n; left > 0; left -= 250 {
			writer.must(t, stream(n), newID(), Add{Amount: 1, Events: min(left, 250)})
		}
	}
	if err := writer.stop(); err != nil {
		t.Fatal(err)
	}
	var cost []counts
	reader := start(t, "reader", ports[1], small)
	if err := reader.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range lengths {
		reader.wire.counted()
		if sum, seq := reader.sum(t, stream(n)); sum != int64(n) || seq != uint64(n) {
			t.Fatalf("the sum of %d events is %d at %d", n, sum, seq)
		}
		cost = append(cost, reader.wire.counted())
	}
	for i, n := range lengths {
		t.Logf("%d Events: %+v", n, cost[i])
		if cost[i].events > every+250 || cost[i].reads > cost[0].reads || cost[i].bytes > 64<<10 {
			t.Errorf("loading %d events cost %+v, loading %d cost %+v", n, cost[i], lengths[0], cost[0])
		}
	}
}

func storeWithoutSnapshots(t *testing.T, s Subject) {
	skipWithout(t, s.LoseSnapshots != nil, "lose its snapshots on demand")
	ports := s.connect(t, 2)
	often := func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.SnapshotEvery = 5 }
	one := start(t, "one", ports[0], often)
	ids := make([]string, 40)
	var first []command.Result
	for i := range ids {
		ids[i] = newID()
		first = append(first, one.must(t, alice, ids[i], Add{Amount: 1}))
	}
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	s.LoseSnapshots(t)
	two := start(t, "two", ports[1], often)
	for i, id := range ids {
		sameAnswer(t, two.must(t, alice, id, Add{Amount: 1}), first[i])
	}
	if sum, _ := two.sum(t, alice); sum != 40 {
		t.Fatalf("the sum is %d", sum)
	}
}

func storeHole(t *testing.T, s Subject) {
	skipWithout(t, s.LoseHistory != nil && s.LoseSnapshots != nil, "lose events of a history on demand")
	ports := s.connect(t, 2)
	one := start(t, "one", ports[0])
	id := newID()
	first := one.must(t, alice, id, Add{Amount: 1, Events: 2})
	for range 20 {
		one.must(t, alice, newID(), Add{Amount: 1})
		one.must(t, bob, newID(), Add{Amount: 1})
	}
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	s.LoseSnapshots(t)
	s.LoseHistory(t, alice, 4, 9)
	two := start(t, "two", ports[1])
	if sum, seq := two.sum(t, alice); sum != 22 || seq != 22 {
		t.Fatalf("over a hole, the sum is %d at %d", sum, seq)
	}
	sameAnswer(t, two.must(t, alice, id, Add{Amount: 1, Events: 2}), first)
	two.must(t, alice, newID(), Add{Amount: 1})
	audit(t, ports[1].Log, 1)
}

func storeForgotten(t *testing.T, s Subject) {
	skipWithout(t, s.Forget != nil, "forget its tail on demand")
	ports := s.Connect(t)
	p := start(t, "one", ports)
	for range 5 {
		p.must(t, alice, newID(), Add{Amount: 1})
	}
	s.Forget(t, 1, 2)
	for _, stream := range []domain.StreamID{alice, bob} {
		if r, err := p.give(t.Context(), stream, newID(), Add{Amount: 1}); !errors.Is(err, command.ErrDiffers) {
			t.Fatalf("after the log forgot its tail: %+v, %v; want ErrDiffers", r, err)
		}
	}
	if got := len(readAll(t, ports.Log, 1, 1<<20)); got != 3 {
		t.Fatalf("%d entries, want the 3 that are left", got)
	}
}

func storeClocks(t *testing.T, s Subject) {
	ports := s.connect(t, 3)
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	at := func(offset time.Duration) setting {
		var n int
		var mu sync.Mutex
		return func(_ *command.WriterConfig, with *command.WriterPorts) {
			with.Clock = func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				n++
				return begin.Add(offset + time.Duration(n%5)*time.Minute) // it jumps to and fro
			}
		}
	}
	one, two := start(t, "one", ports[0], at(0)), start(t, "two", ports[1], at(-48*time.Hour))
	for range 10 {
		one.must(t, alice, newID(), Add{Amount: 1})
		two.must(t, alice, newID(), Add{Amount: 1})
	}
	late := start(t, "late", ports[2], at(-1000*time.Hour))
	r := late.must(t, bob, newID(), Add{Amount: 1})
	if r.Events[0].RecordedAt.Before(begin) {
		t.Fatalf("recorded at %s, after events recorded from %s on", r.Events[0].RecordedAt, begin)
	}
	audit(t, ports[0].Log, 1)
}

func storeRestart(t *testing.T, s Subject) {
	skipWithout(t, s.Reopen != nil, "be opened again")
	one := start(t, "one", s.Connect(t))
	ids := make([]string, 30)
	first := make([]command.Result, len(ids))
	for i := range ids {
		ids[i] = newID()
		first[i] = one.must(t, domain.CustomerStream(fmt.Sprint(i%3)), ids[i], Add{Amount: 1})
	}
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	ports := s.Reopen(t)
	two := start(t, "two", ports)
	for i, id := range ids {
		sameAnswer(t, two.must(t, first[i].Stream, id, Add{Amount: 1}), first[i])
	}
	if r := two.must(t, "customer/0", newID(), Add{Amount: 1}); r.Version != 11 || r.Position.Index != first[29].Position.Index+1 {
		t.Fatalf("the first command after a restart: %+v", r)
	}
	audit(t, ports.Log, 1)
}

// hold lets every claim wait until it is released.
func (w *wire) hold() (release func()) {
	gate := make(chan struct{})
	w.set(func(w *wire) {
		w.onClaim = func(ctx context.Context, _ *domain.Entry) damage {
			select {
			case <-gate:
				return undamaged
			case <-ctx.Done():
				return loseClaim
			}
		}
	})
	return sync.OnceFunc(func() {
		close(gate)
		w.set(func(w *wire) { w.onClaim = nil })
	})
}

func (p *process) giveAsync(t *testing.T, all *sync.WaitGroup, stream domain.StreamID, id string, a Add) {
	all.Go(func() { p.must(t, stream, id, a) })
}

// waiting waits until that many submissions wait for an answer.
func (p *process) waiting(t *testing.T, n int) {
	t.Helper()
	p.until(t, fmt.Sprintf("%d submissions wait", n), func(s command.ShardStatus) bool { return s.Waiting >= n })
}

// claiming waits until a claim is in flight.
func (p *process) claiming(t *testing.T) {
	t.Helper()
	p.until(t, "a claim is in flight", func(s command.ShardStatus) bool { return s.Operation == "claiming" })
}

func (p *process) until(t *testing.T, what string, is func(command.ShardStatus) bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		all, err := p.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if is(all[1]) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s: %+v", what, all[1])
		}
	}
}
