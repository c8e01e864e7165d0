//go:build real

package elastic

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// Each test has indices of its own, whose names begin with the run's; they are removed after the run.

var (
	testRun  = "carryontest-" + randomID()[:8]
	prefixes atomic.Int64
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := removeAll(); err != nil {
		fmt.Fprintln(os.Stderr, "removing what the tests left:", err)
		code = 1
	}
	os.Exit(code)
}

const addressVariable = "CARRYON_TEST_ELASTICSEARCH"

func removeAll() error {
	address := os.Getenv(addressVariable)
	if address == "" {
		return nil
	}
	c, err := Open(Config{Addresses: []string{address}})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var indices map[string]any
	if err := c.call(ctx, http.MethodGet, "/"+testRun+"*?filter_path=*.settings.index.uuid&expand_wildcards=all", nil, &indices); err != nil {
		return err
	}
	for index := range indices {
		if err := c.call(ctx, http.MethodDelete, "/"+index, nil, nil); err != nil && !says(err, noSuchIndex) {
			return err
		}
	}
	return c.call(ctx, http.MethodDelete, "/_index_template/"+testRun+"*", nil, nil)
}

// testConfig has a prefix of the test's own.
func testConfig(t testing.TB) Config {
	t.Helper()
	address := os.Getenv(addressVariable)
	if address == "" {
		t.Fatalf("%s is not set: start a server with scripts/stack/elasticsearch/elasticsearch up, and set it to http://127.0.0.1:9200", addressVariable)
	}
	none := 0
	return Config{Addresses: []string{address}, Prefix: testRun + "-" + strconv.FormatInt(prefixes.Add(1), 10), Replicas: &none}
}

func testClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
