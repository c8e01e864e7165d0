// Package queryapi is the way in for questions over HTTP: what support and analysts ask, and devices of their own
// customer.
package queryapi

import (
	"context"
	"io"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"carryon/api/web"
	"carryon/query"
)

// Question is something that can be asked: a handler of query.App.
type Question[Q, A any] interface {
	Handle(ctx context.Context, q Q) (A, error)
}

// Questions are what the routes ask.
type Questions struct {
	Lookup Question[query.Lookup, query.LookupAnswer]

	Customer   Question[query.Customer, query.CustomerAnswer]
	Devices    Question[query.Devices, query.DevicesAnswer]
	Licenses   Question[query.Licenses, query.LicensesAnswer]
	Exceptions Question[query.Exceptions, query.ExceptionsAnswer]
	Denials    Question[query.Denials, query.DenialsAnswer]
	Timeline   Question[query.Timeline, query.TimelineAnswer]
	Explain    Question[query.Explain, query.ExplainAnswer]
	State      Question[query.State, query.StateAnswer]
	Decision   Question[query.Decision, query.DecisionAnswer]

	SearchEvents Question[query.SearchEvents, query.SearchEventsAnswer]
	Analytics    Question[query.Analytics, query.AnalyticsAnswer]

	Titles        Question[query.Titles, query.TitlesAnswer]
	DeviceTypes   Question[query.DeviceTypes, query.DeviceTypesAnswer]
	PolicyVersion Question[query.PolicyVersion, query.PolicyVersionAnswer]
	PolicyDiff    Question[query.PolicyDiff, query.PolicyDiffAnswer]

	CommonTimeline Question[query.CommonTimeline, query.CommonTimelineAnswer]

	Projections Question[query.ListProjections, query.ListProjectionsAnswer]
	Parked      Question[query.ListParked, query.ListParkedAnswer]
	RetryParked Question[query.RetryParked, query.RetryParkedAnswer]

	RetryAllParked Question[query.RetryAllParked, query.RetryAllParkedAnswer]
	DropParked     Question[query.DropParked, query.RetryParkedAnswer]
	RebuildModel   Question[query.RebuildModel, query.RebuildModelAnswer]
	Processes      Question[query.ListProcesses, query.ListProcessesAnswer]

	Resolve Question[query.Resolve, query.ResolveAnswer]
	Access  Question[query.Accesses, query.AccessesAnswer]
	Export  Question[query.Export, query.Exported]
	Live    Question[query.Live, query.LiveRun]

	ExportSearch    Question[query.SearchEvents, query.Exported]
	ExportAnalytics Question[query.Analytics, query.Exported]

	AccessExport Question[query.AccessExport, func(io.Writer) error]
}

// From are the questions that the query side answers.
func From(app *query.App) Questions {
	return Questions{
		Lookup: app.Lookup, Customer: app.Customer, Devices: app.Devices, Licenses: app.Licenses, Exceptions: app.Exceptions,
		Denials: app.Denials, Timeline: app.Timeline, Explain: app.Explain, State: app.State, Decision: app.Decision,
		SearchEvents: app.SearchEvents, Analytics: app.Analytics, Titles: app.Titles, DeviceTypes: app.DeviceTypes,
		PolicyVersion: app.PolicyVersion, PolicyDiff: app.PolicyDiff, CommonTimeline: app.CommonTimeline, Projections: app.Projections, Parked: app.Parked,
		RetryParked: app.RetryParked, RetryAllParked: app.RetryAllParked, DropParked: app.DropParked, RebuildModel: app.RebuildModel, Processes: app.Processes, Resolve: app.Resolve, Access: app.Access, Export: app.Export, Live: app.Live, AccessExport: app.AccessExport,
		ExportSearch: app.ExportSearch, ExportAnalytics: app.ExportAnalytics,
	}
}

// Options are the settings of the API.
type Options struct {
	Timeout       time.Duration    // until a question is given up; 0: 15s
	ExportTimeout time.Duration    // until an export is given up; 0: 10m
	Version       string           // of the program, told by the document that is served; empty: that of the routes
	Clock         func() time.Time // nil: the real one
}

const (
	defaultTimeout       = 15 * time.Second
	defaultExportTimeout = 10 * time.Minute
)

const about = `Questions: what customer service and analysts ask, and devices of their own customer. Answers come from read models, which
follow the log within milliseconds.

**How fresh.** Each answer about a customer says the version that it was made from (also the ETag). Ask with min_version or
min_position, from the answer to a command, to read your own write: the answer waits until the read model has come that far (504
BEHIND if it does not before the deadline, and at once if the log has not; 503 PARKED if it will not). Or ask with consistency=authoritative: folded from the event
store. If-None-Match with the ETag is answered with 304 while nothing was recorded about the customer; remaining durations and
expiries pass under the same ETag.

**Who sees what.** A device sees its own customer; anything else does not exist for it. What support reads about a customer is
recorded, a search and a live stream included. An analyst sees pseudonyms, filters by them, not by actor, license_id or case, and may
resolve one for a reason, which is recorded.

**Pages.** limit (1 to 200, 50 without) and next_cursor, which is given back as cursor with the same other parameters.

**Lists** in a query are given with commas or as several parameters of one name; series, actor and case only as several.

**Problems** are application/problem+json (RFC 9457).`

// Mount adds the routes to a gateway, and serves their document.
func Mount(g *web.Gateway, app *query.App, o Options) (*web.API, error) {
	return MountQuestions(g, From(app), o)
}

// MountQuestions is Mount for whoever answers.
func MountQuestions(g *web.Gateway, ask Questions, o Options) (*web.API, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.ExportTimeout <= 0 {
		o.ExportTimeout = defaultExportTimeout
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	api := web.NewAPI(g, "Carryon queries", o.Version, about, []*huma.Tag{
		{Name: "customers", Description: "One customer: now, at any moment, and why"},
		{Name: "events", Description: "All customers: search, figures, exports"},
		{Name: "reference", Description: "What is decided for everyone: titles, device types, policies"},
		{Name: "operations", Description: "How far the read models are"},
	})
	r := routes{api: api, ask: ask, o: o}
	r.customers()
	r.events()
	r.live()
	r.exports()
	r.accessExport()
	r.reference()
	r.operations()
	g.ServeDocument("query", api)
	return api, api.Err()
}

type routes struct {
	api *web.API
	ask Questions
	o   Options
}

func (r routes) get(id, path, tag, summary, description string, problems ...web.Kind) web.Spec {
	return web.Spec{ID: id, Method: "GET", Path: path, Tag: tag, Summary: summary, Description: description, Timeout: r.o.Timeout, Problems: problems}
}

// by is who asks.
func by(ctx context.Context) query.Caller {
	return query.Caller{Actor: web.Caller(ctx).Actor(), RequestID: web.RequestOf(ctx).ID}
}
