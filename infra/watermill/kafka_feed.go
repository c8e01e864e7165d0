package watermill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/domain"
	"carryon/projector"
)

// KafkaFeed brings entries from Kafka to the read models of this process. The processes of a group share the partitions;
// every read model of a process is told of every message that comes to it.
type KafkaFeed struct {
	cfg       Config
	kafka     Kafka
	shared    *projector.Shared
	registry  prometheus.Registerer
	counts    *Metrics
	listeners everyone
	assigned  *assignment
	lines     *lines

	mu    sync.Mutex
	wrong error

	cancel context.CancelFunc
	ended  chan struct{}
	closed func()
}

// NewKafkaFeed checks the settings. It connects to nothing. What the listeners are told must not block them.
func NewKafkaFeed(cfg Config, k Kafka, shared *projector.Shared, registry prometheus.Registerer, listeners ...Listener) (*KafkaFeed, error) {
	cfg, k = cfg.withDefaults(), k.withDefaults()
	if err := k.check(); err != nil {
		return nil, err
	}
	f := &KafkaFeed{
		cfg: cfg, kafka: k, shared: shared, registry: registry, counts: NewMetrics(registry), listeners: listeners,
		assigned: &assignment{topic: k.Topic}, lines: newLines(), ended: make(chan struct{}),
	}
	f.closed = sync.OnceFunc(func() {
		if f.cancel != nil {
			f.cancel()
			f.lines.hangUp(f.ended, goodbye)
		}
	})
	return f, nil
}

// goodbye is how long the broker has to answer when this process leaves the group. It may have to give others up first.
const goodbye = 2 * time.Second

// Start subscribes and goes on until Close. A topic that does not fit is ErrTopic (wrapped); a broker that is away is no
// error: it is tried again and again, and the read models look at the log meanwhile.
func (f *KafkaFeed) Start(ctx context.Context) error {
	err := f.kafka.prepare(ctx, f.lines)
	if errors.Is(err, ErrTopic) {
		return err
	}
	f.note(err)
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	go func() { // ends with cancel
		defer close(f.ended)
		f.run(running)
	}()
	return nil
}

// Close ends the subscription.
func (f *KafkaFeed) Close() { f.closed() }

// Status is why no messages come now, nil when they do.
func (f *KafkaFeed) Status() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.wrong != nil:
		return fmt.Errorf("reading from Kafka: %w", f.wrong)
	case !f.assigned.joined():
		return errors.New("reading from Kafka: not one of the group at the moment")
	}
	return nil
}

// Assigned tells whether a shard's messages come here. Without a place in the group, every shard is everybody's.
func (f *KafkaFeed) Assigned(shard int) bool { return f.assigned.has(shard) }

func (f *KafkaFeed) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.wrong == nil {
		f.cfg.Logger.Warn("no messages come, read models look at the log", "error", err.Error())
	}
	f.wrong = err
}

// run subscribes again and again.
func (f *KafkaFeed) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		if err := f.subscribe(ctx); ctx.Err() == nil {
			f.note(err)
		}
		pause.Reset(retryAfter)
	}
}

// subscribe hands messages over until ctx ends, or until it fails before it has begun: from then on the subscriber
// reconnects by itself.
func (f *KafkaFeed) subscribe(ctx context.Context) error {
	if err := f.kafka.prepare(ctx, f.lines); err != nil {
		return err
	}
	subscriber, err := f.kafka.subscriber(f.cfg, f.assigned, f.lines)
	if err != nil {
		return err
	}
	defer func() { _ = subscriber.Close() }() // the router has, where it has begun
	router, err := NewRouter(f.cfg, f.shared, EntryCodec{}, f.counts, f.registry,
		Input{Runner: f.listeners, Topic: f.kafka.Topic, Subscriber: subscriber})
	if err != nil {
		return err
	}
	f.note(nil)
	err = router.Run(ctx)
	if ctx.Err() == nil {
		return errors.Join(err, errors.New("the subscription ended"))
	}
	return nil
}

// everyone is told what each one would be told.
type everyone []Listener

// Name is that of the group's handler.
func (everyone) Name() string { return "entries" }

// Offer tells of an entry.
func (all everyone) Offer(e *domain.Entry) {
	for _, l := range all {
		l.Offer(e)
	}
}

// Hint tells that there is an entry.
func (all everyone) Hint(shard int, index uint64) {
	for _, l := range all {
		l.Hint(shard, index)
	}
}

// assignment knows which partitions the group has given to this process. The client library tells nobody but the handler
// of a session, and a tracer may wrap that.
type assignment struct {
	topic string

	mu         sync.Mutex
	partitions map[int32]bool // given; true: and messages come from now on. nil: no session
}

// joined tells whether messages come from all partitions that were given.
func (a *assignment) joined() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, comes := range a.partitions {
		if !comes {
			return false
		}
	}
	return a.partitions != nil
}

func (a *assignment) has(shard int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, given := a.partitions[int32(shard)] //nolint:gosec // a shard's number
	return given || a.partitions == nil
}

// WrapConsumer changes nothing.
func (*assignment) WrapConsumer(c sarama.Consumer) sarama.Consumer { return c }

// WrapPartitionConsumer changes nothing.
func (*assignment) WrapPartitionConsumer(c sarama.PartitionConsumer) sarama.PartitionConsumer {
	return c
}

// WrapSyncProducer changes nothing.
func (*assignment) WrapSyncProducer(_ *sarama.Config, p sarama.SyncProducer) sarama.SyncProducer {
	return p
}

// WrapConsumerGroupHandler listens to the beginnings and ends of sessions.
func (a *assignment) WrapConsumerGroupHandler(h sarama.ConsumerGroupHandler) sarama.ConsumerGroupHandler {
	return session{h, a}
}

type session struct {
	sarama.ConsumerGroupHandler
	assigned *assignment
}

// Setup notes what the session brings.
func (s session) Setup(group sarama.ConsumerGroupSession) error {
	partitions := map[int32]bool{}
	for _, p := range group.Claims()[s.assigned.topic] {
		partitions[p] = false
	}
	s.assigned.mu.Lock()
	s.assigned.partitions = partitions
	s.assigned.mu.Unlock()
	return s.ConsumerGroupHandler.Setup(group)
}

// ConsumeClaim notes that a partition's messages come.
func (s session) ConsumeClaim(group sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	s.assigned.mu.Lock()
	if _, given := s.assigned.partitions[claim.Partition()]; given {
		s.assigned.partitions[claim.Partition()] = true
	}
	s.assigned.mu.Unlock()
	return s.ConsumerGroupHandler.ConsumeClaim(group, claim)
}

// Cleanup notes that the session is over.
func (s session) Cleanup(group sarama.ConsumerGroupSession) error {
	s.assigned.mu.Lock()
	s.assigned.partitions = nil
	s.assigned.mu.Unlock()
	return s.ConsumerGroupHandler.Cleanup(group)
}
