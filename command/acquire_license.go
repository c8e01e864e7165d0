package command

import (
	"context"

	"carryon/domain"
)

// AcquireLicense asks for a licence for a title on a device. The rules decide on the customer's whole history; a refusal
// is an answer, not an error. Asking again for what is active on the device gives the licence out again.
//
// Its command id is bound to the present: see DriftError.
type AcquireLicense struct {
	Meta
	Customer   string
	TitleID    string
	DeviceID   string
	DeviceType string
	DeviceName string // personal; sealed before it is recorded
	Country    string // where the customer is; empty: the home country
	ProfileID  string
	Maturity   string // of the profile: kids, teen, adult; empty: adult
	Trigger    string // user, auto; empty: user
	Quality    string
	SizeBytes  int64
	DryRun     bool // EvaluateLicense: decides without doing
}

func (c *AcquireLicense) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("title_id", c.TitleID)
	f.id("device_id", c.DeviceID)
	f.id("device_type", c.DeviceType)
	f.line("device_name", c.DeviceName)
	f.optionalCountry("country", c.Country)
	f.optionalID("profile_id", c.ProfileID)
	f.optionalChoice("maturity", c.Maturity, maturities...)
	f.optionalChoice("trigger", c.Trigger, triggers...)
	f.optionalChoice("quality", c.Quality, qualities...)
	f.between("size_bytes", c.SizeBytes, 0, MaxSizeBytes)
	return f.err()
}

// AcquireLicense decides on the request and, unless it is a dry run, records what came of it. When the customer's
// books can't be read, the title's policy may let a short licence be granted without them.
func (a *App) AcquireLicense(ctx context.Context, c AcquireLicense) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	name, err := a.sealDeviceName(ctx, c.Customer, c.DeviceName, c.DryRun)
	if err != nil {
		return Result{}, err
	}
	ask := domain.AcquireRequest{
		DeviceID: c.DeviceID, DeviceType: c.DeviceType, DeviceName: name.sealed, DeviceNameDigest: name.digest,
		TitleID: c.TitleID, Country: c.Country, ProfileID: c.ProfileID, Maturity: orElse(c.Maturity, domain.MaturityAdult),
		Trigger: orElse(c.Trigger, domain.TriggerUser), Quality: c.Quality, SizeBytes: c.SizeBytes, KeyID: a.signer.KeyID(),
	}
	r := request{
		name: "acquire", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), bound: true, dryRun: c.DryRun, command: &c,
		hash: hashOf("acquire").text(c.Customer).text(c.TitleID).text(c.DeviceID).text(c.DeviceType).text(name.digest).
			text(c.Country).text(c.ProfileID).text(ask.Maturity).text(ask.Trigger).text(c.Quality).number(c.SizeBytes).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			if c.DryRun {
				return books.Evaluate(m, ask)
			}
			return books.Acquire(m, ask)
		},
	}
	if a.grantedWithoutBooks(&r, c.Customer) {
		return a.failOpen(ctx, r, c.Customer, ask, nil)
	}
	result, err := a.handle(ctx, r)
	if err != nil && a.mayFailOpen(ctx, &r, err) {
		return a.failOpen(ctx, r, c.Customer, ask, err)
	}
	return result, err
}
