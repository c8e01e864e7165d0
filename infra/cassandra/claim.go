package cassandra

import (
	"context"
	"errors"
	"fmt"

	"github.com/gocql/gocql"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/codec"
)

// A claim is one conditional batch in one partition. The bucket's head names the entry it ends with; it moves on by one,
// and the entry is inserted, or nothing is written. The first claim of a bucket expects that there is no head, after the
// bucket before was seen to end with its last entry, which never changes. So no entry is there without the one before.
const (
	moveHead = `UPDATE log SET head = ?, head_id = ?, head_writer = ? WHERE shard = ? AND bucket = ? IF head = ? AND head_id = ?`
	addEntry = `INSERT INTO log (shard, bucket, entry, id, previous_id, writer, recorded_at, bytes, events) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

// Claim implements command.Log. The driver never repeats a claim on its own. A claim that was not applied is looked up
// among the entries, by linearizable reads.
func (s *Store) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	claimed, err := s.claim(ctx, e)
	if err != nil {
		return command.Claimed{}, fmt.Errorf("claiming entry %d of shard %d: %w", e.Index, e.Shard, err)
	}
	return claimed, nil
}

func (s *Store) claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	if err := ctx.Err(); err != nil {
		return command.Claimed{}, fmt.Errorf("%w: %w", command.ErrUnavailable, context.Cause(ctx))
	}
	if err := s.layout.checkPlace(e.Shard, e.Index); err != nil {
		return command.Claimed{}, err
	}
	events, err := codec.EncodeEvents(e)
	if err != nil {
		return command.Claimed{}, err
	}
	if len(events) > maxEntryBytes {
		return command.Claimed{}, fmt.Errorf("%d bytes, encoded, at most %d fit: %w", len(events), maxEntryBytes, command.ErrTooLarge)
	}
	follows, err := s.follows(ctx, e)
	if err != nil {
		return command.Claimed{}, err
	}
	if follows {
		applied, err := s.put(ctx, e, events)
		if err != nil {
			return command.Claimed{}, claimFailed(ctx, err)
		}
		if applied {
			s.tails.saw(e.Shard, e.Index)
			return command.Claimed{Applied: true}, nil
		}
	}
	return s.settle(ctx, e)
}

// follows tells whether the entry may be claimed, as far as its own bucket can't tell.
func (s *Store) follows(ctx context.Context, e *domain.Entry) (bool, error) {
	bucket := s.layout.bucketOf(max(e.Index, 1))
	switch {
	case e.Index == 0 || e.Index == 1 && !e.PreviousID.IsZero():
		return false, nil
	case e.Index == 1 || e.Index != s.layout.first(bucket):
		return true, nil
	}
	before, err := s.bucketHead(ctx, e.Shard, bucket-1, linearizable)
	return err == nil && before.Index == e.Index-1 && before.ID == e.PreviousID, err
}

// put sends the batch.
func (s *Store) put(ctx context.Context, e *domain.Entry, events []byte) (bool, error) {
	bucket := s.layout.bucketOf(e.Index)
	var head, headID any // nil: the bucket has none
	if e.Index != s.layout.first(bucket) {
		head, headID = int64(e.Index-1), e.PreviousID[:]
	}
	size := 0
	for i := range e.Events {
		size += len(e.Events[i].Payload)
	}
	b := s.session.NewBatch(gocql.UnloggedBatch).WithContext(ctx).SerialConsistency(s.cfg.serial()).RetryPolicy(nil)
	b.SetConsistency(s.cfg.quorum())
	b.Query(moveHead, int64(e.Index), e.ID[:], e.Writer, e.Shard, bucket, head, headID)
	b.Query(addEntry, e.Shard, bucket, int64(e.Index), e.ID[:], e.PreviousID[:], e.Writer, e.RecordedAt.UnixMicro(), size, events)
	return applyBatch(s.session, b)
}

// errNoAnswer: the driver could not make out what the server answered.
var errNoAnswer = errors.New("the answer to a conditional batch could not be read")

// applyBatch sends a conditional batch and tells whether it was applied. The driver panics over an answer without rows.
func applyBatch(session *gocql.Session, b *gocql.Batch) (applied bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			applied, err = false, fmt.Errorf("%w: %v", errNoAnswer, r)
		}
	}()
	found := make(map[string]any)
	applied, answer, err := session.MapExecuteBatchCAS(b, found)
	if answer != nil {
		err = errors.Join(err, answer.Close())
	}
	return applied && err == nil, err
}

// settle finds out what became of an entry that could not be claimed: it is there already, by this claim's batch or by
// another's, or the log has not come so far, or it came another way.
func (s *Store) settle(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	head, err := s.head(ctx, e.Shard)
	if err != nil || e.Index == 0 || head.Index < e.Index {
		return command.Claimed{Head: head}, err
	}
	if head.Index == e.Index {
		return command.Claimed{Applied: head.ID == e.ID, Head: head}, nil
	}
	id, err := s.entryID(ctx, e.Shard, e.Index)
	if err != nil {
		return command.Claimed{}, err
	}
	return command.Claimed{Applied: id == e.ID, Head: head}, nil
}

const readID = `SELECT id FROM log WHERE shard = ? AND bucket = ? AND entry = ?`

// entryID is the id of an entry that must be there.
func (s *Store) entryID(ctx context.Context, shard int, index uint64) (id domain.BatchID, err error) {
	for _, level := range []level{linearizable, everyReplica} {
		var raw []byte
		q := s.session.Query(readID, shard, s.layout.bucketOf(index), int64(index))
		found, err := s.scanOne(ctx, s.at(level, q), &raw)
		if err != nil {
			return id, err
		}
		if found {
			return id, setID(&id, raw)
		}
	}
	return id, fmt.Errorf("entry %d of shard %d is missing below the head: %w", index, shard, command.ErrDiffers)
}

func setID(id *domain.BatchID, raw []byte) error {
	if copy(id[:], raw) != len(raw) || len(raw) != len(id) {
		return fmt.Errorf("a batch id of %d bytes: %w", len(raw), command.ErrDiffers)
	}
	return nil
}
