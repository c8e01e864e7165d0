package query

import (
	"context"
	"encoding/json"
	"time"
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
	Customer   string          `json:"customer"` // a pseudonym for analysts
	Seq        uint64          `json:"seq"`
	EventID    string          `json:"event_id"`
	Type       string          `json:"type"`
	RecordedAt time.Time       `json:"recorded_at"`
	Decision   json.RawMessage `json:"decision"` // domain.Decision as it was recorded
	Sentence   string          `json:"sentence"`
}

// DecisionHandler answers Decision.
type DecisionHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) when no such decision was recorded.
func (h DecisionHandler) Handle(ctx context.Context, q Decision) (DecisionAnswer, error) {
	return DecisionAnswer{}, ErrUnavailable
}
