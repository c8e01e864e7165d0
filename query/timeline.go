package query

import (
	"context"
	"time"

	"carryon/domain"
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

// TimelineHandler answers Timeline.
type TimelineHandler struct{ p *Ports }

// Handle answers with an empty page for a customer without history.
func (h TimelineHandler) Handle(ctx context.Context, q Timeline) (TimelineAnswer, error) {
	return TimelineAnswer{}, ErrUnavailable
}
