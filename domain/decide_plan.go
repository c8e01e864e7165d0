package domain

import (
	"cmp"
	"fmt"
	"slices"
)

// A change of plan keeps every counter. What is there beyond the new plan's limits stays, and what is new is refused;
// or, where the policy says so, devices and downloads beyond the limits are removed.

// ChangePlan sets plan and home country. Setting them as they are changes nothing.
func (c *Customer) ChangePlan(m Moment, plan, country string, reason *Reason) (Verdict, error) {
	if err := checkReasonIfAny(reason); err != nil {
		return Verdict{}, err
	}
	if err := CheckID("plan", plan); err != nil {
		return Verdict{}, err
	}
	if err := checkCountry("country", country); err != nil {
		return Verdict{}, err
	}
	policy := m.Reference.Policy(m.Now)
	terms, ok := policy.Plan(plan)
	if !ok {
		return Verdict{}, &FieldError{Field: "plan", Problem: fmt.Sprintf("is %q, which the policy does not have", plan)}
	}
	var events []NewEvent
	if plan != c.plan || country != c.country {
		events = append(events, NewEvent{Payload: &PlanChanged{
			Plan: plan, Country: country, PreviousPlan: c.plan, PreviousCountry: c.country, Reason: reason,
		}})
	}
	remaining := 0
	if policy.General.DowngradeEffect == DowngradeRemove {
		events, remaining = c.removeExcess(m, terms, reason.brief(), events)
	}
	v := c.record(m, nil, events...)
	v.Remaining = remaining
	return v, nil
}

// removeExcess removes the devices that were heard of least recently, and then on each device that stays the downloads
// that end first.
func (c *Customer) removeExcess(m Moment, plan *Plan, reason *Reason, events []NewEvent) (_ []NewEvent, remaining int) {
	books := c
	for _, d := range c.excessDevices(plan) {
		removal := &DeviceRemoved{Reason: reason}
		more := c.removed(m, d, removal, nil)
		if len(events)+len(more) > MaxVerdictEvents-maxLapsed {
			remaining++
			continue
		}
		events = append(events, more...)
		books = books.withoutDevice(m, removal)
	}
	for _, l := range books.excessLicenses(m, plan) {
		if len(events) == MaxVerdictEvents-maxLapsed {
			remaining++
			continue
		}
		events = append(events, c.released(m, l, CausePlanDowngrade, RemovalPending, reason))
	}
	return events, remaining
}

func (c *Customer) excessDevices(plan *Plan) []*device {
	if plan.MaxDownloadDevices == nil {
		return nil
	}
	var registered []*device
	for _, d := range c.devices {
		if d.registered {
			registered = append(registered, d)
		}
	}
	slices.SortStableFunc(registered, func(a, b *device) int { return cmp.Compare(a.lastContact, b.lastContact) })
	return registered[:max(0, len(registered)-int(plan.MaxDownloadDevices.Max))]
}

func (c *Customer) excessLicenses(m Moment, plan *Plan) []*license {
	now := instantOf(m.Now)
	ends := func(l *license) uint64 { return uint64(l.ending(m.Reference).at - 1) } // no end comes last
	var excess, kept []*license
	for _, d := range c.devices {
		var active []*license
		for _, l := range c.licenses {
			if l.subject.DeviceID == d.id && l.active(m.Reference, now) {
				active = append(active, l)
			}
		}
		allowed := len(active)
		switch {
		case !plan.Downloads:
			allowed = 0
		case plan.MaxActivePerDevice != nil:
			allowed = min(allowed, int(plan.MaxActivePerDevice.Max))
		}
		slices.SortStableFunc(active, func(a, b *license) int { return cmp.Compare(ends(a), ends(b)) })
		excess, kept = append(excess, active[:len(active)-allowed]...), append(kept, active[len(active)-allowed:]...)
	}
	if plan.MaxActivePerAccount != nil {
		slices.SortStableFunc(kept, func(a, b *license) int { return cmp.Compare(ends(a), ends(b)) })
		excess = append(excess, kept[:max(0, len(kept)-int(plan.MaxActivePerAccount.Max))]...)
	}
	return excess
}

// ChangeMembership sets the state of the membership. On hold and paused have the policy's on_hold_effect; a cancelled
// membership takes every licence back.
func (c *Customer) ChangeMembership(m Moment, state string, reason *Reason) (Verdict, error) {
	if err := checkReasonIfAny(reason); err != nil {
		return Verdict{}, err
	}
	switch state {
	case MembershipActive, MembershipOnHold, MembershipPaused, MembershipCancelled:
	default:
		return Verdict{}, &FieldError{Field: "state", Problem: "is none of active, on_hold, paused, cancelled"}
	}
	var events []NewEvent
	if state != c.membership {
		events = append(events, NewEvent{Payload: &MembershipChanged{State: state, Previous: c.membership, Reason: reason}})
	}
	remaining := 0
	if takesBack(state, m.Reference.Policy(m.Now)) {
		why := Reason{Code: ReasonOther}
		if reason != nil {
			why = *reason.brief()
		}
		events, remaining = c.revokeActive(m, why, events)
	}
	v := c.record(m, nil, events...)
	v.Remaining = remaining
	return v, nil
}

func takesBack(state string, policy *Policy) bool {
	switch state {
	case MembershipCancelled:
		return true
	case MembershipOnHold, MembershipPaused:
		return policy.General.OnHoldEffect == OnHoldRevoke
	}
	return false
}
