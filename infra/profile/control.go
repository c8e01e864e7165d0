package profile

import (
	"context"
	"fmt"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// control is the runtime of the projectors, in the query side's terms.
type control struct {
	models []readModel
	lags   *lags // of a process that applies nothing; nil: it does
}

// named finds a read model.
func (c control) named(name string) (readModel, error) {
	for _, m := range c.models {
		if m.Name() == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("read model %q: %w", name, domain.ErrNotFound)
}

// Status tells how far the read models are.
func (c control) Status(ctx context.Context) ([]query.Projection, error) {
	models := make([]query.Projection, len(c.models))
	var ends *logEnds
	if c.lags != nil {
		soon, cancel := context.WithTimeout(ctx, askLogFor)
		defer cancel()
		ends = c.lags.ends(soon)
	}
	for i, m := range c.models {
		models[i] = query.Projection{Name: m.Name(), Generation: m.Generation()}
		if ends != nil {
			models[i].Shards, models[i].Parked = c.lags.of(ctx, m, ends)
		} else {
			models[i].Shards, models[i].Parked = shardsOf(m.Status())
		}
		if r, is := m.RebuildStatus(ctx); is {
			models[i].Rebuild = rebuildOf(r)
		}
	}
	return models, nil
}

// shardsOf are a model's shards, by what this process has applied or met.
func shardsOf(statuses []projector.ShardStatus) (shards []query.ProjectionShard, parked int) {
	for _, st := range statuses {
		shard := query.ProjectionShard{
			Shard: st.Shard, Applied: st.Applied.Index, Tail: max(st.Tail, st.Applied.Index), LagEntries: st.LagEntries, LagSeconds: st.Lag.Seconds(),
		}
		if st.Differs {
			shard.Stopped = st.Err
		}
		parked += st.Parked
		shards = append(shards, shard)
	}
	return shards, parked
}

func rebuildOf(r projector.RebuildStatus) *query.Rebuild {
	shown := &query.Rebuild{
		Generation: r.Generation, State: string(r.State), Error: r.Err,
		EntriesDone: r.EntriesDone, EntriesTotal: r.EntriesTotal, EventsDone: r.EventsDone, EventsTotal: r.EventsTotal, Estimated: r.Estimated,
		EventsPerSecond: r.Rate, SecondsLeft: r.Left.Seconds(), Stage: r.Stage, StageDone: r.StageDone, StageTotal: r.StageTotal,
		Differences: r.Differences, NewlyParked: r.NewParked,
	}
	if !r.Began.IsZero() {
		shown.Began = &r.Began
	}
	if !r.Ended.IsZero() {
		shown.Ended = &r.Ended
	}
	return shown
}

// Rebuild begins a rebuild, or carries one on.
func (c control) Rebuild(ctx context.Context, model string, o query.RebuildOptions) error {
	m, err := c.named(model)
	if err != nil {
		return err
	}
	return m.StartRebuild(ctx, projector.RebuildOptions{Sample: o.Sample, AcceptParked: o.AcceptParked})
}

// PauseRebuild lets a rebuild rest.
func (c control) PauseRebuild(_ context.Context, model string) error {
	m, err := c.named(model)
	if err != nil {
		return err
	}
	return m.PauseRebuild()
}

// ResumeRebuild lets it go on.
func (c control) ResumeRebuild(_ context.Context, model string) error {
	m, err := c.named(model)
	if err != nil {
		return err
	}
	return m.ResumeRebuild()
}

// CancelRebuild ends it.
func (c control) CancelRebuild(ctx context.Context, model string) error {
	m, err := c.named(model)
	if err != nil {
		return err
	}
	return m.CancelRebuild(ctx)
}

// Parked lists parked streams.
func (c control) Parked(ctx context.Context, model string, after domain.StreamID, limit int) ([]query.ParkedStream, error) {
	m, err := c.named(model)
	if err != nil {
		return nil, err
	}
	parked, err := m.Parked(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	list := make([]query.ParkedStream, len(parked))
	for i, p := range parked {
		list[i] = query.ParkedOf(p)
	}
	return list, nil
}

// Retry applies a parked stream again.
func (c control) Retry(ctx context.Context, model string, stream domain.StreamID) error {
	m, err := c.named(model)
	if err != nil {
		return err
	}
	return m.RetryParked(ctx, stream)
}

// DropParked leaves an event of a parked stream out.
func (c control) DropParked(ctx context.Context, model string, stream domain.StreamID, seq uint64) error {
	m, err := c.named(model)
	if err != nil {
		return err
	}
	return m.DropParked(ctx, stream, seq)
}
