// Package pgsql keeps read models, and who looked at which customer, in PostgreSQL.
//
// Each generation of each model has a schema of its own. A transaction holds the checkpoint row of its shard, which lets
// exactly one process through; what is not obtained is another's, and a holder that hangs is timed out by the server.
package pgsql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// Config are the settings of the server. Zero values stand for the defaults.
type Config struct {
	URL          string // postgres://user@host:5432/database?sslmode=verify-full; without a password
	PasswordFile string // its first line is the password; read at each connection
	Conns        int    // connections of each read model. Default 4
	// Statement is how long one statement may take, Idle how long a transaction may do nothing, before the server ends
	// it. Default 60 s and 30 s.
	Statement, Idle time.Duration
	Logger          *slog.Logger
}

// Validate names every setting that is wrong.
func (c *Config) Validate() error {
	var wrong []error
	must := func(ok bool, field, rule string) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s: %s", field, rule))
		}
	}
	parsed, err := pgx.ParseConfig(c.URL)
	must(err == nil && c.URL != "", "URL", "is not a URL such as postgres://user@host:5432/database?sslmode=verify-full")
	must(err != nil || parsed.Password == "" || os.Getenv("PGPASSWORD") != "", "URL", "holds a password, which belongs into PasswordFile")
	must(c.Conns >= 2 && c.Conns <= 100, "Conns", "is outside 2 to 100")
	must(c.Statement >= time.Second, "Statement", "is less than 1s")
	must(c.Idle >= time.Second, "Idle", "is less than 1s")
	if len(wrong) > 0 {
		return fmt.Errorf("postgres: %w", errors.Join(wrong...))
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Conns == 0 {
		c.Conns = 4
	}
	if c.Statement == 0 {
		c.Statement = time.Minute
	}
	if c.Idle == 0 {
		c.Idle = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server is a database. Nothing is connected before it is needed, so a server that is away keeps nobody from starting.
type Server struct {
	cfg Config
	db  *sql.DB // of what is no read model

	mu      sync.Mutex
	ready   bool
	engines []*Engine
}

// commonSchema holds what is no read model.
const commonSchema = "carryon"

// Open checks the settings.
func Open(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg}
	var err error
	s.db, err = s.connect(commonSchema, 2)
	return s, err
}

// connect makes a pool whose connections look into one schema.
func (s *Server) connect(schema string, conns int) (*sql.DB, error) {
	c, err := pgx.ParseConfig(s.cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	c.RuntimeParams["search_path"] = schema
	c.RuntimeParams["application_name"] = "carryon " + schema
	c.RuntimeParams["timezone"] = "UTC"
	c.RuntimeParams["statement_timeout"] = millis(s.cfg.Statement)
	c.RuntimeParams["idle_in_transaction_session_timeout"] = millis(s.cfg.Idle)
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	db := stdlib.OpenDB(*c, stdlib.OptionBeforeConnect(func(_ context.Context, c *pgx.ConnConfig) error {
		if s.cfg.PasswordFile == "" {
			return nil
		}
		text, err := os.ReadFile(s.cfg.PasswordFile)
		if err != nil {
			return fmt.Errorf("PasswordFile: %w", err)
		}
		c.Password, _, _ = strings.Cut(string(text), "\n")
		return nil
	}))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Close closes all connections.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, e := range s.engines {
		errs = append(errs, e.Close())
	}
	return errors.Join(append(errs, s.db.Close())...)
}

// Check tells whether the server answers.
func (s *Server) Check(ctx context.Context) error { return failure(s.db.PingContext(ctx)) }

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings what is no read model up to date, and refuses what a newer program has changed. Several processes may
// do so at once. Read models are not migrated: another version has another schema, and is built from the log.
func (s *Server) Migrate(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return nil
	}
	err := s.alone(ctx, s.db, "migrations", func(conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+commonSchema); err != nil {
			return err
		}
		files, err := fs.Sub(migrations, "migrations")
		if err != nil {
			return err
		}
		provider, err := goose.NewProvider(goose.DialectPostgres, s.db, files, goose.WithTableName("migrations"))
		if err != nil {
			return err
		}
		at, known, err := provider.GetVersions(ctx)
		if err != nil {
			return err
		}
		if at > known {
			return fmt.Errorf("the schema has version %d, this program knows %d: %w", at, known, domain.ErrFutureVersion)
		}
		_, err = provider.Up(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("postgres: migrating: %w", failure(err))
	}
	s.ready = true
	return nil
}

// alone does something that only one process may do at a time.
func (s *Server) alone(ctx context.Context, db *sql.DB, what string, do func(*sql.Conn) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", lockNumber(what)); err != nil {
		return err
	}
	defer func() {
		_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", lockNumber(what))
		err = errors.Join(err, unlockErr)
	}()
	return do(conn)
}

// lockNumber is the number of an advisory lock.
func lockNumber(what string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("carryon/" + what))
	return int64(h.Sum64()) //nolint:gosec // any number will do
}

// failure says what a failure of the server is to those who asked: everything but a statement that it refused may pass.
func failure(err error) error {
	if err == nil || errors.Is(err, projector.ErrTransient) || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case strings.HasPrefix(said.Code, "08"), strings.HasPrefix(said.Code, "53"), strings.HasPrefix(said.Code, "57"), strings.HasPrefix(said.Code, "58"):
		case said.Code == "40001", said.Code == "40P01", said.Code == "55P03", said.Code == "25P03", said.Code == "3D000", strings.HasPrefix(said.Code, "28"):
		default:
			return err
		}
		return fmt.Errorf("%w, %w: %w", projector.ErrTransient, query.ErrUnavailable, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, domain.ErrFutureVersion) {
		return err
	}
	if isOurs(err) {
		return err
	}
	return fmt.Errorf("%w, %w: %w", projector.ErrTransient, query.ErrUnavailable, err)
}

// oursError is a failure of this program, not of the server.
type oursError struct{ error }

func (e oursError) Unwrap() error { return e.error }

func isOurs(err error) bool {
	_, ours := errors.AsType[oursError](err)
	return ours
}
