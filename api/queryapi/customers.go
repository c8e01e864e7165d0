package queryapi

import (
	"context"
	"time"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

var fresh = []web.Kind{web.Behind, web.Parked}

func (r routes) customers() {
	const tag = "customers"
	web.Handle(r.api, r.get("get-customer", "/v1/customers/{customer}", tag, "Plan, membership, slots and counters", "Device slots used and their limit, and every counter with the date when it resets.", fresh...),
		func(ctx context.Context, in *struct {
			CustomerPath
			Fresh
			Conditional
		}) (*Answer[query.CustomerAnswer], error) {
			c, err := in.consistency()
			if err != nil {
				return nil, err
			}
			a, err := r.ask.Customer.Handle(ctx, query.Customer{By: by(ctx), Customer: string(in.Customer), Consistency: c})
			if err != nil {
				return nil, err
			}
			return versioned(in.Conditional, a.Version, a), nil
		})
	web.Handle(r.api, r.get("list-devices", "/v1/customers/{customer}/devices", tag, "The customer's devices", "last_contact says when a device was last heard of; clock_suspect that its clock can't be right.", fresh...),
		func(ctx context.Context, in *struct {
			CustomerPath
			State string `query:"state" enum:"registered,blocked,removed" doc:"Only these; all without"`
			Paged
			Fresh
			Conditional
		}) (*Answer[query.DevicesAnswer], error) {
			c, err := in.consistency()
			if err != nil {
				return nil, err
			}
			a, err := r.ask.Devices.Handle(ctx, query.Devices{By: by(ctx), Customer: string(in.Customer), State: in.State, Page: in.page(), Consistency: c})
			if err != nil {
				return nil, err
			}
			return versioned(in.Conditional, a.Version, a), nil
		})
	web.Handle(r.api, r.get("list-licenses", "/v1/customers/{customer}/licenses", tag, "The customer's licences", "With both remaining durations in seconds, playable_until and what limits it, how far a removal is, when the device stops at the latest, and whether the books were read for the grant.", fresh...),
		func(ctx context.Context, in *struct {
			CustomerPath
			DeviceID web.ID `query:"device_id" doc:"Only on this device"`
			TitleID  web.ID `query:"title_id" doc:"Only of this title"`
			State    string `query:"state" enum:"active,released,revoked,expired" doc:"Only these; all without"`
			Ordered
			Paged
			Fresh
			Conditional
		}) (*Answer[query.LicensesAnswer], error) {
			c, err := in.consistency()
			if err != nil {
				return nil, err
			}
			a, err := r.ask.Licenses.Handle(ctx, query.Licenses{
				By: by(ctx), Customer: string(in.Customer), DeviceID: string(in.DeviceID), TitleID: string(in.TitleID), State: in.State,
				Order: in.order(), Page: in.page(), Consistency: c,
			})
			if err != nil {
				return nil, err
			}
			return versioned(in.Conditional, a.Version, a), nil
		})
	web.Handle(r.api, r.get("list-denials", "/v1/customers/{customer}/denials", tag, "What the customer was refused", "Each with the rule that refused, in numbers, and the whole decision.", fresh...),
		func(ctx context.Context, in *struct {
			CustomerPath
			Code     []string `query:"code" maxItems:"20" doc:"Only these refusal codes" example:"[\"YEARLY_TITLE_LIMIT\"]"`
			DeviceID web.ID   `query:"device_id" doc:"Only on this device"`
			TitleID  web.ID   `query:"title_id" doc:"Only of this title"`
			Between
			Ordered
			Paged
			Fresh
			Conditional
		}) (*Answer[query.DenialsAnswer], error) {
			c, err := in.consistency()
			if err != nil {
				return nil, err
			}
			a, err := r.ask.Denials.Handle(ctx, query.Denials{
				By: by(ctx), Customer: string(in.Customer), Code: in.Code, DeviceID: string(in.DeviceID), TitleID: string(in.TitleID),
				From: in.From, To: in.To, Order: in.order(), Page: in.page(), Consistency: c,
			})
			if err != nil {
				return nil, err
			}
			return versioned(in.Conditional, a.Version, a), nil
		})
	web.Handle(r.api, r.get("list-exceptions", "/v1/customers/{customer}/exceptions", tag, "What support has allowed the customer", "", fresh...),
		func(ctx context.Context, in *struct {
			CustomerPath
			State string `query:"state" enum:"open,used,expired,withdrawn" doc:"Only these; all without"`
			Paged
			Fresh
			Conditional
		}) (*Answer[query.ExceptionsAnswer], error) {
			c, err := in.consistency()
			if err != nil {
				return nil, err
			}
			a, err := r.ask.Exceptions.Handle(ctx, query.Exceptions{By: by(ctx), Customer: string(in.Customer), State: in.State, Page: in.page(), Consistency: c})
			if err != nil {
				return nil, err
			}
			return versioned(in.Conditional, a.Version, a), nil
		})
	web.Handle(r.api, r.get("get-timeline", "/v1/customers/{customer}/timeline", tag, "Everything that happened to the customer", "Each event with a sentence in plain words. Of whom nothing is recorded: an empty list, and version 0.", fresh...), r.timeline)
	web.Handle(r.api, r.get("explain", "/v1/customers/{customer}/explain", tag, "Why, or why not", "Decides an acquisition, or with license_id a renewal, as a dry run, now or at a past moment, with what was known then: every rule in order, with what it read and what came of it, who holds the places, and what would help.", fresh...),
		func(ctx context.Context, in *struct {
			CustomerPath
			TitleID    web.ID      `query:"title_id" doc:"The movie or episode; needed without license_id" example:"t00042"`
			DeviceID   web.ID      `query:"device_id" doc:"The device; needed without license_id" example:"dev-1"`
			LicenseID  web.ID      `query:"license_id" doc:"Instead of title and device: whether this licence would be renewed"`
			DeviceType web.ID      `query:"device_type" doc:"Of a device that is not registered yet" example:"android-phone"`
			Country    web.Country `query:"country" doc:"Where the customer is, ISO 3166-1 alpha-2; the home country without" example:"DE"`
			ProfileID  web.ID      `query:"profile_id" doc:"The profile that asks"`
			Maturity   string      `query:"maturity" enum:"kids,teen,adult" doc:"Of the profile; adult without"`
			Quality    string      `query:"quality" maxLength:"32" doc:"standard, high or uhd; as the device likes without" example:"high"`
			At         time.Time   `query:"at" doc:"At this moment of the past, RFC 3339; now without" example:"2026-03-01T12:00:00Z"`
			Fresh
		}) (*Answer[query.ExplainAnswer], error) {
			c, err := in.consistency()
			if err != nil {
				return nil, err
			}
			return plain(r.ask.Explain.Handle(ctx, query.Explain{
				By: by(ctx), Customer: string(in.Customer), TitleID: string(in.TitleID), DeviceID: string(in.DeviceID), DeviceType: string(in.DeviceType),
				LicenseID: string(in.LicenseID), Maturity: in.Maturity, Quality: in.Quality,
				Country: string(in.Country), ProfileID: string(in.ProfileID), At: in.At, Consistency: c,
			}))
		})
	web.Handle(r.api, r.get("get-state", "/v1/customers/{customer}/state", tag, "The customer's state at any moment", "A past moment is folded from the event store.", fresh...),
		func(ctx context.Context, in *struct {
			CustomerPath
			AsOf time.Time `query:"as_of" doc:"At this moment, RFC 3339; now without" example:"2026-03-01T12:00:00Z"`
			Fresh
			Conditional
		}) (*Answer[query.StateAnswer], error) {
			c, err := in.consistency()
			if err != nil {
				return nil, err
			}
			a, err := r.ask.State.Handle(ctx, query.State{By: by(ctx), Customer: string(in.Customer), AsOf: in.AsOf, Consistency: c})
			if err != nil {
				return nil, err
			}
			return versioned(in.Conditional, a.Version, a), nil
		})
	web.Handle(r.api, r.get("list-accesses", "/v1/customers/{customer}/accesses", tag, "Who looked at the customer", "Newest first."),
		func(ctx context.Context, in *struct {
			CustomerPath
			Paged
		}) (*Answer[query.AccessesAnswer], error) {
			return plain(r.ask.Access.Handle(ctx, query.Accesses{By: by(ctx), Customer: string(in.Customer), Page: in.page()}))
		})
	web.Handle(r.api, r.get("get-decision", "/v1/decisions/{decision}", tag, "A past decision, as it was recorded", "A device sees those of its own customer."),
		func(ctx context.Context, in *struct {
			Decision web.ID `path:"decision" doc:"The decision's id" example:"dec_0c5h3v8m1q9w2k7r4t6y0z1x3a"`
			Conditional
		}) (*Answer[query.DecisionAnswer], error) {
			q := query.Decision{By: by(ctx), ID: string(in.Decision)}
			if who := web.Caller(ctx); who.Role == domain.RoleDevice {
				q.Customer = who.Customer
			}
			a, err := r.ask.Decision.Handle(ctx, q)
			if err != nil {
				return nil, err
			}
			return versioned(in.Conditional, a.Version, a), nil
		})
}

func (r routes) timeline(ctx context.Context, in *struct {
	CustomerPath
	Type      []string `query:"type" maxItems:"20" doc:"Only these event types" example:"[\"LicenseIssued\"]"`
	DeviceID  web.ID   `query:"device_id" doc:"Only about this device"`
	TitleID   web.ID   `query:"title_id" doc:"Only about this title"`
	LicenseID web.ID   `query:"license_id" doc:"Only about this licence"`
	Actor     string   `query:"actor" maxLength:"256" doc:"Only by this one"`
	Between
	Ordered
	Paged
	Fresh
	Conditional
},
) (*Answer[query.TimelineAnswer], error) {
	c, err := in.consistency()
	if err != nil {
		return nil, err
	}
	a, err := r.ask.Timeline.Handle(ctx, query.Timeline{
		By: by(ctx), Customer: string(in.Customer), Type: in.Type, DeviceID: string(in.DeviceID), TitleID: string(in.TitleID),
		LicenseID: string(in.LicenseID), Actor: in.Actor, From: in.From, To: in.To, Order: in.order(), Page: in.page(), Consistency: c,
	})
	if err != nil {
		return nil, err
	}
	return versioned(in.Conditional, a.Version, a), nil
}
