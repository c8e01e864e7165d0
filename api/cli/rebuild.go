package cli

import (
	"errors"
	"fmt"

	"carryon/domain"
	"carryon/projector"
)

type rebuildCommand struct {
	Models       []string `arg:"" name:"model" help:"Read models, as in GET /v1/projections: reference, customers, timeline, denials, analytics, search."`
	Sample       int      `help:"Audit only so many streams of what was built; 0: all." default:"0"`
	AcceptParked bool     `help:"Read it even when streams are parked in it that were not before."`
}

// Help is shown by --help.
func (rebuildCommand) Help() string {
	return `Builds read models anew beside themselves, from the first entry of the log, audits them, and lets readers go over to them in one step. Works on a folder that is served, which goes over by itself, and on one that is not. Interrupted at any moment, the next rebuild of the model goes on where it was; a service does so by itself.`
}

func (c rebuildCommand) check() error {
	if c.Sample < 0 {
		return fmt.Errorf("%w: --sample %d is negative; 0 means all", errUsage, c.Sample)
	}
	return nil
}

// Run rebuilds one model after the other.
func (c rebuildCommand) Run(r *run) error {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	for _, model := range c.Models {
		stages := &stages{r: r}
		var last projector.RebuildStatus
		err := system.Rebuild(r.ctx, model, projector.RebuildOptions{Sample: c.Sample, AcceptParked: c.AcceptParked}, func(s projector.RebuildStatus) {
			filled, audited := last.State == projector.RebuildFilling && s.State != projector.RebuildFilling, last.State == projector.RebuildAuditing
			if audited && (s.State == projector.RebuildSwitching || s.State == projector.RebuildDone || s.State == projector.RebuildAuditing && s.Stage != last.Stage) {
				stages.whole() // how far it is, is told now and then only
			}
			last = s
			switch {
			case filled && s.EventsTotal > 0: // what was estimated is known
				stages.set("rebuilding "+model, int64(s.EventsDone), int64(s.EventsTotal)) //nolint:gosec // far from overflowing
			case s.State == projector.RebuildAuditing && s.StageTotal > 0:
				stages.set("audit of "+model+": "+s.Stage, s.StageDone, s.StageTotal)
			case s.State == projector.RebuildFilling && s.EventsTotal > 0:
				stages.set("rebuilding "+model, int64(s.EventsDone), int64(s.EventsTotal)) //nolint:gosec // far from overflowing
			}
		})
		if err == nil {
			stages.whole()
		}
		stages.done()
		switch {
		case errors.Is(err, domain.ErrNotFound):
			return fmt.Errorf("%w: there is no read model %q", errUsage, model)
		case err != nil && last.Differences > 0:
			return fmt.Errorf("%w: %w", ErrFound, err)
		case err != nil:
			return err
		}
		fmt.Fprintf(r.Out, "%s: generation %d is read; %d entries with %d events\n", model, last.Generation, last.EntriesDone, last.EventsDone)
	}
	return nil
}
