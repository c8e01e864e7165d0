package forward_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carryon/api/internalapi"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/forward"
)

// at is where processes are.
type at map[string]string

func (a at) Address(name string) (string, bool) {
	address, known := a[name]
	return address, known
}

// side is a command side that does as it is told.
type side struct {
	do func(ctx context.Context) (command.Result, error)
}

func (s side) Do(ctx context.Context, _ any) (command.Result, error) { return s.do(ctx) }

func (s side) Stream(_ context.Context, stream domain.StreamID) (command.Version, error) {
	state, err := domain.NewAggregate(stream)
	return command.Version{Stream: "customer/somebody-else", State: state}, err
}

func client(t *testing.T, c forward.Config) *forward.Client {
	t.Helper()
	if c.Keys == nil {
		c.Keys = key
	}
	to, err := forward.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.Close)
	return to
}

func handler(t *testing.T, do func(context.Context) (command.Result, error)) http.Handler {
	t.Helper()
	h, err := internalapi.NewHandler(side{do}, internalapi.Options{Keys: key})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func answers(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func TestWhatIsCertainAndWhatIsNot(t *testing.T) {
	t.Parallel()
	done := handler(t, func(context.Context) (command.Result, error) { return command.Result{Version: 5}, nil })
	closed := httptest.NewServer(done)
	closed.Close()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    error // nil: a result
	}{
		"it answers":                         {done.ServeHTTP, nil},
		"it does not take the request":       {func(w http.ResponseWriter, _ *http.Request) { answers(w, 400, "no") }, command.ErrUnavailable},
		"it does not know the key":           {func(w http.ResponseWriter, _ *http.Request) { answers(w, 401, "no") }, command.ErrUnavailable},
		"it has too much to do":              {func(w http.ResponseWriter, _ *http.Request) { answers(w, 503, "no") }, command.ErrUnavailable},
		"it breaks":                          {func(w http.ResponseWriter, _ *http.Request) { answers(w, 500, "oh") }, command.ErrUnknown},
		"a proxy waited in vain":             {func(w http.ResponseWriter, _ *http.Request) { answers(w, 504, "oh") }, command.ErrUnknown},
		"the connection is lost":             {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, command.ErrUnknown},
		"somebody else answers":              {func(w http.ResponseWriter, _ *http.Request) { answers(w, 200, `{"result":{"version":1}}`) }, command.ErrUnknown},
		"it sends the caller somewhere else": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/x"); answers(w, 307, "") }, command.ErrUnavailable},
		"it answers without end": {func(w http.ResponseWriter, _ *http.Request) {
			answers(w, 200, strings.Repeat("x", internalapi.MaxBody+10))
		}, command.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(test.handler)
			t.Cleanup(server.Close)
			server.Config.ErrorLog = nil
			r, err := client(t, forward.Config{Addresses: at{"other": server.URL}}).Forward(within(t, 10*time.Second), "other", &command.ChangePlan{})
			if !errors.Is(err, test.want) || test.want == nil && r.Version != 5 {
				t.Errorf("%+v, %v; want %v", r, err, test.want)
			}
			if errors.Is(err, command.ErrUnknown) && errors.Is(err, command.ErrUnavailable) {
				t.Errorf("%v is both", err)
			}
		})
	}
	to := client(t, forward.Config{Addresses: at{"closed": closed.URL, "nonsense": "::"}})
	for _, process := range []string{"closed", "nobody", "nonsense"} {
		if _, err := to.Forward(within(t, 10*time.Second), process, &command.ChangePlan{}); !errors.Is(err, command.ErrUnavailable) || errors.Is(err, command.ErrUnknown) {
			t.Errorf("a process that is %s: %v", process, err)
		}
	}
	if _, err := to.Forward(within(t, 10*time.Second), "closed", "no command"); !errors.Is(err, command.ErrUnavailable) {
		t.Errorf("what is no command: %v", err)
	}
}

func TestAReadOfAnotherStreamThanAskedForIsNotBelieved(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(handler(t, nil))
	t.Cleanup(server.Close)
	to := client(t, forward.Config{Addresses: at{"other": server.URL}})
	if v, err := to.Load(within(t, 10*time.Second), "other", "customer/ada"); err == nil {
		t.Errorf("%+v", v)
	}
}

// pipes serves a handler on pipes, so that it can be in a bubble of pretended time.
func pipes(t *testing.T, h http.Handler) (dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	t.Helper()
	n := &network{doors: map[string]*door{}}
	d := n.open("other")
	server := &http.Server{Handler: h}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(d) })
	t.Cleanup(func() {
		d.slam()
		_ = server.Close()
		served.Wait()
	})
	return n.dial(&gate{})
}

func TestAProcessThatIsBusyIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dial := pipes(t, handler(t, func(ctx context.Context) (command.Result, error) {
			pause(ctx, 7*time.Second)
			return command.Result{Version: 5}, ctx.Err()
		}))
		to := client(t, forward.Config{Addresses: at{"other": "http://other"}, DialFunc: dial})
		if r, err := to.Forward(within(t, 9*time.Second), "other", &command.ChangePlan{}); err != nil || r.Version != 5 {
			t.Errorf("%+v, %v", r, err)
		}
		to.Close()
	})
}

func TestAProcessThatHangsIsGivenUpSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, free := handler(t, func(ctx context.Context) (command.Result, error) { return command.Result{}, ctx.Err() }), make(chan struct{})
		dial := pipes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-free
			h.ServeHTTP(w, r)
		}))
		to := client(t, forward.Config{Addresses: at{"other": "http://other"}, DialFunc: dial})
		begin := time.Now()
		_, err := to.Forward(within(t, time.Minute), "other", &command.ChangePlan{})
		if took := time.Since(begin); !errors.Is(err, command.ErrUnknown) || took > 3*time.Second {
			t.Errorf("given up after %s: %v", took, err)
		}
		close(free)
		to.Close()
	})
}

func TestTheCallersDeadlineIsCarried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var left time.Duration
		dial := pipes(t, handler(t, func(ctx context.Context) (command.Result, error) {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			<-ctx.Done()
			return command.Result{}, command.ErrUnknown
		}))
		to := client(t, forward.Config{Addresses: at{"other": "http://other"}, DialFunc: dial})
		begin := time.Now()
		_, err := to.Forward(within(t, 3*time.Second), "other", &command.ChangePlan{})
		if took := time.Since(begin); !errors.Is(err, command.ErrUnknown) || took > 3*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		synctest.Wait()
		if left > 3*time.Second || left < 2*time.Second {
			t.Errorf("the other process had %s", left)
		}
		to.Close()
	})
}
