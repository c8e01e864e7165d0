package domain

import (
	"slices"
	"strconv"
)

// Caps count what is held at a time. A place is free again when its licence is released, revoked or expired.

func (h *hearing) planLimit(field func(*Plan) *Limit) (*Limit, string) {
	if h.plan == nil {
		return nil, ""
	}
	return field(h.plan), h.planSource()
}

// place is what a limit counts, and how many of it the request takes.
type place struct {
	name  string
	takes int64
}

// limit writes down what is used of a limit, and tells whether there is none left for the request. A grant that leaves
// few warns.
func (h *hearing) limit(r *RuleResult, used int64, limit *Limit, source string, of place) (over bool) {
	r.Used = h.number(used)
	if limit == nil {
		return false
	}
	r.Limit, r.Source = h.number(limit.Max), source
	if used >= limit.Max {
		return true
	}
	if left := limit.Max - used - of.takes; left <= limit.WarnAt && limit.WarnAt > 0 {
		r.Outcome, r.Detail = RuleWarn, of.left(left)
	}
	return false
}

// left says how many are left after the grant.
func (p place) left(n int64) string {
	switch n {
	case 0:
		return "this is the last " + p.name
	case 1:
		return "1 " + p.name + " left"
	}
	return strconv.FormatInt(n, 10) + " " + p.name + "s left"
}

// activePerDevice caps the active downloads on a device.
func (h *hearing) activePerDevice() {
	limit, source := h.planLimit(func(p *Plan) *Limit { return p.MaxActivePerDevice })
	h.cap(RuleActivePerDevice, CodeActiveDownloadLimit, ScopeDevice, h.subject.DeviceID, limit, source)
}

// activePerAccount caps the active downloads of a customer. Unlike its neighbours it is looked at only where a plan has
// it: a decision that was made before there was such a limit must come out again.
func (h *hearing) activePerAccount() {
	limit, source := h.planLimit(func(p *Plan) *Limit { return p.MaxActivePerAccount })
	if limit != nil {
		h.cap(RuleActivePerAccount, CodeActiveDownloadLimit, ScopeCustomer, h.c.id, limit, source)
	}
}

// activePerStudio caps the active downloads of a studio's titles, over all devices.
func (h *hearing) activePerStudio() {
	if !h.known {
		return
	}
	limit, source := h.rules.Limit(func(t *TitleRules) *Limit { return t.MaxActivePerStudio })
	h.cap(RuleActivePerStudio, CodeStudioLimitReached, ScopeStudio, h.subject.Studio, limit, source)
}

func (h *hearing) cap(rule, code, kind, id string, limit *Limit, source string) {
	r := h.look(rule, code, kind, id)
	used := h.c.countActive(kind, id, h.ref, h.now)
	if !h.limit(r, used, limit, source, place{"place", 1}) {
		return
	}
	ends := make([]instant, 0, used)
	for _, l := range h.c.licenses {
		if !l.in(kind, id) || !l.active(h.ref, h.now) {
			continue
		}
		end := l.ending(h.ref).at
		ends = append(ends, end)
		r.HeldBy = append(r.HeldBy, Holder{
			Kind: ScopeLicense, ID: l.subject.LicenseID, DeviceID: l.subject.DeviceID, TitleID: l.subject.TitleID,
			TitleName: l.subject.TitleName, Until: end.pointer(),
		})
	}
	r.ResetsAt = h.moment(freeAt(ends, used-limit.Max))
	h.refuse(r)
}

// in tells whether the licence counts for a device, a studio or the customer whose it is.
func (l *license) in(kind, id string) bool {
	switch kind {
	case ScopeDevice:
		return l.subject.DeviceID == id
	case ScopeStudio:
		return l.subject.Studio == id
	}
	return true
}

func (c *Customer) countActive(kind, id string, ref Reference, now instant) int64 {
	n := int64(0)
	for _, l := range c.licenses {
		if l.endedAt == 0 && l.in(kind, id) && l.active(ref, now) {
			n++
		}
	}
	return n
}

// freeAt is when a place comes free by itself: when so many more than one have ended. Places that never end come last.
func freeAt(ends []instant, over int64) instant {
	for i, end := range ends {
		if end == 0 {
			ends[i] = endOfTime
		}
	}
	slices.Sort(ends)
	if over < 0 || over >= int64(len(ends)) {
		return 0
	}
	return ends[over]
}
