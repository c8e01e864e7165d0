//go:build real

package profile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/domain"
	"carryon/infra/provision"
	"carryon/infra/sqlite"
)

// filling is the distributed profile with its log in a file: a history is recorded there several times faster, and read
// from there by the projectors that fill Postgres and Elasticsearch. Questions of what is projected ask no log; the
// customers' keys, which they do ask, are in Cassandra.
type filling struct{ *distributed }

func (f filling) openStores(ctx context.Context, s *System) error {
	if err := f.distributed.openStores(ctx, s); err != nil {
		return err
	}
	s.peers = nil // nobody else is there
	log, err := sqlite.OpenLog(ctx, filepath.Join(s.config.Data, "carryon.db"), sqlite.LogConfig{Shards: s.layout.customerShards})
	if err != nil {
		return err
	}
	s.log = log
	s.onClose(func(context.Context) error { return log.Close() })
	return nil
}

// livedOnServers fills the servers with about as many events, and answers how many there are, and the settings of
// processes that see them. With FIGURE_DATA they stay: who runs it again finds them, or goes on where it was stopped.
func livedOnServers(b *testing.B, want int64) (flags map[string]string, events int64) {
	b.Helper()
	dir := os.Getenv("FIGURE_DATA")
	if dir == "" {
		dir = b.TempDir()
		flags = Provision(b, 1)
	} else {
		flags = provision.Kept(b, "figures", filepath.Join(dir, "keys"), 1)
	}
	own := maps.Clone(flags)
	own["data"], own["roles"] = filepath.Join(dir, "filling"), "command,projector"
	c, err := config.Load(config.Sources{Flags: own})
	if err != nil {
		b.Fatal(err)
	}
	var pretended pretendedClock
	s, err := open(b.Context(), c, cli.OpenOptions{Clock: pretended.now}, filling{&distributed{}})
	if err != nil {
		b.Fatal(err)
	}
	defer closeFigure(b, s)
	if err := s.writer.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	liveThrough(b, s, want, &pretended)
	return flags, countEvents(b, s)
}

// BenchmarkFigureServersQueries is BenchmarkFigureQueries on the servers: a process that only answers, against the same
// statements through the same clients.
func BenchmarkFigureServersQueries(b *testing.B) {
	flags, events := livedOnServers(b, int64(envInt("FIGURE_BACKLOG", 1_000_000)))
	pool, err := pgxpool.New(b.Context(), flags["postgres"])
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(b.Context(), "VACUUM (ANALYSE)"); err != nil { // as it is when the server has had time to
		b.Fatal(err)
	}
	s := openQuerier(b, flags)
	defer closeFigure(b, s)
	measureQueries(b, s, events, bareServersRead(b, s, flags, pool))
}

// openQuerier opens a process that only answers.
func openQuerier(b *testing.B, flags map[string]string) *System {
	b.Helper()
	flags = maps.Clone(flags)
	flags["data"], flags["listen"], flags["roles"] = b.TempDir(), "127.0.0.1:0", roleQuery
	c, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		b.Fatal(err)
	}
	s, err := OpenDistributed(b.Context(), c, cli.OpenOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// bareServersRead asks Postgres and Elasticsearch for the rows, in the statements that the read models use.
func bareServersRead(b *testing.B, s *System, flags map[string]string, pool *pgxpool.Pool) bareStore {
	b.Helper()
	client, err := elasticsearch.NewBaseClient(elasticsearch.Config{
		Addresses: strings.Split(flags["elasticsearch"], ","), Transport: &http.Transport{MaxIdleConnsPerHost: queryCallers}, DisableRetry: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	from, to := askedPeriod()
	var cuts []int64
	for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
		cuts = append(cuts, day.Unix())
	}
	rows := func(ctx context.Context, statement string, args ...any) error {
		r, err := pool.Query(ctx, statement, args...)
		if err != nil {
			return err
		}
		return drainServer(r)
	}
	d := s.outside.(*distributed)
	const generation = 1 // nothing was built anew
	customers := `"` + d.postgres.Customers(generation, s.keys.Pseudonyms()).Generations().Schema(generation) + `"`
	timeline := `"` + d.postgres.Timeline(generation).Generations().Schema(generation) + `"`
	analytics := `"` + d.postgres.Analytics(generation).Generations().Schema(generation) + `"`
	index := d.elastic.Generations().Index(generation)
	questions := map[string]func(ctx context.Context, about string) error{
		"customer": func(ctx context.Context, customer string) error {
			return rows(ctx, "SELECT stream, version, shard, entry, place, recorded_at, state FROM "+customers+".customers WHERE stream = $1",
				string(domain.CustomerStream(customer)))
		},
		"timeline": func(ctx context.Context, customer string) error {
			return rows(ctx, "SELECT stream, shard, seq, recorded_at, type, actor, role, entry, place, packed FROM "+timeline+
				".events WHERE stream = $1 ORDER BY stream DESC, seq DESC LIMIT 51", string(domain.CustomerStream(customer)))
		},
		"search": func(ctx context.Context, word string) error { return bareSearch(ctx, client, index, word) },
		"analytics": func(ctx context.Context, metric string) error {
			return rows(ctx, "SELECT width_bucket(x.quarter, $1::bigint[]) - 1 AS i, d.studio, sum(x.n)::bigint FROM "+analytics+".rollups x JOIN "+analytics+
				".dimensions d ON d.id = x.dimensions WHERE x.metric = $2 AND x.quarter >= $3 AND x.quarter < $4 GROUP BY 1, 2",
				cuts, 1+slices.Index(askedMetrics, metric), from.Unix(), to.Unix())
		},
	}
	return func(_ *testing.B, name string) (func(context.Context, string) error, func()) {
		return questions[name], func() {}
	}
}

// drainServer reads every value of every row.
func drainServer(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		if _, err := rows.Values(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// bareSearch asks for the documents of a page, and reads them.
func bareSearch(ctx context.Context, client *elasticsearch.BaseClient, index, word string) error {
	type object = map[string]any
	body, err := json.Marshal(object{
		"query": object{"bool": object{
			"filter":   []object{{"prefix": object{"words": object{"value": word}}}},
			"must_not": []object{{"exists": object{"field": "own"}}},
		}},
		"size": 51, "track_total_hits": false,
		"sort": []object{{"at": "desc"}, {"shard": "desc"}, {"entry": "desc"}, {"place": "desc"}},
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "/"+index+"/_search", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Perform(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("search for %s: status %d: %s", word, answer.StatusCode, text)
	}
	var found struct {
		Hits struct {
			Hits []struct {
				Source json.RawMessage `json:"_source"`
			}
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return err
	}
	if len(found.Hits.Hits) == 0 {
		return fmt.Errorf("a search for %s finds nothing", word)
	}
	return nil
}
