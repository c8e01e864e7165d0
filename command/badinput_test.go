package command_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"carryon/command"
	"carryon/domain"
)

func TestBadInputNamesEveryFieldAndRecordsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	license := w.licensed("ada", "phone-1", "movie-1")
	before := len(w.recorded())
	long, evil := strings.Repeat("x", 129), "a\xffb"
	far := noon.AddDate(50, 0, 0)
	passed := noon.Add(-time.Hour)
	type call = func(context.Context, *command.App) error
	acquire := func(change func(c *command.AcquireLicense)) call {
		return func(ctx context.Context, a *command.App) error {
			c := w.acquire("ada", "phone-1", "movie-1")
			change(&c)
			_, err := a.AcquireLicense(ctx, c)
			return err
		}
	}
	play := func(change func(c *command.RecordPlayback)) call {
		return func(ctx context.Context, a *command.App) error {
			c := command.RecordPlayback{Meta: w.meta(), Customer: "ada", LicenseID: license, PlayID: "p", Kind: "start", DeviceTime: noon}
			change(&c)
			_, err := a.RecordPlayback(ctx, c)
			return err
		}
	}
	exception := func(change func(c *command.GrantException)) call {
		return func(ctx context.Context, a *command.App) error {
			c := command.GrantException{Meta: w.support(), Customer: "ada", Code: domain.CodeDeviceLimitReached, Uses: 1, Reason: reason}
			change(&c)
			_, err := a.GrantException(ctx, c)
			return err
		}
	}
	publish := func(change func(c *command.PublishPolicy)) call {
		return func(ctx context.Context, a *command.App) error {
			c := command.PublishPolicy{Meta: w.meta(), Policy: domain.PolicyDefault, Document: fewDevices(1)}
			change(&c)
			_, err := a.PublishPolicy(ctx, c)
			return err
		}
	}
	withdraw := func(change func(c *command.WithdrawTitle)) call {
		return func(ctx context.Context, a *command.App) error {
			c := command.WithdrawTitle{Meta: w.meta(), TitleID: "movie-1"}
			change(&c)
			_, err := a.WithdrawTitle(ctx, c)
			return err
		}
	}
	for _, c := range []struct {
		name string
		do   call
		want []string
	}{
		{"no command id", acquire(func(c *command.AcquireLicense) { c.CommandID = "" }), []string{"command_id"}},
		{"a UUID of version 4", acquire(func(c *command.AcquireLicense) { c.CommandID = "6b1d3bd5-9c2d-4e55-8f7e-0d4b1f4f6a11" }), []string{"command_id"}},
		{"a UUID without dashes", acquire(func(c *command.AcquireLicense) { c.CommandID = strings.ReplaceAll(c.CommandID, "-", "") }), []string{"command_id"}},
		{"a UUID with a letter too far", acquire(func(c *command.AcquireLicense) { c.CommandID = c.CommandID[:35] + "g" }), []string{"command_id"}},
		{"nobody", acquire(func(c *command.AcquireLicense) { c.Actor = domain.Actor{} }), []string{"actor", "role"}},
		{"an analyst", acquire(func(c *command.AcquireLicense) { c.Actor.Role = domain.RoleAnalyst }), []string{"role"}},
		{"a broken request id", acquire(func(c *command.AcquireLicense) { c.Correlation = evil }), []string{"correlation"}},
		{"everything empty", func(ctx context.Context, a *command.App) error {
			_, err := a.AcquireLicense(ctx, command.AcquireLicense{})
			return err
		}, []string{"command_id", "actor", "role", "customer", "title_id", "device_id", "device_type"}},
		{"ids that are none", acquire(func(c *command.AcquireLicense) {
			c.Customer, c.TitleID, c.DeviceID, c.ProfileID = "a b", long, evil, "x/y"
		}),
			[]string{"customer", "title_id", "device_id", "profile_id"}},
		{"a country that is none", acquire(func(c *command.AcquireLicense) { c.Country = "XX" }), []string{"country"}},
		{"a country in small letters", acquire(func(c *command.AcquireLicense) { c.Country = "de" }), []string{"country"}},
		{"words that are no choice", acquire(func(c *command.AcquireLicense) { c.Trigger, c.Maturity, c.Quality = "robot", "toddler", "8k" }),
			[]string{"maturity", "trigger", "quality"}},
		{"a negative size", acquire(func(c *command.AcquireLicense) { c.SizeBytes = -1 }), []string{"size_bytes"}},
		{"a size that overflows", acquire(func(c *command.AcquireLicense) { c.SizeBytes = math.MaxInt64 }), []string{"size_bytes"}},
		{"a name that is not UTF-8", acquire(func(c *command.AcquireLicense) { c.DeviceName = evil }), []string{"device_name"}},
		{"a name that is a book", acquire(func(c *command.AcquireLicense) { c.DeviceName = strings.Repeat("ä", 1001) }), []string{"device_name"}},
		{"a name of two lines", acquire(func(c *command.AcquireLicense) { c.DeviceName = "one\ntwo" }), []string{"device_name"}},
		{"a name that reads backwards", acquire(func(c *command.AcquireLicense) { c.DeviceName = "tab\u202ele" }), []string{"device_name"}},
		{"a name that rings", acquire(func(c *command.AcquireLicense) { c.DeviceName = "bell\a" }), []string{"device_name"}},

		{"no device time", play(func(c *command.RecordPlayback) { c.DeviceTime = time.Time{} }), []string{"device_time"}},
		{"a device time that can't be written", play(func(c *command.RecordPlayback) { c.DeviceTime = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) }), []string{"device_time"}},
		{"a negative position", play(func(c *command.RecordPlayback) { c.PositionSeconds = -1 }), []string{"position_seconds"}},
		{"a position beyond any film", play(func(c *command.RecordPlayback) { c.PositionSeconds = math.MaxInt64 }), []string{"position_seconds"}},
		{"a pause", play(func(c *command.RecordPlayback) { c.Kind, c.PlayID = "pause", "" }), []string{"play_id", "kind"}},

		{"no uses", exception(func(c *command.GrantException) { c.Uses = 0 }), []string{"uses"}},
		{"too many uses", exception(func(c *command.GrantException) { c.Uses = math.MaxInt }), []string{"uses"}},
		{"a code that can't be lifted", exception(func(c *command.GrantException) { c.Code = domain.CodeTitleUnknown }), []string{"code"}},
		{"a scope without id", exception(func(c *command.GrantException) { c.Scope = domain.Scope{Kind: domain.ScopeDevice} }), []string{"scope.id"}},
		{"an id without scope", exception(func(c *command.GrantException) { c.Scope = domain.Scope{ID: "x"} }), []string{"scope.kind"}},
		{"another customer's scope", exception(func(c *command.GrantException) { c.Scope = domain.Scope{Kind: domain.ScopeCustomer, ID: "ben"} }), []string{"scope.id"}},
		{"no reason", exception(func(c *command.GrantException) { c.Reason = command.ReasonGiven{} }), []string{"reason.code"}},
		{"a reason of its own", exception(func(c *command.GrantException) { c.Reason.Code, c.Reason.Text, c.Reason.Case = "mood", evil, long }),
			[]string{"reason.code", "reason.text", "reason.case"}},
		{"an exception that has ended", exception(func(c *command.GrantException) { c.ExpiresAt = &passed }), []string{"expires_at"}},
		{"an exception for ever and a day", exception(func(c *command.GrantException) { c.ExpiresAt = &far }), []string{"expires_at"}},

		{"support without a reason", func(ctx context.Context, a *command.App) error {
			_, err := a.RemoveDevice(ctx, command.RemoveDevice{Meta: w.support(), Customer: "ada", DeviceID: "phone-1"})
			return err
		}, []string{"reason"}},
		{"an operator without a reason", func(ctx context.Context, a *command.App) error {
			m := w.support()
			m.Actor.Role = domain.RoleOperator
			_, err := a.RemoveDevice(ctx, command.RemoveDevice{Meta: m, Customer: "ada", DeviceID: "phone-1"})
			return err
		}, []string{"reason"}},
		{"a device that replaces itself", func(ctx context.Context, a *command.App) error {
			_, err := a.RegisterDevice(ctx, command.RegisterDevice{Meta: w.meta(), Customer: "ada", DeviceID: "d", DeviceType: "phone-x", Replaces: "d"})
			return err
		}, []string{"replaces"}},
		{"a plan without a country", func(ctx context.Context, a *command.App) error {
			_, err := a.ChangePlan(ctx, command.ChangePlan{Meta: w.meta(), Customer: "ada"})
			return err
		}, []string{"plan", "country"}},
		{"a membership on the moon", func(ctx context.Context, a *command.App) error {
			_, err := a.ChangeMembership(ctx, command.ChangeMembership{Meta: w.meta(), Customer: "ada", State: "moon"})
			return err
		}, []string{"state"}},

		{"a withdrawal from countries that are none", withdraw(func(c *command.WithdrawTitle) { c.Countries = []string{"DE", "", "Q1"} }),
			[]string{"countries[1]", "countries[2]"}},
		{"a withdrawal from more countries than there are", withdraw(func(c *command.WithdrawTitle) { c.Countries = slices.Repeat([]string{"DE"}, 301) }), []string{"countries"}},
		{"a withdrawal in fifty years", withdraw(func(c *command.WithdrawTitle) { c.From = far }), []string{"from"}},
		{"a withdrawal in fifty years that is only tried", withdraw(func(c *command.WithdrawTitle) { c.From, c.DryRun = far, true }), []string{"from"}},

		{"a policy of another name", publish(func(c *command.PublishPolicy) { c.Policy = "mine" }), []string{"policy"}},
		{"a policy without document", publish(func(c *command.PublishPolicy) { c.Document = nil }), []string{"document"}},
		{"a policy that took effect yesterday", publish(func(c *command.PublishPolicy) { c.EffectiveFrom = noon.AddDate(0, 0, -1) }), []string{"effective_from"}},
		{"a policy for our grandchildren", publish(func(c *command.PublishPolicy) { c.EffectiveFrom = far }), []string{"effective_from"}},
		{"a policy with mistakes", publish(func(c *command.PublishPolicy) {
			c.Document = changed(func(p *domain.Policy) { p.Plans["ads"].Version, p.Plans["premium"].Rank = 0, -1 })
		}), []string{"document.plans.ads.version", "document.plans.premium.rank"}},
		{"a policy for a title that is none", publish(func(c *command.PublishPolicy) {
			c.EffectiveFrom = far
			c.Document = changed(func(p *domain.Policy) { p.Titles = map[string]*domain.TitleRules{"movie-0": {}, "movie-1": {}} })
		}), []string{"effective_from", "document.titles.movie-0"}},
	} {
		err := c.do(t.Context(), w.app)
		fields, ok := errors.AsType[command.FieldErrors](err)
		if !ok {
			t.Errorf("%s: %v, want the fields %v", c.name, err, c.want)
			continue
		}
		var got []string
		for _, f := range fields {
			got = append(got, f.Field)
			if f.Problem == "" || !utf8.ValidString(f.Problem) {
				t.Errorf("%s: the problem of %s reads %q", c.name, f.Field, f.Problem)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: names %v, want %v", c.name, got, c.want)
		}
	}
	if n := len(w.recorded()) - before; n != 0 {
		t.Errorf("%d events were recorded", n)
	}
}

func TestWhatIsNotThereIsNotFoundAndRecordsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joined("ada")
	before := len(w.recorded())
	for name, do := range map[string]func(context.Context) (command.Result, error){
		"releasing an unknown licence": func(ctx context.Context) (command.Result, error) {
			return w.app.ReleaseLicense(ctx, command.ReleaseLicense{Meta: w.meta(), Customer: "ada", LicenseID: "lic_x"})
		},
		"playing an unknown licence": func(ctx context.Context) (command.Result, error) {
			return w.app.RecordPlayback(ctx, command.RecordPlayback{Meta: w.meta(), Customer: "ada", LicenseID: "lic_x", PlayID: "p", Kind: "start", DeviceTime: noon})
		},
		"removing an unknown device": func(ctx context.Context) (command.Result, error) {
			return w.app.RemoveDevice(ctx, command.RemoveDevice{Meta: w.meta(), Customer: "ada", DeviceID: "d-x"})
		},
		"withdrawing an unknown exception": func(ctx context.Context) (command.Result, error) {
			return w.app.WithdrawException(ctx, command.WithdrawException{Meta: w.support(), Customer: "ada", ExceptionID: "exc_x", Reason: reason})
		},
		"withdrawing an unknown title": func(ctx context.Context) (command.Result, error) {
			return w.app.WithdrawTitle(ctx, command.WithdrawTitle{Meta: w.meta(), TitleID: "movie-x"})
		},
		"renewing an unknown licence": func(ctx context.Context) (command.Result, error) {
			return w.app.RenewLicense(ctx, command.RenewLicense{Meta: w.meta(), Customer: "ada", LicenseID: "lic_x"})
		},
	} {
		if r, err := do(t.Context()); !errors.Is(err, domain.ErrNotFound) {
			t.Errorf("%s: %v, %+v", name, err, r.Decision)
		}
	}
	if n := len(w.recorded()) - before; n != 0 {
		t.Errorf("%d events were recorded", n)
	}
}

func FuzzAnAcquireIsEitherRefusedByFieldOrAnswered(f *testing.F) {
	w := newWorld(f)
	w.joined("ada")
	f.Add("ada", "movie-1", "phone-1", "phone-x", "Ada's phone", "DE", "p1", "kids", "user", "high", int64(7))
	f.Add("", "\xff", "a b", "x", "\x00", "de", "/", "?", "!", "8k", int64(-1))
	f.Fuzz(func(t *testing.T, customer, title, device, deviceType, name, country, profile, maturity, trigger, quality string, size int64) {
		before := w.heads()
		r, err := w.app.AcquireLicense(t.Context(), command.AcquireLicense{
			Meta: w.meta(), Customer: customer, TitleID: title, DeviceID: device, DeviceType: deviceType, DeviceName: name, Country: country,
			ProfileID: profile, Maturity: maturity, Trigger: trigger, Quality: quality, SizeBytes: size,
		})
		if err != nil {
			if _, ok := errors.AsType[command.FieldErrors](err); !ok {
				t.Fatalf("neither an answer nor a field: %v", err)
			}
			if after := w.heads(); after != before {
				t.Fatalf("what is refused by field moved the logs from %v to %v", before, after)
			}
			return
		}
		if r.Decision == nil || r.Refused() == (r.License != nil) {
			t.Fatalf("refused %t with licence %v", r.Refused(), r.License)
		}
	})
}

func FuzzACommandIDIsReadOrRefused(f *testing.F) {
	f.Add("0198c0de-7a11-7000-8000-000000000000")
	f.Add("0198C0DE-7A11-7000-8000-00000000000G")
	f.Fuzz(func(t *testing.T, id string) {
		canonical, err := command.CanonicalCommandID(id)
		if err != nil {
			if _, err := command.CommandTime(id); err == nil {
				t.Fatalf("%q has a time and no canonical form", id)
			}
			return
		}
		again, err := command.CanonicalCommandID(canonical)
		if err != nil || again != canonical || !strings.EqualFold(id, canonical) {
			t.Fatalf("%q becomes %q becomes %q, %v", id, canonical, again, err)
		}
		at, err := command.CommandTime(id)
		if err != nil || at.Before(time.Unix(0, 0)) {
			t.Fatalf("%q is of %s, %v", id, at, err)
		}
	})
}
