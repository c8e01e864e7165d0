package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const smallPolicy = `{"general":{},"defaults":{},"plans":{"only":{"version":1}}}`

func TestTheDefaultPolicyHoldsThePublicValues(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	for plan, devices := range map[string]int64{"ads": 2, "standard": 2, "premium": 6} {
		terms, ok := p.Plan(plan)
		if !ok || terms.Version != 1 || terms.MaxDownloadDevices == nil || terms.MaxDownloadDevices.Max != devices {
			t.Errorf("plan %s has %+v, want %d devices", plan, terms, devices)
			continue
		}
		if terms.MaxActivePerDevice == nil || terms.MaxActivePerDevice.Max != 100 {
			t.Errorf("plan %s allows %+v active downloads on a device, want 100", plan, terms.MaxActivePerDevice)
		}
		if monthly := terms.MaxDownloadsPerDeviceMonth; (plan == "ads") != (monthly != nil && monthly.Max == 15) {
			t.Errorf("plan %s allows %+v downloads a month", plan, monthly)
		}
	}
	if p.General.MonthWindow.Kind != WindowCalendar || p.General.DeviceReplacements == nil || p.General.DeviceReplacements.Max != 2 {
		t.Errorf("general rules are %+v", p.General)
	}
	if p.Defaults.RentalDuration != 30*86400 || p.Defaults.PlaybackDuration != 48*3600 || p.Defaults.MinRenewInterval != 86400 {
		t.Errorf("default durations are %+v", p.Defaults)
	}
	if got := p.PlanNames(); !slices.Equal(got, []string{"ads", "standard", "premium"}) {
		t.Errorf("plans from the lowest rank are %v", got)
	}
}

func TestTheDefaultStudiosDifferFromOneAnother(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	if len(p.Studios) < 8 {
		t.Fatalf("there are %d studios", len(p.Studios))
	}
	seen := map[string]string{}
	for name, rules := range p.Studios {
		form := string(canonical(rules))
		if other, twice := seen[form]; twice {
			t.Errorf("%s and %s have the same rules", name, other)
		}
		seen[form] = name
	}
}

func TestAnyDocumentComesBackFromItsCanonicalForm(t *testing.T) {
	t.Parallel()
	for name, document := range map[string][]byte{
		"default": defaultPolicy,
		"small":   []byte(smallPolicy),
		"full":    []byte(fullPolicy),
		"spaced":  []byte("\n\t" + strings.ReplaceAll(smallPolicy, ":", " : ") + "\n"),
	} {
		p, err := ParsePolicy(document)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := ParsePolicy(p.JSON())
		if err != nil || !reflect.DeepEqual(p, again) || !bytes.Equal(p.JSON(), again.JSON()) {
			t.Errorf("%s: %v\n was %s\n is  %s", name, err, p.JSON(), again.JSON())
		}
	}
}

// fullPolicy has every field of every kind.
const fullPolicy = `{
  "general": {
    "month_window": {"kind": "rolling"}, "year_window": {"kind": "calendar", "time_zone": "America/Sao_Paulo"},
    "device_replacements_per_30d": 0, "slot_freed_on": "confirmation_or_expiry", "on_hold_effect": "revoke", "downgrade_effect": "remove",
    "play_drift": "90s", "play_memory": "1y", "ended_license_memory": "1d", "show_remaining_from": "2d",
    "max_open_grants": 3
  },
  "defaults": {"renew_over_limit": "allow"},
  "plans": {
    "p": {"version": 7, "rank": 3, "downloads": false, "qualities": ["uhd"], "max_download_devices": 1,
      "max_active_per_device": {"max": 1000000}, "max_active_per_account": 30, "max_downloads_per_device_month": {"max": 5, "warn_at": 5}}
  },
  "studios": {
    "s": {"max_active_per_studio": 1, "max_downloads_per_title_year": 2, "max_plays_per_period": 3, "play_period": "1y", "max_renewals": 4,
      "max_reissues": 5, "rental_duration": "1h", "playback_duration": "1m", "license_duration": "3650d", "renewal_delay": "59m",
      "retry_interval": "1s", "min_renew_interval": "2h", "renew_grace": "3h", "renewal_restarts_playback": false,
      "renewal_counts_as_download": true, "renew_over_limit": "refuse", "fail_mode": "open", "fail_open_duration": "4h"}
  },
  "titles": {"t00003-s01e04": {"max_reissues": 0, "fail_mode": "closed"}}
}`

func TestAFullDocumentIsReadFieldByField(t *testing.T) {
	t.Parallel()
	p, err := ParsePolicy([]byte(fullPolicy))
	if err != nil {
		t.Fatal(err)
	}
	limit := func(n int64) *Limit { return &Limit{Max: n} }
	no, yes := false, true
	want := &Policy{
		General: General{
			MonthWindow:        Calendar{Kind: WindowRolling},
			YearWindow:         Calendar{Kind: WindowCalendar, TimeZone: "America/Sao_Paulo", location: p.General.YearWindow.location},
			DeviceReplacements: limit(0), SlotFreedOn: SlotFreedOnConfirmation, OnHoldEffect: OnHoldRevoke, DowngradeEffect: DowngradeRemove,
			PlayDrift: 90, PlayMemory: 365 * 86400, EndedLicenseMemory: 86400, ShowRemainingFrom: 2 * 86400, MaxOpenGrants: 3,
		},
		Defaults: TitleRules{RenewOverLimit: RenewOverLimitAllow},
		Plans: map[string]*Plan{"p": {
			Version: 7, Rank: 3, Qualities: []string{"uhd"}, MaxDownloadDevices: limit(1), MaxActivePerDevice: limit(1_000_000),
			MaxActivePerAccount: limit(30), MaxDownloadsPerDeviceMonth: &Limit{Max: 5, WarnAt: 5},
		}},
		Studios: map[string]*TitleRules{"s": {
			MaxActivePerStudio: limit(1), MaxDownloadsPerTitleYear: limit(2), MaxPlaysPerPeriod: limit(3), PlayPeriod: 365 * 86400,
			MaxRenewals: limit(4), MaxReissues: limit(5), RentalDuration: 3600, PlaybackDuration: 60, LicenseDuration: 3650 * 86400,
			RenewalDelay: 59 * 60, RetryInterval: 1, MinRenewInterval: 7200, RenewGrace: 10800, RenewalRestartsPlayback: &no,
			RenewalCountsAsDownload: &yes, RenewOverLimit: RenewOverLimitRefuse, FailMode: FailOpenMode, FailOpenDuration: 14400,
		}},
		Titles: map[string]*TitleRules{"t00003-s01e04": {MaxReissues: limit(0), FailMode: FailClosedMode}},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %s\nwant %s", p.JSON(), want.JSON())
	}
	if name := p.General.YearWindow.Location().String(); name != "America/Sao_Paulo" {
		t.Errorf("the year begins by the clocks of %s", name)
	}
	// Every field stands in the document, so that a new one is not forgotten here.
	for _, part := range []any{want.General, *want.Plans["p"], *want.Studios["s"]} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); !strings.Contains(fullPolicy, `"`+tag+`"`) {
				t.Errorf("%s of %s is not in the full document", tag, v.Type())
			}
		}
	}
}

func TestWhatADocumentLeavesOutIsUnlimitedOrHasItsDefault(t *testing.T) {
	t.Parallel()
	p, err := ParsePolicy([]byte(smallPolicy))
	if err != nil {
		t.Fatal(err)
	}
	want := General{
		MonthWindow: Calendar{Kind: WindowCalendar}, YearWindow: Calendar{Kind: WindowRolling}, SlotFreedOn: SlotFreedOnRemoval,
		OnHoldEffect: OnHoldRefuseNew, DowngradeEffect: DowngradeKeep, PlayDrift: 600, PlayMemory: 60 * 86400, EndedLicenseMemory: 90 * 86400,
	}
	if !reflect.DeepEqual(p.General, want) {
		t.Errorf("general rules are %+v, want %+v", p.General, want)
	}
	if p.General.MonthWindow.Location() != time.UTC {
		t.Errorf("a month begins by the clocks of %v", p.General.MonthWindow.Location())
	}
	plan, _ := p.Plan("only")
	if !plan.Downloads || plan.MaxDownloadDevices != nil || plan.Qualities != nil {
		t.Errorf("the plan is %+v", plan)
	}
	rules := p.RulesFor("t1", "nobody")
	if limit, source := rules.Limit(func(r *TitleRules) *Limit { return r.MaxReissues }); limit != nil || source != "" {
		t.Errorf("re-issues are limited to %+v by %q", limit, source)
	}
	if terms := rules.Terms(); terms != (Terms{Persistent: true}) {
		t.Errorf("terms are %+v", terms)
	}
}

func TestEveryMistakeOfADocumentIsReportedAtOnceAndByItsPath(t *testing.T) {
	t.Parallel()
	const document = `{
	  "generall": {}, "": 1,
	  "general": {
	    "month_window": {"kind": "lunar", "time_zone": "Moon/Tycho", "phase": 1}, "year_window": {"kind": "rolling", "time_zone": "UTC"},
	    "device_replacements_per_30d": -1, "slot_freed_on": "never", "on_hold_effect": 7, "downgrade_effect": null,
	    "play_drift": "0s", "play_memory": "-3d", "ended_license_memory": "91d"
	  },
	  "defaults": {"max_renewals": 1.5, "max_reissues": 1000001, "retry_interval": 60, "renewal_delay": "30d", "license_duration": "30d"},
	  "plans": {
	    "ads": {"version": 0, "rank": -1, "downloads": "yes", "qualities": ["8k", "high", "8k"], "max_download_devices": {"warn_at": 1}},
	    "none": {}, "poor": {"version": 1, "qualities": []}, "no way": {"version": 1}, "wrong": []
	  },
	  "studios": {
	    "s": {"max_active_per_studio": {"max": 3, "warn_at": 4, "colour": "red"}, "rental_duration": "11y", "license_duration": "99999999999999999999d",
	      "playback_duration": "2 d", "renew_grace": "soon", "renewal_restarts_playback": 1, "renew_over_limit": "perhaps", "fail_mode": "ajar",
	      "play_period": "366d", "max_plays_per_period": "3"},
	    "late": {"license_duration": "7d"}
	  },
	  "titles": {"t1": {"max_active_per_studio": 1, "renewal_delay": "2d", "license_duration": "1d"}}
	}`
	want := map[string]string{
		`""`:                                      "is unknown",
		"generall":                                "is unknown; known are defaults, general, plans, studios, titles",
		"general.month_window.kind":               `is "lunar"; wanted one of rolling, calendar`,
		"general.month_window.time_zone":          `is "Moon/Tycho"`,
		"general.month_window.phase":              "is unknown",
		"general.year_window.time_zone":           "has no meaning for a rolling window",
		"general.device_replacements_per_30d":     "is -1; wanted a whole number from 0 to 1000000",
		"general.slot_freed_on":                   `is "never"`,
		"general.on_hold_effect":                  "is 7; wanted a text",
		"general.downgrade_effect":                "is null",
		"general.play_drift":                      "zero means nothing here",
		"general.play_memory":                     "can't be negative",
		"general.ended_license_memory":            "90d",
		"defaults.max_renewals":                   "is 1.5",
		"defaults.max_reissues":                   "is 1000001",
		"defaults.retry_interval":                 "is 60; wanted a duration",
		"defaults.renewal_delay":                  "a device would ask for a renewal after its licence has ended",
		"plans.ads.version":                       "is 0",
		"plans.ads.rank":                          "is -1",
		"plans.ads.downloads":                     `is "yes"; wanted true or false`,
		"plans.ads.qualities[0]":                  `is "8k"`,
		"plans.ads.qualities[2]":                  `is "8k"`,
		"plans.ads.max_download_devices.max":      "is missing",
		"plans.none.version":                      "is missing",
		"plans.poor.qualities":                    "is empty",
		"plans.no way":                            "is no id",
		"plans.wrong":                             "is not an object",
		"studios.s.max_active_per_studio.warn_at": "is 4",
		"studios.s.max_active_per_studio.colour":  "is unknown; known are max, warn_at",
		"studios.s.rental_duration":               "the longest is ten years",
		"studios.s.license_duration":              "the longest is ten years",
		"studios.s.playback_duration":             `is "2 d"; wanted a duration`,
		"studios.s.renew_grace":                   `is "soon"`,
		"studios.s.renewal_restarts_playback":     "is 1; wanted true or false",
		"studios.s.renew_over_limit":              `is "perhaps"`,
		"studios.s.fail_mode":                     `is "ajar"`,
		"studios.s.play_period":                   "365d",
		"studios.s.max_plays_per_period":          `is "3"; wanted a whole number`,
		"studios.late.license_duration":           "a device would ask for a renewal after its licence has ended",
		"titles.t1.max_active_per_studio":         "counts over a studio",
		"titles.t1.renewal_delay":                 "a device would ask for a renewal after its licence has ended",
	}
	p, err := ParsePolicy([]byte(document))
	mistakes(t, p == nil, err, want)
}

func TestADocumentThatIsNoJSONObjectIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"nothing": "", "blank": " \n", "half": `{"general":`, "a list": "[]", "null": "null", "a text": `"policy"`, "two documents": smallPolicy + smallPolicy,
		"a key twice": `{"general":{},"general":{}}`, "a nested key twice": `{"general":{"play_drift":"1m","play_drift":"2m"}}`,
		"deep":         strings.Repeat("[", 200_000),
		"deep objects": strings.Repeat(`{"a":`, 200_000), "bytes": "\xff\xfe", "a comment": "// policy\n" + smallPolicy,
	} {
		for kind, parse := range parsers {
			got, err := parse([]byte(document))
			var all DocumentErrors
			if got || !errors.As(err, &all) || len(all) == 0 || all[0].Field != "document" {
				t.Errorf("%s as %s: %v", name, kind, err)
			}
		}
	}
	for kind, parse := range parsers {
		if got, err := parse([]byte(`{}`)); got || err == nil {
			t.Errorf("an empty %s is accepted", kind)
		}
	}
}

var parsers = map[string]func([]byte) (accepted bool, err error){
	"policy":       func(b []byte) (bool, error) { p, err := ParsePolicy(b); return p != nil, err },
	"device types": func(b []byte) (bool, error) { d, err := ParseDeviceTypes(b); return d != nil, err },
}

func TestADocumentsMistakesAreErrorsOneByOne(t *testing.T) {
	t.Parallel()
	_, err := ParsePolicy([]byte(`{"general":{"play_drift":1},"defaults":{},"plans":{"p":{"version":"1"}}}`))
	field, ok := errors.AsType[*FieldError](err)
	if !ok || field.Field != "general.play_drift" {
		t.Errorf("the first mistake is %+v", field)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "plans.p.version is ") {
		t.Errorf("told as %q", lines)
	}
}

func TestATitleComesBeforeItsStudioAndItsStudioBeforeTheDefaults(t *testing.T) {
	t.Parallel()
	p, err := ParsePolicy([]byte(`{"general":{},"plans":{"p":{"version":1}},
	  "defaults":{"max_renewals":1,"max_reissues":1,"rental_duration":"1d","license_duration":"1d","renewal_counts_as_download":true,"fail_mode":"open"},
	  "studios":{"aurora":{"max_renewals":2,"max_reissues":2,"rental_duration":"2d","renewal_counts_as_download":false,"fail_mode":"closed"}},
	  "titles":{"t1":{"max_renewals":0,"rental_duration":"3d","renewal_counts_as_download":true,"fail_mode":"open"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		title, studio          string
		renewals, reissues     int64
		renewalsBy, reissuesBy string
		rental, license        Span
		rentalBy, licenseBy    string
		counts                 bool
		failMode               string
	}{
		{"t1", "aurora", 0, 2, "title t1", "studio aurora", 3 * 86400, 86400, "title t1", "defaults", true, "open"},
		{"t2", "aurora", 2, 2, "studio aurora", "studio aurora", 2 * 86400, 86400, "studio aurora", "defaults", false, "closed"},
		{"t1", "unheard", 0, 1, "title t1", "defaults", 3 * 86400, 86400, "title t1", "defaults", true, "open"},
		{"t2", "", 1, 1, "defaults", "defaults", 86400, 86400, "defaults", "defaults", true, "open"},
	} {
		name := fmt.Sprintf("%s of %q", c.title, c.studio)
		r := p.RulesFor(c.title, c.studio)
		renewals, by := r.Limit(func(t *TitleRules) *Limit { return t.MaxRenewals })
		if renewals == nil || renewals.Max != c.renewals || by != c.renewalsBy {
			t.Errorf("%s: %+v renewals by %q", name, renewals, by)
		}
		reissues, by := r.Limit(func(t *TitleRules) *Limit { return t.MaxReissues })
		if reissues == nil || reissues.Max != c.reissues || by != c.reissuesBy {
			t.Errorf("%s: %+v re-issues by %q", name, reissues, by)
		}
		if rental, by := r.Span(func(t *TitleRules) Span { return t.RentalDuration }); rental != c.rental || by != c.rentalBy {
			t.Errorf("%s: rental of %v by %q", name, rental, by)
		}
		if license, by := r.Span(func(t *TitleRules) Span { return t.LicenseDuration }); license != c.license || by != c.licenseBy {
			t.Errorf("%s: licence of %v by %q", name, license, by)
		}
		if counts := r.Flag(func(t *TitleRules) *bool { return t.RenewalCountsAsDownload }, !c.counts); counts != c.counts {
			t.Errorf("%s: a renewal counts: %v", name, counts)
		}
		if mode := r.Choice(func(t *TitleRules) string { return t.FailMode }, "neither"); mode != c.failMode {
			t.Errorf("%s: fail mode %s", name, mode)
		}
		if restarts := r.Flag(func(t *TitleRules) *bool { return t.RenewalRestartsPlayback }, true); !restarts {
			t.Errorf("%s: what nobody says is not as asked for", name)
		}
	}
}

func TestDeviceTypesAreLookedUpAndUnknownOnesGetDefaultRules(t *testing.T) {
	t.Parallel()
	d := DefaultDeviceTypes()
	if len(d.Types) < 25 {
		t.Errorf("there are %d device types", len(d.Types))
	}
	families := map[string]bool{}
	without := 0
	for id, kind := range d.Types {
		families[kind.Family] = true
		if !kind.Download {
			without++
		}
		if err := CheckID("id", id); err != nil {
			t.Error(err)
		}
	}
	for _, family := range []string{"phone", "tablet", "computer", "tv", "console"} {
		if !families[family] {
			t.Errorf("no device type is of family %s", family)
		}
	}
	if stick, known := d.Lookup("roku-stick"); !known || stick.Download || without < 3 {
		t.Errorf("a stick is %+v, known %v; %d types can't download", stick, known, without)
	}
	if phone, known := d.Lookup("iphone-15"); !known || !phone.Download || phone.Family != "phone" || phone.Generation != 15 {
		t.Errorf("a phone is %+v, known %v", phone, known)
	}
	odd, known := d.Lookup("toaster-3000")
	if known || !odd.Download || odd.Family != UnknownFamily || odd.Qualities != nil {
		t.Errorf("a device of unknown type is %+v, known %v", odd, known)
	}
}

func TestEveryMistakeOfADeviceTypeDocumentIsReported(t *testing.T) {
	t.Parallel()
	const document = `{"kinds":{}, "types":{
	  "a":{"name":" ","family":"fridge","os":"","security_level":"none","download":"no","qualities":["best"],"generation":-1,"colour":"red"},
	  "b":{}, "g":{"name":7,"family":null,"os":[],"download":1}, "c d":{"name":"n","family":"tv","os":"o","download":false}, "e":7,
	  "f":{"name":"n","family":"tv","os":"o","download":true,"qualities":[]}}}`
	d, err := ParseDeviceTypes([]byte(document))
	mistakes(t, d == nil, err, map[string]string{
		"kinds": "is unknown", "types.a.name": "is missing or empty", "types.a.family": `is "fridge"`, "types.a.os": "is missing or empty",
		"types.a.security_level": `is "none"`, "types.a.download": "wanted true or false", "types.a.qualities[0]": `is "best"`,
		"types.a.generation": "is -1", "types.a.colour": "is unknown", "types.b.name": "is missing", "types.b.family": "is missing",
		"types.b.os": "is missing", "types.b.download": "is missing", "types.c d": "is no id", "types.e": "is not an object",
		"types.f.qualities": "is empty", "types.g.name": "is 7", "types.g.family": "is null", "types.g.os": "is []", "types.g.download": "is 1",
	})
}

func TestDeviceTypesComeBackFromTheirCanonicalForm(t *testing.T) {
	t.Parallel()
	d := DefaultDeviceTypes()
	again, err := ParseDeviceTypes(d.JSON())
	if err != nil || !reflect.DeepEqual(d, again) || !bytes.Equal(d.JSON(), again.JSON()) {
		t.Errorf("%v\n was %s\n is  %s", err, d.JSON(), again.JSON())
	}
}

// mistakes compares what was reported with the fields that are wrong, and a part of what is wrong with each.
func mistakes(t *testing.T, nothing bool, err error, want map[string]string) {
	t.Helper()
	var all DocumentErrors
	if !nothing || !errors.As(err, &all) {
		t.Fatalf("accepted, or %v", err)
	}
	got := map[string]string{}
	for _, m := range all {
		if before, twice := got[m.Field]; twice {
			t.Errorf("%s is reported twice: %q and %q", m.Field, before, m.Problem)
		}
		got[m.Field] = m.Problem
	}
	for field, problem := range want {
		if !strings.Contains(got[field], problem) {
			t.Errorf("%s: reported %q, want %q", field, got[field], problem)
		}
	}
	for field, problem := range got {
		if _, ok := want[field]; !ok {
			t.Errorf("%s is fine, and is reported: %s", field, problem)
		}
	}
}

// FuzzDocuments: a document is refused by a list of mistakes, or comes back from its canonical form.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{smallPolicy, fullPolicy, string(defaultPolicy), string(defaultDeviceTypes), `{"plans":{"a":null}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := ParsePolicy(document)
		refused(t, p == nil, err)
		if p != nil {
			again, err := ParsePolicy(p.JSON())
			if err != nil || !bytes.Equal(again.JSON(), p.JSON()) {
				t.Fatalf("%s was accepted, and then: %v", document, err)
			}
		}
		d, err := ParseDeviceTypes(document)
		refused(t, d == nil, err)
		if d != nil {
			again, err := ParseDeviceTypes(d.JSON())
			if err != nil || !bytes.Equal(again.JSON(), d.JSON()) {
				t.Fatalf("%s was accepted, and then: %v", document, err)
			}
		}
	})
}

func refused(t *testing.T, nothing bool, err error) {
	t.Helper()
	if nothing != (err != nil) {
		t.Fatalf("nothing came of it: %v, and the error is %v", nothing, err)
	}
	if err == nil {
		return
	}
	all, ok := errors.AsType[DocumentErrors](err)
	if !ok || len(all) == 0 {
		t.Fatalf("refused with %v", err)
	}
	for _, m := range all {
		if m.Field == "" || m.Problem == "" {
			t.Fatalf("a mistake without a name: %+v", m)
		}
	}
}

func BenchmarkParsePolicy(b *testing.B) {
	for b.Loop() {
		if _, err := ParsePolicy(defaultPolicy); err != nil {
			b.Fatal(err)
		}
	}
}

func TestADurationIsReadAndWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		seconds Span
		written string
	}{
		"1s": {1, "1s"}, "90s": {90, "90s"}, "60s": {60, "1m"}, "15m": {900, "15m"}, "48h": {172800, "2d"}, "1h": {3600, "1h"},
		"30d": {2592000, "30d"}, "1y": {31536000, "365d"}, "10y": {315360000, "3650d"}, "007d": {604800, "7d"}, "315360000s": {315360000, "3650d"},
	} {
		got, err := ParseSpan(text)
		if err != nil || got != want.seconds || got.String() != want.written {
			t.Errorf("%s is %d (%s), %v; want %d (%s)", text, got, got, err, want.seconds, want.written)
		}
		written, err := json.Marshal(got)
		if err != nil || string(written) != `"`+want.written+`"` {
			t.Errorf("%s is written %s, %v", text, written, err)
		}
		again, err := ParseSpan(got.String())
		if err != nil || again != got {
			t.Errorf("%s comes back as %d, %v", got, again, err)
		}
	}
	for text, want := range map[string]string{
		"": "is empty", "0s": "zero means nothing", "0d": "zero means nothing", "-1d": "can't be negative", "-0d": "zero means nothing",
		"11y": "the longest is ten years", "315360001s": "the longest is ten years", "9223372036854775807d": "the longest is ten years",
		"99999999999999999999y": "the longest is ten years", "-99999999999999999999y": "can't be negative", "1.5d": "wanted a duration",
		"1e3s": "wanted a duration", "+1d": "wanted a duration", "1_000s": "wanted a duration", " 1d": "wanted a duration", "1 d": "wanted a duration",
		"d": "wanted a duration", "1": "wanted a duration", "1w": "wanted a duration", "1D": "wanted a duration", "P30D": "wanted a duration",
		"30 days": "wanted a duration", "0x10d": "wanted a duration", "1dd": "wanted a duration", "٣d": "wanted a duration", "1d\n": "wanted a duration",
	} {
		if got, err := ParseSpan(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %d, %v; want %q", text, got, err, want)
		}
	}
}
