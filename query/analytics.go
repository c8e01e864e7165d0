package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Analytics asks how many, over time and by dimension.
type Analytics struct {
	By          Caller
	Metric      string   // downloads, renewals, plays, denials, active
	GroupBy     []string // up to three of: title_id, series, studio, plan, country, device_type, device_family, trigger, code, basis, policy_version, role
	Interval    string   // hour, day, week (from Monday), month; empty: the whole range at once
	TZ          string   // IANA name of the time zone that intervals are cut in; empty: UTC
	Measure     string   // count (default), customers, devices: distinct
	Compare     string   // previous: the range of the same length just before; empty: none
	Top         int      // groups, 1 to 100; 0: 20
	Filter      Filter   // From and To are required
	MinPosition domain.Position
}

// AnalyticsAnswer is a series per group, the largest groups first.
type AnalyticsAnswer struct {
	Metric   string      `json:"metric"`
	Measure  string      `json:"measure"`
	Interval string      `json:"interval,omitempty"`
	TZ       string      `json:"tz"`
	From     time.Time   `json:"from"`
	To       time.Time   `json:"to"`
	Times    []time.Time `json:"times"` // where each interval begins, in the time zone asked for
	Groups   []Group     `json:"groups"`
	// Others is how many groups there are besides those in Groups.
	Others int `json:"others"`
	// Total is over all groups. For distinct measures it is not the sum of the groups: who is in two counts once.
	Total    int64  `json:"total"`
	Previous *Range `json:"previous,omitempty"`
	Clipped  bool   `json:"clipped,omitempty"` // From and To were widened to whole quarters of an hour
}

// Range is the range that was compared with.
type Range struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Total int64     `json:"total"`
}

// Group is a combination of values of the dimensions grouped by, in their order.
type Group struct {
	Key      []string `json:"key"`                // empty strings: events without that dimension
	Total    int64    `json:"total"`              // over the whole range; for active: at its end
	Values   []int64  `json:"values"`             // one for each of Times; for active: at the interval's end
	Previous *int64   `json:"previous,omitempty"` // Total in the range compared with
}

// Measures: what is counted.
const (
	MeasureCount     = "count"     // events; for active: licences
	MeasureCustomers = "customers" // distinct ones
	MeasureDevices   = "devices"   // distinct ones
)

// Intervals.
const (
	IntervalHour  = "hour"
	IntervalDay   = "day"
	IntervalWeek  = "week"
	IntervalMonth = "month"
)

// Bounds of what may be asked.
const (
	MaxGroupBy   = 3
	DefaultTop   = 20
	MaxTop       = 100
	MaxIntervals = 2_000
	MaxPoints    = 20_000 // intervals × groups
	MaxGroups    = 10_000 // that the largest are picked from
	MaxLives     = 200_000
)

// AnalyticsModel is the read model that Analytics asks.
type AnalyticsModel interface {
	// Counts counts facts of a metric by interval and group. It returns ErrTooMany (wrapped) above MaxRows.
	Counts(ctx context.Context, q CountsAsked) ([]Counted, error)
	// ActiveChanges tells by how many the number of active licences changes in each interval, by group; interval -1 is
	// all the time before the first cut. Several rows may concern the same interval and group: they add up.
	ActiveChanges(ctx context.Context, q CountsAsked) ([]Counted, error)
	// ActiveEdges yields where active licences begin and end, in order of time, before the last cut at least. It yields
	// ErrTooMany (wrapped) above MaxRows licences.
	ActiveEdges(ctx context.Context, q CountsAsked) iter.Seq2[Edge, error]
}

// CountsAsked is what is asked of the analytics model.
type CountsAsked struct {
	Metric  string
	Measure string
	GroupBy []string
	Keys    [][]string // only these groups; none: all
	Filter  Filter     // but From and To
	// Cuts part the time: interval i is from Cuts[i] to before Cuts[i+1]. They are quarters of an hour.
	Cuts    []time.Time
	MaxRows int
}

// Counted is a count.
type Counted struct {
	Interval int
	Key      []string
	N        int64
}

// Edge is where a licence becomes active, or stops being so.
type Edge struct {
	Quarter time.Time
	N       int // 1, -1
	Who     string
	Key     []string
}

// AnalyticsHandler answers Analytics.
type AnalyticsHandler struct{ p *Ports }

// Handle counts. That support counted what single customers did is recorded for each.
func (h AnalyticsHandler) Handle(ctx context.Context, q Analytics) (AnalyticsAnswer, error) {
	zone, err := q.check()
	if err != nil {
		return AnalyticsAnswer{}, err
	}
	if h.p.Analytics == nil {
		return AnalyticsAnswer{}, fmt.Errorf("no analytics here: %w", ErrUnavailable)
	}
	from, to, clipped := quarters(q.Filter.From, q.Filter.To)
	cuts, err := cutTime(from, to, q.Interval, zone)
	if err != nil {
		return AnalyticsAnswer{}, err
	}
	if err := h.p.wait(ctx, Consistency{MinPosition: q.MinPosition}, "analytics", nil, ""); err != nil {
		return AnalyticsAnswer{}, err
	}
	answer := AnalyticsAnswer{
		Metric: q.Metric, Measure: cmp.Or(q.Measure, MeasureCount), Interval: q.Interval, TZ: zone.String(), From: from.In(zone), To: to.In(zone),
		Groups: []Group{}, Times: []time.Time{}, Clipped: clipped,
	}
	for _, cut := range cuts[:len(cuts)-1] {
		answer.Times = append(answer.Times, cut.In(zone))
	}
	filter, nobody, err := h.p.unveil(ctx, q.By, q.Filter)
	if err == nil {
		err = h.p.Desk.looked(ctx, q.By, filter.Customer, "analytics")
	}
	if err == nil && !nobody {
		q.Filter, q.Measure = filter, answer.Measure
		err = h.fill(ctx, &q, cuts, &answer)
	}
	if errors.Is(err, ErrTooMany) {
		return AnalyticsAnswer{}, fieldError("group_by", "makes more than %d groups, or counts more than %d licences: group by less, or filter more", MaxGroups, MaxLives)
	}
	if err != nil {
		return AnalyticsAnswer{}, fmt.Errorf("count %s: %w", q.Metric, err)
	}
	return answer, nil
}

// Check tells everything that is wrong with what is asked, each as a *domain.FieldError.
func (q *Analytics) Check() error {
	_, err := q.check()
	return err
}

func (q *Analytics) check() (*time.Location, error) {
	err := errors.Join(q.Filter.check(q.By),
		checkOneOf("metric", cmp.Or(q.Metric, " "), projector.MetricDownloads, projector.MetricRenewals, projector.MetricPlays, projector.MetricDenials, projector.MetricActive),
		checkOneOf("interval", q.Interval, IntervalHour, IntervalDay, IntervalWeek, IntervalMonth),
		checkOneOf("measure", q.Measure, MeasureCount, MeasureCustomers, MeasureDevices),
		checkOneOf("compare", q.Compare, "previous"), q.checkFilter(), q.checkGroups())
	if q.Top < 0 || q.Top > MaxTop {
		err = errors.Join(err, fieldError("top", "is %d; 1 to %d are possible", q.Top, MaxTop))
	}
	zone, zoneErr := time.LoadLocation(cmp.Or(q.TZ, "UTC"))
	if zoneErr != nil || q.TZ == "Local" {
		err = errors.Join(err, fieldError("tz", "is no time zone of the IANA data base"))
	}
	return zone, err
}

// checkFilter refuses filters that could not mean anything here.
func (q *Analytics) checkFilter() error {
	var err error
	if q.Filter.From.IsZero() {
		err = errors.Join(err, fieldError("from", "is missing"))
	}
	if q.Filter.To.IsZero() {
		err = errors.Join(err, fieldError("to", "is missing"))
	}
	if len(q.Filter.Type) > 0 {
		err = errors.Join(err, fieldError("type", "can't be used here: the metric says which events are counted"))
	}
	if len(q.Filter.Case) > 0 {
		err = errors.Join(err, fieldError("case", "can't be used here: nothing that is counted has a case number"))
	}
	if q.By.Actor.Role == domain.RoleSupport && len(q.Filter.Customer) == 0 {
		for _, l := range []namedValues{{"device_id", q.Filter.DeviceID}, {"license_id", q.Filter.LicenseID}, {"actor", q.Filter.Actor}} {
			if len(l.values) > 0 {
				err = errors.Join(err, fieldError(l.name, "needs customer beside it: that support looks at a customer is recorded"))
			}
		}
	}
	if q.Metric == projector.MetricActive && len(q.Filter.Actor) > 0 {
		err = errors.Join(err, fieldError("actor", "can't be used with active licences: several may have acted on one"))
	}
	return err
}

func (q *Analytics) checkGroups() error {
	var err error
	if len(q.GroupBy) > MaxGroupBy {
		err = fieldError("group_by", "names %d dimensions, at most %d are possible", len(q.GroupBy), MaxGroupBy)
	}
	for i, field := range q.GroupBy {
		err = errors.Join(err, checkOneOf("group_by", cmp.Or(field, " "), DimensionNames()...))
		if slices.Contains(q.GroupBy[:i], field) {
			err = errors.Join(err, fieldError("group_by", "names %s twice", field))
		}
	}
	return err
}

// DimensionNames are what may be grouped by.
func DimensionNames() []string {
	return []string{
		"title_id", "series", "studio", "plan", "country", "device_type", "device_family", "trigger", "code", "basis", "policy_version", "role",
	}
}

// quarters widens a range to whole quarters of an hour, which is how finely is counted.
func quarters(from, to time.Time) (a, b time.Time, clipped bool) {
	a, b = projector.Quarter(from), projector.Quarter(to)
	if b.Before(to) {
		b = b.Add(15 * time.Minute)
	}
	return a, b, !a.Equal(from) || !b.Equal(to)
}

// cutTime cuts a range into intervals of a time zone: the first and last may be a part of one.
func cutTime(from, to time.Time, interval string, zone *time.Location) ([]time.Time, error) {
	cuts := []time.Time{from}
	if interval != "" {
		for at := nextInterval(from, interval, zone); at.Before(to); at = nextInterval(at, interval, zone) {
			if cuts = append(cuts, at); len(cuts) > MaxIntervals {
				return nil, fieldError("interval", "cuts the range into more than %d pieces: take a longer interval or a shorter range", MaxIntervals)
			}
		}
	}
	return append(cuts, to), nil
}

// nextInterval is where the next interval begins after a moment. Days, weeks and months begin at midnight of the zone.
func nextInterval(after time.Time, interval string, zone *time.Location) time.Time {
	t := after.In(zone)
	y, m, d := t.Date()
	switch interval {
	case IntervalHour:
		_, offset := t.Zone() // an hour of the zone, which need not be one of UTC
		local := t.Unix() + int64(offset)
		return time.Unix(local-local%3600+3600-int64(offset), 0).UTC()
	case IntervalWeek:
		d += (7 - (int(t.Weekday())+6)%7)
	case IntervalMonth:
		m, d = m+1, 1
	default:
		d++
	}
	for {
		if next := midnight(y, m, d, zone).UTC(); next.After(after) {
			return next
		}
		d++ // a day that is skipped
	}
}

// midnight is the first moment of a day. Where the clocks skip midnight it is the moment in which they do; where they
// show it twice, the first time; a day that is skipped as a whole begins with the day after it.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	wall := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	begin, end := t.ZoneBounds()
	_, offset := t.Zone()
	switch shown := t.Unix() + int64(offset); {
	case shown < wall.Unix():
		return end
	case shown > wall.Unix():
		return begin
	}
	if begin.IsZero() {
		return t
	}
	_, before := begin.Add(-time.Second).Zone()
	if first := wall.Add(-time.Duration(before) * time.Second); first.Before(begin) {
		return first
	}
	return t
}

// fill puts the numbers in.
func (h AnalyticsHandler) fill(ctx context.Context, q *Analytics, cuts []time.Time, answer *AnalyticsAnswer) error {
	asked := CountsAsked{Metric: q.Metric, Measure: q.Measure, GroupBy: q.GroupBy, Filter: q.Filter, MaxRows: MaxGroups}
	source := h.source(q)
	whole := []time.Time{cuts[0], cuts[len(cuts)-1]}
	series, totals, err := atOnce(ctx, source, asked.over(cuts))
	if err == nil && series == nil {
		totals, err = source(ctx, asked.over(whole))
	}
	if err != nil {
		return err
	}
	top := largest(totals, cmp.Or(q.Top, DefaultTop))
	answer.Others = len(totals) - len(top)
	if answer.Total, err = total(ctx, source, asked.over(whole), totals); err != nil {
		return err
	}
	if points := (len(cuts) - 1) * len(top); points > MaxPoints {
		return fieldError("interval", "makes %d values with %d groups, at most %d are possible: take fewer groups or a longer interval", points, len(top), MaxPoints)
	}
	asked.Keys = keysOf(top)
	groups := newGroups(top, len(cuts)-1)
	if len(top) > 0 && series == nil {
		if series, err = source(ctx, asked.over(cuts).atMost(MaxPoints+MaxTop)); err != nil {
			return err
		}
	}
	groups.add(series)
	if q.Compare != "" {
		if err := h.compare(ctx, source, asked, whole, groups, answer); err != nil {
			return err
		}
	}
	answer.Groups = groups.list
	return nil
}

// atOnce counts all groups by interval and sums them up, which is half the work of counting the totals first and then the
// intervals of the largest groups. Nil: this can't be summed up, or would be many rows for a few groups.
func atOnce(ctx context.Context, source counts, asked CountsAsked) (series, totals []Counted, err error) {
	one := len(asked.Cuts) == 2
	many := slices.Contains(asked.GroupBy, "title_id") || slices.Contains(asked.GroupBy, "series")
	if asked.Measure != MeasureCount || asked.Metric == projector.MetricActive || many && !one {
		return nil, nil, nil
	}
	if !one {
		asked.MaxRows = MaxPoints
	}
	series, err = source(ctx, asked)
	if errors.Is(err, ErrTooMany) && !one {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	at := make(map[string]int)
	for _, c := range series {
		key := joined(c.Key)
		i, known := at[key]
		if !known {
			i = len(totals)
			at[key], totals = i, append(totals, Counted{Key: c.Key})
		}
		totals[i].N += c.N
	}
	if len(totals) > MaxGroups {
		return nil, nil, ErrTooMany
	}
	if series == nil { // nothing is an answer, too
		series = []Counted{}
	}
	return series, totals, nil
}

func (q CountsAsked) over(cuts []time.Time) CountsAsked { q.Cuts = cuts; return q }

func (q CountsAsked) atMost(rows int) CountsAsked { q.MaxRows = rows; return q }

// counts answers values by interval and group.
type counts func(ctx context.Context, q CountsAsked) ([]Counted, error)

// source is how a metric is counted.
func (h AnalyticsHandler) source(q *Analytics) counts {
	switch {
	case q.Metric != projector.MetricActive:
		return h.p.Analytics.Counts
	case q.Measure == MeasureCount:
		return h.activeLicenses
	}
	return h.activeWho
}

// activeLicenses sums the changes up: the value of an interval is the number at its end.
func (h AnalyticsHandler) activeLicenses(ctx context.Context, q CountsAsked) ([]Counted, error) {
	changes, err := h.p.Analytics.ActiveChanges(ctx, q.atMost(q.MaxRows+MaxGroups))
	if err != nil {
		return nil, err
	}
	n := len(q.Cuts) - 1
	byGroup := map[string][]int64{}
	keys := map[string][]string{}
	for _, c := range changes {
		key := joined(c.Key)
		if byGroup[key] == nil {
			byGroup[key], keys[key] = make([]int64, n+1), c.Key
		}
		byGroup[key][c.Interval+1] += c.N
	}
	var all []Counted
	for key, values := range byGroup {
		sum := values[0]
		for i, change := range values[1:] {
			sum += change
			if sum != 0 {
				all = append(all, Counted{Interval: i, Key: keys[key], N: sum})
			}
		}
	}
	return all, nil
}

// activeWho walks through the edges and counts who has an active licence at the end of each interval.
func (h AnalyticsHandler) activeWho(ctx context.Context, q CountsAsked) ([]Counted, error) {
	type holder struct{ key, who string }
	held := map[holder]int{}
	count := map[string]int64{}
	keys := map[string][]string{}
	var all []Counted
	i, n := 0, len(q.Cuts)-1
	emit := func() {
		for key, c := range count {
			if c != 0 {
				all = append(all, Counted{Interval: i, Key: keys[key], N: c})
			}
		}
		i++
	}
	for e, err := range h.p.Analytics.ActiveEdges(ctx, q.atMost(MaxLives)) {
		if err != nil {
			return nil, err
		}
		for i < n && !e.Quarter.Before(q.Cuts[i+1]) {
			emit()
		}
		if i == n {
			break
		}
		key := joined(e.Key)
		keys[key] = e.Key
		at := holder{key, e.Who}
		before := held[at]
		held[at] = before + e.N
		switch {
		case before == 0 && held[at] > 0:
			count[key]++
		case before > 0 && held[at] == 0:
			count[key]--
			delete(held, at)
		}
	}
	for i < n {
		emit()
	}
	return all, nil
}

// joined is a key as one string; values hold no zero bytes.
func joined(key []string) string { return strings.Join(key, "\x00") }

// largest are the largest groups, equal ones by key.
func largest(totals []Counted, top int) []Counted {
	sorted := slices.Clone(totals)
	slices.SortFunc(sorted, func(a, b Counted) int { return cmp.Or(cmp.Compare(b.N, a.N), slices.Compare(a.Key, b.Key)) })
	return sorted[:min(top, len(sorted))]
}

// total is over all groups: the sum where things are counted, and counted anew where they are distinct.
func total(ctx context.Context, source counts, asked CountsAsked, totals []Counted) (int64, error) {
	if asked.Measure != MeasureCount && len(asked.GroupBy) > 0 {
		asked.GroupBy = nil
		var err error
		if totals, err = source(ctx, asked); err != nil {
			return 0, err
		}
	}
	var sum int64
	for _, c := range totals {
		sum += c.N
	}
	return sum, nil
}

func keysOf(groups []Counted) [][]string {
	keys := make([][]string, len(groups))
	for i := range groups {
		keys[i] = groups[i].Key
	}
	return keys
}

// groups are those of an answer.
type groups struct {
	list []Group
	at   map[string]int
}

func newGroups(top []Counted, intervals int) *groups {
	g := &groups{list: make([]Group, len(top)), at: make(map[string]int, len(top))}
	for i, c := range top {
		g.list[i] = Group{Key: c.Key, Total: c.N, Values: make([]int64, intervals)}
		g.at[joined(c.Key)] = i
	}
	return g
}

func (g *groups) add(series []Counted) {
	for _, c := range series {
		if i, ok := g.at[joined(c.Key)]; ok {
			g.list[i].Values[c.Interval] += c.N
		}
	}
}

// compare puts in how it was in the range of the same length just before.
func (h AnalyticsHandler) compare(ctx context.Context, source counts, asked CountsAsked, whole []time.Time, groups *groups, answer *AnalyticsAnswer) error {
	from := whole[0].Add(-whole[1].Sub(whole[0]))
	if first := time.Date(firstYear-1, time.January, 1, 0, 0, 0, 0, time.UTC); from.Before(first) { // nothing was recorded before
		from = first
	}
	before := []time.Time{from, whole[0]}
	if len(asked.Keys) > 0 {
		values, err := source(ctx, asked.over(before))
		if err != nil {
			return err
		}
		for i := range groups.list {
			groups.list[i].Previous = new(int64)
		}
		for _, c := range values {
			if i, ok := groups.at[joined(c.Key)]; ok {
				*groups.list[i].Previous += c.N
			}
		}
	}
	asked.Keys, asked.GroupBy = nil, nil
	sums, err := source(ctx, asked.over(before))
	if err != nil {
		return err
	}
	answer.Previous = &Range{From: before[0].In(answer.From.Location()), To: before[1].In(answer.From.Location())}
	for _, c := range sums {
		answer.Previous.Total += c.N
	}
	return nil
}
