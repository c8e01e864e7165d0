package query

import (
	"errors"
	"fmt"
	"time"

	"carryon/domain"
)

// What a caller can tell apart with errors.Is; besides domain.ErrNotFound, and *domain.FieldError, which names the bad
// parameter.
var (
	// ErrUnavailable: something that the answer needs can't be reached, or is not part of this process.
	ErrUnavailable = errors.New("unavailable")
	// ErrForbidden: the caller's role may not see this.
	ErrForbidden = errors.New("forbidden")
	// ErrBehind: the read model has not reached the version that was asked for: see BehindError.
	ErrBehind = errors.New("read model is behind")
	// ErrParked: the stream waits behind an event that can't be applied: see ParkedError.
	ErrParked = errors.New("stream is parked")
	// ErrTooMany: a question would go through more rows than it may.
	ErrTooMany = errors.New("too many rows")
	// ErrConflict: what is asked for does not fit how things are.
	ErrConflict = errors.New("does not fit the current state")
	// ErrErased: the customer's personal words were erased.
	ErrErased = errors.New("erased")
)

// BehindError says that the deadline passed before the read model reached what was asked for.
type BehindError struct {
	Model   string          // the read model; empty: the event store itself
	Stream  domain.StreamID // that was asked about
	Wanted  string          // "version 12" or "position 1:42"
	Reached string          // the same, as far as the model has come; empty when that is not known
	Waited  time.Duration
}

func (e *BehindError) Error() string {
	reached := ""
	if e.Reached != "" {
		reached = ", reached " + e.Reached
	}
	return fmt.Sprintf("read model %s is behind with %s: wanted %s%s, waited %s", e.Model, e.Stream, e.Wanted, reached, e.Waited.Round(time.Millisecond))
}

// Unwrap lets errors.Is find ErrBehind.
func (e *BehindError) Unwrap() error { return ErrBehind }

// ParkedError says that the read model will not get further with this stream until somebody retries it.
type ParkedError struct {
	Model    string
	Stream   domain.StreamID
	FirstSeq uint64 // the first event that was not applied
}

func (e *ParkedError) Error() string {
	return fmt.Sprintf("read model %s: %s is parked at seq %d", e.Model, e.Stream, e.FirstSeq)
}

// Unwrap lets errors.Is find ErrParked.
func (e *ParkedError) Unwrap() error { return ErrParked }

func fieldError(field, format string, args ...any) error {
	return &domain.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}
