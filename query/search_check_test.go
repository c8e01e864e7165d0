package query

import (
	"errors"
	"testing"

	"carryon/domain"
)

func TestASearchForFacetsThatThereAreNotIsRefused(t *testing.T) {
	t.Parallel()
	for _, facets := range [][]string{{""}, {"studio", ""}, {"shoe"}} {
		q := SearchEvents{By: Caller{Actor: domain.Actor{ID: "ada", Role: domain.RoleSupport}}, Facets: facets}
		wrong, ok := errors.AsType[*domain.FieldError](q.Check())
		if !ok || wrong.Field != "facets" {
			t.Errorf("%q: %v", facets, wrong)
		}
	}
}
