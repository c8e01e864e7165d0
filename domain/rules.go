package domain

import "slices"

// The rules, in the order in which a decision looks at them. All of them are looked at, also after one has refused, so
// that a decision shows everything that stands in the way; the first that refuses gives the refusal its code. A rule
// whose subject is unknown, as a studio's limit for a title that does not exist, is not looked at.
//
//	acquire            membership, plan, device_blocked, device_type, title_known, downloadable, withdrawal, region,
//	                   profile_maturity, plan_quality, device_quality, max_download_devices, device_replacements_per_30d,
//	                   max_active_per_device, max_active_per_account, max_downloads_per_device_month,
//	                   max_active_per_studio, max_downloads_per_title_year, max_plays_per_period
//	acquire again      membership to device_quality as above, max_reissues: a re-issue moves no counter
//	renew              membership, plan, device_blocked, device_type, license_not_revoked, license_not_released,
//	                   title_known, downloadable, withdrawal, region, renewable_until, min_renew_interval, max_renewals,
//	                   max_active_per_device, max_active_per_account and max_active_per_studio (for a licence that has
//	                   expired and takes its places anew), max_downloads_per_title_year (if a renewal counts), max_plays_per_period
//	register_device    membership, plan, device_blocked, device_type, max_download_devices,
//	                   device_replacements_per_30d

// hearing is one decision being made: the books, the moment, and what the documents say about the request.
type hearing struct {
	*draft
	c   *Customer
	ref Reference
	now instant

	policy  *Policy
	plan    *Plan // nil: the customer has none that exists
	rules   Rules // of the title
	title   Title
	known   bool // the title is in the catalogue
	country string
	window  Window // that is open; of a title that is known

	replacing *Customer // the books before the request removes a device; nil: it removes none
	swapping  bool      // and that counts as a replacement
}

func (c *Customer) hear(m Moment, command string, request Request) *hearing {
	h := &hearing{draft: newDraft(c, m, command, request), c: c, ref: m.Reference, now: instantOf(m.Now)}
	h.policy = m.Reference.Policy(m.Now)
	if plan, ok := h.policy.Plan(c.plan); ok {
		h.plan = plan
		h.decision.Versions.Plan = plan.Version
	}
	h.subject = Subject{
		DeviceID: request.DeviceID, TitleID: request.TitleID, Plan: c.plan, ProfileID: request.ProfileID, Trigger: request.Trigger,
	}
	return h
}

// aboutDevice reads the device type: an unknown one gets default rules.
func (h *hearing) aboutDevice(kind string) (DeviceType, bool) {
	t, known := h.ref.DeviceTypes(h.now.time()).Lookup(kind)
	h.subject.DeviceType, h.subject.DeviceFamily = kind, t.Family
	return t, known
}

// aboutTitle reads the catalogue.
func (h *hearing) aboutTitle(id string) {
	h.title, h.known = h.ref.Title(id)
	if !h.known {
		return
	}
	t, s := &h.title, &h.subject
	s.TitleName, s.Kind, s.Series, s.Season, s.Episode, s.Studio = t.Name, t.Kind, t.Series, t.Season, t.Episode, t.Studio
	h.rules = h.policy.RulesFor(id, t.Studio)
}

// refuse lets a rule refuse, unless an open exception lifts it.
func (h *hearing) refuse(r *RuleResult) {
	if overridable(r.Code) {
		if x := h.c.exceptionFor(r.Code, &h.subject, h.now); x != nil {
			r.Outcome, r.Exception = RuleOverridden, x.id
			if !slices.Contains(h.needed, x) { // two limits with one code are lifted by one use
				h.needed = append(h.needed, x)
			}
			return
		}
	}
	r.Outcome = RuleRefuse
	if d := &h.decision; d.Outcome != OutcomeRefuse {
		d.Outcome, d.Code = OutcomeRefuse, r.Code
	}
}

// membership: what a membership that is not active keeps from a customer. On hold and paused are alike, and the policy
// says how far they go; a cancelled membership gets nothing.
func (h *hearing) membership() {
	r := h.look(RuleMembership, CodeMembershipInactive, ScopeCustomer, h.c.id)
	switch state := h.c.Membership(); state {
	case MembershipActive:
	case MembershipOnHold, MembershipPaused:
		if h.decision.Command == CommandRenew && h.policy.General.OnHoldEffect == OnHoldRefuseNew {
			r.Detail = "the membership is " + state + "; a renewal is allowed"
			return
		}
		r.Detail = "the membership is " + state
		h.refuse(r)
	default:
		r.Detail = "the membership is " + state
		h.refuse(r)
	}
}

func (h *hearing) planEligible() {
	r := h.look(RulePlan, CodePlanNotEligible, ScopeCustomer, h.c.id)
	switch {
	case h.c.plan == "":
		r.Detail = "the customer has no plan"
	case h.plan == nil:
		r.Detail = "the plan " + h.c.plan + " does not exist"
	case !h.plan.Downloads:
		r.Source, r.Detail = h.planSource(), "the plan has no downloads"
	default:
		r.Source = h.planSource()
		return
	}
	h.refuse(r)
}

func (h *hearing) planSource() string { return "plan " + h.c.plan }
