package queryapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carryon/api/queryapi"
	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/domain"
	"carryon/query"
)

var keys = webtest.NewKeys("tokens")

// asked is a question's handler that remembers what it was asked, and answers the same always.
type asked[Q, A any] struct {
	q      *Q
	answer A
	err    error
}

func (a asked[Q, A]) Handle(_ context.Context, q Q) (A, error) {
	*a.q = q
	return a.answer, a.err
}

func ask[Q, A any](q *Q, answer A) asked[Q, A] { return asked[Q, A]{q: q, answer: answer} }

func fails[Q, A any](q *Q, err error) asked[Q, A] { return asked[Q, A]{q: q, err: err} }

func mount(t testing.TB, questions queryapi.Questions, o queryapi.Options) (http.Handler, *web.API) {
	t.Helper()
	g := web.NewGateway(web.GatewayOptions{Tokens: web.NewTokens(keys, nil)})
	api, err := queryapi.MountQuestions(g, questions, o)
	if err != nil {
		t.Fatal(err)
	}
	return g, api
}

func get(t testing.TB, h http.Handler, role domain.Role, path string, header ...string) *webtest.Answer {
	t.Helper()
	customer := ""
	if role == domain.RoleDevice {
		customer = "c-1"
	}
	r := webtest.Request{Method: "GET", Path: path, Token: keys.Token(t, role, customer), Header: map[string]string{"X-Request-Id": "req-1"}}
	for i := 0; i < len(header); i += 2 {
		r.Header[header[i]] = header[i+1]
	}
	return webtest.Do(t, h, r)
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func by(role domain.Role) query.Caller {
	return query.Caller{Actor: domain.Actor{ID: "some-" + string(role), Role: role}, RequestID: "req-1"}
}

// Each route hands on each of its parameters, and who asks.
func TestAQuestionIsAskedAsItWasPut(t *testing.T) {
	t.Parallel()
	const range_ = "&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00%2B01:00"
	const filters = "type=A,B&customer=c-1&customer=c-2&device_id=d&title_id=t&series=Dear%2C%20John&series=Up&license_id=l&studio=s1,s2&plan=p" +
		"&country=DE,AT&device_type=ipad&device_family=tablet&code=X&actor=a&role=device&case=1%2C2&trigger=user&basis=books&policy_version=1,2" + range_
	filter := query.Filter{
		Type: []string{"A", "B"}, Customer: []string{"c-1", "c-2"}, DeviceID: []string{"d"}, TitleID: []string{"t"}, Series: []string{"Dear, John", "Up"},
		LicenseID: []string{"l"}, Studio: []string{"s1", "s2"}, Plan: []string{"p"}, Country: []string{"DE", "AT"}, DeviceType: []string{"ipad"},
		DeviceFamily: []string{"tablet"}, Code: []string{"X"}, Actor: []string{"a"}, Role: []string{"device"}, Case: []string{"1,2"}, Trigger: []string{"user"},
		Basis: []string{"books"}, PolicyVersion: []int{1, 2}, From: at("2026-01-01T00:00:00Z"), To: at("2026-01-31T23:00:00Z"),
	}
	const fresh = "&consistency=authoritative&min_version=12&min_position=1:345"
	consistency := query.Consistency{Mode: "authoritative", MinVersion: 12, MinPosition: domain.Position{Shard: 1, Index: 345}}
	const paged = "&limit=7&cursor=abc"
	page := query.Page{Limit: 7, Cursor: "abc"}
	device := query.Caller{Actor: domain.Actor{ID: "some-device", Role: domain.RoleDevice}, RequestID: "req-1"}
	from, to := at("2026-01-01T00:00:00Z"), at("2026-01-31T23:00:00Z")

	var (
		lookup     query.Lookup
		customer   query.Customer
		devices    query.Devices
		licenses   query.Licenses
		exceptions query.Exceptions
		denials    query.Denials
		timeline   query.Timeline
		explain    query.Explain
		state      query.State
		decision   query.Decision
		search     query.SearchEvents
		analytics  query.Analytics
		titles     query.Titles
		version    query.PolicyVersion
		diff       query.PolicyDiff
		common     query.CommonTimeline
		parked     query.ListParked
		retry      query.RetryParked
		retryAll   query.RetryAllParked
		drop       query.DropParked
		rebuild    query.RebuildModel
		resolve    query.Resolve
		accesses   query.Accesses
		export     query.Export
	)
	h, _ := mount(t, queryapi.Questions{
		Lookup: ask(&lookup, query.LookupAnswer{}), Customer: ask(&customer, query.CustomerAnswer{}), Devices: ask(&devices, query.DevicesAnswer{}),
		Licenses: ask(&licenses, query.LicensesAnswer{}), Exceptions: ask(&exceptions, query.ExceptionsAnswer{}), Denials: ask(&denials, query.DenialsAnswer{}),
		Timeline: ask(&timeline, query.TimelineAnswer{}), Explain: ask(&explain, query.ExplainAnswer{}), State: ask(&state, query.StateAnswer{}),
		Decision: ask(&decision, query.DecisionAnswer{}), SearchEvents: ask(&search, query.SearchEventsAnswer{}), Analytics: ask(&analytics, query.AnalyticsAnswer{}),
		Titles: ask(&titles, query.TitlesAnswer{}), PolicyVersion: ask(&version, query.PolicyVersionAnswer{}), PolicyDiff: ask(&diff, query.PolicyDiffAnswer{}),
		CommonTimeline: ask(&common, query.CommonTimelineAnswer{}),
		Parked:         ask(&parked, query.ListParkedAnswer{}), RetryParked: ask(&retry, query.RetryParkedAnswer{}), RetryAllParked: ask(&retryAll, query.RetryAllParkedAnswer{}),
		DropParked: ask(&drop, query.RetryParkedAnswer{}), RebuildModel: ask(&rebuild, query.RebuildModelAnswer{}), Resolve: ask(&resolve, query.ResolveAnswer{}),
		Access: ask(&accesses, query.AccessesAnswer{}), Export: ask(&export, query.Exported{Rows: func(func(query.Row, error) bool) {}}),
	}, queryapi.Options{Clock: func() time.Time { return to }})

	for _, c := range []struct {
		role        domain.Role
		method, url string
		got         any
		want        any
	}{
		{domain.RoleAnalyst, "GET", "/v1/lookup?q=pc_x", &lookup, query.Lookup{By: by(domain.RoleAnalyst), Q: "pc_x"}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1?x" + fresh, &customer, query.Customer{By: by(domain.RoleSupport), Customer: "c-1", Consistency: consistency}},
		{domain.RoleDevice, "GET", "/v1/customers/c-1/devices?state=blocked" + fresh + paged, &devices, query.Devices{By: device, Customer: "c-1", State: "blocked", Page: page, Consistency: consistency}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1/licenses?device_id=d&title_id=t&state=active&order=asc" + fresh + paged, &licenses,
			query.Licenses{By: by(domain.RoleSupport), Customer: "c-1", DeviceID: "d", TitleID: "t", State: "active", Order: "oldest", Page: page, Consistency: consistency}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1/exceptions?state=open" + fresh + paged, &exceptions, query.Exceptions{By: by(domain.RoleSupport), Customer: "c-1", State: "open", Page: page, Consistency: consistency}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1/denials?code=A,B&device_id=d&title_id=t&order=desc" + range_ + fresh + paged, &denials,
			query.Denials{By: by(domain.RoleSupport), Customer: "c-1", Code: []string{"A", "B"}, DeviceID: "d", TitleID: "t", From: from, To: to, Order: "newest", Page: page, Consistency: consistency}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1/timeline?type=A&type=B&device_id=d&title_id=t&license_id=l&actor=a&order=oldest" + range_ + fresh + paged, &timeline,
			query.Timeline{By: by(domain.RoleSupport), Customer: "c-1", Type: []string{"A", "B"}, DeviceID: "d", TitleID: "t", LicenseID: "l", Actor: "a", From: from, To: to, Order: "oldest", Page: page, Consistency: consistency}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1/explain?title_id=t&device_id=d&device_type=ipad&country=DE&profile_id=p&at=2026-01-01T00:00:00Z" + fresh, &explain,
			query.Explain{By: by(domain.RoleSupport), Customer: "c-1", TitleID: "t", DeviceID: "d", DeviceType: "ipad", Country: "DE", ProfileID: "p", At: from, Consistency: consistency}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1/explain?title_id=t&device_id=d&maturity=kids&quality=uhd" + fresh, &explain,
			query.Explain{By: by(domain.RoleSupport), Customer: "c-1", TitleID: "t", DeviceID: "d", Maturity: "kids", Quality: "uhd", Consistency: consistency}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1/explain?license_id=l" + fresh, &explain, query.Explain{By: by(domain.RoleSupport), Customer: "c-1", LicenseID: "l", Consistency: consistency}},
		{domain.RoleSupport, "GET", "/v1/customers/c-1/state?as_of=2026-01-01T00:00:00Z" + fresh, &state, query.State{By: by(domain.RoleSupport), Customer: "c-1", AsOf: from, Consistency: consistency}},
		{domain.RoleOperator, "GET", "/v1/customers/c-1/accesses?x" + paged, &accesses, query.Accesses{By: by(domain.RoleOperator), Customer: "c-1", Page: page}},
		{domain.RoleSupport, "GET", "/v1/decisions/dec_1", &decision, query.Decision{By: by(domain.RoleSupport), ID: "dec_1"}},
		{domain.RoleDevice, "GET", "/v1/decisions/dec_1", &decision, query.Decision{By: device, ID: "dec_1", Customer: "c-1"}},
		{domain.RoleAnalyst, "GET", "/v1/events/search?q=up+there&sort=newest&facets=code,studio&min_position=1:345&" + filters + paged, &search,
			query.SearchEvents{By: by(domain.RoleAnalyst), Q: "up there", Filter: filter, Sort: "newest", Facets: []string{"code", "studio"}, Page: page, MinPosition: consistency.MinPosition}},
		{domain.RoleAnalyst, "GET", "/v1/analytics/denials?group_by=code,studio&interval=week&tz=Europe/Berlin&measure=customers&compare=previous&top=5&min_position=1:345&" + filters, &analytics,
			query.Analytics{By: by(domain.RoleAnalyst), Metric: "denials", GroupBy: []string{"code", "studio"}, Interval: "week", TZ: "Europe/Berlin", Measure: "customers", Compare: "previous", Top: 5, Filter: filter, MinPosition: consistency.MinPosition}},
		{domain.RoleAnalyst, "GET", "/v1/analytics/active", &analytics, query.Analytics{By: by(domain.RoleAnalyst), Metric: "active", Filter: query.Filter{From: to.AddDate(0, 0, -30), To: to}}},
		{domain.RoleDevice, "GET", "/v1/titles?q=up" + paged, &titles, query.Titles{Q: "up", Page: page}},
		{domain.RoleAnalyst, "GET", "/v1/policies/default/versions/3", &version, query.PolicyVersion{Policy: "default", Version: 3}},
		{domain.RoleAnalyst, "GET", "/v1/policies/device-types/versions/current", &version, query.PolicyVersion{Policy: "device-types"}},
		{domain.RoleAnalyst, "GET", "/v1/policies/default/versions/3/diff?from=1", &diff, query.PolicyDiff{Policy: "default", From: 1, To: 3}},
		{domain.RoleAnalyst, "GET", "/v1/policies/default/diff?from=1&to=2", &diff, query.PolicyDiff{Policy: "default", From: 1, To: 2}},
		{domain.RoleSupport, "GET", "/v1/titles/t-1/timeline", &common, query.CommonTimeline{By: by(domain.RoleSupport), Stream: "title/t-1"}},
		{domain.RoleOperator, "GET", "/v1/policies/default/timeline", &common, query.CommonTimeline{By: by(domain.RoleOperator), Stream: "policy/default"}},
		{domain.RoleOperator, "GET", "/v1/projections/timeline/parked?x" + paged, &parked, query.ListParked{By: by(domain.RoleOperator), Model: "timeline", Page: page}},
		{domain.RoleOperator, "POST", "/v1/projections/timeline/parked/customer%2Fc-1/retry", &retry, query.RetryParked{By: by(domain.RoleOperator), Model: "timeline", Stream: "customer/c-1"}},
		{domain.RoleOperator, "POST", "/v1/projections/timeline/parked/retry", &retryAll, query.RetryAllParked{By: by(domain.RoleOperator), Model: "timeline"}},
		{domain.RoleAnalyst, "POST", "/v1/pseudonyms/pc_x/resolve", &resolve, query.Resolve{By: by(domain.RoleAnalyst), Pseudonym: "pc_x", Reason: "Fraud"}},
		{domain.RoleAnalyst, "GET", "/v1/exports/events?format=ndjson&" + filters, &export, query.Export{By: by(domain.RoleAnalyst), Table: "events", Filter: filter}},
	} {
		url := strings.NewReplacer("?x&", "?", "?x", "").Replace(c.url)
		customer := ""
		if c.role == domain.RoleDevice {
			customer = "c-1"
		}
		r := webtest.Request{Method: c.method, Path: url, Token: keys.Token(t, c.role, customer), Header: map[string]string{"X-Request-Id": "req-1"}}
		if strings.HasSuffix(url, "/resolve") {
			r.Body = map[string]any{"reason": "Fraud"}
		}
		if a := webtest.Do(t, h, r); a.Status != http.StatusOK {
			t.Errorf("%s: status %d: %s", url, a.Status, a.Raw)
			continue
		}
		got := reflect.ValueOf(c.got).Elem()
		if diff := cmp.Diff(c.want, got.Interface()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
		got.SetZero()
	}
}

// Each part of each route's request, made bad in each way that the OpenAPI document knows, leads to a problem that names
// the part, and to no question.
func TestABadRequestIsAProblemThatNamesThePart(t *testing.T) {
	t.Parallel()
	h, api := mount(t, queryapi.Questions{}, queryapi.Options{}) // whoever asks a question panics
	raw, err := api.Document("json")
	if err != nil {
		t.Fatal(err)
	}
	document, tried := webtest.Read(t, raw), 0
	for _, op := range document.Operations() {
		for _, bad := range op.Bad(document) {
			tried++
			bad.Request.Token = keys.Token(t, domain.RoleOperator, "")
			a := webtest.Do(t, h, bad.Request)
			if a.Status < 400 || a.Status >= 500 {
				t.Errorf("%s: %s %s: status %d, want a problem with %s: %.300s", op.OperationID, bad.What, bad.Names, a.Status, bad.Names, a.Raw)
				continue
			}
			p := a.Problem(t)
			if !slices.ContainsFunc(p.Errors, func(f web.FieldProblem) bool {
				return f.Field == bad.Names || strings.HasPrefix(f.Field, bad.Names+"[") || bad.Names == "body" && strings.HasPrefix(f.Field, "body")
			}) {
				t.Errorf("%s: %s: status %d does not name %s: %.400s", op.OperationID, bad.What, a.Status, bad.Names, a.Raw)
			}
		}
	}
	if tried < 500 {
		t.Errorf("only %d bad requests were made: the document lacks something", tried)
	}
	t.Logf("%d bad requests", tried)
}

func TestAnAnswerThatHasNotChangedIsLeftOut(t *testing.T) {
	t.Parallel()
	var customer query.Customer
	var timeline query.Timeline
	var titles query.Titles
	made := query.Made{Version: 12, Consistency: "projected"}
	h, _ := mount(t, queryapi.Questions{
		Customer: ask(&customer, query.CustomerAnswer{Made: made}), Timeline: ask(&timeline, query.TimelineAnswer{Made: made}),
		Titles: ask(&titles, query.TitlesAnswer{Catalogue: "abc"}),
	}, queryapi.Options{})
	for _, c := range []struct {
		path, given, etag string
		status            int
	}{
		{"/v1/customers/c-1", "", `"12"`, 200}, {"/v1/customers/c-1", `"12"`, `"12"`, 304}, {"/v1/customers/c-1", `W/"12"`, `"12"`, 304},
		{"/v1/customers/c-1", `"11", "12"`, `"12"`, 304}, {"/v1/customers/c-1", `*`, `"12"`, 304}, {"/v1/customers/c-1", `"11"`, `"12"`, 200},
		{"/v1/customers/c-1", `nonsense`, `"12"`, 200}, {"/v1/customers/c-1/timeline", `"12"`, `"12"`, 304}, {"/v1/titles", `"abc"`, `"abc"`, 304},
	} {
		a := get(t, h, domain.RoleSupport, c.path, "If-None-Match", c.given)
		if a.Status != c.status || a.Header.Get("ETag") != c.etag || a.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s with If-None-Match %s: status %d, ETag %s, Cache-Control %s", c.path, c.given, a.Status, a.Header.Get("ETag"), a.Header.Get("Cache-Control"))
		}
		if a.Status == 304 && len(a.Raw) > 0 {
			t.Errorf("%s: a 304 with a body: %s", c.path, a.Raw)
		}
		if a.Status == 200 && !json.Valid(a.Raw) {
			t.Errorf("%s: no JSON: %s", c.path, a.Raw)
		}
	}
}

func TestEachFailureOfAQuestionIsItsProblem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
		code   string
		field  string
	}{
		{domain.ErrNotFound, 404, "NOT_FOUND", ""},
		{query.ErrForbidden, 403, "FORBIDDEN", ""},
		{query.ErrUnavailable, 503, "UNAVAILABLE", ""},
		{&query.BehindError{Model: "customers", Wanted: "version 12"}, 504, "BEHIND", ""},
		{&query.ParkedError{Model: "customers", FirstSeq: 7}, 503, "PARKED", ""},
		{context.DeadlineExceeded, 504, "DEADLINE_EXCEEDED", ""},
		{&domain.FieldError{Field: "cursor", Problem: "is not one that was given out here"}, 422, "INVALID", "query.cursor"},
		{errors.Join(&domain.FieldError{Field: "to", Problem: "is not after from"}, &domain.FieldError{Field: "customer", Problem: "is wrong"}), 422, "INVALID", "path.customer"},
		{errors.New("secret"), 500, "INTERNAL", ""},
	} {
		var q query.Customer
		h, _ := mount(t, queryapi.Questions{Customer: fails[query.Customer, query.CustomerAnswer](&q, fmt.Errorf("read of c-1: %w", c.err))}, queryapi.Options{})
		a := get(t, h, domain.RoleSupport, "/v1/customers/c-1")
		p := a.Problem(t)
		if a.Status != c.status || p.Code != c.code || strings.Contains(string(a.Raw), "secret") || strings.Contains(string(a.Raw), "read of") {
			t.Errorf("%v: status %d: %s", c.err, a.Status, a.Raw)
		}
		if c.field != "" && !slices.ContainsFunc(p.Errors, func(f web.FieldProblem) bool { return f.Field == c.field }) {
			t.Errorf("%v: %s is not named: %s", c.err, c.field, a.Raw)
		}
	}
}

func TestAnExportStreamsAndIsCutOffWhenItFailsHalfWay(t *testing.T) {
	t.Parallel()
	fail := errors.New("the disk is gone")
	var q query.Export
	rows := func(n int, err error) query.Exported {
		return query.Exported{Columns: []string{"customer", "n"}, Rows: func(yield func(query.Row, error) bool) {
			for i := range n {
				if !yield(query.Row{strings.Repeat("x", 100), int64(i)}, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, err)
			}
		}}
	}
	for _, c := range []struct {
		what, query, kind string
		exported          query.Exported
		lines             int // -1: cut off
	}{
		{"CSV", "", "text/csv; charset=utf-8", rows(5000, nil), 5001},
		{"NDJSON", "?format=ndjson", "application/x-ndjson", rows(5000, nil), 5000},
		{"a failure half-way", "", "text/csv; charset=utf-8", rows(5000, fail), -1},
		{"a panic half-way", "", "text/csv; charset=utf-8", query.Exported{Columns: []string{"n"}, Rows: func(yield func(query.Row, error) bool) {
			for range 100_000 {
				yield(query.Row{"some text"}, nil)
			}
			panic("a bug")
		}}, -1},
		{"a failure at once", "?format=ndjson", "application/x-ndjson", rows(0, fail), -1},
	} {
		h, _ := mount(t, queryapi.Questions{Export: ask(&q, c.exported)}, queryapi.Options{})
		server := httptest.NewServer(h)
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/exports/events"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+keys.Token(t, domain.RoleAnalyst, ""))
		resp, err := server.Client().Do(r)
		if err != nil {
			if c.lines >= 0 {
				t.Errorf("%s: %v", c.what, err)
			}
			server.Close()
			continue
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		server.Close()
		switch lines := strings.Count(string(raw), "\n"); {
		case c.lines < 0 && err == nil:
			t.Errorf("%s: the answer looks whole, with %d lines", c.what, lines)
		case c.lines >= 0 && (err != nil || lines != c.lines || resp.Header.Get("Content-Type") != c.kind || !strings.Contains(resp.Header.Get("Content-Disposition"), "events.")):
			t.Errorf("%s: %d lines, want %d; %v; %v", c.what, lines, c.lines, err, resp.Header)
		}
	}
}

func TestAProblemSaysWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	h, _ := mount(t, queryapi.Questions{}, queryapi.Options{}) // whoever asks a question panics
	for _, c := range []struct{ path, header, field, message string }{
		{"/v1/customers/c-1/state?as_of=0001-01-01T00:00:00Z", "", "query.as_of", "is in the year 1; 1970 to 9999 are possible"},
		{"/v1/customers/c-1/explain?title_id=t&device_id=d&at=0001-01-01T00:00:00Z", "", "query.at", "is in the year 1; 1970 to 9999 are possible"},
		{"/v1/events/search?from=0001-01-01T00:00:00Z", "", "query.from", "is in the year 1; 1970 to 9999 are possible"},
		{"/v1/events/search?to=9999-12-31T23:59:59-01:00", "", "query.to", "is in the year 10000; 1970 to 9999 are possible"},
		{"/v1/customers/c-1?min_version=9007199254740993", "", "query.min_version", "is more than 9007199254740991"},
		{"/v1/policies/default/diff?from=1000000000", "", "query.from", "is more than 999999999"},
		{"/v1/customers/c-1/timeline?limit=1000000", "", "query.limit", "is more than 200"},
		{"/v1/customers/c-1/explain?title_id=t&device_id=d&country=ZZ", "", "query.country", `is "ZZ", which is no country of ISO 3166`},
		{"/v1/events/search?country=DE,UK", "", "query.country[1]", `is "UK", which is no country of ISO 3166`},
		{"/v1/events/live", strings.Repeat("x", 5000), "header.Last-Event-ID", "is longer than 4096 characters"},
	} {
		a := get(t, h, domain.RoleOperator, c.path, "Last-Event-ID", c.header)
		p := a.Problem(t)
		if a.Status != http.StatusUnprocessableEntity || len(p.Errors) != 1 || p.Errors[0].Field != c.field || p.Errors[0].Message != c.message {
			t.Errorf("%s: status %d, %+v; want %s %s", c.path, a.Status, p.Errors, c.field, c.message)
		}
	}
}
