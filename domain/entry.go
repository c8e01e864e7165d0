package domain

import (
	"encoding/hex"
	"fmt"
	"time"
)

// ReferenceShard is the shard of the streams that concern everyone: titles, policies, fail-open grants. Customers live
// in the shards 1 to S.
const ReferenceShard = 0

// BatchID names a batch. The zero BatchID stands before the first entry of a log.
type BatchID [16]byte

// IsZero tells whether id is that of "no entry".
func (id BatchID) IsZero() bool { return id == BatchID{} }

func (id BatchID) String() string { return hex.EncodeToString(id[:]) }

// ParseBatchID reads what String wrote.
func ParseBatchID(s string) (BatchID, error) {
	var id BatchID
	if n, err := hex.Decode(id[:], []byte(s)); err != nil || n != len(id) || len(s) != 2*len(id) {
		return BatchID{}, fmt.Errorf("batch id %q is not 32 hexadecimal digits", s)
	}
	return id, nil
}

// Entry is one entry of a shard's log: a batch of the events of many commands of many customers. It is claimed once
// and never changes. PreviousID chains it to the entry before.
type Entry struct {
	Shard      int
	Index      uint64 // 1, 2, 3… within the shard, without holes
	ID         BatchID
	PreviousID BatchID   // of the entry at Index-1; zero for Index 1
	Writer     string    // the process that claimed it
	RecordedAt time.Time // UTC, microseconds; never decreases in a shard
	Events     []Event   // in order; a stream's events have consecutive seq
}

// Head is the newest entry of a shard's log. The zero Head is that of an empty log.
type Head struct {
	Index  uint64
	ID     BatchID
	Writer string
}
