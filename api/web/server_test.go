package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"carryon/api/web"
	"carryon/domain"
)

func listen(t *testing.T, o web.ServerOptions) *web.Server {
	t.Helper()
	s, err := web.Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // again, or after a failed one
	})
	return s
}

func get(ctx context.Context, url, token string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return http.DefaultClient.Do(r)
}

// Not ready, then no new connections, then what is under way finishes, then closed.
func TestAServerStopsInOrder(t *testing.T) {
	t.Parallel()
	inside, leave := make(chan struct{}), make(chan struct{})
	health := &web.Health{}
	g := gateway(t, web.GatewayOptions{Health: health}, func(context.Context, string) error {
		close(inside)
		<-leave
		return nil
	})
	s := listen(t, web.ServerOptions{Handler: g, Health: health})
	ready := func() (string, error) {
		resp, err := get(t.Context(), s.URL()+"/readyz", "")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		return resp.Status, nil
	}
	if got, err := ready(); err != nil || !strings.HasPrefix(got, "200") {
		t.Fatalf("ready: %s, %v", got, err)
	}
	token := tokenKeys.Token(t, domain.RoleOperator, "")
	answered := make(chan string, 1)
	go func() {
		resp, err := get(t.Context(), s.URL()+"/v1/customers/c-1", token)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		answered <- resp.Status
	}()
	<-inside
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	<-s.Ended() // accepts no more
	if answer, _ := health.Examine(t.Context()); answer.Status != "not ready" {
		t.Errorf("while it drains it is %q", answer.Status)
	}
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(s.URL(), "http://"), time.Second); err == nil {
		t.Error("a new connection was taken while it drains")
	}
	select {
	case err := <-stopped:
		t.Fatalf("it stopped with a request under way: %v", err)
	default:
	}
	close(leave)
	if got := <-answered; !strings.HasPrefix(got, "200") {
		t.Errorf("the request under way got %s", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestAServerThatCantDrainInTimeCutsOff(t *testing.T) {
	t.Parallel()
	inside := make(chan struct{})
	g := gateway(t, web.GatewayOptions{}, func(ctx context.Context, _ string) error {
		close(inside)
		<-ctx.Done()
		return ctx.Err()
	})
	s := listen(t, web.ServerOptions{Handler: g})
	token := tokenKeys.Token(t, domain.RoleOperator, "")
	ended := make(chan error, 1)
	go func() {
		resp, err := get(t.Context(), s.URL()+"/v1/customers/c-1", token)
		if err == nil {
			err = errors.New(resp.Status)
			resp.Body.Close()
		}
		ended <- err
	}()
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopping: %v", err)
	}
	if err := <-ended; err == nil || strings.Contains(err.Error(), "200") {
		t.Errorf("the request under way got %v", err)
	}
}

// A slow answer must not be taken for a caller who has gone.
func TestTheDeadlinesForReadingDoNotCutOffAnAnswerThatTakesLonger(t *testing.T) {
	t.Parallel()
	cut := make(chan error, 1)
	slow := func(ctx context.Context, _ string) error {
		select {
		case <-ctx.Done():
			cut <- ctx.Err()
		case <-time.After(300 * time.Millisecond):
			cut <- nil
		}
		return nil
	}
	g := gateway(t, web.GatewayOptions{Patience: 50 * time.Millisecond}, slow)
	s := listen(t, web.ServerOptions{Handler: g, LongestRoute: 50 * time.Millisecond, Margin: 50 * time.Millisecond})
	for method, body := range map[string]string{"GET": "", "PUT": `{"plan":"x"}`} {
		path := map[string]string{"GET": "", "PUT": "/plan"}[method]
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+"/v1/customers/c-1"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+tokenKeys.Token(t, domain.RoleOperator, ""))
		r.Header.Set("Content-Type", "application/json")
		if resp, err := http.DefaultClient.Do(r); err == nil { // the time for writing may be over
			resp.Body.Close()
		}
		if err := <-cut; err != nil {
			t.Errorf("%s: the handler was cut off: %v", method, err)
		}
	}
}

func TestABodyThatDoesNotArriveInTimeIsGivenUp(t *testing.T) {
	t.Parallel()
	g := gateway(t, web.GatewayOptions{Patience: 50 * time.Millisecond}, func(context.Context, string) error { return nil })
	s := listen(t, web.ServerOptions{Handler: g})
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /v1/customers/c-1/plan HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\nAuthorization: Bearer %s\r\n\r\n{", tokenKeys.Token(t, domain.RoleOperator, ""))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(raw), "REQUEST_TIMEOUT") {
		t.Errorf("status %d, %v: %s", resp.StatusCode, err, raw)
	}
}

func TestHeadersBeyondTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	s := listen(t, web.ServerOptions{Handler: gateway(t, web.GatewayOptions{}, func(context.Context, string) error { return nil })})
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: x\r\nX-Much: %s\r\n\r\n", strings.Repeat("a", 64<<10))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, %v", resp.StatusCode, err)
	}
}

func TestListeningBeyondThisMachineIsSaidLoudly(t *testing.T) {
	t.Parallel()
	log := &said{}
	s := listen(t, web.ServerOptions{Listen: "0.0.0.0:0", Handler: http.NotFoundHandler(), Logger: slog.New(slog.NewTextHandler(log, nil))})
	if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], "without TLS") {
		t.Errorf("the log says %q", lines)
	}
	if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") {
		t.Errorf("URL is %s", s.URL())
	}
	quiet := &said{}
	listen(t, web.ServerOptions{Handler: http.NotFoundHandler(), Logger: slog.New(slog.NewTextHandler(quiet, nil))})
	if lines := quiet.lines(); lines[0] != "" {
		t.Errorf("listening on this machine says %q", lines)
	}
}
