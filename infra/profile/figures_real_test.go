//go:build real

package profile

// The figures of the distributed profile, each against the bare servers in the same run.
//
//	eval "$(scripts/stack/stack env)"; go test -tags real ./infra/profile -run '^$' -bench FigureServers -benchtime 1x -timeout 60m

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/gocql/gocql"
	"github.com/jackc/pgx/v5/pgxpool"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
	"carryon/query"
)

// openServers opens a process of the distributed profile in this one.
func openServers(b *testing.B, flags map[string]string, roles string) *System {
	b.Helper()
	flags = maps.Clone(flags)
	flags["data"], flags["listen"], flags["internal-listen"], flags["roles"] = b.TempDir(), "127.0.0.1:0", "127.0.0.1:0", roles
	c, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		b.Fatal(err)
	}
	s, err := OpenDistributed(b.Context(), c, cli.OpenOptions{Serves: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeFigure(b, s) })
	if s.has(command.RoleCommand) {
		if err := s.writer.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.join(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for _, end := range []func(context.Context) error{s.depart, s.closeWriters, s.leave} {
			if err := end(ctx); err != nil {
				b.Error(err)
			}
		}
	})
	return s
}

// shared waits until each of the processes owns shards.
func shared(b *testing.B, all ...*System) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for _, s := range all {
		for owns := false; !owns; {
			for shard := range s.layout.customerShards {
				_, here := s.peers.Owner(shard + 1)
				name, _ := all[0].peers.Owner(shard + 1)
				owns = owns || here && name == s.name
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				b.Fatalf("%s never owned a shard", s.name)
			}
		}
	}
}

// bareServers does without Carryon what a plain program would: one conditional batch for the events of one command.
type bareServers struct {
	session *gocql.Session
	rows    [][]byte // payloads of real events
	each    int      // events of a command
	mu      sync.Mutex
	heads   map[int]int64
}

const bareCustomers = 20_000

func openBareServers(b *testing.B, flags map[string]string, rows []domain.Event, each int) *bareServers {
	b.Helper()
	d := gocql.NewCluster(strings.Split(flags["cassandra"], ",")...)
	d.Keyspace, d.Timeout, d.ProtoVersion, d.WriteCoalesceWaitTime, d.NumConns = flags["cassandra-keyspace"], 30*time.Second, 4, 0, 2
	s, err := d.CreateSession()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	if err := s.Query(`CREATE TABLE IF NOT EXISTS bare (stream text, seq bigint, event blob, head bigint static, PRIMARY KEY (stream, seq))`).Exec(); err != nil {
		b.Fatal(err)
	}
	p := &bareServers{session: s, each: each, heads: map[int]int64{}}
	for i := range rows {
		p.rows = append(p.rows, rows[i].Payload)
	}
	return p
}

// append is the n-th command.
func (p *bareServers) append(ctx context.Context, n int) error {
	customer := n % bareCustomers
	stream := "bare-" + strconv.Itoa(customer)
	p.mu.Lock()
	head := p.heads[customer]
	p.heads[customer] = head + int64(p.each)
	p.mu.Unlock()
	var before any
	if head > 0 {
		before = head
	}
	batch := p.session.NewBatch(gocql.UnloggedBatch).WithContext(ctx)
	batch.Query(`UPDATE bare SET head = ? WHERE stream = ? IF head = ?`, head+int64(p.each), stream, before)
	for i := range p.each {
		batch.Query(`INSERT INTO bare (stream, seq, event) VALUES (?, ?, ?)`, stream, head+int64(i)+1, p.rows[(n*p.each+i)%len(p.rows)])
	}
	applied, _, err := p.session.MapExecuteBatchCAS(batch, make(map[string]any))
	if err == nil && !applied {
		err = fmt.Errorf("command %d was not applied", n)
	}
	return err
}

// syncMode is how the servers' commit log is written.
func (p *bareServers) syncMode(b *testing.B) (mode string) {
	b.Helper()
	if err := p.session.Query(`SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'`).Scan(&mode); err != nil {
		b.Fatal(err)
	}
	return mode
}

// rest waits until the servers have merged what was written before: what one load left behind is not charged to the next.
// Two fifths of Cassandra's samples in a recording made while commands were measured were that: rows that conditional batches
// for each command leave in its own tables.
func (p *bareServers) rest(b *testing.B) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for quiet := 0; quiet < 5; {
		var task string
		rows := p.session.Query(`SELECT kind FROM system_views.sstable_tasks`).WithContext(ctx).Iter()
		if quiet++; rows.Scan(&task) {
			quiet = 0
		}
		if err := rows.Close(); err != nil {
			b.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Fatalf("the servers do not come to rest: %s", task)
		}
	}
}

// BenchmarkFigureServersCommands: commands through the handlers, loading and deciding and signing in them, on distinct
// customers, against one bare conditional batch for each command on the same servers a moment later.
func BenchmarkFigureServersCommands(b *testing.B) {
	flags := Provision(b, 1)
	first := openServers(b, flags, "command")
	c := newCrowd(b, first, "f", bareCustomers)
	c.flatOut(b, figureCallers, figureSeconds()/2) // warm
	rows := figureRows(b, first)
	bare := openBareServers(b, flags, rows, max(1, (len(rows)+c.commandsIn(rows)/2)/max(1, c.commandsIn(rows))))
	var next atomic.Int64
	against := func(b *testing.B, callers int) {
		bare.rest(b)
		before := figureEntries(b, first)
		commands, events, latency := c.flatOut(b, callers, figureSeconds())
		claims := float64(figureEntries(b, first)-before) / figureSeconds().Seconds()
		bare.rest(b)
		done, lasted, plain := asFastAs(b, callers, figureSeconds(), 1, func(*rand.Rand, int) error { return bare.append(b.Context(), int(next.Add(1))) })
		rate := float64(done) / lasted.Seconds()
		b.ReportMetric(commands, "commands/s")
		b.ReportMetric(events, "events/s")
		b.ReportMetric(ms(latency.Quantile(0.5)), "p50-ms")
		b.ReportMetric(ms(latency.Quantile(0.99)), "p99-ms")
		b.ReportMetric(commands/claims, "commands/claim")
		b.ReportMetric(claims, "claims/s")
		b.ReportMetric(rate, "bare/s")
		b.ReportMetric(ms(plain.Quantile(0.5)), "bare-p50-ms")
		b.ReportMetric(ms(plain.Quantile(0.99)), "bare-p99-ms")
		b.ReportMetric(commands/rate, "of-bare")
		b.ReportMetric(float64(latency.Quantile(0.5))/float64(plain.Quantile(0.5)), "p50-of-bare")
		b.ReportMetric(0, "ns/op")
	}
	asFastAs(b, figureCallers, figureSeconds()/2, 1, func(*rand.Rand, int) error { return bare.append(b.Context(), int(next.Add(1))) }) // warm
	for _, processes := range []int{1, 2} {
		if processes == 2 {
			second := openServers(b, flags, "command")
			shared(b, first, second)
			c.apps = append(c.apps, second.app)
			c.flatOut(b, figureCallers, figureSeconds()/2) // warm
		}
		for _, callers := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("sync=%s/processes=%d/callers=%d", bare.syncMode(b), processes, callers), func(b *testing.B) { against(b, callers) })
		}
	}
}

// figureEntries is the number of entries in all shards.
func figureEntries(b *testing.B, s *System) (sum uint64) {
	b.Helper()
	heads, err := s.Heads(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, head := range heads {
		sum += head.Index
	}
	return sum
}

// figureRows are recorded events of customers.
func figureRows(b *testing.B, s *System) []domain.Event {
	b.Helper()
	rows := someEvents(b, s, 50_000)
	for i, e := range rows { // the plans are set beforehand
		if e.Type == "LicenseIssued" {
			return rows[i:]
		}
	}
	b.Fatal("nothing was issued")
	return nil
}

// commandsIn counts the commands that recorded events.
func (*crowd) commandsIn(rows []domain.Event) int {
	ids := map[string]bool{}
	for i := range rows {
		ids[rows[i].CommandID] = true
	}
	return len(ids)
}

// BenchmarkFigureServersVisible: from the answer to a command until a question to Postgres and to Elasticsearch has it,
// at half of the top rate, against a loop that does without Carryon: a conditional batch, a message that all replicas
// have, a consumer that inserts the rows and commits, each of them a command's.
func BenchmarkFigureServersVisible(b *testing.B) {
	flags := Provision(b, 1)
	s := openServers(b, flags, "command,projector,query")
	stop := sync.OnceFunc(startProjectors(b, s))
	defer stop()
	c := newCrowd(b, s, "v", bareCustomers)
	top := c.sustained(b, s)
	ask := map[string]func(ctx context.Context, r command.Result) error{
		"postgres": func(ctx context.Context, r command.Result) error {
			_, err := s.queries.Timeline.Handle(ctx, query.Timeline{By: operator, Customer: r.Stream.ID(), Consistency: query.Consistency{MinVersion: r.Version}})
			return err
		},
		"elasticsearch": func(ctx context.Context, r command.Result) error {
			_, err := s.queries.SearchEvents.Handle(ctx, query.SearchEvents{By: operator, Filter: query.Filter{Customer: []string{r.Stream.ID()}}, MinPosition: r.Position})
			return err
		},
	}
	measured := func(b *testing.B, name string) *simulate.Histogram {
		b.Helper()
		var visible simulate.Histogram
		var mu sync.Mutex
		var count, failed atomic.Int64
		c.paced(b, top/2, figureSeconds(), func(r command.Result, answered time.Time) {
			if count.Add(1)%20 != 0 {
				return
			}
			ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
			defer cancel()
			if err := ask[name](ctx, r); err != nil {
				failed.Add(1)
				b.Log(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			visible.Add(time.Since(answered))
		})
		if failed.Load() > 0 {
			b.Fatalf("%d reads failed", failed.Load())
		}
		return &visible
	}
	for _, name := range []string{"postgres", "elasticsearch"} {
		b.Run(name, func(b *testing.B) {
			measured(b, name) // warm: the loop without Carryon is measured warm, too
			visible := measured(b, name)
			b.ReportMetric(top/2, "commands/s")
			reportVisible(b, visible)
		})
	}
	rows := figureRows(b, s)
	stop()
	b.Run("bare", func(b *testing.B) { bareVisible(b, flags, rows) })
}

var operator = query.Caller{Actor: domain.Actor{ID: "figure", Role: domain.RoleOperator}}

func reportVisible(b *testing.B, visible *simulate.Histogram) {
	b.Helper()
	b.ReportMetric(ms(visible.Quantile(0.5)), "p50-ms")
	b.ReportMetric(ms(visible.Quantile(0.99)), "p99-ms")
	b.ReportMetric(ms(visible.Max()), "max-ms")
	b.ReportMetric(0, "ns/op")
}

// bareVisible is that loop.
func bareVisible(b *testing.B, flags map[string]string, rows []domain.Event) {
	const partitions = 4
	each := 2
	store := openBareServers(b, flags, rows, each)
	topic := flags["kafka-topic"] + "-bare"
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Producer.RequiredAcks, c.Producer.Return.Successes, c.Producer.Partitioner = sarama.WaitForAll, true, sarama.NewManualPartitioner
	brokers := strings.Split(flags["kafka"], ",")
	admin, err := sarama.NewClusterAdmin(brokers, c)
	if err != nil {
		b.Fatal(err)
	}
	defer admin.Close()
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = admin.DeleteTopic(topic) }()
	pool, err := pgxpool.New(b.Context(), flags["postgres"])
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(b.Context(), `CREATE TABLE bare (command bigint, place int, event bytea, PRIMARY KEY (command, place))`); err != nil {
		b.Fatal(err)
	}
	producer, err := sarama.NewSyncProducer(brokers, c)
	if err != nil {
		b.Fatal(err)
	}
	defer producer.Close()
	consumer, err := sarama.NewConsumer(brokers, c)
	if err != nil {
		b.Fatal(err)
	}
	defer consumer.Close()
	var mu sync.Mutex
	answered := map[int64]time.Time{}
	committed := map[int64]time.Time{}
	var visible simulate.Histogram
	seen := func(n int64) { // under mu
		from, ok := answered[n]
		to, done := committed[n]
		if ok && done {
			visible.Add(max(0, to.Sub(from)))
			delete(answered, n)
			delete(committed, n)
		}
	}
	var reading sync.WaitGroup
	var parts []sarama.PartitionConsumer
	defer func() {
		for _, part := range parts {
			part.AsyncClose()
		}
		reading.Wait()
	}()
	for p := range int32(partitions) {
		part, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		if err != nil {
			b.Fatal(err)
		}
		reading.Go(func() {
			for m := range part.Messages() {
				n := int64(binary.BigEndian.Uint64(m.Value)) //nolint:gosec // it was written so
				tx, err := pool.Begin(context.Background())
				if err == nil {
					for i := 0; i < each && err == nil; i++ {
						_, err = tx.Exec(context.Background(), `INSERT INTO bare VALUES ($1, $2, $3)`, n, i, store.rows[(int(n)*each+i)%len(store.rows)])
					}
					err = errors.Join(err, tx.Commit(context.Background()))
				}
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				committed[n] = time.Now()
				seen(n)
				mu.Unlock()
			}
		})
		parts = append(parts, part)
	}
	var next atomic.Int64
	one := func(record func()) error {
		n := next.Add(1)
		if err := store.append(b.Context(), int(n)); err != nil {
			return err
		}
		mu.Lock()
		answered[n] = time.Now()
		mu.Unlock()
		payload := append(binary.BigEndian.AppendUint64(nil, uint64(n)), store.rows[int(n)%len(store.rows)]...) //nolint:gosec // a count
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: int32(n % partitions), Value: sarama.ByteEncoder(payload)})
		record()
		mu.Lock()
		seen(n)
		mu.Unlock()
		return err
	}
	done, lasted, _ := asFastAs(b, figureCallers, figureSeconds(), 1, func(*rand.Rand, int) error { return one(func() {}) })
	drained := func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for left := 1; left > 0; <-tick.C {
			mu.Lock()
			left = len(answered)
			mu.Unlock()
		}
	}
	drained()
	mu.Lock()
	visible = simulate.Histogram{}
	mu.Unlock()
	top := float64(done) / lasted.Seconds()
	atPace(b, top/2, figureSeconds(), 1, func(_ *rand.Rand, _ int, record func()) {
		if err := one(record); err != nil {
			b.Error(err)
		}
	})
	drained()
	b.ReportMetric(top/2, "commands/s")
	mu.Lock()
	defer mu.Unlock()
	reportVisible(b, &visible)
}
