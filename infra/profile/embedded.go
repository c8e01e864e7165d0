// Package profile wires: it is the one place that knows every port and every adapter, and chooses.
package profile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/catalogue"
	"carryon/infra/keys"
	"carryon/infra/sqlite"
	"carryon/infra/vault"
	"carryon/infra/watermill"
	"carryon/projector"
	"carryon/query"
)

// customerShards is the number of shards of the embedded profile. The reference shard is one more.
const customerShards = 1

// Embedded is everything in one process and one folder: SQLite for log and read models, Watermill's GoChannel between.
type Embedded struct {
	config   *config.Config
	logger   *slog.Logger
	clock    command.Clock
	registry *prometheus.Registry

	log       *sqlite.LogStore
	vault     *vault.Vault
	keys      *keys.Ring
	catalogue *catalogue.Store
	reference *command.ReferenceFollower
	writer    *command.Writer
	books     *command.Books
	app       *command.App
	models    *models
	access    query.AccessLog
	shared    *projector.Shared
	turns     *projector.Turns
	transport atomic.Pointer[watermill.InProcess] // nil while the projectors do not run
	queries   *query.App

	recorded      atomic.Int64
	writersClosed sync.Once
	writersErr    error
	closers       []func(context.Context) error // in the order of opening; closed backwards
}

var _ cli.System = (*Embedded)(nil)

// OpenEmbedded opens the data folder and wires everything. Deciding and reading work at once; projectors run during
// CatchUp and Serve.
func OpenEmbedded(ctx context.Context, c *config.Config, o cli.OpenOptions) (_ *Embedded, err error) {
	s := &Embedded{config: c, logger: o.Logger, clock: o.Clock, registry: prometheus.NewRegistry()}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("opening %s: %w", c.Data, err), s.Close(context.WithoutCancel(ctx)))
		}
	}()
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, err
	}
	for _, open := range []func(context.Context) error{s.openStores, s.openModels, s.openCommands, s.openQueries} {
		if err := open(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// openStores opens what is kept: keys, catalogue, vault, log.
func (s *Embedded) openStores(ctx context.Context) (err error) {
	dir := s.config.Data
	if s.keys, err = openKeys(s.config); err != nil {
		return err
	}
	if s.catalogue, err = catalogue.Open(filepath.Join(dir, "catalogue")); err != nil {
		return err
	}
	if s.vault, err = openVault(ctx, s.config); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.vault.Close() })
	if s.log, err = sqlite.OpenLog(ctx, filepath.Join(dir, "carryon.db"), sqlite.LogConfig{Shards: customerShards}); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.log.Close() })
	return nil
}

// openCommands wires the deciding side.
func (s *Embedded) openCommands(ctx context.Context) (err error) {
	s.reference = command.NewReferenceFollower(s.log, s.catalogue, command.FollowerConfig{MaxStaleness: s.config.ReferenceMaxAge}, s.logger)
	if err := s.reference.Start(ctx); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { s.reference.Close(); return nil })
	folding := command.DomainFolding()
	s.writer, err = command.NewWriter(command.WriterConfig{
		Name: processName(), Shards: customerShards, QueuePerShard: s.config.ShardQueue, QueuePerStream: s.config.CustomerQueue,
		CacheBytes: int(s.config.CacheBytes), SnapshotEvery: s.config.SnapshotEvery,
	}, command.WriterPorts{
		Log: s.log, Histories: s.log, Snapshots: s.log, Bus: s, Folding: folding, Reference: s.reference.Reference,
		Clock: s.clock, Metrics: command.NewWriterMetrics(s.registry), Logger: s.logger,
	})
	if err != nil {
		return err
	}
	s.writer.Start()
	s.onClose(s.closeWriters)
	if err := s.writer.Ready(ctx); err != nil {
		return err
	}
	s.books = command.NewBooks(s.log, s.log, folding, customerShards)
	s.app, err = command.NewApp(command.Dependencies{
		Writer: s.writer, Books: s.books, Reference: s.reference, Vault: s.vault, Signer: s.keys,
		Impact: s.impact(), Clock: s.clock, Logger: s.logger, Metrics: command.NewMetrics(s.registry),
	})
	if err != nil {
		return err
	}
	if err := s.app.Start(ctx); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { s.app.Close(); return nil })
	return nil
}

func (s *Embedded) impact() command.Impact {
	catalogue := func() query.Catalogue { return s.catalogue.Catalogue() }
	return impact{query.Impact{Customers: s.models.customers, Reference: query.NewReferences(s.models.reference, catalogue), Clock: query.Clock(s.clock)}}
}

// closeWriters settles the claims that are under way, once.
func (s *Embedded) closeWriters(ctx context.Context) error {
	s.writersClosed.Do(func() { s.writersErr = s.writer.Close(ctx) })
	return s.writersErr
}

// Publish counts what was recorded and hands it to the transport, while that runs.
func (s *Embedded) Publish(ctx context.Context, e *domain.Entry) error {
	s.recorded.Add(int64(len(e.Events)))
	t := s.transport.Load()
	if t == nil {
		return nil
	}
	return t.Publish(ctx, e)
}

func (s *Embedded) onClose(f func(context.Context) error) { s.closers = append(s.closers, f) }

// Close closes everything, last opened first.
func (s *Embedded) Close(ctx context.Context) error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		f := s.closers[last]
		s.closers = s.closers[:last]
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// Commands is the deciding side.
func (s *Embedded) Commands() *command.App { return s.app }

// Queries is the answering side.
func (s *Embedded) Queries() *query.App { return s.queries }

// Books reads the event store itself.
func (s *Embedded) Books() *command.Books { return s.books }

// Recorded counts the events recorded since the start.
func (s *Embedded) Recorded() int64 { return s.recorded.Load() }

// Heads are the newest entries by shard.
func (s *Embedded) Heads(ctx context.Context) (map[int]domain.Head, error) {
	heads := map[int]domain.Head{}
	for shard := range customerShards + 1 {
		head, err := s.log.Head(ctx, shard)
		if err != nil {
			return nil, err
		}
		heads[shard] = head
	}
	return heads, nil
}

// CatchUp runs the projectors until every read model has reached the tails that stand now.
func (s *Embedded) CatchUp(ctx context.Context, report func(done, total int64)) error {
	heads, err := s.Heads(ctx)
	if err != nil {
		return err
	}
	runners := s.models.runners
	running, stop := context.WithCancel(ctx)
	var failed error // read after ended
	ended := make(chan struct{})
	go func() { // ends with stop, below
		defer close(ended)
		failed = runners.Run(running)
	}()
	defer func() {
		stop()
		<-ended
	}()
	total := int64(0)
	for _, head := range heads {
		total += int64(head.Index) * int64(len(runners)) //nolint:gosec // far from overflowing
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, stopped := int64(0), error(nil)
		for _, st := range runners.Status() {
			done += int64(min(st.Applied.Index, heads[st.Shard].Index)) //nolint:gosec // as above
			if st.Differs {
				stopped = errors.Join(stopped, fmt.Errorf("%s, shard %d: %s: %w", st.Model, st.Shard, st.Err, projector.ErrHistoryDiffers))
			}
		}
		if report != nil {
			report(done, total)
		}
		if stopped != nil {
			return stopped
		}
		if done >= total {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ended:
			return errors.Join(failed, ctx.Err())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
