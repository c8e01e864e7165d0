package watermill

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/components/metrics"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/domain"
	"carryon/projector"
)

// Listener is what a transport needs of a read model: a projector.Runner, or several as one.
type Listener interface {
	Name() string
	Offer(e *domain.Entry)
	Hint(shard int, index uint64)
}

// Input is a topic that a read model listens to.
type Input struct {
	Runner     Listener
	Topic      string
	Subscriber message.Subscriber
}

// Router hands the messages of the topics to the read models.
type Router struct {
	router  *message.Router
	shared  *projector.Shared
	codec   Codec
	metrics *Metrics
	logger  *slog.Logger
}

// NewRouter makes a router. Entries are decoded once for all read models, through shared; the registry gets Watermill's
// own metrics of the handlers.
func NewRouter(cfg Config, shared *projector.Shared, codec Codec, counts *Metrics, registry prometheus.Registerer,
	inputs ...Input,
) (*Router, error) {
	cfg = cfg.withDefaults()
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: cfg.Close}, cfg.watermillLogger())
	if err != nil {
		return nil, fmt.Errorf("making the router: %w", err)
	}
	r := &Router{router: router, shared: shared, codec: codec, metrics: counts, logger: cfg.Logger}
	builder := metrics.NewPrometheusMetricsBuilder(registry, "carryon", "messages")
	router.AddMiddleware(
		r.neverSendBack, // outermost: whatever happens below, the message is acknowledged
		builder.NewRouterMiddleware().Middleware,
		middleware.CorrelationID,
		middleware.Recoverer,
	)
	for _, input := range inputs {
		router.AddConsumerHandler(input.Runner.Name(), input.Topic, input.Subscriber, r.handle(input.Runner))
	}
	return r, nil
}

// Run routes until ctx ends or Close is called.
func (r *Router) Run(ctx context.Context) error {
	if err := r.router.Run(ctx); err != nil {
		return fmt.Errorf("routing messages: %w", err)
	}
	return nil
}

// Running is closed when every topic is subscribed to.
func (r *Router) Running() <-chan struct{} { return r.router.Running() }

// Close stops routing, and closes the subscribers.
func (r *Router) Close() error {
	if err := r.router.Close(); err != nil {
		return fmt.Errorf("closing the router: %w", err)
	}
	return nil
}

// handle offers a message's entry to a read model. A message that can't be read is still a hint that there is
// something to read in the log.
func (r *Router) handle(runner Listener) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		named, err := readHint(msg)
		if err != nil {
			return err
		}
		e, err := r.entry(named, msg)
		if err != nil || e == nil {
			runner.Hint(named.shard, named.index)
			return err
		}
		runner.Offer(e)
		return nil
	}
}

// entry is the entry that a message holds, or that this process has claimed itself; nil when it is neither.
func (r *Router) entry(named hint, msg *message.Message) (*domain.Entry, error) {
	if e, kept := r.shared.Find(named.id); kept && named.matches(e) {
		return e, nil
	}
	if r.codec == nil || len(msg.Payload) == 0 {
		return nil, nil
	}
	e, err := r.codec.Decode(msg.Payload)
	if err != nil {
		return nil, fmt.Errorf("decoding message %s: %w", msg.UUID, err)
	}
	if !named.matches(e) {
		return nil, fmt.Errorf("message %s holds entry %d of shard %d, batch %s, and says otherwise", msg.UUID, e.Index, e.Shard, e.ID)
	}
	return r.shared.Keep(e), nil
}

// neverSendBack acknowledges every message. A message sent back would come again at once, for ever; the log is where
// the entry comes from when the message did not do.
func (r *Router) neverSendBack(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if _, err := next(msg); err != nil {
			r.metrics.unread(message.SubscribeTopicFromCtx(msg.Context()))
			r.logger.Warn("a message was of no use", "message", msg.UUID, "error", err)
		}
		return nil, nil
	}
}
