package query

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"carryon/domain"
	"carryon/projector"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestIntervalsFollowTheClocksOfTheZone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, zone, interval, from, to string
		want                           []string // where the intervals begin, and the end
	}{
		{
			"the day when the clocks go forward has 23 hours", "Europe/Berlin", IntervalDay, "2026-03-28T00:00:00+01:00", "2026-03-31T00:00:00+02:00",
			[]string{"2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "2026-03-31T00:00:00+02:00"},
		},
		{
			"the day when they go back has 25", "America/New_York", IntervalDay, "2026-10-31T00:00:00-04:00", "2026-11-02T00:00:00-05:00",
			[]string{"2026-10-31T00:00:00-04:00", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"},
		},
		{
			"an hour that comes twice is two hours", "Europe/Berlin", IntervalHour, "2026-10-25T01:00:00+02:00", "2026-10-25T04:00:00+01:00",
			[]string{"2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00", "2026-10-25T04:00:00+01:00"},
		},
		{
			"an hour that is skipped is none", "Europe/Berlin", IntervalHour, "2026-03-29T01:00:00+01:00", "2026-03-29T04:00:00+02:00",
			[]string{"2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"},
		},
		{
			"hours of a zone with odd minutes begin at its own", "Asia/Kathmandu", IntervalHour, "2026-01-01T00:00:00+05:45", "2026-01-01T02:00:00+05:45",
			[]string{"2026-01-01T00:00:00+05:45", "2026-01-01T01:00:00+05:45", "2026-01-01T02:00:00+05:45"},
		},
		{
			"clocks that move by half an hour", "Australia/Lord_Howe", IntervalDay, "2026-04-04T00:00:00+11:00", "2026-04-06T00:00:00+10:30",
			[]string{"2026-04-04T00:00:00+11:00", "2026-04-05T00:00:00+11:00", "2026-04-06T00:00:00+10:30"},
		},
		{
			"a day without midnight begins when the clocks have skipped it", "Africa/Cairo", IntervalDay, "2026-04-23T00:00:00+02:00", "2026-04-25T00:00:00+03:00",
			[]string{"2026-04-23T00:00:00+02:00", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"},
		},
		{
			"a midnight that comes twice begins the day once", "America/Havana", IntervalDay, "2025-11-01T00:00:00-04:00", "2025-11-03T00:00:00-05:00",
			[]string{"2025-11-01T00:00:00-04:00", "2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00"},
		},
		{
			"a day that was skipped is none", "Pacific/Apia", IntervalDay, "2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00",
			[]string{"2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"},
		},
		{
			"weeks begin on Monday", "UTC", IntervalWeek, "2026-02-04T10:00:00Z", "2026-02-20T00:00:00Z",
			[]string{"2026-02-04T10:00:00Z", "2026-02-09T00:00:00Z", "2026-02-16T00:00:00Z", "2026-02-20T00:00:00Z"},
		},
		{
			"months have their own lengths", "UTC", IntervalMonth, "2026-01-31T00:00:00Z", "2026-04-01T00:00:00Z",
			[]string{"2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"},
		},
		{"without an interval the range is one", "UTC", "", "2026-01-31T00:00:00Z", "2026-04-01T00:00:00Z", []string{"2026-01-31T00:00:00Z", "2026-04-01T00:00:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			cuts, err := cutTime(at(c.from), at(c.to), c.interval, zone)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, cut := range cuts {
				got = append(got, cut.In(zone).Format(time.RFC3339))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

func TestEveryIntervalOfEveryZoneEndsAfterItBegins(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia", "Asia/Beirut", "America/Havana"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, interval := range []string{IntervalHour, IntervalDay, IntervalWeek, IntervalMonth} {
			for moment := at("2011-01-01T00:00:00Z"); moment.Year() < 2013; {
				next := nextInterval(moment, interval, zone)
				if !next.After(moment) || next.Sub(moment) > 32*24*time.Hour {
					t.Fatalf("%s: the %s after %s begins at %s", name, interval, moment.In(zone), next.In(zone))
				}
				if next.Unix()%900 != 0 {
					t.Fatalf("%s: a %s begins at %s, which is no quarter of an hour", name, interval, next)
				}
				moment = next
			}
		}
	}
}

func TestRangesAreWidenedToQuartersOfAnHour(t *testing.T) {
	t.Parallel()
	from, to, clipped := quarters(at("2026-01-01T10:07:00Z"), at("2026-01-01T10:45:00.000001Z"))
	if !from.Equal(at("2026-01-01T10:00:00Z")) || !to.Equal(at("2026-01-01T11:00:00Z")) || !clipped {
		t.Errorf("%s to %s, clipped %t", from, to, clipped)
	}
	from, to, clipped = quarters(at("2026-01-01T10:15:00Z"), at("2026-01-01T10:45:00Z"))
	if !from.Equal(at("2026-01-01T10:15:00Z")) || !to.Equal(at("2026-01-01T10:45:00Z")) || clipped {
		t.Errorf("%s to %s, clipped %t", from, to, clipped)
	}
}

func TestTooManyIntervalsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := cutTime(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z").Add((MaxIntervals+1)*time.Hour), IntervalHour, time.UTC)
	if field, ok := errors.AsType[*domain.FieldError](err); !ok || field.Field != "interval" {
		t.Error(err)
	}
	if _, err := cutTime(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z").Add(MaxIntervals*time.Hour), IntervalHour, time.UTC); err != nil {
		t.Error(err)
	}
}

func TestRangesLieInYearsThatCanBeWrittenEverywhere(t *testing.T) {
	t.Parallel()
	at := func(year int) time.Time { return time.Date(year, time.December, 30, 0, 0, 0, 0, time.UTC) }
	for _, test := range []struct {
		from, to time.Time
		want     string
	}{
		{at(1970), at(9998), ""}, {time.Time{}, time.Time{}, ""}, {at(0), at(2026), "from"}, {at(1969), at(2026), "from"}, {at(2026), at(9999), "to"},
	} {
		err := checkRange(test.from, test.to)
		field, ok := errors.AsType[*domain.FieldError](err)
		if (err == nil) != (test.want == "") || ok && field.Field != test.want {
			t.Errorf("%s to %s: %v", test.from, test.to, err)
		}
	}
}

func TestASearchForOneCustomerWaitsForHisStream(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		role      domain.Role
		customers []string
		want      domain.StreamID
	}{
		{domain.RoleSupport, []string{"ada"}, "customer/ada"}, {domain.RoleSupport, []string{"ada", "ben"}, ""}, {domain.RoleSupport, nil, ""},
		{domain.RoleAnalyst, []string{"pc_x"}, ""},
	} {
		if got := (&Filter{Customer: test.customers}).stream(Caller{Actor: domain.Actor{Role: test.role}}); got != test.want {
			t.Errorf("%s asks for %v: waits for %q, want %q", test.role, test.customers, got, test.want)
		}
	}
}

func TestWordsThatAFieldNeverHoldsAreRefusedAndTheKnownOnesNamed(t *testing.T) {
	t.Parallel()
	support := Caller{Actor: domain.Actor{ID: "some-support", Role: domain.RoleSupport}}
	for field, c := range map[string]struct {
		filter Filter
		says   string
	}{
		"type":    {Filter{Type: []string{"LicenseDenied", "Foo"}}, `holds "Foo"; possible are ContentDownloaded, `},
		"code":    {Filter{Code: []string{"NOPE"}}, `holds "NOPE"; possible are MEMBERSHIP_INACTIVE, `},
		"role":    {Filter{Role: []string{"god"}}, `holds "god"; possible are device, service, support, operator and system`},
		"trigger": {Filter{Trigger: []string{"chance"}}, `holds "chance"; possible are user and auto`},
		"basis":   {Filter{Basis: []string{"guess"}}, `holds "guess"; possible are books and fail_open`},
	} {
		c.filter.Customer = []string{"c-1"}
		export := Export{By: support, Table: "events", Filter: c.filter}
		_, err := ExportHandler{&Ports{}}.Handle(t.Context(), export)
		search := SearchEvents{By: support, Filter: c.filter}
		_, err2 := search.check()
		for what, err := range map[string]error{"filter": c.filter.check(support), "export": err, "search": err2} {
			wrong, ok := errors.AsType[*domain.FieldError](err)
			if !ok || wrong.Field != field || !strings.HasPrefix(wrong.Problem, c.says) {
				t.Errorf("%s by %s: %v", what, field, err)
			}
		}
	}
	denials, timeline := Denials{Customer: "c-1", Code: []string{"NOPE"}}, Timeline{Customer: "c-1", Type: []string{"Foo"}}
	if _, err := denials.check(); !isOfField(err, "code") {
		t.Errorf("denials: %v", err)
	}
	if _, err := timeline.check(); !isOfField(err, "type") {
		t.Errorf("timeline: %v", err)
	}
}

func isOfField(err error, field string) bool {
	wrong, ok := errors.AsType[*domain.FieldError](err)
	return ok && wrong.Field == field
}

func TestAQuestionOfSignsOnlyIsNotTakenForNone(t *testing.T) {
	t.Parallel()
	for _, q := range []string{"*", "'", "  ", "?!", "\u200b"} {
		search := SearchEvents{Q: q}
		if _, err := search.check(); !isOfField(err, "q") {
			t.Errorf("search for %q: %v", q, err)
		}
		if _, err := (TitlesHandler{&Ports{}}).Handle(t.Context(), Titles{Q: q}); !isOfField(err, "q") {
			t.Errorf("titles for %q: %v", q, err)
		}
	}
	search := SearchEvents{}
	if _, err := search.check(); err != nil {
		t.Errorf("without a question: %v", err)
	}
}

func TestWhatCanBeSummedUpIsCountedOnce(t *testing.T) {
	t.Parallel()
	days := []time.Time{at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z")}
	series := []Counted{{0, []string{"a"}, 2}, {1, []string{"b"}, 3}, {1, []string{"a"}, 5}}
	var many []Counted
	for i := range MaxGroups + 1 {
		many = append(many, Counted{0, []string{string(rune(i))}, 1})
	}
	for _, c := range []struct {
		name    string
		asked   CountsAsked
		found   []Counted
		fails   error
		want    []Counted // totals; nil: they are to be counted first
		wantErr error
	}{
		{"by day and studio", CountsAsked{GroupBy: []string{"studio"}, Cuts: days}, series, nil, []Counted{{0, []string{"a"}, 7}, {0, []string{"b"}, 3}}, nil},
		{"the whole range by title", CountsAsked{GroupBy: []string{"title_id"}, Cuts: days[:2]}, series[:1], nil, []Counted{{0, []string{"a"}, 2}}, nil},
		{"by day and title: many rows for a few groups", CountsAsked{GroupBy: []string{"title_id"}, Cuts: days}, series, nil, nil, nil},
		{"more rows than there are points", CountsAsked{GroupBy: []string{"studio"}, Cuts: days}, nil, ErrTooMany, nil, nil},
		{"more groups than may be asked for", CountsAsked{Cuts: days[:2]}, nil, ErrTooMany, nil, ErrTooMany},
		{"more groups than may be asked for, in fewer rows than points", CountsAsked{Cuts: days}, many, nil, nil, ErrTooMany},
		{"distinct customers, who are there on two days", CountsAsked{Measure: MeasureCustomers, Cuts: days}, series, nil, nil, nil},
		{"active licences, which are not those of each day", CountsAsked{Metric: projector.MetricActive, Cuts: days}, series, nil, nil, nil},
	} {
		if c.asked.Measure == "" {
			c.asked.Measure = MeasureCount
		}
		found, totals, err := atOnce(t.Context(), func(context.Context, CountsAsked) ([]Counted, error) { return c.found, c.fails }, c.asked)
		if !errors.Is(err, c.wantErr) {
			t.Errorf("%s: %v, want %v", c.name, err, c.wantErr)
		}
		if !slices.EqualFunc(totals, c.want, func(a, b Counted) bool { return a.N == b.N && slices.Equal(a.Key, b.Key) }) || (found != nil) != (c.want != nil) {
			t.Errorf("%s: rows %v, totals %v, want %v", c.name, found, totals, c.want)
		}
	}
	if found, totals, err := atOnce(t.Context(), func(context.Context, CountsAsked) ([]Counted, error) { return nil, nil }, CountsAsked{Measure: MeasureCount, Cuts: days}); found == nil || totals != nil || err != nil {
		t.Errorf("where nothing is counted: rows %v, totals %v, %v; they would be counted once more", found, totals, err)
	}
}
