package query

import (
	"context"
	"time"

	"carryon/domain"
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

// SearchEventsHandler answers SearchEvents.
type SearchEventsHandler struct{ p *Ports }

// Handle answers with a page of hits. An analyst sees pseudonyms, and filters by them.
func (h SearchEventsHandler) Handle(ctx context.Context, q SearchEvents) (SearchEventsAnswer, error) {
	return SearchEventsAnswer{}, ErrUnavailable
}
