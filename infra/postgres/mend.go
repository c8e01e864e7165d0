package postgres

import (
	"context"

	"carryon/domain"
	"carryon/infra/tables"
	"carryon/projector"
)

// What a stream gave is taken away before its rows are made anew. Rows are looked for by what makes them the stream's,
// and by what would keep the new ones from being written.

var (
	_ projector.Clearing    = customersTx{}
	_ projector.Clearing    = timelineTx{}
	_ projector.Clearing    = denialsTx{}
	_ projector.Clearing    = referenceTx{}
	_ projector.Clearing    = (*analyticsTx)(nil)
	_ projector.SelfMending = (*analyticsTx)(nil)
)

// execAll gathers statements with the same arguments.
func (t *tx) execAll(ctx context.Context, args []any, texts ...string) error {
	for _, text := range texts {
		if err := t.exec(ctx, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// Clear removes a customer's state, devices, licences and exceptions: see projector.Clearing.
func (t customersTx) Clear(ctx context.Context, stream domain.StreamID) error {
	if err := t.exec(ctx, "DELETE FROM @.customers WHERE stream = $1 OR pseudonym = $2", string(stream), t.pseudonyms.Customer(stream.ID())); err != nil {
		return err
	}
	return t.execAll(ctx, []any{string(stream)},
		"DELETE FROM @.devices WHERE stream = $1", "DELETE FROM @.licenses WHERE stream = $1", "DELETE FROM @.exceptions WHERE stream = $1")
}

// Clear removes a customer's events.
func (t timelineTx) Clear(ctx context.Context, stream domain.StreamID) error {
	return t.execAll(ctx, []any{string(stream)}, "DELETE FROM @.events WHERE stream = $1", "DELETE FROM @.streams WHERE stream = $1")
}

// Clear removes a customer's refusals.
func (t denialsTx) Clear(ctx context.Context, stream domain.StreamID) error {
	return t.execAll(ctx, []any{string(stream)}, "DELETE FROM @.denials WHERE stream = $1", "DELETE FROM @.streams WHERE stream = $1")
}

// Clear removes a title's withdrawals or a document's versions.
func (t referenceTx) Clear(ctx context.Context, stream domain.StreamID) error {
	switch stream.Kind() {
	case domain.KindTitle:
		return t.exec(ctx, "DELETE FROM @.withdrawals WHERE title = $1", stream.ID())
	case domain.KindPolicy:
		return t.exec(ctx, "DELETE FROM @.policies WHERE policy = $1", stream.ID())
	}
	return nil
}

// Clear removes a customer's facts and lives and takes them out of the shard's roll-ups; or a title's withdrawals.
func (t *analyticsTx) Clear(ctx context.Context, stream domain.StreamID) error {
	if stream.Kind() == domain.KindTitle {
		return t.exec(ctx, "DELETE FROM @.withdrawals WHERE title = $1", stream.ID())
	}
	number, is := tables.Numbered(stream)
	if stream.Kind() == domain.KindCustomer {
		number = tables.Number(stream.ID())
	} else if !is {
		return nil
	}
	if err := t.exec(ctx, addToRollUps+"SELECT metric, quarter, dimensions, $2::int, -count(*) FROM @.facts WHERE customer = $1 GROUP BY 1, 2, 3"+onTop,
		number, int32(t.shard)); err != nil { //nolint:gosec // shards are few
		return err
	}
	if err := t.exec(ctx, "DELETE FROM @.facts WHERE customer = $1", number); err != nil || is {
		return err
	}
	if err := t.exec(ctx, addToRollUps+"SELECT 5, quarter, dimensions, $2::int, -sum(n)::bigint FROM ("+edgesOf("@.lives WHERE customer = $1")+") edges GROUP BY 2, 3"+onTop,
		stream.ID(), int32(t.shard)); err != nil { //nolint:gosec // shards are few
		return err
	}
	return t.exec(ctx, "DELETE FROM @.lives WHERE customer = $1", stream.ID())
}

const (
	addToRollUps = "INSERT INTO @.rollups (metric, quarter, dimensions, shard, n) "
	onTop        = " ON CONFLICT (metric, quarter, dimensions, shard) DO UPDATE SET n = rollups.n + excluded.n"
)

// edgesOf are the quarters in which lives begin and end, withdrawals left aside.
func edgesOf(lives string) string {
	return "SELECT " + quarterOf("from_") + " AS quarter, dimensions, 1 AS n FROM " + lives +
		" UNION ALL SELECT " + quarterOf("e") + ", dimensions, -1 FROM (SELECT dimensions, greatest(from_, least(own_end, cut_at, " + never + ")) AS e FROM " + lives +
		") ends WHERE e < " + never
}

// rollUpsAndSums are the roll-ups as n, and what they count as m.
var rollUpsAndSums = "SELECT metric, quarter, dimensions, n, 0 AS m FROM @.rollups" +
	" UNION ALL SELECT metric, quarter, dimensions, 0, count(*) FROM @.facts GROUP BY 1, 2, 3" +
	" UNION ALL SELECT 5, quarter, dimensions, 0, sum(n) FROM (" + edgesOf("@.lives") + ") edges GROUP BY 1, 2, 3"

// MendItself adds what the roll-ups lack of the sums of the facts and lives to those of one shard. The statement reads
// one moment, in which facts and roll-ups belong together; so what other shards add meanwhile disturbs nothing.
func (t *analyticsTx) MendItself(ctx context.Context) error {
	return t.exec(ctx, addToRollUps+"SELECT metric, quarter, dimensions, $1::int, (sum(m) - sum(n))::bigint FROM ("+rollUpsAndSums+
		") sides GROUP BY 1, 2, 3 HAVING sum(n) != sum(m)"+onTop, int32(t.shard)) //nolint:gosec // shards are few
}
