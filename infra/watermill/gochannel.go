package watermill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/command"
	"carryon/domain"
	"carryon/projector"
)

// InProcess is the transport of a process that has everything: Watermill's GoChannel, one topic and one instance for
// each read model, because a GoChannel that waits for one subscriber holds all its topics.
type InProcess struct {
	cfg    Config
	bus    *Bus
	router *Router
	shared *projector.Shared
	pubs   []*gochannel.GoChannel

	stop      context.CancelFunc
	published chan struct{} // closed when nothing is published any more
	routed    chan error
	closed    func() error
}

var _ command.Bus = (*InProcess)(nil)

// NewInProcess makes the transport between this process's writers and read models. Entries do not leave the process,
// so messages name them and the shared log holds them.
func NewInProcess(cfg Config, shared *projector.Shared, registry prometheus.Registerer, runners ...projector.Runner) (*InProcess, error) {
	cfg = cfg.withDefaults()
	t := &InProcess{cfg: cfg, shared: shared, published: make(chan struct{}), routed: make(chan error, 1)}
	counts := NewMetrics(registry)
	t.closed = sync.OnceValue(t.close)
	var outputs []Output
	var inputs []Input
	for _, runner := range runners {
		// Waiting for the acknowledgement keeps the order; the queue before it keeps the writer from waiting.
		pubsub := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, cfg.watermillLogger())
		name := "entries." + runner.Name()
		t.pubs = append(t.pubs, pubsub)
		outputs = append(outputs, Output{Topic: name, Publisher: pubsub})
		inputs = append(inputs, Input{Runner: runner, Topic: name, Subscriber: pubsub})
	}
	var err error
	t.router, err = NewRouter(cfg, shared, nil, counts, registry, inputs...)
	if err != nil {
		return nil, err
	}
	t.bus = NewBus(cfg, nil, counts, outputs...)
	return t, nil
}

// Start subscribes all read models, and then begins to publish. Close must be called afterwards.
func (t *InProcess) Start(ctx context.Context) error {
	go func() { t.routed <- t.router.Run(context.WithoutCancel(ctx)) }()
	select {
	case <-t.router.Running():
	case err := <-t.routed:
		t.routed <- err
		return errors.Join(err, t.Close())
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("starting the transport: %w", context.Cause(ctx)), t.Close())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	go func() {
		defer close(t.published)
		t.bus.Run(running)
	}()
	return nil
}

// Publish hands an entry over. It never blocks.
func (t *InProcess) Publish(ctx context.Context, e *domain.Entry) error {
	t.shared.Keep(e)
	return t.bus.Publish(ctx, e)
}

// Close publishes what still waits, for a bounded time, and then stops in order: publishing, routing, topics.
func (t *InProcess) Close() error { return t.closed() }

func (t *InProcess) close() error {
	if t.stop != nil {
		t.stop()
		select {
		case <-t.published:
		case <-time.After(t.cfg.Drain):
		}
	}
	err := t.router.Close()
	err = errors.Join(err, <-t.routed)
	for _, pubsub := range t.pubs {
		err = errors.Join(err, pubsub.Close()) // frees a publisher that waits for an acknowledgement
	}
	if t.stop != nil {
		<-t.published
	}
	return err
}
