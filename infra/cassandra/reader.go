package cassandra

import (
	"context"
	"fmt"

	"carryon/domain"
	"carryon/projector"
)

// Freshness is what a reader of the log asks for. What he reads is right in any case: entries in order, without holes,
// and each the one that was claimed. With less he may learn of the newest entries later.
type Freshness int

const (
	// Linearizable: everything that was claimed before. Store reads so.
	Linearizable Freshness = iota
	// Acknowledged: Head is a quorum read, cheaper than a linearizable one; a claim in flight may be missing.
	Acknowledged
	// AnyReplica: any one replica, of the own data centre if it is named. What it lacks looks like the end of the log.
	AnyReplica
)

// Reader reads the logs as fresh as was asked for.
type Reader struct {
	store     *Store
	freshness Freshness
}

var _ projector.Log = (*Reader)(nil)

// Reader returns one.
func (s *Store) Reader(f Freshness) *Reader { return &Reader{s, f} }

// Head is the newest entry that is seen so.
func (r *Reader) Head(ctx context.Context, shard int) (domain.Head, error) {
	if r.freshness == Linearizable {
		return r.store.Head(ctx, shard)
	}
	err := r.store.layout.checkPlace(shard, 0)
	var head domain.Head
	if err == nil {
		head, err = r.store.headAt(ctx, r.level(), shard)
	}
	if err != nil {
		return domain.Head{}, fmt.Errorf("reading the head of shard %d: %w", shard, err)
	}
	return head, nil
}

// Read returns entries as Log.Read does.
func (r *Reader) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	return r.store.readAt(ctx, r.level(), shard, from, maxBytes)
}

func (r *Reader) level() level {
	if r.freshness == AnyReplica {
		return anyReplica
	}
	return quorum
}
