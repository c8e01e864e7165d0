package query

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strconv"

	"carryon/projector"
)

// What a search or a count shows may be taken out as it is shown: the same question, the same rows in the same order, by
// the same rights and with the same record of who looked.

// ExportSearchHandler answers SearchEvents with every hit. Page and Facets are not looked at.
type ExportSearchHandler struct{ p *Ports }

// Handle begins the export. What is wrong with the question is told here; what fails later ends the rows.
func (h ExportSearchHandler) Handle(ctx context.Context, q SearchEvents) (Exported, error) {
	q.Page, q.Facets = Page{}, nil
	if _, err := q.check(); err != nil {
		return Exported{}, err
	}
	model := h.p.Search
	if model == nil {
		return Exported{}, fmt.Errorf("no search here: %w", ErrUnavailable)
	}
	filter, nobody, err := h.p.unveil(ctx, q.By, q.Filter)
	if err != nil {
		return Exported{}, fmt.Errorf("export a search: %w", err)
	}
	if nobody {
		return Exported{eventColumns, func(func(Row, error) bool) {}}, nil
	}
	words, err := interpret(ctx, model, q.Q)
	if err != nil {
		return Exported{}, fmt.Errorf("export a search: %w", err)
	}
	w := &searchWalk{
		p: h.p, by: q.By, model: model, asked: SearchAsked{Words: words, Filter: filter, Tier: TierLoose, Oldest: q.Sort == SortOldest},
		ranked: q.Sort == SortRelevance || q.Sort == "" && len(words) > 0, place: &searchPlace{},
	}
	first, err := w.next(ctx)
	if err != nil {
		return Exported{}, err
	}
	return Exported{eventColumns, w.rows(ctx, first)}, nil
}

// searchWalk goes from page to page.
type searchWalk struct {
	p      *Ports
	by     Caller
	model  SearchModel
	asked  SearchAsked
	ranked bool
	place  *searchPlace // of the next page; nil: there is none
}

func (w *searchWalk) next(ctx context.Context) ([]scored, error) {
	hits, more, err := page(ctx, w.model, w.asked, *w.place, w.ranked, exportPage)
	if err != nil {
		return nil, fmt.Errorf("export a search: %w", err)
	}
	w.place = more
	about := w.asked.Filter.Customer
	if len(about) == 0 {
		for _, hit := range hits {
			about = append(about, hit.Document.Customer)
		}
	}
	return hits, w.p.Desk.looked(ctx, w.by, about, "search export")
}

func (w *searchWalk) rows(ctx context.Context, hits []scored) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			for _, hit := range hits {
				if !yield(w.p.eventRow(w.by, hit), nil) {
					return
				}
			}
			if w.place == nil {
				return
			}
			var err error
			if hits, err = w.next(ctx); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// ExportAnalyticsHandler answers Analytics with a row for each group and interval.
type ExportAnalyticsHandler struct{ p *Ports }

// Handle counts, and begins the export. Beside each count stands that of its whole group; where ranges are compared,
// the counts of the range before, its first interval beside the first; and of refusals, what part they are of all that
// was decided in the interval, over all groups.
func (h ExportAnalyticsHandler) Handle(ctx context.Context, q Analytics) (Exported, error) {
	count := AnalyticsHandler(h)
	now, err := count.Handle(ctx, q)
	if err != nil {
		return Exported{}, err
	}
	t := analyticsTable{groupBy: q.GroupBy, now: now}
	if now.Previous != nil {
		if t.before, err = h.before(ctx, q, now.Previous); err != nil {
			return Exported{}, err
		}
	}
	if q.Metric == projector.MetricDenials && now.Measure == MeasureCount {
		if t.decided, err = h.decided(ctx, q, len(now.Times)); err != nil {
			return Exported{}, err
		}
	}
	return Exported{t.columns(), t.rows}, nil
}

// before counts the range before, by group and interval.
func (h ExportAnalyticsHandler) before(ctx context.Context, q Analytics, was *Range) (map[string][]int64, error) {
	q.Compare, q.Top, q.Filter.From, q.Filter.To = "", MaxTop, was.From, was.To
	answer, err := AnalyticsHandler(h).Handle(ctx, q)
	if err != nil {
		return nil, err
	}
	values := map[string][]int64{}
	for _, g := range answer.Groups {
		values[joined(g.Key)] = g.Values
	}
	return values, nil
}

// decided is how much was decided in each interval: refusals, downloads and renewals.
func (h ExportAnalyticsHandler) decided(ctx context.Context, q Analytics, intervals int) ([]decided, error) {
	all := make([]decided, intervals)
	q.Compare, q.GroupBy, q.Filter.Code = "", nil, nil // grants have no code
	for _, metric := range []string{projector.MetricDenials, projector.MetricDownloads, projector.MetricRenewals} {
		q.Metric = metric
		answer, err := AnalyticsHandler(h).Handle(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, g := range answer.Groups {
			for i, n := range g.Values {
				all[i].all += n
				if metric == projector.MetricDenials {
					all[i].refused += n
				}
			}
		}
	}
	return all, nil
}

type decided struct{ refused, all int64 }

type analyticsTable struct {
	groupBy []string
	now     AnalyticsAnswer
	before  map[string][]int64 // by group; nil: not compared
	decided []decided          // nil: nothing of refusals
}

func (t *analyticsTable) columns() []string {
	columns := append([]string{"metric", "measure", "interval", "tz", "from"}, t.groupBy...)
	columns = append(columns, "value", "group_total")
	if t.before != nil {
		columns = append(columns, "previous", "group_previous")
	}
	if t.decided != nil {
		columns = append(columns, "decided", "refusal_rate")
	}
	return columns
}

func (t *analyticsTable) rows(yield func(Row, error) bool) {
	a := &t.now
	for _, g := range a.Groups {
		before := t.before[joined(g.Key)]
		for i, n := range g.Values {
			row := Row{a.Metric, a.Measure, cmp.Or(a.Interval, "all"), a.TZ, a.Times[i]}
			for d, key := range g.Key {
				row = append(row, dimension(t.groupBy[d], key))
			}
			row = append(row, n, g.Total)
			if t.before != nil {
				row = append(row, countedBefore(before, i, g.Previous), number(g.Previous))
			}
			if t.decided != nil {
				row = append(row, t.decided[i].all, t.decided[i].rate())
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// countedBefore is the count at a place of the range before: none, if the whole group has none; nil, if the group is not one
// of those that are counted by interval.
func countedBefore(values []int64, i int, total *int64) any {
	switch {
	case i < len(values):
		return values[i]
	case values == nil && total != nil && *total > 0:
		return nil
	}
	return int64(0)
}

// rate is the part that was refused, from 0 to 1; nil: nothing was decided.
func (d decided) rate() any {
	if d.all == 0 {
		return nil
	}
	return float64(d.refused) / float64(d.all)
}

// dimension is the value of a dimension, as the column of its name holds it.
func dimension(name, value string) any {
	if value == "" {
		return nil
	}
	if name == "policy_version" {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return n
		}
	}
	return value
}
