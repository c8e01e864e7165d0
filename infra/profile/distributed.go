package profile

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/web"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/catalogue"
	"carryon/infra/elastic"
	"carryon/infra/postgres"
	"carryon/infra/watermill"
	"carryon/projector"
)

// distributed is any number of processes on servers: Cassandra for the event store, Watermill's Kafka between, Postgres
// and Elasticsearch for the read models. None of them has to be there for the process to start; what its absence costs,
// readiness says.
type distributed struct {
	kept     *later[*kept]
	postgres *postgres.DB
	elastic  *elastic.Client
	bus      *watermill.KafkaBus
	feed     *watermill.KafkaFeed
}

// OpenDistributed connects and wires what the roles need.
func OpenDistributed(ctx context.Context, c *config.Config, o cli.OpenOptions) (*System, error) {
	return open(ctx, c, o, &distributed{})
}

func (d *distributed) openStores(ctx context.Context, s *System) (err error) {
	s.layout.customerShards = s.config.Shards
	if s.keys, err = openKeys(s.config); err != nil {
		return err
	}
	if s.catalogue, err = catalogue.Open(filepath.Join(s.config.Data, "catalogue")); err != nil {
		return err
	}
	d.kept, err = openLater(ctx, &later[*kept]{
		name: "Cassandra", logger: s.logger, passes: mayPass, close: (*kept).close,
		open: func(ctx context.Context) (*kept, error) { return openKept(ctx, s) },
	})
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return d.kept.Close() })
	s.log, s.vault = laterStore[*kept]{d.kept}, laterVault{d.kept}
	s.peers, err = newPeers(s.name, s.keys.Secret.Key("forwarding"), laterMembers{d.kept}, s.wall, s.logger)
	return err
}

func (d *distributed) openModels(ctx context.Context, s *System) (err error) {
	p, e := &s.config.Postgres, &s.config.Elasticsearch
	if d.postgres, err = postgres.Open(postgres.Config{URL: p.URL, PasswordFile: p.PasswordFile, WriteConnections: 6, ReadConnections: 6}); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { d.postgres.Close(); return nil })
	d.elastic, err = elastic.Open(elastic.Config{
		Addresses: e.Addresses, Username: e.User, PasswordFile: e.PasswordFile, CAFile: e.CAFile, Prefix: e.Prefix, Replicas: &e.Replicas,
	})
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return d.elastic.Close() })
	s.access = d.postgres.AccessLog()
	if s.has(command.RoleCommand) {
		s.turns = s.commandsFirst()
	}
	s.shared = projector.NewShared(s.log, sharedBytes)
	m := &models{metrics: projector.NewMetrics(s.registry)}
	m.reference = inPostgres[projector.ReferenceTx, referenceModel](s, m, projector.Reference{}, d.postgres.Reference)
	m.customers = inPostgres[projector.CustomersTx, customersModel](s, m, projector.Customers{}, func(generation int) *postgres.Customers {
		return d.postgres.Customers(generation, s.keys.Pseudonyms())
	})
	m.timeline = inPostgres[projector.TimelineTx, timelineModel](s, m, projector.Timeline{}, d.postgres.Timeline)
	m.denials = inPostgres[projector.DenialsTx, denialsModel](s, m, projector.Denials{}, d.postgres.Denials)
	m.analytics = inPostgres[projector.AnalyticsTx, analyticsModel](s, m, projector.Analytics{}, d.postgres.Analytics)
	search := s.consuming(nil) // a slow server must not hold the turns of another's models
	search.Pace = searchPace
	m.search = newModel[projector.SearchTx, searchModel](s, m, search, projector.Search{}, d.elastic.Generations(), func(_ context.Context, generation int) (*elastic.Search, error) {
		return elastic.NewSearch(d.elastic, generation, s.layout.shards()), nil
	})
	return s.follow(ctx, m)
}

// searchPace is from one transaction of a shard to the next. What is indexed is found after the next refresh only, which
// comes once a second: so there is time to gather, and a request of a hundred documents costs little more than one of ten.
const searchPace = 200 * time.Millisecond

// inPostgres is a model that has a schema for each generation.
func inPostgres[T projector.Tx, M projector.Store[T], O interface {
	projector.Store[T]
	Generations() postgres.Generations
}](s *System, m *models, p projector.Projection[T], open func(generation int) O) *projector.Model[T, M] {
	const any = 1 // every generation knows all of them
	return newModel[T, M](s, m, s.consuming(s.turns), p, open(any).Generations(), func(_ context.Context, generation int) (O, error) { return open(generation), nil })
}

func (d *distributed) settle(context.Context, *System) error { return nil } // readiness says when

// prepare makes keyspace, schemas, indices and the topic. Several processes may do so at once, and each does what it needs
// by itself when it is first needed; this is for an operator who wants it done, and seen, before.
func (d *distributed) prepare(ctx context.Context, s *System) error {
	var errs []error
	if _, err := d.kept.get(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, d.postgres.Prepare(ctx))
	for _, r := range s.models.runners {
		if _, err := r.Parked(ctx, "", 1); err != nil { // whatever is asked first makes the tables
			errs = append(errs, err)
		}
	}
	t, err := d.newTransport(s)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, t.Start(ctx))
	if d.bus != nil {
		errs = append(errs, d.bus.Status())
	}
	return errors.Join(append(errs, t.Close())...)
}

// livePoll: a process that does not write looks at the log often while somebody listens.
func (d *distributed) livePoll() time.Duration { return 200 * time.Millisecond }

func (d *distributed) checks(s *System) []web.Check {
	var checks []web.Check
	if s.has(command.RoleCommand) || s.has(roleProjector) {
		checks = append(checks, web.Check{
			Name: "kafka", Costs: "read models follow the log by looking at it, which is slower", Optional: true,
			Probe: func(context.Context) error { return d.carried() },
		})
	}
	answers := s.has(roleQuery)
	checks = append(checks, web.Check{
		Name: "postgres", Costs: "no question about customers, refusals and figures is answered; their read models stand still", Optional: !answers,
		Probe: d.postgres.Check,
	})
	return append(checks, web.Check{
		Name: "elasticsearch", Costs: "the search is not answered; its read model stands still", Optional: true, Probe: d.elastic.Ready,
	})
}

// carried tells why entries are not carried now.
func (d *distributed) carried() error {
	var errs []error
	if d.bus != nil {
		errs = append(errs, d.bus.Status())
	}
	if d.feed != nil {
		errs = append(errs, d.feed.Status())
	}
	return errors.Join(errs...)
}

func (d *distributed) newTransport(s *System) (_ transport, err error) {
	k := &s.config.Kafka
	broker := watermill.Kafka{
		Brokers: k.Brokers, Topic: k.Topic, Shards: s.layout.customerShards, Client: s.name,
		User: k.User, PasswordFile: k.PasswordFile, Mechanism: k.Mechanism, CAFile: k.CAFile, Dial: reaching(s.config.ReachBy),
	}
	c := &carriers{}
	settings := watermill.Config{Logger: s.logger}
	if s.has(command.RoleCommand) {
		if c.bus, err = watermill.NewKafkaBus(settings, broker, s.registry); err != nil {
			return nil, err
		}
	}
	if s.has(roleProjector) {
		listeners := make([]watermill.Listener, len(s.models.runners))
		for i, r := range s.models.runners {
			listeners[i] = r
		}
		if c.feed, err = watermill.NewKafkaFeed(settings, broker, s.shared, s.registry, listeners...); err != nil {
			return nil, err
		}
	}
	d.bus, d.feed = c.bus, c.feed
	return c, nil
}

// carriers are the halves of the transport that a process has.
type carriers struct {
	bus  *watermill.KafkaBus  // of who writes
	feed *watermill.KafkaFeed // of who projects
}

// Start starts both.
func (c *carriers) Start(ctx context.Context) error {
	if c.bus != nil {
		if err := c.bus.Start(ctx); err != nil {
			return err
		}
	}
	if c.feed != nil {
		if err := c.feed.Start(ctx); err != nil {
			return errors.Join(err, c.Close())
		}
	}
	return nil
}

// Publish hands an entry to the broker.
func (c *carriers) Publish(ctx context.Context, e *domain.Entry) error {
	if c.bus == nil {
		return nil
	}
	return c.bus.Publish(ctx, e)
}

// Close publishes what still waits, and ends both.
func (c *carriers) Close() error {
	var err error
	if c.bus != nil {
		err = c.bus.Close()
	}
	if c.feed != nil {
		c.feed.Close()
	}
	return err
}
