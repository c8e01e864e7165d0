package internalapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"carryon/command"
	"carryon/domain"
)

// Commands is what other processes may have done here: command.App.Local. It must not forward.
type Commands interface {
	Do(ctx context.Context, command any) (command.Result, error)
	Stream(ctx context.Context, stream domain.StreamID) (command.Version, error)
}

var _ Commands = (*command.App)(nil)

// Options are the settings of the handler.
type Options struct {
	Keys        Keys
	Timeout     time.Duration // the most that a caller is waited with. Default 30 s
	MaxInFlight int           // requests at once; beyond, 503. Default 8192
	Logger      *slog.Logger  // nil: nothing is logged
	Now         func() time.Time
}

// Handler serves other processes.
type Handler struct {
	o     Options
	do    Commands
	slots chan struct{}
	mux   *http.ServeMux
}

// NewHandler checks the settings.
func NewHandler(do Commands, o Options) (*Handler, error) {
	if err := o.Keys.Check(); err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = 8192
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Handler{o: o, do: do, slots: make(chan struct{}, o.MaxInFlight), mux: http.NewServeMux()}
	h.mux.HandleFunc("POST "+PathCommand, h.handle(h.command))
	h.mux.HandleFunc("POST "+PathRead, h.handle(h.read))
	h.mux.HandleFunc("GET "+PathAlive, h.alive)
	return h, nil
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// alive answers at once: a process that hangs does not.
func (h *Handler) alive(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// refusedError is a request that nothing was done about.
type refusedError struct {
	status int
	err    error
}

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

func refused(status int, format string, args ...any) error {
	return &refusedError{status, fmt.Errorf(format, args...)}
}

// handle reads and checks a request, and signs what is answered. A status other than 200 means that nothing was done.
func (h *Handler) handle(answer func(ctx context.Context, body []byte) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := h.answer(r, answer)
		if err != nil {
			status := http.StatusInternalServerError
			if refused, ok := errors.AsType[*refusedError](err); ok {
				status = refused.status
			}
			h.o.Logger.Warn("a request of another process was refused", "path", r.URL.Path, "status", status, "error", err.Error())
			http.Error(w, err.Error(), status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		h.o.Keys.signAnswer(w.Header(), r.Header.Get(HeaderMAC), out)
		_, _ = w.Write(out) // who asked may have gone
	}
}

func (h *Handler) answer(r *http.Request, answer func(ctx context.Context, body []byte) ([]byte, error)) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return nil, refused(http.StatusServiceUnavailable, "more than %d requests at once", h.o.MaxInFlight)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, refused(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", MaxBody)
		}
		return nil, refused(http.StatusBadRequest, "reading the body: %w", err)
	}
	if err := h.o.Keys.verify(r, body, h.o.Now()); err != nil {
		return nil, refused(http.StatusUnauthorized, "%w", err)
	}
	patience, err := strconv.ParseInt(r.Header.Get(HeaderPatience), 10, 64)
	if err != nil || patience <= 0 {
		return nil, refused(http.StatusBadRequest, "the header %s is not a number of milliseconds", HeaderPatience)
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(h.o.Timeout, time.Duration(min(patience, 1<<40))*time.Millisecond))
	defer cancel()
	return answer(ctx, body)
}

func (h *Handler) command(ctx context.Context, body []byte) ([]byte, error) {
	c, err := DecodeCommand(body)
	if err != nil {
		return nil, refused(http.StatusBadRequest, "%w", err)
	}
	return EncodeResult(h.do.Do(ctx, c))
}

func (h *Handler) read(ctx context.Context, body []byte) ([]byte, error) {
	stream, err := DecodeStream(body)
	if err != nil {
		return nil, refused(http.StatusBadRequest, "%w", err)
	}
	return EncodeVersion(h.do.Stream(ctx, stream))
}
