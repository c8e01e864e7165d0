package command

import (
	"context"

	"carryon/domain"
)

// RevokeLicense takes a licence back, with a reason. Its device may go on until it is online again, so late plays and
// the confirmation of destruction are still recorded.
type RevokeLicense struct {
	Meta
	Customer, LicenseID string
	Reason              ReasonGiven
}

func (c *RevokeLicense) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("license_id", c.LicenseID)
	f.reason("reason", c.Reason)
	return f.err()
}

// RevokeLicense records the revocation.
func (a *App) RevokeLicense(ctx context.Context, c RevokeLicense) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReason(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	return a.handle(ctx, request{
		name: "revoke", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("revoke").text(c.Customer).text(c.LicenseID).reason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.Revoke(m, c.LicenseID, reason.recorded)
		},
	})
}
