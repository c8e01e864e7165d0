//go:build real

package watermill_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/domain"
	"carryon/infra/watermill"
)

// arrivals counts what comes, and how long after it was published.
type arrivals struct {
	mu    sync.Mutex
	sent  map[domain.BatchID]time.Time
	took  []time.Duration
	count atomic.Int64
	slots chan struct{}
}

func (*arrivals) Name() string { return "arrivals" }

func (a *arrivals) Hint(int, uint64) {}

func (a *arrivals) Offer(e *domain.Entry) {
	now := time.Now()
	a.mu.Lock()
	at, known := a.sent[e.ID]
	delete(a.sent, e.ID)
	if known {
		a.took = append(a.took, now.Sub(at))
	}
	a.mu.Unlock()
	if known {
		a.count.Add(1)
		<-a.slots
	}
}

// load is an entry of a benchmark, unlike any other.
func load(n, shard, events int) *domain.Entry {
	payload := make([]byte, 100)
	e := &domain.Entry{Shard: shard, Index: uint64(n), Writer: "bench", RecordedAt: time.Now().UTC()}
	_, _ = rand.Read(e.ID[:])
	for place := range events {
		_, _ = rand.Read(payload)
		e.Events = append(e.Events, domain.Event{
			ID: fmt.Sprint(n, "-", place), Stream: domain.CustomerStream(fmt.Sprint("c", n, place)), Seq: 1, Type: "PlanChanged", SchemaVersion: 1,
			Position:  domain.Position{Shard: e.Shard, Index: e.Index, Place: place},
			CommandID: fmt.Sprint(n, place), Actor: domain.Actor{ID: "bench", Role: domain.RoleService}, RecordedAt: e.RecordedAt, OccurredAt: e.RecordedAt,
			Payload: fmt.Appendf(nil, `{"plan":%q}`, hex.EncodeToString(payload)),
		})
	}
	return e
}

// BenchmarkKafka publishes entries through the bus and reads them through a feed of the same process: encoding, acks of
// the broker, decoding, everything but applying; and, as "bare", messages of the same bytes through the client library
// alone. As many entries are under way as a busy system has.
//
//	CARRYON_TEST_KAFKA=127.0.0.1:9092 go test -tags real ./infra/watermill -run '^$' -bench Kafka -benchtime 5s
func BenchmarkKafka(b *testing.B) {
	for _, bench := range []struct{ shards, events, under int }{{1, 1, 1}, {4, 50, 64}, {16, 10, 256}, {16, 50, 256}, {16, 200, 256}} {
		name := fmt.Sprintf("shards=%d/events=%d/underway=%d", bench.shards, bench.events, bench.under)
		b.Run(name+"/bus", func(b *testing.B) {
			k := onKafka(b, bench.shards)
			bus := startBus(b, k, prometheus.NewRegistry())
			a := &arrivals{sent: map[domain.BatchID]time.Time{}, slots: make(chan struct{}, bench.under)}
			subscribed(b, k, prometheus.NewRegistry(), a)
			var entries []*domain.Entry // made beforehand; sent again and again under new ids
			for n := range 500 {
				entries = append(entries, load(n+1, n%bench.shards+1, bench.events))
			}
			begin, n := time.Now(), 0
			for b.Loop() {
				e := *entries[n%len(entries)]
				n++
				_, _ = rand.Read(e.ID[:])
				a.slots <- struct{}{}
				a.mu.Lock()
				a.sent[e.ID] = time.Now()
				a.mu.Unlock()
				if err := bus.Publish(b.Context(), &e); err != nil {
					b.Fatal(err)
				}
			}
			eventually(b, "the last ones", func() bool { return a.count.Load() == int64(n) })
			report(b, n, bench.events, time.Since(begin), a.took)
		})
		b.Run(name+"/bare", func(b *testing.B) { bare(b, bench.shards, bench.events, bench.under) })
	}
}

func report(b *testing.B, messages, events int, took time.Duration, latencies []time.Duration) {
	rate := float64(messages) / took.Seconds()
	slices.Sort(latencies)
	b.ReportMetric(rate, "messages/s")
	b.ReportMetric(rate*float64(events), "events/s")
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
}

// bare is a loop of the client library: as many goroutines as shards send, a group of one reads.
func bare(b *testing.B, shards, events, under int) {
	k := onKafka(b, shards)
	if err := administer(b, k).CreateTopic(k.Topic, &sarama.TopicDetail{NumPartitions: int32(shards) + 1, ReplicationFactor: 1}, false); err != nil {
		b.Fatal(err)
	}
	c := sarama.NewConfig()
	c.Version, c.ChannelBufferSize = sarama.V2_8_0_0, 16
	c.Producer.RequiredAcks, c.Producer.Idempotent, c.Net.MaxOpenRequests = sarama.WaitForAll, true, 1
	c.Producer.Return.Successes, c.Producer.Partitioner = true, sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(k.Brokers, c)
	if err != nil {
		b.Fatal(err)
	}
	defer producer.Close()
	group, err := sarama.NewConsumerGroup(k.Brokers, k.Topic, c)
	if err != nil {
		b.Fatal(err)
	}
	r := &reading{slots: make(chan struct{}, under), ready: make(chan struct{}, shards+1)}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = group.Consume(ctx, []string{k.Topic}, r) })
	for range shards + 1 {
		<-r.ready
	}
	work := make([]chan []byte, shards)
	for i := range work {
		work[i] = make(chan []byte, under)
		running.Go(func() {
			for value := range work[i] {
				m := &sarama.ProducerMessage{Topic: k.Topic, Partition: int32(i) + 1, Value: sarama.ByteEncoder(value)}
				if _, _, err := producer.SendMessage(m); err != nil {
					b.Error(err)
				}
			}
		})
	}
	value, err := watermill.EntryCodec{}.Encode(load(1, 1, events))
	if err != nil {
		b.Fatal(err)
	}
	begin, n := time.Now(), 0
	for b.Loop() {
		n++
		r.slots <- struct{}{}
		stamped := append(binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano())), value...)
		work[n%shards] <- stamped
	}
	eventually(b, "the last ones", func() bool { return r.count.Load() == int64(n) })
	report(b, n, events, time.Since(begin), r.took)
	for _, w := range work {
		close(w)
	}
	cancel()
	running.Wait()
	if err := group.Close(); err != nil {
		b.Fatal(err)
	}
}

// reading is a bare consumer that marks and counts.
type reading struct {
	mu    sync.Mutex
	took  []time.Duration
	count atomic.Int64
	slots chan struct{}
	ready chan struct{}
}

func (*reading) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*reading) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (r *reading) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	r.ready <- struct{}{}
	for m := range claim.Messages() {
		took := time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(m.Value))))
		session.MarkMessage(m, "")
		r.mu.Lock()
		r.took = append(r.took, took)
		r.mu.Unlock()
		r.count.Add(1)
		<-r.slots
	}
	return nil
}

var _ watermill.Listener = (*arrivals)(nil)
