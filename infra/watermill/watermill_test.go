package watermill_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"carryon/domain"
	"carryon/infra/memory/readmodel"
	"carryon/infra/watermill"
	"carryon/projector"
)

func TestMain(m *testing.M) {
	// Sarama's metrics have a clock of their own that nobody can stop.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		// Of a producer whose broker went away: it sleeps for ten seconds, and ends.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
}

const patience = 20 * time.Second

// runner records what it is told. Its other methods are not called.
type runner struct {
	projector.Runner
	name    string
	told    chan string // "entry 1:5" or "hint 1:5"
	offered func()      // called first
}

func newRunner(name string) *runner {
	return &runner{name: name, told: make(chan string, 10_000), offered: func() {}}
}

func (r *runner) Name() string { return r.name }

func (r *runner) Offer(e *domain.Entry) {
	r.offered()
	r.told <- fmt.Sprintf("entry %d:%d", e.Shard, e.Index)
}

func (r *runner) Hint(shard int, index uint64) { r.told <- fmt.Sprintf("hint %d:%d", shard, index) }

// hears waits for what the runner is told next.
func (r *runner) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-r.told:
		if got != want {
			t.Fatalf("%s was told %q, want %q", r.name, got, want)
		}
	case <-time.After(patience):
		t.Fatalf("%s was not told %q", r.name, want)
	}
}

func entry(index uint64) *domain.Entry {
	e := &domain.Entry{Shard: 1, Index: index, RecordedAt: time.Unix(int64(index), 0).UTC()}
	e.ID[0], e.ID[1], e.ID[2] = 1, byte(index), byte(index>>8)
	e.PreviousID[0], e.PreviousID[1], e.PreviousID[2] = 1, byte(index-1), byte((index-1)>>8)
	return e
}

// emptyLog has nothing.
type emptyLog struct{}

func (emptyLog) Head(context.Context, int) (domain.Head, error) { return domain.Head{}, nil }
func (emptyLog) Read(context.Context, int, uint64, int) ([]domain.Entry, error) {
	return nil, nil
}

// listLog has the entries that were put there.
type listLog struct {
	mu      sync.Mutex
	entries []domain.Entry
}

func (l *listLog) claim(e *domain.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, *e)
}

func (l *listLog) Head(context.Context, int) (domain.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 {
		return domain.Head{}, nil
	}
	last := l.entries[len(l.entries)-1]
	return domain.Head{Index: last.Index, ID: last.ID}, nil
}

func (l *listLog) Read(_ context.Context, _ int, from uint64, _ int) ([]domain.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries[min(from-1, uint64(len(l.entries))):min(from+9, uint64(len(l.entries)))]), nil
}

func start(t *testing.T, cfg watermill.Config, registry *prometheus.Registry, sharedBytes int, runners ...projector.Runner) *watermill.InProcess {
	t.Helper()
	transport, err := watermill.NewInProcess(cfg, projector.NewShared(emptyLog{}, sharedBytes), registry, runners...)
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return transport
}

func publish(t *testing.T, bus interface {
	Publish(ctx context.Context, e *domain.Entry) error
}, from, to uint64,
) {
	t.Helper()
	for index := from; index <= to; index++ {
		if err := bus.Publish(t.Context(), entry(index)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryReadModelIsToldOfEveryEntryInOrder(t *testing.T) {
	t.Parallel()
	one, other := newRunner("one"), newRunner("other")
	transport := start(t, watermill.Config{}, prometheus.NewRegistry(), 1<<20, one, other)
	publish(t, transport, 1, 500)
	for index := 1; index <= 500; index++ {
		one.hears(t, fmt.Sprintf("entry 1:%d", index))
		other.hears(t, fmt.Sprintf("entry 1:%d", index))
	}
}

func TestAnEntryThatIsNotInMemoryAnyMoreComesAsAHint(t *testing.T) {
	t.Parallel()
	one := newRunner("one")
	transport := start(t, watermill.Config{}, prometheus.NewRegistry(), 1, one)
	publish(t, transport, 1, 1)
	one.hears(t, "hint 1:1")
}

func TestAReadModelThatHangsHoldsNeitherTheWriterNorTheOthers(t *testing.T) {
	t.Parallel()
	slow, fast := newRunner("slow"), newRunner("fast")
	hung, free := make(chan struct{}), make(chan struct{})
	slow.offered = func() {
		hung <- struct{}{}
		<-free
	}
	registry := prometheus.NewRegistry()
	transport := start(t, watermill.Config{QueueEntries: 10}, registry, 1<<20, slow, fast)
	publish(t, transport, 1, 1)
	<-hung
	slow.offered = func() {}
	fast.hears(t, "entry 1:1")
	for index := uint64(2); index <= 100; index++ {
		publish(t, transport, index, index)
		fast.hears(t, fmt.Sprintf("entry 1:%d", index))
	}
	if dropped := value(t, registry, "carryon_messages_dropped_total", "entries.slow"); dropped != 89 {
		t.Errorf("%v messages were dropped, want the 99 that came less the 10 that the queue holds", dropped)
	}
	close(free)
	for index := 1; index <= 11; index++ {
		slow.hears(t, fmt.Sprintf("entry 1:%d", index))
	}
	publish(t, transport, 101, 101)
	slow.hears(t, "entry 1:101")
}

func TestAHandlerThatPanicsIsNotGivenTheMessageAgain(t *testing.T) {
	t.Parallel()
	one := newRunner("one")
	panics := 0
	one.offered = func() {
		if panics++; panics == 1 {
			panic("made to panic")
		}
	}
	registry := prometheus.NewRegistry()
	transport := start(t, watermill.Config{}, registry, 1<<20, one)
	publish(t, transport, 1, 2)
	one.hears(t, "entry 1:2")
	if unread := value(t, registry, "carryon_messages_unread_total", "entries.one"); unread != 1 {
		t.Errorf("%v messages counted as of no use, want 1", unread)
	}
}

func TestMessagesPublishedBeforeTheStartAreKept(t *testing.T) {
	t.Parallel()
	one := newRunner("one")
	transport, err := watermill.NewInProcess(watermill.Config{}, projector.NewShared(emptyLog{}, 1<<20), prometheus.NewRegistry(), one)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, transport, 1, 3)
	if err := transport.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for index := 1; index <= 3; index++ {
		one.hears(t, fmt.Sprintf("entry 1:%d", index))
	}
	if err := errors.Join(transport.Close(), transport.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestATransportIsStartedAgainWithTheSameMetrics(t *testing.T) {
	t.Parallel()
	one, registry := newRunner("one"), prometheus.NewRegistry()
	first := start(t, watermill.Config{}, registry, 1<<20, one)
	publish(t, first, 1, 1)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, watermill.Config{}, registry, 1<<20, one)
	publish(t, second, 2, 2)
	one.hears(t, "entry 1:1")
	one.hears(t, "entry 1:2")
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if published := value(t, registry, "carryon_messages_published_total", "entries.one"); published != 2 {
		t.Errorf("%v messages are counted as published, want 2", published)
	}
}

func TestClosePublishesWhatStillWaits(t *testing.T) {
	t.Parallel()
	one := newRunner("one")
	transport := start(t, watermill.Config{}, prometheus.NewRegistry(), 1<<20, one)
	publish(t, transport, 1, 200)
	if err := transport.Close(); err != nil {
		t.Fatal(err)
	}
	for index := 1; index <= 200; index++ {
		one.hears(t, fmt.Sprintf("entry 1:%d", index))
	}
	publish(t, transport, 201, 201) // nobody listens: neither an error nor a leak
}

func TestCloseDoesNotWaitForAHandlerThatHangs(t *testing.T) {
	t.Parallel()
	one := newRunner("one")
	hung, free := make(chan struct{}), make(chan struct{})
	one.offered = func() {
		hung <- struct{}{}
		<-free
	}
	transport, err := watermill.NewInProcess(watermill.Config{Drain: time.Millisecond, Close: time.Millisecond},
		projector.NewShared(emptyLog{}, 1<<20), prometheus.NewRegistry(), one)
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, transport, 1, 2)
	<-hung
	if err := transport.Close(); err == nil {
		t.Error("closing over a handler that hangs is not reported")
	}
	close(free)
	one.hears(t, "entry 1:1")
}

func TestMessagesThatHoldTheirEntryAreDecoded(t *testing.T) {
	t.Parallel()
	one, registry := newRunner("one"), prometheus.NewRegistry()
	pubsub := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, nil)
	counts := watermill.NewMetrics(registry)
	shared := projector.NewShared(emptyLog{}, 1<<20)
	router, err := watermill.NewRouter(watermill.Config{}, shared, watermill.EntryCodec{}, counts, registry,
		watermill.Input{Runner: one, Topic: "entries", Subscriber: pubsub})
	if err != nil {
		t.Fatal(err)
	}
	bus := watermill.NewBus(watermill.Config{}, watermill.EntryCodec{}, counts, watermill.Output{Topic: "entries", Publisher: pubsub})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = router.Run(ctx) })
	<-router.Running()
	group.Go(func() { bus.Run(ctx) })

	publish(t, bus, 1, 1)
	one.hears(t, "entry 1:1")
	if _, kept := shared.Find(entry(1).ID); !kept {
		t.Error("the decoded entry is not shared")
	}
	for name, test := range map[string]struct {
		change func(*message.Message)
		want   string
	}{
		"garbage in the payload":     {func(m *message.Message) { m.Payload = []byte("garbage") }, "hint 1:2"},
		"another entry's payload":    {func(m *message.Message) { m.Payload, _ = watermill.EntryCodec{}.Encode(entry(7)) }, "hint 1:2"},
		"no payload":                 {func(m *message.Message) { m.Payload = nil }, "hint 1:2"},
		"a shard that is no number":  {func(m *message.Message) { m.Metadata.Set("shard", "x") }, ""},
		"an index that is no number": {func(m *message.Message) { m.Metadata.Set("index", "0") }, ""},
		"an id that is none":         {func(m *message.Message) { m.Metadata.Set("id", "zz") }, ""},
	} {
		payload, err := watermill.EntryCodec{}.Encode(entry(2))
		if err != nil {
			t.Fatal(err)
		}
		msg := message.NewMessage("m", payload)
		msg.Metadata.Set("shard", "1")
		msg.Metadata.Set("index", "2")
		msg.Metadata.Set("id", entry(2).ID.String())
		test.change(msg)
		if err := pubsub.Publish("entries", msg); err != nil { // returns when the message was acknowledged
			t.Fatal(err)
		}
		if test.want != "" {
			one.hears(t, test.want)
		} else if len(one.told) > 0 {
			t.Errorf("%s: told %s", name, <-one.told)
		}
	}
	if unread := value(t, registry, "carryon_messages_unread_total", "entries"); unread != 5 {
		t.Errorf("%v messages counted as of no use, want 5", unread)
	}
	cancel()
	if err := errors.Join(router.Close(), pubsub.Close()); err != nil {
		t.Fatal(err)
	}
	group.Wait()
}

// TestWhatIsPublishedIsSoonVisible runs the whole way from the bus to the rows of a store in memory.
func TestWhatIsPublishedIsSoonVisible(t *testing.T) {
	t.Parallel()
	store, log := readmodel.New(), &listLog{}
	shared := projector.NewShared(log, 1<<20)
	consumer := projector.NewConsumer(projector.Config{Pace: 1}, counter{}, store, shared, noHistories{}, []int{1}, time.Now, nil)
	transport := start(t, watermill.Config{}, prometheus.NewRegistry(), 1<<20, consumer)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = consumer.Run(ctx) })
	defer group.Wait()
	defer cancel()
	wait, cancelWait := context.WithTimeout(t.Context(), patience)
	defer cancelWait()
	for index := uint64(1); index <= 100; index++ {
		e := entry(index)
		e.Events = []domain.Event{{Stream: "customer/a", Seq: index, Position: domain.Position{Shard: 1, Index: index}}}
		if index == 1 {
			e.PreviousID = domain.BatchID{}
		}
		log.claim(e)
		if err := transport.Publish(ctx, e); err != nil {
			t.Fatal(err)
		}
		if err := consumer.WaitFor(wait, e.Events[0].Position, "customer/a"); err != nil {
			t.Fatal(err)
		}
		if got, _ := store.Get("seq", "customer/a"); string(got) != fmt.Sprint(index) {
			t.Fatalf("the row shows version %s after %d", got, index)
		}
	}
}

// BenchmarkPublishedIsVisible is the time from publishing an entry to its row in a store in memory, one after the other:
// queue, GoChannel, router, consumer, without the consumer's pace.
func BenchmarkPublishedIsVisible(b *testing.B) {
	store, log := readmodel.New(), &listLog{}
	shared := projector.NewShared(log, 1<<20)
	consumer := projector.NewConsumer(projector.Config{Pace: 1}, counter{}, store, shared, noHistories{}, []int{1}, time.Now, nil)
	transport, err := watermill.NewInProcess(watermill.Config{}, shared, prometheus.NewRegistry(), consumer)
	if err != nil {
		b.Fatal(err)
	}
	if err := transport.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = consumer.Run(ctx) })
	took, index, previous := []time.Duration{}, uint64(0), domain.BatchID{}
	for b.Loop() {
		index++
		e := &domain.Entry{Shard: 1, Index: index, PreviousID: previous}
		binary.BigEndian.PutUint64(e.ID[:], index)
		previous = e.ID
		e.Events = []domain.Event{{Stream: "customer/a", Seq: index, Position: domain.Position{Shard: 1, Index: index}}}
		log.claim(e)
		started := time.Now()
		if err := transport.Publish(ctx, e); err != nil {
			b.Fatal(err)
		}
		if err := consumer.WaitFor(ctx, e.Events[0].Position, "customer/a"); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(started))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	cancel()
	group.Wait()
	if err := transport.Close(); err != nil {
		b.Fatal(err)
	}
}

// counter is a projection that shows a stream's seq.
type counter struct{}

func (counter) Name() string { return "counter" }

func (counter) Apply(_ context.Context, tx *readmodel.Tx, events []*domain.Event) error {
	for _, event := range events {
		tx.Put("seq", string(event.Stream), fmt.Append(nil, event.Seq))
	}
	return nil
}

type noHistories struct{}

func (noHistories) Progress(context.Context, int) (uint64, error) { return 0, nil }
func (noHistories) ReadStream(context.Context, domain.StreamID, uint64, int) ([]domain.Event, error) {
	return nil, nil
}

// value reads a counter of a topic.
func value(t *testing.T, registry *prometheus.Registry, name, topic string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && metric.GetLabel()[0].GetValue() == topic {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// sluggish is a publisher that hangs for one shard.
type sluggish struct {
	kept
	hangs string
	free  chan struct{}
}

func (s sluggish) Publish(topic string, messages ...*message.Message) error {
	if messages[0].Metadata.Get("shard") == s.hangs {
		<-s.free
	}
	return s.kept.Publish(topic, messages...)
}

func TestAShardThatDoesNotMoveLeavesRoomForTheOthers(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	publisher := sluggish{kept: kept{make(chan *message.Message, 1000)}, hangs: "1", free: make(chan struct{})}
	bus := watermill.NewBus(watermill.Config{QueueEntries: 40}, watermill.EntryCodec{}, watermill.NewMetrics(registry),
		watermill.Output{Topic: "entries", Publisher: publisher, Lanes: 4})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { bus.Run(ctx) })
	publish(t, bus, 1, 500)
	if dropped := value(t, registry, "carryon_messages_dropped_total", "entries"); dropped < 478 {
		t.Errorf("%v messages of a shard that does not move were dropped, at most 20 may wait, and one be under way", dropped)
	}
	for index := uint64(1); index <= 100; index++ {
		e := entry(index)
		e.Shard = 2
		if err := bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-publisher.messages:
			if m.Metadata.Get("shard") != "2" || m.Metadata.Get("index") != fmt.Sprint(index) {
				t.Fatalf("entry %s of shard %s came, want entry %d of shard 2", m.Metadata.Get("index"), m.Metadata.Get("shard"), index)
			}
		case <-time.After(patience):
			t.Fatalf("entry %d of another shard was not published", index)
		}
	}
	close(publisher.free)
	cancel()
	group.Wait()
}
