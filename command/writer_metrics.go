package command

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// WriterMetrics are the shard writers' figures, all by shard.
type WriterMetrics struct {
	commands    *prometheus.CounterVec   // answered, by outcome
	batches     *prometheus.CounterVec   // claims whose outcome is known or was asked for again, by outcome
	events      *prometheus.CounterVec   // recorded
	claimTime   *prometheus.HistogramVec // seconds a claim took
	batchSize   *prometheus.HistogramVec // commands in a claimed batch
	loads       *prometheus.CounterVec   // streams loaded, by outcome
	dropped     *prometheus.CounterVec   // entries that the bus's queue had no room for
	queue       *prometheus.GaugeVec     // commands waiting
	cacheBytes  *prometheus.GaugeVec     // of states in memory
	deriveLag   *prometheus.GaugeVec     // events not yet in the histories
	deriveFails *prometheus.CounterVec   // derivations that failed and will be repeated
	held        *prometheus.GaugeVec     // 1 while commands wait for the derivation
	stopped     *prometheus.GaugeVec     // 1 when the shard is stopped in this process
	badStreams  *prometheus.GaugeVec     // streams stopped because an event of theirs can't be folded
}

// NewWriterMetrics makes the metrics and registers them, unless registry is nil.
func NewWriterMetrics(registry prometheus.Registerer) *WriterMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carryon_writer_" + name, Help: help}, append([]string{"shard"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "carryon_writer_" + name, Help: help}, []string{"shard"})
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "carryon_writer_" + name, Help: help, Buckets: buckets}, []string{"shard"})
	}
	m := &WriterMetrics{
		commands:    counter("commands_total", "Commands answered, by outcome.", "outcome"),
		batches:     counter("claims_total", "Claims of an entry, by outcome: applied, taken, unknown, failed.", "outcome"),
		events:      counter("events_total", "Events recorded."),
		claimTime:   histogram("claim_seconds", "How long a claim took.", prometheus.ExponentialBuckets(0.0002, 2, 15)),
		batchSize:   histogram("batch_commands", "Commands answered by one claim.", prometheus.ExponentialBuckets(1, 2, 12)),
		loads:       counter("loads_total", "Streams loaded, by outcome.", "outcome"),
		dropped:     counter("publish_dropped_total", "Entries not published because the queue was full; consumers find them in the log."),
		queue:       gauge("queue_commands", "Commands waiting."),
		cacheBytes:  gauge("cache_bytes", "Folded states in memory."),
		deriveLag:   gauge("derive_lag_events", "Events claimed and not yet in the histories."),
		deriveFails: counter("derive_failures_total", "Derivations of histories that failed and are repeated."),
		held:        gauge("held", "1 while commands wait for the derivation of histories."),
		stopped:     gauge("stopped", "1 when the shard is stopped in this process: its log differs, or is written by a newer program."),
		badStreams:  gauge("stopped_streams", "Streams stopped because one of their events can't be folded."),
	}
	if registry != nil {
		registry.MustRegister(m.commands, m.batches, m.events, m.claimTime, m.batchSize, m.loads, m.dropped, m.queue,
			m.cacheBytes, m.deriveLag, m.deriveFails, m.held, m.stopped, m.badStreams)
	}
	return m
}

// shardFigures are the figures of one shard, their labels looked up once.
type shardFigures struct {
	m           *WriterMetrics
	shard       string
	claims      [4]prometheus.Counter
	events      prometheus.Counter
	claimTime   prometheus.Observer
	batchSize   prometheus.Observer
	answers     [len(answerOutcomes)]prometheus.Counter
	loadedOK    prometheus.Counter
	loadedNot   prometheus.Counter
	dropped     prometheus.Counter
	deriveFails prometheus.Counter
	badStreams  prometheus.Gauge
	queue       prometheus.Gauge
	cacheBytes  prometheus.Gauge
	deriveLag   prometheus.Gauge
	heldGauge   prometheus.Gauge
	stoppedNow  prometheus.Gauge
	stopped     atomic.Bool
}

// Outcomes of a claim.
const (
	outcomeApplied = iota
	outcomeTaken
	outcomeUnknown
	outcomeFailed
)

// answerOutcomes classify answers; errors are found by the first that they wrap.
var answerOutcomes = [...]struct {
	name string
	err  error
}{
	{"recorded", nil}, {"repeated", nil}, {"nothing_recorded", nil},
	{"unknown", ErrUnknown}, {"overloaded", ErrOverloaded}, {"closed", ErrClosed}, {"differs", ErrDiffers}, {"unavailable", ErrUnavailable},
	{"version_conflict", ErrVersionConflict}, {"idempotency_conflict", ErrIdempotencyConflict}, {"token_drift", ErrTokenDrift},
	{"too_large", ErrTooLarge}, {"store_full", ErrStoreFull}, {"rejected", nil},
}

func (m *WriterMetrics) of(shard int) *shardFigures {
	l := strconv.Itoa(shard)
	f := &shardFigures{
		m: m, shard: l, events: m.events.WithLabelValues(l), claimTime: m.claimTime.WithLabelValues(l), batchSize: m.batchSize.WithLabelValues(l),
		loadedOK: m.loads.WithLabelValues(l, "loaded"), loadedNot: m.loads.WithLabelValues(l, "failed"), dropped: m.dropped.WithLabelValues(l),
		deriveFails: m.deriveFails.WithLabelValues(l), badStreams: m.badStreams.WithLabelValues(l), queue: m.queue.WithLabelValues(l),
		cacheBytes: m.cacheBytes.WithLabelValues(l), deriveLag: m.deriveLag.WithLabelValues(l), heldGauge: m.held.WithLabelValues(l),
		stoppedNow: m.stopped.WithLabelValues(l),
	}
	for i, outcome := range [...]string{"applied", "taken", "unknown", "failed"} {
		f.claims[i] = m.batches.WithLabelValues(l, outcome)
	}
	for i := range answerOutcomes {
		f.answers[i] = m.commands.WithLabelValues(l, answerOutcomes[i].name)
	}
	return f
}

func (f *shardFigures) claimed(outcome int) { f.claims[outcome].Inc() }

func (f *shardFigures) batch(commands, events int, took time.Duration) {
	f.events.Add(float64(events))
	f.batchSize.Observe(float64(commands))
	f.claimTime.Observe(took.Seconds())
}

func (f *shardFigures) loaded(err error) {
	if err == nil {
		f.loadedOK.Inc()
	} else {
		f.loadedNot.Inc()
	}
}

func (f *shardFigures) answered(o *outcome) {
	switch {
	case o.err == nil && o.result.Repeated:
		f.answers[1].Inc()
	case o.err == nil && len(o.result.Events) > 0:
		f.answers[0].Inc()
	case o.err == nil:
		f.answers[2].Inc()
	default:
		f.answers[classify(o.err)].Inc()
	}
}

func classify(err error) int {
	for i := range answerOutcomes {
		if known := answerOutcomes[i].err; known != nil && errors.Is(err, known) {
			return i
		}
	}
	return len(answerOutcomes) - 1
}

// gauges shows where the shard stands.
func (f *shardFigures) gauges(s *shard) {
	f.queue.Set(float64(s.unanswered))
	f.cacheBytes.Set(float64(s.hot.bytes + s.cold.bytes))
	f.deriveLag.Set(float64(s.lagging))
	f.heldGauge.Set(oneIf(s.held()))
	f.stoppedNow.Set(oneIf(f.stopped.Load()))
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
