package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"carryon/api/simulate"
	"carryon/domain"
)

type simulateCommand struct {
	URL          []string      `help:"Base URL of the Carryon to load; several by turns." default:"http://127.0.0.1:8080"`
	QueryURL     string        `help:"Base URL of the query API, where that is another process." placeholder:"URL"`
	Seed         uint64        `help:"Households of one seed are the same in every run." default:"1"`
	Prefix       string        `help:"Begins the households' ids, so that runs do not meet (default: from seed and time)." placeholder:"TEXT"`
	Households   int           `help:"Customers." default:"200"`
	Callers      int           `help:"Commands at once." default:"16"`
	Commands     int64         `help:"Stop after so many commands; 0: after --duration." default:"0"`
	Duration     time.Duration `help:"Stop after this time; 0: after --commands." default:"0s"`
	Rate         float64       `help:"Commands a second; 0: as fast as answers come." default:"0"`
	BurstEvery   time.Duration `help:"Every so often the rate is multiplied by --burst for a second." default:"0s"`
	Burst        float64       `help:"How many times the rate in a burst." default:"5"`
	Repeats      float64       `help:"Share of commands sent twice with the same key." default:"0.02"`
	Patience     int           `help:"How often a command or a question without an answer is tried again." default:"5"`
	Journal      string        `help:"Append every acknowledged command to this file, for verify --journal." placeholder:"FILE"`
	StopWhenGone bool          `help:"End when the server is gone, instead of counting failures."`
	Check        bool          `help:"At the end, check that every acknowledged event can be seen in the query API." default:"true" negatable:""`
}

// Help is shown by --help.
func (simulateCommand) Help() string {
	return `Tokens are made with the keys in --data, so run it beside the server or copy the folder keys/.

Households download what is popular, watch offline and report it late, renew, give back, retry with the same key, and have clocks that are wrong: TOKEN_DRIFT sets their keys right. Licences of a short run are hours old at most, so that most of its renewals are refused as too soon. Printed at the end: throughput, latency percentiles per command, refusals by code. Exit status 3: the same command was answered differently, an answer never came, or something acknowledged can't be seen. Interrupted, it sends no more, and reports and checks what it did.`
}

// Run loads a Carryon.
func (s simulateCommand) Run(r *run) (err error) {
	if s.Commands == 0 && s.Duration == 0 {
		s.Duration = 30 * time.Second
	}
	if s.Prefix == "" {
		s.Prefix = fmt.Sprintf("s%d-%x-", s.Seed, time.Now().Unix())
	}
	titles, err := r.wiring.Catalogue(r.config)
	if err != nil {
		return err
	}
	keys, err := r.wiring.Keys(r.config)
	if err != nil {
		return err
	}
	target := simulate.NewHTTP(s.URL, s.QueryURL, s.Callers, newTokens(keys, 0).get)
	target.Patience = s.Patience
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	options := simulate.Options{
		Seed: s.Seed, Households: s.Households, Prefix: s.Prefix, Callers: s.Callers, Commands: s.Commands, Duration: s.Duration,
		Rate: s.Rate, BurstEvery: s.BurstEvery, Burst: s.Burst, Repeats: s.Repeats, Patience: s.Patience,
		Titles: titles, Lookup: titles.Title,
	}
	if s.Journal != "" {
		j, err := simulate.OpenJournal(s.Journal)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		defer func() { err = errors.Join(err, j.Close()) }()
		options.Journal = j
	}
	var do simulate.Target = target
	if s.StopWhenGone {
		do = &untilGone{target: target, stop: stop}
	}
	show := newProgress(r.Err, "simulating", "commands", s.Commands)
	options.Progress = show.Set
	report, err := simulate.Run(ctx, do, options)
	show.Done()
	if report != nil {
		err = errors.Join(err, report.Print(r.Out))
	}
	if err != nil || s.StopWhenGone {
		return err
	}
	checking := r.ctx
	if s.Check && checking.Err() != nil {
		fmt.Fprintln(r.Err, "interrupted: what was acknowledged is checked; interrupt again to leave that out")
		var leave context.CancelFunc
		checking, leave = signal.NotifyContext(context.WithoutCancel(r.ctx), os.Interrupt, syscall.SIGTERM)
		defer leave()
	}
	return s.judge(checking, r, target, report)
}

func (s simulateCommand) check() error {
	var c complaints
	wrong := c.wrong
	wrong(s.Households < 1 || s.Households > 1_000_000, "--households is outside 1 to 1000000")
	wrong(s.Callers < 1 || s.Callers > 10_000, "--callers is outside 1 to 10000")
	wrong(s.Commands < 0, "--commands is negative")
	wrong(s.Duration < 0, "--duration is negative")
	wrong(!(s.Rate >= 0 && s.Rate <= 1e6), "--rate is outside 0 to 1000000")
	wrong(s.BurstEvery < 0 || s.BurstEvery > 0 && s.BurstEvery < 2*time.Second, "--burst-every is under 2s")
	wrong(!(s.Burst >= 1 && s.Burst <= 1000), "--burst is outside 1 to 1000")
	wrong(!(s.Repeats >= 0 && s.Repeats <= 1), "--repeats is outside 0 to 1")
	wrong(s.Patience < 0 || s.Patience > 100, "--patience is outside 0 to 100")
	for _, base := range slices.Concat(s.URL, []string{s.QueryURL}) {
		u, err := url.Parse(base)
		wrong(base != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == ""), "%q is no URL as in http://127.0.0.1:8080", base)
	}
	c.id("--prefix", s.Prefix)
	return c.err()
}

// judge decides the exit status.
func (s simulateCommand) judge(ctx context.Context, r *run, target *simulate.HTTP, report *simulate.Report) error {
	var found []error
	if len(report.Differ) > 0 {
		found = append(found, fmt.Errorf("%d repeated commands were answered differently: %w", len(report.Differ), ErrFound))
	}
	if report.Unknowns > 0 {
		found = append(found, fmt.Errorf("%d commands were never answered: %w", report.Unknowns, ErrFound))
	}
	if s.Check {
		show := newProgress(r.Err, "checking", "customers", int64(len(report.Latest)))
		seen, err := target.CheckVisible(ctx, report, show.Set)
		show.Done()
		switch {
		case errors.Is(err, simulate.ErrMissing):
			found = append(found, fmt.Errorf("%w: %w", ErrFound, err))
		case ctx.Err() != nil:
			found = append(found, errors.New("interrupted: what was acknowledged was not checked"))
		case err != nil:
			found = append(found, err)
		default:
			fmt.Fprintf(r.Out, "\nall acknowledged events are visible: %d events of %d customers, each once and in order\n", seen, len(report.Latest))
		}
	}
	return errors.Join(found...)
}

// untilGone ends the run at the first command that gets no answer at all.
type untilGone struct {
	target simulate.Target
	stop   context.CancelFunc
}

func (u *untilGone) Do(ctx context.Context, op simulate.Op) simulate.Answer {
	a := u.target.Do(ctx, op)
	if a.Outcome == simulate.Unknown && a.Status == 0 {
		u.stop()
	}
	return a
}

// tokens makes a token per role and customer once, and again before it ends.
type tokens struct {
	keys Keys
	wide time.Duration // by so much the clocks may be wrong of those who check them
	mu   sync.Mutex
	made map[string]madeToken
}

type madeToken struct {
	text string
	at   time.Time
}

func newTokens(keys Keys, wide time.Duration) *tokens {
	return &tokens{keys: keys, wide: wide, made: map[string]madeToken{}}
}

func (t *tokens) get(role domain.Role, customer string) (string, error) {
	if role != domain.RoleDevice {
		customer = ""
	}
	key := string(role) + "/" + customer
	t.mu.Lock()
	made, ok := t.made[key]
	t.mu.Unlock()
	if ok && time.Since(made.at) < 30*time.Minute {
		return made.text, nil
	}
	text, err := t.keys.TokenFrom(role, customer, "", time.Now().Add(-t.wide), time.Hour+2*t.wide)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	t.made[key] = madeToken{text, time.Now()}
	t.mu.Unlock()
	return text, nil
}
