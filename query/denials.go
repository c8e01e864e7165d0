package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Denials asks what a customer was refused.
type Denials struct {
	By          Caller
	Customer    string
	Code        []string // refusal codes
	DeviceID    string
	TitleID     string
	From, To    time.Time // recorded in [From, To); zero: open
	Order       string    // newest (default), oldest
	Page        Page
	Consistency Consistency
}

// DenialsAnswer is a page of refusals.
type DenialsAnswer struct {
	Made
	Denials    []Denial `json:"denials"`
	NextCursor string   `json:"next_cursor,omitempty"`
}

// Denial is one refusal: the rule that refused, in numbers, and the whole decision.
type Denial struct {
	Seq        uint64          `json:"seq"`
	RecordedAt time.Time       `json:"recorded_at"`
	Command    string          `json:"command"` // acquire, renew, register_device
	Code       string          `json:"code"`
	Rule       string          `json:"rule,omitempty"`
	Scope      domain.Scope    `json:"scope"`
	Used       *int64          `json:"used,omitempty"`
	Limit      *int64          `json:"limit,omitempty"`
	ResetsAt   *time.Time      `json:"resets_at,omitempty"`
	DeviceID   string          `json:"device_id,omitempty"`
	DeviceType string          `json:"device_type,omitempty"`
	TitleID    string          `json:"title_id,omitempty"`
	TitleName  string          `json:"title_name,omitempty"`
	Series     string          `json:"series,omitempty"`
	Studio     string          `json:"studio,omitempty"`
	LicenseID  string          `json:"license_id,omitempty"`
	Actor      domain.Actor    `json:"actor"`
	DecisionID string          `json:"decision_id"`
	Decision   json.RawMessage `json:"decision"` // domain.Decision as it was recorded
	Position   string          `json:"position"` // shard:index
	Sentence   string          `json:"sentence"` // in plain words
}

// DenialsModel is the read model that Denials asks.
type DenialsModel interface {
	Versioned
	// DenialsPage returns refusals of one customer in the order asked for.
	DenialsPage(ctx context.Context, q DenialsPage) ([]projector.DenialRow, error)
	// DenialsAfter returns refusals of all customers, in order of stream and seq, behind those of a place.
	DenialsAfter(ctx context.Context, q ExportAsked) ([]projector.DenialRow, error)
}

// DenialsPage is what a page of refusals is asked for with.
type DenialsPage struct {
	Customer          string
	Code              []string
	DeviceID, TitleID string
	From, To          time.Time
	Oldest            bool   // in this order
	AfterSeq          uint64 // continue after this one; 0: from the beginning
	Limit             int
}

// DenialsHandler answers Denials.
type DenialsHandler struct{ p *Ports }

// Handle answers with an empty page for a customer who was refused nothing.
func (h DenialsHandler) Handle(ctx context.Context, q Denials) (DenialsAnswer, error) {
	size, err := q.check()
	if err != nil {
		return DenialsAnswer{}, err
	}
	page := DenialsPage{
		Customer: q.Customer, Code: q.Code, DeviceID: q.DeviceID, TitleID: q.TitleID, From: q.From, To: q.To,
		Oldest: q.Order == OrderOldest, Limit: size + 1,
	}
	question := page // what the cursor is bound to
	if q.Page.Cursor != "" {
		if err := h.p.Cursors.open(question, q.Page.Cursor, &page.AfterSeq); err != nil {
			return DenialsAnswer{}, err
		}
	}
	if err := h.p.Desk.admit(ctx, q.By, q.Customer, "denials"); err != nil {
		return DenialsAnswer{}, err
	}
	rows, made, err := h.rows(ctx, q, page)
	if err != nil {
		return DenialsAnswer{}, fmt.Errorf("denials of customer %s: %w", q.Customer, err)
	}
	answer := DenialsAnswer{Made: made, Denials: make([]Denial, 0, min(size, len(rows)))}
	if len(rows) > size {
		rows = rows[:size]
		if answer.NextCursor, err = h.p.Cursors.seal(question, rows[size-1].Seq); err != nil {
			return DenialsAnswer{}, err
		}
	}
	for i := range rows {
		d, err := denial(&rows[i])
		if err != nil {
			return DenialsAnswer{}, err
		}
		answer.Denials = append(answer.Denials, d)
	}
	return answer, nil
}

func (q *Denials) check() (int, error) {
	size, err := q.Page.size()
	return size, errors.Join(err, domain.CheckID("customer", q.Customer), checkOrder(q.Order), q.Consistency.check(), checkRange(q.From, q.To),
		checkValues("code", q.Code), checkKnown("code", q.Code), checkLength("device_id", q.DeviceID), checkLength("title_id", q.TitleID))
}

// rows are the page's refusals, and one more where there is one.
func (h DenialsHandler) rows(ctx context.Context, q Denials, page DenialsPage) ([]projector.DenialRow, Made, error) {
	if q.Consistency.Mode == Authoritative {
		rows, made, err := h.fromBooks(ctx, page)
		if err == nil {
			err = h.p.reached(ctx, q.Consistency, made, domain.CustomerStream(q.Customer))
		}
		return rows, made, err
	}
	model := h.p.Denials
	if model == nil {
		return nil, Made{}, fmt.Errorf("no read model of denials here: %w", ErrUnavailable)
	}
	stream := domain.CustomerStream(q.Customer)
	if err := h.p.wait(ctx, q.Consistency, "denials", model, stream); err != nil {
		return nil, Made{}, err
	}
	version, err := model.StreamVersion(ctx, stream) // before the page, so that the answer shows at least this version
	if err != nil {
		return nil, Made{}, err
	}
	rows, err := model.DenialsPage(ctx, page)
	return rows, madeFrom(version.Version, version.Position, Projected), err
}

// fromBooks takes the refusals from the customer's history.
func (h DenialsHandler) fromBooks(ctx context.Context, page DenialsPage) ([]projector.DenialRow, Made, error) {
	timeline := TimelinePage{
		Customer: page.Customer, Type: []string{projector.DeniedType}, DeviceID: page.DeviceID, TitleID: page.TitleID,
		Code: page.Code, From: page.From, To: page.To, Oldest: page.Oldest, AfterSeq: page.AfterSeq, Limit: page.Limit,
	}
	events, made, err := TimelineHandler(h).fromBooks(ctx, timeline)
	if err != nil {
		return nil, Made{}, err
	}
	rows := make([]projector.DenialRow, len(events))
	for i, e := range events {
		if rows[i], err = projector.DenialOf(e); err != nil {
			return nil, Made{}, err
		}
	}
	return rows, made, nil
}

func denial(r *projector.DenialRow) (Denial, error) {
	var decision domain.Decision
	if err := json.Unmarshal(r.Decision, &decision); err != nil {
		return Denial{}, fmt.Errorf("read decision %s: %w", r.DecisionID, err)
	}
	return Denial{
		Seq: r.Seq, RecordedAt: r.RecordedAt, Command: r.Command, Code: r.Code, Rule: r.Rule, Scope: r.Scope, Used: r.Used, Limit: r.Limit,
		ResetsAt: r.ResetsAt, DeviceID: r.DeviceID, DeviceType: r.DeviceType, TitleID: r.TitleID, TitleName: r.TitleName, Series: r.Series,
		Studio: r.Studio, LicenseID: r.LicenseID, Actor: r.Actor, DecisionID: r.DecisionID, Decision: r.Decision, Position: r.Position.String(),
		Sentence: refusalSentence(r.Command, r.Code, &r.Subject, RefusingRule(&decision)),
	}, nil
}
