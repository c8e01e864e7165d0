//go:build real

package cassandra_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"github.com/google/uuid"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
	"carryon/infra/codec/sample"
	"carryon/infra/conformance"
)

// figureTime is the length of one phase.
func figureTime(b *testing.B) time.Duration {
	b.Helper()
	text := os.Getenv("FIGURE_TIME")
	if text == "" {
		return 8 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// rate is what a number of callers got, each repeating one thing.
type rate struct {
	perSecond float64
	p50, p99  time.Duration
}

func run(b *testing.B, callers int, d time.Duration, once func(ctx context.Context, caller int) error) rate {
	b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	begun := time.Now()
	for caller := range callers {
		group.Go(func() {
			var took []time.Duration
			for time.Since(begun) < d {
				from := time.Now()
				if err := once(b.Context(), caller); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(from))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	group.Wait()
	lasted := time.Since(begun)
	if len(all) == 0 {
		b.Fatal("nothing was done")
	}
	slices.Sort(all)
	return rate{float64(len(all)) / lasted.Seconds(), all[len(all)/2], all[len(all)*99/100]}
}

func (r rate) report(b *testing.B, name string) {
	b.Helper()
	b.ReportMetric(r.perSecond, name+"/s")
	b.ReportMetric(float64(r.p50.Microseconds())/1000, name+"-p50-ms")
	b.ReportMetric(float64(r.p99.Microseconds())/1000, name+"-p99-ms")
}

const figurePayload = 300

// bare is the usual way: a table of events by customer, and one conditional batch for each command.
type bare struct {
	session *gocql.Session
	heads   []int64
	filler  []byte
}

func newBare(b *testing.B, cfg cassandra.Config, callers int) *bare {
	b.Helper()
	d := gocql.NewCluster(cfg.Hosts...)
	d.Keyspace, d.Timeout, d.ProtoVersion, d.WriteCoalesceWaitTime = cfg.Keyspace, 30*time.Second, 4, 0
	s, err := d.CreateSession()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	for _, statement := range []string{
		`CREATE TABLE IF NOT EXISTS bare (stream text, seq bigint, event blob, head bigint static, PRIMARY KEY (stream, seq))`,
		`CREATE TABLE IF NOT EXISTS plain (stream text, seq bigint, event blob, PRIMARY KEY (stream, seq))`,
	} {
		if err := s.Query(statement).Exec(); err != nil {
			b.Fatal(err)
		}
	}
	return &bare{s, make([]int64, callers), noise(figurePayload)}
}

func (p *bare) conditional(ctx context.Context, caller int) error {
	head := p.heads[caller]
	stream := fmt.Sprintf("c-%d-%d", len(p.heads), caller)
	var before any
	if head > 0 {
		before = head
	}
	batch := p.session.NewBatch(gocql.UnloggedBatch).WithContext(ctx)
	batch.Query(`UPDATE bare SET head = ? WHERE stream = ? IF head = ?`, head+1, stream, before)
	batch.Query(`INSERT INTO bare (stream, seq, event) VALUES (?, ?, ?)`, stream, head+1, p.filler)
	applied, _, err := p.session.MapExecuteBatchCAS(batch, make(map[string]any))
	if err == nil && !applied {
		err = fmt.Errorf("event %d of %s was not applied", head+1, stream)
	}
	p.heads[caller]++
	return err
}

func (p *bare) plain(ctx context.Context, caller int) error {
	p.heads[caller]++
	return p.session.Query(`INSERT INTO plain (stream, seq, event) VALUES (?, ?, ?)`, fmt.Sprintf("c-%d", caller), p.heads[caller], p.filler).WithContext(ctx).Exec()
}

// logOnly leaves the histories out.
type logOnly struct{ command.Histories }

func (logOnly) Derive(context.Context, []domain.Entry) error { return nil }

// BenchmarkFigureClaims is the shard writer over four shards, with a domain that costs next to nothing, against one bare
// conditional batch for each command and against one plain write for each, on the same server, one after the other.
func BenchmarkFigureClaims(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			cfg := newKeyspace(b)
			cfg.Layout.Shards, cfg.Connections = 4, 2
			s := open(b, cfg)
			d := figureTime(b)
			base := newBare(b, cfg, callers)
			run(b, callers, d/8, base.conditional) // warm
			conditional := run(b, callers, d, base.conditional)
			plain := run(b, callers, d, newBare(b, cfg, callers).plain)
			whole, perClaim := commands(b, s, s, "whole", callers, d)
			bareLog, _ := commands(b, s, logOnly{s}, "log", callers, d)
			conditional.report(b, "bare")
			plain.report(b, "plain")
			whole.report(b, "writer")
			bareLog.report(b, "writer-without-histories")
			b.ReportMetric(perClaim, "commands/claim")
			b.ReportMetric(whole.perSecond/conditional.perSecond, "of-bare")
			b.ReportMetric(float64(whole.p50)/float64(conditional.p50), "p50-of-bare")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// commands lets callers give commands to a writer, each to streams of his own.
func commands(b *testing.B, s *cassandra.Store, h command.Histories, prefix string, callers int, d time.Duration) (rate, float64) {
	b.Helper()
	w, err := command.NewWriter(command.WriterConfig{Name: prefix, Shards: s.Layout().Shards}, command.WriterPorts{
		Log: s, Histories: h, Snapshots: s, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	w.Start()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			b.Error(err)
		}
	}()
	ready, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := w.Ready(ready); err != nil {
		b.Fatal(err)
	}
	filler := string(noise(figurePayload - 40))
	once := func(ctx context.Context, caller int) error {
		_, err := w.Submit(ctx, command.Submission{
			Stream: domain.CustomerStream(fmt.Sprint(prefix, "-", caller)), RequestHash: "h", Decider: conformance.Add{Amount: 1, Filler: filler},
			Meta: command.Meta{CommandID: uuid.Must(uuid.NewV7()).String(), Actor: domain.Actor{ID: "figure", Role: domain.RoleService}},
		})
		return err
	}
	run(b, callers, d/8, once) // warm
	before := heads(b, s)
	r := run(b, callers, d, once)
	return r, r.perSecond * d.Seconds() / float64(max(1, heads(b, s)-before))
}

// heads is the number of entries in all shards.
func heads(b *testing.B, s *cassandra.Store) (sum uint64) {
	b.Helper()
	for shard := range s.Layout().Shards + 1 {
		head, err := s.Head(b.Context(), shard)
		if err != nil {
			b.Fatal(err)
		}
		sum += head.Index
	}
	return sum
}

// BenchmarkFigureDisk is what an event takes on disk, with entries like those of real handlers.
// CARRYON_TEST_NODETOOL is how nodetool is run.
func BenchmarkFigureDisk(b *testing.B) {
	for _, commands := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("commands/entry=", commands), func(b *testing.B) {
			cfg := newKeyspace(b)
			s := open(b, cfg)
			wanted := min(40_000, 4_000*commands) // one claim comes after the other
			source := sample.NewSource(1, 2000, 7)
			events, payload := 0, 0
			for events < wanted {
				var some []domain.Entry
				for range 16 {
					e := source.Next(commands)
					claim(b, s, e)
					some = append(some, *e)
					events += len(e.Events)
					for i := range e.Events {
						payload += len(e.Events[i].Payload)
					}
				}
				if err := s.Derive(b.Context(), some); err != nil {
					b.Fatal(err)
				}
			}
			nodetool(b, "flush", cfg.Keyspace)
			nodetool(b, "compact", cfg.Keyspace)
			for _, table := range []string{"log", "history"} {
				b.ReportMetric(spaceUsed(b, cfg.Keyspace, table)/float64(events), table+"-bytes/event")
			}
			b.ReportMetric(float64(payload)/float64(events), "payload-bytes/event")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func nodetool(b *testing.B, args ...string) string {
	b.Helper()
	words := strings.Fields(os.Getenv("CARRYON_TEST_NODETOOL"))
	if len(words) == 0 {
		b.Fatal("CARRYON_TEST_NODETOOL is not set: it is how nodetool is run, as in 'scripts/stack/cassandra/cassandra nodetool'")
	}
	out, err := exec.CommandContext(b.Context(), words[0], append(words[1:], args...)...).CombinedOutput()
	if err != nil {
		b.Fatalf("nodetool %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func spaceUsed(b *testing.B, keyspace, table string) float64 {
	b.Helper()
	text := nodetool(b, "tablestats", "-F", "json", keyspace+"."+table)
	var stats map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &stats); err != nil {
		b.Fatalf("%v in %s", err, text)
	}
	var in struct {
		Tables map[string]struct {
			Live string `json:"space_used_live"`
		} `json:"tables"`
	}
	if err := json.Unmarshal(stats[keyspace], &in); err != nil {
		b.Fatal(err)
	}
	bytes, err := strconv.ParseFloat(in.Tables[table].Live, 64)
	if err != nil {
		b.Fatalf("%v in %s", err, text)
	}
	return bytes
}

// BenchmarkFigureLoading is the first command of a process for a customer with a long history, and for one with a
// short one: loading, and one claim.
func BenchmarkFigureLoading(b *testing.B) {
	cfg := newKeyspace(b)
	cfg.Layout.Shards = 1
	s := open(b, cfg)
	const short, long = 100, 100_000
	filling, stop := newFigureWriter(b, s)
	for stream, events := range map[domain.StreamID]int{"customer/short": short, "customer/long": long} {
		for n := 0; n < events; n += 100 {
			submit(b, filling, stream, 100)
		}
	}
	stop()
	took := map[domain.StreamID][]time.Duration{}
	for range 30 {
		for _, stream := range []domain.StreamID{"customer/short", "customer/long", "customer/none"} {
			w, stop := newFigureWriter(b, s)
			begun := time.Now()
			submit(b, w, stream, 1)
			took[stream] = append(took[stream], time.Since(begun))
			stop()
		}
	}
	middle := func(stream domain.StreamID) float64 {
		slices.Sort(took[stream])
		return float64(took[stream][len(took[stream])/2].Microseconds()) / 1000
	}
	b.ReportMetric(middle("customer/short"), "ms@100")
	b.ReportMetric(middle("customer/long"), "ms@100000")
	b.ReportMetric(middle("customer/long")/middle("customer/short"), "long/short")
	b.ReportMetric(0, "ns/op")
}

func newFigureWriter(b *testing.B, s *cassandra.Store) (w *command.Writer, stop func()) {
	b.Helper()
	w, err := command.NewWriter(command.WriterConfig{Name: uuid.NewString(), Shards: s.Layout().Shards}, command.WriterPorts{
		Log: s, Histories: s, Snapshots: s, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	w.Start()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := w.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	return w, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			b.Error(err)
		}
	}
}

func submit(b *testing.B, w *command.Writer, stream domain.StreamID, events int) {
	b.Helper()
	_, err := w.Submit(b.Context(), command.Submission{
		Stream: stream, RequestHash: "h", Decider: conformance.Add{Amount: 1, Events: events},
		Meta: command.Meta{CommandID: uuid.Must(uuid.NewV7()).String(), Actor: domain.Actor{ID: "figure", Role: domain.RoleService}},
	})
	if err != nil {
		b.Fatal(err)
	}
}
