package query

import "context"

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
	Kind     string `json:"kind"` // customer, device, license, exception, decision, command, request
	ID       string `json:"id"`
	Customer string `json:"customer,omitempty"` // whose it is; a pseudonym for analysts
	DeviceID string `json:"device_id,omitempty"`
	TitleID  string `json:"title_id,omitempty"`
	Seq      uint64 `json:"seq,omitempty"`  // of the event, for decisions, commands and requests
	Type     string `json:"type,omitempty"` // of that event
	State    string `json:"state,omitempty"`
}

// LookupHandler answers Lookup.
type LookupHandler struct{ p *Ports }

// Handle answers with everything that has the id.
func (h LookupHandler) Handle(ctx context.Context, q Lookup) (LookupAnswer, error) {
	return LookupAnswer{}, ErrUnavailable
}
