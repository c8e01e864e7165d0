package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The gateway is the one handler of a listener: whatever APIs are mounted on it, and health and metrics beside them.

// GatewayOptions are what a gateway works with.
type GatewayOptions struct {
	Tokens      *Tokens
	Health      *Health
	Logger      *slog.Logger          // nil: nothing is logged
	Registerer  prometheus.Registerer // for its figures; nil: none
	Gatherer    prometheus.Gatherer   // what /metrics shows; nil: no /metrics
	MaxInFlight int                   // requests at once; beyond, 503. 0: 1024
	Patience    time.Duration         // for a body to arrive; 0: 10s
}

// Gateway carries APIs.
type Gateway struct {
	router *chi.Mux
	tokens *Tokens
	log    *slog.Logger
	slots  chan struct{}

	patience time.Duration

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

const (
	defaultMaxInFlight = 1024
	defaultPatience    = 10 * time.Second
)

// NewGateway is a gateway without APIs.
func NewGateway(o GatewayOptions) *Gateway {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = defaultMaxInFlight
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Health == nil {
		o.Health = &Health{}
	}
	g := &Gateway{
		router: chi.NewRouter(), tokens: o.Tokens, log: o.Logger, slots: make(chan struct{}, o.MaxInFlight), patience: o.Patience,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carryon_http_requests_total", Help: "HTTP requests answered.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carryon_http_request_seconds", Help: "How long HTTP requests took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "carryon_http_in_flight", Help: "HTTP requests being answered."}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(g.requests, g.seconds, g.inFlight)
	}
	g.router.Use(identified, g.observed, guarded, g.recovered, middleware.GetHead)
	g.router.Get("/livez", o.Health.live)
	g.router.Get("/readyz", o.Health.ready(o.Logger))
	if o.Gatherer != nil {
		g.router.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{}))
	}
	g.router.NotFound(func(w http.ResponseWriter, r *http.Request) { notFound().write(w, r) })
	g.router.MethodNotAllowed(g.methodNotAllowed)
	return g
}

// ServeHTTP answers a request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.router.ServeHTTP(w, r) }

// Routes walks everything that is routed: method and pattern.
func (g *Gateway) Routes(visit func(method, pattern string)) error {
	return chi.Walk(g.router, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		visit(method, pattern)
		return nil
	})
}

// ServeDocument serves an API's OpenAPI document at /openapi/{name}.json and .yaml, for everyone. There is no page that
// shows it: those load scripts from elsewhere.
func (g *Gateway) ServeDocument(name string, a *API) {
	for format, kind := range map[string]string{"json": "application/openapi+json", "yaml": "application/openapi+yaml"} {
		document := sync.OnceValues(func() ([]byte, error) { return a.Document(format) })
		g.router.Get("/openapi/"+name+"."+format, func(w http.ResponseWriter, r *http.Request) {
			RequestOf(r.Context()).route = "/openapi"
			text, err := document()
			if err != nil {
				New(Internal, "this has been written down under the request's id").Because(err).write(w, r)
				return
			}
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(text) // the caller may have gone
		})
	}
}

// methods that a path may be asked with.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete}

func (g *Gateway) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range methods {
		path := r.URL.RawPath
		if path == "" {
			path = r.URL.Path
		}
		if g.router.Match(chi.NewRouteContext(), method, path) {
			allowed = append(allowed, method)
		}
	}
	New(MethodNotAllowed, "this path takes %s", strings.Join(allowed, ", ")).header("Allow", strings.Join(allowed, ", ")).write(w, r)
}

// guarded sets what keeps browsers from doing harm with an answer. There is no CORS: other origins get nothing.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// recovered turns a panic into a problem, and leaves the process alive.
func (g *Gateway) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
				panic(cause)
			}
			p, told := cause.(*Problem)
			if !told {
				p = New(Internal, "this has been written down under the request's id").Because(fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
			}
			if wrapped, ok := w.(middleware.WrapResponseWriter); ok && wrapped.Status() != 0 {
				CutOff(r.Context(), p.cause) // half an answer is out
			}
			w.Header().Del("ETag") // of the answer that was not given
			p.write(w, r)
		}()
		next.ServeHTTP(w, r)
	})
}

// CutOff ends an answer that has begun and can't be finished: the connection must not look whole. It does not return.
func CutOff(ctx context.Context, err error) {
	note(ctx, New(Internal, "the answer was cut off").Because(err))
	panic(http.ErrAbortHandler)
}

// Detach takes a request out of the number of those that may be answered at once: a stream, which waits most of its
// life and has a limit of its own.
func Detach(ctx context.Context) {
	if free := RequestOf(ctx).free; free != nil {
		free()
	}
}

// observed counts and limits requests, and writes the one line about each in the log. The line has no personal data:
// neither body nor query nor the path's values, only its pattern.
func (g *Gateway) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		wrapped := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() { g.observe(r, wrapped, time.Since(begin)) }()
		if isHealth(r.URL.Path) {
			next.ServeHTTP(wrapped, r)
			return
		}
		select {
		case g.slots <- struct{}{}:
			free := sync.OnceFunc(func() { <-g.slots })
			defer free()
			RequestOf(r.Context()).free = free
		default:
			New(Overloaded, "too many requests at once; nothing was done").After(time.Second).write(wrapped, r)
			return
		}
		g.inFlight.Inc()
		defer g.inFlight.Dec()
		next.ServeHTTP(wrapped, r)
	})
}

func isHealth(path string) bool { return path == "/livez" || path == "/readyz" || path == "/metrics" }

func (g *Gateway) observe(r *http.Request, w middleware.WrapResponseWriter, took time.Duration) {
	known := RequestOf(r.Context())
	route := known.route
	if route == "" {
		route = "other"
		if isHealth(r.URL.Path) {
			route = r.URL.Path
		}
	}
	status := w.Status()
	if status == 0 {
		status = http.StatusOK
	}
	method := r.Method
	if !knownMethod(method) {
		method = "other"
	}
	g.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	g.seconds.WithLabelValues(route, method).Observe(took.Seconds())
	g.logRequest(r, known, route, status, w.BytesWritten(), took)
}

func knownMethod(method string) bool {
	for _, m := range methods {
		if m == method {
			return true
		}
	}
	return false
}

func (g *Gateway) logRequest(r *http.Request, known *Request, route string, status, size int, took time.Duration) {
	level := slog.LevelDebug
	gone := r.Context().Err() != nil
	switch p := known.problem; {
	case gone && (p == nil || p.Code != Internal.Code): // the caller did not wait: no failure of ours
		level = slog.LevelInfo
	case p != nil && p.Code == Behind.Code: // what was asked for may be a version that there will never be
		level = slog.LevelInfo
	case status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable, status < http.StatusBadRequest && p != nil:
		level = slog.LevelError
	case status == http.StatusServiceUnavailable:
		level = slog.LevelWarn
	case status >= http.StatusBadRequest && (p == nil || p.Decision == nil):
		level = slog.LevelInfo
	}
	if !g.log.Enabled(r.Context(), level) {
		return
	}
	attributes := []slog.Attr{
		slog.String("method", r.Method), slog.String("route", route), slog.Int("status", status), slog.Duration("took", took),
		slog.Int("bytes", size), slog.String("request_id", known.ID),
	}
	if gone {
		attributes = append(attributes, slog.Bool("caller_gone", true))
	}
	if known.TraceID != "" {
		attributes = append(attributes, slog.String("trace_id", known.TraceID))
	}
	if known.who.Role != "" {
		attributes = append(attributes, slog.String("role", string(known.who.Role)))
	}
	if p := known.problem; p != nil {
		attributes = append(attributes, slog.String("problem", p.Code))
		if level >= slog.LevelWarn && p.cause != nil {
			attributes = append(attributes, slog.String("error", known.redact(p.cause.Error())))
		}
	}
	g.log.LogAttrs(r.Context(), level, "answered", attributes...)
}

// redact takes the path's values out of a text: ids of customers, devices, licences.
func (known *Request) redact(text string) string {
	for _, value := range append(known.hide, known.who.Subject, known.who.Customer) {
		if len(value) > 2 {
			text = strings.ReplaceAll(text, value, "[…]")
		}
	}
	return text
}

func indented(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
