package readmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"carryon/projector"
)

// schema is what a model's tables are.
type schema struct {
	Model   string
	Version int    // raised whenever tables or the meaning of rows change: the model is built anew then
	Tables  string // SQL that creates them
	Indexes string // SQL that creates, where they are not there, the indices that only readers need
}

// Filled makes the indices that only readers need: a rebuild fills tables without them, and makes each in one go.
func (f *file) Filled(ctx context.Context) error {
	if err := f.run(ctx, f.indexes); err != nil {
		return fmt.Errorf("read model %s: make the indices: %w", f.model, err)
	}
	return nil
}

// one runs a query for at most one row, and tells whether there was one.
func (f *file) one(ctx context.Context, text string, args []any, into ...any) (bool, error) {
	found := false
	err := f.each(ctx, text, args, func(r *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(into...)
	})
	return found, err
}

// Checkpoints are the last applied entries by shard.
func (f *file) Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error) {
	all := map[int]projector.Checkpoint{}
	err := f.each(ctx, "SELECT shard, entry, id FROM checkpoint WHERE entry > 0", nil, func(r *sql.Rows) error {
		var shard int
		var c projector.Checkpoint
		var id []byte
		if err := r.Scan(&shard, &c.Index, &id); err != nil {
			return err
		}
		copy(c.ID[:], id)
		all[shard] = c
		return nil
	})
	return all, err
}

// scanAll hands every row to scan.
func scanAll(rows *sql.Rows, scan func(*sql.Rows) error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Moments are kept as microseconds since 1970; 0 is "none".

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func microsOrNull(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func fromNullMicros(us sql.NullInt64) *time.Time {
	if !us.Valid {
		return nil
	}
	t := time.UnixMicro(us.Int64).UTC()
	return &t
}
