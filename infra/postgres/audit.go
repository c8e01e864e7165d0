package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/infra/tables"
	"carryon/projector"
)

// An audit makes the rows of a stream anew, by the model's own projection into memory, and compares them with the
// stored ones. Roll-ups, which hold rows of many streams together, are compared with the facts and lives beside them.

var (
	_ projector.Auditable     = (*Customers)(nil)
	_ projector.Auditable     = (*Timeline)(nil)
	_ projector.Auditable     = (*Denials)(nil)
	_ projector.Auditable     = (*Reference)(nil)
	_ projector.Auditable     = (*Analytics)(nil)
	_ projector.SelfAuditable = (*Analytics)(nil)
)

// lines are rows as text, one column after the other.
func (s *store) lines(ctx context.Context, text string, args ...any) ([]string, error) {
	var all []string
	err := s.each(ctx, text, args, func(r pgx.Rows) error {
		values, err := r.Values()
		all = append(all, projector.Line(values...))
		return err
	})
	return all, err
}

func (s *store) auditVersion(ctx context.Context, stream domain.StreamID, made *projector.MadeRows) ([]string, error) {
	stored, err := s.streamVersion(ctx, "streams", stream)
	return made.VersionDiffers(stream, stored), err
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
	lines, err := s.lines(ctx, `SELECT 'device', device, type, family, seq FROM @.devices WHERE stream = $1
		UNION ALL SELECT 'license', license, device, title, seq FROM @.licenses WHERE stream = $1
		UNION ALL SELECT 'exception', exception, code, '', seq FROM @.exceptions WHERE stream = $1`, string(stream))
	return append(made.StateDiffers(stream, stored, found), projector.Differing(lines, made.HoldingLines())...), err
}

// AuditStream compares a customer's events.
func (s *Timeline) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	made, err := projector.Remake[projector.TimelineTx](ctx, projector.Timeline{}, events)
	if err != nil {
		return nil, err
	}
	words, err := s.auditVersion(ctx, stream, made)
	if err != nil {
		return nil, err
	}
	opens := make(map[uint64]bool, len(made.Timeline))
	for i := range made.Timeline {
		opens[made.Timeline[i].Event.Seq] = made.Timeline[i].Opens
	}
	var stored []string
	err = s.each(ctx, "SELECT "+eventColumns+", device, title, license, decision, command, correlation FROM @.events WHERE stream = $1 ORDER BY seq",
		[]any{string(stream)}, func(r pgx.Rows) error {
			var device, title, license string
			var refs refs
			e, err := scanEvent(r, &device, &title, &license, &refs.decision, &refs.command, &refs.correlation)
			if err != nil {
				return err
			}
			// Applied one by one, as in the search for a poison event, every event opens its command: more leads there.
			if !opens[e.Seq] {
				refs.command, refs.correlation = nil, nil
			}
			stored = append(stored, projector.EventLine(e, device, title, license, refs.decision, refs.command, refs.correlation))
			return nil
		})
	again := projector.Lines(made.Timeline, func(r *projector.TimelineRow) string {
		refs := refsOf(r)
		return projector.EventLine(r.Event, r.DeviceID, r.TitleID, r.LicenseID, refs.decision, refs.command, refs.correlation)
	})
	return append(words, projector.Differing(stored, again)...), err
}

// AuditStream compares a customer's refusals.
func (s *Denials) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	made, err := projector.Remake[projector.DenialsTx](ctx, projector.Denials{}, events)
	if err != nil {
		return nil, err
	}
	words, err := s.auditVersion(ctx, stream, made)
	if err != nil {
		return nil, err
	}
	stored, err := s.denials(ctx, "SELECT "+denialColumns+" FROM @.denials WHERE stream = $1", string(stream))
	return append(words, projector.Differing(projector.Lines(stored, projector.DenialLine), projector.Lines(made.Denials, projector.DenialLine))...), err
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
		stored, err := s.lines(ctx, "SELECT 'withdrawal', title, country, from_ FROM @.withdrawals WHERE title = $1", stream.ID())
		return projector.Differing(stored, made.InForceLines()), err
	case stream.Kind() != domain.KindCustomer:
		return nil, nil // nothing comes of it here
	}
	words, err := s.auditFacts(ctx, tables.Number(stream.ID()), made)
	if err != nil {
		return nil, err
	}
	var stored []string
	err = s.each(ctx, "SELECT "+lifeColumns+" FROM @.lives l JOIN @.dimensions d ON d.id = l.dimensions WHERE l.customer = $1", []any{stream.ID()}, func(r pgx.Rows) error {
		life, err := scanLife(r)
		stored = append(stored, projector.LifeLine(&life))
		return err
	})
	return append(words, projector.Differing(stored, projector.Lines(made.Lives, projector.LifeLine))...), err
}

// auditFacts compares the facts of a customer's number.
func (s *Analytics) auditFacts(ctx context.Context, number int64, made *projector.MadeRows) ([]string, error) {
	// Without the join a fact whose combination is missing would be missed, too: it shows as one without names.
	facts, err := s.lines(ctx, `SELECT x.metric, x.quarter, x.seq, x.device, x.license, x.actor, `+tables.DimensionColumns+
		` FROM @.facts x LEFT JOIN @.dimensions d ON d.id = x.dimensions WHERE x.customer = $1`, number)
	if err != nil {
		return nil, err
	}
	again, err := tables.FactLines(made.Facts)
	return projector.Differing(facts, again), err
}

// AuditItself compares the roll-ups with the facts and lives. One statement reads one moment, so a projector that works
// meanwhile disturbs nothing.
func (s *Analytics) AuditItself(ctx context.Context) ([]string, error) {
	lines, err := s.lines(ctx, "SELECT metric, quarter, dimensions, sum(n)::bigint, sum(m)::bigint FROM ("+rollUpsAndSums+
		") sides GROUP BY 1, 2, 3 HAVING sum(n) != sum(m) ORDER BY 1, 2, 3 LIMIT 20")
	return tables.SumsDiffer(lines), err
}
