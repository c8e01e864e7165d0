package command

import (
	"context"

	"carryon/domain"
)

// UnblockDevice ends a block, with a reason.
type UnblockDevice struct {
	Meta
	Customer, DeviceID string
	Reason             ReasonGiven
}

func (c *UnblockDevice) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("device_id", c.DeviceID)
	f.reason("reason", c.Reason)
	return f.err()
}

// UnblockDevice records the end of the block.
func (a *App) UnblockDevice(ctx context.Context, c UnblockDevice) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReason(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	return a.handle(ctx, request{
		name: "unblock_device", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("unblock_device").text(c.Customer).text(c.DeviceID).reason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.UnblockDevice(m, c.DeviceID, reason.recorded)
		},
	})
}
