package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carryon/api/chaos"
	"carryon/api/simulate"
	"carryon/domain"
)

// The checker must notice what it is there for, so it is given programs that do it.

// A test binary with this variable is such a program.
const pretendsTo = "CHAOS_TEST_PRETENDS"

func TestMain(m *testing.M) {
	if how := os.Getenv(pretendsTo); how != "" {
		pretend(how)
		return
	}
	os.Exit(m.Run())
}

// pretend serves commands and timelines from memory until it is told to end.
func pretend(how string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var mu sync.Mutex
	versions, keys, commands := map[string]int{}, map[string]int{}, 0
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		customer := strings.Split(r.URL.Path, "/")[3]
		if r.Method == http.MethodGet {
			var events []string
			for seq := 1; seq <= versions[customer]; seq++ {
				if how != "skip" || seq != 3 {
					events = append(events, fmt.Sprintf(`{"seq":%d}`, seq))
				}
			}
			fmt.Fprintf(w, `{"events":[%s]}`, strings.Join(events, ","))
			return
		}
		if commands++; how == "fall" && commands == 100 {
			os.Exit(7)
		}
		key := r.Header.Get("Idempotency-Key")
		if _, known := keys[key]; !known || how == "forget keys" {
			versions[customer]++
			keys[key] = versions[customer]
		}
		fmt.Fprintf(w, `{"version":%d,"position":"1:%d","license":{"license_id":"l%d"}}`, keys[key], keys[key], keys[key])
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	server := httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	server.Start()
	fmt.Fprintf(os.Stdout, "pretending, ready at %s (nothing kept)\n", server.URL)
	<-ctx.Done()
	if how == "end badly" {
		os.Exit(3)
	}
}

// pretended is the place where one such process is.
type pretended struct {
	how   string
	found chaos.Audited

	mu     sync.Mutex
	audits []bool // complete?
}

func (p *pretended) Processes(_ int, dir string) ([]*chaos.Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process, err := chaos.NewProcess("pretender", program, []string{"command", "query"}, nil, []string{pretendsTo + "=" + p.how}, filepath.Join(dir, "log"))
	return []*chaos.Process{process}, err
}

func (p *pretended) Audit(_ context.Context, _ int, _, _ string, complete bool) (chaos.Audited, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.audits = append(p.audits, complete)
	a := p.found
	a.Events = int64(1000 * len(p.audits))
	return a, nil
}

func (p *pretended) Servers() []*chaos.Server { return nil }

// oneTitle is the catalogue.
type oneTitle struct{}

func (oneTitle) Pick(*rand.Rand) domain.Title              { return domain.Title{ID: "t1"} }
func (oneTitle) Next(string) (domain.Title, bool)          { return domain.Title{}, false }
func (oneTitle) lookup(id string) (_ domain.Title, _ bool) { return domain.Title{ID: id}, true }

func play(t *testing.T, site *pretended, change func(*chaos.Options)) (*chaos.State, error) {
	t.Helper()
	o := chaos.Options{
		Folder: t.TempDir(), Seed: 3, Events: 1, RoundCommands: 600,
		Load:  simulate.Options{Households: 8, Callers: 4, Repeats: 0.2, Patience: 3, Titles: oneTitle{}, Lookup: oneTitle{}.lookup},
		Token: func(domain.Role, string) (string, error) { return "token", nil },
		Say:   t.Logf,
	}
	if change != nil {
		change(&o)
	}
	state := chaos.NewState("pretended", "", o.Seed)
	err := chaos.Run(t.Context(), site, o, state)
	if kept, failed := chaos.LoadState(o.Folder); failed != nil || kept.Rounds != state.Rounds || len(kept.Found) != len(state.Found) {
		t.Errorf("kept %+v, %v", kept, failed)
	}
	return state, err
}

func TestAnHonestProgramIsFoundInOrder(t *testing.T) {
	t.Parallel()
	site := &pretended{how: "work"}
	state, err := play(t, site, func(o *chaos.Options) { o.Events = 2500 })
	if err != nil || !state.Clean() || state.Rounds != 3 || state.Acknowledged == 0 || state.Repeats == 0 {
		t.Errorf("%v: %+v", err, state)
	}
	// The first round and the last are compared as a whole; which is the last shows when its events were counted.
	if got := fmt.Sprint(site.audits); got != "[true false false true]" {
		t.Errorf("complete audits: %s", got)
	}
}

func TestWhatAProgramDoesWrongIsFound(t *testing.T) {
	t.Parallel()
	for how, says := range map[string]string{
		"skip":        "acknowledged, but not to be seen",
		"fall":        "",
		"forget keys": "a repeated command was answered differently",
		"end badly":   "ended with status 3",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			state, err := play(t, &pretended{how: how}, func(o *chaos.Options) { o.Load.Patience = 0 })
			if !errors.Is(err, chaos.ErrFound) || state.Clean() || !strings.Contains(err.Error(), says) {
				t.Errorf("%v: %+v", err, state)
			}
		})
	}
}

func TestWhatAnAuditFindsEndsTheRun(t *testing.T) {
	t.Parallel()
	for name, found := range map[string]chaos.Audited{
		"lost": {Lost: 1, Says: []string{"it is lost"}}, "skipped": {Skipped: 2, Says: []string{"it is skipped"}},
		"doubled": {Doubled: 3, Says: []string{"it is doubled"}}, "otherwise": {Otherwise: 4, Says: []string{"it is otherwise"}},
	} {
		state, err := play(t, &pretended{how: "work", found: found}, nil)
		if !errors.Is(err, chaos.ErrFound) || !strings.Contains(err.Error(), "it is "+name) || state.Rounds != 1 ||
			state.Lost != found.Lost || state.Skipped != found.Skipped || state.Doubled != found.Doubled || state.Otherwise != found.Otherwise {
			t.Errorf("%s: %v: %+v", name, err, state)
		}
	}
}

func TestAProcessIsKilledPausedAndCutOffAndComesBack(t *testing.T) {
	t.Parallel()
	// It forgets everything when it is killed, so only faults that leave it alive are looked for; but all are drawn.
	site := &pretended{how: "work"}
	state, err := play(t, site, func(o *chaos.Options) {
		o.RoundFaults, o.RoundCommands, o.Load.Patience = 6, 4000, 200
	})
	if err != nil && !errors.Is(err, chaos.ErrFound) {
		t.Fatal(err)
	}
	if state.Faults() < 3 {
		t.Errorf("%d faults of 6 happened: %v", state.Faults(), state.FaultKinds)
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	began := make(chan struct{})
	var once sync.Once
	ended := make(chan error, 1)
	o := chaos.Options{
		Folder: t.TempDir(), Seed: 3, RoundCommands: 100_000_000, RoundFaults: 5,
		Load:  simulate.Options{Households: 8, Callers: 4, Patience: 3, Titles: oneTitle{}, Lookup: oneTitle{}.lookup},
		Token: func(domain.Role, string) (string, error) { return "token", nil },
		Say:   t.Logf, Progress: func(int64, int64) { once.Do(func() { close(began) }) },
	}
	go func() { ended <- chaos.Run(ctx, &pretended{how: "work"}, o, chaos.NewState("pretended", "", 3)) }()
	<-began
	stop()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}
