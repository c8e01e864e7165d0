//go:build real

package cassandra_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
	"carryon/infra/vault"
)

func TestSeveralProcessesThatComeFirstAtOnceMakeOneStore(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	const processes = 8
	var all sync.WaitGroup
	stores := make([]*cassandra.Store, processes)
	for i := range stores {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var err error
			if stores[i], err = cassandra.Open(ctx, cfg); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	c := newChain(1)
	for _, s := range stores {
		if s == nil {
			continue
		}
		defer s.Close()
		claim(t, s, c.next("customer/a"))
		wantLog(t, s, c)
	}
	b := raw(t, cfg)
	applied := make(map[int]string)
	rows := b.session.Query(`SELECT version, name FROM migrations`).Iter()
	var version int
	var name string
	for rows.Scan(&version, &name) {
		applied[version] = name
	}
	if err := rows.Close(); err != nil || len(applied) != cassandra.Migrations() || applied[1] != "0001_event_store" {
		t.Errorf("applied: %v, %v; want %d migrations and no lease", applied, err, cassandra.Migrations())
	}
}

func TestALeaseWhoseHolderHasDiedIsTakenOver(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	makeKeyspace(t, cfg, "NetworkTopologyStrategy', 'datacenter1", "true")
	b := raw(t, cfg)
	b.exec(`INSERT INTO migrations (version, holder) VALUES (0, 'dead') IF NOT EXISTS USING TTL 3`)
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if s, err := cassandra.Open(short, cfg); !errors.Is(err, command.ErrUnavailable) {
		t.Fatalf("%v, %v: the schema was changed without the lease", s, err)
	}
	open(t, cfg)
}

// makeKeyspace makes a keyspace with nothing but the table of migrations.
func makeKeyspace(t *testing.T, cfg cassandra.Config, class, durable string) {
	t.Helper()
	b := below{t, session(t, cfg, "")}
	factor := "': 1"
	if !strings.Contains(class, "datacenter1") {
		factor = "', 'replication_factor': 1"
	}
	b.exec("CREATE KEYSPACE " + cfg.Keyspace + " WITH replication = {'class': '" + class + factor + "} AND durable_writes = " + durable)
	b.exec("CREATE TABLE " + cfg.Keyspace + ".migrations (version int PRIMARY KEY, name text, checksum text, applied_at timestamp, holder text)")
}

func TestAStoreOfANewerProgramIsNotOpened(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	open(t, cfg)
	b := raw(t, cfg)
	tomorrow := strconv.Itoa(cassandra.Migrations() + 1)
	b.exec(`INSERT INTO migrations (version, name, checksum) VALUES (` + tomorrow + `, 'of_tomorrow', 'x')`)
	if _, err := cassandra.Open(t.Context(), cfg); !errors.Is(err, domain.ErrFutureVersion) {
		t.Errorf("%v", err)
	}
	b.exec(`DELETE FROM migrations WHERE version = ` + tomorrow)
	b.exec(`UPDATE migrations SET checksum = 'edited' WHERE version = 1`)
	if _, err := cassandra.Open(t.Context(), cfg); !errors.Is(err, cassandra.ErrLayout) {
		t.Errorf("an edited migration: %v", err)
	}
}

func TestAStoreIsNotOpenedWithAnotherLayout(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	cfg.Layout = cassandra.Layout{Shards: 4, LogBucket: 8, HistoryBucket: 16}
	if got := open(t, cfg).Layout(); got != cfg.Layout {
		t.Fatalf("%+v", got)
	}
	open(t, cfg)
	for _, layout := range []cassandra.Layout{{Shards: 5, LogBucket: 8, HistoryBucket: 16}, {Shards: 4, LogBucket: 9, HistoryBucket: 16}, {Shards: 4, LogBucket: 8, HistoryBucket: 17}, {}} {
		other := cfg
		other.Layout = layout
		if _, err := cassandra.Open(t.Context(), other); !errors.Is(err, cassandra.ErrLayout) || !strings.Contains(err.Error(), "4, 8 and 16") {
			t.Errorf("%+v: %v", layout, err)
		}
	}
}

func TestAStoreThatDoesNotKeepItsWordIsNotOpenedUnlessThatIsAccepted(t *testing.T) {
	t.Parallel()
	for name, keyspace := range map[string][2]string{
		"replication_strategy": {"SimpleStrategy", "true"},
		"durable_writes":       {"NetworkTopologyStrategy', 'datacenter1", "false"},
	} {
		cfg := newKeyspace(t)
		makeKeyspace(t, cfg, keyspace[0], keyspace[1])
		if _, err := cassandra.Open(t.Context(), cfg); !errors.Is(err, cassandra.ErrAssumption) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		cfg.Accept = []string{name}
		for _, a := range open(t, cfg).Assumptions() {
			if a.Name == name && a.Holds {
				t.Errorf("%+v", a)
			}
		}
	}
}

func TestTheAssumptionsOfAnOpenStoreAreTold(t *testing.T) {
	t.Parallel()
	found := make(map[string]cassandra.Assumption)
	for _, a := range open(t, newKeyspace(t)).Assumptions() {
		found[a.Name] = a
	}
	if a := found["paxos_variant"]; a.Found != "v2" || !a.Holds || a.Node == "" {
		t.Errorf("%+v", a)
	}
	if a := found["commitlog_sync"]; a.Found == "" || a.Holds != (a.Found == "group" || a.Found == "batch") {
		t.Errorf("%+v", a)
	}
	if a := found["replicas"]; a.Found != "1 in datacenter1" || a.Holds {
		t.Errorf("%+v", a)
	}
	for _, name := range []string{"replication_strategy", "durable_writes", "read_repair", "scope"} {
		if a := found[name]; !a.Holds {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestOpeningEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cassandra.Open(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	cfg.Hosts = []string{"127.0.0.1:1"}
	if _, err := cassandra.Open(t.Context(), cfg); !errors.Is(err, command.ErrUnavailable) {
		t.Error(err)
	}
}

func TestAVaultIsNotOpenedUnderAnotherMasterKey(t *testing.T) {
	t.Parallel()
	k := open(t, newKeyspace(t)).VaultKeys()
	dir := t.TempDir()
	if _, err := vault.OpenIn(t.Context(), k, vault.Config{MasterFile: dir + "/a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.OpenIn(t.Context(), k, vault.Config{MasterFile: dir + "/b"}); err == nil {
		t.Error("a vault in use was opened without its master key")
	}
	if _, err := vault.OpenIn(t.Context(), k, vault.Config{MasterKey: strings.Repeat("A", 43) + "="}); !errors.Is(err, vault.ErrMasterKey) {
		t.Error(err)
	}
}
