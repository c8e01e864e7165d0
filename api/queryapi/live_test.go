package queryapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"carryon/api/queryapi"
	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/domain"
	"carryon/query"
)

func TestALiveStreamIsToldAsServerSentEvents(t *testing.T) {
	t.Parallel()
	var q query.Live
	run := query.LiveRun(func(_ context.Context, send func(query.LiveItem) error) error {
		for _, item := range []query.LiveItem{
			{Kind: query.LiveBeat, ID: "a"}, {Kind: query.LiveEvent, ID: "b", Data: []byte(`{"type":"X"}`)}, {Kind: query.LiveNotice, ID: "b", Data: []byte(`{"code":"CLOSING"}`)},
		} {
			if err := send(item); err != nil {
				return err
			}
		}
		return nil
	})
	h, _ := mount(t, queryapi.Questions{Live: ask(&q, run)}, queryapi.Options{})
	a := webtest.Do(t, h, webtest.Request{
		Method: "GET", Path: "/v1/events/live?filter=type+%3D%3D+%22X%22&fields=type,code", Token: keys.Token(t, domain.RoleAnalyst, ""),
		Header: map[string]string{"Last-Event-ID": "earlier", "X-Request-Id": "req-1"},
	})
	const want = "id: a\n:\n\nid: b\nevent: event\ndata: {\"type\":\"X\"}\n\nid: b\nevent: notice\ndata: {\"code\":\"CLOSING\"}\n\n"
	if a.Status != http.StatusOK || string(a.Raw) != want || a.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Errorf("status %d, %s, %q", a.Status, a.Header.Get("Content-Type"), a.Raw)
	}
	if asked := (query.Live{By: by(domain.RoleAnalyst), Filter: `type == "X"`, Fields: []string{"type", "code"}, After: "earlier"}); !reflect.DeepEqual(q, asked) {
		t.Errorf("asked %+v, want %+v", q, asked)
	}
}

func TestAHeadOfAStreamIsItsHeadersOnly(t *testing.T) {
	t.Parallel()
	var live query.Live
	var export query.Export
	run := query.LiveRun(func(context.Context, func(query.LiveItem) error) error {
		t.Error("the stream was told")
		return nil
	})
	rows := func(func(query.Row, error) bool) { t.Error("the table was read") }
	h, _ := mount(t, queryapi.Questions{Live: ask(&live, run), Export: ask(&export, query.Exported{Columns: []string{"a"}, Rows: rows})}, queryapi.Options{})
	for _, path := range []string{"/v1/events/live", "/v1/exports/denials"} {
		a := webtest.Do(t, h, webtest.Request{Method: "HEAD", Path: path, Token: keys.Token(t, domain.RoleOperator, "")})
		if a.Status != http.StatusOK || len(a.Raw) != 0 || a.Header.Get("Content-Type") == "" {
			t.Errorf("HEAD %s: status %d, %q, %q", path, a.Status, a.Header.Get("Content-Type"), a.Raw)
		}
	}
}

func TestAStreamThatCannotBeginSaysSoInTheStream(t *testing.T) {
	t.Parallel()
	var q query.Live
	run := query.LiveRun(func(context.Context, func(query.LiveItem) error) error {
		return fmt.Errorf("the log is away: %w", query.ErrUnavailable)
	})
	h, _ := mount(t, queryapi.Questions{Live: ask(&q, run)}, queryapi.Options{})
	a := webtest.Do(t, h, webtest.Request{Method: "GET", Path: "/v1/events/live", Token: keys.Token(t, domain.RoleSupport, "")})
	if want := "event: notice\ndata: {\"code\":\"UNAVAILABLE\","; a.Status != http.StatusOK || len(a.Raw) < len(want) || string(a.Raw[:len(want)]) != want {
		t.Errorf("status %d, %q", a.Status, a.Raw)
	}
}

func TestStreamsTakeNoneOfThePlacesOfRequests(t *testing.T) {
	t.Parallel()
	began, end := make(chan struct{}), make(chan struct{})
	var q query.Live
	run := query.LiveRun(func(ctx context.Context, send func(query.LiveItem) error) error {
		if err := send(query.LiveItem{Kind: query.LiveBeat, ID: "a"}); err != nil {
			return err
		}
		began <- struct{}{}
		<-end
		return nil
	})
	g := web.NewGateway(web.GatewayOptions{Tokens: web.NewTokens(keys, nil), MaxInFlight: 1})
	if _, err := queryapi.MountQuestions(g, queryapi.Questions{Live: ask(&q, run)}, queryapi.Options{}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	defer server.Close()
	defer close(end)
	for n := range 3 {
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/events/live", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+keys.Token(t, domain.RoleSupport, ""))
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: status %d", n, resp.StatusCode)
		}
		select {
		case <-began:
		case <-time.After(10 * time.Second):
			t.Fatal("the stream did not begin")
		}
		if first, err := io.ReadAll(io.LimitReader(resp.Body, 6)); err != nil || string(first) != "id: a\n" {
			t.Fatalf("%q, %v", first, err)
		}
	}
}

// wrong answers every question with an error.
type wrong[Q, A any] struct{ err error }

func (w wrong[Q, A]) Handle(context.Context, Q) (a A, err error) { return a, w.err }

func TestAProblemNamesThePlaceThatTheNameHasOnTheRoute(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{"actor": "query.actor", "role": "query.role", "customer": "query.customer"} {
		h, _ := mount(t, queryapi.Questions{Export: wrong[query.Export, query.Exported]{&domain.FieldError{Field: field, Problem: "is wrong"}}}, queryapi.Options{})
		a := webtest.Do(t, h, webtest.Request{Method: "GET", Path: "/v1/exports/denials?" + field + "=x", Token: keys.Token(t, domain.RoleOperator, "")})
		if p := a.Problem(t); len(p.Errors) != 1 || p.Errors[0].Field != want {
			t.Errorf("%s: %s", field, a.Raw)
		}
	}
	h, _ := mount(t, queryapi.Questions{Live: wrong[query.Live, query.LiveRun]{&domain.FieldError{Field: "Last-Event-ID", Problem: "is wrong"}}}, queryapi.Options{})
	a := webtest.Do(t, h, webtest.Request{Method: "GET", Path: "/v1/events/live", Token: keys.Token(t, domain.RoleOperator, "")})
	if p := a.Problem(t); len(p.Errors) != 1 || p.Errors[0].Field != "header.Last-Event-ID" {
		t.Errorf("a bad id: %s", a.Raw)
	}
}
