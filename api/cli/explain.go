package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/query"
)

type explainCommand struct {
	Customer   string    `help:"Whose books; not needed with --decision." placeholder:"ID"`
	Title      string    `help:"The movie or episode." placeholder:"ID"`
	Device     string    `help:"The device." placeholder:"ID"`
	DeviceType string    `help:"Of a device that is not registered yet." placeholder:"ID"`
	Country    string    `help:"Where the customer is (default: the home country)." placeholder:"CC"`
	Profile    string    `help:"The profile that asks." name:"profile-id" placeholder:"ID"`
	Maturity   string    `help:"Of the profile: kids, teen or adult." default:"adult" enum:"kids,teen,adult"`
	Quality    string    `help:"The quality that is asked for: standard, high or uhd (default: as the device likes)." default:"" enum:",standard,high,uhd" placeholder:"NAME"`
	License    string    `help:"Instead of title and device: why (not) renew this licence." placeholder:"ID"`
	At         time.Time `help:"A moment of the past, as in 2026-03-01T12:00:00Z." placeholder:"TIME"`
	Decision   string    `help:"Instead: show this recorded decision, and make it again from history." placeholder:"ID"`
	JSON       bool      `help:"Print the decision as JSON." name:"json"`
}

func (e explainCommand) check() error {
	var c complaints
	var given []string
	for _, one := range []struct{ flag, value string }{{"--title", e.Title}, {"--license", e.License}, {"--decision", e.Decision}} {
		if one.value != "" {
			given = append(given, one.flag)
		}
	}
	c.wrong(len(given) == 0, "give --title and --device, or --license, or --decision")
	c.wrong(len(given) > 1, "%s exclude each other: give one of them", strings.Join(given, ", "))
	if len(given) == 1 {
		c.wrong(e.Title != "" && e.Device == "", "--device is missing")
		acquisition := []struct{ flag, value string }{{"--device", e.Device}, {"--device-type", e.DeviceType}, {"--profile-id", e.Profile}, {"--quality", e.Quality}}
		if e.Decision != "" {
			acquisition = append(acquisition, struct{ flag, value string }{"--country", e.Country})
			c.wrong(!e.At.IsZero(), "--at does not go with --decision")
		}
		for _, one := range acquisition {
			c.wrong(e.Title == "" && one.value != "", "%s does not go with %s", one.flag, given[0])
		}
	}
	c.wrong(e.Customer == "" && e.Decision == "", "--customer is missing; wanted: whose books")
	c.id("--customer", e.Customer)
	c.id("--title", e.Title)
	c.id("--device", e.Device)
	c.id("--device-type", e.DeviceType)
	c.id("--profile-id", e.Profile)
	c.id("--license", e.License)
	c.id("--decision", e.Decision)
	c.country("--country", strings.ToUpper(e.Country))
	c.wrong(e.At.After(time.Now()), "--at is in the future")
	return c.err()
}

// Run explains, from the event store itself.
func (e explainCommand) Run(r *run) error {
	system, err := r.openKept(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	if e.Decision != "" {
		return e.recorded(r, system)
	}
	q := explainRequest(demoExample{customer: e.Customer, title: e.Title, device: e.Device})
	q.Acquire.DeviceType, q.Acquire.Country = e.DeviceType, strings.ToUpper(e.Country)
	q.Acquire.ProfileID, q.Acquire.Maturity, q.Acquire.Quality = e.Profile, e.Maturity, e.Quality
	if e.License != "" {
		q.Renew = &domain.RenewRequest{LicenseID: e.License, Country: q.Acquire.Country, Trigger: domain.TriggerUser}
		q.Acquire = nil
	}
	q.When = command.AsOf{Time: e.At}
	explained, err := system.Commands().Explain(r.ctx, q)
	if err != nil {
		return inFlags(err)
	}
	return e.print(r.Out, &explained.Decision)
}

func (e explainCommand) recorded(r *run, system System) error {
	customer := e.Customer
	if customer == "" { // whose it is, the timeline knows
		told, err := system.Queries().Decision.Handle(r.ctx, query.Decision{
			By: operator(), ID: e.Decision,
		})
		if err != nil {
			return err
		}
		customer = told.Customer
	}
	found, err := system.Commands().Decision(r.ctx, customer, e.Decision)
	if err != nil {
		return err
	}
	if err := e.print(r.Out, &found.Recorded); err != nil {
		return err
	}
	if !found.Same {
		fmt.Fprintln(r.Out, "\nMade again from history it is another one:")
		if err := e.print(r.Out, &found.Again); err != nil {
			return err
		}
		return fmt.Errorf("the recorded decision %s can't be made again from history: %w", e.Decision, ErrFound)
	}
	_, err = fmt.Fprintln(r.Out, "\nMade again from history: the same, byte for byte.")
	return err
}

func (e explainCommand) print(w io.Writer, d *domain.Decision) error {
	if e.JSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(d)
	}
	return printDecision(w, d)
}

// printDecision writes a decision for people: the outcome, every rule, what would help.
func printDecision(w io.Writer, d *domain.Decision) error {
	outcome := "would be granted"
	if d.Outcome == domain.OutcomeRefuse {
		outcome = "would be refused: " + d.Code
	}
	fmt.Fprintf(w, "%s of %s on %s, decided at %s on version %d of the books: %s\n\n", d.Command, d.Request.TitleID, d.Request.DeviceID, d.DecidedAt.Format(time.RFC3339), d.CustomerVersion, outcome)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "rule\tscope\tused\tlimit\tresets\toutcome\t")
	for _, rule := range d.Rules {
		scope := rule.Scope.Kind
		if rule.Scope.ID != "" {
			scope += " " + rule.Scope.ID
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t\n", rule.Rule, scope, count(rule.Used), count(rule.Limit), moment(rule.ResetsAt), rule.Outcome)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, rule := range d.Rules {
		for _, holder := range rule.HeldBy {
			if rule.Outcome == domain.RuleRefuse {
				fmt.Fprintf(w, "  %s is held by %s %s %s %s\n", rule.Rule, holder.Kind, holder.ID, holder.TitleName, moment(holder.Until))
			}
		}
	}
	for _, remedy := range d.Remedies {
		fmt.Fprintf(w, "would help: %s %s %s %s (%s)\n", remedy.Action, remedy.Kind, remedy.ID, moment(remedy.At), remedy.Who)
	}
	v := d.Versions
	_, err := fmt.Fprintf(w, "\nmade from policy %d, plan %d, device types %d, catalogue %s, reference entry %d\n", v.Policy, v.Plan, v.DeviceTypes, v.Catalogue, v.Reference)
	return err
}

func explainRequest(of demoExample) command.ExplainRequest {
	return command.ExplainRequest{
		Customer: of.customer, Actor: domain.Actor{ID: "command-line", Role: domain.RoleOperator},
		Acquire: &domain.AcquireRequest{DeviceID: of.device, DeviceType: of.deviceType, TitleID: of.title, Maturity: "adult", Trigger: domain.TriggerUser},
	}
}

func count(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}
