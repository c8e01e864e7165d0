package query

import (
	"context"
	"encoding/json"
	"time"

	"carryon/domain"
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

// DenialsHandler answers Denials.
type DenialsHandler struct{ p *Ports }

// Handle answers with an empty page for a customer who was refused nothing.
func (h DenialsHandler) Handle(ctx context.Context, q Denials) (DenialsAnswer, error) {
	return DenialsAnswer{}, ErrUnavailable
}
