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

// RevokeAll takes every licence back that is active, or that could become so again: by a renewal within the grace, by a
// withdrawal that is put off. Where there are more than one verdict can hold, Verdict.Remaining says
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

// revokeActive appends the revocations, as far as they fit, and says how many do not.
func (c *Customer) revokeActive(m Moment, reason Reason, events []NewEvent) (_ []NewEvent, remaining int) {
	now, policy := instantOf(m.Now), m.Reference.Policy(m.Now)
	for _, l := range c.licenses {
		switch {
		case l.endedAt != 0 || l.finished(policy, now):
		case len(events) == MaxVerdictEvents-maxLapsed:
			remaining++
		default:
			events = append(events, c.revoked(m, l, reason))
		}
	}
	return events, remaining
}

// finished tells whether a licence has ended by its own terms so long ago that no renewal brings it back.
func (l *license) finished(policy *Policy, now instant) bool {
	end := l.ownEnding()
	if !end.passed(now) {
		return false
	}
	rules := policy.RulesFor(l.subject.TitleID, l.subject.Studio)
	grace, _ := rules.Span(func(t *TitleRules) Span { return t.RenewGrace })
	return end.at.plus(grace.Seconds()) <= now
}

func (c *Customer) revoked(m Moment, l *license, reason Reason) NewEvent {
	return NewEvent{Payload: &LicenseRevoked{
		Subject: c.about(l), RevokedAt: m.Now, PreviousExpiresAt: l.ending(m.Reference).at.pointer(), Reason: reason,
	}}
}
