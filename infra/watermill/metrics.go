package watermill

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts messages by topic. A nil *Metrics counts nothing.
type Metrics struct {
	publishedTotal, droppedTotal, failedTotal, unreadTotal *prometheus.CounterVec
}

// NewMetrics registers the transport's metrics. A process that starts its transport again goes on with the ones it has.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "carryon", Subsystem: "messages", Name: name, Help: help}, []string{"topic"})
		err := registry.Register(vec)
		if before, again := errors.AsType[prometheus.AlreadyRegisteredError](err); again {
			return before.ExistingCollector.(*prometheus.CounterVec)
		}
		if err != nil {
			panic(err) // another collector has taken the name: a mistake in the program
		}
		return vec
	}
	return &Metrics{
		publishedTotal: counter("published_total", "Messages published."),
		droppedTotal:   counter("dropped_total", "Messages dropped because the topic's queue was full."),
		failedTotal:    counter("failed_total", "Messages that the publisher refused."),
		unreadTotal:    counter("unread_total", "Messages received that could not be read."),
	}
}

func (m *Metrics) published(topic string) {
	if m != nil {
		m.publishedTotal.WithLabelValues(topic).Inc()
	}
}

func (m *Metrics) dropped(topic string) {
	if m != nil {
		m.droppedTotal.WithLabelValues(topic).Inc()
	}
}

func (m *Metrics) failed(topic string) {
	if m != nil {
		m.failedTotal.WithLabelValues(topic).Inc()
	}
}

func (m *Metrics) unread(topic string) {
	if m != nil {
		m.unreadTotal.WithLabelValues(topic).Inc()
	}
}
