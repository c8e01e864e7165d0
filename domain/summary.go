package domain

import "time"

// Summary is plan, membership, slots, and every limit that something counts against.
func (c *Customer) Summary(ref Reference, now time.Time) Summary {
	s := &summing{c: c, ref: ref, policy: ref.Policy(now), now: instantOf(now)}
	v := Summary{
		CustomerID: c.id, Version: c.seq, AsOf: now, Plan: c.plan, Country: c.country, Membership: c.Membership(),
		Devices: s.slots(), Flags: s.flags(),
	}
	v.Counters = append(v.Counters, v.Devices, s.replacements())
	for _, d := range c.devices {
		v.Counters = s.device(v.Counters, d)
	}
	v.Counters = s.account(v.Counters)
	v.Counters = s.studios(v.Counters)
	for _, t := range c.contents {
		v.Counters = s.title(v.Counters, t)
	}
	return v
}

// summing reads the counters by the same windows and places as the rules do.
type summing struct {
	c      *Customer
	ref    Reference
	policy *Policy
	now    instant
}

func (s *summing) slots() Counter {
	n := Counter{Rule: RuleDevices, Code: CodeDeviceLimitReached, Scope: Scope{ScopeCustomer, s.c.id}}
	var ends []instant
	for _, d := range s.c.devices {
		if holds, until := s.c.holdsSlot(d, s.policy, s.ref, s.now); holds {
			n.Used++
			ends = append(ends, until)
		}
	}
	s.plan(&n, func(p *Plan) *Limit { return p.MaxDownloadDevices })
	n.ResetsAt = nextFree(ends, n.Used, n.Limit)
	return n
}

func (s *summing) replacements() Counter {
	n := Counter{Rule: RuleReplacements, Code: CodeDeviceReplacementLimit, Scope: Scope{ScopeCustomer, s.c.id}, Source: "general"}
	n.Used, _ = s.c.replaced(s.now)
	if limit := s.policy.General.DeviceReplacements; limit != nil {
		n.Limit = &limit.Max
	}
	if n.Used > 0 {
		n.ResetsAt = s.c.replacementFree(s.now, n.Used).pointer()
	}
	return n
}

func (s *summing) device(counters []Counter, d *device) []Counter {
	active := Counter{Rule: RuleActivePerDevice, Code: CodeActiveDownloadLimit, Scope: Scope{ScopeDevice, d.id}}
	s.plan(&active, func(p *Plan) *Limit { return p.MaxActivePerDevice })
	s.active(&active)
	month := Counter{Rule: RuleDownloadsPerMonth, Code: CodeMonthlyDownloadLimit, Scope: Scope{ScopeDevice, d.id}}
	s.plan(&month, func(p *Plan) *Limit { return p.MaxDownloadsPerDeviceMonth })
	s.uses(&month, d.downloads, s.policy.month(s.now))
	for _, n := range []Counter{active, month} {
		if d.registered || n.Used > 0 {
			counters = append(counters, n)
		}
	}
	return counters
}

// account counts over all devices, where the plan has a limit on that.
func (s *summing) account(counters []Counter) []Counter {
	n := Counter{Rule: RuleActivePerAccount, Code: CodeActiveDownloadLimit, Scope: Scope{ScopeCustomer, s.c.id}}
	if s.plan(&n, func(p *Plan) *Limit { return p.MaxActivePerAccount }); n.Limit == nil {
		return counters
	}
	s.active(&n)
	return append(counters, n)
}

// studios are those that the customer holds something of, in the order of issue.
func (s *summing) studios(counters []Counter) []Counter {
	first := len(counters)
licenses:
	for _, l := range s.c.licenses {
		if !l.active(s.ref, s.now) {
			continue
		}
		for _, n := range counters[first:] {
			if n.Scope.ID == l.subject.Studio {
				continue licenses
			}
		}
		n := Counter{Rule: RuleActivePerStudio, Code: CodeStudioLimitReached, Scope: Scope{ScopeStudio, l.subject.Studio}}
		rules := s.policy.RulesFor(l.subject.TitleID, l.subject.Studio)
		s.rule(&n, &rules, func(t *TitleRules) *Limit { return t.MaxActivePerStudio })
		s.active(&n)
		counters = append(counters, n)
	}
	return counters
}

func (s *summing) title(counters []Counter, t *content) []Counter {
	title, known := s.ref.Title(t.title)
	if !known {
		title = Title{ID: t.title}
	}
	rules := s.policy.RulesFor(t.title, title.Studio)
	year := Counter{Rule: RuleDownloadsPerYear, Code: CodeYearlyTitleLimit, Scope: Scope{ScopeTitle, t.title}, Name: title.Name}
	s.rule(&year, &rules, func(r *TitleRules) *Limit { return r.MaxDownloadsPerTitleYear })
	s.uses(&year, t.downloads, s.policy.year(s.now))
	plays := Counter{Rule: RulePlaysPerPeriod, Code: CodePlayLimitReached, Scope: Scope{ScopeTitle, t.title}, Name: title.Name}
	s.rule(&plays, &rules, func(r *TitleRules) *Limit { return r.MaxPlaysPerPeriod })
	s.uses(&plays, t.plays, rolling(s.now, playPeriod(&rules)))
	for _, n := range []Counter{year, plays} {
		if n.Used > 0 {
			counters = append(counters, n)
		}
	}
	return counters
}

func (s *summing) plan(n *Counter, field func(*Plan) *Limit) {
	plan, ok := s.policy.Plan(s.c.plan)
	if !ok {
		return
	}
	if limit := field(plan); limit != nil {
		n.Limit, n.Source = &limit.Max, "plan "+s.c.plan
	}
}

func (s *summing) rule(n *Counter, rules *Rules, field func(*TitleRules) *Limit) {
	if limit, source := rules.Limit(field); limit != nil {
		n.Limit, n.Source = &limit.Max, source
	}
}

func (s *summing) active(n *Counter) {
	var ends []instant
	for _, l := range s.c.licenses {
		if l.in(n.Scope.Kind, n.Scope.ID) && l.active(s.ref, s.now) {
			n.Used++
			ends = append(ends, l.ending(s.ref).at)
		}
	}
	n.ResetsAt = nextFree(ends, n.Used, n.Limit)
}

func (s *summing) uses(n *Counter, uses []instant, window span) {
	uses = after(uses, window.from)
	n.Used = int64(len(uses))
	if n.Used == 0 {
		return
	}
	over := int64(0)
	if n.Limit != nil && *n.Limit > 0 {
		over = max(0, n.Used-*n.Limit)
	}
	n.ResetsAt = window.leaves(uses[over]).pointer()
}

// nextFree is when a place comes free by itself that can be used.
func nextFree(ends []instant, used int64, limit *int64) *time.Time {
	over := int64(0)
	if limit != nil {
		over = max(0, used-*limit)
	}
	free := freeAt(ends, over)
	if free == endOfTime {
		return nil
	}
	return free.pointer()
}

func (s *summing) flags() []string {
	var open, suspect, blocked, unknown bool
	memory := s.policy.endedLicenseMemory()
	for _, l := range s.c.licenses {
		open = open || l.basis == BasisFailOpen && l.rememberedUntil(memory) > s.now
	}
	for _, d := range s.c.devices {
		if !s.c.remembers(d, s.now) {
			continue
		}
		suspect = suspect || d.clockSuspect
		blocked = blocked || d.blocked
		unknown = unknown || d.registered && d.unknown
	}
	var flags []string
	for _, f := range []struct {
		up   bool
		name string
	}{{open, FlagFailOpen}, {suspect, FlagClockSuspect}, {blocked, FlagBlocked}, {unknown, FlagUnknownType}} {
		if f.up {
			flags = append(flags, f.name)
		}
	}
	return flags
}
