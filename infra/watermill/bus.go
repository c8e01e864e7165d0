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
	// Lanes is how many messages are published at the same time: one per lane, and the entries of a shard always go
	// through the same one, in order. 0: one lane.
	Lanes int
}

// Bus publishes the entries of this process's writers, in the order in which they were handed over. Each topic has a
// bounded queue and a goroutine per lane that empties it, so a slow topic holds no other.
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
		t.offer(e.Shard, msg)
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

// topic is one output with its queue. Its lanes share the bounds, and none may take more than twice its part, so that
// one which does not move leaves room for the others.
type topic struct {
	Output
	cfg         Config
	metrics     *Metrics
	lanes       []*lane
	laneEntries int
	laneBytes   int

	mu      sync.Mutex
	waiting int
	bytes   int
	failing int       // publishings in a row that failed
	told    time.Time // when that was last logged
}

// lane is where the messages of some shards wait for each other.
type lane struct {
	wake  chan struct{} // holds one when the queue is not empty
	queue []*message.Message
	bytes int
}

func newTopic(cfg Config, output Output, metrics *Metrics) *topic {
	t := &topic{Output: output, cfg: cfg, metrics: metrics}
	lanes := max(1, output.Lanes)
	t.laneEntries, t.laneBytes = max(1, 2*cfg.QueueEntries/lanes), max(cfg.LargestMessage, 2*cfg.QueueBytes/lanes)
	for range lanes {
		t.lanes = append(t.lanes, &lane{wake: make(chan struct{}, 1)})
	}
	return t
}

func (t *topic) offer(shard int, msg *message.Message) {
	l := t.lanes[shard%len(t.lanes)]
	t.mu.Lock()
	size := len(msg.Payload)
	full := t.waiting >= t.cfg.QueueEntries || t.bytes+size > t.cfg.QueueBytes || len(l.queue) >= t.laneEntries || l.bytes+size > t.laneBytes
	if !full {
		l.queue = append(l.queue, msg)
		l.bytes += size
		t.waiting++
		t.bytes += size
	}
	t.mu.Unlock()
	if full {
		t.metrics.dropped(t.Topic)
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take removes the oldest message from a lane; nil: it is empty.
func (t *topic) take(l *lane) *message.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue = nil
		return nil
	}
	msg := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.bytes -= len(msg.Payload)
	t.waiting--
	t.bytes -= len(msg.Payload)
	return msg
}

func (t *topic) run(ctx context.Context) {
	var group sync.WaitGroup
	for _, l := range t.lanes {
		group.Go(func() { t.empty(ctx, l) })
	}
	group.Wait()
}

func (t *topic) empty(ctx context.Context, l *lane) {
	for ctx.Err() == nil {
		if msg := t.take(l); msg != nil {
			t.publish(msg)
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
		}
	}
	for drained := time.Now().Add(t.cfg.Drain); time.Now().Before(drained); {
		msg := t.take(l)
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
		t.fails(msg, err)
		return
	}
	t.metrics.published(t.Topic)
	t.works()
}

// tellAgain is how often a failure that goes on is logged.
const tellAgain = time.Minute

func (t *topic) fails(msg *message.Message, err error) {
	t.mu.Lock()
	t.failing++
	failing, tell := t.failing, t.failing == 1 || time.Since(t.told) > tellAgain
	if tell {
		t.told = time.Now()
	}
	t.mu.Unlock()
	if tell {
		t.cfg.Logger.Warn("publishing failed; consumers find the entries in the log", "topic", t.Topic, "message", msg.UUID, "failed", failing, "error", err)
	}
}

func (t *topic) works() {
	t.mu.Lock()
	failed := t.failing
	t.failing = 0
	t.mu.Unlock()
	if failed > 0 {
		t.cfg.Logger.Info("publishing works again", "topic", t.Topic, "failed", failed)
	}
}
