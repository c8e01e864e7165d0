package readmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"carryon/projector"
)

// A read model is built anew as another generation, in a file beside the one that is read: <model>.<generation>.db. A
// small file, <model>.current, says which generation is read; it is replaced in one step. Who builds one holds a lock on
// <model>.rebuild, which the system takes back from a process that dies.

// Generations are the generations of one model in a folder: see projector.Generations for the contract.
type Generations struct {
	dir   string
	model string
}

var _ projector.Generations = Generations{}

// GenerationsOf makes the folder if it is not there.
func GenerationsOf(dir, model string) (Generations, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Generations{}, fmt.Errorf("folder of read model %s: %w", model, err)
	}
	return Generations{dir, model}, nil
}

// Path is the file of a generation.
func (g Generations) Path(generation int) string {
	return filepath.Join(g.dir, g.model+"."+strconv.Itoa(generation)+".db")
}

func (g Generations) pointer() string { return filepath.Join(g.dir, g.model+".current") }

func (g Generations) failed(what string, err error) error {
	return fmt.Errorf("%s of read model %s: %w", what, g.model, err)
}

// Current is the generation that is read: 1 until another was promoted.
func (g Generations) Current(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, g.failed("the current generation", err)
	}
	data, err := os.ReadFile(g.pointer())
	if errors.Is(err, fs.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, g.failed("the current generation", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || n < 1 {
		return 0, g.failed("the current generation", fmt.Errorf("%s does not hold a number; write the number of the generation that is to be read into it", g.pointer()))
	}
	return n, nil
}

// List are the generations that have a file, in order.
func (g Generations) List(ctx context.Context) ([]int, error) {
	entries, err := os.ReadDir(g.dir)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, g.failed("the generations", err)
	}
	var list []int
	for _, e := range entries {
		number, is := strings.CutPrefix(e.Name(), g.model+".")
		number, db := strings.CutSuffix(number, ".db")
		if n, err := strconv.Atoi(number); is && db && err == nil && n > 0 && strconv.Itoa(n) == number {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// Create makes the empty file behind the newest one.
func (g Generations) Create(ctx context.Context) (int, error) {
	current, err := g.Current(ctx)
	if err != nil {
		return 0, err
	}
	list, err := g.List(ctx)
	if err != nil {
		return 0, err
	}
	for n := slices.Max(append(list, current)) + 1; ; n++ {
		f, err := os.OpenFile(g.Path(n), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) { // somebody else's, of this moment
			continue
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return 0, g.failed("a new generation", err)
		}
		return n, nil
	}
}

// PromoteFrom replaces the file that says which generation is read.
func (g Generations) PromoteFrom(ctx context.Context, from, generation int) (promoted bool, err error) {
	unlock, err := g.lock(ctx, g.pointer()+".lock", "PRAGMA busy_timeout = 5000")
	if err != nil {
		return false, g.failed("promote generation "+strconv.Itoa(generation), err)
	}
	defer unlock()
	current, err := g.Current(ctx)
	if err != nil || current != from {
		return false, err
	}
	if err := g.point(generation); err != nil {
		return false, g.failed("promote generation "+strconv.Itoa(generation), err)
	}
	return true, nil
}

func (g Generations) point(generation int) error {
	f, err := os.CreateTemp(g.dir, g.model+".current.*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(generation) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), g.pointer())
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(g.dir)
}

// syncFolder makes a rename durable, where the system can.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync() // some systems can't; the file itself is synced
	return d.Close()
}

// Drop removes a generation's files. The one that List goes by goes last, so that a drop that is cut short is found.
func (g Generations) Drop(ctx context.Context, generation int) error {
	what := "drop generation " + strconv.Itoa(generation)
	current, err := g.Current(ctx)
	if err != nil {
		return err
	}
	if current == generation {
		return g.failed(what, projector.ErrCurrent)
	}
	var errs []error
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(g.Path(generation) + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return g.failed(what, err)
	}
	return nil
}

// Claim locks the model against others who would build a generation of it.
func (g Generations) Claim(ctx context.Context) (release func(), err error) {
	release, err = g.lock(ctx, filepath.Join(g.dir, g.model+".rebuild"), "PRAGMA busy_timeout = 0")
	if isBusy(err) {
		err = projector.ErrRebuilding
	}
	if err != nil {
		return nil, g.failed("claim the rebuild", err)
	}
	return release, nil
}

// lock takes a lock that ends with the process: that of SQLite on an empty file, which works on every system.
func (g Generations) lock(ctx context.Context, path, patience string) (unlock func(), err error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(absolute)}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, patience+"; BEGIN EXCLUSIVE")
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return func() {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // closing does it as well
		_, _ = conn.Close(), db.Close()
	}, nil
}
