package commandapi

import (
	"context"
	"net/http"

	"carryon/api/web"
	"carryon/command"
)

// Registration is what a device says of itself.
type Registration struct {
	DeviceType web.ID `json:"device_type" doc:"Its type: GET /v1/device-types. An unknown one gets default rules and a flag" example:"android-phone"`
	Name       string `json:"name" maxLength:"1000" doc:"What its owner calls it, up to 1000 characters, may be empty; personal, kept encrypted" example:"Ada's phone"`
	Replaces   web.ID `json:"replaces,omitempty" doc:"The device that this one was before a reinstall: it gives up its slot" example:"dev-0"`
}

// Removal is what may be said with a removal, or the end of a licence.
type Removal struct {
	Reason *Reason `json:"reason,omitempty" doc:"Why; support and operators must give one, a customer need not"`
}

func (r *Removal) given() *command.ReasonGiven {
	if r == nil {
		return nil
	}
	return r.Reason.givenIfAny()
}

func (r routes) device(id, method, act, summary, description string) web.Spec {
	return web.Spec{
		ID: id, Method: method, Path: "/v1/customers/{customer}/devices/{device}" + act, Tag: "devices", Summary: summary,
		Description: description, Timeout: r.timeout, Problems: decided,
	}
}

func (r routes) devices() {
	web.Handle(r.api, r.device("register-device", http.MethodPut, "", "Give a device a slot", "Or change the type or name of one that has a slot."),
		func(ctx context.Context, in *struct {
			DevicePath
			KeyTaken
			Body Registration
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.RegisterDevice(ctx, command.RegisterDevice{
				Meta: m, Customer: string(in.Customer), DeviceID: string(in.Device), DeviceType: string(in.Body.DeviceType),
				Name: in.Body.Name, Replaces: string(in.Body.Replaces),
			}))
		})
	web.Handle(r.api, r.device("remove-device", http.MethodDelete, "", "Remove a device", "Frees its slot, as the policy says, and releases what it holds. A removal by the customer counts against the replacements, one by support does not."),
		func(ctx context.Context, in *struct {
			DevicePath
			KeyTaken
			Body *Removal
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.RemoveDevice(ctx, command.RemoveDevice{Meta: m, Customer: string(in.Customer), DeviceID: string(in.Device), Reason: in.Body.given()}))
		})
	web.Handle(r.api, r.device("block-device", http.MethodPost, "/block", "Block a device", "It gets nothing until it is unblocked; a removal does not end the block. Needs a reason."),
		func(ctx context.Context, in *deviceReasoned) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.BlockDevice(ctx, command.BlockDevice{Meta: m, Customer: string(in.Customer), DeviceID: string(in.Device), Reason: in.Body.Reason.given()}))
		})
	web.Handle(r.api, r.device("unblock-device", http.MethodPost, "/unblock", "End a block", "Needs a reason."),
		func(ctx context.Context, in *deviceReasoned) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.UnblockDevice(ctx, command.UnblockDevice{Meta: m, Customer: string(in.Customer), DeviceID: string(in.Device), Reason: in.Body.Reason.given()}))
		})
}

type deviceReasoned struct {
	DevicePath
	KeyNeeded
	Body Reasoned
}
