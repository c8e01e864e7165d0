package profile

// A backup of the embedded profile is a folder with a copy of the log at one moment, and of what belongs to it: the keys
// that open its words, who looked at whom, catalogue and keys. The log is copied first and decides: everything else is at
// least as new. Read models are not in it: a folder that is restored builds them from the log when it is first opened.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/domain"
	"carryon/infra/sqlite"
	"carryon/projector"
)

// manifest says what a backup holds, and lets what is restored be compared with what was saved.
type manifest struct {
	Program string            `json:"program"`
	At      time.Time         `json:"at"`
	Heads   map[int]string    `json:"heads"` // by shard, index and batch of the newest entry
	Entries uint64            `json:"entries"`
	Events  uint64            `json:"events"`
	Files   map[string]string `json:"files"` // SHA-256 by path in the backup
}

const manifestName = "backup.json"

// databases are copied in this order: what the log refers to is there when the log is.
var databases = []string{"carryon.db", "vault.db", "access.db"}

// Backup copies the data folder to a folder that is not there yet, while it is served, and proves the copy.
func (s *System) Backup(ctx context.Context, to string) (_ cli.BackupReport, err error) {
	if s.config.Profile == config.ProfileDistributed {
		return cli.BackupReport{}, errors.New("the distributed profile is saved by the snapshots of its event store: see the runbook")
	}
	to = filepath.Clean(to)
	if inside, err := filepath.Rel(s.config.Data, to); err == nil && filepath.IsLocal(inside) {
		return cli.BackupReport{}, fmt.Errorf("%s is in the folder that is to be copied: %w", to, fs.ErrExist)
	}
	if _, err := os.Stat(to); err == nil {
		return cli.BackupReport{}, fmt.Errorf("%s is there already: %w", to, fs.ErrExist)
	}
	part := to + ".part"
	if err := os.RemoveAll(part); err != nil { // of one that was cut short
		return cli.BackupReport{}, err
	}
	if err := os.MkdirAll(part, 0o700); err != nil {
		return cli.BackupReport{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	for _, name := range databases {
		if err := sqlite.Copy(ctx, filepath.Join(s.config.Data, name), filepath.Join(part, name)); err != nil {
			return cli.BackupReport{}, err
		}
	}
	if err := copyOthers(ctx, s.config.Data, part); err != nil {
		return cli.BackupReport{}, err
	}
	m, err := prove(ctx, part, s.layout)
	if err != nil {
		return cli.BackupReport{}, err
	}
	m.At, m.Program = s.clock().UTC(), version()
	if m.Files, err = digests(ctx, part); err != nil {
		return cli.BackupReport{}, err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return cli.BackupReport{}, err
	}
	if err := os.WriteFile(filepath.Join(part, manifestName), append(text, '\n'), 0o600); err != nil {
		return cli.BackupReport{}, err
	}
	return m.report(), os.Rename(part, to)
}

func (m manifest) report() cli.BackupReport {
	return cli.BackupReport{At: m.At, Entries: m.Entries, Events: m.Events, Files: len(m.Files)}
}

// copyOthers copies what is no database and no read model.
func copyOthers(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && relative == "read":
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, relative), 0o700)
		case !d.Type().IsRegular() || strings.HasSuffix(relative, ".db") || strings.HasSuffix(relative, ".db-wal") || strings.HasSuffix(relative, ".db-shm"):
			return nil
		}
		return copyFile(path, filepath.Join(to, relative))
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// prove walks the chain of a copied log and compares its histories.
func prove(ctx context.Context, dir string, l layout) (_ manifest, err error) {
	log, err := sqlite.OpenLog(ctx, filepath.Join(dir, databases[0]), sqlite.LogConfig{Shards: l.customerShards})
	if err != nil {
		return manifest{}, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	report, err := projector.Audit(ctx, projector.AuditTarget{Log: log, Histories: log, Shards: l.shards(), ShardOf: l.shardOf}, projector.AuditOptions{})
	if err != nil {
		return manifest{}, err
	}
	if !report.Clean() {
		return manifest{}, fmt.Errorf("what was copied is not in order: %s: %w", report.Differences[0], cli.ErrFound)
	}
	m := manifest{Heads: map[int]string{}}
	for _, shard := range report.Shards {
		m.Entries, m.Events = m.Entries+shard.Entries, m.Events+shard.Events
		head, err := log.Head(ctx, shard.Shard)
		if err != nil {
			return manifest{}, err
		}
		m.Heads[shard.Shard] = headText(head)
	}
	return m, nil
}

func headText(h domain.Head) string { return fmt.Sprintf("%d %s", h.Index, h.ID) }

// digests are those of every file in a folder but the manifest.
func digests(ctx context.Context, dir string) (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || d.IsDir() || d.Name() == manifestName {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		all[filepath.ToSlash(relative)] = hex.EncodeToString(sum.Sum(nil))
		return nil
	})
	return all, err
}

// restore makes a data folder from a backup. The folder must not be there, or be empty.
func restore(ctx context.Context, c *config.Config, from string) (_ cli.BackupReport, err error) {
	text, err := os.ReadFile(filepath.Join(from, manifestName))
	if err != nil {
		return cli.BackupReport{}, fmt.Errorf("%s is no whole backup: %w", from, err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return cli.BackupReport{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	if there, err := os.ReadDir(c.Data); err == nil && len(there) > 0 {
		return cli.BackupReport{}, fmt.Errorf("%s is not empty; restore into a folder of its own, and put it in the other's place when it is proved: %w", c.Data, fs.ErrExist)
	}
	part := c.Data + ".part"
	if err := os.RemoveAll(part); err != nil {
		return cli.BackupReport{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	if err := os.MkdirAll(part, 0o700); err != nil {
		return cli.BackupReport{}, err
	}
	for name := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return cli.BackupReport{}, fmt.Errorf("%s names %q, which is outside", manifestName, name)
		}
		to := filepath.Join(part, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return cli.BackupReport{}, err
		}
		if err := copyFile(filepath.Join(from, filepath.FromSlash(name)), to); err != nil {
			return cli.BackupReport{}, err
		}
	}
	sums, err := digests(ctx, part)
	if err != nil {
		return cli.BackupReport{}, err
	}
	for name, sum := range m.Files {
		if sums[name] != sum {
			return cli.BackupReport{}, fmt.Errorf("%s is not what was saved: %w", name, cli.ErrFound)
		}
	}
	proved, err := prove(ctx, part, layout{customerShards: 1})
	if err != nil {
		return cli.BackupReport{}, err
	}
	for shard, head := range m.Heads {
		if proved.Heads[shard] != head {
			return cli.BackupReport{}, fmt.Errorf("shard %d ends at %s, and ended at %s when it was saved: %w", shard, proved.Heads[shard], head, cli.ErrFound)
		}
	}
	if err := os.Remove(c.Data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cli.BackupReport{}, err
	}
	return m.report(), os.Rename(part, c.Data)
}

// Rebuild builds a read model anew beside itself, and returns when it is read.
func (s *System) Rebuild(ctx context.Context, model string, o projector.RebuildOptions, report func(projector.RebuildStatus)) error {
	m, err := control{models: s.models.all}.named(model)
	if err != nil {
		return err
	}
	return m.Rebuild(ctx, o, report)
}
