package queryapi

import (
	"context"
	"time"

	"carryon/api/web"
	"carryon/query"
)

// defaultRange is what figures are given for when no beginning is named.
const defaultRange = 30 * 24 * time.Hour

func (r routes) events() {
	const tag = "events"
	web.Handle(r.api, r.get("lookup", "/v1/lookup", tag, "What an id is", "Of a customer, device, licence, exception, decision, command or request.", fresh...),
		func(ctx context.Context, in *struct {
			Q web.ID `query:"q" required:"true" doc:"The id" example:"c-42"`
		}) (*Answer[query.LookupAnswer], error) {
			return plain(r.ask.Lookup.Handle(ctx, query.Lookup{By: by(ctx), Q: string(in.Q)}))
		})
	web.Handle(r.api, r.get("search-events", "/v1/events/search", tag, "Search events", "Full text with typos, filters, facets, highlights. Each word of q must match, as itself, as a beginning, or with a typo.", fresh...),
		func(ctx context.Context, in *struct {
			Searching
			Facets []string `query:"facets" maxItems:"20" doc:"Fields to count hits by; all that there are without" example:"[\"code\",\"studio\"]"`
			Paged
			Reached
		}) (*Answer[query.SearchEventsAnswer], error) {
			at, err := position(in.MinPosition)
			if err != nil {
				return nil, err
			}
			q := in.Searching.search(ctx)
			q.Facets, q.Page, q.MinPosition = in.Facets, in.page(), at
			return plain(r.ask.SearchEvents.Handle(ctx, q))
		})
	web.Handle(r.api, r.get("get-analytics", "/v1/analytics/{metric}", tag, "How many, over time and by dimension", "Without from, the thirty days before to; without to, until now. Times are cut in the time zone asked for.", fresh...),
		func(ctx context.Context, in *Counting) (*Answer[query.AnalyticsAnswer], error) {
			q, err := r.count(ctx, in)
			if err != nil {
				return nil, err
			}
			return plain(r.ask.Analytics.Handle(ctx, q))
		})
	resolve := r.get("resolve-pseudonym", "/v1/pseudonyms/{pseudonym}/resolve", tag, "Who stands behind a pseudonym", "Needs a reason, and is recorded.")
	resolve.Method = "POST"
	web.Handle(r.api, resolve, func(ctx context.Context, in *struct {
		Pseudonym web.ID `path:"pseudonym" doc:"Of a customer or device"`
		Body      struct {
			Reason string `json:"reason" minLength:"1" maxLength:"512" doc:"Why it must be known" example:"Fraud case 1234"`
		}
	}) (*Answer[query.ResolveAnswer], error) {
		return plain(r.ask.Resolve.Handle(ctx, query.Resolve{By: by(ctx), Pseudonym: string(in.Pseudonym), Reason: in.Body.Reason}))
	})
}

// Searching is the question of a search, however it is answered.
type Searching struct {
	Q string `query:"q" maxLength:"512" doc:"Words; all events without" example:"stranger"`
	Filters
	Sort string `query:"sort" enum:"relevance,newest,oldest" doc:"relevance with q, newest without"`
}

func (s *Searching) search(ctx context.Context) query.SearchEvents {
	return query.SearchEvents{By: by(ctx), Q: s.Q, Filter: s.filter(), Sort: s.Sort}
}

// Counting is the question of analytics, however it is answered.
type Counting struct {
	Metric   string   `path:"metric" enum:"downloads,renewals,plays,denials,active" doc:"What is counted"`
	GroupBy  []string `query:"group_by" maxItems:"3" doc:"Up to three of title_id, series, studio, plan, country, device_type, device_family, trigger, code, basis, policy_version, role" example:"[\"studio\"]"`
	Interval string   `query:"interval" enum:"hour,day,week,month" doc:"The range at once without; weeks begin on Monday"`
	TZ       string   `query:"tz" maxLength:"64" doc:"IANA name of the time zone that intervals are cut in; UTC without" example:"Europe/Berlin"`
	Measure  string   `query:"measure" enum:"count,customers,devices" doc:"Events, or distinct customers or devices; count without"`
	Compare  string   `query:"compare" enum:"previous" doc:"Also the range of the same length just before"`
	Top      int      `query:"top" minimum:"1" maximum:"100" doc:"How many groups, the largest first; 20 without"`
	Filters
	Reached
}

func (r routes) count(ctx context.Context, in *Counting) (query.Analytics, error) {
	at, err := position(in.MinPosition)
	q := query.Analytics{
		By: by(ctx), Metric: in.Metric, GroupBy: in.GroupBy, Interval: in.Interval, TZ: in.TZ, Measure: in.Measure, Compare: in.Compare,
		Top: in.Top, Filter: in.filter(), MinPosition: at,
	}
	if q.Filter.To.IsZero() {
		q.Filter.To = r.o.Clock().UTC()
	}
	if q.Filter.From.IsZero() {
		q.Filter.From = q.Filter.To.Add(-defaultRange)
	}
	return q, err
}
