//go:build real

package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	setBackBySnapshots(t, 1, "127.0.10", 7499)
}

// ring is what the test runs Cassandra as: nodes of its own.
type ring struct {
	t   *testing.T
	run string
	env []string
	all []int // nodes
}

func startRing(t *testing.T, nodes int, net string, jmx int) *ring {
	t.Helper()
	r := &ring{t: t, run: filepath.Join(os.TempDir(), fmt.Sprintf("carryon-restore-%d-%d", nodes, os.Getpid()))}
	r.env = append(os.Environ(), "STACK_RUN="+r.run, "CASSANDRA_NET="+net, "CASSANDRA_JMX="+strconv.Itoa(jmx), "CASSANDRA_SYNC=group")
	for node := range nodes {
		r.all = append(r.all, node+1)
	}
	t.Cleanup(func() {
		r.script(0, "wipe")
		if err := os.RemoveAll(r.run); err != nil {
			t.Error(err)
		}
	})
	r.script(0, "up", strconv.Itoa(nodes))
	return r
}

// script does something to all nodes, or has nodetool ask one.
func (r *ring) script(node int, args ...string) {
	r.t.Helper()
	cmd := exec.Command("../../scripts/stack/cassandra/cassandra", args...)
	cmd.Env = r.env
	if node > 0 {
		cmd.Env = append(slices.Clone(r.env), "CASSANDRA_NODE="+strconv.Itoa(node))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("cassandra %v on node %d: %v\n%s", args, node, err, out)
	}
}

// copyAway puts a snapshot of a node's tables into a folder, one for each table.
func (r *ring) copyAway(node int, keyspace, snapshot, to string, tables []string) {
	r.t.Helper()
	for _, table := range tables {
		pattern := filepath.Join(r.run, "cassandra", strconv.Itoa(len(r.all)), fmt.Sprint("node", node), "data", "data", keyspace, table+"-*", "snapshots", snapshot)
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) != 1 {
			r.t.Fatalf("the snapshot of %s is %v: %v", table, found, err)
		}
		if err := os.CopyFS(filepath.Join(to, table), os.DirFS(found[0])); err != nil {
			r.t.Fatal(err)
		}
	}
}

// setBackBySnapshots asks the nodes one after the other for their snapshots, and life goes on after the first: so with
// several of them that copy is older than the others.
func setBackBySnapshots(t *testing.T, nodes int, net string, jmx int) {
	t.Helper()
	r := startRing(t, nodes, net, jmx)
	t.Setenv("CARRYON_TEST_CASSANDRA", net+".1:9042")
	flags := Provision(t, nodes)
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
	r.script(1, "nodetool", "snapshot", "-t", "before", keyspace)
	for _, node := range r.all[1:] {
		if node == 2 {
			opened(cli.OpenOptions{}, live("a2-", &before))
		}
		r.script(node, "nodetool", "snapshot", "-t", "before", keyspace)
	}
	opened(cli.OpenOptions{}, live("b-", &after)) // and now every writer has stopped

	tables := []string{"log", "history", "progress", "snapshots"} // not the keys: who was erased since stays so
	saved := t.TempDir()
	folder := func(node int) string { return filepath.Join(saved, strconv.Itoa(node)) }
	for _, node := range r.all {
		r.copyAway(node, keyspace, "before", folder(node), tables)
	}
	truncate(t, net+".1:9042", keyspace, tables)
	for _, node := range r.all {
		for _, table := range tables {
			r.script(node, "nodetool", "import", keyspace, table, filepath.Join(folder(node), table))
		}
	}
	if nodes > 1 {
		for _, node := range r.all {
			r.script(node, "nodetool", "repair", "--full", keyspace)
		}
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
