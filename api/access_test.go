package api_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/domain"
)

// The routes that both APIs have besides health, metrics and documents: the list of §8 of the design, and those added.
func TestEveryRouteHasARowInTheAccessTableAndEveryRowARoute(t *testing.T) {
	t.Parallel()
	b := newBoth(t, web.GatewayOptions{})
	open := []string{"GET /livez", "GET /readyz", "GET /openapi/command.json", "GET /openapi/command.yaml", "GET /openapi/query.json", "GET /openapi/query.yaml"}
	rows := map[string]bool{}
	for _, row := range web.Access() {
		key := row.Method + " " + row.Path
		if rows[key] {
			t.Errorf("%s has two rows", key)
		}
		rows[key] = true
	}
	routed := map[string]bool{}
	err := b.gateway.Routes(func(method, pattern string) {
		key := method + " " + pattern
		if routed[key] {
			t.Errorf("%s is routed twice", key)
		}
		routed[key] = true
		if !rows[key] && !slices.Contains(open, key) {
			t.Errorf("%s has no row", key)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range rows {
		if !routed[key] {
			t.Errorf("%s has a row but no route", key)
		}
	}
}

// designRoutes are fixed: clients are written against them.
const designRoutes = `
	POST /v1/customers/{customer}/licenses
	POST /v1/customers/{customer}/licenses/evaluate
	POST /v1/customers/{customer}/licenses/{license}/renew
	POST /v1/customers/{customer}/licenses/{license}/release
	POST /v1/customers/{customer}/licenses/{license}/confirm-release
	POST /v1/customers/{customer}/licenses/{license}/revoke
	POST /v1/customers/{customer}/licenses/{license}/plays
	PUT /v1/customers/{customer}/devices/{device}
	DELETE /v1/customers/{customer}/devices/{device}
	POST /v1/customers/{customer}/devices/{device}/block
	POST /v1/customers/{customer}/devices/{device}/unblock
	PUT /v1/customers/{customer}/plan
	PUT /v1/customers/{customer}/membership
	POST /v1/customers/{customer}/revoke-all
	POST /v1/customers/{customer}/exceptions
	DELETE /v1/customers/{customer}/exceptions/{exception}
	POST /v1/titles/{title}/withdraw
	PUT /v1/policies/{policy}
	GET /v1/keys
	GET /v1/lookup
	GET /v1/customers/{customer}
	GET /v1/customers/{customer}/devices
	GET /v1/customers/{customer}/licenses
	GET /v1/customers/{customer}/denials
	GET /v1/customers/{customer}/exceptions
	GET /v1/customers/{customer}/timeline
	GET /v1/customers/{customer}/explain
	GET /v1/decisions/{decision}
	GET /v1/customers/{customer}/state
	GET /v1/events/search
	GET /v1/analytics/{metric}
	GET /v1/titles
	GET /v1/device-types
	GET /v1/policies/{policy}/versions/{version}
	GET /v1/policies/{policy}/versions/{version}/diff
	GET /v1/projections
	GET /v1/projections/{name}/parked
	POST /v1/projections/{name}/parked/retry
	POST /v1/projections/{name}/parked/{stream}/drop
	POST /v1/projections/{name}/parked/{stream}/retry
	POST /v1/projections/{name}/rebuild
	GET /v1/processes
	GET /v1/exports/{table}
	GET /v1/exports/search
	GET /v1/exports/analytics/{metric}
`

func TestEveryRouteOfTheDesignIsThere(t *testing.T) {
	t.Parallel()
	b := newBoth(t, web.GatewayOptions{})
	routed := map[string]bool{}
	if err := b.gateway.Routes(func(method, pattern string) { routed[method+" "+pattern] = true }); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(designRoutes)
	for i := 0; i+1 < len(fields); i += 2 {
		if key := fields[i] + " " + fields[i+1]; !routed[key] {
			t.Errorf("%s is not routed", key)
		}
	}
}

var roles = []domain.Role{domain.RoleDevice, domain.RoleService, domain.RoleSupport, domain.RoleAnalyst, domain.RoleOperator}

// operations are good requests for every route of both APIs.
func operations(t testing.TB, b *both) map[*webtest.Operation]*webtest.Document {
	t.Helper()
	all := map[*webtest.Operation]*webtest.Document{}
	for _, api := range []*web.API{b.commands, b.queries} {
		raw, err := api.Document("json")
		if err != nil {
			t.Fatal(err)
		}
		d := webtest.Read(t, raw)
		for _, op := range d.Operations() {
			all[op] = d
		}
	}
	return all
}

func row(t testing.TB, op *webtest.Operation) web.AccessRow {
	t.Helper()
	rows := web.Access()
	i := slices.IndexFunc(rows, func(r web.AccessRow) bool { return r.Method == op.Method && r.Path == op.Path })
	if i < 0 {
		t.Fatalf("%s %s has no row", op.Method, op.Path)
	}
	return rows[i]
}

func TestEachRoleMayDoWhatItsRowSaysAndNothingElse(t *testing.T) {
	t.Parallel()
	b := newBoth(t, web.GatewayOptions{})
	for op, d := range operations(t, b) {
		row := row(t, op)
		for _, role := range roles {
			r := op.Good(d)
			customer := ""
			if role == domain.RoleDevice {
				customer = "c-42" // the one in the examples
			}
			r.Token = b.keys.Token(t, role, customer)
			before := b.asked.Load()
			a := b.do(t, r)
			asked := b.asked.Load() - before
			if slices.Contains(row.Roles(), role) || row.Public() {
				if a.Status != http.StatusOK || asked != 1 {
					t.Errorf("%s as %s: status %d, asked %d times: %.300s", op.OperationID, role, a.Status, asked, a.Raw)
				}
				continue
			}
			if p := a.Problem(t); a.Status != http.StatusForbidden || p.Code != "FORBIDDEN" || asked != 0 {
				t.Errorf("%s as %s: status %d, asked %d times, want a FORBIDDEN: %.300s", op.OperationID, role, a.Status, asked, a.Raw)
			}
		}
	}
}

func TestWithoutAValidTokenThereIsNothing(t *testing.T) {
	t.Parallel()
	b := newBoth(t, web.GatewayOptions{})
	stranger := webtest.NewKeys("another key")
	for op, d := range operations(t, b) {
		if row(t, op).Public() {
			continue
		}
		for what, token := range map[string]string{
			"no token": "", "nonsense": "nonsense", "signed with another key": stranger.Token(t, domain.RoleOperator, ""),
		} {
			r := op.Good(d)
			r.Token = token
			before := b.asked.Load()
			a := b.do(t, r)
			if p := a.Problem(t); a.Status != http.StatusUnauthorized || p.Code != "UNAUTHENTICATED" || b.asked.Load() != before {
				t.Errorf("%s with %s: status %d: %.200s", op.OperationID, what, a.Status, a.Raw)
			}
			if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s with %s: WWW-Authenticate is %q", op.OperationID, what, a.Header.Get("WWW-Authenticate"))
			}
		}
	}
}

// A device of c-1 asks for things of c-42, on every route, in good and bad form. Every answer is the same.
func TestADeviceLearnsNothingOfAnotherCustomer(t *testing.T) {
	t.Parallel()
	b := newBoth(t, web.GatewayOptions{})
	token := b.keys.Token(t, domain.RoleDevice, "c-1")
	var first []byte
	tried := 0
	for op, d := range operations(t, b) {
		if !strings.Contains(op.Path, "{customer}") {
			continue
		}
		good := op.Good(d)
		bad := good
		bad.Body = "{"
		if strings.Contains(bad.Path, "?") {
			bad.Path += "&nonsense=%ff"
		} else {
			bad.Path += "?nonsense=%ff"
		}
		for _, r := range []webtest.Request{good, bad} {
			r.Token = token
			r.Header["X-Request-Id"] = "same"
			a := b.do(t, r)
			if first == nil {
				first = a.Raw
			}
			if p := a.Problem(t); a.Status != http.StatusNotFound || p.Code != "NOT_FOUND" || !bytes.Equal(a.Raw, first) {
				t.Errorf("%s: status %d: %s\nelsewhere: %s", op.OperationID, a.Status, a.Raw, first)
			}
			tried++
		}
	}
	if b.asked.Load() != 0 {
		t.Errorf("somebody was asked %d times", b.asked.Load())
	}
	if tried < 50 {
		t.Errorf("only %d requests were tried", tried)
	}
}
