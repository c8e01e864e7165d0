package sqlite

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// What is committed stands in the write-ahead log, and has to be copied into the file at times. SQLite would let a claim
// do it, which then takes many times as long as others. So it is done beside the claims: first most of it, while they
// go on; then, between two of them, the little that they wrote meanwhile, so that the next one begins the
// write-ahead log anew and it does not grow for ever.

const (
	checkpointBytes = 16 << 20 // written, about, before the write-ahead log is copied back
	// lateCheckpoint is when a claim copies it back after all, in pages: when we could not, as while a long read keeps
	// the write-ahead log from beginning anew.
	lateCheckpoint = 32 * checkpointBytes / pageBytes
)

type checkpointer struct {
	store   *LogStore
	written int           // bytes since the last checkpoint; of whoever holds the turn
	due     chan struct{} // room for one
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

func startCheckpointer(s *LogStore) *checkpointer {
	ctx, cancel := context.WithCancel(context.Background())
	c := &checkpointer{store: s, due: make(chan struct{}, 1), cancel: cancel}
	c.ended.Go(func() { c.run(ctx) })
	return c
}

func (c *checkpointer) stop() {
	c.cancel()
	c.ended.Wait()
}

// wrote counts about how much a transaction wrote. Whoever calls it has the turn.
func (c *checkpointer) wrote(bytes int) {
	if c.written += bytes; c.written < checkpointBytes {
		return
	}
	select {
	case c.due <- struct{}{}:
		c.written = 0
	default: // one is under way
	}
}

func (c *checkpointer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.due:
		}
		// A failure does no harm: the next one does the work of both.
		if c.copyBack(ctx) == nil {
			c.finish(ctx)
		}
	}
}

// copyBack copies what stood in the write-ahead log when it began, as far as no reader needs it.
func (c *checkpointer) copyBack(ctx context.Context) error {
	if _, err := c.store.file.Reader.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return fmt.Errorf("copying the write-ahead log back: %w", err)
	}
	return nil
}

// finish copies the rest while nobody claims. It does not wait for its turn for long: claims come first.
func (c *checkpointer) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if c.store.begin(ctx) != nil {
		return
	}
	defer c.store.end()
	_ = c.copyBack(ctx) // see run
}
