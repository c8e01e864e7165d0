package command

import (
	"strconv"

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

func shardLabel(shard int) string { return strconv.Itoa(shard) }
