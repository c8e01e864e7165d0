package projector

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// lagCollector asks the runners for their status whenever metrics are collected.
type lagCollector struct {
	mu      sync.Mutex
	runners []Runner

	applied, tail, entries, events, seconds, parked, differs *prometheus.Desc
}

func newLagCollector() *lagCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("carryon_projector_"+name, help, []string{"model", "shard"}, nil)
	}
	return &lagCollector{
		applied: desc("applied_index", "Index of the last entry applied."),
		tail:    desc("tail_index", "Highest index heard of."),
		entries: desc("lag_entries", "Entries that are not applied."),
		events:  desc("lag_events", "Events that are not applied; those of entries not read yet are estimated."),
		seconds: desc("lag_seconds", "Age of the oldest entry that is not applied."),
		parked:  desc("parked_streams", "Streams parked now."),
		differs: desc("history_differs", "1 when the shard has stopped because history differs."),
	}
}

func (l *lagCollector) watch(runners []Runner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runners = append(l.runners, runners...)
}

// Describe names the metrics.
func (l *lagCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{l.applied, l.tail, l.entries, l.events, l.seconds, l.parked, l.differs} {
		out <- desc
	}
}

// Collect reads the runners' status.
func (l *lagCollector) Collect(out chan<- prometheus.Metric) {
	l.mu.Lock()
	runners := l.runners
	l.mu.Unlock()
	for _, status := range Runners(runners).Status() {
		gauge := func(desc *prometheus.Desc, value float64) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, status.Model, strconv.Itoa(status.Shard))
		}
		gauge(l.applied, float64(status.Applied.Index))
		gauge(l.tail, float64(status.Tail))
		gauge(l.entries, float64(status.LagEntries))
		gauge(l.events, float64(status.LagEvents))
		gauge(l.seconds, status.Lag.Seconds())
		gauge(l.parked, float64(status.Parked))
		differs := 0.0
		if status.Differs {
			differs = 1
		}
		gauge(l.differs, differs)
	}
}
