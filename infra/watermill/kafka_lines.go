package watermill

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// lines are the open connections to brokers. The client library can't be called off while it waits for an answer, so who
// closes cuts them.
type lines struct {
	mu    sync.Mutex
	open  map[*line]struct{}
	over  chan struct{} // closed: nobody connects any more
	ended bool
}

func newLines() *lines { return &lines{open: map[*line]struct{}{}, over: make(chan struct{})} }

var errHungUp = errors.New("hung up: this process disconnects from Kafka")

// through makes a dialler whose connections can be cut.
func (l *lines) through(dial brokerDialer) brokerDialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		dialled := make(chan struct{})
		defer close(dialled)
		go func() { // ends with the call
			select {
			case <-l.over:
				cancel(errHungUp)
			case <-dialled:
			}
		}()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		made := &line{Conn: conn, of: l}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.ended {
			_ = conn.Close() // nobody has it
			return nil, errHungUp
		}
		l.open[made] = struct{}{}
		return made, nil
	}
}

// cut ends whatever is waited for on connections, and whatever is tried afterwards.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		close(l.over)
	}
	for c := range l.open {
		_ = c.Conn.Close() // whoever uses it is told
	}
	clear(l.open)
}

// hangUp waits until something has ended, and cuts the connections when that takes longer than the broker is given.
func (l *lines) hangUp(ended <-chan struct{}, patience time.Duration) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-ended:
		return
	case <-late.C:
	}
	l.cut()
	<-ended
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
