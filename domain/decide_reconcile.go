package domain

import "fmt"

// A grant that was made while the books could not be read is entered into them afterwards, as it was made: it counts as
// a download whatever the books say. Then the books decide on the same request. What they would have allowed is kept,
// what they would have refused is revoked.

// Reconcile enters a fail-open grant. A grant that is in the books already changes nothing. The decision is that of the
// books; a refusal in it is the code of GrantReconciled.
func (c *Customer) Reconcile(m Moment, grant *LicenseIssued) (Verdict, error) {
	if grant.Basis != BasisFailOpen {
		return Verdict{}, fmt.Errorf("licence %s was granted on the books: %w", grant.LicenseID, ErrConflict)
	}
	if c.license(grant.LicenseID) != nil {
		return Verdict{}, nil
	}
	asked := grant.Decision.Request
	r := AcquireRequest{
		DeviceID: grant.DeviceID, DeviceType: grant.DeviceType, TitleID: grant.TitleID, Country: asked.Country,
		ProfileID: asked.ProfileID, Maturity: asked.Maturity, Trigger: asked.Trigger, Quality: asked.Quality, SizeBytes: asked.SizeBytes,
	}
	h, err := c.hearAcquire(m, r)
	if err != nil {
		return Verdict{}, err
	}
	settled := &GrantReconciled{Subject: grant.Subject, Outcome: ReconciledKept}
	var events []NewEvent
	if h.refused() {
		settled.Outcome, settled.Code = ReconciledRevoked, h.decision.Code
	} else if registered := h.registration(r); registered != nil {
		events = append(events, NewEvent{Payload: registered})
	}
	entered := *grant
	entered.Plan = c.plan
	events = append(events, NewEvent{Payload: &entered, OccurredAt: grant.IssuedAt})
	if h.reissue == nil { // else the books would have issued again what is active, and counted nothing
		events = append(events, NewEvent{
			Payload: &ContentDownloaded{Subject: entered.Subject, At: grant.IssuedAt}, OccurredAt: grant.IssuedAt,
		})
	}
	events = append(events, NewEvent{Payload: settled})
	if h.refused() {
		h.needed = nil // what is revoked uses no exception up
	}
	return h.granted(c, m, nil, events), nil
}
