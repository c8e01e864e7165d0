package projector

import (
	"context"

	"carryon/domain"
)

// The timeline is everything that happened to a customer, event by event, as it was recorded: what support reads when
// it asks what happened, and where a past decision, command or request is found again.

// Timeline is the projection of the timeline.
type Timeline struct{}

// TimelineTx is what the timeline is written through.
type TimelineTx interface {
	Tx
	// AddTimeline adds rows. Each event comes once, but the store may refuse one that it has: see Store.
	AddTimeline(ctx context.Context, rows []TimelineRow) error
	// SetVersions says how far the model is with the streams.
	SetVersions(ctx context.Context, versions []StreamVersion) error
}

// TimelineRow is one event of a customer, and what rows are found by.
type TimelineRow struct {
	Event      *domain.Event
	Customer   string
	DeviceID   string
	TitleID    string
	LicenseID  string
	DecisionID string
	// Opens is true for the first event of a command: where the command's and the request's id lead.
	Opens bool
}

// Name is "timeline".
func (Timeline) Name() string { return "timeline" }

// Open decodes what outline needs.
func (Timeline) Open(e *domain.Event) { e.DecodeToFold() }

// Apply adds a row for every event of a customer's stream.
func (Timeline) Apply(ctx context.Context, tx TimelineTx, events []*domain.Event) error {
	rows := make([]TimelineRow, 0, len(events))
	var last *domain.Event
	for _, e := range events {
		about, _, err := outline(e)
		if err != nil {
			return err
		}
		opens := last == nil || last.CommandID != e.CommandID || last.Stream != e.Stream
		last = e
		if e.Stream.Kind() != domain.KindCustomer {
			continue
		}
		rows = append(rows, TimelineRow{
			Event: e, Customer: e.Stream.ID(), DeviceID: about.DeviceID, TitleID: about.TitleID,
			LicenseID: about.LicenseID, DecisionID: about.DecisionID(), Opens: opens,
		})
	}
	if len(rows) == 0 {
		return nil
	}
	// First, because it is a store's cheapest way to learn what it needs of the streams.
	if err := tx.SetVersions(ctx, customersOnly(newestOf(events))); err != nil {
		return err
	}
	return tx.AddTimeline(ctx, rows)
}

// customersOnly leaves the streams of the reference shard out.
func customersOnly(versions []StreamVersion) []StreamVersion {
	kept := versions[:0]
	for _, v := range versions {
		if v.Stream.Kind() == domain.KindCustomer {
			kept = append(kept, v)
		}
	}
	return kept
}
