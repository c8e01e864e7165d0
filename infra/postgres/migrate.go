package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Each schema has migrations of its own: that of what the models share, and that of each generation of a model. They
// only ever add; a change of what rows mean makes a generation stale instead, and the model is built anew.

//go:embed migrations
var migrations embed.FS

// migrate brings a schema up to date with its migrations, one process at a time: who comes later finds nothing to do.
func (db *DB) migrate(ctx context.Context, schema string, files fs.FS) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("migrate schema %s: %w", schema, err)
		}
	}()
	pool, err := db.config.pool("migration", 1, map[string]string{
		"search_path": quoted(schema), "statement_timeout": "0", "lock_timeout": "0", "client_min_messages": "warning",
	})
	if err != nil {
		return err
	}
	handle := stdlib.OpenDB(*pool.ConnConfig, stdlib.OptionBeforeConnect(func(ctx context.Context, c *pgx.ConnConfig) error {
		return db.config.beforeConnect(ctx, c)
	}))
	defer func() { err = errors.Join(err, handle.Close()) }()
	lock, err := handle.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // and with handle.Close the session, which holds the lock
	if _, err := lock.ExecContext(ctx, "SELECT pg_advisory_lock($1)", lockNumber(schema)); err != nil {
		return err
	}
	if _, err := lock.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoted(schema)); err != nil {
		return err
	}
	return up(ctx, handle, files)
}

func up(ctx context.Context, handle *sql.DB, files fs.FS) error {
	p, err := goose.NewProvider(goose.DialectPostgres, handle, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case current > target:
		return fmt.Errorf("it has version %d, this program knows %d: %w", current, target, ErrNewer)
	case current == target:
		return nil
	}
	_, err = p.Up(ctx)
	return err
}
