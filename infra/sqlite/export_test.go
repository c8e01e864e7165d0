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
