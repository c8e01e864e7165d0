package simulate_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/catalogue"
	"carryon/infra/keys"
	"carryon/infra/sqlite"
	"carryon/infra/vault"
)

// counting counts the events that are recorded.
type counting struct{ events atomic.Int64 }

func (c *counting) Publish(_ context.Context, e *domain.Entry) error {
	c.events.Add(int64(len(e.Events)))
	return nil
}

type world struct {
	app      *command.App
	books    *command.Books
	titles   *catalogue.Store
	recorded *counting
	now      atomic.Int64
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{recorded: &counting{}}
	clock := func() time.Time { return time.Unix(0, w.now.Load()).UTC() }
	log, err := sqlite.OpenLog(ctx, filepath.Join(dir, "carryon.db"), sqlite.LogConfig{})
	must(err)
	t.Cleanup(func() { must(log.Close()) })
	w.titles, err = catalogue.Open(dir)
	must(err)
	ring, err := keys.Open(filepath.Join(dir, "keys"), time.Now)
	must(err)
	reference := command.NewReferenceFollower(log, w.titles, command.FollowerConfig{}, nil)
	must(reference.Start(ctx))
	t.Cleanup(reference.Close)
	writer, err := command.NewWriter(command.WriterConfig{Name: "test"}, command.WriterPorts{
		Log: log, Histories: log, Snapshots: log, Bus: w.recorded, Folding: command.DomainFolding(), Reference: reference.Reference, Clock: clock,
	})
	must(err)
	writer.Start()
	t.Cleanup(func() { must(writer.Close(context.WithoutCancel(ctx))) })
	w.books = command.NewBooks(log, log, command.DomainFolding(), 1)
	w.app, err = command.NewApp(command.Dependencies{
		Writer: writer, Books: w.books, Reference: reference, Vault: vault.NewMemory(), Signer: ring, Clock: clock,
	})
	must(err)
	must(w.app.Start(ctx))
	t.Cleanup(w.app.Close)
	return w
}

func TestAMadeUpHistoryRunsThroughTheRealHandlers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	to := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	from := to.Add(-120 * 24 * time.Hour)
	w.now.Store(from.UnixNano())
	report, err := simulate.History(t.Context(), simulate.Handlers{App: w.app}, simulate.HistoryOptions{
		Options: simulate.Options{
			Seed: 3, Households: 100, Prefix: "h", Callers: 16, Repeats: 0.05, Titles: pick{w.titles.Catalogue()}, Lookup: w.titles.Catalogue().Title,
		},
		From: from, To: to, Events: 5000, Written: w.recorded.events.Load, SetClock: func(at time.Time) { w.now.Store(at.UnixNano()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var printed testWriter
	if err := report.Print(&printed); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events\n%s", w.recorded.events.Load(), printed)
	if !report.Clean() || report.Repeats == 0 {
		t.Fatalf("unknowns %d, repeats %d, answered differently: %v", report.Unknowns, report.Repeats, report.Differ)
	}
	for _, kind := range []simulate.Kind{simulate.Acquire, simulate.Renew, simulate.PlayStart, simulate.Release} {
		if report.Kinds[kind].Accepted == 0 {
			t.Errorf("no %s was accepted", kind)
		}
	}
	if len(report.Refusals) < 4 {
		t.Errorf("only these refusals: %v", report.Refusals)
	}
	if report.Refusals["TOKEN_DRIFT"] == 0 || len(report.Problems) != 0 {
		t.Errorf("refusals %v, problems %v: wanted a TOKEN_DRIFT and no problem", report.Refusals, report.Problems)
	}
	if events := w.recorded.events.Load(); events < 3000 || events > 8000 {
		t.Errorf("%d events, about 5000 were asked for", events)
	}
	for customer, version := range report.Latest {
		state, err := w.books.Customer(t.Context(), customer, command.AsOf{})
		if err != nil {
			t.Fatal(err)
		}
		if state.Version != version {
			t.Fatalf("%s is at version %d, the newest acknowledged is %d", customer, state.Version, version)
		}
	}
}

type pick struct{ *catalogue.Catalogue }

type testWriter []byte

func (w *testWriter) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }
func (w testWriter) String() string               { return string(w) }
