package query

import (
	"context"
	"time"

	"carryon/domain"
)

// Explain asks whether a customer may have a title on a device, and why or why not, without asking for it.
type Explain struct {
	By          Caller
	Customer    string
	TitleID     string
	DeviceID    string
	DeviceType  string // for a device that is not registered yet
	Country     string // ISO 3166 alpha-2; empty: the home country
	ProfileID   string
	At          time.Time // zero: now; a past moment needs the event store
	Consistency Consistency
}

// ExplainAnswer is the decision that the rules would make.
type ExplainAnswer struct {
	Made
	At       time.Time       `json:"at"`
	Decision domain.Decision `json:"decision"`
	Sentence string          `json:"sentence"` // the outcome in plain words
}

// ExplainHandler answers Explain.
type ExplainHandler struct{ p *Ports }

// Handle decides as a dry run on the state that the customer has, or had at q.At.
func (h ExplainHandler) Handle(ctx context.Context, q Explain) (ExplainAnswer, error) {
	return ExplainAnswer{}, ErrUnavailable
}
