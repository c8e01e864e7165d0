package readmodel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A read model is built anew as another generation, in a file beside the one that is read: <model>.<generation>.db. A
// small file, <model>.current, says which generation is read; it is replaced in one step. Everything here may be killed
// at any moment: at worst a generation that nobody reads is left over, and is removed when the model is next opened.

// Generations are the generations of one model in a folder.
type Generations struct {
	dir   string
	model string
}

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

// Current is the generation that is read: 1 until another was promoted.
func (g Generations) Current() (int, error) {
	data, err := os.ReadFile(g.pointer())
	if errors.Is(err, fs.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("which generation of read model %s is read: %w", g.model, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("which generation of read model %s is read: %s does not hold a number", g.model, g.pointer())
	}
	return n, nil
}

// Promote lets readers read a generation from their next opening on.
func (g Generations) Promote(generation int) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("promote generation %d of read model %s: %w", generation, g.model, err)
		}
	}()
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

// RemoveOthers removes every generation but the given ones.
func (g Generations) RemoveOthers(keep ...int) error {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return fmt.Errorf("generations of read model %s: %w", g.model, err)
	}
	kept := map[string]bool{filepath.Base(g.pointer()): true}
	for _, n := range keep {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			kept[filepath.Base(g.Path(n))+suffix] = true
		}
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), g.model+".") && !kept[e.Name()] {
			errs = append(errs, os.Remove(filepath.Join(g.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// OpenCurrent opens the generation that is read, and removes others. One that is stale is given up: the next is begun,
// empty, and anew is true; everything in it comes from the log.
func OpenCurrent[M any](ctx context.Context, g Generations, open func(ctx context.Context, path string) (M, error)) (m M, anew bool, err error) {
	n, err := g.Current()
	if err != nil {
		return m, false, err
	}
	m, err = open(ctx, g.Path(n))
	if errors.Is(err, ErrStale) {
		n, anew = n+1, true
		if m, err = open(ctx, g.Path(n)); err == nil {
			err = g.Promote(n)
		}
	}
	if err == nil {
		err = g.RemoveOthers(n)
	}
	return m, anew, err
}
