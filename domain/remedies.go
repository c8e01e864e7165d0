package domain

import (
	"cmp"
	"slices"
)

// A refusal names what would help: cheapest first, a few at most. Nothing is offered on theory. Each remedy is carried
// out on a copy of the books, by the very command that a person would give, and the same decision is made again on the
// copy: only what lets it pass is offered. So a remedy for one of two rules that refuse is not offered.
const (
	maxRemedies = 5
	maxTrials   = 12 // dry runs for one refusal
	maxOfAKind  = 2  // of one action
)

// Actions of remedies.
const (
	RemedyReleaseLicense   = "release_license"
	RemedyRemoveDevice     = "remove_device"
	RemedyWait             = "wait"
	RemedyAcquireAgain     = "acquire_again"
	RemedyLowerQuality     = "lower_quality"
	RemedyUnblockDevice    = "unblock_device"
	RemedyChangeMembership = "change_membership"
	RemedyChangePlan       = "change_plan"
	RemedyGrantException   = "grant_exception"
)

// trial is a remedy that may help, with the books and the moment as they would be.
type trial struct {
	remedy Remedy
	books  *Customer
	moment Moment
}

// search tries remedies until enough are found.
type search struct {
	c      *Customer
	m      Moment
	d      *Decision
	passes func(books *Customer, m Moment) bool
	trials int
	found  []Remedy
}

func (c *Customer) remediesForAcquire(m Moment, r AcquireRequest, h *acquireHearing) []Remedy {
	s := &search{c: c, m: m, d: &h.decision, passes: func(books *Customer, m Moment) bool {
		again, err := books.hearAcquire(m, r)
		return err == nil && !again.refused()
	}}
	s.run(r.DeviceID)
	s.lowerQuality(r)
	return s.found
}

func (c *Customer) remediesForRegister(m Moment, r RegisterRequest, h *registerHearing) []Remedy {
	s := &search{c: c, m: m, d: &h.decision, passes: func(books *Customer, m Moment) bool {
		again, err := books.hearRegister(m, r)
		return err == nil && !again.refused()
	}}
	s.run(r.DeviceID)
	return s.found
}

func (c *Customer) remediesForRenew(m Moment, r RenewRequest, h *renewHearing) []Remedy {
	s := &search{c: c, m: m, d: &h.decision, passes: func(books *Customer, m Moment) bool {
		again, err := books.hearRenew(m, r)
		return err == nil && !again.refused()
	}}
	s.run(h.subject.DeviceID)
	s.acquireAgain(h)
	return s.found
}

// run tries the remedies from the cheapest to the dearest: what the customer does at once, what time does, what a
// service does, what costs money, what support allows.
func (s *search) run(deviceID string) {
	s.releaseLicenses()
	s.removeDevices(deviceID)
	s.wait()
	s.unblock()
	s.activate()
	s.changePlan()
	s.grantException()
}

// try offers a remedy if the request passes after it.
func (s *search) try(t trial) bool {
	if len(s.found) == maxRemedies || s.trials == maxTrials {
		return false
	}
	s.trials++
	if t.books == nil || !s.passes(t.books, t.moment) {
		return false
	}
	s.found = append(s.found, t.remedy)
	return true
}

func (s *search) refusing(code string) *RuleResult {
	for i := range s.d.Rules {
		if r := &s.d.Rules[i]; r.Outcome == RuleRefuse && r.Code == code {
			return r
		}
	}
	return nil
}

// releaseLicenses: of the licences that hold the places of a cap, those that end first anyway.
func (s *search) releaseLicenses() {
	for _, code := range []string{CodeActiveDownloadLimit, CodeStudioLimitReached} {
		r := s.refusing(code)
		if r == nil {
			continue
		}
		held := slices.Clone(r.HeldBy)
		slices.SortStableFunc(held, func(a, b Holder) int { return cmp.Compare(lastly(a), lastly(b)) })
		for _, holder := range held[:min(len(held), maxOfAKind)] {
			s.try(trial{
				remedy: Remedy{Action: RemedyReleaseLicense, Kind: ScopeLicense, ID: holder.ID, Who: RoleDevice},
				books:  s.after(RoleDevice, func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, holder.ID, nil) }),
				moment: s.m,
			})
		}
	}
}

func lastly(h Holder) instant {
	if h.Until == nil {
		return endOfTime
	}
	return instantOf(*h.Until)
}

// removeDevices: of the devices that hold the slots, those that were heard of least recently.
func (s *search) removeDevices(asking string) {
	if s.refusing(CodeDeviceLimitReached) == nil {
		return
	}
	var held []*device
	for _, d := range s.c.devices {
		if d.registered && d.id != asking {
			held = append(held, d)
		}
	}
	slices.SortStableFunc(held, func(a, b *device) int { return cmp.Compare(a.lastContact, b.lastContact) })
	for _, who := range []Role{RoleDevice, RoleSupport} { // what support removes is no replacement
		helped := false
		for _, d := range held[:min(len(held), maxOfAKind)] {
			helped = s.try(trial{
				remedy: Remedy{Action: RemedyRemoveDevice, Kind: ScopeDevice, ID: d.id, Who: who},
				books:  s.after(who, func(c *Customer, m Moment) (Verdict, error) { return c.RemoveDevice(m, d.id, nil) }),
				moment: s.m,
			}) || helped
		}
		if helped {
			return
		}
	}
}

// wait: until every rule that refuses has a place free by itself.
func (s *search) wait() {
	until := instant(0)
	for i := range s.d.Rules {
		r := &s.d.Rules[i]
		if r.Outcome != RuleRefuse {
			continue
		}
		if r.ResetsAt == nil {
			return
		}
		until = max(until, instantOf(*r.ResetsAt))
	}
	if until == 0 {
		return
	}
	later := s.m
	later.Now = until.time()
	s.try(trial{remedy: Remedy{Action: RemedyWait, At: until.pointer(), Who: RoleDevice}, books: s.c, moment: later})
}

func (s *search) unblock() {
	if s.refusing(CodeDeviceBlocked) == nil {
		return
	}
	for _, id := range []string{s.d.Request.DeviceID, s.d.Request.Replaces} {
		if d := s.c.device(id); d == nil || !d.blocked {
			continue
		}
		s.try(trial{
			remedy: Remedy{Action: RemedyUnblockDevice, Kind: ScopeDevice, ID: id, Who: RoleSupport},
			books: s.after(RoleSupport, func(c *Customer, m Moment) (Verdict, error) {
				return c.UnblockDevice(m, id, Reason{Code: ReasonCustomer})
			}),
			moment: s.m,
		})
	}
}

func (s *search) activate() {
	if s.refusing(CodeMembershipInactive) == nil {
		return
	}
	s.try(trial{
		remedy: Remedy{Action: RemedyChangeMembership, Kind: "membership", ID: MembershipActive, Who: RoleService},
		books: s.after(RoleService, func(c *Customer, m Moment) (Verdict, error) {
			return c.ChangeMembership(m, MembershipActive, nil)
		}),
		moment: s.m,
	})
}

// changePlan: of the plans that offer more, the lowest that helps.
func (s *search) changePlan() {
	planned := false
	for _, code := range []string{CodePlanNotEligible, CodeDeviceLimitReached, CodeActiveDownloadLimit, CodeMonthlyDownloadLimit} {
		planned = planned || s.refusing(code) != nil
	}
	if !planned {
		return
	}
	country := s.c.country
	if country == "" {
		country = s.d.Request.Country
	}
	policy := s.m.Reference.Policy(s.m.Now)
	rank := -1
	if plan, ok := policy.Plan(s.c.plan); ok {
		rank = plan.Rank
	}
	for _, name := range policy.PlanNames() {
		if plan, _ := policy.Plan(name); plan.Rank <= rank {
			continue
		}
		if s.try(trial{
			remedy: Remedy{Action: RemedyChangePlan, Kind: "plan", ID: name, Who: RoleService},
			books:  s.after(RoleService, func(c *Customer, m Moment) (Verdict, error) { return c.ChangePlan(m, name, country, nil) }),
			moment: s.m,
		}) {
			return
		}
	}
}

// grantException: for each rule that refuses, if all of them can be lifted.
func (s *search) grantException() {
	books := s.c
	var first *RuleResult
	for i := range s.d.Rules {
		r := &s.d.Rules[i]
		if r.Outcome != RuleRefuse {
			continue
		}
		if !overridable(r.Code) {
			return
		}
		if first == nil {
			first = r
		}
		books = books.then(s.m, RoleSupport, func(c *Customer, m Moment) (Verdict, error) {
			m.CommandID += "/" + r.Code
			return c.GrantException(m, ExceptionRequest{Code: r.Code, Scope: r.Scope, Uses: 1, Reason: Reason{Code: ReasonCustomer}})
		})
	}
	if first == nil {
		return
	}
	s.try(trial{
		remedy: Remedy{Action: RemedyGrantException, Kind: first.Scope.Kind, ID: first.Scope.ID, Who: RoleSupport},
		books:  books, moment: s.m,
	})
}

// lowerQuality: the best quality that plan and device take.
func (s *search) lowerQuality(r AcquireRequest) {
	if s.refusing(CodePlanNotEligible) == nil && s.refusing(CodeDeviceTypeUnsupported) == nil || r.Quality == "" {
		return
	}
	qualities := Qualities()
	for i := slices.Index(qualities, r.Quality) - 1; i >= 0; i-- {
		lower := r
		lower.Quality = qualities[i]
		s.passes = func(books *Customer, m Moment) bool {
			again, err := books.hearAcquire(m, lower)
			return err == nil && !again.refused()
		}
		if s.try(trial{
			remedy: Remedy{Action: RemedyLowerQuality, Kind: "quality", ID: lower.Quality, Who: RoleDevice}, books: s.c, moment: s.m,
		}) {
			return
		}
	}
}

// acquireAgain: a licence that can't be renewed may be had anew.
func (s *search) acquireAgain(h *renewHearing) {
	if h.license.active(s.m.Reference, h.now) {
		return
	}
	r := AcquireRequest{
		DeviceID: h.subject.DeviceID, DeviceType: h.subject.DeviceType, TitleID: h.subject.TitleID,
		Country: h.decision.Request.Country, ProfileID: h.subject.ProfileID,
	}
	s.passes = func(books *Customer, m Moment) bool {
		again, err := books.hearAcquire(m, r)
		return err == nil && !again.refused()
	}
	s.try(trial{
		remedy: Remedy{Action: RemedyAcquireAgain, Kind: ScopeTitle, ID: r.TitleID, Who: RoleDevice}, books: s.c, moment: s.m,
	})
}

// after are the books as a command would leave them.
func (s *search) after(who Role, decide func(*Customer, Moment) (Verdict, error)) *Customer {
	return s.c.then(s.m, who, decide)
}

// then are the books after a command, nil when the command is not possible.
func (c *Customer) then(m Moment, who Role, decide func(*Customer, Moment) (Verdict, error)) *Customer {
	if c == nil {
		return nil
	}
	m.Actor, m.CommandID, m.Version = Actor{Role: who}, m.CommandID+"/remedy", c.seq
	v, err := decide(c, m)
	if err != nil {
		return nil
	}
	books := c.clone()
	for _, e := range v.Events {
		next := Event{
			Stream: CustomerStream(c.id), Seq: books.seq + 1, RecordedAt: m.Now, Actor: m.Actor, Type: e.Payload.EventType(), data: e.Payload,
		}
		if err := books.Apply(&next); err != nil {
			return nil
		}
	}
	return books
}
