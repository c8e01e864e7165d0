package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"carryon/domain"
	"carryon/projector"
)

// making is what the rows of a generation were made with, by name: rows of another making are of no use.
type making map[string]string

// store is one generation of one model.
type store struct {
	db     *DB
	model  string
	schema string

	mu    sync.Mutex
	known map[int]bool // shards that have a checkpoint row
	eager map[int]int  // by shard, for how many transactions yet each write is sent at once
}

// openStore makes the generation if it is not there. It returns ErrStale (wrapped) for one of another making, and
// ErrNewer (wrapped) for one of a newer program.
func openStore(ctx context.Context, db *DB, model string, generation int, with making) (*store, error) {
	files, err := fs.Sub(migrations, "migrations/"+model)
	if err != nil {
		return nil, err
	}
	return openStoreFrom(ctx, db, model, generation, with, files)
}

func openStoreFrom(ctx context.Context, db *DB, model string, generation int, with making, files fs.FS) (*store, error) {
	g := GenerationsOf(db, model)
	s := &store{db: db, model: model, schema: g.Schema(generation), known: map[int]bool{}, eager: map[int]int{}}
	err := db.migrate(ctx, s.schema, files)
	if err == nil {
		err = g.register(ctx, generation)
	}
	if err == nil {
		err = s.checkMaking(ctx, with)
	}
	if err != nil {
		return nil, fmt.Errorf("open generation %d of read model %s: %w", generation, model, storeError(err))
	}
	return s, nil
}

func (s *store) checkMaking(ctx context.Context, with making) error {
	for what, value := range with {
		if _, err := s.db.write.Exec(ctx, s.in("INSERT INTO @.made_with (what, value) VALUES ($1, $2) ON CONFLICT DO NOTHING"), what, value); err != nil {
			return err
		}
		var stored string
		if err := s.db.write.QueryRow(ctx, s.in("SELECT value FROM @.made_with WHERE what = $1"), what).Scan(&stored); err != nil {
			return err
		}
		if stored != value {
			return fmt.Errorf("its %s are others: %w", what, ErrStale)
		}
	}
	return nil
}

func (s *store) in(text string) string { return in(s.schema, text) }

// failed names the model.
func (s *store) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read model %s: %w", s.model, readError(err))
}

// each runs a query and hands every row to scan. A connection that turns out to be dead before anything was sent on it
// is replaced once.
func (s *store) each(ctx context.Context, text string, args []any, scan func(pgx.Rows) error) error {
	err := s.tryEach(ctx, text, args, scan)
	if err != nil && pgconn.SafeToRetry(err) && ctx.Err() == nil {
		err = s.tryEach(ctx, text, args, scan)
	}
	return s.failed(err)
}

func (s *store) tryEach(ctx context.Context, text string, args []any, scan func(pgx.Rows) error) error {
	rows, err := s.db.read.Query(ctx, s.in(text), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one runs a query for at most one row, and tells whether there was one.
func (s *store) one(ctx context.Context, text string, args []any, into ...any) (found bool, err error) {
	err = s.each(ctx, text, args, func(r pgx.Rows) error {
		found = true
		return r.Scan(into...)
	})
	return found, err
}

// Checkpoints are the last applied entries by shard.
func (s *store) Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error) {
	all := map[int]projector.Checkpoint{}
	err := s.each(ctx, "SELECT shard, entry, id FROM @.checkpoint WHERE entry > 0", nil, func(r pgx.Rows) error {
		var shard int
		c, err := scanCheckpoint(r, &shard)
		all[shard] = c
		return err
	})
	return all, err
}

func scanCheckpoint(r pgx.Row, more ...any) (c projector.Checkpoint, err error) {
	var id []byte
	if err := r.Scan(append(more, &c.Index, &id)...); err != nil {
		return c, err
	}
	if copy(c.ID[:], id) != len(c.ID) {
		return c, fmt.Errorf("the checkpoint's batch id has %d bytes", len(id))
	}
	return c, nil
}

const parkedColumns = "stream, shard, first_seq, entry, place, reason, attempts, since"

func scanParked(r pgx.Row) (projector.Parked, error) {
	var p projector.Parked
	var since int64
	err := r.Scan(&p.Stream, &p.Shard, &p.FirstSeq, &p.Position.Index, &p.Position.Place, &p.Reason, &p.Attempts, &since)
	p.Position.Shard, p.Since = p.Shard, fromMicros(since)
	return p, err
}

// Parked lists parked streams in order of stream, after the given one.
func (s *store) Parked(ctx context.Context, after domain.StreamID, limit int) ([]projector.Parked, error) {
	var all []projector.Parked
	err := s.each(ctx, "SELECT "+parkedColumns+" FROM @.parked WHERE stream > $1 ORDER BY stream LIMIT $2", []any{string(after), limit}, func(r pgx.Rows) error {
		p, err := scanParked(r)
		all = append(all, p)
		return err
	})
	return all, err
}

// ParkedStream looks one stream up, and tells whether it is parked.
func (s *store) ParkedStream(ctx context.Context, stream domain.StreamID) (p projector.Parked, found bool, err error) {
	err = s.each(ctx, "SELECT "+parkedColumns+" FROM @.parked WHERE stream = $1", []any{string(stream)}, func(r pgx.Rows) error {
		found = true
		var err error
		p, err = scanParked(r)
		return err
	})
	return p, found, err
}

// isKnown tells whether a shard has had a checkpoint row.
func (s *store) isKnown(shard int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[shard]
}

func (s *store) know(shard int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[shard] = true
}

// eagerFor is how many transactions of a shard send each write at once, after the server refused one at the end of a
// transaction: so that the refusal meets the event that is to blame, and its stream is parked.
const eagerFor = 256

func (s *store) becomeEager(shard int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eager[shard] = eagerFor
}

func (s *store) isEager(shard int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.eager[shard] == 0 {
		return false
	}
	s.eager[shard]--
	return true
}

var errOver = errors.New("the transaction is over")
