//go:build real

package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// All tests share a database that is made for this run and dropped after it; each has schemas of its own in it.

var testDatabase = "carryon_test_" + randomName()

func randomName() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func TestMain(m *testing.M) {
	code := m.Run()
	if address := os.Getenv("CARRYON_TEST_POSTGRES"); address != "" {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := administer(ctx, address, "DROP DATABASE IF EXISTS "+testDatabase+" WITH (FORCE)"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		cancel()
	}
	os.Exit(code)
}

func administer(ctx context.Context, address, statement string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

var makeDatabase = sync.OnceValues(func() (string, error) {
	address := os.Getenv("CARRYON_TEST_POSTGRES")
	if address == "" {
		return "", fmt.Errorf("CARRYON_TEST_POSTGRES is not set: start a server with scripts/stack/postgres/postgres up, and set it to postgres://postgres@127.0.0.1:5433/postgres?sslmode=disable")
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	u.Path = "/" + testDatabase
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return u.String(), administer(ctx, address, "CREATE DATABASE "+testDatabase)
})

var prefixes atomic.Int64

// testConfig has a prefix of the test's own.
func testConfig(t testing.TB) Config {
	t.Helper()
	address, err := makeDatabase()
	if err != nil {
		t.Fatal(err)
	}
	return Config{URL: address, Prefix: "t" + strconv.FormatInt(prefixes.Add(1), 10)}
}

func testDB(t testing.TB, c Config) *DB {
	t.Helper()
	db, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// process is another process's way to the database of a test.
func (db *DB) process(t testing.TB) *DB {
	t.Helper()
	return testDB(t, db.config)
}

// exec does something to the database behind everyone's back.
func (db *DB) exec(t testing.TB, text string, args ...any) {
	t.Helper()
	if _, err := db.write.Exec(t.Context(), text, args...); err != nil {
		t.Fatal(err)
	}
}
