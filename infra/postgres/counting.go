package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"carryon/infra/tables"
	"carryon/projector"
	"carryon/query"
)

// counting is a question for counts, in SQL: conditions on the dimensions d, and what to group by.
type counting struct {
	where
	cuts    []int64 // seconds
	keys    []string
	maxRows int
}

// never stands for an end that there is not, in microseconds.
var never = strconv.FormatInt(math.MaxInt64, 10)

func newCounting(q query.CountsAsked) (*counting, error) {
	if len(q.Cuts) < 2 {
		return nil, fmt.Errorf("%d cuts make no interval", len(q.Cuts))
	}
	b := &counting{maxRows: q.MaxRows, cuts: columnOf(q.Cuts, func(t *time.Time) int64 { return t.Unix() })}
	for _, field := range q.GroupBy {
		column, ok := tables.DimensionColumn(field)
		if !ok {
			return nil, fmt.Errorf("there is no dimension %q", field)
		}
		b.keys = append(b.keys, column)
	}
	b.only(q.Keys)
	b.filter(&q.Filter)
	return b, nil
}

// only keeps the groups with these keys.
func (b *counting) only(keys [][]string) {
	if len(keys) == 0 || len(b.keys) == 0 {
		return
	}
	columns := make([]string, len(b.keys))
	for i := range columns {
		columns[i] = b.arg(columnOf(keys, func(key *[]string) string { return (*key)[i] })) + "::text[]"
	}
	b.add("(" + strings.Join(b.keys, ", ") + ") IN (SELECT * FROM unnest(" + strings.Join(columns, ", ") + "))")
}

func (b *counting) filter(f *query.Filter) {
	b.in("d.title", f.TitleID)
	b.in("d.series", f.Series)
	b.in("d.studio", f.Studio)
	b.in("d.plan", f.Plan)
	b.in("d.country", f.Country)
	b.in("d.device_type", f.DeviceType)
	b.in("d.device_family", f.DeviceFamily)
	b.in("d.trigger_", f.Trigger)
	b.in("d.code", f.Code)
	b.in("d.basis", f.Basis)
	b.in("d.role", f.Role)
	b.in("d.policy_version", columnOf(f.PolicyVersion, func(v *int) string { return strconv.Itoa(*v) }))
}

// numbers adds a condition on a column of hashes.
func (w *where) numbers(column string, values []string) {
	if len(values) > 0 {
		w.add(column + " = ANY (" + w.arg(columnOf(values, func(v *string) int64 { return tables.Number(*v) })) + ")")
	}
}

// named are the keys as columns k0, k1, …, and grouped those of an outer SELECT.
func (b *counting) named() string {
	var text strings.Builder
	for i, column := range b.keys {
		text.WriteString(", " + column + " AS k" + strconv.Itoa(i))
	}
	return text.String()
}

func (b *counting) outer() string {
	var text strings.Builder
	for i := range b.keys {
		text.WriteString(", k" + strconv.Itoa(i))
	}
	return text.String()
}

func (b *counting) from() string { return b.arg(b.cuts[0]) + "::bigint" }
func (b *counting) to() string   { return b.arg(b.cuts[len(b.cuts)-1]) + "::bigint" }

// interval is which interval a quarter is in: from 0 on; -1 is before the first.
func (b *counting) interval(quarter string) string {
	return "(width_bucket(" + quarter + ", " + b.arg(b.cuts) + "::bigint[]) - 1)"
}

// Counts answers from the roll-ups, and from the facts where these do not say it: see query.AnalyticsModel.
func (s *Analytics) Counts(ctx context.Context, q query.CountsAsked) ([]query.Counted, error) {
	metric, err := tables.MetricNumber(q.Metric)
	if err != nil {
		return nil, err
	}
	b, err := newCounting(q)
	if err != nil {
		return nil, err
	}
	f := &q.Filter
	who := len(f.Customer)+len(f.DeviceID)+len(f.LicenseID)+len(f.Actor) > 0
	b.numbers("x.customer", f.Customer)
	b.numbers("x.device", f.DeviceID)
	b.numbers("x.license", f.LicenseID)
	b.numbers("x.actor", f.Actor)
	source, value := "rollups", "sum(x.n)::bigint"
	switch {
	case q.Measure == query.MeasureCustomers:
		source, value = "facts", "count(DISTINCT x.customer)"
	case q.Measure == query.MeasureDevices: // both are 63 bits, so the difference fits, and tells devices of two customers apart
		source, value = "facts", "count(DISTINCT CASE WHEN x.device != 0 THEN x.customer - x.device END)"
	case who:
		source, value = "facts", "count(*)"
	}
	b.compare("x.metric", "=", metric)
	return s.counted(ctx, b, "SELECT "+b.interval("x.quarter")+" AS i"+b.named()+", "+value+" FROM @."+source+
		" x JOIN @.dimensions d ON d.id = x.dimensions WHERE x.quarter >= "+b.from()+" AND x.quarter < "+b.to()+" AND "+b.text()+" GROUP BY i"+b.outer())
}

// ActiveChanges answers from the roll-ups and what withdrawals change of them, or from the lives where the roll-ups do
// not say it: see query.AnalyticsModel. It is one statement, which sees one moment.
func (s *Analytics) ActiveChanges(ctx context.Context, q query.CountsAsked) ([]query.Counted, error) {
	b, err := newCounting(q)
	if err != nil {
		return nil, err
	}
	ends := " SELECT " + b.interval("quarter") + " AS i" + b.outer() + ", sum(n)::bigint FROM x WHERE quarter < " + b.to() + " GROUP BY i" + b.outer()
	if b.lives(&q.Filter) {
		return s.counted(ctx, b, "WITH "+b.livesInView()+", x AS (SELECT "+quarterOf("f")+" AS quarter, 1 AS n"+b.outer()+" FROM v UNION ALL SELECT "+
			quarterOf("e")+", -1"+b.outer()+" FROM v WHERE e < "+never+")"+ends)
	}
	metric, err := tables.MetricNumber(projector.MetricActive)
	if err != nil {
		return nil, err
	}
	text := b.text()
	return s.counted(ctx, b, "WITH "+b.withdrawnLives()+ends+" UNION ALL SELECT * FROM (SELECT "+b.interval("x.quarter")+" AS i"+b.named()+
		", sum(x.n)::bigint FROM @.rollups x JOIN @.dimensions d ON d.id = x.dimensions WHERE x.metric = "+b.arg(metric)+" AND x.quarter < "+b.to()+" AND "+text+
		" GROUP BY i"+b.outer()+") r")
}

// lives adds the conditions on who, and tells whether there are any.
func (b *counting) lives(f *query.Filter) bool {
	b.in("l.customer", f.Customer)
	b.in("l.device", f.DeviceID)
	b.in("l.license", f.LicenseID)
	return len(f.Customer)+len(f.DeviceID)+len(f.LicenseID) > 0
}

// quarterOf is the beginning of the quarter, in seconds, of a column in microseconds.
func quarterOf(column string) string {
	return "(" + column + " / 900000000 * 900)"
}

// withdrawn joins from when dimensions d are withdrawn: in their country, or everywhere.
const withdrawn = " LEFT JOIN @.withdrawals z ON z.title = d.title AND z.country = d.country LEFT JOIN @.withdrawals y ON y.title = d.title AND y.country = ''"

// livesInView are the lives with their end e, withdrawals included. LEAST passes over what is NULL.
func (b *counting) livesInView() string {
	return "v AS (SELECT l.customer, l.device, l.from_ AS f, greatest(l.from_, least(l.own_end, l.cut_at, coalesce(z.from_, y.from_), " + never + ")) AS e" + b.named() +
		" FROM @.lives l JOIN @.dimensions d ON d.id = l.dimensions" + withdrawn + " WHERE " + b.text() + ")"
}

// withdrawnLives are what withdrawals change of the roll-ups: a life that a withdrawal ends is one less from then on,
// and is not one less any more at the end that the roll-ups know.
func (b *counting) withdrawnLives() string {
	return "v AS (SELECT greatest(l.from_, coalesce(z.from_, y.from_)) AS at, greatest(l.from_, least(l.own_end, l.cut_at, " + never + ")) AS e" + b.named() +
		" FROM @.dimensions d" + withdrawn + " JOIN @.lives l ON l.dimensions = d.id WHERE d.title IN (SELECT title FROM @.withdrawals) AND coalesce(z.from_, y.from_) IS NOT NULL AND " +
		b.text() + "), x AS (SELECT " + quarterOf("at") + " AS quarter, -1 AS n" + b.outer() + " FROM v WHERE at < e UNION ALL SELECT " + quarterOf("e") + ", 1" + b.outer() +
		" FROM v WHERE at < e AND e < " + never + ")"
}

// counted runs a question.
func (s *Analytics) counted(ctx context.Context, b *counting, text string) ([]query.Counted, error) {
	var all []query.Counted
	err := s.each(ctx, text+" LIMIT "+b.arg(b.maxRows+1), b.args, func(r pgx.Rows) error {
		c := query.Counted{Key: make([]string, len(b.keys))}
		into := []any{&c.Interval}
		for i := range c.Key {
			into = append(into, &c.Key[i])
		}
		if err := r.Scan(append(into, &c.N)...); err != nil {
			return err
		}
		all = append(all, c)
		return nil
	})
	if err == nil && len(all) > b.maxRows {
		return nil, query.ErrTooMany
	}
	return all, err
}

// ActiveEdges yields where lives begin and end, in order of time: see query.AnalyticsModel.
func (s *Analytics) ActiveEdges(ctx context.Context, q query.CountsAsked) iter.Seq2[query.Edge, error] {
	return func(yield func(query.Edge, error) bool) {
		b, err := newCounting(q)
		if err != nil {
			yield(query.Edge{}, err)
			return
		}
		b.lives(&q.Filter)
		b.compare("l.from_", "<", micros(q.Cuts[len(q.Cuts)-1]))
		who := "customer"
		if q.Measure == query.MeasureDevices {
			who = "customer || ' ' || device"
		}
		text := "WITH " + b.livesInView() + ", y AS (SELECT f, e, " + who + " AS who" + b.outer() + " FROM v LIMIT " + b.arg(b.maxRows+1) + ") SELECT " + quarterOf("f") +
			" AS t, 1 AS n, who" + b.outer() + " FROM y UNION ALL SELECT " + quarterOf("e") + ", -1, who" + b.outer() + " FROM y WHERE e < " + never + " ORDER BY t, n"
		s.yieldEdges(ctx, b, text, yield)
	}
}

// errStopped ends a walk over rows that nobody wants any more.
var errStopped = errors.New("stopped")

func (s *Analytics) yieldEdges(ctx context.Context, b *counting, text string, yield func(query.Edge, error) bool) {
	begun, stopped := 0, false
	err := s.each(ctx, text, b.args, func(r pgx.Rows) error {
		var e query.Edge
		var at int64
		e.Key = make([]string, len(b.keys))
		into := []any{&at, &e.N, &e.Who}
		for i := range e.Key {
			into = append(into, &e.Key[i])
		}
		if err := r.Scan(into...); err != nil {
			return err
		}
		if e.N > 0 {
			if begun++; begun > b.maxRows {
				return query.ErrTooMany
			}
		}
		e.Quarter = time.Unix(at, 0).UTC()
		if !yield(e, nil) {
			stopped = true
			return errStopped
		}
		return nil
	})
	if err != nil && !stopped {
		yield(query.Edge{}, err)
	}
}
