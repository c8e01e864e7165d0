package cli

import (
	"context"
	"io"
	"log/slog"
	"time"

	"carryon/api/config"
	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// Wiring is what main hands to the command line: how to open what is kept in the data folder.
type Wiring struct {
	Version string
	// Open wires a profile. Nothing runs yet but what deciding and reading need.
	Open func(ctx context.Context, c *config.Config, o OpenOptions) (System, error)
	// Restore makes the data folder from a backup.
	Restore func(ctx context.Context, c *config.Config, from string) (BackupReport, error)
	// Keys opens the keys of a data folder, and makes those that are missing.
	Keys func(c *config.Config) (Keys, error)
	// Catalogue opens the catalogue of a data folder.
	Catalogue func(c *config.Config) (CatalogueFiles, error)
}

// OpenOptions are what a command may want otherwise than a server.
type OpenOptions struct {
	Logger *slog.Logger
	Clock  command.Clock // nil: the real one
	// OnlyReads leaves out what decides, so that a damaged log can be opened, too. Commands answers nil then.
	OnlyReads bool
	// Serves spends memory for speed: for a process under load.
	Serves bool
}

// System is a wired profile.
type System interface {
	Commands() *command.App
	Queries() *query.App
	Books() *command.Books
	// Serve runs the projectors and serves HTTP until ctx ends, and then shuts down in order. announce is told the URL
	// once the server is ready.
	Serve(ctx context.Context, announce func(url string)) error
	// Prepare makes everything that is kept outside the process, where it is not there yet: tables, indices, topics.
	Prepare(ctx context.Context) error
	// CatchUp runs the projectors until every read model has reached the tails that stand now.
	CatchUp(ctx context.Context, report func(done, total int64)) error
	// Heads are the newest entries by shard.
	Heads(ctx context.Context) (map[int]domain.Head, error)
	// Audit compares log, histories and read models.
	Audit(ctx context.Context, o AuditOptions) (projector.AuditReport, error)
	// Repair makes anew what an audit found wrong in read models: see projector.Repair.
	Repair(ctx context.Context, found projector.AuditReport, progress func(stage string, done, total int64)) (projector.RepairReport, error)
	// Rebuild builds a read model anew beside itself, and returns when it is read: see projector.Rebuildable for the
	// errors. It returns domain.ErrNotFound (wrapped) for a read model that there is not.
	Rebuild(ctx context.Context, model string, o projector.RebuildOptions, report func(projector.RebuildStatus)) error
	// Backup copies the data folder to one that is not there yet: else the error wraps fs.ErrExist.
	Backup(ctx context.Context, to string) (BackupReport, error)
	// Recorded counts the events recorded since Open.
	Recorded() int64
	Close(ctx context.Context) error
}

// AuditOptions say how thoroughly to audit.
type AuditOptions struct {
	Sample   int // customers to recompute; 0: all
	Seed     uint64
	Workers  int // customers to recompute at once
	Progress func(stage string, done, total int64)
}

// Keys are the keys of a data folder.
type Keys interface {
	// Token signs an access token.
	Token(role domain.Role, customer, subject string, life time.Duration) (string, error)
	// TokenFrom signs an access token that is good from a moment on, which may be past.
	TokenFrom(role domain.Role, customer, subject string, from time.Time, life time.Duration) (string, error)
	// LicenseKeys are the public keys of licences.
	LicenseKeys() []command.PublicKey
	// AddLicenseKey makes a new key and signs with it from now on. It answers its id.
	AddLicenseKey() (string, error)
	// MadeIn is the folder of the keys if it was just made, with the first keys; else empty.
	MadeIn() string
}

// CatalogueFiles is the catalogue of a data folder.
type CatalogueFiles interface {
	simulate.Titles
	Version() string
	Title(id string) (domain.Title, bool)
	// Counts tells how many movies, series and episodes there are.
	Counts() (movies, series, episodes int)
	// Import replaces the catalogue if every row is good, and else changes nothing: ErrBadRows.
	Import(ctx context.Context, r io.Reader) (ImportReport, error)
	// ImportGoodRows leaves bad rows out. It is ErrBadRows if there is no good one.
	ImportGoodRows(ctx context.Context, r io.Reader) (ImportReport, error)
}

// ImportReport says what came of an import.
type ImportReport struct {
	Version  string
	Imported int
	Bad      []BadRow
}

// BadRow is a row that can't be taken.
type BadRow struct {
	Line   int
	Reason string
}
