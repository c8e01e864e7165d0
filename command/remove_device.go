package command

import (
	"context"

	"carryon/domain"
)

// RemoveDevice frees a device's slot and releases what it holds. Support and operators give a reason, and a removal by support does not
// count against the replacements; a customer need not give one.
type RemoveDevice struct {
	Meta
	Customer, DeviceID string
	Reason             *ReasonGiven
}

func (c *RemoveDevice) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("device_id", c.DeviceID)
	f.reasonOf(c.Actor.Role, "reason", c.Reason)
	return f.err()
}

// RemoveDevice records the removal.
func (a *App) RemoveDevice(ctx context.Context, c RemoveDevice) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReasonIfAny(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	return a.handle(ctx, request{
		name: "remove_device", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("remove_device").text(c.Customer).text(c.DeviceID).optionalReason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.RemoveDevice(m, c.DeviceID, reason.recordedIfAny())
		},
	})
}
