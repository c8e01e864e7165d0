package command

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carryon/domain"
)

// What decorates every command: one count by name and outcome, its duration, and one line in the log where an operator
// has something to look at. No line names what a customer holds or said.

// Metrics are the handlers' figures.
type Metrics struct {
	commands   *prometheus.CounterVec   // by command and outcome
	refusals   *prometheus.CounterVec   // by command and code
	duration   *prometheus.HistogramVec // seconds, by command
	emergency  *prometheus.CounterVec   // grants made without the books, by what became of them
	unsettled  prometheus.Gauge         // of these, how many are known to wait
	shadow     *prometheus.CounterVec   // decisions of the shadow policy, by how they compare
	registerer prometheus.Registerer
}

// NewMetrics makes the figures and registers them, unless registerer is nil.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carryon_commands_total", Help: "Commands answered, by outcome.",
		}, []string{"command", "outcome"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carryon_refusals_total", Help: "Commands that the rules refused, by the code of the first rule.",
		}, []string{"command", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carryon_command_seconds", Help: "How long commands took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"command"}),
		emergency: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carryon_failopen_grants_total", Help: "Grants made while the customer's books could not be read, by what became of them.",
		}, []string{"outcome"}),
		unsettled: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carryon_failopen_unsettled", Help: "Customers with fail-open grants that wait to be settled.",
		}),
		shadow: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carryon_shadow_decisions_total", Help: "Decisions that the shadow policy made too, by what it would have decided.",
		}, []string{"compared"}),
		registerer: registerer,
	}
	if registerer != nil {
		registerer.MustRegister(m.commands, m.refusals, m.duration, m.emergency, m.unsettled, m.shadow)
	}
	return m
}

func (m *Metrics) shadowed(compared string) { m.shadow.WithLabelValues(compared).Inc() }

// follow exports how stale the reference is.
func (m *Metrics) follow(f *ReferenceFollower) {
	if m.registerer == nil {
		return
	}
	m.registerer.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "carryon_reference_staleness_seconds", Help: "How long ago the tail of the reference shard was last seen.",
		}, func() float64 { return f.Staleness().Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "carryon_reference_entry", Help: "Last entry of the reference shard that is known.",
		}, func() float64 { return float64(f.Index()) }),
	)
}

// observe counts an answered command, and logs a failure that is nobody's mistake but ours or the store's.
func (a *App) observe(ctx context.Context, r *request, result *Result, err error, took time.Duration) {
	if a.forwarded { // the process that it came to counts it, and knows what became of it
		return
	}
	outcome := outcomeOf(result, err)
	a.metrics.commands.WithLabelValues(r.name, outcome).Inc()
	a.metrics.duration.WithLabelValues(r.name).Observe(took.Seconds())
	if err == nil && result.Refused() {
		a.metrics.refusals.WithLabelValues(r.name, result.Decision.Code).Inc()
	}
	switch outcome {
	case "unavailable", "unknown", "failed":
		a.logger.LogAttrs(ctx, slog.LevelError, "a command failed", slog.String("command", r.name), slog.String("command_id", r.meta.CommandID),
			slog.String("correlation", r.meta.Correlation), slog.String("outcome", outcome), slog.Duration("took", took), slog.Any("error", err))
	}
}

// outcomeOf is an answer in one word.
func outcomeOf(result *Result, err error) string {
	switch {
	case err == nil && result.Refused():
		return "refused"
	case err == nil && result.Repeated:
		return "repeated"
	case err == nil:
		return "done"
	case errors.Is(err, errMoreRemains):
		return "continued"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, ErrUnknown):
		return "unknown"
	case errors.Is(err, ErrVersionConflict):
		return "version_conflict"
	case errors.Is(err, ErrIdempotencyConflict):
		return "idempotency_conflict"
	case errors.Is(err, ErrTokenDrift):
		return "token_drift"
	case errors.Is(err, ErrOverloaded):
		return "overloaded"
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed):
		return "unavailable"
	case errors.Is(err, domain.ErrNotFound):
		return "not_found"
	case errors.Is(err, domain.ErrConflict):
		return "conflict"
	}
	if _, ok := errors.AsType[FieldErrors](err); ok {
		return "invalid"
	}
	if _, ok := errors.AsType[*domain.FieldError](err); ok {
		return "invalid"
	}
	return "failed"
}
