package web

import "net/http"

// Page serves something for people beside the APIs. Who may see it is its own business: what it shows it must ask of
// the APIs, which know who may.
func (g *Gateway) Page(method, pattern string, h http.HandlerFunc) {
	g.router.Method(method, pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		RequestOf(r.Context()).route = pattern
		h(w, r)
	}))
}
