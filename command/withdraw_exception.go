package command

import (
	"context"

	"carryon/domain"
)

// WithdrawException ends an exception before its time, with a reason.
type WithdrawException struct {
	Meta
	Customer, ExceptionID string
	Reason                ReasonGiven
}

func (c *WithdrawException) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("exception_id", c.ExceptionID)
	f.reason("reason", c.Reason)
	return f.err()
}

// WithdrawException records the withdrawal.
func (a *App) WithdrawException(ctx context.Context, c WithdrawException) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReason(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	return a.handle(ctx, request{
		name: "withdraw_exception", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("withdraw_exception").text(c.Customer).text(c.ExceptionID).reason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.WithdrawException(m, c.ExceptionID, reason.recorded)
		},
	})
}
