package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// A server stops in order: it says that it is not ready, stops accepting, lets what is under way finish, and closes what
// remains when its time is over. What stands behind it (checkpoints, stores) is closed by its owner afterwards.

// ServerOptions are the settings of a server.
type ServerOptions struct {
	Listen       string // host:port; empty: 127.0.0.1:0
	Handler      http.Handler
	Health       *Health       // nil: nobody is told
	Logger       *slog.Logger  // nil: nothing is logged
	LongestRoute time.Duration // the longest deadline of a route that does not stream; 0: 1m
	Margin       time.Duration // beyond that, for the answer to be taken; 0: 15s
	Linger       time.Duration // between "not ready" and the end of accepting, for balancers to notice
}

// Server is an HTTP server with a listener of its own.
type Server struct {
	http     *http.Server
	listener net.Listener
	health   *Health
	log      *slog.Logger
	linger   time.Duration
	served   chan struct{} // closed when serving has ended
	why      error         // it ended; read after served
	stop     sync.Once
	stopped  error
}

const (
	headerPatience = 5 * time.Second
	idlePatience   = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	defaultMargin  = 15 * time.Second
)

// Listen takes the address and serves on it at once. The server is ready when it returns.
func Listen(ctx context.Context, o ServerOptions) (*Server, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.LongestRoute <= 0 {
		o.LongestRoute = time.Minute
	}
	if o.Margin <= 0 {
		o.Margin = defaultMargin
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", o.Listen, err)
	}
	s := &Server{
		listener: listener, health: o.Health, log: o.Logger, linger: o.Linger, served: make(chan struct{}),
		http: &http.Server{
			Handler: o.Handler, ReadHeaderTimeout: headerPatience, IdleTimeout: idlePatience, MaxHeaderBytes: maxHeaderBytes,
			// A route has shorter deadlines of its own, for its body and for its handler; where it streams, one for each
			// write. net/http lifts that for reading once the request is read.
			ReadTimeout: o.LongestRoute + o.Margin, WriteTimeout: o.LongestRoute + o.Margin,
			ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		},
	}
	if host, ok := listener.Addr().(*net.TCPAddr); ok && !host.IP.IsLoopback() {
		o.Logger.WarnContext(ctx, "listening beyond this machine, without TLS of its own: tokens and licences cross the network in plain", "address", listener.Addr().String())
	}
	go func() { // ends with Shutdown or Close
		defer close(s.served)
		s.why = s.http.Serve(listener)
	}()
	if s.health != nil {
		s.health.SetReady()
	}
	return s, nil
}

// URL is where the server can be reached.
func (s *Server) URL() string {
	address, ok := s.listener.Addr().(*net.TCPAddr)
	if ok && address.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", address.Port)
	}
	return "http://" + s.listener.Addr().String()
}

// Ended is closed when the server has stopped accepting, by Shutdown or by itself.
func (s *Server) Ended() <-chan struct{} { return s.served }

// Shutdown stops the server, in order; what is under way when ctx ends is cut off, and that is an error. Again it does
// nothing.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop.Do(func() { s.stopped = s.shutdown(ctx) })
	return s.stopped
}

func (s *Server) shutdown(ctx context.Context) error {
	if s.health != nil {
		s.health.SetNotReady()
	}
	if s.linger > 0 {
		timer := time.NewTimer(s.linger)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	s.http.SetKeepAlivesEnabled(false)
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("draining HTTP requests: %w", errors.Join(err, s.http.Close()))
	}
	if <-s.served; !errors.Is(s.why, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving HTTP: %w", s.why))
	}
	return err
}
