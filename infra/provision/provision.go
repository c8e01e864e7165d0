// Package provision gives tests of the whole program a place of their own on real servers.
package provision

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"github.com/jackc/pgx/v5"
)

// Settings makes a keyspace's name, a database, a topic's name and a prefix that nobody else uses, on the servers that
// the environment names, takes them away after the test, and answers the settings of processes that share them.
func Settings(t testing.TB, replication int) map[string]string {
	t.Helper()
	var id [4]byte
	_, _ = rand.Read(id[:])
	name := "t" + hex.EncodeToString(id[:])
	hosts, postgres := need(t, "CARRYON_TEST_CASSANDRA"), need(t, "CARRYON_TEST_POSTGRES")
	kafka, elastic := need(t, "CARRYON_TEST_KAFKA"), need(t, "CARRYON_TEST_ELASTICSEARCH")
	db, err := url.Parse(postgres)
	if err != nil {
		t.Fatal(err)
	}
	admin := func(statement string) error {
		conn, err := pgx.Connect(context.Background(), postgres)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), statement)
		return err
	}
	if err := admin("CREATE DATABASE " + name); err != nil {
		t.Fatalf("making a database: %v", err)
	}
	db.Path = "/" + name
	t.Cleanup(func() {
		var errs []error
		errs = append(errs, admin("DROP DATABASE "+name+" WITH (FORCE)"))
		cluster := gocql.NewCluster(strings.Split(hosts, ",")...)
		cluster.Timeout = 30 * time.Second
		if session, err := cluster.CreateSession(); err == nil {
			errs = append(errs, session.Query("DROP KEYSPACE IF EXISTS "+name).Exec())
			session.Close()
		}
		request, err := http.NewRequest(http.MethodDelete, elastic+"/"+name+"*", nil)
		if err == nil {
			var answer *http.Response
			if answer, err = http.DefaultClient.Do(request); err == nil {
				answer.Body.Close()
			}
		}
		if err := errors.Join(append(errs, err)...); err != nil {
			t.Logf("cleaning up: %v", err)
		}
	})
	return map[string]string{
		"profile": "distributed", "keys": filepath.Join(t.TempDir(), "keys"), "shards": "4",
		"cassandra": hosts, "cassandra-keyspace": name, "cassandra-replication": strconv.Itoa(replication),
		"postgres": db.String(), "kafka": kafka, "kafka-topic": name,
		"elasticsearch": elastic, "elasticsearch-prefix": name, "elasticsearch-replicas": "0",
		"log-level": "warn",
	}
}

// need is where a server is; without it these tests fail.
func need(t testing.TB, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: bring the servers up with scripts/stack/stack up, and then eval \"$(scripts/stack/stack env)\"", name)
	}
	return v
}
