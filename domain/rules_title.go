package domain

// What the catalogue, the contracts and the profile say about a title. None of these can be lifted by an exception.

func (h *hearing) titleKnown() {
	r := h.look(RuleTitleKnown, CodeTitleUnknown, ScopeTitle, h.subject.TitleID)
	if !h.known {
		r.Detail = "the catalogue has no such title"
		h.refuse(r)
	}
}

func (h *hearing) downloadable() {
	if !h.known {
		return
	}
	r := h.look(RuleDownloadable, CodeTitleNotDownloadable, ScopeTitle, h.subject.TitleID)
	switch {
	case !h.title.Playable():
		r.Detail = "a series is not licensed as a whole; its episodes are"
		h.refuse(r)
	case !h.title.Downloadable:
		r.Detail = "the title may be streamed only"
		h.refuse(r)
	}
}

// countryThatCounts reads which country counts, by the title's region rule. A renewal of a title with the rule "issue"
// does not look again at where the customer is.
func (h *hearing) countryThatCounts(current, issued string) {
	if current == "" {
		current = h.c.country
	}
	switch h.title.RegionRule {
	case RegionHome:
		current = h.c.country
	case RegionIssue:
		if issued != "" {
			current = issued
		}
	}
	h.country, h.subject.Country = current, current
}

// withdrawal: a title that has left the catalogue is not licensed any more.
func (h *hearing) withdrawal() {
	if !h.known {
		return
	}
	r := h.look(RuleWithdrawal, CodeTitleWithdrawn, ScopeTitle, h.subject.TitleID)
	from, withdrawn := h.ref.WithdrawnFrom(h.subject.TitleID, h.country)
	if !withdrawn {
		return
	}
	if at := instantOf(from); at <= h.now {
		r.Detail = "withdrawn in " + h.country + " since " + day(at)
		h.refuse(r)
	} else {
		r.Detail = "will be withdrawn in " + h.country + " on " + day(at)
	}
}

// region: the country that counts has a window that is open now. The window's end limits the licence.
func (h *hearing) region() {
	if !h.known {
		return
	}
	r := h.look(RuleRegion, CodeRegionRestricted, ScopeTitle, h.subject.TitleID)
	r.Source = "region_rule " + h.regionRule()
	w, open := h.title.WindowAt(h.country, h.now.time())
	if open {
		h.window = w
		return
	}
	country := h.country
	if country == "" {
		country = "an unknown country"
	}
	if next := instantOf(w.From); next > h.now {
		r.ResetsAt, r.Detail = h.moment(next), "not in the catalogue of "+country+" before "+day(next)
	} else {
		r.Detail = "not in the catalogue of " + country
	}
	h.refuse(r)
}

func (h *hearing) regionRule() string {
	if h.title.RegionRule == "" {
		return RegionCurrent
	}
	return h.title.RegionRule
}

// profileMaturity: a profile gets what is made for it or for younger ones. A request that names no maturity comes from
// a profile for adults.
func (h *hearing) profileMaturity() {
	if !h.known {
		return
	}
	maturity := h.decision.Request.Maturity
	if maturity == "" {
		maturity = MaturityAdult
	}
	r := h.look(RuleProfile, CodeProfileRestricted, ScopeTitle, h.subject.TitleID)
	if !MaturityAllows(maturity, h.title.Maturity) {
		r.Detail = "the title is for " + h.title.Maturity + ", the profile for " + maturity
		h.refuse(r)
	}
}

func day(i instant) string { return i.time().Format("2006-01-02") }
