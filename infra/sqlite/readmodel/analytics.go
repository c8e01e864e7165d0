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
// counted, never shown, so facts hold their hashes. What is counted stands in the order in which it came, and what a
// customer has together: hashes as keys would scatter each transaction over all pages (decision 0040).
var analyticsSchema = schema{Model: "analytics", Version: 2, Tables: dimensionTable + `
CREATE TABLE rollups (
	metric INTEGER NOT NULL, quarter INTEGER NOT NULL, dimensions INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (metric, quarter, dimensions)
) WITHOUT ROWID;
CREATE TABLE facts (
	metric INTEGER NOT NULL, quarter INTEGER NOT NULL, shard INTEGER NOT NULL, entry INTEGER NOT NULL, place INTEGER NOT NULL,
	customer INTEGER NOT NULL, seq INTEGER NOT NULL, dimensions INTEGER NOT NULL,
	device INTEGER NOT NULL, license INTEGER NOT NULL, actor INTEGER NOT NULL,
	PRIMARY KEY (metric, quarter, shard, entry, place, customer)
) WITHOUT ROWID;
CREATE TABLE lives (
	customer TEXT NOT NULL, license TEXT NOT NULL, number INTEGER NOT NULL, device TEXT NOT NULL, from_ INTEGER NOT NULL,
	own_end INTEGER, cut_at INTEGER, dimensions INTEGER NOT NULL, PRIMARY KEY (customer, license, number)
) WITHOUT ROWID;
CREATE TABLE withdrawals (title TEXT NOT NULL, country TEXT NOT NULL, from_ INTEGER NOT NULL, PRIMARY KEY (title, country)) WITHOUT ROWID;
`, Indexes: `
CREATE INDEX IF NOT EXISTS dimensions_title ON dimensions (title);
CREATE INDEX IF NOT EXISTS facts_customer ON facts (customer);
CREATE INDEX IF NOT EXISTS lives_license ON lives (license);
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
	insertFact = many{Head: "INSERT OR ROLLBACK INTO facts (metric, quarter, shard, entry, place, customer, seq, dimensions, device, license, actor) VALUES", Cols: 11}
	addCount   = many{
		Head: "INSERT INTO rollups (metric, quarter, dimensions, n) VALUES",
		Tail: "ON CONFLICT (metric, quarter, dimensions) DO UPDATE SET n = rollups.n + excluded.n", Cols: 4,
	}
	upsertLife = many{
		Head: "INSERT INTO lives (customer, license, number, device, from_, own_end, cut_at, dimensions) VALUES", Cols: 8,
		Tail: `ON CONFLICT (customer, license, number) DO UPDATE SET device = excluded.device, from_ = excluded.from_,
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
	quarters := make([]int64, len(facts))
	for i := range facts {
		quarters[i] = projector.Quarter(facts[i].At).Unix()
	}
	byKey := func(i, j int) int { // all are of one shard
		a, b := &facts[i].Position, &facts[j].Position
		return cmp.Or(cmp.Compare(metrics[i], metrics[j]), cmp.Compare(quarters[i], quarters[j]), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Place, b.Place))
	}
	return t.writeInOrder(ctx, insertFact, len(facts), byKey, func(i int, args []any) []any {
		f := &facts[i]
		return append(args, metrics[i], quarters[i], f.Position.Shard, int64(f.Position.Index), f.Position.Place,
			tables.Number(f.Customer), int64(f.Seq), numbers[i], tables.NumberOrZero(f.DeviceID), tables.NumberOrZero(f.LicenseID), tables.NumberOrZero(f.ActorID))
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

const lifeColumns = "l.customer, l.license, l.number, l.device, l.from_, l.own_end, l.cut_at, " + tables.DimensionColumns

// Lives are the newest lives of the licences, and of all licences of the devices.
func (t analyticsTx) Lives(ctx context.Context, licenses []projector.LicenseRef, devices []projector.DeviceRef) ([]projector.Life, error) {
	lives := map[string]projector.Life{}
	scan := func(r *sql.Rows) error {
		life, err := scanLife(r)
		lives[life.LicenseID] = life
		return err
	}
	newest := func(only string) string { // of the lives l
		return "SELECT " + lifeColumns + " FROM json_each(?) w CROSS JOIN lives l ON l.customer = w.value ->> 'Customer' AND " + only +
			" JOIN dimensions d ON d.id = l.dimensions WHERE l.number = (SELECT max(number) FROM lives n WHERE n.customer = l.customer AND n.license = l.license)"
	}
	err := eachIn(ctx, t.tx, newest("l.license = w.value ->> 'LicenseID'"), licenses, scan)
	if err == nil {
		err = eachIn(ctx, t.tx, newest("l.device = w.value ->> 'DeviceID'"), devices, scan)
	}
	if err != nil {
		return nil, err
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
	err := r.Scan(append([]any{&l.Customer, &l.LicenseID, &l.Number, &l.DeviceID, &from, &end, &cut}, tables.ScanDimensions(&l.Dimensions, &policy)...)...)
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
	byKey := func(i, j int) int {
		a, b := &lives[i], &lives[j]
		return cmp.Or(strings.Compare(a.Customer, b.Customer), strings.Compare(a.LicenseID, b.LicenseID), cmp.Compare(a.Number, b.Number))
	}
	return t.writeInOrder(ctx, upsertLife, len(lives), byKey, func(i int, args []any) []any {
		l := &lives[i]
		return append(args, l.Customer, l.LicenseID, l.Number, l.DeviceID, micros(l.From), microsOrNull(l.OwnEnd), microsOrNull(l.CutAt), numbers[i])
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
