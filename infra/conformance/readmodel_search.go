package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// capture is a transaction that keeps documents, to walk through them plainly.
type capture struct {
	projector.Tx
	documents []projector.Document
}

func (c *capture) AddDocuments(_ context.Context, rows []projector.Document) error {
	c.documents = append(c.documents, rows...)
	return nil
}

func (l *library) documents() []projector.Document {
	l.Helper()
	c := &capture{}
	if err := (projector.Search{}).Apply(l.ctx, c, l.events); err != nil {
		l.Fatal(err)
	}
	return c.documents
}

// searchQuestions are questions of words that occur, as they are and by their beginnings.
func (l *library) searchQuestions() []string {
	questions := []string{"license denied", "DENIED", "Licénse  issued", "device limit", "revoked fraud", "nothingofthekind", "pla", "hou"}
	for i, d := range l.documents() {
		words := d.TitleWords()
		if i%263 == 0 && len(words) > 0 {
			questions = append(questions, d.TitleName, words[0], words[len(words)-1]+" denied", d.TitleName+" "+d.Studio)
			if first := []rune(words[0]); len(first) > 3 {
				questions = append(questions, string(first[:3]))
			}
		}
	}
	return questions
}

// place of a hit in the order of relevance: 3 for title, 2 for exact, 1 for beginnings; 0: it is none.
func rank(d *projector.Document, question string) int {
	title, all := d.TitleWords(), append(d.TitleWords(), d.OtherWords()...)
	inTitle, exact := true, true
	for _, w := range projector.Words(question) {
		inTitle = inTitle && slices.Contains(title, w.Folded)
		exact = exact && slices.Contains(all, w.Folded)
		prefix := len([]rune(w.Folded)) > 1 && slices.ContainsFunc(all, func(word string) bool { return strings.HasPrefix(word, w.Folded) })
		if !prefix && !slices.Contains(all, w.Folded) {
			return 0
		}
	}
	switch {
	case inTitle:
		return 3
	case exact:
		return 2
	}
	return 1
}

// knows tells whether every word of the question, or one that begins with it, is somewhere; else typos are looked for.
func knows(documents []projector.Document, question string) bool {
	for _, w := range projector.Words(question) {
		if !slices.ContainsFunc(documents, func(d projector.Document) bool { return rank(&d, w.Folded) > 0 }) {
			return false
		}
	}
	return true
}

func searchHits(l *library) {
	documents := l.documents()
	found := 0
	for _, question := range l.searchQuestions() {
		if !knows(documents, question) {
			continue
		}
		want := map[string]int{}
		for i := range documents {
			if r := rank(&documents[i], question); r > 0 {
				want[name(documents[i].Customer, documents[i].Stream, documents[i].Seq)] = r
			}
		}
		for _, sort := range []string{query.SortRelevance, query.SortNewest, query.SortOldest} {
			hits, total := l.walkSearch(query.SearchEvents{By: operator, Q: question, Sort: sort, Page: query.Page{Limit: 50}})
			if total != int64(len(want)) || len(hits) != len(want) {
				l.Fatalf("%q by %s: %d hits, total %d, want %d", question, sort, len(hits), total, len(want))
			}
			l.checkOrder(question, sort, hits, want)
		}
		found += len(want)
	}
	if found == 0 {
		l.Fatal("nothing was found")
	}
}

// name is what a document is known by; a hit of a title's stream has no customer.
func name(customer string, stream domain.StreamID, seq uint64) string {
	if customer == "" {
		return fmt.Sprintf("/%d", seq)
	}
	return fmt.Sprintf("%s/%d", stream.ID(), seq)
}

func (l *library) checkOrder(question, sort string, hits []query.Hit, want map[string]int) {
	l.Helper()
	for i, hit := range hits {
		r, ok := want[fmt.Sprintf("%s/%d", hit.Customer, hit.Seq)]
		if !ok {
			l.Fatalf("%q by %s: %+v does not match", question, sort, hit)
		}
		if sort == query.SortRelevance && (hit.Customer != "" && int(hit.Score) != r || len(hit.Highlights) == 0 && r == 3) {
			l.Fatalf("%q: %+v has score %v, want %d; highlights %v", question, hit, hit.Score, r, hit.Highlights)
		}
		if i == 0 {
			continue
		}
		before, after := hits[i-1], hit
		newestFirst := !before.RecordedAt.Truncate(time.Millisecond).Before(after.RecordedAt.Truncate(time.Millisecond))
		switch {
		case sort == query.SortRelevance && before.Score < after.Score,
			sort == query.SortRelevance && before.Score == after.Score && !newestFirst,
			sort == query.SortNewest && !newestFirst,
			sort == query.SortOldest && before.RecordedAt.Truncate(time.Millisecond).After(after.RecordedAt.Truncate(time.Millisecond)):
			l.Fatalf("%q by %s: %v (score %v) comes before %v (score %v)", question, sort, before.RecordedAt, before.Score, after.RecordedAt, after.Score)
		}
	}
}

// walkSearch follows the cursors; no hit may come twice.
func (l *library) walkSearch(q query.SearchEvents) ([]query.Hit, int64) {
	l.Helper()
	var hits []query.Hit
	total := int64(-1)
	for {
		answer := must[query.SearchEventsAnswer](l, fmt.Sprintf("%q", q.Q))(l.app.SearchEvents.Handle(l.ctx, q))
		hits = append(hits, answer.Hits...)
		if total < 0 {
			total = answer.Total
		}
		if answer.NextCursor == "" {
			return hits, total
		}
		q.Page.Cursor = answer.NextCursor
	}
}

// searchHides: a word that finds an event tells as much as an answer that shows it, and so does one that is offered for a
// typo. So no word of the index is one of what an analyst is not shown.
func searchHides(l *library) {
	shown := map[string]bool{}
	for _, d := range l.documents() {
		for _, text := range append(projector.TypeWords(d.Type), d.TitleName, d.Series, d.Studio, d.Code) {
			for _, w := range projector.Words(text) {
				shown[w.Folded] = true
			}
		}
	}
	n := 0
	for _, first := range "abcdefghijklmnopqrstuvwxyz0123456789" {
		words, err := l.models.Search.Vocabulary(l.ctx, string(first), 10_000)
		if err != nil {
			l.Fatal(err)
		}
		for _, word := range words {
			if !shown[word] {
				l.Errorf("%q is a word of the index, and of no title, series, studio, refusal code or event type", word)
			}
		}
		n += len(words)
	}
	if n == 0 {
		l.Fatal("there are no words")
	}
}

func searchFilters(l *library) {
	documents := l.documents()
	for i := range documents {
		d := &documents[i]
		if i%191 != 0 || d.Customer == "" {
			continue
		}
		for _, f := range []query.Filter{
			{Type: []string{d.Type, "PlanChanged"}}, {Customer: []string{d.Customer}, Type: []string{d.Type}}, {DeviceID: some(d.DeviceID)}, {TitleID: some(d.TitleID)},
			{Series: some(d.Series)}, {LicenseID: some(d.LicenseID)}, {Studio: some(d.Studio), Plan: some(d.Plan)}, {Country: some(d.Country)},
			{DeviceType: some(d.DeviceType)}, {DeviceFamily: some(d.DeviceFamily)}, {Code: some(d.Code)}, {Actor: some(d.Actor.ID)},
			{Role: some(d.Role)}, {Case: some(d.Case)}, {Trigger: some(d.Trigger)}, {Basis: some(d.Basis)}, {PolicyVersion: []int{max(1, d.PolicyVersion)}},
			{From: d.RecordedAt}, {To: d.RecordedAt.Add(time.Microsecond)}, {From: d.RecordedAt.Add(-100 * time.Hour), To: d.RecordedAt, Role: []string{"device"}},
		} {
			l.compareFilter(documents, f)
		}
	}
	l.compareFilter(documents, query.Filter{})
}

// some is a filter by a value that there is.
func some(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

func (l *library) compareFilter(documents []projector.Document, f query.Filter) {
	l.Helper()
	want := map[string]bool{}
	facets := map[string]map[string]int64{}
	for i := range documents {
		if d := &documents[i]; fits(d, &f) {
			want[fmt.Sprintf("%s/%d/%s", d.Customer, d.Seq, d.Type)] = true
			for _, field := range query.FacetFields() {
				if value := query.FacetValue(d, field); value != "" {
					if facets[field] == nil {
						facets[field] = map[string]int64{}
					}
					facets[field][value]++
				}
			}
		}
	}
	answer := must[query.SearchEventsAnswer](l, "filter")(l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: operator, Filter: f, Facets: query.FacetFields(), Page: query.Page{Limit: 200}}))
	for _, hit := range answer.Hits {
		if !want[fmt.Sprintf("%s/%d/%s", hit.Customer, hit.Seq, hit.Type)] {
			l.Fatalf("%+v: %+v does not match", f, hit)
		}
	}
	count := int64(0)
	for i := range documents {
		if fits(&documents[i], &f) {
			count++
		}
	}
	if answer.Total != count || !answer.TotalExact || len(answer.Hits) != int(min(count, 200)) {
		l.Fatalf("%+v: %d hits on the page, %d in all, want %d", f, len(answer.Hits), answer.Total, count)
	}
	for _, facet := range answer.Facets {
		if !facet.Exact || len(facet.Values) != min(len(facets[facet.Field]), query.FacetValues) {
			l.Fatalf("%+v: facet %s has %d values, want %d", f, facet.Field, len(facet.Values), len(facets[facet.Field]))
		}
		for _, v := range facet.Values {
			if facets[facet.Field][v.Value] != v.Count {
				l.Fatalf("%+v: facet %s counts %d of %q, want %d", f, facet.Field, v.Count, v.Value, facets[facet.Field][v.Value])
			}
		}
	}
}

func fits(d *projector.Document, f *query.Filter) bool {
	for _, c := range []struct {
		wanted []string
		is     string
	}{
		{f.Type, d.Type}, {f.Customer, d.Customer}, {f.DeviceID, d.DeviceID}, {f.TitleID, d.TitleID}, {f.Series, d.Series}, {f.LicenseID, d.LicenseID},
		{f.Studio, d.Studio}, {f.Plan, d.Plan}, {f.Country, d.Country}, {f.DeviceType, d.DeviceType}, {f.DeviceFamily, d.DeviceFamily}, {f.Code, d.Code},
		{f.Actor, d.Actor.ID}, {f.Role, d.Role}, {f.Case, d.Case}, {f.Trigger, d.Trigger}, {f.Basis, d.Basis},
	} {
		if len(c.wanted) > 0 && !slices.Contains(c.wanted, c.is) {
			return false
		}
	}
	return (len(f.PolicyVersion) == 0 || slices.Contains(f.PolicyVersion, d.PolicyVersion)) &&
		(f.From.IsZero() || !d.RecordedAt.Before(f.From)) && (f.To.IsZero() || d.RecordedAt.Before(f.To))
}

func searchTypos(l *library) {
	documents := l.documents()
	tried := 0
	for i := range documents {
		words := documents[i].TitleWords()
		if len(words) == 0 || i%53 != 0 {
			continue
		}
		word := []rune(words[0])
		if len(word) < 6 {
			continue
		}
		for _, typo := range []string{
			string(word[:2]) + string(word[3]) + string(word[2]) + string(word[4:]), // two neighbours
			string(word[:3]) + string(word[4:]),                                     // one too few
			string(word[:4]) + "qx" + string(word[4:]),                              // two too many
			string(word[:3]) + "q" + string(word[4:]),                               // a wrong one
		} {
			if knows(documents, typo) {
				continue
			}
			answer := must[query.SearchEventsAnswer](l, typo)(l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: operator, Q: typo, Page: query.Page{Limit: 200}}))
			if len(answer.Words) != 1 || !slices.Contains(answer.Words[0].Alternatives, string(word)) {
				l.Fatalf("%q is taken for %+v, meant was %q", typo, answer.Words, string(word))
			}
			if answer.Total == 0 {
				l.Fatalf("%q finds nothing", typo)
			}
			tried++
		}
	}
	if tried == 0 {
		l.Fatal("no typo was tried")
	}
}

func searchSyntax(l *library) {
	for _, q := range []string{
		`"`, `""`, `*`, `a*`, `^license`, `license AND`, `NOT denied`, `license OR`, `NEAR(license denied, 2)`, `words:license`, `{words}:x`, `-license`, `+`,
		`license"*`, `") OR (words:"x`, "' OR 1=1 --", "\x00", "license\x00denied", "\uE000license", "\uE010abc", "%", "_", `\`, "😀", "ﬁ", "İstanbul", "ß", "𐒰𐒱𐓂", "ꭰꭱꭲ", "ＦＵＬＬ", "नमस्ते", "🇫🇷 a1", "²³", "\u0301", "a\u0301\u0302", "オッペンハイマー",
		strings.Repeat("a", 500), "\xff\xfe", "a b c d e f g h i j k l",
	} {
		answer, err := l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: operator, Q: q, Facets: []string{"type"}})
		wordless := len(projector.Words(q)) == 0
		if e, ok := errors.AsType[*domain.FieldError](err); wordless != (ok && e.Field == "q") || !wordless && err != nil {
			l.Errorf("%q: %v", q, err)
		}
		if len(projector.Words(q)) == 1 && projector.Words(q)[0].Folded == "license" && answer.Total == 0 {
			l.Errorf("%q finds nothing", q)
		}
	}
	for field, q := range map[string]query.SearchEvents{
		"q":              {Q: strings.Repeat("a", 513)},
		"sort":           {Sort: "best"},
		"facets":         {Facets: []string{"customer"}},
		"limit":          {Page: query.Page{Limit: 201}},
		"cursor":         {Page: query.Page{Cursor: "x"}},
		"to":             {Filter: query.Filter{From: l.now(), To: l.now().Add(-1)}},
		"code":           {Filter: query.Filter{Code: []string{""}}},
		"title_id":       {Filter: query.Filter{TitleID: []string{strings.Repeat("t", 257)}}},
		"policy_version": {Filter: query.Filter{PolicyVersion: []int{-1}}},
	} {
		q.By = operator
		_, err := l.app.SearchEvents.Handle(l.ctx, q)
		if e, ok := errors.AsType[*domain.FieldError](err); !ok || e.Field != field {
			l.Errorf("%s: %v", field, err)
		}
	}
	if _, err := l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: operator, Q: "a b c d e f g h i j k l m"}); err == nil {
		l.Error("thirteen words are taken")
	}
}

func searchPages(l *library) {
	for _, sort := range []string{query.SortRelevance, query.SortNewest, query.SortOldest} {
		q := query.SearchEvents{By: operator, Q: "license", Sort: sort, Page: query.Page{Limit: 200}}
		want := map[string]bool{}
		documents := l.documents()
		for i := range documents {
			if d := &documents[i]; rank(d, "license") > 0 {
				want[fmt.Sprintf("%s/%d", d.Customer, d.Seq)] = true
			}
		}
		seen := map[string]bool{}
		for {
			answer := must[query.SearchEventsAnswer](l, "search")(l.app.SearchEvents.Handle(l.ctx, q))
			for _, hit := range answer.Hits {
				key := fmt.Sprintf("%s/%d", hit.Customer, hit.Seq)
				if seen[key] {
					l.Fatalf("%s: %s comes twice", sort, key)
				}
				seen[key] = true
				delete(want, key)
			}
			if answer.NextCursor == "" {
				break
			}
			q.Page.Cursor = answer.NextCursor
			l.grow(30)
		}
		if len(want) > 0 {
			l.Fatalf("%s: %d hits were skipped", sort, len(want))
		}
	}
}
