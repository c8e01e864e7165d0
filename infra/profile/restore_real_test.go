//go:build real

package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/domain"
	"carryon/projector"
)

// What docs/runbook.md says about a restore of the event store, done: a snapshot of Cassandra, life goes on, the snapshot
// is put back, and now the read models are ahead of their log. The audit names each, a repair touches none of them, a
// rebuild mends them, and life goes on again.
func TestAnEventStoreThatIsSetBackByASnapshotIsFoundAndTheReadModelsAreRebuilt(t *testing.T) {
	run := filepath.Join(os.TempDir(), "carryon-restore-"+strconv.Itoa(os.Getpid()))
	const net = "127.0.10"
	node := func(args ...string) {
		t.Helper()
		cmd := exec.Command("../../scripts/stack/cassandra/cassandra", args...)
		cmd.Env = append(os.Environ(), "STACK_RUN="+run, "CASSANDRA_NET="+net, "CASSANDRA_JMX=7499", "CASSANDRA_SYNC=group")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cassandra %v: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() {
		node("wipe")
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	node("up", "1")
	t.Setenv("CARRYON_TEST_CASSANDRA", net+".1:9042")
	flags := Provision(t, 1)
	flags["data"] = t.TempDir()
	keyspace := flags["cassandra-keyspace"]
	c, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	opened := func(o cli.OpenOptions, use func(s *System)) {
		t.Helper()
		s, err := OpenDistributed(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		use(s)
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}

	var before, after map[int]domain.Head
	live := func(prefix string, heads *map[int]domain.Head) func(s *System) {
		return func(s *System) {
			liveAWhile(t, s, prefix)
			var err error
			if *heads, err = s.Heads(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	opened(cli.OpenOptions{}, live("a-", &before))
	node("nodetool", "snapshot", "-t", "before", keyspace)
	opened(cli.OpenOptions{}, live("b-", &after)) // and now every writer has stopped

	tables := []string{"log", "history", "progress", "snapshots"} // not the keys: who was erased since stays so
	saved := filepath.Join(t.TempDir(), "saved")
	for _, table := range tables {
		found, err := filepath.Glob(filepath.Join(run, "cassandra", "1", "node1", "data", "data", keyspace, table+"-*", "snapshots", "before"))
		if err != nil || len(found) != 1 {
			t.Fatalf("the snapshot of %s is %v: %v", table, found, err)
		}
		if err := os.CopyFS(filepath.Join(saved, table), os.DirFS(found[0])); err != nil {
			t.Fatal(err)
		}
	}
	truncate(t, net+".1:9042", keyspace, tables)
	for _, table := range tables {
		node("nodetool", "import", keyspace, table, filepath.Join(saved, table))
	}

	opened(cli.OpenOptions{OnlyReads: true}, func(s *System) {
		heads, err := s.Heads(t.Context())
		if err != nil || fmt.Sprint(heads) != fmt.Sprint(before) {
			t.Fatalf("the log ends at %v, and ended at %v when the snapshot was made: %v", heads, before, err)
		}
		if err := s.CatchUp(t.Context(), nil); !errors.Is(err, projector.ErrHistoryDiffers) {
			t.Errorf("the projectors: %v", err)
		}
		report, err := s.Audit(t.Context(), cli.AuditOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, model := range []string{"customers", "timeline", "denials", "analytics", "search"} {
			for shard := range before {
				if after[shard].Index > before[shard].Index {
					names = append(names, fmt.Sprintf("checkpoint: %s: applied entry %d of shard %d, whose log ends at entry %d", model, after[shard].Index, shard, before[shard].Index))
				}
			}
		}
		mustName(t, report, names)
		repaired, err := s.Repair(t.Context(), report, nil)
		if err != nil || len(repaired.Mended) > 0 {
			t.Errorf("a repair mends %v, which it must not: %v", repaired.Mended, err)
		}
		var said strings.Builder
		if err := repaired.Print(&said); err != nil || !strings.Contains(said.String(), "carryon rebuild ") {
			t.Errorf("the repair says %s: %v", said.String(), err)
		}
		for _, m := range s.models.all {
			if err := s.Rebuild(t.Context(), m.Name(), projector.RebuildOptions{}, nil); err != nil {
				t.Errorf("rebuilding %s: %v", m.Name(), err)
			}
		}
		auditClean(t, s)
	})
	opened(cli.OpenOptions{}, func(s *System) {
		liveAWhile(t, s, "c-")
		auditClean(t, s)
	})
}

// truncate empties tables.
func truncate(t *testing.T, host, keyspace string, tables []string) {
	t.Helper()
	cluster := gocql.NewCluster(host)
	cluster.Keyspace, cluster.Timeout, cluster.Consistency = keyspace, time.Minute, gocql.All
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, table := range tables {
		if err := session.Query("TRUNCATE " + table).Exec(); err != nil {
			t.Fatal(err)
		}
	}
}
