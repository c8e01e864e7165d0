package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Lookup asks what an id is: a customer's, device's, licence's, exception's, decision's, command's or request's.
type Lookup struct {
	By Caller
	Q  string // 1 to 128 bytes
}

// LookupAnswer is everything that has the id; empty when nothing has.
type LookupAnswer struct {
	Found []Found `json:"found"`
}

// Found is one thing that has the id.
type Found struct {
	Kind       string    `json:"kind"` // customer, device, license, exception, decision, command, request
	ID         string    `json:"id"`
	Customer   string    `json:"customer,omitempty"` // whose it is; a pseudonym for analysts
	DeviceID   string    `json:"device_id,omitempty"`
	TitleID    string    `json:"title_id,omitempty"`
	Seq        uint64    `json:"seq,omitempty"`         // of the event, for decisions, commands and requests: the one that tells most
	Type       string    `json:"type,omitempty"`        // of that event
	RecordedAt time.Time `json:"recorded_at,omitzero"`  // of that event
	DecisionID string    `json:"decision_id,omitempty"` // that stands in that event
	State      string    `json:"state,omitempty"`
}

// LookupHandler answers Lookup.
type LookupHandler struct{ p *Ports }

// maxFound bounds an answer: one device id may be known to several customers.
const maxFound = 20

// Handle answers with everything that has the id. That support looked is recorded for every customer found.
func (h LookupHandler) Handle(ctx context.Context, q Lookup) (LookupAnswer, error) {
	if err := domain.CheckID("q", q.Q); err != nil {
		return LookupAnswer{}, err
	}
	var found []Found
	var err error
	switch q.By.Actor.Role {
	case domain.RoleAnalyst:
		found, err = h.pseudonym(ctx, q.Q)
		if err == nil {
			return LookupAnswer{Found: found}, nil
		}
	case domain.RoleSupport, domain.RoleOperator, domain.RoleService, domain.RoleSystem:
		found, err = h.id(ctx, q.Q)
	default:
		err = ErrForbidden
	}
	if err != nil {
		return LookupAnswer{}, fmt.Errorf("look up: %w", err)
	}
	var about []string
	for _, f := range found {
		about = append(about, f.Customer)
	}
	if err := h.p.Desk.looked(ctx, q.By, about, "lookup"); err != nil {
		return LookupAnswer{}, err
	}
	return LookupAnswer{Found: found}, nil
}

// id finds what has an id.
func (h LookupHandler) id(ctx context.Context, id string) ([]Found, error) {
	if h.p.Customers == nil || h.p.Timeline == nil {
		return nil, fmt.Errorf("no read models of customers and events here: %w", ErrUnavailable)
	}
	found := []Found{}
	things, err := h.p.Customers.Things(ctx, id, maxFound)
	if err != nil {
		return nil, err
	}
	for _, t := range things {
		found = append(found, Found{Kind: t.Kind, ID: id, Customer: t.Customer, DeviceID: t.DeviceID, TitleID: t.TitleID})
	}
	events, err := h.p.Timeline.EventsByRef(ctx, id, maxRefs)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		about, _, err := projector.AboutEvent(e)
		if err != nil {
			return nil, err
		}
		kinds := refKinds(e, &about, id)
		if len(kinds) > 0 && about.DecisionID() == "" {
			if e, about, err = h.telling(ctx, e, about); err != nil {
				return nil, err
			}
		}
		for _, kind := range kinds {
			if len(found) < maxFound {
				found = append(found, Found{
					Kind: kind, ID: id, Customer: e.Stream.ID(), DeviceID: about.DeviceID, TitleID: about.TitleID, Seq: e.Seq, Type: e.Type,
					RecordedAt: e.RecordedAt, DecisionID: about.DecisionID(),
				})
			}
		}
	}
	return found, nil
}

// A command may first record which licences have ended since, and which device it came from: an id leads to its first
// event, and who asks wants to know what came of it. commandLooked bounds how far that is looked for.
const commandLooked = 64

// telling is the event of a command that tells what came of it: the one with the decision, else the first that is more
// than a licence that had ended.
func (h LookupHandler) telling(ctx context.Context, first *domain.Event, about projector.About) (*domain.Event, projector.About, error) {
	rows, err := h.p.Timeline.TimelinePage(ctx, TimelinePage{Customer: first.Stream.ID(), Oldest: true, AfterSeq: first.Seq, Limit: commandLooked})
	if err != nil {
		return nil, about, err
	}
	best, bestAbout := first, about
	for _, e := range rows.Events {
		if e.CommandID != first.CommandID {
			break
		}
		about, _, err := projector.AboutEvent(e)
		if err != nil {
			return nil, about, err
		}
		if about.DecisionID() != "" {
			return e, about, nil
		}
		if best.Type == (*domain.LicenseExpired)(nil).EventType() {
			best, bestAbout = e, about
		}
	}
	return best, bestAbout, nil
}

// refKinds tells what an id is to an event.
func refKinds(e *domain.Event, about *projector.About, id string) []string {
	var kinds []string
	if about.DecisionID() == id {
		kinds = append(kinds, "decision")
	}
	if e.CommandID == id {
		kinds = append(kinds, "command")
	}
	if e.Correlation == id {
		kinds = append(kinds, "request")
	}
	return kinds
}

// pseudonym tells an analyst that a pseudonym is one, and of what.
func (h LookupHandler) pseudonym(ctx context.Context, pseudonym string) ([]Found, error) {
	if h.p.Customers == nil || h.p.Pseudonyms == nil {
		return nil, fmt.Errorf("nothing here knows pseudonyms: %w", ErrUnavailable)
	}
	things, err := h.p.Customers.ThingsBehind(ctx, pseudonym)
	found := []Found{}
	for _, t := range things {
		found = append(found, Found{Kind: t.Kind, ID: pseudonym, Customer: h.p.Pseudonyms.Customer(t.Customer)})
	}
	return found, errors.Join(err)
}
