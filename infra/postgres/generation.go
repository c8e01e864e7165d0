package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"

	"carryon/projector"
)

// A read model is built anew as another generation, in a schema beside the one that is read:
// <prefix>_<model>_v<version>_g<n>. A row says which generation of a version is read. Whoever is killed at any moment leaves at worst a generation that nobody reads.

var _ projector.Generations = Generations{}

// Generations are the generations of one model, in one version of its rows.
type Generations struct {
	db    *DB
	model string // with the version
}

func generationsOf(db *DB, d design) Generations {
	return Generations{db, d.model + "_v" + strconv.Itoa(d.version)}
}

// Generations are those of the store's model.
func (s *store) Generations() Generations { return generationsOf(s.db, s.design) }

// Schema is where a generation's rows are.
func (g Generations) Schema(generation int) string {
	return g.db.config.Prefix + "_" + g.model + "_g" + strconv.Itoa(generation)
}

func (g Generations) in(text string) string { return in(g.db.config.Prefix, text) }

func (g Generations) failed(what string, err error) error {
	return fmt.Errorf("%s of read model %s: %w", what, g.model, storeError(err))
}

// Current is the generation that is read: 1 until another was promoted.
func (g Generations) Current(ctx context.Context) (int, error) {
	if err := g.db.Prepare(ctx); err != nil {
		return 0, err
	}
	n := 1
	err := g.db.read.QueryRow(ctx, g.in("SELECT generation FROM @.current_generations WHERE model = $1"), g.model).Scan(&n)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, g.failed("the current generation", err)
	}
	return n, nil
}

// List are the generations that there are, in order.
func (g Generations) List(ctx context.Context) ([]int, error) {
	if err := g.db.Prepare(ctx); err != nil {
		return nil, err
	}
	rows, err := g.db.read.Query(ctx, g.in("SELECT generation FROM @.generations WHERE model = $1 ORDER BY generation"), g.model)
	if err != nil {
		return nil, g.failed("the generations", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, g.failed("the generations", err)
	}
	return list, nil
}

// Create begins the generation behind the newest one.
func (g Generations) Create(ctx context.Context) (int, error) {
	if err := g.db.Prepare(ctx); err != nil {
		return 0, err
	}
	var n int
	err := pgx.BeginFunc(ctx, g.db.aside, func(tx pgx.Tx) error {
		if err := g.lock(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, g.in(`INSERT INTO @.generations (model, generation)
			SELECT $1, 1 + greatest((SELECT max(generation) FROM @.generations WHERE model = $1), (SELECT generation FROM @.current_generations WHERE model = $1), 1)
			RETURNING generation`), g.model).Scan(&n)
	})
	if err != nil {
		return 0, g.failed("a new generation", err)
	}
	return n, nil
}

// lock lets one transaction at a time change the generations of a model.
func (g Generations) lock(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lockNumber(g.db.config.Prefix+" generations "+g.model))
	return err
}

// register notes a generation that is opened.
func (g Generations) register(ctx context.Context, generation int) error {
	_, err := g.db.aside.Exec(ctx, g.in("INSERT INTO @.generations (model, generation) VALUES ($1, $2) ON CONFLICT DO NOTHING"), g.model, generation)
	return err
}

// PromoteFrom lets readers read a generation from their next opening on, if the one that is read is still `from`.
func (g Generations) PromoteFrom(ctx context.Context, from, generation int) (bool, error) {
	if err := g.db.Prepare(ctx); err != nil {
		return false, err
	}
	promoted := false
	err := pgx.BeginFunc(ctx, g.db.aside, func(tx pgx.Tx) error {
		if err := g.lock(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, g.in(`INSERT INTO @.current_generations (model, generation)
			SELECT $1, $3 WHERE coalesce((SELECT generation FROM @.current_generations WHERE model = $1), 1) = $2
			ON CONFLICT (model) DO UPDATE SET generation = excluded.generation, promoted_at = now()`), g.model, from, generation)
		promoted = err == nil && tag.RowsAffected() == 1
		return err
	})
	if err != nil {
		return false, g.failed("promote generation "+strconv.Itoa(generation), err)
	}
	return promoted, nil
}

// dropWait is how long a drop waits for those who still read. Behind a drop that waits, new readers wait, too.
const dropWait = "2s"

// Drop removes a generation and its rows. Dropping again does nothing. It returns projector.ErrCurrent (wrapped) for the one that
// is read.
func (g Generations) Drop(ctx context.Context, generation int) error {
	if err := g.db.Prepare(ctx); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, g.db.aside, func(tx pgx.Tx) error {
		if err := g.lock(ctx, tx); err != nil {
			return err
		}
		var current int
		if err := tx.QueryRow(ctx, g.in("SELECT coalesce((SELECT generation FROM @.current_generations WHERE model = $1), 1)"), g.model).Scan(&current); err != nil {
			return err
		}
		if current == generation {
			return projector.ErrCurrent
		}
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+dropWait+"'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DROP SCHEMA IF EXISTS "+quoted(g.Schema(generation))+" CASCADE"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, g.in("DELETE FROM @.generations WHERE model = $1 AND generation = $2"), g.model, generation)
		return err
	})
	if err != nil {
		return g.failed("drop generation "+strconv.Itoa(generation), err)
	}
	return nil
}

// Claim holds a lock on a connection of its own, which the server lets go when the process or the connection ends.
func (g Generations) Claim(ctx context.Context) (release func(), err error) {
	if err := g.db.Prepare(ctx); err != nil {
		return nil, err
	}
	pooled, err := g.db.aside.Acquire(ctx)
	if err != nil {
		return nil, g.failed("claim the rebuild", err)
	}
	conn := pooled.Hijack()
	closing := func() {
		ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
		defer cancel()
		_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()") // at once; closing lets go a moment later
		_ = conn.Close(ctx)
	}
	var got bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockNumber(g.db.config.Prefix+" rebuild "+g.model)).Scan(&got)
	if err == nil && !got {
		err = projector.ErrRebuilding
	}
	if err != nil {
		closing()
		return nil, g.failed("claim the rebuild", err)
	}
	return sync.OnceFunc(closing), nil
}

// Opened is a generation of a model.
type Opened interface {
	Prepare(ctx context.Context) error
	Generations() Generations
}

// Current prepares the generation that is read. One that is stale is given up: the next is begun, empty, and anew is
// true; everything in it comes from the log. The old one is left to those who still read it, and to Drop.
func Current[M Opened](ctx context.Context, open func(generation int) M) (m M, anew bool, err error) {
	g := open(1).Generations()
	for {
		n, err := g.Current(ctx)
		if err != nil {
			return m, false, err
		}
		m = open(n)
		if err := m.Prepare(ctx); !errors.Is(err, ErrStale) {
			return m, anew, err
		}
		next, err := g.Create(ctx)
		if err != nil {
			return m, false, err
		}
		if anew, err = g.PromoteFrom(ctx, n, next); err != nil {
			return m, false, err
		}
		if !anew { // another process was first
			if err := g.Drop(ctx, next); err != nil {
				return m, false, err
			}
		}
	}
}
