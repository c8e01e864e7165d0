package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"carryon/command"
	"carryon/domain"
)

// heard is an item of a stream, as a browser would take it.
type heard struct{ kind, id, data string }

// listening opens the stream of the console and hands on its items until the test ends.
func (v *visitor) listening(q url.Values) (seen, <-chan heard, context.CancelFunc) {
	v.w.t.Helper()
	ctx, stop := context.WithCancel(v.w.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.w.url+"/live/events?"+q.Encode(), nil)
	if err != nil {
		v.w.t.Fatal(err)
	}
	answer, err := v.client.Do(r) //nolint:bodyclose // by whoever reads it
	if err != nil {
		v.w.t.Fatal(err)
	}
	items := make(chan heard, 64)
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		defer close(items)
		defer answer.Body.Close()
		item := heard{}
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				item.id = value
			case "event":
				item.kind = value
			case "data":
				item.data = value
			case "":
				items <- item
				item = heard{}
			}
		}
	}()
	end := func() { stop(); <-done }
	v.w.t.Cleanup(end)
	return seen{status: answer.StatusCode, header: answer.Header, path: answer.Request.URL.RequestURI()}, items, end
}

func (w *world) block(device, customer string) {
	w.t.Helper()
	if _, err := w.system.Commands().BlockDevice(w.t.Context(), command.BlockDevice{
		Meta: w.meta(domain.RoleSupport), Customer: customer, DeviceID: device, Reason: command.ReasonGiven{Code: domain.ReasonFraud, Case: "C-1"},
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestTheRunningStreamIsToldToWhoIsSignedInAndGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("c-live", "tablet")
	v := w.visitor(domain.RoleSupport)
	q := url.Values{"filter": {`type.startsWith("Device")`}}
	answer, items, stop := v.listening(q)
	if kind := answer.header.Get("Content-Type"); answer.status != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("status %d, %s", answer.status, kind)
	}
	first := <-items
	if first.kind != "beat" || first.id == "" {
		t.Fatalf("the stream begins with %+v; a page that pauses before anything happened needs the place", first)
	}
	w.block("dev-1", "c-live")
	told := <-items
	var e struct{ Type, Customer string }
	if err := json.Unmarshal([]byte(told.data), &e); err != nil || told.kind != "event" || e.Type != "DeviceBlocked" || e.Customer != "c-live" {
		t.Fatalf("told %+v (%v)", told, err)
	}
	stop()

	q.Set("after", first.id) // as a page asks that paused before
	_, items, _ = v.listening(q)
	if again := <-items; again.data != told.data {
		t.Errorf("after a pause %+v is told, not what happened meanwhile", again)
	}
}

func TestAnAnalystHearsPseudonymsAndAStrangerNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("secret-customer", "tablet")
	told, items, _ := w.visitor(domain.RoleAnalyst).listening(url.Values{})
	if first := <-items; first.kind != "beat" {
		t.Fatalf("status %d at %s, the stream begins with %+v", told.status, told.path, first)
	}
	w.block("dev-1", "secret-customer")
	if told := <-items; told.kind != "event" || strings.Contains(told.data, "secret-customer") || strings.Contains(told.data, "dev-1") || !strings.Contains(told.data, `"customer":"p`) {
		t.Errorf("told %+v", told)
	}
	answer, _, _ := w.stranger().listening(url.Values{})
	if !strings.HasPrefix(answer.path, "/sign-in") {
		t.Errorf("a stranger was led to %s", answer.path)
	}
}

func TestAFilterThatCantBeUsedIsShownWithItsColumn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	v := w.visitor(domain.RoleSupport)
	for filter, want := range map[string]string{
		`type == `:                "Column",
		`kind == "LicenseIssued"`: "\n^</pre>",
		`type == "A" && colour`:   "\n               ^</pre>",
		`type`:                    "gives string",
	} {
		got := v.get("/live?" + url.Values{"filter": {filter}}.Encode())
		if got.status != http.StatusUnprocessableEntity || !strings.Contains(html.UnescapeString(got.text), want) || strings.Contains(got.text, "data-events") {
			t.Errorf("%s: status %d, lacks %q: %s", filter, got.status, want, got.text[strings.Index(got.text, "<main"):])
		}
	}
	if got := v.get("/live"); got.status != http.StatusOK || !strings.Contains(got.text, "data-events") {
		t.Errorf("without a filter: status %d", got.status)
	}
	if got := v.get("/live?" + url.Values{"filter": {`type == "LicenseIssued"`}}.Encode()); got.status != http.StatusOK || !strings.Contains(got.text, "data-events") {
		t.Errorf("a good filter: status %d", got.status)
	}
}
