package commandapi_test

import (
	"net/http"
	"testing"

	"carryon/domain"
)

func TestAProblemSaysWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	const reason = "neither an object with case, code, text nor one of the words lost_device, chargeback, fraud, studio, customer, other"
	const exception = `{"code":"YEARLY_TITLE_LIMIT","uses":1,"reason":"other"`
	for _, c := range []struct{ path, body, field, message string }{
		{"revoke-all", `{"reason":5}`, "body.reason", "is " + reason},
		{"revoke-all", `{"reason":[]}`, "body.reason", "is " + reason},
		{"revoke-all", `{"reason":null}`, "body.reason", "is null, " + reason},
		{"revoke-all", `{}`, "body.reason", "is missing"},
		{"revoke-all", `{"reason":{"code":7}}`, "body.reason.code", "is not a string"},
		{"revoke-all", `{"reason":{}}`, "body.reason.code", "is missing"},
		{"revoke-all", `{"reason":"whim"}`, "body.reason", "is none of lost_device, chargeback, fraud, studio, customer, other"},
		{"exceptions", exception + `,"scope":true}`, "body.scope", "is neither an object with id, kind nor a string (customer, or kind:id as in device:dev-1)"},
		{"exceptions", exception + `,"expires_at":"0001-01-01T00:00:00Z"}`, "body.expires_at", "is in the year 1; 1970 to 9999 are possible"},
		{"licenses", `{"title_id":"film-1","device_id":"dev-1","device_type":"ipad","size_bytes":1e99}`, "body.size_bytes", "is 1e99; a whole number is wanted, from 0 to 1099511627776"},
		{"licenses", `{"title_id":"film-1","device_id":"dev-1","device_type":"ipad","size_bytes":1099511627777}`, "body.size_bytes", "is more than 1099511627776"},
	} {
		a := w.send(domain.RoleOperator, "", "POST", "/v1/customers/c-1/"+c.path, c.body)
		p := a.Problem(t)
		if a.Status != http.StatusUnprocessableEntity || len(p.Errors) != 1 || p.Errors[0].Field != c.field || p.Errors[0].Message != c.message {
			t.Errorf("%s %s: status %d, %+v; want %s %s", c.path, c.body, a.Status, p.Errors, c.field, c.message)
		}
	}
	a := w.send(domain.RoleOperator, "", "PUT", "/v1/policies/default?effective_from=0001-01-01T00:00:00Z", `{}`)
	if p := a.Problem(t); !names(p, "query.effective_from") {
		t.Errorf("a policy from the year 1: status %d: %s", a.Status, a.Raw)
	}
}
