package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// BackupReport is what a backup holds.
type BackupReport struct {
	At      time.Time
	Entries uint64
	Events  uint64
	Files   int
}

type backupCommand struct {
	To string `help:"Folder to make; it must not be there." required:"" placeholder:"DIR"`
}

// Help is shown by --help.
func (backupCommand) Help() string {
	return `Copies the data folder of the embedded profile while it is served, as it stands at one moment: log, keys, access log, catalogue. Read models are left out, because they come from the log. The copy's chain and histories are proved before it gets its name. Whoever has it can read everything: keep it as the data folder is kept.`
}

// Run makes a backup.
func (b backupCommand) Run(r *run) error {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	report, err := system.Backup(r.ctx, b.To)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.Out, "%s: %d entries with %d events, proved; %d files\n", b.To, report.Entries, report.Events, report.Files)
	return err
}

type restoreCommand struct {
	From string `help:"Folder that carryon backup has made." required:"" placeholder:"DIR"`
}

// Help is shown by --help.
func (restoreCommand) Help() string {
	return `Makes the data folder (--data, which must not be there or be empty) from a backup, compares every file with what was saved, and proves the log. Read models are built when the folder is next served.`
}

// Run restores.
func (c restoreCommand) Run(r *run) error {
	report, err := r.wiring.Restore(r.ctx, r.config, c.From)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.Out, "%s: %d entries with %d events, as of %s\n", r.config.Data, report.Entries, report.Events, report.At.UTC().Format(time.RFC3339))
	return err
}
