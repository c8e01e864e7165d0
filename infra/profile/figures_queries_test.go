package profile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
)

// What a question costs over HTTP, with all that belongs to it, and what the store alone takes for the rows that the answer
// is made of, by as many callers in the same run.

const queryCallers = 8

// lived is a store with about as many events, of the mixture that households make, and its read models at the tail.
// FIGURE_DATA names one that is there, or is to stay.
func lived(b *testing.B, want int64) *System {
	b.Helper()
	dir := os.Getenv("FIGURE_DATA")
	if dir == "" {
		dir = b.TempDir()
	}
	var pretended pretendedClock
	s := openFigureAt(b, dir, pretended.now)
	liveThrough(b, s, want, &pretended)
	return s
}

// pretendedClock shows the moment that it was set to, and else that of the machine.
type pretendedClock struct{ ns atomic.Int64 }

func (c *pretendedClock) now() time.Time {
	if ns := c.ns.Load(); ns != 0 {
		return time.Unix(0, ns).UTC()
	}
	return time.Now().UTC()
}

// liveThrough lets households live, unless they have, and the read models follow.
func liveThrough(b *testing.B, s *System, want int64, pretended *pretendedClock) {
	b.Helper()
	if countEvents(b, s) < want*9/10 { // a history is about as long as it was asked to be
		titles := catalogueFiles{s.catalogue}
		now := time.Now().UTC().Truncate(time.Second)
		_, err := simulate.History(b.Context(), simulate.Handlers{App: s.app}, simulate.HistoryOptions{
			Options: simulate.Options{Seed: 7, Households: int(want / 50), Prefix: "q", Callers: figureCallers, Patience: 3, Titles: titles, Lookup: titles.Title},
			From:    now.AddDate(0, 0, -120), To: now, Events: want, Written: s.Recorded,
			SetClock: func(at time.Time) { pretended.ns.Store(at.UnixNano()) },
		})
		if err != nil {
			b.Fatal(err)
		}
		pretended.ns.Store(0)
	}
	if err := s.CatchUp(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
}

// asked is a question over HTTP, about somebody or something.
type asked struct {
	name  string
	about func(random *rand.Rand) string
	path  func(about string) string
}

// askedPeriod are the days that figures are asked for.
func askedPeriod() (from, to time.Time) {
	to = time.Now().UTC().Truncate(24 * time.Hour)
	return to.AddDate(0, 0, -30), to
}

// askedMetrics are the figures, in the order of the numbers that both profiles keep them by, from 1 on.
var askedMetrics = []string{"downloads", "renewals", "plays", "denials"}

func askedOf(customers []string) []asked {
	one := func(of []string) func(*rand.Rand) string {
		return func(random *rand.Rand) string { return of[random.IntN(len(of))] }
	}
	from, to := askedPeriod()
	between := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}.Encode()
	return []asked{
		{"customer", one(customers), func(customer string) string { return "/v1/customers/" + customer }},
		{"timeline", one(customers), func(customer string) string { return "/v1/customers/" + customer + "/timeline?limit=50" }},
		{
			"search", one([]string{"love", "night", "house", "world", "girl", "man", "life", "last", "day", "king", "war", "city"}),
			func(word string) string { return "/v1/events/search?limit=50&facets=type&sort=newest&q=" + word },
		},
		{"analytics", one(askedMetrics), func(metric string) string {
			return "/v1/analytics/" + metric + "?interval=day&group_by=studio&" + between
		}},
	}
}

// bareStore is what is asked by a name, of the store alone: the rows that the answer is made of, read to their end.
type bareStore func(b *testing.B, name string) (ask func(ctx context.Context, about string) error, done func())

func BenchmarkFigureQueries(b *testing.B) {
	s := lived(b, int64(envInt("FIGURE_BACKLOG", 1_000_000)))
	defer closeFigure(b, s)
	measureQueries(b, s, countEvents(b, s), bareFiles(s.config.Data))
}

// measureQueries asks a system over HTTP, and then the store alone.
func measureQueries(b *testing.B, s *System, events int64, bare bareStore) {
	b.Helper()
	customers := askedCustomers(b, s)
	token, err := keyRing{Ring: s.keys}.Token(domain.RoleOperator, "", "figure", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ready, served := make(chan string, 1), make(chan error, 1)
	go func() { served <- s.Serve(ctx, func(url string) { ready <- url }) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	}()
	base := <-ready
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: queryCallers}}
	defer client.CloseIdleConnections()
	for i, q := range askedOf(customers) {
		seed := uint64(i) //nolint:gosec // small
		b.Run(q.name, func(b *testing.B) {
			ask, end := bare(b, q.name)
			defer end()
			var bytes, failed atomic.Int64
			over := func(d time.Duration) (int64, time.Duration, *simulate.Histogram) {
				return asFastAs(b, queryCallers, d, seed, func(random *rand.Rand, _ int) error {
					n, err := fetch(b.Context(), client, base+q.path(q.about(random)), token)
					bytes.Add(n)
					return countFailure(b, &failed, err)
				})
			}
			under := func(d time.Duration) (int64, time.Duration, *simulate.Histogram) {
				return asFastAs(b, queryCallers, d, seed, func(random *rand.Rand, _ int) error {
					return countFailure(b, &failed, ask(context.Background(), q.about(random))) // one that can end makes SQLite's driver watch each statement
				})
			}
			over(figureSeconds() / 4) // warm, both
			under(figureSeconds() / 4)
			bytes.Store(0)
			done, lasted, whole := over(figureSeconds())
			rows, bareLasted, plain := under(figureSeconds())
			if failed.Load() > 0 {
				b.Fatalf("%d questions failed", failed.Load())
			}
			rate, bareRate := float64(done)/lasted.Seconds(), float64(rows)/bareLasted.Seconds()
			b.ReportMetric(rate, "requests/s")
			b.ReportMetric(ms(whole.Quantile(0.5)), "p50-ms")
			b.ReportMetric(ms(whole.Quantile(0.99)), "p99-ms")
			b.ReportMetric(float64(bytes.Load())/float64(max(1, done))/1024, "KiB/answer")
			b.ReportMetric(bareRate, "bare/s")
			b.ReportMetric(ms(plain.Quantile(0.5)), "bare-p50-ms")
			b.ReportMetric(ms(plain.Quantile(0.99)), "bare-p99-ms")
			b.ReportMetric(bareRate/rate, "overhead")
			b.ReportMetric(float64(events), "events")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// countFailure logs the first.
func countFailure(b *testing.B, failed *atomic.Int64, err error) error {
	b.Helper()
	if err != nil && failed.Add(1) == 1 {
		b.Log(err)
	}
	return err
}

// askedCustomers are some of those who have lived.
func askedCustomers(b *testing.B, s *System) (customers []string) {
	b.Helper()
	for after := domain.StreamID(""); len(customers) < 20_000; {
		states, err := servedCustomers{s.models.customers}.StatesAfter(b.Context(), after, 1000)
		if err != nil {
			b.Fatal(err)
		}
		if len(states) == 0 {
			break
		}
		for i := range states {
			customers = append(customers, states[i].Stream.ID())
		}
		after = states[len(states)-1].Stream
	}
	return customers
}

// fetch asks, reads the answer to its end, and answers its length.
func fetch(ctx context.Context, client *http.Client, address, token string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d", address, answer.StatusCode)
	}
	return n, err
}

// bareFiles reads the rows from the same files with nothing around.
func bareFiles(dir string) bareStore {
	from, to := askedPeriod()
	questions := map[string]struct {
		model, sql string
		args       func(about string) []any
	}{
		"customer": {
			"customers", "SELECT * FROM customers WHERE stream = ?",
			func(customer string) []any { return []any{string(domain.CustomerStream(customer))} },
		},
		"timeline": {
			"timeline",
			"SELECT e.*, b.* FROM streams s JOIN events e ON e.stream = s.id JOIN bodies b ON b.id = e.body WHERE s.stream = ? ORDER BY e.seq DESC LIMIT 51",
			func(customer string) []any { return []any{string(domain.CustomerStream(customer))} },
		},
		"search": {
			"search",
			"SELECT x.*, d.* FROM words w JOIN documents x ON x.id = w.rowid JOIN dimensions d ON d.id = x.dimensions WHERE words MATCH ? ORDER BY w.rowid DESC LIMIT 51",
			func(word string) []any { return []any{word + "*"} },
		},
		"analytics": {
			"analytics",
			"SELECT x.quarter / 86400, d.studio, sum(x.n) FROM rollups x JOIN dimensions d ON d.id = x.dimensions WHERE x.metric = ? AND x.quarter >= ? AND x.quarter < ? GROUP BY 1, 2",
			func(metric string) []any {
				return []any{1 + slices.Index(askedMetrics, metric), from.Unix(), to.Unix()}
			},
		},
	}
	return func(b *testing.B, name string) (func(context.Context, string) error, func()) {
		b.Helper()
		q := questions[name]
		files := must(filepath.Glob(filepath.Join(dir, "read", q.model+".*.db")))
		slices.Sort(files)
		file, err := sql.Open("sqlite", "file:"+files[len(files)-1]+"?mode=ro")
		if err != nil {
			b.Fatal(err)
		}
		file.SetMaxOpenConns(queryCallers)
		file.SetMaxIdleConns(queryCallers)
		statement, err := file.PrepareContext(b.Context(), q.sql)
		if err != nil {
			b.Fatalf("%s: %v", name, errors.Join(err, file.Close()))
		}
		ask := func(ctx context.Context, about string) error {
			rows, err := statement.QueryContext(ctx, q.args(about)...)
			if err != nil {
				return err
			}
			defer rows.Close()
			return drain(rows)
		}
		return ask, func() {
			if err := errors.Join(statement.Close(), file.Close()); err != nil {
				b.Error(err)
			}
		}
	}
}

// drain reads every value of every row.
func drain(rows *sql.Rows) error {
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	cells, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
	}
	return rows.Err()
}

func BenchmarkFigureBacktest(b *testing.B) {
	s := lived(b, int64(envInt("FIGURE_BACKLOG", 1_000_000)))
	defer closeFigure(b, s)
	begin, used := time.Now(), processorTime(b)
	report, err := s.Commands().Backtest(b.Context(), command.Backtest{Policy: domain.DefaultPolicy()})
	took := time.Since(begin)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(report.Events)/took.Seconds(), "events/s")
	b.ReportMetric(float64(report.Decisions)/took.Seconds(), "decisions/s")
	b.ReportMetric((processorTime(b)-used).Seconds()/took.Seconds(), "cores")
	b.ReportMetric(float64(report.Events), "events")
	b.ReportMetric(0, "ns/op")
}
