package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"modernc.org/sqlite"
)

// Copy copies a file as it stands at one moment, page by page, while others write to it. The copy must not be there yet.
// It is checked before Copy returns.
func Copy(ctx context.Context, from, to string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copying %s to %s: %w", from, to, err)
		}
	}()
	if from, err = filepath.Abs(from); err != nil {
		return err
	}
	if to, err = filepath.Abs(to); err != nil {
		return err
	}
	if err := create(to); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", uri(from, pragma("busy_timeout", 5000), pragma("query_only", 1)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	err = conn.Raw(func(driver any) error {
		source, can := driver.(interface {
			NewBackup(string) (*sqlite.Backup, error)
		})
		if !can {
			return errors.New("the driver can't copy")
		}
		b, err := source.NewBackup(uri(to))
		if err != nil {
			return err
		}
		const everything = -1 // in one step, and so of one moment; in WAL mode that keeps nobody from writing
		_, err = b.Step(everything)
		return errors.Join(err, b.Finish())
	})
	if err = errors.Join(err, conn.Close()); err != nil {
		return err
	}
	return Check(ctx, to)
}

// Check reads a whole file and says what is damaged in it.
func Check(ctx context.Context, path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", uri(path, pragma("busy_timeout", 5000)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var says string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&says); err != nil {
		return fmt.Errorf("checking %s: %w", path, err)
	}
	if says != "ok" {
		return fmt.Errorf("%s is damaged: %s", path, says)
	}
	return nil
}
