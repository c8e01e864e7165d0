package query

import (
	"context"
	"time"
)

// State asks for everything that a customer's history adds up to, at any moment.
type State struct {
	By          Caller
	Customer    string
	AsOf        time.Time // zero: now; a past moment is folded from the event store
	Consistency Consistency
}

// StateAnswer is the state at a moment.
type StateAnswer struct {
	Made
	AsOf  time.Time `json:"as_of"`
	State StateView `json:"state"`
}

// StateHandler answers State.
type StateHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history at that moment.
func (h StateHandler) Handle(ctx context.Context, q State) (StateAnswer, error) {
	return StateAnswer{}, ErrUnavailable
}
