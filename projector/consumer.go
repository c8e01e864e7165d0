package projector

// The consumer contract, independent of the transport. Per read model and shard the last applied entry and its batch id
// are kept in the same transaction as the rows:
//
//	entry ≤ last     skip
//	entry = last+1   apply
//	entry > last+1   pull the missing ones from the log, then apply
//	a previous id other than the one applied: history differs, and the shard stops
//
// Messages are hints. When a shard has been quiet for a moment, the log itself is looked at from the last entry on, so
// that a lost message, or a broker that is away, costs latency only.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"carryon/domain"
)

// Consumer keeps one read model up to date in one process, for some shards. Any number of instances, here and
// elsewhere, may work on the same shards: the store's checkpoint lets exactly one through.
//
// All methods may be called at any time from any goroutine.
type Consumer[T Tx] struct {
	cfg        Config
	projection Projection[T]
	store      Store[T]
	log        Log // entries may come from memory
	fresh      Log // the log itself
	histories  Histories
	clock      func() time.Time
	metrics    *Metrics
	waiter     *Waiter
	epoch      uint64 // in which the waiter hears it
	logger     *slog.Logger
	shards     []*shardState // in the order given
	byShard    map[int]*shardState
}

// NewConsumer makes a consumer of a projection into a store. A log with a memory, which has a method
// Fresh as *Shared has, is read through it, except where the log itself must be looked at. The clock tells the time for lag and parking; metrics may be nil.
func NewConsumer[T Tx](cfg Config, projection Projection[T], store Store[T], log Log, histories Histories,
	shards []int, clock func() time.Time, metrics *Metrics,
) *Consumer[T] {
	cfg = cfg.withDefaults()
	c := &Consumer[T]{
		cfg: cfg, projection: projection, store: store, log: log, fresh: log, histories: histories,
		clock: clock, metrics: metrics, waiter: NewWaiter(store),
		logger:  cfg.Logger.With("model", projection.Name()),
		byShard: make(map[int]*shardState, len(shards)),
	}
	if memory, ok := log.(interface{ Fresh() Log }); ok {
		c.fresh = memory.Fresh()
	}
	for _, shard := range shards {
		if c.byShard[shard] == nil {
			c.byShard[shard] = newShardState(shard, cfg)
			c.shards = append(c.shards, c.byShard[shard])
		}
	}
	return c
}

// Name is the read model's name.
func (c *Consumer[T]) Name() string { return c.projection.Name() }

// Offer hands an entry over that may be new: a hint, from a message. It never blocks; what does not fit is dropped and
// read from the log later. The entry must not be changed any more.
func (c *Consumer[T]) Offer(e *domain.Entry) {
	s := c.byShard[e.Shard]
	if s == nil {
		return
	}
	if !s.offer(e) {
		c.metrics.dropped(c.Name(), e.Shard)
	}
	s.signal()
}

// Hint tells that a shard has an entry with this index, to be read from the log.
func (c *Consumer[T]) Hint(shard int, index uint64) {
	if s := c.byShard[shard]; s != nil {
		s.hint(index)
		s.signal()
	}
}

// Run applies entries, all shards in parallel, until ctx ends. It returns what stopped shards before, if anything did:
// their errors wrap ErrHistoryDiffers.
func (c *Consumer[T]) Run(ctx context.Context) error {
	errs := make([]error, len(c.shards))
	var group sync.WaitGroup
	for i, s := range c.shards {
		group.Go(func() { errs[i] = c.runShard(ctx, s) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// runShard repeats Step, and decides how long to wait between.
func (c *Consumer[T]) runShard(ctx context.Context, s *shardState) error {
	quiet, pause := c.cfg.QuietMin, c.cfg.RetryMin
	for ctx.Err() == nil {
		begin := time.Now()
		giveBack := c.cfg.Turns.take(ctx, c.waiter)
		outcome, err := c.Step(ctx, s.shard)
		giveBack()
		switch outcome {
		case Progressed:
			quiet, pause = c.cfg.QuietMin, c.cfg.RetryMin
			c.rest(ctx, s, begin)
		case Idle:
			pause = c.cfg.RetryMin
			if s.await(ctx, vary(c.patience(s.shard, quiet))) {
				continue
			}
			if outcome, err = c.Look(ctx, s.shard); outcome == Idle {
				quiet = min(2*quiet, c.cfg.QuietMax)
			} else if outcome == Failed && ctx.Err() == nil {
				pause = c.pauseAfter(ctx, s, pause, err)
			}
		case Elsewhere:
			sleep(ctx, vary(c.cfg.Elsewhere))
		case Failed:
			if ctx.Err() == nil {
				pause = c.pauseAfter(ctx, s, pause, err)
			}
		case Stopped:
			return err
		}
	}
	return nil
}

// rest pauses after a transaction that began at a moment, so that entries come together. A backlog waits for nothing but
// for the sake of others.
func (c *Consumer[T]) rest(ctx context.Context, s *shardState, begin time.Time) {
	if kind := c.courtesy(begin); kind > 0 {
		sleep(ctx, kind)
	}
	if s.behind() {
		return
	}
	if rest := c.cfg.Pace - time.Since(begin); rest > 0 {
		sleep(ctx, rest)
	}
	someone := c.waiter.someone()
	leisure := c.cfg.Leisure - time.Since(begin)
	if leisure <= 0 || c.waiter.awaited() {
		return
	}
	timer := time.NewTimer(leisure)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-someone:
	case <-timer.C:
	}
}

// courtesy is how long others want to be left alone after a round.
func (c *Consumer[T]) courtesy(begin time.Time) time.Duration {
	if c.cfg.Courtesy == nil {
		return 0
	}
	return c.cfg.Courtesy(time.Since(begin))
}

// patience is how long to wait for word of a shard before its log is looked at.
func (c *Consumer[T]) patience(shard int, quiet time.Duration) time.Duration {
	if c.cfg.Assigned != nil && !c.cfg.Assigned(shard) {
		return max(quiet, c.cfg.QuietElsewhere)
	}
	return quiet
}

// pauseAfter logs a failure, waits, and returns the next pause.
func (c *Consumer[T]) pauseAfter(ctx context.Context, s *shardState, pause time.Duration, err error) time.Duration {
	c.logger.Warn("applying failed, trying again", "shard", s.shard, "pause", pause, "error", err)
	sleep(ctx, vary(pause))
	return min(2*pause, c.cfg.RetryMax)
}

// WaitFor waits until the checkpoint has passed a position, so that the rows of the stream show it. It returns
// ErrParked (wrapped) when the stream is parked at or before the position, and ErrHistoryDiffers (wrapped) when the
// shard has stopped.
func (c *Consumer[T]) WaitFor(ctx context.Context, pos domain.Position, stream domain.StreamID) error {
	return c.waiter.WaitFor(ctx, pos, stream)
}

// state finds a shard of this consumer.
func (c *Consumer[T]) state(shard int) (*shardState, error) {
	s := c.byShard[shard]
	if s == nil {
		return nil, fmt.Errorf("%s: shard %d is not among the consumer's", c.Name(), shard)
	}
	return s, nil
}

// vary changes a duration by up to a fifth, so that instances do not march in step.
func vary(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

// sleep waits for a while, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
