// Package internalapi is the way in for other processes of the same system: commands and reads for the shards that this
// process writes. It is no public API: both ends run the same program, or two neighbouring versions of it.
package internalapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"carryon/command"
	"carryon/domain"
)

// What crosses the wire is JSON of a fixed version and read strictly: a field that is not known is an error. A process
// that can't read what another one says decides for itself, which is slower and never wrong; one that read only the half
// of it would decide something else.

// Version is that of the encoding. It is part of the paths.
const Version = "1"

// The paths.
const (
	PathCommand = "/internal/v" + Version + "/command" // POST
	PathRead    = "/internal/v" + Version + "/read"    // POST
	PathAlive   = "/internal/v" + Version + "/alive"   // GET
)

// HeaderPatience carries how many milliseconds the caller will wait.
const HeaderPatience = "Carryon-Patience"

// MaxBody is the most bytes of a request or of an answer.
const MaxBody = 4 << 20

type wireCommand struct {
	Name    string          `json:"name"`
	Command json.RawMessage `json:"command"`
}

// EncodeCommand writes a command, given as a pointer.
func EncodeCommand(c any) ([]byte, error) {
	name := command.NameOf(c)
	if name == "" {
		return nil, fmt.Errorf("%T is no command", c)
	}
	raw, err := encode(c)
	if err != nil {
		return nil, fmt.Errorf("writing command %s: %w", name, err)
	}
	return encode(wireCommand{Name: name, Command: raw})
}

// DecodeCommand reads a command: a pointer for command.App.Do.
func DecodeCommand(body []byte) (any, error) {
	var w wireCommand
	if err := decode(body, &w); err != nil {
		return nil, fmt.Errorf("reading a command: %w", err)
	}
	c, ok := command.Named(w.Name)
	if !ok {
		return nil, fmt.Errorf("reading a command: %.80q is none", w.Name)
	}
	if err := decode(w.Command, c); err != nil {
		return nil, fmt.Errorf("reading command %s: %w", w.Name, err)
	}
	return c, nil
}

// wireAnswer is what came of a command or a read.
type wireAnswer struct {
	Result *wireResult `json:"result,omitempty"`
	Read   *wireRead   `json:"read,omitempty"`
	Error  *wireError  `json:"error,omitempty"`
}

type wireResult struct {
	Stream   domain.StreamID        `json:"stream"`
	Version  uint64                 `json:"version"`
	Position domain.Position        `json:"position"`
	Events   []wireEvent            `json:"events,omitempty"`
	Decision *domain.Decision       `json:"decision,omitempty"`
	License  *command.SignedLicense `json:"license,omitempty"`
	Repeated bool                   `json:"repeated,omitempty"`
	Impact   *command.Touched       `json:"impact,omitempty"`
}

// wireEvent is a domain.Event whose payload keeps its very bytes.
type wireEvent struct {
	ID            string          `json:"id"`
	Stream        domain.StreamID `json:"stream"`
	Seq           uint64          `json:"seq"`
	Position      domain.Position `json:"position"`
	Previous      domain.Position `json:"previous"`
	Type          string          `json:"type"`
	SchemaVersion int             `json:"schema_version"`
	OccurredAt    time.Time       `json:"occurred_at"`
	RecordedAt    time.Time       `json:"recorded_at"`
	CommandID     string          `json:"command_id"`
	RequestHash   string          `json:"request_hash,omitempty"`
	Correlation   string          `json:"correlation,omitempty"`
	Causation     string          `json:"causation,omitempty"`
	Actor         domain.Actor    `json:"actor"`
	Versions      domain.Versions `json:"versions"`
	Payload       []byte          `json:"payload"`
}

// wireRead is a stream with its state as a snapshot would hold it.
type wireRead struct {
	Stream   domain.StreamID `json:"stream"`
	Fold     int             `json:"fold"` // version of the fold
	State    []byte          `json:"state"`
	Seq      uint64          `json:"seq"`
	Position domain.Position `json:"position"`
	Head     uint64          `json:"head"`
}

// EncodeResult writes the answer to a command.
func EncodeResult(r command.Result, err error) ([]byte, error) {
	if err != nil {
		return encode(wireAnswer{Error: wireErrorOf(err)})
	}
	w := wireResult{
		Stream: r.Stream, Version: r.Version, Position: r.Position, Decision: r.Decision, License: r.License, Repeated: r.Repeated, Impact: r.Impact,
	}
	for i := range r.Events {
		e := &r.Events[i]
		w.Events = append(w.Events, wireEvent{
			ID: e.ID, Stream: e.Stream, Seq: e.Seq, Position: e.Position, Previous: e.Previous, Type: e.Type, SchemaVersion: e.SchemaVersion,
			OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt, CommandID: e.CommandID, RequestHash: e.RequestHash, Correlation: e.Correlation,
			Causation: e.Causation, Actor: e.Actor, Versions: e.Versions, Payload: e.Payload,
		})
	}
	return encode(wireAnswer{Result: &w})
}

// DecodeResult reads the answer to a command: the result, or the error that it was answered with, or an
// *UnreadableError.
func DecodeResult(body []byte) (command.Result, error) {
	var answer wireAnswer
	if err := decode(body, &answer); err != nil {
		return command.Result{}, &UnreadableError{err}
	}
	if answer.Error != nil {
		return command.Result{}, answer.Error.error()
	}
	w := answer.Result
	if w == nil {
		return command.Result{}, &UnreadableError{errors.New("it says nothing")}
	}
	r := command.Result{
		Stream: w.Stream, Version: w.Version, Position: w.Position, Decision: w.Decision, License: w.License, Repeated: w.Repeated, Impact: w.Impact,
	}
	for i := range w.Events {
		e := &w.Events[i]
		r.Events = append(r.Events, domain.Event{
			ID: e.ID, Stream: e.Stream, Seq: e.Seq, Position: e.Position, Previous: e.Previous, Type: e.Type, SchemaVersion: e.SchemaVersion,
			OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt, CommandID: e.CommandID, RequestHash: e.RequestHash, Correlation: e.Correlation,
			Causation: e.Causation, Actor: e.Actor, Versions: e.Versions, Payload: e.Payload,
		})
	}
	return r, nil
}

type wireStream struct {
	Stream domain.StreamID `json:"stream"`
}

// EncodeStream writes which stream is to be read.
func EncodeStream(stream domain.StreamID) ([]byte, error) { return encode(wireStream{stream}) }

// DecodeStream reads which stream is to be read.
func DecodeStream(body []byte) (domain.StreamID, error) {
	var w wireStream
	if err := decode(body, &w); err != nil {
		return "", fmt.Errorf("reading which stream is asked for: %w", err)
	}
	if w.Stream.ID() == "" {
		return "", fmt.Errorf("%.80q names no stream", w.Stream)
	}
	return w.Stream, nil
}

// EncodeVersion writes a stream as it was read.
func EncodeVersion(v command.Version, err error) ([]byte, error) {
	if err != nil {
		return encode(wireAnswer{Error: wireErrorOf(err)})
	}
	state, err := v.State.AppendBinary(nil)
	if err != nil {
		return nil, fmt.Errorf("writing the state of %s: %w", v.Stream, err)
	}
	return encode(wireAnswer{Read: &wireRead{
		Stream: v.Stream, Fold: command.DomainFolding().Version, State: state, Seq: v.Seq, Position: v.Position, Head: v.Head,
	}})
}

// DecodeVersion reads a stream: what was asked for, or the error that it was answered with, or an *UnreadableError.
func DecodeVersion(body []byte) (command.Version, error) {
	var answer wireAnswer
	if err := decode(body, &answer); err != nil {
		return command.Version{}, &UnreadableError{err}
	}
	if answer.Error != nil {
		return command.Version{}, answer.Error.error()
	}
	w, folding := answer.Read, command.DomainFolding()
	if w == nil {
		return command.Version{}, &UnreadableError{errors.New("it says nothing")}
	}
	if w.Fold != folding.Version {
		return command.Version{}, &UnreadableError{fmt.Errorf("it is folded in version %d, this program folds in version %d", w.Fold, folding.Version)}
	}
	state, err := folding.Restore(w.Stream, string(w.State))
	if err != nil {
		return command.Version{}, &UnreadableError{err}
	}
	return command.Version{Stream: w.Stream, State: state, Seq: w.Seq, Position: w.Position, Head: w.Head}, nil
}

// UnreadableError says that the other process answered something that can't be read: whether it did what it was asked
// for is not known. It wraps command.ErrUnknown.
type UnreadableError struct{ err error }

func (e *UnreadableError) Error() string { return "the answer can't be read: " + e.err.Error() }

// Unwrap lets errors.Is find command.ErrUnknown.
func (e *UnreadableError) Unwrap() []error { return []error{command.ErrUnknown, e.err} }

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows what should be all")
	}
	return nil
}

// wireError is an error with what it wraps.
type wireError struct {
	Text       string           `json:"text"`
	Is         []string         `json:"is,omitempty"`
	Fields     []wireField      `json:"fields,omitempty"`
	Drift      *wireDrift       `json:"drift,omitempty"`
	Overloaded *wireOverloaded  `json:"overloaded,omitempty"`
	Conflict   *wireTwoVersions `json:"conflict,omitempty"`
}

type wireField struct {
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

type wireDrift struct {
	CommandTime time.Time     `json:"command_time"`
	ServerTime  time.Time     `json:"server_time"`
	MaxAge      time.Duration `json:"max_age"`
	MaxAhead    time.Duration `json:"max_ahead"`
}

type wireOverloaded struct {
	Queue      string        `json:"queue"`
	RetryAfter time.Duration `json:"retry_after"`
}

type wireTwoVersions struct {
	Expected uint64 `json:"expected"`
	Actual   uint64 `json:"actual"`
}

// sentinels are the errors that keep their meaning on the way, by a name that never changes.
func sentinels() map[string]error {
	return map[string]error{
		"unknown": command.ErrUnknown, "too_large": command.ErrTooLarge, "store_full": command.ErrStoreFull, "differs": command.ErrDiffers,
		"overloaded": command.ErrOverloaded, "closed": command.ErrClosed, "version_conflict": command.ErrVersionConflict,
		"idempotency_conflict": command.ErrIdempotencyConflict, "token_drift": command.ErrTokenDrift, "erased": command.ErrErased,
		"unavailable": command.ErrUnavailable, "unreadable": command.ErrUnreadable, "not_found": domain.ErrNotFound, "conflict": domain.ErrConflict,
		"future_version": domain.ErrFutureVersion,
	}
}

func wireErrorOf(err error) *wireError {
	w := &wireError{Text: strings.ToValidUTF8(err.Error(), "�")}
	for name, sentinel := range sentinels() {
		if errors.Is(err, sentinel) {
			w.Is = append(w.Is, name)
		}
	}
	if fields, ok := errors.AsType[command.FieldErrors](err); ok {
		for _, f := range fields {
			w.Fields = append(w.Fields, wireField{f.Field, f.Problem})
		}
	}
	if e, ok := errors.AsType[*command.DriftError](err); ok {
		w.Drift = &wireDrift{e.CommandTime, e.ServerTime, e.MaxAge, e.MaxAhead}
	}
	if e, ok := errors.AsType[*command.OverloadedError](err); ok {
		w.Overloaded = &wireOverloaded{e.Queue, e.RetryAfter}
	}
	if e, ok := errors.AsType[*command.VersionConflictError](err); ok {
		w.Conflict = &wireTwoVersions{e.Expected, e.Actual}
	}
	return w
}

func (w *wireError) error() error {
	e := &AnsweredError{Text: w.Text}
	known := sentinels()
	for _, name := range w.Is {
		if sentinel, ok := known[name]; ok {
			e.wraps = append(e.wraps, sentinel)
		}
	}
	if len(w.Fields) > 0 {
		var fields command.FieldErrors
		for _, f := range w.Fields {
			fields = append(fields, &domain.FieldError{Field: f.Field, Problem: f.Problem})
		}
		e.wraps = append(e.wraps, fields)
	}
	if d := w.Drift; d != nil {
		e.wraps = append(e.wraps, &command.DriftError{CommandTime: d.CommandTime, ServerTime: d.ServerTime, MaxAge: d.MaxAge, MaxAhead: d.MaxAhead})
	}
	if o := w.Overloaded; o != nil {
		e.wraps = append(e.wraps, &command.OverloadedError{Queue: o.Queue, RetryAfter: o.RetryAfter})
	}
	if c := w.Conflict; c != nil {
		e.wraps = append(e.wraps, &command.VersionConflictError{Expected: c.Expected, Actual: c.Actual})
	}
	return e
}

// AnsweredError is an error that another process answered with. It wraps what that one wrapped.
type AnsweredError struct {
	Text  string
	wraps []error
}

func (e *AnsweredError) Error() string { return e.Text }

// Unwrap lets errors.Is and errors.As find what the other process meant.
func (e *AnsweredError) Unwrap() []error { return e.wraps }
