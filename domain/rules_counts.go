package domain

import "time"

// Counts are of what was done in a window of time: a month, a year, a period. What is done is done: releasing a licence
// gives no download back. A use leaves a rolling window one after the other, and a calendar window all at once.

// span is a window that is open now.
type span struct {
	from   instant // uses later than this count
	length Seconds // of a rolling window
	ends   instant // of a calendar window
	zone   *time.Location
}

func rolling(now instant, length Seconds) span {
	return span{from: now.minus(length), length: length, zone: time.UTC}
}

// leaves is when a use that was made at t stops counting.
func (s span) leaves(t instant) instant {
	if s.ends != 0 {
		return s.ends
	}
	return t.plus(s.length)
}

// month is the window of a limit per month: this calendar month, or the last 30 days.
func (p *Policy) month(now instant) span {
	c := &p.General.MonthWindow
	if c.Kind != WindowCalendar {
		return rolling(now, 30*24*3600)
	}
	t := now.time().In(c.Location())
	return between(t.Year(), t.Month(), t.Month()+1, c.Location())
}

// year is the window of a limit per year: this calendar year, or the last 365 days.
func (p *Policy) year(now instant) span {
	c := &p.General.YearWindow
	if c.Kind != WindowCalendar {
		return rolling(now, 365*24*3600)
	}
	t := now.time().In(c.Location())
	return between(t.Year(), time.January, time.December+1, c.Location())
}

// between is the window from the beginning of one month to that of another, by the clocks of a zone.
func between(year int, first, end time.Month, zone *time.Location) span {
	return span{
		from: instantOf(monthBegins(year, first, zone)) - 1, ends: instantOf(monthBegins(year, end, zone)), zone: zone,
	}
}

// monthBegins is the first moment of a month. Where the clocks jump over midnight, that is the jump.
func monthBegins(year int, month time.Month, zone *time.Location) time.Time {
	t := time.Date(year, month, 1, 0, 0, 0, 0, zone)
	if t.Day() != 1 {
		_, t = t.ZoneBounds()
	}
	return t
}

// downloadsPerMonth counts the downloads of a device, whether or not it kept them.
func (h *hearing) downloadsPerMonth(d *device) {
	limit, source := h.planLimit(func(p *Plan) *Limit { return p.MaxDownloadsPerDeviceMonth })
	var uses []instant
	if d != nil {
		uses = d.downloads
	}
	r := h.look(RuleDownloadsPerMonth, CodeMonthlyDownloadLimit, ScopeDevice, h.subject.DeviceID)
	if h.count(r, uses, h.policy.month(h.now), limit, source, place{"download", 1}) {
		h.refuse(r)
	}
}

// downloadsPerYear counts the downloads of a title on all devices, and the renewals that count as downloads.
func (h *hearing) downloadsPerYear() {
	if !h.known {
		return
	}
	if r, over := h.yearly(); over {
		h.refuse(r)
	}
}

// renewalsPerYear is downloadsPerYear for a renewal, which the policy may allow beyond the limit, with a warning.
func (h *hearing) renewalsPerYear() {
	if !h.known || !h.renewalCounts() {
		return
	}
	r, over := h.yearly()
	switch {
	case !over:
	case h.rules.Choice(func(t *TitleRules) string { return t.RenewOverLimit }, RenewOverLimitRefuse) == RenewOverLimitAllow:
		r.Outcome, r.Detail = RuleWarn, "over the limit; a renewal is allowed all the same"
	default:
		h.refuse(r)
	}
}

func (h *hearing) renewalCounts() bool {
	return h.rules.Flag(func(t *TitleRules) *bool { return t.RenewalCountsAsDownload }, true)
}

func (h *hearing) yearly() (r *RuleResult, over bool) {
	limit, source := h.rules.Limit(func(t *TitleRules) *Limit { return t.MaxDownloadsPerTitleYear })
	r = h.look(RuleDownloadsPerYear, CodeYearlyTitleLimit, ScopeTitle, h.subject.TitleID)
	return r, h.count(r, h.c.content(h.subject.TitleID).downloads, h.policy.year(h.now), limit, source, place{"download", 1})
}

// playsPerPeriod counts the plays of a title on all devices. A play is never refused, because it has happened when it
// is reported; what is refused is the next licence, which takes none itself.
func (h *hearing) playsPerPeriod() {
	if !h.known {
		return
	}
	limit, source := h.rules.Limit(func(t *TitleRules) *Limit { return t.MaxPlaysPerPeriod })
	r := h.look(RulePlaysPerPeriod, CodePlayLimitReached, ScopeTitle, h.subject.TitleID)
	if h.count(r, h.c.content(h.subject.TitleID).plays, rolling(h.now, playPeriod(&h.rules)), limit, source, place{"play", 0}) {
		h.refuse(r)
	}
}

// playPeriod is the period of max_plays_per_period: 30 days where the policy says nothing else.
func playPeriod(rules *Rules) Seconds {
	period, _ := rules.Span(func(t *TitleRules) Span { return t.PlayPeriod })
	if period == 0 {
		return 30 * 24 * 3600
	}
	return min(period.Seconds(), MaxUsePeriod)
}

// count writes down how many uses the window holds, and tells whether there is none left for the request.
func (h *hearing) count(r *RuleResult, uses []instant, window span, limit *Limit, source string, of place) (over bool) {
	uses = after(uses, window.from)
	used := int64(len(uses))
	over = h.limit(r, used, limit, source, of)
	free := instant(0)
	switch {
	case over && limit.Max > 0:
		free = window.leaves(uses[used-limit.Max])
	case !over && used > 0:
		free = window.leaves(uses[0])
	case r.Outcome == RuleWarn:
		free = window.leaves(h.now)
	}
	r.ResetsAt = h.moment(free)
	if r.Outcome == RuleWarn {
		r.Detail += " until " + free.time().In(window.zone).Format(time.DateOnly)
	}
	return over
}
