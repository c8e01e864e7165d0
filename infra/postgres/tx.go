package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"carryon/domain"
	"carryon/projector"
)

// tx is one transaction of a model: see projector.Tx. Its methods are not for concurrent use.
//
// Writes are gathered and sent together with the next read, or with the new checkpoint and the COMMIT: so a transaction
// is three round trips, and is over in one once its writes have begun to lock anything.
type tx struct {
	s         *store
	conn      *pgxpool.Conn
	shard     int
	at        projector.Checkpoint
	anyParked bool
	eager     bool
	pending   *pgx.Batch
	over      bool
}

// begin leaves a shard alone that another transaction works on, be it of this process or another.
func (s *store) begin(ctx context.Context, shard int) (_ *tx, err error) {
	if err := s.Prepare(ctx); err != nil {
		return nil, err
	}
	conn, err := s.db.write.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("read model %s: %w", s.model, errors.Join(projector.ErrTransient, err))
	}
	t := &tx{s: s, conn: conn, shard: shard, eager: s.isEager(shard), pending: &pgx.Batch{}}
	defer func() {
		if err != nil {
			t.Rollback()
			err = fmt.Errorf("read model %s: open a transaction on shard %d: %w", s.model, shard, t.failed(err))
		}
	}()
	if !s.isKnown(shard) {
		// On its own, so that no one waits for it.
		_, err := conn.Exec(ctx, s.in("INSERT INTO @.checkpoint (shard, entry, id) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING"), shard, make([]byte, len(domain.BatchID{})))
		if err != nil {
			return nil, err
		}
		s.know(shard, true)
	}
	locked, err := t.lock(ctx)
	if err == nil && !locked {
		s.know(shard, false) // or the row is gone, as when a generation was dropped and another one has its number
		err = projector.ErrElsewhere
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// lock begins, and locks and reads the checkpoint. What is read after it is read under the lock: each statement sees
// what was committed before it began.
func (t *tx) lock(ctx context.Context) (locked bool, err error) {
	t.pending.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	t.pending.Queue(t.s.in("SELECT entry, id FROM @.checkpoint WHERE shard = $1 FOR UPDATE SKIP LOCKED"), t.shard).Query(func(r pgx.Rows) error {
		for r.Next() {
			var err error
			if t.at, err = scanCheckpoint(r); err != nil {
				return err
			}
			locked = true
		}
		return r.Err()
	})
	t.pending.Queue(t.s.in("SELECT EXISTS (SELECT 1 FROM @.parked WHERE shard = $1)"), t.shard).QueryRow(func(r pgx.Row) error {
		return r.Scan(&t.anyParked)
	})
	return locked, t.flush(ctx)
}

// flush sends what was gathered.
func (t *tx) flush(ctx context.Context) error {
	if t.over {
		return errOver
	}
	if t.pending.Len() == 0 {
		return nil
	}
	batch := t.pending
	t.pending = &pgx.Batch{}
	return t.conn.SendBatch(ctx, batch).Close()
}

// failed says what an error is to the consumer: after it the connection may be gone.
func (t *tx) failed(err error) error {
	err = storeError(err)
	if !errors.Is(err, projector.ErrTransient) && !t.over && t.conn.Conn().IsClosed() {
		return errors.Join(projector.ErrTransient, err)
	}
	return err
}

// Checkpoint is the last applied entry.
func (t *tx) Checkpoint() projector.Checkpoint { return t.at }

// rollbackTime is how long a rollback may take before the connection is closed instead, which is one, too.
const rollbackTime = 5 * time.Second

// Rollback gives everything up. After Commit it does nothing.
func (t *tx) Rollback() {
	if t.over {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
	defer cancel()
	if _, err := t.conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = t.conn.Conn().Close(ctx) // the pool makes another
	}
	t.end()
}

func (t *tx) end() {
	t.over = true
	t.conn.Release()
}

// Commit makes everything durable together with the new checkpoint. When the connection is lost it is not known whether
// it did; that is transient, and the next Begin reads the truth.
func (t *tx) Commit(ctx context.Context, to projector.Checkpoint) error {
	if t.over {
		return fmt.Errorf("read model %s: shard %d: %w", t.s.model, t.shard, errOver)
	}
	if to != t.at {
		t.pending.Queue(t.s.in("UPDATE @.checkpoint SET entry = $2, id = $3 WHERE shard = $1"), t.shard, int64(to.Index), to.ID[:])
	}
	done := ""
	t.pending.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		done = tag.String()
		return nil
	})
	err := t.flush(ctx)
	if err == nil && done != "COMMIT" {
		err = fmt.Errorf("the server answered %s", done) // an error before was passed over
	}
	if err != nil {
		err = t.failed(err)
		if !errors.Is(err, projector.ErrTransient) && ctx.Err() == nil {
			t.s.becomeEager(t.shard)
		}
		t.Rollback()
		return fmt.Errorf("read model %s: commit shard %d up to entry %d: %w", t.s.model, t.shard, to.Index, err)
	}
	t.end()
	return nil
}

// exec gathers a write.
func (t *tx) exec(ctx context.Context, text string, args ...any) error {
	t.pending.Queue(t.s.in(text), args...)
	if !t.eager && !t.over {
		return nil
	}
	if err := t.flush(ctx); err != nil {
		return fmt.Errorf("read model %s: %w", t.s.model, t.failed(err))
	}
	return nil
}

// each reads, and sees what was written before.
func (t *tx) each(ctx context.Context, text string, args []any, scan func(pgx.Rows) error) error {
	t.pending.Queue(t.s.in(text), args...).Query(func(r pgx.Rows) error {
		for r.Next() {
			if err := scan(r); err != nil {
				return err
			}
		}
		return r.Err()
	})
	if err := t.flush(ctx); err != nil {
		return fmt.Errorf("read model %s: %w", t.s.model, t.failed(err))
	}
	return nil
}

// ParkedAmong returns those of the streams that are parked.
func (t *tx) ParkedAmong(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.Parked, error) {
	if !t.anyParked {
		return nil, nil
	}
	parked := map[domain.StreamID]projector.Parked{}
	err := t.each(ctx, "SELECT "+parkedColumns+" FROM @.parked WHERE stream = ANY ($1)", []any{texts(streams)}, func(r pgx.Rows) error {
		p, err := scanParked(r)
		parked[p.Stream] = p
		return err
	})
	return parked, err
}

// Park parks a stream, or updates a parked one.
func (t *tx) Park(ctx context.Context, p projector.Parked) error {
	t.anyParked = true
	return t.exec(ctx, "INSERT INTO @.parked ("+parkedColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (stream) DO UPDATE SET
		shard = excluded.shard, first_seq = excluded.first_seq, entry = excluded.entry, place = excluded.place, reason = excluded.reason,
		attempts = excluded.attempts, since = excluded.since`,
		string(p.Stream), p.Shard, int64(p.FirstSeq), int64(p.Position.Index), p.Position.Place, storable(p.Reason), p.Attempts, micros(p.Since))
}

// storable is a text without what the server takes for no text.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}

// Unpark lets a stream flow again.
func (t *tx) Unpark(ctx context.Context, stream domain.StreamID) error {
	return t.exec(ctx, "DELETE FROM @.parked WHERE stream = $1", string(stream))
}

// statement writes rows that come as columns, an array for each.
type statement struct {
	table   string
	columns []string // names
	kinds   []string // and types
	tail    string   // what follows the rows: an ON CONFLICT
	text    string
}

// inserting makes a statement: "stream text" names a column and its type.
func inserting(table, tail string, columns ...string) statement {
	st := statement{table: table, tail: tail}
	arrays := make([]string, len(columns))
	for i, c := range columns {
		name, kind, _ := strings.Cut(c, " ")
		st.columns, st.kinds = append(st.columns, name), append(st.kinds, kind)
		arrays[i] = "$" + strconv.Itoa(i+1) + "::" + kind + "[]"
	}
	st.text = "INSERT INTO @." + table + " (" + strings.Join(st.columns, ", ") + ") SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ") " + tail
	return st
}

// replacing makes a statement that replaces the rows that have the same key.
func replacing(table, key string, columns ...string) statement {
	keys := strings.Split(key, ", ")
	var sets []string
	for _, c := range columns {
		if name, _, _ := strings.Cut(c, " "); !slices.Contains(keys, name) {
			sets = append(sets, name+" = excluded."+name)
		}
	}
	return inserting(table, "ON CONFLICT ("+key+") DO UPDATE SET "+strings.Join(sets, ", "), columns...)
}

// write gathers a write of rows.
func (t *tx) write(ctx context.Context, st statement, columns ...any) error {
	if t.s.db.config.written != nil {
		t.s.db.config.written(st, columns)
	}
	return t.exec(ctx, st.text, columns...)
}

// columnOf is a column of rows.
func columnOf[R, V any](rows []R, value func(*R) V) []V {
	values := make([]V, len(rows))
	for i := range rows {
		values[i] = value(&rows[i])
	}
	return values
}

func texts[S ~string](list []S) []string {
	return columnOf(list, func(s *S) string { return string(*s) })
}

// Moments are kept as microseconds since 1970; 0 is "none".

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func microsOrNull(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func fromMicrosOrNull(us *int64) *time.Time {
	if us == nil {
		return nil
	}
	t := time.UnixMicro(*us).UTC()
	return &t
}
