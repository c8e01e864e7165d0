package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/domain"
)

// said is a log that can be read while it is written.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSpace(s.b.String()), "\n")
}

type nameInput struct {
	Customer web.ID `path:"customer"`
}

type nameOutput struct{ Body struct{ Name string } }

type planInput struct {
	Customer web.ID `path:"customer"`
	Key      string `header:"Idempotency-Key"`
	Body     struct {
		Plan string `json:"plan"`
	}
}

// gateway has the routes GET /v1/customers/{customer} and PUT …/plan, which are answered by answer.
func gateway(t testing.TB, o web.GatewayOptions, answer func(ctx context.Context, customer string) error) *web.Gateway {
	t.Helper()
	o.Tokens = web.NewTokens(tokenKeys, nil)
	g := web.NewGateway(o)
	api := web.NewAPI(g, "Test", "", "", []*huma.Tag{{Name: "t"}})
	web.Handle(api, web.Spec{ID: "get", Method: "GET", Path: "/v1/customers/{customer}", Tag: "t", Summary: "Get", Timeout: time.Minute},
		func(ctx context.Context, in *nameInput) (*nameOutput, error) {
			if err := answer(ctx, string(in.Customer)); err != nil {
				return nil, err
			}
			return &nameOutput{}, nil
		})
	web.Handle(api, web.Spec{ID: "put", Method: "PUT", Path: "/v1/customers/{customer}/plan", Tag: "t", Summary: "Put", Timeout: time.Minute},
		func(ctx context.Context, in *planInput) (*nameOutput, error) {
			return &nameOutput{}, answer(ctx, string(in.Customer))
		})
	if err := api.Err(); err != nil {
		t.Fatal(err)
	}
	return g
}

func ask(t testing.TB, g http.Handler, header ...string) *webtest.Answer {
	t.Helper()
	r := webtest.Request{Method: "GET", Path: "/v1/customers/c-4711", Token: tokenKeys.Token(t, domain.RoleOperator, ""), Header: map[string]string{}}
	for i := 0; i < len(header); i += 2 {
		r.Header[header[i]] = header[i+1]
	}
	return webtest.Do(t, g, r)
}

func TestARouteWithoutARowOrDeadlineIsNotMounted(t *testing.T) {
	t.Parallel()
	for what, spec := range map[string]web.Spec{
		"no row":      {ID: "x", Method: "GET", Path: "/v1/unheard-of", Timeout: time.Second},
		"no deadline": {ID: "x", Method: "GET", Path: "/v1/keys"},
	} {
		g := web.NewGateway(web.GatewayOptions{})
		api := web.NewAPI(g, "Test", "", "", nil)
		web.Handle(api, spec, func(context.Context, *struct{}) (*nameOutput, error) { return &nameOutput{}, nil })
		if api.Err() == nil {
			t.Errorf("%s: nobody complains", what)
		}
		if a := webtest.Do(t, g, webtest.Request{Method: "GET", Path: spec.Path}); a.Status != http.StatusNotFound {
			t.Errorf("%s: status %d", what, a.Status)
		}
	}
}

func TestAPanicIsAProblemAndTheProcessLivesOn(t *testing.T) {
	t.Parallel()
	log := &said{}
	g := gateway(t, web.GatewayOptions{Logger: slog.New(slog.NewTextHandler(log, nil))}, func(context.Context, string) error { panic("secret of c-4711") })
	for range 2 {
		a := ask(t, g, "X-Request-Id", "req-9")
		if p := a.Problem(t); a.Status != http.StatusInternalServerError || p.Code != "INTERNAL" || bytes.Contains(a.Raw, []byte("secret")) {
			t.Errorf("status %d: %s", a.Status, a.Raw)
		}
	}
	lines := log.lines()
	if len(lines) != 2 || !strings.Contains(lines[0], "secret of […]") || !strings.Contains(lines[0], "req-9") || !strings.Contains(lines[0], "level=ERROR") {
		t.Errorf("the log says %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}

type unwritableOutput struct {
	ETag string `header:"ETag"`
	Body struct{ Value any }
}

func TestAnAnswerThatCantBeWrittenIsAProblemAndNotHalfAnAnswer(t *testing.T) {
	t.Parallel()
	for what, value := range map[string]any{
		"a number that is none": math.NaN(), "what fails half-way": []any{strings.Repeat("x", 1<<16), func() {}},
		"a time that can't be written": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		log := &said{}
		g := web.NewGateway(web.GatewayOptions{Tokens: web.NewTokens(tokenKeys, nil), Logger: slog.New(slog.NewTextHandler(log, nil))})
		api := web.NewAPI(g, "Test", "", "", nil)
		web.Handle(api, web.Spec{ID: "get", Method: "GET", Path: "/v1/customers/{customer}", Timeout: time.Minute},
			func(context.Context, *nameInput) (*unwritableOutput, error) {
				out := &unwritableOutput{ETag: `"1"`}
				out.Body.Value = value
				return out, nil
			})
		if err := api.Err(); err != nil {
			t.Fatal(err)
		}
		a := ask(t, g, "X-Request-Id", "req-9")
		if p := a.Problem(t); a.Status != http.StatusInternalServerError || p.Code != "INTERNAL" || p.Instance != "urn:carryon:request:req-9" || a.Header.Get("ETag") != "" {
			t.Errorf("%s: status %d, %v: %s", what, a.Status, a.Header, a.Raw)
		}
		if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "writing the answer") || !strings.Contains(lines[0], "route=/v1/customers/{customer}") {
			t.Errorf("%s: the log says %q", what, lines)
		}
	}
}

// One line for each failure, with the route's pattern and without ids, queries, tokens or bodies.
func TestAFailureIsOneLineInTheLogWithoutPersonalData(t *testing.T) {
	t.Parallel()
	log := &said{}
	g := gateway(t, web.GatewayOptions{Logger: slog.New(slog.NewTextHandler(log, nil))}, func(_ context.Context, customer string) error {
		return fmt.Errorf("reading the books of customer %s: %w", customer, errors.New("disk on fire"))
	})
	a := ask(t, g, "X-Request-Id", "req-9")
	a.Problem(t)
	lines := log.lines()
	if len(lines) != 1 {
		t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, want := range []string{"route=/v1/customers/{customer}", "status=500", "request_id=req-9", "role=operator", "problem=INTERNAL", "disk on fire"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("%q is not in the line: %s", want, lines[0])
		}
	}
	for _, never := range []string{"c-4711", "Bearer", "some-operator"} {
		if strings.Contains(lines[0], never) {
			t.Errorf("%q is in the line: %s", never, lines[0])
		}
	}
}

func TestACallerWhoHasGoneIsNoErrorInTheLog(t *testing.T) {
	t.Parallel()
	log := &said{}
	ctx, cancel := context.WithCancel(t.Context())
	g := gateway(t, web.GatewayOptions{Logger: slog.New(slog.NewTextHandler(log, nil))}, func(ctx context.Context, _ string) error {
		cancel()
		return ctx.Err()
	})
	r := webtest.Request{Method: "GET", Path: "/v1/customers/c-1", Token: tokenKeys.Token(t, domain.RoleOperator, "")}.HTTP(t)
	webtest.Serve(t, g, r.WithContext(ctx))
	if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "level=INFO") || !strings.Contains(lines[0], "caller_gone=true") {
		t.Errorf("the log says %q", lines)
	}
}

func TestMoreRequestsThanAllowedAtOnceAreTurnedAwayAtOnce(t *testing.T) {
	t.Parallel()
	inside, leave := make(chan struct{}), make(chan struct{})
	registry := prometheus.NewRegistry()
	g := gateway(t, web.GatewayOptions{MaxInFlight: 2, Registerer: registry, Gatherer: registry}, func(context.Context, string) error {
		inside <- struct{}{}
		<-leave
		return nil
	})
	var waiting sync.WaitGroup
	for range 2 {
		waiting.Go(func() {
			if a := ask(t, g); a.Status != http.StatusOK {
				t.Errorf("status %d", a.Status)
			}
		})
		<-inside
	}
	a := ask(t, g)
	if p := a.Problem(t); a.Status != http.StatusServiceUnavailable || p.Code != "OVERLOADED" || a.Header.Get("Retry-After") != "1" {
		t.Errorf("status %d, Retry-After %q: %s", a.Status, a.Header.Get("Retry-After"), a.Raw)
	}
	for _, path := range []string{"/livez", "/metrics"} {
		if a := webtest.Do(t, g, webtest.Request{Method: "GET", Path: path}); a.Status != http.StatusOK {
			t.Errorf("%s: status %d while requests are turned away", path, a.Status)
		}
	}
	close(leave)
	waiting.Wait()
	for range 3 { // the places are free again
		waiting.Go(func() {
			if a := ask(t, g); a.Status != http.StatusOK {
				t.Errorf("afterwards: status %d", a.Status)
			}
		})
		<-inside
		waiting.Wait()
	}
	if got := inFlight(t, registry); got != 0 {
		t.Errorf("%v requests are in flight after all are answered", got)
	}
}

func inFlight(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "carryon_http_in_flight" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no carryon_http_in_flight")
	return 0
}

func TestEveryAnswerHasAnIdAndSecurityHeadersAndNoCORS(t *testing.T) {
	t.Parallel()
	g := gateway(t, web.GatewayOptions{}, func(context.Context, string) error { return nil })
	refusing := gateway(t, web.GatewayOptions{}, func(context.Context, string) error { return domain.ErrNotFound })
	for what, a := range map[string]*webtest.Answer{
		"refused":   ask(t, refusing),
		"good":      ask(t, g, "Origin", "https://elsewhere.example"),
		"not found": webtest.Do(t, g, webtest.Request{Method: "GET", Path: "/nowhere"}),
		"health":    webtest.Do(t, g, webtest.Request{Method: "GET", Path: "/livez"}),
		"no token":  webtest.Do(t, g, webtest.Request{Method: "GET", Path: "/v1/customers/c-1"}),
	} {
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Access-Control-Allow-Origin": ""} {
			if got := strings.Join(a.Header.Values(name), " and "); got != want {
				t.Errorf("%s: %s is %q, want %q", what, name, got, want)
			}
		}
		if a.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no X-Request-Id", what)
		}
	}
}

func TestARequestIdThatCantStandInALogIsReplaced(t *testing.T) {
	t.Parallel()
	g := gateway(t, web.GatewayOptions{}, func(context.Context, string) error { return nil })
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, c := range []struct {
		id, parent string
		want       string // empty: a new one
	}{
		{"req-1", "", "req-1"}, {"a b", "", ""}, {"a\tb", "", ""}, {"ada.lovelace@example.com", "", ""}, {"a:b", "", ""}, {"~ada", "", ""}, {strings.Repeat("a", 129), "", ""}, {`"x"`, "", ""},
		{"", parent, "4bf92f3577b34da6a3ce929d0e0e4736"}, {"a b", parent, "4bf92f3577b34da6a3ce929d0e0e4736"},
		{"", strings.ToUpper(parent), ""}, {"", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", ""},
		{"", parent + "-more", ""}, {"", "01" + parent[2:] + "-more", "4bf92f3577b34da6a3ce929d0e0e4736"}, {"", "ff" + parent[2:], ""}, {"", "nonsense", ""},
	} {
		got := ask(t, g, "X-Request-Id", c.id, "Traceparent", c.parent).Header.Get("X-Request-Id")
		if c.want != "" && got != c.want || c.want == "" && len(got) != 36 {
			t.Errorf("id %q, parent %q: answered with %q, want %q", c.id, c.parent, got, c.want)
		}
	}
}

func TestAPathTakesTheMethodsItTakesAndSaysWhich(t *testing.T) {
	t.Parallel()
	g := gateway(t, web.GatewayOptions{}, func(context.Context, string) error { return nil })
	a := webtest.Do(t, g, webtest.Request{Method: "POST", Path: "/v1/customers/c-1", Token: tokenKeys.Token(t, domain.RoleOperator, "")})
	if p := a.Problem(t); a.Status != http.StatusMethodNotAllowed || p.Code != "METHOD_NOT_ALLOWED" || a.Header.Get("Allow") != "GET" {
		t.Errorf("status %d, Allow %q: %s", a.Status, a.Header.Get("Allow"), a.Raw)
	}
	head := webtest.Do(t, g, webtest.Request{Method: "HEAD", Path: "/v1/customers/c-1", Token: tokenKeys.Token(t, domain.RoleOperator, "")})
	if head.Status != http.StatusOK {
		t.Errorf("HEAD: status %d", head.Status)
	}
}

func TestPercentSignsInAPathMeanTheSameToTheTokenCheckAndTheHandler(t *testing.T) {
	t.Parallel()
	var asked string
	g := gateway(t, web.GatewayOptions{}, func(_ context.Context, customer string) error { asked = customer; return nil })
	do := func(customer, path string) int {
		return webtest.Do(t, g, webtest.Request{Method: "GET", Path: path, Token: tokenKeys.Token(t, domain.RoleDevice, customer)}).Status
	}
	if status := do("c@1", "/v1/customers/c%401"); status != http.StatusOK || asked != "c@1" {
		t.Errorf("status %d, the handler was asked for %q", status, asked)
	}
	asked = ""
	for _, path := range []string{"/v1/customers/c%2531", "/v1/customers/c-1%2Fc-2", "/v1/customers/c-1%00", "/v1/customers/c-1%20", "/v1/customers/%63-2"} {
		if status := do("c-1", path); status != http.StatusNotFound || asked != "" {
			t.Errorf("%s: status %d, the handler was asked for %q", path, status, asked)
		}
	}
}

func TestAHeaderThatIsGivenTwiceIsRefused(t *testing.T) {
	t.Parallel()
	g := gateway(t, web.GatewayOptions{}, func(context.Context, string) error { return nil })
	r := webtest.Request{Method: "PUT", Path: "/v1/customers/c-1/plan", Token: tokenKeys.Token(t, domain.RoleOperator, ""), Body: map[string]string{"plan": "x"}}.HTTP(t)
	r.Header["Idempotency-Key"] = []string{"a", "b"}
	a := webtest.Serve(t, g, r)
	if p := a.Problem(t); a.Status != http.StatusBadRequest || p.Errors[0].Field != "header.Idempotency-Key" {
		t.Errorf("status %d: %s", a.Status, a.Raw)
	}
	r = webtest.Request{Method: "GET", Path: "/v1/customers/c-1"}.HTTP(t)
	r.Header["Authorization"] = []string{"Bearer " + tokenKeys.Token(t, domain.RoleOperator, ""), "Bearer x"}
	if a := webtest.Serve(t, g, r); a.Status != http.StatusUnauthorized {
		t.Errorf("two tokens: status %d: %s", a.Status, a.Raw)
	}
}
