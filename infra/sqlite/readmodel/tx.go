package readmodel

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"carryon/projector"
)

// tx is one transaction of a model: see projector.Tx. Its methods are not for concurrent use.
type tx struct {
	f         *file
	shard     int
	at        projector.Checkpoint
	anyParked bool
	over      bool
	hurried   bool
	combined  map[projector.Dimensions]int64 // combinations that this transaction has made sure of
}

// begin waits for its turn behind other shards in this process, and for a moment for other processes. A transaction on
// the same shard is another instance's.
func (f *file) begin(ctx context.Context, shard int) (_ *tx, err error) {
	defer func() {
		if err != nil {
			err = f.named(fmt.Errorf("open a transaction on shard %d: %w", shard, err))
		}
	}()
	if !f.claim(shard) {
		return nil, projector.ErrElsewhere
	}
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		f.unclaim(shard)
		return nil, fmt.Errorf("wait to write: %w", context.Cause(ctx))
	}
	t := &tx{f: f, shard: shard, hurried: true} // who is waited for has to come to where he is told so
	defer func() {
		t.hurried = false
		if err != nil {
			t.Rollback()
		}
	}()
	if _, err := f.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		if isBusy(err) {
			err = errors.Join(projector.ErrElsewhere, err)
		}
		return nil, storeError(err)
	}
	if err := t.forgetIfChanged(ctx); err != nil {
		return nil, err
	}
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

// Hurry makes the transaction go on at once after each statement: see projector.Patient.
func (t *tx) Hurry() { t.hurried = true }

// Rollback gives everything up. After Commit it does nothing.
func (t *tx) Rollback() {
	if t.over {
		return
	}
	t.f.forget()
	// Without a transaction, because BEGIN failed or SQLite rolled back by itself, this fails, and nothing is lost.
	_, _ = t.f.conn.ExecContext(context.Background(), "ROLLBACK")
	t.end()
}

// Commit makes everything durable together with the new checkpoint.
func (t *tx) Commit(ctx context.Context, to projector.Checkpoint) error {
	if t.over {
		return t.afterwards()
	}
	if to != t.at {
		if err := t.exec(ctx, "INSERT INTO checkpoint (shard, entry, id) VALUES (?, ?, ?) ON CONFLICT (shard) DO UPDATE SET entry = excluded.entry, id = excluded.id",
			t.shard, int64(to.Index), to.ID[:]); err != nil {
			return err
		}
	}
	if _, err := t.f.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return t.f.named(fmt.Errorf("commit shard %d up to entry %d: %w", t.shard, to.Index, storeError(err)))
	}
	t.f.wrote()
	t.end()
	return nil
}

func (t *tx) afterwards() error {
	return t.f.named(fmt.Errorf("the transaction on shard %d is over", t.shard))
}

// stmt prepares a statement once for the life of the connection.
func (t *tx) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if t.over { // the connection is somebody else's now
		return nil, t.afterwards()
	}
	if !t.hurried {
		runtime.Gosched() // between statements, commands come first
	}
	s := t.f.stmts[text]
	if s == nil {
		var err error
		if s, err = t.f.conn.PrepareContext(ctx, text); err != nil {
			return nil, t.f.named(fmt.Errorf("prepare: %w", storeError(err)))
		}
		t.f.stmts[text] = s
	}
	return s, nil
}

// exec runs a statement.
func (t *tx) exec(ctx context.Context, text string, args ...any) error {
	s, err := t.stmt(ctx, text) //nolint:sqlclosecheck // it is kept for the next time
	if err != nil {
		return err
	}
	_, err = s.ExecContext(ctx, args...)
	return t.f.named(storeError(err))
}

// each runs a query and hands every row to scan.
func (t *tx) each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	s, err := t.stmt(ctx, text) //nolint:sqlclosecheck // it is kept for the next time
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...) //nolint:sqlclosecheck // scanAll closes it
	if err == nil {
		err = scanAll(rows, scan)
	}
	return t.f.named(storeError(err))
}

// many is a statement that writes many rows at once: head, the values, tail. Whatever fails is rolled back as a whole, so
// where rows are only added the head says OR ROLLBACK: SQLite need not be able to take back the statement alone then,
// and writes no copies of pages for that.
type many struct {
	Head string // INSERT OR ROLLBACK INTO t (a, b) VALUES
	Tail string // ON CONFLICT …
	Cols int
}

// statement is the text that writes so many rows, with a parameter for each value.
func (m many) statement(rows int) string {
	row := "(?" + strings.Repeat(", ?", m.Cols-1) + ")"
	return m.Head + " " + row + strings.Repeat(", "+row, rows-1) + " " + m.Tail
}

// write writes n rows; bind appends the values of row i.
func (t *tx) write(ctx context.Context, m many, n int, bind func(i int, args []any) []any) error {
	return t.inPieces(m, n, bind, func(text string, args []any) error { return t.exec(ctx, text, args...) })
}

// writeInOrder is write in the order of the keys of the rows: what lies together in the file is looked for together.
func (t *tx) writeInOrder(ctx context.Context, m many, n int, compare func(i, j int) int, bind func(i int, args []any) []any) error {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Or(compare(i, j), i-j) }) // of two rows with one key the last stays so
	return t.write(ctx, m, n, func(i int, args []any) []any { return bind(order[i], args) })
}

// writeReturning is write with a statement that returns rows.
func (t *tx) writeReturning(ctx context.Context, m many, n int, bind func(i int, args []any) []any, scan func(*sql.Rows) error) error {
	return t.inPieces(m, n, bind, func(text string, args []any) error { return t.each(ctx, text, args, scan) })
}

// inPieces has n rows written by statements of 128 rows, and for the rest 64, 32, … 1, so that few are prepared.
func (t *tx) inPieces(m many, n int, bind func(i int, args []any) []any, run func(text string, args []any) error) error {
	size := rowsAtOnce
	for size*m.Cols > maxVariables {
		size /= 2
	}
	args := make([]any, 0, min(size, n)*m.Cols)
	for i := 0; i < n; {
		for size > n-i {
			size /= 2
		}
		args = args[:0]
		for j := range size {
			args = bind(i+j, args)
		}
		if err := run(m.statement(size), args); err != nil {
			return err
		}
		i += size
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
func eachIn[S any](ctx context.Context, t *tx, text string, list []S, scan func(*sql.Rows) error) error {
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
