// Package watermill carries claimed entries from the shard writers to the read models.
//
// It may lose, repeat and reorder messages: a message is a hint, and every consumer checks against the log. So the
// writer never waits for it, and no message is ever sent back.
package watermill

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"carryon/command"
	"carryon/domain"
)

// Config bounds the transport. The zero value of each field means its default.
type Config struct {
	// QueueEntries and QueueBytes bound what waits to be published, per topic. What does not fit is dropped.
	QueueEntries int // 1,024
	QueueBytes   int // 16 MiB of messages
	// LargestMessage is the most bytes of a message's payload. A larger entry is named and left to be read from the log.
	LargestMessage int // 512 KiB
	// Drain is how long Close goes on publishing what waits, and Close how long it waits for handlers.
	Drain time.Duration // 2 s
	Close time.Duration // 5 s

	Logger *slog.Logger // discards
}

func (c Config) withDefaults() Config {
	if c.QueueEntries == 0 {
		c.QueueEntries = 1024
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = 16 << 20
	}
	if c.LargestMessage == 0 {
		c.LargestMessage = 512 << 10
	}
	if c.Drain == 0 {
		c.Drain = 2 * time.Second
	}
	if c.Close == 0 {
		c.Close = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) watermillLogger() wm.LoggerAdapter {
	return wm.NewSlogLoggerWithLevelMapping(c.Logger, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, // its every subscription and closing is not worth a line
	})
}

// Output is a topic that entries are published to. A broker with consumer groups needs one for all read models;
// GoChannel needs one for each.
type Output struct {
	Topic     string
	Publisher message.Publisher
}

// Bus publishes the entries of this process's writers, in the order in which they were handed over. Each topic has a
// bounded queue and one goroutine that empties it, so a slow topic holds no other.
type Bus struct {
	cfg     Config
	codec   Codec
	metrics *Metrics
	topics  []*topic
}

var _ command.Bus = (*Bus)(nil)

// NewBus makes a bus over some outputs. Without a codec, messages name their entry and do not hold it.
func NewBus(cfg Config, codec Codec, metrics *Metrics, outputs ...Output) *Bus {
	b := &Bus{cfg: cfg.withDefaults(), codec: codec, metrics: metrics}
	for _, output := range outputs {
		b.topics = append(b.topics, newTopic(b.cfg, output, metrics))
	}
	return b
}

// Publish queues an entry for every topic. It never blocks: a full queue drops the entry, and counts it.
func (b *Bus) Publish(_ context.Context, e *domain.Entry) error {
	msg, err := newMessage(e, b.codec, b.cfg.LargestMessage)
	if err != nil {
		return fmt.Errorf("making a message of entry %d of shard %d: %w", e.Index, e.Shard, err)
	}
	for _, t := range b.topics {
		t.offer(msg)
	}
	return nil
}

// Run publishes until ctx ends, and then, for a bounded time, what still waits.
func (b *Bus) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, t := range b.topics {
		group.Go(func() { t.run(ctx) })
	}
	group.Wait()
}

// topic is one output with its queue.
type topic struct {
	Output
	cfg     Config
	metrics *Metrics
	wake    chan struct{}

	mu    sync.Mutex
	queue []*message.Message
	bytes int
}

func newTopic(cfg Config, output Output, metrics *Metrics) *topic {
	return &topic{Output: output, cfg: cfg, metrics: metrics, wake: make(chan struct{}, 1)}
}

func (t *topic) offer(msg *message.Message) {
	t.mu.Lock()
	full := len(t.queue) >= t.cfg.QueueEntries || t.bytes+len(msg.Payload) > t.cfg.QueueBytes
	if !full {
		t.queue = append(t.queue, msg)
		t.bytes += len(msg.Payload)
	}
	t.mu.Unlock()
	if full {
		t.metrics.dropped(t.Topic)
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take removes the oldest message from the queue; nil: it is empty.
func (t *topic) take() *message.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		t.queue = nil
		return nil
	}
	msg := t.queue[0]
	t.queue[0] = nil
	t.queue = t.queue[1:]
	t.bytes -= len(msg.Payload)
	return msg
}

func (t *topic) run(ctx context.Context) {
	for ctx.Err() == nil {
		if msg := t.take(); msg != nil {
			t.publish(msg)
			continue
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
		}
	}
	for drained := time.Now().Add(t.cfg.Drain); time.Now().Before(drained); {
		msg := t.take()
		if msg == nil {
			return
		}
		t.publish(msg)
	}
}

// publish sends one message. One that fails is dropped: the log has it.
func (t *topic) publish(msg *message.Message) {
	if err := t.Publisher.Publish(t.Topic, msg.Copy()); err != nil {
		t.metrics.failed(t.Topic)
		t.cfg.Logger.Warn("publishing failed", "topic", t.Topic, "message", msg.UUID, "error", err)
		return
	}
	t.metrics.published(t.Topic)
}
