//go:build browser

package console_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"carryon/domain"
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
	b.do("opening "+path, chromedp.Navigate(b.w.url+path), chromedp.WaitVisible("main h1, main form"))
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

// contrast finds texts that do not stand out enough from what is behind them (WCAG 2 AA).
const contrast = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0], g: m[1], b: m[2], a: m.length > 3 ? m[3] : 1 }; };
  const light = c => { const f = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(c.r) + .7152 * f(c.g) + .0722 * f(c.b); };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.a > .99) return c; } return { r: 255, g: 255, b: 255, a: 1 }; };
  const found = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const e = n.parentElement;
    if (!n.data.trim() || !e.checkVisibility() || e.closest(".hide, .skip, script, option, .u-legend")) continue;
    const s = getComputedStyle(e), a = light(parse(s.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const large = parseFloat(s.fontSize) >= 24 || parseFloat(s.fontSize) >= 18.66 && s.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5)) found.add(ratio.toFixed(2) + " " + e.tagName + "." + e.className + " “" + n.data.trim().slice(0, 30) + "”");
  }
  return [...found];
})()`

// sideways tells by how much the page is wider than the window.
const sideways = `document.documentElement.scrollWidth - document.documentElement.clientWidth`

// unnamed finds controls that a screen reader could not name.
const unnamed = `[...document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a")].filter(e => e.checkVisibility()
  && !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute("aria-label") && !e.title).map(e => e.outerHTML.slice(0, 90))`

func TestEveryScreenIsFitToBeLookedAt(t *testing.T) {
	w := newWorld(t, 60, 6000)
	customer, title, device := w.refused(60)
	for _, of := range []struct {
		role  domain.Role
		paths map[string]string
	}{
		{domain.RoleSupport, map[string]string{
			"find": "/", "nothing-found": "/find?q=nobody-has-this", "customer": "/customers/" + customer,
			"why":            "/customers/" + customer + "/why?title_id=" + title + "&device_id=" + device,
			"act":            "/customers/" + customer + "/acts/grant-exception?code=YEARLY_TITLE_LIMIT",
			"act-device":     "/customers/" + customer + "/acts/remove-device?device=" + device,
			"time":           "/customers/" + customer + "/time?at=" + time.Now().AddDate(0, 0, -20).UTC().Format("2006-01-02T15:04:05"),
			"time-two":       "/customers/" + customer + "/time?at=" + time.Now().AddDate(0, 0, -12).UTC().Format("2006-01-02T15:04:05") + "&and=" + time.Now().UTC().Format("2006-01-02T15:04:05"),
			"search":         "/search?q=the",
			"problem":        "/customers/nobody",
			"analytics":      "/analytics",
			"analytics-code": "/analytics?metric=denials&group_by=code&interval=week&compare=previous",
			"operations":     "/operations",
		}},
		{domain.RoleAnalyst, map[string]string{"analyst-find": "/", "analyst-search": "/search?type=LicenseDenied"}},
	} {
		b := newBrowser(t, w)
		b.do("signing in", chromedp.Navigate(w.url+"/sign-in#token="+w.token(of.role, "")), chromedp.WaitVisible("#from-link"))
		if of.role == domain.RoleSupport {
			b.shot("sign-in")
		}
		b.do("pressing the button", chromedp.Click(".primary"), chromedp.WaitVisible("#find"))
		for _, window := range []struct {
			name          string
			width, height int64
		}{{"1440", 1440, 900}, {"390", 390, 844}} {
			for _, theme := range []string{"light", "dark"} {
				b.do("choosing "+theme, chromedp.EmulateViewport(window.width, window.height))
				for name, path := range of.paths {
					b.open(path)
					evaluate[any](b, `document.documentElement.dataset.theme = "`+theme+`"; dispatchEvent(new Event("resize")); 1`)
					b.do("settling", chromedp.WaitVisible("main"))
					for _, problem := range evaluate[[]string](b, contrast) {
						t.Errorf("%s %s: too little contrast: %s", name, theme, problem)
					}
					if window.name == "390" {
						if more := evaluate[int](b, sideways); more > 0 {
							t.Errorf("%s at %s: %d pixels too wide", name, window.name, more)
						}
					}
					for _, element := range evaluate[[]string](b, unnamed) {
						t.Errorf("%s: a control without a name: %s", name, element)
					}
					b.shot(name + "-" + window.name + "-" + theme)
					b.listen(name)
				}
			}
		}
	}
}
