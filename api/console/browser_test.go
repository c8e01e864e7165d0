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

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"carryon/domain"
	"carryon/infra/provision"
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
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
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
	b.do(what, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Poll[bool](`document.body && document.body.innerText.includes(`+strconv.Quote(text)+`)`)(ctx, t)
		return chromedp.Void{}, err
	})
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
	return w, refusedTitle
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

func TestEveryScreenIsFitToBeLookedAt(t *testing.T) {
	w, title := inBrowser(t)
	const day = 24 * time.Hour
	at := "/customers/" + anna
	why := at + "/why?title_id=" + title + "&device_id=" + newTablet + "&device_type=android-tablet"
	screens := map[domain.Role]map[string]string{
		domain.RoleSupport: {
			"find": "/", "find-nothing": "/find?q=nobody-has-this", "customer": at, "customer-filtered": at + "?type=LicenseIssued&device_id=" + phone + "#timeline",
			"customer-nothing-matches": at + "?actor=nobody#timeline", "why-empty": at + "/why", "why": why, "why-untyped": at + "/why?title_id=" + title + "&device_id=" + newTablet,
			"why-which": at + "/why?title_id=the&device_id=" + kitchen, "act-exception": at + "/acts/grant-exception?code=YEARLY_TITLE_LIMIT",
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
					b.judge(page)
					evaluate[any](b, `for (const d of document.querySelectorAll("details")) d.open = false; 1`)
					b.shot(page)
				}
				b.listen(name)
			}
		}
	}
}
