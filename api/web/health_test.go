package web_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"carryon/api/web"
	"carryon/api/webtest"
)

func TestReadinessNamesWhatIsAwayAndWhatThatCosts(t *testing.T) {
	t.Parallel()
	var log, search error
	health := &web.Health{Checks: []web.Check{
		{Name: "log", Costs: "no commands", Probe: func(context.Context) error { return log }},
		{Name: "search", Costs: "no search", Optional: true, Probe: func(context.Context) error { return search }},
	}}
	g := web.NewGateway(web.GatewayOptions{Health: health})
	ready := func() *webtest.Answer { return webtest.Do(t, g, webtest.Request{Method: "GET", Path: "/readyz"}) }

	if a := ready(); a.Status != http.StatusServiceUnavailable || a.Body["status"] != "not ready" {
		t.Errorf("before the start: %d %s", a.Status, a.Raw)
	}
	health.SetReady()
	if a := ready(); a.Status != http.StatusOK || a.Body["status"] != "ready" || strings.Contains(string(a.Raw), "no search") {
		t.Errorf("all is there: %d %s", a.Status, a.Raw)
	}
	search = errors.New("secret host 10.0.0.7 refused")
	if a := ready(); a.Status != http.StatusOK || a.Body["status"] != "degraded" || !strings.Contains(string(a.Raw), "no search") || strings.Contains(string(a.Raw), "10.0.0.7") {
		t.Errorf("without search: %d %s", a.Status, a.Raw)
	}
	log = errors.New("gone")
	if a := ready(); a.Status != http.StatusServiceUnavailable || a.Body["status"] != "not ready" || !strings.Contains(string(a.Raw), "no commands") {
		t.Errorf("without the log: %d %s", a.Status, a.Raw)
	}
	log, search = nil, nil
	health.SetNotReady()
	if a := ready(); a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("shutting down: %d %s", a.Status, a.Raw)
	}
	if a := webtest.Do(t, g, webtest.Request{Method: "GET", Path: "/livez"}); a.Status != http.StatusOK {
		t.Errorf("alive: %d", a.Status)
	}
}

func TestADependencyThatHangsIsAwayAfterAMoment(t *testing.T) {
	t.Parallel()
	health := &web.Health{Checks: []web.Check{{Name: "log", Costs: "no commands", Probe: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}}}
	health.SetReady()
	a := webtest.Do(t, web.NewGateway(web.GatewayOptions{Health: health}), webtest.Request{Method: "GET", Path: "/readyz"})
	if a.Status != http.StatusServiceUnavailable {
		t.Errorf("status %d: %s", a.Status, a.Raw)
	}
}
