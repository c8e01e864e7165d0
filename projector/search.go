package projector

import (
	"context"
	"time"

	"carryon/domain"
)

// Search finds events by words and by filters. Its words are those of titles, series, studios, refusal codes and event
// types: what everybody may be shown who may search. Actors and case numbers are found by the filters, which an analyst
// may not use; as words they would tell an analyst who is behind a pseudonym.

// Search is the projection of the search.
type Search struct{}

// SearchTx is what the search is written through.
type SearchTx interface {
	Tx
	AddDocuments(ctx context.Context, rows []Document) error
}

// Document is one event as the search knows it.
type Document struct {
	Stream     domain.StreamID
	Customer   string // empty for events that concern everyone
	Seq        uint64
	Position   domain.Position
	EventID    string
	Type       string
	OccurredAt time.Time
	RecordedAt time.Time
	Actor      domain.Actor
	DeviceID   string
	LicenseID  string
	TitleName  string
	Case       string
	DecisionID string
	Dimensions // of the event; Role is the actor's
}

// TitleWords are the words of title and series, which count most.
func (d *Document) TitleWords() []string { return folded(nil, d.TitleName, d.Series) }

// OtherWords are the rest of what the document is found by.
func (d *Document) OtherWords() []string { return folded(TypeWords(d.Type), d.Studio, d.Code) }

func folded(words []string, texts ...string) []string {
	for _, text := range texts {
		for _, w := range Words(text) {
			words = append(words, w.Folded)
		}
	}
	return words
}

// Name is "search".
func (Search) Name() string { return "search" }

// Open decodes what outline needs.
func (Search) Open(e *domain.Event) { e.DecodeToFold() }

// Apply adds a document for every event.
func (Search) Apply(ctx context.Context, tx SearchTx, events []*domain.Event) error {
	rows := make([]Document, 0, len(events))
	for _, e := range events {
		d, err := DocumentOf(e)
		if err != nil {
			return err
		}
		rows = append(rows, d)
	}
	if len(rows) == 0 {
		return nil
	}
	return tx.AddDocuments(ctx, rows)
}

// DocumentOf is an event as the search knows it. An event that this program is too old for is a *PoisonError.
func DocumentOf(e *domain.Event) (Document, error) {
	about, _, err := outline(e)
	if err != nil {
		return Document{}, err
	}
	d := Document{
		Stream: e.Stream, Seq: e.Seq, Position: e.Position, EventID: e.ID, Type: e.Type, OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt,
		Actor: e.Actor, DeviceID: about.DeviceID, LicenseID: about.LicenseID, TitleName: about.TitleName, Case: about.Case,
		DecisionID: about.DecisionID(), Dimensions: dimensionsOf(e, &about),
	}
	if kind := e.Stream.Kind(); kind == domain.KindCustomer || kind == domain.KindFailOpen {
		d.Customer = e.Stream.ID()
	}
	return d, nil
}
