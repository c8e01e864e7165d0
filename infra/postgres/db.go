package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is a process's way to the database: connections of the projectors, connections that only read, so that a flood of
// questions never keeps the projectors waiting, and two aside for what is short and must not wait behind either, as a
// record in the access log.
type DB struct {
	config Config
	write  *pgxpool.Pool
	read   *pgxpool.Pool
	aside  *pgxpool.Pool

	prepared  atomic.Bool
	preparing chan struct{} // holds a token while somebody prepares
}

// Open reads the settings. Nothing is connected before it is needed, so that a server that is away keeps nobody from
// starting.
func Open(c Config) (*DB, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	db := &DB{config: c.withDefaults(), preparing: make(chan struct{}, 1)}
	if err := db.connect(); err != nil {
		db.Close()
		return nil, fmt.Errorf("open postgres: %w", err)
	}
	return db, nil
}

// Prepare brings what the models share up to date; whatever is asked first does so, too. It returns ErrNewer (wrapped)
// when a newer program has been there.
func (db *DB) Prepare(ctx context.Context) error {
	if db.prepared.Load() {
		return nil
	}
	select {
	case db.preparing <- struct{}{}:
		defer func() { <-db.preparing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if db.prepared.Load() {
		return nil
	}
	shared, err := fs.Sub(migrations, "migrations/shared")
	if err == nil {
		err = db.checkServer(ctx)
	}
	if err == nil {
		err = db.migrate(ctx, db.config.Prefix, shared)
	}
	if err != nil {
		return fmt.Errorf("prepare postgres: %w", readError(err))
	}
	db.prepared.Store(true)
	return nil
}

func (db *DB) connect() error {
	ctx := context.Background() // nothing is dialled here
	c := db.config
	writing := map[string]string{
		"idle_in_transaction_session_timeout": millis(c.HoldTimeout),
		"statement_timeout":                   millis(c.WriteTimeout),
		"default_transaction_read_only":       "off",
	}
	w, err := c.pool("writer", c.WriteConnections, writing)
	if err != nil {
		return err
	}
	a, err := c.pool("aside", asideConnections, writing)
	if err != nil {
		return err
	}
	r, err := c.pool("reader", c.ReadConnections, map[string]string{
		"statement_timeout":             millis(c.ReadTimeout),
		"default_transaction_read_only": "on",
		"work_mem":                      "32MB", // counts over a year sort some ten megabytes; the default would spill them to disk
	})
	if err != nil {
		return err
	}
	if db.write, err = pgxpool.NewWithConfig(ctx, w); err != nil {
		return err
	}
	if db.aside, err = pgxpool.NewWithConfig(ctx, a); err != nil {
		return err
	}
	db.read, err = pgxpool.NewWithConfig(ctx, r)
	return err
}

const asideConnections = 2

// oldestServer has what is relied on; older ones are no longer maintained by much.
const oldestServer = 150000

func (db *DB) checkServer(ctx context.Context) error {
	var version int
	var encoding string
	err := db.read.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')").Scan(&version, &encoding)
	switch {
	case err != nil:
		return err
	case version < oldestServer:
		return fmt.Errorf("the server has version %d.%d; %d or newer is needed", version/10000, version%10000, oldestServer/10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s; UTF8 is needed", encoding)
	}
	return nil
}

// Close waits for transactions that are under way to end.
func (db *DB) Close() {
	for _, pool := range []*pgxpool.Pool{db.write, db.read, db.aside} {
		if pool != nil {
			pool.Close()
		}
	}
}

// Check tells whether the database can be read and written now.
func (db *DB) Check(ctx context.Context) error {
	if err := db.Prepare(ctx); err != nil {
		return err
	}
	var recovering, readOnly bool
	err := db.aside.QueryRow(ctx, "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool").Scan(&recovering, &readOnly)
	switch {
	case err != nil:
		return fmt.Errorf("postgres does not answer: %w", err)
	case recovering || readOnly:
		return errors.New("postgres can only be read: this is a standby, or the database is read-only")
	}
	return nil
}

// quoted is a schema's name in SQL. Names are made of a prefix that Validate let through, and of ours.
func quoted(schema string) string { return `"` + schema + `"` }

// in puts the schema into a text in which @. stands for it.
func in(schema, text string) string { return strings.ReplaceAll(text, "@.", quoted(schema)+".") }

// lockNumber is what an advisory lock on a name is taken by.
func lockNumber(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte("carryon " + name))
	return int64(h.Sum64())
}
