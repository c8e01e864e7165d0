package domain

// What the rules say about a licence that exists: whether it may be renewed or given out again.

// notRevoked: what was taken back is not renewed.
func (h *hearing) notRevoked(l *license) {
	r := h.look(RuleRevoked, CodeLicenseRevoked, ScopeLicense, l.subject.LicenseID)
	if l.endedAt != 0 && l.revoked {
		r.Detail = "revoked on " + day(l.endedAt) + " (" + l.cause + ")"
		h.refuse(r)
	}
}

// notReleased: what was given back is not renewed, nor what is left on a device that was removed.
func (h *hearing) notReleased(l *license, d *device) {
	r := h.look(RuleReleased, CodeLicenseReleased, ScopeLicense, l.subject.LicenseID)
	switch {
	case l.endedAt != 0 && !l.revoked:
		r.Detail = "released on " + day(l.endedAt) + " (" + l.cause + ")"
		h.refuse(r)
	case l.endedAt == 0 && (d == nil || !d.registered):
		r.Detail = "its device was removed"
		h.refuse(r)
	}
}

// renewable: an expired licence is renewed within a grace, and only if that brings it back to life: a playback life
// that has run out stays so where the policy does not restart it.
func (h *hearing) renewable(l *license, renewed *license) {
	r := h.look(RuleRenewableUntil, CodeLicenseExpired, ScopeLicense, l.subject.LicenseID)
	if l.endedAt != 0 {
		return
	}
	end := l.ending(h.ref)
	if end.at == 0 {
		return
	}
	grace, source := h.rules.Span(func(t *TitleRules) Span { return t.RenewGrace })
	r.Source = source
	switch until := end.at.plus(grace.Seconds()); {
	case until <= h.now:
		r.Detail = "expired on " + day(end.at) + " (" + end.by + "), renewable until " + day(until)
		h.refuse(r)
	case renewed.ownEnding().passed(h.now):
		r.Detail = "expired on " + day(end.at) + " (" + end.by + "), and a renewal would not bring it back"
		h.refuse(r)
	case end.passed(h.now):
		r.Detail = "expired on " + day(end.at) + ", renewable until " + day(until)
	}
}

// renewInterval: a device must not renew again and again.
func (h *hearing) renewInterval(l *license) {
	interval, source := h.rules.Span(func(t *TitleRules) Span { return t.MinRenewInterval })
	r := h.look(RuleMinRenewInterval, CodeRenewalTooSoon, ScopeLicense, l.subject.LicenseID)
	if interval == 0 {
		return
	}
	r.Source = source
	if from := l.startedAt.plus(interval.Seconds()); from > h.now {
		r.ResetsAt, r.Detail = h.moment(from), "renewals are "+interval.String()+" apart"
		h.refuse(r)
	}
}

// renewals caps how often a licence is renewed.
func (h *hearing) renewals(l *license) {
	limit, source := h.rules.Limit(func(t *TitleRules) *Limit { return t.MaxRenewals })
	h.times(RuleMaxRenewals, CodeRenewalLimitReached, l, l.renewals, limit, source, "renewal")
}

// reissues caps how often an active licence is given out again.
func (h *hearing) reissues(l *license) {
	limit, source := h.rules.Limit(func(t *TitleRules) *Limit { return t.MaxReissues })
	h.times(RuleReissues, CodeReissueLimitReached, l, l.reissues, limit, source, "repeated download")
}

func (h *hearing) times(rule, code string, l *license, used int, limit *Limit, source, name string) {
	r := h.look(rule, code, ScopeLicense, l.subject.LicenseID)
	if h.limit(r, int64(used), limit, source, place{name, 1}) {
		h.refuse(r)
	}
}
