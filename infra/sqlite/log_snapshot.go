package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"

	"carryon/command"
	"carryon/domain"
)

// Snapshots are a cache: one that can't be read, or whose checksum is wrong, is one that is not there. Writing them does
// not wait for the disk, since a power cut may take the newest ones; the next claim syncs them with its own entry.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const snapshotQuery = `SELECT stream, seq, shard, entry, place, fold_version, checksum, data FROM snapshot WHERE stream_hash = ?`

// LoadSnapshot implements command.Snapshots.
func (s *LogStore) LoadSnapshot(ctx context.Context, stream domain.StreamID) (command.Snapshot, bool, error) {
	var snapshot command.Snapshot
	var checksum uint32
	err := s.readingSnapshot.QueryRowContext(ctx, streamHash(stream)).
		Scan(&snapshot.Stream, &snapshot.Seq, &snapshot.Position.Shard, &snapshot.Position.Index, &snapshot.Position.Place, &snapshot.FoldVersion, &checksum, &snapshot.Data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return command.Snapshot{}, false, nil
	case err != nil:
		return command.Snapshot{}, false, fmt.Errorf("loading the snapshot of %s: %w", stream, unread(err))
	case snapshot.Stream != stream || checksum != crc32.Checksum(snapshot.Data, castagnoli):
		return command.Snapshot{}, false, nil
	}
	return snapshot, true, nil
}

// SaveSnapshots implements command.Snapshots.
func (s *LogStore) SaveSnapshots(ctx context.Context, snapshots []command.Snapshot) error {
	if err := s.begin(ctx); err != nil {
		return fmt.Errorf("saving %d snapshots: %w", len(snapshots), err)
	}
	defer s.end()
	if err := s.saveSnapshots(ctx, snapshots); err != nil {
		return fmt.Errorf("saving %d snapshots: %w", len(snapshots), s.notWritten(err))
	}
	return nil
}

func (s *LogStore) saveSnapshots(ctx context.Context, snapshots []command.Snapshot) (err error) {
	w, err := s.writer(ctx)
	if err != nil {
		return err
	}
	if err := w.exec("PRAGMA synchronous = NORMAL"); err != nil {
		return err
	}
	defer func() {
		if full := w.exec("PRAGMA synchronous = FULL"); full != nil || err != nil {
			s.discard() // a claim must never run on a connection that does not sync
		}
	}()
	if err := w.begin(ctx); err != nil {
		return err
	}
	bytes := 0
	for i := range snapshots {
		n := &snapshots[i]
		err := w.exec(`INSERT OR REPLACE INTO snapshot (stream_hash, stream, seq, shard, entry, place, fold_version, checksum, data) VALUES (?,?,?,?,?,?,?,?,?)`,
			streamHash(n.Stream), string(n.Stream), int64(n.Seq), n.Position.Shard, int64(n.Position.Index), n.Position.Place, n.FoldVersion,
			int64(crc32.Checksum(n.Data, castagnoli)), append([]byte{}, n.Data...))
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", n.Stream, err), w.rollback())
		}
		bytes += len(n.Data) + pageBytes
	}
	if err := w.commit(); err != nil {
		return err
	}
	s.wrote(bytes)
	return nil
}
