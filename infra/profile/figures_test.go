package profile

// The figures of the README, measured against the bare engine in the same run. Run them with scripts/bench; each is a
// benchmark that does its own pacing, so b.N stays 1.

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/sqlite"
	"carryon/projector"
	"carryon/query"
)

const (
	figureCallers = 64
	figureTurns   = 4 // of what is compared
)

func figureSeconds() time.Duration { return envDuration("FIGURE_TIME", 8*time.Second) }

func envDuration(name string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(os.Getenv(name)); err == nil {
		return d
	}
	return otherwise
}

func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func openFigure(b *testing.B, dir string) *System {
	b.Helper()
	return openFigureAt(b, dir, nil)
}

func openFigureAt(b *testing.B, dir string, clock command.Clock) *System {
	b.Helper()
	s, err := OpenEmbedded(b.Context(), must(loadConfig(dir)), cli.OpenOptions{Clock: clock, Serves: true})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func loadConfig(dir string) (*config.Config, error) {
	return config.Load(config.Sources{Flags: map[string]string{"data": dir, "listen": "127.0.0.1:0"}})
}

func closeFigure(b *testing.B, s *System) {
	b.Helper()
	if err := s.Close(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
}

// crowd are customers who acquire and give back, each a sequence of its own.
type crowd struct {
	apps   []*command.App // of the processes that take its commands
	next   int            // customer that comes next: a run goes on where the one before ended
	runs   uint64         // which draw different titles
	titles []string
	ids    []string
	events atomic.Int64
	failed atomic.Int64
	why    atomic.Pointer[error] // of the first failure
	clock  command.Clock
}

func newCrowd(b *testing.B, s *System, prefix string, customers int) *crowd {
	b.Helper()
	c := &crowd{apps: []*command.App{s.app}, clock: s.clock}
	for title := range s.catalogue.Catalogue().All {
		if title.Kind == domain.KindMovie && title.Downloadable && len(title.Windows) == 1 && len(title.Windows[0].Countries) == 0 &&
			title.Windows[0].From.IsZero() && title.Windows[0].To.IsZero() && title.Studio == "house" {
			c.titles = append(c.titles, title.ID)
		}
	}
	var group sync.WaitGroup
	var next atomic.Int64
	for i := range customers {
		c.ids = append(c.ids, fmt.Sprintf("%s%06d", prefix, i))
	}
	for n := range figureCallers {
		random := rand.New(rand.NewPCG(1, uint64(n))) //nolint:gosec // a load
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < customers; i = int(next.Add(1)) - 1 {
				_, err := s.app.ChangePlan(b.Context(), command.ChangePlan{Meta: c.meta(random, domain.RoleService), Customer: c.ids[i], Plan: "premium", Country: "US"})
				if err != nil {
					c.failed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if c.failed.Load() > 0 {
		b.Fatalf("%d plans were not set", c.failed.Load())
	}
	return c
}

func (c *crowd) meta(random *rand.Rand, role domain.Role) command.Meta {
	return command.Meta{CommandID: simulate.NewKey(c.clock(), random), Actor: domain.Actor{ID: "figure", Role: role}}
}

// one lets a customer do one thing: acquire a title, or once in a while give one back.
func (c *crowd) one(ctx context.Context, random *rand.Rand, customer string) (command.Result, error) {
	r, err := c.apps[random.IntN(len(c.apps))].AcquireLicense(ctx, command.AcquireLicense{
		Meta: c.meta(random, domain.RoleDevice), Customer: customer, TitleID: c.titles[random.IntN(len(c.titles))],
		DeviceID: customer + "-d", DeviceType: "ipad",
	})
	if err == nil && r.Refused() {
		err = fmt.Errorf("refused: %s", r.Decision.Code)
	}
	if err != nil {
		c.failed.Add(1)
		c.why.CompareAndSwap(nil, &err)
		return r, err
	}
	c.events.Add(int64(len(r.Events)))
	return r, nil
}

// flatOut runs as fast as answers come, and answers commands and events a second, and how long the answers took.
func (c *crowd) flatOut(b *testing.B, callers int, d time.Duration) (commands, events float64, latency *simulate.Histogram) {
	b.Helper()
	before := c.events.Load()
	customer := c.begin()
	done, lasted, latency := asFastAs(b, callers, d, c.runs, func(random *rand.Rand, n int) error {
		_, err := c.one(b.Context(), random, customer(n))
		return err
	})
	c.next += int(done)
	if c.failed.Load() > 0 {
		b.Fatalf("%d commands failed, the first with: %v", c.failed.Load(), *c.why.Load())
	}
	return float64(done) / lasted.Seconds(), float64(c.events.Load()-before) / lasted.Seconds(), latency
}

// sustained is the rate of commands that the read models keep up with: those of a while, over the time until all of them
// are shown.
func (c *crowd) sustained(b *testing.B, s *System) float64 {
	b.Helper()
	begin := time.Now()
	commands, _, _ := c.flatOut(b, figureCallers, figureSeconds())
	if err := s.CatchUp(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	return commands * figureSeconds().Seconds() / time.Since(begin).Seconds()
}

// begin begins a run, and answers who its n-th customer is.
func (c *crowd) begin() func(n int) string {
	c.runs++
	first := c.next
	return func(n int) string { return c.ids[(first+n)%len(c.ids)] }
}

// asFastAs lets callers do one thing again and again, each with numbers that no other caller has.
func asFastAs(b *testing.B, callers int, d time.Duration, seed uint64, one func(random *rand.Rand, n int) error) (done int64, lasted time.Duration, latency *simulate.Histogram) {
	b.Helper()
	latency = &simulate.Histogram{}
	var mu sync.Mutex
	begin := time.Now()
	var group sync.WaitGroup
	for caller := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(caller))) //nolint:gosec // a load
		group.Go(func() {
			mine, count := &simulate.Histogram{}, int64(0)
			for n := caller; time.Since(begin) < d; n += callers {
				start := time.Now()
				if err := one(random, n); err == nil {
					mine.Add(time.Since(start))
					count++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			latency.Merge(mine)
			done += count
		})
	}
	group.Wait()
	return done, time.Since(begin), latency
}

// paced sends commands at a rate, whether answers come or not, and answers latencies from the moment each was due.
func (c *crowd) paced(b *testing.B, rate float64, d time.Duration, after func(command.Result, time.Time)) *simulate.Histogram {
	b.Helper()
	customer := c.begin()
	c.next += int(rate * d.Seconds())
	return atPace(b, rate, d, c.runs, func(random *rand.Rand, n int, record func()) {
		if r, err := c.one(b.Context(), random, customer(n)); err == nil {
			record()
			if after != nil {
				after(r, time.Now())
			}
		}
	})
}

// atPace has one thing done at a rate. Whatever calls record is counted, from the moment it was due.
func atPace(b *testing.B, rate float64, d time.Duration, seed uint64, one func(random *rand.Rand, n int, record func())) *simulate.Histogram {
	b.Helper()
	type due struct {
		at time.Time
		n  int
	}
	queue := make(chan due, int(rate*d.Seconds())+1)
	latency := &simulate.Histogram{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for n := range 4 * figureCallers {
		random := rand.New(rand.NewPCG(seed, uint64(n))) //nolint:gosec // a load
		group.Go(func() {
			mine := &simulate.Histogram{}
			for x := range queue {
				one(random, x.n, func() { mine.Add(time.Since(x.at)) })
			}
			mu.Lock()
			defer mu.Unlock()
			latency.Merge(mine)
		})
	}
	total := int(rate * d.Seconds())
	begin := time.Now()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for sent := 0; sent < total; {
		<-ticker.C
		for until := min(total, int(time.Since(begin).Seconds()*rate)); sent < until; sent++ {
			queue <- due{begin.Add(time.Duration(float64(sent) / rate * float64(time.Second))), sent}
		}
	}
	close(queue)
	group.Wait()
	return latency
}

// bareRows inserts the events of a log as plain rows, 64 a transaction, through the same driver with the same pragmas:
// the whole event with its envelope, as the log keeps it, in one table without an index of its own beside the key.
type bareRows struct {
	bare *bare
	rows []domain.Event
	next int

	loop, gathered rate
	latency        simulate.Histogram // of the loop's transactions
}

// settled waits until the disk has what was written: or it would be written while something else is measured.
func settled() { syscall.Sync() }

// rate is what was done in a while, which may consist of several.
type rate struct {
	done float64
	took time.Duration
}

func (r *rate) add(done float64, took time.Duration) { r.done, r.took = r.done+done, r.took+took }

func (r *rate) perSecond() float64 { return r.done / r.took.Seconds() }

// inLoop inserts from one loop that has all rows at hand.
func (r *bareRows) inLoop(b *testing.B, d time.Duration) {
	b.Helper()
	begin, first := time.Now(), r.next
	for time.Since(begin) < d {
		start := time.Now()
		batch := r.bare.begin(b)
		for range figureCallers {
			batch.insert(b, r.rows, r.next)
			r.next++
		}
		batch.commit(b)
		r.latency.Add(time.Since(start))
	}
	r.loop.add(float64(r.next-first), time.Since(begin))
}

// gather inserts as commands come: from 64 callers who each hand one row over and wait until it is durable.
func (r *bareRows) gather(b *testing.B, d time.Duration) {
	b.Helper()
	type handed struct {
		row  int
		done chan struct{}
	}
	queue := make(chan handed, figureCallers)
	var next atomic.Int64
	next.Store(int64(r.next))
	ctx, stop := context.WithTimeout(b.Context(), d)
	defer stop()
	begin, written := time.Now(), 0
	var callers sync.WaitGroup
	for range figureCallers {
		callers.Go(func() {
			h := handed{done: make(chan struct{}, 1)}
			for ctx.Err() == nil {
				h.row = int(next.Add(1))
				queue <- h
				<-h.done
			}
		})
	}
	go func() { callers.Wait(); close(queue) }()
	var waiting []handed
	for first := range queue {
		waiting = append(waiting[:0], first)
		batch := r.bare.begin(b)
		batch.insert(b, r.rows, first.row)
		for len(waiting) < figureCallers {
			h, more := handed{}, false
			select {
			case h, more = <-queue:
			default:
			}
			if !more {
				break
			}
			batch.insert(b, r.rows, h.row)
			waiting = append(waiting, h)
		}
		batch.commit(b)
		for _, h := range waiting {
			h.done <- struct{}{}
		}
		written += len(waiting)
	}
	r.next = int(next.Load()) + 1
	r.gathered.add(float64(written), time.Since(begin))
}

// bare is a plain table behind the driver.
type bare struct {
	file   *sqlite.File
	writer *sql.Stmt
}

func openBare(b *testing.B) *bare {
	b.Helper()
	ctx := context.Background() // one that can end makes the driver watch each statement, which would slow the baseline
	file, err := sqlite.Open(ctx, filepath.Join(b.TempDir(), "bare.db"), sqlite.FileConfig{
		ApplicationID: 0x42617265, Version: 1, Durability: sqlite.Full,
		Migrate: func(ctx context.Context, tx *sql.Tx, _ int) error {
			_, err := tx.ExecContext(ctx, `CREATE TABLE event (
				stream TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, shard INTEGER NOT NULL, entry INTEGER NOT NULL, place INTEGER NOT NULL,
				previous_entry INTEGER NOT NULL, previous_place INTEGER NOT NULL, type TEXT NOT NULL, schema_version INTEGER NOT NULL,
				occurred_at INTEGER NOT NULL, recorded_at INTEGER NOT NULL, command_id TEXT NOT NULL, request_hash TEXT NOT NULL,
				correlation TEXT NOT NULL, causation TEXT NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL,
				policy INTEGER NOT NULL, plan INTEGER NOT NULL, device_types INTEGER NOT NULL, catalogue TEXT NOT NULL, reference INTEGER NOT NULL,
				payload BLOB NOT NULL, PRIMARY KEY (stream, seq))`)
			return err
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = file.Close() })
	insert, err := file.Writer.PrepareContext(ctx, `INSERT INTO event VALUES (?`+strings.Repeat(", ?", 23)+`)`)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = insert.Close() })
	return &bare{file, insert}
}

type bareBatch struct {
	tx        *sql.Tx
	statement *sql.Stmt
}

func (r *bare) begin(b *testing.B) bareBatch {
	b.Helper()
	tx, err := r.file.Writer.BeginTx(context.Background(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return bareBatch{tx, tx.StmtContext(context.Background(), r.writer)}
}

// insert writes row n: the same rows over and over, another round as another stream.
func (r bareBatch) insert(b *testing.B, rows []domain.Event, n int) {
	b.Helper()
	e := &rows[n%len(rows)]
	stream := string(e.Stream) + "/" + strconv.Itoa(n/len(rows))
	_, err := r.statement.ExecContext(context.Background(), stream, e.Seq, e.ID, e.Position.Shard, e.Position.Index, e.Position.Place,
		e.Previous.Index, e.Previous.Place, e.Type, e.SchemaVersion, e.OccurredAt.UnixMicro(), e.RecordedAt.UnixMicro(), e.CommandID, e.RequestHash,
		e.Correlation, e.Causation, e.Actor.ID, string(e.Actor.Role),
		e.Versions.Policy, e.Versions.Plan, e.Versions.DeviceTypes, e.Versions.Catalogue, e.Versions.Reference, []byte(e.Payload))
	if err != nil {
		b.Fatal(err)
	}
}

func (r bareBatch) commit(b *testing.B) {
	b.Helper()
	if err := r.tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

func someEvents(b *testing.B, s *System, most int) []domain.Event {
	b.Helper()
	var events []domain.Event
	head, err := s.log.Head(b.Context(), 1)
	if err != nil {
		b.Fatal(err)
	}
	for from := uint64(1); from <= head.Index && len(events) < most; {
		entries, err := s.log.Read(b.Context(), 1, from, 4<<20)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			events = append(events, e.Events...)
		}
		from = entries[len(entries)-1].Index + 1
	}
	return events
}

// processorTime is what this process has used of all cores.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkFigureCommands: commands through the handlers with 64 callers on distinct customers, fsync on, against bare
// inserts of the same rows; and the latency at half of that rate.
func BenchmarkFigureCommands(b *testing.B) {
	for _, projecting := range []string{"stopped", "running"} {
		b.Run("projectors="+projecting, func(b *testing.B) {
			s := openFigure(b, b.TempDir())
			defer closeFigure(b, s)
			if projecting == "running" {
				stop := startProjectors(b, s)
				defer stop()
			}
			c := newCrowd(b, s, "f", 20_000)
			c.flatOut(b, figureCallers, figureSeconds()/4)                      // warm
			bare := &bareRows{bare: openBare(b), rows: someEvents(b, s, 5_000)} // few: they stay in memory
			var commands, events rate
			var spent time.Duration
			least := math.Inf(1)
			// By turns: a machine whose speed comes and goes is the same for all of them.
			for range figureTurns {
				settled()
				before, looped := processorTime(b), bare.loop
				begin := time.Now()
				done, caused, _ := c.flatOut(b, figureCallers, figureSeconds()/figureTurns)
				took := time.Since(begin)
				commands.add(done*took.Seconds(), took)
				events.add(caused*took.Seconds(), took)
				spent += processorTime(b) - before
				if projecting == "running" {
					if err := s.CatchUp(b.Context(), nil); err != nil {
						b.Fatal(err)
					}
				}
				settled()
				bare.inLoop(b, figureSeconds()/figureTurns)
				looped = rate{bare.loop.done - looped.done, bare.loop.took - looped.took}
				least = min(least, caused/looped.perSecond())
				settled()
				bare.gather(b, figureSeconds()/figureTurns)
			}
			bare.rows = nil // nothing that the garbage collector need look at
			settled()
			latency := c.paced(b, commands.perSecond()/2, figureSeconds(), nil)
			bareTx := &bare.latency
			b.ReportMetric(commands.perSecond(), "commands/s")
			b.ReportMetric(events.perSecond(), "events/s")
			b.ReportMetric(float64(spent.Microseconds())/commands.done, "cpu-µs/command")
			b.ReportMetric(bare.loop.perSecond(), "bare-rows/s")
			b.ReportMetric(bare.gathered.perSecond(), "bare-gathered/s")
			b.ReportMetric(events.perSecond()/bare.loop.perSecond(), "of-bare")
			b.ReportMetric(least, "of-bare-least-turn")
			b.ReportMetric(events.perSecond()/bare.gathered.perSecond(), "of-gathered")
			b.ReportMetric(ms(latency.Quantile(0.5)), "p50-ms@half")
			b.ReportMetric(ms(latency.Quantile(0.99)), "p99-ms@half")
			b.ReportMetric(ms(bareTx.Quantile(0.5)), "bare-tx-p50-ms")
			b.ReportMetric(ms(bareTx.Quantile(0.99)), "bare-tx-p99-ms")
			b.ReportMetric(float64(latency.Quantile(0.99))/float64(bareTx.Quantile(0.5)), "p99/bare-p50")
			b.ReportMetric(float64(latency.Quantile(0.99))/float64(bareTx.Quantile(0.99)), "p99/bare-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func startProjectors(b *testing.B, s *System) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	if err := s.startTransport(ctx); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.models.runners.Run(ctx) }()
	return func() {
		if err := s.stopTransport(); err != nil {
			b.Error(err)
		}
		cancel()
		<-ended
	}
}

// BenchmarkFigureLoading: loading a customer for a decision, with 100 and with 100,000 events behind it.
func BenchmarkFigureLoading(b *testing.B) {
	long := envInt("FIGURE_LONG", 100_000)
	// A household that does eight things a day: what is remembered for a while is the same for both customers, and what
	// differs is the length of the history alone.
	const every = 3 * time.Hour
	var now atomic.Int64
	begin := time.Now().Add(-time.Duration(long) * every)
	now.Store(begin.UnixNano())
	clock := func() time.Time { return time.Unix(0, now.Load()).UTC() }
	s := openFigureAt(b, b.TempDir(), clock)
	defer closeFigure(b, s)
	c := newCrowd(b, s, "l", 2)
	c.clock = clock
	live := func(customer string, events uint64) {
		random := rand.New(rand.NewPCG(5, events)) //nolint:gosec // a load
		var version uint64
		var license string
		for n := 0; version < events; n++ {
			now.Add(int64(every))
			if n%200 == 0 || license == "" { // a title now and then, watched over and over
				r, err := c.one(b.Context(), random, customer)
				if err != nil {
					b.Fatal(err)
				}
				version = r.Version
				if issued, ok := issuedIn(r.Events); ok {
					license = issued
				}
				continue
			}
			r, err := s.app.RecordPlayback(b.Context(), command.RecordPlayback{
				Meta: c.meta(random, domain.RoleDevice), Customer: customer, LicenseID: license, PlayID: fmt.Sprintf("p%d", n/2),
				Kind: []string{"start", "stop"}[n%2], DeviceTime: clock(), PositionSeconds: int64(n % 1000),
			})
			if err != nil {
				b.Fatal(err)
			}
			version = r.Version
		}
	}
	// What a load has to fold depends on how far the last snapshot is behind: it is measured at many distances.
	const distances, step, loads = 20, 7, 20
	var short, longer simulate.Histogram
	load := func(customer string, into *simulate.Histogram) {
		for range loads {
			w, err := command.NewWriter(command.WriterConfig{Name: "loader"}, command.WriterPorts{
				Log: s.log, Histories: s.log, Snapshots: s.log, Folding: command.DomainFolding(), Reference: s.reference.Reference, Clock: clock,
			})
			if err != nil {
				b.Fatal(err)
			}
			w.Start()
			if err := w.Ready(b.Context()); err != nil {
				b.Fatal(err)
			}
			begin := time.Now()
			if _, err := w.Load(b.Context(), domain.CustomerStream(customer)); err != nil {
				b.Fatal(err)
			}
			into.Add(time.Since(begin))
			if err := w.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	for distance := range uint64(distances) {
		live(c.ids[1], uint64(long)+distance*step) //nolint:gosec // a count
		live(c.ids[0], 100+distance*step)
		load(c.ids[0], &short)
		load(c.ids[1], &longer)
	}
	b.ReportMetric(float64(short.Quantile(0.5).Microseconds()), "µs@100")
	b.ReportMetric(float64(longer.Quantile(0.5).Microseconds()), fmt.Sprintf("µs@%d", long))
	b.ReportMetric(float64(longer.Quantile(0.5))/float64(short.Quantile(0.5)), "ratio")
	b.ReportMetric(float64(longer.Quantile(0.99))/float64(short.Quantile(0.99)), "ratio-p99")
	b.ReportMetric(0, "ns/op")
}

func issuedIn(events []domain.Event) (string, bool) {
	for i := range events {
		if data, err := events[i].Data(); err == nil {
			if issued, ok := data.(*domain.LicenseIssued); ok {
				return issued.LicenseID, true
			}
		}
	}
	return "", false
}

// BenchmarkFigureVisible: from the answer to a command until the query side shows it, at half of the top rate: of what the
// process takes in the long run, all read models included.
func BenchmarkFigureVisible(b *testing.B) {
	s := openFigure(b, b.TempDir())
	defer closeFigure(b, s)
	stop := startProjectors(b, s)
	defer stop()
	c := newCrowd(b, s, "v", 20_000)
	commands := c.sustained(b, s)
	for _, model := range []string{"timeline", "customers"} {
		b.Run(model, func(b *testing.B) {
			var mu sync.Mutex
			var visible simulate.Histogram
			var count atomic.Int64
			var failed atomic.Int64
			c.paced(b, commands/2, figureSeconds(), func(r command.Result, answered time.Time) {
				if count.Add(1)%20 != 0 { // waiting costs the waiter's processor, not the projector's
					return
				}
				ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
				defer cancel()
				by := query.Caller{Actor: domain.Actor{ID: "figure", Role: domain.RoleOperator}}
				at := query.Consistency{MinVersion: r.Version}
				var err error
				if model == "timeline" {
					_, err = s.queries.Timeline.Handle(ctx, query.Timeline{By: by, Customer: r.Stream.ID(), Consistency: at})
				} else {
					_, err = s.queries.Customer.Handle(ctx, query.Customer{By: by, Customer: r.Stream.ID(), Consistency: at})
				}
				if err != nil {
					failed.Add(1)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				visible.Add(time.Since(answered))
			})
			if failed.Load() > 0 {
				b.Fatalf("%d reads failed", failed.Load())
			}
			b.ReportMetric(commands/2, "commands/s")
			b.ReportMetric(ms(visible.Quantile(0.5)), "p50-ms")
			b.ReportMetric(ms(visible.Quantile(0.99)), "p99-ms")
			b.ReportMetric(ms(visible.Max()), "max-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkFigureBacklog: projecting a backlog (FIGURE_BACKLOG events, a million by default) into each read model, and
// starting on that store.
func BenchmarkFigureBacklog(b *testing.B) {
	dir := os.Getenv("FIGURE_DATA") // a store that is there is used again
	if dir == "" {
		dir = b.TempDir()
	}
	events := fillStore(b, dir, int64(envInt("FIGURE_BACKLOG", 1_000_000)))
	names := []string{"reference", "customers", "timeline", "denials", "analytics", "search"}
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			for _, old := range must(filepath.Glob(filepath.Join(dir, "read", name+".*"))) {
				if err := os.Remove(old); err != nil {
					b.Fatal(err)
				}
			}
			s := openFigure(b, dir)
			defer closeFigure(b, s)
			runner, err := s.models.runners.Named(name)
			if err != nil {
				b.Fatal(err)
			}
			heads, err := s.Heads(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			peak, stopPeak := watchHeap()
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			begin := time.Now()
			go func() { ended <- runner.Run(ctx) }()
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for !reached(runner.Status(), heads) {
				<-ticker.C
			}
			took := time.Since(begin)
			cancel()
			<-ended
			stopPeak()
			b.ReportMetric(float64(events)/took.Seconds(), "events/s")
			b.ReportMetric(float64(peak.Load())/(1<<20), "peak-heap-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("start", func(b *testing.B) {
		var h simulate.Histogram
		for range 5 {
			begin := time.Now()
			s := openFigure(b, dir)
			h.Add(time.Since(begin))
			closeFigure(b, s)
		}
		b.ReportMetric(float64(events), "events")
		b.ReportMetric(ms(h.Quantile(0.5)), "p50-ms")
		b.ReportMetric(ms(h.Max()), "max-ms")
		b.ReportMetric(0, "ns/op")
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func reached(statuses []projector.ShardStatus, heads map[int]domain.Head) bool {
	return !slices.ContainsFunc(statuses, func(st projector.ShardStatus) bool { return st.Applied.Index < heads[st.Shard].Index })
}

func countEvents(b *testing.B, s *System) int64 {
	b.Helper()
	var n int64
	for shard := range s.layout.customerShards {
		for from := uint64(1); ; {
			entries, err := s.log.Read(b.Context(), shard+1, from, 4<<20)
			if err != nil {
				b.Fatal(err)
			}
			if len(entries) == 0 {
				break
			}
			for i := range entries {
				n += int64(len(entries[i].Events))
			}
			from = entries[len(entries)-1].Index + 1
		}
	}
	return n
}

func watchHeap() (peak *atomic.Uint64, stop func()) {
	peak = &atomic.Uint64{}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-ticker.C:
			case <-quit:
				return
			}
		}
	}()
	return peak, func() { close(quit); <-ended }
}
