package queryapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"carryon/api/web"
	"carryon/query"
)

// An export is written as it is read: nothing holds it whole. When it fails half-way, the connection is cut, so that half
// a table can't be taken for a whole one.

const (
	formatCSV     = "csv"
	formatNDJSON  = "ndjson"
	formatParquet = "parquet"

	exportBuffer   = 64 << 10
	exportPatience = 30 * time.Second // for the caller to take what was written
)

// Table is an export on its way out.
type Table struct {
	Body func(huma.Context)
}

func (r routes) exports() {
	streams := func(s web.Spec) web.Spec {
		s.Timeout, s.Success, s.Stream = r.o.ExportTimeout, "The rows. A connection that is cut means that some are missing.", []string{"text/csv", "application/x-ndjson", "application/vnd.apache.parquet"}
		return s
	}
	spec := streams(r.get("export", "/v1/exports/{table}", "events", "A whole table", "Every row, without personal words. Support exports single customers, which is recorded; an analyst gets pseudonyms, and neither timeline nor exceptions. Each table takes the filters that fit it."))
	web.Handle(r.api, spec, func(ctx context.Context, in *struct {
		Table string `path:"table" enum:"timeline,denials,events,customers,devices,licenses,exceptions" doc:"What"`
		Formatted
		Filters
	}) (*Table, error) {
		table, err := r.ask.Export.Handle(ctx, query.Export{By: by(ctx), Table: in.Table, Filter: in.filter()})
		if err != nil {
			return nil, err
		}
		return &Table{Body: func(c huma.Context) { r.export(ctx, c, table, in.Table, in.Format) }}, nil
	})
	spec = streams(r.get("export-search", "/v1/exports/search", "events", "Every hit of a search", "In the order of the search, with the same rights: an analyst gets pseudonyms, and of support every customer that is in it is recorded."))
	web.Handle(r.api, spec, func(ctx context.Context, in *struct {
		Formatted
		Searching
	}) (*Table, error) {
		table, err := r.ask.ExportSearch.Handle(ctx, in.search(ctx))
		if err != nil {
			return nil, err
		}
		return &Table{Body: func(c huma.Context) { r.export(ctx, c, table, "search", in.Format) }}, nil
	})
	spec = streams(r.get("export-analytics", "/v1/exports/analytics/{metric}", "events", "Figures over time, as rows", "A row for each group and interval. With compare, previous is the count of the interval at the same place of the range before. Of refusals, refusal_rate is their part, from 0 to 1, of all that was decided in the interval, over all groups.", fresh...))
	web.Handle(r.api, spec, func(ctx context.Context, in *struct {
		Formatted
		Counting
	}) (*Table, error) {
		q, err := r.count(ctx, &in.Counting)
		if err != nil {
			return nil, err
		}
		table, err := r.ask.ExportAnalytics.Handle(ctx, q)
		if err != nil {
			return nil, err
		}
		return &Table{Body: func(c huma.Context) { r.export(ctx, c, table, in.Metric, in.Format) }}, nil
	})
}

// Formatted says how rows are written.
type Formatted struct {
	Format string `query:"format" enum:"csv,ndjson,parquet" doc:"csv (RFC 4180, with a line of names) without"`
}

// Everything is an access export on its way out.
type Everything struct {
	Body func(huma.Context)
}

func (r routes) accessExport() {
	spec := r.get("access-export", "/v1/customers/{customer}/access-export", "customers", "Everything that is held about a customer", "One JSON document: the customer, devices, licences, exceptions, refusals, every event with its words opened, and who looked. It is recorded.")
	spec.Timeout, spec.Success, spec.Stream = r.o.ExportTimeout, "The document. A connection that is cut means that some of it is missing.", []string{"application/json"}
	web.Handle(r.api, spec, func(ctx context.Context, in *struct {
		Customer web.ID `path:"customer" doc:"The customer's id" example:"c-42"`
	}) (*Everything, error) {
		write, err := r.ask.AccessExport.Handle(ctx, query.AccessExport{By: by(ctx), Customer: string(in.Customer)})
		if err != nil {
			return nil, err
		}
		return &Everything{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "application/json")
			c.SetHeader("Content-Disposition", `attachment; filename="access-export.json"`)
			c.SetStatus(http.StatusOK)
			if c.Method() == http.MethodHead {
				return
			}
			_, w := humachi.Unwrap(c)
			if err := write(patient{w: w, control: http.NewResponseController(w)}); err != nil {
				web.CutOff(ctx, err)
			}
		}}, nil
	})
}

func (r routes) export(ctx context.Context, c huma.Context, table query.Exported, name, format string) {
	write, kind := table.WriteCSV, "text/csv; charset=utf-8"
	switch format {
	case formatNDJSON:
		write, kind = table.WriteNDJSON, "application/x-ndjson"
	case formatParquet:
		write, kind = table.WriteParquet, "application/vnd.apache.parquet"
	default:
		format = formatCSV
	}
	c.SetHeader("Content-Type", kind)
	c.SetHeader("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name+"."+format))
	c.SetStatus(http.StatusOK)
	if c.Method() == http.MethodHead {
		return
	}
	_, w := humachi.Unwrap(c)
	out := bufio.NewWriterSize(patient{w: w, control: http.NewResponseController(w)}, exportBuffer)
	_, err := write(out, nil)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		web.CutOff(ctx, fmt.Errorf("exporting %s: %w", name, err))
	}
}

// patient gives each write its own time, so that an export may take longer than an answer.
type patient struct {
	w       io.Writer
	control *http.ResponseController
}

// Write writes on.
func (p patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(exportPatience)) // a writer without deadlines (in tests) does without
	return p.w.Write(b)                                            //nolint:wrapcheck // told by the caller
}
