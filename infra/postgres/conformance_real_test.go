//go:build real

package postgres

import (
	"context"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
	"carryon/query"
)

func TestStoresPassTheReadModelSuite(t *testing.T) {
	t.Parallel()
	conformance.ReadModel(t, openAll)
}

// openAll makes all read models. Search is not kept here: SQLite's takes its part where a test asks for several models.
func openAll(t testing.TB, pseudonyms query.Pseudonyms) conformance.ReadModels {
	t.Helper()
	db := testDB(t, testConfig(t))
	search, err := readmodel.OpenSearch(t.Context(), filepath.Join(t.TempDir(), "search.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = search.Close() })
	return conformance.ReadModels{
		Customers: db.Customers(1, pseudonyms), Timeline: db.Timeline(1), Denials: db.Denials(1), Analytics: db.Analytics(1), Reference: db.Reference(1),
		Search: search,
	}
}

// The small read model of the consumer suite.

type rowStore struct{ *store }

func (s rowStore) Begin(ctx context.Context, shard int) (*tx, error) { return s.begin(ctx, shard) }

type suiteRows struct{ s *store }

func scanRow(r pgx.Rows) (row conformance.ConsumerRow, err error) {
	err = r.Scan(&row.Stream, &row.Seq, &row.Count, &row.Digest)
	return row, err
}

func (suiteRows) Row(ctx context.Context, t *tx, stream domain.StreamID) (row conformance.ConsumerRow, err error) {
	err = t.each(ctx, "SELECT stream, seq, count, digest FROM @.suite WHERE stream = $1", []any{string(stream)}, func(r pgx.Rows) error {
		row, err = scanRow(r)
		return err
	})
	return row, err
}

func (suiteRows) SetRow(ctx context.Context, t *tx, row conformance.ConsumerRow) error {
	return t.exec(ctx, "INSERT INTO @.suite (stream, seq, count, digest) VALUES ($1, $2, $3, $4) ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, count = excluded.count, digest = excluded.digest",
		string(row.Stream), int64(row.Seq), row.Count, row.Digest)
}

func (s suiteRows) All(ctx context.Context) (all []conformance.ConsumerRow, err error) {
	err = s.s.each(ctx, "SELECT stream, seq, count, digest FROM @.suite ORDER BY stream", nil, func(r pgx.Rows) error {
		row, err := scanRow(r)
		all = append(all, row)
		return err
	})
	return all, err
}

const suiteTable = `CREATE TABLE suite (stream text COLLATE "C" PRIMARY KEY, seq bigint NOT NULL, count int NOT NULL, digest text NOT NULL);`

// openSuite opens the small read model, which has the common tables of the timeline's.
func openSuite(t testing.TB, db *DB) *store {
	t.Helper()
	common, err := migrations.ReadFile("migrations/timeline/00001_rows.sql")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"00001_rows.sql": {Data: append(common, suiteTable...)}}
	return newStore(db, design{model: "suite", version: 1, files: files}, 1)
}

func TestStoreKeepsTheConsumerContract(t *testing.T) {
	t.Parallel()
	conformance.Consumer(t, func(t testing.TB) conformance.ConsumerSubject[*tx] {
		t.Helper()
		s := openSuite(t, testDB(t, testConfig(t)))
		return conformance.ConsumerSubject[*tx]{Store: rowStore{s}, Rows: suiteRows{s}}
	})
}

func TestGenerationsInADatabasePassTheSuite(t *testing.T) {
	t.Parallel()
	conformance.Generations(t, func(t *testing.T) func(*testing.T) projector.Generations {
		db := testDB(t, testConfig(t))
		return func(t *testing.T) projector.Generations { return db.process(t).Timeline(1).Generations() }
	})
}
