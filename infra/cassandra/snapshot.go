package cassandra

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"carryon/command"
	"carryon/domain"
)

// Snapshots are a cache. One is a single cell, so that of two that are saved at once one wins whole:
//
//	version  1 byte
//	seq, shard, index, place, fold version, all uvarint
//	data

const snapshotFormat = 1

func encodeSnapshot(s *command.Snapshot) []byte {
	out := make([]byte, 0, 1+5*binary.MaxVarintLen64+len(s.Data))
	out = append(out, snapshotFormat)
	for _, n := range []uint64{s.Seq, uint64(s.Position.Shard), s.Position.Index, uint64(s.Position.Place), uint64(s.FoldVersion)} {
		out = binary.AppendUvarint(out, n)
	}
	return append(out, s.Data...)
}

var errSnapshot = errors.New("not a snapshot of a format known here")

func decodeSnapshot(stream domain.StreamID, raw []byte) (command.Snapshot, error) {
	s := command.Snapshot{Stream: stream}
	if len(raw) == 0 || raw[0] != snapshotFormat {
		return s, errSnapshot
	}
	raw = raw[1:]
	var numbers [5]uint64
	for i := range numbers {
		n, length := binary.Uvarint(raw)
		if length <= 0 {
			return s, errSnapshot
		}
		numbers[i], raw = n, raw[length:]
	}
	s.Seq, s.FoldVersion, s.Data = numbers[0], int(numbers[4]), raw
	s.Position = domain.Position{Shard: int(numbers[1]), Index: numbers[2], Place: int(numbers[3])}
	return s, nil
}

// LoadSnapshot implements command.Snapshots.
func (s *Store) LoadSnapshot(ctx context.Context, stream domain.StreamID) (command.Snapshot, bool, error) {
	var raw []byte
	found, err := s.scanOne(ctx, s.at(quorum, s.session.Query(`SELECT snapshot FROM snapshots WHERE stream = ?`, string(stream))), &raw)
	if err == nil && found {
		var snapshot command.Snapshot
		if snapshot, err = decodeSnapshot(stream, raw); err == nil {
			return snapshot, true, nil
		}
	}
	if err != nil {
		return command.Snapshot{}, false, fmt.Errorf("loading the snapshot of %s: %w", stream, err)
	}
	return command.Snapshot{}, false, nil
}

// snapshotsAtOnce is how many snapshots are being saved at the same time.
const snapshotsAtOnce = 8

// SaveSnapshots implements command.Snapshots.
func (s *Store) SaveSnapshots(ctx context.Context, snapshots []command.Snapshot) error {
	return atOnce(ctx, snapshotsAtOnce, len(snapshots), func(ctx context.Context, i int) error {
		q := s.session.Query(`INSERT INTO snapshots (stream, snapshot) VALUES (?, ?)`, string(snapshots[i].Stream), encodeSnapshot(&snapshots[i]))
		if err := s.write(ctx, q); err != nil {
			return fmt.Errorf("saving the snapshot of %s: %w", snapshots[i].Stream, err)
		}
		return nil
	})
}
