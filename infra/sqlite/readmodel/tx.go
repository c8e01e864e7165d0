package readmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"

	"carryon/projector"
)

// sqliteTx is a transaction of a file. Its methods are not for concurrent use.
type sqliteTx struct {
	f     *sqliteFile
	shard int
	over  bool
}

// Begin waits for its turn behind other shards in this process, and for a moment for other processes. A transaction on
// the same shard is another instance's.
func (f *sqliteFile) Begin(ctx context.Context, shard int) (EngineTx, error) {
	if !f.claim(shard) {
		return nil, projector.ErrElsewhere
	}
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		f.unclaim(shard)
		return nil, fmt.Errorf("wait to write: %w", context.Cause(ctx))
	}
	t := &sqliteTx{f: f, shard: shard}
	if _, err := f.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		t.Rollback()
		if isBusy(err) {
			err = errors.Join(projector.ErrElsewhere, err)
		}
		return nil, storeError(err)
	}
	return t, nil
}

func (f *sqliteFile) claim(shard int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shards[shard] {
		return false
	}
	f.shards[shard] = true
	return true
}

func (f *sqliteFile) unclaim(shard int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.shards, shard)
}

// end lets others write.
func (t *sqliteTx) end() {
	t.over = true
	<-t.f.turn
	t.f.unclaim(t.shard)
}

// Rollback gives everything up. After Commit it does nothing.
func (t *sqliteTx) Rollback() {
	if t.over {
		return
	}
	// Without a transaction, because BEGIN failed or SQLite rolled back by itself, this fails, and nothing is lost.
	_, _ = t.f.conn.ExecContext(context.Background(), "ROLLBACK")
	t.end()
}

// Commit makes everything durable.
func (t *sqliteTx) Commit(ctx context.Context) error {
	if _, err := t.f.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return storeError(err)
	}
	t.f.wrote()
	t.end()
	return nil
}

// stmt prepares a statement once for the life of the connection.
func (t *sqliteTx) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	runtime.Gosched() // between statements, commands come first
	s := t.f.stmts[text]
	if s == nil {
		var err error
		if s, err = t.f.conn.PrepareContext(ctx, inSQLite(text)); err != nil {
			return nil, fmt.Errorf("prepare: %w", storeError(err))
		}
		t.f.stmts[text] = s
	}
	return s, nil
}

// Exec runs a statement.
func (t *sqliteTx) Exec(ctx context.Context, text string, args ...any) error {
	s, err := t.stmt(ctx, text) //nolint:sqlclosecheck // it is kept for the next time
	if err != nil {
		return err
	}
	_, err = s.ExecContext(ctx, args...)
	return storeError(err)
}

// Each runs a query and hands every row to scan.
func (t *sqliteTx) Each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	s, err := t.stmt(ctx, text) //nolint:sqlclosecheck // it is kept for the next time
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...) //nolint:sqlclosecheck // scanAll closes it
	if err != nil {
		return storeError(err)
	}
	return storeError(scanAll(rows, scan))
}

// Write writes n rows. Statements have 128 rows, and for the rest 64, 32, … 1, so that few are prepared.
func (t *sqliteTx) Write(ctx context.Context, m Many, n int, bind func(i int, args []any) []any) error {
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
		if err := t.Exec(ctx, m.Statement(size), args...); err != nil {
			return err
		}
		i += size
	}
	return nil
}
