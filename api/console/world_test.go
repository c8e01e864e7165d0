package console_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/simulate"
	"carryon/api/web"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/profile"
	"carryon/query"
)

// world is the embedded profile as it is served, over a small history that was made through the real handlers.
type world struct {
	t      testing.TB
	url    string
	keys   cli.Keys
	system cli.System
	clock  *clock
	titles []string // ids of the catalogue, some
}

// worldOptions say where a world is, and what happens in it before it is served.
type worldOptions struct {
	settings   map[string]string // besides where it listens; none: embedded
	households int
	events     int64
	until      time.Duration // the history ends so long ago
	story      func(*world)  // further things that happen, after the history
}

// clock is the real one, but while the history is made.
type clock struct{ pretended atomic.Int64 }

func (c *clock) now() time.Time {
	if ns := c.pretended.Load(); ns != 0 {
		return time.Unix(0, ns).UTC()
	}
	return time.Now().UTC()
}

const historyLength = 90 * 24 * time.Hour

func newWorld(t testing.TB, households int, events int64) *world {
	t.Helper()
	return newWorldOf(t, worldOptions{households: households, events: events})
}

func newWorldOf(t testing.TB, o worldOptions) *world {
	t.Helper()
	flags := map[string]string{"data": t.TempDir(), "listen": "127.0.0.1:0"}
	maps.Copy(flags, o.settings)
	c, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	clock := &clock{}
	wiring := profile.Wiring()
	system, err := wiring.Open(t.Context(), c, cli.OpenOptions{Logger: slog.New(slog.DiscardHandler), Clock: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, system: system, clock: clock}
	if w.keys, err = wiring.Keys(c); err != nil {
		t.Fatal(err)
	}
	if o.events > 0 {
		titles, err := wiring.Catalogue(c)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC().Truncate(time.Second)
		_, err = simulate.History(t.Context(), simulate.Handlers{App: system.Commands()}, simulate.HistoryOptions{
			Options: simulate.Options{Seed: 11, Households: o.households, Prefix: "c", Callers: 16, Patience: 3, Titles: titles, Lookup: titles.Title},
			From:    now.Add(-historyLength), To: now.Add(-o.until), Events: o.events, Written: system.Recorded,
			SetClock: func(at time.Time) { clock.pretended.Store(at.UnixNano()) },
		})
		if err != nil {
			t.Fatal(err)
		}
		clock.pretended.Store(0)
	}
	if o.story != nil {
		titles, err := wiring.Catalogue(c)
		if err != nil {
			t.Fatal(err)
		}
		for draw := rand.New(rand.NewPCG(3, 5)); len(w.titles) < 400; { //nolint:gosec // the same each time
			if title := titles.Pick(draw); !slices.Contains(w.titles, title.ID) {
				w.titles = append(w.titles, title.ID)
			}
		}
		o.story(w)
		clock.pretended.Store(0)
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- system.Serve(ctx, func(url string) { ready <- url })
		close(ready)
	}()
	if w.url = <-ready; w.url == "" {
		stop()
		t.Fatalf("serving: %v", <-done)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
		if err := system.Close(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return w
}

// caughtUp waits until every read model has reached the tails that stand now.
func (w *world) caughtUp() {
	w.t.Helper()
	heads, err := w.system.Heads(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	operator := query.ListProjections{By: query.Caller{Actor: domain.Actor{ID: "test", Role: domain.RoleOperator}}}
	behind := func() string {
		answer, err := w.system.Queries().Projections.Handle(w.t.Context(), operator)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range answer.Projections {
			reached := map[int]uint64{}
			for _, s := range p.Shards {
				reached[s.Shard] = s.Applied
			}
			for shard, head := range heads {
				if reached[shard] < head.Index {
					return p.Name
				}
			}
		}
		return ""
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); behind() != ""; <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("the read model %s did not reach the tail", behind())
		}
	}
}

func (w *world) token(role domain.Role, customer string) string {
	w.t.Helper()
	token, err := w.keys.Token(role, customer, "kim-"+string(role), time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func (w *world) meta(role domain.Role) command.Meta {
	return command.Meta{CommandID: web.NewCommandID(), Actor: domain.Actor{ID: "test", Role: role}}
}

// visitor is a browser without a window.
type visitor struct {
	w      *world
	client *http.Client
}

type seen struct {
	status int
	header http.Header
	path   string // that was shown in the end
	text   string
}

func (w *world) visitor(role domain.Role) *visitor {
	w.t.Helper()
	v := w.stranger()
	if got := v.post("/sign-in", url.Values{"token": {w.token(role, "")}}); got.status != http.StatusOK {
		w.t.Fatalf("signing in as %s: status %d: %.300s", role, got.status, got.text)
	}
	return v
}

func (w *world) stranger() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &visitor{w: w, client: &http.Client{Jar: jar}}
}

func (v *visitor) do(r *http.Request) seen {
	v.w.t.Helper()
	answer, err := v.client.Do(r)
	if err != nil {
		v.w.t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		v.w.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return seen{answer.StatusCode, answer.Header, answer.Request.URL.RequestURI(), string(raw)}
}

func (v *visitor) get(path string) seen {
	v.w.t.Helper()
	r, err := http.NewRequestWithContext(v.w.t.Context(), http.MethodGet, v.w.url+path, nil)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return v.do(r)
}

func (v *visitor) post(path string, form url.Values, header ...string) seen {
	v.w.t.Helper()
	r, err := http.NewRequestWithContext(v.w.t.Context(), http.MethodPost, v.w.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return v.do(r)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

// form is what the hidden fields of a page hold.
func (s seen) form() url.Values {
	f := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(s.text, -1) {
		f.Set(m[1], strings.ReplaceAll(m[2], "&amp;", "&"))
	}
	return f
}
