//go:build real

package watermill_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/watermill"
	"carryon/projector"
)

// The tests of this file need a Kafka broker: scripts/stack/stack up kafka, and CARRYON_TEST_KAFKA=127.0.0.1:9092.

func brokers(t testing.TB) []string {
	t.Helper()
	list := os.Getenv("CARRYON_TEST_KAFKA")
	if list == "" {
		t.Fatal("CARRYON_TEST_KAFKA is not set: start a broker (scripts/stack) and name it, as in CARRYON_TEST_KAFKA=127.0.0.1:9092")
	}
	return strings.Split(list, ",")
}

// onKafka is a topic of the test's own, that goes with it.
func onKafka(t testing.TB, shards int) watermill.Kafka {
	t.Helper()
	k := watermill.Kafka{Brokers: brokers(t), Topic: "carryon-test-" + strings.ToLower(rand.Text()[:10]), Shards: shards}
	t.Cleanup(func() {
		admin := administer(t, k)
		if err := admin.DeleteTopic(k.Topic); err != nil && !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			t.Errorf("deleting topic %s: %v", k.Topic, err)
		}
	})
	return k
}

func administer(t testing.TB, k watermill.Kafka) sarama.ClusterAdmin {
	t.Helper()
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	admin, err := sarama.NewClusterAdmin(k.Brokers, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	return admin
}

func startBus(t testing.TB, k watermill.Kafka, registry *prometheus.Registry) *watermill.KafkaBus {
	t.Helper()
	bus, err := watermill.NewKafkaBus(watermill.Config{}, k, registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Errorf("closing the bus: %v", err)
		}
	})
	return bus
}

// subscribed starts a feed and waits until it has its place in the group.
func subscribed(t testing.TB, k watermill.Kafka, registry *prometheus.Registry, listeners ...watermill.Listener) *watermill.KafkaFeed {
	t.Helper()
	feed, err := watermill.NewKafkaFeed(watermill.Config{}, k, projector.NewShared(emptyLog{}, 1<<20), registry, listeners...)
	if err != nil {
		t.Fatal(err)
	}
	if err := feed.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feed.Close)
	eventually(t, "a place in the group", func() bool { return feed.Status() == nil })
	return feed
}

// mute is a connection to a broker that has stopped answering, once quiet is closed.
type mute struct {
	net.Conn
	quiet  <-chan struct{}
	closed chan struct{}
	close  func() error
}

func (m *mute) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	select {
	case <-m.quiet:
		<-m.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (m *mute) Close() error { return m.close() }

// muted has the connections to a broker lead to one that stops answering when quiet is closed.
func muted(k watermill.Kafka) (_ watermill.Kafka, quiet chan struct{}) {
	quiet = make(chan struct{})
	k.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		m := &mute{Conn: conn, quiet: quiet, closed: make(chan struct{})}
		m.close = sync.OnceValue(func() error {
			close(m.closed)
			return conn.Close()
		})
		return m, nil
	}
	return k, quiet
}

// ends waits until something has ended, in spite of a broker that does not answer.
func ends(t *testing.T, what string, end func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		end()
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatalf("%s waits for a broker that does not answer", what)
	}
}

// A group that shares its partitions out anew answers late, and a broker that hangs never. The reader waits longer than
// this test does.
func TestAFeedClosesWhileTheBrokerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	k, quiet := muted(onKafka(t, 3))
	k.Patience = time.Hour
	feed := subscribed(t, k, prometheus.NewRegistry(), newRunner("one"))
	close(quiet)
	ends(t, "the feed", feed.Close)
}

// What is being published then is dropped, and the queue with it: the log has the entries.
func TestABusClosesWhileTheBrokerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	k, quiet := muted(onKafka(t, 3))
	registry := prometheus.NewRegistry()
	bus := startBus(t, k, registry)
	if err := bus.Publish(t.Context(), entry(1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a message that is published", func() bool { return value(t, registry, "carryon_messages_published_total", k.Topic) == 1 })
	close(quiet)
	for index := range uint64(10) {
		if err := bus.Publish(t.Context(), entry(2+index)); err != nil {
			t.Fatal(err)
		}
	}
	ends(t, "the bus", func() { _ = bus.Close() }) // what it could not say goodbye to is no news
}

func TestABusClosesWhileItConnectsToABrokerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	k, quiet := muted(onKafka(t, 3))
	dial := k.Dial
	var there, tried atomic.Bool
	k.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !there.Load() {
			return nil, errors.New("the broker is away")
		}
		tried.Store(true)
		return dial(ctx, network, address)
	}
	bus := startBus(t, k, prometheus.NewRegistry())
	close(quiet)
	there.Store(true)
	eventually(t, "a connection", func() bool {
		if err := bus.Publish(t.Context(), entry(1)); err != nil {
			t.Fatal(err)
		}
		return tried.Load()
	})
	told := make(chan error, 1)
	ends(t, "who asks for the status", func() { told <- bus.Status() })
	if err := <-told; err == nil {
		t.Error("all is well, it says")
	}
	ends(t, "the bus", func() { _ = bus.Close() })
}

// eventually asks again and again until something is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); ; {
		if is() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-tick.C
	}
}

func TestKafkaKeepsTheConsumerContract(t *testing.T) {
	conformance.Transports(t, subject, func(t *testing.T) conformance.Transport {
		k := onKafka(t, 1)
		bus := startBus(t, k, prometheus.NewRegistry())
		return conformance.Transport{
			Publish: func(e *domain.Entry) {
				if err := bus.Publish(t.Context(), e); err != nil {
					t.Error(err)
				}
			},
			Subscribe: func(t *testing.T, listener conformance.Listener) func() {
				feed := subscribed(t, k, prometheus.NewRegistry(), listener)
				atRest(t, k)
				return feed.Close
			},
		}
	})
}

// atRest waits until the group of a topic is at rest and every partition is assigned.
func atRest(t testing.TB, k watermill.Kafka) {
	t.Helper()
	admin := administer(t, k)
	eventually(t, "a group at rest", func() bool {
		groups, err := admin.DescribeConsumerGroups([]string{k.Topic})
		return err == nil && len(groups) == 1 && groups[0].State == "Stable"
	})
}

func TestATopicWithTooFewPartitionsIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	k := onKafka(t, 3)
	if err := administer(t, k).CreateTopic(k.Topic, &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	bus, err := watermill.NewKafkaBus(watermill.Config{}, k, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(t.Context()); !errors.Is(err, watermill.ErrTopic) {
		t.Errorf("3 partitions for 3 customer shards and the reference shard: %v", err)
	}
	feed, err := watermill.NewKafkaFeed(watermill.Config{}, k, projector.NewShared(emptyLog{}, 1<<20), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := feed.Start(t.Context()); !errors.Is(err, watermill.ErrTopic) {
		t.Errorf("3 partitions for 3 customer shards and the reference shard: %v", err)
	}
}

func TestManyProcessesMayMakeTheTopicAtOnce(t *testing.T) {
	t.Parallel()
	k := onKafka(t, 5)
	var group sync.WaitGroup
	for range 6 {
		bus, err := watermill.NewKafkaBus(watermill.Config{}, k, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if err := bus.Start(t.Context()); err != nil {
				t.Error(err)
			}
			if err := bus.Status(); err != nil {
				t.Error(err)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	topics, err := administer(t, k).DescribeTopics([]string{k.Topic})
	if err != nil || len(topics) != 1 || len(topics[0].Partitions) != 6 {
		t.Errorf("the topic is %+v, %v; want 6 partitions", topics, err)
	}
}

func TestWhatCannotBeReadNeverHoldsItsPartition(t *testing.T) {
	t.Parallel()
	k := onKafka(t, 1)
	registry := prometheus.NewRegistry()
	bus := startBus(t, k, registry)
	one := newRunner("one")
	subscribed(t, k, registry, one)

	c := sarama.NewConfig()
	c.Version, c.Producer.Return.Successes, c.Producer.Partitioner = sarama.V2_8_0_0, true, sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(k.Brokers, c)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	header := func(name, value string) sarama.RecordHeader {
		return sarama.RecordHeader{Key: []byte(name), Value: []byte(value)}
	}
	whole, err := watermill.EntryCodec{}.Encode(entry(1))
	if err != nil {
		t.Fatal(err)
	}
	id := entry(1).ID.String()
	stray := []*sarama.ProducerMessage{
		{Value: sarama.StringEncoder("garbage")},
		{}, // a tombstone without headers
		{Value: sarama.ByteEncoder(whole)},
		{Value: sarama.ByteEncoder(whole), Headers: []sarama.RecordHeader{header("shard", "x"), header("index", "1"), header("id", id)}},
		{Value: sarama.ByteEncoder(whole[:20]), Headers: []sarama.RecordHeader{header("shard", "1"), header("index", "9"), header("id", id)}},
		{Headers: []sarama.RecordHeader{header("", ""), header("_watermill_message_uuid", "")}},
	}
	for _, m := range stray {
		m.Topic, m.Partition = k.Topic, 1
		if _, _, err := producer.SendMessage(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := bus.Publish(t.Context(), entry(1)); err != nil {
		t.Fatal(err)
	}
	one.hears(t, "hint 1:9")
	one.hears(t, "entry 1:1")
	if unread := value(t, registry, "carryon_messages_unread_total", k.Topic); unread != float64(len(stray)) {
		t.Errorf("%v messages are counted as of no use, want %d", unread, len(stray))
	}
}

func TestPartitionsGoToWhoIsThere(t *testing.T) {
	t.Parallel()
	k := onKafka(t, 7)
	bus := startBus(t, k, prometheus.NewRegistry())
	both := newRunner("both")
	first := subscribed(t, k, prometheus.NewRegistry(), both)
	assigned := func(feeds ...*watermill.KafkaFeed) (shards int) {
		for shard := range k.Shards + 1 {
			for _, f := range feeds {
				if f.Status() == nil && f.Assigned(shard) {
					shards++
				}
			}
		}
		return shards
	}
	eventually(t, "all partitions for the first", func() bool { return assigned(first) == 8 })
	second := subscribed(t, k, prometheus.NewRegistry(), both)
	eventually(t, "a fair share", func() bool { return assigned(first) == 4 && assigned(second) == 4 })
	first.Close()
	if !first.Assigned(3) {
		t.Error("who has no place in the group leaves shards to others")
	}
	eventually(t, "all partitions for the second", func() bool { return assigned(second) == 8 })
	for shard := range k.Shards + 1 {
		e := entry(1)
		e.Shard, e.ID[3] = shard, byte(shard)
		if err := bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	told := map[string]int{}
	for range k.Shards + 1 {
		select {
		case what := <-both.told:
			told[what]++
		case <-time.After(patience):
			t.Fatalf("only %v came", told)
		}
	}
	for shard := range k.Shards + 1 {
		if told[fmt.Sprintf("entry %d:1", shard)] != 1 {
			t.Errorf("shard %d: %v came", shard, told)
		}
	}
}

// Publish must never wait for a broker, and what it can't publish it drops.
func TestABrokerThatWasNeverThereHoldsNobody(t *testing.T) {
	t.Parallel()
	k := watermill.Kafka{Brokers: []string{"127.0.0.1:9"}, Topic: "nowhere", Shards: 4}
	registry := prometheus.NewRegistry()
	bus, err := watermill.NewKafkaBus(watermill.Config{QueueEntries: 10, Drain: 10 * time.Millisecond}, k, registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for index := uint64(1); index <= 1000; index++ {
		if err := bus.Publish(t.Context(), entry(index)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("handing over 1000 entries took %s", took)
	}
	if bus.Status() == nil {
		t.Error("the bus does not say that the broker is away")
	}
	feed, err := watermill.NewKafkaFeed(watermill.Config{}, k, projector.NewShared(emptyLog{}, 1<<20), registry, newRunner("one"))
	if err != nil {
		t.Fatal(err)
	}
	if err := feed.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if feed.Status() == nil || !feed.Assigned(2) {
		t.Error("the feed does not say that the broker is away, or leaves shards to others")
	}
	feed.Close()
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
}
