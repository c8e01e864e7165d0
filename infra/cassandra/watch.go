package cassandra

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/gocql/gocql"
)

// A server that hangs, or a network that swallows everything, closes no connection. The driver would go on using such a
// connection for minutes, so it is watched here: whoever was sent something and says nothing for a while is cut off. The
// driver asks for a sign of life every five seconds, so a server that is busy with a long request still says something.

const silence = 8 * time.Second

type watchful struct {
	dialer  gocql.Dialer
	silence time.Duration
}

func (w watchful) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := w.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &watched{Conn: conn, silence: w.silence}, nil
}

type watched struct {
	net.Conn
	silence time.Duration

	mu      sync.Mutex
	waiting bool // something was sent, and nothing has come since
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	if !w.waiting {
		w.waiting = true
		_ = w.Conn.SetReadDeadline(time.Now().Add(w.silence)) // fails for a connection that is closed, like the write
	}
	w.mu.Unlock()
	return w.Conn.Write(b)
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.mu.Lock()
		w.waiting = false
		_ = w.Conn.SetReadDeadline(time.Time{})
		w.mu.Unlock()
	}
	return n, err
}

// SetReadDeadline does nothing: the driver would lift ours.
func (w *watched) SetReadDeadline(time.Time) error { return nil }

// SetDeadline is SetWriteDeadline, therefore.
func (w *watched) SetDeadline(t time.Time) error { return w.Conn.SetWriteDeadline(t) }
