package profile

import (
	"context"
	"fmt"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/simulate"
	"carryon/domain"
)

func openTest(t *testing.T, dir string) *System {
	t.Helper()
	s, err := OpenEmbedded(t.Context(), configured(t, dir), cli.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func configured(t *testing.T, dir string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Sources{Flags: map[string]string{"data": dir, "listen": "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatIsAcknowledgedOverHTTPIsVisibleAndOutlivesAShutdown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ready, served := make(chan string, 1), make(chan error, 1)
	go func() { served <- s.Serve(ctx, func(url string) { ready <- url }) }()
	var url string
	select {
	case url = <-ready:
	case err := <-served:
		t.Fatalf("ended before it was ready: %v", err)
	}
	target := simulate.NewHTTP([]string{url}, "", 8, func() func(role domain.Role, customer string) (string, error) {
		keys := keyRing{Ring: s.keys}
		return func(role domain.Role, customer string) (string, error) {
			if role != "device" {
				customer = ""
			}
			return keys.Token(role, customer, "", time.Hour)
		}
	}())
	report, err := simulate.Run(t.Context(), target, simulate.Options{
		Seed: 11, Households: 20, Prefix: "e", Callers: 8, Commands: 600, Repeats: 0.1, Patience: 3,
		Titles: s.catalogue.Catalogue(), Lookup: s.catalogue.Catalogue().Title,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Clean() || report.Repeats == 0 {
		t.Fatalf("unknowns %d, repeats %d, answered differently %v", report.Unknowns, report.Repeats, report.Differ)
	}
	if r := report.Kinds[simulate.Renew]; r.Accepted+r.Refused == 0 || report.Refusals["TOKEN_DRIFT"] == 0 || len(report.Problems) != 0 {
		t.Errorf("renewals %d, refusals %v, problems %v: wanted renewals, a TOKEN_DRIFT, no problem", r.Accepted+r.Refused, report.Refusals, report.Problems)
	}
	seen, err := target.CheckVisible(t.Context(), report, nil)
	if err != nil {
		t.Fatal(err)
	}
	target.Client.CloseIdleConnections()
	stop()
	if err := <-served; err != nil {
		t.Fatalf("shutting down: %v", err)
	}
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("closing: %v", err)
	}

	again := openTest(t, dir)
	defer func() {
		if err := again.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if err := again.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	audit, err := again.Audit(t.Context(), cli.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !audit.Clean() {
		t.Errorf("the audit finds: %v", audit.Differences)
	}
	var events int64
	for customer, version := range report.Latest {
		n := int64(0)
		for e, err := range again.Books().Events(t.Context(), domain.CustomerStream(customer), 1) {
			if err != nil {
				t.Fatal(err)
			}
			n = int64(e.Seq) //nolint:gosec // small
		}
		if n != int64(version) { //nolint:gosec // small
			t.Errorf("%s has %d events, version %d was acknowledged", customer, n, version)
		}
		events += n
	}
	if events != seen {
		t.Errorf("%d events are recorded, %d were visible", events, seen)
	}
}

func TestADamagedReadModelIsNamedByTheAudit(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	defer func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	clock := time.Now().Add(-24 * time.Hour)
	_, err := simulate.History(t.Context(), simulate.Handlers{App: s.app}, simulate.HistoryOptions{
		Options: simulate.Options{Seed: 2, Households: 10, Prefix: "x", Callers: 4, Titles: s.catalogue.Catalogue(), Lookup: s.catalogue.Catalogue().Title},
		From:    clock, To: clock.Add(time.Hour), Events: 300, Written: s.Recorded, SetClock: func(time.Time) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	timeline, done, err := s.models.timeline.Take()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	tx, err := timeline.Begin(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	at := tx.Checkpoint()
	at.ID[0] ^= 1 // as if another log had been applied
	if err := tx.Commit(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	audit, err := s.Audit(t.Context(), cli.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if audit.Clean() || fmt.Sprint(audit.Differences) == "" {
		t.Error("the audit does not notice that the timeline followed another log")
	}
}
