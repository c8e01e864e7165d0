package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// The models are written over an engine: what they need of a database, and no more. So what a model means stands apart
// from how its file is opened, locked and cached.

// Engine is a database that holds the tables of one generation of one model.
type Engine interface {
	// Each runs a query on what is committed, and hands every row to scan.
	Each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error
	// Begin opens a transaction that nobody else has on the shard: else it is projector.ErrElsewhere (wrapped).
	Begin(ctx context.Context, shard int) (EngineTx, error)
	// Close waits for a transaction that is under way to end. Closing again does nothing.
	Close() error
}

// EngineTx is a transaction. Its methods are not for concurrent use.
type EngineTx interface {
	Each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error
	Exec(ctx context.Context, text string, args ...any) error
	// Write writes n rows; bind appends the values of row i.
	Write(ctx context.Context, m Many, n int, bind func(i int, args []any) []any) error
	Commit(ctx context.Context) error
	// Rollback gives everything up. After Commit it does nothing.
	Rollback()
}

// Many is a statement that writes many rows at once: head, the values, tail.
type Many struct {
	Head string // INSERT INTO t (a, b) VALUES
	Tail string // ON CONFLICT …
	Cols int
	// Key is how many of the first columns make a row what it is, where a later row of the same statement stands for an
	// earlier one. 0: no two rows are of the same.
	Key int
}

// Schema is what a model's tables are.
type Schema struct {
	Model   string
	Version int    // raised whenever tables or the meaning of rows change: the model is built anew then
	Tables  string // SQL that creates them
	Indexes string // SQL that creates, where they are not there, the indices that only readers need
}

// file is one generation of one model.
type file struct {
	*sqliteFile
	model   string
	indexes string
	engine  Engine
}

// Close waits for a transaction that is under way to end. Closing again does nothing.
func (f *file) Close() error { return f.engine.Close() }

// Filled makes the indices that only readers need: a rebuild fills tables without them, and makes each in one go.
func (f *file) Filled(ctx context.Context) error {
	if err := f.Run(ctx, f.indexes); err != nil {
		return fmt.Errorf("read model %s: make the indices: %w", f.model, err)
	}
	return nil
}

// each runs a query and hands every row to scan.
func (f *file) each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	if err := f.engine.Each(ctx, text, args, scan); err != nil {
		return fmt.Errorf("read model %s: %w", f.model, err)
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

// tx is one transaction of a model: see projector.Tx. Its methods are not for concurrent use.
type tx struct {
	f         *file
	engine    EngineTx
	shard     int
	at        projector.Checkpoint
	anyParked bool
	over      bool
	combined  map[projector.Dimensions]int64 // combinations that this transaction has made sure of
}

// begin waits for its turn. A transaction on the same shard is another instance's.
func (f *file) begin(ctx context.Context, shard int) (_ *tx, err error) {
	e, err := f.engine.Begin(ctx, shard)
	if err != nil {
		return nil, fmt.Errorf("read model %s: open a transaction on shard %d: %w", f.model, shard, err)
	}
	t := &tx{f: f, engine: e, shard: shard}
	defer func() {
		if err != nil {
			t.Rollback()
			err = fmt.Errorf("read model %s: open a transaction on shard %d: %w", f.model, shard, err)
		}
	}()
	var id []byte
	switch found, err := t.one(ctx, "SELECT entry, id FROM checkpoint WHERE shard = ? AND entry > 0", []any{shard}, &t.at.Index, &id); {
	case err != nil:
		return nil, err
	case found && copy(t.at.ID[:], id) != len(t.at.ID):
		return nil, fmt.Errorf("the checkpoint's batch id has %d bytes", len(id))
	}
	_, err = t.one(ctx, "SELECT EXISTS (SELECT 1 FROM parked)", nil, &t.anyParked)
	return t, err
}

// Checkpoint is the last applied entry.
func (t *tx) Checkpoint() projector.Checkpoint { return t.at }

// Rollback gives everything up. After Commit it does nothing.
func (t *tx) Rollback() {
	if !t.over {
		t.over = true
		t.engine.Rollback()
	}
}

// Commit makes everything durable together with the new checkpoint.
func (t *tx) Commit(ctx context.Context, to projector.Checkpoint) error {
	if t.over {
		return fmt.Errorf("read model %s: the transaction on shard %d is over", t.f.model, t.shard)
	}
	if to != t.at {
		if err := t.exec(ctx, "INSERT INTO checkpoint (shard, entry, id) VALUES (?, ?, ?) ON CONFLICT (shard) DO UPDATE SET entry = excluded.entry, id = excluded.id",
			t.shard, int64(to.Index), to.ID[:]); err != nil {
			return err
		}
	}
	if err := t.engine.Commit(ctx); err != nil {
		return fmt.Errorf("read model %s: commit shard %d up to entry %d: %w", t.f.model, t.shard, to.Index, err)
	}
	t.over = true
	return nil
}

// ParkedAmong returns those of the streams that are parked.
func (t *tx) ParkedAmong(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.Parked, error) {
	if !t.anyParked {
		return nil, nil
	}
	parked := map[domain.StreamID]projector.Parked{}
	err := eachIn(ctx, t, "SELECT "+parkedColumns+" FROM parked WHERE stream IN (SELECT value FROM json_each(?))", streams, func(r *sql.Rows) error {
		p, err := scanParked(r)
		parked[p.Stream] = p
		return err
	})
	return parked, err
}

const parkedColumns = "stream, shard, first_seq, entry, place, reason, attempts, since"

func scanParked(r *sql.Rows) (projector.Parked, error) {
	var p projector.Parked
	var since int64
	err := r.Scan(&p.Stream, &p.Shard, &p.FirstSeq, &p.Position.Index, &p.Position.Place, &p.Reason, &p.Attempts, &since)
	p.Position.Shard, p.Since = p.Shard, fromMicros(since)
	return p, err
}

// Park parks a stream, or updates a parked one.
func (t *tx) Park(ctx context.Context, p projector.Parked) error {
	t.anyParked = true
	return t.exec(ctx, "INSERT INTO parked ("+parkedColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET shard = excluded.shard,
		first_seq = excluded.first_seq, entry = excluded.entry, place = excluded.place, reason = excluded.reason, attempts = excluded.attempts, since = excluded.since`,
		string(p.Stream), p.Shard, int64(p.FirstSeq), int64(p.Position.Index), p.Position.Place, p.Reason, p.Attempts, micros(p.Since))
}

// Unpark lets a stream flow again.
func (t *tx) Unpark(ctx context.Context, stream domain.StreamID) error {
	return t.exec(ctx, "DELETE FROM parked WHERE stream = ?", string(stream))
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

// Parked lists parked streams in order of stream, after the given one.
func (f *file) Parked(ctx context.Context, after domain.StreamID, limit int) ([]projector.Parked, error) {
	var all []projector.Parked
	err := f.each(ctx, "SELECT "+parkedColumns+" FROM parked WHERE stream > ? ORDER BY stream LIMIT ?", []any{string(after), limit}, func(r *sql.Rows) error {
		p, err := scanParked(r)
		all = append(all, p)
		return err
	})
	return all, err
}

// ParkedStream looks one stream up, and tells whether it is parked.
func (f *file) ParkedStream(ctx context.Context, stream domain.StreamID) (p projector.Parked, found bool, err error) {
	err = f.each(ctx, "SELECT "+parkedColumns+" FROM parked WHERE stream = ?", []any{string(stream)}, func(r *sql.Rows) error {
		found = true
		var err error
		p, err = scanParked(r)
		return err
	})
	return p, found, err
}

func (t *tx) running() error {
	if t.over {
		return fmt.Errorf("read model %s: the transaction on shard %d is over", t.f.model, t.shard)
	}
	return nil
}

func (t *tx) exec(ctx context.Context, text string, args ...any) error {
	err := t.running()
	if err == nil {
		err = t.engine.Exec(ctx, text, args...)
	}
	return t.named(err)
}

func (t *tx) each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	err := t.running()
	if err == nil {
		err = t.engine.Each(ctx, text, args, scan)
	}
	return t.named(err)
}

// write writes n rows; bind appends the values of row i.
func (t *tx) write(ctx context.Context, m Many, n int, bind func(i int, args []any) []any) error {
	err := t.running()
	if err == nil && n > 0 {
		err = t.engine.Write(ctx, m, n, bind)
	}
	return t.named(err)
}

func (t *tx) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read model %s: %w", t.f.model, err)
}

func (t *tx) one(ctx context.Context, text string, args []any, into ...any) (bool, error) {
	found := false
	err := t.each(ctx, text, args, func(r *sql.Rows) error {
		found = true
		return r.Scan(into...)
	})
	return found, err
}

// eachIn runs a query whose one argument is a JSON list, in pieces of a bounded size.
func eachIn[S ~string](ctx context.Context, t *tx, text string, list []S, scan func(*sql.Rows) error) error {
	const piece = 4096
	for len(list) > 0 {
		n := min(piece, len(list))
		data, err := json.Marshal(list[:n])
		if err != nil {
			return fmt.Errorf("read model %s: %w", t.f.model, err)
		}
		if err := t.each(ctx, text, []any{string(data)}, scan); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
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

// Statement is the text that writes so many rows, with a parameter for each value.
func (m Many) Statement(rows int) string {
	row := "(?" + strings.Repeat(", ?", m.Cols-1) + ")"
	return m.Head + " " + row + strings.Repeat(", "+row, rows-1) + " " + m.Tail
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
