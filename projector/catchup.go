package projector

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// catchUpLook is how often CatchUp looks how far the models are.
const catchUpLook = 10 * time.Millisecond

// CatchUp runs all models until they have applied what the log of the shards holds now, and then stops. report, which
// may be nil, is told how many entries of how many are applied. The error wraps ErrHistoryDiffers when a shard stops.
func (rs Runners) CatchUp(ctx context.Context, log Log, shards []int, report func(done, total int64)) error {
	if report == nil {
		report = func(int64, int64) {}
	}
	tails, err := heads(ctx, log, shards)
	if err != nil {
		return err
	}
	for shard, tail := range tails {
		for _, r := range rs {
			r.Hint(shard, tail)
		}
	}
	running, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- rs.Run(running) }()
	err = rs.until(ctx, log, tails, report)
	stop()
	if err = errors.Join(<-stopped, err); err != nil {
		return fmt.Errorf("catching up: %w", err)
	}
	return nil
}

func heads(ctx context.Context, log Log, shards []int) (map[int]uint64, error) {
	tails := make(map[int]uint64, len(shards))
	for _, shard := range shards {
		head, err := log.Head(ctx, shard)
		if err != nil {
			return nil, fmt.Errorf("reading the head of shard %d: %w", shard, err)
		}
		tails[shard] = head.Index
	}
	return tails, nil
}

// until waits until all models are at the tails, or a shard has stopped.
func (rs Runners) until(ctx context.Context, log Log, tails map[int]uint64, report func(done, total int64)) error {
	ticker := time.NewTicker(catchUpLook)
	defer ticker.Stop()
	for {
		done, total := int64(0), int64(0)
		for _, status := range rs.Status() {
			tail, wanted := tails[status.Shard]
			if !wanted {
				continue
			}
			if status.Differs {
				return nil // Run says so
			}
			if status.Applied.Index > tail { // the log went on, or it has forgotten: then a look will stop the shard
				again, err := heads(ctx, log, []int{status.Shard})
				if err != nil {
					return err
				}
				tails[status.Shard] = max(again[status.Shard], tail)
				if again[status.Shard] < status.Applied.Index {
					total++
				}
			}
			total += int64(tail)
			done += int64(min(status.Applied.Index, tail))
		}
		report(done, total)
		if done == total {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
