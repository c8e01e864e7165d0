// Package postgres keeps the read models in PostgreSQL: one schema per model and generation, so that a model can be
// built anew beside itself. Rows and checkpoint are written in one transaction. Whoever holds the checkpoint row's lock
// works on the shard; the others leave it alone.
//
// Any number of processes may share a database. What they must agree on, the schemas' versions, is migrated by the
// first that comes, under a lock; a program that is older than the schemas refuses to work with them.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says where the database is and how to use it. Zero values stand for the defaults.
type Config struct {
	// URL is postgres://user@host:port/database?sslmode=…; it may name several hosts, and then should say
	// target_session_attrs=read-write. Empty: the fields up to TLS say it.
	URL      string
	Host     string
	Port     int // default 5432
	Database string
	User     string
	TLS      TLS

	Password     string // better: PasswordFile
	PasswordFile string // read anew for each connection, so that a password can be changed

	// Prefix begins the name of every schema. Default carryon.
	Prefix string

	WriteConnections int           // at most; default 8
	ReadConnections  int           // at most; default 8
	ConnectTimeout   time.Duration // default 5 s
	// HoldTimeout is how long a transaction may be idle: then the server ends it, and another instance takes over.
	// Default 30 s.
	HoldTimeout  time.Duration
	WriteTimeout time.Duration // of one statement that writes; default 60 s
	ReadTimeout  time.Duration // of one statement that reads; default 30 s

	// For measurements: told of what is written, and of what is asked.
	written func(st statement, columns []any)
	asked   func(text string, args []any)
}

// TLS says how far the server is trusted.
type TLS struct {
	// Mode is disable, require, verify-ca or verify-full. Default verify-full.
	Mode     string
	CAFile   string // PEM; empty: the system's
	CertFile string // of the client, with KeyFile
	KeyFile  string
}

var prefixPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,29}$`)

const maxConnections = 1000

// Validate names every field that is wrong.
func (c Config) Validate() error {
	var errs []error
	must := func(ok bool, field, problem string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s "+problem, append([]any{field}, args...)...))
		}
	}
	if c.URL != "" {
		errs = append(errs, c.validateURL())
	} else {
		must(c.Host != "", "Host", "is missing")
		must(c.Database != "", "Database", "is missing")
		must(c.User != "", "User", "is missing")
		must(c.Port >= 0 && c.Port < 1<<16, "Port", "is %d; 1 to 65535 are possible", c.Port)
	}
	switch c.TLS.Mode {
	case "", "disable", "require", "verify-ca", "verify-full":
	default:
		must(false, "TLS.Mode", "is %q; disable, require, verify-ca and verify-full are possible", c.TLS.Mode)
	}
	for _, f := range []struct{ field, path string }{
		{"TLS.CAFile", c.TLS.CAFile}, {"TLS.CertFile", c.TLS.CertFile}, {"TLS.KeyFile", c.TLS.KeyFile}, {"PasswordFile", c.PasswordFile},
	} {
		if f.path != "" {
			_, err := os.Stat(f.path)
			must(err == nil, f.field, "can't be read: %v", err)
		}
	}
	must((c.TLS.CertFile == "") == (c.TLS.KeyFile == ""), "TLS.CertFile", "and TLS.KeyFile go together")
	must(c.Password == "" || c.PasswordFile == "", "Password", "and PasswordFile are both given")
	must(c.Prefix == "" || prefixPattern.MatchString(c.Prefix), "Prefix", "is %q; up to 30 of a-z, 0-9 and _ are possible, a letter first", c.Prefix)
	for _, n := range []struct {
		field string
		n     int
	}{{"WriteConnections", c.WriteConnections}, {"ReadConnections", c.ReadConnections}} {
		must(n.n >= 0 && n.n <= maxConnections, n.field, "is %d; 1 to %d are possible", n.n, maxConnections)
	}
	for _, d := range []struct {
		field string
		d     time.Duration
	}{{"ConnectTimeout", c.ConnectTimeout}, {"HoldTimeout", c.HoldTimeout}, {"WriteTimeout", c.WriteTimeout}, {"ReadTimeout", c.ReadTimeout}} {
		must(d.d == 0 || d.d >= time.Millisecond, d.field, "is %s; it must be a millisecond at least", d.d)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("settings of postgres: %w", err)
	}
	return nil
}

// validateURL never repeats the URL, which may hold a password.
func (c Config) validateURL() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("URL is no postgres:// URL")
	}
	var errs []error
	if c.Host != "" || c.Port != 0 || c.Database != "" || c.User != "" {
		errs = append(errs, errors.New("URL and Host, Port, Database, User are both given"))
	}
	// Without sslmode the driver falls back to plain text when the server refuses TLS.
	if u.Query().Get("sslmode") == "" && c.TLS.Mode == "" {
		errs = append(errs, errors.New("URL says no sslmode, and TLS.Mode is not given: say verify-full, or disable"))
	}
	if u.Query().Get("sslmode") != "" && c.TLS.Mode != "" {
		errs = append(errs, errors.New("URL says an sslmode, and TLS.Mode is given, too"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.URL == "" {
		orDefault(&c.Port, 5432)
	}
	orDefault(&c.Prefix, "carryon")
	orDefault(&c.WriteConnections, 8)
	orDefault(&c.ReadConnections, 8)
	orDefault(&c.ConnectTimeout, 5*time.Second)
	orDefault(&c.HoldTimeout, 30*time.Second)
	orDefault(&c.WriteTimeout, time.Minute)
	orDefault(&c.ReadTimeout, 30*time.Second)
	return c
}

func orDefault[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

// address is what the driver reads.
func (c Config) address() (string, error) {
	u := &url.URL{Scheme: "postgres", Host: c.Host + ":" + strconv.Itoa(c.Port), Path: "/" + c.Database, User: url.User(c.User)}
	if c.URL != "" {
		var err error
		if u, err = url.Parse(c.URL); err != nil {
			return "", errors.New("URL is no postgres:// URL")
		}
	}
	q := u.Query()
	if q.Get("sslmode") == "" {
		mode := c.TLS.Mode
		orDefault(&mode, "verify-full")
		q.Set("sslmode", mode)
	}
	for _, f := range []struct{ parameter, path string }{{"sslrootcert", c.TLS.CAFile}, {"sslcert", c.TLS.CertFile}, {"sslkey", c.TLS.KeyFile}} {
		if f.path != "" {
			q.Set(f.parameter, f.path)
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// pool is how connections of one kind are made. Every session says what it relies on, because a server's or database's
// own settings may differ.
func (c Config) pool(kind string, connections int, session map[string]string) (*pgxpool.Config, error) {
	address, err := c.address()
	if err != nil {
		return nil, err
	}
	p, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, errors.New("the settings of postgres can't be used: " + strings.ReplaceAll(err.Error(), address, "(URL)"))
	}
	p.MaxConns = int32(connections)
	p.MaxConnIdleTime = 5 * time.Minute
	p.BeforeConnect = c.beforeConnect
	p.ConnConfig.ConnectTimeout = c.ConnectTimeout
	params := p.ConnConfig.RuntimeParams
	params["application_name"] = c.Prefix + " " + kind
	params["timezone"] = "UTC"
	params["jit"] = "off" // compiling takes longer than any question here
	// Tables grow fast after a rebuild, and a plan that was made for an empty one would stay.
	params["plan_cache_mode"] = "force_custom_plan"
	for name, value := range session {
		params[name] = value
	}
	return p, nil
}

func (c Config) beforeConnect(_ context.Context, conn *pgx.ConnConfig) error {
	switch {
	case c.PasswordFile != "":
		data, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return fmt.Errorf("password of postgres: %w", err)
		}
		conn.Password = strings.TrimRight(string(data), "\r\n")
	case c.Password != "":
		conn.Password = c.Password
	}
	return nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
