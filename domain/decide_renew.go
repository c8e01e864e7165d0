package domain

// RenewRequest asks to prolong a licence.
type RenewRequest struct {
	LicenseID string
	Country   string // where the customer is; empty: the home country
	Trigger   string // user, auto
	KeyID     string // of the key that signs the licence
}

// Renew decides on a longer life for a licence: its durations begin anew, under the rules of the day.
func (c *Customer) Renew(m Moment, r RenewRequest) (Verdict, error) {
	h, err := c.hearRenew(m, r)
	if err != nil {
		return Verdict{}, err
	}
	if h.refused() {
		return c.deny(m, h.hearing, func() []Remedy { return c.remediesForRenew(m, r, h) }), nil
	}
	renewed := h.renewed(m, r)
	counted := &ContentRenewed{Subject: renewed.Subject, At: m.Now, CountsAsDownload: h.renewalCounts()}
	return h.granted(c, m, nil, []NewEvent{{Payload: renewed}, {Payload: counted}}), nil
}

// EvaluateRenew decides as Renew does and records nothing.
func (c *Customer) EvaluateRenew(m Moment, r RenewRequest) (Verdict, error) {
	h, err := c.hearRenew(m, r)
	if err != nil {
		return Verdict{}, err
	}
	if h.refused() {
		h.decision.Remedies = c.remediesForRenew(m, r, h)
	}
	return Verdict{Decision: &h.decision}, nil
}

// renewHearing is a hearing on a renewal.
type renewHearing struct {
	*hearing
	license *license
	longer  license // as the renewal would leave it
	restart bool    // the playback life begins anew
}

func (c *Customer) hearRenew(m Moment, r RenewRequest) (*renewHearing, error) {
	l, err := c.findLicense(m, r.LicenseID)
	if err != nil {
		return nil, err
	}
	if r.Country != "" {
		if err := checkCountry("country", r.Country); err != nil {
			return nil, err
		}
	}
	if err := checkTrigger(&r.Trigger); err != nil {
		return nil, err
	}
	d := c.device(l.subject.DeviceID)
	kind := l.subject.DeviceType
	if d != nil {
		kind = d.kind
	}
	h := &renewHearing{license: l, hearing: c.hear(m, CommandRenew, Request{
		DeviceID: l.subject.DeviceID, DeviceType: kind, TitleID: l.subject.TitleID, LicenseID: l.subject.LicenseID,
		Country: r.Country, ProfileID: l.subject.ProfileID, Trigger: r.Trigger,
	})}
	h.subject = l.subject
	h.subject.Plan, h.subject.Trigger = c.plan, r.Trigger
	deviceType, known := h.aboutDevice(kind)
	h.aboutTitle(l.subject.TitleID)
	h.countryThatCounts(r.Country, l.subject.Country)

	h.membership()
	h.planEligible()
	h.deviceBlocked(d)
	h.deviceType(deviceType, known)
	h.notRevoked(l)
	h.notReleased(l, d)
	h.titleKnown()
	h.downloadable()
	h.withdrawal()
	h.region()
	h.prolong()
	h.renewable(l, &h.longer)
	if !h.known {
		return h, nil
	}
	h.renewInterval(l)
	h.renewals(l)
	if l.endedAt == 0 && l.ending(h.ref).passed(h.now) {
		h.activePerDevice()
		h.activePerAccount()
		h.activePerStudio()
	}
	h.renewalsPerYear()
	h.playsPerPeriod()
	return h, nil
}

// prolong works out what the renewal would make of the licence.
func (h *renewHearing) prolong() {
	h.longer = *h.license
	l := &h.longer
	if h.known {
		l.terms = h.rules.Terms()
		l.windowEnd = instantOf(h.window.To)
	}
	l.startedAt, l.subject.Country = h.now, h.country
	h.restart = l.firstPlay != 0 && h.rules.Flag(func(t *TitleRules) *bool { return t.RenewalRestartsPlayback }, false)
	if h.restart {
		l.firstPlay = 0
	}
}

func (h *renewHearing) renewed(m Moment, r RenewRequest) *LicenseRenewed {
	l := h.license
	end := h.longer.ending(h.ref)
	return &LicenseRenewed{
		Subject: h.subject, Renewal: l.renewals + 1, Terms: h.longer.terms, IssuedAt: l.issuedAt.time(), RenewedAt: m.Now,
		WindowEnd: h.longer.windowEnd.pointer(), ExpiresAt: end.at.pointer(), PreviousExpiresAt: l.ending(h.ref).at.pointer(),
		LimitedBy: end.by, PlaybackRestarted: h.restart, KeyID: r.KeyID, Decision: h.decision,
	}
}
