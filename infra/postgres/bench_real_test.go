//go:build real

package postgres

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/projector"
	"carryon/query"
)

// backlog is a history of fifty thousand events, or of as many as CARRYON_BACKLOG says, made once.
var backlog = sync.OnceValues(func() ([]domain.Entry, error) {
	events := 50_000
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

// written is what one transaction wrote.
type written struct {
	rows   []writtenRows
	events int
}

type writtenRows struct {
	statement statement
	columns   []any
}

// BenchmarkBacklog drains the backlog into an empty read model, as a consumer does, about 4,096 events a transaction;
// then it writes the same rows again in the same transactions, without reading, folding or packing anything: by the same
// statements (unnest), and by COPY into a temporary table that is merged, or straight into the table where rows are only
// added.
func BenchmarkBacklog(b *testing.B) {
	pseudonyms := query.NewPseudonyms([]byte("key"))
	drain(b, projector.Customers{}, func(db *DB) *Customers { return db.Customers(1, pseudonyms) }, func(m *Customers) *store { return m.store })
	drain(b, projector.Timeline{}, func(db *DB) *Timeline { return db.Timeline(1) }, func(m *Timeline) *store { return m.store })
	drain(b, projector.Denials{}, func(db *DB) *Denials { return db.Denials(1) }, func(m *Denials) *store { return m.store })
	drain(b, projector.Analytics{}, func(db *DB) *Analytics { return db.Analytics(1) }, func(m *Analytics) *store { return m.store })
}

func drain[T projector.Tx, S projector.Store[T]](b *testing.B, p projector.Projection[T], open func(*DB) S, storeOf func(S) *store) {
	entries, err := backlog()
	if err != nil {
		b.Fatal(err)
	}
	var all []written
	b.Run(p.Name()+"/drained", func(b *testing.B) {
		events := 0
		for b.Loop() {
			all = nil
			config := testConfig(b)
			config.written = func(st statement, columns []any) {
				last := &all[len(all)-1]
				last.rows = append(last.rows, writtenRows{st, columns})
			}
			model := open(testDB(b, config))
			if err := storeOf(model).Prepare(b.Context()); err != nil {
				b.Fatal(err)
			}
			for rest := entries; len(rest) > 0; {
				n, size := 0, 0
				for n < len(rest) && rest[n].Shard == rest[0].Shard && (n == 0 || size+len(rest[n].Events) <= 4096) {
					size += len(rest[n].Events)
					n++
				}
				all = append(all, written{events: size})
				if err := conformance.ApplyEntries(b.Context(), model, p, rest[:n]); err != nil {
					b.Fatal(err)
				}
				events, rest = events+size, rest[n:]
			}
			s := storeOf(model)
			var bytes int64
			if err := s.db.read.QueryRow(b.Context(), "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::regnamespace", s.schema).Scan(&bytes); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(bytes)/float64(events/max(1, b.N)), "bytes/event")
		}
		b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	})
	for name, write := range map[string]func(*testing.B, *store, pgx.Tx, writtenRows) error{"unnest": bareUnnest, "copy": bareCopy} {
		b.Run(p.Name()+"/bare "+name, func(b *testing.B) {
			events := 0
			for b.Loop() {
				s := storeOf(open(testDB(b, testConfig(b))))
				if err := s.Prepare(b.Context()); err != nil {
					b.Fatal(err)
				}
				for i := range all {
					events += all[i].events
					err := pgx.BeginFunc(b.Context(), s.db.write, func(tx pgx.Tx) error {
						for _, rows := range all[i].rows {
							if err := write(b, s, tx, rows); err != nil {
								return fmt.Errorf("%s: %w", rows.statement.table, err)
							}
						}
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func bareUnnest(b *testing.B, s *store, tx pgx.Tx, rows writtenRows) error {
	_, err := tx.Exec(b.Context(), s.in(rows.statement.text), rows.columns...)
	return err
}

func bareCopy(b *testing.B, s *store, tx pgx.Tx, rows writtenRows) error {
	st := rows.statement
	columns := make([]reflect.Value, len(rows.columns))
	for i, c := range rows.columns {
		columns[i] = reflect.ValueOf(c)
	}
	source := pgx.CopyFromSlice(columns[0].Len(), func(i int) ([]any, error) {
		values := make([]any, len(columns))
		for j := range columns {
			values[j] = columns[j].Index(i).Interface()
		}
		return values, nil
	})
	if st.tail == "" {
		_, err := tx.CopyFrom(b.Context(), pgx.Identifier{s.schema, st.table}, st.columns, source)
		return err
	}
	var kinds []string
	for i := range st.columns {
		kinds = append(kinds, st.columns[i]+" "+st.kinds[i])
	}
	staging := "staging_" + st.table
	if _, err := tx.Exec(b.Context(), "CREATE TEMPORARY TABLE IF NOT EXISTS "+staging+" ("+strings.Join(kinds, ", ")+") ON COMMIT DELETE ROWS"); err != nil {
		return err
	}
	if _, err := tx.CopyFrom(b.Context(), pgx.Identifier{staging}, st.columns, source); err != nil {
		return err
	}
	names := strings.Join(st.columns, ", ")
	_, err := tx.Exec(b.Context(), s.in("INSERT INTO @."+st.table)+" ("+names+") SELECT "+names+" FROM "+staging+" "+st.tail)
	return err
}

// BenchmarkLive applies entries one by one, each in its own transaction, to a read model that already holds the backlog:
// how long it takes from an entry to its rows.
func BenchmarkLive(b *testing.B) {
	pseudonyms := query.NewPseudonyms([]byte("key"))
	live(b, projector.Customers{}, func(db *DB) *Customers { return db.Customers(1, pseudonyms) })
	live(b, projector.Timeline{}, func(db *DB) *Timeline { return db.Timeline(1) })
	live(b, projector.Analytics{}, func(db *DB) *Analytics { return db.Analytics(1) })
}

func live[T projector.Tx, S projector.Store[T]](b *testing.B, p projector.Projection[T], open func(*DB) S) {
	b.Run(p.Name(), func(b *testing.B) {
		entries, err := backlog()
		if err != nil {
			b.Fatal(err)
		}
		const held = 1000 // for the measurement
		model := fill(b, entries[:len(entries)-held], p, open(testDB(b, testConfig(b))))
		next := entries[len(entries)-held:]
		for b.Loop() {
			if len(next) == 0 {
				b.Fatal("more than a thousand entries are wanted; run with -benchtime=1000x at most")
			}
			if err := conformance.ApplyEntries(b.Context(), model, p, next[:1]); err != nil {
				b.Fatal(err)
			}
			next = next[1:]
		}
	})
}

// fill drains entries in large transactions.
func fill[T projector.Tx, S projector.Store[T]](b testing.TB, entries []domain.Entry, p projector.Projection[T], model S) S {
	b.Helper()
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) && entries[n].Shard == entries[0].Shard && (n == 0 || size+len(entries[n].Events) <= 4096) {
			size += len(entries[n].Events)
			n++
		}
		if err := conformance.ApplyEntries(b.Context(), model, p, entries[:n]); err != nil {
			b.Fatal(err)
		}
		entries = entries[n:]
	}
	return model
}

// BenchmarkQuery asks the read models of the backlog, and of CARRYON_COPIES copies of it for other customers, seven hours
// apart each. With CARRYON_PLANS=1 it prints how the server answers.
func BenchmarkQuery(b *testing.B) {
	entries, err := backlog()
	if err != nil {
		b.Fatal(err)
	}
	db := testDB(b, testConfig(b))
	analytics := fill(b, entries, projector.Analytics{}, db.Analytics(1))
	timeline := fill(b, entries, projector.Timeline{}, db.Timeline(1))
	copies, _ := strconv.Atoi(os.Getenv("CARRYON_COPIES"))
	multiply(b, db, copies, analytics.store, timeline.store)
	for _, schema := range []string{analytics.schema, timeline.schema} {
		for _, table := range []string{"rollups", "facts", "lives", "dimensions", "events"} {
			_, _ = db.write.Exec(b.Context(), "ANALYSE "+quoted(schema)+"."+table) // not every schema has every table
		}
	}
	now := entries[len(entries)-1].RecordedAt
	app := query.New(query.Ports{
		Clock: func() time.Time { return now }, Cursors: query.NewCursors(nil), Analytics: analytics, Timeline: timeline, Words: plainWords{},
	})
	by := query.Caller{Actor: domain.Actor{ID: "bench", Role: domain.RoleOperator}}
	year := query.Filter{From: now.AddDate(-1, 0, 0), To: now}
	one := query.Filter{From: year.From, To: year.To, Customer: []string{"c-00007"}}
	counts := func(q query.Analytics) func(context.Context) error {
		q.By = by
		return func(ctx context.Context) error { _, err := app.Analytics.Handle(ctx, q); return err }
	}
	for _, c := range []struct {
		name string
		ask  func(context.Context) error
	}{
		{"downloads by studio and day of a year", counts(query.Analytics{Metric: "downloads", GroupBy: []string{"studio"}, Interval: "day", Filter: year})},
		{"downloads of a customer", counts(query.Analytics{Metric: "downloads", Filter: one})},
		{"top titles by distinct customers", counts(query.Analytics{Metric: "downloads", GroupBy: []string{"title_id"}, Measure: "customers", Filter: year})},
		{"active licences by week", counts(query.Analytics{Metric: "active", GroupBy: []string{"device_family"}, Interval: "week", Filter: year})},
		{"customers with active licences by week, of a studio", counts(query.Analytics{Metric: "active", Measure: "customers", Interval: "week", Filter: query.Filter{From: year.From, To: year.To, Studio: []string{"aurora"}, Country: []string{"DE"}}})},
		{"active licences of a customer", counts(query.Analytics{Metric: "active", Interval: "week", Filter: one})},
		{"a page of a timeline", func(ctx context.Context) error {
			_, err := app.Timeline.Handle(ctx, query.Timeline{By: by, Customer: "c-00007"})
			return err
		}},
		{"an id", func(ctx context.Context) error {
			_, err := timeline.EventsByRef(ctx, entries[len(entries)/2].Events[0].CommandID, 10)
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.ask(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			if os.Getenv("CARRYON_PLANS") != "" {
				explain(b, db, c.ask)
			}
		})
	}
}

// multiply adds copies of what a history has made.
func multiply(b *testing.B, db *DB, copies int, analytics, timeline *store) {
	b.Helper()
	if copies == 0 {
		return
	}
	for _, c := range []struct {
		s    *store
		text string
	}{
		{analytics, `INSERT INTO @.facts (quarter, customer, seq, dimensions, device, license, actor, metric)
			SELECT quarter + k * 25200, customer # (k << 40), seq, dimensions, CASE WHEN device = 0 THEN 0 ELSE device # (k << 40) END, license, actor, metric
			FROM @.facts, generate_series(1, $1::bigint) k`},
		{analytics, `INSERT INTO @.rollups (quarter, dimensions, n, shard, metric)
			SELECT quarter + k * 25200, dimensions, sum(n), shard, metric FROM @.rollups, generate_series(1, $1::bigint) k GROUP BY 1, 2, 4, 5
			ON CONFLICT (metric, quarter, dimensions, shard) DO UPDATE SET n = rollups.n + excluded.n`},
		{analytics, `INSERT INTO @.lives (license, customer, device, from_, own_end, cut_at, dimensions, number)
			SELECT license || '-' || k, customer || '-' || k, device || '-' || k, from_ + k * 25200000000, own_end + k * 25200000000, cut_at + k * 25200000000, dimensions, number
			FROM @.lives, generate_series(1, $1::bigint) k`},
		{timeline, `INSERT INTO @.events (stream, seq, recorded_at, entry, shard, place, decision, command, correlation, type, actor, role, device, title, license, packed)
			SELECT stream || '-' || k, seq, recorded_at + k * 25200000000, entry, shard, place, decision # (k << 40), command # (k << 40), correlation # (k << 40),
				type, actor, role, device, title, license, packed
			FROM @.events, generate_series(1, $1::bigint) k`},
	} {
		conn, err := db.write.Acquire(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		_, err = conn.Exec(b.Context(), "SET statement_timeout = 0")
		if err == nil {
			_, err = conn.Exec(b.Context(), c.s.in(c.text), copies)
		}
		conn.Release()
		if err != nil {
			b.Fatal(err)
		}
	}
}

// explain prints the plans of what a question asks the server.
func explain(b *testing.B, db *DB, ask func(context.Context) error) {
	b.Helper()
	db.config.asked = func(text string, args []any) {
		rows, err := db.read.Query(b.Context(), "EXPLAIN (ANALYSE, BUFFERS, COSTS OFF) "+text, args...)
		if err != nil {
			b.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%s\n%s", text, strings.Join(lines, "\n"))
	}
	defer func() { db.config.asked = nil }()
	if err := ask(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// plainWords opens words that were never closed.
type plainWords struct{}

func (plainWords) Opener(context.Context, string) (query.WordsOpener, error) {
	return func(_ context.Context, sealed domain.Sealed) (string, error) { return string(sealed), nil }, nil
}
