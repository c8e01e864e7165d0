package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Positions of entries are one number, the shard before the index, so that a shard's entries stand together in the order
// in which they are read.
const (
	indexBits = 40
	maxIndex  = 1<<indexBits - 1
	maxShard  = 1<<22 - 1
)

func position(shard int, index uint64) int64 { return int64(shard)<<indexBits | int64(index) }

func checkPlace(shard int, index uint64) error {
	if shard < 0 || shard > maxShard || index > maxIndex {
		return fmt.Errorf("there is no entry %d of shard %d: shards go up to %d, entries up to %d", index, shard, maxShard, maxIndex)
	}
	return nil
}

const (
	logApplicationID = 0x43724c67 // "CrLg"
	logVersion       = 1
)

// ErrLayout: the file was made for another number of shards.
var ErrLayout = errors.New("the file has another layout")

// logTables are the tables of version 1.
//
// history has a row for each run: the events of a stream that stand side by side in an entry. Its key is a hash of the
// stream's name; what is found is compared with the name. Place is in the key because two streams with one hash could
// have the same seq in the same entry.
const logTables = `
CREATE TABLE layout (
	generation INTEGER PRIMARY KEY,
	shards     INTEGER NOT NULL,
	settled    INTEGER NOT NULL
);
CREATE TABLE entry (
	position    INTEGER PRIMARY KEY, -- shard and index
	id          BLOB    NOT NULL,
	previous_id BLOB    NOT NULL,
	writer      TEXT    NOT NULL,
	recorded_at INTEGER NOT NULL,    -- microseconds
	events      INTEGER NOT NULL,    -- how many
	bytes       INTEGER NOT NULL,    -- of their payloads
	data        BLOB    NOT NULL     -- the events: see infra/codec
);
CREATE TABLE history (
	stream   INTEGER NOT NULL,       -- hash of the name
	last_seq INTEGER NOT NULL,       -- of the run
	shard    INTEGER NOT NULL,
	entry    INTEGER NOT NULL,       -- index
	place    INTEGER NOT NULL,       -- of the first event
	events   INTEGER NOT NULL,       -- how many
	PRIMARY KEY (stream, last_seq, shard, entry, place)
) WITHOUT ROWID;
CREATE TABLE snapshot (
	stream_hash  INTEGER PRIMARY KEY, -- of two streams with one hash, only one has a snapshot
	stream       TEXT    NOT NULL,
	seq          INTEGER NOT NULL,
	shard        INTEGER NOT NULL,
	entry        INTEGER NOT NULL,
	place        INTEGER NOT NULL,
	fold_version INTEGER NOT NULL,
	checksum     INTEGER NOT NULL,
	data         BLOB    NOT NULL
);
`

func (cfg LogConfig) migrate(ctx context.Context, tx *sql.Tx, from int) error {
	if from != 0 {
		return fmt.Errorf("there is no way from version %d", from)
	}
	if cfg.Shards < 1 || cfg.Shards > maxShard {
		return fmt.Errorf("%d shards are not between 1 and %d", cfg.Shards, maxShard)
	}
	if _, err := tx.ExecContext(ctx, logTables); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO layout (generation, shards, settled) VALUES (1, ?, 0)", cfg.Shards)
	return err
}

func (cfg LogConfig) checkLayout(ctx context.Context, db *sql.DB) error {
	var shards int
	if err := db.QueryRowContext(ctx, "SELECT shards FROM layout ORDER BY generation DESC LIMIT 1").Scan(&shards); err != nil {
		return fmt.Errorf("reading the layout: %w", err)
	}
	if shards != cfg.Shards {
		return fmt.Errorf("%w: it was made for %d shards, %d are configured; the number never changes in a file", ErrLayout, shards, cfg.Shards)
	}
	return nil
}
