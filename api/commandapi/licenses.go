package commandapi

import (
	"context"
	"net/http"
	"time"

	"carryon/api/web"
	"carryon/command"
)

// Acquisition is what a device asks for.
type Acquisition struct {
	TitleID    web.ID      `json:"title_id" doc:"The movie or episode" example:"t00042"`
	DeviceID   web.ID      `json:"device_id" doc:"The device; the first acquire on it registers it" example:"dev-1"`
	DeviceType web.ID      `json:"device_type" doc:"Its type: GET /v1/device-types. An unknown one gets default rules and a flag" example:"android-phone"`
	DeviceName string      `json:"device_name,omitempty" maxLength:"1000" doc:"What its owner calls it, up to 1000 characters; personal, kept encrypted" example:"Ada's phone"`
	Country    web.Country `json:"country,omitempty" doc:"Where the customer is, ISO 3166-1 alpha-2; absent: the home country" example:"DE"`
	ProfileID  web.ID      `json:"profile_id,omitempty" doc:"The profile that asks" example:"p-kids"`
	Maturity   string      `json:"maturity,omitempty" enum:"kids,teen,adult" doc:"Of the profile; absent: adult" example:"adult"`
	Trigger    string      `json:"trigger,omitempty" enum:"user,auto" doc:"Whether a person asked; absent: user" example:"user"`
	Quality    string      `json:"quality,omitempty" maxLength:"32" pattern:"^[ -~]*$" patternDescription:"ASCII" doc:"standard, high or uhd; absent: as the device likes" example:"high"`
	SizeBytes  int64       `json:"size_bytes,omitempty" minimum:"0" maximum:"1099511627776" doc:"Of the download, in bytes, up to one tebibyte" example:"734003200"`
}

func (a *Acquisition) command(m command.Meta, customer web.ID) command.AcquireLicense {
	return command.AcquireLicense{
		Meta: m, Customer: string(customer), TitleID: string(a.TitleID), DeviceID: string(a.DeviceID), DeviceType: string(a.DeviceType),
		DeviceName: a.DeviceName, Country: string(a.Country), ProfileID: string(a.ProfileID), Maturity: a.Maturity, Trigger: a.Trigger,
		Quality: a.Quality, SizeBytes: a.SizeBytes,
	}
}

// Renewal is what a device may say with a renewal.
type Renewal struct {
	Country web.Country `json:"country,omitempty" doc:"Where the customer is, ISO 3166-1 alpha-2; absent: the home country" example:"DE"`
	Trigger string      `json:"trigger,omitempty" enum:"user,auto" doc:"Whether a person asked; absent: user" example:"auto"`
}

// Play is a report of a play.
type Play struct {
	PlayID          web.ID    `json:"play_id" doc:"The play, named by the device: start and stop of one play have the same" example:"play-1"`
	Kind            string    `json:"kind" enum:"start,stop" doc:"Which end of the play" example:"start"`
	DeviceTime      time.Time `json:"device_time" doc:"When, by the device's clock, however late it is reported. One that can't be right is flagged and replaced by the time of receipt" example:"2026-03-01T12:00:00Z"`
	PositionSeconds int64     `json:"position_seconds" minimum:"0" maximum:"1000000" doc:"Where in the title, in seconds" example:"0"`
}

// Reasoned is the body of an act that needs a reason.
type Reasoned struct {
	Reason Reason `json:"reason" doc:"Why"`
}

var decided = []web.Kind{web.Refused, web.VersionConflict, web.IdempotencyConflict, web.Conflict}

func (r routes) license(id, act, summary, description string, problems ...web.Kind) web.Spec {
	path := "/v1/customers/{customer}/licenses"
	if act != "" {
		path += "/" + act
	}
	return web.Spec{
		ID: id, Method: http.MethodPost, Path: path, Tag: "licences", Summary: summary, Description: description, Timeout: r.timeout,
		Problems: append(problems, decided...),
	}
}

func (r routes) licenses() {
	web.Handle(r.api, r.license("acquire-license", "", "Acquire a licence",
		"Asks for a licence for a title on a device. Asking again for what is active on the device gives the licence out again and counts against nothing but max_reissues. A warning in the decision (outcome warn) says that a limit is near.",
		web.TokenDrift),
		func(ctx context.Context, in *struct {
			CustomerPath
			KeyNeeded
			Body Acquisition
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.AcquireLicense(ctx, in.Body.command(m, in.Customer)))
		})
	web.Handle(r.api, r.license("evaluate-license", "evaluate", "Decide an acquisition without doing it",
		"The same body and the same rules as for acquiring; nothing is recorded. A refusal is no problem here: the decision says it."),
		func(ctx context.Context, in *struct {
			CustomerPath
			KeyTaken
			Body Acquisition
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			c := in.Body.command(m, in.Customer)
			c.DryRun = true
			return tried(r.do.AcquireLicense(ctx, c))
		})
	web.Handle(r.api, r.license("renew-license", "{license}/renew", "Renew a licence", "Its life begins anew, and the renewal counts where the policy says so.", web.TokenDrift),
		func(ctx context.Context, in *struct {
			LicensePath
			KeyNeeded
			Body *Renewal
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			c := command.RenewLicense{Meta: m, Customer: string(in.Customer), LicenseID: string(in.License)}
			if in.Body != nil {
				c.Country, c.Trigger = string(in.Body.Country), in.Body.Trigger
			}
			return done(r.do.RenewLicense(ctx, c))
		})
	web.Handle(r.api, r.license("release-license", "{license}/release", "Give a licence back", "The first half of a removal: it frees the concurrent limits, as the policy says. The device confirms when its copy is destroyed."),
		func(ctx context.Context, in *licenseEnd) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.ReleaseLicense(ctx, command.ReleaseLicense{Meta: m, Customer: string(in.Customer), LicenseID: string(in.License), Reason: in.Body.given()}))
		})
	web.Handle(r.api, r.license("confirm-release", "{license}/confirm-release", "Confirm that a copy is destroyed", "The device's record of destruction: the second half of a removal, recorded however late it comes."),
		func(ctx context.Context, in *licenseEnd) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.ConfirmRelease(ctx, command.ConfirmRelease{Meta: m, Customer: string(in.Customer), LicenseID: string(in.License), Reason: in.Body.given()}))
		})
	web.Handle(r.api, r.license("revoke-license", "{license}/revoke", "Take a licence back", "Needs a reason. The device goes on until it is online; late plays are still recorded."),
		func(ctx context.Context, in *struct {
			LicensePath
			KeyNeeded
			Body Reasoned
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.RevokeLicense(ctx, command.RevokeLicense{Meta: m, Customer: string(in.Customer), LicenseID: string(in.License), Reason: in.Body.Reason.given()}))
		})
	web.Handle(r.api, r.license("record-play", "{license}/plays", "Report a play", "Offline plays are reported late. A play that was reported before changes nothing; replays inside one playback life count once."),
		func(ctx context.Context, in *struct {
			LicensePath
			KeyNeeded
			Body Play
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.RecordPlayback(ctx, command.RecordPlayback{
				Meta: m, Customer: string(in.Customer), LicenseID: string(in.License), PlayID: string(in.Body.PlayID), Kind: in.Body.Kind,
				DeviceTime: in.Body.DeviceTime, PositionSeconds: in.Body.PositionSeconds,
			}))
		})
}

type licenseEnd struct {
	LicensePath
	KeyNeeded
	Body *Removal
}
