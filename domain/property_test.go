package domain

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Random commands are decided by the books and by the plain model, which must agree on every rule; and whatever
// happens, the books must be a fold of what was recorded, the same after a restart, the same when nothing is forgotten,
// and every decision must come out again from history, byte for byte.
func TestRandomCommandsAreDecidedAsAPlainModelDecidesThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t)
		for range 3 { // one repetition is about 30 steps; three reach deeper
			t.Repeat(r.commandsToDraw())
		}
		r.finish(t)
	})
}

func (r *run) commandsToDraw() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":               r.check,
		"acquire":        r.acquire,
		"acquire more":   r.acquire,
		"acquire again":  r.acquire,
		"renew":          r.renew,
		"release":        r.release,
		"confirm":        r.confirm,
		"play":           r.play,
		"revoke":         r.revoke,
		"revoke all":     r.revokeAll,
		"register":       r.register,
		"remove":         r.remove,
		"block":          r.block,
		"plan":           r.changePlan,
		"membership":     r.changeMembership,
		"exception":      r.exception,
		"withdraw":       r.withdraw,
		"time":           r.pass,
		"some more time": r.pass,
	}
}

// run is the books and the model side by side.
type run struct {
	*world
	model    *model
	endless  *Customer // the books without pruning
	log      []logged
	licenses []string
	plays    []string
}

// logged is a command that can be decided again.
type logged struct {
	version uint64
	moment  Moment
	decide  func(*Customer, Moment) (Verdict, error)
	answer  string
}

// frozen is a reference that stays as it is.
type frozen struct {
	world
	at map[string]*Withdrawals
}

func (f *frozen) WithdrawnFrom(title, country string) (time.Time, bool) {
	if w, ok := f.at[title]; ok {
		return w.From(country)
	}
	return time.Time{}, false
}

func newRun(t *rapid.T) *run {
	w := newWorld()
	w.policy = randomPolicy(t)
	for _, x := range []Title{
		{ID: "a1", Studio: "aurora", Maturity: MaturityTeen, Windows: []Window{{}}},
		{ID: "a2", Studio: "aurora", Maturity: MaturityAdult, Windows: []Window{{}}, RegionRule: RegionIssue},
		{ID: "b1", Studio: "borealis", Maturity: MaturityKids, RegionRule: RegionHome, Windows: []Window{
			{Countries: []string{"DE"}, To: w.now.AddDate(0, 2, 0)}, {Countries: []string{"DE", "FR"}, From: w.now.AddDate(0, 3, 0)},
		}},
		{ID: "b2", Studio: "borealis", Maturity: MaturityTeen, Windows: []Window{{Countries: []string{"FR"}}, {From: w.now.AddDate(0, 0, 5)}}},
		{ID: "c1", Studio: "unruled", Maturity: MaturityTeen, Windows: []Window{{}}},
	} {
		x.Kind, x.Name, x.Downloadable = KindMovie, "title "+x.ID, true
		w.titles[x.ID] = x
	}
	w.titles["series"] = Title{ID: "series", Kind: KindSeries, Downloadable: true, Windows: []Window{{}}}
	w.titles["streamed"] = Title{ID: "streamed", Kind: KindMovie, Studio: "aurora", Windows: []Window{{}}}
	r := &run{world: w, endless: NewCustomer("c1")}
	r.model = &model{ref: w, customer: "c1"}
	r.planned(t, "high", "DE")
	return r
}

// limits are often absent, and seldom 0, so that enough is granted.
var limits = rapid.Map(rapid.SampledFrom([]int{-1, -1, -1, 3, 2, 4, 1, 5, 0}), func(n int) *Limit {
	if n < 0 {
		return nil
	}
	return &Limit{Max: int64(n), WarnAt: int64(n % 3)}
})

func spans(texts ...string) *rapid.Generator[Span] {
	return rapid.Map(rapid.SampledFrom(texts), func(text string) Span {
		if text == "" {
			return 0
		}
		s, err := ParseSpan(text)
		if err != nil {
			panic(err)
		}
		return s
	})
}

func randomPolicy(t *rapid.T) *Policy {
	zones := rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "America/Santiago"})
	calendar := func(name string) Calendar {
		if rapid.Bool().Draw(t, name+" rolling") {
			return Calendar{Kind: WindowRolling}
		}
		zone, err := time.LoadLocation(zones.Draw(t, name+" zone"))
		if err != nil {
			t.Fatal(err)
		}
		return Calendar{Kind: WindowCalendar, TimeZone: zone.String(), location: zone}
	}
	flag := func(name string) *bool {
		return rapid.SampledFrom([]*bool{nil, new(true), new(false)}).Draw(t, name)
	}
	rules := func(name string) *TitleRules {
		return &TitleRules{
			MaxActivePerStudio:       limits.Draw(t, name+" studio"),
			MaxDownloadsPerTitleYear: limits.Draw(t, name+" year"),
			MaxPlaysPerPeriod:        limits.Draw(t, name+" plays"),
			PlayPeriod:               spans("", "5d", "90d").Draw(t, name+" period"),
			MaxRenewals:              limits.Draw(t, name+" renewals"),
			MaxReissues:              limits.Draw(t, name+" reissues"),
			RentalDuration:           spans("", "2d", "30d").Draw(t, name+" rental"),
			PlaybackDuration:         spans("", "48h", "20d").Draw(t, name+" playback"),
			LicenseDuration:          spans("", "3d", "30d", "300d").Draw(t, name+" license"),
			MinRenewInterval:         spans("", "1h", "2d").Draw(t, name+" interval"),
			RenewGrace:               spans("", "1d", "20d").Draw(t, name+" grace"),
			RenewalRestartsPlayback:  flag(name + " restarts"),
			RenewalCountsAsDownload:  flag(name + " counts"),
			RenewOverLimit:           rapid.SampledFrom([]string{"", RenewOverLimitAllow, RenewOverLimitRefuse}).Draw(t, name+" over"),
		}
	}
	plan := func(name string, rank int) *Plan {
		return &Plan{
			Version: rank, Rank: rank, Downloads: true,
			MaxDownloadDevices:         limits.Draw(t, name+" devices"),
			MaxActivePerDevice:         limits.Draw(t, name+" active"),
			MaxActivePerAccount:        limits.Draw(t, name+" account"),
			MaxDownloadsPerDeviceMonth: limits.Draw(t, name+" month"),
		}
	}
	p := &Policy{
		General: General{
			MonthWindow: calendar("month"), YearWindow: calendar("year"), DeviceReplacements: limits.Draw(t, "replacements"),
			SlotFreedOn:     rapid.SampledFrom([]string{SlotFreedOnRemoval, SlotFreedOnConfirmation}).Draw(t, "slot"),
			OnHoldEffect:    rapid.SampledFrom([]string{OnHoldRefuseNew, OnHoldRefuseRenewal, OnHoldRevoke}).Draw(t, "on hold"),
			DowngradeEffect: rapid.SampledFrom([]string{DowngradeKeep, DowngradeRemove}).Draw(t, "downgrade"),
			PlayDrift:       600, PlayMemory: spans("10d", "60d").Draw(t, "memory"), EndedLicenseMemory: spans("20d", "90d").Draw(t, "ended"),
		},
		Defaults: *rules("defaults"),
		Plans:    map[string]*Plan{"low": plan("low", 1), "high": plan("high", 2), "none": {Version: 1, Rank: 0}},
		Studios:  map[string]*TitleRules{"aurora": rules("aurora"), "borealis": rules("borealis")},
		Titles:   map[string]*TitleRules{"a2": {MaxRenewals: limits.Draw(t, "a2 renewals")}},
	}
	p.Plans["low"].Qualities = []string{"standard"}
	return p
}

// decide lets the books decide, in every state that must give the same answer, and records what comes of it.
func (r *run) decide(t *rapid.T, who Role, decide func(*Customer, Moment) (Verdict, error)) (Verdict, []Event, Moment, error) {
	r.commands++
	m := Moment{
		Now: r.now, CommandID: fmt.Sprintf("cmd-%d", r.commands), Actor: Actor{ID: "someone", Role: who}, Version: r.books.Version(),
		Reference: &frozen{world: *r.world, at: maps.Clone(r.withdrawn)},
	}
	before := marshalled(t, r.books)
	clone := r.books.Clone().(*Customer)
	v, err := decide(r.books, m)
	answer := answerOf(t, v, err)
	if string(before) != string(marshalled(t, r.books)) {
		t.Fatal("deciding changed the books")
	}
	restored, rerr := RestoreAggregate("customer/c1", FoldVersion, string(before))
	if rerr != nil {
		t.Fatal(rerr)
	}
	for what, books := range map[string]*Customer{"restored": restored.(*Customer), "unpruned": r.endless} {
		v, err := decide(books, m)
		if got := answerOf(t, v, err); got != answer {
			t.Fatalf("the %s books answer\n%s\nand these\n%s", what, got, answer)
		}
	}
	if err != nil {
		return v, nil, m, err
	}
	if len(v.Events) > MaxVerdictEvents {
		t.Fatalf("%d events", len(v.Events))
	}
	r.log = append(r.log, logged{m.Version, m, decide, answer})
	events := r.record(t, m, v)
	for i := range events {
		r.endless.recordedAt = 0 // so that it never looks like another day, and nothing is pruned
		if err := r.endless.Apply(&events[i]); err != nil {
			t.Fatal(err)
		}
		if p, ok := payload(t, &events[i]).(*LicenseExpired); ok {
			l := r.model.license(p.LicenseID, r.now)
			if l == nil {
				continue // ended before the model's memory: it is only told late
			}
			if end := r.model.end(l); !end.Equal(p.ExpiredAt) || !reached(end, r.now) {
				t.Fatalf("%s expired on %s, not on %s", p.LicenseID, end, p.ExpiredAt)
			}
		}
	}
	if len(events) > 0 && string(before) != string(marshalled(t, clone)) {
		t.Fatal("a clone changed with the original")
	}
	return v, events, m, nil
}

// answerOf is everything that a decision says.
func answerOf(t tb, v Verdict, err error) string {
	if err != nil {
		return err.Error()
	}
	text := asJSON(t, v.Decision) + fmt.Sprint(v.Repeats, v.Remaining)
	for _, e := range v.Events {
		text += "\n" + e.Payload.EventType() + asJSON(t, e.Payload)
	}
	return text
}

// agrees compares a decision with the model's.
func (r *run) agrees(t *rapid.T, v Verdict, q *question, again func(time.Time) *question) {
	var rules []string
	for _, rule := range v.Decision.Rules {
		rules = append(rules, realRule(rule))
	}
	if got := strings.Join(rules, "\n"); got != q.String() || v.Decision.Code != q.code() {
		t.Fatalf("the books decide\n%s\n%s\nthe model\n%s\n%s", v.Decision.Code, got, q.code(), q.String())
	}
	if granted := v.Decision.Outcome == OutcomeGrant; granted != (q.code() == "") {
		t.Fatalf("the outcome is %s with code %q", v.Decision.Outcome, q.code())
	}
	r.resets(t, v.Decision, q, again)
	r.repeats(t, v)
	r.remedies(t, v.Decision)
}

// resets: a rule that refuses until a moment refuses up to it, and not from it on; one that says nothing refuses in ten
// years as well.
func (r *run) resets(t *rapid.T, d *Decision, q *question, again func(time.Time) *question) {
	refuses := func(at time.Time, rule string) (refuses, looked bool) {
		for _, x := range again(at).rules {
			if x.rule == rule {
				return x.outcome == "refuse", true
			}
		}
		return false, false
	}
	for _, x := range d.Rules {
		if x.Outcome != RuleRefuse {
			continue
		}
		if x.ResetsAt == nil {
			if still, looked := refuses(q.now.AddDate(10, 0, 0), x.Rule); looked && !still {
				t.Fatalf("%s never resets, it says, but in ten years it passes", x.Rule)
			}
			continue
		}
		if !x.ResetsAt.After(q.now) {
			t.Fatalf("%s resets at %s, which has passed", x.Rule, x.ResetsAt)
		}
		if still, looked := refuses(x.ResetsAt.Add(-time.Microsecond), x.Rule); looked && !still {
			t.Fatalf("%s passes before %s", x.Rule, x.ResetsAt)
		}
		if still, _ := refuses(*x.ResetsAt, x.Rule); still {
			t.Fatalf("%s still refuses at %s", x.Rule, x.ResetsAt)
		}
	}
}

// repeats: a refusal is answered from a recorded one only if that says the same, and nothing else has happened since.
func (r *run) repeats(t *rapid.T, v Verdict) {
	if v.Repeats == 0 {
		return
	}
	if len(v.Events) != 0 {
		t.Fatal("a repeated refusal is recorded")
	}
	recorded := payload(t, &r.history[v.Repeats-1]).(*LicenseDenied)
	if recorded.Code != v.Decision.Code || asJSON(t, recorded.Decision.Rules) != asJSON(t, v.Decision.Rules) ||
		asJSON(t, recorded.Decision.Request) != asJSON(t, v.Decision.Request) {
		t.Fatalf("the recorded refusal says\n%s\nthis one\n%s", explain(&recorded.Decision), explain(v.Decision))
	}
	for _, e := range r.history[v.Repeats:] {
		if e.Type != "LicenseDenied" {
			t.Fatalf("%s has happened since", e.Type)
		}
	}
}

func (r *run) remedies(t *rapid.T, d *Decision) {
	if len(d.Remedies) > maxRemedies || len(d.Remedies) > 0 && d.Outcome != OutcomeRefuse {
		t.Fatalf("%d remedies of a %s", len(d.Remedies), d.Outcome)
	}
}

var (
	deviceIDs = rapid.SampledFrom([]string{"d1", "d1", "d2", "d2", "d3", "d4"})
	kinds     = rapid.SampledFrom([]string{"iphone", "iphone", "iphone", "ipad", "ipad", "smart-tv", "switch-2", "strange"})
	titleIDs  = rapid.SampledFrom([]string{"a1", "a1", "a1", "c1", "c1", "a2", "a2", "b1", "b2", "b2", "series", "streamed", "missing"})
	countries = rapid.SampledFrom([]string{"", "DE", "FR"})
	roles     = rapid.SampledFrom([]Role{RoleDevice, RoleService, RoleSupport})
)

func (r *run) acquire(t *rapid.T) {
	ask := AcquireRequest{
		DeviceID: deviceIDs.Draw(t, "device"), DeviceType: kinds.Draw(t, "kind"), TitleID: titleIDs.Draw(t, "title"),
		Maturity: rapid.SampledFrom([]string{"", "", "", "teen", "teen", "kids"}).Draw(t, "maturity"), Country: countries.Draw(t, "country"),
		Quality: rapid.SampledFrom([]string{"", "", "standard", "standard", "uhd"}).Draw(t, "quality"), KeyID: "k",
	}
	question := func(now time.Time) *question {
		return r.model.acquire(ask.DeviceID, ask.DeviceType, ask.TitleID, ask.Maturity, ask.Country, ask.Quality, now)
	}
	q := question(r.now)
	if rapid.IntRange(0, 4).Draw(t, "evaluate") == 0 {
		v, err := r.books.Evaluate(r.moment(), ask)
		if err != nil || len(v.Events) != 0 {
			t.Fatal("an evaluation records something:", err, v.Events)
		}
		r.agrees(t, v, q, question)
		return
	}
	v, events, m, err := r.decide(t, RoleDevice, func(c *Customer, m Moment) (Verdict, error) { return c.Acquire(m, ask) })
	if err != nil {
		t.Fatal(err)
	}
	r.agrees(t, v, q, question)
	if q.code() != "" {
		return
	}
	r.model.use(q)
	if q.license != nil {
		q.license.reissues++
		r.model.registered(ask.DeviceID, ask.DeviceType, r.now)
		expectTypes(t, events, "LicenseReissued")
		return
	}
	r.model.issued(q, LicenseID(m.CommandID))
	r.licenses = append(r.licenses, LicenseID(m.CommandID))
	expectTypes(t, events, "LicenseIssued", "ContentDownloaded")
}

func expectTypes(t *rapid.T, events []Event, want ...string) {
	types := typesOf(events)
	for _, typ := range want {
		if !slices.Contains(types, typ) {
			t.Fatalf("%s is missing in %v", typ, types)
		}
	}
}

// anyLicense is one that was issued, or none that ever was.
func (r *run) anyLicense(t *rapid.T) string {
	if len(r.licenses) == 0 {
		return "lic_none"
	}
	recent := r.licenses[max(0, len(r.licenses)-8):]
	return rapid.SampledFrom(append([]string{"lic_none"}, recent...)).Draw(t, "licence")
}

// found checks that the books know a licence when the model does.
func (r *run) found(t *rapid.T, l *mLicense, err error) bool {
	if (l == nil) != errors.Is(err, ErrNotFound) {
		t.Fatalf("the model has %+v, the books say %v", l, err)
	}
	return l != nil
}

func (r *run) renew(t *rapid.T) {
	id := r.anyLicense(t)
	ask := RenewRequest{LicenseID: id, Country: countries.Draw(t, "country"), KeyID: "k"}
	l := r.model.license(id, r.now)
	v, events, _, err := r.decide(t, RoleDevice, func(c *Customer, m Moment) (Verdict, error) { return c.Renew(m, ask) })
	if !r.found(t, l, err) {
		return
	}
	q, after := r.model.renew(l, ask.Country, r.now)
	r.agrees(t, v, q, func(now time.Time) *question {
		q, _ := r.model.renew(l, ask.Country, now)
		return q
	})
	if q.code() != "" {
		return
	}
	r.model.use(q)
	*l = after
	if r.model.renewalCounts(q) {
		r.model.downloads = append(r.model.downloads, mUse{at: r.now, device: l.device, title: l.title, yearOnly: true})
	}
	expectTypes(t, events, "LicenseRenewed", "ContentRenewed")
}

func (r *run) release(t *rapid.T) {
	id := r.anyLicense(t)
	l := r.model.license(id, r.now)
	_, events, _, err := r.decide(t, RoleDevice, func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, id, nil) })
	if !r.found(t, l, err) {
		return
	}
	if changed := l.ended.IsZero(); changed != (len(events) > 0) {
		t.Fatalf("releasing records %v", typesOf(events))
	}
	if l.ended.IsZero() {
		l.ended = r.now
	}
}

func (r *run) confirm(t *rapid.T) {
	id := r.anyLicense(t)
	l := r.model.license(id, r.now)
	_, events, _, err := r.decide(t, RoleDevice, func(c *Customer, m Moment) (Verdict, error) { return c.ConfirmRelease(m, id, nil) })
	if !r.found(t, l, err) {
		return
	}
	if l.gone != (len(events) == 0) {
		t.Fatalf("confirming records %v", typesOf(events))
	}
	l.gone = true
	if l.ended.IsZero() {
		l.ended = r.now
	}
}

func (r *run) revoke(t *rapid.T) {
	id := r.anyLicense(t)
	l := r.model.license(id, r.now)
	_, _, _, err := r.decide(t, RoleSupport, func(c *Customer, m Moment) (Verdict, error) {
		return c.Revoke(m, id, Reason{Code: ReasonFraud})
	})
	if r.found(t, l, err) && l.ended.IsZero() {
		l.ended, l.revoked = r.now, true
	}
}

func (r *run) revokeAll(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
		t.Skip("seldom")
	}
	if _, _, _, err := r.decide(t, RoleSupport, func(c *Customer, m Moment) (Verdict, error) {
		return c.RevokeAll(m, Reason{Code: ReasonChargeback})
	}); err != nil {
		t.Fatal(err)
	}
	r.revokedAll()
}

func (r *run) revokedAll() {
	for _, l := range r.model.licenses {
		end := l.own()
		q := &question{title: l.title, studio: l.studio, policy: r.policy}
		grace := seconds(field(q, func(t *TitleRules) Span { return t.RenewGrace }).Seconds())
		if l.ended.IsZero() && (end.IsZero() || end.Add(grace).After(r.now)) {
			l.ended, l.revoked = r.now, true
		}
	}
}

func (r *run) play(t *rapid.T) {
	id := r.anyLicense(t)
	l := r.model.license(id, r.now)
	hours := rapid.SampledFrom([]int{0, 0, 1, -1, 30, -30, -24 * 5, -24 * 25, -24 * 80, 24 * 400}).Draw(t, "hours")
	report := PlaybackReport{
		LicenseID: id, Kind: rapid.SampledFrom([]string{PlayStart, PlayStart, PlayStop}).Draw(t, "kind"),
		DeviceTime: r.now.Add(time.Duration(hours)*time.Hour + time.Duration(rapid.IntRange(-700, 700).Draw(t, "seconds"))*time.Second),
	}
	r.plays = append(r.plays, fmt.Sprint("play-", len(r.plays)))
	report.PlayID = rapid.SampledFrom(r.plays[max(0, len(r.plays)-4):]).Draw(t, "play")
	_, events, _, err := r.decide(t, RoleDevice, func(c *Customer, m Moment) (Verdict, error) { return c.RecordPlayback(m, report) })
	if !r.found(t, l, err) {
		return
	}
	want := r.model.play(l, report.PlayID, report.Kind, report.DeviceTime, r.now)
	got, counted := "known", false
	for i := range events {
		switch p := payload(t, &events[i]).(type) {
		case *PlaybackStarted:
			got = fmt.Sprint("start ", p.FirstPlay, p.Counted, p.AfterEnd, p.ClockSuspect, p.Unremembered)
			counted = p.Counted
			if end := r.model.end(l); (p.ExpiresAt == nil) != end.IsZero() || p.ExpiresAt != nil && !p.ExpiresAt.Equal(end) {
				t.Fatalf("after the play it expires at %v, not at %v", p.ExpiresAt, end)
			}
		case *PlaybackStopped:
			got = fmt.Sprint("stop ", p.AfterEnd, p.ClockSuspect, p.Unremembered)
		case *ContentPlayed:
			if !counted {
				t.Fatal("a play counts that does not")
			}
			counted = false
		}
	}
	if got != want || counted {
		t.Fatalf("the play is %q, not %q", got, want)
	}
}

func (r *run) register(t *rapid.T) {
	ask := RegisterRequest{DeviceID: deviceIDs.Draw(t, "device"), DeviceType: kinds.Draw(t, "kind")}
	who := roles.Draw(t, "who")
	if rapid.Bool().Draw(t, "replaces") {
		ask.Replaces = deviceIDs.Draw(t, "old")
	}
	v, events, _, err := r.decide(t, who, func(c *Customer, m Moment) (Verdict, error) { return c.RegisterDevice(m, ask) })
	if ask.Replaces == ask.DeviceID {
		if _, ok := errors.AsType[*FieldError](err); !ok {
			t.Fatalf("a device replaces itself: %v", err)
		}
		return
	}
	old := r.model.device(ask.Replaces)
	if errors.Is(err, ErrNotFound) {
		if old != nil && (old.registered || old.blocked) {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	counts := who != RoleSupport
	question := func(now time.Time) *question {
		return r.model.register(ask.DeviceID, ask.DeviceType, ask.Replaces, counts, now)
	}
	q := question(r.now)
	r.agrees(t, v, q, question)
	if q.code() != "" {
		return
	}
	r.model.use(q)
	if old != nil && old.registered {
		expectTypes(t, events, "DeviceRemoved")
		r.model.remove(old, counts, r.now)
	}
	r.model.registered(ask.DeviceID, ask.DeviceType, r.now)
}

func (r *run) remove(t *rapid.T) {
	id, who := deviceIDs.Draw(t, "device"), roles.Draw(t, "who")
	_, events, _, err := r.decide(t, who, func(c *Customer, m Moment) (Verdict, error) { return c.RemoveDevice(m, id, nil) })
	d := r.model.device(id)
	if errors.Is(err, ErrNotFound) && (d == nil || !d.registered) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if d.registered != (len(events) > 0) {
		t.Fatalf("removing records %v", typesOf(events))
	}
	if d.registered {
		r.model.remove(d, who != RoleSupport, r.now)
	}
}

func (r *run) block(t *rapid.T) {
	id, blocked := deviceIDs.Draw(t, "device"), rapid.Bool().Draw(t, "block")
	_, events, _, err := r.decide(t, RoleSupport, func(c *Customer, m Moment) (Verdict, error) {
		if blocked {
			return c.BlockDevice(m, id, Reason{Code: ReasonLostDevice})
		}
		return c.UnblockDevice(m, id, Reason{Code: ReasonLostDevice})
	})
	d := r.model.device(id)
	if errors.Is(err, ErrNotFound) && (d == nil || !d.registered && !d.blocked) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if (d.blocked != blocked) != (len(events) > 0) {
		t.Fatalf("blocking records %v", typesOf(events))
	}
	d.blocked = blocked
}

func (r *run) changePlan(t *rapid.T) {
	plan := rapid.SampledFrom([]string{"high", "high", "high", "low", "low", "none"}).Draw(t, "plan")
	country := rapid.SampledFrom([]string{"DE", "FR"}).Draw(t, "country")
	r.planned(t, plan, country)
}

func (r *run) planned(t *rapid.T, plan, country string) {
	_, events, _, err := r.decide(t, RoleService, func(c *Customer, m Moment) (Verdict, error) { return c.ChangePlan(m, plan, country, nil) })
	if err != nil {
		t.Fatal(err)
	}
	changed := plan != r.model.plan || country != r.model.country
	if changed != slices.Contains(typesOf(events), "PlanChanged") {
		t.Fatalf("changing the plan records %v", typesOf(events))
	}
	r.model.plan, r.model.country = plan, country
	if r.policy.General.DowngradeEffect == DowngradeKeep {
		return
	}
	// Which go is the books' choice; that enough go and no more is checked.
	removed, released := 0, 0
	before := r.model.copied()
	for i := range events {
		switch p := payload(t, &events[i]).(type) {
		case *DeviceRemoved:
			removed++
			r.model.remove(r.model.device(p.DeviceID), false, r.now)
		case *LicenseReleased:
			if p.Cause == CausePlanDowngrade {
				released++
				r.model.license(p.LicenseID, r.now).ended = r.now
			}
		}
	}
	had, limit := 0, r.policy.Plans[plan].MaxDownloadDevices
	for _, d := range before.devices {
		if d.registered {
			had++
		}
	}
	if want := had - int(most(limit)); removed != max(0, want) {
		t.Fatalf("%d of %d devices were removed for a limit of %v", removed, had, limit)
	}
	stay := int64(0)
	for _, l := range r.model.licenses {
		if r.model.active(l, r.now) {
			stay++
		}
	}
	if allowed := most(r.policy.Plans[plan].MaxActivePerAccount); stay > allowed {
		t.Fatalf("%d stay of the account, %d may", stay, allowed)
	}
	for _, d := range r.model.devices {
		active := int64(0)
		for _, l := range r.model.licenses {
			if l.device == d.id && r.model.active(l, r.now) {
				active++
			}
		}
		allowed := most(r.policy.Plans[plan].MaxActivePerDevice)
		if !r.policy.Plans[plan].Downloads {
			allowed = 0
		}
		if active > allowed || released > 0 && active < min(allowed, 1) && allowed < 1 {
			t.Fatalf("%d stay on %s", active, d.id)
		}
	}
}

func most(l *Limit) int64 {
	if l == nil {
		return 1 << 30
	}
	return l.Max
}

func (r *run) changeMembership(t *rapid.T) {
	if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
		t.Skip("seldom")
	}
	state := rapid.SampledFrom([]string{"active", "active", "active", "on_hold", "paused", "cancelled"}).Draw(t, "state")
	if _, _, _, err := r.decide(t, RoleService, func(c *Customer, m Moment) (Verdict, error) { return c.ChangeMembership(m, state, nil) }); err != nil {
		t.Fatal(err)
	}
	r.model.membership = state
	if state == "cancelled" || state != "active" && r.policy.General.OnHoldEffect == OnHoldRevoke {
		r.revokedAll()
	}
}

func (r *run) exception(t *rapid.T) {
	if open := r.books.Exceptions(r.now); len(open) > 0 && rapid.IntRange(0, 3).Draw(t, "withdraw") == 0 {
		x := rapid.SampledFrom(open).Draw(t, "exception")
		if _, _, _, err := r.decide(t, RoleSupport, func(c *Customer, m Moment) (Verdict, error) {
			return c.WithdrawException(m, x.ExceptionID, Reason{Code: ReasonOther})
		}); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.model.exceptions {
			e.over = e.over || e.id == x.ExceptionID && x.Status == ExceptionStatusOpen
		}
		return
	}
	ask := ExceptionRequest{
		Code: rapid.SampledFrom(OverridableCodes()).Draw(t, "code"), Uses: rapid.IntRange(1, 2).Draw(t, "uses"), Reason: Reason{Code: ReasonOther},
		Scope: rapid.SampledFrom([]Scope{{}, {ScopeCustomer, "c1"}, {ScopeDevice, "d1"}, {ScopeTitle, "a1"}, {ScopeStudio, "aurora"}}).Draw(t, "scope"),
	}
	x := &mException{code: ask.Code, scope: ask.Scope, uses: ask.Uses}
	if rapid.Bool().Draw(t, "expires") {
		x.until = r.now.AddDate(0, 0, rapid.IntRange(1, 20).Draw(t, "days"))
		ask.ExpiresAt = &x.until
	}
	_, _, m, err := r.decide(t, RoleSupport, func(c *Customer, m Moment) (Verdict, error) { return c.GrantException(m, ask) })
	if errors.Is(err, ErrConflict) {
		return // as many are open as can be
	}
	slot := ask.Code == CodeDeviceLimitReached || ask.Code == CodeDeviceReplacementLimit
	absurd := slot && (ask.Scope.Kind == ScopeTitle || ask.Scope.Kind == ScopeStudio)
	if ask.Scope.Kind == ScopeDevice && !slot {
		absurd = !slices.ContainsFunc(r.books.Devices(r.world, r.now), func(d DeviceView) bool { return d.DeviceID == ask.Scope.ID })
	}
	if _, refused := errors.AsType[*FieldError](err); refused != absurd || !refused && err != nil {
		t.Fatalf("an exception for %s of %+v: %v", ask.Code, ask.Scope, err)
	}
	if absurd {
		return
	}
	x.id = ExceptionID(m.CommandID)
	r.model.exceptions = append(r.model.exceptions, x)
}

func (r *run) withdraw(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "really") > 0 {
		t.Skip("seldom")
	}
	title := rapid.SampledFrom([]string{"a1", "a2", "b2"}).Draw(t, "title")
	ask := WithdrawRequest{From: r.now.AddDate(0, 0, rapid.IntRange(0, 40).Draw(t, "days"))}
	if rapid.Bool().Draw(t, "in a country") {
		ask.Countries = []string{"FR"}
	}
	if old, ok := r.withdrawn[title]; ok {
		r.withdrawn[title] = old.Clone().(*Withdrawals) // decisions hold on to the old one
	}
	r.world.withdraw(t, title, ask)
}

func (r *run) pass(t *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{
		time.Microsecond, time.Second, time.Hour, 7 * time.Hour, 24 * time.Hour, 50 * time.Hour, 11 * 24 * time.Hour, 31 * 24 * time.Hour, 100 * 24 * time.Hour,
	}).Draw(t, "time")
	r.now = r.now.Add(d)
}

// check holds after every command.
func (r *run) check(t *rapid.T) {
	s := r.books.Summary(r.world, r.now)
	for _, n := range s.Counters {
		if n.Used < 0 || n.ResetsAt != nil && !n.ResetsAt.After(r.now) {
			t.Fatalf("counter %+v at %s", n, r.now)
		}
	}
	for _, v := range r.books.Licenses(r.world, r.now) {
		l := r.model.license(v.LicenseID, r.now)
		if l == nil {
			continue
		}
		if (v.Status == StatusActive) != r.model.active(l, r.now) {
			t.Fatalf("licence %s is %s, by the model %v", v.LicenseID, v.Status, l)
		}
	}
	shown := func(c *Customer) string {
		return asJSON(t, c.Summary(r.world, r.now)) + asJSON(t, c.Devices(r.world, r.now)) + asJSON(t, c.Licenses(r.world, r.now)) +
			asJSON(t, c.Exceptions(r.now))
	}
	if pruned, endless := shown(r.books), shown(r.endless); pruned != endless {
		t.Fatalf("pruning shows: with it\n%s\nwithout\n%s", pruned, endless)
	}
}

// finish decides everything again from history.
func (r *run) finish(t *rapid.T) {
	c := NewCustomer("c1")
	next := 0
	for _, entry := range r.log {
		for c.Version() < entry.version {
			if err := c.Apply(&r.history[next]); err != nil {
				t.Fatal(err)
			}
			next++
		}
		v, err := entry.decide(c, entry.moment)
		if got := answerOf(t, v, err); got != entry.answer {
			t.Fatalf("decided again from history:\n%s\nit was\n%s", got, entry.answer)
		}
	}
	sameState(t, "the fold of the history", replayed(t, "c1", r.history), r.books)
}
