package command

import (
	"context"
	"time"

	"carryon/domain"
)

// GrantException allows what a limit would refuse: for a code, a scope, a number of uses, until a moment. It is an
// audited act of a person, with a reason.
type GrantException struct {
	Meta
	Customer  string
	Code      string // the refusal code to override
	Scope     domain.Scope
	Uses      int
	ExpiresAt *time.Time // nil: never
	Reason    ReasonGiven
}

func (c *GrantException) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.choice("code", c.Code, domain.OverridableCodes()...)
	f.optionalChoice("scope.kind", c.Scope.Kind, domain.ScopeCustomer, domain.ScopeDevice, domain.ScopeTitle,
		domain.ScopeStudio, domain.ScopeLicense)
	switch c.Scope.Kind {
	case "":
		if c.Scope.ID != "" {
			f.add("scope.kind", "is missing, although scope.id is given")
		}
	case domain.ScopeCustomer:
		if c.Scope.ID != "" && c.Scope.ID != c.Customer {
			f.add("scope.id", "is another customer")
		}
	default:
		f.id("scope.id", c.Scope.ID)
	}
	f.between("uses", int64(c.Uses), 1, domain.MaxExceptionUses)
	if c.ExpiresAt != nil {
		f.moment("expires_at", *c.ExpiresAt)
	}
	f.reason("reason", c.Reason)
	return f.err()
}

// GrantException records the exception.
func (a *App) GrantException(ctx context.Context, c GrantException) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	reason, err := a.sealReason(ctx, c.Customer, c.Reason)
	if err != nil {
		return Result{}, err
	}
	ask := domain.ExceptionRequest{
		Code: c.Code, Scope: c.Scope, Uses: c.Uses, ExpiresAt: microseconds(c.ExpiresAt), Reason: reason.recorded,
	}
	return a.handle(ctx, request{
		name: "grant_exception", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("grant_exception").text(c.Customer).text(c.Code).text(c.Scope.Kind).text(c.Scope.ID).
			number(int64(c.Uses)).optionalTime(ask.ExpiresAt).reason(reason).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			var f form
			if f.endsInTime("expires_at", ask.ExpiresAt, m.Now); f.err() != nil {
				return domain.Verdict{}, f.err()
			}
			return books.GrantException(m, ask)
		},
	})
}
