// Package readmodel keeps the read models in SQLite: one file per model and generation, so that no model holds another's
// write lock and a model can be built anew beside itself. Rows and checkpoint are written in one transaction, so
// synchronous=NORMAL is enough: a power cut may take the newest transactions, but never a part of one, and the log
// has them still.
package readmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"carryon/domain"
	"carryon/infra/sqlite"
	"carryon/projector"
)

// ErrStale: the file was written by an older program, with another fold or with another key; the model must be built
// anew.
var ErrStale = projector.ErrStale

// applicationID marks a file as one of ours: "cRrd".
const applicationID = 0x63527264

// commonTables are the tables of every model.
const commonTables = `
CREATE TABLE checkpoint (shard INTEGER PRIMARY KEY, entry INTEGER NOT NULL, id BLOB NOT NULL);
CREATE TABLE parked (
	stream TEXT PRIMARY KEY, shard INTEGER NOT NULL, first_seq INTEGER NOT NULL, entry INTEGER NOT NULL, place INTEGER NOT NULL,
	reason TEXT NOT NULL, attempts INTEGER NOT NULL, since INTEGER NOT NULL
) WITHOUT ROWID;
`

const (
	readers         = 4       // connections that read
	cacheBytes      = 4 << 20 // of pages, for each of them
	writeCacheBytes = 32 << 20
	earlyPages      = 4096  // of the write-ahead log, before it is begun anew: 16 MiB
	latePages       = 65536 // of the write-ahead log, before a transaction copies it back after all: 256 MiB
	busyMillis      = 100   // a write lock held longer than this is somebody else's transaction
	maxVariables    = 32766 // of one statement
	rowsAtOnce      = 128   // of one statement
	manyNumbers     = 65536 // of streams are remembered: some 6 MiB
)

// checkpointEvery is how much time lies between two checkpoints at least; and so many times what the last one took, but
// no more than checkpointBy: a rebuild writes the same pages again and again, and a part of each checkpoint keeps it from
// writing.
const (
	checkpointEvery = time.Second
	checkpointShare = 10
	checkpointBy    = 10 * time.Second
)

// copying is the queue of all read models of this process.
var copying = sqlite.NewQueue()

// file is one generation of one model: a connection that writes, and some that read.
type file struct {
	model   string
	path    string
	indexes string
	db      *sqlite.File
	turn    chan struct{} // a token: whose turn it is to write

	conn  *sql.Conn // the one that writes; only the holder of the turn uses it, and what stands below
	stmts map[string]*sql.Stmt

	numbers   *recent[domain.StreamID, int64] // of streams
	remembers []forgetful
	version   int64 // of what other connections have written: see forgetIfChanged

	checkpoints *sqlite.Checkpointer
	copied      time.Time // when a checkpoint was asked for; of the holder of the turn

	closing sync.Once
	closed  error

	mu      sync.Mutex
	shards  map[int]bool         // that a transaction is open on, or waits for its turn
	queries map[string]*prepared // of the connections that read
}

// openFile opens or makes a model's file.
func openFile(ctx context.Context, path string, s schema) (_ *file, err error) {
	f := &file{
		model: s.Model, path: path, indexes: s.Indexes,
		turn: make(chan struct{}, 1), shards: map[int]bool{}, stmts: map[string]*sql.Stmt{}, queries: map[string]*prepared{},
		numbers: newRecent[domain.StreamID](manyNumbers, func(int64) int { return 1 }),
	}
	f.remembers = []forgetful{f.numbers}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open read model %s: %w", s.Model, err), f.Close())
		}
	}()
	f.db, err = sqlite.Open(ctx, path, sqlite.FileConfig{
		ApplicationID: applicationID, Version: s.Version, Migrate: s.createIn,
		Durability: sqlite.Normal, Readers: readers, CacheBytes: cacheBytes, Checkpoint: latePages,
	})
	if err != nil {
		return nil, err
	}
	if f.conn, err = f.db.Writer.Conn(ctx); err != nil {
		return nil, err
	}
	if _, err = f.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d; PRAGMA cache_size = -%d", busyMillis, writeCacheBytes>>10)); err != nil {
		return nil, err
	}
	f.checkpoints = sqlite.StartCheckpointer(f.db.Reader, earlyPages, copying, f.idle)
	return f, nil
}

// idle waits until nobody writes, and keeps it so until end.
func (f *file) idle(ctx context.Context) (end func(), err error) {
	select {
	case f.turn <- struct{}{}:
		return func() { <-f.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wrote asks for a checkpoint now and then. Whoever calls it has the turn.
func (f *file) wrote() {
	rest := min(max(checkpointEvery, checkpointShare*f.checkpoints.Took()), checkpointBy)
	if now := time.Now(); now.Sub(f.copied) >= rest && f.checkpoints.Due() {
		f.copied = now
	}
}

// create makes the tables. Read models are not migrated: they are built anew.
func (s schema) createIn(ctx context.Context, tx *sql.Tx, from int) error {
	if from != 0 {
		return fmt.Errorf("it has version %d, this program writes %d: %w", from, s.Version, ErrStale)
	}
	_, err := tx.ExecContext(ctx, commonTables+s.Tables)
	return err
}

// run runs statements in a turn of their own.
func (f *file) run(ctx context.Context, statements string) error {
	end, err := f.idle(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, err = f.conn.ExecContext(ctx, statements)
	return storeError(err)
}

// Close waits for a transaction that is under way to end. Closing again does nothing.
func (f *file) Close() error {
	f.closing.Do(func() { f.closed = f.close() })
	return f.closed
}

func (f *file) close() error {
	f.turn <- struct{}{} // kept: nobody writes after this
	if f.checkpoints != nil {
		f.checkpoints.Stop()
	}
	var errs []error
	f.mu.Lock()
	for _, s := range f.queries {
		errs = append(errs, s.Close())
	}
	clear(f.queries)
	f.mu.Unlock()
	for _, s := range f.stmts {
		errs = append(errs, s.Close())
	}
	clear(f.stmts)
	if f.conn != nil {
		errs = append(errs, f.conn.Close())
	}
	if f.db != nil {
		errs = append(errs, f.db.Close())
	}
	return errors.Join(errs...)
}

// query prepares once and runs many times.
func (f *file) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	s, err := f.take(ctx, text)
	if err != nil {
		return nil, err
	}
	defer f.giveBack(s)
	return s.QueryContext(ctx, args...)
}

// prepared is a statement, with those who are about to run it: it is not closed under their hands.
type prepared struct {
	*sql.Stmt
	users   int
	dropped bool
}

func (f *file) take(ctx context.Context, text string) (*prepared, error) {
	if s := f.known(text); s != nil {
		return s, nil
	}
	made, err := f.db.Reader.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &prepared{Stmt: made, users: 1}
	switch {
	case f.queries[text] != nil: // it was prepared twice at once
		s.dropped = true
		return s, nil
	case len(f.queries) >= maxPrepared:
		for text, old := range f.queries {
			delete(f.queries, text)
			old.dropped = true
			f.closeIdle(old)
			break
		}
	}
	f.queries[text] = s
	return s, nil
}

func (f *file) known(text string) *prepared {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.queries[text]
	if s != nil {
		s.users++
	}
	return s
}

func (f *file) giveBack(s *prepared) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.users--
	f.closeIdle(s)
}

// closeIdle closes a statement that was dropped when its last user has run it. Rows that are still being read keep what
// they need.
func (f *file) closeIdle(s *prepared) {
	if s.dropped && s.users == 0 {
		_ = s.Close() // nothing can be done about it
	}
}

// maxPrepared statements are kept: filters make many texts.
const maxPrepared = 200

// each runs a query and hands every row to scan.
func (f *file) each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	rows, err := f.query(ctx, text, args...) //nolint:sqlclosecheck // scanAll closes them
	if err == nil {
		err = scanAll(rows, scan)
	}
	return f.named(storeError(err))
}

// named says whose failure it is.
func (f *file) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read model %s: %w", f.model, err)
}

// storeError says what a failure of SQLite is to the consumer.
func storeError(err error) error {
	e, ok := errors.AsType[*driver.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT:
		return errors.Join(projector.ErrTransient, err)
	}
	return err
}

func isBusy(err error) bool {
	e, ok := errors.AsType[*driver.Error](err)
	return ok && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
}
