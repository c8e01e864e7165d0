package domain

import (
	"fmt"
	"strings"
	"time"
)

// ExceptionRequest is what support allows beyond the limits.
type ExceptionRequest struct {
	Code      string // that it lifts; one of OverridableCodes
	Scope     Scope  // empty: the whole customer
	Uses      int    // how often, 1 to 1000
	ExpiresAt *time.Time
	Reason    Reason
}

// MaxExceptionUses is how often one exception can be used at most.
const MaxExceptionUses = 1000

// GrantException allows what a limit would refuse, a number of times, until a moment.
func (c *Customer) GrantException(m Moment, r ExceptionRequest) (Verdict, error) {
	if err := c.checkException(m, r); err != nil {
		return Verdict{}, err
	}
	open := 0
	for _, x := range c.exceptions {
		if x.open(instantOf(m.Now)) {
			open++
		}
	}
	if open >= maxExceptions {
		return Verdict{}, fmt.Errorf("customer %s has %d open exceptions, as many as can be: %w", c.id, open, ErrConflict)
	}
	return c.record(m, nil, NewEvent{Payload: &ExceptionGranted{
		ExceptionID: ExceptionID(m.CommandID), Code: r.Code, Scope: r.Scope, Uses: r.Uses, ExpiresAt: r.ExpiresAt, Reason: r.Reason,
	}}), nil
}

func (c *Customer) checkException(m Moment, r ExceptionRequest) error {
	if !overridable(r.Code) {
		return &FieldError{Field: "code", Problem: "can't be lifted by an exception; " + strings.Join(OverridableCodes(), ", ") + " can"}
	}
	switch r.Scope.Kind {
	case "":
		if r.Scope.ID != "" {
			return &FieldError{Field: "scope.kind", Problem: "is missing"}
		}
	case ScopeCustomer:
		if r.Scope.ID != "" && r.Scope.ID != c.id {
			return &FieldError{Field: "scope.id", Problem: "is another customer"}
		}
	case ScopeDevice, ScopeTitle, ScopeStudio, ScopeLicense:
		if err := CheckID("scope.id", r.Scope.ID); err != nil {
			return err
		}
	default:
		return &FieldError{Field: "scope.kind", Problem: "is none of customer, device, title, studio, license"}
	}
	if r.Uses < 1 || r.Uses > MaxExceptionUses {
		return &FieldError{Field: "uses", Problem: fmt.Sprintf("is %d; 1 to %d are allowed", r.Uses, MaxExceptionUses)}
	}
	if r.ExpiresAt != nil && !r.ExpiresAt.After(m.Now) {
		return &FieldError{Field: "expires_at", Problem: "has passed"}
	}
	return checkReason(r.Reason)
}

// WithdrawException ends an exception before its time. One that has ended stays as it is.
func (c *Customer) WithdrawException(m Moment, exceptionID string, reason Reason) (Verdict, error) {
	if err := CheckID("exception_id", exceptionID); err != nil {
		return Verdict{}, err
	}
	if err := checkReason(reason); err != nil {
		return Verdict{}, err
	}
	i := c.exceptionAt(exceptionID)
	if i < 0 || c.exceptions[i].rememberedUntil() <= instantOf(m.Now) {
		return Verdict{}, fmt.Errorf("exception %s of customer %s: %w", exceptionID, c.id, ErrNotFound)
	}
	if !c.exceptions[i].open(instantOf(m.Now)) {
		return Verdict{}, nil
	}
	return c.record(m, nil, NewEvent{Payload: &ExceptionWithdrawn{ExceptionID: exceptionID, Reason: reason}}), nil
}
