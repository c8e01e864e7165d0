//go:build real

package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
	"carryon/query"
)

func TestStoresPassTheReadModelSuite(t *testing.T) {
	t.Parallel()
	conformance.ReadModel(t, openAll)
}

// shown is a search whose readers wait for what is applied, as those do who ask for a position: the suite asks at once.
type shown struct{ *Search }

func (s shown) showAll(ctx context.Context) error {
	checkpoints, err := s.Checkpoints(ctx)
	for shard, c := range checkpoints {
		if err == nil {
			err = s.Show(ctx, domain.Position{Shard: shard, Index: c.Index})
		}
	}
	return err
}

func (s shown) Hits(ctx context.Context, q query.SearchAsked) ([]query.SearchHit, error) {
	if err := s.showAll(ctx); err != nil {
		return nil, err
	}
	return s.Search.Hits(ctx, q)
}

func (s shown) Count(ctx context.Context, q query.SearchAsked, bound int) (int64, error) {
	if err := s.showAll(ctx); err != nil {
		return 0, err
	}
	return s.Search.Count(ctx, q, bound)
}

func (s shown) Facets(ctx context.Context, q query.SearchAsked, fields []string, bound int) (map[string]map[string]int64, error) {
	if err := s.showAll(ctx); err != nil {
		return nil, err
	}
	return s.Search.Facets(ctx, q, fields, bound)
}

func (s shown) Vocabulary(ctx context.Context, prefix string, limit int) ([]string, error) {
	if err := s.showAll(ctx); err != nil {
		return nil, err
	}
	return s.Search.Vocabulary(ctx, prefix, limit)
}

// suiteShards are those of the suites' logs.
var suiteShards = []int{0, 1, 2, 3, 4, 5, 6, 7}

// openAll makes all read models. The others than the search are SQLite's, where a test asks for several models.
func openAll(t testing.TB, pseudonyms query.Pseudonyms) conformance.ReadModels {
	t.Helper()
	dir := t.TempDir()
	return conformance.ReadModels{
		Customers: opened(t, dir, "customers", func(ctx context.Context, path string) (*readmodel.Customers, error) {
			return readmodel.OpenCustomers(ctx, path, pseudonyms)
		}),
		Timeline:  opened(t, dir, "timeline", readmodel.OpenTimeline),
		Denials:   opened(t, dir, "denials", readmodel.OpenDenials),
		Analytics: opened(t, dir, "analytics", readmodel.OpenAnalytics),
		Reference: opened(t, dir, "reference", readmodel.OpenReference),
		Search:    shown{NewSearch(testClient(t, testConfig(t)), 1, suiteShards)},
	}
}

func opened[M interface{ Close() error }](t testing.TB, dir, name string, open func(context.Context, string) (M, error)) M {
	t.Helper()
	m, err := open(t.Context(), filepath.Join(dir, name+".db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// The small read model of the consumer suite. Its rows change, which documents of this store must not: so each time that
// a row is set it is another document, named by stream and seq as the search's are.

var suiteDesign = design{model: "suite", version: 1, mapping: json.RawMessage(`{"dynamic": "strict", "properties": {
	"own": {"type": "keyword"}, "state": {"type": "object", "enabled": false},
	"stream": {"type": "keyword"}, "seq": {"type": "long"}, "count": {"type": "long"}, "digest": {"type": "keyword"}, "upto": {"type": "long"}, "shard": {"type": "integer"}}}`)}

// rowDocument is a row after an event. UpTo is the checkpoint of the first commit that would cover it: beyond the
// checkpoint, it is what a commit left that did not get through.
type rowDocument struct {
	Stream domain.StreamID `json:"stream"`
	Seq    uint64          `json:"seq"`
	Count  int             `json:"count"`
	Digest string          `json:"digest"`
	UpTo   uint64          `json:"upto"`
	Shard  int             `json:"shard"`
}

func (d *rowDocument) row() conformance.ConsumerRow {
	return conformance.ConsumerRow{Stream: d.Stream, Seq: d.Seq, Count: d.Count, Digest: d.Digest}
}

type rowTx struct {
	*tx
	rows  []conformance.ConsumerRow
	known map[domain.StreamID]conformance.ConsumerRow
}

type rowStore struct{ *store }

func (s rowStore) Begin(ctx context.Context, shard int) (*rowTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return &rowTx{tx: t, known: map[domain.StreamID]conformance.ConsumerRow{}}, nil
}

// Commit stamps the rows. The smallest stamp stays: its version is the highest.
func (t *rowTx) Commit(ctx context.Context, to projector.Checkpoint) error {
	for _, row := range t.rows {
		t.add(domain.Event{Stream: row.Stream, Seq: row.Seq}, write{
			id: eventID(row.Stream, row.Seq), version: math.MaxInt64/4 - int64(to.Index),
			source: rowDocument{row.Stream, row.Seq, row.Count, row.Digest, to.Index, t.shard},
		})
	}
	return t.tx.Commit(ctx, to)
}

type suiteRows struct{ s *store }

func (r suiteRows) Row(ctx context.Context, t *rowTx, stream domain.StreamID) (conformance.ConsumerRow, error) {
	if row, is := t.known[stream]; is {
		return row, nil
	}
	var last conformance.ConsumerRow
	const page = 512 // no batch of the suite holds as many events of a stream
	for next := uint64(1); ; next += page {
		ids := make([]string, page)
		for i := range ids {
			ids[i] = eventID(stream, next+uint64(i))
		}
		var answer struct {
			Docs []struct {
				Found  bool        `json:"found"`
				Source rowDocument `json:"_source"`
			} `json:"docs"`
		}
		if err := r.s.c.call(ctx, http.MethodPost, "/"+r.s.index+"/_mget", object{"ids": ids}, &answer); err != nil {
			return last, storeError(err)
		}
		for i := range answer.Docs {
			d := &answer.Docs[i]
			if d.Found && covered(&d.Source, t.doc.Source.State) {
				last = d.Source.row()
			}
		}
		if last.Seq < next {
			return last, nil
		}
	}
}

// covered tells whether a row is committed.
func covered(d *rowDocument, c checkpoint) bool {
	at := slices.IndexFunc(c.Parked, func(p parkedStream) bool { return p.Stream == d.Stream })
	return d.UpTo <= c.Index && (at < 0 || d.Seq < c.Parked[at].FirstSeq)
}

func (suiteRows) SetRow(_ context.Context, t *rowTx, row conformance.ConsumerRow) error {
	t.rows, t.known[row.Stream] = append(t.rows, row), row
	return nil
}

func (r suiteRows) All(ctx context.Context) ([]conformance.ConsumerRow, error) {
	states := map[int]checkpoint{}
	if err := r.s.eachCheckpoint(ctx, "", func(shard int, c *checkpoint) error { states[shard] = *c; return nil }); err != nil {
		return nil, err
	}
	if err := r.s.refresh(ctx); err != nil {
		return nil, err
	}
	var answer struct {
		Hits struct {
			Hits []struct {
				Source rowDocument `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	}
	const most = 10_000
	err := r.s.c.call(ctx, http.MethodPost, "/"+r.s.index+"/_search", object{"size": most, "query": object{"exists": object{"field": "stream"}}}, &answer)
	if err != nil || len(answer.Hits.Hits) == most {
		return nil, fmt.Errorf("%d rows: %w", len(answer.Hits.Hits), err)
	}
	last := map[domain.StreamID]conformance.ConsumerRow{}
	for i := range answer.Hits.Hits {
		d := &answer.Hits.Hits[i].Source
		if covered(d, states[d.Shard]) && d.Seq > last[d.Stream].Seq {
			last[d.Stream] = d.row()
		}
	}
	all := []conformance.ConsumerRow{}
	for _, row := range last {
		all = append(all, row)
	}
	return all, nil
}

func TestStoreKeepsTheConsumerContract(t *testing.T) {
	t.Parallel()
	conformance.Consumer(t, func(t testing.TB) conformance.ConsumerSubject[*rowTx] {
		t.Helper()
		s := newStore(testClient(t, testConfig(t)), suiteDesign, 1, suiteShards)
		return conformance.ConsumerSubject[*rowTx]{Store: rowStore{s}, Rows: suiteRows{s}}
	})
}

func TestGenerationsKeepTheirContract(t *testing.T) {
	t.Parallel()
	conformance.Generations(t, func(t *testing.T) func(t *testing.T) projector.Generations {
		t.Helper()
		cfg := testConfig(t)
		return func(t *testing.T) projector.Generations {
			t.Helper()
			return testClient(t, cfg).Generations()
		}
	})
}
