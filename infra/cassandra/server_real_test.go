//go:build real || ring

package cassandra_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"carryon/domain"
	"carryon/infra/cassandra"
)

// hosts is where the server is. Whoever asks for these tests wants them run.
func hosts(t testing.TB) []string {
	t.Helper()
	text := os.Getenv("CARRYON_TEST_CASSANDRA")
	if text == "" {
		t.Fatal(`CARRYON_TEST_CASSANDRA is not set. Start servers with scripts/stack/stack up, then eval "$(scripts/stack/stack env)"`)
	}
	return strings.Split(text, ",")
}

// newKeyspace names a keyspace that is made when it is opened, and dropped after the test.
func newKeyspace(t testing.TB) cassandra.Config {
	t.Helper()
	cfg := cassandra.Config{
		Hosts: hosts(t), Keyspace: "test_" + strings.ToLower(rand.Text()[:16]), Replication: 1,
		Timeout: 30 * time.Second, Connections: 1,
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := session(t, cfg, "").Query("DROP KEYSPACE IF EXISTS " + cfg.Keyspace).WithContext(ctx).Exec(); err != nil {
			t.Errorf("dropping keyspace %s: %v", cfg.Keyspace, err)
		}
	})
	return cfg
}

func open(t testing.TB, cfg cassandra.Config) *cassandra.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := cassandra.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func session(t testing.TB, cfg cassandra.Config, keyspace string) *gocql.Session {
	t.Helper()
	d := gocql.NewCluster(cfg.Hosts...)
	d.Keyspace, d.Timeout, d.ConnectTimeout, d.NumConns, d.ProtoVersion = keyspace, 30*time.Second, 30*time.Second, 1, 4
	s, err := d.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// below reaches below the store.
type below struct {
	t       testing.TB
	session *gocql.Session
}

func raw(t testing.TB, cfg cassandra.Config) below { return below{t, session(t, cfg, cfg.Keyspace)} }

func (b below) exec(statement string, values ...any) {
	b.t.Helper()
	if err := b.session.Query(statement, values...).Consistency(gocql.All).Exec(); err != nil {
		b.t.Fatalf("%s: %v", statement, err)
	}
}

// forget takes the newest entries from a log, as a server that lost them would: by conditional writes, because what was
// written by those can be overwritten by nothing else.
func forget(t *testing.T, cfg cassandra.Config, shard, entries int) {
	t.Helper()
	b := raw(t, cfg)
	size := int64(cfg.Layout.LogBucket)
	for range entries {
		head := int64(0)
		for bucket := int64(0); ; bucket++ {
			var at int64
			err := b.session.Query(`SELECT DISTINCT head FROM log WHERE shard = ? AND bucket = ?`, shard, bucket).Scan(&at)
			if errors.Is(err, gocql.ErrNotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			head = at
		}
		bucket := (head - 1) / size
		batch := b.session.NewBatch(gocql.UnloggedBatch)
		if head-1 == bucket*size {
			batch.Query(`UPDATE log SET head = null, head_id = null, head_writer = null WHERE shard = ? AND bucket = ? IF head = ?`, shard, bucket, head)
		} else {
			var id []byte
			if err := b.session.Query(`SELECT id FROM log WHERE shard = ? AND bucket = ? AND entry = ?`, shard, bucket, head-1).Scan(&id); err != nil {
				t.Fatal(err)
			}
			batch.Query(`UPDATE log SET head = ?, head_id = ? WHERE shard = ? AND bucket = ? IF head = ?`, head-1, id, shard, bucket, head)
		}
		batch.Query(`DELETE FROM log WHERE shard = ? AND bucket = ? AND entry = ?`, shard, bucket, head)
		applied, _, err := b.session.MapExecuteBatchCAS(batch, make(map[string]any))
		if err != nil || !applied {
			t.Fatalf("forgetting entry %d: %v, %v", head, applied, err)
		}
	}
}

// loseHistory drops events without leaving a trace: a deletion would hide what is written again with the same timestamp.
func loseHistory(t *testing.T, cfg cassandra.Config, stream domain.StreamID, from, to uint64) {
	t.Helper()
	b := raw(t, cfg)
	type row struct {
		values []any
		at     int64
	}
	var kept []row
	rows := b.session.Query(`SELECT stream, bucket, seq, shard, entry, place, event, WRITETIME(event) FROM history`).Iter()
	for {
		var name string
		var bucket, seq, entry, at int64
		var shard, place int
		var event []byte
		if !rows.Scan(&name, &bucket, &seq, &shard, &entry, &place, &event, &at) {
			break
		}
		if name != string(stream) || uint64(seq) < from || uint64(seq) > to {
			kept = append(kept, row{[]any{name, bucket, seq, shard, entry, place, event, at}, at})
		}
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	b.exec(`TRUNCATE history`)
	for _, r := range kept {
		b.exec(`INSERT INTO history (stream, bucket, seq, shard, entry, place, event) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`, r.values...)
	}
}
