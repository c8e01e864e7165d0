package readmodel

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"carryon/domain"
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

// remade takes rows in instead of a store that is new and empty.
type remade struct {
	projector.Tx
	states      map[domain.StreamID]projector.CustomerState
	devices     []projector.DeviceRow
	licenses    []projector.LicenseRow
	exceptions  []projector.ExceptionRow
	timeline    []projector.TimelineRow
	denials     []projector.DenialRow
	documents   []projector.Document
	policies    []projector.PolicyRow
	withdrawals []projector.WithdrawalRow
	facts       []projector.Fact
	lives       []projector.Life
}

func (m *remade) SetVersions(context.Context, []projector.StreamVersion) error { return nil }

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
	m.devices = rows
	return nil
}

func (m *remade) SaveLicenses(_ context.Context, rows []projector.LicenseRow) error {
	m.licenses = rows
	return nil
}

func (m *remade) SaveExceptions(_ context.Context, rows []projector.ExceptionRow) error {
	m.exceptions = rows
	return nil
}

func (m *remade) AddTimeline(_ context.Context, rows []projector.TimelineRow) error {
	m.timeline = rows
	return nil
}

func (m *remade) AddDenials(_ context.Context, rows []projector.DenialRow) error {
	m.denials = rows
	return nil
}

func (m *remade) AddDocuments(_ context.Context, rows []projector.Document) error {
	m.documents = rows
	return nil
}

func (m *remade) AddPolicies(_ context.Context, rows []projector.PolicyRow) error {
	m.policies = rows
	return nil
}

func (m *remade) AddWithdrawals(_ context.Context, rows []projector.WithdrawalRow) error {
	m.withdrawals = rows
	return nil
}

func (m *remade) AddFacts(_ context.Context, facts []projector.Fact) error {
	m.facts = facts
	return nil
}

func (m *remade) AddCounts(context.Context, []projector.Count) error { return nil }

func (m *remade) Lives(context.Context, []string, []projector.DeviceRef) ([]projector.Life, error) {
	return nil, nil
}

func (m *remade) SaveLives(_ context.Context, lives []projector.Life) error {
	m.lives = lives
	return nil
}

func (m *remade) Withdraw(context.Context, []projector.WithdrawalRow) error { return nil }

// remake applies a stream's events.
func remake[T projector.Tx](ctx context.Context, p projector.Projection[T], tx T, events []domain.Event) error {
	pointers := make([]*domain.Event, len(events))
	for i := range events {
		pointers[i] = &events[i]
	}
	if len(pointers) == 0 {
		return nil
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
		all = append(all, row(line...))
		return nil
	})
	return all, err
}

// row is a row as text.
func row(values ...any) string {
	var b bytes.Buffer
	for i, v := range values {
		if i > 0 {
			b.WriteByte('|')
		}
		fmt.Fprint(&b, v)
	}
	return b.String()
}

// AuditStream compares a customer's state, devices, licences and exceptions.
func (s *Customers) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	m := &remade{}
	if err := remake[projector.CustomersTx](ctx, projector.Customers{}, m, events); err != nil {
		return nil, err
	}
	var words []string
	stored, found, err := s.State(ctx, stream.ID())
	if err != nil {
		return nil, err
	}
	made, must := m.states[stream]
	if found != must || found && (stored.Version != made.Version || stored.Position != made.Position || !bytes.Equal(stored.State, made.State)) {
		words = append(words, fmt.Sprintf("the stored state, of version %d at %s, is not what the events give, of version %d at %s",
			stored.Version, stored.Position, made.Version, made.Position))
	}
	lines, err := s.lines(ctx, `SELECT 'device', device, type, family, seq FROM devices WHERE stream = ?1
		UNION ALL SELECT 'license', license, device, title, seq FROM licenses WHERE stream = ?1
		UNION ALL SELECT 'exception', exception, code, '', seq FROM exceptions WHERE stream = ?1`, stream)
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
	made := make([]string, 0, len(m.timeline))
	for i := range m.timeline {
		r := &m.timeline[i]
		made = append(made, eventLine(r.Event)+row("", r.DeviceID, r.TitleID, r.LicenseID))
	}
	var stored []string
	err := s.each(ctx, "SELECT "+timelineColumns+", e.device, e.title, e.license FROM streams s JOIN events e ON e.stream = s.id JOIN bodies b ON b.id = e.body WHERE s.stream = ? ORDER BY e.seq",
		[]any{stream}, func(r *sql.Rows) error {
			var device, title, license string
			e, err := scanEvent(r, &device, &title, &license)
			if err != nil {
				return err
			}
			stored = append(stored, eventLine(e)+row("", device, title, license))
			return nil
		})
	return differing(stored, made), err
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
	rows, err := s.DenialsAfter(ctx, query.ExportAsked{Filter: query.Filter{Customer: []string{stream.ID()}}, Limit: len(m.denials) + 1})
	if err != nil {
		return nil, err
	}
	return differing(denialLines(rows), denialLines(m.denials)), nil
}

func denialLines(rows []projector.DenialRow) []string {
	lines := make([]string, len(rows))
	for i := range rows {
		r := &rows[i]
		lines[i] = row(r.Customer, r.Seq, r.Position, r.Position.Place, micros(r.RecordedAt), r.Actor, r.DeviceID, r.DeviceType, r.TitleID, r.TitleName, r.Series,
			r.Season, r.Episode, r.Studio, r.LicenseID, r.Command, r.Code, r.Rule, r.Scope, intOrNull(r.Used), intOrNull(r.Limit),
			microsOrNull(r.ResetsAt), r.DecisionID, string(r.Decision))
	}
	return lines
}

// AuditStream compares a stream's documents.
func (s *Search) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	m := &remade{}
	if err := remake[projector.SearchTx](ctx, projector.Search{}, m, events); err != nil {
		return nil, err
	}
	// A customer's documents are found by the index, as a search finds them; there is no other way to them but to look
	// at all.
	from, args := "documents x", []any{stream}
	if kind := stream.Kind(); kind == domain.KindCustomer || kind == domain.KindFailOpen {
		from = "(SELECT rowid AS id FROM words WHERE words MATCH ?) f JOIN documents x ON x.id = f.id"
		args = []any{matching(query.SearchAsked{Filter: query.Filter{Customer: []string{stream.ID()}}}, nil), stream}
	}
	stored, err := s.lines(ctx, `SELECT x.seq, x.entry, x.place, x.event, x.type, x.occurred_at, x.recorded_at, x.actor, x.device, x.license, x.case_, x.decision, n.name, `+
		dimensionColumns+` FROM `+from+` JOIN streams s ON s.id = x.stream JOIN titles n ON n.id = x.title_name JOIN dimensions d ON d.id = x.dimensions WHERE s.stream = ?`, args...)
	if err != nil {
		return nil, err
	}
	made := make([]string, len(m.documents))
	for i := range m.documents {
		d := &m.documents[i]
		made[i] = row(append([]any{d.Seq, d.Position.Index, d.Position.Place, d.EventID, d.Type, micros(d.OccurredAt), micros(d.RecordedAt), d.Actor.ID, d.DeviceID,
			d.LicenseID, d.Case, d.DecisionID, d.TitleName}, dimensionValues(&d.Dimensions)...)...)
	}
	return differing(stored, made), nil
}

func dimensionValues(d *projector.Dimensions) []any {
	return []any{d.TitleID, d.Series, d.Studio, d.Plan, d.Country, d.DeviceType, d.DeviceFamily, d.Trigger, d.Code, d.Basis, d.Role, strconv.Itoa(d.PolicyVersion)}
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
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = row(r.Policy, r.Version, micros(r.EffectiveFrom), micros(r.RecordedAt), r.Actor, r.Position, r.Position.Place, string(r.Document))
	}
	return lines
}

func withdrawalLines(rows []projector.WithdrawalRow) []string {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = row(r.TitleID, r.Countries, micros(r.From), micros(r.RecordedAt), r.Position, r.Position.Place)
	}
	return lines
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
	facts, err := s.lines(ctx, `SELECT x.metric, x.quarter, x.seq, x.device, x.license, x.actor, `+dimensionColumns+
		` FROM facts x JOIN dimensions d ON d.id = x.dimensions WHERE x.customer = ?`, numberOf(stream.ID()))
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
		made[i] = row(append([]any{metric, projector.Quarter(f.At).Unix(), f.Seq, numberOrZero(f.DeviceID), numberOrZero(f.LicenseID), numberOrZero(f.ActorID)},
			dimensionValues(&f.Dimensions)...)...)
	}
	words := differing(facts, made)
	var stored []string
	err = s.each(ctx, "SELECT "+lifeColumns+" FROM lives l JOIN dimensions d ON d.id = l.dimensions WHERE l.customer = ?", []any{stream.ID()}, func(r *sql.Rows) error {
		life, err := scanLife(r)
		stored = append(stored, lifeLine(&life))
		return err
	})
	if err != nil {
		return nil, err
	}
	lives := make([]string, len(m.lives))
	for i := range m.lives {
		lives[i] = lifeLine(&m.lives[i])
	}
	return append(words, differing(stored, lives)...), nil
}

func lifeLine(l *projector.Life) string {
	return row(append([]any{l.LicenseID, l.Number, l.DeviceID, micros(l.From), microsOrNull(l.OwnEnd), microsOrNull(l.CutAt)}, dimensionValues(&l.Dimensions)...)...)
}

// AuditItself compares the roll-ups with the facts and lives.
func (s *Analytics) AuditItself(ctx context.Context) ([]string, error) {
	// One statement reads one moment, so a projector that works meanwhile disturbs nothing.
	lines, err := s.lines(ctx, "SELECT metric, quarter, dimensions, sum(n), sum(m) FROM ("+rollUpsAndSums+") sides GROUP BY 1, 2, 3 HAVING sum(n) != sum(m) LIMIT 20")
	words := make([]string, len(lines))
	for i, line := range lines {
		words[i] = "a roll-up is not the sum of what it counts (metric, quarter, dimensions, roll-up, sum): " + line
	}
	return words, err
}

// rollUpsAndSums are the roll-ups as n, and what they count as m.
var rollUpsAndSums = "SELECT metric, quarter, dimensions, n, CAST(0 AS BIGINT) AS m FROM rollups" +
	" UNION ALL SELECT metric, quarter, dimensions, 0, count(*) FROM facts GROUP BY 1, 2, 3" +
	" UNION ALL SELECT 5, quarter, dimensions, 0, CAST(sum(n) AS BIGINT) FROM (" + edgesOf("lives") + ") edges GROUP BY 1, 2, 3"
