package cassandra

import (
	"context"
	"fmt"
	"sync"

	"github.com/gocql/gocql"

	"carryon/command"
	"carryon/domain"
)

// The tail of a log is found from the newest entry that this process has seen, which is in the bucket of the tail or a
// before it. From a bucket that is full it gallops: 1, 3, 7… buckets further until there is none, and then halves.

// level is how surely a read sees what was written.
type level int

const (
	linearizable level = iota // all that was applied before, by anyone
	quorum                    // all that was acknowledged before
	everyReplica              // what any replica has
	anyReplica                // what some replica has: fast, and maybe old
)

// at sets the consistency of a read.
func (s *Store) at(l level, q *gocql.Query) *gocql.Query {
	switch l {
	case linearizable:
		return q.Consistency(gocql.Consistency(s.cfg.serial()))
	case everyReplica:
		return q.Consistency(gocql.All)
	case anyReplica:
		if s.cfg.Datacenter != "" {
			return q.Consistency(gocql.LocalOne)
		}
		return q.Consistency(gocql.One)
	}
	return q.Consistency(s.cfg.quorum())
}

// Head implements command.Log.
func (s *Store) Head(ctx context.Context, shard int) (domain.Head, error) {
	err := s.layout.checkPlace(shard, 0)
	var head domain.Head
	if err == nil {
		head, err = s.head(ctx, shard)
	}
	if err != nil {
		return domain.Head{}, fmt.Errorf("reading the head of shard %d: %w", shard, err)
	}
	return head, nil
}

// head is linearizable: a bucket that is not full is the last one as long as it is not, and one that is full is the last
// one if there is none after it.
func (s *Store) head(ctx context.Context, shard int) (domain.Head, error) {
	return s.headAt(ctx, linearizable, shard)
}

func (s *Store) headAt(ctx context.Context, l level, shard int) (domain.Head, error) {
	bucket := s.layout.bucketOf(max(s.tails.index(shard), 1))
	head, err := s.headFrom(ctx, l, shard, bucket)
	if err == nil && head.Index == 0 && bucket > 0 && l == linearizable {
		// What was seen is gone: this is another log than before, and it is looked at from its beginning.
		s.tails.forget(shard)
		head, err = s.headFrom(ctx, l, shard, 0)
	}
	if err == nil {
		s.tails.saw(shard, head.Index)
	}
	return head, err
}

// headFrom goes from a bucket to the last one.
func (s *Store) headFrom(ctx context.Context, l level, shard int, bucket int64) (domain.Head, error) {
	head, err := s.bucketHead(ctx, shard, bucket, l)
	if err != nil || head.Index == 0 || head.Index != s.layout.last(bucket) {
		return head, err
	}
	if bucket, err = s.gallop(ctx, l, shard, bucket); err != nil {
		return domain.Head{}, err
	}
	for ; ; bucket++ {
		next, err := s.bucketHead(ctx, shard, bucket, l)
		if err != nil || next.Index == 0 {
			return head, err
		}
		if head = next; head.Index != s.layout.last(bucket) {
			return head, nil
		}
	}
}

// gallop returns the last bucket after `from` that is seen, or `from`. What is in flight meanwhile, headFrom sees.
func (s *Store) gallop(ctx context.Context, l level, shard int, from int64) (int64, error) {
	there := func(bucket int64) (bool, error) {
		head, err := s.bucketHead(ctx, shard, bucket, max(l, quorum))
		return head.Index > 0, err
	}
	step := int64(1)
	for ; ; step *= 2 {
		if found, err := there(from + step); err != nil {
			return 0, err
		} else if !found {
			break
		}
		from += step
	}
	for step /= 2; step > 0; step /= 2 {
		found, err := there(from + step)
		if err != nil {
			return 0, err
		}
		if found {
			from += step
		}
	}
	return from, nil
}

const readHead = `SELECT DISTINCT head, head_id, head_writer FROM log WHERE shard = ? AND bucket = ?`

// bucketHead is the newest entry of a bucket; zero: it has none.
func (s *Store) bucketHead(ctx context.Context, shard int, bucket int64, l level) (head domain.Head, err error) {
	var index *int64
	var id []byte
	found, err := s.scanOne(ctx, s.at(l, s.session.Query(readHead, shard, bucket)), &index, &id, &head.Writer)
	if err != nil || !found {
		return domain.Head{}, err
	}
	if index == nil || *index < 1 {
		return domain.Head{}, fmt.Errorf("bucket %d of shard %d has no head: %w", bucket, shard, command.ErrDiffers)
	}
	head.Index = uint64(*index)
	if s.layout.bucketOf(head.Index) != bucket {
		return domain.Head{}, fmt.Errorf("bucket %d of shard %d has the head %d: %w", bucket, shard, head.Index, command.ErrDiffers)
	}
	return head, setID(&head.ID, id)
}

// tails are the newest entries that this process has seen.
type tails struct {
	mu   sync.Mutex
	seen map[int]uint64
}

func (t *tails) saw(shard int, index uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == nil {
		t.seen = make(map[int]uint64)
	}
	t.seen[shard] = max(t.seen[shard], index)
}

func (t *tails) index(shard int) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen[shard]
}

func (t *tails) forget(shard int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.seen, shard)
}
