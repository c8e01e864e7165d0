package command_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/memory"
)

// tallies is a shard writer of the suite's small domain over a store in memory.
type tallies struct {
	*command.Writer
	store *memory.Store
	conn  *memory.Connection
}

type tallySetting func(*command.WriterConfig, *command.WriterPorts)

func newTallies(t *testing.T, store *memory.Store, settings ...tallySetting) *tallies {
	t.Helper()
	w := &tallies{store: store, conn: store.Connect()}
	cfg := command.WriterConfig{Name: "w-" + uuid.NewString(), BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond}
	ports := command.WriterPorts{
		Log: w.conn, Histories: w.conn, Snapshots: w.conn, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
	}
	for _, set := range settings {
		set(&cfg, &ports)
	}
	var err error
	if w.Writer, err = command.NewWriter(cfg, ports); err != nil {
		t.Fatal(err)
	}
	w.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = w.Close(ctx) // some tests close it themselves, with less time
	})
	return w
}

func tallyID() string { return uuid.Must(uuid.NewV7()).String() }

func adding(stream domain.StreamID, id string, amount int64) command.Submission {
	return command.Submission{Stream: stream, Meta: command.Meta{CommandID: id}, RequestHash: fmt.Sprint(amount), Decider: conformance.Add{Amount: amount}}
}

func (w *tallies) add(t *testing.T, stream domain.StreamID, id string) command.Result {
	t.Helper()
	r, err := w.Submit(t.Context(), adding(stream, id, 1))
	if err != nil {
		t.Fatalf("adding to %s: %v", stream, err)
	}
	return r
}

func (w *tallies) sum(t *testing.T, stream domain.StreamID) int64 {
	t.Helper()
	v, err := w.Load(t.Context(), stream)
	if err != nil {
		t.Fatalf("reading %s: %v", stream, err)
	}
	return v.State.(*conformance.Tally).Sum()
}

func (w *tallies) until(t *testing.T, what string, is func(command.ShardStatus) bool) command.ShardStatus {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		all, err := w.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if is(all[1]) {
			return all[1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s: %+v", what, all[1])
		}
	}
}

// holdClaims lets every claim wait until it is released.
func (w *tallies) holdClaims() (release func()) {
	gate := make(chan struct{})
	w.conn.Inject(func(ctx context.Context, call memory.Call) memory.Fault {
		if call.Operation != memory.OpClaim {
			return memory.None
		}
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return memory.None
	})
	return sync.OnceFunc(func() { close(gate) })
}

func failing(operations ...memory.Operation) func(context.Context, memory.Call) memory.Fault {
	return func(_ context.Context, call memory.Call) memory.Fault {
		for _, o := range operations {
			if call.Operation == o {
				return memory.Unavailable
			}
		}
		return memory.None
	}
}

func TestAPanicInADecisionRefusesThatCommandAlone(t *testing.T) {
	t.Parallel()
	w := newTallies(t, memory.NewStore())
	w.add(t, "customer/a", tallyID())
	release := w.holdClaims()
	var all sync.WaitGroup
	all.Go(func() { w.add(t, "customer/b", tallyID()) })
	w.until(t, "a claim is in flight", func(s command.ShardStatus) bool { return s.Operation == "claiming" })
	var err error
	all.Go(func() { w.add(t, "customer/a", tallyID()) })
	w.until(t, "it waits", func(s command.ShardStatus) bool { return s.Waiting == 2 })
	all.Go(func() {
		sub := adding("customer/a", tallyID(), 1)
		sub.Decider = command.DeciderFunc(func(domain.Aggregate, domain.Moment) (domain.Verdict, error) { panic("the rules are wrong") })
		_, err = w.Submit(t.Context(), sub)
	})
	w.until(t, "it waits", func(s command.ShardStatus) bool { return s.Waiting == 3 })
	all.Go(func() { w.add(t, "customer/a", tallyID()) })
	w.until(t, "it waits", func(s command.ShardStatus) bool { return s.Waiting == 4 })
	release()
	all.Wait()
	var panicked *command.PanicError
	if !errors.As(err, &panicked) || !strings.Contains(err.Error(), "the rules are wrong") {
		t.Fatalf("the command that panicked: %v", err)
	}
	if got := w.sum(t, "customer/a"); got != 3 {
		t.Fatalf("the sum is %d, want 3", got)
	}
}

// plant claims an entry with one event that the writer would never write.
func plant(t *testing.T, store *memory.Store, stream domain.StreamID, seq uint64, previous domain.Position, typ string) {
	t.Helper()
	head := store.Head(1)
	e := &domain.Entry{Shard: 1, Index: head.Index + 1, ID: domain.BatchID(uuid.New()), PreviousID: head.ID, Writer: "other", RecordedAt: time.Now().UTC()}
	e.Events = []domain.Event{{
		ID: "planted", Stream: stream, Seq: seq, Position: domain.Position{Shard: 1, Index: e.Index}, Previous: previous, Type: typ, SchemaVersion: 1,
		RecordedAt: e.RecordedAt, OccurredAt: e.RecordedAt, CommandID: uuid.NewString(), Payload: []byte("{}"),
	}}
	if got, err := store.Connect().Claim(t.Context(), e); err != nil || !got.Applied {
		t.Fatalf("planting: %+v, %v", got, err)
	}
}

func TestAClaimedEventThatCannotBeFoldedStopsItsStreamOnly(t *testing.T) {
	t.Parallel()
	for _, cached := range []string{"in memory", "to be loaded"} {
		t.Run(cached, func(t *testing.T) {
			t.Parallel()
			store := memory.NewStore()
			w := newTallies(t, store)
			var previous domain.Position
			seq := uint64(1)
			if cached == "in memory" {
				previous, seq = w.add(t, "customer/a", tallyID()).Position, 2
			}
			w.add(t, "customer/b", tallyID())
			plant(t, store, "customer/a", seq, previous, "Unfoldable")
			w.add(t, "customer/b", tallyID())
			for range 2 {
				_, err := w.Submit(t.Context(), adding("customer/a", tallyID(), 1))
				if !errors.Is(err, command.ErrUnreadable) || !errors.Is(err, command.ErrUnavailable) {
					t.Fatalf("a command for the stopped stream: %v", err)
				}
				if _, err := w.Load(t.Context(), "customer/a"); !errors.Is(err, command.ErrUnreadable) {
					t.Fatalf("reading the stopped stream: %v", err)
				}
				w.add(t, "customer/b", tallyID())
			}
		})
	}
}

func TestAnEventOfANewerProgramStopsTheShardInThisProcess(t *testing.T) {
	t.Parallel()
	store := memory.NewStore()
	w := newTallies(t, store)
	r := w.add(t, "customer/a", tallyID())
	plant(t, store, "customer/a", 2, r.Position, "Future")
	for _, stream := range []domain.StreamID{"customer/a", "customer/b"} {
		if _, err := w.Submit(t.Context(), adding(stream, tallyID(), 1)); !errors.Is(err, domain.ErrUnknownEventType) || !errors.Is(err, command.ErrUnavailable) {
			t.Fatalf("a command for %s: %v", stream, err)
		}
	}
	w.add(t, "title/a", tallyID()) // another shard
	if got := len(store.Entries(1)); got != 2 {
		t.Fatalf("%d entries, want 2", got)
	}
}

func TestAStreamWithAHoleInTheLogItselfIsToldLoudly(t *testing.T) {
	t.Parallel()
	store := memory.NewStore()
	w := newTallies(t, store)
	first := w.add(t, "customer/a", tallyID())
	plant(t, store, "customer/a", 3, first.Position, "Added")
	w.add(t, "customer/b", tallyID()) // takes it up
	for name, process := range map[string]*tallies{"in memory": w, "to be loaded": newTallies(t, store)} {
		_, err := process.Submit(t.Context(), adding("customer/a", tallyID(), 1))
		if !errors.Is(err, command.ErrDiffers) || !errors.Is(err, command.ErrUnreadable) || errors.Is(err, command.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		process.add(t, "customer/b", tallyID())
	}
}

func TestAProcessDoesNotStartOnALogThatIsShorterThanWhatWasDerivedFromIt(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*memory.Store){
		"the progress is beyond it":               func(s *memory.Store) { s.LoseSnapshots() },
		"a history is beyond it":                  func(s *memory.Store) { s.LoseSnapshots(); s.FallBack(1, 3) },
		"a snapshot is beyond it":                 func(s *memory.Store) { s.LoseHistory("customer/a", 1, 100); s.FallBack(1, 3) },
		"nothing is derived of what is forgotten": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := memory.NewStore()
			w := newTallies(t, store, func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.SnapshotEvery = 1 })
			for range 10 {
				w.add(t, "customer/a", tallyID())
			}
			if err := w.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			store.Forget(1, 2)
			if damage == nil { // nobody can know
				store.Underive()
				newTallies(t, store).add(t, "customer/a", tallyID())
				return
			}
			damage(store)
			next := newTallies(t, store)
			_, err := next.Submit(t.Context(), adding("customer/a", tallyID(), 1))
			if !errors.Is(err, command.ErrDiffers) {
				t.Fatalf("a command: %v", err)
			}
			if _, err := next.Submit(t.Context(), adding("customer/b", tallyID(), 1)); !errors.Is(err, command.ErrDiffers) {
				t.Fatalf("a command for another stream: %v", err)
			}
			if err := next.Ready(t.Context()); name == "the progress is beyond it" && !errors.Is(err, command.ErrDiffers) {
				t.Fatalf("ready: %v", err)
			}
			if got := len(store.Entries(1)); got != 8 {
				t.Fatalf("%d entries, want the 8 that are left", got)
			}
		})
	}
}

func TestFullQueuesSayWhenToComeBack(t *testing.T) {
	t.Parallel()
	w := newTallies(t, memory.NewStore(), func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.QueuePerShard, cfg.QueuePerStream = 6, 4 })
	w.add(t, "customer/a", tallyID())
	release := w.holdClaims()
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() { w.add(t, []domain.StreamID{"customer/a", "customer/b"}[i/4], tallyID()) })
		w.until(t, "it waits", func(s command.ShardStatus) bool { return s.Waiting == i+1 })
		if i == 3 {
			refusedAsOverloaded(t, w, "customer/a", "stream")
		}
	}
	refusedAsOverloaded(t, w, "customer/c", "shard")
	release()
	all.Wait()
	w.add(t, "customer/c", tallyID())
	if a, b := w.sum(t, "customer/a"), w.sum(t, "customer/b"); a != 5 || b != 2 {
		t.Fatalf("the sums are %d and %d", a, b)
	}
}

func refusedAsOverloaded(t *testing.T, w *tallies, stream domain.StreamID, queue string) {
	t.Helper()
	_, err := w.Submit(t.Context(), adding(stream, tallyID(), 1))
	var overloaded *command.OverloadedError
	if !errors.Is(err, command.ErrOverloaded) || !errors.As(err, &overloaded) || overloaded.Queue != queue ||
		overloaded.RetryAfter < 100*time.Millisecond || overloaded.RetryAfter > 30*time.Second {
		t.Fatalf("one too many for the %s: %v", queue, err)
	}
}

// v7 is a command id of that time.
func v7(at time.Time) string {
	id := uuid.New()
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6] = 0x70 | id[6]&0x0f
	return id.String()
}

func TestACommandBoundToThePresentIsRefusedWhenItsIdIsTooOldOrFromTheFuture(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var offset atomic.Int64
	w := newTallies(t, memory.NewStore(), func(_ *command.WriterConfig, ports *command.WriterPorts) {
		ports.Clock = func() time.Time { return now.Add(time.Duration(offset.Load())) }
	})
	const week = 7 * 24 * time.Hour
	for name, tt := range map[string]struct {
		id     string
		minted bool
		ok     bool
	}{
		"now":                       {v7(now), false, true},
		"a week old":                {v7(now.Add(-week)), false, true},
		"a week and a second old":   {v7(now.Add(-week - time.Second)), false, false},
		"five minutes ahead":        {v7(now.Add(5 * time.Minute)), false, true},
		"five minutes and a second": {v7(now.Add(5*time.Minute + time.Second)), false, false},
		"no time in it":             {uuid.NewString(), false, false},
		"minted by us":              {v7(now.Add(-week - time.Hour)), true, true},
	} {
		sub := adding("customer/a", tt.id, 1)
		sub.KeyBound, sub.Meta.Minted = true, tt.minted
		_, err := w.Submit(t.Context(), sub)
		var drift *command.DriftError
		if tt.ok != (err == nil) || err != nil && (!errors.As(err, &drift) || !drift.ServerTime.Equal(now)) {
			t.Errorf("%s: %v", name, err)
		}
		sub.KeyBound, sub.Meta.CommandID = false, v7(now.Add(-10*week))
		if _, err := w.Submit(t.Context(), sub); err != nil {
			t.Errorf("not bound: %v", err)
		}
	}
	early := adding("customer/b", v7(now), 1)
	early.KeyBound = true
	first, err := w.Submit(t.Context(), early)
	if err != nil {
		t.Fatal(err)
	}
	offset.Store(int64(week + 20*time.Hour)) // remembered for a day longer than it would be accepted
	if again, err := w.Submit(t.Context(), early); err != nil || !again.Repeated || again.Position != first.Position {
		t.Fatalf("repeated when it would no longer be accepted: %+v, %v", again, err)
	}
	offset.Store(int64(week + 48*time.Hour))
	w.add(t, "customer/b", tallyID())
	if again, err := w.Submit(t.Context(), early); !errors.Is(err, command.ErrTokenDrift) {
		t.Fatalf("repeated when it is forgotten: %+v, %v", again, err)
	}
}

func TestALateReportIsRememberedFromWhenItWasRecorded(t *testing.T) {
	t.Parallel()
	w := newTallies(t, memory.NewStore())
	for _, age := range []time.Duration{-60 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} { // a device that was offline, and one whose clock is wrong
		id := v7(time.Now().Add(age))
		first := w.add(t, "customer/a", id)
		w.add(t, "customer/a", tallyID())
		if again := w.add(t, "customer/a", id); !again.Repeated || again.Position != first.Position {
			t.Fatalf("an id %s from now, repeated: %+v", age, again)
		}
	}
}

func TestCommandsBeyondThoseKeptOneByOneAreFoundInTheHistory(t *testing.T) {
	t.Parallel()
	store := memory.NewStore()
	w := newTallies(t, store)
	const commands = 2500
	ids := make([]string, commands)
	begin := time.Now().Add(-time.Hour)
	for i := range ids {
		ids[i] = v7(begin.Add(time.Duration(i) * time.Second))
		w.add(t, "customer/a", ids[i])
	}
	again := func(w *tallies) {
		t.Helper()
		for _, i := range []int{0, 1, 700, 1499, 1500, 2499} {
			if r := w.add(t, "customer/a", ids[i]); !r.Repeated || r.Version != uint64(i)+1 {
				t.Fatalf("command %d, repeated: %+v", i+1, r)
			}
		}
		sub := adding("customer/a", ids[3], 2)
		if _, err := w.Submit(t.Context(), sub); !errors.Is(err, command.ErrIdempotencyConflict) {
			t.Fatalf("command 4 with another body: %v", err)
		}
	}
	again(w)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := newTallies(t, store)
	again(second) // from the snapshot
	var reads atomic.Int64
	second.conn.Inject(func(_ context.Context, call memory.Call) memory.Fault {
		if call.Operation == memory.OpReadStream {
			reads.Add(1)
		}
		return memory.None
	})
	second.add(t, "customer/a", tallyID())
	if reads.Load() != 0 {
		t.Fatal("a new command id was searched for in the history")
	}
	if r := second.add(t, "customer/a", v7(begin.Add(1500*time.Millisecond))); r.Repeated || reads.Load() == 0 {
		t.Fatalf("a new command id of that time: %+v after %d reads", r, reads.Load())
	}
}

type slowBus struct {
	gate    chan struct{}
	mu      sync.Mutex
	indexes []uint64
}

func (b *slowBus) Publish(ctx context.Context, e *domain.Entry) error {
	select {
	case <-b.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.indexes = append(b.indexes, e.Index)
	return nil
}

func TestABusThatIsAwayHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	bus := &slowBus{gate: make(chan struct{})}
	w := newTallies(t, memory.NewStore(), func(cfg *command.WriterConfig, ports *command.WriterPorts) {
		cfg.PublishQueue = 3
		ports.Bus, ports.Metrics = bus, command.NewWriterMetrics(registry)
	})
	for range 20 {
		w.add(t, "customer/a", tallyID())
	}
	close(bus.gate)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(bus.indexes); n < 3 || n > 4 || bus.indexes[0] != 1 || bus.indexes[1] != 2 {
		t.Fatalf("published: %v", bus.indexes)
	}
	counted := counters(t, registry)
	if got := counted["carryon_writer_publish_dropped_total 1"]; got != float64(20-len(bus.indexes)) {
		t.Fatalf("%v dropped are counted, %d were published of 20", got, len(bus.indexes))
	}
	if got := counted["carryon_writer_events_total 1"]; got != 20 {
		t.Fatalf("%v events are counted", got)
	}
}

func TestWhoLosesTwiceInARowHandsOver(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		reach error
		by    string
	}{
		{"the other answers", nil, "other"},
		{"the other can't be reached", command.ErrUnavailable, "here"},
		{"the other's answer is an error", domain.ErrConflict, "error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := memory.NewStore()
			w := newTallies(t, store)
			w.add(t, "customer/a", tallyID())
			losses := 2
			w.conn.Inject(func(_ context.Context, call memory.Call) memory.Fault {
				if call.Operation == memory.OpClaim && losses > 0 {
					losses--
					plant(t, store, domain.StreamID(fmt.Sprint("customer/other-", losses)), 1, domain.Position{}, "Refused")
				}
				return memory.None
			})
			sub := adding("customer/a", tallyID(), 1)
			sub.Forward = func(_ context.Context, writer string) (command.Result, error) {
				if writer != "other" {
					t.Errorf("handed over to %q", writer)
				}
				return command.Result{Version: 77}, tt.reach
			}
			r, err := w.Submit(t.Context(), sub)
			switch tt.by {
			case "other":
				if err != nil || r.Version != 77 {
					t.Fatalf("%+v, %v", r, err)
				}
			case "here":
				if err != nil || r.Version != 2 {
					t.Fatalf("%+v, %v", r, err)
				}
			default:
				if !errors.Is(err, tt.reach) {
					t.Fatalf("%+v, %v", r, err)
				}
			}
		})
	}
}

func TestCommandsWaitWhileTheHistoriesAreTooFarBehindAndReadsDoNot(t *testing.T) {
	t.Parallel()
	w := newTallies(t, memory.NewStore(), func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.MaxDeriveEvents = 10 })
	w.conn.Inject(failing(memory.OpDerive))
	for range 11 {
		w.add(t, "customer/a", tallyID())
	}
	done := make(chan command.Result)
	go func() { done <- w.add(t, "customer/a", tallyID()) }()
	w.until(t, "a command waits", func(s command.ShardStatus) bool { return s.Waiting == 1 && s.Operation == "idle" && s.Underived == 11 })
	if got := w.sum(t, "customer/a"); got != 11 {
		t.Fatalf("the sum is %d", got)
	}
	select {
	case r := <-done:
		t.Fatalf("not held: %+v", r)
	default:
	}
	w.conn.Inject(nil)
	if r := <-done; r.Version != 12 {
		t.Fatalf("after the histories came on: %+v", r)
	}
	w.until(t, "everything is derived", func(s command.ShardStatus) bool { return s.Underived == 0 && s.Derived == 12 })
}

func TestAStoreWithoutRoomRefusesCommandsAndAnswersReads(t *testing.T) {
	t.Parallel()
	full := &fullLog{}
	w := newTallies(t, memory.NewStore(), func(_ *command.WriterConfig, ports *command.WriterPorts) { full.Log = ports.Log; ports.Log = full })
	w.add(t, "customer/a", tallyID())
	full.err.Store(&command.ErrStoreFull)
	id := tallyID()
	if _, err := w.Submit(t.Context(), adding("customer/a", id, 1)); !errors.Is(err, command.ErrStoreFull) {
		t.Fatalf("without room: %v", err)
	}
	if got := w.sum(t, "customer/a"); got != 1 {
		t.Fatalf("the sum is %d", got)
	}
	full.err.Store(nil)
	if r := w.add(t, "customer/a", id); r.Repeated || r.Version != 2 {
		t.Fatalf("with room again: %+v", r)
	}
}

// fullLog refuses claims, all or those of more than some events.
type fullLog struct {
	command.Log
	err  atomic.Pointer[error]
	most atomic.Int64 // events; 0: any
}

func (l *fullLog) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	if err := l.err.Load(); err != nil {
		return command.Claimed{}, fmt.Errorf("claiming entry %d: %w", e.Index, *err)
	}
	if most := l.most.Load(); most > 0 && len(e.Events) > int(most) {
		return command.Claimed{}, fmt.Errorf("claiming entry %d of %d events: %w", e.Index, len(e.Events), command.ErrTooLarge)
	}
	return l.Log.Claim(ctx, e)
}

func TestABatchTooLargeForTheStoreIsSplit(t *testing.T) {
	t.Parallel()
	small := &fullLog{}
	store := memory.NewStore()
	w := newTallies(t, store, func(_ *command.WriterConfig, ports *command.WriterPorts) { small.Log = ports.Log; ports.Log = small })
	w.add(t, "customer/a", tallyID())
	release := w.holdClaims()
	var all sync.WaitGroup
	all.Go(func() { w.add(t, "customer/a", tallyID()) })
	w.until(t, "a claim is in flight", func(s command.ShardStatus) bool { return s.Operation == "claiming" })
	for range 20 {
		all.Go(func() { w.add(t, "customer/a", tallyID()) })
	}
	w.until(t, "all wait", func(s command.ShardStatus) bool { return s.Waiting == 21 })
	small.most.Store(3)
	release()
	all.Wait()
	for _, e := range store.Entries(1) {
		if len(e.Events) > 3 {
			t.Errorf("entry %d has %d events", e.Index, len(e.Events))
		}
	}
	large := adding("customer/a", tallyID(), 1)
	large.Decider = conformance.Add{Amount: 1, Events: 4}
	if _, err := w.Submit(t.Context(), large); !errors.Is(err, command.ErrTooLarge) {
		t.Fatalf("a command that is too large by itself: %v", err)
	}
	if got := w.sum(t, "customer/a"); got != 22 {
		t.Fatalf("the sum is %d", got)
	}
}

func TestSnapshotsThatAreDamagedOrOfAnotherFoldAreNotUsed(t *testing.T) {
	t.Parallel()
	store := memory.NewStore()
	w := newTallies(t, store, func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.SnapshotEvery = 5 })
	for range 20 {
		w.add(t, "customer/a", tallyID())
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	good, ok := store.Snapshot("customer/a")
	if !ok || good.Seq < 15 {
		t.Fatalf("the snapshot: %+v, %v", good, ok)
	}
	otherFold, empty, cut, otherVersion := good, good, good, good
	otherFold.FoldVersion++
	empty.Data = nil
	cut.Data = good.Data[:len(good.Data)-1]
	otherVersion.Data = append([]byte{99}, good.Data[1:]...)
	for i, bad := range []command.Snapshot{good, otherFold, empty, cut, otherVersion} {
		if err := store.Connect().SaveSnapshots(t.Context(), []command.Snapshot{bad}); err != nil {
			t.Fatal(err)
		}
		next := newTallies(t, store)
		if r := next.add(t, "customer/a", tallyID()); r.Version != uint64(21+i) {
			t.Fatalf("with snapshot %d: %+v", i, r)
		}
	}
}

func TestWhoLeavesMemoryFarAheadOfItsSnapshotIsKept(t *testing.T) {
	t.Parallel()
	store := memory.NewStore()
	w := newTallies(t, store, func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.SnapshotEvery, cfg.HotBytes = 400, 1 })
	for i := range 300 { // more than are saved at once
		stream := domain.CustomerStream(fmt.Sprint(i))
		for range 100 {
			w.add(t, stream, tallyID())
		}
	}
	for range 99 {
		w.add(t, "customer/short", tallyID())
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if kept, ok := store.Snapshot(domain.CustomerStream(fmt.Sprint(i))); !ok || kept.Seq != 100 {
			t.Fatalf("stream %d: snapshot %d, %v", i, kept.Seq, ok)
		}
	}
	if _, ok := store.Snapshot("customer/short"); ok {
		t.Fatal("a stream with little to fold was kept too")
	}
	if got := newTallies(t, store).sum(t, "customer/7"); got != 100 {
		t.Fatalf("the sum after the snapshot is %d", got)
	}
}

func TestStatesInMemoryStayWithinTheirLimit(t *testing.T) {
	t.Parallel()
	const limit = 20_000
	w := newTallies(t, memory.NewStore(), func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.CacheBytes = limit })
	for round := range 3 {
		for i := range 100 {
			if r := w.add(t, domain.CustomerStream(fmt.Sprint(i)), tallyID()); r.Version != uint64(round)+1 {
				t.Fatalf("round %d, stream %d: %+v", round, i, r)
			}
			all, err := w.Status(t.Context())
			if err != nil || all[1].CacheBytes > limit || all[1].Streams > 40 {
				t.Fatalf("%+v, %v", all[1], err)
			}
		}
	}
}

func TestWithoutReferenceDataNothingIsDecidedAndReadsAreAnswered(t *testing.T) {
	t.Parallel()
	stale := errors.New("the reference shard is 12 s behind")
	w := newTallies(t, memory.NewStore(), func(_ *command.WriterConfig, ports *command.WriterPorts) {
		ports.Reference = func(context.Context) (domain.Reference, error) { return nil, stale }
	})
	if _, err := w.Submit(t.Context(), adding("customer/a", tallyID(), 1)); !errors.Is(err, stale) || !errors.Is(err, command.ErrUnavailable) {
		t.Fatalf("without reference data: %v", err)
	}
	if got := w.sum(t, "customer/a"); got != 0 {
		t.Fatalf("the sum is %d", got)
	}
}

func TestADecisionWhoseEventsCannotBeFoldedIsRefusedAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	store := memory.NewStore()
	w, other := newTallies(t, store), newTallies(t, store)
	w.add(t, "customer/a", tallyID())
	for n := range uint64(3) {
		sub := adding("customer/a", tallyID(), 1)
		sub.Decider = conformance.Spoil{}
		if _, err := w.Submit(t.Context(), sub); err == nil || errors.Is(err, command.ErrUnknown) || errors.Is(err, command.ErrUnreadable) {
			t.Fatalf("a decision that can't be folded: %v", err)
		}
		other.add(t, "customer/a", tallyID())
		w.add(t, "customer/b", tallyID()) // which takes up what the other wrote
		if r := w.add(t, "customer/a", tallyID()); r.Version != 3+2*n {
			t.Fatalf("after it, and after another process: %+v, want version %d", r, 3+2*n)
		}
	}
}

func TestARecordThatCannotBeReadIsNeverTakenForNothingRecorded(t *testing.T) {
	t.Parallel()
	store := memory.NewStore()
	w := newTallies(t, store, func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.SnapshotEvery, cfg.RecentBytes = 1, 1 })
	recorded, refused := tallyID(), tallyID()
	w.add(t, "customer/a", recorded)
	minus := func(id string) (command.Result, error) { return w.Submit(t.Context(), adding("customer/a", id, -5)) }
	if _, err := minus(refused); err != nil {
		t.Fatal(err)
	}
	w.add(t, "customer/b", tallyID())
	w.conn.Inject(failing(memory.OpReadStream))
	for _, sub := range []command.Submission{adding("customer/a", recorded, 1), adding("customer/a", refused, -5)} {
		if _, err := w.Submit(t.Context(), sub); !errors.Is(err, command.ErrUnknown) || errors.Is(err, command.ErrUnreadable) {
			t.Fatalf("a repeated command whose record can't be read: %v", err)
		}
	}
	if _, err := minus(tallyID()); !errors.Is(err, command.ErrUnavailable) || errors.Is(err, command.ErrUnreadable) {
		t.Fatalf("an equal refusal whose record can't be read: %v", err)
	}
	w.conn.Inject(nil)
	if r, err := minus(refused); err != nil || !r.Repeated || len(r.Events) != 1 {
		t.Fatalf("readable again: %+v, %v", r, err)
	}
}

func TestACommandIdIsTheSameInCapitals(t *testing.T) {
	t.Parallel()
	w := newTallies(t, memory.NewStore())
	id := tallyID()
	first := w.add(t, "customer/a", strings.ToUpper(id))
	if again := w.add(t, "customer/a", id); !again.Repeated || len(again.Events) != 1 || again.Events[0].CommandID != id || first.Events[0].CommandID != id {
		t.Fatalf("in small letters: %+v; first: %+v", again, first)
	}
}

func TestAnUnreadableHistoryIsToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	store := memory.NewStore()
	newTallies(t, store).add(t, "customer/a", tallyID())
	w := newTallies(t, store)
	w.conn.Inject(failing(memory.OpReadStream))
	if _, err := w.Submit(t.Context(), adding("customer/a", tallyID(), 1)); !errors.Is(err, command.ErrUnreadable) || !errors.Is(err, command.ErrUnavailable) {
		t.Fatalf("with an unreadable history: %v", err)
	}
	w.conn.Inject(failing(memory.OpLoadSnapshot)) // without it, the events are enough
	if r := w.add(t, "customer/a", tallyID()); r.Version != 2 {
		t.Fatalf("%+v", r)
	}
}

func TestAnUnknownClaimIsRepeatedUntilItIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewStore()
		w := newTallies(t, store, func(cfg *command.WriterConfig, _ *command.WriterPorts) {
			cfg.BackoffMin, cfg.BackoffMax = 10*time.Millisecond, 200*time.Millisecond
		})
		w.add(t, "customer/a", tallyID())
		var claims []uint64
		begin := time.Now()
		w.conn.Inject(func(_ context.Context, call memory.Call) memory.Fault {
			if call.Operation != memory.OpClaim {
				return memory.None
			}
			claims = append(claims, call.Index)
			switch {
			case len(claims) == 1:
				return memory.DecideLate
			case time.Since(begin) < 5*time.Second:
				return memory.LoseClaim
			default:
				return memory.None
			}
		})
		id := tallyID()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Submit(ctx, adding("customer/a", id, 1)); !errors.Is(err, command.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("when the deadline passed: %v", err)
		}
		if r := w.add(t, "customer/a", id); r.Version != 2 || !r.Repeated {
			t.Fatalf("the same command again: %+v", r)
		}
		if waited := time.Since(begin); waited < 5*time.Second || waited > 6*time.Second || len(claims) < 20 || len(claims) > 80 {
			t.Fatalf("%d claims in %s", len(claims), waited)
		}
		for _, index := range claims {
			if index != 2 {
				t.Fatalf("claimed: %v; want entry 2 until it is known", claims)
			}
		}
		store.SettleAll() // the first one, at last
		if got := len(store.Entries(1)); got != 2 {
			t.Fatalf("%d entries", got)
		}
		closeNow(t, w)
	})
}

// slowClaims lets every claim take that long.
func (w *tallies) slowClaims(d time.Duration) {
	w.conn.Inject(func(ctx context.Context, call memory.Call) memory.Fault {
		if call.Operation == memory.OpClaim {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		}
		return memory.None
	})
}

func TestCallersOfABusyShardShareOneRoundAndASingleOneWaitsForNobody(t *testing.T) {
	t.Parallel()
	const round = 10 * time.Millisecond
	for _, tt := range []struct{ callers, each, most int }{{1, 40, 40}, {8, 40, 50}} {
		synctest.Test(t, func(t *testing.T) {
			store := memory.NewStore()
			w := newTallies(t, store)
			w.slowClaims(round)
			begin := time.Now()
			var all sync.WaitGroup
			for c := range tt.callers {
				all.Go(func() {
					for range tt.each {
						w.add(t, domain.CustomerStream(fmt.Sprint(c)), tallyID())
					}
				})
			}
			all.Wait()
			if entries := int(store.Head(1).Index); entries > tt.most {
				t.Errorf("%d callers with %d commands each: %d entries, want at most %d", tt.callers, tt.each, entries, tt.most)
			}
			if took := time.Since(begin); tt.callers == 1 && took != time.Duration(tt.each)*round {
				t.Errorf("%d commands of a single caller took %s, want a round of %s each", tt.each, took, round)
			}
			closeNow(t, w)
		})
	}
}

func closeNow(t *testing.T, w *tallies) {
	t.Helper()
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAClaimThatNeverReturnsEndsWithItsTimeAndWithTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // which also sees that no goroutine is left
		w := newTallies(t, memory.NewStore(), func(cfg *command.WriterConfig, _ *command.WriterPorts) { cfg.StoreTimeout = 3 * time.Second })
		w.add(t, "customer/a", tallyID())
		w.conn.Inject(func(ctx context.Context, call memory.Call) memory.Fault {
			if call.Operation == memory.OpClaim {
				<-ctx.Done()
				return memory.LoseClaim
			}
			return memory.None
		})
		failed := make(chan error, 1)
		begin := time.Now()
		go func() {
			_, err := w.Submit(context.Background(), adding("customer/a", tallyID(), 1))
			failed <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := w.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("closing: %v", err)
		}
		if err := <-failed; !errors.Is(err, command.ErrUnknown) && !errors.Is(err, command.ErrClosed) {
			t.Fatalf("who waited: %v", err)
		}
		if took := time.Since(begin); took > 14*time.Second {
			t.Fatalf("closing took %s", took)
		}
		if _, err := w.Submit(t.Context(), adding("customer/a", tallyID(), 1)); !errors.Is(err, command.ErrClosed) {
			t.Fatalf("after closing: %v", err)
		}
	})
}

func TestAWriterThatWasNeverStartedCanBeClosed(t *testing.T) {
	t.Parallel()
	conn := memory.NewStore().Connect()
	w, err := command.NewWriter(command.WriterConfig{Name: "w"}, command.WriterPorts{
		Log: conn, Histories: conn, Snapshots: conn, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Load(t.Context(), "customer/a"); !errors.Is(err, command.ErrClosed) {
		t.Fatalf("after closing: %v", err)
	}
}

func TestSettingsThatContradictEachOtherAreRefusedTogether(t *testing.T) {
	t.Parallel()
	_, err := command.NewWriter(command.WriterConfig{Shards: -1, KeyKept: time.Hour, BackoffMin: time.Minute}, command.WriterPorts{})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Name", "Shards", "KeyKept", "BackoffMin"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want it to name %s", err, want)
		}
	}
}

func TestTheShardOfAStreamNeverChanges(t *testing.T) {
	t.Parallel()
	for stream, want := range map[domain.StreamID][3]int{
		"customer/alice": {1, 3, 19}, "customer/bob": {1, 6, 14}, "customer/c-42": {1, 1, 41},
		"title/t": {0, 0, 0}, "policy/default": {0, 0, 0}, "failopen/alice": {0, 0, 0},
	} {
		for i, shards := range []int{1, 8, 64} {
			if got := command.ShardOf(stream, shards); got != want[i] {
				t.Errorf("%s of %d shards: %d, want %d", stream, shards, got, want[i])
			}
		}
	}
}
