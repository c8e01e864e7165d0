package sqlite

import (
	"context"

	"carryon/domain"
)

// Damage changes the file behind the store's back.
func (s *LogStore) Damage(ctx context.Context, statement string, args ...any) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	w, err := s.writer(ctx)
	if err != nil {
		return err
	}
	_, err = w.conn.ExecContext(ctx, statement, args...)
	return err
}

// StreamHash is the hash that a stream's rows are found under.
func StreamHash(stream domain.StreamID) int64 { return streamHash(stream) }

// Synchronous is how the connection that claims syncs: 2 is FULL.
func (s *LogStore) Synchronous(ctx context.Context) (mode int, err error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.end()
	w, err := s.writer(ctx)
	if err != nil {
		return 0, err
	}
	return mode, w.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&mode)
}

// CheckLibrary refuses a version of the library that is too old.
func CheckLibrary(library string) error { return checkLibrary(library) }
