package domain

import (
	"fmt"
	"slices"
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
		if err := c.checkScope(m, r.Code, r.Scope); err != nil {
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

// ExceptionScopes are the kinds of scope that an exception for a code may have: of what a refusal with that code can be
// about. A slot is no title's, and a download that is not there yet has no licence.
func ExceptionScopes(code string) []string {
	switch code {
	case CodeDeviceLimitReached, CodeDeviceReplacementLimit:
		return []string{ScopeCustomer, ScopeDevice}
	case CodeMonthlyDownloadLimit:
		return []string{ScopeCustomer, ScopeDevice, ScopeTitle, ScopeStudio}
	}
	return []string{ScopeCustomer, ScopeDevice, ScopeTitle, ScopeStudio, ScopeLicense}
}

// checkScope refuses a scope that nothing would ever fall into: somebody has mistyped it, and would tell the customer that
// it is settled.
func (c *Customer) checkScope(m Moment, code string, scope Scope) error {
	if kinds := ExceptionScopes(code); !slices.Contains(kinds, scope.Kind) {
		return &FieldError{Field: "scope.kind", Problem: "is " + scope.Kind + ", which " + code + " is never about; possible are " + strings.Join(kinds, ", ")}
	}
	if err := CheckID("scope.id", scope.ID); err != nil {
		return err
	}
	switch scope.Kind {
	case ScopeStudio:
		if !m.Reference.Studio(scope.ID) {
			return &FieldError{Field: "scope.id", Problem: "is no studio of the catalogue: GET /v1/titles tells the studio of each title"}
		}
	case ScopeTitle:
		if t, known := m.Reference.Title(scope.ID); !known || !t.Playable() {
			return &FieldError{Field: "scope.id", Problem: "is no movie or episode of the catalogue: find it with GET /v1/titles"}
		}
	case ScopeLicense:
		if _, err := c.findLicense(m, scope.ID); err != nil {
			return &FieldError{Field: "scope.id", Problem: "is no licence of this customer: see GET /v1/customers/{customer}/licenses"}
		}
	case ScopeDevice:
		if code == CodeDeviceLimitReached || code == CodeDeviceReplacementLimit {
			return nil // it is for a device that has no slot yet
		}
		if _, err := c.findDevice(m, scope.ID); err != nil {
			return &FieldError{Field: "scope.id", Problem: "is no device of this customer: see GET /v1/customers/{customer}/devices"}
		}
	}
	return nil
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
