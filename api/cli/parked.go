package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"carryon/domain"
	"carryon/query"
)

type parkedCommand struct {
	List  parkedListCommand  `cmd:"" help:"Which streams wait, at which event, and why."`
	Retry parkedRetryCommand `cmd:"" help:"Apply a parked stream, or all of a read model, from the event that was not applied."`
	Drop  parkedDropCommand  `cmd:"" help:"Leave out, for good, the event that a stream is parked at. Who did it and why is recorded."`
}

// operator is who works on the command line.
func operator() query.Caller {
	return query.Caller{Actor: domain.Actor{ID: "command-line", Role: domain.RoleOperator}}
}

type parkedListCommand struct {
	Model string `arg:"" optional:"" help:"Only of this read model."`
}

// Run lists.
func (c parkedListCommand) Run(r *run) error {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	models := []string{c.Model}
	if c.Model == "" {
		answer, err := system.Queries().Projections.Handle(r.ctx, query.ListProjections{By: operator()})
		if err != nil {
			return err
		}
		models = models[:0]
		for _, p := range answer.Projections {
			models = append(models, p.Name)
		}
	}
	table := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', 0)
	found := 0
	for _, model := range models {
		for cursor := ""; ; {
			answer, err := system.Queries().Parked.Handle(r.ctx, query.ListParked{By: operator(), Model: model, Page: query.Page{Cursor: cursor}})
			if err != nil {
				return err
			}
			for _, p := range answer.Parked {
				found++
				fmt.Fprintf(table, "%s\t%s\tseq %d at %s/%d\tsince %s\tattempts %d\t%s\n", model, p.Stream, p.FirstSeq, p.Position, p.Place, p.Since.UTC().Format(time.RFC3339), p.Attempts, p.Reason)
			}
			if cursor = answer.NextCursor; cursor == "" {
				break
			}
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if found == 0 {
		_, err = fmt.Fprintln(r.Out, "nothing is parked")
	}
	return err
}

type parkedRetryCommand struct {
	Model  string `arg:"" help:"The read model."`
	Stream string `arg:"" optional:"" help:"Only this stream, as in customer/c-42."`
}

// Run retries. Exit status 3: something stays parked.
func (c parkedRetryCommand) Run(r *run) error {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	if c.Stream != "" {
		answer, err := system.Queries().RetryParked.Handle(r.ctx, query.RetryParked{By: operator(), Model: c.Model, Stream: domain.StreamID(c.Stream)})
		return r.retried(answer, err)
	}
	answer, err := system.Queries().RetryAllParked.Handle(r.ctx, query.RetryAllParked{By: operator(), Model: c.Model})
	if err != nil {
		return err
	}
	for _, p := range answer.First {
		fmt.Fprintf(r.Out, "%s stays parked at seq %d: %s\n", p.Stream, p.FirstSeq, p.Reason)
	}
	fmt.Fprintf(r.Out, "%d streams flow again, %d stay parked\n", answer.Flow, answer.Stay)
	if answer.Stay > 0 {
		return fmt.Errorf("%d streams stay parked: %w", answer.Stay, ErrFound)
	}
	return nil
}

func (r *run) retried(answer query.RetryParkedAnswer, err error) error {
	if err != nil {
		return err
	}
	if !answer.Flows {
		return fmt.Errorf("%s stays parked: %s: %w", answer.Stream, answer.Reason, ErrFound)
	}
	_, err = fmt.Fprintf(r.Out, "%s flows again\n", answer.Stream)
	return err
}

type parkedDropCommand struct {
	Model  string `arg:"" help:"The read model."`
	Stream string `arg:"" help:"The stream, as in customer/c-42."`
	Seq    uint64 `help:"Of the event, as parked list shows it." required:"" placeholder:"N"`
	Reason string `help:"Why; recorded with who did it." required:"" placeholder:"TEXT"`
}

func (c parkedDropCommand) check() error {
	var found complaints
	found.wrong(c.Seq == 0, "--seq is 0; events begin at 1")
	found.wrong(len(c.Reason) > 1000 || !utf8.ValidString(c.Reason) || strings.ContainsFunc(c.Reason, unicode.IsControl), "--reason is longer than 1000 bytes, holds a control character, or is not UTF-8")
	return found.err()
}

// Run drops one event.
func (c parkedDropCommand) Run(r *run) error {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	answer, err := system.Queries().DropParked.Handle(r.ctx, query.DropParked{
		By: operator(), Model: c.Model, Stream: domain.StreamID(c.Stream), Seq: c.Seq, Reason: c.Reason,
	})
	return r.retried(answer, err)
}
