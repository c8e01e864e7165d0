package cassandra

import (
	"context"
	"fmt"

	"carryon/domain"
)

// generation is the only one there is so far: growing closes one and begins the next.
const generation = 1

// fixLayout writes the layout, if it is not written yet, and refuses to go on if it is written otherwise.
func (s *Store) fixLayout(ctx context.Context) (Layout, error) {
	want, found := s.cfg.Layout, Layout{}
	written := make(map[string]any)
	applied, err := s.session.Query(`INSERT INTO layout (generation, shards, log_bucket, history_bucket) VALUES (?, ?, ?, ?) IF NOT EXISTS`,
		generation, want.Shards, want.LogBucket, want.HistoryBucket).WithContext(ctx).MapScanCAS(written)
	if err != nil {
		return Layout{}, fmt.Errorf("reading the layout: %w", failed(ctx, err))
	}
	if applied {
		return want, nil
	}
	found.Shards, _ = written["shards"].(int)
	found.LogBucket, _ = written["log_bucket"].(int)
	found.HistoryBucket, _ = written["history_bucket"].(int)
	if found != want {
		return Layout{}, fmt.Errorf("configured are %d shards, buckets of %d entries and %d events; the store was made with %d, %d and %d: %w",
			want.Shards, want.LogBucket, want.HistoryBucket, found.Shards, found.LogBucket, found.HistoryBucket, ErrLayout)
	}
	return found, nil
}

// bucketOf is the bucket of the log that holds an entry. The first is 0.
func (l Layout) bucketOf(index uint64) int64 { return int64((index - 1) / uint64(l.LogBucket)) }

// first and last are the entries that a bucket begins and ends with.
func (l Layout) first(bucket int64) uint64 { return uint64(bucket)*uint64(l.LogBucket) + 1 }
func (l Layout) last(bucket int64) uint64  { return l.first(bucket+1) - 1 }

// historyBucketOf is the bucket of a history that holds an event.
func (l Layout) historyBucketOf(seq uint64) int64 { return int64((seq - 1) / uint64(l.HistoryBucket)) }

// maxIndex keeps every index within what Cassandra's bigint and our arithmetic hold.
const maxIndex = 1 << 62

// checkPlace refuses what can be in no log.
func (l Layout) checkPlace(shard int, index uint64) error {
	if shard < domain.ReferenceShard || shard > l.Shards {
		return fmt.Errorf("shard %d: there are the shards %d to %d", shard, domain.ReferenceShard, l.Shards)
	}
	if index > maxIndex {
		return fmt.Errorf("entry %d of shard %d is out of range", index, shard)
	}
	return nil
}
