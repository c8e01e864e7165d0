package command

import (
	"context"

	"carryon/domain"
)

// RenewLicense prolongs a licence: its life begins anew, and the renewal counts against the limits that say so.
//
// Its command id is bound to the present: see DriftError.
type RenewLicense struct {
	Meta
	Customer, LicenseID string
	Country             string // where the customer is; empty: the home country
	Trigger             string // user, auto; empty: user
	DryRun              bool   // decides without doing
}

func (c *RenewLicense) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("license_id", c.LicenseID)
	f.optionalCountry("country", c.Country)
	f.optionalChoice("trigger", c.Trigger, triggers...)
	return f.err()
}

// RenewLicense decides on the renewal and, unless it is a dry run, records what came of it.
func (a *App) RenewLicense(ctx context.Context, c RenewLicense) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	ask := domain.RenewRequest{LicenseID: c.LicenseID, Country: c.Country, Trigger: orElse(c.Trigger, domain.TriggerUser), KeyID: a.signer.KeyID()}
	return a.handle(ctx, request{
		name: "renew", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c, bound: true, dryRun: c.DryRun,
		hash: hashOf("renew").text(c.Customer).text(c.LicenseID).text(c.Country).text(ask.Trigger).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			if c.DryRun {
				return books.EvaluateRenew(m, ask)
			}
			return books.Renew(m, ask)
		},
	})
}
