//go:build real

package elastic

import (
	"net/http"
	"net/url"
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/projector"
)

func TestDocumentsAreMendedStreamByStream(t *testing.T) {
	t.Parallel()
	conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.SearchTx] {
		s := NewSearch(testClient(t, testConfig(t)), 1, suiteShards)
		call := func(t testing.TB, method, path string, body, into any) {
			t.Helper()
			if err := s.c.call(t.Context(), method, "/"+s.index+path, body, into); err != nil {
				t.Fatal(err)
			}
		}
		// one is a document of somebody.
		one := func(t testing.TB, nth int) hit {
			t.Helper()
			if err := s.refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			var answer searched
			call(t, http.MethodPost, "/_search", object{
				"query": object{"prefix": object{"stream": "customer/"}}, "sort": inOrder(true), "from": nth, "size": 1,
			}, &answer)
			if len(answer.Hits.Hits) != 1 {
				t.Fatalf("there is no document %d", nth)
			}
			return answer.Hits.Hits[0]
		}
		at := func(id string) string { return "/_doc/" + url.PathEscape(id) + "?refresh=true" }
		return conformance.MendSubject[projector.SearchTx]{Store: s, Projection: projector.Search{}, Harms: map[string]func(t testing.TB){
			"a missing document": func(t testing.TB) { call(t, http.MethodDelete, at(one(t, 10).ID), nil, nil) },
			"another actor": func(t testing.TB) {
				h := one(t, 20)
				h.Source.Actor = "somebody-else"
				call(t, http.MethodPut, at(h.ID), h.Source, nil)
			},
			"a document too many": func(t testing.TB) {
				h := one(t, 30)
				call(t, http.MethodPut, at(h.ID+"-again"), h.Source, nil)
			},
			"a stranger's document": func(t testing.TB) {
				h := one(t, 60)
				h.Source.Stream = "customer/stranger"
				call(t, http.MethodPut, at("customer/stranger/7"), h.Source, nil)
			},
			"a document behind the end": func(t testing.TB) {
				h := one(t, 70)
				h.Source.Seq += 100_000
				call(t, http.MethodPut, at(h.ID+"-behind"), h.Source, nil)
			},
			"another's document": func(t testing.TB) {
				h := one(t, 40)
				for nth := 0; ; nth++ {
					if other := one(t, nth); other.Source.Stream != h.Source.Stream {
						h.Source.Stream = other.Source.Stream
						break
					}
				}
				call(t, http.MethodPut, at(h.ID), h.Source, nil)
			},
			"all of a customer": func(t testing.TB) {
				stream := domain.StreamID(one(t, 50).Source.Stream)
				err := s.eachOfStream(t.Context(), stream, func(h *hit) { call(t, http.MethodDelete, at(h.ID), nil, nil) })
				if err != nil {
					t.Fatal(err)
				}
			},
		}}
	})
}
