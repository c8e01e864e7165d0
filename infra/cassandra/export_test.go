package cassandra

import (
	"context"

	"github.com/gocql/gocql"

	"carryon/domain"
)

// Through lets all connections be made by a dialler, which may stand between.
func (c Config) Through(dialer gocql.Dialer) Config {
	c.dialer = dialer
	return c
}

// ForgetTails makes a store one that has seen nothing yet.
func (s *Store) ForgetTails(shard int) { s.tails.forget(shard) }

// BucketHead is the head of one bucket of the log.
func (s *Store) BucketHead(ctx context.Context, shard int, bucket int64) (domain.Head, error) {
	return s.bucketHead(ctx, shard, bucket, quorum)
}
