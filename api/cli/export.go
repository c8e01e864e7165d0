package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"carryon/domain"
	"carryon/query"
)

type exportCommand struct {
	Table    string   `arg:"" help:"timeline, denials, events, licenses, devices, customers or exceptions; search: what a search finds, in its order; analytics: counts over time." enum:"timeline,denials,events,licenses,devices,customers,exceptions,search,analytics"`
	Format   string   `help:"csv, ndjson or parquet." enum:"csv,ndjson,parquet" default:"csv"`
	Output   string   `help:"File to write; - is standard output." short:"o" default:"-" placeholder:"FILE"`
	Analyst  bool     `help:"With pseudonyms instead of customers and devices."`
	Customer []string `group:"filters" help:"Only these customers." placeholder:"ID"`
	Type     []string `group:"filters" help:"Only these event types." placeholder:"TYPE"`
	Device   []string `group:"filters" help:"Only these devices." placeholder:"ID"`
	Title    []string `group:"filters" help:"Only these titles." placeholder:"ID"`
	Series   []string `group:"filters" help:"Only these series." placeholder:"NAME" sep:"none"`
	License  []string `group:"filters" help:"Only these licences." placeholder:"ID"`
	Studio   []string `group:"filters" help:"Only these studios." placeholder:"ID"`
	Plan     []string `group:"filters" help:"Only these plans." placeholder:"PLAN"`
	Country  []string `group:"filters" help:"Only these countries." placeholder:"CODE"`

	DeviceType    []string `group:"filters" help:"Only these device types." placeholder:"TYPE"`
	DeviceFamily  []string `group:"filters" help:"Only these kinds of device." placeholder:"FAMILY"`
	Code          []string `group:"filters" help:"Only these refusal codes." placeholder:"CODE"`
	Actor         []string `group:"filters" help:"Only what these did." placeholder:"ID" sep:"none"`
	Role          []string `group:"filters" help:"Only what was done in these roles." placeholder:"ROLE"`
	Case          []string `group:"filters" help:"Only of these cases." placeholder:"CASE" sep:"none"`
	Trigger       []string `group:"filters" help:"user, auto." placeholder:"TRIGGER"`
	Basis         []string `group:"filters" help:"books, fail_open." placeholder:"BASIS"`
	PolicyVersion []int    `group:"filters" help:"Only under these versions of the policy." placeholder:"N"`

	From time.Time `group:"filters" help:"Recorded at or after, as in 2026-03-01T00:00:00Z." placeholder:"TIME"`
	To   time.Time `group:"filters" help:"Recorded before." placeholder:"TIME"`

	Words string `group:"search" help:"Words that each must match, as in the search." short:"q" placeholder:"WORDS"`
	Sort  string `group:"search" help:"relevance (default with words), newest (default without), oldest." enum:",relevance,newest,oldest" default:""`

	Metric   string   `group:"analytics" help:"downloads, renewals, plays, denials or active." enum:"downloads,renewals,plays,denials,active" default:"downloads"`
	GroupBy  []string `group:"analytics" help:"Up to three dimensions, as in studio,plan." placeholder:"FIELD"`
	Interval string   `group:"analytics" help:"hour, day, week or month; the range at once without." enum:",hour,day,week,month" default:""`
	TZ       string   `name:"tz" group:"analytics" help:"Time zone that intervals are cut in." default:"UTC"`
	Measure  string   `group:"analytics" help:"count, customers or devices." enum:"count,customers,devices" default:"count"`
	Compare  bool     `group:"analytics" help:"Also the range of the same length just before."`
	Top      int      `group:"analytics" help:"Groups at most, the largest first." default:"20"`
}

// Help is shown by --help.
func (exportCommand) Help() string {
	return `Rows are streamed from the read models; memory stays flat, whatever their number. What is exported is as far as the projectors are.
Search and analytics hold exactly what the console shows for the same question. Without --from, analytics count the thirty days before --to.`
}

func (e exportCommand) check() error {
	var c complaints
	c.wrong((e.Words != "" || e.Sort != "") && e.Table != "search", "--words and --sort are for the table search")
	if e.Table != "analytics" {
		c.wrong(len(e.GroupBy) > 0 || e.Interval != "" || e.Compare, "--group-by, --interval and --compare are for the table analytics")
	}
	c.wrong(e.Table == "analytics" && e.Top == 0, "--top is 0; 1 to %d are possible", query.MaxTop)
	c.id("--customer", e.Customer...)
	c.id("--device", e.Device...)
	c.id("--title", e.Title...)
	c.id("--license", e.License...)
	c.id("--device-type", e.DeviceType...)
	c.country("--country", e.Country...)
	switch e.Table {
	case "search":
		q := e.search()
		c.fields(q.Check())
	case "analytics":
		q := e.analytics()
		c.fields(q.Check())
	default:
		q := e.rows()
		c.fields(q.Check())
	}
	if e.Output != "-" {
		info, err := os.Stat(filepath.Dir(e.Output))
		c.wrong(err != nil || !info.IsDir(), "--output: there is no folder %s", filepath.Dir(e.Output))
	}
	return c.err()
}

// by is who exports.
func (e exportCommand) by() query.Caller {
	role := domain.RoleOperator
	if e.Analyst {
		role = domain.RoleAnalyst
	}
	return query.Caller{Actor: domain.Actor{ID: "command-line", Role: role}}
}

func (e exportCommand) filter() query.Filter {
	return query.Filter{
		Customer: e.Customer, Type: e.Type, DeviceID: e.Device, TitleID: e.Title, Series: e.Series, LicenseID: e.License, Studio: e.Studio,
		Plan: e.Plan, Country: e.Country, DeviceType: e.DeviceType, DeviceFamily: e.DeviceFamily, Code: e.Code, Actor: e.Actor, Role: e.Role,
		Case: e.Case, Trigger: e.Trigger, Basis: e.Basis, PolicyVersion: e.PolicyVersion, From: e.From, To: e.To,
	}
}

func (e exportCommand) rows() query.Export {
	return query.Export{By: e.by(), Table: e.Table, Filter: e.filter()}
}

func (e exportCommand) search() query.SearchEvents {
	return query.SearchEvents{By: e.by(), Q: e.Words, Sort: e.Sort, Filter: e.filter()}
}

func (e exportCommand) analytics() query.Analytics {
	filter := e.filter()
	if filter.To.IsZero() {
		filter.To = time.Now().UTC()
	}
	if filter.From.IsZero() {
		filter.From = filter.To.Add(-analyticsRange)
	}
	q := query.Analytics{By: e.by(), Metric: e.Metric, GroupBy: e.GroupBy, Interval: e.Interval, TZ: e.TZ, Measure: e.Measure, Top: e.Top, Filter: filter}
	if e.Compare {
		q.Compare = "previous"
	}
	return q
}

// table begins what was asked for.
func (e exportCommand) table(r *run, ask *query.App) (query.Exported, error) {
	switch e.Table {
	case "search":
		return ask.ExportSearch.Handle(r.ctx, e.search())
	case "analytics":
		return ask.ExportAnalytics.Handle(r.ctx, e.analytics())
	}
	return ask.Export.Handle(r.ctx, e.rows())
}

const analyticsRange = 30 * 24 * time.Hour

// Run writes the table.
func (e exportCommand) Run(r *run) (err error) {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	table, err := e.table(r, system.Queries())
	if err != nil {
		return inFlags(err)
	}
	out := r.Out
	if e.Output != "-" {
		f, err := os.OpenFile(e.Output, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	buffered := bufio.NewWriterSize(out, 256<<10)
	show := newProgress(r.Err, "exporting", "rows", 0)
	write := table.WriteCSV
	switch e.Format {
	case "ndjson":
		write = table.WriteNDJSON
	case "parquet":
		write = table.WriteParquet
	}
	rows, err := write(buffered, show.Set)
	if err := errors.Join(err, buffered.Flush()); err != nil {
		return fmt.Errorf("after %d rows: %w", rows, err)
	}
	show.Done()
	return nil
}
