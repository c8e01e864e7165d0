package command

import (
	"context"
	"strconv"

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

// RevokeAllForCustomer records the revocations. A customer who holds more than one command may record is revoked in
// several, each under an id derived from the first one's, so that a repeat finds them all; the answer holds the events
// of all. Whoever stops half-way, repeats it.
func (a *App) RevokeAllForCustomer(ctx context.Context, c RevokeAllForCustomer) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReason(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	hash := hashOf("revoke_all").text(c.Customer).reason(reason).sum()
	result, err := a.revokeSome(ctx, &c.Meta, c.Customer, hash, reason)
	for part := 1; err == nil && part <= maxRevokeParts; part++ {
		meta := Meta{CommandID: derivedCommandID(c.CommandID, "part "+strconv.Itoa(part)), Actor: c.Actor, Correlation: c.Correlation}
		var more Result
		if more, err = a.revokeSome(ctx, &meta, c.Customer, hash, reason); err != nil || len(more.Events) == 0 {
			break
		}
		result.Events = append(result.Events, more.Events...)
		result.Version, result.Position = more.Version, more.Position
	}
	return result, err
}

// A customer's licences are bounded by the limits of plan and studio; so are the parts of a revocation.
const maxRevokeParts = 100

func (a *App) revokeSome(ctx context.Context, meta *Meta, customer, hash string, reason sealedReason) (Result, error) {
	return a.handle(ctx, request{
		name: "revoke_all", meta: meta, stream: domain.CustomerStream(customer), hash: hash,
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.RevokeAll(m, reason.recorded)
		},
	})
}
