package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"carryon/api/web"
)

// One way through: whatever a page shows or does is a request to /v1 with the visitor's token, whether the API is in
// this process or in another.

// Local hands requests to a handler of this process.
func Local(h http.Handler) http.RoundTripper { return local{h} }

// Remote sends requests to another process.
func Remote(base *url.URL, through http.RoundTripper) http.RoundTripper {
	return remote{base: base, through: through}
}

type remote struct {
	base    *url.URL
	through http.RoundTripper
}

// RoundTrip sends the request on.
func (t remote) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = t.base.Scheme, t.base.Host, t.base.Host
	return t.through.RoundTrip(r) //nolint:wrapcheck // told by the caller
}

type local struct{ handler http.Handler }

// RoundTrip lets the handler answer. The body of the answer must be closed: that ends the handler, should it still
// write.
func (t local) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(bare{r.Context()})
	r = r.WithContext(ctx)
	if r.Body == nil { // as a client may leave it; a handler is never given none
		r.Body = http.NoBody
	}
	read, write := io.Pipe()
	w := &piped{header: http.Header{}, body: write, begun: make(chan struct{})}
	go func() { // ends with the handler, which ends with ctx
		defer cancel()
		defer func() {
			if cause := recover(); cause != nil { // the gateway lets only one through: an answer that was cut off
				w.err = errCutOff
				w.begin(http.StatusBadGateway)
				_ = write.CloseWithError(errCutOff) // never fails
				return
			}
			w.begin(http.StatusOK)
			_ = write.Close() // never fails
		}()
		t.handler.ServeHTTP(w, r)
	}()
	select {
	case <-w.begun:
	case <-ctx.Done():
		<-w.begun // it may have been ready; a handler honours its context
	}
	return &http.Response{
		StatusCode: w.status, Header: w.sent, Body: closing{read, cancel}, Request: r, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
	}, nil
}

// bare ends with a context, and knows nothing of what it holds: a router would take the request for a part of the one
// that the visitor made.
type bare struct{ context.Context }

// Value knows nothing.
func (bare) Value(any) any { return nil }

var errCutOff = errors.New("the answer was cut off")

// piped is the answer of a local handler on its way.
type piped struct {
	header, sent http.Header
	body         *io.PipeWriter
	begun        chan struct{}
	once         sync.Once
	status       int
	err          error
}

// Header is what will be sent.
func (p *piped) Header() http.Header { return p.header }

// WriteHeader begins the answer.
func (p *piped) WriteHeader(status int) { p.begin(status) }

// Write waits until the bytes are read.
func (p *piped) Write(b []byte) (int, error) {
	p.begin(http.StatusOK)
	return p.body.Write(b) //nolint:wrapcheck // told by the caller
}

// Flush does nothing: nothing is held back.
func (p *piped) Flush() {}

func (p *piped) begin(status int) {
	p.once.Do(func() {
		p.status, p.sent = status, p.header.Clone()
		close(p.begun)
	})
}

type closing struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close ends the handler.
func (c closing) Close() error {
	c.cancel()
	return c.PipeReader.Close()
}

// maxAnswer is the largest answer that a page is made of.
const maxAnswer = 32 << 20

// get asks the query API.
func get[A any](v *visit, path string, q url.Values) (A, error) {
	return ask[A](v, v.console.o.Queries, request{method: http.MethodGet, path: path, query: q})
}

// request is what is asked of an API.
type request struct {
	method, path string
	query        url.Values
	body         any
	key, ifMatch string // headers of a command; empty: none
	lastEventID  string // header of a stream that goes on; empty: none
}

// ask asks an API. What it answers with, if not 200, is the *web.Problem that is returned.
func ask[A any](v *visit, through http.RoundTripper, q request) (A, error) {
	var answer A
	response, err := v.send(through, q)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("reading the answer of %s: %w", q.method, err)
	}
	return answer, nil
}

// send sends a request with the visitor's token, and under the id of the visitor's own request.
func (v *visit) send(through http.RoundTripper, q request) (*http.Response, error) {
	if through == nil {
		return nil, web.New(web.Unavailable, "this console was given no command API to act through")
	}
	var body io.Reader
	if q.body != nil {
		raw, err := json.Marshal(q.body)
		if err != nil {
			return nil, fmt.Errorf("writing a request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(v.r.Context(), q.method, "http://console.invalid"+q.path, body)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	r.URL.RawQuery = q.query.Encode()
	r.Header.Set("Authorization", "Bearer "+v.token)
	r.Header.Set("X-Request-Id", web.RequestOf(v.r.Context()).ID)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.key != "" {
		r.Header.Set("Idempotency-Key", q.key)
	}
	if q.ifMatch != "" {
		r.Header.Set("If-Match", q.ifMatch)
	}
	if q.lastEventID != "" {
		r.Header.Set("Last-Event-Id", q.lastEventID)
	}
	response, err := through.RoundTrip(r)
	if err != nil {
		return nil, web.New(web.Unavailable, "the API behind this page can't be reached").Because(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	return nil, problem(response)
}

func problem(response *http.Response) error {
	p := &web.Problem{}
	if strings.Contains(response.Header.Get("Content-Type"), "json") {
		if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(p); err == nil && p.Status != 0 {
			return p
		}
	}
	return web.New(web.Internal, "the API behind this page answered with status %d", response.StatusCode)
}

// path joins the parts of a path; every second one is a value, and escaped.
func path(parts ...string) string {
	var b strings.Builder
	for i, part := range parts {
		if i%2 == 1 {
			part = url.PathEscape(part)
		}
		b.WriteString(part)
	}
	return b.String()
}
