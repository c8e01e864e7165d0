package projector

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what consumers do. A nil *Metrics counts nothing.
type Metrics struct {
	entries      *prometheus.CounterVec
	events       *prometheus.CounterVec
	droppedHints *prometheus.CounterVec
	pulledFrom   *prometheus.CounterVec
	broken       *prometheus.CounterVec
	parkings     *prometheus.CounterVec
	stops        *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	lag          *lagCollector
}

// NewMetrics registers the consumers' metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "carryon", Subsystem: "projector", Name: name, Help: help},
			[]string{"model", "shard"})
	}
	m := &Metrics{
		entries:      counter("entries_total", "Entries applied."),
		events:       counter("events_total", "Events of the entries applied."),
		droppedHints: counter("dropped_hints_total", "Entries offered that found no room and were left to be read from the log."),
		pulledFrom:   counter("pulled_entries_total", "Entries read from the log because no message had brought them."),
		broken:       counter("broken_chain_total", "Entries met that do not follow on the last one applied."),
		parkings:     counter("parked_total", "Streams parked."),
		stops:        counter("history_differs_total", "Shards stopped because history differs."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "carryon", Subsystem: "projector", Name: "transaction_seconds", Help: "Time of one transaction.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"model", "outcome"}),
		lag: newLagCollector(),
	}
	registry.MustRegister(m.entries, m.events, m.droppedHints, m.pulledFrom, m.broken, m.parkings, m.stops, m.seconds, m.lag)
	return m
}

// Watch exports how far the runners are: applied, tail, lag, parked and whether history differs, per model and shard.
func (m *Metrics) Watch(runners ...Runner) {
	if m != nil {
		m.lag.watch(runners)
	}
}

func (m *Metrics) applied(model string, shard, entries, events int) {
	if m != nil {
		m.entries.WithLabelValues(model, strconv.Itoa(shard)).Add(float64(entries))
		m.events.WithLabelValues(model, strconv.Itoa(shard)).Add(float64(events))
	}
}

func (m *Metrics) dropped(model string, shard int) {
	if m != nil {
		m.droppedHints.WithLabelValues(model, strconv.Itoa(shard)).Inc()
	}
}

func (m *Metrics) pulled(model string, shard, entries int) {
	if m != nil {
		m.pulledFrom.WithLabelValues(model, strconv.Itoa(shard)).Add(float64(entries))
	}
}

func (m *Metrics) brokenChain(model string, shard int) {
	if m != nil {
		m.broken.WithLabelValues(model, strconv.Itoa(shard)).Inc()
	}
}

func (m *Metrics) parked(model string, shard int) {
	if m != nil {
		m.parkings.WithLabelValues(model, strconv.Itoa(shard)).Inc()
	}
}

func (m *Metrics) differs(model string, shard int) {
	if m != nil {
		m.stops.WithLabelValues(model, strconv.Itoa(shard)).Inc()
	}
}

// transaction counts a transaction by how it went.
func (m *Metrics) transaction(model string, took time.Duration, err error) {
	if m == nil {
		return
	}
	outcome := "applied"
	switch {
	case errors.Is(err, errMoved):
		outcome = "moved"
	case errors.Is(err, ErrElsewhere):
		outcome = "elsewhere"
	case err != nil:
		outcome = "failed"
	}
	m.seconds.WithLabelValues(model, outcome).Observe(took.Seconds())
}
