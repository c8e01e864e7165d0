package query

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Decision asks for a past decision, as it was recorded.
type Decision struct {
	By Caller
	ID string
	// Customer restricts the answer to a customer's own decisions, for devices; empty: any.
	Customer string
}

// DecisionAnswer is a recorded decision and the event it stands in.
type DecisionAnswer struct {
	Made
	Customer   string          `json:"customer"`
	Seq        uint64          `json:"seq"`
	EventID    string          `json:"event_id"`
	Type       string          `json:"type"`
	RecordedAt time.Time       `json:"recorded_at"`
	Decision   json.RawMessage `json:"decision"` // domain.Decision as it was recorded
	Sentence   string          `json:"sentence"`
}

// DecisionHandler answers Decision.
type DecisionHandler struct{ p *Ports }

// maxRefs bounds how many events an id may lead to.
const maxRefs = 50

// Handle returns domain.ErrNotFound (wrapped) when no such decision was recorded.
func (h DecisionHandler) Handle(ctx context.Context, q Decision) (DecisionAnswer, error) {
	if err := domain.CheckID("decision", q.ID); err != nil {
		return DecisionAnswer{}, err
	}
	if h.p.Timeline == nil {
		return DecisionAnswer{}, fmt.Errorf("no timeline here: %w", ErrUnavailable)
	}
	events, err := h.p.Timeline.EventsByRef(ctx, q.ID, maxRefs)
	if err != nil {
		return DecisionAnswer{}, fmt.Errorf("look up decision %s: %w", q.ID, err)
	}
	for _, e := range events {
		about, data, err := projector.AboutEvent(e)
		if err != nil {
			return DecisionAnswer{}, fmt.Errorf("look up decision %s: %w", q.ID, err)
		}
		if about.DecisionID() != q.ID || !isOrAny(q.Customer, e.Stream.ID()) {
			continue
		}
		if err := h.p.Desk.admit(ctx, q.By, e.Stream.ID(), "decision"); err != nil {
			return DecisionAnswer{}, err
		}
		recorded, err := json.Marshal(about.Decision)
		if err != nil {
			return DecisionAnswer{}, fmt.Errorf("look up decision %s: %w", q.ID, err)
		}
		return DecisionAnswer{
			Made: madeFrom(e.Seq, e.Position, Projected), Customer: e.Stream.ID(), Seq: e.Seq, EventID: e.ID, Type: e.Type,
			RecordedAt: e.RecordedAt, Decision: recorded, Sentence: Sentence(e, data),
		}, nil
	}
	return DecisionAnswer{}, fmt.Errorf("decision %s: %w", q.ID, domain.ErrNotFound)
}
