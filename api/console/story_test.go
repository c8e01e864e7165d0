//go:build browser

package console_test

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"carryon/command"
	"carryon/domain"
)

// The story of a customer who has everything that a page must be able to show: two places taken by devices with names,
// one of them long and without a space, licences that are played, run out soon and are gone, a removal that is pending,
// an exception, and refusals.

const (
	anna      = "anna"
	kitchen   = "anna-tablet"
	phone     = "anna-phone"
	newTablet = "anna-new-tablet"
	longName  = "Pauls-außergewöhnlich-langer-Gerätename-ohne-ein-einziges-Leerzeichen"
	storyDays = 9
)

type story struct {
	w     *world
	began time.Time
	place int // in titles
}

// at sets the clock, so many hours after the story began.
func (s *story) at(hours int) {
	s.w.clock.pretended.Store(s.began.Add(time.Duration(hours) * time.Hour).UnixNano())
}

// meta is of a command that is made at the moment that the clock shows.
func (s *story) meta(role domain.Role, id string) command.Meta {
	key := uuid.New()
	ms := s.w.clock.now().UnixMilli()
	for i := range 6 {
		key[i] = byte(ms >> (40 - 8*i))
	}
	key[6] = key[6]&0x0f | 0x70
	return command.Meta{CommandID: key.String(), Actor: domain.Actor{ID: id, Role: role}}
}

func (s *story) done(r command.Result, err error) command.Result {
	s.w.t.Helper()
	if err != nil {
		s.w.t.Fatalf("the story: %v", err)
	}
	return r
}

// acquire asks for titles until one is granted, or until one is refused for the code.
func (s *story) acquire(device, deviceType, name, code string) (licence, title string) {
	s.w.t.Helper()
	for _, id := range s.w.titles[s.place:] {
		s.place++
		r := s.done(s.w.system.Commands().AcquireLicense(s.w.t.Context(), command.AcquireLicense{
			Meta: s.meta(domain.RoleDevice, anna), Customer: anna, TitleID: id, DeviceID: device, DeviceType: deviceType, DeviceName: name, SizeBytes: 1_400_000_000,
		}))
		switch {
		case code == "" && !r.Refused():
			for _, e := range r.Events {
				if data, err := e.Data(); err == nil {
					if p, ok := data.(*domain.LicenseIssued); ok {
						return p.LicenseID, id
					}
				}
			}
		case code != "" && r.Refused() && r.Decision.Code == code:
			return "", id
		}
	}
	s.w.t.Fatalf("the story: no title is granted or refused as it should be (%s)", code)
	return "", ""
}

// withdrawn is a title that was withdrawn in the end, which anna never had.
func (w *world) withdrawn() string { return w.titles[len(w.titles)-1] }

// tell lets it happen, and answers the title that anna is refused in the end.
func (w *world) tell() (refusedTitle string) {
	w.t.Helper()
	s := &story{w: w, began: time.Now().UTC().Truncate(time.Hour).Add(-storyDays * 24 * time.Hour)}
	app, ctx := w.system.Commands(), w.t.Context()
	support := func() command.Meta { return s.meta(domain.RoleSupport, "agent-7") }
	s.at(0)
	s.done(app.ChangePlan(ctx, command.ChangePlan{Meta: s.meta(domain.RoleService, "billing"), Customer: anna, Plan: "standard", Country: "DE"}))
	s.at(1)
	s.done(app.RegisterDevice(ctx, command.RegisterDevice{Meta: s.meta(domain.RoleDevice, anna), Customer: anna, DeviceID: kitchen, DeviceType: "android-tablet", Name: "Kitchen tablet"}))
	s.at(2)
	played, title := s.acquire(kitchen, "android-tablet", "", "")
	s.at(20)
	s.done(app.RegisterDevice(ctx, command.RegisterDevice{Meta: s.meta(domain.RoleDevice, anna), Customer: anna, DeviceID: phone, DeviceType: "android-phone", Name: longName}))
	s.acquire(kitchen, "android-tablet", "", "")
	s.at(30)
	s.acquire(phone, "android-phone", "", "")
	revoked, _ := s.acquire(phone, "android-phone", "", "")
	s.at(100)
	given, _ := s.acquire(kitchen, "android-tablet", "", "")
	s.at(110)
	s.done(app.ReleaseLicense(ctx, command.ReleaseLicense{Meta: s.meta(domain.RoleDevice, anna), Customer: anna, LicenseID: given}))
	s.done(app.ConfirmRelease(ctx, command.ConfirmRelease{Meta: s.meta(domain.RoleDevice, anna), Customer: anna, LicenseID: given}))
	s.at(150)
	s.done(app.RevokeLicense(ctx, command.RevokeLicense{
		Meta: support(), Customer: anna, LicenseID: revoked,
		Reason: command.ReasonGiven{Code: domain.ReasonLostDevice, Case: "CASE-2041", Text: "She left the phone in a taxi in Köln and wants nothing to stay on it."},
	}))
	s.at(170)
	expires := s.w.clock.now().AddDate(0, 0, 20)
	s.done(app.GrantException(ctx, command.GrantException{
		Meta: support(), Customer: anna, Code: domain.CodeYearlyTitleLimit, Scope: domain.Scope{Kind: domain.ScopeTitle, ID: title}, Uses: 2, ExpiresAt: &expires,
		Reason: command.ReasonGiven{Code: domain.ReasonCustomer, Case: "CASE-2042"},
	}))
	s.at(200)
	s.done(app.RecordPlayback(ctx, command.RecordPlayback{
		Meta: s.meta(domain.RoleDevice, anna), Customer: anna, LicenseID: played, PlayID: "play-1", Kind: domain.PlayStart, DeviceTime: w.clock.now().Add(-time.Minute),
	}))
	s.at(210)
	_, refusedTitle = s.acquire(newTablet, "android-tablet", "", domain.CodeDeviceLimitReached)
	operator := func() command.Meta { return s.meta(domain.RoleOperator, "rights-2") }
	because := func(text string) *command.ReasonGiven {
		return &command.ReasonGiven{Code: domain.ReasonStudio, Case: "RIGHTS-77", Text: text}
	}
	s.done(app.WithdrawTitle(ctx, command.WithdrawTitle{Meta: operator(), TitleID: w.withdrawn(), Reason: because("The studio ends its contract for downloads; streaming goes on.")}))
	stricter := strings.Replace(string(domain.DefaultPolicy().JSON()), `"max_active_per_studio":{"max":50`, `"max_active_per_studio":{"max":49`, 1)
	s.done(app.PublishPolicy(ctx, command.PublishPolicy{
		Meta: operator(), Policy: domain.PolicyDefault, Document: []byte(stricter), Reason: because("One fewer for each studio, from the new contract on."),
	}))
	return refusedTitle
}
