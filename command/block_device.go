package command

import (
	"context"

	"carryon/domain"
)

// BlockDevice keeps a device from getting anything, with a reason, until it is unblocked; a removal does not end a block.
type BlockDevice struct {
	Meta
	Customer, DeviceID string
	Reason             ReasonGiven
}

func (c *BlockDevice) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("device_id", c.DeviceID)
	f.reason("reason", c.Reason)
	return f.err()
}

// BlockDevice records the block.
func (a *App) BlockDevice(ctx context.Context, c BlockDevice) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReason(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	return a.handle(ctx, request{
		name: "block_device", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("block_device").text(c.Customer).text(c.DeviceID).reason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.BlockDevice(m, c.DeviceID, reason.recorded)
		},
	})
}
