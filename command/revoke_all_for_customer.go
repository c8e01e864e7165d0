package command

import (
	"context"
	"errors"

	"carryon/domain"
)

// RevokeAllForCustomer takes every licence of the customer back, with one reason.
type RevokeAllForCustomer struct {
	Meta
	Customer string
	Reason   ReasonGiven
}

func (c *RevokeAllForCustomer) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.reason("reason", c.Reason)
	return f.err()
}

// RevokeAllForCustomer records the revocations. Of a customer who holds more than one command may record, the first
// are revoked under ids derived from the command's, and the command itself records the last ones: so a repeat finds
// either the whole done, or goes on where it was interrupted.
func (a *App) RevokeAllForCustomer(ctx context.Context, c RevokeAllForCustomer) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReason(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	r := request{
		name: "revoke_all", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("revoke_all").text(c.Customer).reason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			verdict, err := books.RevokeAll(m, reason.recorded)
			if err == nil && verdict.Remaining > 0 {
				return domain.Verdict{}, errMoreRemains
			}
			return verdict, err
		},
	}
	result, err := a.handle(ctx, r)
	for part := 1; errors.Is(err, errMoreRemains); part++ {
		some := r.part(part)
		some.customer = func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.RevokeAll(m, reason.recorded)
		}
		if _, err := a.handle(ctx, some); err != nil {
			return Result{}, err
		}
		result, err = a.handle(ctx, r)
	}
	return result, err
}

// errMoreRemains: the customer holds more than one command may revoke.
var errMoreRemains = errors.New("more licences than one command may revoke")
