package readmodel

import (
	"context"
	"database/sql"

	"carryon/domain"
	"carryon/infra/tables"
	"carryon/projector"
	"carryon/query"
)

// What a stream gave is taken away before its rows are made anew. Rows are looked for by what makes them the stream's,
// and by what would keep the new ones from being written.

var (
	_ projector.Clearing    = customersTx{}
	_ projector.Clearing    = timelineTx{}
	_ projector.Clearing    = denialsTx{}
	_ projector.Clearing    = analyticsTx{}
	_ projector.Clearing    = searchTx{}
	_ projector.Clearing    = referenceTx{}
	_ projector.SelfMending = analyticsTx{}
	_ projector.Forgetting  = timelineTx{}
	_ projector.Forgetting  = denialsTx{}
	_ projector.Forgetting  = searchTx{}
)

// execAll runs statements with the same arguments.
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
	t.f.forget()
	if err := t.exec(ctx, "DELETE FROM customers WHERE stream = ? OR pseudonym = ?", stream, t.pseudonyms.Customer(stream.ID())); err != nil {
		return err
	}
	return t.execAll(ctx, []any{stream}, "DELETE FROM devices WHERE stream = ?", "DELETE FROM licenses WHERE stream = ?", "DELETE FROM exceptions WHERE stream = ?")
}

// restart is the number of a stream, of which nothing is known any more; 0: of none.
func (t *tx) restart(ctx context.Context, stream domain.StreamID) (number int64, err error) {
	t.f.forget()
	if n, is := tables.Numbered(stream); is { // rows that no stream has
		_, err := t.one(ctx, "SELECT ? WHERE ?1 NOT IN (SELECT id FROM streams)", []any{n}, &number)
		return number, err
	}
	numbers, err := t.numbersOf(ctx, []domain.StreamID{stream})
	if err != nil {
		return 0, err
	}
	return numbers[stream], t.exec(ctx, "UPDATE streams SET version = 0, shard = 0, entry = 0, place = 0 WHERE id = ?", numbers[stream])
}

// forget takes away the number of a stream that has nothing under it.
func (t *tx) forget(ctx context.Context, stream domain.StreamID) error {
	t.f.forget()
	return t.exec(ctx, "DELETE FROM streams WHERE stream = ?", stream)
}

// Forget takes away the stream's number: see projector.Forgetting.
func (t timelineTx) Forget(ctx context.Context, stream domain.StreamID) error {
	return t.forget(ctx, stream)
}

// Forget takes away the stream's number: see projector.Forgetting.
func (t denialsTx) Forget(ctx context.Context, stream domain.StreamID) error {
	return t.forget(ctx, stream)
}

// Forget takes away the stream's number: see projector.Forgetting.
func (t searchTx) Forget(ctx context.Context, stream domain.StreamID) error {
	return t.forget(ctx, stream)
}

// Clear removes a customer's events. The packed ones stay, which nothing leads to then, because a row that is wrong may
// lead to another's; so do the places that ids lead to, which are compared with what stands there.
func (t timelineTx) Clear(ctx context.Context, stream domain.StreamID) error {
	number, err := t.restart(ctx, stream)
	if err != nil {
		return err
	}
	return t.exec(ctx, "DELETE FROM events WHERE stream = ?", number)
}

// Clear removes a customer's refusals.
func (t denialsTx) Clear(ctx context.Context, stream domain.StreamID) error {
	number, err := t.restart(ctx, stream)
	if err != nil {
		return err
	}
	return t.exec(ctx, "DELETE FROM denials WHERE stream = ?", number)
}

// Clear removes a stream's documents, be they in the index or not. There is no other way to those that are not but to
// look at all.
func (t searchTx) Clear(ctx context.Context, stream domain.StreamID) error {
	number, err := t.restart(ctx, stream)
	if err != nil {
		return err
	}
	var ids []int64
	take := func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	}
	if err := t.each(ctx, "SELECT id FROM documents WHERE stream = ?", []any{number}, take); err != nil {
		return err
	}
	if kind := stream.Kind(); kind == domain.KindCustomer || kind == domain.KindFailOpen {
		words := matching(query.SearchAsked{Filter: query.Filter{Customer: []string{stream.ID()}}}, nil)
		// A fail-open stream has the words of its customer, whose documents are another stream's.
		err := t.each(ctx, "SELECT w.rowid FROM words w LEFT JOIN documents x ON x.id = w.rowid WHERE words MATCH ? AND (x.id IS NULL OR x.stream = ?)", []any{words, number}, take)
		if err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := t.execAll(ctx, []any{id}, "DELETE FROM documents WHERE id = ?", "DELETE FROM words WHERE rowid = ?"); err != nil {
			return err
		}
	}
	return nil
}

// Clear removes a title's withdrawals or a document's versions.
func (t referenceTx) Clear(ctx context.Context, stream domain.StreamID) error {
	switch stream.Kind() {
	case domain.KindTitle:
		return t.exec(ctx, "DELETE FROM withdrawals WHERE title = ?", stream.ID())
	case domain.KindPolicy:
		return t.exec(ctx, "DELETE FROM policies WHERE policy = ?", stream.ID())
	}
	return nil
}

// Clear removes a customer's facts and lives and takes them out of the roll-ups; or a title's withdrawals.
func (t analyticsTx) Clear(ctx context.Context, stream domain.StreamID) error {
	if stream.Kind() == domain.KindTitle {
		return t.exec(ctx, "DELETE FROM withdrawals WHERE title = ?", stream.ID())
	}
	number, is := tables.Numbered(stream)
	if stream.Kind() == domain.KindCustomer {
		number = tables.Number(stream.ID())
	} else if !is {
		return nil
	}
	const add = " ON CONFLICT (metric, quarter, dimensions) DO UPDATE SET n = rollups.n + excluded.n"
	err := t.execAll(ctx, []any{number},
		"INSERT INTO rollups (metric, quarter, dimensions, n) SELECT metric, quarter, dimensions, -count(*) FROM facts WHERE customer = ? GROUP BY 1, 2, 3"+add,
		"DELETE FROM facts WHERE customer = ?")
	if err != nil || is {
		return err
	}
	return t.execAll(ctx, []any{stream.ID()},
		"INSERT INTO rollups (metric, quarter, dimensions, n) SELECT 5, quarter, dimensions, -sum(n) FROM ("+edgesOf("lives WHERE customer = ?1")+") WHERE true GROUP BY 2, 3"+add,
		"DELETE FROM lives WHERE customer = ?")
}

// edgesOf are the quarters in which lives begin and end, withdrawals left aside.
func edgesOf(lives string) string {
	return "SELECT " + quarterOf("from_") + " AS quarter, dimensions, 1 AS n FROM " + lives + `
		UNION ALL
		SELECT ` + quarterOf("e") + `, dimensions, -1 FROM (
			SELECT dimensions, max(from_, min(coalesce(own_end, ` + neverText + "), coalesce(cut_at, " + neverText + "))) AS e FROM " + lives + `
		) WHERE e < ` + neverText
}

// MendItself brings the roll-ups to the sums of the facts and lives.
func (t analyticsTx) MendItself(ctx context.Context) error {
	return t.exec(ctx, "INSERT INTO rollups (metric, quarter, dimensions, n) SELECT metric, quarter, dimensions, sum(m) - sum(n) FROM ("+rollUpsAndSums+
		") WHERE true GROUP BY metric, quarter, dimensions HAVING sum(n) != sum(m) ON CONFLICT (metric, quarter, dimensions) DO UPDATE SET n = rollups.n + excluded.n")
}
