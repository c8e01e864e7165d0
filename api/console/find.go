package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"carryon/query"
)

// One box takes whatever the person on the phone can read out: the id of a customer, device, licence, decision or
// request. What is no id is searched for.

var isID = regexp.MustCompile(`^[A-Za-z0-9._~:@-]{1,128}$`)

type findView struct {
	Q     string
	Asked bool
	Found []foundView
}

type foundView struct {
	query.Found
	Link string
}

func (v *visit) home() error {
	return v.show("find", frame{Title: "Find", Section: "find", Home: true}, findView{})
}

func (v *visit) find() error {
	q := strings.TrimSpace(v.r.URL.Query().Get("q"))
	if q == "" {
		return v.home()
	}
	if !isID.MatchString(q) {
		http.Redirect(v.w, v.r, "/search?"+url.Values{"q": {q}}.Encode(), http.StatusSeeOther)
		return nil
	}
	answer, err := get[query.LookupAnswer](v, "/v1/lookup", url.Values{"q": {q}})
	if err != nil {
		return err
	}
	view := findView{Q: q, Asked: true}
	for _, f := range answer.Found {
		view.Found = append(view.Found, foundView{f, v.linkTo(f)})
	}
	if len(view.Found) == 1 {
		http.Redirect(v.w, v.r, view.Found[0].Link, http.StatusSeeOther)
		return nil
	}
	return v.show("find", frame{Title: "Find " + q, Section: "find", Home: true}, view)
}

// linkTo is where a thing is shown: an analyst sees events of a pseudonym.
func (v *visit) linkTo(f query.Found) string {
	customer := f.Customer
	if f.Kind == "customer" {
		customer = cmp.Or(customer, f.ID)
	}
	if !(frame{Who: v.who}).Customers() {
		q := url.Values{"customer": {customer}}
		switch f.Kind {
		case "device":
			q.Set("device_id", cmp.Or(f.DeviceID, f.ID))
		case "license":
			q.Set("license_id", f.ID)
		}
		return "/search?" + q.Encode()
	}
	switch f.Kind {
	case "decision":
		return path("/customers/", customer, "/decisions/", f.ID)
	case "device":
		return path("/customers/", customer, "#device-", cmp.Or(f.DeviceID, f.ID))
	case "license":
		return path("/customers/", customer, "#licence-", f.ID)
	case "exception":
		return path("/customers/", customer, "#exceptions")
	case "command", "request":
		if f.DecisionID != "" {
			return path("/customers/", customer, "/decisions/", f.DecisionID)
		}
		on := f.RecordedAt.UTC().Format(time.DateOnly)
		return path("/customers/", customer) + "?" + url.Values{"from": {on}, "to": {on}}.Encode() + fmt.Sprintf("#event-%d", f.Seq)
	}
	return path("/customers/", customer)
}

type suggestion struct{ Value, Label string }

// suggest offers titles while somebody types: by their id, for a form that asks for a title; by their name, for search.
func (v *visit) suggest() error {
	q := v.r.URL.Query()
	id := cmp.Or(q.Get("title_id"), q.Get("scope_id")) // of a form that asks for a title
	words := strings.TrimSpace(cmp.Or(id, q.Get("q")))
	var list []suggestion
	if words != "" {
		titles, err := v.titles(words, 10)
		if err != nil {
			return err
		}
		for _, t := range titles {
			s := suggestion{Value: t.Name, Label: t.Kind}
			if id != "" {
				if t.Kind == "series" {
					continue // not licensable
				}
				s = suggestion{Value: t.TitleID, Label: titleLabel(t)}
			}
			list = append(list, s)
		}
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return v.console.pages["find"].ExecuteTemplate(v.w, "suggestions", list) //nolint:wrapcheck // the visitor may have gone
}

func (v *visit) titles(words string, limit int) ([]query.TitleView, error) {
	answer, err := get[query.TitlesAnswer](v, "/v1/titles", url.Values{"q": {words}, "limit": {number(limit)}})
	return answer.Titles, err
}

// title is one by its id; not found is no error.
func (v *visit) title(id string) (query.TitleView, bool, error) {
	titles, err := v.titles(id, 3)
	i := slices.IndexFunc(titles, func(t query.TitleView) bool { return t.TitleID == id })
	if err != nil || i < 0 {
		return query.TitleView{}, false, err
	}
	return titles[i], true, nil
}

func titleLabel(t query.TitleView) string {
	if t.Kind == "episode" && t.Series != "" && !strings.HasPrefix(t.Name, t.Series) {
		return t.Series + ": " + t.Name
	}
	return t.Name + " (" + t.Kind + ")"
}
