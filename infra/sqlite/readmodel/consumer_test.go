package readmodel

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/projector"
)

// The consumer contract is the same for every model's file, so a small model of the suite's own stands for them all.
func TestConsumerKeepsItsContractOverSQLite(t *testing.T) {
	t.Parallel()
	conformance.Consumer(t, func(t testing.TB) conformance.ConsumerSubject[*tx] {
		f, err := openFile(t.Context(), filepath.Join(t.TempDir(), "counted.db"), schema{model: "counted", version: 1, tables: `
			CREATE TABLE counted (stream TEXT PRIMARY KEY, seq INTEGER NOT NULL, count INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;`})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		return conformance.ConsumerSubject[*tx]{Store: countedStore{f}, Rows: countedRows{f}}
	})
}

type countedStore struct{ *file }

func (s countedStore) Begin(ctx context.Context, shard int) (*tx, error) { return s.begin(ctx, shard) }

var _ projector.Store[*tx] = countedStore{}

type countedRows struct{ f *file }

func scanCounted(r *sql.Rows) (row conformance.ConsumerRow, err error) {
	err = r.Scan(&row.Stream, &row.Seq, &row.Count, &row.Digest)
	return row, err
}

func (countedRows) Row(ctx context.Context, t *tx, stream domain.StreamID) (row conformance.ConsumerRow, err error) {
	err = t.each(ctx, "SELECT stream, seq, count, digest FROM counted WHERE stream = ?", []any{stream}, func(r *sql.Rows) error {
		row, err = scanCounted(r)
		return err
	})
	return row, err
}

func (countedRows) SetRow(ctx context.Context, t *tx, row conformance.ConsumerRow) error {
	return t.exec(ctx, "INSERT OR REPLACE INTO counted (stream, seq, count, digest) VALUES (?, ?, ?, ?)", row.Stream, int64(row.Seq), row.Count, row.Digest)
}

func (c countedRows) All(ctx context.Context) (all []conformance.ConsumerRow, err error) {
	err = c.f.each(ctx, "SELECT stream, seq, count, digest FROM counted", nil, func(r *sql.Rows) error {
		row, err := scanCounted(r)
		all = append(all, row)
		return err
	})
	return all, err
}
