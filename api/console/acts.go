package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

// An act asks for a reason and a case, and shows first what it would do to the customer as he is now. It is then sent
// to the command API under a key that was made with the form, so that sending twice acts once; and with the version
// that was looked at, so that nothing happens to a customer who has changed since: he is shown anew instead.

// act is one thing that can be done to a customer.
type act struct {
	Title  string
	Verb   string // of the button
	Danger bool
	target string // the parameter that names on what; empty: the customer
	does   func(*actView) error
	method string
	path   func(customer string, f actForm) string
	body   func(f actForm) any
}

type reasonBody struct {
	Code string `json:"code"`
	Text string `json:"text,omitempty"`
	Case string `json:"case,omitempty"`
}

type reasoned struct {
	Reason reasonBody `json:"reason"`
}

type exceptionBody struct {
	Code      string        `json:"code"`
	Scope     *domain.Scope `json:"scope,omitempty"`
	Uses      int           `json:"uses"`
	ExpiresAt *time.Time    `json:"expires_at,omitempty"`
	Reason    reasonBody    `json:"reason"`
}

// actForm is what the form holds.
type actForm struct {
	Target                     string
	Code, ScopeKind, ScopeID   string // of an exception
	Uses, Expires              string
	ReasonCode, Words, Case    string
	Key, Version, Back, Action string
}

func (f actForm) reason() reasonBody {
	return reasonBody{Code: f.ReasonCode, Text: strings.TrimSpace(f.Words), Case: strings.TrimSpace(f.Case)}
}

func reasonOnly(f actForm) any { return reasoned{f.reason()} }

func acts() map[string]act {
	device := func(suffix string) func(string, actForm) string {
		return func(customer string, f actForm) string {
			return path("/v1/customers/", customer, "/devices/", f.Target) + suffix
		}
	}
	return map[string]act{
		"remove-device": {
			Title: "Remove a device", Verb: "Remove the device", Danger: true, target: "device", does: (*actView).removeDevice,
			method: http.MethodDelete, path: device(""), body: reasonOnly,
		},
		"block-device": {
			Title: "Block a device", Verb: "Block the device", Danger: true, target: "device", does: (*actView).blockDevice,
			method: http.MethodPost, path: device("/block"), body: reasonOnly,
		},
		"unblock-device": {
			Title: "Unblock a device", Verb: "Unblock the device", target: "device", does: (*actView).unblockDevice,
			method: http.MethodPost, path: device("/unblock"), body: reasonOnly,
		},
		"revoke-license": {
			Title: "Revoke a licence", Verb: "Revoke the licence", Danger: true, target: "license", does: (*actView).revokeLicense,
			method: http.MethodPost, body: reasonOnly,
			path: func(customer string, f actForm) string {
				return path("/v1/customers/", customer, "/licenses/", f.Target, "/revoke")
			},
		},
		"revoke-all": {
			Title: "Revoke every licence", Verb: "Revoke all licences", Danger: true, does: (*actView).revokeAll,
			method: http.MethodPost, body: reasonOnly,
			path: func(customer string, _ actForm) string { return path("/v1/customers/", customer, "/revoke-all") },
		},
		"grant-exception": {
			Title: "Grant an exception", Verb: "Grant the exception", does: (*actView).grantException,
			method: http.MethodPost, body: exception,
			path: func(customer string, _ actForm) string { return path("/v1/customers/", customer, "/exceptions") },
		},
		"withdraw-exception": {
			Title: "Withdraw an exception", Verb: "Withdraw the exception", Danger: true, target: "exception", does: (*actView).withdrawException,
			method: http.MethodDelete, body: reasonOnly,
			path: func(customer string, f actForm) string {
				return path("/v1/customers/", customer, "/exceptions/", f.Target)
			},
		},
	}
}

func exception(f actForm) any {
	uses, err := strconv.Atoi(strings.TrimSpace(f.Uses))
	if err != nil {
		uses = 0 // which the API refuses, and names
	}
	b := exceptionBody{Code: f.Code, Uses: uses, Reason: f.reason()}
	if at, ok := readTime(f.Expires, true); ok {
		b.ExpiresAt = &at
	}
	if f.ScopeKind != "" && f.ScopeKind != domain.ScopeCustomer {
		b.Scope = &domain.Scope{Kind: f.ScopeKind, ID: strings.TrimSpace(f.ScopeID)}
	}
	return b
}

type actView struct {
	*holdings
	act
	Name       string
	Customer   string
	Now        time.Time
	Form       actForm
	What       string   // what it is done to
	Effects    []string // what it would do
	Notes      []string // what it would not
	Impossible string   // why it can't be done; empty: it can
	Problem    *web.Problem
	Changed    bool // the customer has changed since he was looked at
	Codes      []string
	Kinds      []string // what an exception for the code may be for
	Which      []choice // of the customer's own, of the kind that was chosen
	Typed      bool     // others than these are possible
	Reasons    []string
	policy     general
}

// choice is an id to pick, and what it is called.
type choice struct{ ID, Name string }

// general is what the effects depend on in the policy.
type general struct {
	SlotFreedOn string `json:"slot_freed_on"`
}

func (v *visit) actForm() error {
	q := v.r.URL.Query()
	name := v.r.PathValue("act")
	a, ok := acts()[name]
	if !ok {
		return web.New(web.NotFound, "there is no such act")
	}
	key, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	form := actForm{
		Target: q.Get(a.target), Code: q.Get("code"), ScopeKind: q.Get("scope_kind"), ScopeID: q.Get("scope_id"), Uses: cmp.Or(q.Get("uses"), "1"),
		Expires: cmp.Or(q.Get("expires"), v.now.AddDate(0, 0, 7).Format(time.DateOnly)), Key: key.String(), Back: ownPath(q.Get("back")),
	}
	if of := q.Get("scope_for"); of != "" && of != form.ScopeKind {
		form.ScopeID = "" // of the kind that was chosen before
	}
	return v.showAct(http.StatusOK, name, a, form, nil)
}

func (v *visit) act() error {
	f := v.r.PostForm
	name := v.r.PathValue("act")
	customer := v.r.PathValue("customer")
	a, ok := acts()[name]
	if !ok {
		return web.New(web.NotFound, "there is no such act")
	}
	form := actForm{
		Target: f.Get("target"), Code: f.Get("code"), ScopeKind: f.Get("scope_kind"), ScopeID: f.Get("scope_id"), Uses: f.Get("uses"), Expires: f.Get("expires"),
		ReasonCode: f.Get("reason"), Words: f.Get("words"), Case: f.Get("case"), Key: f.Get("key"), Version: f.Get("version"), Back: ownPath(f.Get("back")),
	}
	done, err := ask[struct {
		Version uint64 `json:"version"`
		Events  []struct {
			Seq uint64 `json:"seq"`
		} `json:"events"`
	}](v, v.console.o.Commands, request{
		method: a.method, path: a.path(customer, form), body: a.body(form), key: form.Key, ifMatch: ifMatch(form.Version),
	})
	if p, wrong := errors.AsType[*web.Problem](err); wrong && p.Status != http.StatusUnauthorized && p.Status != http.StatusForbidden {
		return v.showAct(p.Status, name, a, form, p)
	}
	if err != nil {
		return err
	}
	version := strconv.FormatUint(done.Version, 10)
	if form.Back != "/" {
		to, err := url.Parse(form.Back)
		if err == nil {
			q := to.Query()
			q.Set("min_version", version)
			to.RawQuery = q.Encode()
			return v.back(to.String())
		}
	}
	return v.back(path("/customers/", customer) + "?" + url.Values{"min_version": {version}, "events": {strconv.Itoa(len(done.Events))}}.Encode())
}

func ifMatch(version string) string {
	if n, err := strconv.ParseUint(version, 10, 64); err == nil && n > 0 {
		return web.ETag(n)
	}
	return ""
}

// showAct shows the form over the customer as he is now.
func (v *visit) showAct(status int, name string, a act, form actForm, p *web.Problem) error {
	customer := v.r.PathValue("customer")
	state, err := get[query.StateAnswer](v, path("/v1/customers/", customer, "/state"), url.Values{"consistency": {query.Authoritative}})
	if err != nil {
		return err
	}
	form.Version = strconv.FormatUint(state.Version, 10)
	view := &actView{
		holdings: newHoldings(customer, &state), act: a, Name: name, Customer: customer, Now: v.now, Form: form, Problem: p,
		Codes: domain.OverridableCodes(), Reasons: domain.ReasonCodes(),
	}
	if p != nil && p.Code == web.VersionConflict.Code {
		view.Changed, view.Problem = true, nil
	}
	if p != nil && p.Code == web.IdempotencyConflict.Code || view.Changed { // nothing was done under this key
		key, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("making a key: %w", err)
		}
		view.Form.Key = key.String()
	}
	if view.policy, err = v.general(); err != nil {
		return err
	}
	if err := v.nameTitles(view.holdings); err != nil {
		return err
	}
	if form.ScopeKind == domain.ScopeTitle && form.ScopeID != "" {
		title, found, err := v.title(form.ScopeID)
		if err != nil {
			return err
		}
		if found {
			view.titles[title.TitleID] = title.Name
		}
	}
	if err := a.does(view); err != nil {
		return err
	}
	return v.showAs(status, "act", frame{Title: a.Title, Section: "find", Find: customer}, view)
}

func (v *visit) general() (general, error) {
	answer, err := get[query.PolicyVersionAnswer](v, "/v1/policies/default/versions/current", nil)
	if err != nil {
		return general{}, err
	}
	var document struct {
		General general `json:"general"`
	}
	if err := json.Unmarshal(answer.Document, &document); err != nil {
		return general{}, fmt.Errorf("reading the policy: %w", err)
	}
	return document.General, nil
}

var errNoTarget = web.New(web.NotFound, "the customer has nothing by this id")

func (a *actView) device() (query.DeviceRow, error) {
	i := slices.IndexFunc(a.Devices, func(d query.DeviceRow) bool { return d.DeviceID == a.Form.Target })
	if i < 0 {
		return query.DeviceRow{}, errNoTarget
	}
	d := a.Devices[i]
	a.What = a.Device(d.DeviceID)
	return d, nil
}

// on are the active licences on a device.
func (a *actView) on(device string) []domain.LicenseView {
	return slices.DeleteFunc(slices.Clone(a.Licenses), func(l domain.LicenseView) bool { return l.DeviceID != device })
}

func titlesOf(licenses []domain.LicenseView) string {
	names := make([]string, len(licenses))
	for i, l := range licenses {
		names[i] = "“" + cmp.Or(l.TitleName, l.TitleID) + "”"
	}
	if len(names) > 4 {
		names = append(names[:4], fmt.Sprintf("and %d more", len(licenses)-4))
	}
	return strings.Join(names, ", ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

func (a *actView) removeDevice() error {
	d, err := a.device()
	if err != nil {
		return err
	}
	if d.Status == domain.DeviceStatusRemoved {
		a.Impossible = "This device is removed already."
		return nil
	}
	licenses := a.on(d.DeviceID)
	limit := "no limit"
	if n := a.Summary.Devices.Limit; n != nil {
		limit = number(*n)
	}
	switch {
	case !d.HoldsSlot:
		a.Effects = append(a.Effects, "It holds no place at the moment, so none comes free.")
	case len(licenses) > 0 && a.policy.SlotFreedOn == domain.SlotFreedOnConfirmation:
		a.Effects = append(a.Effects, "Its place comes free once the device has confirmed that its downloads are gone, or when they have ended.")
	default:
		a.Effects = append(a.Effects, fmt.Sprintf("Its place comes free at once: %d of %s would be taken instead of %d.", a.Summary.Devices.Used-1, limit, a.Summary.Devices.Used))
	}
	if len(licenses) > 0 {
		a.Effects = append(a.Effects, fmt.Sprintf("%s on it would be given back: %s. The device has yet to confirm that each is gone.", count(len(licenses), "licence", "licences"), titlesOf(licenses)))
	}
	a.Notes = append(a.Notes, "A removal by support is not counted as a replacement.", "What was counted stays counted: yearly downloads are not given back.")
	return nil
}

func (a *actView) blockDevice() error {
	d, err := a.device()
	if err != nil {
		return err
	}
	if d.Blocked {
		a.Impossible = "This device is blocked already."
		return nil
	}
	a.Effects = append(a.Effects, "Every request of this device for a download or a renewal would be refused, until it is unblocked.")
	if n := d.ActiveLicenses; n > 0 {
		a.Notes = append(a.Notes, count(n, "licence", "licences")+" on it would stay as they are: revoke them if they must end.")
	}
	a.Notes = append(a.Notes, "A block outlives a removal of the device.")
	return nil
}

func (a *actView) unblockDevice() error {
	d, err := a.device()
	if err != nil {
		return err
	}
	if !d.Blocked {
		a.Impossible = "This device is not blocked."
		return nil
	}
	why := ""
	if d.BlockReason != "" {
		why = ", because of " + query.ReasonWords(d.BlockReason)
	}
	a.Effects = append(a.Effects, "It could ask for downloads and renewals again.")
	a.Notes = append(a.Notes, "It was blocked on "+date(d.BlockedAt)+why+".")
	return nil
}

func (a *actView) revokeLicense() error {
	all := slices.Concat(a.Licenses, a.Ended)
	i := slices.IndexFunc(all, func(l domain.LicenseView) bool { return l.LicenseID == a.Form.Target })
	if i < 0 {
		return errNoTarget
	}
	l := all[i]
	a.What = a.license(l.LicenseID)
	if l.Status != domain.StatusActive {
		a.Impossible = "This licence has ended already: it is " + l.Status + "."
		return nil
	}
	a.Effects = append(a.Effects, "The licence would end at once, and could not be renewed.", a.stops(l), "It would no longer count as an active download of the device and the studio.")
	a.Notes = append(a.Notes, "The download stays counted for the year.")
	return nil
}

// stops says when a device stops that hears nothing of a revocation.
func (a *actView) stops(l domain.LicenseView) string {
	words := "The device stops playing when it next hears from us"
	if l.WillStopAt != nil {
		words += ", on " + date(l.WillStopAt) + " at the latest"
	}
	return words + "; until it has confirmed, the removal is pending."
}

func (a *actView) revokeAll() error {
	if len(a.Licenses) == 0 {
		a.Impossible = "This customer holds no active licence."
		return nil
	}
	devices := map[string]bool{}
	for _, l := range a.Licenses {
		devices[l.DeviceID] = true
	}
	a.Effects = append(a.Effects,
		fmt.Sprintf("%s on %s would end at once: %s.", count(len(a.Licenses), "licence", "licences"), count(len(devices), "device", "devices"), titlesOf(a.Licenses)),
		"Each device stops playing when it next hears from us, or when its licence would have ended.")
	a.Notes = append(a.Notes, "Devices keep their places, and may download again: block them if they must not.")
	return nil
}

func (a *actView) grantException() error {
	if a.Form.Code == "" {
		a.Form.Code = domain.CodeYearlyTitleLimit
	}
	a.choices()
	a.Effects = append(a.Effects, a.excepts(), "What is granted by it is counted as ever; each use is recorded.")
	for _, x := range a.Exceptions {
		if x.Status == domain.ExceptionStatusOpen && x.Code == a.Form.Code && len(a.Notes) < 3 {
			a.Notes = append(a.Notes, fmt.Sprintf("An exception from this limit is open already, for %s: %d of %d left.", a.Scope(x.Scope), x.UsesLeft, x.Uses))
		}
	}
	return nil
}

// choices are what the exception may be for: a kind that its limit is never about is not offered, and of a kind, what
// the customer has.
func (a *actView) choices() {
	a.Kinds = domain.ExceptionScopes(a.Form.Code)
	if !slices.Contains(a.Kinds, a.Form.ScopeKind) {
		a.Form.ScopeKind, a.Form.ScopeID = domain.ScopeCustomer, ""
	}
	offer := func(id, name string) {
		if id != "" && !slices.ContainsFunc(a.Which, func(c choice) bool { return c.ID == id }) {
			a.Which = append(a.Which, choice{id, name})
		}
	}
	licenses := slices.Concat(a.Licenses, a.Ended)
	switch a.Form.ScopeKind {
	case domain.ScopeDevice:
		for _, d := range a.Devices {
			offer(d.DeviceID, cmp.Or(d.Name, d.DeviceID))
		}
		a.Typed = a.Form.Code == domain.CodeDeviceLimitReached || a.Form.Code == domain.CodeDeviceReplacementLimit // one that has no place yet
	case domain.ScopeLicense:
		for _, l := range licenses {
			offer(l.LicenseID, a.license(l.LicenseID))
		}
	case domain.ScopeTitle:
		for _, l := range licenses {
			offer(l.TitleID, cmp.Or(l.TitleName, l.TitleID))
		}
		a.Typed = true
	case domain.ScopeStudio:
		for _, l := range licenses {
			offer(l.Studio, l.Studio)
		}
		a.Typed = true
	default:
		a.Form.ScopeID = ""
		return
	}
}

// kindWords are a scope's kind inside a sentence.
func kindWords(kind string) string {
	if kind == domain.ScopeLicense {
		return "licence"
	}
	return kind
}

// excepts says what would pass, how often, until when, and for what.
func (a *actView) excepts() string {
	uses, until, of := "as often as you allow", "without an end", "of this customer"
	switch n, err := strconv.Atoi(strings.TrimSpace(a.Form.Uses)); {
	case err == nil && n == 1:
		uses = "once"
	case err == nil && n > 1:
		uses = "up to " + number(n) + " times"
	}
	if at, ok := readTime(a.Form.Expires, true); ok {
		until = "until " + date(at) + " UTC"
	}
	if kind := a.Form.ScopeKind; kind != domain.ScopeCustomer {
		of = "of one " + kindWords(kind) + ": say which"
		if id := strings.TrimSpace(a.Form.ScopeID); id != "" {
			of = "for " + a.Scope(domain.Scope{Kind: kind, ID: id}) + " only"
		}
	}
	return fmt.Sprintf("Requests %s that would be refused for “%s” pass instead, %s, %s.", of, codeWords(a.Form.Code), uses, until)
}

func (a *actView) withdrawException() error {
	i := slices.IndexFunc(a.Exceptions, func(x query.ExceptionRow) bool { return x.ExceptionID == a.Form.Target })
	if i < 0 {
		return errNoTarget
	}
	x := a.Exceptions[i]
	a.What = codeWords(x.Code)
	if x.Status != domain.ExceptionStatusOpen {
		a.Impossible = "This exception is " + x.Status + " already."
		return nil
	}
	a.Effects = append(a.Effects, fmt.Sprintf("%s that are left would be lost.", count(x.UsesLeft, "use", "uses")))
	a.Notes = append(a.Notes, "What was granted by it stays.")
	return nil
}
