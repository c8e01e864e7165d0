package domain

// A release gives a licence back: it frees the places of the caps at once, and refunds nothing of what is counted per
// year or month. It has two phases. The server ends the licence, and removal is pending; the device's record of
// destruction confirms it, whenever that comes.

// Release ends a licence at its device's wish. A licence that has ended by release or revocation stays as it is; one
// that has expired is released all the same, because the device still holds its file.
func (c *Customer) Release(m Moment, licenseID string, reason *Reason) (Verdict, error) {
	if err := checkReasonIfAny(reason); err != nil {
		return Verdict{}, err
	}
	l, err := c.findLicense(m, licenseID)
	if err != nil || l.endedAt != 0 {
		return Verdict{}, err
	}
	return c.record(m, nil, c.released(m, l, CauseDevice, RemovalPending, reason)), nil
}

// ConfirmRelease records that the device has destroyed the licence. A device that never released it releases it thereby.
func (c *Customer) ConfirmRelease(m Moment, licenseID string, reason *Reason) (Verdict, error) {
	if err := checkReasonIfAny(reason); err != nil {
		return Verdict{}, err
	}
	l, err := c.findLicense(m, licenseID)
	if err != nil || l.removal == RemovalConfirmed {
		return Verdict{}, err
	}
	confirmed := NewEvent{Payload: &ReleaseConfirmed{Subject: c.about(l), ConfirmedAt: m.Now, Reason: reason}}
	if l.endedAt != 0 {
		return c.record(m, nil, confirmed), nil
	}
	return c.record(m, nil, c.released(m, l, CauseDevice, RemovalPending, reason), confirmed), nil
}

func (c *Customer) released(m Moment, l *license, cause, removal string, reason *Reason) NewEvent {
	return NewEvent{Payload: &LicenseReleased{
		Subject: c.about(l), ReleasedAt: m.Now, PreviousExpiresAt: l.ending(m.Reference).at.pointer(), Removal: removal, Cause: cause,
		Reason: reason,
	}}
}
