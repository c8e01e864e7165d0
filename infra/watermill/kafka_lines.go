package watermill

import (
	"context"
	"net"
	"sync"
)

// lines are the open connections to brokers, so that they can be cut.
type lines struct {
	mu   sync.Mutex
	open map[*line]struct{}
}

// through makes a dialler whose connections can be cut.
func (l *lines) through(dial brokerDialer) brokerDialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		made := &line{Conn: conn, of: l}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open == nil {
			l.open = map[*line]struct{}{}
		}
		l.open[made] = struct{}{}
		return made, nil
	}
}

// cut ends whatever is waited for on connections that are open now.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Conn.Close() // whoever uses it is told
	}
	clear(l.open)
}

type line struct {
	net.Conn
	of *lines
}

// Close closes the connection.
func (c *line) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
