package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/sqlite"
)

// fileWith makes a SQLite file by some statements.
func fileWith(t *testing.T, statements string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "carryon.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileThatIsNotOursIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("these are my notes, and no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(t.TempDir(), "carryon.db")
	s := openLog(t, newer)
	damage(t, s, "PRAGMA user_version = 99")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path string
		want error
		says string
	}{
		"another program's": {fileWith(t, "CREATE TABLE t (x)"), sqlite.ErrForeign, "move it away"},
		"another kind":      {fileWith(t, "PRAGMA application_id = 77; CREATE TABLE t (x)"), sqlite.ErrForeign, "0x4d"},
		"a text":            {text, sqlite.ErrForeign, "no SQLite file"},
		"a newer program's": {newer, domain.ErrFutureVersion, "version 99"},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := os.ReadFile(test.path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := sqlite.OpenLog(t.Context(), test.path, sqlite.LogConfig{})
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.path) {
				t.Errorf("%v, %v", s, err)
			}
			after, err := os.ReadFile(test.path)
			if err != nil || string(after) != string(before) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestAFileOfAnotherLayoutIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	openLog(t, path)
	if s, err := sqlite.OpenLog(t.Context(), path, sqlite.LogConfig{Shards: 4}); !errors.Is(err, sqlite.ErrLayout) {
		t.Errorf("%v, %v", s, err)
	}
	if s, err := sqlite.OpenLog(t.Context(), filepath.Join(t.TempDir(), "new.db"), sqlite.LogConfig{Shards: -1}); err == nil {
		t.Errorf("%v", s)
	}
}

func TestAPathMayHoldAnyCharacter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?c#d%20é&_pragma=x.db")
	claim(t, openLog(t, path), newChain(1).next("customer/a"))
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheOwnerCanReadTheFiles(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("permissions are something else there")
	}
	path := filepath.Join(t.TempDir(), "carryon.db")
	claim(t, openLog(t, path), newChain(1).next("customer/a"))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path+suffix, info, err)
		}
	}
}

func TestAnUnreachablePathIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "carryon.db")
	if s, err := sqlite.OpenLog(t.Context(), path, sqlite.LogConfig{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, %v", s, err)
	}
}

func TestManyProcessesMayMakeTheFileAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := sqlite.OpenLog(t.Context(), path, sqlite.LogConfig{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	claim(t, openLog(t, path), newChain(1).next("customer/a"))
}

// One that is about to write a new file stands in the way of changing its journal, and SQLite itself does not wait for it.
func TestAFileThatAnotherProcessJustMakesIsOpenedAfterwards(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if _, err := other.ExecContext(t.Context(), "PRAGMA application_id = 7"); err != nil {
		t.Fatal(err)
	}
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := sqlite.FileConfig{
		ApplicationID: 7, Version: 1, BusyTimeout: time.Minute,
		Migrate: func(ctx context.Context, tx *sql.Tx, _ int) error {
			_, err := tx.ExecContext(ctx, "CREATE TABLE t (x)")
			return err
		},
	}
	gaveUp, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if f, err := sqlite.Open(gaveUp, path, cfg); err == nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v: want the end of what it may take", f, err)
	}
	done := make(chan error, 1)
	go func() {
		f, err := sqlite.Open(t.Context(), path, cfg)
		if err == nil {
			err = f.Close()
		}
		done <- err
	}()
	time.AfterFunc(100*time.Millisecond, func() { _ = tx.Rollback() })
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAFileIsOpenedWithThePragmasAskedFor(t *testing.T) {
	t.Parallel()
	for durability, synchronous := range map[sqlite.Durability]int{"": 2, sqlite.Full: 2, sqlite.Normal: 1} {
		f, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), sqlite.FileConfig{
			ApplicationID: 7, Version: 3, Durability: durability, Pragmas: []string{"secure_delete(1)"},
			Migrate: func(ctx context.Context, tx *sql.Tx, from int) error {
				_, err := tx.ExecContext(ctx, "CREATE TABLE t (x)")
				return err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, db := range []*sql.DB{f.Writer, f.Reader} {
			for pragma, want := range map[string]string{
				"journal_mode": "wal", "synchronous": fmt.Sprint(synchronous), "busy_timeout": "5000", "application_id": "7", "user_version": "3",
				"secure_delete": "1", "foreign_keys": "1",
			} {
				var got string
				if err := db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
					t.Errorf("%s: %s, %v, want %s", pragma, got, err, want)
				}
			}
		}
		if _, err := f.Reader.ExecContext(t.Context(), "INSERT INTO t VALUES (1)"); err == nil {
			t.Error("a reader can write")
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAMigrationThatFailsLeavesTheFileAsItWas(t *testing.T) {
	t.Parallel()
	path := fileWith(t, "PRAGMA application_id = 7; PRAGMA user_version = 1; CREATE TABLE t (x)")
	broken := errors.New("broken")
	open := func(err error) (*sqlite.File, error) {
		return sqlite.Open(t.Context(), path, sqlite.FileConfig{
			ApplicationID: 7, Version: 2,
			Migrate: func(ctx context.Context, tx *sql.Tx, from int) error {
				if from != 1 {
					t.Errorf("migrated from version %d", from)
				}
				_, failed := tx.ExecContext(ctx, "CREATE TABLE u (x)")
				return errors.Join(failed, err)
			},
		})
	}
	if f, err := open(broken); !errors.Is(err, broken) {
		t.Fatalf("%v, %v", f, err)
	}
	f, err := open(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnOldLibraryIsRefused(t *testing.T) {
	t.Parallel()
	for library, want := range map[string]error{
		"3.51.2": sqlite.ErrOldLibrary, "3.50.9": sqlite.ErrOldLibrary, "2.99.99": sqlite.ErrOldLibrary, "3.6": errors.ErrUnsupported,
		"3.51.3": nil, "3.51.10": nil, "3.54.1": nil, "4.0.0": nil,
	} {
		switch err := sqlite.CheckLibrary(library); {
		case errors.Is(want, errors.ErrUnsupported) && err == nil:
			t.Errorf("%s is taken", library)
		case !errors.Is(want, errors.ErrUnsupported) && !errors.Is(err, want):
			t.Errorf("%s: %v", library, err)
		}
	}
}
