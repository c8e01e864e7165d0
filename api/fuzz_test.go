package api_test

import (
	"net/http"
	"testing"
	"unicode/utf8"

	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/domain"
)

// Whatever comes in, it is either understood or a problem of the caller's, and never one of ours.
func FuzzAcquire(f *testing.F) {
	f.Add([]byte(`{"title_id":"t00042","device_id":"dev-1","device_type":"ipad"}`), "0198c0de-7a11-7000-8000-000000000000", `"12"`, "application/json")
	f.Add([]byte(`{"title_id":"t","device_id":"d","device_type":"x","size_bytes":1e3}`), "", "*", "application/json; charset=utf-8")
	f.Add([]byte(`{"title_id":1,"Title_ID":"t"}`), "x", "W/\"1\"", "text/plain")
	b := newBoth(f, web.GatewayOptions{})
	token := b.keys.Token(f, domain.RoleDevice, "c-42")
	f.Fuzz(func(t *testing.T, body []byte, key, ifMatch, contentType string) {
		before := b.asked.Load()
		a := b.do(t, webtest.Request{Method: "POST", Path: "/v1/customers/c-42/licenses", Token: token, Body: body,
			Header: map[string]string{"Idempotency-Key": key, "If-Match": ifMatch, "Content-Type": contentType}})
		asked := b.asked.Load() - before
		switch {
		case a.Status == http.StatusOK && asked == 1 && utf8.Valid(body):
		case a.Status >= 400 && a.Status < 500 && asked == 0:
			if p := a.Problem(t); len(p.Errors) == 0 {
				t.Fatalf("%q: no part is named: %s", body, a.Raw)
			}
		default:
			t.Fatalf("%q: status %d, asked %d times: %s", body, a.Status, asked, a.Raw)
		}
	})
}

// A query string is understood or names what is wrong with it.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"q=a&type=A,B&limit=5", "limit=0x10", "from=2026-01-01T00:00:00Z&to=x", "a;b", "%", "type=&type=", "series=%00", "min_position=1:1", "policy_version=1,2,x"} {
		f.Add(seed)
	}
	b := newBoth(f, web.GatewayOptions{})
	token := b.keys.Token(f, domain.RoleAnalyst, "")
	f.Fuzz(func(t *testing.T, query string) {
		r := webtest.Request{Method: "GET", Path: "/v1/events/search", Token: token}.HTTP(t)
		r.URL.RawQuery = query
		a := webtest.Serve(t, b.gateway, r)
		if a.Status >= 500 {
			t.Fatalf("%q: status %d: %s", query, a.Status, a.Raw)
		}
		if a.Status != http.StatusOK {
			if p := a.Problem(t); len(p.Errors) == 0 {
				t.Fatalf("%q: nothing is named: %s", query, a.Raw)
			}
		}
	})
}
