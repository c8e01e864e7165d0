package domain

// A revocation takes licences back, for a reason. The places are free at once; the device learns of it when it next
// asks, and its record of destruction confirms the removal. Plays that were made before are still recorded.

// Revoke takes one licence back. One that was released or revoked before stays as it is.
func (c *Customer) Revoke(m Moment, licenseID string, reason Reason) (Verdict, error) {
	if err := checkReason(reason); err != nil {
		return Verdict{}, err
	}
	l, err := c.findLicense(m, licenseID)
	if err != nil || l.endedAt != 0 {
		return Verdict{}, err
	}
	return c.record(m, nil, c.revoked(m, l, reason)), nil
}

// RevokeAll takes every active licence back. Where there are more than one verdict can hold, Verdict.Remaining says
// how many are left for the same command under another id.
func (c *Customer) RevokeAll(m Moment, reason Reason) (Verdict, error) {
	if err := checkReason(reason); err != nil {
		return Verdict{}, err
	}
	events, remaining := c.revokeActive(m, reason, nil)
	v := c.record(m, nil, events...)
	v.Remaining = remaining
	return v, nil
}

// revokeActive appends a revocation of each active licence, as far as they fit, and says how many do not.
func (c *Customer) revokeActive(m Moment, reason Reason, events []NewEvent) (_ []NewEvent, remaining int) {
	now := instantOf(m.Now)
	for _, l := range c.licenses {
		switch {
		case !l.active(m.Reference, now):
		case len(events) == MaxVerdictEvents-maxLapsed:
			remaining++
		default:
			events = append(events, c.revoked(m, l, reason))
		}
	}
	return events, remaining
}

func (c *Customer) revoked(m Moment, l *license, reason Reason) NewEvent {
	return NewEvent{Payload: &LicenseRevoked{
		Subject: c.about(l), RevokedAt: m.Now, PreviousExpiresAt: l.ending(m.Reference).at.pointer(), Reason: reason,
	}}
}
