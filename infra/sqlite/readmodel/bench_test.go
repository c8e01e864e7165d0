package readmodel_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
	"carryon/query"
)

// backlog is a history of a hundred thousand events, or of as many as CARRYON_BACKLOG says, made once.
var backlog = sync.OnceValues(func() ([]domain.Entry, error) {
	events := 100_000
	if n, err := strconv.Atoi(os.Getenv("CARRYON_BACKLOG")); err == nil {
		events = n
	}
	h, err := conformance.NewHistory(1, events/50, 1)
	if err != nil {
		return nil, err
	}
	h.Pace = 12 * time.Minute
	entries := h.Grow(events)
	for i := range entries {
		for j := range entries[i].Events {
			entries[i].Events[j].Decode()
		}
	}
	return entries, nil
})

// BenchmarkBacklog drains the backlog into an empty read model, as a consumer does: about 4,096 events a transaction.
func BenchmarkBacklog(b *testing.B) {
	pseudonyms := query.NewPseudonyms([]byte("key"))
	drain(b, "customers", projector.Customers{}, func(ctx context.Context, path string) (*readmodel.Customers, error) {
		return readmodel.OpenCustomers(ctx, path, pseudonyms)
	})
	drain(b, "timeline", projector.Timeline{}, readmodel.OpenTimeline)
	drain(b, "denials", projector.Denials{}, readmodel.OpenDenials)
	drain(b, "analytics", projector.Analytics{}, readmodel.OpenAnalytics)
	drain(b, "search", projector.Search{}, readmodel.OpenSearch)
	drain(b, "reference", projector.Reference{}, readmodel.OpenReference)
}

type benchStore[T projector.Tx] interface {
	projector.Store[T]
	Close() error
}

func drain[T projector.Tx, S benchStore[T]](b *testing.B, name string, p projector.Projection[T], open func(context.Context, string) (S, error)) {
	b.Run(name, func(b *testing.B) {
		entries, err := backlog()
		if err != nil {
			b.Fatal(err)
		}
		events, bytes := 0, int64(0)
		for b.Loop() {
			path := filepath.Join(b.TempDir(), name+".db")
			store, err := open(b.Context(), path)
			if err != nil {
				b.Fatal(err)
			}
			events += drainInto(b, store, p, entries, 4096)
			if err := store.Close(); err != nil {
				b.Fatal(err)
			}
			if info, err := os.Stat(path); err == nil {
				bytes = info.Size()
			}
		}
		b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(bytes)/float64(events/b.N), "bytes/event")
	})
}

// drainInto applies entries, about most events a transaction, and returns the number of events.
func drainInto[T projector.Tx](b *testing.B, store projector.Store[T], p projector.Projection[T], entries []domain.Entry, most int) (events int) {
	b.Helper()
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) && entries[n].Shard == entries[0].Shard && (n == 0 || size+len(entries[n].Events) <= most) {
			size += len(entries[n].Events)
			n++
		}
		if err := conformance.ApplyEntries(b.Context(), store, p, entries[:n]); err != nil {
			b.Fatal(err)
		}
		events, entries = events+size, entries[n:]
	}
	return events
}

// BenchmarkLive applies entries one by one, each in its own transaction, to a read model that already holds the backlog:
// how long it takes from an entry to its rows.
func BenchmarkLive(b *testing.B) {
	pseudonyms := query.NewPseudonyms([]byte("key"))
	live(b, projector.Customers{}, func(ctx context.Context, path string) (*readmodel.Customers, error) {
		return readmodel.OpenCustomers(ctx, path, pseudonyms)
	})
	live(b, projector.Timeline{}, readmodel.OpenTimeline)
	live(b, projector.Denials{}, readmodel.OpenDenials)
	live(b, projector.Analytics{}, readmodel.OpenAnalytics)
	live(b, projector.Search{}, readmodel.OpenSearch)
}

func live[T projector.Tx, S benchStore[T]](b *testing.B, p projector.Projection[T], open func(context.Context, string) (S, error)) {
	b.Run(p.Name(), func(b *testing.B) {
		entries, err := backlog()
		if err != nil {
			b.Fatal(err)
		}
		const held = 1000 // for the measurement
		store := filledForBench(b, entries[:len(entries)-held], p, open)
		next := entries[len(entries)-held:]
		slowest := time.Duration(0)
		for b.Loop() {
			if len(next) == 0 {
				b.Fatal("more than a thousand entries are wanted; run with -benchtime=1000x at most")
			}
			began := time.Now()
			if err := conformance.ApplyEntries(b.Context(), store, p, next[:1]); err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(began))
			next = next[1:]
		}
		b.ReportMetric(float64(slowest.Microseconds())/1000, "max-ms")
	})
}

// BenchmarkQuery asks the read models of the backlog.
func BenchmarkQuery(b *testing.B) {
	entries, err := backlog()
	if err != nil {
		b.Fatal(err)
	}
	analytics := filledForBench(b, entries, projector.Analytics{}, readmodel.OpenAnalytics)
	search := filledForBench(b, entries, projector.Search{}, readmodel.OpenSearch)
	timeline := filledForBench(b, entries, projector.Timeline{}, readmodel.OpenTimeline)
	now := entries[len(entries)-1].RecordedAt
	app := query.New(query.Ports{
		Clock: func() time.Time { return now }, Cursors: query.NewCursors(nil), Analytics: analytics, Search: search, Timeline: timeline, Words: plainWords{},
	})
	by := query.Caller{Actor: domain.Actor{ID: "bench", Role: domain.RoleOperator}}
	year := query.Filter{From: now.AddDate(-1, 0, 0), To: now}
	for _, c := range []struct {
		name string
		ask  func(context.Context) error
	}{
		{"analytics: downloads by studio and day of a year", func(ctx context.Context) error {
			_, err := app.Analytics.Handle(ctx, query.Analytics{By: by, Metric: "downloads", GroupBy: []string{"studio"}, Interval: "day", Filter: year})
			return err
		}},
		{"analytics: top titles by distinct customers", func(ctx context.Context) error {
			_, err := app.Analytics.Handle(ctx, query.Analytics{By: by, Metric: "downloads", GroupBy: []string{"title_id"}, Measure: "customers", Filter: year})
			return err
		}},
		{"analytics: active licences by week", func(ctx context.Context) error {
			_, err := app.Analytics.Handle(ctx, query.Analytics{By: by, Metric: "active", GroupBy: []string{"device_family"}, Interval: "week", Filter: year})
			return err
		}},
		{"analytics: customers with active licences by week", func(ctx context.Context) error {
			_, err := app.Analytics.Handle(ctx, query.Analytics{By: by, Metric: "active", Measure: "customers", Interval: "week", Filter: year})
			return err
		}},
		{"search: one page of a frequent word with facets", func(ctx context.Context) error {
			_, err := app.SearchEvents.Handle(ctx, query.SearchEvents{By: by, Q: "license", Facets: query.FacetFields()})
			return err
		}},
		{"search: words of a title", func(ctx context.Context) error {
			_, err := app.SearchEvents.Handle(ctx, query.SearchEvents{By: by, Q: "the mother denied", Facets: []string{"code"}})
			return err
		}},
		{"search: a typo", func(ctx context.Context) error {
			_, err := app.SearchEvents.Handle(ctx, query.SearchEvents{By: by, Q: "mohter"})
			return err
		}},
		{"search: a filter", func(ctx context.Context) error {
			_, err := app.SearchEvents.Handle(ctx, query.SearchEvents{By: by, Filter: query.Filter{Code: []string{domain.CodeDeviceLimitReached}, Plan: []string{"ads"}}})
			return err
		}},
		{"timeline: a page", func(ctx context.Context) error {
			_, err := app.Timeline.Handle(ctx, query.Timeline{By: by, Customer: "c-00007"})
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.ask(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// plainWords opens words that were never closed.
type plainWords struct{}

func (plainWords) Opener(context.Context, string) (query.WordsOpener, error) {
	return func(_ context.Context, sealed domain.Sealed) (string, error) { return string(sealed), nil }, nil
}

func filledForBench[T projector.Tx, S benchStore[T]](b *testing.B, entries []domain.Entry, p projector.Projection[T], open func(context.Context, string) (S, error)) S {
	b.Helper()
	store, err := open(b.Context(), filepath.Join(b.TempDir(), p.Name()+".db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	drainInto(b, store, p, entries, 4096)
	return store
}
