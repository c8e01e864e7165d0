package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"carryon/domain"
	"carryon/projector"
)

type verifyCommand struct {
	CatchUp bool   `help:"First run the projectors up to the tails: for a service that is stopped."`
	Sample  int    `help:"Recompute only so many customers; 0: all." default:"0"`
	Seed    uint64 `help:"Which customers are sampled." default:"1"`
	Workers int    `placeholder:"N" help:"Customers that are compared at once; 1 leaves the most to a system that works meanwhile (twice the number of processors)."`
	Repair  bool   `help:"Make the rows that differ anew from the log, customer by customer, also while it is served; then compare them again."`
	Journal string `help:"Also look for every acknowledged command of this file (see simulate --journal)." placeholder:"FILE"`
}

// maxWorkers is more than any store answers at once.
const maxWorkers = 256

// Help is shown by --help.
func (verifyCommand) Help() string {
	return `Walks the chain of the log, compares histories and checkpoints with it, and recomputes customers and compares them with the stored rows; without --sample also looks for rows of customers, titles and policies that the log does not know. With --repair, makes what differs in read models anew, each customer in one transaction, takes away what the log does not know, compares just that again, and says what was mended and what was not; where the log itself differs nothing is touched. Exit status: 0 clean, or all of it mended; 3 differences found, or left; 1 the audit or the repair could not be done.`
}

func (v verifyCommand) check() error {
	var c complaints
	c.wrong(v.Workers < 0 || v.Workers > maxWorkers, "--workers %d is not between 0 and %d", v.Workers, maxWorkers)
	c.wrong(v.Sample < 0, "--sample %d is negative; 0 means all", v.Sample)
	c.file("--journal", v.Journal)
	return c.err()
}

// Run audits.
func (v verifyCommand) Run(r *run) error {
	system, err := r.openKept(OpenOptions{OnlyReads: true})
	if err != nil {
		return err
	}
	defer r.close(system)
	if v.CatchUp {
		if err := r.catchUp(system); err != nil {
			return err
		}
	}
	var found []error
	if v.Journal != "" {
		kept, err := checkJournal(r, system, v.Journal, v.Workers)
		if err != nil {
			return err
		}
		if err := kept.print(r.Out); err != nil {
			found = append(found, err)
		}
	}
	report, err := r.audit(system, AuditOptions{Sample: v.Sample, Seed: v.Seed, Workers: v.Workers})
	if err != nil {
		return err
	}
	if err := report.Print(r.Out); err != nil {
		return err
	}
	switch {
	case report.Clean():
	case v.Repair:
		found = append(found, r.repair(system, report))
	default:
		found = append(found, fmt.Errorf("the audit is not clean: %w", ErrFound))
	}
	return errors.Join(found...)
}

// repair mends what an audit found, and says what was not mended.
func (r *run) repair(system System, found projector.AuditReport) error {
	stages := &stages{r: r}
	report, err := system.Repair(r.ctx, found, stages.set)
	stages.done()
	if printErr := report.Print(r.Out); printErr != nil || err != nil { // what was done is done
		return errors.Join(err, printErr)
	}
	if !report.Clean() {
		return fmt.Errorf("not all is mended: %w", ErrFound)
	}
	return nil
}

// audit audits, and shows how far it is.
func (r *run) audit(system System, o AuditOptions) (projector.AuditReport, error) {
	stages := &stages{r: r}
	defer stages.done()
	o.Progress, o.Workers = stages.set, atOnce(o.Workers)
	return system.Audit(r.ctx, o)
}

// catchUp runs the projectors up to the tails, and shows how far they are.
func (r *run) catchUp(system System) error {
	var show progress
	err := system.CatchUp(r.ctx, func(done, total int64) {
		if show == nil {
			show = newProgress(r.Err, "building read models", "entries", total)
		}
		show.Set(done)
	})
	if show != nil {
		show.Done()
	}
	return err
}

// keptJournal is what became of the commands of a journal.
type keptJournal struct {
	lines, customers int
	lost             []error // acknowledged, and not recorded at the version that was acknowledged
	doubled          []error // recorded twice
}

// print says what is wrong, in the error, or that nothing is.
func (k *keptJournal) print(w io.Writer) error {
	if len(k.lost)+len(k.doubled) > 0 {
		return fmt.Errorf("%w: %w", ErrFound, errors.Join(append(k.lost, k.doubled...)...))
	}
	_, err := fmt.Fprintf(w, "journal: all %d acknowledged commands of %d customers are recorded, each once\n", k.lines, k.customers)
	return err
}

// manyWrong findings are enough.
const manyWrong = 50

// checkJournal looks for every acknowledged command at the version that was acknowledged, and for any that its customer
// has recorded twice.
func checkJournal(r *run, system System, path string, workers int) (*keptJournal, error) {
	wanted, lines, err := readJournal(path)
	if err != nil {
		return nil, err
	}
	kept := &keptJournal{lines: lines, customers: len(wanted)}
	show := newProgress(r.Err, "journal", "customers", int64(len(wanted)))
	defer show.Done()
	ctx, enough := context.WithCancelCause(r.ctx)
	defer enough(nil)
	customers := make(chan string, len(wanted))
	for customer := range wanted {
		customers <- customer
	}
	close(customers)
	var looking sync.WaitGroup
	var mu sync.Mutex
	var done int64
	for range atOnce(workers) {
		looking.Go(func() {
			for customer := range customers {
				lost, doubled, err := lookFor(ctx, system, customer, wanted[customer])
				mu.Lock()
				kept.lost, kept.doubled = append(kept.lost, lost...), append(kept.doubled, doubled...)
				if err != nil || len(kept.lost)+len(kept.doubled) > manyWrong {
					enough(err) // of nil, too
				}
				done++
				show.Set(done)
				mu.Unlock()
				if ctx.Err() != nil {
					return
				}
			}
		})
	}
	looking.Wait()
	if len(kept.lost)+len(kept.doubled) > manyWrong {
		return kept, nil
	}
	return kept, context.Cause(ctx)
}

// atOnce is how many customers are compared at once. Where nobody says, some wait for a store while others compare.
func atOnce(workers int) int {
	if workers == 0 {
		return 2 * runtime.GOMAXPROCS(0)
	}
	return workers
}

// lookFor looks for a customer's acknowledged commands, by the version of each.
func lookFor(ctx context.Context, system System, customer string, commands map[uint64]string) (lost, doubled []error, err error) {
	seen := make(map[uint64]string, len(commands))
	recorded := map[string]uint64{} // by command: its newest event
	for e, err := range system.Books().Events(ctx, domain.CustomerStream(customer), 1) {
		if err != nil {
			return nil, nil, err
		}
		if _, ok := commands[e.Seq]; ok {
			seen[e.Seq] = e.CommandID
		}
		if last, again := recorded[e.CommandID]; again && last != e.Seq-1 {
			doubled = append(doubled, fmt.Errorf("%s version %d: command %s is recorded again, it was at version %d", customer, e.Seq, e.CommandID, last))
		}
		recorded[e.CommandID] = e.Seq
	}
	for seq, id := range commands {
		if seen[seq] != id {
			lost = append(lost, fmt.Errorf("%s version %d: command %s was acknowledged; recorded is %q", customer, seq, id, seen[seq]))
		}
	}
	return lost, doubled, nil
}

func readJournal(path string) (map[string]map[uint64]string, int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errUsage, err)
	}
	defer f.Close()
	wanted := map[string]map[uint64]string{}
	lines := 0
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		lines++
		var customer, key string
		var version uint64
		if _, err := fmt.Sscanf(scanner.Text(), "%s %d %s", &customer, &version, &key); err != nil {
			return nil, 0, fmt.Errorf("%w: %s line %d is not \"customer version key\"", errUsage, path, lines)
		}
		if wanted[customer] == nil {
			wanted[customer] = map[uint64]string{}
		}
		wanted[customer][version] = key
	}
	return wanted, lines, scanner.Err()
}

// stages shows the stages of an audit, one after the other.
type stages struct {
	r     *run
	mu    sync.Mutex
	name  string
	total int64
	show  progress
}

func (s *stages) set(stage string, done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.show == nil || stage != s.name {
		s.end()
		s.name, s.show = stage, newProgress(s.r.Err, stage, "", total)
	} else if total != s.total {
		s.show.Of(total)
	}
	s.total = total
	s.show.Set(done)
}

// whole ends the stage that is shown: all of it is done, though not everything was told.
func (s *stages) whole() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.show != nil {
		s.show.Set(s.total)
	}
	s.end()
}

func (s *stages) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

func (s *stages) end() {
	if s.show != nil {
		s.show.Done()
	}
	s.show = nil
}
