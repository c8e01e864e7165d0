package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"
)

// Checkpointer copies what is committed from the write-ahead log into the file. SQLite would let a transaction do it,
// which then takes many times as long as others. So it is done beside them: first most of it, while they go on; then,
// between two of them, the little that they wrote meanwhile, so that the next one begins the write-ahead log anew and it
// does not grow for ever. That syncs both files while nobody writes, so it is left for when the write-ahead log has grown
// to some size, and comes after a few passes over what little is left (see nearly). FileConfig.Checkpoint is then only for when that fails, as while a long read keeps the
// write-ahead log from beginning anew.
type Checkpointer struct {
	db     *sql.DB
	turn   func(context.Context) (end func(), err error)
	pages  int
	queue  Queue
	due    chan struct{} // room for one
	cancel context.CancelFunc
	ended  sync.WaitGroup
	took   atomic.Int64 // nanoseconds
}

// Queue is of checkpointers that copy one after another, with pauses between: many at once take disk and processor from
// everybody for a moment, and those who wait for that moment's rows notice. The nil Queue is nobody's but one's own.
type Queue chan struct{}

// NewQueue is one that nobody stands in.
func NewQueue() Queue { return make(Queue, 1) }

// longestPause after a checkpoint: a rebuild's takes seconds.
const longestPause = 100 * time.Millisecond

// take waits until nobody else of the queue copies, and tells whether that came before the end.
func (q Queue) take(ctx context.Context) bool {
	if q == nil {
		return ctx.Err() == nil
	}
	select {
	case q <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave lets the next one copy when everybody has been left alone for as long as this one took.
func (q Queue) leave(ctx context.Context, took time.Duration) {
	if q == nil {
		return
	}
	defer func() { <-q }()
	pause := time.NewTimer(min(took, longestPause))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// StartCheckpointer starts one that copies through connections of db when its turn in the queue has come. turn waits until
// nobody writes, and keeps it so until end; the write-ahead log is begun anew when it has more than so many pages. Who
// started it stops it.
func StartCheckpointer(db *sql.DB, pages int, queue Queue, turn func(context.Context) (end func(), err error)) *Checkpointer {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Checkpointer{db: db, turn: turn, pages: pages, queue: queue, due: make(chan struct{}, 1), cancel: cancel}
	c.ended.Go(func() { c.run(ctx) })
	return c
}

// Stop ends it, and waits until it has.
func (c *Checkpointer) Stop() {
	c.cancel()
	c.ended.Wait()
}

// Due asks for a checkpoint and does not wait for it. It answers false while one that was asked for has not begun.
func (c *Checkpointer) Due() bool {
	select {
	case c.due <- struct{}{}:
		return true
	default:
		return false
	}
}

func (c *Checkpointer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.due:
		}
		c.copyInTurn(ctx) // a failure does no harm: the next one does the work of both
	}
}

// copyInTurn copies when its turn in the queue has come, with a connection that it has before: while queries hold all of
// them, nobody stands behind this one.
func (c *Checkpointer) copyInTurn(ctx context.Context) {
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if !c.queue.take(ctx) {
		return
	}
	select {
	case <-c.due: // asked for meanwhile: this is it
	default:
	}
	took, pages, err := copyBack(ctx, conn)
	if err == nil && pages > c.pages {
		took += nearly(ctx, conn)
		took += c.finish(ctx, conn)
	}
	c.took.Store(int64(took))
	c.queue.leave(ctx, took)
}

// Took is how long the last one copied: who asks for them can see to it that they take a small part of the time.
func (c *Checkpointer) Took() time.Duration { return time.Duration(c.took.Load()) }

// copyBack copies what stood in the write-ahead log when it began, as far as no reader needs it, and tells how many pages
// the write-ahead log has.
func copyBack(ctx context.Context, conn *sql.Conn) (took time.Duration, pages int, err error) {
	began := time.Now()
	var busy, copied int
	err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &copied)
	return time.Since(began), pages, err
}

// passes are over what was written during the one before: with each of them there is less.
const passes = 4

// nearly copies what was written meanwhile, again and again. SQLite syncs the file at the end of a copy after which there is
// nothing left, which it comes to when nobody happens to write for a moment: then finish has all but nothing to sync while
// writers wait, in the place of all that was copied. On two cores it kept them 1 ms, in three of four cases, and not 7.
func nearly(ctx context.Context, conn *sql.Conn) (took time.Duration) {
	for range passes {
		pass, _, _ := copyBack(ctx, conn) // see run
		took += pass
	}
	return took
}

// finish copies the rest while nobody writes. It does not wait for its turn for long: transactions come first.
func (c *Checkpointer) finish(ctx context.Context, conn *sql.Conn) (took time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	end, err := c.turn(ctx)
	if err != nil {
		return 0
	}
	defer end()
	took, _, _ = copyBack(ctx, conn) // see run
	return took
}
