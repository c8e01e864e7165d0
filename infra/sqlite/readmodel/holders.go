package readmodel

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"carryon/domain"
	"carryon/infra/tables"
	"carryon/projector"
)

// Whose rows are there, for the audit, which looks for those of streams that the log does not know.

var (
	_ projector.Listing = (*Customers)(nil)
	_ projector.Listing = (*Timeline)(nil)
	_ projector.Listing = (*Denials)(nil)
	_ projector.Listing = (*Search)(nil)
	_ projector.Listing = (*Reference)(nil)
	_ projector.Listing = (*Analytics)(nil)
)

// holders asks for names.
func (f *file) holders(ctx context.Context, text string) iter.Seq2[projector.Holder, error] {
	var names []domain.StreamID
	err := f.each(ctx, text, nil, func(r *sql.Rows) error {
		var name domain.StreamID
		err := r.Scan(&name)
		names = append(names, name)
		return err
	})
	return projector.Each(names, err)
}

// holdersBy are the streams, and the numbers in a table that no stream has.
func (f *file) holdersBy(ctx context.Context, table string) iter.Seq2[projector.Holder, error] {
	return f.holders(ctx, "SELECT stream FROM streams UNION ALL SELECT DISTINCT '"+tables.NumberKind+"/' || stream FROM "+table+" WHERE stream NOT IN (SELECT id FROM streams)")
}

// auditNumber says how many rows of a table no stream has.
func (f *file) auditNumber(ctx context.Context, table string, number int64) ([]string, error) {
	var n int64
	if _, err := f.one(ctx, "SELECT count(*) FROM "+table+" WHERE stream = ?1 AND ?1 NOT IN (SELECT id FROM streams)", []any{number}, &n); err != nil || n == 0 {
		return nil, err
	}
	return []string{fmt.Sprintf("%s%d rows of %s", projector.NotGiven, n, table)}, nil
}

// Holders are all that have a state, a device, a licence or an exception.
func (s *Customers) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holders(ctx, `SELECT stream FROM customers UNION ALL SELECT DISTINCT stream FROM devices
		UNION ALL SELECT DISTINCT stream FROM licenses UNION ALL SELECT DISTINCT stream FROM exceptions`)
}

// Holders are all that have events.
func (s *Timeline) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holdersBy(ctx, "events")
}

// Holders are all that have refusals, or could have.
func (s *Denials) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holdersBy(ctx, "denials")
}

// Holders are all that have documents.
func (s *Search) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holdersBy(ctx, "documents")
}

// Holders are the titles and documents.
func (s *Reference) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holders(ctx, "SELECT DISTINCT '"+domain.KindTitle+"/' || title FROM withdrawals UNION ALL SELECT DISTINCT '"+domain.KindPolicy+"/' || policy FROM policies")
}

// Holders are customers with lives, titles that are withdrawn, and the numbers that facts have.
func (s *Analytics) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holders(ctx, "SELECT DISTINCT '"+domain.KindCustomer+"/' || customer FROM lives UNION ALL SELECT DISTINCT '"+domain.KindTitle+"/' || title FROM withdrawals"+
		" UNION ALL SELECT DISTINCT '"+tables.NumberKind+"/' || customer FROM facts")
}

// HolderNames are a stream's name, and the number that its facts have.
func (s *Analytics) HolderNames(stream domain.StreamID) []domain.StreamID {
	return tables.AnalyticsNames(stream)
}
