package commandapi

import (
	"context"
	"net/http"
	"time"

	"carryon/api/web"
	"carryon/command"
	"carryon/domain"
)

type (
	// PlanChange is a plan and a home country.
	PlanChange struct {
		Plan    web.ID      `json:"plan" doc:"A plan of the policy in force" example:"standard"`
		Country web.Country `json:"country" doc:"The home country, ISO 3166-1 alpha-2" example:"DE"`
		Reason  *Reason     `json:"reason,omitempty" doc:"Why; an operator must give one, a service need not"`
	}

	// MembershipChange is a state of the membership.
	MembershipChange struct {
		State  string  `json:"state" enum:"active,on_hold,paused,cancelled" doc:"What a membership on hold refuses is the policy's business" example:"on_hold"`
		Reason *Reason `json:"reason,omitempty" doc:"Why; an operator must give one, a service need not"`
	}

	// Exception is something that support allows.
	Exception struct {
		Code      string     `json:"code" enum:"DEVICE_LIMIT_REACHED,DEVICE_REPLACEMENT_LIMIT,ACTIVE_DOWNLOAD_LIMIT,MONTHLY_DOWNLOAD_LIMIT,STUDIO_LIMIT_REACHED,YEARLY_TITLE_LIMIT,PLAY_LIMIT_REACHED,REISSUE_LIMIT_REACHED,RENEWAL_TOO_SOON,RENEWAL_LIMIT_REACHED" doc:"The refusal code to override" example:"YEARLY_TITLE_LIMIT"`
		Scope     *Scope     `json:"scope,omitempty" doc:"What it covers; absent: the whole customer"`
		Uses      int        `json:"uses" minimum:"1" maximum:"1000" doc:"How often it may be used" example:"1"`
		ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When it ends; absent: never" example:"2027-01-01T00:00:00Z"`
		Reason    Reason     `json:"reason" doc:"Why"`
	}
)

func (r routes) customer(id, method, act, summary, description string) web.Spec {
	return web.Spec{
		ID: id, Method: method, Path: "/v1/customers/{customer}/" + act, Tag: "customers", Summary: summary, Description: description,
		Timeout: r.timeout, Problems: decided,
	}
}

func (r routes) customers() {
	web.Handle(r.api, r.customer("change-plan", http.MethodPut, "plan", "Set plan and home country", "The first one makes the customer known. A downgrade keeps what is there and refuses what is new; counters survive."),
		func(ctx context.Context, in *struct {
			CustomerPath
			KeyTaken
			Body PlanChange
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.ChangePlan(ctx, command.ChangePlan{Meta: m, Customer: string(in.Customer), Plan: string(in.Body.Plan), Country: string(in.Body.Country), Reason: in.Body.Reason.givenIfAny()}))
		})
	web.Handle(r.api, r.customer("change-membership", http.MethodPut, "membership", "Set the membership's state", ""),
		func(ctx context.Context, in *struct {
			CustomerPath
			KeyTaken
			Body MembershipChange
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.ChangeMembership(ctx, command.ChangeMembership{Meta: m, Customer: string(in.Customer), State: in.Body.State, Reason: in.Body.Reason.givenIfAny()}))
		})
	web.Handle(r.api, r.customer("revoke-all-licenses", http.MethodPost, "revoke-all", "Take every licence back", "Needs a reason. The answer holds the events of all revocations."),
		func(ctx context.Context, in *struct {
			CustomerPath
			KeyNeeded
			Body Reasoned
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.RevokeAllForCustomer(ctx, command.RevokeAllForCustomer{Meta: m, Customer: string(in.Customer), Reason: in.Body.Reason.given()}))
		})
	web.Handle(r.api, r.customer("grant-exception", http.MethodPost, "exceptions", "Allow what a limit would refuse", "So many times, until so long. Needs a reason."),
		func(ctx context.Context, in *struct {
			CustomerPath
			KeyNeeded
			Body Exception
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			c := command.GrantException{
				Meta: m, Customer: string(in.Customer), Code: in.Body.Code, Uses: in.Body.Uses, ExpiresAt: in.Body.ExpiresAt, Reason: in.Body.Reason.given(),
			}
			if s := in.Body.Scope; s != nil {
				c.Scope = domain.Scope{Kind: s.Kind, ID: string(s.ID)}
			}
			return done(r.do.GrantException(ctx, c))
		})
	web.Handle(r.api, r.customer("withdraw-exception", http.MethodDelete, "exceptions/{exception}", "End an exception before its time", "Needs a reason."),
		func(ctx context.Context, in *struct {
			CustomerPath
			Exception web.ID `path:"exception" doc:"The exception's id" example:"exc_0c5h3v8m1q9w2k7r4t6y0z1x3a"`
			KeyTaken
			Body Reasoned
		}) (*Done, error) {
			m, err := in.meta(ctx)
			if err != nil {
				return nil, err
			}
			return done(r.do.WithdrawException(ctx, command.WithdrawException{Meta: m, Customer: string(in.Customer), ExceptionID: string(in.Exception), Reason: in.Body.Reason.given()}))
		})
}
