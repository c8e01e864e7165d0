package profile

import (
	"context"
	"errors"
	"fmt"

	"carryon/api/cli"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/celfilter"
	"carryon/projector"
	"carryon/query"
)

// openQueries wires the answering side.
func (s *System) openQueries() {
	waiters := map[string]query.Waiter{}
	for _, runner := range s.models.runners {
		waiters[runner.Name()] = runner.Waiter()
	}
	catalogue := func() query.Catalogue { return s.catalogue.Catalogue() }
	s.queries = query.New(query.Ports{
		Desk: query.Desk{Log: s.access, Now: query.Clock(s.clock)}, Clock: query.Clock(s.clock),
		Cursors: query.NewCursors(s.keys.CursorKey()), Pseudonyms: s.keys.Pseudonyms(), Words: words{s.vault},
		Customers: s.models.customers, Timeline: s.models.timeline, Denials: s.models.denials, Analytics: s.models.analytics,
		Search: s.models.search, Reference: query.NewReferences(s.models.reference, catalogue), Waiters: waiters,
		Books: s.books, Catalogue: catalogue, Control: control{s.models.runners}, Live: s.live,
	})
}

// openLive makes the live stream, which the writers tell.
func (s *System) openLive() error {
	filters, err := celfilter.New()
	if err != nil {
		return err
	}
	s.live = query.NewHub(s.shared, s.layout.shards(), filters, s.logger, s.outside.livePoll())
	s.onClose(func(context.Context) error { s.live.Close(); return nil })
	return nil
}

// words opens personal words, in the query side's terms.
type words struct{ vault command.Vault }

// Open decrypts.
func (w words) Open(ctx context.Context, customer string, sealed domain.Sealed) (string, error) {
	text, err := w.vault.Open(ctx, customer, sealed)
	switch {
	case errors.Is(err, command.ErrErased):
		return "", fmt.Errorf("%w: %w", query.ErrErased, err)
	case errors.Is(err, command.ErrUnavailable):
		return "", fmt.Errorf("%w: %w", query.ErrUnavailable, err)
	}
	return text, err
}

// control is the runtime of the projectors, in the query side's terms.
type control struct{ runners projector.Runners }

// Status tells how far the read models are.
func (c control) Status(context.Context) ([]query.Projection, error) {
	models := make([]query.Projection, len(c.runners))
	for i, runner := range c.runners {
		models[i] = query.Projection{Name: runner.Name(), Generation: 1}
		for _, st := range runner.Status() {
			shard := query.ProjectionShard{
				Shard: st.Shard, Applied: st.Applied.Index, Tail: max(st.Tail, st.Applied.Index), LagEntries: st.LagEntries, LagSeconds: st.Lag.Seconds(),
			}
			if st.Differs {
				shard.Stopped = st.Err
			}
			models[i].Parked += st.Parked
			models[i].Shards = append(models[i].Shards, shard)
		}
	}
	return models, nil
}

// Parked lists parked streams.
func (c control) Parked(ctx context.Context, model string, after domain.StreamID, limit int) ([]query.ParkedStream, error) {
	runner, err := c.runners.Named(model)
	if err != nil {
		return nil, err
	}
	parked, err := runner.Parked(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	list := make([]query.ParkedStream, len(parked))
	for i, p := range parked {
		list[i] = query.ParkedStream{
			Stream: p.Stream, Shard: p.Shard, FirstSeq: p.FirstSeq, Position: p.Position.String(), Reason: p.Reason, Attempts: p.Attempts, Since: p.Since,
		}
	}
	return list, nil
}

// Retry applies a parked stream again.
func (c control) Retry(ctx context.Context, model string, stream domain.StreamID) error {
	runner, err := c.runners.Named(model)
	if err != nil {
		return err
	}
	return runner.RetryParked(ctx, stream)
}

// Audit compares log, histories and read models.
func (s *System) Audit(ctx context.Context, o cli.AuditOptions) (projector.AuditReport, error) {
	m := s.models
	models := []projector.AuditedStore{
		{Name: "reference", Store: m.reference, Rows: m.reference}, {Name: "customers", Store: m.customers, Rows: m.customers}, {Name: "timeline", Store: m.timeline, Rows: m.timeline},
		{Name: "denials", Store: m.denials, Rows: m.denials}, {Name: "analytics", Store: m.analytics, Rows: m.analytics},
	}
	if m.search != nil {
		models = append(models, projector.AuditedStore{Name: "search", Store: m.search, Rows: m.search})
	}
	return projector.Audit(ctx, projector.AuditTarget{
		Log: s.log, Histories: s.log, Shards: s.layout.shards(), ShardOf: s.layout.shardOf, Models: models,
	}, projector.AuditOptions{Sample: o.Sample, Seed: o.Seed, Progress: o.Progress})
}
