package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// Words are folded and parted in Go, in the one way of both profiles, and come here as values, not as text: so nothing
// that a user types is syntax, and nothing depends on what analyzers the servers have. A value is found as it is or by its
// beginning; words that a mistyped one may stand for are looked up among the values beforehand.

// Search keeps the documents of one generation.
type Search struct {
	*store
	projector.ByStream
}

var (
	_ projector.Store[projector.SearchTx] = (*Search)(nil)
	_ projector.Auditable                 = (*Search)(nil)
	_ query.SearchModel                   = (*Search)(nil)
)

// NewSearch is a generation of the search, for a log with these shards. Nothing is asked of the servers before it is
// needed: see Prepare.
func NewSearch(c *Client, generation int, shards []int) *Search {
	return &Search{store: newStore(c, searchDesign, generation, shards)}
}

// OpenSearch is NewSearch and Prepare. When the servers are away that is projector.ErrTransient (wrapped).
func OpenSearch(ctx context.Context, c *Client, generation int, shards []int) (*Search, error) {
	s := NewSearch(c, generation, shards)
	return s, s.Prepare(ctx)
}

// Capabilities say how the search differs from one that is kept in a database.
func (s *Search) Capabilities() query.SearchCapabilities {
	return query.SearchCapabilities{FoundAfter: s.c.cfg.RefreshInterval, AheadOfCheckpoint: true}
}

// Begin opens a transaction: see projector.Store. Nobody is kept out by it; who commits first wins.
func (s *Search) Begin(ctx context.Context, shard int) (projector.SearchTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return searchTx{t}, nil
}

type searchTx struct{ *tx }

// document is an event as the index has it. What is empty is left out, and matches nothing.
type document struct {
	At            int64    `json:"at"` // recorded, in microseconds since 1970
	Shard         int      `json:"shard"`
	Entry         uint64   `json:"entry"`
	Place         int      `json:"place"`
	Stream        string   `json:"stream"`
	Seq           uint64   `json:"seq"`
	Event         string   `json:"event,omitempty"`
	Occurred      int64    `json:"occurred,omitempty"`
	Type          string   `json:"type"`
	Actor         string   `json:"actor,omitempty"`
	Role          string   `json:"role,omitempty"`
	DeviceID      string   `json:"device_id,omitempty"`
	DeviceType    string   `json:"device_type,omitempty"`
	DeviceFamily  string   `json:"device_family,omitempty"`
	TitleID       string   `json:"title_id,omitempty"`
	TitleName     string   `json:"title_name,omitempty"`
	Series        string   `json:"series,omitempty"`
	Studio        string   `json:"studio,omitempty"`
	Plan          string   `json:"plan,omitempty"`
	Country       string   `json:"country,omitempty"`
	LicenseID     string   `json:"license_id,omitempty"`
	Code          string   `json:"code,omitempty"`
	Case          string   `json:"case,omitempty"`
	Trigger       string   `json:"trigger,omitempty"`
	Basis         string   `json:"basis,omitempty"`
	PolicyVersion int      `json:"policy_version,omitempty"`
	DecisionID    string   `json:"decision_id,omitempty"`
	TitleWords    []string `json:"title_words,omitempty"`
	Words         []string `json:"words,omitempty"`
}

func documentOf(d *projector.Document) *document {
	title := distinct(d.TitleWords())
	return &document{
		At: micros(d.RecordedAt), Shard: d.Position.Shard, Entry: d.Position.Index, Place: d.Position.Place, Stream: string(d.Stream), Seq: d.Seq,
		Event: d.EventID, Occurred: micros(d.OccurredAt), Type: d.Type, Actor: d.Actor.ID, Role: d.Role,
		DeviceID: d.DeviceID, DeviceType: d.DeviceType, DeviceFamily: d.DeviceFamily, TitleID: d.TitleID, TitleName: d.TitleName, Series: d.Series,
		Studio: d.Studio, Plan: d.Plan, Country: d.Country, LicenseID: d.LicenseID, Code: d.Code, Case: d.Case, Trigger: d.Trigger, Basis: d.Basis,
		PolicyVersion: d.PolicyVersion, DecisionID: d.DecisionID, TitleWords: title, Words: distinct(append(d.OtherWords(), title...)),
	}
}

func distinct(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}

func (d *document) document() projector.Document {
	p := projector.Document{
		Stream: domain.StreamID(d.Stream), Seq: d.Seq, Position: domain.Position{Shard: d.Shard, Index: d.Entry, Place: d.Place}, EventID: d.Event,
		Type: d.Type, OccurredAt: fromMicros(d.Occurred), RecordedAt: fromMicros(d.At), Actor: domain.Actor{ID: d.Actor, Role: domain.Role(d.Role)},
		DeviceID: d.DeviceID, LicenseID: d.LicenseID, TitleName: d.TitleName, Case: d.Case, DecisionID: d.DecisionID,
		Dimensions: projector.Dimensions{
			TitleID: d.TitleID, Series: d.Series, Studio: d.Studio, Plan: d.Plan, Country: d.Country, DeviceType: d.DeviceType,
			DeviceFamily: d.DeviceFamily, Trigger: d.Trigger, Code: d.Code, Basis: d.Basis, Role: d.Role, PolicyVersion: d.PolicyVersion,
		},
	}
	if kind := p.Stream.Kind(); kind == domain.KindCustomer || kind == domain.KindFailOpen {
		p.Customer = p.Stream.ID()
	}
	return p
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// AddDocuments adds documents.
func (t searchTx) AddDocuments(_ context.Context, rows []projector.Document) error {
	if t.over {
		return errOver
	}
	for i := range rows {
		d := &rows[i]
		t.add(domain.Event{Stream: d.Stream, Seq: d.Seq, Position: d.Position},
			write{id: eventID(d.Stream, d.Seq), version: int64(d.Position.Index), source: documentOf(d)})
	}
	return nil
}

type object = map[string]any

func oneOf(field string, values []string) object { return object{"terms": object{field: values}} }

// fieldsOf are the filters by fields' values.
func fieldsOf(f *query.Filter) []object {
	var conditions []object
	for _, c := range []struct {
		field  string
		values []string
	}{
		{"type", f.Type}, {"stream", streamsOf(f.Customer)}, {"device_id", f.DeviceID}, {"title_id", f.TitleID}, {"series", f.Series},
		{"license_id", f.LicenseID}, {"studio", f.Studio}, {"plan", f.Plan}, {"country", f.Country}, {"device_type", f.DeviceType},
		{"device_family", f.DeviceFamily}, {"code", f.Code}, {"actor", f.Actor}, {"role", f.Role}, {"case", f.Case}, {"trigger", f.Trigger},
		{"basis", f.Basis}, {"policy_version", texts(f.PolicyVersion)},
	} {
		if len(c.values) > 0 {
			conditions = append(conditions, oneOf(c.field, c.values))
		}
	}
	return conditions
}

// streamsOf are the streams of customers.
func streamsOf(customers []string) []string {
	var streams []string
	for _, c := range customers {
		streams = append(streams, string(domain.CustomerStream(c)), string(domain.FailOpenStream(c)))
	}
	return streams
}

func texts(numbers []int) []string {
	var texts []string
	for _, n := range numbers {
		texts = append(texts, strconv.Itoa(n))
	}
	return texts
}

// anyOf is what may stand for a word in a tier. A tier takes in those before it.
func anyOf(w query.WordAsked, tier query.Tier) object {
	switch {
	case tier == query.TierTitle:
		return object{"term": object{"title_words": w.Word}}
	case tier == query.TierExact || !w.Prefix && len(w.Typos) == 0:
		return object{"term": object{"words": w.Word}}
	}
	var ways []object
	if w.Prefix {
		ways = append(ways, object{"prefix": object{"words": object{"value": w.Word}}})
	}
	ways = append(ways, oneOf("words", append([]string{w.Word}, w.Typos...)))
	return object{"bool": object{"should": ways, "minimum_should_match": 1}}
}

func allOf(words []query.WordAsked, tier query.Tier) []object {
	var all []object
	for _, w := range words {
		all = append(all, anyOf(w, tier))
	}
	return all
}

// matching is the question for the hits of a tier, without those of the tiers before it where only its own are wanted.
func matching(q query.SearchAsked, more ...object) object {
	filter := slices.Concat(allOf(q.Words, q.Tier), fieldsOf(&q.Filter), more)
	recorded := object{}
	if !q.Filter.From.IsZero() {
		recorded["gte"] = microsAbove(q.Filter.From)
	}
	if !q.Filter.To.IsZero() {
		recorded["lt"] = microsAbove(q.Filter.To)
	}
	if len(recorded) > 0 {
		filter = append(filter, object{"range": object{"at": recorded}})
	}
	not := []object{{"exists": object{"field": "own"}}}
	if len(q.Words) > 0 && q.Tier > query.TierTitle && q.Only {
		not = append(not, object{"bool": object{"filter": allOf(q.Words, q.Tier-1)}})
	}
	return object{"bool": object{"filter": filter, "must_not": not}}
}

// microsAbove is the first microsecond that is not before a moment.
func microsAbove(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

// inOrder sorts by the moment of recording, and then by the place in the logs, which no two documents share.
func inOrder(oldest bool) []object {
	order := "desc"
	if oldest {
		order = "asc"
	}
	var keys []object
	for _, field := range []string{"at", "shard", "entry", "place"} {
		keys = append(keys, object{field: order})
	}
	return keys
}

// tie is a document's place among those of the same moment.
func tie(d *document) string { return fmt.Sprintf("%d:%d:%d", d.Shard, d.Entry, d.Place) }

// after are the values of the keys that a page ended with.
func after(q query.SearchAsked) ([]int64, error) {
	keys := []int64{q.After}
	for part := range strings.SplitSeq(q.Tie, ":") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the place %q in the order of documents: %w", q.Tie, err)
		}
		keys = append(keys, n)
	}
	if len(keys) != 4 {
		return nil, fmt.Errorf("the place %q in the order of documents is none", q.Tie)
	}
	return keys, nil
}

// searched is an answer to a search.
type searched struct {
	TimedOut bool `json:"timed_out"`
	Hits     struct {
		Total struct {
			Value int64 `json:"value"`
		} `json:"total"`
		Hits []hit `json:"hits"`
	} `json:"hits"`
	Aggregations map[string]struct {
		Buckets []struct {
			Key   string `json:"key"`
			Count int64  `json:"doc_count"`
		} `json:"buckets"`
	} `json:"aggregations"`
}

// hit is a document that was found.
type hit struct {
	ID     string   `json:"_id"`
	Source document `json:"_source"`
	Sort   []int64  `json:"sort"`
	SeqNo  int64    `json:"_seq_no"` // when they are asked for
	Term   int64    `json:"_primary_term"`
}

// search asks. Half an answer is none.
func (s *Search) search(ctx context.Context, body object) (*searched, error) {
	if err := s.Prepare(ctx); err != nil {
		return nil, err
	}
	var answer searched
	err := s.c.call(ctx, http.MethodPost, "/"+s.index+"/_search?allow_partial_search_results=false", body, &answer)
	if err == nil && answer.TimedOut {
		err = errors.New("the time was too short for all of the index")
	}
	if err != nil {
		return nil, s.failed("search", readError(err))
	}
	return &answer, nil
}

// Hits returns documents in the order asked for: see query.SearchModel.
func (s *Search) Hits(ctx context.Context, q query.SearchAsked) ([]query.SearchHit, error) {
	body := object{"query": matching(q), "size": q.Limit, "sort": inOrder(q.Oldest), "track_total_hits": false}
	if q.After != 0 {
		keys, err := after(q)
		if err != nil {
			return nil, err
		}
		body["search_after"] = keys
	}
	answer, err := s.search(ctx, body)
	if err != nil {
		return nil, err
	}
	hits := make([]query.SearchHit, len(answer.Hits.Hits))
	for i := range hits {
		d := &answer.Hits.Hits[i].Source
		hits[i] = query.SearchHit{ID: d.At, Tie: tie(d), Document: d.document()}
	}
	return hits, nil
}

// Count counts hits up to a bound.
func (s *Search) Count(ctx context.Context, q query.SearchAsked, bound int) (int64, error) {
	answer, err := s.search(ctx, object{"query": matching(q), "size": 0, "track_total_hits": bound})
	if err != nil {
		return 0, err
	}
	return min(answer.Hits.Total.Value, int64(bound)), nil
}

// facetSize is how many values of a field are asked for: more than are told, so that it matters little when an index has
// several parts, each of which counts for itself.
const facetSize = 5 * query.FacetValues

// Facets counts the newest hits, at most bound, by the values of fields: the most frequent values of each.
func (s *Search) Facets(ctx context.Context, q query.SearchAsked, fields []string, bound int) (map[string]map[string]int64, error) {
	if q.Total == 0 {
		var err error
		if q.Total, err = s.Count(ctx, q, bound+1); err != nil {
			return nil, err
		}
	}
	var more []object
	if q.Total > int64(bound) {
		moment, err := s.momentOf(ctx, q, bound)
		if err != nil {
			return nil, err
		}
		more = append(more, object{"range": object{"at": object{"gt": moment}}})
	}
	counts := object{}
	for _, field := range fields {
		counts[field] = object{"terms": object{"field": field, "size": facetSize, "shard_size": 10 * facetSize}}
	}
	answer, err := s.search(ctx, object{"query": matching(q, more...), "size": 0, "track_total_hits": false, "aggs": counts})
	if err != nil {
		return nil, err
	}
	facets := make(map[string]map[string]int64, len(fields))
	for _, field := range fields {
		facets[field] = map[string]int64{}
		for _, b := range answer.Aggregations[field].Buckets {
			facets[field][b.Key] = b.Count
		}
	}
	return facets, nil
}

// momentOf is when the hit was recorded that has so many newer ones.
func (s *Search) momentOf(ctx context.Context, q query.SearchAsked, newer int) (int64, error) {
	answer, err := s.search(ctx, object{
		"query": matching(q), "from": newer, "size": 1, "sort": []object{{"at": "desc"}}, "track_total_hits": false, "_source": false,
	})
	if err != nil {
		return 0, err
	}
	if len(answer.Hits.Hits) == 0 {
		return 0, nil // some are gone since they were counted
	}
	return answer.Hits.Hits[0].Sort[0], nil
}

// wordsAtOnce is how many words one request asks for.
const wordsAtOnce = 10_000

// Vocabulary yields the words that begin with a prefix, in order: see query.SearchModel.
func (s *Search) Vocabulary(ctx context.Context, prefix string, limit int) ([]string, error) {
	if err := s.Prepare(ctx); err != nil {
		return nil, err
	}
	var words []string
	for len(words) < limit {
		body := object{"field": "words", "string": prefix, "size": min(limit-len(words), wordsAtOnce), "timeout": "10s"}
		if len(words) > 0 {
			body["search_after"] = words[len(words)-1]
		}
		var answer struct {
			Terms    []string `json:"terms"`
			Complete bool     `json:"complete"`
		}
		err := s.c.call(ctx, http.MethodPost, "/"+s.index+"/_terms_enum", body, &answer)
		if err == nil && !answer.Complete {
			err = errors.New("some parts of the index did not tell their words")
		}
		if err != nil {
			return nil, s.failed("words", readError(err))
		}
		words = append(words, answer.Terms...)
		if len(answer.Terms) < body["size"].(int) {
			break
		}
	}
	return words, nil
}
