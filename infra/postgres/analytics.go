package postgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"carryon/infra/tables"
	"carryon/projector"
	"carryon/query"
)

// Analytics keeps counts, facts and lives.
type Analytics struct{ *store }

var (
	_ projector.Store[projector.AnalyticsTx] = (*Analytics)(nil)
	_ query.AnalyticsModel                   = (*Analytics)(nil)
)

var analyticsDesign = designOf("analytics", 1)

// Analytics is a generation of the analytics.
func (db *DB) Analytics(generation int) *Analytics {
	return &Analytics{newStore(db, analyticsDesign, generation)}
}

// Begin opens a transaction: see projector.Store.
func (s *Analytics) Begin(ctx context.Context, shard int) (projector.AnalyticsTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return &analyticsTx{tx: t}, nil
}

type analyticsTx struct {
	*tx
	combinations combinations
}

// Commit makes everything durable together with the new checkpoint.
func (t *analyticsTx) Commit(ctx context.Context, to projector.Checkpoint) error {
	if !t.over {
		if err := t.combinations.save(ctx, t.tx); err != nil {
			return err
		}
	}
	return t.tx.Commit(ctx, to)
}

// write gathers a write of rows that have numbers of combinations. When each write is sent at once, so are these.
func (t *analyticsTx) write(ctx context.Context, st statement, columns ...any) error {
	if t.eager {
		if err := t.combinations.save(ctx, t.tx); err != nil {
			return err
		}
	}
	return t.tx.write(ctx, st, columns...)
}

var (
	addFacts = inserting("facts", "", "metric smallint", "quarter bigint", "customer bigint", "seq bigint", "dimensions bigint",
		"device bigint", "license bigint", "actor bigint")
	addCounts = inserting("rollups", "ON CONFLICT (metric, quarter, dimensions, shard) DO UPDATE SET n = rollups.n + excluded.n",
		"metric smallint", "quarter bigint", "dimensions bigint", "shard int", "n bigint")
	saveLives = replacing("lives", "license, number", "license text", "number int", "customer text", "device text",
		"from_ bigint", "own_end bigint", "cut_at bigint", "dimensions bigint")
)

// AddFacts adds facts.
func (t *analyticsTx) AddFacts(ctx context.Context, facts []projector.Fact) error {
	type fact = projector.Fact
	metrics := make([]int16, len(facts))
	for i := range facts {
		var err error
		if metrics[i], err = tables.MetricNumber(facts[i].Metric); err != nil {
			return err
		}
	}
	return t.write(ctx, addFacts, metrics,
		columnOf(facts, func(f *fact) int64 { return projector.Quarter(f.At).Unix() }),
		columnOf(facts, func(f *fact) int64 { return tables.Number(f.Customer) }),
		columnOf(facts, func(f *fact) int64 { return int64(f.Seq) }),
		columnOf(facts, func(f *fact) int64 { return t.combinations.number(&f.Dimensions) }),
		columnOf(facts, func(f *fact) int64 { return tables.NumberOrZero(f.DeviceID) }),
		columnOf(facts, func(f *fact) int64 { return tables.NumberOrZero(f.LicenseID) }),
		columnOf(facts, func(f *fact) int64 { return tables.NumberOrZero(f.ActorID) }))
}

type countKey struct {
	metric              int16
	quarter, dimensions int64
}

// AddCounts adds to the shard's roll-ups.
func (t *analyticsTx) AddCounts(ctx context.Context, counts []projector.Count) error {
	sums := make(map[countKey]int64, len(counts))
	var keys []countKey
	for i := range counts {
		c := &counts[i]
		metric, err := tables.MetricNumber(c.Metric)
		if err != nil {
			return err
		}
		key := countKey{metric, c.Quarter.Unix(), t.combinations.number(&c.Dimensions)}
		if _, again := sums[key]; !again {
			keys = append(keys, key)
		}
		sums[key] += c.N
	}
	return t.write(ctx, addCounts,
		columnOf(keys, func(k *countKey) int16 { return k.metric }),
		columnOf(keys, func(k *countKey) int64 { return k.quarter }),
		columnOf(keys, func(k *countKey) int64 { return k.dimensions }),
		columnOf(keys, func(*countKey) int32 { return int32(t.shard) }),
		columnOf(keys, func(k *countKey) int64 { return sums[*k] }))
}

const lifeColumns = "l.license, l.number, l.customer, l.device, l.from_, l.own_end, l.cut_at, " + tables.DimensionColumns

// Lives are the newest lives of the licences, and of all licences of the devices.
func (t *analyticsTx) Lives(ctx context.Context, licenses []projector.LicenseRef, devices []projector.DeviceRef) ([]projector.Life, error) {
	if err := t.combinations.save(ctx, t.tx); err != nil { // lives written before are read with theirs
		return nil, err
	}
	var lives []projector.Life
	err := t.each(ctx, `WITH wanted AS (
			SELECT unnest($1::text[]) AS license
			UNION SELECT x.license FROM unnest($2::text[], $3::text[]) r (customer, device) JOIN @.lives x ON x.customer = r.customer AND x.device = r.device
		) SELECT `+lifeColumns+` FROM wanted w
		CROSS JOIN LATERAL (SELECT * FROM @.lives x WHERE x.license = w.license ORDER BY x.number DESC LIMIT 1) l
		JOIN @.dimensions d ON d.id = l.dimensions ORDER BY l.license`,
		[]any{
			columnOf(licenses, func(r *projector.LicenseRef) string { return r.LicenseID }),
			columnOf(devices, func(r *projector.DeviceRef) string { return r.Customer }), columnOf(devices, func(r *projector.DeviceRef) string { return r.DeviceID }),
		}, func(r pgx.Rows) error {
			life, err := scanLife(r)
			lives = append(lives, life)
			return err
		})
	return lives, err
}

func scanLife(r pgx.Rows) (projector.Life, error) {
	var l projector.Life
	var from int64
	var end, cut *int64
	var policy string
	err := r.Scan(append([]any{&l.LicenseID, &l.Number, &l.Customer, &l.DeviceID, &from, &end, &cut}, tables.ScanDimensions(&l.Dimensions, &policy)...)...)
	if err != nil {
		return l, err
	}
	l.From, l.OwnEnd, l.CutAt = fromMicros(from), fromMicrosOrNull(end), fromMicrosOrNull(cut)
	l.PolicyVersion, err = strconv.Atoi(policy)
	return l, projector.Unreadable(err)
}

type lifeKey struct {
	license string
	number  int
}

// SaveLives adds or replaces lives.
func (t *analyticsTx) SaveLives(ctx context.Context, lives []projector.Life) error {
	type life = projector.Life
	lives = lastOfEach(lives, func(l *life) lifeKey { return lifeKey{l.LicenseID, l.Number} })
	return t.write(ctx, saveLives,
		columnOf(lives, func(l *life) string { return l.LicenseID }),
		columnOf(lives, func(l *life) int32 { return int32(l.Number) }),
		columnOf(lives, func(l *life) string { return l.Customer }),
		columnOf(lives, func(l *life) string { return l.DeviceID }),
		columnOf(lives, func(l *life) int64 { return micros(l.From) }),
		columnOf(lives, func(l *life) *int64 { return microsOrNull(l.OwnEnd) }),
		columnOf(lives, func(l *life) *int64 { return microsOrNull(l.CutAt) }),
		columnOf(lives, func(l *life) int64 { return t.combinations.number(&l.Dimensions) }))
}

type place struct{ title, country string }

var saveWithdrawals = replacing("withdrawals", "title, country", "title text", "country text", "from_ bigint")

// Withdraw replaces what is known of titles in the countries; without countries, all that is known of a title.
func (t *analyticsTx) Withdraw(ctx context.Context, rows []projector.WithdrawalRow) error {
	forgotten, from := map[string]bool{}, map[place]int64{}
	for i := range rows {
		r := &rows[i]
		countries := r.Countries
		if len(countries) == 0 {
			forgotten[r.TitleID] = true
			for p := range from {
				if p.title == r.TitleID {
					delete(from, p)
				}
			}
			countries = []string{""}
		}
		for _, country := range countries {
			from[place{r.TitleID, country}] = micros(r.From)
		}
	}
	var titles, places, countries []string
	var moments []int64
	for title := range forgotten {
		titles = append(titles, title)
	}
	for p, at := range from {
		places, countries, moments = append(places, p.title), append(countries, p.country), append(moments, at)
	}
	if len(titles) > 0 {
		if err := t.exec(ctx, "DELETE FROM @.withdrawals WHERE title = ANY ($1)", titles); err != nil {
			return err
		}
	}
	return t.write(ctx, saveWithdrawals, places, countries, moments)
}
