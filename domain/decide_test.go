package domain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBadInputIsAnErrorThatNamesTheField(t *testing.T) {
	t.Parallel()
	good := AcquireRequest{DeviceID: "phone", DeviceType: "iphone", TitleID: "harbour"}
	play := PlaybackReport{LicenseID: "lic", PlayID: "p", Kind: PlayStart, DeviceTime: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	exception := ExceptionRequest{Code: CodeYearlyTitleLimit, Uses: 1, Reason: Reason{Code: ReasonOther}}
	other := Reason{Code: ReasonOther}
	past := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	acquire := func(change func(*AcquireRequest)) func(*Customer, Moment) (Verdict, error) {
		r := good
		change(&r)
		return func(c *Customer, m Moment) (Verdict, error) { return c.Acquire(m, r) }
	}
	report := func(change func(*PlaybackReport)) func(*Customer, Moment) (Verdict, error) {
		r := play
		change(&r)
		return func(c *Customer, m Moment) (Verdict, error) { return c.RecordPlayback(m, r) }
	}
	allow := func(change func(*ExceptionRequest)) func(*Customer, Moment) (Verdict, error) {
		r := exception
		change(&r)
		return func(c *Customer, m Moment) (Verdict, error) { return c.GrantException(m, r) }
	}
	for name, x := range map[string]struct {
		field  string
		decide func(*Customer, Moment) (Verdict, error)
	}{
		"no title":            {"title_id", acquire(func(r *AcquireRequest) { r.TitleID = "" })},
		"bad device":          {"device_id", acquire(func(r *AcquireRequest) { r.DeviceID = "a b" })},
		"long device":         {"device_id", acquire(func(r *AcquireRequest) { r.DeviceID = strings.Repeat("x", 129) })},
		"no device type":      {"device_type", acquire(func(r *AcquireRequest) { r.DeviceType = "" })},
		"bad profile":         {"profile_id", acquire(func(r *AcquireRequest) { r.ProfileID = "Ä" })},
		"small country":       {"country", acquire(func(r *AcquireRequest) { r.Country = "de" })},
		"long country":        {"country", acquire(func(r *AcquireRequest) { r.Country = "DEU" })},
		"strange maturity":    {"maturity", acquire(func(r *AcquireRequest) { r.Maturity = "old" })},
		"strange quality":     {"quality", acquire(func(r *AcquireRequest) { r.Quality = "8k" })},
		"strange trigger":     {"trigger", acquire(func(r *AcquireRequest) { r.Trigger = "ghost" })},
		"negative size":       {"size_bytes", acquire(func(r *AcquireRequest) { r.SizeBytes = -1 })},
		"no play id":          {"play_id", report(func(r *PlaybackReport) { r.PlayID = "" })},
		"strange play":        {"kind", report(func(r *PlaybackReport) { r.Kind = "pause" })},
		"no device time":      {"device_time", report(func(r *PlaybackReport) { r.DeviceTime = time.Time{} })},
		"device time far off": {"device_time", report(func(r *PlaybackReport) { r.DeviceTime = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) })},
		"negative position":   {"position_seconds", report(func(r *PlaybackReport) { r.PositionSeconds = -1 })},
		"no licence":          {"license_id", report(func(r *PlaybackReport) { r.LicenseID = "" })},
		"contract as limit":   {"code", allow(func(r *ExceptionRequest) { r.Code = CodeRegionRestricted })},
		"strange scope":       {"scope.kind", allow(func(r *ExceptionRequest) { r.Scope = Scope{Kind: "planet", ID: "x"} })},
		"scope without kind":  {"scope.kind", allow(func(r *ExceptionRequest) { r.Scope = Scope{ID: "x"} })},
		"scope without id":    {"scope.id", allow(func(r *ExceptionRequest) { r.Scope = Scope{Kind: ScopeTitle} })},
		"another customer":    {"scope.id", allow(func(r *ExceptionRequest) { r.Scope = Scope{ScopeCustomer, "c2"} })},
		"no uses":             {"uses", allow(func(r *ExceptionRequest) { r.Uses = 0 })},
		"too many uses":       {"uses", allow(func(r *ExceptionRequest) { r.Uses = MaxExceptionUses + 1 })},
		"expired":             {"expires_at", allow(func(r *ExceptionRequest) { r.ExpiresAt = &past })},
		"no reason":           {"reason.code", allow(func(r *ExceptionRequest) { r.Reason = Reason{} })},
		"strange reason":      {"reason.code", allow(func(r *ExceptionRequest) { r.Reason.Code = "mood" })},
		"long case":           {"reason.case", allow(func(r *ExceptionRequest) { r.Reason.Case = strings.Repeat("1", 200) })},
		"renewal from nowhere": {"country", func(c *Customer, m Moment) (Verdict, error) {
			return c.Renew(m, RenewRequest{LicenseID: c.licenses[0].subject.LicenseID, Country: "?"})
		}},
		"renewal by nobody": {"trigger", func(c *Customer, m Moment) (Verdict, error) {
			return c.Renew(m, RenewRequest{LicenseID: c.licenses[0].subject.LicenseID, Trigger: "x"})
		}},
		"release of nothing":  {"license_id", func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, "", nil) }},
		"revoked without why": {"reason.code", func(c *Customer, m Moment) (Verdict, error) { return c.Revoke(m, "lic", Reason{}) }},
		"all without why":     {"reason.code", func(c *Customer, m Moment) (Verdict, error) { return c.RevokeAll(m, Reason{}) }},
		"blocked without why": {"reason.code", func(c *Customer, m Moment) (Verdict, error) { return c.BlockDevice(m, "phone", Reason{}) }},
		"unblocked too":       {"reason.code", func(c *Customer, m Moment) (Verdict, error) { return c.UnblockDevice(m, "phone", Reason{}) }},
		"block of nothing":    {"device_id", func(c *Customer, m Moment) (Verdict, error) { return c.BlockDevice(m, "", other) }},
		"removed, bad reason": {"reason.code", func(c *Customer, m Moment) (Verdict, error) { return c.RemoveDevice(m, "phone", &Reason{Code: "x"}) }},
		"nameless device": {"device_id", func(c *Customer, m Moment) (Verdict, error) {
			return c.RegisterDevice(m, RegisterRequest{DeviceType: "ipad"})
		}},
		"typeless device": {"device_type", func(c *Customer, m Moment) (Verdict, error) {
			return c.RegisterDevice(m, RegisterRequest{DeviceID: "d"})
		}},
		"bad replaces": {"replaces", func(c *Customer, m Moment) (Verdict, error) {
			return c.RegisterDevice(m, RegisterRequest{"d", "ipad", "", "", "?"})
		}},
		"replaces itself": {"replaces", func(c *Customer, m Moment) (Verdict, error) {
			return c.RegisterDevice(m, RegisterRequest{"d", "ipad", "", "", "d"})
		}},
		"no plan":              {"plan", func(c *Customer, m Moment) (Verdict, error) { return c.ChangePlan(m, "", "DE", nil) }},
		"unknown plan":         {"plan", func(c *Customer, m Moment) (Verdict, error) { return c.ChangePlan(m, "gold", "DE", nil) }},
		"no country":           {"country", func(c *Customer, m Moment) (Verdict, error) { return c.ChangePlan(m, "ads", "", nil) }},
		"strange membership":   {"state", func(c *Customer, m Moment) (Verdict, error) { return c.ChangeMembership(m, "gone", nil) }},
		"exception of nothing": {"exception_id", func(c *Customer, m Moment) (Verdict, error) { return c.WithdrawException(m, "", other) }},
		"withdrawn, no why":    {"reason.code", func(c *Customer, m Moment) (Verdict, error) { return c.WithdrawException(m, "exc", Reason{}) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.movie("harbour", "aurora")
			w.plan(t, "standard", "DE")
			w.granted(t, "phone", "harbour")
			_, err := x.decide(w.books, w.moment())
			field, ok := errors.AsType[*FieldError](err)
			if !ok || field.Field != x.field {
				t.Errorf("the error is %v, not one of %s", err, x.field)
			}
		})
	}
}

func TestWhatTheBooksDoNotHoldIsNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.plan(t, "standard", "DE")
	other := Reason{Code: ReasonOther}
	for name, decide := range map[string]func(*Customer, Moment) (Verdict, error){
		"renew":   func(c *Customer, m Moment) (Verdict, error) { return c.Renew(m, RenewRequest{LicenseID: "lic_x"}) },
		"release": func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, "lic_x", nil) },
		"confirm": func(c *Customer, m Moment) (Verdict, error) { return c.ConfirmRelease(m, "lic_x", nil) },
		"revoke":  func(c *Customer, m Moment) (Verdict, error) { return c.Revoke(m, "lic_x", other) },
		"remove":  func(c *Customer, m Moment) (Verdict, error) { return c.RemoveDevice(m, "phone", nil) },
		"block":   func(c *Customer, m Moment) (Verdict, error) { return c.BlockDevice(m, "phone", other) },
		"unblock": func(c *Customer, m Moment) (Verdict, error) { return c.UnblockDevice(m, "phone", other) },
		"replace": func(c *Customer, m Moment) (Verdict, error) {
			return c.RegisterDevice(m, RegisterRequest{"d", "ipad", "", "", "e"})
		},
		"withdraw": func(c *Customer, m Moment) (Verdict, error) { return c.WithdrawException(m, "exc_x", other) },
		"play": func(c *Customer, m Moment) (Verdict, error) {
			return c.RecordPlayback(m, PlaybackReport{LicenseID: "lic_x", PlayID: "p", Kind: PlayStop, DeviceTime: m.Now})
		},
	} {
		if _, err := decide(w.books, w.moment()); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADryRunSaysTheSameAndRecordsNothing(t *testing.T) {
	t.Parallel()
	w := busyCustomer(t)
	license := w.books.licenses[59].subject.LicenseID
	for name, pair := range map[string][2]func(*Customer, Moment) (Verdict, error){
		"grant": {
			func(c *Customer, m Moment) (Verdict, error) { return c.Evaluate(m, w.ask("dev-phone-1", "new")) },
			func(c *Customer, m Moment) (Verdict, error) { return c.Acquire(m, w.ask("dev-phone-1", "new")) },
		},
		"refusal": {
			func(c *Customer, m Moment) (Verdict, error) { return c.Evaluate(m, w.ask("dev-phone-1", "unheard-of")) },
			func(c *Customer, m Moment) (Verdict, error) { return c.Acquire(m, w.ask("dev-phone-1", "unheard-of")) },
		},
		"renewal": {
			func(c *Customer, m Moment) (Verdict, error) {
				return c.EvaluateRenew(m, RenewRequest{LicenseID: license})
			},
			func(c *Customer, m Moment) (Verdict, error) { return c.Renew(m, RenewRequest{LicenseID: license}) },
		},
	} {
		m := w.moment()
		dry, err := pair[0](w.books, m)
		if err != nil || len(dry.Events) > 0 {
			t.Fatalf("%s: %v, %d events", name, err, len(dry.Events))
		}
		wet, err := pair[1](w.books, m)
		if err != nil || len(wet.Events) == 0 {
			t.Fatalf("%s: %v, %d events", name, err, len(wet.Events))
		}
		if got, want := asJSON(t, dry.Decision), asJSON(t, wet.Decision); got != want {
			t.Errorf("%s: the dry run says\n%s\nand the command\n%s", name, got, want)
		}
	}
}

func TestRevokingHundredsTakesSeveralCommands(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.policy.Defaults.MaxActivePerStudio = nil
	w.plan(t, "premium", "DE")
	const many = 500
	for i := range many {
		id := fmt.Sprintf("t%d", i)
		w.movie(id, "unruled")
		w.granted(t, fmt.Sprintf("dev-%d", i%6), id)
	}
	for left := many; left > 0; {
		v, events := w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.RevokeAll(m, Reason{Code: ReasonFraud}) })
		if len(events) > MaxVerdictEvents {
			t.Fatalf("%d events in one verdict", len(events))
		}
		left -= len(events)
		if v.Remaining != left {
			t.Fatalf("%d remain, it says, and not %d", v.Remaining, left)
		}
	}
	for _, l := range w.books.Licenses(w, w.now) {
		if l.Status != StatusRevoked {
			t.Fatalf("licence %s is %s", l.LicenseID, l.Status)
		}
	}
}

func TestRemovingADeviceEndsMoreLicencesThanItSpellsOut(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.policy.Defaults.MaxActivePerStudio, w.policy.Plans["premium"].MaxActivePerDevice = nil, nil
	w.plan(t, "premium", "DE")
	for i := range 300 {
		id := fmt.Sprintf("t%d", i)
		w.movie(id, "unruled")
		w.granted(t, "phone", id)
	}
	_, events := w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.RemoveDevice(m, "phone", nil) })
	if len(events) != maxReleases+1 {
		t.Fatalf("%d events", len(events))
	}
	for _, l := range w.books.Licenses(w, w.now) {
		if l.Status != StatusReleased || l.Removal != RemovalPending || l.Cause != CauseDeviceRemoved {
			t.Fatalf("licence %s is %s, removal %s, %s", l.LicenseID, l.Status, l.Removal, l.Cause)
		}
	}
}

func TestADeviceNamedTheSameAgainChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.plan(t, "standard", "DE")
	register := func(kind string, name Sealed, digest string) []string {
		_, events := w.do(t, func(c *Customer, m Moment) (Verdict, error) {
			return c.RegisterDevice(m, RegisterRequest{DeviceID: "phone", DeviceType: kind, Name: name, NameDigest: digest})
		})
		return typesOf(events)
	}
	for i, x := range []struct {
		kind   string
		name   Sealed
		digest string
		events int
	}{
		{"iphone", "sealed once", "digest", 1},
		{"iphone", "sealed again", "digest", 0},
		{"iphone", "", "", 0},
		{"iphone", "another", "other digest", 1},
		{"iphone-15", "", "", 1},
		{"iphone-15", "no digest", "", 1},
	} {
		if got := register(x.kind, x.name, x.digest); len(got) != x.events {
			t.Errorf("step %d records %v", i, got)
		}
	}
	if d := w.books.Devices(w, w.now)[0]; d.Name != "no digest" || d.DeviceType != "iphone-15" {
		t.Errorf("the device is %+v", d)
	}
}

// Each remedy, carried out by the command that it names, lets the same request pass.
func TestRemediesHelp(t *testing.T) {
	t.Parallel()
	offered := map[string]bool{}
	for name, x := range map[string]struct {
		given func(t *testing.T, w *world)
		ask   func(w *world) AcquireRequest
	}{
		"devices": {
			func(t *testing.T, w *world) { w.granted(t, "d1", "t1"); w.pass(time.Hour); w.granted(t, "d2", "t2") },
			func(w *world) AcquireRequest { return w.ask("d3", "t3") },
		},
		"devices and no replacement left": {
			func(t *testing.T, w *world) {
				w.policy.General.DeviceReplacements = &Limit{}
				w.granted(t, "d1", "t1")
				w.granted(t, "d2", "t2")
			},
			func(w *world) AcquireRequest { return w.ask("d3", "t3") },
		},
		"studio": {
			func(t *testing.T, w *world) {
				w.policy.Studios["aurora"].MaxActivePerStudio = &Limit{Max: 2}
				w.granted(t, "d1", "t1")
				w.granted(t, "d2", "t2")
			},
			func(w *world) AcquireRequest { return w.ask("d1", "t3") },
		},
		"month": {
			func(t *testing.T, w *world) {
				w.policy.Plans["standard"].MaxDownloadsPerDeviceMonth = &Limit{Max: 1}
				w.granted(t, "d1", "t1")
			},
			func(w *world) AcquireRequest { return w.ask("d1", "t3") },
		},
		"block": {
			func(t *testing.T, w *world) {
				w.granted(t, "d1", "t1")
				w.as(RoleSupport, func() {
					w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.BlockDevice(m, "d1", someReason) })
				})
			},
			func(w *world) AcquireRequest { return w.ask("d1", "t3") },
		},
		"membership": {
			func(t *testing.T, w *world) {
				w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.ChangeMembership(m, MembershipPaused, nil) })
			},
			func(w *world) AcquireRequest { return w.ask("d1", "t3") },
		},
		"quality": {
			func(*testing.T, *world) {},
			func(w *world) AcquireRequest { r := w.ask("d1", "t3"); r.Quality = "uhd"; return r },
		},
	} {
		w := newWorld()
		for _, id := range []string{"t1", "t2", "t3"} {
			w.movie(id, "aurora")
		}
		w.plan(t, "standard", "DE")
		x.given(t, w)
		r := x.ask(w)
		v, err := w.books.Evaluate(w.moment(), r)
		if err != nil || len(v.Decision.Remedies) == 0 {
			t.Fatalf("%s: %v, nothing helps:\n%s", name, err, explain(v.Decision))
		}
		for _, remedy := range v.Decision.Remedies {
			offered[remedy.Action] = true
			after := *w
			after.books = w.books.clone()
			after.carryOut(t, remedy, v.Decision, &r)
			if v, _ := after.acquire(t, r); v.Decision.Outcome != OutcomeGrant {
				t.Errorf("%s: %s does not help:\n%s", name, remedyText(remedy), explain(v.Decision))
			}
			r = x.ask(w)
		}
	}
	for _, action := range []string{RemedyReleaseLicense, RemedyRemoveDevice, RemedyWait, RemedyLowerQuality, RemedyUnblockDevice,
		RemedyChangeMembership, RemedyChangePlan, RemedyGrantException} {
		if !offered[action] {
			t.Errorf("%s was never offered", action)
		}
	}
}

// carryOut does what a remedy says.
func (w *world) carryOut(t *testing.T, remedy Remedy, d *Decision, r *AcquireRequest) {
	t.Helper()
	w.as(remedy.Who, func() {
		switch remedy.Action {
		case RemedyReleaseLicense:
			w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, remedy.ID, nil) })
		case RemedyRemoveDevice:
			w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.RemoveDevice(m, remedy.ID, nil) })
		case RemedyWait:
			w.now = *remedy.At
		case RemedyLowerQuality:
			r.Quality = remedy.ID
		case RemedyUnblockDevice:
			w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.UnblockDevice(m, remedy.ID, someReason) })
		case RemedyChangeMembership:
			w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.ChangeMembership(m, remedy.ID, nil) })
		case RemedyChangePlan:
			w.plan(t, remedy.ID, "DE")
		case RemedyGrantException:
			for _, rule := range d.Rules {
				if rule.Outcome == RuleRefuse {
					w.do(t, func(c *Customer, m Moment) (Verdict, error) {
						return c.GrantException(m, ExceptionRequest{Code: rule.Code, Scope: rule.Scope, Uses: 1, Reason: someReason})
					})
				}
			}
		default:
			t.Fatalf("nobody knows how to %s", remedy.Action)
		}
	})
}

func TestEveryRefusalCodeIsListedOnce(t *testing.T) {
	t.Parallel()
	codes := RefusalCodes()
	if sorted := slices.Compact(slices.Sorted(slices.Values(codes))); len(sorted) != len(codes) {
		t.Errorf("a code stands twice in %v", codes)
	}
	for _, code := range OverridableCodes() {
		if !slices.Contains(codes, code) || !overridable(code) {
			t.Errorf("%s can be lifted and is no code, or the reverse", code)
		}
	}
	lifted := 0
	for _, code := range codes {
		if overridable(code) {
			lifted++
		}
	}
	if lifted != len(OverridableCodes()) {
		t.Errorf("%d codes can be lifted, %d are listed", lifted, len(OverridableCodes()))
	}
}

func TestIDsAreDerivedAndDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, command := range []string{"a", "b", "c1/0198c0de-7a11-7000-8000-000000000000", strings.Repeat("x", 300)} {
		for _, id := range []string{
			LicenseID(command), DecisionID(command), ExceptionID(command), EventID(command, 0), EventID(command, 1), EventID(command, 10),
		} {
			if err := CheckID("id", id); err != nil || len(id) != 30 {
				t.Errorf("%s: %v", id, err)
			}
			if seen[id] {
				t.Errorf("%s comes twice", id)
			}
			seen[id] = true
		}
	}
	if got, want := LicenseID("a"), "lic_9852dqrf9bf0br54spgxxvqamc"; got != want {
		t.Errorf("ids changed: %s was %s; recorded ones can't", got, want)
	}
}

func TestADeviceIsToldFromWhenItShowsWhatRemains(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.movie("harbour", "aurora")
	w.movie("short", "ember") // lives for seven days
	w.plan(t, "standard", "DE")
	w.granted(t, "phone", "harbour")
	w.granted(t, "phone", "short")
	shown := func() (from []time.Time) {
		for _, v := range w.books.Licenses(w, w.now) {
			if v.RemainingShownFrom == nil {
				from = append(from, time.Time{})
			} else {
				from = append(from, *v.RemainingShownFrom)
			}
		}
		return from
	}
	day := 24 * time.Hour
	if got, want := shown(), []time.Time{w.now.Add(23 * day), w.now}; !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("remaining time is shown from %v, want %v", got, want)
	}
	w.policy.General.ShowRemainingFrom = 2 * 86400
	if got, want := shown(), []time.Time{w.now.Add(28 * day), w.now.Add(5 * day)}; !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("with another policy it is shown from %v, want %v", got, want)
	}
	w.now = w.now.Add(8 * day)
	if got := shown(); !got[1].IsZero() || got[0].IsZero() {
		t.Errorf("a licence that has ended shows what remains of it: %v", got)
	}
}

// Decision 0034: a report is recorded however late, as long as the books remember the licence.
func TestALateReportIsRecordedAsLongAsTheLicenceIsRemembered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		late  time.Duration
		known bool
	}{{89 * 24 * time.Hour, true}, {91 * 24 * time.Hour, false}} {
		w := newWorld()
		w.movie("harbour", "aurora")
		w.plan(t, "standard", "DE")
		license, played := w.granted(t, "phone", "harbour"), w.now
		w.do(t, func(c *Customer, m Moment) (Verdict, error) {
			return c.Revoke(m, license, Reason{Code: ReasonChargeback})
		})
		w.pass(c.late)
		reports := map[string]func() (Verdict, error){
			"play": func() (Verdict, error) {
				return w.books.RecordPlayback(w.moment(), PlaybackReport{LicenseID: license, PlayID: "p-1", Kind: PlayStart, DeviceTime: played})
			},
			"record of destruction": func() (Verdict, error) { return w.books.ConfirmRelease(w.moment(), license, nil) },
		}
		for name, report := range reports {
			v, err := report()
			switch {
			case c.known && (err != nil || len(v.Events) == 0):
				t.Errorf("%s after %s: %d events, %v", name, c.late, len(v.Events), err)
			case !c.known && (!errors.Is(err, ErrNotFound) || len(v.Events) != 0):
				t.Errorf("%s after %s: %d events, %v", name, c.late, len(v.Events), err)
			}
		}
	}
}
