package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// happening is what the plain walk knows of something that counts.
type happening struct {
	metric, customer, device string
	at                       time.Time
	values                   map[string]string // by dimension
}

// happenings walks through the events.
func (l *library) happenings() []happening {
	var all []happening
	for _, e := range l.events {
		data, err := e.Data()
		if err != nil {
			l.Fatal(err)
		}
		h := happening{customer: e.Stream.ID()}
		var s *domain.Subject
		basis, code := "", ""
		switch p := data.(type) {
		case *domain.LicenseIssued:
			h.metric, h.at, s, basis = "downloads", p.IssuedAt, &p.Subject, p.Basis
		case *domain.LicenseRenewed:
			h.metric, h.at, s = "renewals", p.RenewedAt, &p.Subject
		case *domain.ContentPlayed:
			h.metric, h.at, s = "plays", p.At, &p.Subject
		case *domain.LicenseDenied:
			h.metric, h.at, s, code = "denials", e.RecordedAt, &p.Subject, p.Code
		default:
			continue
		}
		if s.DeviceID != "" {
			h.device = h.customer + "/" + s.DeviceID
		}
		h.values = map[string]string{
			"title_id": s.TitleID, "series": s.Series, "studio": s.Studio, "plan": s.Plan, "country": s.Country, "device_type": s.DeviceType,
			"device_family": s.DeviceFamily, "trigger": s.Trigger, "code": code, "basis": basis, "role": string(e.Actor.Role),
			"policy_version": strconv.Itoa(e.Versions.Policy), "device_id": s.DeviceID, "license_id": s.LicenseID, "actor": e.Actor.ID,
		}
		all = append(all, h)
	}
	return all
}

// tally counts one group of an interval.
type tally struct {
	n         int64
	customers map[string]bool
	devices   map[string]bool
}

func (t *tally) add(h *happening) {
	if t.customers == nil {
		t.customers, t.devices = map[string]bool{}, map[string]bool{}
	}
	t.n++
	t.customers[h.customer] = true
	if h.device != "" {
		t.devices[h.device] = true
	}
}

func (t *tally) value(measure string) int64 {
	switch measure {
	case query.MeasureCustomers:
		return int64(len(t.customers))
	case query.MeasureDevices:
		return int64(len(t.devices))
	}
	return t.n
}

func analyticsCounts(l *library) {
	from, to := l.events[0].RecordedAt.Truncate(time.Hour).Add(-96*time.Hour), l.now().Add(time.Hour).Truncate(time.Hour)
	all := l.happenings()
	sample := all[len(all)/2]
	for _, h := range all[len(all)/2:] { // filters have no empty values
		if !slices.ContainsFunc([]string{"studio", "device_id", "license_id", "actor", "device_family", "title_id"}, func(field string) bool { return h.values[field] == "" }) {
			sample = h
			break
		}
	}
	filters := []query.Filter{
		{}, {Studio: []string{sample.values["studio"], "house"}}, {Country: []string{"US"}, Plan: []string{"premium", "ads"}},
		{Customer: []string{sample.customer}}, {DeviceID: []string{sample.values["device_id"]}}, {LicenseID: []string{sample.values["license_id"]}},
		{Actor: []string{sample.values["actor"]}, DeviceFamily: []string{sample.values["device_family"]}}, {PolicyVersion: []int{1}}, {Role: []string{"device"}},
		{TitleID: []string{sample.values["title_id"]}}, {Trigger: []string{"auto"}}, {Studio: []string{"nobody"}},
	}
	counted := int64(0)
	for _, metric := range []string{"downloads", "renewals", "plays", "denials"} {
		for i, filter := range filters {
			for j, groupBy := range [][]string{nil, {"studio"}, {"title_id", "country", "device_family"}, {"code"}, {"policy_version", "role"}} {
				q := query.Analytics{
					By: operator, Metric: metric, GroupBy: groupBy, Filter: filter, Top: 100, Compare: []string{"", "previous"}[i%2],
					Measure:  []string{"count", "customers", "devices"}[(i+j)%3],
					Interval: []string{"", "day", "week", "hour", "month"}[(i*2+j)%5],
				}
				q.Filter.From, q.Filter.To = from, to
				if q.Interval == "hour" {
					q.Filter.From = to.Add(-120 * time.Hour)
				}
				counted += l.compareCounts(q, all)
			}
		}
	}
	if counted == 0 {
		l.Fatal("nothing was counted")
	}
}

// compareCounts asks, and counts by itself.
func (l *library) compareCounts(q query.Analytics, all []happening) int64 {
	l.Helper()
	answer := must[query.AnalyticsAnswer](l, fmt.Sprintf("%+v", q))(l.app.Analytics.Handle(l.ctx, q))
	ends := append(slices.Clone(answer.Times[1:]), answer.To)
	series, totals, whole := map[string][]tally{}, map[string]*tally{}, &tally{}
	before := &tally{}
	length := answer.To.Sub(answer.From)
	for i := range all {
		h := &all[i]
		if h.metric != q.Metric || !h.passes(&q.Filter) {
			continue
		}
		if !h.at.Before(answer.From.Add(-length)) && h.at.Before(answer.From) {
			before.add(h)
		}
		if h.at.Before(answer.From) || !h.at.Before(answer.To) {
			continue
		}
		key := h.key(q.GroupBy)
		if totals[key] == nil {
			totals[key], series[key] = &tally{}, make([]tally, len(ends))
		}
		totals[key].add(h)
		whole.add(h)
		at := slices.IndexFunc(ends, func(end time.Time) bool { return h.at.Before(end) })
		series[key][at].add(h)
	}
	if answer.Total != whole.value(q.Measure) {
		l.Fatalf("%+v: total %d, want %d", q, answer.Total, whole.value(q.Measure))
	}
	if len(answer.Groups)+answer.Others != len(totals) || len(answer.Groups) != min(len(totals), 100) {
		l.Fatalf("%+v: %d groups and %d others, want %d", q, len(answer.Groups), answer.Others, len(totals))
	}
	for i, g := range answer.Groups {
		key := strings.Join(g.Key, "|")
		if totals[key] == nil || g.Total != totals[key].value(q.Measure) || i > 0 && answer.Groups[i-1].Total < g.Total {
			l.Fatalf("%+v: group %q has %d", q, key, g.Total)
		}
		for j, n := range g.Values {
			if n != series[key][j].value(q.Measure) {
				l.Fatalf("%+v: group %q has %d in the interval from %s, want %d", q, key, n, answer.Times[j], series[key][j].value(q.Measure))
			}
		}
	}
	if q.Compare != "" && answer.Previous.Total != before.value(q.Measure) {
		l.Fatalf("%+v: %d in the range before, want %d", q, answer.Previous.Total, before.value(q.Measure))
	}
	return answer.Total
}

func (h *happening) key(groupBy []string) string {
	values := make([]string, len(groupBy))
	for i, d := range groupBy {
		values[i] = h.values[d]
	}
	return strings.Join(values, "|")
}

func (h *happening) passes(f *query.Filter) bool {
	versions := make([]string, len(f.PolicyVersion))
	for i, v := range f.PolicyVersion {
		versions[i] = strconv.Itoa(v)
	}
	if len(f.Customer) > 0 && !slices.Contains(f.Customer, h.customer) {
		return false
	}
	for dimension, wanted := range map[string][]string{
		"studio": f.Studio, "country": f.Country, "plan": f.Plan, "device_id": f.DeviceID, "license_id": f.LicenseID, "actor": f.Actor,
		"device_family": f.DeviceFamily, "policy_version": versions, "role": f.Role, "title_id": f.TitleID, "trigger": f.Trigger,
	} {
		if len(wanted) > 0 && !slices.Contains(wanted, h.values[dimension]) {
			return false
		}
	}
	return true
}

// analyticsActive compares with what the domain says of the licences at moments to come, while the history goes on.
func analyticsActive(l *library) {
	most := int64(0)
	for range 4 {
		now := projector.Quarter(l.now()).Add(15 * time.Minute)
		for _, ahead := range []time.Duration{0, 6 * time.Hour, 72 * time.Hour, 20 * 24 * time.Hour, 50 * 24 * time.Hour} {
			for _, groupBy := range [][]string{nil, {"studio"}, {"country", "device_family"}, {"title_id"}} {
				for _, filter := range []query.Filter{{}, {Country: []string{"US"}}, {Customer: []string{l.busiest()}}} {
					for _, measure := range []string{"count", "customers", "devices"} {
						q := query.Analytics{By: operator, Metric: "active", Measure: measure, GroupBy: groupBy, Filter: filter, Top: 100}
						q.Filter.From, q.Filter.To = now.Add(ahead).Add(-48*time.Hour), now.Add(ahead)
						most = max(most, l.compareActive(q))
					}
				}
			}
		}
		l.grow(400)
	}
	if most < 10 {
		l.Fatalf("at most %d licences were active", most)
	}
}

func (l *library) compareActive(q query.Analytics) int64 {
	l.Helper()
	answer := must[query.AnalyticsAnswer](l, fmt.Sprintf("%+v", q))(l.app.Analytics.Handle(l.ctx, q))
	totals, whole := map[string]*tally{}, &tally{}
	at := q.Filter.To.Add(-time.Microsecond)
	for id, state := range l.history.States() {
		for _, v := range state.Licenses(l.history.Reference(), at) {
			h := happening{customer: id, device: id + "/" + v.DeviceID, values: map[string]string{
				"studio": v.Studio, "country": v.Country, "device_family": v.DeviceFamily, "title_id": v.TitleID,
			}}
			if v.Status != domain.StatusActive || !h.passes(&query.Filter{Country: q.Filter.Country, Customer: q.Filter.Customer}) {
				continue
			}
			key := h.key(q.GroupBy)
			if totals[key] == nil {
				totals[key] = &tally{}
			}
			totals[key].add(&h)
			whole.add(&h)
		}
	}
	if answer.Total != whole.value(q.Measure) {
		l.Fatalf("%+v: %d are active, the domain says %d", q, answer.Total, whole.value(q.Measure))
	}
	for _, g := range answer.Groups {
		key := strings.Join(g.Key, "|")
		if totals[key] == nil || totals[key].value(q.Measure) != g.Total || g.Values[len(g.Values)-1] != g.Total {
			l.Fatalf("%+v: group %q has %d, ends with %d, the domain says %v", q, key, g.Total, g.Values[len(g.Values)-1], totals[key])
		}
	}
	if len(answer.Groups)+answer.Others != len(totals) {
		l.Fatalf("%+v: %d groups and %d others, the domain says %d", q, len(answer.Groups), answer.Others, len(totals))
	}
	return answer.Total
}

// analyticsOrder applies the same history shard by shard, which is an order that no clock would give.
func analyticsOrder(l *library) {
	other := l.factory(l, l.pseudonyms)
	for _, shard := range []int{2, 0, 3, 1} {
		entries := slices.DeleteFunc(slices.Clone(l.entries), func(e domain.Entry) bool { return e.Shard != shard })
		applyEntries(l, other.Analytics, projector.Analytics{}, entries)
	}
	app := query.New(query.Ports{Clock: l.now, Cursors: query.NewCursors(nil), Analytics: other.Analytics})
	for _, measure := range []string{"count", "customers", "devices"} {
		for _, groupBy := range [][]string{nil, {"studio", "country"}, {"title_id"}} {
			q := query.Analytics{By: operator, Metric: "active", Interval: "day", Measure: measure, GroupBy: groupBy, Top: 50}
			q.Filter.From, q.Filter.To = l.events[0].RecordedAt, l.now().Add(40*24*time.Hour)
			want := must[query.AnalyticsAnswer](l, "active")(l.app.Analytics.Handle(l.ctx, q))
			got := must[query.AnalyticsAnswer](l, "active")(app.Analytics.Handle(l.ctx, q))
			if fmt.Sprint(got) != fmt.Sprint(want) {
				l.Fatalf("by %v: in another order\n%v\nwant\n%v", groupBy, got, want)
			}
			l.sumsUp(measure, groupBy, want)
		}
	}
}

// sumsUp checks that what is counted from the roll-ups and what is counted from the lives agree: the one is asked with
// all customers named, the other with none.
func (l *library) sumsUp(measure string, groupBy []string, want query.AnalyticsAnswer) {
	l.Helper()
	if measure != query.MeasureCount {
		return
	}
	q := query.Analytics{By: operator, Metric: "active", Interval: "day", Measure: measure, GroupBy: groupBy, Top: 50, Filter: query.Filter{Customer: l.customers()}}
	q.Filter.From, q.Filter.To = want.From, want.To
	got := must[query.AnalyticsAnswer](l, "active")(l.app.Analytics.Handle(l.ctx, q))
	if fmt.Sprint(got.Groups) != fmt.Sprint(want.Groups) || got.Total != want.Total {
		l.Fatalf("by %v: from the lives\n%v\nfrom the roll-ups\n%v", groupBy, got.Groups, want.Groups)
	}
}

func analyticsZones(l *library) {
	all := l.happenings()
	for _, name := range []string{"America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			l.Skipf("this machine has no data base of time zones: %v", err)
		}
		days := map[string]int64{}
		for i := range all {
			if all[i].metric == "denials" {
				days[all[i].at.In(zone).Format(time.DateOnly)]++
			}
		}
		q := query.Analytics{By: operator, Metric: "denials", Interval: "day", TZ: name}
		q.Filter.From, q.Filter.To = l.events[0].RecordedAt.Add(-24*time.Hour), l.now().Add(24*time.Hour)
		answer := must[query.AnalyticsAnswer](l, name)(l.app.Analytics.Handle(l.ctx, q))
		for i, n := range answer.Groups[0].Values {
			day := answer.Times[i].Format(time.DateOnly)
			if n != days[day] {
				l.Fatalf("%s: %d on %s, want %d", name, n, day, days[day])
			}
			delete(days, day)
		}
		for day, n := range maps.All(days) {
			l.Fatalf("%s: %d on %s are missing", name, n, day)
		}
	}
}

func analyticsRefusals(l *library) {
	ok := query.Analytics{By: operator, Metric: "plays", Filter: query.Filter{From: l.events[0].RecordedAt, To: l.now()}}
	for _, c := range []struct {
		field  string
		change func(*query.Analytics)
	}{
		{"metric", func(q *query.Analytics) { q.Metric = "views" }},
		{"metric", func(q *query.Analytics) { q.Metric = "" }},
		{"from", func(q *query.Analytics) { q.Filter.From = time.Time{} }},
		{"to", func(q *query.Analytics) { q.Filter.To = time.Time{} }},
		{"to", func(q *query.Analytics) { q.Filter.To = q.Filter.From }},
		{"interval", func(q *query.Analytics) { q.Interval = "minute" }},
		{"interval", func(q *query.Analytics) { q.Interval, q.Filter.From = "hour", q.Filter.To.AddDate(-3, 0, 0) }},
		{"tz", func(q *query.Analytics) { q.TZ = "Europe/Atlantis" }},
		{"tz", func(q *query.Analytics) { q.TZ = "Local" }},
		{"measure", func(q *query.Analytics) { q.Measure = "profiles" }},
		{"compare", func(q *query.Analytics) { q.Compare = "next" }},
		{"top", func(q *query.Analytics) { q.Top = 101 }},
		{"top", func(q *query.Analytics) { q.Top = -1 }},
		{"group_by", func(q *query.Analytics) { q.GroupBy = []string{"customer"} }},
		{"group_by", func(q *query.Analytics) { q.GroupBy = []string{"studio", "studio"} }},
		{"group_by", func(q *query.Analytics) { q.GroupBy = []string{"studio", "plan", "country", "code"} }},
		{"type", func(q *query.Analytics) { q.Filter.Type = []string{"LicenseIssued"} }},
		{"case", func(q *query.Analytics) { q.Filter.Case = []string{"C"} }},
		{"studio", func(q *query.Analytics) { q.Filter.Studio = make([]string, 21) }},
		{"policy_version", func(q *query.Analytics) { q.Filter.PolicyVersion = []int{0} }},
		{"actor", func(q *query.Analytics) { q.Metric, q.Filter.Actor = "active", []string{"a"} }},
	} {
		q := ok
		c.change(&q)
		_, err := l.app.Analytics.Handle(l.ctx, q)
		if field, is := errors.AsType[*domain.FieldError](err); !is || field.Field != c.field {
			l.Errorf("%s: %v", c.field, err)
		}
	}
}
