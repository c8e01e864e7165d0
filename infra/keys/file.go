// Package keys keeps the secrets of an installation in files: the keys that sign licences and access tokens, and the
// secret that pseudonyms and cursors are made with.
//
// A secret file is written once, whole, and never changed: it is made under another name, synced, and given its name
// only if nothing has that name yet. So of several processes that make the same file at once, one makes it and the others
// read it. Files are readable by their owner alone, and others are refused.
package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// ErrExposed: others than the owner can read a secret.
var ErrExposed = errors.New("others can read it")

// maxFile is more than any secret file holds.
const maxFile = 64 << 10

// readFile reads a secret file whose permissions are right.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no secret file", path)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has permissions %04o: %w; run chmod 600 on it, and consider what it holds known", path, info.Mode().Perm(), ErrExposed)
	}
	return os.ReadFile(path)
}

// createFile makes a secret file, durably. It is fs.ErrExist (wrapped) when there is one.
func createFile(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("making %s: %w", path, fs.ErrExist)
	}
	f, err := os.CreateTemp(dir, ".new-*") // with permissions 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // a folder can't be synced there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
