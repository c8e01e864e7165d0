package commandapi_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"carryon/api/commandapi"
	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/command"
	"carryon/domain"
)

func TestAGrantCarriesVersionPositionDecisionAndALicenceThatThePublishedKeyVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	a := w.must(w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses", acquisition("film-1", "dev-1")))
	o := outcome(t, a)
	if o.Version == 0 || !strings.Contains(o.Position, ":") || o.Decision == nil || o.Decision.Outcome != domain.OutcomeGrant || len(o.Events) == 0 {
		t.Errorf("the answer lacks something: %s", a.Raw)
	}
	if got, want := a.Header.Get("ETag"), fmt.Sprintf("%q", fmt.Sprint(o.Version)); got != want {
		t.Errorf("ETag is %s, want %s", got, want)
	}
	published := webtest.Do(t, w.http, webtest.Request{Method: "GET", Path: "/v1/keys"})
	key := publicKey(t, published, o.License.KeyID)
	if !ed25519.Verify(key, o.License.Payload, o.License.Signature) {
		t.Error("the signature does not fit the published key")
	}
	var payload command.LicensePayload
	if err := json.Unmarshal(o.License.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	if payload.Customer != "c-1" || payload.DeviceID != "dev-1" || payload.LicenseID != o.License.LicenseID {
		t.Errorf("the payload is for something else: %s", o.License.Payload)
	}
}

func publicKey(t *testing.T, a *webtest.Answer, id string) ed25519.PublicKey {
	t.Helper()
	var list commandapi.KeyList
	if err := json.Unmarshal(a.Raw, &list); err != nil {
		t.Fatal(err)
	}
	for _, k := range list.Keys {
		if k.KeyID == id {
			return k.PublicKey
		}
	}
	t.Fatalf("key %s is not published: %s", id, a.Raw)
	return nil
}

func TestARefusalIsAProblemWithTheNumbersTheHoldersAndWhatWouldHelp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	w.acquire("c-1", "film-1", "dev-1")
	w.acquire("c-1", "film-1", "dev-2")
	a := w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses", acquisition("film-1", "dev-3"))
	p := a.Problem(t)
	if a.Status != http.StatusForbidden || p.Type != "urn:carryon:problem:refused" || p.Code != domain.CodeDeviceLimitReached {
		t.Fatalf("status %d: %s", a.Status, a.Raw)
	}
	if p.Used == nil || *p.Used != 2 || p.Limit == nil || *p.Limit != 2 || len(p.HeldBy) != 2 || p.Scope == nil || len(p.Remedies) == 0 || p.Decision == nil || p.Version == nil || p.Position == "" {
		t.Errorf("the refusal lacks something: %s", a.Raw)
	}
}

func TestADryRunAnswersARefusalAndRecordsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	before := w.events()
	a := w.must(w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses/evaluate", acquisition("unheard-of", "dev-1"), "Idempotency-Key", ""))
	if o := outcome(t, a); o.Decision.Outcome != domain.OutcomeRefuse || o.Decision.Code != domain.CodeTitleUnknown || o.License != nil {
		t.Errorf("the dry run says: %s", a.Raw)
	}
	if w.events() != before {
		t.Error("a dry run recorded something")
	}
}

func TestTheSameKeyGetsTheSameAnswerAndWithAnotherBodyAConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	key := newKey(time.Now())
	first := w.must(w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses", acquisition("film-1", "dev-1"), "Idempotency-Key", key))
	w.acquire("c-1", "film-2", "dev-1")
	before := w.events()
	again := w.must(w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses", acquisition("film-1", "dev-1"), "Idempotency-Key", strings.ToUpper(key)))
	replayed := func(a *webtest.Answer) string { return a.Header.Get("Idempotency-Replayed") }
	if replayed(first) != "" || replayed(again) != "true" || !bytes.Equal(first.Raw, again.Raw) {
		t.Errorf("first %s\nthen %s", first.Raw, again.Raw)
	}
	other := w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses", acquisition("film-3", "dev-1"), "Idempotency-Key", key)
	if p := other.Problem(t); other.Status != http.StatusUnprocessableEntity || p.Code != "IDEMPOTENCY_CONFLICT" {
		t.Errorf("another body: status %d: %s", other.Status, other.Raw)
	}
	if w.events() != before {
		t.Error("a repeat recorded something")
	}
}

func TestAKeyFromAnotherTimeIsTokenDriftWithOurTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	before := w.events()
	for what, at := range map[string]time.Time{
		"ten days old": time.Now().AddDate(0, 0, -10), "an hour ahead": time.Now().Add(time.Hour), "of 1970": time.UnixMilli(1), "of the year 4000": time.Date(4000, 1, 1, 0, 0, 0, 0, time.UTC),
		"of a year that can't be written down": time.UnixMilli(1<<48 - 1),
	} {
		a := w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses", acquisition("film-1", "dev-1"), "Idempotency-Key", newKey(at))
		p := a.Problem(t)
		if a.Status != http.StatusConflict || p.Code != "TOKEN_DRIFT" || p.ServerTime == nil || time.Since(*p.ServerTime).Abs() > time.Minute || len(p.Errors) != 1 {
			t.Errorf("a key %s: status %d: %s", what, a.Status, a.Raw)
		}
	}
	if w.events() != before {
		t.Error("a drifting key recorded something")
	}
	// A play reported offline may be as old as it likes.
	license := w.acquire("c-1", "film-1", "dev-1")
	w.must(w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses/"+license+"/plays",
		map[string]any{"play_id": "p-1", "kind": "start", "device_time": time.Now(), "position_seconds": 0}, "Idempotency-Key", newKey(time.Now().AddDate(0, -2, 0))))
}

func TestIfMatchWithAnotherVersionWritesNothingAndTellsTheVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	a := w.must(w.send(domain.RoleDevice, "c-1", "PUT", "/v1/customers/c-1/devices/dev-1", map[string]any{"device_type": "ipad", "name": "Ada's"}))
	etag := a.Header.Get("ETag")
	before := w.events()
	stale := w.send(domain.RoleDevice, "c-1", "PUT", "/v1/customers/c-1/devices/dev-2", map[string]any{"device_type": "ipad", "name": ""}, "If-Match", `"1"`)
	p := stale.Problem(t)
	if stale.Status != http.StatusPreconditionFailed || p.Code != "VERSION_CONFLICT" || stale.Header.Get("ETag") != etag || p.Version == nil {
		t.Errorf("status %d, ETag %s, want %s: %s", stale.Status, stale.Header.Get("ETag"), etag, stale.Raw)
	}
	if w.events() != before {
		t.Error("a stale If-Match recorded something")
	}
	w.must(w.send(domain.RoleDevice, "c-1", "PUT", "/v1/customers/c-1/devices/dev-2", map[string]any{"device_type": "ipad", "name": ""}, "If-Match", etag))
	w.must(w.send(domain.RoleDevice, "c-1", "DELETE", "/v1/customers/c-1/devices/dev-2", nil, "If-Match", "*"))
}

func TestSupportMustGiveAReasonForEveryAct(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	license := w.acquire("c-1", "film-1", "dev-1")
	acts := []struct{ method, path string }{
		{"POST", "/licenses/" + license + "/revoke"}, {"POST", "/devices/dev-1/block"}, {"POST", "/devices/dev-1/unblock"},
		{"DELETE", "/devices/dev-1"}, {"POST", "/revoke-all"}, {"POST", "/exceptions"}, {"DELETE", "/exceptions/exc_1"},
	}
	before := w.events()
	for _, act := range acts {
		for _, body := range []any{map[string]any{"code": "YEARLY_TITLE_LIMIT", "uses": 1}, map[string]any{}} {
			if act.path != "/exceptions" {
				body = map[string]any{}
			}
			a := w.send(domain.RoleSupport, "", act.method, "/v1/customers/c-1"+act.path, body)
			if p := a.Problem(t); a.Status != http.StatusUnprocessableEntity || !names(p, "body.reason") {
				t.Errorf("%s %s without a reason: status %d: %s", act.method, act.path, a.Status, a.Raw)
			}
		}
	}
	if a := w.send(domain.RoleSupport, "", "DELETE", "/v1/customers/c-1/devices/dev-1", nil); a.Status != http.StatusUnprocessableEntity {
		t.Errorf("removing a device without a body: status %d: %s", a.Status, a.Raw)
	}
	if w.events() != before {
		t.Error("an act without a reason was recorded")
	}
	reason := map[string]any{"reason": map[string]any{"code": "lost_device", "text": "Left on the train", "case": "CASE-1"}}
	for _, body := range []any{reason, map[string]any{"reason": "lost_device"}} {
		w.must(w.send(domain.RoleSupport, "", "POST", "/v1/customers/c-1/devices/dev-1/block", body))
		w.must(w.send(domain.RoleSupport, "", "POST", "/v1/customers/c-1/devices/dev-1/unblock", body))
	}
}

// Whatever a person does carries a reason; what a program does need not, and may.
func TestAnOperatorGivesAReasonForWhatAServiceNeedNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	licenses := []string{w.acquire("c-1", "film-1", "dev-1"), w.acquire("c-1", "film-2", "dev-1"), w.acquire("c-1", "film-3", "dev-1")}
	document := string(domain.DefaultPolicy().JSON())
	const query = "?reason.code=studio&reason.text=New+terms&reason.case=CHG-12"
	for _, c := range []struct {
		method, path, body, field string
		recorded                  string // the type of the event
	}{
		{"PUT", "/v1/customers/c-1/plan", `{"plan":"premium","country":"DE"}`, "body.reason", "PlanChanged"},
		{"PUT", "/v1/customers/c-1/membership", `{"state":"paused"}`, "body.reason", "MembershipChanged"},
		{"POST", "/v1/customers/c-1/licenses/" + licenses[0] + "/release", `{}`, "body.reason", "LicenseReleased"},
		{"POST", "/v1/customers/c-1/licenses/" + licenses[0] + "/confirm-release", ``, "body.reason", "ReleaseConfirmed"},
		{"DELETE", "/v1/customers/c-1/devices/dev-1", `{}`, "body.reason", "DeviceRemoved"},
		{"POST", "/v1/titles/film-9/withdraw", `{"countries":["DE"]}`, "body.reason", "TitleWithdrawn"},
		{"PUT", "/v1/policies/default", document, "query.reason.code", "PolicyPublished"},
	} {
		before := w.events()
		var body any // none
		if c.body != "" {
			body = c.body
		}
		a := w.send(domain.RoleOperator, "", c.method, c.path, body)
		if p := a.Problem(t); a.Status != http.StatusUnprocessableEntity || !names(p, c.field) || w.events() != before {
			t.Errorf("%s %s without a reason: status %d: %s", c.method, c.path, a.Status, a.Raw)
		}
		reason := `"reason":{"code":"studio","text":"New terms","case":"CHG-12"}`
		switch {
		case c.field != "body.reason":
			a = w.send(domain.RoleOperator, "", c.method, c.path+query, c.body)
		case len(c.body) > 2:
			a = w.send(domain.RoleOperator, "", c.method, c.path, strings.TrimSuffix(c.body, "}")+","+reason+"}")
		default:
			a = w.send(domain.RoleOperator, "", c.method, c.path, "{"+reason+"}")
		}
		w.must(a)
		if recorded := w.newest(c.recorded); !strings.Contains(recorded, `"reason":{"code":"studio","text":"`) || !strings.Contains(recorded, `"case":"CHG-12"}`) || strings.Contains(recorded, "New terms") {
			t.Errorf("%s is recorded as %.300s", c.recorded, recorded)
		}
	}
	w.must(w.send(domain.RoleService, "", "PUT", "/v1/customers/c-1/membership", `{"state":"active"}`))
	w.must(w.send(domain.RoleService, "", "PUT", "/v1/customers/c-1/plan", `{"plan":"standard","country":"DE","reason":"customer"}`))
	w.must(w.send(domain.RoleDevice, "c-1", "PUT", "/v1/customers/c-1/devices/dev-1", map[string]any{"device_type": "ipad", "name": ""}))
	w.must(w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses/"+licenses[1]+"/release", nil))
	for _, path := range []string{"/v1/titles/film-8/withdraw?dry_run=true", "/v1/policies/default?dry_run=true"} {
		method, body := "POST", `{"countries":[]}`
		if strings.Contains(path, "policies") {
			method, body = "PUT", document
		}
		w.must(w.send(domain.RoleOperator, "", method, path, body))
	}
}

func TestAnExceptionIsNamedInTheAnswerAndCanBeWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	w.acquire("c-1", "film-1", "dev-1")
	for what, scope := range map[string]any{"an object": map[string]any{"kind": "device", "id": "dev-1"}, "in short": "device:dev-1", "the customer": "customer"} {
		a := w.must(w.send(domain.RoleSupport, "", "POST", "/v1/customers/c-1/exceptions", map[string]any{
			"code": "YEARLY_TITLE_LIMIT", "scope": scope, "uses": 1, "reason": "customer", "expires_at": time.Now().Add(time.Hour),
		}))
		id := outcome(t, a).ExceptionID
		if id == "" {
			t.Fatalf("scope %s: no exception_id: %s", what, a.Raw)
		}
		w.must(w.send(domain.RoleSupport, "", "DELETE", "/v1/customers/c-1/exceptions/"+id, map[string]any{"reason": "other"}))
	}
	for _, scope := range []string{"device:dev-9", "title:nope", "studio:nope", "license:lic_nope"} {
		a := w.send(domain.RoleSupport, "", "POST", "/v1/customers/c-1/exceptions", map[string]any{"code": "YEARLY_TITLE_LIMIT", "scope": scope, "uses": 1, "reason": "customer"})
		if p := a.Problem(t); a.Status != http.StatusUnprocessableEntity || !names(p, "body.scope.id") {
			t.Errorf("scope %s: status %d: %s", scope, a.Status, a.Raw)
		}
	}
	past := w.send(domain.RoleSupport, "", "POST", "/v1/customers/c-1/exceptions", map[string]any{
		"code": "YEARLY_TITLE_LIMIT", "uses": 1, "reason": "customer", "expires_at": "2001-01-01T00:00:00Z",
	})
	if p := past.Problem(t); !names(p, "body.expires_at") {
		t.Errorf("an exception that has ended: %s", past.Raw)
	}
}

func TestClocksThatAreYearsOffAreNamedOrFlaggedButNeverBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	license := w.acquire("c-1", "film-1", "dev-1")
	plays := "/v1/customers/c-1/licenses/" + license + "/plays"
	play := func(id, at string) map[string]any {
		return map[string]any{"play_id": id, "kind": "start", "device_time": at, "position_seconds": 0}
	}
	for i, at := range []string{"1971-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z"} {
		w.must(w.send(domain.RoleDevice, "c-1", "POST", plays, play(fmt.Sprint("p-", i), at)))
	}
	before := w.events()
	for _, at := range []string{"0001-01-01T00:00:00Z", "1969-12-31T00:00:00Z"} {
		a := w.send(domain.RoleDevice, "c-1", "POST", plays, play("p-9", at))
		if p := a.Problem(t); a.Status != http.StatusUnprocessableEntity || !names(p, "body.device_time") {
			t.Errorf("device_time %s: status %d: %s", at, a.Status, a.Raw)
		}
	}
	a := w.send(domain.RoleService, "", "POST", "/v1/titles/film-1/withdraw", map[string]any{"countries": []string{"DE"}, "from": "2999-01-01T00:00:00Z"})
	if p := a.Problem(t); !names(p, "body.from") {
		t.Errorf("from 2999: status %d: %s", a.Status, a.Raw)
	}
	if w.events() != before {
		t.Error("a moment that can't be meant was recorded")
	}
}

func TestUnknownThingsAreNotFoundAndWriteNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	before := w.events()
	for _, path := range []string{"licenses/lic_x/renew", "licenses/lic_x/release", "licenses/lic_x/confirm-release"} {
		a := w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/"+path, nil)
		if p := a.Problem(t); a.Status != http.StatusNotFound || p.Code != "NOT_FOUND" {
			t.Errorf("%s: status %d: %s", path, a.Status, a.Raw)
		}
	}
	a := w.send(domain.RoleService, "", "POST", "/v1/titles/unheard-of/withdraw", map[string]any{"countries": []string{}})
	if p := a.Problem(t); a.Status != http.StatusNotFound || !names(p, "path.title") {
		t.Errorf("withdrawing an unknown title: status %d: %s", a.Status, a.Raw)
	}
	if w.events() != before {
		t.Error("something was recorded")
	}
}

func TestAWithdrawalAndAPolicyCanBeTriedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.events()
	a := w.must(w.send(domain.RoleService, "", "POST", "/v1/titles/film-1/withdraw?dry_run=true", map[string]any{"countries": []string{"DE"}}, "Idempotency-Key", ""))
	if o := outcome(t, a); o.Impact == nil || o.Impact.Customers != 3 {
		t.Errorf("no impact: %s", a.Raw)
	}
	document := domain.DefaultPolicy().JSON()
	a = w.must(w.send(domain.RoleOperator, "", "PUT", "/v1/policies/default?dry_run=true", document))
	if o := outcome(t, a); o.Impact == nil || o.Impact.ByRule["max_download_devices"] != 2 {
		t.Errorf("no impact: %s", a.Raw)
	}
	if w.events() != before {
		t.Error("a dry run recorded something")
	}
	a = w.must(w.send(domain.RoleOperator, "", "PUT", "/v1/policies/default?reason.code=other", document))
	if o := outcome(t, a); o.PolicyVersion != 2 {
		t.Errorf("published as version %d, want 2: %s", o.PolicyVersion, a.Raw)
	}
	wrong := strings.Replace(string(document), `"plans"`, `"plams"`, 1)
	a = w.send(domain.RoleOperator, "", "PUT", "/v1/policies/default?reason.code=other", wrong)
	if p := a.Problem(t); a.Status != http.StatusUnprocessableEntity || !strings.HasPrefix(p.Errors[0].Field, "body.") {
		t.Errorf("a misspelt policy: status %d: %.400s", a.Status, a.Raw)
	}
	huge := `{"x":"` + strings.Repeat("a", 1<<20) + `"}`
	if a := w.send(domain.RoleOperator, "", "PUT", "/v1/policies/default", huge); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a policy above one MiB: status %d", a.Status)
	}
}

func TestAPolicyMayBeYAMLAndItsMistakesAreNamedByTheirLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := func(document, kind string) *webtest.Answer {
		return w.send(domain.RoleOperator, "", "PUT", "/v1/policies/default?reason.code=other", document, "Content-Type", kind)
	}
	inYAML, err := yaml.JSONToYAML(domain.DefaultPolicy().JSON())
	if err != nil {
		t.Fatal(err)
	}
	a := w.must(put(string(inYAML), "application/yaml; charset=utf-8"))
	if o := outcome(t, a); o.PolicyVersion == 0 {
		t.Errorf("published as version %d: %s", o.PolicyVersion, a.Raw)
	}
	for _, c := range []struct {
		document, kind string
		status         int
		field, message string
	}{
		{string(inYAML), "application/json", http.StatusBadRequest, "body", ""},
		{string(inYAML), "text/yaml", http.StatusUnsupportedMediaType, "header.Content-Type", "application/json or application/yaml"},
		{"general: {}\ndefaults: {}\nplans:\n  ads: {version: 1, rnak: 2}\n", "application/yaml", http.StatusUnprocessableEntity, "body.plans.ads.rnak", "(line 4)"},
		{"plans: {}\nplans: {}\n", "application/yaml", http.StatusBadRequest, "body.plans", "stands twice, first at line 1 (line 2)"},
		{"a: &a [x, x]\nb: [*a, *a]\n", "application/yaml", http.StatusBadRequest, "body.a", "anchor"},
		{"", "application/yaml", http.StatusBadRequest, "body", "is missing"},
	} {
		a := put(c.document, c.kind)
		p := a.Problem(t)
		if a.Status != c.status || len(p.Errors) == 0 || p.Errors[0].Field != c.field || !strings.Contains(p.Errors[0].Message, c.message) {
			t.Errorf("%.40q as %s: status %d: %.500s", c.document, c.kind, a.Status, a.Raw)
		}
	}
	a = w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses", "title_id: x", "Content-Type", "application/yaml")
	if a.Status != http.StatusUnsupportedMediaType {
		t.Errorf("a command in YAML: status %d", a.Status)
	}
}

// failing answers every acquisition with one error.
type failing struct {
	commandapi.Commands
	err error
}

func (f failing) AcquireLicense(ctx context.Context, _ command.AcquireLicense) (command.Result, error) {
	if f.err == nil {
		<-ctx.Done()
		return command.Result{}, ctx.Err()
	}
	return command.Result{}, f.err
}

func TestEachFailureIsItsProblemAndTheInsideStaysInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := errors.New("secret: /var/lib/carryon.db is locked by pid 4711")
	for _, c := range []struct {
		err    error
		status int
		code   string
		retry  bool
	}{
		{command.ErrUnknown, http.StatusGatewayTimeout, "OUTCOME_UNKNOWN", true},
		{context.DeadlineExceeded, http.StatusGatewayTimeout, "OUTCOME_UNKNOWN", true},
		{&command.OverloadedError{Queue: "shard", RetryAfter: 3 * time.Second}, http.StatusServiceUnavailable, "OVERLOADED", true},
		{command.ErrUnavailable, http.StatusServiceUnavailable, "UNAVAILABLE", true},
		{command.ErrClosed, http.StatusServiceUnavailable, "SHUTTING_DOWN", true},
		{command.ErrStoreFull, http.StatusServiceUnavailable, "UNAVAILABLE", true},
		{command.ErrTooLarge, http.StatusRequestEntityTooLarge, "TOO_LARGE", false},
		{command.ErrErased, http.StatusConflict, "CONFLICT", false},
		{domain.ErrConflict, http.StatusConflict, "CONFLICT", false},
		{domain.ErrNotFound, http.StatusNotFound, "NOT_FOUND", false},
		{command.ErrDiffers, http.StatusInternalServerError, "INTERNAL", false},
		{errors.New("anything else"), http.StatusInternalServerError, "INTERNAL", false},
	} {
		gateway := web.NewGateway(web.GatewayOptions{Tokens: web.NewTokens(w.keys, nil)})
		if _, err := commandapi.Mount(gateway, failing{w.app, fmt.Errorf("%w: %w", secret, c.err)}, commandapi.Options{}); err != nil {
			t.Fatal(err)
		}
		a := webtest.Do(t, gateway, webtest.Request{
			Method: "POST", Path: "/v1/customers/c-1/licenses", Token: w.keys.Token(t, domain.RoleDevice, "c-1"), Body: acquisition("film-1", "dev-1"),
			Header: map[string]string{"Idempotency-Key": newKey(time.Now()), "X-Request-Id": "req-1"},
		})
		p := a.Problem(t)
		if a.Status != c.status || p.Code != c.code || (a.Header.Get("Retry-After") != "") != c.retry {
			t.Errorf("%v: status %d, code %s, Retry-After %q", c.err, a.Status, p.Code, a.Header.Get("Retry-After"))
		}
		if bytes.Contains(a.Raw, []byte("secret")) || bytes.Contains(a.Raw, []byte("carryon.db")) || p.Instance != "urn:carryon:request:req-1" {
			t.Errorf("%v: %s", c.err, a.Raw)
		}
	}
}

func TestACommandThatTakesTooLongIsOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gateway := web.NewGateway(web.GatewayOptions{Tokens: web.NewTokens(w.keys, nil)})
	if _, err := commandapi.Mount(gateway, failing{w.app, nil}, commandapi.Options{Timeout: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	a := webtest.Do(t, gateway, webtest.Request{
		Method: "POST", Path: "/v1/customers/c-1/licenses", Token: w.keys.Token(t, domain.RoleDevice, "c-1"), Body: acquisition("film-1", "dev-1"),
		Header: map[string]string{"Idempotency-Key": newKey(time.Now())},
	})
	if p := a.Problem(t); a.Status != http.StatusGatewayTimeout || p.Code != "OUTCOME_UNKNOWN" || a.Header.Get("Retry-After") == "" {
		t.Errorf("status %d: %s", a.Status, a.Raw)
	}
}

func TestPersonalWordsAreNeitherInTheLogNorInAnEventInPlain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	w.must(w.send(domain.RoleDevice, "c-1", "PUT", "/v1/customers/c-1/devices/dev-1", map[string]any{"device_type": "ipad", "name": "Ada Lovelace's tablet"}))
	for shard := range 3 {
		for _, e := range w.store.Entries(shard) {
			for i := range e.Events {
				if bytes.Contains(e.Events[i].Payload, []byte("Lovelace")) || bytes.Contains(e.Events[i].Payload, []byte(base64.StdEncoding.EncodeToString([]byte("Lovelace")))) {
					t.Errorf("event %s holds the name in plain: %s", e.Events[i].Type, e.Events[i].Payload)
				}
			}
		}
	}
}

func TestTheRequestsIdIsTheEventsCorrelation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for i, c := range []struct{ id, parent, want string }{
		{"req-77", "", "req-77"},
		{"", "00-" + trace + "-00f067aa0ba902b7-01", trace},
		{"req-78", "00-" + trace + "-00f067aa0ba902b7-01", "req-78"},
	} {
		customer := fmt.Sprint("c-", i)
		a := w.must(w.send(domain.RoleService, "", "PUT", "/v1/customers/"+customer+"/plan", map[string]any{"plan": "standard", "country": "DE"},
			"X-Request-Id", c.id, "Traceparent", c.parent))
		if got := a.Header.Get("X-Request-Id"); got != c.want {
			t.Errorf("X-Request-Id is %q, want %q", got, c.want)
		}
		if got := w.correlations(customer); len(got) != 1 || got[0] != c.want {
			t.Errorf("correlations of %s are %q, want %q", customer, got, c.want)
		}
	}
}

// correlations are those of a customer's events.
func (w *world) correlations(customer string) []string {
	var found []string
	for shard := range 3 {
		for _, e := range w.store.Entries(shard) {
			for i := range e.Events {
				if e.Events[i].Stream == domain.CustomerStream(customer) {
					found = append(found, e.Events[i].Correlation)
				}
			}
		}
	}
	return found
}
