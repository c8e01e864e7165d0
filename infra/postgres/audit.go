package postgres

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
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

// remade takes rows in instead of a store that is new and empty.
type remade struct {
	projector.Tx
	states      map[domain.StreamID]projector.CustomerState
	devices     []projector.DeviceRow
	licenses    []projector.LicenseRow
	exceptions  []projector.ExceptionRow
	timeline    []projector.TimelineRow
	denials     []projector.DenialRow
	policies    []projector.PolicyRow
	withdrawals []projector.WithdrawalRow
	facts       []projector.Fact
	lives       []projector.Life
	versions    []projector.StreamVersion
}

func keep[R any](into *[]R, rows []R) error {
	*into = append(*into, rows...)
	return nil
}

func (m *remade) SetVersions(_ context.Context, rows []projector.StreamVersion) error {
	return keep(&m.versions, rows)
}

func (m *remade) States(context.Context, []domain.StreamID) (map[domain.StreamID]projector.CustomerState, error) {
	return nil, nil
}

func (m *remade) SaveStates(_ context.Context, states []projector.CustomerState) error {
	m.states = map[domain.StreamID]projector.CustomerState{}
	for _, s := range states {
		m.states[s.Stream] = s
	}
	return nil
}

func (m *remade) SaveDevices(_ context.Context, rows []projector.DeviceRow) error {
	return keep(&m.devices, rows)
}

func (m *remade) SaveLicenses(_ context.Context, rows []projector.LicenseRow) error {
	return keep(&m.licenses, rows)
}

func (m *remade) SaveExceptions(_ context.Context, rows []projector.ExceptionRow) error {
	return keep(&m.exceptions, rows)
}

func (m *remade) AddTimeline(_ context.Context, rows []projector.TimelineRow) error {
	return keep(&m.timeline, rows)
}

func (m *remade) AddDenials(_ context.Context, rows []projector.DenialRow) error {
	return keep(&m.denials, rows)
}

func (m *remade) AddPolicies(_ context.Context, rows []projector.PolicyRow) error {
	return keep(&m.policies, rows)
}

func (m *remade) AddWithdrawals(_ context.Context, rows []projector.WithdrawalRow) error {
	return keep(&m.withdrawals, rows)
}

func (m *remade) AddFacts(_ context.Context, rows []projector.Fact) error {
	return keep(&m.facts, rows)
}
func (m *remade) AddCounts(context.Context, []projector.Count) error { return nil }

func (m *remade) Lives(context.Context, []string, []projector.DeviceRef) ([]projector.Life, error) {
	return nil, nil
}

func (m *remade) SaveLives(_ context.Context, rows []projector.Life) error {
	return keep(&m.lives, rows)
}

func (m *remade) Withdraw(context.Context, []projector.WithdrawalRow) error { return nil }

// remake makes the rows of a stream anew.
func remake[T projector.Tx](ctx context.Context, p projector.Projection[T], tx T, events []domain.Event) error {
	if len(events) == 0 {
		return nil
	}
	pointers := make([]*domain.Event, len(events))
	for i := range events {
		pointers[i] = &events[i]
	}
	if err := p.Apply(ctx, tx, pointers); err != nil {
		return fmt.Errorf("make rows of %s anew: %w", p.Name(), err)
	}
	return nil
}

// differing names the lines that only one side has.
func differing(stored, made []string) []string {
	count := map[string]int{}
	for _, line := range made {
		count[line]++
	}
	var words []string
	for _, line := range stored {
		if count[line]--; count[line] < 0 {
			words = append(words, projector.NotGiven+line)
		}
	}
	for _, line := range made {
		for ; count[line] > 0; count[line]-- {
			words = append(words, projector.NotStored+line)
		}
	}
	return words
}

// row is a row as text.
func row(values ...any) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte('|')
		}
		if p, ok := v.(*int64); ok {
			if p == nil {
				continue
			}
			v = *p
		}
		fmt.Fprint(&b, v)
	}
	return b.String()
}

// lines are rows as text, one column after the other.
func (s *store) lines(ctx context.Context, text string, args ...any) ([]string, error) {
	var all []string
	err := s.each(ctx, text, args, func(r pgx.Rows) error {
		values, err := r.Values()
		all = append(all, row(values...))
		return err
	})
	return all, err
}

func (s *store) auditVersion(ctx context.Context, stream domain.StreamID, made []projector.StreamVersion) ([]string, error) {
	stored, err := s.streamVersion(ctx, "streams", stream)
	if err != nil {
		return nil, err
	}
	want := projector.StreamVersion{Stream: stream}
	if len(made) > 0 {
		want = made[len(made)-1]
	}
	if stored != want {
		return []string{fmt.Sprintf("the stored version is %d at %s, the events give %d at %s", stored.Version, stored.Position, want.Version, want.Position)}, nil
	}
	return nil, nil
}

// AuditStream compares a customer's state, devices, licences and exceptions.
func (s *Customers) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	m := &remade{}
	if err := remake[projector.CustomersTx](ctx, projector.Customers{}, m, events); err != nil {
		return nil, err
	}
	stored, found, err := s.State(ctx, stream.ID())
	if err != nil {
		return nil, err
	}
	var words []string
	made, must := m.states[stream]
	if found != must || found && (stored.Version != made.Version || stored.Position != made.Position || !bytes.Equal(stored.State, made.State)) {
		words = append(words, fmt.Sprintf("the stored state, of version %d at %s, is not what the events give, of version %d at %s",
			stored.Version, stored.Position, made.Version, made.Position))
	}
	lines, err := s.lines(ctx, `SELECT 'device', device, type, family, seq FROM @.devices WHERE stream = $1
		UNION ALL SELECT 'license', license, device, title, seq FROM @.licenses WHERE stream = $1
		UNION ALL SELECT 'exception', exception, code, '', seq FROM @.exceptions WHERE stream = $1`, string(stream))
	if err != nil {
		return nil, err
	}
	var again []string
	for _, d := range m.devices {
		again = append(again, row("device", d.DeviceID, d.Type, d.Family, d.Seq))
	}
	for _, l := range m.licenses {
		again = append(again, row("license", l.LicenseID, l.DeviceID, l.TitleID, l.Seq))
	}
	for _, x := range m.exceptions {
		again = append(again, row("exception", x.ExceptionID, x.Code, "", x.Seq))
	}
	return append(words, differing(lines, again)...), nil
}

// AuditStream compares a customer's events.
func (s *Timeline) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	m := &remade{}
	if err := remake[projector.TimelineTx](ctx, projector.Timeline{}, m, events); err != nil {
		return nil, err
	}
	made := make([]string, len(m.timeline))
	opens := make(map[uint64]bool, len(m.timeline))
	for i := range m.timeline {
		r := &m.timeline[i]
		refs := refsOf(r)
		opens[r.Event.Seq] = r.Opens
		made[i] = eventLine(r.Event) + row("", r.DeviceID, r.TitleID, r.LicenseID, refs.decision, refs.command, refs.correlation)
	}
	words, err := s.auditVersion(ctx, stream, m.versions)
	if err != nil {
		return nil, err
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
			stored = append(stored, eventLine(e)+row("", device, title, license, refs.decision, refs.command, refs.correlation))
			return nil
		})
	return append(words, differing(stored, made)...), err
}

func eventLine(e *domain.Event) string {
	return row(e.Seq, e.ID, e.Type, e.SchemaVersion, micros(e.OccurredAt), micros(e.RecordedAt), e.Actor, e.CommandID, e.RequestHash, e.Correlation,
		e.Causation, e.Versions, e.Position, e.Position.Place, e.Previous, e.Previous.Place, string(e.Payload))
}

// AuditStream compares a customer's refusals.
func (s *Denials) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	m := &remade{}
	if err := remake[projector.DenialsTx](ctx, projector.Denials{}, m, events); err != nil {
		return nil, err
	}
	words, err := s.auditVersion(ctx, stream, m.versions)
	if err != nil {
		return nil, err
	}
	stored, err := s.denials(ctx, "SELECT "+denialColumns+" FROM @.denials WHERE stream = $1", string(stream))
	return append(words, differing(denialLines(stored), denialLines(m.denials))...), err
}

func denialLines(rows []projector.DenialRow) []string {
	return columnOf(rows, func(r *projector.DenialRow) string {
		return row(r.Customer, r.Seq, r.Position, r.Position.Place, micros(r.RecordedAt), r.Actor, r.DeviceID, r.DeviceType, r.TitleID, r.TitleName, r.Series,
			r.Season, r.Episode, r.Studio, r.LicenseID, r.Command, r.Code, r.Rule, r.Scope, r.Used, r.Limit, microsOrNull(r.ResetsAt), r.DecisionID, string(r.Decision))
	})
}

// AuditStream compares a title's withdrawals or a document's versions.
func (s *Reference) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	m := &remade{}
	if err := remake[projector.ReferenceTx](ctx, projector.Reference{}, m, events); err != nil {
		return nil, err
	}
	policies, err := s.Policies(ctx)
	if err != nil {
		return nil, err
	}
	withdrawals, err := s.Withdrawals(ctx)
	if err != nil {
		return nil, err
	}
	policies = slices.DeleteFunc(policies, func(r projector.PolicyRow) bool { return domain.PolicyStream(r.Policy) != stream })
	withdrawals = slices.DeleteFunc(withdrawals, func(r projector.WithdrawalRow) bool { return domain.TitleStream(r.TitleID) != stream })
	return append(differing(policyLines(policies), policyLines(m.policies)), differing(withdrawalLines(withdrawals), withdrawalLines(m.withdrawals))...), nil
}

func policyLines(rows []projector.PolicyRow) []string {
	return columnOf(rows, func(r *projector.PolicyRow) string {
		return row(r.Policy, r.Version, micros(r.EffectiveFrom), micros(r.RecordedAt), r.Actor, r.Position, r.Position.Place, string(r.Document))
	})
}

func withdrawalLines(rows []projector.WithdrawalRow) []string {
	return columnOf(rows, func(r *projector.WithdrawalRow) string {
		return row(r.TitleID, r.Countries, micros(r.From), micros(r.RecordedAt), r.Position, r.Position.Place)
	})
}

// AuditStream compares a customer's facts and lives.
func (s *Analytics) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	if stream.Kind() != domain.KindCustomer {
		return nil, nil // withdrawals are compared in the reference model
	}
	m := &remade{}
	if err := remake[projector.AnalyticsTx](ctx, projector.Analytics{}, m, events); err != nil {
		return nil, err
	}
	// Without the join a fact whose combination is missing would be missed, too: it shows as one without names.
	facts, err := s.lines(ctx, `SELECT x.metric, x.quarter, x.seq, x.device, x.license, x.actor, `+dimensionColumns+
		` FROM @.facts x LEFT JOIN @.dimensions d ON d.id = x.dimensions WHERE x.customer = $1`, numberOf(stream.ID()))
	if err != nil {
		return nil, err
	}
	made := make([]string, len(m.facts))
	for i := range m.facts {
		f := &m.facts[i]
		metric, err := metricNumber(f.Metric)
		if err != nil {
			return nil, err
		}
		made[i] = row(metric, projector.Quarter(f.At).Unix(), f.Seq, numberOrZero(f.DeviceID), numberOrZero(f.LicenseID), numberOrZero(f.ActorID)) + "|" +
			strings.Join(dimensionValues(&f.Dimensions), "|")
	}
	words := differing(facts, made)
	var stored []string
	err = s.each(ctx, "SELECT "+lifeColumns+" FROM @.lives l JOIN @.dimensions d ON d.id = l.dimensions WHERE l.customer = $1", []any{stream.ID()}, func(r pgx.Rows) error {
		life, err := scanLife(r)
		stored = append(stored, lifeLine(&life))
		return err
	})
	return append(words, differing(stored, columnOf(m.lives, lifeLine))...), err
}

func lifeLine(l *projector.Life) string {
	return row(l.LicenseID, l.Number, l.DeviceID, micros(l.From), microsOrNull(l.OwnEnd), microsOrNull(l.CutAt)) + "|" + strings.Join(dimensionValues(&l.Dimensions), "|")
}

// AuditItself compares the roll-ups with the facts and lives. One statement reads one moment, so a projector that works
// meanwhile disturbs nothing.
func (s *Analytics) AuditItself(ctx context.Context) ([]string, error) {
	lines, err := s.lines(ctx, "SELECT metric, quarter, dimensions, sum(n)::bigint, sum(m)::bigint FROM ("+rollUpsAndSums+
		") sides GROUP BY 1, 2, 3 HAVING sum(n) != sum(m) ORDER BY 1, 2, 3 LIMIT 20")
	for i := range lines {
		lines[i] = "a roll-up is not the sum of what it counts (metric, quarter, dimensions, roll-up, sum): " + lines[i]
	}
	return lines, err
}
