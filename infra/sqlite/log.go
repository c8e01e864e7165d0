package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/codec"
)

// The log in SQLite: an entry is a row that holds all its events, and is claimed in one transaction that looks at the
// head under the write lock, so that of racing claims, of this process or of others, exactly one wins. The commit is
// synced before it is answered. Histories are an index over the entries, written in the same transaction.

// LogConfig are the settings of a log file. Zero values stand for the defaults.
type LogConfig struct {
	Shards   int           // customers live in the shards 1..Shards. Written once; default 1
	Readers  int           // connections that read at the same time. Default 4
	BusyWait time.Duration // how long a claim waits for another process's transaction, unless its context ends first. Default 10 s
}

// LogStore is the log, the histories and the snapshots of all shards, in one file.
type LogStore struct {
	file        *File
	busyWait    time.Duration
	turn        chan struct{} // holds a token while nobody writes
	w           *writer       // of whoever holds the turn; nil when it must be made anew
	checkpoints *Checkpointer
	written     int         // bytes since the last checkpoint was asked for; of whoever holds the turn
	damaged     atomic.Bool // a hole in a history was found
	heads       heads

	readingHead, readingLog, readingStream, readingSnapshot *sql.Stmt
}

var (
	_ command.Log       = (*LogStore)(nil)
	_ command.Histories = (*LogStore)(nil)
	_ command.Snapshots = (*LogStore)(nil)
)

// OpenLog opens the file, and makes it if it is not there. A file of another kind is ErrForeign, one with another layout
// ErrLayout, one of a newer program domain.ErrFutureVersion (all wrapped).
func OpenLog(ctx context.Context, path string, cfg LogConfig) (*LogStore, error) {
	if cfg.Shards == 0 {
		cfg.Shards = 1
	}
	if cfg.BusyWait == 0 {
		cfg.BusyWait = 10 * time.Second
	}
	file, err := Open(ctx, path, FileConfig{
		ApplicationID: logApplicationID, Version: logVersion, Migrate: cfg.migrate,
		Durability: Full, Readers: cfg.Readers, BusyTimeout: cfg.BusyWait, Checkpoint: lateCheckpoint, CacheBytes: 32 << 20,
	})
	if err != nil {
		return nil, err
	}
	if err := cfg.checkLayout(ctx, file.Reader); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), file.Close())
	}
	s := &LogStore{file: file, busyWait: cfg.BusyWait, turn: make(chan struct{}, 1)}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), file.Close())
	}
	s.turn <- struct{}{}
	s.checkpoints = StartCheckpointer(s.file.Reader, 0, nil, func(ctx context.Context) (func(), error) { return s.end, s.begin(ctx) })
	return s, nil
}

// prepare prepares what is read, once for all: the pool does it again for each of its connections.
func (s *LogStore) prepare(ctx context.Context) (err error) {
	for query, stmt := range map[string]**sql.Stmt{
		headQuery: &s.readingHead, logQuery: &s.readingLog, streamQuery: &s.readingStream, snapshotQuery: &s.readingSnapshot,
	} {
		if *stmt, err = s.file.Reader.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// Close waits for a claim that is under way, and closes the file. Claims after it fail with command.ErrClosed.
func (s *LogStore) Close() error {
	if _, open := <-s.turn; !open {
		return nil
	}
	close(s.turn)
	s.checkpoints.Stop()
	if s.w != nil {
		s.w.close()
	}
	return s.file.Close()
}

// begin waits for the turn to write.
func (s *LogStore) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", command.ErrUnavailable, context.Cause(ctx))
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", command.ErrUnavailable, context.Cause(ctx))
	case _, open := <-s.turn:
		if !open {
			return command.ErrClosed
		}
		return nil
	}
}

func (s *LogStore) end() { s.turn <- struct{}{} }

// The stages of a claim: the caller gives it up, or it goes on to its commit, and never both.
const (
	pending int32 = iota
	committing
	abandoned
)

// Claim implements command.Log. A claim that its caller gave up before it came to the commit was not written; one that
// was committing is command.ErrUnknown. Who gives up while the entry is being packed gets it back when that is done.
func (s *LogStore) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	c, err := newClaim(e)
	if err != nil {
		return command.Claimed{}, fmt.Errorf("claiming entry %d of shard %d: %w", e.Index, e.Shard, err)
	}
	go c.pack()
	done := make(chan error, 1)
	go func() { // ends with the context while it has no turn, and then with the transaction, which Close waits for
		err := s.begin(ctx)
		if err == nil {
			err = s.claim(ctx, c)
			s.end()
		}
		done <- err
	}()
	err = c.wait(ctx, done)
	c.packing.Do(func() { c.packErr = context.Cause(ctx) }) // given up: from here on nobody looks into the entry
	if err != nil {
		return command.Claimed{}, fmt.Errorf("claiming entry %d of shard %d: %w", e.Index, e.Shard, err)
	}
	return c.result, nil
}

// wait waits for the transaction, or for the end of the context.
func (c *claim) wait(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // at the same time: it is known
		return err
	default:
	}
	if c.stage.CompareAndSwap(pending, abandoned) {
		return fmt.Errorf("%w: %w", command.ErrUnavailable, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", command.ErrUnknown, context.Cause(ctx))
}

// claim is what has to be written, and what came of it.
type claim struct {
	entry  domain.Entry // without its events
	events int
	bytes  int // of payloads
	runs   []run
	stage  atomic.Int32
	result command.Claimed

	whole   *domain.Entry // with its events; the caller's again when Claim has returned
	packing sync.Once
	data    []byte // this and packErr are known when packing is done
	packErr error
}

// pack packs the events, once. A goroutine does it while the transaction waits for its turn, begins and writes what it can
// without them; if that has not begun when they are needed, the transaction does not wait for it to be given a processor.
func (c *claim) pack() {
	c.packing.Do(func() { c.data, c.packErr = codec.EncodeEvents(c.whole) })
}

// claim runs the transaction. Whoever calls it has the turn.
func (s *LogStore) claim(ctx context.Context, c *claim) error {
	w, err := s.writer(ctx)
	if err != nil {
		return err
	}
	if err := w.begin(ctx); err != nil {
		return s.notWritten(err)
	}
	known, err := w.compare(c)
	if err == nil && !known {
		if err = w.insertRuns(&c.entry, c.runs); err != nil {
			err = fmt.Errorf("inserting into the histories: %w", err)
		}
	}
	if err == nil && !known {
		if c.pack(); c.packErr != nil {
			if w.rollback() != nil {
				s.discard()
			}
			return c.packErr
		}
		err = w.insert(c)
	}
	if err == nil && !known && !c.stage.CompareAndSwap(pending, committing) {
		err = context.Canceled // nobody hears it
	}
	if known || err != nil {
		return s.notWritten(errors.Join(err, w.rollback()))
	}
	if err := w.commit(); err != nil {
		return s.settle(c, err)
	}
	c.result = command.Claimed{Applied: true, Head: c.head()}
	s.heads.saw(c.entry.Shard, c.entry.Index)
	s.wrote(len(c.data) + len(c.runs)*pageBytes)
	return nil
}

const (
	checkpointBytes = 16 << 20 // written, about, between two checkpoints
	// lateCheckpoint is when a claim does it after all, in pages.
	lateCheckpoint = 32 * checkpointBytes / pageBytes
)

// wrote counts about how much a transaction wrote. Whoever calls it has the turn.
func (s *LogStore) wrote(bytes int) {
	if s.written += bytes; s.written >= checkpointBytes && s.checkpoints.Due() {
		s.written = 0
	}
}

func (c *claim) head() domain.Head {
	return domain.Head{Index: c.entry.Index, ID: c.entry.ID, Writer: c.entry.Writer}
}

// notWritten says why nothing was written, in the words of the port.
func (s *LogStore) notWritten(err error) error {
	switch {
	case err == nil:
		return nil
	case isCode(err, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY):
		return fmt.Errorf("%w: %w", command.ErrStoreFull, err)
	case isCode(err, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
		s.discard()
		return fmt.Errorf("%w: %w", command.ErrDiffers, err)
	case isCode(err, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
		return fmt.Errorf("%w: another process is writing: %w", command.ErrUnavailable, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	s.discard()
	return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
}

// settle finds out what became of a commit that failed.
//
// A commit that was refused its lock did nothing. One that found the disk full did not write its last frame, the one
// that makes the others count. After any other failure the frames may all be in the write-ahead log, where this process
// does not see them, and a crash would bring them back: only another transaction, which takes their place, makes
// it certain. Unless that one is committed, the outcome is unknown.
func (s *LogStore) settle(c *claim, failure error) error {
	if isCode(failure, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL) {
		s.discard()
		return s.notWritten(failure)
	}
	s.discard()
	ctx, cancel := context.WithTimeout(context.Background(), s.busyWait)
	defer cancel()
	found, err := s.overwrite(ctx, c)
	if err != nil {
		s.discard()
		return fmt.Errorf("%w: commit: %w, and then: %w", command.ErrUnknown, failure, err)
	}
	if !found {
		return s.notWritten(failure)
	}
	c.result = command.Claimed{Applied: true, Head: c.head()}
	return nil
}

// overwrite commits a transaction of its own, and tells whether it found the entry.
func (s *LogStore) overwrite(ctx context.Context, c *claim) (found bool, err error) {
	w, err := s.writer(ctx)
	if err != nil {
		return false, err
	}
	if err := w.begin(ctx); err != nil {
		return false, err
	}
	known, err := w.compare(c)
	if err == nil {
		err = w.exec("UPDATE layout SET settled = settled + 1")
	}
	if err != nil {
		return false, errors.Join(err, w.rollback())
	}
	return known && c.result.Applied, w.commit()
}

// writer is the connection that writes, made when there is none.
func (s *LogStore) writer(ctx context.Context) (*writer, error) {
	if s.w != nil {
		return s.w, nil
	}
	conn, err := s.file.Writer.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	s.w = &writer{conn: conn, stmts: make(map[string]*sql.Stmt)}
	return s.w, nil
}

// discard closes the connection that writes; the next one who needs it makes another.
func (s *LogStore) discard() {
	if s.w != nil {
		s.w.discard()
		s.w = nil
	}
}

// writer is the connection that writes, with its statements. Its transactions can't be interrupted half-way: they are
// short, and whoever waits for one stops waiting when his context ends.
type writer struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

var uninterrupted = context.Background()

func (w *writer) prepared(query string) (*sql.Stmt, error) {
	if stmt := w.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(uninterrupted, query)
	if err != nil {
		return nil, err
	}
	w.stmts[query] = stmt
	return stmt, nil
}

func (w *writer) exec(query string, args ...any) error {
	stmt, err := w.prepared(query)
	if err == nil {
		_, err = stmt.ExecContext(uninterrupted, args...)
	}
	return err
}

// begin takes the write lock. It waits until the context's deadline; without one, as long as the busy timeout allows.
func (w *writer) begin(ctx context.Context) error {
	stmt, err := w.prepared("BEGIN IMMEDIATE")
	if err != nil {
		return err
	}
	_, hasDeadline := ctx.Deadline()
	for {
		_, err = stmt.ExecContext(ctx)
		if !hasDeadline || ctx.Err() != nil || !isCode(err, sqlite3.SQLITE_BUSY) {
			break
		}
	}
	if err != nil {
		_ = w.rollback() // where the context ended just after the lock was taken
	}
	return err
}

func (w *writer) commit() error   { return w.exec("COMMIT") }
func (w *writer) rollback() error { return w.exec("ROLLBACK") }

func (w *writer) close() {
	for _, stmt := range w.stmts {
		_ = stmt.Close()
	}
	_ = w.conn.Close()
}

// discard closes the connection instead of giving it back.
func (w *writer) discard() {
	for _, stmt := range w.stmts {
		_ = stmt.Close()
	}
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.conn.Close()
}

// compare looks whether the entry can be claimed. Where it can't, the outcome is known.
func (w *writer) compare(c *claim) (known bool, err error) {
	head, err := w.head(c.entry.Shard)
	if err != nil {
		return false, fmt.Errorf("reading the head: %w", err)
	}
	if c.entry.Index == head.Index+1 && c.entry.PreviousID == head.ID {
		return false, nil
	}
	c.result = command.Claimed{Head: head}
	if c.entry.Index == 0 || c.entry.Index > head.Index {
		return true, nil
	}
	stmt, err := w.prepared("SELECT id FROM entry WHERE position = ?")
	if err != nil {
		return false, err
	}
	var id []byte
	if err := stmt.QueryRowContext(uninterrupted, position(c.entry.Shard, c.entry.Index)).Scan(&id); err != nil {
		return false, fmt.Errorf("reading the id of entry %d: %w", c.entry.Index, err)
	}
	c.result.Applied = string(id) == string(c.entry.ID[:])
	return true, nil
}

const headQuery = `SELECT position, id, writer FROM entry WHERE position BETWEEN ? AND ? ORDER BY position DESC LIMIT 1`

func (w *writer) head(shard int) (domain.Head, error) {
	stmt, err := w.prepared(headQuery)
	if err != nil {
		return domain.Head{}, err
	}
	return scanHead(stmt.QueryRowContext(uninterrupted, position(shard, 1), position(shard, maxIndex)))
}

func scanHead(row *sql.Row) (domain.Head, error) {
	var at int64
	var id []byte
	var head domain.Head
	switch err := row.Scan(&at, &id, &head.Writer); {
	case errors.Is(err, sql.ErrNoRows):
		return domain.Head{}, nil
	case err != nil:
		return domain.Head{}, err
	}
	head.Index = uint64(at) & maxIndex
	return head, setID(&head.ID, id)
}

func setID(id *domain.BatchID, b []byte) error {
	if copy(id[:], b) != len(b) || len(b) != len(id) {
		return fmt.Errorf("batch id of %d bytes: %w", len(b), command.ErrDiffers)
	}
	return nil
}

// newClaim gathers the entry's rows of the histories, before anything is locked.
func newClaim(e *domain.Entry) (*claim, error) {
	if err := checkPlace(e.Shard, e.Index); err != nil {
		return nil, err
	}
	c := &claim{entry: *e, events: len(e.Events), runs: runs(e.Events), whole: e}
	c.entry.Events = nil
	for i := range e.Events {
		c.bytes += len(e.Events[i].Payload)
	}
	return c, nil
}

func (w *writer) insert(c *claim) error {
	e := &c.entry
	err := w.exec(`INSERT INTO entry (position, id, previous_id, writer, recorded_at, events, bytes, data) VALUES (?,?,?,?,?,?,?,?)`,
		position(e.Shard, e.Index), e.ID[:], e.PreviousID[:], e.Writer, e.RecordedAt.UnixMicro(), c.events, c.bytes, c.data)
	if err != nil {
		return fmt.Errorf("inserting the entry: %w", err)
	}
	return nil
}

// Head implements command.Log.
func (s *LogStore) Head(ctx context.Context, shard int) (domain.Head, error) {
	if err := checkPlace(shard, 0); err != nil {
		return domain.Head{}, err
	}
	head, err := scanHead(s.readingHead.QueryRowContext(ctx, position(shard, 1), position(shard, maxIndex)))
	if err != nil {
		return domain.Head{}, fmt.Errorf("reading the head of shard %d: %w", shard, unread(err))
	}
	return head, nil
}

const logQuery = `SELECT position, id, previous_id, writer, recorded_at, bytes, data FROM entry WHERE position BETWEEN ? AND ? ORDER BY position`

// Read implements command.Log. An entry counts with the larger of its stored bytes and the bytes of its payloads.
func (s *LogStore) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	page, err := s.read(ctx, shard, from, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("reading shard %d from entry %d: %w", shard, from, unread(err))
	}
	return page, nil
}

func (s *LogStore) read(ctx context.Context, shard int, from uint64, maxBytes int) (page []domain.Entry, err error) {
	if from == 0 {
		return nil, errors.New("entries begin at 1")
	}
	if err := checkPlace(shard, from); err != nil {
		return nil, err
	}
	rows, err := s.readingLog.QueryContext(ctx, position(shard, from), position(shard, maxIndex))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	size := 0
	for rows.Next() {
		var r entryRow
		if err := rows.Scan(r.columns()...); err != nil {
			return nil, err
		}
		e, err := r.header()
		if err != nil {
			return nil, err
		}
		if want := from + uint64(len(page)); e.Index != want {
			return nil, fmt.Errorf("entry %d is missing: %w", want, command.ErrDiffers)
		}
		if n := len(page); n > 0 && e.PreviousID != page[n-1].ID {
			return nil, fmt.Errorf("entry %d does not follow on entry %d: %w", e.Index, e.Index-1, command.ErrDiffers)
		}
		if size += max(r.bytes, len(r.data)); len(page) > 0 && size > maxBytes {
			break
		}
		if err := codec.DecodeEvents(&e, r.data); err != nil {
			return nil, err
		}
		page = append(page, e)
	}
	return page, rows.Err()
}

// entryRow is a row as it is stored.
type entryRow struct {
	position     int64
	id, previous sql.RawBytes
	writer       string
	recordedAt   int64
	bytes        int
	data         sql.RawBytes
}

func (r *entryRow) columns() []any {
	return []any{&r.position, &r.id, &r.previous, &r.writer, &r.recordedAt, &r.bytes, &r.data}
}

func (r *entryRow) header() (domain.Entry, error) {
	e := domain.Entry{
		Shard: int(r.position >> indexBits), Index: uint64(r.position) & maxIndex,
		Writer: r.writer, RecordedAt: time.UnixMicro(r.recordedAt).UTC(),
	}
	return e, errors.Join(setID(&e.ID, r.id), setID(&e.PreviousID, r.previous))
}

// unread says why something could not be read, in the words of the port.
func unread(err error) error {
	switch {
	case isCode(err, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
		return fmt.Errorf("%w: %w", command.ErrDiffers, err)
	case isCode(err, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM):
		return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	return err
}
