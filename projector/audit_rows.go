package projector

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"carryon/domain"
)

// What an Auditable needs: rows made anew, and rows as lines of text that can be compared.

// MadeRows takes in what a projection makes of a stream's events, as a store that is new and empty would.
type MadeRows struct {
	Tx          // nil: a projection that is made anew neither begins nor ends a transaction
	States      map[domain.StreamID]CustomerState
	Devices     []DeviceRow
	Licenses    []LicenseRow
	Exceptions  []ExceptionRow
	Timeline    []TimelineRow
	Denials     []DenialRow
	Documents   []Document
	Policies    []PolicyRow
	Withdrawals []WithdrawalRow
	Facts       []Fact
	Lives       []Life
	Versions    []StreamVersion
	InForce     map[TitlePlace]time.Time // from when titles are withdrawn
}

// TitlePlace is a title in a country; in an empty one: everywhere.
type TitlePlace struct{ TitleID, Country string }

var (
	_ CustomersTx = (*made)(nil)
	_ TimelineTx  = (*made)(nil)
	_ DenialsTx   = (*made)(nil)
	_ AnalyticsTx = (*made)(nil)
	_ SearchTx    = (*made)(nil)
	_ ReferenceTx = (*made)(nil)
)

// Remake makes the rows of a stream anew, from its events from seq 1 on.
func Remake[T Tx](ctx context.Context, p Projection[T], events []domain.Event) (*MadeRows, error) {
	rows := &MadeRows{}
	if len(events) == 0 {
		return rows, nil
	}
	tx, ok := any(&made{rows}).(T)
	if !ok {
		return nil, fmt.Errorf("the rows of %s can't be made anew by themselves", p.Name())
	}
	pointers := make([]*domain.Event, len(events))
	for i := range events {
		pointers[i] = &events[i]
	}
	if err := p.Apply(ctx, tx, pointers); err != nil {
		return nil, fmt.Errorf("making rows of %s anew: %w", p.Name(), err)
	}
	return rows, nil
}

// made is what the projection writes through.
type made struct{ *MadeRows }

func keep[R any](into *[]R, rows []R) error {
	*into = append(*into, rows...)
	return nil
}

func (m *made) SetVersions(_ context.Context, rows []StreamVersion) error {
	return keep(&m.Versions, rows)
}

func (m *made) States(context.Context, []domain.StreamID) (map[domain.StreamID]CustomerState, error) {
	return nil, nil
}

func (m *made) SaveStates(_ context.Context, states []CustomerState) error {
	m.MadeRows.States = map[domain.StreamID]CustomerState{}
	for _, s := range states {
		m.MadeRows.States[s.Stream] = s
	}
	return nil
}

func (m *made) SaveDevices(_ context.Context, rows []DeviceRow) error { return keep(&m.Devices, rows) }

func (m *made) SaveLicenses(_ context.Context, rows []LicenseRow) error {
	return keep(&m.Licenses, rows)
}

func (m *made) SaveExceptions(_ context.Context, rows []ExceptionRow) error {
	return keep(&m.Exceptions, rows)
}

func (m *made) AddTimeline(_ context.Context, rows []TimelineRow) error {
	return keep(&m.Timeline, rows)
}

func (m *made) AddDenials(_ context.Context, rows []DenialRow) error { return keep(&m.Denials, rows) }

func (m *made) AddDocuments(_ context.Context, rows []Document) error {
	return keep(&m.Documents, rows)
}

func (m *made) AddPolicies(_ context.Context, rows []PolicyRow) error {
	return keep(&m.Policies, rows)
}

func (m *made) AddWithdrawals(_ context.Context, rows []WithdrawalRow) error {
	return keep(&m.Withdrawals, rows)
}

func (m *made) AddFacts(_ context.Context, rows []Fact) error { return keep(&m.Facts, rows) }

func (m *made) AddCounts(context.Context, []Count) error { return nil } // the sums of all streams: see SelfAuditable

func (m *made) Lives(context.Context, []LicenseRef, []DeviceRef) ([]Life, error) { return nil, nil }

func (m *made) SaveLives(_ context.Context, rows []Life) error { return keep(&m.MadeRows.Lives, rows) }

func (m *made) Withdraw(_ context.Context, rows []WithdrawalRow) error {
	if m.InForce == nil {
		m.InForce = map[TitlePlace]time.Time{}
	}
	for i := range rows {
		r, countries := &rows[i], rows[i].Countries
		if len(countries) == 0 {
			maps.DeleteFunc(m.InForce, func(p TitlePlace, _ time.Time) bool { return p.TitleID == r.TitleID })
			countries = []string{""}
		}
		for _, country := range countries {
			m.InForce[TitlePlace{r.TitleID, country}] = r.From
		}
	}
	return nil
}

// InForceLines are the withdrawals in force as text: title, country, from.
func (m *MadeRows) InForceLines() []string {
	var lines []string
	for place, from := range m.InForce {
		lines = append(lines, Line("withdrawal", place.TitleID, place.Country, from))
	}
	return lines
}

// Differing names the lines that only one side has. It sorts both.
func Differing(stored, made []string) []string {
	slices.Sort(stored)
	slices.Sort(made)
	var words []string
	for len(stored) > 0 || len(made) > 0 {
		switch {
		case len(made) == 0 || len(stored) > 0 && stored[0] < made[0]:
			words = append(words, NotGiven+stored[0])
			stored = stored[1:]
		case len(stored) == 0 || made[0] < stored[0]:
			words = append(words, NotStored+made[0])
			made = made[1:]
		default:
			stored, made = stored[1:], made[1:]
		}
	}
	return words
}

// Line is a row as text: its columns, parted by bars. Times are microseconds, as stores have them; what is nil is empty.
func Line(columns ...any) string {
	var b strings.Builder
	for i, v := range columns {
		if i > 0 {
			b.WriteByte('|')
		}
		switch v := v.(type) {
		case nil:
		case *int64:
			if v != nil {
				fmt.Fprint(&b, *v)
			}
		case time.Time:
			if !v.IsZero() {
				fmt.Fprint(&b, v.UnixMicro())
			}
		case *time.Time:
			if v != nil {
				fmt.Fprint(&b, v.UnixMicro())
			}
		default:
			fmt.Fprint(&b, v)
		}
	}
	return b.String()
}

// Lines are rows as text.
func Lines[R any](rows []R, line func(*R) string) []string {
	lines := make([]string, len(rows))
	for i := range rows {
		lines[i] = line(&rows[i])
	}
	return lines
}

// EventLine is an event as text, and more columns behind it.
func EventLine(e *domain.Event, more ...any) string {
	return Line(append([]any{
		e.Seq, e.ID, e.Type, e.SchemaVersion, e.OccurredAt, e.RecordedAt, e.Actor, e.CommandID, e.RequestHash, e.Correlation,
		e.Causation, e.Versions, e.Position, e.Position.Place, e.Previous, e.Previous.Place, string(e.Payload),
	}, more...)...)
}

// DenialLine is a refusal as text.
func DenialLine(r *DenialRow) string {
	return Line(r.Customer, r.Seq, r.Position, r.Position.Place, r.RecordedAt, r.Actor, r.DeviceID, r.DeviceType, r.TitleID, r.TitleName, r.Series,
		r.Season, r.Episode, r.Studio, r.LicenseID, r.Command, r.Code, r.Rule, r.Scope, r.Used, r.Limit, r.ResetsAt, r.DecisionID, string(r.Decision))
}

// PolicyLine is a version of a document as text.
func PolicyLine(r *PolicyRow) string {
	return Line(r.Policy, r.Version, r.EffectiveFrom, r.RecordedAt, r.Actor, r.Position, r.Position.Place, string(r.Document))
}

// WithdrawalLine is a title's withdrawal as text.
func WithdrawalLine(r *WithdrawalRow) string {
	return Line(r.TitleID, r.Countries, r.From, r.RecordedAt, r.Position, r.Position.Place)
}

// LifeLine is a licence's life as text.
func LifeLine(l *Life) string {
	return Line(append([]any{l.LicenseID, l.Number, l.DeviceID, l.From, l.OwnEnd, l.CutAt}, l.Dimensions.Columns()...)...)
}

// HoldingLines are a customer's devices, licences and exceptions as text: kind, id, what it is by, seq.
func (m *MadeRows) HoldingLines() []string {
	var lines []string
	for _, d := range m.Devices {
		lines = append(lines, Line("device", d.DeviceID, d.Type, d.Family, d.Seq))
	}
	for _, l := range m.Licenses {
		lines = append(lines, Line("license", l.LicenseID, l.DeviceID, l.TitleID, l.Seq))
	}
	for _, x := range m.Exceptions {
		lines = append(lines, Line("exception", x.ExceptionID, x.Code, "", x.Seq))
	}
	return lines
}

// StateDiffers says how a customer's stored state is not the one made anew.
func (m *MadeRows) StateDiffers(stream domain.StreamID, stored CustomerState, found bool) []string {
	made, must := m.States[stream]
	if found == must && (!found || stored.Version == made.Version && stored.Position == made.Position && string(stored.State) == string(made.State)) {
		return nil
	}
	return []string{fmt.Sprintf("the stored state, of version %d at %s, is not what the events give, of version %d at %s",
		stored.Version, stored.Position, made.Version, made.Position)}
}

// VersionDiffers says how the stored version of a stream is not the one made anew.
func (m *MadeRows) VersionDiffers(stream domain.StreamID, stored StreamVersion) []string {
	want := StreamVersion{Stream: stream}
	if len(m.Versions) > 0 {
		want = m.Versions[len(m.Versions)-1]
	}
	if stored == want {
		return nil
	}
	return []string{fmt.Sprintf("the stored version is %d at %s, the events give %d at %s", stored.Version, stored.Position, want.Version, want.Position)}
}

// ReferenceDiffers compares a title's withdrawals, or a document's versions, among all that are stored.
func (m *MadeRows) ReferenceDiffers(stream domain.StreamID, policies []PolicyRow, withdrawals []WithdrawalRow) []string {
	policies = slices.DeleteFunc(policies, func(r PolicyRow) bool { return domain.PolicyStream(r.Policy) != stream })
	withdrawals = slices.DeleteFunc(withdrawals, func(r WithdrawalRow) bool { return domain.TitleStream(r.TitleID) != stream })
	return append(Differing(Lines(policies, PolicyLine), Lines(m.Policies, PolicyLine)),
		Differing(Lines(withdrawals, WithdrawalLine), Lines(m.Withdrawals, WithdrawalLine))...)
}

// Columns are the dimensions one after the other.
func (d *Dimensions) Columns() []any {
	return []any{
		d.TitleID, d.Series, d.Studio, d.Plan, d.Country, d.DeviceType, d.DeviceFamily, d.Trigger, d.Code, d.Basis, d.Role, strconv.Itoa(d.PolicyVersion),
	}
}
