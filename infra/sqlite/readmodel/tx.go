package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// tx is one transaction of a model: see projector.Tx. Its methods are not for concurrent use.
type tx struct {
	f         *file
	shard     int
	at        projector.Checkpoint
	anyParked bool
	over      bool
}

// begin waits for its turn behind other shards in this process, and for a moment for other processes. A transaction on
// the same shard is another instance's.
func (f *file) begin(ctx context.Context, shard int) (_ *tx, err error) {
	if !f.claim(shard) {
		return nil, fmt.Errorf("read model %s: shard %d: %w", f.model, shard, projector.ErrElsewhere)
	}
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		f.unclaim(shard)
		return nil, fmt.Errorf("read model %s: wait to write: %w", f.model, context.Cause(ctx))
	}
	t := &tx{f: f, shard: shard}
	defer func() {
		if err != nil {
			t.Rollback()
			if isBusy(err) {
				err = errors.Join(projector.ErrElsewhere, err)
			}
			err = fmt.Errorf("read model %s: open a transaction on shard %d: %w", f.model, shard, storeError(err))
		}
	}()
	if _, err := f.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}
	var id []byte
	switch found, err := t.one(ctx, "SELECT entry, id FROM checkpoint WHERE shard = ?", []any{shard}, &t.at.Index, &id); {
	case err != nil:
		return nil, err
	case found && copy(t.at.ID[:], id) != len(t.at.ID):
		return nil, fmt.Errorf("the checkpoint's batch id has %d bytes", len(id))
	}
	_, err = t.one(ctx, "SELECT EXISTS (SELECT 1 FROM parked)", nil, &t.anyParked)
	return t, err
}

func (f *file) claim(shard int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shards[shard] {
		return false
	}
	f.shards[shard] = true
	return true
}

func (f *file) unclaim(shard int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.shards, shard)
}

// end lets others write.
func (t *tx) end() {
	t.over = true
	<-t.f.turn
	t.f.unclaim(t.shard)
}

// Checkpoint is the last applied entry.
func (t *tx) Checkpoint() projector.Checkpoint { return t.at }

// Rollback gives everything up. After Commit it does nothing.
func (t *tx) Rollback() {
	if t.over {
		return
	}
	// Without a transaction, because BEGIN failed or SQLite rolled back by itself, this fails, and nothing is lost.
	_, _ = t.f.conn.ExecContext(context.Background(), "ROLLBACK")
	t.end()
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
	if _, err := t.f.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("read model %s: commit shard %d up to entry %d: %w", t.f.model, t.shard, to.Index, storeError(err))
	}
	t.end()
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
	return t.exec(ctx, "INSERT OR REPLACE INTO parked ("+parkedColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		p.Stream, p.Shard, int64(p.FirstSeq), int64(p.Position.Index), p.Position.Place, p.Reason, p.Attempts, micros(p.Since))
}

// Unpark lets a stream flow again.
func (t *tx) Unpark(ctx context.Context, stream domain.StreamID) error {
	return t.exec(ctx, "DELETE FROM parked WHERE stream = ?", stream)
}

// Checkpoints are the last applied entries by shard.
func (f *file) Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error) {
	all := map[int]projector.Checkpoint{}
	err := f.each(ctx, "SELECT shard, entry, id FROM checkpoint", nil, func(r *sql.Rows) error {
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
	return all, storeError(err)
}

// Parked lists parked streams in order of stream, after the given one.
func (f *file) Parked(ctx context.Context, after domain.StreamID, limit int) ([]projector.Parked, error) {
	var all []projector.Parked
	err := f.each(ctx, "SELECT "+parkedColumns+" FROM parked WHERE stream > ? ORDER BY stream LIMIT ?", []any{after, limit}, func(r *sql.Rows) error {
		p, err := scanParked(r)
		all = append(all, p)
		return err
	})
	return all, storeError(err)
}

// ParkedStream looks one stream up, and tells whether it is parked.
func (f *file) ParkedStream(ctx context.Context, stream domain.StreamID) (p projector.Parked, found bool, err error) {
	err = f.each(ctx, "SELECT "+parkedColumns+" FROM parked WHERE stream = ?", []any{stream}, func(r *sql.Rows) error {
		found = true
		var err error
		p, err = scanParked(r)
		return err
	})
	return p, found, storeError(err)
}

// stmt prepares a statement once for the life of the connection.
func (t *tx) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if t.over {
		return nil, fmt.Errorf("read model %s: the transaction on shard %d is over", t.f.model, t.shard)
	}
	runtime.Gosched() // between statements, commands come first
	s := t.f.stmts[text]
	if s == nil {
		var err error
		if s, err = t.f.conn.PrepareContext(ctx, text); err != nil {
			return nil, fmt.Errorf("read model %s: prepare: %w", t.f.model, storeError(err))
		}
		t.f.stmts[text] = s
	}
	return s, nil
}

func (t *tx) exec(ctx context.Context, text string, args ...any) error {
	s, err := t.stmt(ctx, text) //nolint:sqlclosecheck // it is kept for the next time
	if err != nil {
		return err
	}
	if _, err := s.ExecContext(ctx, args...); err != nil {
		return fmt.Errorf("read model %s: %w", t.f.model, storeError(err))
	}
	return nil
}

func (t *tx) each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) (err error) {
	s, err := t.stmt(ctx, text) //nolint:sqlclosecheck // it is kept for the next time
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return fmt.Errorf("read model %s: %w", t.f.model, storeError(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("read model %s: %w", t.f.model, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read model %s: %w", t.f.model, storeError(err))
	}
	return nil
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

// many is a statement that writes many rows at once: head, a group of parameters per row, tail.
type many struct {
	head string // INSERT INTO t (a, b) VALUES
	tail string // ON CONFLICT …
	cols int
}

func (m many) text(rows int) string {
	row := "(?" + strings.Repeat(", ?", m.cols-1) + ")"
	return m.head + " " + row + strings.Repeat(", "+row, rows-1) + " " + m.tail
}

// write writes n rows; bind appends the values of row i. Statements have 128 rows, and for the rest 64, 32, … 1, so
// that few are prepared.
func (t *tx) write(ctx context.Context, m many, n int, bind func(i int, args []any) []any) error {
	size := rowsAtOnce
	for size*m.cols > maxVariables {
		size /= 2
	}
	args := make([]any, 0, min(size, n)*m.cols)
	for i := 0; i < n; {
		for size > n-i {
			size /= 2
		}
		args = args[:0]
		for j := range size {
			args = bind(i+j, args)
		}
		if err := t.exec(ctx, m.text(size), args...); err != nil {
			return err
		}
		i += size
	}
	return nil
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
