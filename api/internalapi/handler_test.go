package internalapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"carryon/api/internalapi"
	"carryon/command"
	"carryon/domain"
)

var (
	key      = []byte("a key of thirty-two bytes, or so")
	otherKey = []byte("another key of thirty-two bytes…")
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func serve(t *testing.T, do scripted, o internalapi.Options) *httptest.Server {
	t.Helper()
	if o.Keys == nil {
		o.Keys = internalapi.Keys{key}
	}
	o.Now = func() time.Time { return noon }
	h, err := internalapi.NewHandler(do, o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// reply is what came of a request.
type reply struct {
	to     *http.Request
	status int
	header http.Header
	body   []byte
}

// ask sends a signed request after change has changed it.
func ask(t *testing.T, server *httptest.Server, path string, body []byte, keys internalapi.Keys, at time.Time, change func(*http.Request)) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(internalapi.HeaderPatience, "5000")
	keys.Sign(r, body, at)
	if change != nil {
		change(r)
	}
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{r, response.StatusCode, response.Header, answer}
}

func plan(t *testing.T) []byte {
	t.Helper()
	body, err := internalapi.EncodeCommand(&command.ChangePlan{Customer: "ada", Plan: "premium", Country: "DE"})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestASignedCommandIsDoneAndItsAnswerIsSigned(t *testing.T) {
	t.Parallel()
	server := serve(t, scripted{func(ctx context.Context, c any) (command.Result, error) {
		if p, ok := c.(*command.ChangePlan); !ok || p.Customer != "ada" {
			t.Errorf("the command is %+v", c)
		}
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 5*time.Second {
			t.Errorf("the caller waits for five seconds, the deadline is %s", time.Until(deadline))
		}
		return command.Result{Stream: "customer/ada", Version: 7}, nil
	}}, internalapi.Options{})
	got := ask(t, server, internalapi.PathCommand, plan(t), internalapi.Keys{key}, noon, nil)
	if got.status != http.StatusOK {
		t.Fatalf("%d: %s", got.status, got.body)
	}
	if err := (internalapi.Keys{key}).VerifyAnswer(got.header, got.to, got.body); err != nil {
		t.Error(err)
	}
	if (internalapi.Keys{otherKey}).VerifyAnswer(got.header, got.to, got.body) == nil || (internalapi.Keys{key}).VerifyAnswer(got.header, got.to, append(got.body, ' ')) == nil {
		t.Error("an answer of somebody else, or a changed one, is believed")
	}
	if result, err := internalapi.DecodeResult(got.body); err != nil || result.Version != 7 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestAStreamIsReadWithItsState(t *testing.T) {
	t.Parallel()
	server := serve(t, scripted{}, internalapi.Options{})
	body, err := internalapi.EncodeStream("customer/ada")
	if err != nil {
		t.Fatal(err)
	}
	got := ask(t, server, internalapi.PathRead, body, internalapi.Keys{key}, noon, nil)
	if got.status != http.StatusOK {
		t.Fatalf("%d: %s", got.status, got.body)
	}
	v, err := internalapi.DecodeVersion(got.body)
	if _, is := v.State.(*domain.Customer); err != nil || !is || v.Seq != 4 || v.Head != 9 || v.Position.Place != 3 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestWhatIsNotSignedOrMakesNoSenseIsRefusedAndNothingDone(t *testing.T) {
	t.Parallel()
	server := serve(t, scripted{func(context.Context, any) (command.Result, error) {
		t.Error("something was done")
		return command.Result{}, nil
	}}, internalapi.Options{})
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	otherBody := func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(strings.Replace(string(plan(t)), "premium", "standar", 1)))
	}
	for name, test := range map[string]struct {
		body   []byte
		keys   internalapi.Keys
		at     time.Time
		change func(*http.Request)
		want   int
	}{
		"another key":            {plan(t), internalapi.Keys{otherKey}, noon, nil, 401},
		"no signature":           {plan(t), internalapi.Keys{key}, noon, set(internalapi.HeaderMAC, ""), 401},
		"half a signature":       {plan(t), internalapi.Keys{key}, noon, set(internalapi.HeaderMAC, "17000000"), 401},
		"signed long ago":        {plan(t), internalapi.Keys{key}, noon.Add(-6 * time.Minute), nil, 401},
		"signed in the future":   {plan(t), internalapi.Keys{key}, noon.Add(6 * time.Minute), nil, 401},
		"another body":           {plan(t), internalapi.Keys{key}, noon, otherBody, 401},
		"no patience":            {plan(t), internalapi.Keys{key}, noon, set(internalapi.HeaderPatience, ""), 400},
		"patience that is none":  {plan(t), internalapi.Keys{key}, noon, set(internalapi.HeaderPatience, "-5"), 400},
		"a command that is none": {[]byte(`{"name":"destroy"}`), internalapi.Keys{key}, noon, nil, 400},
		"too much":               {bytes.Repeat([]byte(" "), internalapi.MaxBody+1), internalapi.Keys{key}, noon, nil, 413},
	} {
		if got := ask(t, server, internalapi.PathCommand, test.body, test.keys, test.at, test.change); got.status != test.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, test.want)
		}
	}
	if got := ask(t, server, internalapi.PathRead, []byte(`{"stream":"nobody"}`), internalapi.Keys{key}, noon, nil); got.status != 400 {
		t.Errorf("reading what is no stream: %d", got.status)
	}
	if got := ask(t, server, "/internal/v0/command", plan(t), internalapi.Keys{key}, noon, nil); got.status != 404 {
		t.Errorf("another version: %d", got.status)
	}
}

func TestAKeyIsChangedWhileProcessesRun(t *testing.T) {
	t.Parallel()
	server := serve(t, scripted{func(context.Context, any) (command.Result, error) { return command.Result{}, nil }}, internalapi.Options{Keys: internalapi.Keys{key, otherKey}})
	got := ask(t, server, internalapi.PathCommand, plan(t), internalapi.Keys{otherKey, key}, noon, nil)
	if got.status != http.StatusOK || (internalapi.Keys{otherKey, key}).VerifyAnswer(got.header, got.to, got.body) != nil {
		t.Errorf("who signs with the new key is answered with %d", got.status)
	}
}

func TestMoreThanSoManyRequestsAtOnceAreRefused(t *testing.T) {
	t.Parallel()
	entered, free := make(chan struct{}), make(chan struct{})
	server := serve(t, scripted{func(context.Context, any) (command.Result, error) {
		entered <- struct{}{}
		<-free
		return command.Result{}, nil
	}}, internalapi.Options{MaxInFlight: 1})
	done := make(chan struct{})
	go func() {
		defer close(done)
		ask(t, server, internalapi.PathCommand, plan(t), internalapi.Keys{key}, noon, nil)
	}()
	<-entered
	if got := ask(t, server, internalapi.PathCommand, plan(t), internalapi.Keys{key}, noon, nil); got.status != http.StatusServiceUnavailable {
		t.Errorf("the second request is answered with %d", got.status)
	}
	close(free)
	<-done
}

func TestShortKeysAreRefused(t *testing.T) {
	t.Parallel()
	for _, keys := range []internalapi.Keys{nil, {}, {[]byte("short")}, {key, []byte("short")}} {
		if _, err := internalapi.NewHandler(scripted{}, internalapi.Options{Keys: keys}); err == nil {
			t.Errorf("%d keys are taken", len(keys))
		}
	}
}

func TestAnErrorOfTheCommandIsAnAnswer(t *testing.T) {
	t.Parallel()
	server := serve(t, scripted{func(context.Context, any) (command.Result, error) {
		return command.Result{}, &command.VersionConflictError{Expected: 1, Actual: 2}
	}}, internalapi.Options{})
	got := ask(t, server, internalapi.PathCommand, plan(t), internalapi.Keys{key}, noon, nil)
	if _, err := internalapi.DecodeResult(got.body); got.status != http.StatusOK || !errors.Is(err, command.ErrVersionConflict) {
		t.Errorf("%d: %v", got.status, err)
	}
}
