//go:build real

package profile

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/domain"
	"carryon/infra/codec"
)

func TestWhatIsDoneToCassandraBehindTheProgramsBackIsFound(t *testing.T) {
	flags := Provision(t, 1)
	flags["data"] = t.TempDir()
	c, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	open := func(o cli.OpenOptions) *System {
		s, err := OpenDistributed(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close(context.Background()) })
		return s
	}
	log := liveAWhile(t, open(cli.OpenOptions{}), "t-")
	cluster := gocql.NewCluster(strings.Split(flags["cassandra"], ",")...)
	cluster.Keyspace, cluster.Timeout, cluster.Consistency = flags["cassandra-keyspace"], 30*time.Second, gocql.All
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	f := &cassandraForger{session}
	audit := func(t *testing.T) []string {
		t.Helper()
		s := open(cli.OpenOptions{OnlyReads: true})
		report, err := s.Audit(t.Context(), cli.AuditOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, d := range report.Differences {
			said = append(said, d.String())
		}
		return said
	}
	for _, c := range tamperings() {
		t.Run(c.name, func(t *testing.T) {
			before := f.take(t, log)
			if said := audit(t); len(said) > 0 {
				t.Fatalf("before anything was done: %v", said)
			}
			c.do(t, f, log)
			said := strings.Join(audit(t), "\n")
			if said == "" {
				t.Error("the audit found nothing")
			}
			for _, name := range c.names(log) {
				if !strings.Contains(said, name) {
					t.Errorf("%q is not named in:\n%s", name, said)
				}
			}
			f.put(t, before)
		})
	}
}

func TestWhatPostgresAndElasticsearchShowOfStrangersIsFoundAndTakenAway(t *testing.T) {
	flags := Provision(t, 1)
	flags["data"] = t.TempDir()
	c, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenDistributed(t.Context(), c, cli.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustFindInventions(t, s, liveAWhile(t, s, "t-"))
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// cassandraForger changes the keyspace.
type cassandraForger struct{ session *gocql.Session }

func (f *cassandraForger) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	if err := f.session.Query(statement, args...).Exec(); err != nil {
		t.Fatal(err)
	}
}

// The store's buckets: see infra/cassandra.
func logBucket(index uint64) int64   { return int64((index - 1) / 256) } //nolint:gosec // small
func historyBucket(seq uint64) int64 { return int64((seq - 1) / 1024) }  //nolint:gosec // small

func (f *cassandraForger) remove(t *testing.T, shard int, index uint64) {
	t.Helper()
	f.exec(t, "DELETE FROM log WHERE shard = ? AND bucket = ? AND entry = ?", shard, logBucket(index), int64(index)) //nolint:gosec // small
}

func (f *cassandraForger) overwrite(t *testing.T, e *domain.Entry) {
	t.Helper()
	events, err := codec.EncodeEvents(e)
	if err != nil {
		t.Fatal(err)
	}
	f.exec(t, "INSERT INTO log (shard, bucket, entry, id, previous_id, writer, recorded_at, events) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		e.Shard, logBucket(e.Index), int64(e.Index), e.ID[:], e.PreviousID[:], e.Writer, e.RecordedAt.UnixMicro(), events) //nolint:gosec // small
}

// setBack also takes back how far the histories are derived, and what was derived since.
func (f *cassandraForger) setBack(t *testing.T, e *domain.Entry) {
	t.Helper()
	f.exec(t, "UPDATE log SET head = ?, head_id = ?, head_writer = ? WHERE shard = ? AND bucket = ?", int64(e.Index), e.ID[:], e.Writer, e.Shard, logBucket(e.Index)) //nolint:gosec // small
	f.exec(t, "DELETE FROM log WHERE shard = ? AND bucket = ? AND entry > ?", e.Shard, logBucket(e.Index), int64(e.Index))                                            //nolint:gosec // small
	f.exec(t, "UPDATE progress SET entry = ? WHERE shard = ?", int64(e.Index), e.Shard)                                                                               //nolint:gosec // small
}

func (f *cassandraForger) forget(t *testing.T, stream domain.StreamID) {
	t.Helper()
	f.exec(t, "DELETE FROM history WHERE stream = ? AND bucket = ? AND seq > 1", string(stream), historyBucket(1))
}

// kept is what a test takes before it tampers, and puts back.
type keptRows struct {
	log, history []map[string]any
	progress     []map[string]any
}

func (f *cassandraForger) take(t *testing.T, log []domain.Entry) keptRows {
	t.Helper()
	all := func(statement string, args ...any) []map[string]any {
		rows, err := f.session.Query(statement, args...).Iter().SliceMap()
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	k := keptRows{progress: all("SELECT * FROM progress WHERE shard = ?", log[0].Shard)}
	for bucket := int64(0); bucket <= logBucket(log[len(log)-1].Index); bucket++ {
		k.log = append(k.log, all("SELECT * FROM log WHERE shard = ? AND bucket = ?", log[0].Shard, bucket)...)
	}
	k.history = all("SELECT * FROM history WHERE stream = ? AND bucket = ?", string(lively(log)), historyBucket(1))
	return k
}

func (f *cassandraForger) put(t *testing.T, k keptRows) {
	t.Helper()
	each := func(table string, rows []map[string]any) {
		for _, row := range rows {
			var names, marks []string
			var values []any
			for name, value := range row {
				names, marks, values = append(names, name), append(marks, "?"), append(values, value)
			}
			f.exec(t, "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(marks, ", ")+")", values...)
		}
	}
	each("log", k.log)
	each("history", k.history)
	each("progress", k.progress)
}
