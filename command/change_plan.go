package command

import (
	"context"

	"carryon/domain"
)

// ChangePlan sets plan and home country. A downgrade keeps what is there and refuses what is new; counters survive.
// The first one makes the customer known.
type ChangePlan struct {
	Meta
	Customer, Plan, Country string
}

func (c *ChangePlan) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("plan", c.Plan)
	f.country("country", c.Country)
	return f.err()
}

// ChangePlan records the change.
func (a *App) ChangePlan(ctx context.Context, c ChangePlan) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	return a.handle(ctx, request{
		name: "change_plan", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("change_plan").text(c.Customer).text(c.Plan).text(c.Country).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.ChangePlan(m, c.Plan, c.Country)
		},
	})
}
