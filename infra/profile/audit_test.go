package profile

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/projector"
)

func TestAServiceAuditsItselfAndSaysWhatCameOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &System{config: &config.Config{AuditEvery: time.Hour}, registry: prometheus.NewRegistry(), logger: slog.New(slog.DiscardHandler)}
		a := newAuditor(s)
		answers := []func() (projector.AuditReport, error){
			func() (projector.AuditReport, error) { return projector.AuditReport{}, nil },
			func() (projector.AuditReport, error) {
				return projector.AuditReport{Differences: []projector.Difference{{What: "rows"}, {What: "rows"}}, More: 3}, nil
			},
			func() (projector.AuditReport, error) { return projector.AuditReport{}, errors.New("away") },
		}
		var seeds []uint64
		a.audit = func(_ context.Context, o cli.AuditOptions) (projector.AuditReport, error) {
			seeds = append(seeds, o.Seed)
			return answers[len(seeds)-1]()
		}
		turns := 0
		a.elect = func() bool { turns++; return turns != 2 && len(seeds) < len(answers) } // the second time another process does it
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); a.run(ctx) }()
		<-time.After(12 * time.Hour)
		synctest.Wait()
		stop()
		<-ended
		if len(seeds) != 3 || seeds[0] == seeds[1] || turns < 8 {
			t.Errorf("%d audits in %d turns, of samples %v", len(seeds), turns, seeds)
		}
		families, err := s.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				name := family.GetName()
				for _, label := range m.GetLabel() {
					name += " " + label.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		for name, want := range map[string]float64{
			"carryon_audit_runs_total clean": 1, "carryon_audit_runs_total differs": 1, "carryon_audit_runs_total failed": 1, "carryon_audit_differences": 5,
		} {
			if got[name] != want {
				t.Errorf("%s: %v, want %v", name, got[name], want)
			}
		}
	})
}

func TestAnAuditIsNotMadeWhenNobodyWantsIt(t *testing.T) {
	t.Parallel()
	a := &auditor{}
	a.run(t.Context()) // ends at once
}
