package projector

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"carryon/domain"
)

// Analytics counts what happened, by quarter of an hour and by dimension, and keeps each counted thing as a fact, from
// which distinct customers and devices are counted. Every time zone's hours begin at a quarter of an hour, so that days
// and weeks of any zone are sums of quarters.
//
// How many licences are active is counted in changes: one more when a life begins, one less when it ends, and a move of
// the end when a renewal, a first play or a release moves it (see lives.go). What a withdrawal shortens is worked out
// when it is asked for, from the withdrawals and the lives: so nothing depends on whether a withdrawal or an issue,
// which come from different shards, was applied first.

// Analytics is the projection of the analytics.
type Analytics struct{}

// AnalyticsTx is what the analytics are written through.
type AnalyticsTx interface {
	Tx
	// AddFacts adds facts. Each comes once.
	AddFacts(ctx context.Context, facts []Fact) error
	// AddCounts adds to the roll-ups.
	AddCounts(ctx context.Context, counts []Count) error
	// Lives are the newest lives of licences, and of all licences of devices, all in one question.
	Lives(ctx context.Context, licenses []LicenseRef, devices []DeviceRef) ([]Life, error)
	// SaveLives adds lives, or replaces the ones with the same licence and number.
	SaveLives(ctx context.Context, lives []Life) error
	// Withdraw replaces what is known of titles in the countries; without countries, all that is known of a title.
	Withdraw(ctx context.Context, rows []WithdrawalRow) error
}

// The metrics. MetricActive has lives, the others have facts.
const (
	MetricDownloads = "downloads" // licences issued
	MetricRenewals  = "renewals"
	MetricPlays     = "plays" // that count: replays inside one playback life do not
	MetricDenials   = "denials"
	MetricActive    = "active" // licences
)

// Dimensions are what counts are broken down by.
type Dimensions struct {
	TitleID       string
	Series        string
	Studio        string
	Plan          string
	Country       string
	DeviceType    string
	DeviceFamily  string
	Trigger       string
	Code          string
	Basis         string
	Role          string
	PolicyVersion int
}

// Compare orders dimensions: fields in the order of the struct.
func (d *Dimensions) Compare(e *Dimensions) int {
	return cmp.Or(
		strings.Compare(d.TitleID, e.TitleID), strings.Compare(d.Series, e.Series), strings.Compare(d.Studio, e.Studio),
		strings.Compare(d.Plan, e.Plan), strings.Compare(d.Country, e.Country), strings.Compare(d.DeviceType, e.DeviceType),
		strings.Compare(d.DeviceFamily, e.DeviceFamily), strings.Compare(d.Trigger, e.Trigger), strings.Compare(d.Code, e.Code),
		strings.Compare(d.Basis, e.Basis), strings.Compare(d.Role, e.Role), cmp.Compare(d.PolicyVersion, e.PolicyVersion),
	)
}

// Fact is one thing that was counted.
type Fact struct {
	Metric    string
	At        time.Time // when it happened; a play: as far as the device is believed
	Customer  string
	Seq       uint64
	Position  domain.Position
	DeviceID  string
	LicenseID string
	ActorID   string
	Dimensions
}

// Count is what is added to the roll-up of a metric, quarter and combination of dimensions.
type Count struct {
	Metric  string
	Quarter time.Time // the beginning of a quarter of an hour
	Dimensions
	N int64
}

// Quarter is the beginning of the quarter of an hour that t is in.
func Quarter(t time.Time) time.Time { return t.UTC().Truncate(15 * time.Minute) }

// LicenseRef names a licence.
type LicenseRef struct{ Customer, LicenseID string }

// DeviceRef names a device.
type DeviceRef struct{ Customer, DeviceID string }

// Name is "analytics".
func (Analytics) Name() string { return "analytics" }

// Open decodes what is counted, and of that what outline needs.
func (Analytics) Open(e *domain.Event) {
	if isCounted(e.Type) {
		e.DecodeToFold()
	}
}

// Apply counts.
func (Analytics) Apply(ctx context.Context, tx AnalyticsTx, events []*domain.Event) error {
	var facts []Fact
	var changes []lifeChange
	var withdrawals []WithdrawalRow
	counts := rollUp{}
	for _, e := range events {
		if err := readable(e); err != nil {
			return err
		}
		if !isCounted(e.Type) {
			continue
		}
		about, data, err := outline(e)
		if err != nil {
			return err
		}
		if p, ok := data.(*domain.TitleWithdrawn); ok {
			withdrawals = append(withdrawals, withdrawalRow(e, p))
		}
		if e.Stream.Kind() != domain.KindCustomer {
			continue
		}
		if fact, ok := factOf(e, &about, data); ok {
			facts = append(facts, fact)
			counts.add(fact.Metric, fact.At, fact.Dimensions, 1)
		}
		if change, ok := lifeChangeOf(e, &about, data); ok {
			changes = append(changes, change)
		}
	}
	lives, err := changedLives(ctx, tx, changes, counts)
	if err != nil {
		return err
	}
	return saveAnalytics(ctx, tx, facts, counts.sorted(), lives, withdrawals)
}

func saveAnalytics(ctx context.Context, tx AnalyticsTx, facts []Fact, counts []Count, lives []Life, withdrawals []WithdrawalRow) error {
	if len(facts) > 0 {
		if err := tx.AddFacts(ctx, facts); err != nil {
			return err
		}
	}
	if len(counts) > 0 {
		if err := tx.AddCounts(ctx, counts); err != nil {
			return err
		}
	}
	if len(lives) > 0 {
		if err := tx.SaveLives(ctx, lives); err != nil {
			return err
		}
	}
	if len(withdrawals) > 0 {
		return tx.Withdraw(ctx, withdrawals)
	}
	return nil
}

// isCounted tells whether events of a type may change anything here.
func isCounted(eventType string) bool {
	switch eventType {
	case "LicenseIssued", "LicenseRenewed", "LicenseDenied", "LicenseReleased", "LicenseRevoked", "PlaybackStarted",
		"ContentPlayed", "DeviceRemoved", "GrantReconciled", "TitleWithdrawn":
		return true
	}
	return false
}

// factOf is what an event counts for, if it does.
func factOf(e *domain.Event, about *About, data domain.Payload) (Fact, bool) {
	f := Fact{
		Customer: e.Stream.ID(), Seq: e.Seq, Position: e.Position, DeviceID: about.DeviceID, LicenseID: about.LicenseID, ActorID: e.Actor.ID,
		Dimensions: dimensionsOf(e, about),
	}
	switch p := data.(type) {
	case *domain.LicenseIssued:
		f.Metric, f.At = MetricDownloads, p.IssuedAt
	case *domain.LicenseRenewed:
		f.Metric, f.At = MetricRenewals, p.RenewedAt
	case *domain.ContentPlayed:
		f.Metric, f.At = MetricPlays, p.At
	case *domain.LicenseDenied:
		f.Metric, f.At = MetricDenials, e.RecordedAt
	default:
		return Fact{}, false
	}
	return f, true
}

func dimensionsOf(e *domain.Event, about *About) Dimensions {
	return Dimensions{
		TitleID: about.TitleID, Series: about.Series, Studio: about.Studio, Plan: about.Plan, Country: about.Country,
		DeviceType: about.DeviceType, DeviceFamily: about.DeviceFamily, Trigger: about.Trigger, Code: about.Code,
		Basis: about.Basis, Role: string(e.Actor.Role), PolicyVersion: e.Versions.Policy,
	}
}

// rollUp gathers counts of a batch, so that each row is touched once.
type rollUp map[rollUpKey]int64

type rollUpKey struct {
	metric  string
	quarter int64 // seconds
	Dimensions
}

func (r rollUp) add(metric string, at time.Time, d Dimensions, n int64) {
	r[rollUpKey{metric, Quarter(at).Unix(), d}] += n
}

// sorted are the counts that are not zero, in an order that depends on them alone.
func (r rollUp) sorted() []Count {
	counts := make([]Count, 0, len(r))
	for key, n := range r {
		if n != 0 {
			counts = append(counts, Count{Metric: key.metric, Quarter: time.Unix(key.quarter, 0).UTC(), Dimensions: key.Dimensions, N: n})
		}
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Metric, b.Metric), a.Quarter.Compare(b.Quarter), a.Dimensions.Compare(&b.Dimensions))
	})
	return counts
}
