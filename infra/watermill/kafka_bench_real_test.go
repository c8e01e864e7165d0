//go:build real

package watermill_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// BenchmarkKafka publishes entries through the bus and reads them through a feed of the same process: encoding, acks of
// the broker, decoding, everything but applying. As many entries are under way as a busy system has.
//
//	CARRYON_TEST_KAFKA=127.0.0.1:9092 go test -tags real ./infra/watermill -run '^$' -bench Kafka -benchtime 5s
func BenchmarkKafka(b *testing.B) {
	for _, bench := range []struct{ shards, events, under int }{{1, 1, 1}, {1, 50, 16}, {4, 50, 64}, {16, 1, 256}, {16, 10, 256}, {16, 50, 256}, {16, 200, 256}} {
		b.Run(fmt.Sprintf("shards=%d/events=%d/underway=%d", bench.shards, bench.events, bench.under), func(b *testing.B) {
			k := onKafka(b, bench.shards)
			bus := startBus(b, k, prometheus.NewRegistry())
			a := &arrivals{sent: map[domain.BatchID]time.Time{}, slots: make(chan struct{}, bench.under)}
			subscribed(b, k, prometheus.NewRegistry(), a)
			payload := make([]byte, 100)
			begin, n := time.Now(), 0
			for b.Loop() {
				n++
				e := &domain.Entry{Shard: n%bench.shards + 1, Index: uint64(n), Writer: "bench", RecordedAt: time.Now().UTC()}
				_, _ = rand.Read(e.ID[:])
				for place := range bench.events {
					_, _ = rand.Read(payload)
					e.Events = append(e.Events, domain.Event{
						ID: fmt.Sprint(n, "-", place), Stream: domain.CustomerStream(fmt.Sprint("c", n, place)), Seq: 1, Type: "PlanChanged", SchemaVersion: 1,
						Position:  domain.Position{Shard: e.Shard, Index: e.Index, Place: place},
						CommandID: fmt.Sprint(n, place), Actor: domain.Actor{ID: "bench", Role: domain.RoleService}, RecordedAt: e.RecordedAt, OccurredAt: e.RecordedAt,
						Payload: fmt.Appendf(nil, `{"plan":%q}`, hex.EncodeToString(payload)),
					})
				}
				a.slots <- struct{}{}
				a.mu.Lock()
				a.sent[e.ID] = time.Now()
				a.mu.Unlock()
				if err := bus.Publish(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
			eventually(b, "the last ones", func() bool { return a.count.Load() == int64(n) })
			rate := float64(n) / time.Since(begin).Seconds()
			slices.Sort(a.took)
			b.ReportMetric(rate, "messages/s")
			b.ReportMetric(rate*float64(bench.events), "events/s")
			b.ReportMetric(float64(a.took[len(a.took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(a.took[len(a.took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

var _ watermill.Listener = (*arrivals)(nil)
