package command

import (
	"context"

	"carryon/domain"
)

// ConfirmRelease is the device's record of destruction: the second half of a removal, which is recorded however late
// it comes.
type ConfirmRelease struct {
	Meta
	Customer, LicenseID string
	Reason              *ReasonGiven `json:",omitempty"` // support and operators give one
}

func (c *ConfirmRelease) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("license_id", c.LicenseID)
	f.reasonOf(c.Actor.Role, "reason", c.Reason)
	return f.err()
}

// ConfirmRelease records the confirmation.
func (a *App) ConfirmRelease(ctx context.Context, c ConfirmRelease) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReasonIfAny(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	return a.handle(ctx, request{
		name: "confirm_release", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("confirm_release").text(c.Customer).text(c.LicenseID).optionalReason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.ConfirmRelease(m, c.LicenseID, reason.recordedIfAny())
		},
	})
}
