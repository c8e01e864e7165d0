package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/domain"
)

// BenchmarkAcquire is what HTTP costs around a command: everything but the command itself and the network.
func BenchmarkAcquire(b *testing.B) {
	both := newBoth(b, web.GatewayOptions{})
	r := webtest.Request{
		Method: "POST", Path: "/v1/customers/c-42/licenses", Token: both.keys.Token(b, domain.RoleDevice, "c-42"),
		Header: map[string]string{"Idempotency-Key": "0198c0de-7a11-7000-8000-000000000000"},
	}
	const body = `{"title_id":"t00042","device_id":"dev-1","device_type":"ipad","country":"DE","trigger":"user","quality":"high","size_bytes":734003200}`
	b.ReportAllocs()
	for b.Loop() {
		request := r.HTTP(b)
		request.Header.Set("Content-Type", "application/json")
		request.Body = httptest.NewRequest("POST", "/", strings.NewReader(body)).Body
		request.ContentLength = int64(len(body))
		w := httptest.NewRecorder()
		if both.gateway.ServeHTTP(w, request); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
