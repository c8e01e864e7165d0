package cli

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"carryon/api/simulate"
	"carryon/domain"
)

type demoCommand struct {
	Customers int   `help:"Households, 1 to 100000." default:"2000"`
	Events    int64 `help:"About how many events, 1000 to 10000000." default:"100000"`
	Seed      int64 `help:"Another seed, other households." default:"7"`
	NoServe   bool  `help:"Only make the history."`
}

// Help is shown by --help.
func (demoCommand) Help() string {
	return `Makes up four months of history over the real catalogue, through the same handlers that the API uses, in pretended time; then serves it, and prints the URL, a token for each role and three commands to try. A second run finds the history and only serves.`
}

const demoMonths = 120 * 24 * time.Hour

func (d demoCommand) check() error {
	var c complaints
	c.wrong(d.Customers < 1 || d.Customers > 100_000, "--customers is outside 1 to 100000")
	c.wrong(d.Events < 1000 || d.Events > 10_000_000, "--events is outside 1000 to 10000000")
	return c.err()
}

// Run makes the history, unless it is there, and serves.
func (d demoCommand) Run(r *run) error {
	if !d.NoServe {
		if err := r.canListen(); err != nil {
			return err
		}
	}
	clock := &movedClock{}
	system, err := r.open(OpenOptions{Clock: clock.Now, Serves: true})
	if err != nil {
		return err
	}
	defer r.close(system)
	heads, err := system.Heads(r.ctx)
	if err != nil {
		return err
	}
	var entries uint64
	for _, head := range heads {
		entries += head.Index
	}
	if entries > 0 {
		fmt.Fprintf(r.Err, "found a history in %s\n", r.config.Data)
	} else if err := d.makeHistory(r, system, clock); err != nil {
		return err
	}
	if err := r.catchUp(system); err != nil {
		return err
	}
	if d.NoServe {
		return nil
	}
	return system.Serve(r.ctx, func(url string) { d.introduce(r, system, url) })
}

// canListen tells before the history is made, which takes a while, that it could not be served.
func (r *run) canListen() error {
	var listen net.ListenConfig
	l, err := listen.Listen(r.ctx, "tcp", r.config.Listen)
	if err != nil {
		return fmt.Errorf("%w: another address: --listen, as in --listen 127.0.0.1:0", err)
	}
	return l.Close()
}

func (d demoCommand) makeHistory(r *run, system System, clock *movedClock) error {
	titles, err := r.wiring.Catalogue(r.config)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	show := newProgress(r.Err, "making history", "events", d.Events)
	report, err := simulate.History(r.ctx, simulate.Handlers{App: system.Commands()}, simulate.HistoryOptions{
		Options: simulate.Options{
			Seed: uint64(d.Seed), Households: d.Customers, Prefix: "c", Callers: 64, Repeats: 0.01, Patience: 3, //nolint:gosec // any bits do
			Titles: titles, Lookup: titles.Title, Progress: show.Set,
		},
		From: now.Add(-demoMonths), To: now, Events: d.Events, Written: system.Recorded, SetClock: clock.set,
	})
	if err != nil {
		return fmt.Errorf("making the history: %w", err)
	}
	show.Done()
	clock.release()
	if !report.Clean() {
		return fmt.Errorf("making the history: %d unanswered commands, %d repeats answered differently: %w", report.Unknowns, len(report.Differ), ErrFound)
	}
	fmt.Fprintf(r.Err, "%d events of %d customers in %s\n", system.Recorded(), d.Customers, report.Elapsed.Round(100*time.Millisecond))
	return nil
}

// introduce prints what a newcomer needs. These tokens are the only ones that Carryon ever prints unasked.
func (d demoCommand) introduce(r *run, system System, url string) {
	keys, err := r.wiring.Keys(r.config)
	if err != nil {
		fmt.Fprintln(r.Err, "carryon: no tokens:", err)
		return
	}
	out := r.Out
	fmt.Fprintf(out, "\nCarryon is ready at %s\n\nTokens, good for a day (more: carryon token --help)\n", url)
	example := d.example(r.ctx, system)
	token := func(role domain.Role, customer string) string {
		text, err := keys.Token(role, customer, "demo-"+string(role), 24*time.Hour)
		if err != nil {
			return "(" + err.Error() + ")"
		}
		return text
	}
	device := token(domain.RoleDevice, example.customer)
	support := token(domain.RoleSupport, "")
	analyst := token(domain.RoleAnalyst, "")
	fmt.Fprintf(out, "  DEVICE=%s   # customer %s\n  SUPPORT=%s\n  ANALYST=%s\n  SERVICE=%s\n  OPERATOR=%s\n", device, example.customer, support, analyst, token(domain.RoleService, ""), token(domain.RoleOperator, ""))
	fmt.Fprintf(out, "\nOpen the console (each link signs you in)\n\n  support   %s/sign-in#token=%s\n  analyst   %s/sign-in#token=%s\n", url, support, url, analyst)
	fmt.Fprintf(out, `
Try, in another terminal (paste the tokens above first)
  1. Why may this customer not download one more film?
     curl -s -H "Authorization: Bearer $SUPPORT" '%s/v1/customers/%s/explain?title_id=%s&device_id=%s&device_type=%s'
  2. What was refused lately, and how often for which reason?
     curl -s -H "Authorization: Bearer $ANALYST" '%s/v1/analytics/denials?group_by=code&interval=month'
  3. Everything that ever happened to this customer
     curl -s -H "Authorization: Bearer $SUPPORT" '%s/v1/customers/%s/timeline'

Stop with Ctrl-C; the data stays in %s.
`, url, example.customer, example.title, example.device, example.deviceType, url, url, example.customer, r.config.Data)
}

type demoExample struct{ customer, title, device, deviceType string }

// example finds a customer who would be refused now, by asking the rules about those who were refused lately.
func (d demoCommand) example(ctx context.Context, system System) demoExample {
	best := demoExample{customer: "c00000", title: "t00001", device: "c00000-d1"}
	for n := range min(d.Customers, 400) {
		customer := fmt.Sprintf("c%05d", n)
		events := system.Books().Events(ctx, domain.CustomerStream(customer), 1)
		var last *domain.LicenseDenied
		for e, err := range events {
			if err != nil {
				return best
			}
			if e.Type == (*domain.LicenseDenied)(nil).EventType() {
				if data, err := e.Data(); err == nil {
					last, _ = data.(*domain.LicenseDenied)
				}
			}
		}
		if last == nil || last.Command != "acquire" {
			continue
		}
		asked := demoExample{customer: customer, title: last.TitleID, device: last.DeviceID, deviceType: last.DeviceType}
		explained, err := system.Commands().Explain(ctx, explainRequest(asked))
		if err != nil || explained.Decision.Outcome != domain.OutcomeRefuse {
			continue
		}
		best = asked
		if len(explained.Decision.Remedies) > 0 {
			return best
		}
	}
	return best
}

// movedClock is the real clock, but for the time in which history is made up.
type movedClock struct{ pretended atomic.Int64 }

// Now is the pretended time, or the real one.
func (c *movedClock) Now() time.Time {
	if ns := c.pretended.Load(); ns != 0 {
		return time.Unix(0, ns).UTC()
	}
	return time.Now().UTC()
}

func (c *movedClock) set(t time.Time) { c.pretended.Store(t.UnixNano()) }
func (c *movedClock) release()        { c.pretended.Store(0) }
