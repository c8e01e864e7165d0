package console_test

import (
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
)

func TestOnlyWhoMaySeesPagesAndTheyLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	if got := w.stranger().get("/customers/c-1"); got.path != "/sign-in" || got.status != http.StatusOK {
		t.Errorf("a stranger saw %s with status %d", got.path, got.status)
	}
	for _, role := range []domain.Role{domain.RoleDevice, domain.RoleService} {
		customer := ""
		if role == domain.RoleDevice {
			customer = "c-1"
		}
		v := w.stranger()
		if got := v.post("/sign-in", url.Values{"token": {w.token(role, customer)}}); got.status != http.StatusForbidden || got.header.Get("Set-Cookie") != "" {
			t.Errorf("a %s signed in: status %d", role, got.status)
		}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/customers/c-1", nil)
		r.AddCookie(&http.Cookie{Name: "carryon_session", Value: w.token(role, customer)})
		if got := v.do(r); got.path != "/sign-in?expired=1" {
			t.Errorf("a %s with a cookie of its own saw %s", role, got.path)
		}
	}
	if got := w.stranger().post("/sign-in", url.Values{"token": {"rubbish"}}); got.status != http.StatusUnauthorized {
		t.Errorf("a bad token: status %d", got.status)
	}

	v := w.visitor(domain.RoleSupport)
	page := v.get("/")
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %q", csp)
	}
	for _, bad := range []string{"http://", "https://", "<style", " style=", "<script>", "javascript:", " onclick"} {
		if strings.Contains(page.text, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if got := v.post("/sign-out", url.Values{"csrf": page.form()["csrf"]}); got.path != "/sign-in" {
		t.Errorf("signing out led to %s", got.path)
	}
	if got := v.get("/"); got.path != "/sign-in" {
		t.Errorf("after signing out, / showed %s", got.path)
	}
}

func TestTheSessionCookieIsOutOfReachOfScriptsAndOtherSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	v := w.stranger()
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got := v.post("/sign-in", url.Values{"token": {w.token(domain.RoleSupport, "")}})
	cookie := got.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("%s is missing in the cookie", want)
		}
	}
	if other := w.stranger().post("/sign-in", url.Values{"token": {w.token(domain.RoleSupport, "")}}, "Sec-Fetch-Site", "cross-site"); other.status != http.StatusForbidden {
		t.Errorf("signing in from another site: status %d", other.status)
	}
}

// customer makes one with a device and a plan, through the real handlers.
func (w *world) customer(id, deviceName string) {
	w.t.Helper()
	app := w.system.Commands()
	if _, err := app.ChangePlan(w.t.Context(), command.ChangePlan{Meta: w.meta(domain.RoleService), Customer: id, Plan: "standard", Country: "DE"}); err != nil {
		w.t.Fatal(err)
	}
	done, err := app.RegisterDevice(w.t.Context(), command.RegisterDevice{
		Meta: w.meta(domain.RoleDevice), Customer: id, DeviceID: "dev-1", DeviceType: "android-tablet", Name: deviceName,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if done.Refused() {
		w.t.Fatalf("registering was refused: %s", done.Decision.Code)
	}
	if page := w.visitor(domain.RoleSupport).get("/customers/" + id + "?min_version=2"); page.status != http.StatusOK {
		w.t.Fatalf("the customer is not shown: status %d: %.300s", page.status, page.text)
	}
}

func TestAnActIsShownFirstThenDoneOnceAndStandsInTheTimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("c-1", "kitchen tablet")
	v := w.visitor(domain.RoleSupport)
	page := v.get("/customers/c-1/acts/block-device?device=dev-1")
	if page.status != http.StatusOK || !strings.Contains(page.text, "What this would do") || !strings.Contains(page.text, "kitchen tablet") {
		t.Fatalf("the form: status %d: %.2000s", page.status, page.text)
	}
	form := page.form()
	form.Set("reason", "fraud")
	form.Set("case", "CASE-77")

	stolen := url.Values{}
	for name, values := range form {
		stolen[name] = slices.Clone(values)
	}
	stolen.Set("csrf", "guessed")
	if got := v.post("/customers/c-1/acts/block-device", stolen); got.status != http.StatusForbidden {
		t.Errorf("without the session's value: status %d", got.status)
	}
	if got := v.post("/customers/c-1/acts/block-device", form, "Sec-Fetch-Site", "cross-site"); got.status != http.StatusForbidden {
		t.Errorf("from another site: status %d", got.status)
	}
	lacking := url.Values{}
	for name, values := range form {
		lacking[name] = slices.Clone(values)
	}
	lacking.Del("reason")
	if got := v.post("/customers/c-1/acts/block-device", lacking); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.text, "reason") {
		t.Errorf("without a reason: status %d", got.status)
	}

	for range 2 { // the second time is the same command
		done := v.post("/customers/c-1/acts/block-device", form)
		if done.status != http.StatusOK || !strings.Contains(done.text, "Done.") {
			t.Fatalf("acting: status %d: %.1500s", done.status, done.text)
		}
		if n := strings.Count(done.text, "Device blocked</span>"); n != 1 {
			t.Errorf("the timeline tells of %d blocks", n)
		}
		for _, want := range []string{"kim-support", "case CASE-77", "because of fraud"} {
			if !strings.Contains(done.text, want) {
				t.Errorf("the timeline lacks %q", want)
			}
		}
	}
	if got := v.get("/find?q=" + form.Get("key")); !strings.HasPrefix(got.path, "/customers/c-1?from=") || !strings.Contains(got.text, "was blocked, because of fraud") {
		t.Errorf("the command's id leads to %s", got.path)
	}
	form.Set("key", "") // another command, decided on the version that was seen
	if got := v.post("/customers/c-1/acts/block-device", form); got.status < 400 {
		t.Errorf("without a key: status %d", got.status)
	}
}

func TestAMomentTakesInWhatWasRecordedInItsSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("c-1", "tablet")
	w.block("dev-1", "c-1")
	w.caughtUp()
	v := w.visitor(domain.RoleSupport)
	latest := time.Now().UTC()
	for _, now := range []string{latest.Format("2006-01-02T15:04:05"), strconv.FormatInt(latest.Unix(), 10), ""} {
		q := url.Values{"at": {latest.Add(-time.Hour).Format(time.RFC3339)}, "and": {now}}
		if now == "" {
			q = url.Values{}
		}
		if got := v.get("/customers/c-1/time?" + q.Encode()); got.status != http.StatusOK || !strings.Contains(got.text, "blocked") {
			t.Errorf("moment %q: status %d, the block of a moment ago is missing", now, got.status)
		}
	}
	moment := latest.Format(time.RFC3339Nano)
	if got := v.get("/customers/c-1/time?" + url.Values{"at": {moment}, "and": {moment}}.Encode()); got.status != http.StatusOK || !strings.Contains(got.text, "Nothing differs") {
		t.Errorf("a moment beside itself: status %d", got.status)
	}
}

func TestACustomerWhoHasChangedSinceIsShownAnewInsteadOfActedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("c-1", "tablet")
	v := w.visitor(domain.RoleSupport)
	form := v.get("/customers/c-1/acts/remove-device?device=dev-1").form()
	form.Set("reason", "customer")
	form.Set("case", "1")
	if _, err := w.system.Commands().ChangePlan(t.Context(), command.ChangePlan{Meta: w.meta(domain.RoleService), Customer: "c-1", Plan: "premium", Country: "DE"}); err != nil {
		t.Fatal(err)
	}
	got := v.post("/customers/c-1/acts/remove-device", form)
	if got.status != http.StatusPreconditionFailed || !strings.Contains(got.text, "has changed since you looked") {
		t.Fatalf("status %d: %.1500s", got.status, got.text)
	}
	again := got.form()
	again.Set("reason", "customer")
	again.Set("case", "1")
	if got := v.post("/customers/c-1/acts/remove-device", again); got.status != http.StatusOK || !strings.Contains(got.text, "Done.") {
		t.Errorf("confirming what was shown anew: status %d", got.status)
	}
}

func TestAnExceptionIsOfferedForWhatItsLimitIsAboutAndToldByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("c-1", "tablet")
	v := w.visitor(domain.RoleSupport)
	const form = "/customers/c-1/acts/grant-exception"
	kinds := func(code string) string {
		_, after, _ := strings.Cut(v.get(form+"?code="+code).text, `<select id="scope-kind"`)
		offered, _, _ := strings.Cut(after, "</select>")
		return offered
	}
	if offered := kinds(domain.CodeDeviceLimitReached); !strings.Contains(offered, `value="device"`) || strings.Contains(offered, `value="title"`) {
		t.Errorf("for a limit of devices, %s is offered", offered)
	}
	if offered := kinds(domain.CodeYearlyTitleLimit); !strings.Contains(offered, `value="title"`) || !strings.Contains(offered, "one licence") {
		t.Errorf("for a limit of a title, %s is offered", offered)
	}
	if got := v.get(form + "?code=MONTHLY_DOWNLOAD_LIMIT&scope_kind=device"); !strings.Contains(got.text, `<option value="dev-1" >tablet</option>`) {
		t.Errorf("the customer's devices are not offered: %s", got.text)
	}
	if got := v.get(form + "?code=MONTHLY_DOWNLOAD_LIMIT&scope_kind=device&scope_for=title&scope_id=t00001"); strings.Contains(got.text, `value="t00001"`) {
		t.Error("a title is kept where a device is asked for")
	}
	if got := v.get("/suggest?scope_id=mother"); !strings.Contains(got.text, `value="t00001"`) {
		t.Errorf("a title is not suggested by its name: %s", got.text)
	}

	page := v.get(form + "?code=YEARLY_TITLE_LIMIT&scope_kind=title&scope_id=t00001")
	if !strings.Contains(page.text, "Requests for “The Mother” only") {
		t.Error("what the exception would do is not told by the title's name")
	}
	filled := page.form()
	for name, value := range map[string]string{
		"code": domain.CodeYearlyTitleLimit, "scope_kind": "title", "scope_id": "t00001", "uses": "2", "reason": "customer", "case": "C-9",
	} {
		filled.Set(name, value)
	}
	done := v.post(form, filled)
	if done.status != http.StatusOK || !strings.Contains(done.text, `<td data-h="For">“The Mother”</td>`) || !strings.Contains(done.text, "2 times for “The Mother”") {
		t.Errorf("status %d; the exception is not told by the title's name: %s", done.status, done.text)
	}
	if again := v.get(form + "?code=YEARLY_TITLE_LIMIT"); !strings.Contains(again.text, "is open already, for “The Mother”: 2 of 2 left") {
		t.Error("an exception that is open already is not told")
	}
}

func TestWhyATitleWasWithdrawnAndAPolicyPublishedIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("c-1", "tablet")
	app := w.system.Commands()
	said := func(words string) *command.ReasonGiven {
		return &command.ReasonGiven{Code: domain.ReasonStudio, Case: "CASE-7", Text: words}
	}
	_, err := app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: w.meta(domain.RoleOperator), TitleID: "t00001", Reason: said("The studio <b>asked</b>.")})
	if err != nil {
		t.Fatal(err)
	}
	stricter := strings.Replace(string(domain.DefaultPolicy().JSON()), `"max_active_per_studio":{"max":50`, `"max_active_per_studio":{"max":49`, 1)
	if _, err := app.PublishPolicy(t.Context(), command.PublishPolicy{
		Meta: w.meta(domain.RoleOperator), Policy: domain.PolicyDefault, Document: []byte(stricter), Reason: said("One fewer."),
	}); err != nil {
		t.Fatal(err)
	}
	w.caughtUp()
	support := w.visitor(domain.RoleSupport)
	page := support.get("/customers/c-1/why?title_id=t00001&device_id=dev-1")
	for _, want := range []string{"TITLE_WITHDRAWN", "Why it was withdrawn", "The studio &lt;b&gt;asked&lt;/b&gt;.", "case CASE-7"} {
		if !strings.Contains(page.text, want) {
			t.Errorf("the refusal lacks %q: status %d", want, page.status)
		}
	}
	if page := support.get("/operations"); !strings.Contains(page.text, "Version 2 of policy default is in force") || !strings.Contains(page.text, "One fewer.") {
		t.Errorf("the page Operations does not tell why the policy was published: status %d", page.status)
	}
	if page := w.visitor(domain.RoleAnalyst).get("/operations"); page.status != http.StatusOK || strings.Contains(page.text, "One fewer.") {
		t.Errorf("an analyst is told the words of a reason: status %d", page.status)
	}
}

func TestHostileWordsAreShownAndNeverRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	hostile := `"><script>alert(1)</script><img src=x onerror=alert(2)>'`
	w.customer("c-1", hostile)
	v := w.visitor(domain.RoleSupport)
	form := v.get("/customers/c-1/acts/block-device?device=dev-1").form()
	form.Set("reason", "other")
	form.Set("case", "1")
	form.Set("words", hostile)
	if got := v.post("/customers/c-1/acts/block-device", form); got.status != http.StatusOK {
		t.Fatalf("acting: status %d", got.status)
	}
	q := url.QueryEscape(hostile)
	for _, path := range []string{
		"/customers/c-1", "/customers/c-1?title_id=" + q, "/customers/c-1?actor=" + q, "/customers/c-1/time", "/customers/c-1/why?title_id=" + q + "&device_id=" + q,
		"/customers/c-1/acts/grant-exception?code=" + q + "&scope_id=" + q + "&back=" + q, "/find?q=" + q, "/search?q=" + q + "&studio=" + q,
		"/analytics?metric=denials&tz=" + q, "/operations?retried=" + q, "/customers/" + url.PathEscape(hostile),
	} {
		got := v.get(path)
		if strings.Contains(got.text, "<script>alert") || strings.Contains(got.text, "<img") {
			t.Errorf("%s lets hostile words through", path)
		}
		if got.status >= http.StatusInternalServerError {
			t.Errorf("%s: status %d", path, got.status)
		}
	}
	if page := v.get("/customers/c-1"); !strings.Contains(page.text, html.EscapeString("<script>alert(1)</script>")) {
		t.Error("the device's name is not shown")
	}
}

func TestAnAnalystNeverSeesACustomersID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("secret-customer", "tablet")
	v := w.visitor(domain.RoleAnalyst)
	for _, path := range []string{"/customers/secret-customer", "/customers/secret-customer/why", "/customers/secret-customer/time", "/customers/secret-customer/acts/revoke-all"} {
		if got := v.get(path); got.status != http.StatusForbidden {
			t.Errorf("%s: status %d", path, got.status)
		}
	}
	for _, path := range []string{"/search", "/search/export?format=ndjson", "/analytics?group_by=plan", "/operations"} {
		got := v.get(path)
		if got.status != http.StatusOK {
			t.Errorf("%s: status %d: %.400s", path, got.status, got.text)
		}
		if strings.Contains(got.text, "secret-customer") {
			t.Errorf("%s names the customer", path)
		}
	}
	if got := v.post("/customers/secret-customer/acts/revoke-all", v.get("/").form()); got.status != http.StatusForbidden {
		t.Errorf("an analyst acted: status %d", got.status)
	}
}

func TestAButtonWithoutMoreToSayReachesTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	v := w.visitor(domain.RoleOperator)
	form := v.get("/operations").form()
	form.Set("stream", "customer/nobody")
	if got := v.post("/operations/timeline/retry", form); got.status != http.StatusNotFound {
		t.Errorf("retrying what is not parked: status %d: %.300s", got.status, got.text)
	}
	if got := v.post("/operations/timeline/retry-all", form); got.status != http.StatusOK || !strings.Contains(got.text, "All parked streams of <b>timeline</b> were tried again: 0 flow, 0 stay parked.") {
		t.Errorf("retrying all, where none is: status %d: %.300s", got.status, got.text)
	}
}

func TestBadInputIsNamedAndNothingBreaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	w.customer("c-1", "tablet")
	v := w.visitor(domain.RoleSupport)
	for path, status := range map[string]int{
		"/customers/nobody": http.StatusNotFound, "/customers/c-1/acts/dance": http.StatusNotFound, "/customers/c-1/acts/remove-device?device=none": http.StatusNotFound,
		"/customers/c-1?cursor=rubbish": http.StatusUnprocessableEntity, "/customers/c-1/time?at=yesterday": http.StatusUnprocessableEntity,
		"/customers/c-1/decisions/dec_none": http.StatusNotFound, "/analytics?metric=sorrow": http.StatusUnprocessableEntity,
		"/analytics?tz=Nowhere": http.StatusUnprocessableEntity, "/search?policy_version=x": http.StatusUnprocessableEntity, "/assets/none.js": http.StatusNotFound,
	} {
		if got := v.get(path); got.status != status {
			t.Errorf("%s: status %d, want %d: %.300s", path, got.status, status, got.text)
		}
	}
	if got := v.get("/customers/nobody"); !strings.Contains(got.text, "Nothing has the id <code>nobody</code>") || !strings.Contains(got.text, `href="/search?q=nobody"`) {
		t.Errorf("a customer whom nobody knows: %.600s", got.text)
	}
	if got := v.get("/find?q=two+words"); got.path != "/search?q=two+words" {
		t.Errorf("words that are no id led to %s", got.path)
	}
}
