//go:build real

package pgsql_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"carryon/infra/conformance"
	"carryon/infra/pgsql"
	"carryon/infra/sqlite/readmodel"
	"carryon/query"
)

// database makes a database of the test's own.
func database(t testing.TB) string {
	t.Helper()
	address := os.Getenv("CARRYON_TEST_POSTGRES")
	if address == "" {
		t.Fatal("CARRYON_TEST_POSTGRES is not set: bring the servers up with scripts/stack/stack up, and then eval \"$(scripts/stack/stack env)\"")
	}
	name := fmt.Sprintf("t%x", rand.Uint64())
	do := func(statement string) {
		conn, err := pgx.Connect(context.Background(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), statement); err != nil {
			t.Error(err)
		}
	}
	do("CREATE DATABASE " + name)
	t.Cleanup(func() { do("DROP DATABASE " + name + " WITH (FORCE)") })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func open(t testing.TB, address string) *pgsql.Server {
	t.Helper()
	s, err := pgsql.Open(pgsql.Config{URL: address})
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

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestPostgresPassesTheReadModelSuite(t *testing.T) {
	address := database(t)
	conformance.ReadModel(t, func(t testing.TB, p query.Pseudonyms) conformance.ReadModels {
		s := open(t, address)
		n := rand.IntN(1 << 30) // a generation of its own
		return conformance.ReadModels{
			Customers: must[*readmodel.Customers](t)(s.Customers(n, p)),
			Timeline:  must[*readmodel.Timeline](t)(s.Timeline(n)),
			Denials:   must[*readmodel.Denials](t)(s.Denials(n)),
			Analytics: must[*readmodel.Analytics](t)(s.Analytics(n)),
			Reference: must[*readmodel.Reference](t)(s.Reference(n)),
			// The words are searched elsewhere; the suite's questions over several models want them.
			Search: must[*readmodel.Search](t)(readmodel.OpenSearch(t.Context(), filepath.Join(t.TempDir(), "search.db"))),
		}
	})
}
