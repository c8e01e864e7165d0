package cassandra

import (
	"context"
	"time"

	"github.com/gocql/gocql"

	"carryon/domain"
)

// Through lets all connections be made by a dialler, which may stand between, and be cut off when they say nothing.
func (c Config) Through(dialer gocql.Dialer, silence time.Duration) Config {
	c.dialer, c.silence = dialer, silence
	return c
}

// After has something done after each question that was answered, before the next is asked.
func (c Config) After(do func(statement string)) Config {
	c.observer = observer(do)
	return c
}

type observer func(statement string)

func (o observer) ObserveQuery(_ context.Context, q gocql.ObservedQuery) { o(q.Statement) }

// ForgetTails makes a store one that has seen nothing yet.
func (s *Store) ForgetTails(shard int) { s.tails.forget(shard) }

// BucketHead is the head of one bucket of the log.
func (s *Store) BucketHead(ctx context.Context, shard int, bucket int64) (domain.Head, error) {
	return s.bucketHead(ctx, shard, bucket, quorum)
}

// Migrations is how many there are.
func Migrations() int {
	all, err := migrations()
	if err != nil {
		panic(err)
	}
	return len(all)
}
