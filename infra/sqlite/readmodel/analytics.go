package readmodel

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"carryon/infra/tables"
	"carryon/projector"
	"carryon/query"
)

// Moments here are microseconds, quarters are seconds. Customers, devices, licences and actors are only compared and
// counted, never shown, so facts hold their hashes.
var analyticsSchema = schema{Model: "analytics", Version: 1, Tables: dimensionTable + `
CREATE TABLE rollups (
	metric INTEGER NOT NULL, quarter INTEGER NOT NULL, dimensions INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (metric, quarter, dimensions)
) WITHOUT ROWID;
CREATE TABLE facts (
	metric INTEGER NOT NULL, quarter INTEGER NOT NULL, customer INTEGER NOT NULL, seq INTEGER NOT NULL, dimensions INTEGER NOT NULL,
	device INTEGER NOT NULL, license INTEGER NOT NULL, actor INTEGER NOT NULL,
	PRIMARY KEY (metric, quarter, customer, seq)
) WITHOUT ROWID;
CREATE TABLE lives (
	license TEXT NOT NULL, number INTEGER NOT NULL, customer TEXT NOT NULL, device TEXT NOT NULL, from_ INTEGER NOT NULL,
	own_end INTEGER, cut_at INTEGER, dimensions INTEGER NOT NULL, PRIMARY KEY (license, number)
) WITHOUT ROWID;
CREATE INDEX lives_device ON lives (customer, device);
CREATE TABLE withdrawals (title TEXT NOT NULL, country TEXT NOT NULL, from_ INTEGER NOT NULL, PRIMARY KEY (title, country)) WITHOUT ROWID;
`, Indexes: `
CREATE INDEX IF NOT EXISTS dimensions_title ON dimensions (title);
CREATE INDEX IF NOT EXISTS facts_customer ON facts (customer);
CREATE INDEX IF NOT EXISTS lives_dimensions ON lives (dimensions);
`}

// Analytics keeps counts, facts and lives.
type Analytics struct{ *file }

var (
	_ projector.Store[projector.AnalyticsTx] = (*Analytics)(nil)
	_ projector.Fillable                     = (*Analytics)(nil)
	_ query.AnalyticsModel                   = (*Analytics)(nil)
)

// OpenAnalytics opens or makes the file of the analytics.
func OpenAnalytics(ctx context.Context, path string) (*Analytics, error) {
	f, err := openFile(ctx, path, analyticsSchema)
	if err != nil {
		return nil, err
	}
	return &Analytics{f}, nil
}

// Begin opens a transaction: see projector.Store.
func (s *Analytics) Begin(ctx context.Context, shard int) (projector.AnalyticsTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return analyticsTx{t}, nil
}

type analyticsTx struct{ *tx }

var (
	insertFact = many{Head: "INSERT OR ROLLBACK INTO facts (metric, quarter, customer, seq, dimensions, device, license, actor) VALUES", Cols: 8}
	addCount   = many{
		Head: "INSERT INTO rollups (metric, quarter, dimensions, n) VALUES",
		Tail: "ON CONFLICT (metric, quarter, dimensions) DO UPDATE SET n = rollups.n + excluded.n", Cols: 4,
	}
	upsertLife = many{
		Head: "INSERT INTO lives (license, number, customer, device, from_, own_end, cut_at, dimensions) VALUES", Cols: 8,
		Tail: `ON CONFLICT (license, number) DO UPDATE SET customer = excluded.customer, device = excluded.device, from_ = excluded.from_,
			own_end = excluded.own_end, cut_at = excluded.cut_at, dimensions = excluded.dimensions`,
	}
)

// AddFacts adds facts.
func (t analyticsTx) AddFacts(ctx context.Context, facts []projector.Fact) error {
	dimensions := make([]*projector.Dimensions, len(facts))
	metrics := make([]int16, len(facts))
	for i := range facts {
		dimensions[i] = &facts[i].Dimensions
		var err error
		if metrics[i], err = tables.MetricNumber(facts[i].Metric); err != nil {
			return err
		}
	}
	numbers, err := t.addDimensions(ctx, dimensions)
	if err != nil {
		return err
	}
	type key struct {
		metric                 int16
		quarter, customer, seq int64
	}
	keys := make([]key, len(facts))
	for i := range facts {
		f := &facts[i]
		keys[i] = key{metrics[i], projector.Quarter(f.At).Unix(), tables.Number(f.Customer), int64(f.Seq)}
	}
	byKey := func(i, j int) int {
		a, b := &keys[i], &keys[j]
		return cmp.Or(cmp.Compare(a.metric, b.metric), cmp.Compare(a.quarter, b.quarter), cmp.Compare(a.customer, b.customer), cmp.Compare(a.seq, b.seq))
	}
	return t.writeInOrder(ctx, insertFact, len(facts), byKey, func(i int, args []any) []any {
		f, k := &facts[i], &keys[i]
		return append(args, k.metric, k.quarter, k.customer, k.seq, numbers[i],
			tables.NumberOrZero(f.DeviceID), tables.NumberOrZero(f.LicenseID), tables.NumberOrZero(f.ActorID))
	})
}

// addDimensions makes sure that the combinations are there, and returns their numbers.
func (t *tx) addDimensions(ctx context.Context, all []*projector.Dimensions) ([]int64, error) {
	if t.combined == nil {
		t.combined = make(map[projector.Dimensions]int64, len(all))
	}
	numbers := make([]int64, len(all))
	var fresh []*projector.Dimensions
	for i, d := range all {
		n, ok := t.combined[*d]
		if !ok {
			n = tables.Number(tables.DimensionValues(d)...)
			t.combined[*d] = n
			fresh = append(fresh, d)
		}
		numbers[i] = n
	}
	return numbers, t.write(ctx, insertDimensions, len(fresh), func(i int, args []any) []any { return bindDimensions(args, t.combined[*fresh[i]], fresh[i]) })
}

// AddCounts adds to the roll-ups.
func (t analyticsTx) AddCounts(ctx context.Context, counts []projector.Count) error {
	dimensions := make([]*projector.Dimensions, len(counts))
	metrics := make([]int16, len(counts))
	for i := range counts {
		dimensions[i] = &counts[i].Dimensions
		var err error
		if metrics[i], err = tables.MetricNumber(counts[i].Metric); err != nil {
			return err
		}
	}
	numbers, err := t.addDimensions(ctx, dimensions)
	if err != nil {
		return err
	}
	type cell struct {
		metric     int16
		quarter    int64
		dimensions int64
	}
	sums := make(map[cell]int64, len(counts))
	cells := make([]cell, 0, len(counts))
	for i := range counts {
		c := cell{metrics[i], counts[i].Quarter.Unix(), numbers[i]}
		if _, known := sums[c]; !known {
			cells = append(cells, c)
		}
		sums[c] += counts[i].N
	}
	return t.write(ctx, addCount, len(cells), func(i int, args []any) []any {
		return append(args, cells[i].metric, cells[i].quarter, cells[i].dimensions, sums[cells[i]])
	})
}

const lifeColumns = "l.license, l.number, l.customer, l.device, l.from_, l.own_end, l.cut_at, " + tables.DimensionColumns

// Lives are the newest lives of the licences, and of all licences of the devices.
func (t analyticsTx) Lives(ctx context.Context, licenses []string, devices []projector.DeviceRef) ([]projector.Life, error) {
	lives := map[string]projector.Life{}
	scan := func(r *sql.Rows) error {
		life, err := scanLife(r)
		lives[life.LicenseID] = life
		return err
	}
	const newest = " l.number = (SELECT max(number) FROM lives n WHERE n.license = l.license)"
	err := eachIn(ctx, t.tx, "SELECT "+lifeColumns+" FROM lives l JOIN dimensions d ON d.id = l.dimensions WHERE l.license IN (SELECT value FROM json_each(?)) AND"+newest,
		licenses, scan)
	if err != nil {
		return nil, err
	}
	for _, ref := range devices {
		err := t.each(ctx, "SELECT "+lifeColumns+" FROM lives l JOIN dimensions d ON d.id = l.dimensions WHERE l.customer = ? AND l.device = ? AND"+newest,
			[]any{ref.Customer, ref.DeviceID}, scan)
		if err != nil {
			return nil, err
		}
	}
	all := make([]projector.Life, 0, len(lives))
	for _, life := range lives {
		all = append(all, life)
	}
	slices.SortFunc(all, func(a, b projector.Life) int { return strings.Compare(a.LicenseID, b.LicenseID) })
	return all, nil
}

func scanLife(r *sql.Rows) (projector.Life, error) {
	var l projector.Life
	var from int64
	var end, cut sql.NullInt64
	var policy string
	err := r.Scan(append([]any{&l.LicenseID, &l.Number, &l.Customer, &l.DeviceID, &from, &end, &cut}, tables.ScanDimensions(&l.Dimensions, &policy)...)...)
	if err != nil {
		return l, err
	}
	l.From, l.OwnEnd, l.CutAt = fromMicros(from), fromNullMicros(end), fromNullMicros(cut)
	l.PolicyVersion, err = strconv.Atoi(policy)
	return l, projector.Unreadable(err)
}

// SaveLives adds or replaces lives.
func (t analyticsTx) SaveLives(ctx context.Context, lives []projector.Life) error {
	dimensions := make([]*projector.Dimensions, len(lives))
	for i := range lives {
		dimensions[i] = &lives[i].Dimensions
	}
	numbers, err := t.addDimensions(ctx, dimensions)
	if err != nil {
		return err
	}
	return t.write(ctx, upsertLife, len(lives), func(i int, args []any) []any {
		l := &lives[i]
		return append(args, l.LicenseID, l.Number, l.Customer, l.DeviceID, micros(l.From), microsOrNull(l.OwnEnd), microsOrNull(l.CutAt), numbers[i])
	})
}

// Withdraw replaces what is known of titles in the countries; without countries, all that is known of a title.
func (t analyticsTx) Withdraw(ctx context.Context, rows []projector.WithdrawalRow) error {
	for i := range rows {
		r := &rows[i]
		countries := r.Countries
		if len(countries) == 0 {
			if err := t.exec(ctx, "DELETE FROM withdrawals WHERE title = ?", r.TitleID); err != nil {
				return err
			}
			countries = []string{""}
		}
		for _, country := range countries {
			if err := t.exec(ctx, "INSERT INTO withdrawals (title, country, from_) VALUES (?, ?, ?) ON CONFLICT (title, country) DO UPDATE SET from_ = excluded.from_", r.TitleID, country, micros(r.From)); err != nil {
				return err
			}
		}
	}
	return nil
}
