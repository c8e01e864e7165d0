package cassandra

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/gocql/gocql"

	"carryon/command"
	"carryon/projector"
)

// Store is the log, the histories and the snapshots of all shards.
type Store struct {
	cfg         Config
	layout      Layout
	session     *gocql.Session
	gate        gate // requests under way, but for claims
	assumptions []Assumption
	tails       tails
	derived     marks
	sizes       sizes // of entries
	eventSizes  sizes
}

var (
	_ command.Log         = (*Store)(nil)
	_ command.Histories   = (*Store)(nil)
	_ command.Snapshots   = (*Store)(nil)
	_ projector.Log       = (*Store)(nil)
	_ projector.Histories = (*Store)(nil)
)

// Open connects, makes the keyspace and its tables where they are not there, and checks what the store rests on. It
// returns ErrLayout for a store that was made with another layout, ErrAssumption for one that does not keep its word,
// domain.ErrFutureVersion for one of a newer program (all wrapped).
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := migrate(ctx, &cfg); err != nil {
		return nil, fmt.Errorf("cassandra keyspace %s: %w", cfg.Keyspace, err)
	}
	session, err := cfg.connect(ctx, cfg.Hosts, cfg.Keyspace)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, session: session}
	if err := s.begin(ctx); err != nil {
		session.Close()
		return nil, fmt.Errorf("cassandra keyspace %s: %w", cfg.Keyspace, err)
	}
	return s, nil
}

func (s *Store) begin(ctx context.Context) error {
	nodes, err := s.cfg.nodes(ctx, s.session)
	if err != nil {
		return err
	}
	s.gate = make(gate, s.cfg.PerNode*max(1, len(nodes)))
	if s.layout, err = s.fixLayout(ctx); err != nil {
		return err
	}
	s.assumptions, err = s.check(ctx, nodes)
	return err
}

// Close ends all connections. Calls that are under way fail.
func (s *Store) Close() error {
	s.session.Close()
	return nil
}

// Layout is how the store is cut up.
func (s *Store) Layout() Layout { return s.layout }

// connect makes a session. The driver can't be interrupted while it does; if the context ends first, the session is
// closed when it is there.
func (c *Config) connect(ctx context.Context, hosts []string, keyspace string) (*gocql.Session, error) {
	d, err := c.cluster(hosts, keyspace)
	if err != nil {
		return nil, fmt.Errorf("cassandra: %w", err)
	}
	return dial(ctx, d)
}

func dial(ctx context.Context, d *gocql.ClusterConfig) (*gocql.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cassandra: connecting: %w: %w", command.ErrUnavailable, err)
	}
	var session *gocql.Session
	var err error
	done := make(chan struct{})
	go func() {
		session, err = d.CreateSession()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		go func() {
			if <-done; session != nil {
				session.Close()
			}
		}()
		return nil, fmt.Errorf("cassandra: connecting to %v: %w: %w", d.Hosts, command.ErrUnavailable, context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("cassandra: connecting to %v: %w: %w", d.Hosts, command.ErrUnavailable, err)
	}
	return session, nil
}

// gate bounds what is under way.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

// limited runs one request that may be repeated at will, when there is room.
func (s *Store) limited(ctx context.Context, request func(context.Context) error) error {
	if err := s.gate.enter(ctx); err != nil {
		return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	}
	defer s.gate.leave()
	return failed(ctx, request(ctx))
}

// atOnce does n things, some of them at the same time. The first error ends it.
func atOnce(ctx context.Context, some, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var once sync.Once
	var first error
	fail := func(err error) { once.Do(func() { first = err; cancel() }) }
	turns := make(gate, some)
	for i := range n {
		if err := turns.enter(ctx); err != nil {
			fail(fmt.Errorf("%w: %w", command.ErrUnavailable, err))
			break
		}
		all.Go(func() {
			defer turns.leave()
			if err := do(ctx, i); err != nil {
				fail(err)
			}
		})
	}
	all.Wait()
	return first
}

// scanOne reads one row; false: there is none.
func (s *Store) scanOne(ctx context.Context, q *gocql.Query, into ...any) (bool, error) {
	found := false
	err := s.limited(ctx, func(ctx context.Context) error {
		switch err := q.WithContext(ctx).Scan(into...); {
		case errors.Is(err, gocql.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		found = true
		return nil
	})
	return found, err
}
