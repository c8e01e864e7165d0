package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"carryon/query"
)

// Analytics: how many, over time, by up to three dimensions; a chart, and behind it the table with the same numbers. The
// refusal rate is refusals among everything that was decided: refusals ÷ (refusals + downloads + renewals).

type analyticsView struct {
	Form     analyticsForm
	Metrics  []string
	Groups   []string
	Answer   query.AnalyticsAnswer
	Rows     []groupRow
	Chart    string // JSON for what draws it; empty: nothing to draw
	Rate     string // refusal rate, with its change; only of refusals
	RateWas  string
	Rates    string // JSON of the rate over time
	RateRows []rateRow
	Before   string // the change against the range before
	Exports  []exportLink
	Filtered []chip
	Format   string // of times
	// The range and the one before, in days of the zone that was asked for.
	Range, RangeBefore string
	titles             map[string]string // names, by id
}

type analyticsForm struct {
	Metric, Interval, TZ, Measure, Compare, From, To, Top string
	By                                                    []string // three
}

type groupRow struct {
	query.Group
	Name   string
	Parts  []groupPart
	Colour int // of the chart; -1: not drawn
	Change string
	Before []int64 // Values of the range before; nil: not asked for, or not drawn
}

// groupPart is one value of a group; its link narrows everything down to it.
type groupPart struct{ Name, Link string }

// rateRow is what the chart of the rate is drawn from.
type rateRow struct {
	At               time.Time
	Refused, Decided int64
	Rate             string
}

// chart is what the browser draws.
type chart struct {
	Times    []int64  `json:"times"` // seconds
	Series   []series `json:"series"`
	TZ       string   `json:"tz"`
	Interval string   `json:"interval"`
	Percent  bool     `json:"percent,omitempty"`
}

type series struct {
	Name   string `json:"name"`
	Values []any  `json:"values"`
	Dash   bool   `json:"dash,omitempty"`
	Colour int    `json:"colour"`
}

const (
	seriesDrawn = 8
	beforeDrawn = 3 // of the range before: more lines say nothing
)

func (v *visit) analyticsAsked() (analyticsForm, url.Values) {
	q := v.r.URL.Query()
	f := analyticsForm{
		Metric: cmp.Or(q.Get("metric"), "downloads"), Interval: cmp.Or(q.Get("interval"), "day"), TZ: cmp.Or(strings.TrimSpace(q.Get("tz")), "UTC"),
		Measure: cmp.Or(q.Get("measure"), "count"), Compare: q.Get("compare"), From: q.Get("from"), To: q.Get("to"), Top: cmp.Or(q.Get("top"), "8"),
	}
	for _, by := range q["group_by"] {
		if by != "" && !slices.Contains(f.By, by) {
			f.By = append(f.By, by)
		}
	}
	asked := url.Values{"interval": {f.Interval}, "tz": {f.TZ}, "measure": {f.Measure}, "top": {f.Top}}
	if len(f.By) > 0 {
		asked["group_by"] = slices.Clone(f.By)
	}
	if f.Compare != "" {
		asked.Set("compare", f.Compare)
	}
	zone, err := time.LoadLocation(f.TZ)
	if err != nil {
		zone = time.UTC // the API names the mistake
	}
	from, to := usualRange(f.Interval, v.now.In(zone))
	if at, err := time.ParseInLocation(time.DateOnly, f.From, zone); err == nil {
		from = at
	}
	if at, err := time.ParseInLocation(time.DateOnly, f.To, zone); err == nil {
		to = at
	}
	f.From, f.To = from.Format(time.DateOnly), to.Format(time.DateOnly)
	asked.Set("from", iso(from))
	asked.Set("to", iso(to.AddDate(0, 0, 1)))
	for _, field := range filterFields() {
		for _, value := range q[field] {
			if value = strings.TrimSpace(value); value != "" && field != "type" && field != "case" {
				asked.Add(field, value)
			}
		}
	}
	for len(f.By) < query.MaxGroupBy {
		f.By = append(f.By, "")
	}
	return f, asked
}

// usualRange is what is counted when nobody says: whole intervals, the last of which is under way. Both days are in it.
func usualRange(interval string, now time.Time) (from, to time.Time) {
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch interval {
	case query.IntervalHour:
		return today.AddDate(0, 0, -2), today
	case query.IntervalWeek:
		monday := today.AddDate(0, 0, -(int(today.Weekday())+6)%7)
		return monday.AddDate(0, 0, -11*7), today
	case query.IntervalMonth:
		return time.Date(now.Year(), now.Month()-11, 1, 0, 0, 0, 0, now.Location()), today
	}
	return today.AddDate(0, 0, -29), today
}

func (v *visit) analytics() error {
	form, asked := v.analyticsAsked()
	answer, err := get[query.AnalyticsAnswer](v, path("/v1/analytics/", form.Metric), asked)
	if err != nil {
		return err
	}
	view := analyticsView{
		Form: form, Metrics: []string{"downloads", "renewals", "plays", "denials", "active"}, Groups: query.DimensionNames(), Answer: answer, Format: timeFormat(answer.Interval),
	}
	if err := v.nameGroups(&view, asked); err != nil {
		return err
	}
	view.rows(v.r.URL.Query())
	view.ranges()
	if err := v.before(&view, asked); err != nil {
		return err
	}
	if view.Chart, err = view.draw(); err != nil {
		return err
	}
	if answer.Previous != nil {
		view.Before = changed(answer.Total, answer.Previous.Total)
	}
	if form.Metric == "denials" && form.Measure == "count" {
		if err := v.rate(&view, asked); err != nil {
			return err
		}
	}
	view.Exports = exportLinks("/analytics/export", v.r.URL.Query())
	for _, field := range filterFields() {
		for _, value := range asked[field] {
			view.Filtered = append(view.Filtered, chip{field, value, fieldWords(field) + ": " + view.value(field, value), "/analytics?" + without(v.r.URL.Query(), field, value).Encode()})
		}
	}
	return v.show("analytics", frame{Title: "Analytics", Section: "analytics", Charts: true}, view)
}

func timeFormat(interval string) string {
	switch interval {
	case query.IntervalHour:
		return "2 Jan 15:04"
	case query.IntervalMonth:
		return "Jan 2006"
	}
	return "2 Jan 2006"
}

// nameGroups learns the names of the titles that are counted by, or narrowed down to.
func (v *visit) nameGroups(a *analyticsView, asked url.Values) error {
	a.titles = map[string]string{}
	ids := slices.Clone(asked["title_id"])
	if i := slices.Index(a.Form.By, "title_id"); i >= 0 {
		for _, g := range a.Answer.Groups {
			ids = append(ids, g.Key[i])
		}
	}
	for _, id := range ids {
		if id == "" || a.titles[id] != "" {
			continue
		}
		title, found, err := v.title(id)
		if err != nil {
			return err
		}
		if a.titles[id] = id; found {
			a.titles[id] = title.Name
		}
	}
	return nil
}

func (a *analyticsView) value(field, value string) string {
	if field == "title_id" {
		return cmp.Or(a.titles[value], value)
	}
	return valueWords(field, value)
}

func (a *analyticsView) ranges() {
	days := func(from, to time.Time) string { // to is not in it
		zone, err := time.LoadLocation(a.Answer.TZ)
		if err != nil {
			zone = time.UTC
		}
		return from.In(zone).Format("2 Jan 2006") + " to " + to.Add(-time.Nanosecond).In(zone).Format("2 Jan 2006")
	}
	a.Range = days(a.Answer.From, a.Answer.To)
	if was := a.Answer.Previous; was != nil {
		a.RangeBefore = days(was.From, was.To)
	}
}

func (a *analyticsView) rows(here url.Values) {
	for i, g := range a.Answer.Groups {
		row := groupRow{Group: g, Colour: -1}
		if row.Parts = a.parts(g.Key, here); len(row.Parts) == 0 {
			row.Parts = []groupPart{{Name: "all"}}
		}
		names := make([]string, len(row.Parts))
		for i, part := range row.Parts {
			names[i] = part.Name
		}
		row.Name = strings.Join(names, " · ")
		if i < seriesDrawn {
			row.Colour = i
		}
		if g.Previous != nil {
			row.Change = changed(g.Total, *g.Previous)
		}
		a.Rows = append(a.Rows, row)
	}
}

func (a *analyticsView) parts(key []string, here url.Values) []groupPart {
	parts := make([]groupPart, len(key))
	for i, value := range key {
		if value == "" {
			parts[i].Name = "(none)"
			continue
		}
		field := a.Form.By[i]
		only := without(here, "group_by", field)
		only[field] = []string{value}
		parts[i] = groupPart{a.value(field, value), "/analytics?" + only.Encode()}
	}
	return parts
}

// draw makes the chart: without an interval there is nothing over time.
func (a *analyticsView) draw() (string, error) {
	if len(a.Answer.Times) < 2 {
		return "", nil
	}
	c := a.chart()
	for _, row := range a.Rows[:min(len(a.Rows), seriesDrawn)] {
		c.Series = append(c.Series, row.line(row.Name, row.Values))
	}
	for _, row := range a.Rows {
		if row.Before != nil {
			line := row.line(row.Name+", before", row.Before)
			line.Dash = true
			c.Series = append(c.Series, line)
		}
	}
	if len(c.Series) == 0 {
		return "", nil
	}
	return written(c)
}

func (r *groupRow) line(name string, values []int64) series {
	s := series{Name: name, Colour: r.Colour}
	for _, n := range values {
		s.Values = append(s.Values, n)
	}
	return s
}

// before counts the range before in the same intervals, so that it can be drawn beside this one: its first interval
// beside the first.
func (v *visit) before(view *analyticsView, asked url.Values) error {
	was := view.Answer.Previous
	if was == nil || len(view.Answer.Times) < 2 {
		return nil
	}
	q := clone(asked)
	q.Del("compare")
	q.Set("from", iso(was.From))
	q.Set("to", iso(was.To))
	q.Set("top", number(query.MaxTop))
	answer, err := get[query.AnalyticsAnswer](v, path("/v1/analytics/", view.Form.Metric), q)
	if err != nil {
		return err
	}
	for i := range view.Rows[:min(len(view.Rows), beforeDrawn)] {
		row := &view.Rows[i]
		row.Before = make([]int64, len(row.Values))
		for _, g := range answer.Groups {
			if slices.Equal(g.Key, row.Key) {
				copy(row.Before, g.Values)
			}
		}
	}
	return nil
}

func (a *analyticsView) chart() chart {
	c := chart{TZ: a.Answer.TZ, Interval: a.Answer.Interval}
	for _, at := range a.Answer.Times {
		c.Times = append(c.Times, at.Unix())
	}
	return c
}

func written(c chart) (string, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("writing a chart: %w", err)
	}
	return string(raw), nil
}

// rate tells how much of what was decided was refused, over the same events without the groups.
func (v *visit) rate(view *analyticsView, asked url.Values) error {
	q := clone(asked)
	q.Del("group_by")
	q.Del("code") // grants have none
	decided := map[string]query.AnalyticsAnswer{}
	for _, metric := range []string{"denials", "downloads", "renewals"} {
		answer, err := get[query.AnalyticsAnswer](v, path("/v1/analytics/", metric), q)
		if err != nil {
			return err
		}
		decided[metric] = answer
	}
	all := decided["denials"].Total + decided["downloads"].Total + decided["renewals"].Total
	view.Rate = percent(decided["denials"].Total, all)
	if before := decided["denials"].Previous; before != nil {
		view.RateWas = percent(before.Total, before.Total+decided["downloads"].Previous.Total+decided["renewals"].Previous.Total)
	}
	c := view.chart()
	c.Percent = true
	s := series{Name: "refusal rate"}
	for i := range c.Times {
		refused := at(decided["denials"], i)
		sum := refused + at(decided["downloads"], i) + at(decided["renewals"], i)
		view.RateRows = append(view.RateRows, rateRow{view.Answer.Times[i], refused, sum, percent(refused, sum)})
		if sum == 0 {
			s.Values = append(s.Values, nil)
		} else {
			s.Values = append(s.Values, 100*float64(refused)/float64(sum))
		}
	}
	if c.Series = []series{s}; len(c.Times) > 1 {
		var err error
		view.Rates, err = written(c)
		return err
	}
	return nil
}

func at(a query.AnalyticsAnswer, i int) int64 {
	if len(a.Groups) == 0 || i >= len(a.Groups[0].Values) {
		return 0
	}
	return a.Groups[0].Values[i]
}

func changed(now, before int64) string {
	if before == 0 {
		return "none before"
	}
	d := 100 * float64(now-before) / float64(before)
	return strings.Replace(fmt.Sprintf("%+.1f %%", d), "-", "−", 1)
}

// analyticsExport is the numbers of the page, a row for each group and interval.
func (v *visit) analyticsExport() error {
	form, asked := v.analyticsAsked()
	return v.export(path("/v1/exports/analytics/", form.Metric), asked)
}
