package console

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"carryon/api/web"
	"carryon/query"
)

// Search: the whole question stands in the address, so that a page can be sent to a colleague. Facets are links that
// add or take away one value. The export asks the API the same question, so that it holds exactly what is shown.

type searchView struct {
	Q, Sort   string
	From, To  string
	Answer    query.SearchEventsAnswer
	Hits      []hitView
	Facets    []facetView
	Chips     []chip
	Older     string
	Exports   []exportLink
	Customers bool
	Carried   []chip // filters that the form keeps
}

type exportLink struct{ Name, Link string }

type chip struct{ Field, Value, Label, Link string }

type facetView struct {
	Field, Name string
	Exact       bool
	Values      []facetValue
}

type facetValue struct {
	query.FacetCount
	Label, Link string
	On          bool
}

type hitView struct {
	query.Hit
	Tone, Link string // to the customer or pseudonym
	Decision   string
	Device     string
}

// filterFields are those of a search, in the order of the page.
func filterFields() []string {
	return []string{
		"type", "code", "customer", "device_id", "title_id", "series", "license_id", "studio", "plan", "country", "device_type", "device_family", "actor", "role",
		"case", "trigger", "basis", "policy_version",
	}
}

// fieldWords name the fields.
func fieldWords(field string) string {
	return map[string]string{
		"type": "What happened", "code": "Refused because", "customer": "Customer", "device_id": "Device", "title_id": "Title", "series": "Series", "license_id": "Licence",
		"studio": "Studio", "plan": "Plan", "country": "Country", "device_type": "Device type", "device_family": "Kind of device", "actor": "Actor", "role": "Done by",
		"case": "Case", "trigger": "Trigger", "basis": "Basis", "policy_version": "Policy version",
	}[field]
}

func valueWords(field, value string) string {
	switch field {
	case "type":
		return eventWords(value)
	case "code":
		return codeWords(value)
	case "basis":
		return strings.ReplaceAll(value, "_", " ")
	}
	return value
}

// asked is the question in the address: as it stands there, and as the API takes it.
func (v *visit) asked() (shown, api url.Values) {
	q := v.r.URL.Query()
	shown, api = url.Values{}, url.Values{}
	for _, field := range append(filterFields(), "q", "sort") {
		for _, value := range q[field] {
			if value = strings.TrimSpace(value); value != "" && !slices.Contains(shown[field], value) {
				shown.Add(field, value)
				api.Add(field, value)
			}
		}
	}
	for _, field := range []string{"from", "to"} {
		if at, ok := readTime(q.Get(field), field == "to"); ok {
			shown.Set(field, q.Get(field))
			api.Set(field, iso(at))
		}
	}
	return shown, api
}

func (v *visit) search() error {
	shown, api := v.asked()
	if cursor := v.r.URL.Query().Get("cursor"); cursor != "" {
		api.Set("cursor", cursor)
	}
	api.Set("limit", "40")
	api["facets"] = []string{"type", "code", "studio", "plan", "country", "device_family", "series", "role", "trigger", "basis", "policy_version"}
	answer, err := get[query.SearchEventsAnswer](v, "/v1/events/search", api)
	if err != nil {
		return err
	}
	f := frame{Title: "Search", Section: "search", Who: v.who}
	view := searchView{
		Q: shown.Get("q"), Sort: shown.Get("sort"), From: shown.Get("from"), To: shown.Get("to"), Answer: answer, Customers: f.Customers(),
	}
	for _, field := range filterFields() {
		for _, value := range shown[field] {
			c := chip{field, value, fieldWords(field) + ": " + valueWords(field, value), "/search?" + without(shown, field, value).Encode()}
			view.Chips = append(view.Chips, c)
			view.Carried = append(view.Carried, c)
		}
	}
	for _, field := range []string{"from", "to"} {
		if shown.Has(field) {
			view.Chips = append(view.Chips, chip{Label: field + " " + shown.Get(field), Link: "/search?" + without(shown, field, shown.Get(field)).Encode()})
		}
	}
	for _, facet := range answer.Facets {
		if fv := newFacet(shown, facet); len(fv.Values) > 0 {
			view.Facets = append(view.Facets, fv)
		}
	}
	for _, h := range answer.Hits {
		view.Hits = append(view.Hits, v.hit(h))
	}
	if answer.NextCursor != "" {
		older := clone(shown)
		older.Set("cursor", answer.NextCursor)
		view.Older = "/search?" + older.Encode()
	}
	view.Exports = exportLinks("/search/export", shown)
	return v.show("search", f, view)
}

func newFacet(shown url.Values, facet query.Facet) facetView {
	view := facetView{Field: facet.Field, Name: cmp.Or(fieldWords(facet.Field), facet.Field), Exact: facet.Exact}
	for _, value := range facet.Values {
		if value.Value == "" || len(view.Values) == 8 {
			continue
		}
		on := slices.Contains(shown[facet.Field], value.Value)
		to := without(shown, facet.Field, value.Value)
		if !on {
			to.Add(facet.Field, value.Value)
		}
		view.Values = append(view.Values, facetValue{value, valueWords(facet.Field, value.Value), "/search?" + to.Encode(), on})
	}
	return view
}

func clone(q url.Values) url.Values {
	c := url.Values{}
	for name, values := range q {
		c[name] = slices.Clone(values)
	}
	return c
}

func without(q url.Values, field, value string) url.Values {
	c := clone(q)
	if c[field] = slices.DeleteFunc(c[field], func(s string) bool { return s == value }); len(c[field]) == 0 {
		c.Del(field)
	}
	return c
}

func (v *visit) hit(h query.Hit) hitView {
	view := hitView{Hit: h, Tone: tone(h.Type), Device: h.DeviceID, Link: path("/customers/", h.Customer)}
	if !(frame{Who: v.who}).Customers() {
		view.Link = path("/pseudonyms/", h.Customer)
		return view
	}
	if h.DecisionID != "" {
		view.Decision = path("/customers/", h.Customer, "/decisions/", h.DecisionID)
	}
	return view
}

// Marked is a field with what matched; without a match, the field itself.
func (h hitView) Marked(field, plain string) []query.Part {
	for _, m := range h.Highlights {
		if m.Field == field {
			return m.Parts
		}
	}
	return []query.Part{{Text: plain}}
}

// Matched tells whether words that were searched for stand in a field.
func (h hitView) Matched(field string) bool {
	return slices.ContainsFunc(h.Highlights, func(m query.Highlight) bool { return m.Field == field })
}

// searchExport is every hit of the question, in the order of the page.
func (v *visit) searchExport() error {
	_, api := v.asked()
	return v.export("/v1/exports/search", api)
}

// exportPatience is how long whoever exports may take to take a part.
const exportPatience = 30 * time.Second

// export hands an export of the API on as it comes. When it ends half-way, the connection is cut.
func (v *visit) export(path string, q url.Values) error {
	q.Set("format", cmp.Or(v.r.URL.Query().Get("format"), "csv"))
	response, err := v.send(v.console.o.Queries, request{method: http.MethodGet, path: path, query: q})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for _, name := range []string{"Content-Type", "Content-Disposition"} {
		v.w.Header().Set(name, response.Header.Get(name))
	}
	if _, err := io.Copy(patient{v.w, http.NewResponseController(v.w)}, response.Body); err != nil {
		web.CutOff(v.r.Context(), fmt.Errorf("exporting %s: %w", path, err))
	}
	return nil
}

// exportLinks are a link for each format.
func exportLinks(path string, q url.Values) []exportLink {
	links := make([]exportLink, 0, 3)
	for _, name := range []string{"CSV", "NDJSON", "Parquet"} {
		to := clone(q)
		to.Set("format", strings.ToLower(name))
		links = append(links, exportLink{name, path + "?" + to.Encode()})
	}
	return links
}

// patient gives each write its own time.
type patient struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// Write writes on.
func (p patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(exportPatience)) // a writer without deadlines (in tests) does without
	return p.w.Write(b)                                            //nolint:wrapcheck // told by the caller
}

// An analyst sees pseudonyms; who stands behind one is told for a reason, and recorded.

type pseudonymView struct {
	Pseudonym string
	Found     *query.ResolveAnswer
	Problem   *web.Problem
	Reason    string
}

func (v *visit) pseudonym() error {
	p := v.r.PathValue("pseudonym")
	return v.show("pseudonym", frame{Title: "Pseudonym", Section: "search"}, pseudonymView{Pseudonym: p})
}

func (v *visit) resolve() error {
	view := pseudonymView{Pseudonym: v.r.PathValue("pseudonym"), Reason: strings.TrimSpace(v.r.PostForm.Get("reason"))}
	found, err := ask[query.ResolveAnswer](v, v.console.o.Queries, request{
		method: http.MethodPost, path: path("/v1/pseudonyms/", view.Pseudonym, "/resolve"), body: map[string]string{"reason": view.Reason},
	})
	status := http.StatusOK
	if p, ok := err.(*web.Problem); ok && p.Status != http.StatusUnauthorized { //nolint:errorlint // the console's own, unwrapped
		view.Problem, status = p, p.Status
	} else if err != nil {
		return err
	} else {
		view.Found = &found
	}
	return v.showAs(status, "pseudonym", frame{Title: "Pseudonym", Section: "search"}, view)
}
