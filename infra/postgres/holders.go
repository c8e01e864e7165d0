package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/infra/tables"
	"carryon/projector"
)

// Whose rows are there, for the audit, which looks for those of streams that the log does not know.

var (
	_ projector.Listing = (*Customers)(nil)
	_ projector.Listing = (*Timeline)(nil)
	_ projector.Listing = (*Denials)(nil)
	_ projector.Listing = (*Reference)(nil)
	_ projector.Listing = (*Analytics)(nil)
)

// holders asks for names.
func (s *store) holders(ctx context.Context, text string) iter.Seq2[projector.Holder, error] {
	var names []domain.StreamID
	err := s.each(ctx, text, nil, func(r pgx.Rows) error {
		var name domain.StreamID
		err := r.Scan(&name)
		names = append(names, name)
		return err
	})
	return projector.Each(names, err)
}

// Holders are all that have a state, a device, a licence or an exception.
func (s *Customers) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holders(ctx, "SELECT stream FROM @.customers UNION SELECT stream FROM @.devices UNION SELECT stream FROM @.licenses UNION SELECT stream FROM @.exceptions")
}

// Holders are all that have events.
func (s *Timeline) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holders(ctx, "SELECT stream FROM @.streams UNION SELECT stream FROM @.events")
}

// Holders are all that have refusals, or could have.
func (s *Denials) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holders(ctx, "SELECT stream FROM @.streams UNION SELECT stream FROM @.denials")
}

// Holders are the titles and documents.
func (s *Reference) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holders(ctx, "SELECT '"+domain.KindTitle+"/' || title FROM @.withdrawals UNION SELECT '"+domain.KindPolicy+"/' || policy FROM @.policies")
}

// Holders are customers with lives, titles that are withdrawn, and the numbers that facts have.
func (s *Analytics) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return s.holders(ctx, "SELECT DISTINCT '"+domain.KindCustomer+"/' || customer FROM @.lives UNION ALL SELECT DISTINCT '"+domain.KindTitle+"/' || title FROM @.withdrawals"+
		" UNION ALL SELECT DISTINCT '"+tables.NumberKind+"/' || customer FROM @.facts")
}

// HolderNames are a stream's name, and the number that its facts have.
func (s *Analytics) HolderNames(stream domain.StreamID) []domain.StreamID {
	return tables.AnalyticsNames(stream)
}
