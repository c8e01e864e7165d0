package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"time"

	"carryon/domain"
	"carryon/query"
)

type exportCommand struct {
	Table    string    `arg:"" help:"timeline, denials, events, licenses, devices or customers." enum:"timeline,denials,events,licenses,devices,customers"`
	Format   string    `help:"csv, ndjson or parquet." enum:"csv,ndjson,parquet" default:"csv"`
	Output   string    `help:"File to write; - is standard output." short:"o" default:"-" placeholder:"FILE"`
	Customer []string  `help:"Only these customers." placeholder:"ID"`
	Type     []string  `help:"Only these event types." placeholder:"TYPE"`
	Title    []string  `help:"Only these titles." placeholder:"ID"`
	Studio   []string  `help:"Only these studios." placeholder:"ID"`
	Code     []string  `help:"Only these refusal codes." placeholder:"CODE"`
	From     time.Time `help:"Recorded at or after, as in 2026-03-01T00:00:00Z." placeholder:"TIME"`
	To       time.Time `help:"Recorded before." placeholder:"TIME"`
	Analyst  bool      `help:"With pseudonyms instead of customers and devices."`
}

// Help is shown by --help.
func (exportCommand) Help() string {
	return `Rows are streamed from the read models; memory stays flat, whatever their number. What is exported is as far as the projectors are.`
}

// Run writes the table.
func (e exportCommand) Run(r *run) (err error) {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	role := domain.RoleOperator
	if e.Analyst {
		role = domain.RoleAnalyst
	}
	table, err := system.Queries().Export.Handle(r.ctx, query.Export{
		By:    query.Caller{Actor: domain.Actor{ID: "command-line", Role: role}},
		Table: e.Table,
		Filter: query.Filter{
			Customer: e.Customer, Type: e.Type, TitleID: e.Title, Studio: e.Studio, Code: e.Code, From: e.From, To: e.To,
		},
	})
	if err != nil {
		return err
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
