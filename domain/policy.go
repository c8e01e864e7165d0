package domain

import (
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Policy is the policy document "default": every rule of the books is data in it. What is absent is unlimited, or takes
// the default that its comment names. Durations are from a second to ten years, written as ParseSpan reads them. The
// figures of version 1 and where they come from: docs/rules.md. A comment ends with the source of the rule: P official,
// T talks, 2 press, R our own decision, DRM the terms of Widevine and FairPlay.
type Policy struct {
	General  General                `json:"general"`
	Defaults TitleRules             `json:"defaults"`         // for studios and titles that say nothing else
	Plans    map[string]*Plan       `json:"plans"`            // by the name that a customer's plan has; at least one
	Studios  map[string]*TitleRules `json:"studios"`          // by the name that the catalogue uses
	Titles   map[string]*TitleRules `json:"titles,omitempty"` // overrides, by the id of a movie or episode
}

// Limit is how many are allowed: a hard limit that refuses, and a soft one that warns before.
type Limit struct {
	Max    int64 `json:"max"`               // 0 to 1,000,000; 0 allows none
	WarnAt int64 `json:"warn_at,omitempty"` // 0 to Max: a grant that leaves so many or fewer warns; 0: never. T
}

// Plan is what a customer pays for.
type Plan struct {
	Version                    int      `json:"version"`                                  // 1 to 1,000,000: named by decisions; raise it with every change
	Rank                       int      `json:"rank"`                                     // 0 to 1000: a plan of higher rank offers more, for downgrades and remedies
	Downloads                  bool     `json:"downloads"`                                // true: licences that persist are allowed at all
	Qualities                  []string `json:"qualities,omitempty"`                      // that may be downloaded: standard, high, uhd; absent: all
	MaxDownloadDevices         *Limit   `json:"max_download_devices,omitempty"`           // devices that hold a slot, at a time. 2
	MaxActivePerDevice         *Limit   `json:"max_active_per_device,omitempty"`          // active licences on a device, at a time. 2
	MaxActivePerAccount        *Limit   `json:"max_active_per_account,omitempty"`         // active licences of a customer, over all devices, at a time; absent: the rule is not looked at. P
	MaxDownloadsPerDeviceMonth *Limit   `json:"max_downloads_per_device_month,omitempty"` // acquisitions on a device, per month_window. 2
}

// TitleRules are what a studio, or one title, allows. A field that is absent is looked up one level further out: title,
// studio, defaults.
type TitleRules struct {
	MaxActivePerStudio       *Limit `json:"max_active_per_studio,omitempty"`        // of a customer, at a time; not for single titles. 2
	MaxDownloadsPerTitleYear *Limit `json:"max_downloads_per_title_year,omitempty"` // of a customer and playable, per year_window. T, 2
	MaxPlaysPerPeriod        *Limit `json:"max_plays_per_period,omitempty"`         // of a customer and playable; replays in one playback life are one. R
	PlayPeriod               Span   `json:"play_period,omitempty"`                  // of max_plays_per_period, rolling, up to 1y; 30d. R
	MaxRenewals              *Limit `json:"max_renewals,omitempty"`                 // of a licence, in its whole life. R
	MaxReissues              *Limit `json:"max_reissues,omitempty"`                 // of a licence, in its whole life. R

	RentalDuration   Span `json:"rental_duration,omitempty"`    // start within, from issue or renewal. T, DRM
	PlaybackDuration Span `json:"playback_duration,omitempty"`  // finish within, from the first play. P, DRM
	LicenseDuration  Span `json:"license_duration,omitempty"`   // ends within, from issue or renewal, in any case. P, DRM
	RenewalDelay     Span `json:"renewal_delay,omitempty"`      // the device asks for a renewal from then on; less than license_duration. DRM
	RetryInterval    Span `json:"retry_interval,omitempty"`     // between failed renewals. DRM
	MinRenewInterval Span `json:"min_renew_interval,omitempty"` // between issue or renewal and the next renewal; absent: none. P
	RenewGrace       Span `json:"renew_grace,omitempty"`        // how long after expiry a renewal is still taken; absent: not at all. R

	RenewalRestartsPlayback *bool  `json:"renewal_restarts_playback,omitempty"`  // a renewal begins the playback life anew; false. R
	RenewalCountsAsDownload *bool  `json:"renewal_counts_as_download,omitempty"` // against max_downloads_per_title_year; true. T
	RenewOverLimit          string `json:"renew_over_limit,omitempty"`           // a renewal beyond that limit: refuse (also ""), allow with a warning. R
	FailMode                string `json:"fail_mode,omitempty"`                  // when the books can't be read: closed (also ""), open. R
	FailOpenDuration        Span   `json:"fail_open_duration,omitempty"`         // of a grant made then; 48h. R
}

// General are the rules that hold whatever the plan or studio.
type General struct {
	MonthWindow        Calendar `json:"month_window"`                          // of max_downloads_per_device_month: this calendar month (the default), or 30 days. 2
	YearWindow         Calendar `json:"year_window"`                           // of max_downloads_per_title_year: this calendar year, or 365 days (the default). R
	DeviceReplacements *Limit   `json:"device_replacements_per_30d,omitempty"` // devices that took a freed slot, in 30 days; not those that support removed. 2
	SlotFreedOn        string   `json:"slot_freed_on"`                         // removal, confirmation_or_expiry (of the licences of a removed device). R
	OnHoldEffect       string   `json:"on_hold_effect"`                        // of a membership on hold or paused: refuse_new, refuse_renewal (and new), revoke. R
	DowngradeEffect    string   `json:"downgrade_effect"`                      // keep: what is there stays; remove: what is over the new limits is released. P
	PlayDrift          Span     `json:"play_drift"`                            // by how much a device's clock may be off before its time is not believed; 10m. R
	PlayMemory         Span     `json:"play_memory"`                           // how long a play_id is remembered; 60d. R
	ShowRemainingFrom  Span     `json:"show_remaining_from,omitempty"`         // how long before a licence's end a device shows what remains of it; 7d. P
	MaxOpenGrants      int64    `json:"max_open_grants,omitempty"`             // of a customer that wait for the books at a time, 1 to 1000; 10. R
	EndedLicenseMemory Span     `json:"ended_license_memory"`                  // how long after its end a licence stays in the books, up to 90d; 90d. R
}

// Calendar is the window of a limit per month or year.
type Calendar struct {
	Kind     string `json:"kind"`                // rolling, calendar
	TimeZone string `json:"time_zone,omitempty"` // IANA name; of a calendar window; UTC

	location *time.Location
}

// Kinds of window.
const (
	WindowRolling  = "rolling"
	WindowCalendar = "calendar"
)

// Location is the time zone of a calendar window.
func (c *Calendar) Location() *time.Location {
	if c.location == nil {
		return time.UTC
	}
	return c.location
}

// Values of the policy's choices.
const (
	SlotFreedOnRemoval      = "removal"
	SlotFreedOnConfirmation = "confirmation_or_expiry"

	OnHoldRefuseNew     = "refuse_new"
	OnHoldRefuseRenewal = "refuse_renewal"
	OnHoldRevoke        = "revoke"

	DowngradeKeep   = "keep"
	DowngradeRemove = "remove"

	RenewOverLimitAllow  = "allow"
	RenewOverLimitRefuse = "refuse"

	FailOpenMode   = "open"
	FailClosedMode = "closed"
)

// Names of the policy documents.
const (
	PolicyDefault     = "default"
	PolicyDeviceTypes = "device-types"
)

//go:embed defaults/policy.json
var defaultPolicy []byte

// DefaultPolicy is version 1 of the document "default".
func DefaultPolicy() *Policy { return mustParse(ParsePolicy(defaultPolicy)) }

// ParsePolicy reads a document and reports every mistake at once, as DocumentErrors.
func ParsePolicy(document []byte) (*Policy, error) {
	p := &problems{}
	o := openDocument(document, p)
	if o == nil {
		return nil, p.err()
	}
	policy := &Policy{Plans: map[string]*Plan{}, Studios: map[string]*TitleRules{}}
	if g := o.object("general"); g != nil {
		policy.General = readGeneral(g)
		g.close()
	} else {
		p.add("general", "is missing")
	}
	if d := o.object("defaults"); d != nil {
		policy.Defaults = *readTitleRules(d)
		d.close()
	} else {
		p.add("defaults", "is missing")
	}
	o.each("plans", func(name string, o *object) { policy.Plans[name] = readPlan(o) })
	if len(policy.Plans) == 0 {
		p.add("plans", "is missing or empty: without a plan nobody may download")
	}
	o.each("studios", func(name string, o *object) { policy.Studios[name] = readTitleRules(o) })
	o.each("titles", func(name string, o *object) {
		if policy.Titles == nil {
			policy.Titles = map[string]*TitleRules{}
		}
		policy.Titles[name] = readTitleRules(o)
		if policy.Titles[name].MaxActivePerStudio != nil {
			p.add(o.path("max_active_per_studio"), "counts over a studio; set it there")
		}
	})
	o.close()
	policy.checkRenewals(p)
	if err := p.err(); err != nil {
		return nil, err
	}
	return policy, nil
}

// checkRenewals finds licences that would end before their device asks for a renewal. What a title inherits depends on
// its studio, which the document does not know: of a title only its own durations are compared.
func (p *Policy) checkRenewals(found *problems) {
	check := func(at string, own, inherited *TitleRules) {
		delay, life := own.RenewalDelay, own.LicenseDuration
		setSpan(&delay, inherited.RenewalDelay)
		setSpan(&life, inherited.LicenseDuration)
		field := at + ".renewal_delay"
		switch {
		case delay == 0 || life == 0 || delay < life, own.RenewalDelay == 0 && own.LicenseDuration == 0:
			return
		case own.RenewalDelay == 0:
			field = at + ".license_duration"
		}
		found.add(field, fmt.Sprintf("makes renewal_delay %s and license_duration %s: a device would ask for a renewal after its licence has ended", delay, life))
	}
	check("defaults", &p.Defaults, &TitleRules{})
	for _, name := range slices.Sorted(maps.Keys(p.Studios)) {
		check("studios."+name, p.Studios[name], &p.Defaults)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Titles)) {
		check("titles."+name, p.Titles[name], &TitleRules{})
	}
}

func readGeneral(o *object) General {
	g := General{
		MonthWindow:        readCalendar(o, "month_window", WindowCalendar),
		YearWindow:         readCalendar(o, "year_window", WindowRolling),
		DeviceReplacements: readCount(o, "device_replacements_per_30d"),
		SlotFreedOn:        o.choice("slot_freed_on", SlotFreedOnRemoval, SlotFreedOnConfirmation),
		OnHoldEffect:       o.choice("on_hold_effect", OnHoldRefuseNew, OnHoldRefuseRenewal, OnHoldRevoke),
		DowngradeEffect:    o.choice("downgrade_effect", DowngradeKeep, DowngradeRemove),
		PlayDrift:          o.span("play_drift"),
		PlayMemory:         o.span("play_memory"),
		ShowRemainingFrom:  o.span("show_remaining_from"),
		EndedLicenseMemory: o.spanUpTo("ended_license_memory", RememberEnded),
	}
	g.MaxOpenGrants, _ = o.number("max_open_grants", 1, 1000)
	setSpan(&g.PlayDrift, 10*60)
	setSpan(&g.PlayMemory, 60*86400)
	setSpan(&g.EndedLicenseMemory, 90*86400)
	return g
}

// Of documents that say nothing of it, and are recorded as such.
const (
	showRemainingFrom = 7 * 86400
	maxOpenGrants     = 10
)

// showRemainingFrom is how long before the end of a licence a device shows what remains of it.
func (p *Policy) showRemainingFrom() Seconds {
	return cmp.Or(p.General.ShowRemainingFrom.Seconds(), showRemainingFrom)
}

// maxOpenGrants is how many grants of one customer may wait for the books at a time.
func (p *Policy) maxOpenGrants() int64 { return cmp.Or(p.General.MaxOpenGrants, maxOpenGrants) }

func readCalendar(o *object, field, kind string) Calendar {
	c := Calendar{Kind: kind}
	if nested := o.object(field); nested != nil {
		if given := nested.optionalChoice("kind", WindowRolling, WindowCalendar); given != "" {
			c.Kind = given
		}
		c.TimeZone = nested.text("time_zone")
		if c.TimeZone != "" && c.Kind == WindowRolling {
			o.p.add(nested.path("time_zone"), "has no meaning for a rolling window")
		}
		nested.close()
	}
	if c.TimeZone != "" {
		var err error
		// "Local" would mean another zone on every machine.
		if c.location, err = time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "Local" {
			o.p.add(o.path(field+".time_zone"), fmt.Sprintf("is %q; wanted a name of the IANA database, as in Europe/Berlin", c.TimeZone))
		}
	}
	return c
}

func readPlan(o *object) *Plan {
	plan := &Plan{
		Downloads:                  true,
		MaxDownloadDevices:         readLimit(o, "max_download_devices"),
		MaxActivePerDevice:         readLimit(o, "max_active_per_device"),
		MaxActivePerAccount:        readLimit(o, "max_active_per_account"),
		MaxDownloadsPerDeviceMonth: readCount(o, "max_downloads_per_device_month"),
		Qualities:                  o.qualities(),
	}
	version, ok := o.number("version", 1, 1_000_000)
	if _, given := o.fields["version"]; !given && !ok {
		o.p.add(o.path("version"), "is missing; decisions name it: begin with 1 and raise it with every change of the plan")
	}
	rank, _ := o.number("rank", 0, 1000)
	plan.Version, plan.Rank = int(version), int(rank)
	if downloads := o.flag("downloads"); downloads != nil {
		plan.Downloads = *downloads
	}
	return plan
}

func readTitleRules(o *object) *TitleRules {
	return &TitleRules{
		MaxActivePerStudio:       readLimit(o, "max_active_per_studio"),
		MaxDownloadsPerTitleYear: readCount(o, "max_downloads_per_title_year"),
		MaxPlaysPerPeriod:        readCount(o, "max_plays_per_period"),
		PlayPeriod:               o.spanUpTo("play_period", 365*86400), // less than RememberUses
		MaxRenewals:              readLimit(o, "max_renewals"),
		MaxReissues:              readLimit(o, "max_reissues"),
		RentalDuration:           o.span("rental_duration"),
		PlaybackDuration:         o.span("playback_duration"),
		LicenseDuration:          o.span("license_duration"),
		RenewalDelay:             o.span("renewal_delay"),
		RetryInterval:            o.span("retry_interval"),
		MinRenewInterval:         o.span("min_renew_interval"),
		RenewGrace:               o.span("renew_grace"),
		RenewalRestartsPlayback:  o.flag("renewal_restarts_playback"),
		RenewalCountsAsDownload:  o.flag("renewal_counts_as_download"),
		RenewOverLimit:           o.optionalChoice("renew_over_limit", RenewOverLimitRefuse, RenewOverLimitAllow),
		FailMode:                 o.optionalChoice("fail_mode", FailClosedMode, FailOpenMode),
		FailOpenDuration:         o.span("fail_open_duration"),
	}
}

// readLimit reads a number, or an object with max and warn_at.
func readLimit(o *object, field string) *Limit {
	raw, ok := o.take(field)
	if !ok {
		return nil
	}
	if len(raw) == 0 || raw[0] != '{' {
		n, ok := o.number(field, 0, 1_000_000)
		if !ok {
			return nil
		}
		return &Limit{Max: n}
	}
	nested := o.object(field)
	if nested == nil {
		return nil
	}
	defer nested.close()
	limit := &Limit{}
	if _, given := nested.fields["max"]; !given {
		o.p.add(nested.path("max"), "is missing")
	}
	most, given := nested.number("max", 0, 1_000_000)
	limit.Max = most
	limit.WarnAt, _ = nested.number("warn_at", 0, 1_000_000)
	if given && limit.WarnAt > limit.Max {
		o.p.add(nested.path("warn_at"), fmt.Sprintf("is %d, which is more than max: every grant would warn", limit.WarnAt))
	}
	return limit
}

// readCount reads a limit on what is done in a window of time, which the books can count up to MaxCounted.
func readCount(o *object, field string) *Limit {
	limit := readLimit(o, field)
	if limit != nil && limit.Max > MaxCounted {
		o.p.add(o.path(field), fmt.Sprintf("is %d; the books count up to %d: leave it out for unlimited", limit.Max, MaxCounted))
	}
	return limit
}

func setSpan(s *Span, otherwise Span) {
	if *s == 0 {
		*s = otherwise
	}
}

// JSON is the canonical form of the document.
func (p *Policy) JSON() []byte { return canonical(p) }

// Plan finds a plan by name.
func (p *Policy) Plan(name string) (*Plan, bool) {
	plan, ok := p.Plans[name]
	return plan, ok
}

// PlanNames are the plans from the lowest rank to the highest.
func (p *Policy) PlanNames() []string {
	names := slices.Sorted(maps.Keys(p.Plans))
	slices.SortStableFunc(names, func(a, b string) int { return p.Plans[a].Rank - p.Plans[b].Rank })
	return names
}

// Rules are the rules of a title, looked up: each with where it comes from.
type Rules struct {
	levels  [3]*TitleRules // title, studio, defaults; nil where there is none
	sources [3]string
}

// RulesFor are the rules of a title of a studio.
func (p *Policy) RulesFor(title, studio string) Rules {
	r := Rules{levels: [3]*TitleRules{p.Titles[title], p.Studios[studio], &p.Defaults}, sources: [3]string{2: "defaults"}}
	if r.levels[0] != nil {
		r.sources[0] = "title " + title
	}
	if r.levels[1] != nil {
		r.sources[1] = "studio " + studio
	}
	return r
}

// Limit finds a limit and where it comes from; nil means unlimited.
func (r *Rules) Limit(field func(*TitleRules) *Limit) (*Limit, string) {
	for i, level := range r.levels {
		if level != nil {
			if limit := field(level); limit != nil {
				return limit, r.sources[i]
			}
		}
	}
	return nil, ""
}

// Span finds a duration and where it comes from; 0 means that it is absent.
func (r *Rules) Span(field func(*TitleRules) Span) (Span, string) {
	for i, level := range r.levels {
		if level != nil {
			if span := field(level); span != 0 {
				return span, r.sources[i]
			}
		}
	}
	return 0, ""
}

// Flag finds a yes or no.
func (r *Rules) Flag(field func(*TitleRules) *bool, otherwise bool) bool {
	for _, level := range r.levels {
		if level != nil {
			if flag := field(level); flag != nil {
				return *flag
			}
		}
	}
	return otherwise
}

// Choice finds a choice.
func (r *Rules) Choice(field func(*TitleRules) string, otherwise string) string {
	for _, level := range r.levels {
		if level != nil {
			if choice := field(level); choice != "" {
				return choice
			}
		}
	}
	return otherwise
}

// Terms are the durations of a licence under these rules.
func (r *Rules) Terms() Terms {
	span := func(field func(*TitleRules) Span) Seconds { s, _ := r.Span(field); return s.Seconds() }
	return Terms{
		Persistent:       true,
		RentalDuration:   span(func(t *TitleRules) Span { return t.RentalDuration }),
		PlaybackDuration: span(func(t *TitleRules) Span { return t.PlaybackDuration }),
		LicenseDuration:  span(func(t *TitleRules) Span { return t.LicenseDuration }),
		RenewalDelay:     span(func(t *TitleRules) Span { return t.RenewalDelay }),
		RetryInterval:    span(func(t *TitleRules) Span { return t.RetryInterval }),
	}
}
