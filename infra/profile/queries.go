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
	s.published = query.NewReferences(servedReference{s.models.reference}, catalogue, s.keptCatalogue)
	s.queries = query.New(query.Ports{
		Desk: query.Desk{Log: s.access, Now: query.Clock(s.clock)}, Clock: query.Clock(s.clock),
		Cursors: query.NewCursors(s.keys.CursorKey()), Pseudonyms: s.keys.Pseudonyms(), Words: words{s.vault},
		Customers: servedCustomers{s.models.customers}, Timeline: servedTimeline{s.models.timeline}, Denials: servedDenials{s.models.denials}, Analytics: servedAnalytics{s.models.analytics},
		Search: s.searched(), Reference: s.published, Waiters: waiters,
		Books: s.books, Tails: tails{s}, Catalogue: catalogue, Control: s.control(), Roll: roll{s}, Live: s.live,
	})
}

// control is how far the read models are, and what is done with them.
func (s *System) control() control {
	if s.has(roleProjector) {
		return control{models: s.models.all}
	}
	return control{models: s.models.all, lags: &lags{s}}
}

// tails are where the shards' logs end.
type tails struct{ s *System }

// Shards are all shards, that of policies and withdrawals included.
func (t tails) Shards() []int { return t.s.layout.shards() }

// Head is the last entry of a shard.
func (t tails) Head(ctx context.Context, shard int) (domain.Head, error) {
	return t.s.log.Head(ctx, shard)
}

// searched is the search, if this profile has one.
func (s *System) searched() query.SearchModel {
	if s.models.search == nil {
		return nil
	}
	return servedSearch{s.models.search}
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

// Opener takes a customer's key.
func (w words) Opener(ctx context.Context, customer string) (query.WordsOpener, error) {
	open, err := w.vault.Opener(ctx, customer)
	if err != nil {
		return nil, notOpened(err)
	}
	return func(ctx context.Context, sealed domain.Sealed) (string, error) {
		text, err := open(ctx, sealed)
		return text, notOpened(err)
	}, nil
}

// notOpened says in the query side's terms why not.
func notOpened(err error) error {
	switch {
	case errors.Is(err, command.ErrErased):
		return fmt.Errorf("%w: %w", query.ErrErased, err)
	case errors.Is(err, command.ErrUnavailable):
		return fmt.Errorf("%w: %w", query.ErrUnavailable, err)
	}
	return err
}

// Audit compares log, histories and read models.
func (s *System) Audit(ctx context.Context, o cli.AuditOptions) (projector.AuditReport, error) {
	target, done, err := s.audited()
	defer done()
	if err != nil {
		return projector.AuditReport{}, err
	}
	return projector.Audit(ctx, target, projector.AuditOptions{Sample: o.Sample, Seed: o.Seed, Workers: o.Workers, Progress: o.Progress})
}

// Repair makes anew what an audit found wrong in read models.
func (s *System) Repair(ctx context.Context, found projector.AuditReport, progress func(stage string, done, total int64)) (projector.RepairReport, error) {
	target, done, err := s.audited()
	defer done()
	if err != nil {
		return projector.RepairReport{}, err
	}
	return projector.Repair(ctx, target, found, progress)
}

// audited is everything that must agree, with the read models' generations of now, until done is called.
func (s *System) audited() (target projector.AuditTarget, done func(), err error) {
	var all []func()
	done = func() {
		for _, d := range all {
			d()
		}
	}
	target = projector.AuditTarget{Log: s.log, Histories: s.log, Shards: s.layout.shards(), ShardOf: s.layout.shardOf}
	for _, m := range s.models.all {
		audited, d, err := m.Audited()
		if err != nil {
			return target, done, err
		}
		all = append(all, d)
		target.Models = append(target.Models, audited)
	}
	return target, done, nil
}

// keptCatalogue is a past catalogue.
func (s *System) keptCatalogue(version string) (query.Catalogue, error) {
	c, err := s.catalogue.Kept(version)
	if err != nil {
		return nil, err
	}
	return c, nil
}
