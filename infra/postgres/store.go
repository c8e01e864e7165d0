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

// design is what a model's rows are made like. Rows of another version are in other schemas, so that programs of two
// versions do not disturb each other: each builds its own from the log.
type design struct {
	model   string
	version int    // raised whenever the meaning of rows changes
	key     string // what a secret key makes of nothing, where rows depend on one
	files   fs.FS  // migrations
}

func designOf(model string, version int) design {
	files, err := fs.Sub(migrations, "migrations/"+model)
	if err != nil {
		panic(err) // the folder's name is a constant
	}
	return design{model: model, version: version, files: files}
}

// store is one generation of one model. Nothing is asked of the server before it is needed, so that a server that is
// away keeps nobody from starting.
type store struct {
	db         *DB
	design     design
	model      string
	generation int
	schema     string

	mu    sync.Mutex
	made  bool         // the schema is there and up to date
	known map[int]bool // shards that have a checkpoint row
	eager map[int]int  // by shard, for how many transactions yet each write is sent at once

	making chan struct{} // holds a token while somebody makes the schema
}

func newStore(db *DB, d design, generation int) *store {
	return &store{
		db: db, design: d, model: d.model, generation: generation, schema: generationsOf(db, d).Schema(generation),
		known: map[int]bool{}, eager: map[int]int{}, making: make(chan struct{}, 1),
	}
}

// Prepare makes the generation if it is not there; whatever is asked first does so, too. It returns ErrStale (wrapped)
// for one that was made with another key, and ErrNewer (wrapped) for one that a newer program has changed.
func (s *store) Prepare(ctx context.Context) error {
	if s.isMade() {
		return nil
	}
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.isMade() {
		return nil
	}
	err := s.db.Prepare(ctx)
	if err == nil {
		err = s.db.migrate(ctx, s.schema, s.design.files)
	}
	if err == nil {
		err = generationsOf(s.db, s.design).register(ctx, s.generation)
	}
	if err == nil && s.design.key != "" {
		err = s.checkKey(ctx)
	}
	if err != nil {
		return fmt.Errorf("prepare generation %d of read model %s: %w", s.generation, s.model, readError(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = true
	return nil
}

func (s *store) isMade() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// Close does nothing: the connections are the database's.
func (s *store) Close() error { return nil }

func (s *store) checkKey(ctx context.Context) error {
	if _, err := s.db.aside.Exec(ctx, s.in("INSERT INTO @.made_with (what, value) VALUES ('key', $1) ON CONFLICT DO NOTHING"), s.design.key); err != nil {
		return err
	}
	var stored string
	if err := s.db.aside.QueryRow(ctx, s.in("SELECT value FROM @.made_with WHERE what = 'key'")).Scan(&stored); err != nil {
		return err
	}
	if stored != s.design.key {
		return fmt.Errorf("it was made with another key: %w", ErrStale)
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

// each runs a query and hands every row to scan.
func (s *store) each(ctx context.Context, text string, args []any, scan func(pgx.Rows) error) error {
	return s.ask(ctx, func() error { return s.tryEach(ctx, text, args, scan) })
}

// ask asks. A connection that turns out to be dead before anything was sent on it is replaced once.
func (s *store) ask(ctx context.Context, try func() error) error {
	if err := s.Prepare(ctx); err != nil {
		return err
	}
	err := try()
	if err != nil && pgconn.SafeToRetry(err) && ctx.Err() == nil {
		err = try()
	}
	return s.failed(err)
}

// lookup is a query, and what becomes of its rows.
type lookup struct {
	text string
	args []any
	scan func(pgx.Rows) error
}

// together runs queries one after the other, in one journey to the server. Each sees what those before it saw, or more.
func (s *store) together(ctx context.Context, lookups ...lookup) error {
	return s.ask(ctx, func() error { return s.tryTogether(ctx, lookups) })
}

func (s *store) tryTogether(ctx context.Context, lookups []lookup) (err error) {
	batch := &pgx.Batch{}
	for _, l := range lookups {
		if s.db.config.asked != nil {
			s.db.config.asked(s.in(l.text), l.args)
		}
		batch.Queue(s.in(l.text), l.args...)
	}
	results := s.db.read.SendBatch(ctx, batch)
	defer func() {
		if closed := results.Close(); err == nil {
			err = closed
		}
	}()
	for _, l := range lookups {
		rows, err := results.Query()
		if err == nil {
			err = scanAll(rows, l.scan)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func scanAll(rows pgx.Rows, scan func(pgx.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *store) tryEach(ctx context.Context, text string, args []any, scan func(pgx.Rows) error) error {
	if s.db.config.asked != nil {
		s.db.config.asked(s.in(text), args)
	}
	rows, err := s.db.read.Query(ctx, s.in(text), args...)
	if err != nil {
		return err
	}
	return scanAll(rows, scan)
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

func (s *store) know(shard int, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[shard] = known
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
