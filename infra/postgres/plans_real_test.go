//go:build real

package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// asked is a statement that a question came to, and how the server answered it.
type asked struct {
	question string
	took     time.Duration
	scanned  []string // tables that were read from end to end, with more than a thousand rows
	plan     string
}

// BenchmarkPlans asks the read models all that they can be asked, has the server explain every statement, and prints those
// of the slowest three, and every table that was read as a whole. The models hold the backlog (CARRYON_BACKLOG events) and
// CARRYON_COPIES copies of it for other customers, seven hours apart each; PLANS is how many plans are printed.
//
//	CARRYON_BACKLOG=50000 CARRYON_COPIES=19 go test -tags real ./infra/postgres -run '^$' -bench Plans -benchtime 1x
func BenchmarkPlans(b *testing.B) {
	entries, err := backlog()
	if err != nil {
		b.Fatal(err)
	}
	config := testConfig(b)
	config.ReadTimeout = 5 * time.Minute
	db := testDB(b, config)
	pseudonyms := query.NewPseudonyms([]byte("key"))
	customers := fill(b, entries, projector.Customers{}, db.Customers(1, pseudonyms))
	timeline := fill(b, entries, projector.Timeline{}, db.Timeline(1))
	denials := fill(b, entries, projector.Denials{}, db.Denials(1))
	analytics := fill(b, entries, projector.Analytics{}, db.Analytics(1))
	copies, _ := strconv.Atoi(os.Getenv("CARRYON_COPIES"))
	multiply(b, db, copies, analytics.store, timeline.store)
	multiplyCustomers(b, db, copies, customers.store, denials.store)
	settle(b, db, customers.store, timeline.store, denials.store, analytics.store)
	var rows int64
	if err := db.read.QueryRow(b.Context(), in(timeline.schema, "SELECT count(*) FROM @.events")).Scan(&rows); err != nil {
		b.Fatal(err)
	}

	var all []asked
	question := ""
	db.config.asked = func(text string, args []any) {
		if !strings.HasPrefix(text, "SELECT") && !strings.HasPrefix(text, "WITH") {
			return
		}
		all = append(all, explained(b, db, question, text, args))
	}
	for _, q := range questions(b, entries, customers, timeline, denials, analytics, pseudonyms) {
		question = q.name
		if err := q.ask(b.Context()); err != nil {
			b.Fatalf("%s: %v", q.name, err)
		}
	}
	db.config.asked = nil
	slices.SortStableFunc(all, func(x, y asked) int { return int(y.took - x.took) })
	shown := 3
	if n, err := strconv.Atoi(os.Getenv("PLANS")); err == nil {
		shown = n
	}
	for i, a := range all {
		if i < shown {
			b.Logf("%s: %.1f ms\n%s", a.question, ms(a.took), a.plan)
		} else {
			b.Logf("%s: %.1f ms", a.question, ms(a.took))
		}
		if len(a.scanned) > 0 {
			b.Logf("    reads from end to end: %s", strings.Join(a.scanned, ", "))
		}
	}
	b.ReportMetric(float64(rows), "events")
	b.ReportMetric(float64(len(all)), "statements")
	b.ReportMetric(ms(all[0].took), "slowest-ms")
	b.ReportMetric(0, "ns/op")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type asking struct {
	name string
	ask  func(context.Context) error
}

// questions are all that the models are asked, with what is there to be found.
func questions(b *testing.B, entries []domain.Entry, customers *Customers, timeline *Timeline, denials *Denials, analytics *Analytics, pseudonyms query.Pseudonyms) []asking {
	b.Helper()
	now := entries[len(entries)-1].RecordedAt
	app := query.New(query.Ports{
		Clock: func() time.Time { return now }, Cursors: query.NewCursors(nil), Analytics: analytics, Timeline: timeline, Words: plainWords{},
	})
	by := query.Caller{Actor: domain.Actor{ID: "bench", Role: domain.RoleOperator}}
	const customer = "c-00007"
	stream := domain.CustomerStream(customer)
	middle := &entries[len(entries)/2].Events[0]
	device, license, title := known(b, customers)
	year := query.Filter{From: now.AddDate(-1, 0, 0), To: now}
	hour := query.Filter{From: now.Add(-time.Hour), To: now}
	one := query.Filter{From: year.From, To: year.To, Customer: []string{customer}}
	counts := func(q query.Analytics) func(context.Context) error {
		q.By = by
		return func(ctx context.Context) error { _, err := app.Analytics.Handle(ctx, q); return err }
	}
	page := query.TimelinePage{Customer: customer, Limit: 51}
	refused := query.DenialsPage{Customer: customer, Limit: 51}
	all := []asking{
		{"how far a shard is", func(ctx context.Context) error { _, err := timeline.Checkpoints(ctx); return err }},
		{"a parked stream", func(ctx context.Context) error { _, _, err := timeline.ParkedStream(ctx, stream); return err }},
		{"parked streams", func(ctx context.Context) error { _, err := timeline.Parked(ctx, "", 100); return err }},
		{"version of a customer", func(ctx context.Context) error { _, err := timeline.StreamVersion(ctx, stream); return err }},
		{"state of a customer", func(ctx context.Context) error { _, _, err := customers.State(ctx, customer); return err }},
		{"states in order", func(ctx context.Context) error { _, err := customers.StatesAfter(ctx, stream, 100); return err }},
		{"states of those with a title", func(ctx context.Context) error { _, err := customers.StatesWithTitle(ctx, title, "", 100); return err }},
		{"things with an id, a device's", func(ctx context.Context) error { _, err := customers.Things(ctx, device, 10); return err }},
		{"things with an id, a licence's", func(ctx context.Context) error { _, err := customers.Things(ctx, license, 10); return err }},
		{"who is behind a pseudonym", func(ctx context.Context) error {
			_, err := customers.ThingsBehind(ctx, pseudonyms.Customer(customer))
			return err
		}},
		{"events by the id of a command", func(ctx context.Context) error { _, err := timeline.EventsByRef(ctx, middle.CommandID, 10); return err }},
		{"downloads by studio and day of a year", counts(query.Analytics{Metric: "downloads", GroupBy: []string{"studio"}, Interval: "day", Filter: year})},
		{"downloads by title, device family and country", counts(query.Analytics{Metric: "downloads", GroupBy: []string{"title_id", "device_family", "country"}, Top: 10, Filter: year})},
		{"downloads of a customer", counts(query.Analytics{Metric: "downloads", Filter: one})},
		{"refusals by code and day", counts(query.Analytics{Metric: "denials", GroupBy: []string{"code"}, Interval: "day", Filter: year})},
		{"top titles by distinct customers", counts(query.Analytics{Metric: "downloads", GroupBy: []string{"title_id"}, Measure: "customers", Filter: year})},
		{"distinct devices by week", counts(query.Analytics{Metric: "plays", Interval: "week", Measure: "devices", Filter: year})},
		{"active licences by week", counts(query.Analytics{Metric: "active", GroupBy: []string{"device_family"}, Interval: "week", Filter: year})},
		{"customers with active licences by week, of a studio", counts(query.Analytics{Metric: "active", Measure: "customers", Interval: "week", Filter: query.Filter{From: year.From, To: year.To, Studio: []string{"aurora"}, Country: []string{"DE"}}})},
		{"active licences of a customer", counts(query.Analytics{Metric: "active", Interval: "week", Filter: one})},
	}
	for name, with := range map[string]func(*query.TimelinePage){
		"": func(*query.TimelinePage) {}, ", oldest first": func(q *query.TimelinePage) { q.Oldest = true }, " of a type": func(q *query.TimelinePage) { q.Type = []string{middle.Type} },
		" of a device": func(q *query.TimelinePage) { q.DeviceID = device }, " of an hour": func(q *query.TimelinePage) { q.From, q.To = hour.From, hour.To },
	} {
		q := page
		with(&q)
		all = append(all, asking{"a page of a timeline" + name, func(ctx context.Context) error { _, err := timeline.TimelinePage(ctx, q); return err }})
	}
	for name, with := range map[string]func(*query.DenialsPage){
		"": func(*query.DenialsPage) {}, " with a code": func(q *query.DenialsPage) { q.Code = []string{domain.CodeDeviceLimitReached} },
	} {
		q := refused
		with(&q)
		all = append(all, asking{"a page of refusals" + name, func(ctx context.Context) error { _, err := denials.DenialsPage(ctx, q); return err }})
	}
	for name, f := range map[string]query.Filter{
		"all": {}, "an hour's": hour, "a year's": year, "a customer's": one, "a device's": {DeviceID: []string{device}}, "a licence's": {LicenseID: []string{license}}, "a title's": {TitleID: []string{title}},
		"those of a type": {Type: []string{middle.Type}},
	} {
		all = append(all, asking{"export of events, " + name, func(ctx context.Context) error {
			_, err := timeline.EventsAfter(ctx, query.ExportAsked{Filter: f, Limit: 500})
			return err
		}})
		if f.LicenseID == nil && f.Type == nil {
			all = append(all, asking{"export of refusals, " + name, func(ctx context.Context) error {
				_, err := denials.DenialsAfter(ctx, query.ExportAsked{Filter: f, Limit: 500})
				return err
			}})
		}
	}
	all = append(all, asking{"export of events, its middle", func(ctx context.Context) error {
		_, err := timeline.EventsAfter(ctx, query.ExportAsked{AfterStream: stream, AfterSeq: 3, Limit: 500})
		return err
	}})
	return all
}

// known are ids that there are.
func known(b *testing.B, s *Customers) (device, license, title string) {
	b.Helper()
	err := s.db.read.QueryRow(b.Context(), s.in("SELECT device, license, title FROM @.licenses ORDER BY license LIMIT 1")).Scan(&device, &license, &title)
	if err != nil {
		b.Fatal(err)
	}
	return device, license, title
}

// node is a part of a plan.
type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Rows     float64 `json:"Actual Rows"`
	Removed  float64 `json:"Rows Removed by Filter"`
	Loops    float64 `json:"Actual Loops"`
	Plans    []node  `json:"Plans"`
}

// scans are the tables that are read from end to end.
func (n *node) scans() (tables []string) {
	if read := (n.Rows + n.Removed) * n.Loops; n.Type == "Seq Scan" && read > 1000 {
		tables = append(tables, fmt.Sprintf("%s (%.0f rows, %.0f of them used)", n.Relation, read, n.Rows*n.Loops))
	}
	for i := range n.Plans {
		tables = append(tables, n.Plans[i].scans()...)
	}
	return tables
}

// explained runs a statement twice, so that its pages are in memory, and says how.
func explained(b *testing.B, db *DB, question, text string, args []any) asked {
	b.Helper()
	var documents []struct {
		Plan node    `json:"Plan"`
		Took float64 `json:"Execution Time"` // milliseconds
	}
	for range 2 {
		var document []byte
		if err := db.read.QueryRow(b.Context(), "EXPLAIN (ANALYSE, FORMAT JSON) "+text, args...).Scan(&document); err != nil {
			b.Fatalf("%s: %v\n%s", question, err, text)
		}
		if err := json.Unmarshal(document, &documents); err != nil {
			b.Fatal(err)
		}
	}
	rows, err := db.read.Query(b.Context(), "EXPLAIN (ANALYSE, BUFFERS, COSTS OFF, TIMING OFF) "+text, args...)
	if err != nil {
		b.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.Fatal(err)
	}
	return asked{
		question: question, took: time.Duration(documents[0].Took * float64(time.Millisecond)), scanned: documents[0].Plan.scans(),
		plan: text + "\n" + strings.Join(lines, "\n"),
	}
}

// settle lets the server know what is in the tables, and which pages need no second look.
func settle(b *testing.B, db *DB, stores ...*store) {
	b.Helper()
	for _, s := range stores {
		rows, err := db.read.Query(b.Context(), "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::regnamespace", s.schema)
		if err != nil {
			b.Fatal(err)
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			b.Fatal(err)
		}
		for _, table := range tables {
			patiently(b, db, "VACUUM (ANALYSE) "+quoted(s.schema)+"."+table)
		}
	}
}

// patiently does something that may take as long as it likes.
func patiently(b *testing.B, db *DB, text string, args ...any) {
	b.Helper()
	conn, err := db.write.Acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	if _, err = conn.Exec(b.Context(), "SET statement_timeout = 0"); err == nil {
		_, err = conn.Exec(b.Context(), text, args...)
	}
	if err != nil {
		b.Fatalf("%v in %s", err, text)
	}
}

// multiplyCustomers adds copies of customers and of what they were refused.
func multiplyCustomers(b *testing.B, db *DB, copies int, customers, denials *store) {
	b.Helper()
	for _, c := range []struct {
		s           *store
		table, text string
	}{
		{customers, "customers", "stream || '-' || k, pseudonym || '-' || k, version, entry, recorded_at + k * 25200000000, shard, place, state"},
		{customers, "devices", "device || '-' || k, stream || '-' || k, pseudonym || '-' || k, type, family, seq"},
		{customers, "licenses", "license || '-' || k, stream || '-' || k, device || '-' || k, title, seq"},
		{customers, "exceptions", "exception || '-' || k, stream || '-' || k, code, seq"},
		{denials, "streams", "stream || '-' || k, version, entry, shard, place"},
		{denials, "denials", `stream || '-' || k, seq, recorded_at + k * 25200000000, entry, shard, place, used, limit_, resets_at, season, episode, actor, role, command, code,
			rule, scope_kind, scope_id, device, device_type, title, title_name, series, studio, license, decision_id, decision`},
	} {
		patiently(b, db, c.s.in("INSERT INTO @."+c.table+" SELECT "+c.text+" FROM @."+c.table+", generate_series(1, $1::bigint) k"), copies)
	}
}
