package vault

import (
	"context"
	"fmt"
	"sync"
	"time"

	"carryon/command"
)

// counter counts erasures for many at once: whoever asks while others are being answered waits for the next question, which
// is asked for all who wait. So nobody gets a count of before he asked, and a store that is slow is not asked the more.
type counter struct {
	count func(context.Context) (int64, error)

	mu     sync.Mutex
	next   *counted // for who waits; nil: nobody does
	asking int
	closed bool
	asked  sync.WaitGroup
}

type counted struct {
	done chan struct{}
	n    int64
	err  error
}

const (
	countsAtOnce = 2               // so that who comes just after a question has begun need not wait for its answer first
	countTime    = 5 * time.Second // for a question, whoever waits for it
)

func (c *counter) erasures(ctx context.Context) (int64, error) {
	mine, err := c.join()
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, fmt.Errorf("counting erasures: %w: %w", command.ErrUnavailable, context.Cause(ctx))
	case <-mine.done:
		return mine.n, mine.err
	}
}

func (c *counter) join() (*counted, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, command.ErrClosed
	}
	if c.next == nil {
		c.next = &counted{done: make(chan struct{})}
	}
	mine := c.next
	if c.asking < countsAtOnce {
		c.asking++
		c.asked.Go(c.run)
	}
	return mine, nil
}

// run asks until nobody waits.
func (c *counter) run() {
	for {
		c.mu.Lock()
		waiting := c.next
		c.next = nil
		if waiting == nil {
			c.asking--
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), countTime)
		waiting.n, waiting.err = c.count(ctx)
		cancel()
		close(waiting.done)
	}
}

func (c *counter) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.asked.Wait()
}
