package readmodel

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
)

// rowSchema is the small read model of the consumer suite.
var rowSchema = schema{Model: "rows", Version: 1, Tables: `
CREATE TABLE suite (stream TEXT PRIMARY KEY, seq INTEGER NOT NULL, count INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
`}

type rowStore struct{ *file }

func (s rowStore) Begin(ctx context.Context, shard int) (*tx, error) { return s.begin(ctx, shard) }

type suiteRows struct{ f *file }

func scanRow(r *sql.Rows) (conformance.ConsumerRow, error) {
	var row conformance.ConsumerRow
	err := r.Scan(&row.Stream, &row.Seq, &row.Count, &row.Digest)
	return row, err
}

func (suiteRows) Row(ctx context.Context, t *tx, stream domain.StreamID) (row conformance.ConsumerRow, err error) {
	err = t.each(ctx, "SELECT stream, seq, count, digest FROM suite WHERE stream = ?", []any{stream}, func(r *sql.Rows) error {
		row, err = scanRow(r)
		return err
	})
	return row, err
}

func (suiteRows) SetRow(ctx context.Context, t *tx, row conformance.ConsumerRow) error {
	return t.exec(ctx, "INSERT OR REPLACE INTO suite (stream, seq, count, digest) VALUES (?, ?, ?, ?)", row.Stream, int64(row.Seq), row.Count, row.Digest)
}

func (s suiteRows) All(ctx context.Context) (all []conformance.ConsumerRow, err error) {
	err = s.f.each(ctx, "SELECT stream, seq, count, digest FROM suite ORDER BY stream", nil, func(r *sql.Rows) error {
		row, err := scanRow(r)
		all = append(all, row)
		return err
	})
	return all, err
}

func TestFileKeepsTheConsumerContract(t *testing.T) {
	t.Parallel()
	conformance.Consumer(t, func(t testing.TB) conformance.ConsumerSubject[*tx] {
		t.Helper()
		f, err := openFile(t.Context(), filepath.Join(t.TempDir(), "rows.1.db"), rowSchema)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		return conformance.ConsumerSubject[*tx]{Store: rowStore{f}, Rows: suiteRows{f}}
	})
}
