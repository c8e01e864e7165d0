package profile

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	var pretended atomic.Int64
	s := openFigureAt(b, dir, func() time.Time {
		if ns := pretended.Load(); ns != 0 {
			return time.Unix(0, ns).UTC()
		}
		return time.Now().UTC()
	})
	if countEvents(b, s) < want*9/10 { // a history is about as long as it was asked to be
		titles := catalogueFiles{s.catalogue}
		now := time.Now().UTC().Truncate(time.Second)
		_, err := simulate.History(b.Context(), simulate.Handlers{App: s.app}, simulate.HistoryOptions{
			Options: simulate.Options{Seed: 7, Households: int(want / 50), Prefix: "q", Callers: figureCallers, Patience: 3, Titles: titles, Lookup: titles.Title},
			From:    now.AddDate(0, 0, -120), To: now, Events: want, Written: s.Recorded,
			SetClock: func(at time.Time) { pretended.Store(at.UnixNano()) },
		})
		if err != nil {
			b.Fatal(err)
		}
		pretended.Store(0)
	}
	if err := s.CatchUp(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	return s
}

// asked is a question over HTTP, and the rows of the store behind its answer.
type asked struct {
	name, model string
	path        func(random *rand.Rand) string
	sql         string
	args        func(random *rand.Rand) []any
}

func askedOf(customers []string, from, to time.Time) []asked {
	customer := func(random *rand.Rand) string { return customers[random.IntN(len(customers))] }
	words := []string{"love", "night", "house", "world", "girl", "man", "life", "last", "day", "king", "war", "city"}
	word := func(random *rand.Rand) string { return words[random.IntN(len(words))] }
	between := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}.Encode()
	return []asked{
		{
			"customer", "customers", func(r *rand.Rand) string { return "/v1/customers/" + customer(r) },
			"SELECT * FROM customers WHERE stream = ?", func(r *rand.Rand) []any { return []any{string(domain.CustomerStream(customer(r)))} },
		},
		{
			"timeline", "timeline", func(r *rand.Rand) string { return "/v1/customers/" + customer(r) + "/timeline?limit=50" },
			"SELECT e.*, b.* FROM streams s JOIN events e ON e.stream = s.id JOIN bodies b ON b.id = e.body WHERE s.stream = ? ORDER BY e.seq DESC LIMIT 51",
			func(r *rand.Rand) []any { return []any{string(domain.CustomerStream(customer(r)))} },
		},
		{
			"search", "search", func(r *rand.Rand) string { return "/v1/events/search?limit=50&facets=type&sort=newest&q=" + word(r) },
			"SELECT x.*, d.* FROM words w JOIN documents x ON x.id = w.rowid JOIN dimensions d ON d.id = x.dimensions WHERE words MATCH ? ORDER BY w.rowid DESC LIMIT 51",
			func(r *rand.Rand) []any { return []any{word(r) + "*"} },
		},
		{
			"analytics", "analytics", func(r *rand.Rand) string {
				return "/v1/analytics/" + []string{"downloads", "renewals", "plays", "denials"}[r.IntN(4)] + "?interval=day&group_by=studio&" + between
			},
			"SELECT x.quarter / 86400, d.studio, sum(x.n) FROM rollups x JOIN dimensions d ON d.id = x.dimensions WHERE x.metric = ? AND x.quarter >= ? AND x.quarter < ? GROUP BY 1, 2",
			func(r *rand.Rand) []any { return []any{1 + r.IntN(4), from.Unix(), to.Unix()} },
		},
	}
}

func BenchmarkFigureQueries(b *testing.B) {
	s := lived(b, int64(envInt("FIGURE_BACKLOG", 1_000_000)))
	events := countEvents(b, s)
	dir := s.config.Data
	var customers []string
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
	token, err := keyRing{s.keys}.Token(domain.RoleOperator, "", "figure", time.Hour)
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
		closeFigure(b, s)
	}()
	base := <-ready
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: queryCallers}}
	defer client.CloseIdleConnections()
	to := time.Now().UTC().Truncate(24 * time.Hour)
	for i, q := range askedOf(customers, to.AddDate(0, 0, -30), to) {
		b.Run(q.name, func(b *testing.B) {
			bytes := atomic.Int64{}
			done, lasted, whole := asFastAs(b, queryCallers, figureSeconds(), uint64(i), func(random *rand.Rand, _ int) error { //nolint:gosec // small
				n, err := fetch(b.Context(), client, base+q.path(random), token)
				bytes.Add(n)
				return err
			})
			rows, bareLasted, bare := q.bare(b, dir, uint64(i)) //nolint:gosec // small
			rate, bareRate := float64(done)/lasted.Seconds(), float64(rows)/bareLasted.Seconds()
			b.ReportMetric(rate, "requests/s")
			b.ReportMetric(ms(whole.Quantile(0.5)), "p50-ms")
			b.ReportMetric(ms(whole.Quantile(0.99)), "p99-ms")
			b.ReportMetric(float64(bytes.Load())/float64(max(1, done))/1024, "KiB/answer")
			b.ReportMetric(bareRate, "bare/s")
			b.ReportMetric(ms(bare.Quantile(0.5)), "bare-p50-ms")
			b.ReportMetric(ms(bare.Quantile(0.99)), "bare-p99-ms")
			b.ReportMetric(bareRate/rate, "overhead")
			b.ReportMetric(float64(events), "events")
			b.ReportMetric(0, "ns/op")
		})
	}
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

// bare reads the same rows from the same file with nothing around.
func (q *asked) bare(b *testing.B, dir string, seed uint64) (int64, time.Duration, *simulate.Histogram) {
	b.Helper()
	files := must(filepath.Glob(filepath.Join(dir, "read", q.model+".*.db")))
	slices.Sort(files)
	file, err := sql.Open("sqlite", "file:"+files[len(files)-1]+"?mode=ro")
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	file.SetMaxOpenConns(queryCallers)
	file.SetMaxIdleConns(queryCallers)
	statement, err := file.PrepareContext(b.Context(), q.sql)
	if err != nil {
		b.Fatalf("%s: %v", strings.TrimSpace(q.sql), err)
	}
	defer statement.Close()
	return asFastAs(b, queryCallers, figureSeconds(), seed, func(random *rand.Rand, _ int) error {
		rows, err := statement.QueryContext(context.Background(), q.args(random)...) // one that can end makes the driver watch each statement
		if err != nil {
			return err
		}
		defer rows.Close()
		return drain(rows)
	})
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
	begin := time.Now()
	report, err := s.Commands().Backtest(b.Context(), command.Backtest{Policy: domain.DefaultPolicy()})
	took := time.Since(begin)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(report.Events)/took.Seconds(), "events/s")
	b.ReportMetric(float64(report.Decisions)/took.Seconds(), "decisions/s")
	b.ReportMetric(float64(report.Events), "events")
	b.ReportMetric(0, "ns/op")
}
