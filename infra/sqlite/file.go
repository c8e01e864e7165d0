// Package sqlite keeps the shard logs, their histories and the snapshots in one SQLite file, and opens SQLite files for
// whoever keeps something in one.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite" // registers the driver
	sqlite3 "modernc.org/sqlite/lib"

	"carryon/domain"
)

// Durability says what survives a power cut. A crash of the process loses nothing either way.
type Durability string

const (
	// Full syncs at each commit: what was committed is there.
	Full Durability = "FULL"
	// Normal syncs before the write-ahead log is copied back: the newest transactions may go, never a part of one.
	Normal Durability = "NORMAL"
)

// FileConfig says what is kept in a file, and how.
type FileConfig struct {
	// ApplicationID marks the kind of file: one that has another is refused.
	ApplicationID int32
	// Version of the tables. A file with a newer one is refused; the zero version means that nothing was made yet.
	Version int
	// Migrate brings the tables from version `from` (0: an empty file) to Version, in a transaction.
	Migrate func(ctx context.Context, tx *sql.Tx, from int) error

	Durability  Durability    // default Full
	Readers     int           // connections that read at the same time. Default 4
	BusyTimeout time.Duration // how long a statement waits for a lock of another process. Default 5 s
	PageBytes   int           // of a new file. Default 4096
	CacheBytes  int           // of pages, for the connection that writes; each that reads has a quarter. Default 8 MiB
	Pragmas     []string      // more of them, as in "secure_delete(1)"
	Checkpoint  int           // pages in the write-ahead log before a commit copies them back; negative: never. Default 1000
}

// pageBytes is the usual size of a page.
const pageBytes = 4096

func (c FileConfig) withDefaults() FileConfig {
	if c.Durability == "" {
		c.Durability = Full
	}
	if c.Readers == 0 {
		c.Readers = 4
	}
	if c.BusyTimeout == 0 {
		c.BusyTimeout = 5 * time.Second
	}
	if c.PageBytes == 0 {
		c.PageBytes = pageBytes
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 8 << 20
	}
	if c.Checkpoint == 0 {
		c.Checkpoint = 1000
	}
	return c
}

var (
	// ErrForeign: the file is not one of Carryon, or not of this kind.
	ErrForeign = errors.New("not a file of this kind")
	// ErrOldLibrary: the SQLite library has bugs that could lose what was committed.
	ErrOldLibrary = errors.New("SQLite library too old")
)

// File is an open SQLite file: one connection that writes, and some that read.
type File struct {
	// Writer has one connection. Its transactions take the write lock when they begin.
	Writer *sql.DB
	// Reader has connections that can't write.
	Reader *sql.DB

	path string
}

// Open opens the file, makes it if it is not there, and brings its tables to the version wanted. A file of another kind
// is ErrForeign, one that a newer program wrote is domain.ErrFutureVersion (wrapped); neither is touched. Another process
// that is just opening or closing it is waited for, as one that writes is.
func Open(ctx context.Context, path string, cfg FileConfig) (_ *File, err error) {
	cfg = cfg.withDefaults()
	defer func() {
		if err != nil {
			err = fmt.Errorf("opening %s: %w", path, err)
		}
	}()
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if err := create(path); err != nil {
		return nil, err
	}
	for until := time.Now().Add(cfg.BusyTimeout); ; {
		f, err := open(ctx, path, cfg)
		// Changing to a write-ahead log asks for a lock beside the one that it has; SQLite says "busy" at once then, whatever
		// the busy timeout is, lest two wait for each other.
		if !isCode(err, sqlite3.SQLITE_BUSY) || !time.Now().Before(until) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(openPause):
		}
	}
}

// openPause lies between two attempts to open a file that others are opening.
const openPause = 10 * time.Millisecond

// open makes one attempt.
func open(ctx context.Context, path string, cfg FileConfig) (_ *File, err error) {
	if err := inspect(ctx, path, cfg); err != nil {
		return nil, err
	}
	f := &File{path: path}
	if f.Writer, err = sql.Open("sqlite", cfg.dsn(path, cfg.CacheBytes, "_txlock=immediate")); err != nil {
		return nil, err
	}
	f.Writer.SetMaxOpenConns(1)
	f.Writer.SetMaxIdleConns(1)
	if f.Reader, err = sql.Open("sqlite", cfg.dsn(path, cfg.CacheBytes/4, pragma("query_only", 1))); err != nil {
		return nil, errors.Join(err, f.Writer.Close())
	}
	f.Reader.SetMaxOpenConns(cfg.Readers + 1) // the other one is for a Checkpointer
	f.Reader.SetMaxIdleConns(cfg.Readers + 1)
	if err := f.migrate(ctx, cfg); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Path is the absolute path of the file.
func (f *File) Path() string { return f.path }

// Close closes all connections; the last one of all processes copies the write-ahead log back.
func (f *File) Close() error {
	return errors.Join(f.Reader.Close(), f.Writer.Close())
}

func (c FileConfig) dsn(path string, cacheBytes int, more ...string) string {
	checkpoint := max(c.Checkpoint, 0) // 0 is "never" to SQLite
	options := append([]string{
		pragma("busy_timeout", c.BusyTimeout.Milliseconds()),
		pragma("page_size", c.PageBytes),
		pragma("journal_mode", "WAL"),
		pragma("synchronous", c.Durability),
		pragma("wal_autocheckpoint", checkpoint),
		pragma("cache_size", -(cacheBytes+1023)/1024),
		pragma("temp_store", "MEMORY"),
		pragma("foreign_keys", 1),
		pragma("cell_size_check", 1),
	}, more...)
	for _, p := range c.Pragmas {
		options = append(options, "_pragma="+url.QueryEscape(p))
	}
	return uri(path, options...)
}

func pragma(name string, value any) string {
	return "_pragma=" + url.QueryEscape(fmt.Sprintf("%s(%v)", name, value))
}

func uri(path string, options ...string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: strings.Join(options, "&")}
	return u.String()
}

// create makes an empty file that its owner alone can read, if there is none; what SQLite puts beside it has the same
// permissions. A file that is there is not opened: closing it would take the locks that this process has on it.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// inspect looks at a file before anything is changed in it.
func inspect(ctx context.Context, path string, cfg FileConfig) error {
	db, err := sql.Open("sqlite", uri(path, pragma("busy_timeout", cfg.BusyTimeout.Milliseconds())))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	_, err = cfg.check(ctx, db)
	return errors.Join(err, db.Close())
}

// querier is a database, a connection or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// check refuses a library or a file that we should not work with, and returns the file's version.
func (c FileConfig) check(ctx context.Context, db querier) (version int, err error) {
	var library string
	var application, tables int
	err = db.QueryRowContext(ctx, `SELECT sqlite_version(), (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&library, &application, &version, &tables)
	if err == nil {
		err = checkLibrary(library)
	}
	switch {
	case isCode(err, sqlite3.SQLITE_NOTADB):
		return 0, fmt.Errorf("it is no SQLite file; name another path, or move it away: %w", ErrForeign)
	case err != nil:
		return 0, err
	case application == 0 && version == 0 && tables == 0:
		return 0, nil
	case application != int(c.ApplicationID):
		return 0, fmt.Errorf("its application id is %#x, not %#x; name another path, or move it away: %w", uint32(application), uint32(c.ApplicationID), ErrForeign)
	case version > c.Version:
		return 0, fmt.Errorf("it has version %d and this program knows versions up to %d; use the program that wrote it, or a copy of the file from before: %w", version, c.Version, domain.ErrFutureVersion)
	}
	return version, nil
}

// oldestLibrary is the first that resets a write-ahead log safely when several connections checkpoint it.
var oldestLibrary = [3]int{3, 51, 3}

func checkLibrary(library string) error {
	var v [3]int
	if n, err := fmt.Sscanf(library, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil || n != 3 {
		return fmt.Errorf("version %q of the SQLite library is not understood", library)
	}
	for i := range v {
		if v[i] != oldestLibrary[i] {
			if v[i] > oldestLibrary[i] {
				return nil
			}
			return fmt.Errorf("it is version %s, at least %d.%d.%d is needed: build with a newer modernc.org/sqlite: %w",
				library, oldestLibrary[0], oldestLibrary[1], oldestLibrary[2], ErrOldLibrary)
		}
	}
	return nil
}

// migrate brings the tables to the version wanted. Of several processes that open the file at once, one does it.
func (f *File) migrate(ctx context.Context, cfg FileConfig) error {
	tx, err := f.Writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("waiting for the write lock: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	from, err := cfg.check(ctx, tx)
	if err != nil {
		return err
	}
	if from == cfg.Version {
		return nil
	}
	if err := cfg.Migrate(ctx, tx, from); err != nil {
		return fmt.Errorf("bringing the tables from version %d to %d: %w", from, cfg.Version, err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", cfg.ApplicationID, cfg.Version)); err != nil {
		return err
	}
	return tx.Commit()
}

// isCode tells whether err is one of SQLite's errors with one of the primary codes.
func isCode(err error, codes ...int) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if e.Code()&0xff == code {
			return true
		}
	}
	return false
}
