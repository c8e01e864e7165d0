package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
	"carryon/query"
)

// models are the read models, and what keeps them up to date.
type models struct {
	customers customersModel
	timeline  timelineModel
	denials   denialsModel
	analytics analyticsModel
	search    searchModel
	reference referenceModel
	runners   projector.Runners
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

// follow makes a consumer for each model.
func (s *System) follow(m *models) {
	metrics := projector.NewMetrics(s.registry)
	m.runners = projector.Runners{
		consume(s, metrics, projector.Reference{}, m.reference),
		consume(s, metrics, projector.Customers{}, m.customers),
		consume(s, metrics, projector.Timeline{}, m.timeline),
		consume(s, metrics, projector.Denials{}, m.denials),
		consume(s, metrics, projector.Analytics{}, m.analytics),
	}
	if m.search != nil {
		m.runners = append(m.runners, consume(s, metrics, projector.Search{}, m.search))
	}
	s.models = m
}

// openModels opens the read models, each in a file of its own.
func (embedded) openModels(ctx context.Context, s *System) (err error) {
	dir := filepath.Join(s.config.Data, "read")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.turns = projector.NewTurns(max(1, runtime.GOMAXPROCS(0)/2)) // commands come first
	s.shared = projector.NewShared(s.log, sharedBytes)
	m := &models{}
	if m.reference, err = openModel(ctx, s, dir, "reference", readmodel.OpenReference); err != nil {
		return err
	}
	if m.customers, err = openModel(ctx, s, dir, "customers", func(ctx context.Context, path string) (*readmodel.Customers, error) {
		return readmodel.OpenCustomers(ctx, path, s.keys.Pseudonyms())
	}); err != nil {
		return err
	}
	if m.timeline, err = openModel(ctx, s, dir, "timeline", readmodel.OpenTimeline); err != nil {
		return err
	}
	if m.denials, err = openModel(ctx, s, dir, "denials", readmodel.OpenDenials); err != nil {
		return err
	}
	if m.analytics, err = openModel(ctx, s, dir, "analytics", readmodel.OpenAnalytics); err != nil {
		return err
	}
	if m.search, err = openModel(ctx, s, dir, "search", readmodel.OpenSearch); err != nil {
		return err
	}
	access, err := readmodel.OpenAccessLog(ctx, filepath.Join(s.config.Data, "access.db"))
	if err != nil {
		return err
	}
	s.access = access
	s.onClose(func(context.Context) error { return access.Close() })
	s.follow(m)
	return nil
}

// sharedBytes is the memory for entries that the read models of a process read together.
const sharedBytes = 32 << 20

// openModel opens a read model's file. One that an older program wrote, or another fold, is made anew: everything in
// it comes from the log.
func openModel[M interface{ Close() error }](ctx context.Context, s *System, dir, name string, open func(context.Context, string) (M, error)) (M, error) {
	path := filepath.Join(dir, name+".1.db")
	m, err := open(ctx, path)
	if errors.Is(err, readmodel.ErrStale) {
		s.logger.Warn("the read model was written by an older program and is made anew from the log", "model", name)
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return m, fmt.Errorf("making read model %s anew: %w", name, err)
			}
		}
		m, err = open(ctx, path)
	}
	if err != nil {
		return m, err
	}
	s.onClose(func(context.Context) error { return m.Close() })
	return m, nil
}

func consume[T projector.Tx](s *System, metrics *projector.Metrics, p projector.Projection[T], store projector.Store[T]) projector.Runner {
	return projector.NewConsumer(projector.Config{Logger: s.logger, Turns: s.turns}, p, store, s.shared, s.log, s.layout.shards(), s.clock, metrics)
}

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
