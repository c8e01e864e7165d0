package readmodel

import (
	"context"
	"database/sql"

	"carryon/domain"
	"carryon/infra/tables"
	"carryon/projector"
	"carryon/query"
)

// An audit makes the rows of a stream anew, by the model's own projection into memory, and compares them with the
// stored ones. Roll-ups, which hold rows of many streams together, are compared with the facts and lives beside them.

var (
	_ projector.Auditable     = (*Customers)(nil)
	_ projector.Auditable     = (*Timeline)(nil)
	_ projector.Auditable     = (*Denials)(nil)
	_ projector.Auditable     = (*Search)(nil)
	_ projector.Auditable     = (*Reference)(nil)
	_ projector.Auditable     = (*Analytics)(nil)
	_ projector.SelfAuditable = (*Analytics)(nil)
)

// lines are rows as text, one column after the other.
func (f *file) lines(ctx context.Context, text string, args ...any) ([]string, error) {
	var all []string
	err := f.each(ctx, text, args, func(r *sql.Rows) error {
		columns, err := r.Columns()
		if err != nil {
			return err
		}
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := r.Scan(into...); err != nil {
			return err
		}
		var line []any
		for _, v := range values {
			line = append(line, v.String)
		}
		all = append(all, projector.Line(line...))
		return nil
	})
	return all, err
}

// AuditStream compares a customer's state, devices, licences and exceptions.
func (s *Customers) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	made, err := projector.Remake[projector.CustomersTx](ctx, projector.Customers{}, events)
	if err != nil {
		return nil, err
	}
	stored, found, err := s.stateOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	lines, err := s.lines(ctx, `SELECT 'device', device, type, family, seq FROM devices WHERE stream = ?1
		UNION ALL SELECT 'license', license, device, title, seq FROM licenses WHERE stream = ?1
		UNION ALL SELECT 'exception', exception, code, '', seq FROM exceptions WHERE stream = ?1`, stream)
	return append(made.StateDiffers(stream, stored, found), projector.Differing(lines, made.HoldingLines())...), err
}

// AuditStream compares a customer's events.
func (s *Timeline) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	if number, is := tables.Numbered(stream); is {
		return s.auditNumber(ctx, "events", number)
	}
	made, err := projector.Remake[projector.TimelineTx](ctx, projector.Timeline{}, events)
	if err != nil {
		return nil, err
	}
	version, err := s.StreamVersion(ctx, stream)
	if err != nil {
		return nil, err
	}
	var stored []string
	err = s.each(ctx, "SELECT "+timelineColumns+", e.device, e.title, e.license FROM streams s JOIN events e ON e.stream = s.id JOIN bodies b ON b.id = e.body WHERE s.stream = ? ORDER BY e.seq",
		[]any{stream}, func(r *sql.Rows) error {
			var device, title, license string
			e, err := scanEvent(r, &device, &title, &license)
			if err != nil {
				return err
			}
			stored = append(stored, projector.EventLine(e, device, title, license))
			return nil
		})
	again := projector.Lines(made.Timeline, func(r *projector.TimelineRow) string {
		return projector.EventLine(r.Event, r.DeviceID, r.TitleID, r.LicenseID)
	})
	return append(made.VersionDiffers(stream, version), projector.Differing(stored, again)...), err
}

// AuditStream compares a customer's refusals.
func (s *Denials) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	if number, is := tables.Numbered(stream); is {
		return s.auditNumber(ctx, "denials", number)
	}
	made, err := projector.Remake[projector.DenialsTx](ctx, projector.Denials{}, events)
	if err != nil {
		return nil, err
	}
	version, err := s.StreamVersion(ctx, stream)
	if err != nil {
		return nil, err
	}
	var stored []projector.DenialRow
	err = s.each(ctx, "SELECT "+denialColumns+" FROM streams s JOIN denials d ON d.stream = s.id WHERE s.stream = ?", []any{stream}, func(r *sql.Rows) error {
		denial, err := scanDenial(r)
		stored = append(stored, denial)
		return err
	})
	return append(made.VersionDiffers(stream, version),
		projector.Differing(projector.Lines(stored, projector.DenialLine), projector.Lines(made.Denials, projector.DenialLine))...), err
}

// AuditStream compares a stream's documents.
func (s *Search) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	if number, is := tables.Numbered(stream); is {
		return s.auditNumber(ctx, "documents", number)
	}
	made, err := projector.Remake[projector.SearchTx](ctx, projector.Search{}, events)
	if err != nil {
		return nil, err
	}
	// A customer's documents are found by the index, as a search finds them; there is no other way to those of another, and to
	// those that nobody should have, but to look at all.
	from, args := "documents x", []any{stream}
	if kind := stream.Kind(); len(events) > 0 && (kind == domain.KindCustomer || kind == domain.KindFailOpen) {
		from = "(SELECT rowid AS id FROM words WHERE words MATCH ?) f JOIN documents x ON x.id = f.id"
		args = []any{matching(query.SearchAsked{Filter: query.Filter{Customer: []string{stream.ID()}}}, nil), stream}
	}
	stored, err := s.lines(ctx, `SELECT x.seq, x.entry, x.place, x.event, x.type, x.occurred_at, x.recorded_at, x.actor, x.device, x.license, x.case_, x.decision, n.name, `+
		tables.DimensionColumns+` FROM `+from+` JOIN streams s ON s.id = x.stream JOIN titles n ON n.id = x.title_name JOIN dimensions d ON d.id = x.dimensions WHERE s.stream = ?`, args...)
	again := projector.Lines(made.Documents, func(d *projector.Document) string {
		return projector.Line(append([]any{
			d.Seq, d.Position.Index, d.Position.Place, d.EventID, d.Type, micros(d.OccurredAt), micros(d.RecordedAt), d.Actor.ID, d.DeviceID,
			d.LicenseID, d.Case, d.DecisionID, d.TitleName,
		}, d.Dimensions.Columns()...)...)
	})
	return projector.Differing(stored, again), err
}

// AuditStream compares a title's withdrawals or a document's versions.
func (s *Reference) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	made, err := projector.Remake[projector.ReferenceTx](ctx, projector.Reference{}, events)
	if err != nil {
		return nil, err
	}
	policies, err := s.Policies(ctx)
	if err != nil {
		return nil, err
	}
	withdrawals, err := s.Withdrawals(ctx)
	return made.ReferenceDiffers(stream, policies, withdrawals), err
}

// AuditStream compares a customer's facts and lives, or a title's withdrawals.
func (s *Analytics) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	made, err := projector.Remake[projector.AnalyticsTx](ctx, projector.Analytics{}, events)
	if err != nil {
		return nil, err
	}
	number, is := tables.Numbered(stream)
	switch {
	case is: // of nobody who is known
		return s.auditFacts(ctx, number, made)
	case stream.Kind() == domain.KindTitle:
		stored, err := s.lines(ctx, "SELECT 'withdrawal', title, country, from_ FROM withdrawals WHERE title = ?", stream.ID())
		return projector.Differing(stored, made.InForceLines()), err
	case stream.Kind() != domain.KindCustomer:
		return nil, nil // nothing comes of it here
	}
	words, err := s.auditFacts(ctx, tables.Number(stream.ID()), made)
	if err != nil {
		return nil, err
	}
	var stored []string
	err = s.each(ctx, "SELECT "+lifeColumns+" FROM lives l JOIN dimensions d ON d.id = l.dimensions WHERE l.customer = ?", []any{stream.ID()}, func(r *sql.Rows) error {
		life, err := scanLife(r)
		stored = append(stored, projector.LifeLine(&life))
		return err
	})
	return append(words, projector.Differing(stored, projector.Lines(made.Lives, projector.LifeLine))...), err
}

// auditFacts compares the facts of a customer's number.
func (s *Analytics) auditFacts(ctx context.Context, number int64, made *projector.MadeRows) ([]string, error) {
	// Without the outer join a fact whose combination is missing would be missed, too: it shows as one without names.
	facts, err := s.lines(ctx, `SELECT x.metric, x.quarter, x.seq, x.device, x.license, x.actor, `+tables.DimensionColumns+
		`, x.shard, x.entry, x.place FROM facts x LEFT JOIN dimensions d ON d.id = x.dimensions WHERE x.customer = ?`, number)
	if err != nil {
		return nil, err
	}
	again, err := tables.FactLines(made.Facts)
	if err != nil {
		return nil, err
	}
	for i := range again {
		at := &made.Facts[i].Position
		again[i] += "|" + projector.Line(at.Shard, at.Index, at.Place)
	}
	return projector.Differing(facts, again), nil
}

// AuditItself compares the roll-ups with the facts and lives.
func (s *Analytics) AuditItself(ctx context.Context) ([]string, error) {
	// One statement reads one moment, so a projector that works meanwhile disturbs nothing.
	lines, err := s.lines(ctx, "SELECT metric, quarter, dimensions, sum(n), sum(m) FROM ("+rollUpsAndSums+") sides GROUP BY 1, 2, 3 HAVING sum(n) != sum(m) LIMIT 20")
	return tables.SumsDiffer(lines), err
}

// rollUpsAndSums are the roll-ups as n, and what they count as m.
var rollUpsAndSums = "SELECT metric, quarter, dimensions, n, CAST(0 AS BIGINT) AS m FROM rollups" +
	" UNION ALL SELECT metric, quarter, dimensions, 0, count(*) FROM facts GROUP BY 1, 2, 3" +
	" UNION ALL SELECT 5, quarter, dimensions, 0, CAST(sum(n) AS BIGINT) FROM (" + edgesOf("lives") + ") edges GROUP BY 1, 2, 3"
