package domain

import (
	"math"
	"slices"
)

const (
	replacementPeriod Seconds = 30 * 24 * 3600
	endless           Seconds = math.MaxInt64
)

// deviceBlocked: a blocked device gets nothing, neither does one that comes in place of a blocked one.
func (h *hearing) deviceBlocked(d *device) {
	r := h.look(RuleDeviceBlocked, CodeDeviceBlocked, ScopeDevice, h.subject.DeviceID)
	if d == nil || !d.blocked {
		return
	}
	r.Detail = "blocked since " + day(d.blockedAt) + " (" + d.blockReason + ")"
	if d.id != h.subject.DeviceID {
		r.Detail = "replaces " + d.id + ", " + r.Detail
	}
	h.refuse(r)
}

// deviceType: some types can't keep licences. An unknown type is no reason to refuse.
func (h *hearing) deviceType(t DeviceType, known bool) {
	r := h.look(RuleDeviceType, CodeDeviceTypeUnsupported, ScopeDevice, h.subject.DeviceID)
	switch {
	case !known:
		r.Detail = "the type is unknown: default rules"
	case !t.Download:
		r.Detail = "the type " + t.Name + " can't keep downloads"
		h.refuse(r)
	}
}

// quality: the plan and the device type may name the qualities that can be downloaded.
func (h *hearing) quality(t DeviceType) {
	asked := h.decision.Request.Quality
	if asked == "" {
		return
	}
	if h.plan != nil && len(h.plan.Qualities) > 0 {
		r := h.look(RulePlanQuality, CodePlanNotEligible, ScopeCustomer, h.c.id)
		r.Source = h.planSource()
		if !slices.Contains(h.plan.Qualities, asked) {
			r.Detail = "the plan has no downloads of quality " + asked
			h.refuse(r)
		}
	}
	if len(t.Qualities) > 0 {
		r := h.look(RuleDeviceQuality, CodeDeviceTypeUnsupported, ScopeDevice, h.subject.DeviceID)
		if !slices.Contains(t.Qualities, asked) {
			r.Detail = "the type " + t.Name + " does not take downloads of quality " + asked
			h.refuse(r)
		}
	}
}

// slot: a device needs one of the plan's slots. One that has its slot keeps it, also when the plan gives fewer now.
func (h *hearing) slot(d *device) {
	if d != nil && d.registered {
		return
	}
	r := h.look(RuleDevices, CodeDeviceLimitReached, ScopeCustomer, h.c.id)
	used := int64(0)
	for _, other := range h.c.devices {
		if holds, _ := h.c.holdsSlot(other, h.policy, h.ref, h.now); holds && other.id != h.subject.DeviceID {
			used++
		}
	}
	limit, source := h.planLimit(func(p *Plan) *Limit { return p.MaxDownloadDevices })
	if !h.limit(r, used, limit, source, place{"slot", 1}) {
		return
	}
	ends := make([]instant, 0, used)
	for _, other := range h.c.devices {
		holds, until := h.c.holdsSlot(other, h.policy, h.ref, h.now)
		if !holds || other.id == h.subject.DeviceID {
			continue
		}
		if h.replacing != nil && other.id == h.decision.Request.Replaces {
			until = h.c.licensesPend(other, h.ref, h.now, h.memoryAfterRemoval)
		}
		r.HeldBy = append(r.HeldBy, Holder{Kind: ScopeDevice, ID: other.id, Until: until.pointer()})
		ends = append(ends, until)
	}
	r.ResetsAt = h.moment(freeAt(ends, used-limit.Max))
	h.refuse(r)
}

// memoryAfterRemoval is for the licences of a device whose removal comes with the request, whenever that is made: those
// that it ends are not forgotten before it.
func (h *hearing) memoryAfterRemoval(l *license) Seconds {
	if was := h.replacing.license(l.subject.LicenseID); was != nil && was.endedAt == 0 {
		return endless
	}
	return h.policy.endedLicenseMemory()
}

// holdsSlot tells whether a device takes a slot, and until when if it does so only for a time. A removed device may
// keep its slot until its licences are destroyed, have run out, or are forgotten.
func (c *Customer) holdsSlot(d *device, policy *Policy, ref Reference, now instant) (bool, instant) {
	if d.registered {
		return true, 0
	}
	if policy.General.SlotFreedOn != SlotFreedOnConfirmation {
		return false, 0
	}
	until := c.licensesPend(d, ref, now, func(*license) Seconds { return policy.endedLicenseMemory() })
	return until != 0, until
}

// licensesPend is when the last licence of a removed device that may still be there has run out or is forgotten: 0 when
// none is there.
func (c *Customer) licensesPend(d *device, ref Reference, now instant, memory func(*license) Seconds) instant {
	until := instant(0)
	for _, l := range c.licenses {
		if l.subject.DeviceID != d.id || l.endedAt == 0 || l.removal != RemovalPending {
			continue
		}
		end := l.ending(ref)
		end.limit(l.endedAt.plus(memory(l)), "")
		switch {
		case end.at == 0:
			return endOfTime
		case !end.passed(now):
			until = max(until, end.at)
		}
	}
	return until
}

// endedLicenseMemory is how long after its end a licence can be asked about: what the policy says, as far as the state
// remembers.
func (p *Policy) endedLicenseMemory() Seconds {
	return min(p.General.EndedLicenseMemory.Seconds(), RememberEnded)
}

// replacements: a customer may swap devices only so often. A replacement is a removal by the customer and a device that
// comes after it; who has only cleaned up has replaced nothing yet.
func (h *hearing) replacements(d *device) {
	if d != nil && d.registered {
		return
	}
	r := h.look(RuleReplacements, CodeDeviceReplacementLimit, ScopeCustomer, h.c.id)
	used, open := h.c.replaced(h.now)
	limit := h.policy.General.DeviceReplacements
	if limit == nil {
		r.Used = h.number(used)
		return
	}
	if open == 0 {
		r.Used, r.Limit, r.Detail = h.number(used), h.number(limit.Max), "the device replaces none"
		return
	}
	if !h.limit(r, used, limit, "general", place{"replacement", 1}) {
		return
	}
	free := h.c.replacementFree(h.now, limit.Max)
	if !h.swapping { // else the removal comes with the request, whenever that is made
		if forgotten := h.c.removalsLeave(h.now); free == 0 || forgotten < free {
			free = forgotten
		}
	}
	r.ResetsAt = h.moment(free)
	h.refuse(r)
}

// replaced counts the replacements of the last 30 days: removals that a device came after; and the removals that none
// came after yet.
func (c *Customer) replaced(now instant) (used, open int64) {
	from := now.minus(replacementPeriod)
	for _, s := range c.swaps {
		switch {
		case s.at <= from:
		case s.removal:
			open++
		case open > 0:
			open--
			used++
		}
	}
	return used, open
}

// replacementFree is when fewer than that many replacements are counted.
func (c *Customer) replacementFree(now instant, limit int64) instant {
	return c.swapsLeave(now, func(then instant) bool { used, _ := c.replaced(then); return used < limit })
}

// removalsLeave is when no removal waits for its device any more.
func (c *Customer) removalsLeave(now instant) instant {
	return c.swapsLeave(now, func(then instant) bool { _, open := c.replaced(then); return open == 0 })
}

func (c *Customer) swapsLeave(now instant, enough func(instant) bool) instant {
	for _, s := range c.swaps {
		if then := s.at.plus(replacementPeriod); then > now && enough(then) {
			return then
		}
	}
	return 0
}
