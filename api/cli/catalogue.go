package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
)

type catalogueCommand struct {
	Show   catalogueShow   `cmd:"" default:"1" help:"Tell which catalogue is in force."`
	Import catalogueImport `cmd:"" help:"Replace the catalogue by a CSV file."`
}

type catalogueShow struct{}

// Run tells what is in force.
func (catalogueShow) Run(r *run) error {
	c, err := r.wiring.Catalogue(r.config)
	if err != nil {
		return err
	}
	movies, series, episodes := c.Counts()
	_, err = fmt.Fprintf(r.Out, "catalogue %s: %d movies, %d series with %d episodes\n", c.Version(), movies, series, episodes)
	return err
}

type catalogueImport struct {
	File string `arg:"" help:"CSV with the header title_id,title,kind,release_date,duration,rating,genres,country,language,available_globally,original,hours_viewed,views and optionally studio, windows (DE+AT@2026-01-01..2026-07-01|US@..); - reads standard input."`
}

// Run replaces the catalogue and reports each row that was left out. Running servers take it at their next start.
func (i catalogueImport) Run(r *run) (err error) {
	c, err := r.wiring.Catalogue(r.config)
	if err != nil {
		return err
	}
	in := io.Reader(os.Stdin)
	if i.File != "-" {
		f, err := os.Open(i.File)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		in = f
	}
	report, err := c.Import(r.ctx, in)
	const shown = 50
	for n, bad := range report.Bad {
		if n == shown {
			fmt.Fprintf(r.Err, "… and %d more rows\n", len(report.Bad)-shown)
			break
		}
		fmt.Fprintf(r.Err, "line %d: %s\n", bad.Line, bad.Reason)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "imported %d titles as catalogue %s; %d rows left out\n", report.Imported, report.Version, len(report.Bad))
	if len(report.Bad) > 0 {
		return fmt.Errorf("%d rows were left out: %w", len(report.Bad), ErrFound)
	}
	return nil
}
