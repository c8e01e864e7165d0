package catalogue

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"carryon/command"
	"carryon/domain"
)

// MaxImportBytes is the largest file that can be imported.
const MaxImportBytes = 256 << 20

// Store is the catalogue of a data folder: the embedded one until a file was imported, and past ones by version.
//
//	current            the version in force; without it the embedded catalogue is
//	VERSION.csv.gz     a file that was imported; never changed, never removed
type Store struct {
	dir     string
	mu      sync.Mutex
	current *Catalogue
	past    map[string]*Catalogue
}

var _ command.Catalogues = (*Store)(nil)

// Open opens the catalogue that is kept in dir. A folder without one, or none at all, means the embedded catalogue.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, past: map[string]*Catalogue{}}
	version, err := os.ReadFile(filepath.Join(dir, "current"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		s.current, err = Embedded()
	case err == nil:
		s.current, err = s.load(strings.TrimSpace(string(version)))
	}
	if err != nil {
		return nil, fmt.Errorf("opening the catalogue in %s: %w", dir, err)
	}
	return s, nil
}

// Current is the catalogue in force.
func (s *Store) Current() command.Catalogue { return s.Catalogue() }

// Catalogue is the catalogue in force, with all that it can.
func (s *Store) Catalogue() *Catalogue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Version is Kept, for who decides.
func (s *Store) Version(version string) (command.Catalogue, error) {
	c, err := s.Kept(version)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Kept finds a catalogue that was in force once. For one that is not kept it returns domain.ErrNotFound (wrapped).
func (s *Store) Kept(version string) (*Catalogue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.version == version {
		return s.current, nil
	}
	if c, ok := s.past[version]; ok {
		return c, nil
	}
	c, err := s.load(version)
	if errors.Is(err, os.ErrNotExist) {
		if c, err = Embedded(); err == nil && c.version != version {
			err = domain.ErrNotFound
		}
	}
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", version, err)
	}
	s.past[version] = c
	return c, nil
}

func (s *Store) load(version string) (*Catalogue, error) {
	if err := domain.CheckID("catalogue version", version); err != nil {
		return nil, errors.Join(domain.ErrNotFound, err)
	}
	packed, err := os.ReadFile(filepath.Join(s.dir, version+".csv.gz"))
	if err != nil {
		return nil, err
	}
	raw, err := unpack(packed, 5*len(packed))
	if err != nil {
		return nil, fmt.Errorf("unpacking catalogue %s: %w", version, err)
	}
	c, _, err := readKept(raw)
	if err != nil {
		return nil, fmt.Errorf("reading catalogue %s: %w", version, err)
	}
	if c.version != version {
		return nil, fmt.Errorf("the file of catalogue %s holds catalogue %s: it was changed", version, c.version)
	}
	return c, nil
}

// ErrBadRows: some rows of a file are bad, and so nothing was imported.
var ErrBadRows = errors.New("nothing was imported")

// Import replaces the catalogue in one step. A file that can't be read, or with a bad row, changes nothing: half a
// catalogue would refuse what is licensed as unknown. Past versions are kept. Another process takes it when it opens the
// folder again. ErrBadRows (wrapped) comes with the bad rows.
func (s *Store) Import(ctx context.Context, r io.Reader) (*Catalogue, []BadRow, error) {
	return s.replace(ctx, r, func(bad []BadRow) error {
		if len(bad) > 0 {
			return fmt.Errorf("%d rows are bad: %w", len(bad), ErrBadRows)
		}
		return nil
	})
}

// ImportGoodRows is an Import that leaves bad rows out, and reports them. There must be a good one.
func (s *Store) ImportGoodRows(ctx context.Context, r io.Reader) (*Catalogue, []BadRow, error) {
	return s.replace(ctx, r, func([]BadRow) error { return nil })
}

func (s *Store) replace(ctx context.Context, r io.Reader, accept func([]BadRow) error) (*Catalogue, []BadRow, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxImportBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the file: %w", err)
	}
	if len(raw) > MaxImportBytes {
		return nil, nil, fmt.Errorf("the file is larger than %d MiB", MaxImportBytes>>20)
	}
	c, bad, err := Read(raw)
	if err == nil {
		err = accept(bad)
	}
	if err != nil {
		return nil, bad, err
	}
	packed, err := pack(raw)
	if err != nil {
		return nil, bad, fmt.Errorf("packing the file: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, bad, fmt.Errorf("nothing was imported: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.keep(c.version, packed); err != nil {
		return nil, bad, fmt.Errorf("keeping catalogue %s in %s: %w", c.version, s.dir, err)
	}
	s.past[s.current.version] = s.current
	s.current = c
	return c, bad, nil
}

func pack(raw []byte) ([]byte, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(raw); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// keep writes the content first, then the pointer to it: whoever opens the folder in between finds the old one whole.
func (s *Store) keep(version string, packed []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := replace(filepath.Join(s.dir, version+".csv.gz"), packed); err != nil {
		return err
	}
	return replace(filepath.Join(s.dir, "current"), []byte(version+"\n"))
}

// replace writes a file beside the old one and puts it in its place, for good when it returns.
func replace(path string, content []byte) (err error) {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that matters is returned
		}
	}()
	if _, err = f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder makes what a folder lists durable.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
