package profile

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carryon/api/cli"
	"carryon/projector"
)

// A service audits itself now and then, a sample at a time, so that a difference is a metric and a line in the log
// before it is a customer's complaint. Of several processes with projectors one does it.

// auditor audits at intervals.
type auditor struct {
	every  time.Duration
	audit  func(ctx context.Context, o cli.AuditOptions) (projector.AuditReport, error)
	elect  func() bool // whether it is this process's turn
	system *System

	runs        *prometheus.CounterVec
	differences prometheus.Gauge
	last        prometheus.Gauge
	took        prometheus.Gauge
}

// auditSample are the customers that are compared each time, others every time. The chain of the log is walked whole.
const auditSample = 500

func newAuditor(s *System) *auditor {
	a := &auditor{
		every: s.config.AuditEvery, audit: s.Audit, elect: s.auditsHere, system: s,
		runs:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carryon_audit_runs_total", Help: "Audits of this process, by how they ended: clean, differs, failed."}, []string{"result"}),
		differences: prometheus.NewGauge(prometheus.GaugeOpts{Name: "carryon_audit_differences", Help: "Differences that the last audit of this process found."}),
		last:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "carryon_audit_last_timestamp_seconds", Help: "When the last audit of this process ended; 0: none has."}),
		took:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "carryon_audit_duration_seconds", Help: "How long the last audit of this process took."}),
	}
	s.registry.MustRegister(a.runs, a.differences, a.last, a.took)
	return a
}

// auditsHere: of the projectors that are known, the first by name audits. Two that don't know each other both do, which
// costs time alone.
func (s *System) auditsHere() bool {
	if s.peers == nil {
		return true
	}
	r := s.peers.roster.Load()
	if r == nil {
		return true
	}
	for _, m := range r.Members() { // in order of name
		for _, role := range m.Roles {
			if role == roleProjector {
				return m.Name == s.name
			}
		}
	}
	return true
}

// run audits until ctx ends. The intervals vary, so that processes which began together do not audit together.
func (a *auditor) run(ctx context.Context) {
	if a.every == 0 {
		return
	}
	for seed := rand.Uint64(); ; seed++ { //nolint:gosec // which customers are looked at is no secret
		timer := time.NewTimer(a.every/2 + rand.N(a.every)) //nolint:gosec // nor when
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if a.elect() {
			a.once(ctx, seed)
		}
	}
}

func (a *auditor) once(ctx context.Context, seed uint64) {
	begin := time.Now()
	report, err := a.audit(ctx, cli.AuditOptions{Sample: auditSample, Seed: seed, Workers: 1, Progress: func(string, int64, int64) {}})
	if ctx.Err() != nil {
		return
	}
	a.took.Set(time.Since(begin).Seconds())
	a.last.SetToCurrentTime()
	found := len(report.Differences) + report.More
	switch {
	case err != nil:
		a.runs.WithLabelValues("failed").Inc()
		a.system.logger.Warn("the audit could not be done", "error", err)
		return
	case found > 0:
		a.runs.WithLabelValues("differs").Inc()
		kinds := map[string]int{}
		for _, d := range report.Differences {
			kinds[d.What]++
		}
		// What differs names customers: that is for who asks, and not for the log.
		a.system.logger.Error("the audit found differences: carryon verify names them", "differences", found, "kinds", kinds)
	default:
		a.runs.WithLabelValues("clean").Inc()
	}
	a.differences.Set(float64(found))
}
