package console

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

// Time: the customer as he was at any moment, by a slider over his whole history; and two moments side by side, with
// everything that differs and the event because of which it does. What differs without an event differs because time
// passed: a licence ran out, a counter's window moved on.

const (
	maxEvents  = 2000        // of a history that is drawn and looked through
	sliderStep = time.Minute // as in the template
)

type timeView struct {
	Customer string
	Now      time.Time
	First    time.Time
	At, And  *momentView
	Two      bool
	Changes  []change
	Between  []eventView
	More     bool // events than are looked through
	Ticks    []tick
	Previous string // link to the event before
	Next     string // link to the event after
}

// momentView is a state, and where the slider stands.
type momentView struct {
	*holdings
	Name    string // of the parameter
	When    time.Time
	Unix    int64
	Local   string // for the field
	Missing bool   // nothing had happened yet
}

type tick struct {
	X    string // 0 to 1000
	Tone string
}

// change is something that differs between two moments.
type change struct {
	What, Before, After string
	Event               *eventView // because of which; nil: time passed
}

func (v *visit) moments() error {
	customer := v.r.PathValue("customer")
	q := v.r.URL.Query()
	events, more, err := v.history(customer, time.Time{}, time.Time{})
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return web.New(web.NotFound, "nothing has happened to this customer yet")
	}
	view := timeView{Customer: customer, Now: v.now, First: events[0].RecordedAt, More: more, Two: q.Get("and") != ""}
	at, err := v.moment(q.Get("at"), "at")
	if err != nil {
		return err
	}
	if view.At, err = v.stateAt(customer, "at", at); err != nil {
		return err
	}
	if view.Two {
		and, err := v.moment(q.Get("and"), "and")
		if err != nil {
			return err
		}
		if view.And, err = v.stateAt(customer, "and", and); err != nil {
			return err
		}
		if view.And.When.Before(view.At.When) {
			view.At, view.And = view.And, view.At
			view.At.Name, view.And.Name = "at", "and"
		}
		if err := v.compare(&view); err != nil {
			return err
		}
	}
	view.ticks(events)
	view.neighbours(events)
	return v.show("time", frame{Title: "Time of " + customer, Section: "find", Find: customer}, view)
}

// moment reads what a slider (seconds), a field, or a link says. Who names a second means what was recorded in it, too:
// else the act of a moment ago would be missing from "now". A slider goes by minutes, so its last one is now.
func (v *visit) moment(text, name string) (time.Time, error) {
	at, ok := readTime(text, false)
	switch seconds, err := strconv.ParseInt(text, 10, 64); {
	case text == "":
		return v.now, nil
	case err == nil && seconds > 0 && seconds < 1<<40:
		at = time.Unix(seconds, 0).UTC()
		if v.now.Sub(at) < sliderStep {
			at = v.now
		}
	case !ok:
		return time.Time{}, web.Field(web.Invalid, name, "is not a moment, as in 2026-03-01T12:00")
	}
	if at.Nanosecond() == 0 {
		at = at.Add(time.Second - time.Microsecond) // recorded times are whole microseconds
	}
	if at.After(v.now) {
		at = v.now
	}
	return at, nil
}

func (v *visit) stateAt(customer, name string, at time.Time) (*momentView, error) {
	view := &momentView{Name: name, When: at, Unix: at.Unix(), Local: at.UTC().Format("2006-01-02T15:04:05")}
	state, err := v.state(customer, "", at)
	if p, ok := err.(*web.Problem); ok && p.Status == web.NotFound.Status { //nolint:errorlint // the console's own, unwrapped
		view.Missing, view.holdings = true, newHoldings(customer, &query.StateAnswer{AsOf: at})
		return view, nil
	}
	if err != nil {
		return nil, err
	}
	view.holdings = newHoldings(customer, &state)
	return view, nil
}

// history is what happened in a stretch of time, oldest first, and whether there is more.
func (v *visit) history(customer string, from, to time.Time) ([]query.TimelineEvent, bool, error) {
	asked := url.Values{"order": {query.OrderOldest}, "limit": {"200"}}
	if !from.IsZero() {
		asked.Set("from", iso(from))
	}
	if !to.IsZero() {
		asked.Set("to", iso(to))
	}
	var events []query.TimelineEvent
	for {
		page, err := get[query.TimelineAnswer](v, path("/v1/customers/", customer, "/timeline"), asked)
		if err != nil {
			return nil, false, err
		}
		events = append(events, page.Events...)
		if page.NextCursor == "" {
			return events, false, nil
		}
		if len(events) >= maxEvents {
			return events, true, nil
		}
		asked.Set("cursor", page.NextCursor)
	}
}

// ticks are the events as marks along the slider.
func (t *timeView) ticks(events []query.TimelineEvent) {
	whole := t.Now.Sub(t.First)
	if whole <= 0 {
		return
	}
	seen := map[string]bool{}
	for _, e := range events {
		k := tick{X: strconv.FormatFloat(1000*float64(e.RecordedAt.Sub(t.First))/float64(whole), 'f', 0, 64), Tone: tone(e.Type)}
		if key := k.X + k.Tone; !seen[key] && k.Tone != "plain" {
			seen[key] = true
			t.Ticks = append(t.Ticks, k)
		}
	}
}

// neighbours are the moments of the events before and after.
func (t *timeView) neighbours(events []query.TimelineEvent) {
	link := func(at time.Time) string {
		q := url.Values{"at": {iso(at)}}
		if t.And != nil {
			q.Set("and", iso(t.And.When))
		}
		return path("/customers/", t.Customer, "/time") + "?" + q.Encode()
	}
	for _, e := range events {
		switch {
		case e.RecordedAt.Before(t.At.When):
			t.Previous = link(e.RecordedAt)
		case e.RecordedAt.After(t.At.When) && t.Next == "":
			t.Next = link(e.RecordedAt)
		}
	}
}

// compare finds what differs, and looks for the event behind each difference.
func (v *visit) compare(view *timeView) error {
	if !view.At.When.Before(view.And.When) {
		return nil // one moment: nothing lies between
	}
	between, more, err := v.history(view.Customer, view.At.When.Add(time.Microsecond), view.And.When.Add(time.Microsecond))
	if err != nil {
		return err
	}
	view.More = more
	view.Between = eventViews(view.Customer, between, view.And.holdings)
	d := differ{a: view.At.holdings, b: view.And.holdings, events: view.Between}
	d.summary()
	d.devices()
	d.licenses()
	d.exceptions()
	d.counters()
	view.Changes = d.changes
	return nil
}

type differ struct {
	a, b    *holdings
	events  []eventView
	changes []change
}

// note keeps a difference with the last event that fits.
func (d *differ) note(what, before, after string, fits func(*eventView) bool) {
	if before == after {
		return
	}
	c := change{What: what, Before: before, After: after}
	for i := range slices.Backward(d.events) {
		if fits(&d.events[i]) {
			c.Event = &d.events[i]
			break
		}
	}
	d.changes = append(d.changes, c)
}

func kind(kinds ...string) func(*eventView) bool {
	return func(e *eventView) bool { return slices.Contains(kinds, e.Type) }
}

func (d *differ) summary() {
	d.note("Plan", strings.TrimSpace(d.a.Summary.Plan+" "+d.a.Summary.Country), strings.TrimSpace(d.b.Summary.Plan+" "+d.b.Summary.Country), kind("PlanChanged"))
	d.note("Membership", d.a.Summary.Membership, d.b.Summary.Membership, kind("MembershipChanged"))
	d.note("Device places taken", usedWords(&d.a.Summary.Devices), usedWords(&d.b.Summary.Devices),
		kind("DeviceRegistered", "DeviceRemoved", "ReleaseConfirmed", "PlanChanged", "PolicyPublished"))
}

func usedWords(n *domain.Counter) string {
	if n.Limit == nil {
		return number(n.Used)
	}
	return number(n.Used) + " of " + number(*n.Limit)
}

func (d *differ) devices() {
	before := map[string]query.DeviceRow{}
	for _, x := range d.a.Devices {
		before[x.DeviceID] = x
	}
	for _, now := range d.b.Devices {
		was := before[now.DeviceID]
		delete(before, now.DeviceID)
		d.note("Device "+d.b.Device(now.DeviceID), deviceWords(was), deviceWords(now), func(e *eventView) bool {
			return e.DeviceID == now.DeviceID && kind("DeviceRegistered", "DeviceRemoved", "DeviceBlocked", "DeviceUnblocked", "PlaybackStarted")(e)
		})
	}
	for id, was := range before {
		d.note("Device "+d.a.Device(id), deviceWords(was), "forgotten", func(*eventView) bool { return false })
	}
}

func deviceWords(x query.DeviceRow) string {
	words := cmp.Or(x.Status, "unknown")
	if x.Blocked && x.Status != domain.DeviceStatusBlocked {
		words += ", blocked"
	}
	if x.ClockSuspect {
		words += ", clock wrong"
	}
	return words
}

func (d *differ) licenses() {
	before := map[string]domain.LicenseView{}
	for _, x := range slices.Concat(d.a.Licenses, d.a.Ended) {
		before[x.LicenseID] = x
	}
	for _, now := range slices.Concat(d.b.Licenses, d.b.Ended) {
		was := before[now.LicenseID]
		delete(before, now.LicenseID)
		d.note(d.b.license(now.LicenseID), licenseWords(was), licenseWords(now), func(e *eventView) bool {
			return e.LicenseID == now.LicenseID && kind("LicenseIssued", "LicenseReissued", "LicenseRenewed", "LicenseReleased", "ReleaseConfirmed", "LicenseRevoked", "LicenseExpired", "PlaybackStarted", "GrantReconciled")(e)
		})
	}
	for id, was := range before {
		d.note(d.a.license(id), licenseWords(was), "forgotten", func(*eventView) bool { return false })
	}
}

func licenseWords(x domain.LicenseView) string {
	if x.Status == "" {
		return "none"
	}
	words := x.Status
	if x.Status == domain.StatusActive && x.PlayableUntil != nil {
		words += ", until " + date(x.PlayableUntil)
	}
	if x.Removal == domain.RemovalPending || x.Removal == domain.RemovalConfirmed {
		words += ", removal " + x.Removal
	}
	return words
}

func (d *differ) exceptions() {
	before := map[string]string{}
	for _, x := range d.a.Exceptions {
		before[x.ExceptionID] = exceptionWords(x)
	}
	for _, now := range d.b.Exceptions {
		d.note("Exception for “"+codeWords(now.Code)+"”", cmp.Or(before[now.ExceptionID], "none"), exceptionWords(now), kind("ExceptionGranted", "ExceptionUsed", "ExceptionWithdrawn"))
	}
}

func exceptionWords(x query.ExceptionRow) string {
	return fmt.Sprintf("%s, %d of %d left", x.Status, x.UsesLeft, x.Uses)
}

func (d *differ) counters() {
	key := func(b bar) string { return b.Rule + " " + b.Scope.Kind + " " + b.Scope.ID }
	before := map[string]bar{}
	for _, x := range d.a.Counters {
		before[key(x)] = x
	}
	for _, now := range d.b.Counters {
		was, had := before[key(now)]
		delete(before, key(now))
		words := "0"
		if had {
			words = usedWords(&was.Counter)
		} else if now.Limit != nil {
			words = "0 of " + number(*now.Limit)
		}
		d.counter(now, words, usedWords(&now.Counter))
	}
	for _, was := range before {
		d.counter(was, usedWords(&was.Counter), "0")
	}
}

func (d *differ) counter(b bar, before, after string) {
	what := ruleWords(b.Rule)
	if b.What != "" {
		what += " · " + b.What
	}
	d.note(what, before, after, func(e *eventView) bool {
		if b.Scope.Kind == domain.ScopeDevice && e.DeviceID != b.Scope.ID || b.Scope.Kind == domain.ScopeTitle && e.TitleID != b.Scope.ID {
			return false
		}
		switch b.Rule {
		case domain.RuleDownloadsPerYear, domain.RuleDownloadsPerMonth:
			return kind("ContentDownloaded", "ContentRenewed", "LicenseIssued")(e)
		case domain.RulePlaysPerPeriod:
			return kind("ContentPlayed")(e)
		case domain.RuleReplacements:
			return kind("DeviceRegistered")(e)
		}
		return kind("LicenseIssued", "LicenseReleased", "LicenseRevoked", "LicenseExpired")(e)
	})
}
