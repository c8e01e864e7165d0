package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// SearchEvents asks for the events that match words and filters.
type SearchEvents struct {
	By          Caller
	Q           string // at most 512 bytes; each word must match, as itself, as a prefix, or with a typo
	Filter      Filter
	Sort        string // relevance (default with Q), newest (default without), oldest
	Facets      []string
	Page        Page
	MinPosition domain.Position // waits until the search model has applied it; zero: any
}

// Filter narrows events down; the same in search and analytics. Several values of one field are alternatives.
type Filter struct {
	Type          []string  `json:"type,omitempty"`
	Customer      []string  `json:"customer,omitempty"` // pseudonyms for analysts
	DeviceID      []string  `json:"device_id,omitempty"`
	TitleID       []string  `json:"title_id,omitempty"`
	Series        []string  `json:"series,omitempty"`
	LicenseID     []string  `json:"license_id,omitempty"`
	Studio        []string  `json:"studio,omitempty"`
	Plan          []string  `json:"plan,omitempty"`
	Country       []string  `json:"country,omitempty"` // ISO 3166 alpha-2
	DeviceType    []string  `json:"device_type,omitempty"`
	DeviceFamily  []string  `json:"device_family,omitempty"`
	Code          []string  `json:"code,omitempty"`
	Actor         []string  `json:"actor,omitempty"`
	Role          []string  `json:"role,omitempty"`
	Case          []string  `json:"case,omitempty"`
	Trigger       []string  `json:"trigger,omitempty"`
	Basis         []string  `json:"basis,omitempty"`
	PolicyVersion []int     `json:"policy_version,omitempty"`
	From          time.Time `json:"from,omitzero"` // recorded in [From, To); zero: open
	To            time.Time `json:"to,omitzero"`
}

// SearchEventsAnswer is a page of hits with facets.
type SearchEventsAnswer struct {
	Hits       []Hit   `json:"hits"`
	Total      int64   `json:"total"`       // hits in all, as far as they were counted
	TotalExact bool    `json:"total_exact"` // false: Total is a lower bound
	Facets     []Facet `json:"facets"`
	NextCursor string  `json:"next_cursor,omitempty"`
	// Words tells what each word of the question was taken for, typos included.
	Words []WordUsed `json:"words,omitempty"`
}

// Hit is an event that matches.
type Hit struct {
	Customer      string       `json:"customer"` // a pseudonym for analysts
	Seq           uint64       `json:"seq"`
	Type          string       `json:"type"`
	OccurredAt    time.Time    `json:"occurred_at"`
	RecordedAt    time.Time    `json:"recorded_at"`
	Actor         domain.Actor `json:"actor"`
	DeviceID      string       `json:"device_id,omitempty"` // a pseudonym for analysts
	DeviceType    string       `json:"device_type,omitempty"`
	DeviceFamily  string       `json:"device_family,omitempty"`
	TitleID       string       `json:"title_id,omitempty"`
	TitleName     string       `json:"title_name,omitempty"`
	Series        string       `json:"series,omitempty"`
	Studio        string       `json:"studio,omitempty"`
	Plan          string       `json:"plan,omitempty"`
	Country       string       `json:"country,omitempty"`
	LicenseID     string       `json:"license_id,omitempty"`
	Code          string       `json:"code,omitempty"`
	Case          string       `json:"case,omitempty"`
	Trigger       string       `json:"trigger,omitempty"`
	Basis         string       `json:"basis,omitempty"`
	PolicyVersion int          `json:"policy_version,omitempty"`
	DecisionID    string       `json:"decision_id,omitempty"`
	Position      string       `json:"position"`             // shard:index
	Score         float64      `json:"score,omitempty"`      // higher is better; only within one answer
	Highlights    []Highlight  `json:"highlights,omitempty"` // where the words matched
}

// Highlight is a field with the matching parts marked.
type Highlight struct {
	Field string `json:"field"`
	Parts []Part `json:"parts"` // in order; together they are the field's text
}

// Part is a stretch of text.
type Part struct {
	Text  string `json:"text"`
	Match bool   `json:"match,omitempty"`
}

// Facet counts hits by the values of a field, the most frequent first.
type Facet struct {
	Field  string       `json:"field"`
	Exact  bool         `json:"exact"` // false: counted among the newest hits only, up to a bound
	Values []FacetCount `json:"values"`
}

// FacetCount is how many hits have a value.
type FacetCount struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// WordUsed is what a word of the question was taken for.
type WordUsed struct {
	Word         string   `json:"word"`
	Alternatives []string `json:"alternatives"` // words of the index that match by typo
}

// Sorts of hits.
const (
	SortRelevance = "relevance" // words in title or series first, then anywhere, then beginnings and typos; each newest first
	SortNewest    = "newest"
	SortOldest    = "oldest"
)

// Bounds of what a search counts. Beyond them it says so.
const (
	CountBound    = 100_000 // hits that are counted
	FacetBound    = 20_000  // newest hits that facets are counted among
	FacetValues   = 20      // values of a facet that are told
	maxWords      = 12      // of a question
	maxTypos      = 16      // words that one mistyped word may stand for
	maxVocabulary = 50_000  // words with the same first letter that are looked at for typos
)

// FacetFields are the fields that hits may be counted by.
func FacetFields() []string {
	return []string{
		"type", "code", "studio", "series", "title_id", "plan", "country", "device_type", "device_family", "role", "trigger", "basis", "policy_version",
	}
}

// FacetValue is the value of a field of FacetFields in a document; empty when it has none.
func FacetValue(d *projector.Document, field string) string {
	switch field {
	case "type":
		return d.Type
	case "code":
		return d.Code
	case "studio":
		return d.Studio
	case "series":
		return d.Series
	case "title_id":
		return d.TitleID
	case "plan":
		return d.Plan
	case "country":
		return d.Country
	case "device_type":
		return d.DeviceType
	case "device_family":
		return d.DeviceFamily
	case "role":
		return d.Role
	case "trigger":
		return d.Trigger
	case "basis":
		return d.Basis
	case "policy_version":
		if d.PolicyVersion > 0 {
			return strconv.Itoa(d.PolicyVersion)
		}
	}
	return ""
}

// SearchModel is the read model that SearchEvents asks.
type SearchModel interface {
	// Capabilities say how the model differs from others.
	Capabilities() SearchCapabilities
	// Show sees to it that what was applied up to a position is found. Whoever calls it has waited until it was applied.
	Show(ctx context.Context, at domain.Position) error
	// Vocabulary returns the words of the index that begin with a prefix, in order, at most limit.
	Vocabulary(ctx context.Context, prefix string, limit int) ([]string, error)
	// Hits returns documents in the order asked for.
	Hits(ctx context.Context, q SearchAsked) ([]SearchHit, error)
	// Count counts hits, at most up to a bound.
	Count(ctx context.Context, q SearchAsked, bound int) (int64, error)
	// Facets counts the newest hits, at most bound, by the values of FacetFields.
	Facets(ctx context.Context, q SearchAsked, fields []string, bound int) (map[string]map[string]int64, error)
}

// SearchCapabilities say where search models differ: see docs/search.md.
type SearchCapabilities struct {
	FoundAfter        time.Duration // until an event is found that nobody waits for; 0: with the commit
	AheadOfCheckpoint bool          // an event may be found a moment before the checkpoint covers it
}

// SearchAsked is what is asked of the search model.
type SearchAsked struct {
	Words  []WordAsked // all of them must match
	Filter Filter
	Tier   Tier   // how well the words must match
	Only   bool   // so well and no better
	Oldest bool   // first, instead of newest
	After  int64  // continue behind this document; 0: from the beginning
	Tie    string // of this document; empty: its number is its own
	Limit  int
	Total  int64 // hits, where they have been counted before; 0: not
}

// WordAsked is a word of the question, folded, and what else it may stand for in TierLoose.
type WordAsked struct {
	Word   string   `json:"w"`
	Prefix bool     `json:"p,omitempty"` // words that begin with it
	Typos  []string `json:"t,omitempty"` // words that it may be a typo of
}

// Tier says how well words match.
type Tier int

// The tiers, the best first. Each takes in those before it.
const (
	TierTitle Tier = iota // every word is one of title or series
	TierExact             // every word is there
	TierLoose             // every word is there, or one that begins with it, or that it is a typo of
)

// SearchHit is a document and its number, which grows with the time of recording. Where several have the same number, Tie
// says which one it is, in the model's own words.
type SearchHit struct {
	ID       int64
	Tie      string
	Document projector.Document
}

// SearchEventsHandler answers SearchEvents.
type SearchEventsHandler struct{ p *Ports }

// searchPlace is where a page ended.
type searchPlace struct {
	Tier  Tier   `json:"t"`
	After int64  `json:"a"`
	Tie   string `json:"e,omitempty"`
}

// Handle answers with a page of hits. An analyst sees pseudonyms, and filters by them. That support looked is recorded for
// every customer that is asked for, and else for every one that is on the page.
func (h SearchEventsHandler) Handle(ctx context.Context, q SearchEvents) (SearchEventsAnswer, error) {
	size, err := q.check()
	if err != nil {
		return SearchEventsAnswer{}, err
	}
	model := h.p.Search
	if model == nil {
		return SearchEventsAnswer{}, fmt.Errorf("no search here: %w", ErrUnavailable)
	}
	if err := h.p.wait(ctx, Consistency{MinPosition: q.MinPosition}, "search", nil, q.Filter.stream(q.By)); err != nil {
		return SearchEventsAnswer{}, err
	}
	if q.MinPosition.Index > 0 {
		if err := model.Show(ctx, q.MinPosition); err != nil {
			return SearchEventsAnswer{}, fmt.Errorf("search events: %w", err)
		}
	}
	var place searchPlace
	question := q.question()
	if q.Page.Cursor != "" {
		if err := h.p.Cursors.open(question, q.Page.Cursor, &place); err != nil {
			return SearchEventsAnswer{}, err
		}
	}
	filter, nobody, err := h.p.unveil(ctx, q.By, q.Filter)
	if err != nil {
		return SearchEventsAnswer{}, fmt.Errorf("search events: %w", err)
	}
	if nobody {
		return SearchEventsAnswer{Hits: []Hit{}, Facets: []Facet{}, TotalExact: true}, nil
	}
	words, err := interpret(ctx, model, q.Q)
	if err != nil {
		return SearchEventsAnswer{}, fmt.Errorf("search events: %w", err)
	}
	asked := SearchAsked{Words: words, Filter: filter, Tier: TierLoose, Oldest: q.Sort == SortOldest, Limit: size + 1}
	answer, err := h.counted(ctx, model, asked, q.Facets)
	if err != nil {
		return SearchEventsAnswer{}, fmt.Errorf("search events: %w", err)
	}
	hits, more, err := page(ctx, model, asked, place, q.Sort == SortRelevance || q.Sort == "" && len(words) > 0, size)
	if err != nil {
		return SearchEventsAnswer{}, fmt.Errorf("search events: %w", err)
	}
	if more != nil {
		if answer.NextCursor, err = h.p.Cursors.seal(question, more); err != nil {
			return SearchEventsAnswer{}, err
		}
	}
	about := filter.Customer
	if len(about) == 0 {
		for _, hit := range hits {
			about = append(about, hit.Document.Customer)
		}
	}
	if err := h.p.Desk.looked(ctx, q.By, about, "search"); err != nil {
		return SearchEventsAnswer{}, err
	}
	for _, hit := range hits {
		answer.Hits = append(answer.Hits, h.p.hit(q.By, hit, words))
	}
	return answer, nil
}

// Check tells everything that is wrong with what is asked, each as a *domain.FieldError.
func (q *SearchEvents) Check() error {
	_, err := q.check()
	return err
}

func (q *SearchEvents) check() (int, error) {
	size, err := q.Page.size()
	err = errors.Join(err, q.Filter.check(q.By), checkOneOf("sort", q.Sort, SortRelevance, SortNewest, SortOldest))
	if len(q.Q) > MaxQueryBytes {
		err = errors.Join(err, fieldError("q", "is %d bytes long, at most %d are allowed", len(q.Q), MaxQueryBytes))
	}
	switch n := len(projector.Words(q.Q)); {
	case n > maxWords:
		err = errors.Join(err, fieldError("q", "has %d words, at most %d are allowed", n, maxWords))
	case n == 0:
		err = errors.Join(err, checkWords(q.Q))
	}
	for _, field := range q.Facets {
		err = errors.Join(err, checkOneOf("facets", orSpace(field), FacetFields()...))
	}
	return size, err
}

// question is what a cursor is bound to.
func (q *SearchEvents) question() any {
	return struct {
		Q      string
		Filter Filter
		Sort   string
		Role   domain.Role
	}{q.Q, q.Filter, q.Sort, q.By.Actor.Role}
}

// interpret finds out what the words of a question may stand for: a word that the index does not have, neither as
// itself nor as a beginning, is taken for those that it may be a typo of.
func interpret(ctx context.Context, model SearchModel, question string) ([]WordAsked, error) {
	var words []WordAsked
	for _, w := range projector.Words(question) {
		if slices.ContainsFunc(words, func(known WordAsked) bool { return known.Word == w.Folded }) {
			continue
		}
		asked := WordAsked{Word: w.Folded, Prefix: len([]rune(w.Folded)) > 1}
		known, err := model.Vocabulary(ctx, w.Folded, 1)
		if err != nil {
			return nil, err
		}
		if len(known) == 0 || !asked.Prefix && known[0] != w.Folded {
			if asked.Typos, err = typosOf(ctx, model, w.Folded); err != nil {
				return nil, err
			}
		}
		words = append(words, asked)
	}
	return words, nil
}

// typosOf are the words of the index nearest to a word, with the same first letter.
func typosOf(ctx context.Context, model SearchModel, word string) ([]string, error) {
	runes := []rune(word)
	allowed := allowedTypos(len(runes))
	if allowed == 0 {
		return nil, nil
	}
	candidates, err := model.Vocabulary(ctx, string(runes[:1]), maxVocabulary)
	if err != nil {
		return nil, err
	}
	near := make([][]string, allowed+1)
	for _, c := range candidates {
		if d := distance(runes, []rune(c), allowed); d <= allowed {
			near[d] = append(near[d], c)
		}
	}
	typos := slices.Concat(near...)
	return typos[:min(len(typos), maxTypos)], nil
}

// counted are the numbers of an answer, and what the words were taken for.
func (h SearchEventsHandler) counted(ctx context.Context, model SearchModel, asked SearchAsked, fields []string) (SearchEventsAnswer, error) {
	answer := SearchEventsAnswer{Hits: []Hit{}, Facets: []Facet{}}
	for _, w := range asked.Words {
		if len(w.Typos) > 0 {
			answer.Words = append(answer.Words, WordUsed{Word: w.Word, Alternatives: w.Typos})
		}
	}
	var err error
	if answer.Total, err = model.Count(ctx, asked, CountBound+1); err != nil {
		return answer, err
	}
	answer.TotalExact = answer.Total <= CountBound
	answer.Total = min(answer.Total, CountBound)
	if len(fields) == 0 {
		return answer, nil
	}
	asked.Total = answer.Total // it was counted further than the facets' bound
	counts, err := model.Facets(ctx, asked, fields, FacetBound)
	if err != nil {
		return answer, err
	}
	for _, field := range fields {
		answer.Facets = append(answer.Facets, Facet{Field: field, Exact: answer.Total <= FacetBound, Values: mostFrequent(counts[field], FacetValues)})
	}
	return answer, nil
}

// mostFrequent are the largest counts, equal ones by value.
func mostFrequent(counts map[string]int64, top int) []FacetCount {
	values := make([]FacetCount, 0, len(counts))
	for value, n := range counts {
		values = append(values, FacetCount{Value: value, Count: n})
	}
	slices.SortFunc(values, func(a, b FacetCount) int {
		if a.Count != b.Count {
			return int(b.Count - a.Count)
		}
		return strings.Compare(a.Value, b.Value)
	})
	return values[:min(len(values), top)]
}

// scored is a hit with its tier.
type scored struct {
	SearchHit
	tier   Tier
	ranked bool
}

// page collects a page, tier by tier where hits are ranked, and where the next one begins; nil: there is none.
func page(ctx context.Context, model SearchModel, asked SearchAsked, place searchPlace, ranked bool, size int) ([]scored, *searchPlace, error) {
	tiers := []Tier{TierLoose}
	if ranked && len(asked.Words) > 0 {
		tiers, asked.Only = []Tier{TierTitle, TierExact, TierLoose}, true
	}
	var hits []scored
	for _, tier := range tiers {
		if len(tiers) > 1 && tier < place.Tier {
			continue
		}
		asked.Tier, asked.After, asked.Tie, asked.Limit = tier, 0, "", size+1-len(hits)
		if tier == place.Tier || len(tiers) == 1 {
			asked.After, asked.Tie = place.After, place.Tie
		}
		found, err := model.Hits(ctx, asked)
		if err != nil {
			return nil, nil, err
		}
		for _, hit := range found {
			hits = append(hits, scored{hit, tier, len(tiers) > 1})
		}
		if len(hits) > size {
			last := hits[size-1]
			return hits[:size], &searchPlace{Tier: last.tier, After: last.ID, Tie: last.Tie}, nil
		}
	}
	return hits, nil, nil
}

// hit is shown to a caller: an analyst sees pseudonyms.
func (p *Ports) hit(by Caller, s scored, words []WordAsked) Hit {
	d := &s.Document
	h := Hit{
		Customer: d.Customer, Seq: d.Seq, Type: d.Type, OccurredAt: d.OccurredAt, RecordedAt: d.RecordedAt, Actor: d.Actor,
		DeviceID: d.DeviceID, DeviceType: d.DeviceType, DeviceFamily: d.DeviceFamily, TitleID: d.TitleID, TitleName: d.TitleName,
		Series: d.Series, Studio: d.Studio, Plan: d.Plan, Country: d.Country, LicenseID: d.LicenseID, Code: d.Code, Case: d.Case,
		Trigger: d.Trigger, Basis: d.Basis, PolicyVersion: d.PolicyVersion, DecisionID: d.DecisionID, Position: d.Position.String(),
		Highlights: highlights(d, words),
	}
	if s.ranked {
		h.Score = float64(TierLoose-s.tier) + 1
	}
	p.veilHit(by, &h)
	return h
}
