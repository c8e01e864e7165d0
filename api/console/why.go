package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

// "Why can't they download …?" The answer is the whole decision: what the rules say of the request now, or what they
// said of it when it was refused. Each remedy was proved by a dry run before it is offered here, and what support may
// do has a button.

// newDevice stands for a device that has not asked for anything yet.
const newDevice = "new-device"

type whyView struct {
	*holdings
	Customer string
	Now      time.Time
	Form     whyForm
	Titles   []query.TitleView // to pick from, when what was typed is no id
	Types    []string          // device types
	Card     *cardView
	Problem  *web.Problem // with what was asked
	Unknown  bool         // the device is none of the customer's
	Untyped  bool         // nothing tells the type of the device
}

type whyForm struct{ Title, Device, DeviceType, Country, At string }

// cardView is a decision.
type cardView struct {
	*holdings
	Decision   domain.Decision
	Now        time.Time
	Title      string
	TitleID    string
	Words      string // for the customer
	Sentence   string
	Recorded   bool // it was made; else it would be
	RecordedAt time.Time
	Refusing   *domain.RuleResult
	Remedies   []remedyView
	Withdrawn  []query.TimelineEvent // what happened to the title, when that refuses
	Again      string                // link: the same request now
	At         string                // of a past moment; empty: now
}

type remedyView struct {
	domain.Remedy
	What   string
	Does   string // in words
	Link   string // to the act; empty: nobody here can do it
	Button string
	Note   string // who does it, when nobody here
}

func (v *visit) why() error {
	customer := v.r.PathValue("customer")
	q := v.r.URL.Query()
	form := whyForm{
		Title: strings.TrimSpace(q.Get("title_id")), Device: strings.TrimSpace(q.Get("device_id")), DeviceType: q.Get("device_type"),
		Country: strings.ToUpper(strings.TrimSpace(q.Get("country"))), At: q.Get("at"),
	}
	state, err := v.state(customer, q.Get("min_version"), time.Time{})
	if err != nil {
		return err
	}
	view := whyView{holdings: newHoldings(customer, &state), Customer: customer, Now: v.now, Form: form}
	if view.Types, err = v.deviceTypes(); err != nil {
		return err
	}
	status := http.StatusOK
	view.Unknown = form.Device != "" && form.Device != newDevice && view.names[form.Device] == ""
	if form.Title != "" {
		err := v.answerWhy(&view, q.Get("min_version"))
		if p, wrong := errors.AsType[*web.Problem](err); wrong && p.Status == web.Invalid.Status {
			view.Problem, status = p, p.Status
		} else if err != nil {
			return err
		}
	}
	return v.showAs(status, "why", frame{Title: "Why can’t " + customer + " download …?", Section: "find", Find: customer}, view)
}

func (v *visit) answerWhy(view *whyView, minVersion string) error {
	form := view.Form
	titles, err := v.titles(form.Title, 12)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(titles, func(t query.TitleView) bool { return t.TitleID == form.Title })
	title := query.TitleView{TitleID: form.Title, Name: form.Title}
	if i >= 0 {
		title = titles[i]
	} else if !isID.MatchString(form.Title) || len(titles) > 0 {
		view.Titles = slices.DeleteFunc(titles, func(t query.TitleView) bool { return t.Kind == "series" })
		return nil
	}
	if form.Device == "" {
		return nil
	}
	if known := slices.ContainsFunc(view.Devices, func(d query.DeviceRow) bool { return d.DeviceID == form.Device }); !known && form.DeviceType == "" {
		view.Untyped = true
		return nil
	}
	asked := url.Values{"title_id": {form.Title}, "device_id": {form.Device}}
	for name, value := range map[string]string{"device_type": form.DeviceType, "country": form.Country, "min_version": minVersion} {
		if value != "" {
			asked.Set(name, value)
		}
	}
	if at, ok := readTime(form.At, false); ok {
		asked.Set("at", iso(at))
	} else if form.At != "" {
		return web.Field(web.Invalid, "at", "is not a moment, as in 2026-03-01T12:00")
	}
	answer, err := get[query.ExplainAnswer](v, path("/v1/customers/", view.Customer, "/explain"), asked)
	if err != nil {
		return err
	}
	card := v.card(view.holdings, &answer.Decision, title.TitleID, title.Name)
	card.Sentence, card.At = view.named(answer.Sentence), form.At
	view.Card = card
	return nil
}

// deviceTypes are the types that a device may have.
func (v *visit) deviceTypes() ([]string, error) {
	answer, err := get[query.DeviceTypesAnswer](v, "/v1/device-types", nil)
	if err != nil {
		return nil, err
	}
	var document struct {
		Types map[string]json.RawMessage `json:"types"` // by id
	}
	if err := json.Unmarshal(answer.Document, &document); err != nil {
		return nil, fmt.Errorf("reading the device types: %w", err)
	}
	names := make([]string, 0, len(document.Types))
	for name := range document.Types {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

type decisionView struct {
	Customer string
	Card     *cardView
	Seq      uint64
	Type     string
}

// decision shows a decision as it was recorded.
func (v *visit) decision() error {
	customer := v.r.PathValue("customer")
	answer, err := get[query.DecisionAnswer](v, path("/v1/decisions/", v.r.PathValue("decision")), nil)
	if err != nil {
		return err
	}
	if answer.Customer != customer {
		return web.New(web.NotFound, "this decision is another customer’s")
	}
	var d domain.Decision
	if err := json.Unmarshal(answer.Decision, &d); err != nil {
		return fmt.Errorf("reading a decision: %w", err)
	}
	state, err := v.state(customer, "", time.Time{})
	if err != nil {
		return err
	}
	h := newHoldings(customer, &state)
	card := v.card(h, &d, d.Request.TitleID, "")
	card.Sentence, card.Recorded, card.RecordedAt = h.named(answer.Sentence), true, answer.RecordedAt
	if d.Request.TitleID != "" {
		if title, found, err := v.title(d.Request.TitleID); err == nil && found {
			card.Title = title.Name
		}
	}
	card.Words = forCustomer(&d, card.Title)
	return v.show("decision", frame{Title: "Decision " + d.ID, Section: "find", Find: customer}, decisionView{
		Customer: customer, Card: card, Seq: answer.Seq, Type: answer.Type,
	})
}

func (v *visit) card(h *holdings, d *domain.Decision, titleID, title string) *cardView {
	card := &cardView{
		holdings: h, Decision: *d, Now: v.now, TitleID: titleID, Title: cmp.Or(title, titleID), Words: forCustomer(d, title),
		Refusing: query.RefusingRule(d),
	}
	if d.Outcome != domain.OutcomeRefuse {
		card.Refusing = nil
	}
	again := url.Values{"title_id": {titleID}, "device_id": {d.Request.DeviceID}}
	if d.Request.DeviceType != "" {
		again.Set("device_type", d.Request.DeviceType)
	}
	if d.Request.Country != "" {
		again.Set("country", d.Request.Country)
	}
	card.Again = path("/customers/", h.Customer, "/why") + "?" + again.Encode()
	if card.Refusing != nil && card.Refusing.Rule == domain.RuleWithdrawal && (frame{Who: v.who}).Customers() {
		// A card without the reason is better than none: the event store may be away.
		if told, err := get[query.CommonTimelineAnswer](v, path("/v1/titles/", titleID, "/timeline"), nil); err == nil {
			card.Withdrawn = told.Events[:min(len(told.Events), 3)]
		}
	}
	for _, r := range d.Remedies {
		card.Remedies = append(card.Remedies, v.remedy(card, r))
	}
	return card
}

// remedy puts a remedy in words, with a link to the act where support may do it.
func (v *visit) remedy(card *cardView, r domain.Remedy) remedyView {
	view := remedyView{Remedy: r}
	act := func(name string, values ...string) string {
		if v.console.o.Commands == nil || !(frame{Who: v.who}).Customers() {
			return ""
		}
		q := url.Values{"back": {card.Again}}
		for i := 0; i+1 < len(values); i += 2 {
			q.Set(values[i], values[i+1])
		}
		return path("/customers/", card.holdings.Customer, "/acts/", name) + "?" + q.Encode()
	}
	switch r.Action {
	case domain.RemedyRemoveDevice:
		view.What, view.Does = "Remove "+card.Device(r.ID), "Frees its place for this device. Its downloads stop."
		view.Link, view.Button = act("remove-device", "device", r.ID), "Remove device …"
		if r.Who == domain.RoleDevice {
			view.Note = "or the customer does it, on the device"
		}
	case domain.RemedyReleaseLicense:
		view.What, view.Does = "Give back "+card.license(r.ID), "The customer deletes the download on its device; or it is revoked from here."
		view.Link, view.Button = act("revoke-license", "license", r.ID), "Revoke licence …"
	case domain.RemedyWait:
		view.What, view.Does = "Wait until "+date(r.At), "A place comes free by itself, "+from(v.now, r.At)+"."
		view.Note = "nothing to do"
	case domain.RemedyAcquireAgain:
		view.What, view.Does, view.Note = "Download it anew", "A new licence would be granted.", "the customer does it, on the device"
	case domain.RemedyLowerQuality:
		view.What, view.Does, view.Note = "Take the quality “"+r.ID+"”", "The same title in a lower quality would be granted.", "the customer does it, on the device"
	case domain.RemedyUnblockDevice:
		view.What, view.Does = "Unblock "+card.Device(r.ID), "Look first why it was blocked."
		view.Link, view.Button = act("unblock-device", "device", r.ID), "Unblock device …"
	case domain.RemedyChangeMembership:
		view.What, view.Does, view.Note = "Make the membership "+r.ID, "Downloads work again as soon as it is.", "billing does it"
	case domain.RemedyChangePlan:
		view.What, view.Does, view.Note = "Change the plan to “"+r.ID+"”", "Its limits leave room for this.", "the customer or billing does it"
	case domain.RemedyGrantException:
		view.What, view.Does = "Grant an exception, once", "Lets this request pass the limit “"+codeWords(card.Decision.Code)+"”. It is recorded, with your name."
		view.Link = act("grant-exception", "code", card.Decision.Code, "scope_kind", r.Kind, "scope_id", r.ID, "uses", "1")
		view.Button = "Grant exception …"
	default:
		view.What, view.Note = strings.ReplaceAll(r.Action, "_", " "), string(r.Who)
	}
	return view
}

// license names a licence by what is licensed.
func (h *holdings) license(id string) string {
	for _, l := range slices.Concat(h.Licenses, h.Ended) {
		if l.LicenseID == id {
			return "“" + cmp.Or(l.TitleName, l.TitleID) + "” on " + h.Device(l.DeviceID)
		}
	}
	return "licence " + id
}

// Holder is who holds a place, in words.
func (c *cardView) Holder(x domain.Holder) string {
	if x.Kind == domain.ScopeDevice {
		return c.Device(x.ID)
	}
	return "“" + cmp.Or(x.TitleName, x.TitleID, x.ID) + "” on " + c.Device(x.DeviceID)
}

// Scope is what a rule counted over, in words.
func (c *cardView) Scope(s domain.Scope) string {
	switch s.Kind {
	case domain.ScopeDevice:
		return c.Device(s.ID)
	case domain.ScopeTitle:
		if s.ID == c.TitleID {
			return c.Title
		}
	case domain.ScopeCustomer, "":
		return "customer"
	case domain.ScopeLicense:
		return short(s.ID)
	}
	return s.ID
}

// back goes to a page of ours after a post.
func (v *visit) back(to string) error {
	http.Redirect(v.w, v.r, ownPath(to), http.StatusSeeOther)
	return nil
}
