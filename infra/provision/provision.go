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
	"github.com/jackc/pgx/v5/pgconn"
)

// Settings makes a keyspace's name, a database, a topic's name and a prefix that nobody else uses, on the servers that
// the environment names, takes them away after the test, and answers the settings of processes that share them.
func Settings(t testing.TB, replication int) map[string]string {
	t.Helper()
	var id [4]byte
	_, _ = rand.Read(id[:])
	name := "t" + hex.EncodeToString(id[:])
	hosts, postgres, elastic := need(t, "CARRYON_TEST_CASSANDRA"), need(t, "CARRYON_TEST_POSTGRES"), need(t, "CARRYON_TEST_ELASTICSEARCH")
	admin := func(statement string) error { return administer(postgres, statement) }
	if err := admin("CREATE DATABASE " + name); err != nil {
		t.Fatalf("making a database: %v", err)
	}
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
	return settings(t, name, filepath.Join(t.TempDir(), "keys"), replication)
}

// Kept are the settings of a place that stays, under a name of lower-case letters, with its keys in a folder. It is made
// where it is not there yet.
func Kept(t testing.TB, name, keys string, replication int) map[string]string {
	t.Helper()
	const isThere = "42P04"
	err := administer(need(t, "CARRYON_TEST_POSTGRES"), "CREATE DATABASE "+name)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == isThere {
		err = nil
	}
	if err != nil {
		t.Fatalf("making a database: %v", err)
	}
	return settings(t, name, keys, replication)
}

func administer(postgres, statement string) error {
	conn, err := pgx.Connect(context.Background(), postgres)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), statement)
	return err
}

func settings(t testing.TB, name, keys string, replication int) map[string]string {
	t.Helper()
	db, err := url.Parse(need(t, "CARRYON_TEST_POSTGRES"))
	if err != nil {
		t.Fatal(err)
	}
	db.Path = "/" + name
	return map[string]string{
		"profile": "distributed", "keys": keys, "shards": "4",
		"cassandra": need(t, "CARRYON_TEST_CASSANDRA"), "cassandra-keyspace": name, "cassandra-replication": strconv.Itoa(replication),
		"postgres": db.String(), "kafka": need(t, "CARRYON_TEST_KAFKA"), "kafka-topic": name,
		"elasticsearch": need(t, "CARRYON_TEST_ELASTICSEARCH"), "elasticsearch-prefix": name, "elasticsearch-replicas": "0",
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
