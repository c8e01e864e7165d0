package console

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

// Live: the running stream of events in the browser, through the filter that stands in the address. The stream comes from
// the console's own address, because a browser's EventSource sends cookies and no token; behind it is the stream of the
// query API, asked with the visitor's token, item by item. A pause closes it, and it goes on where it stopped.

type liveView struct {
	Filter   string
	Problem  string // with the filter
	Caret    string // spaces up to the column that it concerns
	Column   int
	Words    string // JSON: for each type what it is called, and its tone
	Codes    string // JSON: for each code what it is called
	Whose    string // where a customer is shown, up to the id
	Events   string // where the stream is; empty: not with this filter
	Fields   []query.LiveField
	Examples []string
}

// liveFields are what a row shows.
var liveFields = []string{
	"type", "recorded_at", "customer", "seq", "title_id", "title_name", "device_id", "device_type", "studio", "plan", "country", "code", "role", "actor", "decision_id",
}

var columnOf = regexp.MustCompile(`column ([0-9]+): `)

func (v *visit) live() error {
	f := frame{Title: "Live", Section: "live", Who: v.who}
	view := liveView{
		Filter: strings.TrimSpace(v.r.URL.Query().Get("filter")), Fields: query.LiveFields(), Whose: "/pseudonyms/",
		Examples: []string{
			`type == "LicenseDenied"`, `code.startsWith("DEVICE_") || code == "YEARLY_TITLE_LIMIT"`, `role == "support"`, `country == "DE" && plan == "ads"`,
			`type == "LicenseIssued" && basis == "fail_open"`,
		},
	}
	if f.Customers() {
		view.Whose = "/customers/"
	}
	status := http.StatusOK
	err := v.checkFilter(view.Filter)
	if p, wrong := errors.AsType[*web.Problem](err); wrong && p.Status == web.Invalid.Status && len(p.Errors) > 0 {
		status, view.Problem = p.Status, p.Errors[0].Message
		if m := columnOf.FindStringSubmatch(view.Problem); m != nil {
			view.Column, _ = strconv.Atoi(m[1])
			view.Caret = strings.Repeat(" ", max(0, min(view.Column-1, query.MaxLiveFilter)))
			view.Problem = strings.TrimPrefix(view.Problem, m[0])
		}
	} else if err != nil {
		return err
	} else {
		view.Events = "/live/events?" + filtered(view.Filter).Encode()
	}
	words, codes := map[string][2]string{}, map[string]string{}
	for _, kind := range domain.EventTypes() {
		words[kind] = [2]string{eventWords(kind), tone(kind)}
	}
	for _, code := range domain.RefusalCodes() {
		codes[code] = codeWords(code)
	}
	for to, from := range map[*string]any{&view.Words: words, &view.Codes: codes} {
		raw, err := json.Marshal(from)
		if err != nil {
			return fmt.Errorf("writing words: %w", err)
		}
		*to = string(raw)
	}
	return v.showAs(status, "live", f, view)
}

// checkFilter asks for the stream and leaves it at once: an EventSource could not tell why it was refused.
func (v *visit) checkFilter(filter string) error {
	response, err := v.send(v.console.o.Queries, request{method: http.MethodGet, path: "/v1/events/live", query: filtered(filter)})
	if err != nil {
		return err
	}
	_ = response.Body.Close() // ends the stream
	return nil
}

func filtered(filter string) url.Values {
	if filter == "" {
		return url.Values{}
	}
	return url.Values{"filter": {filter}}
}

// liveEvents hands on the stream as it comes.
func (v *visit) liveEvents() error {
	q := v.r.URL.Query()
	after := v.r.Header.Get("Last-Event-Id") // of a stream that broke off: the browser sends it
	if after == "" {
		after = q.Get("after") // of one that was paused
	}
	asked := filtered(strings.TrimSpace(q.Get("filter")))
	asked.Set("fields", strings.Join(liveFields, ","))
	response, err := v.send(v.console.o.Queries, request{method: http.MethodGet, path: "/v1/events/live", query: asked, lastEventID: after})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	h := v.w.Header()
	h.Set("Content-Type", response.Header.Get("Content-Type"))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	web.Detach(v.r.Context()) // the stream itself counts, where it is told
	control := http.NewResponseController(v.w)
	out := patient{v.w, control}
	if err := control.Flush(); err != nil {
		return fmt.Errorf("beginning a stream: %w", err)
	}
	in := bufio.NewReader(response.Body)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil //nolint:nilerr // the stream has ended, and said why
		}
		if bytes.Equal(line, beat) {
			line = toldBeat
		}
		if _, err := out.Write(line); err != nil {
			return nil //nolint:nilerr // the visitor has gone
		}
		if len(line) > 1 {
			continue
		}
		if err := control.Flush(); err != nil { // an item is whole
			return nil //nolint:nilerr // the visitor has gone
		}
	}
}

// A beat keeps the place of the stream current. Browsers tell pages of items with data only, and a page that pauses must
// know the place.
var (
	beat     = []byte(":\n")
	toldBeat = []byte("event: beat\ndata: {}\n")
)
