package elastic

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8"

	"carryon/projector"
	"carryon/query"
)

// Client is the way to the servers. Nothing is asked of them before it is needed, so that servers that are away keep
// nobody from starting. It may be used by any number of goroutines.
type Client struct {
	es       *elasticsearch.BaseClient
	cfg      Config
	inFlight chan struct{} // holds a token for each bulk request under way
	idle     interface{ CloseIdleConnections() }
	prepared sync.Map // names of models whose template and control index are there
}

// Open makes a client of valid settings.
func Open(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	pool, err := cfg.trusted()
	if err != nil {
		return nil, err
	}
	plain := http.DefaultTransport.(*http.Transport).Clone()
	plain.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	plain.MaxIdleConnsPerHost = 16
	plain.ResponseHeaderTimeout = cfg.RequestTimeout
	var transport http.RoundTripper = plain
	if cfg.transport != nil {
		transport = cfg.transport
	}
	es, err := elasticsearch.NewBaseClient(elasticsearch.Config{
		Addresses: cfg.Addresses, Transport: &authorized{next: transport, cfg: cfg},
		DisableRetry: true, // what may be repeated is known here better than there
	})
	if err != nil {
		return nil, fmt.Errorf("a client of elasticsearch: %w", err)
	}
	return &Client{es: es, cfg: cfg, inFlight: make(chan struct{}, cfg.InFlight), idle: plain}, nil
}

// Close gives the connections up.
func (c *Client) Close() error {
	c.idle.CloseIdleConnections()
	return nil
}

// Ready says what keeps the servers from answering; nil: nothing does.
func (c *Client) Ready(ctx context.Context) error {
	var health struct {
		Status   string `json:"status"`
		TimedOut bool   `json:"timed_out"`
	}
	err := c.call(ctx, http.MethodGet, "/_cluster/health/"+c.cfg.Prefix+"-*?wait_for_status=yellow&timeout=2s&expand_wildcards=all", nil, &health)
	if answer, ok := errors.AsType[*answerError](err); ok && answer.Status == http.StatusRequestTimeout {
		return fmt.Errorf("elasticsearch: some of the indices can't be read: %w", query.ErrUnavailable)
	}
	if err != nil {
		return fmt.Errorf("elasticsearch: %w", readError(err))
	}
	if health.TimedOut || health.Status == "red" {
		return fmt.Errorf("elasticsearch: some of the indices can't be read: %w", query.ErrUnavailable)
	}
	return nil
}

// started waits until an index can be read and written. Its health does not tell: it is yellow when it has only just been
// made.
func (c *Client) started(ctx context.Context, index string) error {
	return c.call(ctx, http.MethodGet, "/_cluster/health/"+index+"?wait_for_active_shards=1&timeout=10s", nil, nil)
}

// authorized says who asks.
type authorized struct {
	next http.RoundTripper
	cfg  Config

	mu     sync.Mutex
	secret string
	readAt time.Time
}

// secretFor is how long what a file holds is good for.
const secretFor = 30 * time.Second

// RoundTrip is that of http.RoundTripper.
func (a *authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.cfg.APIKeyFile == "" && a.cfg.Username == "" {
		return a.next.RoundTrip(r)
	}
	secret, err := a.current()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	if a.cfg.APIKeyFile != "" {
		r.Header.Set("Authorization", "ApiKey "+secret)
	} else {
		r.SetBasicAuth(a.cfg.Username, secret)
	}
	return a.next.RoundTrip(r)
}

func (a *authorized) current() (string, error) {
	path := a.cfg.APIKeyFile
	orDefault(&path, a.cfg.PasswordFile)
	if path == "" {
		return a.cfg.Password, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.secret != "" && time.Since(a.readAt) < secretFor {
		return a.secret, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("password or key of elasticsearch: %w", err)
	}
	a.secret, a.readAt = strings.TrimSpace(string(data)), time.Now()
	return a.secret, nil
}

// answerError is an answer that is a refusal.
type answerError struct {
	Status int
	Type   string
	Reason string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("elasticsearch answered %d %s: %s", e.Status, e.Type, e.Reason)
}

// says tells whether an error is an answer of a type.
func says(err error, kind string) bool {
	answer, ok := errors.AsType[*answerError](err)
	return ok && answer.Type == kind
}

// Types of answers.
const (
	noSuchIndex  = "index_not_found_exception"
	indexIsThere = "resource_already_exists_exception"
	conflict     = "version_conflict_engine_exception"
)

// ErrGone: the generation was dropped, because another one is read now.
var ErrGone = errors.New("generation of the read model is gone")

// storeError says what a failure is to the consumer. Whatever says nothing about the data is transient: the servers are
// away, busy, full, do not know us, or have no such index any more.
func storeError(err error) error {
	if err == nil || errors.Is(err, projector.ErrTransient) {
		return err
	}
	answer, ok := errors.AsType[*answerError](err)
	switch {
	case !ok:
		return errors.Join(projector.ErrTransient, err)
	case answer.Type == noSuchIndex:
		return errors.Join(projector.ErrTransient, ErrGone, err)
	case isTransient(answer.Status):
		return errors.Join(projector.ErrTransient, err)
	}
	return err
}

func isTransient(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// readError says what a failure is to the query side.
func readError(err error) error {
	err = storeError(err)
	if errors.Is(err, projector.ErrTransient) {
		return errors.Join(query.ErrUnavailable, err)
	}
	return err
}

const maxAnswer = 256 << 20

// call asks for something, and asks again while the servers say that they are too busy, as long as patience and ctx allow.
// A nil `into` leaves the answer alone.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	var data []byte
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case lines:
		data, kind = b, "application/x-ndjson"
	default:
		var err error
		if data, err = json.Marshal(body); err != nil {
			return fmt.Errorf("a request to elasticsearch: %w", err)
		}
	}
	for wait := c.waiting(); ; {
		err := c.once(ctx, method, path, kind, data, into)
		if answer, ok := errors.AsType[*answerError](err); !ok || answer.Status != http.StatusTooManyRequests {
			return err
		}
		if !wait.again(ctx) {
			return storeError(err)
		}
	}
}

// lines are a body of JSON lines.
type lines []byte

func (c *Client) once(ctx context.Context, method, path, kind string, data []byte, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("a request to elasticsearch: %w", err)
	}
	if len(data) > 0 {
		r.Header.Set("Content-Type", kind)
	}
	response, err := c.es.Perform(r)
	if err != nil {
		return fmt.Errorf("%w: elasticsearch does not answer: %w", projector.ErrTransient, err)
	}
	defer response.Body.Close()
	body := io.LimitReader(response.Body, maxAnswer)
	if response.StatusCode >= 400 {
		return refusalOf(response.StatusCode, body)
	}
	if into != nil {
		if err := json.NewDecoder(body).Decode(into); err != nil {
			return fmt.Errorf("%w: the answer of elasticsearch can't be read: %w", projector.ErrTransient, err)
		}
	}
	_, _ = io.Copy(io.Discard, body) // so that the connection can be used again
	return nil
}

func refusalOf(status int, body io.Reader) error {
	data, _ := io.ReadAll(io.LimitReader(body, 64<<10)) // what there is of it says enough
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	e := &answerError{Status: status, Type: http.StatusText(status)}
	if json.Unmarshal(data, &answer) == nil {
		var cause itemError
		if json.Unmarshal(answer.Error, &cause) == nil {
			e.Type, e.Reason = cause.Type, cause.words()
		}
	}
	return e
}

// itemError is why something was refused.
type itemError struct {
	Type     string     `json:"type"`
	Reason   string     `json:"reason"`
	CausedBy *itemError `json:"caused_by"`
}

const maxReason = 400

// words are the reason and what caused it, cut to a length that can be shown.
func (e *itemError) words() string {
	var parts []string
	for ; e != nil; e = e.CausedBy {
		reason, _, _ := strings.Cut(e.Reason, " Preview of field's value") // values stay where they are
		parts = append(parts, cut(reason))
	}
	return cut(strings.Join(parts, ": "))
}

func cut(text string) string {
	if len(text) > maxReason {
		text = text[:maxReason] + "…"
	}
	return strings.ToValidUTF8(text, "")
}

// waiting is a pause that grows.
type waiting struct {
	until time.Time
	pause time.Duration
}

// Pauses between attempts.
const (
	pauseMin = 20 * time.Millisecond
	pauseMax = 2 * time.Second
)

func (c *Client) waiting() *waiting { return &waiting{time.Now().Add(c.cfg.Patience), pauseMin} }

// again waits, and tells whether to try once more.
func (w *waiting) again(ctx context.Context) bool {
	pause := w.pause/2 + rand.N(w.pause)
	w.pause = min(2*w.pause, pauseMax)
	if time.Now().Add(pause).After(w.until) {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
