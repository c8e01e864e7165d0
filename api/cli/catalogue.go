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
	File    string `arg:"" help:"CSV with the header title_id,title,kind,release_date,duration,rating,genres,country,language,available_globally,original,hours_viewed,views and optionally studio, windows (DE+AT@2026-01-01..2026-07-01|US@..); - reads standard input."`
	Partial bool   `help:"Leave bad rows out and import the rest."`
}

// Help is shown by --help.
func (catalogueImport) Help() string {
	return `Names each bad row by line and reason. With a bad row nothing is replaced, because titles that are left out are refused as unknown from then on; --partial leaves them out all the same. Running servers take the new catalogue at their next start. Exit status: 0 imported, 4 nothing was replaced because of bad rows, 1 the file could not be read as a catalogue, 2 it could not be opened.`
}

func (i catalogueImport) check() error {
	var c complaints
	if i.File != "-" {
		c.file("<file>", i.File)
	}
	return c.err()
}

// Run replaces the catalogue.
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
	take := c.Import
	if i.Partial {
		take = c.ImportGoodRows
	}
	report, err := take(r.ctx, in)
	const shown = 50
	for n, bad := range report.Bad {
		if n == shown {
			fmt.Fprintf(r.Err, "… and %d more rows\n", len(report.Bad)-shown)
			break
		}
		fmt.Fprintf(r.Err, "line %d: %s\n", bad.Line, bad.Reason)
	}
	if errors.Is(err, ErrBadRows) && !i.Partial {
		return fmt.Errorf("%w; catalogue %s stays in force. Mend the rows, or leave them out with --partial", err, c.Version())
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.Out, "imported %d titles as catalogue %s; %d rows left out\n", report.Imported, report.Version, len(report.Bad))
	return err
}
