package watermill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/command"
	"carryon/domain"
)

// KafkaBus publishes this process's entries to Kafka. A broker that is away costs the consumers time, since they find in
// the log what no message brought, and costs the writers nothing.
type KafkaBus struct {
	cfg       Config
	publisher *reconnecting
	bus       *Bus

	stop   context.CancelFunc
	ended  chan struct{} // closed when nothing is published any more
	closed func() error
}

var _ command.Bus = (*KafkaBus)(nil)

// NewKafkaBus checks the settings. It connects to nothing.
func NewKafkaBus(cfg Config, k Kafka, registry prometheus.Registerer) (*KafkaBus, error) {
	cfg, k = cfg.withDefaults(), k.withDefaults()
	if err := k.check(); err != nil {
		return nil, err
	}
	publisher := &reconnecting{kafka: k, cfg: cfg, lines: newLines()}
	b := &KafkaBus{
		cfg: cfg, publisher: publisher, ended: make(chan struct{}),
		bus: NewBus(cfg, EntryCodec{}, NewMetrics(registry), Output{Topic: k.Topic, Publisher: publisher, Lanes: k.Shards + 1}),
	}
	b.closed = sync.OnceValue(b.close)
	return b, nil
}

// Start connects, and begins to publish. A topic that does not fit is ErrTopic (wrapped); a broker that is away is no
// error: it is tried again for every message. Close must be called afterwards.
func (b *KafkaBus) Start(ctx context.Context) error {
	if err := b.publisher.connect(ctx); errors.Is(err, ErrTopic) {
		return err
	} else if err != nil {
		b.cfg.Logger.Warn("entries are not published, consumers find them in the log", "error", err.Error())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	go func() { // ends with stop
		defer close(b.ended)
		b.bus.Run(running)
	}()
	return nil
}

// Publish queues an entry. It never blocks: a full queue drops it.
func (b *KafkaBus) Publish(ctx context.Context, e *domain.Entry) error { return b.bus.Publish(ctx, e) }

// Status is why entries are not published now, nil when they are.
func (b *KafkaBus) Status() error { return b.publisher.status() }

// Close publishes what still waits, for a bounded time, and disconnects. A broker that does not answer is hung up on.
func (b *KafkaBus) Close() error { return b.closed() }

func (b *KafkaBus) close() error {
	if b.stop != nil {
		b.stop()
		b.publisher.lines.hangUp(b.ended, b.cfg.Drain+time.Second)
	}
	return b.publisher.Close()
}

// reconnecting is a publisher that connects when it is first needed, and says what is wrong meanwhile. Once connected,
// the client library keeps the connection.
type reconnecting struct {
	kafka Kafka
	cfg   Config
	lines *lines

	connecting sync.Mutex // held by who connects, for as long as that takes

	mu      sync.Mutex
	current message.Publisher // nil: not connected
	next    time.Time         // not to be tried before
	wrong   error             // nil: the last message was published
	closed  bool
}

var errBusClosed = errors.New("closed")

// retryAfter is the pause between tries to connect. Messages that come meanwhile fail at once.
const retryAfter = time.Second

// Publish publishes, after connecting if need be.
func (r *reconnecting) Publish(topic string, messages ...*message.Message) error {
	p, err := r.connected()
	if err == nil {
		err = p.Publish(topic, messages...)
	}
	r.mu.Lock()
	r.wrong = err
	r.mu.Unlock()
	return err
}

func (r *reconnecting) connected() (message.Publisher, error) {
	r.mu.Lock()
	p := r.current
	r.mu.Unlock()
	if p != nil {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		return nil, errBusClosed
	}
	return r.current, nil
}

// connect connects, unless it is connected, or was tried a moment ago.
func (r *reconnecting) connect(ctx context.Context) error {
	r.connecting.Lock()
	defer r.connecting.Unlock()
	if done, err := r.tried(); done {
		return err
	}
	var made message.Publisher
	err := r.kafka.prepare(ctx, r.lines)
	if err == nil {
		made, err = r.kafka.publisher(r.cfg, r.lines)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.wrong, r.next = made, err, time.Now().Add(retryAfter)
	return err
}

// tried tells whether there is no need or no sense in connecting now, and what came of it before.
func (r *reconnecting) tried() (done bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return true, errBusClosed
	case r.current != nil:
		return true, nil
	case r.wrong != nil && (errors.Is(r.wrong, ErrTopic) || time.Now().Before(r.next)):
		return true, r.wrong
	}
	return false, nil
}

func (r *reconnecting) status() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong != nil {
		return fmt.Errorf("publishing to Kafka: %w", r.wrong)
	}
	return nil
}

// Close disconnects. Nothing is being published.
func (r *reconnecting) Close() error {
	r.mu.Lock()
	r.closed = true
	p := r.current
	r.mu.Unlock()
	if p == nil {
		return nil
	}
	ended := make(chan struct{})
	var err error
	go func() { // ends with the connections
		defer close(ended)
		err = p.Close()
	}()
	r.lines.hangUp(ended, goodbye)
	if err != nil {
		return fmt.Errorf("disconnecting from Kafka: %w", err)
	}
	return nil
}
