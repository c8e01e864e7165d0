package pgsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
)

// Generations are the generations of one read model: see projector.Generations for the contract. Who builds one holds an
// advisory lock, which the server takes back when the connection ends.
type Generations struct {
	server *Server
	model  string
}

var _ projector.Generations = Generations{}

// Generations are those of a model. The server is not asked yet.
func (s *Server) Generations(model string) Generations { return Generations{s, model} }

func (g Generations) failed(what string, err error) error {
	return fmt.Errorf("%s of read model %s: %w", what, g.model, failure(err))
}

// schema says which tables a generation of this program has.
func (g Generations) schema(ctx context.Context) (readmodel.Schema, error) {
	schema, err := readmodel.SchemaOf(g.model)
	if err != nil {
		return schema, err
	}
	return schema, g.server.Migrate(ctx)
}

const currentGeneration = "coalesce((SELECT generation FROM current_generations WHERE model = $1 AND version = $2), 1)"

// Current is the generation that is read.
func (g Generations) Current(ctx context.Context) (n int, err error) {
	schema, err := g.schema(ctx)
	if err == nil {
		err = g.server.db.QueryRowContext(ctx, "SELECT "+currentGeneration, g.model, schema.Version).Scan(&n)
	}
	if err != nil {
		return 0, g.failed("the current generation", err)
	}
	return n, nil
}

// List are the generations that there are, in order.
func (g Generations) List(ctx context.Context) (list []int, err error) {
	schema, err := g.schema(ctx)
	if err != nil {
		return nil, g.failed("the generations", err)
	}
	rows, err := g.server.db.QueryContext(ctx, "SELECT generation FROM generations WHERE model = $1 AND version = $2 UNION SELECT "+currentGeneration+" ORDER BY 1", g.model, schema.Version)
	err = handEach(rows, err, func(r *sql.Rows) error {
		var n int
		err := r.Scan(&n)
		list = append(list, n)
		return err
	})
	if err != nil {
		return nil, g.failed("the generations", err)
	}
	return list, nil
}

// Create begins the generation behind the newest one.
func (g Generations) Create(ctx context.Context) (n int, err error) {
	err = g.change(ctx, func(tx *sql.Tx, version int) error {
		return tx.QueryRowContext(ctx, `INSERT INTO generations (model, version, generation) SELECT $1, $2, 1 + greatest(`+currentGeneration+`,
			(SELECT max(generation) FROM generations WHERE model = $1 AND version = $2)) RETURNING generation`, g.model, version).Scan(&n)
	})
	if err != nil {
		return 0, g.failed("a new generation", err)
	}
	return n, nil
}

// change does something in a transaction that no other change of the model's generations is beside.
func (g Generations) change(ctx context.Context, do func(tx *sql.Tx, version int) error) error {
	schema, err := g.schema(ctx)
	if err != nil {
		return err
	}
	tx, err := g.server.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", lockNumber("generations "+g.model)); err != nil {
		return err
	}
	if err := do(tx, schema.Version); err != nil {
		return err
	}
	return tx.Commit()
}

// PromoteFrom makes a generation the one that is read, if another still is.
func (g Generations) PromoteFrom(ctx context.Context, from, generation int) (promoted bool, err error) {
	err = g.change(ctx, func(tx *sql.Tx, version int) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO current_generations (model, version, generation) SELECT $1, $2, $4::int WHERE `+currentGeneration+` = $3
			ON CONFLICT (model, version) DO UPDATE SET generation = excluded.generation`, g.model, version, from, generation)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		promoted = n == 1
		return err
	})
	if err != nil {
		return false, g.failed(fmt.Sprintf("promote generation %d", generation), err)
	}
	return promoted, nil
}

// Drop removes a generation's schema.
func (g Generations) Drop(ctx context.Context, generation int) error {
	err := g.change(ctx, func(tx *sql.Tx, version int) error {
		var current int
		if err := tx.QueryRowContext(ctx, "SELECT "+currentGeneration, g.model, version).Scan(&current); err != nil {
			return err
		}
		if current == generation {
			return oursError{projector.ErrCurrent}
		}
		if _, err := tx.ExecContext(ctx, "SET LOCAL lock_timeout = '2s'"); err != nil { // behind a drop that waits, readers wait, too
			return err
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("DROP SCHEMA IF EXISTS %s_v%d_g%d CASCADE", g.model, version, generation)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM generations WHERE model = $1 AND version = $2 AND generation = $3", g.model, version, generation)
		return err
	})
	if err != nil {
		return g.failed(fmt.Sprintf("drop generation %d", generation), err)
	}
	return nil
}

// Claim holds a connection, and on it a lock, until release.
func (g Generations) Claim(ctx context.Context) (release func(), err error) {
	db, err := g.server.connect(commonSchema, 1)
	if err != nil {
		return nil, g.failed("claim the rebuild", err)
	}
	conn, err := db.Conn(ctx)
	mine := false
	if err == nil {
		err = conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", lockNumber("rebuild "+g.model)).Scan(&mine)
	}
	if err == nil && !mine {
		err = oursError{projector.ErrRebuilding}
	}
	if err != nil {
		return nil, g.failed("claim the rebuild", errors.Join(err, db.Close()))
	}
	return sync.OnceFunc(func() { _, _ = conn.Close(), db.Close() }), nil
}
