// Package forward hands commands and reads to other processes over their internal HTTP.
package forward

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"carryon/api/internalapi"
	"carryon/command"
	"carryon/domain"
)

// A process that is busy answers late, one that hangs never does. While an answer is awaited, the process is asked from
// time to time whether it is alive; when it does not say so soon, it is given up.

// Config are the settings. Addresses and Keys are needed; other zero values stand for the defaults.
type Config struct {
	Addresses Addresses
	Keys      internalapi.Keys
	TLS       *tls.Config   // for addresses that begin with https; nil: the system's
	Dial      time.Duration // to connect. Default 500 ms
	AskAfter  time.Duration // waiting before a process is asked whether it is alive, and between askings. Default 1 s
	Alive     time.Duration // for it to say so; a busy machine needs a while. Default 1.5 s
	Patience  time.Duration // for an answer, if the caller has no deadline. Default 10 s
	Idle      int           // connections kept per process. Default 256
	DialFunc  func(ctx context.Context, network, address string) (net.Conn, error)
	Now       func() time.Time // what requests are signed by. Default time.Now
}

// Addresses says where a process can be reached.
type Addresses interface {
	Address(process string) (url string, known bool)
}

func (c Config) withDefaults() Config {
	c.Dial = cmp.Or(c.Dial, 500*time.Millisecond)
	c.AskAfter = cmp.Or(c.AskAfter, time.Second)
	c.Alive = cmp.Or(c.Alive, 1500*time.Millisecond)
	c.Patience = cmp.Or(c.Patience, 10*time.Second)
	c.Idle = cmp.Or(c.Idle, 256)
	if c.DialFunc == nil {
		c.DialFunc = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Client is a command.Forwarder.
type Client struct {
	cfg  Config
	http *http.Client
}

var _ command.Forwarder = (*Client)(nil)

// New checks the settings. It connects when it is first needed.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Keys.Check(); err != nil {
		return nil, err
	}
	if cfg.Addresses == nil {
		return nil, errors.New("forwarding: Addresses are missing")
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, cfg.Dial)
			defer cancel()
			conn, err := cfg.DialFunc(ctx, network, address)
			if err != nil {
				return nil, &unreachedError{err}
			}
			return conn, nil
		},
		TLSClientConfig: cfg.TLS, TLSHandshakeTimeout: 2 * cfg.Dial, MaxIdleConnsPerHost: cfg.Idle, IdleConnTimeout: time.Minute,
		DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, WriteBufferSize: 16 << 10, ReadBufferSize: 16 << 10,
	}
	return &Client{cfg: cfg, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close lets go of the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// unreachedError says that nothing was sent.
type unreachedError struct{ err error }

func (e *unreachedError) Error() string { return e.err.Error() }
func (e *unreachedError) Unwrap() error { return e.err }

// errHangs is why a process was given up that accepted a request.
var errHangs = errors.New("the process does not say that it is alive")

// Forward has a process give a command to its own command side.
func (c *Client) Forward(ctx context.Context, process string, what any) (command.Result, error) {
	body, err := internalapi.EncodeCommand(what)
	if err != nil {
		return command.Result{}, fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	answer, err := c.ask(ctx, process, internalapi.PathCommand, body)
	if err != nil {
		return command.Result{}, err
	}
	return internalapi.DecodeResult(answer)
}

// Load has a process read a stream.
func (c *Client) Load(ctx context.Context, process string, stream domain.StreamID) (command.Version, error) {
	body, err := internalapi.EncodeStream(stream)
	if err != nil {
		return command.Version{}, fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	answer, err := c.ask(ctx, process, internalapi.PathRead, body)
	if err != nil {
		return command.Version{}, err
	}
	version, err := internalapi.DecodeVersion(answer)
	if err == nil && version.Stream != stream {
		return command.Version{}, fmt.Errorf("process %s was asked for %s and answered with %s: %w", process, stream, version.Stream, command.ErrUnknown)
	}
	return version, err
}

// ask sends a request and watches over the process while it waits. Its error wraps ErrUnavailable when nothing was done
// there, and ErrUnknown when something may have been.
func (c *Client) ask(ctx context.Context, process, path string, body []byte) ([]byte, error) {
	address, known := c.cfg.Addresses.Address(process)
	if !known {
		return nil, fmt.Errorf("process %s is not known: %w", process, command.ErrUnavailable)
	}
	patience := c.cfg.Patience
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	watched, give := context.WithCancelCause(bounded)
	defer give(nil)
	request, err := http.NewRequestWithContext(watched, http.MethodPost, address+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("address of process %s: %w: %w", process, command.ErrUnavailable, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(internalapi.HeaderPatience, strconv.FormatInt(max(1, patience.Milliseconds()), 10))
	c.cfg.Keys.Sign(request, body, c.cfg.Now())
	stop := c.watch(watched, address, give)
	answer, err := c.exchange(request, body)
	stop()
	switch {
	case err == nil:
		return answer, nil
	case isRefusal(err), isUnreached(err):
		return nil, fmt.Errorf("process %s: %w: %w", process, command.ErrUnavailable, err)
	case context.Cause(watched) != nil:
		return nil, fmt.Errorf("process %s: %w: %w", process, command.ErrUnknown, context.Cause(watched))
	}
	return nil, fmt.Errorf("process %s: %w: %w", process, command.ErrUnknown, err)
}

func (c *Client) exchange(request *http.Request, body []byte) ([]byte, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, internalapi.MaxBody+1))
	switch {
	case response.StatusCode != http.StatusOK && response.StatusCode < http.StatusInternalServerError, response.StatusCode == http.StatusServiceUnavailable:
		return nil, &refusalError{fmt.Sprintf("%s: %.200s", response.Status, bytes.TrimSpace(answer))}
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %.200s", response.Status, bytes.TrimSpace(answer))
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case len(answer) > internalapi.MaxBody:
		return nil, fmt.Errorf("the answer is larger than %d bytes", internalapi.MaxBody)
	}
	return answer, c.cfg.Keys.VerifyAnswer(response.Header, request, answer)
}

// refusalError is an answer that says that nothing was done.
type refusalError struct{ text string }

func (e *refusalError) Error() string { return e.text }

func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusalError](err)
	return ok
}

func isUnreached(err error) bool {
	_, ok := errors.AsType[*unreachedError](err)
	return ok
}

// watch asks a process whether it is alive, again and again, until stop is called, and gives it up when it does not say
// so. Nothing of it runs before the first asking, which most answers are quicker than.
func (c *Client) watch(ctx context.Context, address string, give context.CancelCauseFunc) (stop func()) {
	watching, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(c.cfg.AskAfter, func() {
		defer close(ended)
		c.keepAsking(watching, address, give)
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-ended
		}
	}
}

func (c *Client) keepAsking(ctx context.Context, address string, give context.CancelCauseFunc) {
	tick := time.NewTicker(c.cfg.AskAfter)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := c.alive(ctx, address); err != nil && ctx.Err() == nil {
			give(fmt.Errorf("%w: %w", errHangs, err))
			return
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (c *Client) alive(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Alive)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+internalapi.PathAlive, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}
