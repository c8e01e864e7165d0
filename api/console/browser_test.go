//go:build browser

package console_test

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"carryon/domain"
	"carryon/infra/provision"
	"carryon/query"
)

// The console in the distribution's Chromium: every screen is opened, the errands are carried out with clicks and keys,
// and what the browser complains of fails the test. Screenshots go to CARRYON_TEST_SCREENSHOTS, or a folder that is
// named at the end.

type browser struct {
	t   *testing.T
	w   *world
	ctx context.Context
	dir string

	mu         sync.Mutex
	complaints []string
}

func newBrowser(t *testing.T, w *world) *browser {
	t.Helper()
	dir := os.Getenv("CARRYON_TEST_SCREENSHOTS")
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "carryon-console-"); err != nil { //nolint:usetesting // they are looked at afterwards
			t.Fatal(err)
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.Headless, chromedp.NoSandbox, chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-first-run", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))
	allocated, release := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocated)
	t.Cleanup(func() { end(); release() })
	b := &browser{t: t, w: w, ctx: ctx, dir: dir}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank"), chromedp.EmulateViewport(1280, 800)); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
				b.complain("console: %s %v", e.Type, e.Args)
			}
		case *log.EventEntryAdded: // where the browser tells of what its policies refused
			if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
				b.complain("log: %s %s", e.Entry.Text, e.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			b.complain("exception: %s", e.ExceptionDetails.Text)
		case *network.EventRequestWillBeSent:
			u, err := url.Parse(e.Request.URL)
			if err != nil || u.Scheme != "data" && u.Scheme != "about" && !strings.HasPrefix(e.Request.URL, w.url) {
				b.complain("a request to the outside: %s", e.Request.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("screenshots are in %s", dir)
	return b
}

func (b *browser) complain(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, fmt.Sprintf(format, args...))
}

// do carries out steps, within a time.
func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 600)`))
		b.shot("failed")
		b.t.Fatalf("%s: %v\n%s", what, err, text)
	}
	b.listen(what)
}

// listen fails when the browser has complained.
func (b *browser) listen(what string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		b.t.Errorf("%s: %s", what, c)
	}
	b.complaints = nil
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.do("opening "+path, chromedp.Navigate(b.w.url+path), chromedp.WaitVisible("main h1"))
}

// sees waits until the page says something.
func (b *browser) sees(what, text string) {
	b.t.Helper()
	b.do(what, until(`document.body && document.body.innerText.includes(`+strconv.Quote(text)+`)`))
}

// gone is how the browser says that the page that was asked has given way to the next one.
var gone = regexp.MustCompile(`navigated|context with specified id|[Cc]ontext was destroyed`)

// until waits until an expression holds, on this page or one that follows it.
func until(expression string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		for {
			_, err := chromedp.Poll[bool](expression)(ctx, t)
			if err == nil || ctx.Err() != nil || !gone.MatchString(err.Error()) {
				return chromedp.Void{}, err
			}
		}
	}
}

func (b *browser) signIn(role domain.Role) {
	b.t.Helper()
	b.do("signing in", chromedp.Navigate(b.w.url+"/sign-in#token="+b.w.token(role, "")), chromedp.WaitVisible("#from-link"), chromedp.Click("main .primary"), chromedp.WaitVisible("#find"))
}

func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("evaluating %.60s: %v", expression, err)
	}
	return value
}

func (b *browser) shot(name string) {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatalf("taking a picture of %s: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, name+".png"), picture, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// sideways tells by how much the page is wider than the window.
const sideways = `document.documentElement.scrollWidth - document.documentElement.clientWidth`

// widest names what sticks out.
const widest = `[...document.querySelectorAll("main *, header *")].filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest(".wide")).slice(0, 3).map(e => e.outerHTML.slice(0, 90)).join("; ")`

// outside names outcomes of rules that stand outside the window, and hits that fill it.
const outside = `[...document.querySelectorAll(".rules td:last-child, .hits tr")].filter(e => { const r = e.getBoundingClientRect();
	return r.right > document.documentElement.clientWidth || r.height > 200; }).slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join("; ")`

// axe judges a page by the rules of axe-core: WCAG 2.2 A and AA, and its best practices. What is serious or critical fails.
//
//go:embed testdata/axe.min.js
var axe string

type violation struct {
	ID, Impact, Help string
	Nodes            []string
}

func (b *browser) judge(page string) {
	b.t.Helper()
	if !evaluate[bool](b, `typeof axe !== "undefined"`) {
		evaluate[any](b, axe+"; 1")
	}
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]violation](`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations
		.filter(v => v.impact === "serious" || v.impact === "critical")
		.map(v => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.slice(0, 4).map(n => n.html.slice(0, 140) + " " + (n.any[0]?.message || "").slice(0, 160))})))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("judging %s: %v", page, err)
	}
	for _, v := range found {
		b.t.Errorf("%s: %s (%s): %s", page, v.ID, v.Impact, strings.Join(append([]string{v.Help}, v.Nodes...), "\n\t"))
	}
}

// inBrowser is a world with a history and anna's story.
func inBrowser(t *testing.T) (w *world, refusedTitle string) {
	t.Helper()
	o := worldOptions{households: 60, events: 6000, until: (storyDays + 1) * 24 * time.Hour, story: func(w *world) { refusedTitle = w.tell() }}
	if os.Getenv("CARRYON_TEST_CASSANDRA") != "" {
		o.settings = provision.Settings(t, 1)
	}
	w = newWorldOf(t, o)
	w.shows(anna)
	w.caughtUp()
	w.finds()
	return w, refusedTitle
}

// finds waits until a search finds what the log holds now: an index may show it a moment after it was applied.
func (w *world) finds() {
	w.t.Helper()
	heads, err := w.system.Heads(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for shard, head := range heads {
		if head.Index == 0 {
			continue
		}
		_, err := w.system.Queries().SearchEvents.Handle(w.t.Context(), query.SearchEvents{
			By: query.Caller{Actor: domain.Actor{ID: "test", Role: domain.RoleOperator}}, MinPosition: domain.Position{Shard: shard, Index: head.Index},
		})
		if err != nil {
			w.t.Fatalf("searching shard %d up to entry %d: %v", shard, head.Index, err)
		}
	}
}

// shows waits until the pages show all that happened to a customer.
func (w *world) shows(customer string) {
	w.t.Helper()
	var last uint64
	for e, err := range w.system.Books().Events(w.t.Context(), domain.CustomerStream(customer), 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		last = e.Seq
	}
	if page := w.visitor(domain.RoleSupport).get(fmt.Sprintf("/customers/%s?min_version=%d", customer, last)); page.status != http.StatusOK {
		w.t.Fatalf("%s is not shown: status %d: %.300s", customer, page.status, page.text)
	}
}

func stamp(back time.Duration) string {
	return time.Now().UTC().Add(-back).Format("2006-01-02T15:04:05")
}

func TestInABrowserEveryScreenIsFitToBeLookedAt(t *testing.T) {
	w, title := inBrowser(t)
	const day = 24 * time.Hour
	at := "/customers/" + anna
	why := at + "/why?title_id=" + title + "&device_id=" + newTablet + "&device_type=android-tablet"
	screens := map[domain.Role]map[string]string{
		domain.RoleSupport: {
			"find": "/", "find-nothing": "/find?q=nobody-has-this", "customer": at, "customer-filtered": at + "?type=LicenseIssued&device_id=" + phone + "#timeline",
			"customer-nothing-matches": at + "?actor=nobody#timeline", "why-empty": at + "/why", "why": why, "why-untyped": at + "/why?title_id=" + title + "&device_id=" + newTablet,
			"why-withdrawn": at + "/why?title_id=" + w.withdrawn() + "&device_id=" + kitchen, "why-which": at + "/why?title_id=the&device_id=" + kitchen, "act-exception": at + "/acts/grant-exception?code=YEARLY_TITLE_LIMIT",
			"act-device": at + "/acts/remove-device?device=" + phone, "act-revoke-all": at + "/acts/revoke-all", "time": at + "/time?at=" + stamp(3*day),
			"time-two": at + "/time?at=" + stamp(6*day) + "&and=" + stamp(0), "search": "/search?q=the", "search-nothing": "/search?q=zzzzqqqq", "live": "/live",
			"live-error": "/live?filter=" + url.QueryEscape(`type == "LicenseDenied" && colour`), "problem": "/customers/nobody", "analytics": "/analytics",
			"analytics-code": "/analytics?metric=denials&group_by=code&interval=week&compare=previous", "analytics-three": "/analytics?group_by=studio&group_by=plan&group_by=country&interval=month&tz=Europe/Berlin&measure=customers",
		},
		domain.RoleAnalyst:  {"analyst-find": "/", "analyst-search": "/search?type=LicenseDenied", "analyst-live": "/live", "analyst-pseudonym": "/pseudonyms/p-unknown"},
		domain.RoleOperator: {"operations": "/operations"},
	}
	for _, role := range []domain.Role{domain.RoleSupport, domain.RoleAnalyst, domain.RoleOperator} {
		b := newBrowser(t, w)
		b.do("opening the door", chromedp.Navigate(w.url+"/sign-in"), chromedp.WaitVisible("#token"))
		if role == domain.RoleSupport {
			b.judge("sign-in")
			b.shot("sign-in")
			decision := regexp.MustCompile(`href="(/customers/anna/decisions/[^"]+)"`).FindStringSubmatch(w.visitor(role).get(at).text)
			screens[role]["decision"] = decision[1]
		}
		b.signIn(role)
		names := slices.Sorted(maps.Keys(screens[role]))
		for _, window := range []struct {
			name          string
			width, height int64
		}{{"1280", 1280, 800}, {"390", 390, 844}} {
			b.do("a window of "+window.name, chromedp.EmulateViewport(window.width, window.height))
			for _, name := range names {
				b.open(screens[role][name])
				for _, theme := range []string{"light", "dark"} {
					page := name + "-" + window.name + "-" + theme
					evaluate[any](b, `document.documentElement.dataset.theme = "`+theme+`"; dispatchEvent(new Event("resize")); 1`)
					evaluate[any](b, `for (const d of document.querySelectorAll("details")) d.open = true; 1`)
					if more := evaluate[int](b, sideways); more > 0 {
						t.Errorf("%s: %d pixels too wide: %s", page, more, evaluate[string](b, widest))
					}
					if bad := evaluate[string](b, outside); bad != "" {
						t.Errorf("%s: not to be seen without moving, or too tall: %s", page, bad)
					}
					b.judge(page)
					evaluate[any](b, `for (const d of document.querySelectorAll("details")) d.open = false; 1`)
					b.shot(page)
				}
				b.listen(name)
			}
		}
	}
}

func moveTo(x, y float64) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: x, Y: y})
		return chromedp.Void{}, err
	}
}

func press(keys string) chromedp.Action[chromedp.Void] { return chromedp.KeyEvent(keys) }

// fill writes into a field of a form.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	b.do("filling "+selector, chromedp.WaitVisible(selector), chromedp.SetValue(selector, text))
}

func TestInABrowserAnAgentHelpsACustomerOnThePhone(t *testing.T) {
	w, title := inBrowser(t)
	b := newBrowser(t, w)
	b.signIn(domain.RoleSupport)
	b.do("keys: the box has the focus", press(anna+"\r"), chromedp.WaitVisible("#limits"))
	b.sees("the customer", "Kitchen tablet")
	b.weigh("/customers/" + anna)

	// In one step: the list is asked for when the choice changes, and the form goes away under a click that comes later.
	evaluate[any](b, `{ const type = document.querySelector('#timeline select[name="type"]'); type.value = "LicenseDenied"; type.form.requestSubmit(); } 1`)
	b.do("filtering the timeline by what happened", chromedp.WaitNotPresent("#event-1"))
	b.sees("the refusal in words", "too many devices (2 of 2 used)")

	b.do("asking why", chromedp.Navigate(w.url+"/customers/"+anna+"/why?title_id="+title+"&device_id="+newTablet), chromedp.WaitVisible("select[name=device_type]"))
	b.sees("what is missing is asked for", "Of which type is the device?")
	b.do("saying it", chromedp.SetValue("select[name=device_type]", "android-tablet"), chromedp.Click(".why button"), chromedp.WaitVisible(".card.refuse"))
	b.sees("who holds the places", "Kitchen tablet")
	b.do("a remedy", chromedp.Click(`.remedies a[href*="device=`+phone+`"]`), chromedp.WaitVisible("#would"))
	b.sees("what it would do", "1 of 2 would be taken instead of 2")
	b.fill("select[name=reason]", domain.ReasonLostDevice)
	b.fill("input[name=case]", "CASE-3000")
	b.do("doing it", chromedp.Click("form.stack .primary"), chromedp.WaitVisible(".card.grant"))
	b.sees("the same request now", "Would be granted")

	b.open("/customers/" + anna)
	b.sees("the act with its actor in the timeline", "support kim-support")
	b.sees("its case", "case CASE-3000")

	b.open("/customers/" + anna + "/acts/grant-exception")
	b.do("an exception, filled in", chromedp.SetValue("input[name=uses]", "3"))
	evaluate[any](b, `document.querySelector("input[name=uses]").dispatchEvent(new Event("change", {bubbles: true})); 1`)
	b.sees("what it would let pass is told anew", "up to 3 times")
	b.open("/customers/" + anna + "/acts/grant-exception?code=" + domain.CodeYearlyTitleLimit)
	change := func(what, selector, value string) {
		b.do("what came before is in place", until(settled))
		evaluate[any](b, fmt.Sprintf(`{ const e = document.querySelector(%q); e.value = %q || e.options[1].value; e.dispatchEvent(new Event("change", {bubbles: true})); } 1`, selector, value))
		b.do(what, chromedp.WaitVisible("#would"))
	}
	for _, kind := range []string{domain.ScopeDevice, domain.ScopeLicense, domain.ScopeCustomer} {
		change("for "+kind, "#scope-kind", kind)
		if kind != domain.ScopeCustomer {
			b.do("one that she has is offered", chromedp.WaitVisible(`#which input[value="`+kind+`"] ~ label select#scope-id`))
			change("the first "+kind, "#scope-id", "")
			b.do("what it would let pass is told of "+kind, until(`document.querySelector("#would").innerText.includes(document.querySelector("#scope-id").selectedOptions[0].text)`))
			continue
		}
		b.do("none is asked for", until(`!document.querySelector("#scope-id") && document.querySelector("#would").innerText.includes("of this customer")`))
	}
	change("for a studio", "#scope-kind", domain.ScopeStudio)
	b.do("which studio", chromedp.WaitVisible(`#which input[value="studio"] ~ label #scope-id`))
	change("a studio, typed", "#scope-id", "house")
	b.do("what it would let pass is told of the studio", until(`document.querySelector("#would").innerText.includes("house")`))
	change("for a title", "#scope-kind", domain.ScopeTitle)
	b.do("which title", chromedp.WaitVisible("#which #scope-id"))
	change("a title, typed", "#scope-id", "tt-of-nobody")
	b.sees("what it would let pass is told of it", "tt-of-nobody")
	if kept := evaluate[string](b, `document.querySelector("#scope-id").value`); kept != "tt-of-nobody" {
		b.t.Errorf("what was typed became %q", kept)
	}

	b.open("/customers/" + anna + "/time")
	b.do("comparing", chromedp.Click(`.scrub a[href*="and="]`), chromedp.WaitVisible("#changed"))
	b.do("the slider by keys", chromedp.Focus("#at"), press(kb.Home), chromedp.WaitVisible("#changed"))
	b.sees("what changed and why", "Because of")
}

// settled: htmx has swapped in what it fetched, and listens to it.
const settled = `!document.querySelector(".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added")`

// weigh tells how heavy a page is and how soon it can be used, in a browser that has nothing of it yet.
func (b *browser) weigh(path string) {
	b.t.Helper()
	b.do("forgetting", func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, network.ClearBrowserCache, cdp.Empty{})
		return chromedp.Void{}, err
	})
	b.open(path)
	type figures struct {
		Bytes, Requests            int
		Interactive, Loaded, Paint float64
	}
	f := evaluate[figures](b, `(() => { const all = performance.getEntriesByType("resource"), n = performance.getEntriesByType("navigation")[0];
		return {Bytes: n.transferSize + all.reduce((a, e) => a + e.transferSize, 0), Requests: 1 + all.length, Interactive: n.domContentLoadedEventEnd, Loaded: n.loadEventEnd,
			Paint: (performance.getEntriesByType("paint").find(p => p.name === "first-contentful-paint") || {startTime: 0}).startTime}; })()`)
	b.t.Logf("%s weighs %d bytes in %d requests; first paint %.0f ms, interactive %.0f ms, loaded %.0f ms", path, f.Bytes, f.Requests, f.Paint, f.Interactive, f.Loaded)
	if f.Bytes > 150_000 || f.Requests > 8 {
		b.t.Errorf("%s weighs %d bytes in %d requests: more than 150,000 in 8", path, f.Bytes, f.Requests)
	}
}

func TestInABrowserAnAnalystCountsSearchesAndListens(t *testing.T) {
	w, _ := inBrowser(t)
	b := newBrowser(t, w)
	b.signIn(domain.RoleAnalyst)
	b.open("/search")
	b.do("words", chromedp.Focus("main input[name=q]"), press("the\r"), chromedp.WaitVisible(`main input[name=q][value="the"]`), until(`!!document.querySelector("td mark")`))
	b.do("a facet", chromedp.Click(`.facets a[href*="type=LicenseIssued"]`), chromedp.WaitVisible(".chips"), until(`!!document.querySelector(".facets a[aria-current]")`))
	if q := evaluate[string](b, "location.search"); !strings.Contains(q, "q=the") || !strings.Contains(q, "type=LicenseIssued") {
		t.Errorf("the address holds %s, not the question", q)
	}
	shown := evaluate[int](b, `Number(document.querySelector(".result-line b").textContent.replace(/,/g, ""))`)
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`fetch(document.querySelector('a[href*="format=csv"]').href).then(r => r.text())`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(text, "\n") - 1; lines != shown {
		t.Errorf("the export has %d events, the page says %d", lines, shown)
	}
	if strings.Contains(text, ","+anna+",") {
		t.Error("the export names a customer")
	}

	b.open("/analytics")
	b.do("refusals by reason", chromedp.SetValue("select[name=metric]", "denials"), chromedp.SetValue("select[name=group_by]", "code"), chromedp.SetValue("select[name=compare]", "previous"),
		chromedp.Click(".filters .primary"), chromedp.WaitVisible(".plot.small canvas"))
	b.sees("the rate", "Refusal rate")
	middle := evaluate[[]float64](b, `(() => { const plot = document.querySelector(".u-over"); plot.scrollIntoView({block: "end"}); const r = plot.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`)
	b.do("values on hover", moveTo(middle[0]-20, middle[1]), moveTo(middle[0], middle[1]), until(`document.querySelector(".u-legend .u-value").textContent.length > 2`))
	if legend := evaluate[string](b, `document.querySelector(".u-legend .u-value").textContent`); !strings.Contains(legend, "202") {
		t.Errorf("the chart tells %q under the pointer, and no day", legend)
	}

	b.open("/live")
	b.do("listening", chromedp.WaitVisible(`#live-state[data-state=on]`))
	w.block(phone, anna)
	b.sees("an event", "Device blocked")
	b.do("a pause, by a key", chromedp.Click("#stream, main h1"), press("p"), chromedp.WaitVisible(`#live-pause[aria-pressed=true]`))
	w.block(kitchen, anna)
	b.do("going on, by a click", chromedp.Click("#live-pause"), chromedp.WaitVisible("#live-rows tr:nth-child(2)"))
	if text := evaluate[string](b, `document.querySelector("#live-rows").innerText`); strings.Contains(text, anna) || strings.Count(text, "Device blocked") != 2 {
		t.Errorf("after a pause the stream shows %q", text)
	}
	b.fill("input[name=filter]", `type == "LicenseDenied" && colour`)
	b.do("a bad filter", chromedp.Click(".filters .primary"), chromedp.WaitVisible("#filter-error pre"))
	b.sees("its column", "Column 28")
}
