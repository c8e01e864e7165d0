package command

import (
	"context"

	"carryon/domain"
)

// ChangeMembership sets the membership's state. What a membership on hold refuses, or takes back, is the
// policy's business; a cancelled one takes everything back.
type ChangeMembership struct {
	Meta
	Customer string
	State    string       // active, on_hold, paused, cancelled
	Reason   *ReasonGiven `json:",omitempty"` // support and operators give one; it is that of the licences that are taken back, too
}

func (c *ChangeMembership) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.choice("state", c.State, domain.MembershipActive, domain.MembershipOnHold, domain.MembershipPaused, domain.MembershipCancelled)
	f.reasonOf(c.Actor.Role, "reason", c.Reason)
	return f.err()
}

// ChangeMembership records the change.
func (a *App) ChangeMembership(ctx context.Context, c ChangeMembership) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReasonIfAny(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	r := request{
		name: "change_membership", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("change_membership").text(c.Customer).text(c.State).optionalReason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.ChangeMembership(m, c.State, reason.recordedIfAny())
		},
	}
	result, err := a.handle(ctx, r)
	if err != nil {
		return Result{}, err
	}
	stands := func(books *domain.Customer) bool { return books.Membership() == c.State }
	return a.handleRest(ctx, r, stands, result)
}
