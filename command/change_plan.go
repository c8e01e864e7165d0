package command

import (
	"context"

	"carryon/domain"
)

// ChangePlan sets plan and home country. A downgrade keeps what is there and refuses what is new; counters survive.
// The first one makes the customer known.
// Where the policy removes what is over the limits of the new plan, that may take more than one append.
type ChangePlan struct {
	Meta
	Customer, Plan, Country string
	Reason                  *ReasonGiven `json:",omitempty"` // support and operators give one
}

func (c *ChangePlan) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("plan", c.Plan)
	f.country("country", c.Country)
	f.reasonOf(c.Actor.Role, "reason", c.Reason)
	return f.err()
}

// ChangePlan records the change.
func (a *App) ChangePlan(ctx context.Context, c ChangePlan) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReasonIfAny(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	r := request{
		name: "change_plan", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("change_plan").text(c.Customer).text(c.Plan).text(c.Country).optionalReason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.ChangePlan(m, c.Plan, c.Country, reason.recordedIfAny())
		},
	}
	result, err := a.handle(ctx, r)
	if err != nil {
		return Result{}, err
	}
	stands := func(books *domain.Customer) bool { return books.Plan() == c.Plan && books.Country() == c.Country }
	return a.handleRest(ctx, r, stands, result)
}
