// Package web is what the ways in over HTTP share: problems, tokens and roles, strict reading of requests, conditional
// requests, health, and the lifecycle of a server. The routes themselves are in api/commandapi and api/queryapi.
package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"carryon/domain"
)

// Whoever gets no for an answer gets a problem (RFC 9457): one of the kinds below, whose type, status and code never
// change meaning. A refusal by the rules is a problem too, with the numbers that led to it. What went wrong inside is
// in the log under the request's id, and never in an answer.

// Kind is a kind of problem.
type Kind struct {
	Name   string // the last part of the type
	Code   string // for programs: stable, in capitals
	Status int
	Title  string
}

// Type is the problem's type: a name, not a place.
func (k Kind) Type() string { return "urn:carryon:problem:" + k.Name }

// The kinds of problem. OpenAPI documents list them by status.
var (
	Malformed            = Kind{"malformed", "MALFORMED", http.StatusBadRequest, "The request can't be read"}
	Unauthenticated      = Kind{"unauthenticated", "UNAUTHENTICATED", http.StatusUnauthorized, "No valid token"}
	Forbidden            = Kind{"forbidden", "FORBIDDEN", http.StatusForbidden, "Not with this role"}
	Refused              = Kind{"refused", "", http.StatusForbidden, "Refused by the rules"} // its code is the rule's
	NotFound             = Kind{"not-found", "NOT_FOUND", http.StatusNotFound, "Not found"}
	MethodNotAllowed     = Kind{"method-not-allowed", "METHOD_NOT_ALLOWED", http.StatusMethodNotAllowed, "Not with this method"}
	TimedOut             = Kind{"request-timeout", "REQUEST_TIMEOUT", http.StatusRequestTimeout, "The request took too long to arrive"}
	Conflict             = Kind{"conflict", "CONFLICT", http.StatusConflict, "Does not fit the current state"}
	TokenDrift           = Kind{"token-drift", "TOKEN_DRIFT", http.StatusConflict, "The Idempotency-Key's time is off"}
	VersionConflict      = Kind{"version-conflict", "VERSION_CONFLICT", http.StatusPreconditionFailed, "The version has changed"}
	TooLarge             = Kind{"too-large", "TOO_LARGE", http.StatusRequestEntityTooLarge, "The request is too large"}
	UnsupportedMediaType = Kind{"unsupported-media-type", "UNSUPPORTED_MEDIA_TYPE", http.StatusUnsupportedMediaType, "JSON is wanted"}
	Invalid              = Kind{"invalid", "INVALID", http.StatusUnprocessableEntity, "Something in the request is wrong"}
	IdempotencyConflict  = Kind{"idempotency-conflict", "IDEMPOTENCY_CONFLICT", http.StatusUnprocessableEntity, "The Idempotency-Key was used with another request"}
	Internal             = Kind{"internal", "INTERNAL", http.StatusInternalServerError, "Something went wrong here"}
	Overloaded           = Kind{"overloaded", "OVERLOADED", http.StatusServiceUnavailable, "Too much to do at the moment"}
	Unavailable          = Kind{"unavailable", "UNAVAILABLE", http.StatusServiceUnavailable, "Something that is needed can't be reached"}
	ShuttingDown         = Kind{"shutting-down", "SHUTTING_DOWN", http.StatusServiceUnavailable, "Shutting down"}
	Parked               = Kind{"parked", "PARKED", http.StatusServiceUnavailable, "This read model waits for an operator"}
	OutcomeUnknown       = Kind{"outcome-unknown", "OUTCOME_UNKNOWN", http.StatusGatewayTimeout, "It is not known yet what came of the command"}
	Behind               = Kind{"behind", "BEHIND", http.StatusGatewayTimeout, "The read model has not come that far in time"}
	DeadlineExceeded     = Kind{"deadline-exceeded", "DEADLINE_EXCEEDED", http.StatusGatewayTimeout, "The answer took too long"}
)

// Kinds lists every kind of problem, by status.
func Kinds() []Kind {
	return []Kind{
		Malformed, Unauthenticated, Forbidden, Refused, NotFound, MethodNotAllowed, TimedOut, Conflict, TokenDrift, VersionConflict, TooLarge,
		UnsupportedMediaType, Invalid, IdempotencyConflict, Internal, Overloaded, Unavailable, ShuttingDown, Parked, OutcomeUnknown, Behind,
		DeadlineExceeded,
	}
}

// Problem is a problem on its way out (RFC 9457, application/problem+json).
type Problem struct {
	Type     string         `json:"type" doc:"Kind of problem; never changes meaning" example:"urn:carryon:problem:invalid"`
	Title    string         `json:"title" doc:"The kind of problem in words"`
	Status   int            `json:"status" doc:"HTTP status" example:"422"`
	Detail   string         `json:"detail,omitempty" doc:"What it is this time"`
	Instance string         `json:"instance,omitempty" doc:"The request: urn:carryon:request: and its id"`
	Code     string         `json:"code" doc:"For programs: a refusal code of the rules, or one of the codes of this API" example:"INVALID"`
	Errors   []FieldProblem `json:"errors,omitempty" doc:"Each part of the request that is wrong"`

	Scope    *domain.Scope    `json:"scope,omitempty" doc:"Refusal: what the rule counted over"`
	Used     *int64           `json:"used,omitempty" doc:"Refusal: used before this request"`
	Limit    *int64           `json:"limit,omitempty" doc:"Refusal: how much may be used"`
	ResetsAt *time.Time       `json:"resets_at,omitempty" doc:"Refusal: when a place comes free by itself"`
	HeldBy   []domain.Holder  `json:"held_by,omitempty" doc:"Refusal: which devices or licences hold the places"`
	Remedies []domain.Remedy  `json:"remedies,omitempty" doc:"Refusal: what would help; each was proved by a dry run"`
	Decision *domain.Decision `json:"decision,omitempty" doc:"Refusal: the whole decision"`
	Version  *uint64          `json:"version,omitempty" doc:"Refusal, version conflict: the stream's version now"`
	Position string           `json:"position,omitempty" doc:"Refusal: where it is recorded, shard:index"`

	ServerTime      *time.Time `json:"server_time,omitempty" doc:"Token drift: our time, to set the clock by"`
	CommandTime     *time.Time `json:"command_time,omitempty" doc:"Token drift: the time in the Idempotency-Key"`
	MaxAgeSeconds   *int64     `json:"max_age_seconds,omitempty" doc:"Token drift: how old a key may be"`
	MaxAheadSeconds *int64     `json:"max_ahead_seconds,omitempty" doc:"Token drift: how far ahead of our time a key may be"`

	RetryAfter time.Duration `json:"-"` // header Retry-After, rounded up to seconds; 0: none
	headers    http.Header
	cause      error // for the log
}

// FieldProblem names one part of the request that is wrong.
type FieldProblem struct {
	Field   string `json:"field" doc:"Where: body, query, path or header, a dot, and the name" example:"body.device_id"`
	Message string `json:"message" doc:"What is wrong with it, and what would be right; continues the sentence that begins with the field" example:"is missing"`
}

// New is a problem of a kind.
func New(k Kind, detail string, args ...any) *Problem {
	if len(args) > 0 {
		detail = fmt.Sprintf(detail, args...)
	}
	return &Problem{Type: k.Type(), Title: k.Title, Status: k.Status, Code: k.Code, Detail: detail}
}

// Field is a problem with one part of the request.
func Field(k Kind, field, message string, args ...any) *Problem {
	return New(k, "").With(field, message, args...)
}

// With adds a part of the request that is wrong.
func (p *Problem) With(field, message string, args ...any) *Problem {
	p.add(field, message, args...)
	return p
}

func (p *Problem) add(field, message string, args ...any) {
	if len(args) > 0 {
		message = fmt.Sprintf(message, args...)
	}
	p.Errors = append(p.Errors, FieldProblem{Field: field, Message: message})
	if p.Detail == "" {
		p.Detail = field + " " + message
	}
}

// Because keeps the reason for the log. It is never shown.
func (p *Problem) Because(err error) *Problem {
	p.cause = err
	return p
}

// After tells when to come back.
func (p *Problem) After(d time.Duration) *Problem {
	p.RetryAfter = d
	return p
}

func (p *Problem) header(name, value string) *Problem {
	p.setHeader(name, value)
	return p
}

func (p *Problem) setHeader(name, value string) {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(name, value)
}

// Error is for the log.
func (p *Problem) Error() string {
	if p.cause != nil {
		return p.Code + ": " + p.cause.Error()
	}
	return p.Code + ": " + p.Detail
}

// Unwrap is the reason.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus is for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders is for huma, which adds them to those that the gateway has set.
func (p *Problem) GetHeaders() http.Header {
	h := p.headers.Clone()
	if h == nil {
		h = http.Header{}
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	return h
}

// write answers with the problem outside of huma.
func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	p.Instance = instance(RequestOf(r.Context()).ID)
	note(r.Context(), p)
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Cache-Control", "no-store") // whatever the route had meant to say of a good answer
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller may have gone
}

func instance(requestID string) string {
	if requestID == "" {
		return ""
	}
	return "urn:carryon:request:" + requestID
}
