package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// One table turns what commands and questions fail with into problems. What is not in it is internal: the caller learns
// the request's id, the log the rest.
//
// 503 means that nothing was done; 504 that something may have been: repeat with the same Idempotency-Key.
var failures = []struct {
	is   error
	kind Kind
	say  string
	wait time.Duration // for Retry-After
}{
	{domain.ErrNotFound, NotFound, "there is nothing here, or nothing that this token may see", 0},
	{command.ErrVersionConflict, VersionConflict, "the stream has another version than If-Match names: read it again", 0},
	{command.ErrIdempotencyConflict, IdempotencyConflict, "a command with this Idempotency-Key was recorded, and it was another one: use a new key", 0},
	{command.ErrTokenDrift, TokenDrift, "the time in the Idempotency-Key is too old or in the future: set the clock and use a new key", 0},
	{domain.ErrConflict, Conflict, "the command does not fit the current state", 0},
	{command.ErrTooLarge, TooLarge, "what this command would record is larger than the store takes", 0},
	{command.ErrErased, Conflict, "the customer's personal words were erased for good, and no new ones can be kept", 0},
	{query.ErrConflict, Conflict, "this does not fit how things are", 0},
	{query.ErrErased, Conflict, "the customer's personal words were erased for good", 0},
	{command.ErrUnknown, OutcomeUnknown, "whether the command was recorded is not known yet: repeat it with the same Idempotency-Key", 1 * time.Second},
	{command.ErrOverloaded, Overloaded, "a queue is full; nothing was done", 1 * time.Second},
	{command.ErrClosed, ShuttingDown, "this process is shutting down; nothing was done", 1 * time.Second},
	{command.ErrStoreFull, Unavailable, "the store takes nothing at the moment; nothing was done", 30 * time.Second},
	{command.ErrUnavailable, Unavailable, "something that deciding needs can't be reached; nothing was done", 2 * time.Second},
	{query.ErrForbidden, Forbidden, "this role may not see that", 0},
	{query.ErrParked, Parked, "the stream waits behind an event that can't be applied, until an operator retries it", 0},
	{query.ErrBehind, Behind, "the read model has not reached what was asked for before the deadline; ask again, or with consistency=authoritative", 1 * time.Second},
	{query.ErrUnavailable, Unavailable, "something that the answer needs can't be reached, or is not part of this process", 5 * time.Second},
}

// Failure is the problem that an error is, for a route.
func (s *Spec) Failure(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if p := s.wrongFields(err); p != nil {
		return p
	}
	for _, f := range failures {
		if errors.Is(err, f.is) {
			return particulars(New(f.kind, f.say).After(f.wait), err).Because(err)
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) && s.commands():
		return New(OutcomeUnknown, "the command took too long, and may have been recorded: repeat it with the same Idempotency-Key").After(time.Second).Because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return New(DeadlineExceeded, "the answer took longer than %s", s.Timeout).After(time.Second).Because(err)
	case errors.Is(err, context.Canceled):
		return New(DeadlineExceeded, "the request was given up").Because(err)
	}
	return New(Internal, "this has been written down under the request's id").Because(err)
}

// particulars adds what a caller can act on.
func particulars(p *Problem, err error) *Problem {
	if e, ok := errors.AsType[*command.VersionConflictError](err); ok {
		p.Version = &e.Actual
		p.Detail = fmt.Sprintf("the stream is at version %d, not %d: read it again", e.Actual, e.Expected)
		p.add("header.If-Match", `is "%d"; the version is "%d"`, e.Expected, e.Actual)
		p.setHeader("ETag", ETag(e.Actual))
	}
	if e, ok := errors.AsType[*command.DriftError](err); ok {
		server, theirs := e.ServerTime.UTC(), e.CommandTime.UTC()
		age, ahead := int64(e.MaxAge/time.Second), int64(e.MaxAhead/time.Second)
		p.ServerTime, p.CommandTime, p.MaxAgeSeconds, p.MaxAheadSeconds = &server, &theirs, &age, &ahead
		p.add("header.Idempotency-Key", "was made at %s; it is %s, and a key may be up to %s old and %s ahead", theirs.Format(time.RFC3339), server.Format(time.RFC3339), e.MaxAge, e.MaxAhead)
	}
	if e, ok := errors.AsType[*command.OverloadedError](err); ok && e.RetryAfter > 0 {
		p.RetryAfter = e.RetryAfter
	}
	switch {
	case errors.Is(err, projector.ErrRebuilding):
		p.Detail = "the read model is being rebuilt already: see GET /v1/projections"
	case errors.Is(err, projector.ErrNoRebuild):
		p.Detail = "the read model is not being rebuilt, or not by this process: see GET /v1/projections"
	case errors.Is(err, projector.ErrParkedElsewhere):
		p.Detail = "the stream is parked at another event by now: look at it first"
	}
	if e, ok := errors.AsType[*query.ParkedError](err); ok {
		p.Detail = fmt.Sprintf("the read model %s is parked at seq %d, until an operator retries it", e.Model, e.FirstSeq)
	}
	if e, ok := errors.AsType[*query.BehindError](err); ok {
		if e.Model == "" {
			p.Detail = fmt.Sprintf("the books have no %s; they are at %s", e.Wanted, cmp.Or(e.Reached, "an earlier one"))
			return p
		}
		p.Detail = fmt.Sprintf("the read model %s has not reached %s before the deadline; ask again, or with consistency=authoritative", e.Model, e.Wanted)
	}
	return p
}

// wrongFields names the parts of the request that a command or question found wrong.
func (s *Spec) wrongFields(err error) *Problem {
	var fields []*domain.FieldError
	if all, ok := errors.AsType[command.FieldErrors](err); ok {
		fields = all
	} else {
		fields = fieldErrors(err, nil)
	}
	if len(fields) == 0 {
		return nil
	}
	p := New(Invalid, "")
	for _, f := range fields {
		p.add(s.where(f.Field), "%s", f.Problem)
	}
	return p
}

// fieldErrors walks joined and wrapped errors in order.
func fieldErrors(err error, found []*domain.FieldError) []*domain.FieldError {
	switch e := err.(type) { //nolint:errorlint // every branch of the tree is looked at, not the first match
	case *domain.FieldError:
		return append(found, e)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			found = fieldErrors(inner, found)
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return fieldErrors(inner, found)
		}
	}
	return found
}

// where is the place in the request that a field's name stands for: title_id is path.title on one route and
// body.title_id on another.
func (s *Spec) where(field string) string {
	switch {
	case s.queries[field]: // a filter by an actor is none by who asks
		return "query." + field
	case field == "Last-Event-ID":
		return "header." + field
	}
	switch field {
	case "command_id":
		return "header.Idempotency-Key"
	case "actor", "role":
		return "header.Authorization"
	case "correlation":
		return "header." + headerRequestID
	}
	name := strings.TrimSuffix(field, "_id")
	switch {
	case strings.Contains(s.Path, "{"+name+"}"):
		return "path." + name
	case s.Method == http.MethodGet:
		return "query." + field
	case field == "document":
		return "body"
	case strings.HasPrefix(field, "document."):
		return "body." + strings.TrimPrefix(field, "document.")
	}
	return "body." + field
}
