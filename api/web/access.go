package web

import (
	"slices"
	"strings"

	"carryon/domain"
)

// Who may do what: one row per route, and no route without a row. A device may only act for the customer in its token;
// for any other customer every route answers as for one that does not exist.
//
// support and operators give a reason for every act, and support's reads are recorded; so it asks explain, which is, and not
// evaluate. An analyst sees pseudonyms, commands nothing, and may resolve a pseudonym for a reason, which is recorded. An operator runs the system and may do what support may.
func access() []AccessRow {
	return []AccessRow{
		// Command API
		{"POST", "/v1/customers/{customer}/licenses", "device service operator"},
		{"POST", "/v1/customers/{customer}/licenses/evaluate", "device service operator"},
		{"POST", "/v1/customers/{customer}/licenses/{license}/renew", "device service operator"},
		{"POST", "/v1/customers/{customer}/licenses/{license}/release", "device service operator"},
		{"POST", "/v1/customers/{customer}/licenses/{license}/confirm-release", "device service operator"},
		{"POST", "/v1/customers/{customer}/licenses/{license}/revoke", "service support operator"},
		{"POST", "/v1/customers/{customer}/licenses/{license}/plays", "device service operator"},
		{"PUT", "/v1/customers/{customer}/devices/{device}", "device service operator"},
		{"DELETE", "/v1/customers/{customer}/devices/{device}", "device service support operator"},
		{"POST", "/v1/customers/{customer}/devices/{device}/block", "service support operator"},
		{"POST", "/v1/customers/{customer}/devices/{device}/unblock", "service support operator"},
		{"PUT", "/v1/customers/{customer}/plan", "service operator"},
		{"PUT", "/v1/customers/{customer}/membership", "service operator"},
		{"POST", "/v1/customers/{customer}/revoke-all", "service support operator"},
		{"POST", "/v1/customers/{customer}/exceptions", "support operator"},
		{"DELETE", "/v1/customers/{customer}/exceptions/{exception}", "support operator"},
		{"POST", "/v1/titles/{title}/withdraw", "service operator"},
		{"PUT", "/v1/policies/{policy}", "operator"},
		{"GET", "/v1/shadow", "operator"},
		{"GET", "/v1/keys", ""},

		// Query API
		{"GET", "/v1/lookup", "service support analyst operator"},
		{"GET", "/v1/customers/{customer}", "device service support operator"},
		{"GET", "/v1/customers/{customer}/devices", "device service support operator"},
		{"GET", "/v1/customers/{customer}/licenses", "device service support operator"},
		{"GET", "/v1/customers/{customer}/denials", "device service support operator"},
		{"GET", "/v1/customers/{customer}/exceptions", "device service support operator"},
		{"GET", "/v1/customers/{customer}/timeline", "device service support operator"},
		{"GET", "/v1/customers/{customer}/explain", "device service support operator"},
		{"GET", "/v1/customers/{customer}/state", "device service support operator"},
		{"GET", "/v1/customers/{customer}/accesses", "operator"},
		{"GET", "/v1/customers/{customer}/access-export", "service support operator"},
		{"GET", "/v1/decisions/{decision}", "device service support operator"},
		{"GET", "/v1/events/search", "service support analyst operator"},
		{"GET", "/v1/events/live", "support analyst operator"},
		{"GET", "/v1/analytics/{metric}", "service support analyst operator"},
		{"GET", "/v1/titles", "device service support analyst operator"},
		{"GET", "/v1/titles/{title}/timeline", "service support operator"},
		{"GET", "/v1/device-types", "device service support analyst operator"},
		{"GET", "/v1/policies/{policy}/versions/{version}", "service support analyst operator"},
		{"GET", "/v1/policies/{policy}/versions/{version}/diff", "service support analyst operator"},
		{"GET", "/v1/policies/{policy}/timeline", "service support operator"},
		{"GET", "/v1/policies/{policy}/diff", "service support analyst operator"},
		{"GET", "/v1/processes", "support analyst operator"},
		{"GET", "/v1/projections", "support analyst operator"},
		{"GET", "/v1/projections/{name}/parked", "operator"},
		{"POST", "/v1/projections/{name}/parked/{stream}/retry", "operator"},
		{"POST", "/v1/projections/{name}/parked/{stream}/drop", "operator"},
		{"POST", "/v1/projections/{name}/parked/retry", "operator"},
		{"POST", "/v1/projections/{name}/rebuild", "operator"},
		{"POST", "/v1/pseudonyms/{pseudonym}/resolve", "analyst operator"},
		{"GET", "/v1/exports/{table}", "support analyst operator"},
		{"GET", "/v1/exports/search", "support analyst operator"},
		{"GET", "/v1/exports/analytics/{metric}", "support analyst operator"},
	}
}

// AccessRow says who may use a route.
type AccessRow struct {
	Method, Path string
	Who          string // roles, apart by spaces; empty: everyone, without a token
}

// Roles are the roles that may use the route.
func (r AccessRow) Roles() []domain.Role {
	var roles []domain.Role
	for word := range strings.FieldsSeq(r.Who) {
		roles = append(roles, domain.Role(word))
	}
	return roles
}

// Public tells whether the route needs no token.
func (r AccessRow) Public() bool { return r.Who == "" }

// Access is the whole table.
func Access() []AccessRow { return access() }

func accessOf(method, path string) (AccessRow, bool) {
	rows := access()
	i := slices.IndexFunc(rows, func(r AccessRow) bool { return r.Method == method && r.Path == path })
	if i < 0 {
		return AccessRow{}, false
	}
	return rows[i], true
}

// admit tells whether someone may use a route for a customer. What belongs to another customer does not exist for a
// device, on any route, and looks the same whether it does or not: nothing else has been looked at before.
func (r AccessRow) admit(who Identity, customer string) *Problem {
	if who.Role == domain.RoleDevice && strings.Contains(r.Path, "{customer}") && customer != who.Customer {
		return notFound()
	}
	if !slices.Contains(r.Roles(), who.Role) {
		return New(Forbidden, "the role %s may not do this; allowed: %s", who.Role, strings.Join(strings.Fields(r.Who), ", "))
	}
	return nil
}

// notFound is the one answer for what does not exist and for what the caller may not know of.
func notFound() *Problem {
	return New(NotFound, "there is nothing here, or nothing that this token may see")
}
