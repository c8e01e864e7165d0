package domain

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestAnExceptionThatNothingWouldFallIntoIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.movie("film", "aurora")
	w.titles["tide"] = Title{ID: "tide", Kind: KindSeries, Studio: "aurora"}
	w.plan(t, "standard", "DE")
	license := w.granted(t, "phone", "film")
	const scopeID, scopeKind = "scope.id", "scope.kind"
	for _, c := range []struct{ code, kind, id, field, says string }{
		{CodeDeviceLimitReached, ScopeTitle, "film", scopeKind, "is title, which DEVICE_LIMIT_REACHED is never about; possible are customer, device"},
		{CodeDeviceReplacementLimit, ScopeStudio, "aurora", scopeKind, "possible are customer, device"},
		{CodeDeviceLimitReached, ScopeLicense, license, scopeKind, "possible are customer, device"},
		{CodeMonthlyDownloadLimit, ScopeLicense, license, scopeKind, "possible are customer, device, title, studio"},
		{CodeDeviceLimitReached, ScopeDevice, "new-phone", "", ""},
		{CodeMonthlyDownloadLimit, ScopeDevice, "new-phone", scopeID, "is no device of this customer"},
		{CodeMonthlyDownloadLimit, ScopeDevice, "phone", "", ""},
		{CodeYearlyTitleLimit, ScopeTitle, "nope", scopeID, "is no movie or episode of the catalogue"},
		{CodeYearlyTitleLimit, ScopeTitle, "tide", scopeID, "is no movie or episode of the catalogue"},
		{CodeYearlyTitleLimit, ScopeTitle, "film", "", ""},
		{CodeStudioLimitReached, ScopeStudio, "nope", scopeID, "is no studio of the catalogue"},
		{CodeStudioLimitReached, ScopeStudio, "aurora", "", ""},
		{CodeRenewalTooSoon, ScopeLicense, "lic_nope", scopeID, "is no licence of this customer"},
		{CodeRenewalTooSoon, ScopeLicense, license, "", ""},
		{CodeRenewalTooSoon, ScopeCustomer, "", "", ""},
		{CodeRenewalTooSoon, "", "", "", ""},
	} {
		v, err := w.books.GrantException(w.moment(), ExceptionRequest{Code: c.code, Scope: Scope{Kind: c.kind, ID: c.id}, Uses: 1, Reason: someReason})
		wrong, _ := errors.AsType[*FieldError](err)
		switch {
		case c.field == "" && (err != nil || len(v.Events) != 1):
			t.Errorf("%s for %s %s: %d events, %v", c.code, c.kind, c.id, len(v.Events), err)
		case c.field != "" && (wrong == nil || wrong.Field != c.field || !strings.Contains(wrong.Problem, c.says)):
			t.Errorf("%s for %s %s: %v, want %s %s", c.code, c.kind, c.id, err, c.field, c.says)
		}
	}
}

func TestEveryExceptionHasAScope(t *testing.T) {
	t.Parallel()
	for _, code := range OverridableCodes() {
		if !slices.Contains(ExceptionScopes(code), ScopeCustomer) {
			t.Errorf("%s: %v", code, ExceptionScopes(code))
		}
	}
}
