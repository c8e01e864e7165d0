package watermill

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

// Kafka is a broker and the topic on it: a partition per shard, partition n for shard n, so that the entries of a shard
// come in order. Everything that decides whether a message arrives is set here, and nothing is left to defaults.
type Kafka struct {
	Brokers []string // host:port
	Topic   string
	Shards  int    // customer shards; the topic has at least one partition more
	Group   string // of the consumers that share the shards. Default: the topic's name
	Client  string // how the broker's log calls this process. Default: carryon

	User         string // empty: no authentication
	PasswordFile string // read at each connect, so that a password can be changed
	Mechanism    string // plain, scram-sha-256, scram-sha-512. Default: scram-sha-512
	CAFile       string // PEM of the authority that signed the brokers' certificates; not empty: TLS
	CertFile     string // PEM of a client certificate and its key; empty: none
	KeyFile      string

	// Dial connects to a broker at the address that it tells of itself. Default: that address.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Patience is how long a reader waits for an answer. While the group shares the partitions out anew, the broker answers
	// only when all have come, or those who died were given up: after 10 s for each of two questions. Default 25 s.
	Patience time.Duration

	// Of a topic that is made here.
	Replication int           // replicas of each partition. Default -1: as many as the broker says
	Retention   time.Duration // of messages; the log keeps the entries for ever. Default one day
}

// The protocol that is spoken: every broker from Kafka 2.8 on knows it, those of 4 included.
var kafkaVersion = sarama.V2_8_0_0

// ErrTopic: the topic does not fit the shards, and no waiting will change that.
var ErrTopic = errors.New("the topic does not fit")

func (k Kafka) withDefaults() Kafka {
	k.Group = cmp.Or(k.Group, k.Topic)
	k.Client = cmp.Or(k.Client, "carryon")
	k.Mechanism = cmp.Or(k.Mechanism, "scram-sha-512")
	k.Patience = cmp.Or(k.Patience, 25*time.Second)
	k.Replication = cmp.Or(k.Replication, -1)
	k.Retention = cmp.Or(k.Retention, 24*time.Hour)
	return k
}

func (k *Kafka) check() error {
	switch {
	case len(k.Brokers) == 0:
		return errors.New("kafka: no brokers are named")
	case k.Topic == "":
		return errors.New("kafka: no topic is named")
	case k.Shards < 1:
		return errors.New("kafka: Shards is less than 1")
	case k.User != "" && k.PasswordFile == "":
		return errors.New("kafka: a user needs a password file")
	}
	_, err := k.settings(newLines()) // whatever is wrong with the files shows now
	return err
}

// brokerDialer dials brokers for the client library, which gives no context.
type brokerDialer func(ctx context.Context, network, address string) (net.Conn, error)

// Dial connects.
func (d brokerDialer) Dial(network, address string) (net.Conn, error) {
	return d(context.Background(), network, address)
}

// settings are what both halves need of the client library.
func (k *Kafka) settings(connections *lines) (*sarama.Config, error) {
	c := sarama.NewConfig()
	c.ClientID, c.Version = k.Client, kafkaVersion
	c.ApiVersionsRequest = true
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout, c.Net.KeepAlive = 3*time.Second, 10*time.Second, 10*time.Second, 30*time.Second
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 2, 250*time.Millisecond
	c.Metadata.Timeout, c.Metadata.RefreshFrequency = 5*time.Second, time.Minute
	c.Metadata.AllowAutoTopicCreation = false // a topic of one partition is worse than none
	dial := (&net.Dialer{Timeout: c.Net.DialTimeout, KeepAlive: c.Net.KeepAlive}).DialContext
	if k.Dial != nil {
		dial = k.Dial
	}
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, connections.through(dial)
	if err := k.encrypt(c); err != nil {
		return nil, err
	}
	if err := k.authenticate(c); err != nil {
		return nil, err
	}
	return c, nil
}

func (k *Kafka) encrypt(c *sarama.Config) error {
	if k.CAFile == "" {
		if k.CertFile != "" || k.KeyFile != "" {
			return errors.New("kafka: a client certificate needs the brokers' authority, too")
		}
		return nil
	}
	pem, err := os.ReadFile(k.CAFile)
	if err != nil {
		return fmt.Errorf("kafka: reading the brokers' authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("kafka: %s holds no certificate", k.CAFile)
	}
	c.Net.TLS.Enable = true
	c.Net.TLS.Config = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if k.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(k.CertFile, k.KeyFile)
		if err != nil {
			return fmt.Errorf("kafka: reading the client certificate: %w", err)
		}
		c.Net.TLS.Config.Certificates = []tls.Certificate{certificate}
	}
	return nil
}

func (k *Kafka) authenticate(c *sarama.Config) error {
	if k.User == "" {
		return nil
	}
	password, err := os.ReadFile(k.PasswordFile)
	if err != nil {
		return fmt.Errorf("kafka: reading the password: %w", err)
	}
	c.Net.SASL.Enable, c.Net.SASL.Handshake, c.Net.SASL.Version = true, true, sarama.SASLHandshakeV1
	c.Net.SASL.User, c.Net.SASL.Password = k.User, strings.TrimRight(string(password), "\r\n")
	switch k.Mechanism {
	case "plain":
		c.Net.SASL.Mechanism = sarama.SASLTypePlaintext
	case "scram-sha-256":
		c.Net.SASL.Mechanism, c.Net.SASL.SCRAMClientGeneratorFunc = sarama.SASLTypeSCRAMSHA256, newScram256
	case "scram-sha-512":
		c.Net.SASL.Mechanism, c.Net.SASL.SCRAMClientGeneratorFunc = sarama.SASLTypeSCRAMSHA512, newScram512
	default:
		return fmt.Errorf("kafka: the mechanism %q is none of plain, scram-sha-256, scram-sha-512", k.Mechanism)
	}
	return nil
}

// producing are the settings for publishing: every in-sync replica has a message before it counts as published, and none
// is doubled by a repeated request.
func (k *Kafka) producing(connections *lines) (*sarama.Config, error) {
	c, err := k.settings(connections)
	if err != nil {
		return nil, err
	}
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
	c.Producer.Timeout = 5 * time.Second
	c.Producer.Retry.Max, c.Producer.Retry.Backoff = 5, 200*time.Millisecond
	c.Producer.Return.Successes, c.Producer.Return.Errors = true, true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.MaxMessageBytes = largestRecord
	c.Producer.Compression = sarama.CompressionNone // an entry comes compressed out of its codec
	return c, nil
}

// largestRecord is what the topic takes: twice the largest message, so that headers never matter.
const largestRecord = 1 << 20

func (k *Kafka) publisher(cfg Config, connections *lines) (message.Publisher, error) {
	c, err := k.producing(connections)
	if err != nil {
		return nil, err
	}
	p, err := kafka.NewPublisher(kafka.PublisherConfig{Brokers: k.Brokers, Marshaler: marshaler{}, OverwriteSaramaConfig: c}, cfg.watermillLogger())
	if err != nil {
		return nil, fmt.Errorf("connecting to Kafka at %s: %w", strings.Join(k.Brokers, ","), err)
	}
	return p, nil
}

// consuming are the settings for reading as one of the group. Who begins without an offset, or with one that is gone,
// begins with what comes next: the log has what was before.
func (k *Kafka) consuming(connections *lines) (*sarama.Config, error) {
	c, err := k.settings(connections)
	if err != nil {
		return nil, err
	}
	c.Net.ReadTimeout = k.Patience
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetNewest
	c.Consumer.Offsets.AutoCommit.Enable, c.Consumer.Offsets.AutoCommit.Interval = true, time.Second
	c.Consumer.Group.ResetInvalidOffsets = true
	c.Consumer.Group.Session.Timeout, c.Consumer.Group.Heartbeat.Interval = 10*time.Second, 3*time.Second
	c.Consumer.Group.Rebalance.Timeout = 10 * time.Second // handling a message is handing it over: a moment
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	c.Consumer.Fetch.Min, c.Consumer.Fetch.Default, c.Consumer.Fetch.Max = 1, 1<<20, 8<<20
	c.Consumer.MaxWaitTime = 500 * time.Millisecond
	c.ChannelBufferSize = 16 // messages per partition that wait here; they are large
	return c, nil
}

// subscriber tells watch which partitions it is given.
func (k *Kafka) subscriber(cfg Config, watch kafka.SaramaTracer, connections *lines) (message.Subscriber, error) {
	c, err := k.consuming(connections)
	if err != nil {
		return nil, err
	}
	s, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: k.Brokers, Unmarshaler: marshaler{}, OverwriteSaramaConfig: c, ConsumerGroup: k.Group,
		NackResendSleep: kafka.NoSleep, ReconnectRetrySleep: 500 * time.Millisecond, Tracer: watch,
	}, cfg.watermillLogger())
	if err != nil {
		return nil, fmt.Errorf("subscribing at Kafka: %w", err)
	}
	return s, nil
}

// prepare makes the topic, or finds out whether the one that is there will do. An error that wraps ErrTopic is final;
// any other means that the broker can't be asked now.
func (k *Kafka) prepare(ctx context.Context, connections *lines) error {
	c, err := k.settings(connections)
	if err != nil {
		return err
	}
	c.Admin.Timeout, c.Admin.Retry.Max = 5*time.Second, 2
	admin, err := sarama.NewClusterAdmin(k.Brokers, c)
	if err != nil {
		return fmt.Errorf("connecting to Kafka at %s: %w", strings.Join(k.Brokers, ","), err)
	}
	defer func() { _ = admin.Close() }() // nothing is lost with it
	for first := true; ; first = false {
		partitions, err := k.partitions(admin)
		switch {
		case err == nil && partitions < k.Shards+1:
			return fmt.Errorf("kafka topic %s has %d partitions, %d shards need %d: %w", k.Topic, partitions, k.Shards, k.Shards+1, ErrTopic)
		case err == nil:
			return nil
		case !errors.Is(err, sarama.ErrUnknownTopicOrPartition):
			return fmt.Errorf("looking at kafka topic %s: %w", k.Topic, err)
		case first:
			if err := k.create(admin); err != nil {
				return err
			}
		}
		pause := time.NewTimer(50 * time.Millisecond) // until the topic that was made is known everywhere
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("waiting for kafka topic %s: %w", k.Topic, context.Cause(ctx))
		}
	}
}

func (k *Kafka) partitions(admin sarama.ClusterAdmin) (int, error) {
	topics, err := admin.DescribeTopics([]string{k.Topic})
	if err != nil {
		return 0, err
	}
	if len(topics) != 1 {
		return 0, fmt.Errorf("the broker described %d topics", len(topics))
	}
	if topics[0].Err != sarama.ErrNoError {
		return 0, topics[0].Err
	}
	return len(topics[0].Partitions), nil
}

func (k *Kafka) create(admin sarama.ClusterAdmin) error {
	retention, largest := strconv.FormatInt(k.Retention.Milliseconds(), 10), strconv.Itoa(largestRecord)
	err := admin.CreateTopic(k.Topic, &sarama.TopicDetail{
		NumPartitions: int32(k.Shards) + 1, ReplicationFactor: int16(k.Replication), //nolint:gosec // both small
		ConfigEntries: map[string]*string{"retention.ms": &retention, "max.message.bytes": &largest},
	}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return fmt.Errorf("making kafka topic %s: %w", k.Topic, err)
	}
	return nil
}

// marshaler turns messages into Kafka's and back. What it can't read it passes on as it is: an error here would stop
// the partition for ever.
type marshaler struct{}

var _ kafka.MarshalerUnmarshaler = marshaler{}

// Marshal sends a message to the partition of its shard.
func (marshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	named, err := readHint(msg)
	if err != nil {
		return nil, err
	}
	m := &sarama.ProducerMessage{Topic: topic, Partition: int32(named.shard)} //nolint:gosec // a shard's number
	if len(msg.Payload) > 0 {
		m.Value = sarama.ByteEncoder(msg.Payload)
	}
	m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(kafka.UUIDHeaderKey), Value: []byte(msg.UUID)})
	for key, value := range msg.Metadata {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(key), Value: []byte(value)})
	}
	return m, nil
}

// Unmarshal never fails.
func (marshaler) Unmarshal(m *sarama.ConsumerMessage) (*message.Message, error) {
	msg := message.NewMessage("", m.Value)
	for _, h := range m.Headers {
		switch {
		case h == nil:
		case string(h.Key) == kafka.UUIDHeaderKey:
			msg.UUID = string(h.Value)
		default:
			msg.Metadata.Set(string(h.Key), string(h.Value))
		}
	}
	if msg.UUID == "" {
		msg.UUID = fmt.Sprintf("%s/%d/%d", m.Topic, m.Partition, m.Offset)
	}
	return msg, nil
}
