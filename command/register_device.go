package command

import (
	"context"

	"carryon/domain"
)

// RegisterDevice gives a device a slot of the plan, or changes the type or name of one that has a slot. A device may
// replace the one that it was before a reinstall. The first acquire on a device registers it, too.
type RegisterDevice struct {
	Meta
	Customer, DeviceID, DeviceType string
	Name                           string // personal; sealed before it is recorded
	Replaces                       string // the device that this one was before a reinstall
}

func (c *RegisterDevice) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("device_id", c.DeviceID)
	f.id("device_type", c.DeviceType)
	f.line("name", c.Name)
	f.optionalID("replaces", c.Replaces)
	if c.Replaces != "" && c.Replaces == c.DeviceID {
		f.add("replaces", "is the device itself")
	}
	return f.err()
}

// RegisterDevice decides on the slot and records what came of it.
func (a *App) RegisterDevice(ctx context.Context, c RegisterDevice) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	name, err := a.sealDeviceName(ctx, c.Customer, c.Name, false)
	if err != nil {
		return Result{}, err
	}
	ask := domain.RegisterRequest{
		DeviceID: c.DeviceID, DeviceType: c.DeviceType, Name: name.sealed, NameDigest: name.digest, Replaces: c.Replaces,
	}
	return a.handle(ctx, request{
		name: "register_device", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("register_device").text(c.Customer).text(c.DeviceID).text(c.DeviceType).text(name.digest).
			text(c.Replaces).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.RegisterDevice(m, ask)
		},
	})
}
