package domain

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The examples in testdata/examples are the rules as a product manager reads them. Each is carried out: what stands
// there is what happens.

func TestTheRulesDoWhatTheExamplesSay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/examples/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples:", err)
	}
	seen := codesSeen{codes: map[string]int{}}
	examples := 0
	t.Run("examples", func(t *testing.T) {
		for _, file := range files {
			for _, x := range readExamples(t, file) {
				examples++
				t.Run(strings.TrimSuffix(filepath.Base(file), ".md")+"/"+x.name, func(t *testing.T) {
					t.Parallel()
					x.run(t, &seen)
				})
			}
		}
	})
	if examples < 40 {
		t.Errorf("there are only %d examples", examples)
	}
	for _, code := range RefusalCodes() {
		if seen.codes[code] == 0 {
			t.Errorf("no example is refused with %s", code)
		}
	}
}

type codesSeen struct {
	mu    sync.Mutex
	codes map[string]int
}

func (s *codesSeen) add(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code]++
}

type example struct {
	name  string
	file  string
	steps []step
}

type step struct {
	line int
	text string
	then bool // checks instead of acting
	when bool // may be refused
}

// readExamples reads the "## name" sections of a file, with their "- Given …", "- When …", "- Then …", "- And …".
func readExamples(t *testing.T, file string) []example {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	then, when := false, false
	for i, line := range strings.Split(string(raw), "\n") {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			all = append(all, example{name: name, file: file})
			continue
		}
		text, ok := strings.CutPrefix(line, "- ")
		if !ok || len(all) == 0 {
			continue
		}
		word, text, _ := strings.Cut(text, " ")
		switch word {
		case "Given":
			then, when = false, false
		case "When":
			then, when = false, true
		case "Then":
			then, when = true, false
		case "And":
		default:
			t.Fatalf("%s:%d: a step begins with Given, When, Then or And", file, i+1)
		}
		x := &all[len(all)-1]
		x.steps = append(x.steps, step{line: i + 1, text: text, then: then, when: when})
	}
	return all
}

// stage is a world with what the last command came to.
type stage struct {
	*world
	t        *testing.T
	verdict  Verdict
	err      error
	events   []Event
	document map[string]any // the policy as JSON
	seen     *codesSeen
	failOpen *FailOpen
	grants   []*LicenseIssued
	plays    int
}

func (x example) run(t *testing.T, seen *codesSeen) {
	s := &stage{world: newWorld(), t: t, seen: seen, failOpen: &FailOpen{customer: "c1"}}
	s.titles = exampleCatalogue(t)
	if err := json.Unmarshal(defaultPolicy, &s.document); err != nil {
		t.Fatal(err)
	}
	for _, step := range x.steps {
		if !s.step(step) {
			t.Fatalf("%s:%d: nobody knows what %q means", x.file, step.line, step.text)
		}
		if t.Failed() {
			t.Fatalf("%s:%d: %s", x.file, step.line, step.text)
		}
	}
	sameState(t, "folding the history again", replayed(t, "c1", s.history), s.books)
}

func (s *stage) step(step step) bool {
	table := actions
	if step.then {
		table = checks
	}
	for _, row := range table {
		m := row.pattern.FindStringSubmatch(step.text)
		if m == nil {
			continue
		}
		row.do(s, m[1:])
		if !step.then && !step.when {
			if s.err != nil {
				s.t.Errorf("not possible: %v", s.err)
			} else if d := s.verdict.Decision; d != nil && d.Outcome == OutcomeRefuse {
				s.t.Errorf("refused:\n%s", explain(d))
			}
		}
		return true
	}
	return false
}

type row struct {
	pattern *regexp.Regexp
	do      func(s *stage, m []string)
}

func line(pattern string, do func(s *stage, m []string)) row {
	return row{regexp.MustCompile("^" + pattern + "$"), do}
}

const (
	thing = `([a-z][a-z0-9-]*)`
	when  = `(\d{4}-\d\d-\d\d(?: \d\d:\d\d)?)( Berlin time)?`
	by    = `( by support)?`
)

func (s *stage) command(decide func(*Customer, Moment) (Verdict, error)) {
	m := s.moment()
	s.verdict, s.err = decide(s.books, m)
	s.events = nil
	if s.err != nil {
		return
	}
	s.events = s.record(s.t, m, s.verdict)
	if d := s.verdict.Decision; d != nil && d.Outcome == OutcomeRefuse {
		s.seen.add(d.Code)
	}
}

func (s *stage) bySupport(support string, f func()) {
	if support == "" {
		f()
		return
	}
	s.as(RoleSupport, f)
}

// licenseOn is the newest licence for a title on a device.
func (s *stage) licenseOn(title, device string) string {
	for _, l := range slices.Backward(s.books.licenses) {
		if l.subject.TitleID == title && l.subject.DeviceID == device {
			return l.subject.LicenseID
		}
	}
	s.t.Fatalf("there is no licence for %s on %s", title, device)
	return ""
}

func (s *stage) view(title, device string) LicenseView {
	v, _ := s.books.License(s.licenseOn(title, device), s, s.now)
	return v
}

func (s *stage) acquireStep(title, device, profile, country, quality string) {
	r := AcquireRequest{
		DeviceID: device, DeviceType: typeOf(device), TitleID: title, Maturity: profile, Country: country, Quality: quality, KeyID: "k1",
	}
	s.command(func(c *Customer, m Moment) (Verdict, error) { return c.Acquire(m, r) })
}

// typeOf makes a device's type of its name: phone-2 is a phone.
func typeOf(device string) string {
	name, _, _ := strings.Cut(device, "-")
	types := map[string]string{"phone": "iphone", "tablet": "ipad", "laptop": "macbook", "tv": "smart-tv", "switch": "switch-2"}
	if t, ok := types[name]; ok {
		return t
	}
	return "some-" + name
}

var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

func parseWhen(t *testing.T, text, zone string) time.Time {
	t.Helper()
	in := time.UTC
	if zone != "" {
		in = berlin
	}
	layout := "2006-01-02 15:04"
	at, err := time.ParseInLocation(layout[:len(text)], text, in)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func duration(n, unit string) time.Duration {
	count, _ := strconv.Atoi(n)
	switch strings.TrimSuffix(unit, "s") {
	case "minute":
		return time.Duration(count) * time.Minute
	case "hour":
		return time.Duration(count) * time.Hour
	}
	return time.Duration(count) * 24 * time.Hour
}

var someReason = Reason{Code: ReasonCustomer, Case: "4711"}

var actions = []row{
	line(`it is `+when, func(s *stage, m []string) { s.now = parseWhen(s.t, m[0], m[1]) }),
	line(`(\d+) (minutes?|hours?|days?) pass`, func(s *stage, m []string) { s.pass(duration(m[0], m[1])) }),
	line(`the policy says (\S+) is (.+)`, func(s *stage, m []string) { s.setPolicy(m[0], m[1]) }),
	line(`the plan is `+thing+` in ([A-Z]{2})`, func(s *stage, m []string) {
		s.as(RoleService, func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.ChangePlan(at, m[0], m[1], nil) })
		})
	}),
	line(`the membership is ([a-z_]+)`, func(s *stage, m []string) {
		s.as(RoleService, func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.ChangeMembership(at, m[0], nil) })
		})
	}),
	line(thing+` is registered(?: as `+thing+`)?(?: to replace `+thing+`)?`, func(s *stage, m []string) {
		kind := m[1]
		if kind == "" {
			kind = typeOf(m[0])
		}
		s.command(func(c *Customer, at Moment) (Verdict, error) {
			return c.RegisterDevice(at, RegisterRequest{DeviceID: m[0], DeviceType: kind, Replaces: m[2]})
		})
	}),
	line(thing+` is removed`+by, func(s *stage, m []string) {
		s.bySupport(m[1], func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.RemoveDevice(at, m[0], nil) })
		})
	}),
	line(thing+` is blocked`, func(s *stage, m []string) {
		s.as(RoleSupport, func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.BlockDevice(at, m[0], someReason) })
		})
	}),
	line(thing+` is unblocked`, func(s *stage, m []string) {
		s.as(RoleSupport, func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.UnblockDevice(at, m[0], someReason) })
		})
	}),
	line(thing+` is downloaded on `+thing+`(?: by a (kids|teen|adult) profile)?(?: from ([A-Z]{2}))?(?: in (standard|high|uhd))?`,
		func(s *stage, m []string) { s.acquireStep(m[0], m[1], m[2], m[3], m[4]) }),
	line(`(\d+) titles of `+thing+` are downloaded on `+thing, func(s *stage, m []string) {
		n, _ := strconv.Atoi(m[0])
		for i := range n {
			id := fmt.Sprintf("%s-%s-%d", m[1], m[2], len(s.titles)+i)
			s.movie(id, m[1])
			s.acquireStep(id, m[2], "", "", "")
			if s.verdict.Decision.Outcome != OutcomeGrant {
				s.t.Fatalf("title %d: %s", i+1, explain(s.verdict.Decision))
			}
		}
	}),
	line(thing+` is downloaded on `+thing+` without the books`, func(s *stage, m []string) {
		at := s.moment()
		s.verdict, s.err = s.failOpen.Grant(at, AcquireRequest{DeviceID: m[1], DeviceType: typeOf(m[1]), TitleID: m[0], Country: "DE", KeyID: "k1"})
		for _, n := range s.verdict.Events {
			if p, ok := n.Payload.(*LicenseIssued); ok {
				s.grants = append(s.grants, p)
			}
		}
	}),
	line(`the books can be read again`, func(s *stage, _ []string) {
		for _, grant := range s.grants {
			s.as(RoleSystem, func() {
				s.command(func(c *Customer, at Moment) (Verdict, error) { return c.Reconcile(at, grant) })
			})
		}
	}),
	line(thing+` is renewed on `+thing+`(?: from ([A-Z]{2}))?`, func(s *stage, m []string) {
		id := s.licenseOn(m[0], m[1])
		s.command(func(c *Customer, at Moment) (Verdict, error) {
			return c.Renew(at, RenewRequest{LicenseID: id, Country: m[2], KeyID: "k1"})
		})
	}),
	line(thing+` is released on `+thing, func(s *stage, m []string) {
		id := s.licenseOn(m[0], m[1])
		s.command(func(c *Customer, at Moment) (Verdict, error) { return c.Release(at, id, nil) })
	}),
	line(thing+` is confirmed to be gone from `+thing, func(s *stage, m []string) {
		id := s.licenseOn(m[0], m[1])
		s.command(func(c *Customer, at Moment) (Verdict, error) { return c.ConfirmRelease(at, id, nil) })
	}),
	line(thing+` is revoked on `+thing, func(s *stage, m []string) {
		id := s.licenseOn(m[0], m[1])
		s.as(RoleSupport, func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.Revoke(at, id, Reason{Code: ReasonFraud}) })
		})
	}),
	line(`everything is revoked`, func(s *stage, _ []string) {
		s.as(RoleSupport, func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.RevokeAll(at, Reason{Code: ReasonChargeback}) })
		})
	}),
	line(thing+` was played on `+thing+`(?: (\d+) (minutes?|hours?|days?) (ago|ahead))?(?: as (play-\d+))?`, func(s *stage, m []string) {
		at := s.now
		if m[2] != "" {
			d := duration(m[2], m[3])
			if m[4] == "ago" {
				d = -d
			}
			at = at.Add(d)
		}
		play := m[5]
		if play == "" {
			s.plays++
			play = fmt.Sprintf("auto-%d", s.plays)
		}
		id := s.licenseOn(m[0], m[1])
		s.command(func(c *Customer, now Moment) (Verdict, error) {
			return c.RecordPlayback(now, PlaybackReport{LicenseID: id, PlayID: play, Kind: PlayStart, DeviceTime: at})
		})
	}),
	line(thing+` is withdrawn(?: in ([A-Z]{2}))?(?: from `+when+`)?`, func(s *stage, m []string) {
		r := WithdrawRequest{}
		if m[1] != "" {
			r.Countries = []string{m[1]}
		}
		if m[2] != "" {
			r.From = parseWhen(s.t, m[2], m[3])
		}
		s.withdraw(s.t, m[0], r)
	}),
	line(`support allows ([A-Z_]+) (\d+) times?(?: for (device|title|studio) `+thing+`)?(?: until `+when+`)?`, func(s *stage, m []string) {
		uses, _ := strconv.Atoi(m[1])
		r := ExceptionRequest{Code: m[0], Uses: uses, Scope: Scope{Kind: m[2], ID: m[3]}, Reason: someReason}
		if m[4] != "" {
			until := parseWhen(s.t, m[4], m[5])
			r.ExpiresAt = &until
		}
		s.as(RoleSupport, func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.GrantException(at, r) })
		})
	}),
	line(`support withdraws what it allowed`, func(s *stage, _ []string) {
		id := s.books.exceptions[len(s.books.exceptions)-1].id
		s.as(RoleSupport, func() {
			s.command(func(c *Customer, at Moment) (Verdict, error) { return c.WithdrawException(at, id, someReason) })
		})
	}),
}

// withdraw decides a withdrawal in the title's own stream.
func (w *world) withdraw(t tb, title string, r WithdrawRequest) {
	t.Helper()
	books, ok := w.withdrawn[title]
	if !ok {
		books = &Withdrawals{title: title}
		w.withdrawn[title] = books
	}
	v, err := books.Withdraw(w.moment(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range v.Events {
		e := Event{Stream: TitleStream(title), Seq: books.Version() + 1, RecordedAt: w.now}
		if err := e.SetData(n.Payload); err != nil {
			t.Fatal(err)
		}
		if err := books.Apply(&e); err != nil {
			t.Fatal(err)
		}
	}
}

// setPolicy changes the document at a path and reads it anew.
func (s *stage) setPolicy(path, value string) {
	var v any
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		s.t.Fatalf("%s is no JSON: %v", value, err)
	}
	at := s.document
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		next, ok := at[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[part] = next
		}
		at = next
	}
	if v == nil {
		delete(at, parts[len(parts)-1])
	} else {
		at[parts[len(parts)-1]] = v
	}
	raw, err := json.Marshal(s.document)
	if err != nil {
		s.t.Fatal(err)
	}
	policy, err := ParsePolicy(raw)
	if err != nil {
		s.t.Fatalf("the policy is wrong then: %v", err)
	}
	s.policy = policy
}

// rule is the one that the checks are about: the one that refuses, or that is named.
func (s *stage) rule(name string) *RuleResult {
	d := s.verdict.Decision
	if d == nil {
		s.t.Fatal("nothing was decided")
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		if name != "" && r.Rule == name || name == "" && r.Outcome == RuleRefuse && r.Code == d.Code {
			return r
		}
	}
	s.t.Fatalf("no rule %q in\n%s", name, explain(d))
	return nil
}

func (s *stage) equal(got, want any) {
	s.t.Helper()
	if got != want {
		text := ""
		if s.verdict.Decision != nil {
			text = "\n" + explain(s.verdict.Decision)
		}
		s.t.Errorf("it is %v, not %v%s", got, want, text)
	}
}

func timeText(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.UTC().Format("2006-01-02 15:04")
}

var checks = []row{
	line(`it is granted`, func(s *stage, _ []string) {
		if s.err != nil {
			s.t.Fatal(s.err)
		}
		s.equal(s.verdict.Decision.Outcome, OutcomeGrant)
	}),
	line(`it is refused with ([A-Z_]+)`, func(s *stage, m []string) {
		if s.err != nil {
			s.t.Fatal(s.err)
		}
		s.equal(s.verdict.Decision.Code, m[0])
	}),
	line(`it is also against ([A-Z_]+)`, func(s *stage, m []string) {
		if !slices.ContainsFunc(s.verdict.Decision.Rules, func(r RuleResult) bool { return r.Code == m[0] && r.Outcome == RuleRefuse }) {
			s.t.Errorf("it is not:\n%s", explain(s.verdict.Decision))
		}
	}),
	line(`it is not possible: (.+)`, func(s *stage, m []string) {
		if s.err == nil || !strings.Contains(s.err.Error(), m[0]) {
			s.t.Errorf("the error is %v", s.err)
		}
	}),
	line(`(\d+) of (\d+) (?:is|are) used(?: of (\S+))?`, func(s *stage, m []string) {
		r := s.rule(m[2])
		if r.Used == nil || r.Limit == nil {
			s.t.Fatalf("there is no count:\n%s", explain(s.verdict.Decision))
		}
		s.equal(fmt.Sprintf("%d of %d", *r.Used, *r.Limit), m[0]+" of "+m[1])
	}),
	line(`a place is free at `+when, func(s *stage, m []string) {
		s.equal(timeText(s.rule("").ResetsAt), timeText(new(parseWhen(s.t, m[0], m[1]))))
	}),
	line(`no place comes free by itself`, func(s *stage, _ []string) { s.equal(timeText(s.rule("").ResetsAt), "never") }),
	line(`the limit comes from (.+)`, func(s *stage, m []string) { s.equal(s.rule("").Source, m[0]) }),
	line(`the places are held by (.+)`, func(s *stage, m []string) {
		var held []string
		for _, h := range s.rule("").HeldBy {
			name := h.ID
			if h.Kind == ScopeLicense {
				name = h.TitleID + " on " + h.DeviceID
			}
			held = append(held, name)
		}
		s.equal(strings.Join(held, ", "), m[0])
	}),
	line(`what helps is: (.+)`, func(s *stage, m []string) {
		var remedies []string
		for _, r := range s.verdict.Decision.Remedies {
			if l := s.books.license(r.ID); l != nil {
				r.ID = l.subject.TitleID + " on " + l.subject.DeviceID
			}
			remedies = append(remedies, remedyText(r))
		}
		s.equal(strings.Join(remedies, "; "), m[0])
	}),
	line(`nothing helps`, func(s *stage, _ []string) { s.equal(len(s.verdict.Decision.Remedies), 0) }),
	line(`(\S+) warns: (.+)`, func(s *stage, m []string) {
		r := s.rule(m[0])
		s.equal(r.Outcome+": "+r.Detail, RuleWarn+": "+m[1])
	}),
	line(`(\S+) passes`, func(s *stage, m []string) { s.equal(s.rule(m[0]).Outcome, RulePass) }),
	line(`(\S+) is overridden`, func(s *stage, m []string) { s.equal(s.rule(m[0]).Outcome, RuleOverridden) }),
	line(`(\S+) says: (.+)`, func(s *stage, m []string) { s.equal(s.rule(m[0]).Detail, m[1]) }),
	line(`what is recorded is (.+)`, func(s *stage, m []string) { s.equal(strings.Join(typesOf(s.events), ", "), m[0]) }),
	line(`nothing is recorded`, func(s *stage, _ []string) { s.equal(len(s.events), 0) }),
	line(`the recorded refusal answers`, func(s *stage, _ []string) {
		seq := s.verdict.Repeats
		if seq == 0 || s.history[seq-1].Type != "LicenseDenied" {
			s.t.Errorf("it is answered by %d", seq)
		}
	}),
	line(thing+` on `+thing+` is (active|expired|released|revoked)`, func(s *stage, m []string) {
		s.equal(s.view(m[0], m[1]).Status, m[2])
	}),
	line(thing+` on `+thing+` is playable until `+when+`, by its ([a-z]+)`, func(s *stage, m []string) {
		v := s.view(m[0], m[1])
		s.equal(timeText(v.PlayableUntil)+" "+v.LimitedBy, timeText(new(parseWhen(s.t, m[2], m[3])))+" "+m[4])
	}),
	line(thing+` on `+thing+` will stop at `+when, func(s *stage, m []string) {
		s.equal(timeText(s.view(m[0], m[1]).WillStopAt), timeText(new(parseWhen(s.t, m[2], m[3]))))
	}),
	line(`the removal of `+thing+` from `+thing+` is (none|pending|confirmed)`, func(s *stage, m []string) {
		s.equal(s.view(m[0], m[1]).Removal, m[2])
	}),
	line(`(\d+) of (\d+) slots are taken`, func(s *stage, m []string) {
		n := s.books.Summary(s, s.now).Devices
		s.equal(fmt.Sprintf("%d of %d", n.Used, *n.Limit), m[0]+" of "+m[1])
	}),
	line(thing+` counts (\d+) downloads? this year`, func(s *stage, m []string) {
		s.equal(strconv.FormatInt(s.counter(RuleDownloadsPerYear, m[0]), 10), m[1])
	}),
	line(thing+` counts (\d+) plays?`, func(s *stage, m []string) {
		s.equal(strconv.FormatInt(s.counter(RulePlaysPerPeriod, m[0]), 10), m[1])
	}),
	line(`the clock of `+thing+` is suspect`, func(s *stage, m []string) { s.equal(s.books.device(m[0]).clockSuspect, true) }),
	line(`the play is (.+)`, func(s *stage, m []string) {
		p, ok := payload(s.t, &s.events[0]).(*PlaybackStarted)
		if !ok {
			s.t.Fatal("no play was recorded")
		}
		var marks []string
		for _, mark := range []struct {
			up   bool
			name string
		}{{p.FirstPlay, "the first"}, {p.Counted, "counted"}, {p.AfterEnd, "after the end"}, {p.ClockSuspect, "suspect"}, {p.Unremembered, "unremembered"}} {
			if mark.up {
				marks = append(marks, mark.name)
			}
		}
		if len(marks) == 0 {
			marks = []string{"a replay"}
		}
		s.equal(strings.Join(marks, ", "), m[0])
	}),
	line(`the play counts at `+when, func(s *stage, m []string) {
		p, ok := payload(s.t, &s.events[0]).(*PlaybackStarted)
		if !ok {
			s.t.Fatal("no play was recorded")
		}
		s.equal(timeText(&p.At), timeText(new(parseWhen(s.t, m[0], m[1]))))
	}),
	line(`the grant is (kept|revoked)(?: for ([A-Z_]+))?`, func(s *stage, m []string) {
		p, ok := payload(s.t, &s.events[len(s.events)-1]).(*GrantReconciled)
		if !ok {
			s.t.Fatal("nothing was settled")
		}
		s.equal(p.Outcome+" "+p.Code, m[0]+" "+m[1])
	}),
	line(`the customer is flagged (\S+)`, func(s *stage, m []string) {
		s.equal(slices.Contains(s.books.Summary(s, s.now).Flags, m[0]), true)
	}),
}

func (s *stage) counter(rule, id string) int64 {
	for _, n := range s.books.Summary(s, s.now).Counters {
		if n.Rule == rule && n.Scope.ID == id {
			return n.Used
		}
	}
	return 0
}

// exampleCatalogue reads the table of titles in the README of the examples.
func exampleCatalogue(t *testing.T) map[string]Title {
	t.Helper()
	raw, err := os.ReadFile("testdata/examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	titles := map[string]Title{}
	for _, text := range strings.Split(string(raw), "\n") {
		cells := strings.Split(text, "|")
		if len(cells) != 9 || strings.Contains(text, "---") || strings.Contains(text, "title") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		title := Title{
			ID: cells[1], Name: cells[1], Kind: cells[2], Studio: cells[3], Maturity: cells[4], RegionRule: cells[6], Downloadable: cells[7] == "yes",
		}
		for _, text := range strings.Split(cells[5], ";") {
			w := Window{}
			for _, word := range strings.Fields(text) {
				switch {
				case strings.HasPrefix(word, "from:"):
					w.From = parseWhen(t, word[5:], "")
				case strings.HasPrefix(word, "to:"):
					w.To = parseWhen(t, word[3:], "")
				case word != "everywhere":
					w.Countries = append(w.Countries, word)
				}
			}
			slices.Sort(w.Countries)
			title.Windows = append(title.Windows, w)
		}
		titles[title.ID] = title
	}
	if len(titles) < 10 {
		t.Fatalf("the catalogue of the examples has only %v", slices.Sorted(maps.Keys(titles)))
	}
	return titles
}
