package readmodel

import (
	"context"
	"database/sql"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"carryon/domain"
	"carryon/infra/tables"
	"carryon/projector"
	"carryon/query"
)

// A document's number begins with the millisecond of its recording, so that the full-text index, which walks by number,
// walks by time: the newest hits come without sorting, and a range of time is a range of numbers. Filters are words of
// the index, too, of a kind that no text contains; so any combination of words and filters is one walk over postings.
//
// The index holds no positions and no text: words are folded before they come here, so that only the spaces between them
// part them, and they are marked in the text when it is shown.
var searchSchema = schema{Model: "search", Version: 3, Tables: streamTable + dimensionTable + `
CREATE TABLE titles (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE documents (
	id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq INTEGER NOT NULL, entry INTEGER NOT NULL, place INTEGER NOT NULL,
	event TEXT NOT NULL, type TEXT NOT NULL, occurred_at INTEGER NOT NULL, recorded_at INTEGER NOT NULL, actor TEXT NOT NULL,
	device TEXT NOT NULL, license TEXT NOT NULL, case_ TEXT NOT NULL, decision TEXT NOT NULL,
	title_name INTEGER NOT NULL, dimensions INTEGER NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', contentless_delete = 1, detail = none, tokenize = "unicode61 remove_diacritics 2 categories 'L* N* M* P* S* C*'");
CREATE TABLE vocabulary (word TEXT PRIMARY KEY) WITHOUT ROWID;
`}

// Search keeps the documents and their words.
type Search struct {
	*file
	projector.ByStream
}

var (
	_ projector.Store[projector.SearchTx] = (*Search)(nil)
	_ query.SearchModel                   = (*Search)(nil)
)

// OpenSearch opens or makes the file of the search.
func OpenSearch(ctx context.Context, path string) (*Search, error) {
	f, err := openFile(ctx, path, searchSchema)
	if err != nil {
		return nil, err
	}
	return &Search{file: f}, nil
}

// Begin opens a transaction: see projector.Store.
func (s *Search) Begin(ctx context.Context, shard int) (projector.SearchTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return searchTx{t}, nil
}

type searchTx struct{ *tx }

// placeBits number the documents of one millisecond.
const placeBits = 21

func firstOf(millisecond int64) int64 { return millisecond << placeBits }

var (
	insertDocument = many{
		Head: `INSERT INTO documents (id, stream, seq, entry, place, event, type, occurred_at, recorded_at, actor, device, license, case_, decision, title_name, dimensions) VALUES`,
		Cols: 16,
	}
	insertWords     = many{Head: "INSERT INTO words (rowid, text) VALUES", Cols: 2}
	insertTitleName = many{Head: "INSERT INTO titles (id, name) VALUES", Cols: 2, Tail: "ON CONFLICT DO NOTHING"}
	insertWord      = many{Head: "INSERT INTO vocabulary (word) VALUES", Cols: 1, Tail: "ON CONFLICT DO NOTHING"}
)

// AddDocuments adds documents.
func (t searchTx) AddDocuments(ctx context.Context, rows []projector.Document) error {
	streams := make([]domain.StreamID, len(rows))
	dimensions := make([]*projector.Dimensions, len(rows))
	names := make(map[string]int64)
	for i := range rows {
		streams[i], dimensions[i], names[rows[i].TitleName] = rows[i].Stream, &rows[i].Dimensions, tables.NumberOrZero(rows[i].TitleName)
	}
	numbers, err := t.numbersOf(ctx, streams)
	if err != nil {
		return err
	}
	combined, err := t.addDimensions(ctx, dimensions)
	if err != nil {
		return err
	}
	ids, err := t.freeNumbers(ctx, rows)
	if err != nil {
		return err
	}
	err = t.write(ctx, insertDocument, len(rows), func(i int, args []any) []any {
		d := &rows[i]
		return append(args, ids[i], numbers[d.Stream], int64(d.Seq), int64(d.Position.Index), d.Position.Place, d.EventID, d.Type,
			micros(d.OccurredAt), micros(d.RecordedAt), d.Actor.ID, d.DeviceID, d.LicenseID, d.Case, d.DecisionID, names[d.TitleName], combined[i])
	})
	if err != nil {
		return err
	}
	if err := t.addNames(ctx, names); err != nil {
		return err
	}
	return t.addWords(ctx, rows, ids)
}

// freeNumbers gives each document the next number of its millisecond.
func (t searchTx) freeNumbers(ctx context.Context, rows []projector.Document) ([]int64, error) {
	ids := make([]int64, len(rows))
	next := make(map[int64]int64)
	for i := range rows {
		ms := rows[i].RecordedAt.UnixMilli()
		n, ok := next[ms]
		if !ok {
			if _, err := t.one(ctx, "SELECT ifnull(max(id) + 1, ?1) FROM documents WHERE id >= ?1 AND id < ?2", []any{firstOf(ms), firstOf(ms + 1)}, &n); err != nil {
				return nil, err
			}
		}
		if n >= firstOf(ms+1) {
			return nil, fmt.Errorf("read model search: more than %d events of one millisecond", 1<<placeBits)
		}
		ids[i], next[ms] = n, n+1
	}
	return ids, nil
}

func (t searchTx) addNames(ctx context.Context, names map[string]int64) error {
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return t.write(ctx, insertTitleName, len(sorted), func(i int, args []any) []any { return append(args, names[sorted[i]], sorted[i]) })
}

func (t searchTx) addWords(ctx context.Context, rows []projector.Document, ids []int64) error {
	vocabulary := make(map[string]bool)
	var text strings.Builder
	texts := make([]string, len(rows))
	for i := range rows {
		text.Reset()
		d := &rows[i]
		for _, w := range d.TitleWords() {
			vocabulary[w] = true
			text.WriteString(w + " " + inTitle + w + " ")
		}
		for _, w := range d.OtherWords() {
			vocabulary[w] = true
			text.WriteString(w + " ")
		}
		for _, f := range searchFields {
			if value := f.of(d); value != "" {
				text.WriteString(f.word(value) + " ")
			}
		}
		texts[i] = text.String()
	}
	err := t.write(ctx, insertWords, len(rows), func(i int, args []any) []any { return append(args, ids[i], texts[i]) })
	if err != nil {
		return err
	}
	sorted := make([]string, 0, len(vocabulary))
	for w := range vocabulary {
		sorted = append(sorted, w)
	}
	slices.Sort(sorted)
	return t.write(ctx, insertWord, len(sorted), func(i int, args []any) []any { return append(args, sorted[i]) })
}

// Words of our own begin with a character of the private use area, which no folded word contains.
const (
	inTitle   = "\uE000" // a word of title or series
	fieldMark = '\uE010' // and on: values of the fields, hashed
)

// searchField is a field that is filtered by.
type searchField struct {
	mark rune
	of   func(d *projector.Document) string
	in   func(f *query.Filter) []string
}

var searchFields = []searchField{
	{fieldMark + 0, func(d *projector.Document) string { return d.Type }, func(f *query.Filter) []string { return f.Type }},
	{fieldMark + 1, func(d *projector.Document) string { return d.Customer }, func(f *query.Filter) []string { return f.Customer }},
	{fieldMark + 2, func(d *projector.Document) string { return d.DeviceID }, func(f *query.Filter) []string { return f.DeviceID }},
	{fieldMark + 3, func(d *projector.Document) string { return d.TitleID }, func(f *query.Filter) []string { return f.TitleID }},
	{fieldMark + 4, func(d *projector.Document) string { return d.Series }, func(f *query.Filter) []string { return f.Series }},
	{fieldMark + 5, func(d *projector.Document) string { return d.LicenseID }, func(f *query.Filter) []string { return f.LicenseID }},
	{fieldMark + 6, func(d *projector.Document) string { return d.Studio }, func(f *query.Filter) []string { return f.Studio }},
	{fieldMark + 7, func(d *projector.Document) string { return d.Plan }, func(f *query.Filter) []string { return f.Plan }},
	{fieldMark + 8, func(d *projector.Document) string { return d.Country }, func(f *query.Filter) []string { return f.Country }},
	{fieldMark + 9, func(d *projector.Document) string { return d.DeviceType }, func(f *query.Filter) []string { return f.DeviceType }},
	{fieldMark + 10, func(d *projector.Document) string { return d.DeviceFamily }, func(f *query.Filter) []string { return f.DeviceFamily }},
	{fieldMark + 11, func(d *projector.Document) string { return d.Code }, func(f *query.Filter) []string { return f.Code }},
	{fieldMark + 12, func(d *projector.Document) string { return d.Actor.ID }, func(f *query.Filter) []string { return f.Actor }},
	{fieldMark + 13, func(d *projector.Document) string { return d.Role }, func(f *query.Filter) []string { return f.Role }},
	{fieldMark + 14, func(d *projector.Document) string { return d.Case }, func(f *query.Filter) []string { return f.Case }},
	{fieldMark + 15, func(d *projector.Document) string { return d.Trigger }, func(f *query.Filter) []string { return f.Trigger }},
	{fieldMark + 16, func(d *projector.Document) string { return d.Basis }, func(f *query.Filter) []string { return f.Basis }},
	{fieldMark + 17, func(d *projector.Document) string { return positive(d.PolicyVersion) }, policyVersions},
}

func positive(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func policyVersions(f *query.Filter) []string {
	var texts []string
	for _, v := range f.PolicyVersion {
		texts = append(texts, strconv.Itoa(v))
	}
	return texts
}

var wordEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// word is the word of the index that stands for a value of the field.
func (f searchField) word(value string) string {
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], uint64(tables.Number(value))<<1)
	return string(f.mark) + wordEncoding.EncodeToString(sum[:])[:12]
}

// matching is the FTS5 expression for words and filters; empty: everything matches. Beginnings are the words that begin as
// words of the question do.
func matching(q query.SearchAsked, beginnings map[string][]string) string {
	var parts []string
	for _, word := range q.Words {
		parts = append(parts, anyOf(word, q.Tier, beginnings))
	}
	for _, f := range searchFields {
		values := f.in(&q.Filter)
		if len(values) == 0 {
			continue
		}
		words := make([]string, len(values))
		for i, v := range values {
			words[i] = quoted(f.word(v))
		}
		parts = append(parts, "("+strings.Join(words, " OR ")+")")
	}
	return strings.Join(parts, " AND ")
}

// anyOf is what may stand for a word in a tier. A tier takes in those before it, which are then taken away: so a word of a
// title is a word, too, and a word is one that begins with itself.
func anyOf(w query.WordAsked, tier query.Tier, beginnings map[string][]string) string {
	var words []string
	known, few := beginnings[w.Word]
	switch {
	case tier < query.TierExact:
		words = append(words, quoted(inTitle+w.Word))
	case tier < query.TierLoose || !w.Prefix || few && len(known) == 0:
		words = append(words, quoted(w.Word))
	case !few:
		words = append(words, quoted(w.Word)+" *")
	}
	if tier >= query.TierLoose {
		for _, alternative := range append(known, w.Typos...) {
			words = append(words, quoted(alternative))
		}
	}
	return "(" + strings.Join(words, " OR ") + ")"
}

// fewBeginnings is how many words a beginning is taken apart into.
const fewBeginnings = 100

// foldedFurther are letters that the index takes for one, and the vocabulary does not: what begins with them the index
// alone knows.
const foldedFurther = "ςσ"

// beginnings are the words that begin as those of the question do, by these; those of which there are many are left out.
// FTS5 merges the postings of all words with a prefix before it yields the first; those of words that are named it walks
// through as they are wanted.
func (s *Search) beginnings(ctx context.Context, q query.SearchAsked) (map[string][]string, error) {
	all := make(map[string][]string)
	for _, w := range q.Words {
		if q.Tier < query.TierLoose || !w.Prefix || strings.ContainsAny(w.Word, foldedFurther) {
			continue
		}
		words, err := s.Vocabulary(ctx, w.Word, fewBeginnings+1)
		if err != nil {
			return nil, err
		}
		if len(words) <= fewBeginnings {
			all[w.Word] = slices.Clip(words)
		}
	}
	return all, nil
}

// quoted is a string of FTS5: nothing in it is syntax.
func quoted(word string) string { return `"` + strings.ReplaceAll(word, `"`, `""`) + `"` }

// found are the conditions for the hits of a tier, without those of the tiers before it where only its own are wanted, and
// the column of their numbers.
func (s *Search) found(ctx context.Context, q query.SearchAsked) (source, column string, w where, err error) {
	beginnings, err := s.beginnings(ctx, q)
	if err != nil {
		return "", "", w, err
	}
	source, column = "(SELECT id FROM documents", "documents.id"
	if expression := matching(q, beginnings); expression != "" {
		if len(q.Words) > 0 && q.Tier > query.TierTitle && q.Only {
			before := q
			before.Tier--
			expression = "(" + expression + ") NOT (" + matching(before, beginnings) + ")"
		}
		source, column = "(SELECT rowid AS id FROM words", "words.rowid"
		w.add("words MATCH ?", expression)
	}
	w.recorded(column, q.Filter.From, q.Filter.To)
	switch {
	case q.After == 0:
	case q.Oldest:
		w.add(column+" > ?", q.After)
	default:
		w.add(column+" < ?", q.After)
	}
	return source, column, w, nil
}

// recorded narrows the time down by the documents' numbers, which are as fine as milliseconds; only the documents of a
// millisecond that is cut through are looked at.
func (w *where) recorded(column string, from, to time.Time) {
	const exact = "(SELECT recorded_at FROM documents x WHERE x.id = "
	if !from.IsZero() {
		ms := from.UnixMilli()
		w.add(column+" >= ?", firstOf(ms))
		if from.After(time.UnixMilli(ms)) {
			w.add("("+column+" >= ? OR "+exact+column+") >= ?)", firstOf(ms+1), micros(from))
		}
	}
	if !to.IsZero() {
		ms := to.UnixMilli()
		if !to.After(time.UnixMilli(ms)) {
			w.add(column+" < ?", firstOf(ms))
			return
		}
		w.add(column+" < ?", firstOf(ms+1))
		w.add("("+column+" < ? OR "+exact+column+") < ?)", firstOf(ms), micros(to))
	}
}

// inOrder sorts by a column that grows with time.
func inOrder(column string, oldest bool) string {
	if oldest {
		return " ORDER BY " + column + " ASC"
	}
	return " ORDER BY " + column + " DESC"
}

// Capabilities are those of rows that are found with their commit.
func (s *Search) Capabilities() query.SearchCapabilities { return query.SearchCapabilities{} }

// Show does nothing: what is committed is found.
func (s *Search) Show(context.Context, domain.Position) error { return nil }

// Hits returns documents in the order asked for: see query.SearchModel.
func (s *Search) Hits(ctx context.Context, q query.SearchAsked) ([]query.SearchHit, error) {
	source, column, w, err := s.found(ctx, q)
	if err != nil {
		return nil, err
	}
	text := "SELECT h.id, s.stream, s.shard, x.seq, x.entry, x.place, x.event, x.type, x.occurred_at, x.recorded_at, x.actor, x.device, x.license, x.case_, x.decision, n.name, " +
		tables.DimensionColumns + " FROM " + source + " WHERE " + w.text() + inOrder(column, q.Oldest) + " LIMIT ?) h" +
		" CROSS JOIN documents x ON x.id = h.id JOIN streams s ON s.id = x.stream JOIN titles n ON n.id = x.title_name JOIN dimensions d ON d.id = x.dimensions" + inOrder("h.id", q.Oldest)
	var hits []query.SearchHit
	err = s.each(ctx, text, append(w.args, q.Limit), func(r *sql.Rows) error {
		var h query.SearchHit
		var occurred, recorded int64
		var policy string
		d := &h.Document
		into := []any{
			&h.ID, &d.Stream, &d.Position.Shard, &d.Seq, &d.Position.Index, &d.Position.Place, &d.EventID, &d.Type, &occurred, &recorded,
			&d.Actor.ID, &d.DeviceID, &d.LicenseID, &d.Case, &d.DecisionID, &d.TitleName,
		}
		if err := r.Scan(append(into, tables.ScanDimensions(&d.Dimensions, &policy)...)...); err != nil {
			return err
		}
		d.OccurredAt, d.RecordedAt, d.Actor.Role = fromMicros(occurred), fromMicros(recorded), domain.Role(d.Role)
		if kind := d.Stream.Kind(); kind == domain.KindCustomer || kind == domain.KindFailOpen {
			d.Customer = d.Stream.ID()
		}
		var err error
		d.PolicyVersion, err = strconv.Atoi(policy)
		hits = append(hits, h)
		return err
	})
	return hits, err
}

// Count counts hits up to a bound.
func (s *Search) Count(ctx context.Context, q query.SearchAsked, bound int) (int64, error) {
	source, _, w, err := s.found(ctx, q)
	if err != nil {
		return 0, err
	}
	var n int64
	_, err = s.one(ctx, "SELECT count(*) FROM "+source+" WHERE "+w.text()+" LIMIT ?)", append(w.args, bound), &n)
	return n, err
}

// Facets counts the newest hits, at most bound, by the values of fields.
func (s *Search) Facets(ctx context.Context, q query.SearchAsked, fields []string, bound int) (map[string]map[string]int64, error) {
	facets := make(map[string]map[string]int64, len(fields))
	var once []string // a field that is asked for twice is counted once
	for _, field := range fields {
		if facets[field] == nil {
			facets[field], once = map[string]int64{}, append(once, field)
		}
	}
	if fields = once; len(fields) == 0 {
		return facets, nil
	}
	source, column, w, err := s.found(ctx, q)
	if err != nil {
		return nil, err
	}
	text, err := facetCounts(fields, source+" WHERE "+w.text()+inOrder(column, false)+" LIMIT ?)")
	if err != nil {
		return nil, err
	}
	var n int64
	values := make([]string, len(fields))
	into := []any{&n}
	for i := range values {
		into = append(into, &values[i])
	}
	err = s.each(ctx, text, append(w.args, bound), func(r *sql.Rows) error {
		if err := r.Scan(into...); err != nil {
			return err
		}
		for i, value := range values {
			if value != "" && (value != noPolicy || fields[i] != "policy_version") {
				facets[fields[i]][value] += n
			}
		}
		return nil
	})
	return facets, err
}

// noPolicy is the version of the policy where none decided.
const noPolicy = "0"

// facetCounts are how many of the hits have the same values of fields; several rows may have the same ones. many documents
// share their dimensions: they are counted first, and looked up once, in their order.
func facetCounts(fields []string, hits string) (string, error) {
	columns, inner, dimensions := "g.n", "", false
	for _, field := range fields {
		if field == "type" {
			columns, inner = columns+", g.type", ", x.type"
			continue
		}
		column, ok := tables.DimensionColumn(field)
		if !ok {
			return "", fmt.Errorf("there is no field %q to count by", field)
		}
		columns, dimensions = columns+", "+column, true
	}
	by, join := strings.TrimPrefix(inner, ", "), ""
	if dimensions {
		by, join = "x.dimensions"+inner, " JOIN dimensions d ON d.id = g.dimensions"
	}
	return "SELECT " + columns + " FROM (SELECT " + by + ", count(*) AS n FROM " + hits + " h CROSS JOIN documents x ON x.id = h.id GROUP BY " + by + ") g" + join, nil
}

// Vocabulary yields the words that begin with a prefix, in order: see query.SearchModel.
func (s *Search) Vocabulary(ctx context.Context, prefix string, limit int) ([]string, error) {
	var words []string
	err := s.each(ctx, "SELECT word FROM vocabulary WHERE word >= ? AND word < ? ORDER BY word LIMIT ?", []any{prefix, prefix + "\U0010FFFF", limit}, func(r *sql.Rows) error {
		var w string
		err := r.Scan(&w)
		words = append(words, w)
		return err
	})
	return words, err
}
