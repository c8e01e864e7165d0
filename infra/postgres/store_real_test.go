//go:build real

package postgres

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/projector"
	"carryon/query"
)

func mustBegin[T projector.Tx](t testing.TB, begin func(context.Context, int) (T, error), shard int) T {
	t.Helper()
	tx, err := begin(t.Context(), shard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tx.Rollback) // or closing the database waits for it
	return tx
}

func (t *tx) set(tb testing.TB, stream string, seq uint64) {
	tb.Helper()
	if err := (suiteRows{}).SetRow(tb.Context(), t, conformance.ConsumerRow{Stream: domain.StreamID(stream), Seq: seq}); err != nil {
		tb.Fatal(err)
	}
}

// holds checks what is committed.
func (s *store) holds(t testing.TB, shard int, want uint64, streams ...string) {
	t.Helper()
	checkpoints, err := s.Checkpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := checkpoints[shard].Index; got != want {
		t.Errorf("the checkpoint is %d, want %d", got, want)
	}
	rows, err := suiteRows{s}.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := columnOf(rows, func(r *conformance.ConsumerRow) string { return string(r.Stream) })
	if !slices.Equal(got, streams) {
		t.Errorf("there are rows of %v, want %v", got, streams)
	}
}

func checkpoint(index uint64) projector.Checkpoint {
	return projector.Checkpoint{Index: index, ID: domain.BatchID{byte(index)}}
}

func TestATransactionWhoseBackendIsKilledLeavesNothing(t *testing.T) {
	t.Parallel()
	db := testDB(t, testConfig(t))
	s := openSuite(t, db)
	for _, flushed := range []bool{false, true} {
		held := s.beginEventually(t, 1) // a backend takes a moment to die
		held.set(t, "a", 1)
		if flushed {
			if err := held.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		db.process(t).exec(t, "SELECT pg_terminate_backend($1)", held.conn.Conn().PgConn().PID())
		if err := held.Commit(t.Context(), checkpoint(1)); !errors.Is(err, projector.ErrTransient) {
			t.Errorf("flushed %t: the commit says %v", flushed, err)
		}
		s.holds(t, 1, 0)
	}
	held := s.beginEventually(t, 1)
	held.set(t, "a", 1)
	if err := held.Commit(t.Context(), checkpoint(1)); err != nil {
		t.Fatal(err)
	}
	s.holds(t, 1, 1, "a")
}

func TestACommitWhoseAnswerIsLostIsSeenByTheNextTransaction(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	direct := openSuite(t, testDB(t, config))
	proxy := newProxy(t, &config)
	s := openSuite(t, testDB(t, config))
	tx := mustBegin(t, s.begin, 1)
	tx.set(t, "a", 1)
	proxy.swallow.Store(true)
	if err := tx.Commit(t.Context(), checkpoint(1)); !errors.Is(err, projector.ErrTransient) {
		t.Errorf("a commit without an answer says %v", err)
	}
	direct.holds(t, 1, 1, "a")
	proxy.swallow.Store(false)
	again := mustBegin(t, s.begin, 1)
	defer again.Rollback()
	if again.Checkpoint() != checkpoint(1) {
		t.Errorf("the next transaction begins at %v", again.Checkpoint())
	}
}

// proxy stands between a process and the server. It can swallow the server's next answer, and hang up.
type proxy struct {
	server  string
	swallow atomic.Bool
}

func newProxy(t *testing.T, c *Config) *proxy {
	t.Helper()
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: u.Host}
	u.Host = listener.Addr().String()
	c.URL = u.String()
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { p.serve(client) })
		}
	})
	return p
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		defer server.Close()
		buffer := make([]byte, 1<<16)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 1<<16)
	for {
		n, err := server.Read(buffer)
		if err != nil || p.swallow.Load() && bytes.Contains(buffer[:n], []byte("COMMIT")) {
			client.Close()
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func TestAShardThatIsWorkedOnIsElsewhereForOthers(t *testing.T) {
	t.Parallel()
	db := testDB(t, testConfig(t))
	one, other := openSuite(t, db), openSuite(t, db.process(t))
	held := mustBegin(t, one.begin, 1)
	for name, s := range map[string]*store{"the same process": one, "another process": other} {
		if _, err := s.begin(t.Context(), 1); !errors.Is(err, projector.ErrElsewhere) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustBegin(t, other.begin, 2).Rollback() // another shard
	held.Rollback()
	mustBegin(t, other.begin, 1).Rollback()
	db.exec(t, one.in("DELETE FROM @.checkpoint"))
	one.beginEventually(t, 1).Rollback()
}

func TestAHolderThatHangsIsTimedOutByTheServer(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	patient := openSuite(t, testDB(t, config))
	config.HoldTimeout = 200 * time.Millisecond
	hangs := openSuite(t, testDB(t, config))
	held := mustBegin(t, hangs.begin, 1)
	held.set(t, "a", 1)
	if err := held.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	taken := patient.beginEventually(t, 1)
	if err := held.Commit(t.Context(), checkpoint(1)); !errors.Is(err, projector.ErrTransient) {
		t.Errorf("the one that hung commits: %v", err)
	}
	taken.set(t, "b", 1)
	if err := taken.Commit(t.Context(), checkpoint(1)); err != nil {
		t.Fatal(err)
	}
	patient.holds(t, 1, 1, "b")
}

func (s *store) beginEventually(t testing.TB, shard int) *tx {
	t.Helper()
	held := eventually(t, func() (*tx, error) { return s.begin(t.Context(), shard) }, projector.ErrElsewhere)
	t.Cleanup(held.Rollback)
	return held
}

// eventually repeats what fails in the expected way.
func eventually[V any](t testing.TB, do func() (V, error), meanwhile error) V {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		v, err := do()
		switch {
		case err == nil:
			return v
		case !errors.Is(err, meanwhile) || ctx.Err() != nil:
			t.Fatal(err)
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

func TestAStatementThatHangsIsTimedOutByTheServer(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.WriteTimeout = 100 * time.Millisecond
	s := openSuite(t, testDB(t, config))
	tx := mustBegin(t, s.begin, 1)
	defer tx.Rollback()
	if err := tx.exec(t.Context(), "SELECT pg_sleep(20)"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context(), checkpoint(1)); !errors.Is(err, projector.ErrTransient) {
		t.Errorf("it says %v", err)
	}
}

func TestProcessesThatStartAtOnceMigrateOnce(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	pseudonyms := query.NewPseudonyms([]byte("k"))
	first := testDB(t, config)
	var group sync.WaitGroup
	for range 6 {
		db := testDB(t, config)
		group.Go(func() {
			for _, prepare := range []func(context.Context) error{
				db.Customers(1, pseudonyms).Prepare, db.Timeline(1).Prepare, db.Denials(1).Prepare, db.Analytics(1).Prepare, db.Reference(1).Prepare,
			} {
				if err := prepare(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for _, schema := range []string{config.Prefix, first.Timeline(1).schema, first.Customers(1, pseudonyms).schema} {
		var rows int
		if err := first.write.QueryRow(t.Context(), in(schema, "SELECT count(*) FROM @.goose_db_version WHERE version_id = 1")).Scan(&rows); err != nil || rows != 1 {
			t.Errorf("%s: migration 1 was applied %d times: %v", schema, rows, err)
		}
	}
}

func TestASchemaOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	db := testDB(t, config)
	if err := db.Timeline(1).Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.exec(t, in(db.Timeline(1).schema, "INSERT INTO @.goose_db_version (version_id, is_applied) VALUES (99, true)"))
	for range 2 { // it is not forgotten after the first time
		if _, err := testDB(t, config).Timeline(1).Begin(t.Context(), 1); !errors.Is(err, ErrNewer) {
			t.Errorf("the timeline's schema is newer: %v", err)
		}
	}
	mustBegin(t, testDB(t, config).Denials(1).Begin, 1).Rollback()
	db.exec(t, in(config.Prefix, "INSERT INTO @.goose_db_version (version_id, is_applied) VALUES (99, true)"))
	if err := testDB(t, config).Check(t.Context()); !errors.Is(err, ErrNewer) {
		t.Errorf("the shared schema is newer: %v", err)
	}
}

func TestAnotherKeyMakesAGenerationStaleAndTheNextOneCurrent(t *testing.T) {
	t.Parallel()
	db := testDB(t, testConfig(t))
	open := func(key string) func(int) *Customers {
		return func(generation int) *Customers { return db.Customers(generation, query.NewPseudonyms([]byte(key))) }
	}
	for i, c := range []struct {
		key        string
		generation int
		anew       bool
	}{{"one", 1, false}, {"one", 1, false}, {"two", 2, true}, {"two", 2, false}} {
		m, anew, err := Current(t.Context(), open(c.key))
		if err != nil || m.generation != c.generation || anew != c.anew {
			t.Fatalf("%d: generation %d, anew %t, %v", i, m.generation, anew, err)
		}
	}
	if err := open("one")(2).Prepare(t.Context()); !errors.Is(err, ErrStale) {
		t.Errorf("a generation of another key: %v", err)
	}
}

func TestAServerThatIsAwayKeepsNobodyFromStarting(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(config.URL)
	u.Host = listener.Addr().String()
	_ = listener.Close()
	config.URL = u.String()
	db := testDB(t, config)
	if _, err := db.Timeline(1).Begin(t.Context(), 1); !errors.Is(err, projector.ErrTransient) {
		t.Errorf("a transaction: %v", err)
	}
	if _, err := db.Timeline(1).TimelinePage(t.Context(), query.TimelinePage{Customer: "c", Limit: 1}); !errors.Is(err, query.ErrUnavailable) {
		t.Errorf("a question: %v", err)
	}
	if err := db.AccessLog().Record(t.Context(), query.Access{}); !errors.Is(err, query.ErrUnavailable) {
		t.Errorf("a record: %v", err)
	}
	if err := db.Check(t.Context()); err == nil {
		t.Error("the check finds nothing")
	}
}

func TestWhatTheServerRefusesParksItsStreamAlone(t *testing.T) {
	t.Parallel()
	h, err := conformance.NewHistory(5, 8, 1)
	if err != nil {
		t.Fatal(err)
	}
	log := newEntryLog(h.Grow(600))
	bad := &log.entries[1][20].Events[0]
	bad.Actor.ID = "no\x00text"
	db := testDB(t, testConfig(t))
	timeline := db.Timeline(1)
	c := projector.NewConsumer(projector.Config{}, projector.Timeline{}, projector.Store[projector.TimelineTx](timeline), log, log, log.shards(), time.Now, nil)
	log.drain(t, c.Step, c.Look)
	parked, err := timeline.Parked(t.Context(), "", 10)
	if err != nil || len(parked) != 1 || parked[0].Stream != bad.Stream || parked[0].FirstSeq != bad.Seq || !strings.Contains(parked[0].Reason, "22021") {
		t.Fatalf("parked: %+v, %v", parked, err)
	}
	log.audit(t, timeline, timeline, parked...)
}

func TestShardsThatShareCombinationsNeitherLoseNorDoubleNorDeadlock(t *testing.T) {
	t.Parallel()
	h, err := conformance.NewHistory(9, 40, 6)
	if err != nil {
		t.Fatal(err)
	}
	log := newEntryLog(h.Grow(6000))
	config := testConfig(t)
	var deadlocks atomic.Int64
	var group sync.WaitGroup
	for range 3 { // processes, each of which works on every shard
		db := testDB(t, config)
		model := db.Analytics(1)
		c := projector.NewConsumer(projector.Config{MaxEvents: 40}, projector.Analytics{}, projector.Store[projector.AnalyticsTx](model), log, log, log.shards(), time.Now, nil)
		step := func(ctx context.Context, shard int) (projector.Outcome, error) {
			outcome, err := c.Step(ctx, shard)
			if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "40P01" {
				deadlocks.Add(1)
			}
			return outcome, err
		}
		for _, shard := range log.shards() {
			group.Go(func() { log.drainShard(t, shard, step, c.Look) })
		}
	}
	group.Wait()
	if n := deadlocks.Load(); n > 0 {
		t.Errorf("%d deadlocks", n)
	}
	model := testDB(t, config).Analytics(1)
	log.audit(t, model, model)
}

func TestAccessesAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	l := testDB(t, testConfig(t)).AccessLog()
	at := time.Date(2026, 3, 4, 5, 6, 7, 123456000, time.UTC)
	for i := range 5 {
		a := query.Access{At: at.Add(time.Duration(i) * time.Microsecond), Actor: domain.Actor{ID: "sam", Role: domain.RoleSupport}, Customer: "c", What: "timeline", Reason: "a\x00b", RequestID: "r"}
		if err := l.Record(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Record(t.Context(), query.Access{At: at, Customer: "other"}); err != nil {
		t.Fatal(err)
	}
	var got []query.Access
	for before := int64(0); ; {
		page, err := l.Accesses(t.Context(), "c", before, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got, before = append(got, page...), page[len(page)-1].Number
	}
	if len(got) != 5 {
		t.Fatalf("%d accesses", len(got))
	}
	for i, a := range got {
		want := query.Access{Number: a.Number, At: at.Add(time.Duration(4-i) * time.Microsecond), Actor: domain.Actor{ID: "sam", Role: domain.RoleSupport}, Customer: "c", What: "timeline", Reason: "a?b", RequestID: "r"}
		if a != want {
			t.Errorf("%d: %+v", i, a)
		}
	}
}

// entryLog is a log, and the histories of it.
type entryLog struct {
	entries map[int][]domain.Entry
	streams map[domain.StreamID][]*domain.Event
}

func newEntryLog(entries []domain.Entry) *entryLog {
	l := &entryLog{entries: map[int][]domain.Entry{}, streams: map[domain.StreamID][]*domain.Event{}}
	for _, e := range entries {
		l.entries[e.Shard] = append(l.entries[e.Shard], e)
		for i := range e.Events {
			l.streams[e.Events[i].Stream] = append(l.streams[e.Events[i].Stream], &e.Events[i])
		}
	}
	return l
}

func (l *entryLog) shards() []int {
	var shards []int
	for shard := range l.entries {
		shards = append(shards, shard)
	}
	slices.Sort(shards)
	return shards
}

func (l *entryLog) Head(_ context.Context, shard int) (domain.Head, error) {
	all := l.entries[shard]
	if len(all) == 0 {
		return domain.Head{}, nil
	}
	return domain.Head{Index: all[len(all)-1].Index, ID: all[len(all)-1].ID}, nil
}

func (l *entryLog) Read(_ context.Context, shard int, from uint64, _ int) ([]domain.Entry, error) {
	all := l.entries[shard]
	if from > uint64(len(all)) {
		return nil, nil
	}
	return slices.Clone(all[from-1 : min(len(all), int(from)+49)]), nil
}

func (l *entryLog) Progress(_ context.Context, shard int) (uint64, error) {
	return uint64(len(l.entries[shard])), nil
}

func (l *entryLog) ReadStream(_ context.Context, stream domain.StreamID, from uint64, _ int) ([]domain.Event, error) {
	var events []domain.Event
	for _, e := range l.streams[stream] {
		if e.Seq >= from {
			events = append(events, *e)
		}
	}
	return events, nil
}

type stepping = func(context.Context, int) (projector.Outcome, error)

func (l *entryLog) drain(t testing.TB, step, look stepping) {
	t.Helper()
	for _, shard := range l.shards() {
		l.drainShard(t, shard, step, look)
	}
}

// drainShard works until nothing is left to do, here or elsewhere.
func (l *entryLog) drainShard(t testing.TB, shard int, step, look stepping) {
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		outcome, err := step(t.Context(), shard)
		if outcome == projector.Idle {
			outcome, err = look(t.Context(), shard)
		}
		if outcome == projector.Idle {
			return
		}
		if outcome == projector.Stopped {
			t.Errorf("shard %d: %v", shard, err)
			return
		}
	}
	t.Errorf("shard %d does not come to rest", shard)
}

// audit compares every stream's rows with its events, but for what is parked.
func (l *entryLog) audit(t *testing.T, store projector.Progress, rows projector.Auditable, parked ...projector.Parked) {
	t.Helper()
	checkpoints, err := store.Checkpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for shard, entries := range l.entries {
		if got := checkpoints[shard].Index; got != uint64(len(entries)) {
			t.Errorf("shard %d is applied up to %d of %d", shard, got, len(entries))
		}
	}
	for stream, events := range l.streams {
		var applied []domain.Event
		for _, e := range events {
			if !slices.ContainsFunc(parked, func(p projector.Parked) bool { return p.Stream == stream && p.FirstSeq <= e.Seq }) {
				applied = append(applied, *e)
			}
		}
		if words, err := rows.AuditStream(t.Context(), stream, applied); err != nil || len(words) > 0 {
			t.Fatalf("%s: %v, %v", stream, words, err)
		}
	}
	if self, can := rows.(projector.SelfAuditable); can {
		if words, err := self.AuditItself(t.Context()); err != nil || len(words) > 0 {
			t.Fatalf("as a whole: %v, %v", words, err)
		}
	}
}
