//go:build browser

package console_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"carryon/api/console"
	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/command"
	"carryon/domain"
	"carryon/query"
)

// What is rare: streams that wait, a rebuild that takes its time, a reader who is too slow. The first is brought about in
// the read model itself; the others are told by an API that stands before the real one.

// park makes a customer's stream wait in the timeline from its first event on, as if that could not be applied.
func (w *world) park(data, customer string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "read", "timeline.*.db"))
	if err != nil || len(files) != 1 {
		w.t.Fatalf("the files of the timeline are %v (%v)", files, err)
	}
	db, err := sql.Open("sqlite", files[0]+"?_pragma=busy_timeout(5000)")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	heads, err := w.system.Heads(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = db.ExecContext(w.t.Context(), "INSERT INTO parked (stream, shard, first_seq, entry, place, reason, attempts, since) VALUES (?, 1, 1, ?, 0, 'a title of the future', 1, ?)",
		"customer/"+customer, int64(heads[1].Index+1), time.Now().UnixMicro()) //nolint:gosec // small
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.system.Commands().ChangePlan(w.t.Context(), command.ChangePlan{Meta: w.meta(domain.RoleService), Customer: customer, Plan: "premium", Country: "FR"})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestInABrowserAnOperatorLetsParkedStreamsFlow(t *testing.T) {
	data := t.TempDir()
	w := newWorldOf(t, worldOptions{settings: map[string]string{"data": data}, story: func(w *world) {
		w.park(data, "waits-1")
		w.park(data, "waits-2")
	}})
	w.caughtUp()
	b := newBrowser(t, w)
	b.signIn(domain.RoleOperator)
	b.open("/operations")
	b.sees("what waits, and why", "a title of the future")
	b.judge("operations with parked streams")
	b.shot("operations-parked")
	b.do("one again", chromedp.Click(`form:has(input[value="customer/waits-1"]) button`), chromedp.WaitVisible(".note.good"))
	b.sees("it flows", "customer/waits-1 was tried again: it flows.")
	b.sees("the other waits", "customer/waits-2")
	b.do("all again", chromedp.Click(`form[action$="/retry-all"] button`), until(`document.querySelector(".note.good")?.innerText.includes("1 flow, 0 stay parked")`))
	b.do("none waits", until(`!document.body.innerText.includes("Parked in timeline")`))
	for _, customer := range []string{"waits-1", "waits-2"} {
		if page := w.visitor(domain.RoleSupport).get("/customers/" + customer); !strings.Contains(page.text, `id="event-1"`) {
			t.Errorf("the timeline of %s lacks what waited", customer)
		}
	}
	b.do("a rebuild", chromedp.Click(`form[action="/operations/timeline/rebuild"] button`), chromedp.WaitVisible("#models"))
	b.do("it is read when it is done", until(`[...document.querySelectorAll("#status tbody tr")].some(r => r.innerText.includes("timeline") && r.querySelector("td:nth-child(6)").innerText.trim() === "2")`))
}

// before is an API that stands before the real one, and answers some questions itself.
type before struct {
	world *world
	role  domain.Role
	told  func(r *http.Request) (*http.Response, bool)
}

// RoundTrip answers, or asks the real API.
func (a before) RoundTrip(r *http.Request) (*http.Response, error) {
	if answer, ok := a.told(r); ok {
		answer.Request = r
		return answer, nil
	}
	base, err := url.Parse(a.world.url)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+a.world.token(a.role, ""))
	return console.Remote(base, http.DefaultTransport).RoundTrip(r)
}

func answerOf(kind string, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Body: body, ContentLength: -1, ProtoMajor: 1, ProtoMinor: 1}
}

// behind is a browser that is signed in to a console behind which another API stands.
func (w *world) behind(role domain.Role, told func(*http.Request) (*http.Response, bool)) *browser {
	t := w.t.(*testing.T) //nolint:forcetypeassert // no benchmark has a browser
	t.Helper()
	keys := webtest.NewKeys("console")
	tokens := web.NewTokens(keys, nil)
	gateway := web.NewGateway(web.GatewayOptions{Tokens: tokens})
	if err := console.Mount(gateway, console.Options{Tokens: tokens, Queries: before{w, role, told}}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gateway)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	b := newBrowser(t, &world{t: t, url: server.URL})
	b.do("signing in", chromedp.Navigate(server.URL+"/sign-in#token="+keys.Token(t, role, "")), chromedp.WaitVisible("#from-link"), chromedp.Click("main .primary"), chromedp.WaitVisible("#find"))
	return b
}

func TestInABrowserARebuildShowsHowFarItIs(t *testing.T) {
	w := newWorld(t, 0, 0)
	var mu sync.Mutex
	step, acts := 0, []string{}
	b := w.behind(domain.RoleOperator, func(r *http.Request) (*http.Response, bool) {
		mu.Lock()
		defer mu.Unlock()
		var body any
		switch r.URL.Path {
		case "/v1/projections":
			rebuild := &query.Rebuild{Generation: 2, State: "filling", EntriesDone: 250, EntriesTotal: 1000, EventsDone: 2_500, EventsTotal: 10_000, SecondsLeft: 90}
			switch step {
			case 1:
				rebuild.State = "paused"
			case 2:
				rebuild.State, rebuild.Stage, rebuild.StageDone, rebuild.StageTotal = "auditing", "streams", 75, 100
			case 3:
				ended := time.Now()
				rebuild.State, rebuild.Ended = "done", &ended
			}
			body = query.ListProjectionsAnswer{Projections: []query.Projection{{Name: "timeline", Generation: 1 + step/3, Shards: []query.ProjectionShard{{Shard: 1}}, Rebuild: rebuild}}}
		case "/v1/projections/timeline/rebuild":
			var asked struct{ Action string }
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				t.Error(err)
			}
			acts = append(acts, asked.Action)
			step++
			body = query.RebuildModelAnswer{}
		default:
			return nil, false
		}
		raw, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
		}
		return answerOf("application/json", io.NopCloser(bytes.NewReader(raw))), true
	})
	b.open("/operations")
	bar := func(value string) string {
		return fmt.Sprintf(`document.querySelector("progress")?.value == %s`, value)
	}
	b.do("how far it is", until(bar("25")))
	b.sees("in words", "2,500 of 10,000 events, 90.0 s left")
	b.judge("operations with a rebuild")
	b.shot("operations-rebuild")
	b.do("a pause", chromedp.Click(`button[value="pause"]`), chromedp.WaitVisible(`button[value="resume"]`))
	b.do("going on", chromedp.Click(`button[value="resume"]`), until(bar("75")))
	b.sees("its audit", "streams: ")
	mu.Lock()
	step = 3
	mu.Unlock()
	b.do("the page follows by itself until it is done", until(`!document.querySelector("progress") && document.body.innerText.includes("generation 2: done")`))
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(acts, " ") != "pause resume" {
		t.Errorf("the clicks asked for %v", acts)
	}
}

func TestInABrowserAStreamThatWasTooSlowSaysSoAndGoesOn(t *testing.T) {
	w := newWorld(t, 0, 0)
	var mu sync.Mutex
	var continued []string
	b := w.behind(domain.RoleSupport, func(r *http.Request) (*http.Response, bool) {
		if r.URL.Path != "/v1/events/live" {
			return nil, false
		}
		told, write := io.Pipe()
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Query().Get("fields") != "" { // the page itself first looks whether the filter is good
			continued = append(continued, r.Header.Get("Last-Event-Id"))
		}
		text := "event: hello\ndata: {}\n\n"
		switch len(continued) {
		case 1:
			text = "retry: 50\nid: place-7\nevent: event\ndata: {\"type\":\"LicenseDenied\",\"customer\":\"c-1\",\"recorded_at\":\"2026-01-02T03:04:05Z\"}\n\n" +
				"id: place-7\nevent: notice\ndata: {\"code\":\"TOO_SLOW\",\"detail\":\"items were not taken fast enough\"}\n\n"
		case 2:
			text = "id: place-8\nevent: event\ndata: {\"type\":\"LicenseIssued\",\"customer\":\"c-2\",\"recorded_at\":\"2026-01-02T03:04:06Z\"}\n\n"
		}
		first := len(continued) == 1
		context.AfterFunc(r.Context(), func() { _ = write.CloseWithError(context.Canceled) })
		go func() { // ends when the text is taken, or whoever reads has gone
			_, _ = io.WriteString(write, text)
			if first {
				_ = write.Close() // let go
			}
		}()
		return answerOf("text/event-stream", told), true
	})
	b.open("/live")
	b.sees("that it was let go", "This browser took the events too slowly and was let go. It goes on where it stopped.")
	b.do("it goes on", until(`document.querySelectorAll("#live-rows tr").length === 2`), until(`document.querySelector("#live-state").dataset.state === "on"`))
	b.judge("live with a notice")
	b.shot("live-too-slow")
	mu.Lock()
	defer mu.Unlock()
	if len(continued) < 2 || continued[0] != "" || continued[1] != "place-7" {
		t.Errorf("the streams were continued after %q", continued)
	}
}

func TestInABrowserAnAnalystResolvesAPseudonymForAReason(t *testing.T) {
	w, _ := inBrowser(t)
	b := newBrowser(t, w)
	b.signIn(domain.RoleAnalyst)
	b.open("/search?type=LicenseDenied")
	b.do("a pseudonym of the search", chromedp.Click(`td[data-h="Customer"] a`), chromedp.WaitVisible("textarea[name=reason]"))
	b.do("without a reason", chromedp.Click("form.stack .primary"), until(`document.querySelector("textarea:invalid") === document.activeElement`))
	b.do("with one", chromedp.Focus("textarea[name=reason]"), press("Fraud case 77"), chromedp.Click("form.stack .primary"), chromedp.WaitVisible(".note.good"))
	b.sees("that it is recorded", "That you were told, and why, was recorded.")
	b.judge("a resolved pseudonym")
	b.shot("analyst-resolved")
	customer := evaluate[string](b, `document.querySelector(".note.good b").textContent`)
	operator := query.Accesses{By: query.Caller{Actor: domain.Actor{ID: "test", Role: domain.RoleOperator}}, Customer: customer}
	answer, err := w.system.Queries().Access.Handle(t.Context(), operator)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Accesses) == 0 || answer.Accesses[0].Reason != "Fraud case 77" || answer.Accesses[0].Actor.ID != "kim-analyst" {
		t.Errorf("the record of %s says %+v", customer, answer.Accesses)
	}
}

func TestInABrowserAnAnalystGroupsComparesAndTakesTheTable(t *testing.T) {
	w, _ := inBrowser(t)
	w.caughtUp()
	b := newBrowser(t, w)
	b.signIn(domain.RoleAnalyst)
	b.open("/analytics")
	b.do("three groupings, customers, another zone, the range before",
		chromedp.SetValue("select[name=metric]", "downloads"), chromedp.SetValue("select[name=measure]", "customers"), chromedp.SetValue("select[name=interval]", "month"),
		chromedp.SetValue("input[name=tz]", "Europe/Berlin"), chromedp.SetValue("select[name=compare]", "previous"))
	evaluate[any](b, `document.querySelectorAll("select[name=group_by]").forEach((s, i) => { s.value = ["studio", "plan", "device_family"][i]; }); 1`)
	b.do("counting", chromedp.Click(".filters .primary"), chromedp.WaitVisible("#numbers"), chromedp.WaitVisible(".plot canvas"))
	b.sees("what is counted", "downloads, distinct customers")
	b.sees("the range before", "in the range before")
	if q := evaluate[string](b, "location.search"); strings.Count(q, "group_by=") != 3 || !strings.Contains(q, "tz=Europe%2FBerlin") {
		t.Errorf("the address holds %s", q)
	}
	if rows := evaluate[int](b, `[...document.querySelectorAll("section[aria-labelledby=numbers] tbody tr td:first-child")].filter(td => td.innerText.split(" · ").length === 3).length`); rows == 0 {
		t.Error("no row of the table has three values")
	}
	place := evaluate[[]float64](b, `(() => { const plot = document.querySelector(".u-over"); plot.scrollIntoView({block: "end"}); const r = plot.getBoundingClientRect(); return [r.x + r.width - 10, r.y + r.height / 2]; })()`)
	b.do("values on hover", moveTo(place[0]-30, place[1]), moveTo(place[0], place[1]), until(`[...document.querySelectorAll(".u-legend .u-value")].some(v => /^[0-9]/.test(v.textContent))`))
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`fetch([...document.querySelectorAll("a[download]")].find(a => a.textContent === "NDJSON").href).then(r => r.text())`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	for _, column := range []string{`"studio":`, `"plan":`, `"device_family":`, `"previous":`, `"measure":"customers"`, `"tz":"Europe/Berlin"`} {
		if !strings.Contains(text, column) {
			t.Errorf("the export lacks %s: %.300s", column, text)
		}
	}
	b.do("titles by their names", chromedp.Navigate(w.url+"/analytics?group_by=title_id&interval=month"), chromedp.WaitVisible("#numbers"))
	if named := evaluate[bool](b, `[...document.querySelectorAll("section[aria-labelledby=numbers] tbody tr td:first-child")].every(td => !/^t[0-9]{5}/.test(td.innerText.trim()))`); !named {
		t.Error("titles are told by their ids")
	}
	b.do("one of them only", chromedp.Click("section[aria-labelledby=numbers] tbody tr:first-child a"), chromedp.WaitVisible(".chips a"))
	if q := evaluate[string](b, "location.search"); !strings.Contains(q, "title_id=t") || strings.Contains(q, "group_by=title_id") {
		t.Errorf("narrowed down to one title, the address holds %s", q)
	}
	b.do("refusals", chromedp.Navigate(w.url+"/analytics?metric=denials&interval=week"), chromedp.WaitVisible(".plot.small canvas"))
	b.do("the table behind the rate", chromedp.Click("section:has(.plot.small) summary"), chromedp.WaitVisible("section:has(.plot.small) td"))
}

func TestInABrowserTheThemeIsTheVisitorsChoice(t *testing.T) {
	w, _ := inBrowser(t)
	b := newBrowser(t, w)
	b.signIn(domain.RoleSupport)
	b.open("/customers/" + anna + "?type=LicenseDenied")
	background := `getComputedStyle(document.body).backgroundColor`
	seen := map[string]bool{}
	for _, theme := range []string{"dark", "light"} {
		b.do("switching to "+theme, chromedp.Click(".theme button"), until(`document.documentElement.dataset.theme === "`+theme+`"`))
		if at := evaluate[string](b, "location.pathname + location.search"); at != "/customers/"+anna+"?type=LicenseDenied" {
			t.Errorf("the button led to %s", at)
		}
		seen[evaluate[string](b, background)] = true
		b.open("/search")
		b.do("it stays", until(`document.documentElement.dataset.theme === "`+theme+`"`))
		b.open("/customers/" + anna + "?type=LicenseDenied")
	}
	if len(seen) != 2 {
		t.Errorf("dark and light look the same: %v", seen)
	}
	b.do("back to the system's, by the keyboard", chromedp.Focus(".theme button"), press(kb.Enter), until(`document.documentElement.dataset.theme === "auto"`))
}

func TestInABrowserAnAgentActsForAReasonAndComparesMoments(t *testing.T) {
	w, _ := inBrowser(t)
	b := newBrowser(t, w)
	b.signIn(domain.RoleSupport)
	at := "/customers/" + anna
	for _, act := range []struct{ name, query, told string }{
		{"block-device", "?device=" + phone, "blocked"}, {"unblock-device", "?device=" + phone, "unblock"}, {"revoke-all", "", "revok"},
	} {
		b.open(at + "/acts/" + act.name + act.query)
		b.do("what it would do", chromedp.WaitVisible("#would, .preview"))
		caseNumber := "CASE-" + act.name
		reason := evaluate[string](b, `[...document.querySelector("select[name=reason]").options].map(o => o.value).find(v => v)`)
		b.fill("select[name=reason]", reason)
		b.fill("input[name=case]", caseNumber)
		b.do(act.name, chromedp.Click("form.stack .primary"), until(`location.pathname === "`+at+`"`), chromedp.WaitVisible("#timeline"))
		b.sees("its case in the timeline", "case "+caseNumber)
		b.sees("who did it", "support kim-support")
	}
	b.do("exporting the timeline", until(`document.querySelectorAll("#timeline a[download]").length === 3`))
	b.open(at + "/time?at=" + stamp(6*24*time.Hour) + "&and=" + stamp(0))
	b.do("two moments side by side", until(`document.querySelectorAll('section[aria-label^="State at"]').length === 2`))
	b.do("what changed, because of which event", until(`[...document.querySelectorAll(".changes tbody tr")].some(r => /#\d+ · .* · support kim-support/.test(r.innerText))`))
	b.do("the slider by a key", chromedp.Focus("#and"), press(kb.ArrowLeft), until(`new URLSearchParams(location.search).has("and")`), chromedp.WaitVisible("#changed"))
}
