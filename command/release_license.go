package command

import (
	"context"

	"carryon/domain"
)

// ReleaseLicense gives a licence back. That is the first half of a removal; the device has yet to confirm that it
// destroyed its copy (ConfirmRelease). Releasing what is released changes nothing.
type ReleaseLicense struct {
	Meta
	Customer, LicenseID string
	Reason              *ReasonGiven `json:",omitempty"` // support and operators give one
}

func (c *ReleaseLicense) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("license_id", c.LicenseID)
	f.reasonOf(c.Actor.Role, "reason", c.Reason)
	return f.err()
}

// ReleaseLicense records the release.
func (a *App) ReleaseLicense(ctx context.Context, c ReleaseLicense) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReasonIfAny(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	return a.handle(ctx, request{
		name: "release", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("release").text(c.Customer).text(c.LicenseID).optionalReason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.Release(m, c.LicenseID, reason.recordedIfAny())
		},
	})
}
