package web

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// Every request has an id: the caller's X-Request-Id, or else the trace id of its W3C trace context, or else one of our
// own. It goes back in the answer, into the log, and as the correlation into every event that the request causes.

// Request is what is known of a request everywhere below the first middleware.
type Request struct {
	ID          string
	TraceParent string // W3C traceparent of the caller, valid; empty: none
	TraceID     string // its trace id
	problem     *Problem
	who         Identity
	route       string
	hide        []string // values of the path, which are not logged
	free        func()   // gives the request's slot back
}

type requestKey struct{}

// RequestOf is the request that a context belongs to, and an empty one outside of requests.
func RequestOf(ctx context.Context) *Request {
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		return r
	}
	return &Request{}
}

// Caller is who makes the request. It is the zero Identity on public routes.
func Caller(ctx context.Context) Identity { return RequestOf(ctx).who }

// note keeps the problem for the one line in the log.
func note(ctx context.Context, p *Problem) {
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		r.problem = p
	}
}

const (
	headerRequestID   = "X-Request-Id"
	headerTraceParent = "Traceparent"
	maxRequestID      = 128
)

// identified gives the request its id and echoes it.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := &Request{}
		if trace, ok := traceID(r.Header.Get(headerTraceParent)); ok {
			known.TraceParent, known.TraceID = r.Header.Get(headerTraceParent), trace
		}
		switch given := r.Header.Get(headerRequestID); {
		case validRequestID(given):
			known.ID = given
		case known.TraceID != "":
			known.ID = known.TraceID
		default:
			known.ID = newUUIDv7()
		}
		w.Header().Set(headerRequestID, known.ID)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, known)))
	})
}

// validRequestID takes what can stand in a log line, a URL and an event alike, and is no address of a person.
func validRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for _, r := range id {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._", r):
		default:
			return false
		}
	}
	return true
}

// traceID reads the trace id out of a traceparent (W3C Trace Context, version 00 and those after it).
func traceID(parent string) (string, bool) {
	if len(parent) < 55 || parent[2] != '-' || parent[35] != '-' || parent[52] != '-' || parent[:2] == "ff" ||
		parent[:2] == "00" && len(parent) != 55 || len(parent) > 55 && parent[55] != '-' || len(parent) > 512 {
		return "", false
	}
	for _, part := range []string{parent[:2], parent[3:35], parent[36:52], parent[53:55]} {
		if _, err := hex.DecodeString(part); err != nil || strings.ToLower(part) != part {
			return "", false
		}
	}
	trace := parent[3:35]
	return trace, strings.Trim(trace, "0") != "" && strings.Trim(parent[36:52], "0") != ""
}

// newUUIDv7 mints an id. The source of randomness of this machine failing is not survivable.
func newUUIDv7() string { return uuid.Must(uuid.NewV7()).String() }

// NewCommandID mints the id of a command that came without one.
func NewCommandID() string { return newUUIDv7() }
