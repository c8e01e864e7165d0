package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"carryon/api/strictyaml"
	"carryon/command"
	"carryon/domain"
)

type backtestCommand struct {
	Policy string    `help:"Policy document to decide under, JSON or (.yaml, .yml) YAML." required:"" placeholder:"FILE"`
	From   time.Time `help:"Only what was decided at or after, as in 2026-03-01T00:00:00Z." placeholder:"TIME"`
	To     time.Time `help:"Only what was decided before." placeholder:"TIME"`
	Studio []string  `help:"Only titles of these studios." placeholder:"ID"`
	Plan   []string  `help:"Only customers who then had these plans." placeholder:"NAME"`
	Sample float64   `help:"Share of the customers, as in 0.1; 0: all." default:"0"`
	Seed   uint64    `help:"Which customers are sampled." default:"1"`
	Output string    `help:"Write every difference to this file." short:"o" placeholder:"FILE"`
	Format string    `help:"Of that file: csv or ndjson." enum:"csv,ndjson" default:"csv"`
}

// Help is shown by --help.
func (backtestCommand) Help() string {
	return `Every recorded grant and refusal is decided again on the customer's books as they were then, with the titles and withdrawals known then, under the given policy as if it had always been in force. What would have been decided otherwise is counted by rule, plan and studio. The books go on as they did: a grant that would have been refused still counts for what followed.

The policy is JSON, or YAML in a file that ends in .yaml or .yml. The policy in force is a document to begin with: GET /v1/policies/default/versions/current.`
}

func (b backtestCommand) check() error {
	var c complaints
	c.wrong(!(b.Sample >= 0 && b.Sample <= 1), "--sample is outside 0 to 1")
	c.wrong(!b.From.IsZero() && !b.To.IsZero() && !b.From.Before(b.To), "--to is not after --from")
	if b.Policy != "" {
		_, err := b.policy()
		c.wrong(err != nil, "%w", err)
	}
	return c.err()
}

// policy is the document to decide under.
func (b backtestCommand) policy() (*domain.Policy, error) {
	document, err := os.ReadFile(b.Policy)
	if err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	policy, err := strictyaml.ReadPolicy(b.Policy, document)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Policy, err)
	}
	return policy, nil
}

// Run runs the backtest.
func (b backtestCommand) Run(r *run) (err error) {
	policy, err := b.policy()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	test := command.Backtest{Policy: policy, From: b.From, To: b.To, Studios: b.Studio, Plans: b.Plan, Sample: b.Sample, Seed: b.Seed}
	if b.Output != "" {
		out, err := openDifferences(b.Output, b.Format)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, out.close()) }()
		test.Each = out.write
	}
	var once sync.Once
	var show progress
	test.Progress = func(done, total int64) {
		once.Do(func() { show = newProgress(r.Err, "deciding again", "customers", total) })
		show.Set(done)
	}
	report, err := system.Commands().Backtest(r.ctx, test)
	if show != nil {
		show.Done()
	}
	if err != nil {
		if _, wrong := errors.AsType[command.FieldErrors](err); wrong {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return err
	}
	return printBacktest(r.Out, &report)
}

func printBacktest(w io.Writer, report *command.BacktestReport) error {
	seconds := max(report.Took.Seconds(), 1e-9)
	fmt.Fprintf(w, "%d decisions of %d customers made again, along %d events, in %s (%.0f events/s)\n", report.Decisions, report.Customers, report.Events,
		report.Took.Round(time.Millisecond), float64(report.Events)/seconds)
	if report.Left > 0 {
		fmt.Fprintf(w, "%d grants were made without the books and are left out\n", report.Left)
	}
	fmt.Fprintf(w, "\n%d past grants would have been refused, %d refusals granted, %d refused for another reason\n",
		report.Total[command.WouldRefuse], report.Total[command.WouldGrant], report.Total[command.WouldSayOtherwise])
	for _, by := range []struct {
		name    string
		tallies map[string]command.Tally
	}{{"rule", report.ByRule}, {"plan", report.ByPlan}, {"studio", report.ByStudio}} {
		if len(by.tallies) == 0 {
			continue
		}
		table := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(table, "\nby %s\twould refuse\twould grant\tother reason\t\n", by.name)
		for _, key := range slices.Sorted(maps.Keys(by.tallies)) {
			t := by.tallies[key]
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t\n", key, t[command.WouldRefuse], t[command.WouldGrant], t[command.WouldSayOtherwise])
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(report.Examples) > 0 {
		fmt.Fprintf(w, "\nexamples\n")
	}
	for i := range report.Examples {
		d := &report.Examples[i]
		fmt.Fprintf(w, "  %s  %s %s of %s: was %s, would be %s (%s)\n      carryon explain --decision %s --customer %s\n", d.DecidedAt.Format(time.RFC3339),
			d.Command, d.TitleID, d.Customer, said(d.Was, d.WasCode), said(d.Would, d.WouldCode), d.Rule, d.Decision, d.Customer)
	}
	return nil
}

func said(outcome, code string) string {
	if code == "" {
		return outcome
	}
	return outcome + " " + code
}

// differences is a file of differences.
type differences struct {
	file *os.File
	out  *bufio.Writer
	csv  *csv.Writer // nil: NDJSON
}

func openDifferences(path, format string) (*differences, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: --output: %w", errUsage, err)
	}
	d := &differences{file: f, out: bufio.NewWriterSize(f, 256<<10)}
	if format == "csv" {
		d.csv = csv.NewWriter(d.out)
		return d, d.csv.Write([]string{"kind", "decided_at", "customer", "seq", "decision", "command", "title_id", "studio", "plan", "country", "was", "was_code", "would", "would_code", "rule", "source"})
	}
	return d, nil
}

func (d *differences) write(x *command.Difference) error {
	if d.csv != nil {
		return d.csv.Write([]string{
			x.Kind(), x.DecidedAt.Format(time.RFC3339Nano), x.Customer, strconv.FormatUint(x.Seq, 10), x.Decision, x.Command, x.TitleID, x.Studio, x.Plan,
			x.Country, x.Was, x.WasCode, x.Would, x.WouldCode, x.Rule, x.Source,
		})
	}
	return json.NewEncoder(d.out).Encode(struct {
		Kind string `json:"kind"`
		*command.Difference
	}{x.Kind(), x})
}

func (d *differences) close() error {
	if d.csv != nil {
		d.csv.Flush()
	}
	return errors.Join(d.out.Flush(), d.file.Close())
}
