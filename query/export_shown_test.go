package query

import (
	"context"
	"testing"

	"carryon/domain"
	"carryon/projector"
)

// manyHits finds so many events, and counts how often it is asked.
type manyHits struct {
	SearchModel
	hits  int64
	asked int
}

func (m *manyHits) Vocabulary(context.Context, string, int) ([]string, error) {
	return []string{"the"}, nil
}

func (m *manyHits) Hits(_ context.Context, q SearchAsked) ([]SearchHit, error) {
	m.asked++
	var hits []SearchHit
	for id := q.After + 1; id <= m.hits && len(hits) < q.Limit; id++ {
		hits = append(hits, SearchHit{ID: id, Document: projector.Document{Customer: "c-1", Seq: uint64(id)}})
	}
	return hits, nil
}

func TestAnExportOfASearchHoldsAPageAtATime(t *testing.T) {
	t.Parallel()
	model := &manyHits{hits: 10*exportPage + 3}
	h := ExportSearchHandler{&Ports{Search: model}}
	for _, sort := range []string{SortNewest, SortRelevance} {
		model.asked = 0
		e, err := h.Handle(t.Context(), SearchEvents{By: Caller{Actor: domain.Actor{ID: "o", Role: domain.RoleOperator}}, Sort: sort})
		if err != nil {
			t.Fatal(err)
		}
		rows := int64(0)
		for row, err := range e.Rows {
			if err != nil {
				t.Fatal(err)
			}
			if rows++; row[1] != rows {
				t.Fatalf("row %d is event %v", rows, row[1])
			}
			if most := int((rows-1)/exportPage) + 1; model.asked != most {
				t.Fatalf("at row %d the model was asked %d times, not %d", rows, model.asked, most)
			}
		}
		if rows != model.hits {
			t.Errorf("%d rows of %d", rows, model.hits)
		}
	}
}

func TestASearchThatCannotBeExportedIsRefusedBeforeTheFirstRow(t *testing.T) {
	t.Parallel()
	by := Caller{Actor: domain.Actor{ID: "o", Role: domain.RoleOperator}}
	for name, q := range map[string]SearchEvents{"a sort": {By: by, Sort: "sideways"}, "words": {By: by, Q: "a b c d e f g h i j k l m n"}} {
		if _, err := (ExportSearchHandler{&Ports{Search: &manyHits{}}}).Handle(t.Context(), q); err == nil {
			t.Errorf("%s that there is not was taken", name)
		}
	}
	if _, err := (ExportSearchHandler{&Ports{}}).Handle(t.Context(), SearchEvents{By: by}); err == nil {
		t.Error("a search was exported without a search model")
	}
}
