package domain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"time"
)

// tb is what the helpers need of a test, a benchmark or a random one.
type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// world is everything around a customer's books in a test: a clock, documents, a catalogue, and the history that the
// commands write. It is the Reference of its decisions.
type world struct {
	now       time.Time
	policy    *Policy
	types     *DeviceTypes
	titles    map[string]Title
	withdrawn map[string]*Withdrawals
	books     *Customer
	history   []Event
	commands  int
	actor     Actor
}

func newWorld() *world {
	w := &world{
		now: time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC), policy: DefaultPolicy(), types: DefaultDeviceTypes(),
		titles: map[string]Title{}, withdrawn: map[string]*Withdrawals{}, books: NewCustomer("c1"), actor: Actor{ID: "d", Role: RoleDevice},
	}
	return w
}

func (w *world) Policy(time.Time) *Policy           { return w.policy }
func (w *world) DeviceTypes(time.Time) *DeviceTypes { return w.types }
func (w *world) Title(id string) (Title, bool)      { t, ok := w.titles[id]; return t, ok }
func (w *world) Studio(name string) bool {
	for _, t := range w.titles {
		if t.Studio == name {
			return true
		}
	}
	return false
}

func (w *world) Versions(time.Time) Versions {
	return Versions{Policy: 1, DeviceTypes: 1, Catalogue: "test"}
}

func (w *world) WithdrawnFrom(title, country string) (time.Time, bool) {
	if t, ok := w.withdrawn[title]; ok {
		return t.From(country)
	}
	return time.Time{}, false
}

func (w *world) movie(id, studio string) Title {
	t := Title{ID: id, Kind: KindMovie, Name: id, Studio: studio, Maturity: MaturityTeen, Downloadable: true, Windows: []Window{{}}}
	w.titles[id] = t
	return t
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// moment is that of the next command.
func (w *world) moment() Moment {
	w.commands++
	return Moment{Now: w.now, CommandID: fmt.Sprintf("cmd-%d", w.commands), Actor: w.actor, Version: w.books.Version(), Reference: w}
}

// as runs f with another actor.
func (w *world) as(role Role, f func()) {
	before := w.actor
	w.actor = Actor{ID: string(role), Role: role}
	f()
	w.actor = before
}

// record writes a verdict's events down and folds them from their bytes, as a restart would.
func (w *world) record(t tb, m Moment, v Verdict) []Event {
	t.Helper()
	var events []Event
	for i, n := range v.Events {
		e := Event{
			ID: EventID(m.CommandID, i), Stream: CustomerStream(w.books.ID()), Seq: w.books.Version() + 1, OccurredAt: n.OccurredAt,
			RecordedAt: m.Now, CommandID: m.CommandID, Actor: m.Actor, Versions: m.Reference.Versions(m.Now),
		}
		if e.OccurredAt.IsZero() {
			e.OccurredAt = m.Now
		}
		if err := e.SetData(n.Payload); err != nil {
			t.Fatalf("encoding %s: %v", n.Payload.EventType(), err)
		}
		e.data = nil
		if err := w.books.Apply(&e); err != nil {
			t.Fatalf("folding %s: %v", e.Type, err)
		}
		events = append(events, e)
	}
	w.history = append(w.history, events...)
	return events
}

// do decides a command and records what comes of it.
func (w *world) do(t tb, decide func(*Customer, Moment) (Verdict, error)) (Verdict, []Event) {
	t.Helper()
	m := w.moment()
	v, err := decide(w.books, m)
	if err != nil {
		t.Fatalf("deciding: %v", err)
	}
	return v, w.record(t, m, v)
}

func (w *world) plan(t tb, plan, country string) {
	t.Helper()
	w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.ChangePlan(m, plan, country, nil) })
}

func (w *world) ask(device, title string) AcquireRequest {
	return AcquireRequest{DeviceID: device, DeviceType: "iphone", TitleID: title, KeyID: "k1"}
}

func (w *world) acquire(t tb, r AcquireRequest) (Verdict, []Event) {
	t.Helper()
	return w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.Acquire(m, r) })
}

// granted acquires and returns the licence.
func (w *world) granted(t tb, device, title string) string {
	t.Helper()
	v, events := w.acquire(t, w.ask(device, title))
	if v.Decision.Outcome != OutcomeGrant {
		t.Fatalf("%s on %s was refused: %s", title, device, explain(v.Decision))
	}
	for _, e := range events {
		if p, ok := payload(t, &e).(*LicenseIssued); ok {
			return p.LicenseID
		}
	}
	t.Fatalf("no licence was issued: %v", typesOf(events))
	return ""
}

func payload(t tb, e *Event) Payload {
	t.Helper()
	p, err := e.Data()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func typesOf(events []Event) []string {
	types := make([]string, len(events))
	for i, e := range events {
		types[i] = e.Type
	}
	return types
}

// ruleOf is what a decision says about a rule.
func ruleOf(d *Decision, rule string) *RuleResult {
	i := slices.IndexFunc(d.Rules, func(r RuleResult) bool { return r.Rule == rule })
	if i < 0 {
		return nil
	}
	return &d.Rules[i]
}

// explain is a decision as a person reads it.
func explain(d *Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\n", d.Command, d.Outcome, d.Code)
	for _, r := range d.Rules {
		fmt.Fprintf(&b, "  %-32s %-10s", r.Rule, r.Outcome)
		if r.Used != nil {
			fmt.Fprintf(&b, " used %d", *r.Used)
		}
		if r.Limit != nil {
			fmt.Fprintf(&b, " of %d", *r.Limit)
		}
		if r.ResetsAt != nil {
			fmt.Fprintf(&b, " resets %s", r.ResetsAt.Format(time.RFC3339))
		}
		fmt.Fprintf(&b, " %s %s\n", r.Source, r.Detail)
	}
	for _, r := range d.Remedies {
		fmt.Fprintf(&b, "  remedy: %s\n", remedyText(r))
	}
	return b.String()
}

func remedyText(r Remedy) string {
	s := r.Action
	if r.ID != "" {
		s += " " + r.ID
	}
	if r.At != nil {
		s += " " + r.At.Format("2006-01-02 15:04")
	}
	return s + " by " + string(r.Who)
}

func asJSON(t tb, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func marshalled(t tb, a Aggregate) []byte {
	t.Helper()
	b, err := a.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replayed is the fold of a history.
func replayed(t tb, id string, history []Event) *Customer {
	t.Helper()
	c := NewCustomer(id)
	for i := range history {
		if err := c.Apply(&history[i]); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func sameState(t tb, what string, got, want Aggregate) {
	t.Helper()
	if !bytes.Equal(marshalled(t, got), marshalled(t, want)) {
		t.Fatalf("%s: the states differ:\n got %s\nwant %s", what, dump(got), dump(want))
	}
}

func dump(a Aggregate) string {
	c, ok := a.(*Customer)
	if !ok {
		return fmt.Sprintf("%+v", a)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", *c)
	for _, d := range c.devices {
		fmt.Fprintf(&b, "  device %+v\n", *d)
	}
	for _, l := range c.licenses {
		fmt.Fprintf(&b, "  licence %+v\n", *l)
	}
	for _, x := range c.contents {
		fmt.Fprintf(&b, "  content %+v\n", *x)
	}
	for _, x := range c.exceptions {
		fmt.Fprintf(&b, "  exception %+v\n", *x)
	}
	return b.String()
}
