package profile

import (
	"context"
	"fmt"
	"iter"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// The query side is handed these instead of the stores: each question is asked of the generation that is read at that
// moment, which stays open until it is answered.

type (
	servedCustomers struct {
		*projector.Model[projector.CustomersTx, customersModel]
	}
	servedTimeline struct {
		*projector.Model[projector.TimelineTx, timelineModel]
	}
	servedDenials struct {
		*projector.Model[projector.DenialsTx, denialsModel]
	}
	servedAnalytics struct {
		*projector.Model[projector.AnalyticsTx, analyticsModel]
	}
	servedSearch struct {
		*projector.Model[projector.SearchTx, searchModel]
	}
	servedReference struct {
		*projector.Model[projector.ReferenceTx, referenceModel]
	}
)

var (
	_ query.CustomersModel = servedCustomers{}
	_ query.TimelineModel  = servedTimeline{}
	_ query.DenialsModel   = servedDenials{}
	_ query.AnalyticsModel = servedAnalytics{}
	_ query.SearchModel    = servedSearch{}
	_ query.ReferenceModel = servedReference{}
)

// unavailable says in the query side's terms that a model could not be opened yet.
func unavailable(err error) error { return fmt.Errorf("%w: %w", query.ErrUnavailable, err) }

// ask asks the generation that is read.
func ask[T projector.Tx, M projector.Store[T], A any](m *projector.Model[T, M], question func(M) (A, error)) (answer A, err error) {
	store, done, err := m.Take()
	if err != nil {
		return answer, unavailable(err)
	}
	defer done()
	return question(store)
}

func (s servedCustomers) StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error) {
	return ask(s.Model, func(m customersModel) (projector.StreamVersion, error) { return m.StreamVersion(ctx, stream) })
}

func (s servedCustomers) State(ctx context.Context, customer string) (state projector.CustomerState, found bool, err error) {
	state, err = ask(s.Model, func(m customersModel) (state projector.CustomerState, err error) {
		state, found, err = m.State(ctx, customer)
		return state, err
	})
	return state, found, err
}

func (s servedCustomers) StatesAfter(ctx context.Context, after domain.StreamID, limit int) ([]projector.CustomerState, error) {
	return ask(s.Model, func(m customersModel) ([]projector.CustomerState, error) { return m.StatesAfter(ctx, after, limit) })
}

func (s servedCustomers) StatesWithTitle(ctx context.Context, title string, after domain.StreamID, limit int) ([]projector.CustomerState, error) {
	return ask(s.Model, func(m customersModel) ([]projector.CustomerState, error) {
		return m.StatesWithTitle(ctx, title, after, limit)
	})
}

func (s servedCustomers) Things(ctx context.Context, id string, limit int) ([]query.Thing, error) {
	return ask(s.Model, func(m customersModel) ([]query.Thing, error) { return m.Things(ctx, id, limit) })
}

func (s servedCustomers) ThingsBehind(ctx context.Context, pseudonym string) ([]query.Thing, error) {
	return ask(s.Model, func(m customersModel) ([]query.Thing, error) { return m.ThingsBehind(ctx, pseudonym) })
}

func (s servedTimeline) StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error) {
	return ask(s.Model, func(m timelineModel) (projector.StreamVersion, error) { return m.StreamVersion(ctx, stream) })
}

func (s servedTimeline) TimelinePage(ctx context.Context, q query.TimelinePage) (query.TimelineRows, error) {
	return ask(s.Model, func(m timelineModel) (query.TimelineRows, error) { return m.TimelinePage(ctx, q) })
}

func (s servedTimeline) EventsByRef(ctx context.Context, id string, limit int) ([]*domain.Event, error) {
	return ask(s.Model, func(m timelineModel) ([]*domain.Event, error) { return m.EventsByRef(ctx, id, limit) })
}

func (s servedTimeline) EventsAfter(ctx context.Context, q query.ExportAsked) ([]*domain.Event, error) {
	return ask(s.Model, func(m timelineModel) ([]*domain.Event, error) { return m.EventsAfter(ctx, q) })
}

func (s servedDenials) StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error) {
	return ask(s.Model, func(m denialsModel) (projector.StreamVersion, error) { return m.StreamVersion(ctx, stream) })
}

func (s servedDenials) DenialsPage(ctx context.Context, q query.DenialsPage) ([]projector.DenialRow, error) {
	return ask(s.Model, func(m denialsModel) ([]projector.DenialRow, error) { return m.DenialsPage(ctx, q) })
}

func (s servedDenials) DenialsAfter(ctx context.Context, q query.ExportAsked) ([]projector.DenialRow, error) {
	return ask(s.Model, func(m denialsModel) ([]projector.DenialRow, error) { return m.DenialsAfter(ctx, q) })
}

func (s servedAnalytics) Counts(ctx context.Context, q query.CountsAsked) ([]query.Counted, error) {
	return ask(s.Model, func(m analyticsModel) ([]query.Counted, error) { return m.Counts(ctx, q) })
}

func (s servedAnalytics) ActiveChanges(ctx context.Context, q query.CountsAsked) ([]query.Counted, error) {
	return ask(s.Model, func(m analyticsModel) ([]query.Counted, error) { return m.ActiveChanges(ctx, q) })
}

func (s servedAnalytics) ActiveEdges(ctx context.Context, q query.CountsAsked) iter.Seq2[query.Edge, error] {
	return func(yield func(query.Edge, error) bool) {
		m, done, err := s.Take()
		if err != nil {
			yield(query.Edge{}, unavailable(err))
			return
		}
		defer done()
		m.ActiveEdges(ctx, q)(yield)
	}
}

// Capabilities are the same for every generation; while none could be opened yet, nothing is said.
func (s servedSearch) Capabilities() query.SearchCapabilities {
	m, done, err := s.Take()
	if err != nil {
		return query.SearchCapabilities{}
	}
	defer done()
	if says, can := m.(interface {
		Capabilities() query.SearchCapabilities
	}); can {
		return says.Capabilities()
	}
	return query.SearchCapabilities{}
}

func (s servedSearch) Show(ctx context.Context, at domain.Position) error {
	_, err := ask(s.Model, func(m searchModel) (struct{}, error) { return struct{}{}, m.Show(ctx, at) })
	return err
}

func (s servedSearch) Vocabulary(ctx context.Context, prefix string, limit int) ([]string, error) {
	return ask(s.Model, func(m searchModel) ([]string, error) { return m.Vocabulary(ctx, prefix, limit) })
}

func (s servedSearch) Hits(ctx context.Context, q query.SearchAsked) ([]query.SearchHit, error) {
	return ask(s.Model, func(m searchModel) ([]query.SearchHit, error) { return m.Hits(ctx, q) })
}

func (s servedSearch) Count(ctx context.Context, q query.SearchAsked, bound int) (int64, error) {
	return ask(s.Model, func(m searchModel) (int64, error) { return m.Count(ctx, q, bound) })
}

func (s servedSearch) Facets(ctx context.Context, q query.SearchAsked, fields []string, bound int) (map[string]map[string]int64, error) {
	return ask(s.Model, func(m searchModel) (map[string]map[string]int64, error) { return m.Facets(ctx, q, fields, bound) })
}

func (s servedReference) Policies(ctx context.Context) ([]projector.PolicyRow, error) {
	return ask(s.Model, func(m referenceModel) ([]projector.PolicyRow, error) { return m.Policies(ctx) })
}

func (s servedReference) Withdrawals(ctx context.Context) ([]projector.WithdrawalRow, error) {
	return ask(s.Model, func(m referenceModel) ([]projector.WithdrawalRow, error) { return m.Withdrawals(ctx) })
}

func (s servedReference) Entry(ctx context.Context) (uint64, error) {
	return ask(s.Model, func(m referenceModel) (uint64, error) { return m.Entry(ctx) })
}
