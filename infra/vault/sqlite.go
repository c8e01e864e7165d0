package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"carryon/command"
	"carryon/infra/keys"
	"carryon/infra/sqlite"
)

// Config says where the keys are.
type Config struct {
	Path      string // of the vault's own SQLite file
	MasterKey string // base64 of 32 bytes; empty: in MasterFile
	// MasterFile holds the master key. It is made on first use, and never again: a vault whose master key is lost is lost.
	MasterFile string
	CacheKeys  int // customers' keys in memory. Default 10,000
}

const defaultCacheKeys = 10_000

const (
	applicationID = 0x43725661 // "CrVa"
	version       = 1
)

// tables: key is null for an erased customer. check tells whether a master key is the one that the keys are wrapped under.
const tables = `
CREATE TABLE customer_key (customer TEXT PRIMARY KEY, wrapped BLOB) WITHOUT ROWID;
CREATE TABLE vault (one INTEGER PRIMARY KEY CHECK (one = 1), master_check BLOB, erasures INTEGER NOT NULL);
INSERT INTO vault (one, master_check, erasures) VALUES (1, NULL, 0);
`

// Open opens the vault, and makes it if it is not there. Another master key than the one it was made with is ErrMasterKey
// (wrapped).
func Open(ctx context.Context, cfg Config) (*Vault, error) {
	file, err := sqlite.Open(ctx, cfg.Path, sqlite.FileConfig{
		ApplicationID: applicationID, Version: version, Durability: sqlite.Full, CacheBytes: 2 << 20,
		Pragmas: []string{"secure_delete(1)"}, // what is erased is overwritten
		Migrate: func(ctx context.Context, tx *sql.Tx, _ int) error {
			_, err := tx.ExecContext(ctx, tables)
			return err
		},
	})
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	s := &sqliteStore{file: file}
	master, err := s.master(ctx, cfg)
	if err == nil {
		err = s.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("vault %s: %w", cfg.Path, err), s.close())
	}
	if cfg.CacheKeys == 0 {
		cfg.CacheKeys = defaultCacheKeys
	}
	return newVault(s, master, cfg.CacheKeys), nil
}

type sqliteStore struct {
	file              *sqlite.File
	loading, counting *sql.Stmt
}

// master returns the master key, after a look whether it is the right one.
func (s *sqliteStore) master(ctx context.Context, cfg Config) (keys.Secret, error) {
	var known []byte
	if err := s.file.Reader.QueryRowContext(ctx, "SELECT master_check FROM vault").Scan(&known); err != nil {
		return keys.Secret{}, err
	}
	master, err := cfg.master(known != nil)
	if err != nil {
		return keys.Secret{}, err
	}
	check := sha256.Sum256(master.Key("vault-check"))
	if known == nil {
		// Of several processes that come first at once, one writes; all of them read what it wrote.
		_, err := s.file.Writer.ExecContext(ctx, "UPDATE vault SET master_check = ? WHERE master_check IS NULL", check[:])
		if err == nil {
			err = s.file.Reader.QueryRowContext(ctx, "SELECT master_check FROM vault").Scan(&known)
		}
		if err != nil {
			return keys.Secret{}, err
		}
	}
	if !hmac.Equal(known, check[:]) {
		return keys.Secret{}, fmt.Errorf("the vault was made under another master key: %w", ErrMasterKey)
	}
	return master, nil
}

// master reads the master key. For a vault that holds keys it makes none: they would be lost with the old one.
func (cfg Config) master(inUse bool) (keys.Secret, error) {
	switch {
	case cfg.MasterKey != "":
		master, err := keys.ParseSecret(cfg.MasterKey)
		if err != nil {
			return keys.Secret{}, fmt.Errorf("master key: %w", err)
		}
		return master, nil
	case inUse:
		master, err := keys.ReadSecret(cfg.MasterFile)
		if errors.Is(err, fs.ErrNotExist) {
			return keys.Secret{}, fmt.Errorf("the master key is missing: put %s back, or give it: %w", cfg.MasterFile, err)
		}
		return master, err
	}
	return keys.OpenSecret(cfg.MasterFile)
}

func (s *sqliteStore) prepare(ctx context.Context) (err error) {
	if s.loading, err = s.file.Reader.PrepareContext(ctx, "SELECT wrapped FROM customer_key WHERE customer = ?"); err != nil {
		return err
	}
	s.counting, err = s.file.Reader.PrepareContext(ctx, "SELECT erasures FROM vault")
	return err
}

func (s *sqliteStore) load(ctx context.Context, customer string) ([]byte, error) {
	var wrapped []byte
	switch err := s.loading.QueryRowContext(ctx, customer).Scan(&wrapped); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("loading a key: %w: %w", command.ErrUnavailable, err)
	case wrapped == nil:
		return nil, command.ErrErased
	}
	return wrapped, nil
}

// keysAtOnce is how many keys one statement inserts.
const keysAtOnce = 100

func (s *sqliteStore) create(ctx context.Context, wrapped map[string][]byte) (map[string][]byte, error) {
	tx, err := s.file.Writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	there := make(map[string][]byte, len(wrapped))
	for some := range slices.Chunk(slices.Collect(maps.Keys(wrapped)), keysAtOnce) {
		if err := insertKeys(ctx, tx, some, wrapped, there); err != nil {
			return nil, fmt.Errorf("%w: %w", command.ErrUnavailable, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	return there, nil
}

// insertKeys inserts the keys of those customers who have none, and adds what they have now to there.
func insertKeys(ctx context.Context, tx *sql.Tx, customers []string, wrapped, there map[string][]byte) (err error) {
	args := make([]any, 0, 2*len(customers))
	for _, customer := range customers {
		args = append(args, customer, wrapped[customer])
	}
	// The update changes nothing, and lets RETURNING tell what is there.
	rows, err := tx.QueryContext(ctx, "INSERT INTO customer_key (customer, wrapped) VALUES (?,?)"+strings.Repeat(",(?,?)", len(customers)-1)+
		" ON CONFLICT (customer) DO UPDATE SET customer = excluded.customer RETURNING customer, wrapped", args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var customer string
		var key []byte
		if err := rows.Scan(&customer, &key); err != nil {
			return err
		}
		there[customer] = key
	}
	return rows.Err()
}

// erase overwrites the key in the file, and then has the write-ahead log, where it may stand still, begin anew. What the
// disk keeps below the file system, and backups, are beyond it.
func (s *sqliteStore) erase(ctx context.Context, customer string) error {
	tx, err := s.file.Writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	result, err := tx.ExecContext(ctx, `INSERT INTO customer_key (customer, wrapped) VALUES (?, NULL)
		ON CONFLICT (customer) DO UPDATE SET wrapped = NULL WHERE wrapped IS NOT NULL`, customer)
	if err != nil {
		return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	if n, err := result.RowsAffected(); err == nil && n > 0 {
		_, err = tx.ExecContext(ctx, "UPDATE vault SET erasures = erasures + 1")
		if err != nil {
			return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	return s.truncate(ctx)
}

func (s *sqliteStore) truncate(ctx context.Context) error {
	var busy, inLog, copied int
	if err := s.file.Writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &inLog, &copied); err != nil {
		return fmt.Errorf("clearing the write-ahead log: %w: %w", command.ErrUnavailable, err)
	}
	if busy != 0 {
		return fmt.Errorf("the key is gone, but the write-ahead log, which others read, may hold it still; erase again: %w", command.ErrUnavailable)
	}
	return nil
}

func (s *sqliteStore) erasures(ctx context.Context) (n int64, err error) {
	if err := s.counting.QueryRowContext(ctx).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting erasures: %w: %w", command.ErrUnavailable, err)
	}
	return n, nil
}

func (s *sqliteStore) close() error { return s.file.Close() }
