package domain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// model is the rules once more, written plainly and slowly: it keeps every fact for ever, counts everything anew for
// each question, and shares nothing with the decisions but the documents. What the two do must be the same.
type model struct {
	ref        Reference
	customer   string
	plan       string
	country    string
	membership string
	devices    []*mDevice
	licenses   []*mLicense
	downloads  []mUse
	plays      []mUse
	swaps      []mUse // device: "removed" or "came"
	exceptions []*mException
}

type mDevice struct {
	id, kind   string
	registered bool
	blocked    bool
}

type mUse struct {
	at            time.Time
	device, title string
	yearOnly      bool // a renewal: it counts for the year, not for the month
}

type mException struct {
	id, code string
	scope    Scope
	uses     int
	until    time.Time
	over     bool
}

type mLicense struct {
	id, device, kind, title, studio, country string
	terms                                    Terms
	issued, started, windowEnd               time.Time
	lifeBegan, firstPlay                     time.Time
	counted, countedBefore                   bool
	renewals, reissues                       int
	ended                                    time.Time
	revoked, gone                            bool
	played                                   map[string]bool
}

func seconds(s Seconds) time.Duration { return time.Duration(s) * time.Second }

// own is the end by the licence's terms, zero for none.
func (l *mLicense) own() time.Time {
	var ends []time.Time
	if l.terms.LicenseDuration > 0 {
		ends = append(ends, l.started.Add(seconds(l.terms.LicenseDuration)))
	}
	if l.terms.RentalDuration > 0 && l.firstPlay.IsZero() {
		ends = append(ends, l.started.Add(seconds(l.terms.RentalDuration)))
	}
	if l.terms.PlaybackDuration > 0 && !l.firstPlay.IsZero() {
		ends = append(ends, l.firstPlay.Add(seconds(l.terms.PlaybackDuration)))
	}
	if !l.windowEnd.IsZero() {
		ends = append(ends, l.windowEnd)
	}
	return first(ends)
}

func first(times []time.Time) time.Time {
	var f time.Time
	for _, t := range times {
		if f.IsZero() || t.Before(f) {
			f = t
		}
	}
	return f
}

func (m *model) end(l *mLicense) time.Time {
	end := l.own()
	if from, ok := m.ref.WithdrawnFrom(l.title, l.country); ok && (end.IsZero() || from.Before(end)) {
		end = from
	}
	return end
}

func reached(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

func (m *model) active(l *mLicense, now time.Time) bool {
	return l.ended.IsZero() && !reached(m.end(l), now)
}

func (m *model) license(id string, now time.Time) *mLicense {
	for _, l := range m.licenses {
		if l.id != id {
			continue
		}
		end := l.ended
		if end.IsZero() {
			end = l.own()
		}
		memory := min(seconds(m.ref.Policy(now).General.EndedLicenseMemory.Seconds()), 90*24*time.Hour)
		if !end.IsZero() && !end.Add(memory).After(now) {
			return nil
		}
		return l
	}
	return nil
}

func (m *model) device(id string) *mDevice {
	for _, d := range m.devices {
		if d.id == id {
			return d
		}
	}
	return nil
}

// mRule is what the model makes of one rule.
type mRule struct {
	rule, code, outcome string
	used, limit         int64 // -1: none
	exception           *mException
}

func (r mRule) String() string {
	return fmt.Sprintf("%s %s %s %s/%s", r.rule, r.code, r.outcome, orDash(r.used), orDash(r.limit))
}

func orDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// real is what the decision says about a rule, in the same words.
func realRule(r RuleResult) string {
	m := mRule{rule: r.Rule, code: r.Code, outcome: r.Outcome, used: -1, limit: -1}
	if r.Used != nil {
		m.used = *r.Used
	}
	if r.Limit != nil {
		m.limit = *r.Limit
	}
	return m.String()
}

// question is a request as the model sees it.
type question struct {
	command                       string
	device, kind, title, maturity string
	quality                       string
	country                       string // that counts
	studio                        string
	license                       *mLicense
	replaces                      string
	now                           time.Time
	rules                         []mRule
	policy                        *Policy
	plan                          *Plan
	t                             Title
	known                         bool
	taken                         map[string]bool // exceptions that this decision uses
}

func (m *model) ask(q *question) {
	q.policy = m.ref.Policy(q.now)
	q.plan = q.policy.Plans[m.plan]
	q.taken = map[string]bool{}
	if q.title != "" {
		q.t, q.known = m.ref.Title(q.title)
		if q.known {
			q.studio = q.t.Studio
		}
	}
}

// yes and no write down a rule that passes or refuses. What is refused may be lifted.
func (m *model) yes(q *question, rule, code string) {
	q.rules = append(q.rules, mRule{rule: rule, code: code, outcome: "pass", used: -1, limit: -1})
}

func (m *model) no(q *question, rule, code string, used, limit int64) {
	r := mRule{rule: rule, code: code, outcome: "refuse", used: used, limit: limit}
	if slices.Contains(OverridableCodes(), code) {
		var best *mException
		for _, x := range m.exceptions {
			if x.code != code || x.over || x.uses == 0 || reached(x.until, q.now) || !x.covers(q) {
				continue
			}
			better := best == nil || !x.until.IsZero() && (best.until.IsZero() || x.until.Before(best.until))
			if better {
				best = x
			}
		}
		if best != nil {
			r.outcome, r.exception = "overridden", best
		}
	}
	q.rules = append(q.rules, r)
}

func (x *mException) covers(q *question) bool {
	switch x.scope.Kind {
	case "device":
		return x.scope.ID == q.device
	case "title":
		return x.scope.ID == q.title
	case "studio":
		return x.scope.ID == q.studio
	case "license":
		return q.license != nil && x.scope.ID == q.license.id
	}
	return true
}

func (m *model) check(q *question, rule, code string, ok bool) {
	if ok {
		m.yes(q, rule, code)
	} else {
		m.no(q, rule, code, -1, -1)
	}
}

// count writes down a limit of which the request takes one; only of plays it takes none.
func (m *model) count(q *question, rule, code string, used int64, limit *Limit) {
	takes := int64(1)
	if rule == "max_plays_per_period" {
		takes = 0
	}
	switch {
	case limit == nil:
		q.rules = append(q.rules, mRule{rule: rule, code: code, outcome: "pass", used: used, limit: -1})
	case used >= limit.Max:
		m.no(q, rule, code, used, limit.Max)
	default:
		outcome := "pass"
		if limit.WarnAt > 0 && limit.Max-used-takes <= limit.WarnAt {
			outcome = "warn"
		}
		q.rules = append(q.rules, mRule{rule: rule, code: code, outcome: outcome, used: used, limit: limit.Max})
	}
}

// field finds a rule of the title: its own, the studio's, the default.
func field[T comparable](q *question, of func(*TitleRules) T) T {
	var none T
	for _, level := range []*TitleRules{q.policy.Titles[q.title], q.policy.Studios[q.studio], &q.policy.Defaults} {
		if level != nil && of(level) != none {
			return of(level)
		}
	}
	return none
}

func (m *model) membershipRule(q *question) {
	ok := false
	switch m.membership {
	case "", "active":
		ok = true
	case "on_hold", "paused":
		ok = q.command == "renew" && q.policy.General.OnHoldEffect == "refuse_new"
	}
	m.check(q, "membership", "MEMBERSHIP_INACTIVE", ok)
}

func (m *model) planRule(q *question) {
	m.check(q, "plan", "PLAN_NOT_ELIGIBLE", q.plan != nil && q.plan.Downloads)
}

func (m *model) typeRule(q *question) {
	t, known := m.ref.DeviceTypes(q.now).Types[q.kind]
	m.check(q, "device_type", "DEVICE_TYPE_UNSUPPORTED", !known || t.Download)
}

func (m *model) titleRules(q *question) {
	m.check(q, "title_known", "TITLE_UNKNOWN", q.known)
	if !q.known {
		return
	}
	m.check(q, "downloadable", "TITLE_NOT_DOWNLOADABLE", q.t.Downloadable && q.t.Kind != "series")
	from, withdrawn := m.ref.WithdrawnFrom(q.title, q.country)
	m.check(q, "withdrawal", "TITLE_WITHDRAWN", !withdrawn || from.After(q.now))
	_, open := m.window(q)
	m.check(q, "region", "REGION_RESTRICTED", open)
}

func (m *model) window(q *question) (Window, bool) {
	for _, w := range q.t.Windows {
		if (len(w.Countries) == 0 || slices.Contains(w.Countries, q.country)) && !q.now.Before(w.From) && (w.To.IsZero() || q.now.Before(w.To)) {
			return w, true
		}
	}
	return Window{}, false
}

func (m *model) countryFor(q *question, current, issued string) {
	q.country = current
	if current == "" {
		q.country = m.country
	}
	if q.t.RegionRule == "home" {
		q.country = m.country
	}
	if q.t.RegionRule == "issue" && issued != "" {
		q.country = issued
	}
}

func (m *model) activeOn(q *question) *mLicense {
	for _, l := range m.licenses {
		if l.device == q.device && l.title == q.title && m.active(l, q.now) {
			return l
		}
	}
	return nil
}

func (m *model) acquire(device, kind, title, maturity, country, quality string, now time.Time) *question {
	q := &question{command: "acquire", device: device, kind: kind, title: title, maturity: maturity, quality: quality, now: now}
	m.ask(q)
	m.countryFor(q, country, "")
	q.license = m.activeOn(q)
	d := m.device(device)

	m.membershipRule(q)
	m.planRule(q)
	m.check(q, "device_blocked", "DEVICE_BLOCKED", d == nil || !d.blocked)
	m.typeRule(q)
	m.titleRules(q)
	if q.known {
		ages := map[string]int{"kids": 0, "teen": 1, "adult": 2, "": 2}
		m.check(q, "profile_maturity", "PROFILE_RESTRICTED", ages[q.t.Maturity] <= ages[maturity])
	}
	if quality != "" && q.plan != nil && len(q.plan.Qualities) > 0 {
		m.check(q, "plan_quality", "PLAN_NOT_ELIGIBLE", slices.Contains(q.plan.Qualities, quality))
	}
	if t := m.ref.DeviceTypes(now).Types[kind]; quality != "" && len(t.Qualities) > 0 {
		m.check(q, "device_quality", "DEVICE_TYPE_UNSUPPORTED", slices.Contains(t.Qualities, quality))
	}
	if q.license != nil {
		m.count(q, "max_reissues", "REISSUE_LIMIT_REACHED", int64(q.license.reissues), field(q, func(t *TitleRules) *Limit { return t.MaxReissues }))
		return q
	}
	m.slotRules(q)
	m.activePerDevice(q)
	m.activePerAccount(q)
	m.monthRule(q)
	m.activePerStudio(q)
	m.yearRule(q)
	m.playRule(q)
	return q
}

func (m *model) slotRules(q *question) {
	if d := m.device(q.device); d != nil && d.registered {
		return
	}
	used := int64(0)
	for _, d := range m.devices {
		if d.id != q.device && m.holdsSlot(d, q.now) {
			used++
		}
	}
	m.count(q, "max_download_devices", "DEVICE_LIMIT_REACHED", used, planLimit(q, func(p *Plan) *Limit { return p.MaxDownloadDevices }))

	done, waiting := m.replacements(q.now)
	limit := q.policy.General.DeviceReplacements
	if waiting == 0 || limit == nil {
		r := mRule{rule: "device_replacements_per_30d", code: "DEVICE_REPLACEMENT_LIMIT", outcome: "pass", used: done, limit: -1}
		if limit != nil {
			r.limit = limit.Max
		}
		q.rules = append(q.rules, r)
		return
	}
	m.count(q, "device_replacements_per_30d", "DEVICE_REPLACEMENT_LIMIT", done, limit)
}

func (m *model) holdsSlot(d *mDevice, now time.Time) bool {
	if d.registered {
		return true
	}
	g := m.ref.Policy(now).General
	if g.SlotFreedOn != "confirmation_or_expiry" {
		return false
	}
	memory := min(seconds(g.EndedLicenseMemory.Seconds()), 90*24*time.Hour)
	for _, l := range m.licenses {
		if l.device == d.id && !l.ended.IsZero() && !l.gone && !reached(m.end(l), now) && l.ended.Add(memory).After(now) {
			return true
		}
	}
	return false
}

// replacements pairs each device that came with a removal before it, within 30 days.
func (m *model) replacements(now time.Time) (done, waiting int64) {
	for _, s := range m.swaps {
		if !s.at.After(now.Add(-30 * 24 * time.Hour)) {
			continue
		}
		if s.device == "removed" {
			waiting++
		} else if waiting > 0 {
			waiting, done = waiting-1, done+1
		}
	}
	return done, waiting
}

func planLimit(q *question, of func(*Plan) *Limit) *Limit {
	if q.plan == nil {
		return nil
	}
	return of(q.plan)
}

func (m *model) activePerDevice(q *question) {
	used := int64(0)
	for _, l := range m.licenses {
		if l.device == q.device && m.active(l, q.now) {
			used++
		}
	}
	m.count(q, "max_active_per_device", "ACTIVE_DOWNLOAD_LIMIT", used, planLimit(q, func(p *Plan) *Limit { return p.MaxActivePerDevice }))
}

func (m *model) activePerAccount(q *question) {
	limit := planLimit(q, func(p *Plan) *Limit { return p.MaxActivePerAccount })
	if limit == nil {
		return // not in the list
	}
	used := int64(0)
	for _, l := range m.licenses {
		if m.active(l, q.now) {
			used++
		}
	}
	m.count(q, "max_active_per_account", "ACTIVE_DOWNLOAD_LIMIT", used, limit)
}

func (m *model) activePerStudio(q *question) {
	if !q.known {
		return
	}
	used := int64(0)
	for _, l := range m.licenses {
		if l.studio == q.studio && m.active(l, q.now) {
			used++
		}
	}
	m.count(q, "max_active_per_studio", "STUDIO_LIMIT_REACHED", used, field(q, func(t *TitleRules) *Limit { return t.MaxActivePerStudio }))
}

func sameMonth(a, b time.Time, zone *time.Location) bool {
	return a.In(zone).Format("2006-01") == b.In(zone).Format("2006-01")
}

func (m *model) monthRule(q *question) {
	used, c := int64(0), q.policy.General.MonthWindow
	for _, u := range m.downloads {
		if u.device != q.device || u.yearOnly {
			continue
		}
		if c.Kind == "calendar" && sameMonth(u.at, q.now, c.Location()) || c.Kind == "rolling" && u.at.After(q.now.Add(-30*24*time.Hour)) {
			used++
		}
	}
	m.count(q, "max_downloads_per_device_month", "MONTHLY_DOWNLOAD_LIMIT", used,
		planLimit(q, func(p *Plan) *Limit { return p.MaxDownloadsPerDeviceMonth }))
}

func (m *model) yearUsed(q *question) int64 {
	used, c := int64(0), q.policy.General.YearWindow
	for _, u := range m.downloads {
		if u.title != q.title {
			continue
		}
		if c.Kind == "calendar" && u.at.In(c.Location()).Year() == q.now.In(c.Location()).Year() ||
			c.Kind == "rolling" && u.at.After(q.now.Add(-365*24*time.Hour)) {
			used++
		}
	}
	return used
}

func (m *model) yearRule(q *question) {
	if q.known {
		m.count(q, "max_downloads_per_title_year", "YEARLY_TITLE_LIMIT", m.yearUsed(q),
			field(q, func(t *TitleRules) *Limit { return t.MaxDownloadsPerTitleYear }))
	}
}

func (m *model) playRule(q *question) {
	if !q.known {
		return
	}
	period := seconds(field(q, func(t *TitleRules) Span { return t.PlayPeriod }).Seconds())
	if period == 0 {
		period = 30 * 24 * time.Hour
	}
	used := int64(0)
	for _, u := range m.plays {
		if u.title == q.title && u.at.After(q.now.Add(-period)) {
			used++
		}
	}
	m.count(q, "max_plays_per_period", "PLAY_LIMIT_REACHED", used, field(q, func(t *TitleRules) *Limit { return t.MaxPlaysPerPeriod }))
}

func (q *question) terms() Terms {
	span := func(of func(*TitleRules) Span) Seconds { return field(q, of).Seconds() }
	return Terms{
		Persistent:       true,
		RentalDuration:   span(func(t *TitleRules) Span { return t.RentalDuration }),
		PlaybackDuration: span(func(t *TitleRules) Span { return t.PlaybackDuration }),
		LicenseDuration:  span(func(t *TitleRules) Span { return t.LicenseDuration }),
		RenewalDelay:     span(func(t *TitleRules) Span { return t.RenewalDelay }),
		RetryInterval:    span(func(t *TitleRules) Span { return t.RetryInterval }),
	}
}

func flagged(f *bool, otherwise bool) bool {
	if f == nil {
		return otherwise
	}
	return *f
}

func (m *model) renew(l *mLicense, country string, now time.Time) (*question, mLicense) {
	q := &question{command: "renew", device: l.device, kind: l.kind, title: l.title, license: l, now: now}
	m.ask(q)
	q.studio = l.studio
	if q.known {
		q.studio = q.t.Studio
	}
	m.countryFor(q, country, l.country)
	d := m.device(l.device)
	if d != nil {
		q.kind = d.kind
	}

	after := *l
	after.started, after.country, after.renewals = now, q.country, l.renewals+1
	if q.known {
		after.terms = q.terms()
		w, _ := m.window(q)
		after.windowEnd = w.To
	}
	if restarts := flagged(field(q, func(t *TitleRules) *bool { return t.RenewalRestartsPlayback }), false); restarts && q.known && !l.firstPlay.IsZero() {
		after.firstPlay, after.lifeBegan = time.Time{}, now
		after.countedBefore, after.counted = l.counted, false
	}

	m.membershipRule(q)
	m.planRule(q)
	m.check(q, "device_blocked", "DEVICE_BLOCKED", d == nil || !d.blocked)
	m.typeRule(q)
	m.check(q, "license_not_revoked", "LICENSE_REVOKED", l.ended.IsZero() || !l.revoked)
	m.check(q, "license_not_released", "LICENSE_RELEASED", !l.ended.IsZero() && l.revoked || l.ended.IsZero() && d != nil && d.registered)
	m.titleRules(q)
	end := m.end(l)
	grace := time.Duration(0)
	if q.known {
		grace = seconds(field(q, func(t *TitleRules) Span { return t.RenewGrace }).Seconds())
	}
	m.check(q, "renewable_until", "LICENSE_EXPIRED",
		!l.ended.IsZero() || end.IsZero() || end.Add(grace).After(now) && !reached(after.own(), now))
	if !q.known {
		return q, after
	}
	interval := seconds(field(q, func(t *TitleRules) Span { return t.MinRenewInterval }).Seconds())
	m.check(q, "min_renew_interval", "RENEWAL_TOO_SOON", !now.Before(l.started.Add(interval)))
	m.count(q, "max_renewals", "RENEWAL_LIMIT_REACHED", int64(l.renewals), field(q, func(t *TitleRules) *Limit { return t.MaxRenewals }))
	if l.ended.IsZero() && reached(end, now) {
		m.activePerDevice(q)
		m.activePerAccount(q)
		m.activePerStudio(q)
	}
	if m.renewalCounts(q) {
		limit := field(q, func(t *TitleRules) *Limit { return t.MaxDownloadsPerTitleYear })
		if used := m.yearUsed(q); limit != nil && used >= limit.Max && field(q, func(t *TitleRules) string { return t.RenewOverLimit }) == "allow" {
			q.rules = append(q.rules, mRule{rule: "max_downloads_per_title_year", code: "YEARLY_TITLE_LIMIT", outcome: "warn", used: used, limit: limit.Max})
		} else {
			m.yearRule(q)
		}
	}
	m.playRule(q)
	return q, after
}

func (m *model) renewalCounts(q *question) bool {
	return flagged(field(q, func(t *TitleRules) *bool { return t.RenewalCountsAsDownload }), true)
}

func (m *model) register(device, kind, replaces string, counts bool, now time.Time) *question {
	q := &question{command: "register_device", device: device, kind: kind, replaces: replaces, now: now}
	m.ask(q)
	old := m.device(replaces)
	d := m.device(device)
	books := m
	if old != nil && old.registered {
		books = m.copied()
		books.remove(books.device(replaces), counts, now)
	}
	if d != nil && d.registered {
		books.typeRule(q)
		return q
	}
	books.membershipRule(q)
	books.planRule(q)
	books.check(q, "device_blocked", "DEVICE_BLOCKED", (d == nil || !d.blocked) && (old == nil || !old.blocked))
	books.typeRule(q)
	books.slotRules(q)
	return q
}

// copied is an independent copy.
func (m *model) copied() *model {
	c := *m
	c.devices, c.licenses, c.exceptions = nil, nil, nil
	for _, d := range m.devices {
		c.devices = append(c.devices, new(*d))
	}
	for _, l := range m.licenses {
		c.licenses = append(c.licenses, new(*l))
	}
	for _, x := range m.exceptions {
		c.exceptions = append(c.exceptions, new(*x))
	}
	c.downloads, c.plays, c.swaps = slices.Clone(m.downloads), slices.Clone(m.plays), slices.Clone(m.swaps)
	return &c
}

// code is that of the first rule that refuses.
func (q *question) code() string {
	for _, r := range q.rules {
		if r.outcome == "refuse" {
			return r.code
		}
	}
	return ""
}

func (q *question) String() string {
	var lines []string
	for _, r := range q.rules {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "\n")
}

// use uses up the exceptions that a grant needed.
func (m *model) use(q *question) {
	for _, x := range m.exceptions { // one use, also when two rules needed it
		if slices.ContainsFunc(q.rules, func(r mRule) bool { return r.exception != nil && x.id == r.exception.id }) {
			x.uses--
		}
	}
}

func (m *model) registered(id, kind string, now time.Time) {
	d := m.device(id)
	if d == nil {
		d = &mDevice{id: id}
		m.devices = append(m.devices, d)
	}
	d.kind = kind
	if !d.registered {
		d.registered = true
		m.swaps = append(m.swaps, mUse{at: now, device: "came"})
	}
}

func (m *model) remove(d *mDevice, counts bool, now time.Time) {
	d.registered = false
	if counts {
		m.swaps = append(m.swaps, mUse{at: now, device: "removed"})
	}
	for _, l := range m.licenses {
		if l.device == d.id && l.ended.IsZero() && !reached(l.own(), now) {
			l.ended = now
		}
	}
}

// issued takes a grant of a new licence down.
func (m *model) issued(q *question, id string) {
	w, _ := m.window(q)
	m.registered(q.device, q.kind, q.now)
	m.licenses = append(m.licenses, &mLicense{
		id: id, device: q.device, kind: q.kind, title: q.title, studio: q.studio, country: q.country, terms: q.terms(),
		issued: q.now, started: q.now, lifeBegan: q.now, windowEnd: w.To, played: map[string]bool{},
	})
	m.downloads = append(m.downloads, mUse{at: q.now, device: q.device, title: q.title})
}

// play takes a report down, and says what it was: first, counted, after the end, suspect.
func (m *model) play(l *mLicense, id, kind string, deviceTime, now time.Time) string {
	if l.played[kind+id] {
		return "known"
	}
	l.played[kind+id] = true
	g := m.ref.Policy(now).General
	drift := seconds(g.PlayDrift.Seconds())
	at, suspect := deviceTime, false
	switch {
	case deviceTime.Before(l.issued.Add(-drift)) || deviceTime.After(now.Add(drift)):
		at, suspect = now, true
	case deviceTime.Before(l.issued):
		at = l.issued
	case deviceTime.After(now):
		at = now
	}
	afterEnd := reached(l.ended, at) || reached(m.end(l), at)
	forgotten := at.Before(now.Add(-seconds(g.PlayMemory.Seconds())))
	if kind == "stop" {
		return fmt.Sprint("stop ", afterEnd, suspect, forgotten)
	}
	earlier := at.Before(l.lifeBegan)
	counted := !forgotten && !l.counted
	if earlier {
		counted = !forgotten && !l.countedBefore
	}
	d := m.device(l.device)
	first := !earlier && !afterEnd && (l.firstPlay.IsZero() || at.Before(l.firstPlay)) && (!l.ended.IsZero() || d.registered)
	if first {
		l.firstPlay = at
	}
	if counted {
		if earlier {
			l.countedBefore = true
		} else {
			l.counted = true
		}
		m.plays = append(m.plays, mUse{at: at, title: l.title})
	}
	return fmt.Sprint("start ", first, counted, afterEnd, suspect, forgotten)
}
