package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Timeline asks what happened to a customer.
type Timeline struct {
	By          Caller
	Customer    string
	Type        []string // event types
	DeviceID    string
	TitleID     string
	LicenseID   string
	Actor       string    // id of who did it
	From, To    time.Time // recorded in [From, To); zero: open
	Order       string    // newest (default), oldest
	Page        Page
	Consistency Consistency
}

// TimelineAnswer is a page of a customer's events.
type TimelineAnswer struct {
	Made
	Events     []TimelineEvent `json:"events"`
	NextCursor string          `json:"next_cursor,omitempty"`
}

// TimelineEvent is one event in plain words.
type TimelineEvent struct {
	Seq         uint64          `json:"seq"`
	EventID     string          `json:"event_id"`
	Type        string          `json:"type"`
	OccurredAt  time.Time       `json:"occurred_at"`
	RecordedAt  time.Time       `json:"recorded_at"`
	Actor       domain.Actor    `json:"actor"`
	DeviceID    string          `json:"device_id,omitempty"`
	TitleID     string          `json:"title_id,omitempty"`
	TitleName   string          `json:"title_name,omitempty"`
	Series      string          `json:"series,omitempty"`
	LicenseID   string          `json:"license_id,omitempty"`
	Code        string          `json:"code,omitempty"` // of a refusal
	DecisionID  string          `json:"decision_id,omitempty"`
	CommandID   string          `json:"command_id"`
	Correlation string          `json:"correlation,omitempty"`
	Case        string          `json:"case,omitempty"`
	Words       string          `json:"words,omitempty"`        // the personal ones: a device's name, a reason's text
	WordsErased bool            `json:"words_erased,omitempty"` // the customer's key was erased
	Sentence    string          `json:"sentence"`               // what happened, in plain words
	Position    string          `json:"position"`               // shard:index
	Versions    domain.Versions `json:"versions"`
}

// TimelineModel is the read model that Timeline and Decision ask.
type TimelineModel interface {
	Versioned
	// TimelinePage returns events of one customer in the order asked for.
	TimelinePage(ctx context.Context, q TimelinePage) (TimelineRows, error)
	// EventsByRef returns candidates for an id of a decision, command or request, oldest first, at most limit: the
	// caller compares, because two ids may share a hash.
	EventsByRef(ctx context.Context, id string, limit int) ([]*domain.Event, error)
	// EventsAfter returns events of all customers, in order of stream and seq, behind those of a place.
	EventsAfter(ctx context.Context, q ExportAsked) ([]*domain.Event, error)
}

// TimelineRows are a page of a timeline, and how far the model is with the customer: the page shows at least that.
type TimelineRows struct {
	Events  []*domain.Event
	Version projector.StreamVersion
}

// TimelinePage is what a page of a timeline is asked for with.
type TimelinePage struct {
	Customer                            string
	Type                                []string
	Code                                []string // of refusals; not for the model
	DeviceID, TitleID, LicenseID, Actor string
	From, To                            time.Time
	Oldest                              bool   // in this order
	AfterSeq                            uint64 // continue after this one; 0: from the beginning
	Limit                               int
}

// TimelineHandler answers Timeline.
type TimelineHandler struct{ p *Ports }

// Handle answers with an empty page for a customer without history.
func (h TimelineHandler) Handle(ctx context.Context, q Timeline) (TimelineAnswer, error) {
	size, err := q.check()
	if err != nil {
		return TimelineAnswer{}, err
	}
	if q.By.Actor.Role == domain.RoleDevice && q.Actor != "" {
		return TimelineAnswer{}, fieldError("actor", "can't be used by a device: who of the staff acted is not shown to it")
	}
	page := TimelinePage{
		Customer: q.Customer, Type: q.Type, DeviceID: q.DeviceID, TitleID: q.TitleID, LicenseID: q.LicenseID, Actor: q.Actor,
		From: q.From, To: q.To, Oldest: q.Order == OrderOldest, Limit: size + 1,
	}
	question := page // what the cursor is bound to
	if q.Page.Cursor != "" {
		if err := h.p.Cursors.open(question, q.Page.Cursor, &page.AfterSeq); err != nil {
			return TimelineAnswer{}, err
		}
	}
	if err := h.p.Desk.admit(ctx, q.By, q.Customer, "timeline"); err != nil {
		return TimelineAnswer{}, err
	}
	events, made, err := h.events(ctx, q, page)
	if err != nil {
		return TimelineAnswer{}, fmt.Errorf("timeline of customer %s: %w", q.Customer, err)
	}
	answer := TimelineAnswer{Made: made, Events: make([]TimelineEvent, 0, min(size, len(events)))}
	if len(events) > size {
		events = events[:size]
		if answer.NextCursor, err = h.p.Cursors.seal(question, events[size-1].Seq); err != nil {
			return TimelineAnswer{}, err
		}
	}
	words := h.p.wordsOf(q.By, q.Customer)
	for _, e := range events {
		row, err := timelineEvent(ctx, e, words)
		if err != nil {
			return TimelineAnswer{}, fmt.Errorf("timeline of customer %s: %w", q.Customer, err)
		}
		answer.Events = append(answer.Events, row)
	}
	return answer, nil
}

func (q *Timeline) check() (int, error) {
	size, err := q.Page.size()
	return size, errors.Join(err, domain.CheckID("customer", q.Customer), checkOrder(q.Order), q.Consistency.check(), checkRange(q.From, q.To),
		checkValues("type", q.Type), checkKnown("type", q.Type), checkLength("device_id", q.DeviceID), checkLength("title_id", q.TitleID),
		checkLength("license_id", q.LicenseID), checkLength("actor", q.Actor))
}

// events are the page's events, and one more where there is one.
func (h TimelineHandler) events(ctx context.Context, q Timeline, page TimelinePage) ([]*domain.Event, Made, error) {
	if q.Consistency.Mode == Authoritative {
		events, made, err := h.fromBooks(ctx, page)
		if err == nil {
			err = h.p.reached(ctx, q.Consistency, made, domain.CustomerStream(q.Customer))
		}
		return events, made, err
	}
	model := h.p.Timeline
	if model == nil {
		return nil, Made{}, fmt.Errorf("no timeline here: %w", ErrUnavailable)
	}
	stream := domain.CustomerStream(q.Customer)
	if err := h.p.wait(ctx, q.Consistency, "timeline", model, stream); err != nil {
		return nil, Made{}, err
	}
	rows, err := model.TimelinePage(ctx, page)
	return rows.Events, madeFrom(rows.Version.Version, rows.Version.Position, Projected), err
}

// fromBooks reads the customer's whole history: the authoritative way is there for reading one's own write, not for
// browsing.
func (h TimelineHandler) fromBooks(ctx context.Context, page TimelinePage) ([]*domain.Event, Made, error) {
	if h.p.Books == nil {
		return nil, Made{}, fmt.Errorf("no event store here: %w", ErrUnavailable)
	}
	var kept []*domain.Event
	made := Made{Consistency: Authoritative}
	for e, err := range h.p.Books.Events(ctx, domain.CustomerStream(page.Customer), 1) {
		if err != nil {
			return nil, Made{}, err
		}
		made = madeFrom(e.Seq, e.Position, Authoritative)
		fits, err := page.holds(e)
		if err != nil {
			return nil, Made{}, err
		}
		if !fits {
			continue
		}
		if page.Oldest && len(kept) == page.Limit {
			continue // the rest is read for the version only
		}
		kept = append(kept, e)
		if !page.Oldest && len(kept) > page.Limit {
			kept[0] = nil
			kept = kept[1:]
		}
	}
	if !page.Oldest {
		slices.Reverse(kept)
	}
	return kept, made, nil
}

// holds tells whether an event belongs to the page.
func (q *TimelinePage) holds(e *domain.Event) (bool, error) {
	about, _, err := projector.AboutEvent(e)
	if err != nil {
		return false, err
	}
	after := q.AfterSeq == 0 || q.Oldest && e.Seq > q.AfterSeq || !q.Oldest && e.Seq < q.AfterSeq
	return after && (len(q.Code) == 0 || slices.Contains(q.Code, about.Code)) && (len(q.Type) == 0 || slices.Contains(q.Type, e.Type)) &&
		isOrAny(q.DeviceID, about.DeviceID) && isOrAny(q.TitleID, about.TitleID) && isOrAny(q.LicenseID, about.LicenseID) &&
		isOrAny(q.Actor, e.Actor.ID) && (q.From.IsZero() || !e.RecordedAt.Before(q.From)) && (q.To.IsZero() || e.RecordedAt.Before(q.To)), nil
}

func isOrAny(wanted, is string) bool { return wanted == "" || wanted == is }

// veil leaves out who of the staff acted, and for which case: that is not for a device.
func (e *TimelineEvent) veil() {
	if e.Actor.Role != domain.RoleDevice {
		e.Actor.ID = ""
	}
	if e.Case != "" {
		e.Sentence = strings.Replace(e.Sentence, caseWords(e.Case), "", 1)
		e.Case = ""
	}
}

func timelineEvent(ctx context.Context, e *domain.Event, words *opener) (TimelineEvent, error) {
	about, data, err := projector.AboutEvent(e)
	if err != nil {
		return TimelineEvent{}, err
	}
	row := TimelineEvent{
		Seq: e.Seq, EventID: e.ID, Type: e.Type, OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt, Actor: e.Actor,
		DeviceID: about.DeviceID, TitleID: about.TitleID, TitleName: about.TitleName, Series: about.Series, LicenseID: about.LicenseID,
		Code: about.Code, DecisionID: about.DecisionID(), CommandID: e.CommandID, Correlation: e.Correlation, Case: about.Case,
		Sentence: Sentence(e, data), Position: e.Position.String(), Versions: e.Versions,
	}
	if words.veiled {
		row.veil()
	}
	open := words.reason
	if _, named := data.(*domain.DeviceRegistered); named {
		open = words.open
	}
	for _, sealed := range about.Words {
		if row.Words, row.WordsErased, err = open(ctx, sealed); err != nil {
			return TimelineEvent{}, err
		}
	}
	return row, nil
}
