package cli

import (
	"errors"
	"fmt"
	"os"

	"carryon/domain"
	"carryon/query"
)

type accessExportCommand struct {
	Customer string `arg:"" help:"The customer's id."`
	Output   string `help:"File to write; - is standard output." short:"o" default:"-" placeholder:"FILE"`
}

// Help is shown by --help.
func (accessExportCommand) Help() string {
	return `One JSON document: the customer, devices, licences, exceptions, refusals, every event with its words opened, and who looked at the customer. As far as the projectors are.`
}

func (a accessExportCommand) check() error {
	var c complaints
	c.id("<customer>", a.Customer)
	return c.err()
}

// Run writes the document.
func (a accessExportCommand) Run(r *run) (err error) {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	write, err := system.Queries().AccessExport.Handle(r.ctx, query.AccessExport{
		By: query.Caller{Actor: domain.Actor{ID: "command-line", Role: domain.RoleOperator}}, Customer: a.Customer,
	})
	if err != nil {
		return err
	}
	if a.Output == "-" {
		return write(r.Out)
	}
	f, err := os.OpenFile(a.Output, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return errors.Join(write(f), f.Close())
}
