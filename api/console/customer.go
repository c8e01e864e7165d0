package console

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

// The customer: what there is of him now on one page, and below it everything that happened, in plain sentences.

const timelinePage = 30

type customerView struct {
	*holdings
	Customer string
	Now      time.Time
	Acts     bool         // may be done from here
	After    *afterView   // an act that has just been done
	Denials  []denialView // the newest
	Timeline timelineView
}

type afterView struct {
	Version uint64
	Events  int
}

type denialView struct {
	query.Denial
	Link string
}

// holdings is a customer's state, made ready to be shown.
type holdings struct {
	Customer   string
	At         time.Time
	Version    uint64
	Summary    domain.Summary
	Slots      bar
	Counters   []bar // the fullest first
	Devices    []query.DeviceRow
	Licenses   []domain.LicenseView // active ones
	Ended      []domain.LicenseView
	Exceptions []query.ExceptionRow
	names      map[string]string // of devices
	titles     map[string]string // names of titles that are or were licensed, or counted, or excepted
}

// bar is a counter that is drawn.
type bar struct {
	domain.Counter
	What    string // it is counted over
	Percent int    // 0 to 100
	Level   string // ok, near, full, open (no limit)
}

func (v *visit) customer() error {
	customer := v.r.PathValue("customer")
	q := v.r.URL.Query()
	state, err := v.state(customer, q.Get("min_version"), time.Time{})
	if p, ok := errors.AsType[*web.Problem](err); ok && p.Status == http.StatusNotFound {
		return v.showAs(http.StatusNotFound, "find", frame{Title: "Nobody found", Section: "find", Home: true}, findView{Q: customer, Asked: true})
	}
	if err != nil {
		return err
	}
	view := customerView{holdings: newHoldings(customer, &state), Customer: customer, Now: v.now, Acts: v.console.o.Commands != nil}
	if err := v.nameTitles(view.holdings); err != nil {
		return err
	}
	if version, err := strconv.ParseUint(q.Get("min_version"), 10, 64); err == nil && version > 0 && version <= state.Version {
		events, _ := strconv.Atoi(q.Get("events"))
		view.After = &afterView{Version: version, Events: max(0, min(events, 1000))}
	}
	if view.Timeline, err = v.timeline(customer, view.holdings); err != nil {
		return err
	}
	denials, err := get[query.DenialsAnswer](v, path("/v1/customers/", customer, "/denials"), url.Values{"limit": {"4"}})
	if err != nil {
		return err
	}
	for _, d := range denials.Denials {
		d.Sentence = view.named(d.Sentence)
		view.Denials = append(view.Denials, denialView{d, path("/customers/", customer, "/decisions/", d.DecisionID)})
	}
	return v.show("customer", frame{Title: "Customer " + customer, Section: "find", Find: customer}, view)
}

// state asks for everything that is shown of a customer, now or at a moment.
func (v *visit) state(customer, minVersion string, at time.Time) (query.StateAnswer, error) {
	q := url.Values{}
	if !at.IsZero() {
		q.Set("as_of", iso(at))
	}
	if minVersion != "" {
		q.Set("min_version", minVersion)
	}
	return get[query.StateAnswer](v, path("/v1/customers/", customer, "/state"), q)
}

func newHoldings(customer string, a *query.StateAnswer) *holdings {
	h := &holdings{
		Customer: customer, At: a.AsOf, Version: a.Version, Summary: a.State.Summary, Devices: a.State.Devices, Exceptions: a.State.Exceptions,
		names: map[string]string{}, titles: map[string]string{},
	}
	for _, d := range h.Devices {
		h.names[d.DeviceID] = cmp.Or(d.Name, d.DeviceID)
	}
	slices.SortStableFunc(h.Devices, func(a, b query.DeviceRow) int { return cmp.Compare(deviceRank(a), deviceRank(b)) })
	for _, l := range slices.Backward(a.State.Licenses) { // newest first
		if l.Status == domain.StatusActive {
			h.Licenses = append(h.Licenses, l)
		} else {
			h.Ended = append(h.Ended, l)
		}
		h.titles[l.TitleID] = cmp.Or(l.TitleName, l.TitleID)
	}
	h.Slots = h.bar(h.Summary.Devices)
	for _, n := range h.Summary.Counters {
		if n.Scope.Kind == domain.ScopeTitle && n.Name != "" {
			h.titles[n.Scope.ID] = n.Name
		}
		if n.Rule != domain.RuleDevices {
			h.Counters = append(h.Counters, h.bar(n))
		}
	}
	slices.SortStableFunc(h.Counters, func(a, b bar) int { return cmp.Compare(b.rank(), a.rank()) })
	return h
}

// nameTitles learns the names of titles that exceptions are for, and that the customer has no licence for.
func (v *visit) nameTitles(h *holdings) error {
	for _, x := range h.Exceptions {
		if x.Scope.Kind != domain.ScopeTitle || h.titles[x.Scope.ID] != "" {
			continue
		}
		title, found, err := v.title(x.Scope.ID)
		if err != nil {
			return err
		}
		if found {
			h.titles[x.Scope.ID] = title.Name
		}
	}
	return nil
}

func deviceRank(d query.DeviceRow) int {
	switch {
	case d.Status == domain.DeviceStatusRemoved:
		return 2
	case d.HoldsSlot:
		return 0
	}
	return 1
}

func (h *holdings) bar(n domain.Counter) bar {
	b := bar{Counter: n, Level: "open", What: cmp.Or(n.Name, n.Scope.ID)}
	switch n.Scope.Kind {
	case domain.ScopeDevice:
		b.What = h.Device(n.Scope.ID)
	case domain.ScopeCustomer:
		b.What = ""
	}
	if n.Limit == nil {
		return b
	}
	b.Level, b.Percent = "full", 100
	if *n.Limit > 0 {
		b.Percent = int(min(100, 100*n.Used / *n.Limit))
	}
	switch {
	case n.Used < *n.Limit-1:
		b.Level = "ok"
	case n.Used < *n.Limit:
		b.Level = "near"
	}
	return b
}

func (b bar) rank() int {
	if b.Limit == nil {
		return -1
	}
	if b.Level == "full" {
		return 1000
	}
	return b.Percent
}

// Device is the name that a device is known by.
func (h *holdings) Device(id string) string { return cmp.Or(h.names[id], id) }

// Full are the counters that are worth a look; Rest the others.
func (h *holdings) Full() []bar { return h.Counters[:h.cut()] }

// Rest are the counters that nobody asks about.
func (h *holdings) Rest() []bar { return h.Counters[h.cut():] }

const barsShown = 6

func (h *holdings) cut() int { return min(len(h.Counters), barsShown) }

// Scope is what an exception is for, in words.
func (h *holdings) Scope(s domain.Scope) string {
	switch s.Kind {
	case domain.ScopeDevice:
		return h.Device(s.ID)
	case domain.ScopeTitle:
		return "“" + cmp.Or(h.titles[s.ID], s.ID) + "”"
	case domain.ScopeLicense:
		return h.license(s.ID)
	case domain.ScopeStudio:
		return "studio " + s.ID
	}
	return "the customer"
}

// named puts a device's name where a sentence has its id, and says what an exception is for.
func (h *holdings) named(sentence string) string {
	for _, x := range h.Exceptions {
		if x.Scope.Kind == domain.ScopeTitle || x.Scope.Kind == domain.ScopeLicense {
			sentence = replaceWord(sentence, " for "+query.ScopeWords(x.Scope), " for "+h.Scope(x.Scope))
		}
	}
	for id, name := range h.names {
		if name == id {
			continue
		}
		for _, word := range []string{"device ", "Device "} {
			sentence = replaceWord(sentence, word+id, word+"“"+name+"”")
		}
	}
	return sentence
}

// replaceWord replaces where no longer id begins.
func replaceWord(text, old, with string) string {
	var b strings.Builder
	for {
		i := strings.Index(text, old)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		end := i + len(old)
		b.WriteString(text[:i])
		if end < len(text) && strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~:@-", rune(text[end])) {
			b.WriteString(old)
		} else {
			b.WriteString(with)
		}
		text = text[end:]
	}
}

type timelineView struct {
	Customer string
	Filter   timelineFilter
	Filtered bool
	Events   []eventView
	Devices  []query.DeviceRow
	Types    []string
	Older    string // link to the next page
	Newest   string // link to the first page; empty: this is it
	Exports  []exportLink
}

type timelineFilter struct{ Type, Device, Title, Actor, From, To, Order string }

type eventView struct {
	query.TimelineEvent
	NewDay   bool
	Decision string // link
	Tone     string
}

// timelineAsked is what the address asks of the timeline: in the form's words, in the API's, and what stands in links.
func (v *visit) timelineAsked() (f timelineFilter, asked, shown url.Values) {
	q := v.r.URL.Query()
	f = timelineFilter{
		Type: q.Get("type"), Device: q.Get("device_id"), Title: strings.TrimSpace(q.Get("title_id")), Actor: strings.TrimSpace(q.Get("actor")),
		From: q.Get("from"), To: q.Get("to"), Order: q.Get("order"),
	}
	asked, shown = url.Values{}, url.Values{}
	for name, value := range map[string]string{"type": f.Type, "device_id": f.Device, "title_id": f.Title, "actor": f.Actor, "order": f.Order} {
		if value != "" {
			asked.Set(name, value)
			shown.Set(name, value)
		}
	}
	for name, value := range map[string]string{"from": f.From, "to": f.To} {
		if at, ok := readTime(value, name == "to"); ok {
			asked.Set(name, iso(at))
			shown.Set(name, value)
		}
	}
	return f, asked, shown
}

// timelineExport is every event that the timeline's filters let through, the oldest first, without personal words.
func (v *visit) timelineExport() error {
	_, asked, _ := v.timelineAsked()
	asked.Del("order")
	asked.Set("customer", v.r.PathValue("customer"))
	return v.export("/v1/exports/timeline", asked)
}

// timeline asks for a page of events by what the query says.
func (v *visit) timeline(customer string, h *holdings) (timelineView, error) {
	q := v.r.URL.Query()
	f, asked, shown := v.timelineAsked()
	asked.Set("limit", strconv.Itoa(timelinePage))
	for _, name := range []string{"cursor", "min_version"} {
		if value := q.Get(name); value != "" {
			asked.Set(name, value)
		}
	}
	answer, err := get[query.TimelineAnswer](v, path("/v1/customers/", customer, "/timeline"), asked)
	if err != nil {
		return timelineView{}, err
	}
	view := timelineView{
		Customer: customer, Filter: f, Filtered: len(shown) > 0, Devices: h.Devices, Types: domain.EventTypes(),
		Events: eventViews(customer, answer.Events, h), Exports: exportLinks(path("/customers/", customer, "/timeline/export"), shown),
	}
	here := path("/customers/", customer)
	if answer.NextCursor != "" {
		older := url.Values{"cursor": {answer.NextCursor}}
		for name := range shown {
			older.Set(name, shown.Get(name))
		}
		view.Older = here + "?" + older.Encode() + "#timeline"
	}
	if q.Get("cursor") != "" {
		view.Newest = here + "?" + shown.Encode() + "#timeline"
	}
	return view, nil
}

func eventViews(customer string, events []query.TimelineEvent, h *holdings) []eventView {
	views := make([]eventView, len(events))
	last := ""
	for i, e := range events {
		e.Sentence = h.named(e.Sentence)
		if e.Type == "DeviceRegistered" && strings.Contains(e.Sentence, "“"+e.Words+"”") {
			e.Words = "" // the name stands in the sentence
		}
		views[i] = eventView{TimelineEvent: e, NewDay: day(e.RecordedAt) != last, Tone: tone(e.Type)}
		last = day(e.RecordedAt)
		if e.DecisionID != "" {
			views[i].Decision = path("/customers/", customer, "/decisions/", e.DecisionID)
		}
	}
	return views
}

// tone is how an event is marked: given, taken, refused, or just told.
func tone(kind string) string {
	switch kind {
	case "LicenseIssued", "LicenseReissued", "LicenseRenewed", "DeviceRegistered", "DeviceUnblocked", "ExceptionGranted":
		return "good"
	case "LicenseDenied", "LicenseRevoked", "DeviceBlocked":
		return "bad"
	case "LicenseReleased", "LicenseExpired", "DeviceRemoved", "ExceptionWithdrawn", "TitleWithdrawn", "PlanChanged", "MembershipChanged", "GrantReconciled":
		return "warn"
	}
	return "plain"
}

// readTime reads what a form's fields for times and days hold, as UTC. The end of a range takes in the whole day.
func readTime(text string, end bool) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if at, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return at.UTC(), true
		}
	}
	at, err := time.ParseInLocation(time.DateOnly, text, time.UTC)
	if err != nil {
		return time.Time{}, false
	}
	if end {
		at = at.AddDate(0, 0, 1)
	}
	return at, true
}
