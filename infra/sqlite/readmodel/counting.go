package readmodel

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"

	"carryon/infra/tables"
	"carryon/projector"
	"carryon/query"
)

// counting is a question for counts, in SQL: intervals as a table c (i, a, b), conditions on the dimensions d and on
// who, and what to group by.
type counting struct {
	cuts    string // WITH c (i, a, b) AS (VALUES …)
	cutArgs []any
	columns string // ", d.studio, d.plan"
	keys    int    // how many
	w       where  // on d
	who     where  // on x: customers, devices, licences, actors
	maxRows int
}

// never stands for an end that there is not, in microseconds.
const never = math.MaxInt64

// newCounting reads a question. before adds the interval -1, which is everything before the first cut.
func newCounting(q query.CountsAsked, before bool) (*counting, error) {
	b := &counting{maxRows: q.MaxRows, keys: len(q.GroupBy)}
	if len(q.Cuts) < 2 {
		return nil, fmt.Errorf("%d cuts make no interval", len(q.Cuts))
	}
	var rows []string
	add := func(i int, from, to int64) {
		rows = append(rows, "(CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT))")
		b.cutArgs = append(b.cutArgs, i, from, to)
	}
	if before {
		add(-1, math.MinInt64, q.Cuts[0].Unix())
	}
	for i := range len(q.Cuts) - 1 {
		add(i, q.Cuts[i].Unix(), q.Cuts[i+1].Unix())
	}
	b.cuts = "c (i, a, b) AS (VALUES " + strings.Join(rows, ", ") + ")"
	for _, field := range q.GroupBy {
		column, ok := tables.DimensionColumn(field)
		if !ok {
			return nil, fmt.Errorf("there is no dimension %q", field)
		}
		b.columns += ", " + column
	}
	b.only(q.Keys)
	b.filter(&q.Filter)
	return b, nil
}

// only keeps the groups with these keys.
func (b *counting) only(keys [][]string) {
	if len(keys) == 0 || b.keys == 0 {
		return
	}
	group := "(?" + strings.Repeat(", ?", b.keys-1) + ")"
	var args []any
	for _, key := range keys {
		for _, value := range key {
			args = append(args, value)
		}
	}
	b.w.add("("+strings.TrimPrefix(b.columns, ", ")+") IN (VALUES "+group+strings.Repeat(", "+group, len(keys)-1)+")", args...)
}

func (b *counting) filter(f *query.Filter) {
	b.w.in("d.title", f.TitleID)
	b.w.in("d.series", f.Series)
	b.w.in("d.studio", f.Studio)
	b.w.in("d.plan", f.Plan)
	b.w.in("d.country", f.Country)
	b.w.in("d.device_type", f.DeviceType)
	b.w.in("d.device_family", f.DeviceFamily)
	b.w.in("d.trigger_", f.Trigger)
	b.w.in("d.code", f.Code)
	b.w.in("d.basis", f.Basis)
	b.w.in("d.role", f.Role)
	versions := make([]string, len(f.PolicyVersion))
	for i, v := range f.PolicyVersion {
		versions[i] = strconv.Itoa(v)
	}
	b.w.in("d.policy_version", versions)
}

// numbers adds a condition on a column of hashes.
func (w *where) numbers(column string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = tables.Number(v)
	}
	w.add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

// Counts answers from the roll-ups, and from the facts where these do not say it: see query.AnalyticsModel.
func (s *Analytics) Counts(ctx context.Context, q query.CountsAsked) ([]query.Counted, error) {
	metric, err := tables.MetricNumber(q.Metric)
	if err != nil {
		return nil, err
	}
	b, err := newCounting(q, false)
	if err != nil {
		return nil, err
	}
	f := &q.Filter
	b.who.numbers("x.customer", f.Customer)
	b.who.numbers("x.device", f.DeviceID)
	b.who.numbers("x.license", f.LicenseID)
	b.who.numbers("x.actor", f.Actor)
	source, value := "rollups x", "CAST(sum(x.n) AS BIGINT)"
	switch {
	case q.Measure == query.MeasureCustomers:
		source, value = "facts x", "count(DISTINCT x.customer)"
	case q.Measure == query.MeasureDevices: // both are 63 bits, so the difference fits, and tells devices of two customers apart
		source, value = "facts x", "count(DISTINCT CASE WHEN x.device != 0 THEN x.customer - x.device END)"
	case len(b.who.conditions) > 0:
		source, value = "facts x", "count(*)"
	}
	return s.counted(ctx, b, "WITH "+b.cuts+" SELECT c.i"+b.columns+", "+value+" FROM c CROSS JOIN "+source+
		" ON x.metric = "+strconv.Itoa(int(metric))+" AND x.quarter >= c.a AND x.quarter < c.b JOIN dimensions d ON d.id = x.dimensions")
}

// ActiveChanges answers from the roll-ups and what withdrawals change of them, or from the lives where the roll-ups do
// not say it: see query.AnalyticsModel.
func (s *Analytics) ActiveChanges(ctx context.Context, q query.CountsAsked) ([]query.Counted, error) {
	b, err := newCounting(q, true)
	if err != nil {
		return nil, err
	}
	const join = " JOIN c ON x.quarter >= c.a AND x.quarter < c.b JOIN dimensions d ON d.id = x.dimensions"
	if b.lives(&q.Filter) {
		return s.counted(ctx, b, "WITH "+b.cuts+", "+livesInView+`,
			x (dimensions, quarter, n, customer, device, license) AS (
				SELECT dimensions, `+quarterOf("f")+`, 1, customer, device, license FROM v
				UNION ALL SELECT dimensions, `+quarterOf("e")+`, -1, customer, device, license FROM v WHERE e < `+neverText+`
			) SELECT c.i`+b.columns+", CAST(sum(x.n) AS BIGINT) FROM x"+join)
	}
	metric, err := tables.MetricNumber(projector.MetricActive)
	if err != nil {
		return nil, err
	}
	changes, err := s.counted(ctx, b, "WITH "+b.cuts+" SELECT c.i"+b.columns+", CAST(sum(x.n) AS BIGINT) FROM c CROSS JOIN rollups x ON x.metric = "+strconv.Itoa(int(metric))+
		" AND x.quarter >= c.a AND x.quarter < c.b JOIN dimensions d ON d.id = x.dimensions")
	if err != nil {
		return nil, err
	}
	corrections, err := s.counted(ctx, b, "WITH "+b.cuts+", "+withdrawnLives+" SELECT c.i"+b.columns+", CAST(sum(x.n) AS BIGINT) FROM x"+join)
	return append(changes, corrections...), err
}

// lives adds the conditions on who, and tells whether there are any.
func (b *counting) lives(f *query.Filter) bool {
	b.who.in("x.customer", f.Customer)
	b.who.in("x.device", f.DeviceID)
	b.who.in("x.license", f.LicenseID)
	return len(b.who.conditions) > 0
}

var neverText = strconv.FormatInt(never, 10)

// quarterOf is the beginning of the quarter, in seconds, of a column in microseconds.
func quarterOf(column string) string {
	return "(" + column + " / 900000000 * 900)"
}

// withdrawnFrom is from when dimensions d are withdrawn; NULL: they are not.
const withdrawnFrom = `coalesce(
	(SELECT from_ FROM withdrawals z WHERE z.title = d.title AND z.country = d.country),
	(SELECT from_ FROM withdrawals z WHERE z.title = d.title AND z.country = ''))`

// livesInView are all lives with their end e, withdrawals included.
var livesInView = `v AS (
	SELECT l.customer, l.device, l.license, l.dimensions, l.from_ AS f,
		max(l.from_, min(coalesce(l.own_end, ` + neverText + `), coalesce(l.cut_at, ` + neverText + `), coalesce(` + withdrawnFrom + `, ` + neverText + `))) AS e
	FROM lives l JOIN dimensions d ON d.id = l.dimensions
)`

// withdrawnLives are what withdrawals change of the roll-ups: a life that a withdrawal ends is one less from then on,
// and is not one less any more at the end that the roll-ups know.
var withdrawnLives = `w (dimensions, at) AS (
	SELECT d.id, ` + withdrawnFrom + ` FROM dimensions d WHERE d.title IN (SELECT title FROM withdrawals)
), v AS (
	SELECT l.dimensions, max(l.from_, w.at) AS at,
		max(l.from_, min(coalesce(l.own_end, ` + neverText + `), coalesce(l.cut_at, ` + neverText + `))) AS e
	FROM w JOIN lives l ON l.dimensions = w.dimensions WHERE w.at IS NOT NULL
), x (dimensions, quarter, n) AS (
	SELECT dimensions, ` + quarterOf("at") + `, -1 FROM v WHERE at < e
	UNION ALL SELECT dimensions, ` + quarterOf("e") + `, 1 FROM v WHERE at < e AND e < ` + neverText + `
)`

// counted runs a question that ends before its conditions.
func (s *Analytics) counted(ctx context.Context, b *counting, text string) ([]query.Counted, error) {
	args := append(append(append([]any{}, b.cutArgs...), b.w.args...), b.who.args...)
	text += " WHERE " + b.w.text() + " AND " + b.who.text() + " GROUP BY c.i" + b.columns + " LIMIT ?"
	var all []query.Counted
	err := s.each(ctx, text, append(args, b.maxRows+1), func(r *sql.Rows) error {
		c := query.Counted{Key: make([]string, b.keys)}
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
		b, err := newCounting(q, false)
		if err != nil {
			yield(query.Edge{}, err)
			return
		}
		b.lives(&q.Filter)
		who := "x.customer"
		if q.Measure == query.MeasureDevices {
			who = "x.customer || ' ' || x.device"
		}
		text := "WITH " + livesInView + `, y AS (
			SELECT x.*` + b.columns + ", " + who + " AS who FROM v x JOIN dimensions d ON d.id = x.dimensions WHERE x.f < ? AND " + b.w.text() + " AND " + b.who.text() + ` LIMIT ?
		) SELECT ` + quarterOf("f") + " AS t, 1 AS n, who" + outer(b.columns) + " FROM y UNION ALL SELECT " + quarterOf("e") + ", -1, who" + outer(b.columns) +
			" FROM y WHERE e < " + neverText + " ORDER BY t, n"
		args := append([]any{micros(q.Cuts[len(q.Cuts)-1])}, b.w.args...)
		args = append(append(args, b.who.args...), q.MaxRows+1)
		s.yieldEdges(ctx, b, text, args, yield)
	}
}

func (s *Analytics) yieldEdges(ctx context.Context, b *counting, text string, args []any, yield func(query.Edge, error) bool) {
	begun, stopped := 0, false
	err := s.each(ctx, text, args, func(r *sql.Rows) error {
		var e query.Edge
		var at int64
		e.Key = make([]string, b.keys)
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

// errStopped ends a walk over rows that nobody wants any more.
var errStopped = fmt.Errorf("stopped")

// outer are columns as an inner SELECT named them: ", d.studio" is ", studio".
func outer(columns string) string { return strings.ReplaceAll(columns, "d.", "") }
