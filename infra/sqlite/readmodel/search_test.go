package readmodel

import (
	"context"
	"database/sql"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"carryon/infra/conformance"
	"carryon/projector"
	"carryon/query"
)

// A beginning is looked up in the vocabulary, so the index must know each word as the vocabulary does, but for letters that
// are not looked up there.
func TestTheIndexKnowsFoldedWordsAsTheyAre(t *testing.T) {
	t.Parallel()
	s, err := OpenSearch(t.Context(), filepath.Join(t.TempDir(), "search.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	folded := map[string]bool{}
	for r := rune(1); r <= unicode.MaxRune; r++ {
		for _, w := range projector.Words("a" + string(r) + "b " + string(r)) {
			if !strings.ContainsAny(w.Folded, foldedFurther) {
				folded[w.Folded] = true
			}
		}
	}
	if _, err := s.conn.ExecContext(t.Context(), "CREATE VIRTUAL TABLE temp.terms USING fts5vocab('main', 'words', 'row')"); err != nil {
		t.Fatal(err)
	}
	number := 0
	for some := range slices.Chunk(slices.Collect(maps.Keys(folded)), 10_000) {
		number++
		if _, err := s.conn.ExecContext(t.Context(), insertWords.statement(1), number, strings.Join(some, " ")); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.conn.QueryContext(t.Context(), "SELECT term FROM temp.terms")
	if err != nil {
		t.Fatal(err)
	}
	err = scanAll(rows, func(r *sql.Rows) error {
		var term string
		err := r.Scan(&term)
		if !folded[term] {
			t.Errorf("the index knows %q (%+q), which is no folded word", term, term)
		}
		delete(folded, term)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for w := range folded {
		t.Errorf("the index does not know %q (%+q)", w, w)
	}
}

func TestAFacetThatIsAskedForTwiceIsCountedOnce(t *testing.T) {
	t.Parallel()
	h, err := conformance.NewHistory(5, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := filled(t, h.Grow(200), projector.Search{}, func(ctx context.Context) (*Search, error) {
		return OpenSearch(ctx, filepath.Join(t.TempDir(), "search.db"))
	})
	once, err := s.Facets(t.Context(), query.SearchAsked{}, []string{"type", "studio"}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := s.Facets(t.Context(), query.SearchAsked{}, []string{"type", "studio", "type", "studio"}, 1000)
	if err != nil || len(once["type"]) == 0 || !reflect.DeepEqual(twice, once) {
		t.Errorf("asked for twice: %v, %v, want %v", twice, err, once)
	}
}
