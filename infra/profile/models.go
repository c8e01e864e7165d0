package profile

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
	"carryon/query"
)

// models are the read models, and what keeps them up to date.
type models struct {
	customers *projector.Model[projector.CustomersTx, customersModel]
	timeline  *projector.Model[projector.TimelineTx, timelineModel]
	denials   *projector.Model[projector.DenialsTx, denialsModel]
	analytics *projector.Model[projector.AnalyticsTx, analyticsModel]
	search    *projector.Model[projector.SearchTx, searchModel] // nil: this profile has none
	reference *projector.Model[projector.ReferenceTx, referenceModel]
	all       []readModel // of them, in the order in which they are shown
	runners   projector.Runners
	metrics   *projector.Metrics
}

// readModel is one of them, whatever it is made of.
type readModel interface {
	projector.Rebuildable
	Open(ctx context.Context) error
	Watch(ctx context.Context)
	Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error)
	Taken() int64
	Audited() (projector.AuditedStore, func(), error)
	Close() error
}

// Each model is written by a projection, asked by the query side, and compared by the audit.
type (
	customersModel interface {
		projector.Store[projector.CustomersTx]
		projector.Auditable
		query.CustomersModel
	}
	timelineModel interface {
		projector.Store[projector.TimelineTx]
		projector.Auditable
		query.TimelineModel
	}
	denialsModel interface {
		projector.Store[projector.DenialsTx]
		projector.Auditable
		query.DenialsModel
	}
	analyticsModel interface {
		projector.Store[projector.AnalyticsTx]
		projector.Auditable
		query.AnalyticsModel
	}
	searchModel interface {
		projector.Store[projector.SearchTx]
		projector.Auditable
		query.SearchModel
	}
	referenceModel interface {
		projector.Store[projector.ReferenceTx]
		projector.Auditable
		query.ReferenceModel
	}
)

// newModel makes a model that opens its generations one way.
func newModel[T projector.Tx, M projector.Store[T], O projector.Store[T]](s *System, m *models, c projector.Config, p projector.Projection[T], generations projector.Generations,
	open func(ctx context.Context, generation int) (O, error),
) *projector.Model[T, M] {
	model := projector.NewModel(projector.ModelConfig{
		Consumer: c,
		Rebuild:  projector.RebuildConfig{Busy: s.busy.now},
	}, projector.ModelPorts[T, M]{
		Projection: p, Generations: generations,
		Open: func(ctx context.Context, generation int) (store M, err error) {
			opened, err := open(ctx, generation)
			if err != nil {
				return store, err
			}
			return any(opened).(M), nil //nolint:forcetypeassert // newModel's callers are the only ones, and each is run by a test
		},
		Log: s.shared, Histories: s.log, Shards: s.layout.shards(), ShardOf: s.layout.shardOf, Clock: s.clock, Metrics: m.metrics,
	})
	m.all = append(m.all, model)
	m.runners = append(m.runners, model)
	return model
}

// consuming is how a model's consumer works that takes turns with others.
func (s *System) consuming(turns *projector.Turns) projector.Config {
	return projector.Config{Logger: s.logger, Turns: turns, Leisure: s.leisure, Assigned: s.assigned}
}

// manyWaiting commands for each processor are a queue: a pace that the process keeps up with has fewer.
const manyWaiting = 16

// leisure is how long entries come together in a read model that nobody waits for. Readers are in the same process, so a
// model knows.
const leisure = 50 * time.Millisecond

// commandsFirst leaves the commands of this process half of what the runtime takes for processors while they queue, and
// who waits for a read model three quarters of them: in the embedded profile the runtime has twice as many as there are.
func (s *System) commandsFirst() *projector.Turns {
	processors := runtime.GOMAXPROCS(0)
	return projector.NewTurns(processors, max(1, processors/2), max(1, processors/4), func() bool {
		return s.writer != nil && s.writer.Waiting() > manyWaiting*runtime.NumCPU()
	})
}

// openModels opens the read models, each in files of its own.
func (embedded) openModels(ctx context.Context, s *System) error {
	dir := filepath.Join(s.config.Data, "read")
	s.turns, s.leisure = s.commandsFirst(), leisure
	s.shared = projector.NewShared(s.log, sharedBytes)
	generations := map[string]readmodel.Generations{}
	for _, name := range []string{"reference", "customers", "timeline", "denials", "analytics", "search"} {
		g, err := readmodel.GenerationsOf(dir, name)
		if err != nil {
			return err
		}
		generations[name] = g
	}
	m := &models{metrics: projector.NewMetrics(s.registry)}
	m.reference = inFiles[projector.ReferenceTx, referenceModel](s, m, projector.Reference{}, generations, readmodel.OpenReference)
	m.customers = inFiles[projector.CustomersTx, customersModel](s, m, projector.Customers{}, generations, func(ctx context.Context, path string) (*readmodel.Customers, error) {
		return readmodel.OpenCustomers(ctx, path, s.keys.Pseudonyms())
	})
	m.timeline = inFiles[projector.TimelineTx, timelineModel](s, m, projector.Timeline{}, generations, readmodel.OpenTimeline)
	m.denials = inFiles[projector.DenialsTx, denialsModel](s, m, projector.Denials{}, generations, readmodel.OpenDenials)
	m.analytics = inFiles[projector.AnalyticsTx, analyticsModel](s, m, projector.Analytics{}, generations, readmodel.OpenAnalytics)
	m.search = inFiles[projector.SearchTx, searchModel](s, m, projector.Search{}, generations, readmodel.OpenSearch)
	access, err := readmodel.OpenAccessLog(ctx, filepath.Join(s.config.Data, "access.db"))
	if err != nil {
		return err
	}
	s.access = access
	s.onClose(func(context.Context) error { return access.Close() })
	return s.follow(ctx, m)
}

// inFiles is a model that has a file for each generation.
func inFiles[T projector.Tx, M projector.Store[T], O projector.Store[T]](s *System, m *models, p projector.Projection[T], generations map[string]readmodel.Generations,
	open func(ctx context.Context, path string) (O, error),
) *projector.Model[T, M] {
	g := generations[p.Name()]
	return newModel[T, M](s, m, s.consuming(s.turns), p, g, func(ctx context.Context, generation int) (O, error) { return open(ctx, g.Path(generation)) })
}

// follow opens the models.
func (s *System) follow(ctx context.Context, m *models) error {
	s.models = m
	for _, model := range m.all {
		s.onClose(func(context.Context) error { return model.Close() })
		if err := model.Open(ctx); err != nil {
			return err
		}
	}
	s.busy.models = m.all
	m.metrics.Watch(m.runners...)
	return nil
}

// busy tells whether the service has been asked or told something lately.
type busy struct {
	recorded *atomic.Int64
	models   []readModel

	mu      sync.Mutex
	counted int64
	at      time.Time // when the count was another one
}

// busyFor is how long after a question or a command a service counts as busy.
const busyFor = 300 * time.Millisecond

func (b *busy) now() bool {
	count := b.recorded.Load()
	for _, m := range b.models {
		count += m.Taken()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if count != b.counted {
		b.counted, b.at = count, time.Now()
	}
	return time.Since(b.at) < busyFor
}

// sharedBytes is the memory for entries that the read models of a process read together: some seconds of a full load.
// Decoded they take several times as much, and the garbage collector looks through all of it in each round.
const sharedBytes = 8 << 20

// impact tells command handlers whom a withdrawal or a policy would touch.
type impact struct{ models query.Impact }

// WithdrawalImpact tells whose licences would end earlier.
func (i impact) WithdrawalImpact(ctx context.Context, title string, countries []string, from time.Time) (command.Touched, error) {
	t, err := i.models.Withdrawal(ctx, title, countries, from)
	return command.Touched(t), err
}

// PolicyImpact tells who would be over a limit.
func (i impact) PolicyImpact(ctx context.Context, policy *domain.Policy) (command.Touched, error) {
	t, err := i.models.Policy(ctx, policy)
	return command.Touched(t), err
}
