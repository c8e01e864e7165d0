// Package profile wires: it is the one place that knows every port and every adapter, and chooses.
package profile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/strictyaml"
	"carryon/api/web"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/catalogue"
	"carryon/infra/keys"
	"carryon/projector"
	"carryon/query"
)

// System is a wired profile. What of it there is in this process depends on the roles; what is missing is nil.
type System struct {
	name     string // of this process: no other, living or dead, has it
	begun    time.Time
	version  string // of the program
	config   *config.Config
	logger   *slog.Logger
	clock    command.Clock
	registry *prometheus.Registry
	outside  outside
	layout   layout

	folding   command.Folding
	log       eventStore
	vault     command.Vault
	keys      *keys.Ring
	catalogue *catalogue.Store
	reference *command.ReferenceFollower
	writer    *command.Writer
	books     *command.Books
	app       *command.App
	peers     *peers // nil: this process is alone
	models    *models
	busy      busy
	access    query.AccessLog
	shared    *projector.Shared
	turns     *projector.Turns
	leisure   time.Duration
	transport atomic.Pointer[transport] // nil while nothing is carried
	queries   *query.App
	live      *query.Hub
	published *query.References // what is decided for everyone, by the read model

	recorded      atomic.Int64
	writersClosed sync.Once
	writersErr    error
	closers       []func(context.Context) error // in the order of opening; closed backwards
}

var _ cli.System = (*System)(nil)

// outside is what a profile brings: the outside things behind the ports. Each method fills in the system's fields.
type outside interface {
	// openStores opens keys, catalogue, vault and the event store.
	openStores(ctx context.Context, s *System) error
	// openModels opens the read models and makes a consumer for each.
	openModels(ctx context.Context, s *System) error
	// settle waits until commands can be decided, as far as the profile waits for that.
	settle(ctx context.Context, s *System) error
	// prepare makes everything that is kept outside, where it is not there yet: tables, indices, topics.
	prepare(ctx context.Context, s *System) error
	// checks are the profile's own dependencies.
	checks(s *System) []web.Check
	// livePoll is the time between the live stream's looks at the log; 0: it is told.
	livePoll() time.Duration
	// newTransport makes what carries entries from the writers to the read models.
	newTransport(s *System) (transport, error)
}

// eventStore is the log with what is derived from it.
type eventStore interface {
	command.Log
	command.Histories
	command.Snapshots
}

// transport carries entries. It is started once and closed once.
type transport interface {
	command.Bus
	Start(ctx context.Context) error
	Close() error
}

// layout says how the streams are spread. The reference shard is one more than the customers' shards.
type layout struct{ customerShards int }

func (l layout) shards() []int {
	all := make([]int, l.customerShards+1)
	for i := range all {
		all[i] = i
	}
	return all
}

func (l layout) shardOf(stream domain.StreamID) int { return command.ShardOf(stream, l.customerShards) }

// open wires everything that the roles need. Deciding and reading work at once; projectors run during CatchUp and Serve.
func open(ctx context.Context, c *config.Config, o cli.OpenOptions, out outside) (_ *System, err error) {
	s := &System{name: processName(), begun: time.Now(), version: version(), config: c, logger: o.Logger, clock: o.Clock, registry: prometheus.NewRegistry(), outside: out, folding: command.DomainFolding()}
	s.busy.recorded = &s.recorded
	if s.clock == nil {
		s.clock = s.wall
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if o.Serves {
		roomier()
	}
	if c.ClockOffset != 0 {
		s.logger.Warn("THE CLOCK OF THIS PROCESS IS WRONG ON PURPOSE: for tests, never for production", "clock_offset", c.ClockOffset.String())
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
	if err := out.openStores(ctx, s); err != nil {
		return nil, err
	}
	if err := out.openModels(ctx, s); err != nil {
		return nil, err
	}
	if err := s.openLive(); err != nil {
		return nil, err
	}
	s.books = command.NewBooks(s.log, s.log, s.folding, s.layout.customerShards)
	if s.has(command.RoleCommand) && !o.OnlyReads {
		if err := s.openCommands(ctx); err != nil {
			return nil, err
		}
	}
	s.openQueries()
	return s, nil
}

// wall is what the clock of this process shows: the machine's, wrong by as much as was asked for.
func (s *System) wall() time.Time { return time.Now().Add(s.config.ClockOffset) }

// The roles of a process, beside command.RoleCommand.
const (
	roleProjector = "projector"
	roleQuery     = "query"
)

// has tells whether this process has a role.
func (s *System) has(role string) bool { return slices.Contains(s.config.Roles, role) }

// openCommands wires the deciding side.
func (s *System) openCommands(ctx context.Context) (err error) {
	s.reference = command.NewReferenceFollower(s.log, s.catalogue, command.FollowerConfig{MaxStaleness: s.config.ReferenceMaxAge}, s.logger)
	if err := s.reference.Start(ctx); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { s.reference.Close(); return nil })
	if s.peers != nil {
		s.folding.Record = command.RecordFor(s.peers)
	}
	s.writer, err = command.NewWriter(command.WriterConfig{
		Name: s.name, Shards: s.layout.customerShards, QueuePerShard: s.config.ShardQueue, QueuePerStream: s.config.CustomerQueue,
		CacheBytes: int(s.config.CacheBytes), SnapshotEvery: s.config.SnapshotEvery,
	}, command.WriterPorts{
		Log: s.log, Histories: s.log, Snapshots: s.log, Bus: s, Folding: s.folding, Reference: s.reference.Reference,
		Clock: s.clock, Metrics: command.NewWriterMetrics(s.registry), Logger: s.logger,
	})
	if err != nil {
		return err
	}
	s.writer.Start()
	s.onClose(s.closeWriters)
	if err := s.outside.settle(ctx, s); err != nil {
		return err
	}
	shadow, err := openShadow(s.config.ShadowPolicy)
	if err != nil {
		return err
	}
	var forwarding *command.Forwarding
	if s.peers != nil {
		forwarding = &command.Forwarding{To: s.peers.client, Owners: s.peers, Shards: s.layout.customerShards, Metrics: command.NewFrontMetrics(s.registry)}
	}
	s.app, err = command.NewApp(command.Dependencies{
		Shadow: shadow, Forwarding: forwarding,
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

// openShadow reads the policy that decides in the shadow, if there is one.
func openShadow(path string) (*command.Shadow, error) {
	if path == "" {
		return nil, nil
	}
	document, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("shadow-policy: %w", err)
	}
	policy, err := strictyaml.ReadPolicy(path, document)
	if err != nil {
		return nil, fmt.Errorf("shadow-policy %s: %w", path, err)
	}
	return command.NewShadow(policy), nil
}

func (s *System) impact() command.Impact {
	catalogue := func() query.Catalogue { return s.catalogue.Catalogue() }
	return impact{query.Impact{Customers: servedCustomers{s.models.customers}, Reference: query.NewReferences(servedReference{s.models.reference}, catalogue, s.keptCatalogue), Clock: query.Clock(s.clock)}}
}

// closeWriters settles the claims that are under way, once.
func (s *System) closeWriters(ctx context.Context) error {
	s.writersClosed.Do(func() {
		if s.writer != nil {
			s.writersErr = s.writer.Close(ctx)
		}
	})
	return s.writersErr
}

// Publish counts what was recorded, and hands it to the live stream and to the transport, while that runs.
func (s *System) Publish(ctx context.Context, e *domain.Entry) error {
	s.recorded.Add(int64(len(e.Events)))
	s.live.Offer(e)
	t := s.transport.Load()
	if t == nil {
		return nil
	}
	return (*t).Publish(ctx, e)
}

func (s *System) onClose(f func(context.Context) error) { s.closers = append(s.closers, f) }

// Close closes everything, last opened first.
func (s *System) Close(ctx context.Context) error {
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
func (s *System) Commands() *command.App { return s.app }

// Queries is the answering side.
func (s *System) Queries() *query.App { return s.queries }

// Books reads the event store itself.
func (s *System) Books() *command.Books { return s.books }

// Prepare makes everything that is kept outside, where it is not there yet, and names it.
func (s *System) Prepare(ctx context.Context) error { return s.outside.prepare(ctx, s) }

// Recorded counts the events recorded since the start.
func (s *System) Recorded() int64 { return s.recorded.Load() }

// Heads are the newest entries by shard.
func (s *System) Heads(ctx context.Context) (map[int]domain.Head, error) {
	heads := map[int]domain.Head{}
	for _, shard := range s.layout.shards() {
		head, err := s.log.Head(ctx, shard)
		if err != nil {
			return nil, err
		}
		heads[shard] = head
	}
	return heads, nil
}

// CatchUp runs the projectors until every read model has reached the tails that stand now.
func (s *System) CatchUp(ctx context.Context, report func(done, total int64)) error {
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
	return fmt.Sprintf("%s-%d-%06x", host, os.Getpid(), rand.N(1<<24))
}
