package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/web"
	"carryon/domain"
	"carryon/infra/profile"
)

// program is the embedded profile as it is served, over real stores in a folder of its own.
type program struct {
	t    *testing.T
	url  string
	keys cli.Keys
	stop context.CancelFunc
	done chan error
}

func start(t *testing.T, settings ...string) *program {
	t.Helper()
	flags := map[string]string{"data": t.TempDir(), "listen": "127.0.0.1:0"}
	for i := 0; i < len(settings); i += 2 {
		flags[settings[i]] = settings[i+1]
	}
	c, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	system, err := profile.OpenEmbedded(t.Context(), c, cli.OpenOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := profile.Wiring().Keys(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	p := &program{t: t, keys: keys, stop: stop, done: make(chan error, 1)}
	ready := make(chan string, 1)
	go func() {
		err := system.Serve(ctx, func(url string) { ready <- url })
		p.done <- err
		close(ready)
	}()
	p.url = <-ready
	if p.url == "" {
		t.Fatalf("serving: %v", <-p.done)
	}
	t.Cleanup(func() {
		stop()
		if err := <-p.done; err != nil {
			t.Errorf("serving: %v", err)
		}
		if err := system.Close(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return p
}

type reply struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (p *program) do(role domain.Role, customer, method, path string, body any, header ...string) reply {
	p.t.Helper()
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		payload = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, payload)
	if err != nil {
		p.t.Fatal(err)
	}
	if role != "" {
		token, err := p.keys.Token(role, customer, "some-"+string(role), time.Hour)
		if err != nil {
			p.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if method != "GET" {
		r.Header.Set("Idempotency-Key", web.NewCommandID())
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	out := reply{status: resp.StatusCode, header: resp.Header, raw: raw}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && len(raw) > 0 {
		if err := json.Unmarshal(raw, &out.body); err != nil && !strings.Contains(resp.Header.Get("Content-Type"), "ndjson") {
			p.t.Fatalf("%s %s: %v: %.300s", method, path, err, raw)
		}
	}
	return out
}

func (p *program) must(role domain.Role, customer, method, path string, body any, header ...string) reply {
	p.t.Helper()
	r := p.do(role, customer, method, path, body, header...)
	if r.status != http.StatusOK {
		p.t.Fatalf("%s %s as %s: status %d: %.600s", method, path, role, r.status, r.raw)
	}
	return r
}

// film is a downloadable movie of the catalogue that may be had everywhere, found over the API.
func (p *program) films(n int) []string {
	p.t.Helper()
	var films []string
	cursor := ""
	for len(films) < n {
		r := p.must(domain.RoleSupport, "", "GET", "/v1/titles?limit=200"+cursor, nil)
		for _, one := range r.body["titles"].([]any) {
			title := one.(map[string]any)
			windows, _ := title["windows"].([]any)
			if title["kind"] != "movie" || title["downloadable"] != true || len(windows) != 1 || title["maturity"] == "adult" {
				continue
			}
			if w := windows[0].(map[string]any); w["countries"] == nil && w["from"] == nil && w["to"] == nil {
				films = append(films, title["title_id"].(string))
			}
		}
		next, more := r.body["next_cursor"].(string)
		if !more {
			p.t.Fatalf("only %d films may be had everywhere", len(films))
		}
		cursor = "&cursor=" + next
	}
	return films[:n]
}

// A household over HTTP from one end to the other: what was just commanded can be read at once, in each way.
func TestACommandCanBeReadAtOnceInEachWay(t *testing.T) {
	t.Parallel()
	p := start(t)
	films := p.films(2)
	p.must(domain.RoleService, "", "PUT", "/v1/customers/c-1/plan", map[string]any{"plan": "standard", "country": "US"})
	acquire := map[string]any{"title_id": films[0], "device_id": "dev-1", "device_type": "ipad", "device_name": "Ada's tablet"}
	granted := p.must(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses", acquire)
	version, position := fmt.Sprintf("%.0f", granted.body["version"]), granted.body["position"].(string)
	license := granted.body["license"].(map[string]any)["license_id"].(string)

	for _, path := range []string{"", "/devices", "/licenses", "/denials", "/exceptions", "/timeline", "/state", "/explain?title_id=" + films[1] + "&device_id=dev-1"} {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		for _, freshness := range []string{"min_version=" + version, "min_position=" + position, "consistency=authoritative"} {
			r := p.must(domain.RoleDevice, "c-1", "GET", "/v1/customers/c-1"+path+separator+freshness, nil)
			if got := fmt.Sprintf("%.0f", r.body["version"]); got != version {
				t.Errorf("%s with %s shows version %s, want %s", path, freshness, got, version)
			}
			if path == "" || strings.HasPrefix(path, "/explain") {
				continue
			}
			again := p.do(domain.RoleDevice, "c-1", "GET", "/v1/customers/c-1"+path+separator+freshness, nil, "If-None-Match", r.header.Get("ETag"))
			if again.status != http.StatusNotModified || len(again.raw) > 0 {
				t.Errorf("%s with %s and its ETag: status %d", path, freshness, again.status)
			}
		}
	}
	rows := p.must(domain.RoleDevice, "c-1", "GET", "/v1/customers/c-1/licenses?min_version="+version, nil).body["licenses"].([]any)
	if len(rows) != 1 || rows[0].(map[string]any)["license_id"] != license {
		t.Errorf("the licences are %v", rows)
	}
	devices := p.must(domain.RoleSupport, "", "GET", "/v1/customers/c-1/devices?min_version="+version, nil).body["devices"].([]any)
	if devices[0].(map[string]any)["name"] != "Ada's tablet" {
		t.Errorf("the device is %v", devices[0])
	}
	found := p.must(domain.RoleOperator, "", "GET", "/v1/events/search?customer=c-1&min_position="+position, nil)
	if found.body["total"].(float64) < 3 {
		t.Errorf("search finds %v", found.body["total"])
	}
	counted := p.must(domain.RoleAnalyst, "", "GET", "/v1/analytics/downloads?group_by=studio&min_position="+position, nil)
	if counted.body["total"].(float64) != 1 {
		t.Errorf("analytics counts %v", counted.body["total"])
	}
}

func TestAVersionThatIsNotThereIsWaitedForInVainAndCursorsCantBeMadeUp(t *testing.T) {
	t.Parallel()
	p := start(t, "query-timeout", "300ms")
	p.must(domain.RoleService, "", "PUT", "/v1/customers/c-1/plan", map[string]any{"plan": "standard", "country": "US"})
	for _, path := range []string{"", "/timeline", "/licenses"} {
		r := p.do(domain.RoleSupport, "", "GET", "/v1/customers/c-1"+path+"?min_version=999", nil)
		if r.status != http.StatusGatewayTimeout || r.body["code"] != "BEHIND" || r.header.Get("Retry-After") == "" {
			t.Errorf("version 999 of c-1%s: status %d: %s", path, r.status, r.raw)
		}
	}
	for _, path := range []string{"/v1/customers/c-1/timeline?cursor=abc", "/v1/customers/c-1/licenses?cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/v1/events/search?cursor=!!", "/v1/titles?cursor=abc"} {
		r := p.do(domain.RoleSupport, "", "GET", path, nil)
		if r.status != http.StatusUnprocessableEntity || !bytes.Contains(r.raw, []byte(`"query.cursor"`)) {
			t.Errorf("%s: status %d: %s", path, r.status, r.raw)
		}
	}
	page := p.must(domain.RoleDevice, "c-1", "GET", "/v1/titles?limit=2", nil)
	cursor := page.body["next_cursor"].(string)
	if r := p.do(domain.RoleDevice, "c-1", "GET", "/v1/titles?limit=2&q=love&cursor="+cursor, nil); r.status != http.StatusUnprocessableEntity {
		t.Errorf("a cursor of another question: status %d: %s", r.status, r.raw)
	}
}

// What is not in the log is not waited for until the deadline, whichever read it is asked of.
func TestWhatWasNeverRecordedIsSaidToBeAwayAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "query-timeout", "5m")
	p.must(domain.RoleService, "", "PUT", "/v1/customers/c-1/plan", map[string]any{"plan": "standard", "country": "US"})
	first := time.Now().UTC()
	p.must(domain.RoleService, "", "PUT", "/v1/customers/c-1/membership", map[string]any{"state": "paused"})
	by := "as_of=" + first.Format("2006-01-02T15:04:05.000000Z")
	film := p.films(1)[0]
	for _, path := range []string{"", "/devices", "/licenses", "/denials", "/exceptions", "/timeline", "/state", "/explain?title_id=" + film + "&device_id=d&device_type=ipad"} {
		if path += "?"; strings.Count(path, "?") > 1 {
			path = strings.TrimSuffix(path, "?") + "&"
		}
		for _, c := range []struct {
			asked  string
			status int
			says   string
		}{
			{"consistency=authoritative&min_version=2", http.StatusOK, ""},
			{"consistency=authoritative&min_version=3", http.StatusGatewayTimeout, "no version 3; they are at version 2"},
			{"consistency=authoritative&min_position=0:999999", http.StatusGatewayTimeout, "no position 0:999999; they are at position 0:"},
			{"consistency=authoritative&min_position=77:1", http.StatusUnprocessableEntity, "is in shard 77, which there is not; the shards are 0 to 1"},
			{"min_version=3", http.StatusGatewayTimeout, "no version 3; they are at version 2"},
			{"min_position=0:999999", http.StatusGatewayTimeout, "no position 0:999999; they are at position 0:"},
			{"min_position=77:1", http.StatusUnprocessableEntity, "is in shard 77, which there is not; the shards are 0 to 1"},
		} {
			asked := []string{path + c.asked}
			if path == "/state?" && strings.Contains(c.asked, "version") && c.status != http.StatusOK {
				asked = append(asked, path+by+"&"+c.asked, path+by+"&"+strings.ReplaceAll(c.asked, "min_version=3", "min_version=2"))
			}
			for i, asked := range asked {
				want := c.says
				if i > 1 || i > 0 && strings.Contains(asked, "authoritative") { // the state then was the first version
					want = "they are at version 1"
				}
				r := p.do(domain.RoleSupport, "", "GET", "/v1/customers/c-1"+asked, nil)
				if r.status != c.status || !strings.Contains(string(r.raw), want) {
					t.Errorf("%s: status %d: %s, want %q", asked, r.status, r.raw, want)
				}
			}
		}
	}
	for _, path := range []string{"/v1/events/search?", "/v1/analytics/downloads?"} {
		if r := p.do(domain.RoleSupport, "", "GET", path+"min_position=0:999999", nil); r.status != http.StatusGatewayTimeout || r.body["code"] != "BEHIND" {
			t.Errorf("%s of no position: status %d: %s", path, r.status, r.raw)
		}
		if r := p.do(domain.RoleSupport, "", "GET", path+"min_position=77:1", nil); r.status != http.StatusUnprocessableEntity || !strings.Contains(string(r.raw), `"query.min_position"`) {
			t.Errorf("%s of no shard: status %d: %s", path, r.status, r.raw)
		}
	}
}

// Whether c-2 exists or not, a device of c-1 gets the same, byte for byte, on every read and command.
func TestADeviceCantTellWhetherAnotherCustomerExists(t *testing.T) {
	t.Parallel()
	p := start(t)
	film := p.films(1)[0]
	var license, decision string
	for _, customer := range []string{"c-1", "c-2"} {
		p.must(domain.RoleService, "", "PUT", "/v1/customers/"+customer+"/plan", map[string]any{"plan": "standard", "country": "US"})
		r := p.must(domain.RoleDevice, customer, "POST", "/v1/customers/"+customer+"/licenses", map[string]any{"title_id": film, "device_id": "dev-" + customer, "device_type": "ipad"})
		license = r.body["license"].(map[string]any)["license_id"].(string)
		decision = r.body["decision"].(map[string]any)["id"].(string)
		p.must(domain.RoleSupport, "", "GET", "/v1/customers/"+customer+"?min_version="+fmt.Sprintf("%.0f", r.body["version"]), nil)
	}
	same := []string{"X-Request-Id", "same"}
	want := p.do(domain.RoleDevice, "c-1", "GET", "/v1/customers/nobody", nil, same...)
	if want.status != http.StatusNotFound {
		t.Fatalf("a customer that does not exist: status %d: %s", want.status, want.raw)
	}
	for _, path := range []string{
		"", "/devices", "/licenses", "/denials", "/exceptions", "/timeline", "/state", "/accesses", "/explain?title_id=" + film + "&device_id=dev-c-2",
		"?consistency=authoritative", "?min_version=999",
	} {
		if r := p.do(domain.RoleDevice, "c-1", "GET", "/v1/customers/c-2"+path, nil, same...); r.status != want.status || !bytes.Equal(r.raw, want.raw) {
			t.Errorf("GET c-2%s: status %d: %s", path, r.status, r.raw)
		}
	}
	for _, path := range []string{"/licenses/" + license + "/renew", "/licenses/" + license + "/release", "/licenses/lic_none/release", "/revoke-all"} {
		if r := p.do(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-2"+path, nil, same...); r.status != want.status || !bytes.Equal(r.raw, want.raw) {
			t.Errorf("POST c-2%s: status %d: %s", path, r.status, r.raw)
		}
	}
	// What is c-2's is not to be found among c-1's own things either.
	for _, id := range []string{decision, "dec_none"} {
		if r := p.do(domain.RoleDevice, "c-1", "GET", "/v1/decisions/"+id, nil, same...); r.status != want.status || !bytes.Equal(r.raw, want.raw) {
			t.Errorf("decision %s: status %d: %s", id, r.status, r.raw)
		}
	}
	for _, id := range []string{license, "lic_none"} {
		if r := p.do(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses/"+id+"/release", nil, same...); r.status != want.status || !bytes.Equal(r.raw, want.raw) {
			t.Errorf("releasing %s: status %d: %s", id, r.status, r.raw)
		}
	}
}

func TestWhatSupportReadsIsRecordedAndAnalystsSeePseudonyms(t *testing.T) {
	t.Parallel()
	p := start(t)
	r := p.must(domain.RoleService, "", "PUT", "/v1/customers/c-secret/plan", map[string]any{"plan": "standard", "country": "US"})
	position := r.body["position"].(string)
	p.must(domain.RoleSupport, "", "GET", "/v1/customers/c-secret/timeline?min_position="+position, nil, "X-Request-Id", "look-1")
	accesses := p.must(domain.RoleOperator, "", "GET", "/v1/customers/c-secret/accesses", nil).body["accesses"].([]any)
	if len(accesses) != 1 || accesses[0].(map[string]any)["what"] != "timeline" || accesses[0].(map[string]any)["request_id"] != "look-1" {
		t.Errorf("the access log says %v", accesses)
	}
	p.must(domain.RoleService, "", "GET", "/v1/customers/c-secret?min_position="+position, nil) // exports and pseudonyms wait for nobody, and come from here
	for _, path := range []string{"/v1/events/search?min_position=" + position, "/v1/exports/events?format=ndjson", "/v1/exports/customers"} {
		seen := p.must(domain.RoleAnalyst, "", "GET", path, nil)
		if bytes.Contains(seen.raw, []byte("c-secret")) || !bytes.Contains(seen.raw, []byte("pc_")) {
			t.Errorf("%s shows an analyst %.500s", path, seen.raw)
		}
	}
	hits := p.must(domain.RoleAnalyst, "", "GET", "/v1/events/search", nil).body["hits"].([]any)
	pseudonym := hits[0].(map[string]any)["customer"].(string)
	if r := p.do(domain.RoleAnalyst, "", "POST", "/v1/pseudonyms/"+pseudonym+"/resolve", map[string]any{}); r.status != http.StatusUnprocessableEntity {
		t.Errorf("resolving without a reason: status %d: %s", r.status, r.raw)
	}
	if r := p.must(domain.RoleAnalyst, "", "POST", "/v1/pseudonyms/"+pseudonym+"/resolve", map[string]any{"reason": "Fraud case 12"}); r.body["customer"] != "c-secret" {
		t.Errorf("the pseudonym resolves to %s", r.raw)
	}
	accesses = p.must(domain.RoleOperator, "", "GET", "/v1/customers/c-secret/accesses", nil).body["accesses"].([]any)
	if len(accesses) != 2 || accesses[0].(map[string]any)["reason"] != "Fraud case 12" {
		t.Errorf("the access log says %v", accesses)
	}
}

func TestEveryRouteOfTheQueryAPIAnswersOnAnEmptyStore(t *testing.T) {
	t.Parallel()
	p := start(t)
	for path, status := range map[string]int{
		"/v1/keys": 200, "/v1/lookup?q=x": 200, "/v1/customers/nobody": 404, "/v1/customers/nobody/devices": 404, "/v1/customers/nobody/licenses": 404,
		"/v1/customers/nobody/denials": 200, "/v1/customers/nobody/timeline": 200, "/v1/customers/nobody/exceptions": 404, "/v1/customers/nobody/state": 404,
		"/v1/customers/nobody/accesses": 200, "/v1/decisions/dec_x": 404, "/v1/events/search": 200, "/v1/analytics/downloads": 200, "/v1/analytics/active?interval=day": 200,
		"/v1/titles": 200, "/v1/titles?q=love": 200, "/v1/device-types": 200, "/v1/policies/default/versions/1": 200, "/v1/policies/default/versions/2": 404,
		"/v1/policies/default/versions/current/diff": 200, "/v1/policies/device-types/diff": 200, "/v1/projections": 200, "/v1/processes": 200, "/v1/projections/timeline/parked": 200,
		"/v1/projections/unheard-of/parked": 404, "/v1/exports/customers": 200, "/v1/exports/search?q=x": 200, "/v1/exports/analytics/denials?compare=previous": 200, "/livez": 200, "/readyz": 200, "/metrics": 200, "/openapi/command.json": 200, "/openapi/query.yaml": 200,
	} {
		if r := p.do(domain.RoleOperator, "", "GET", path, nil); r.status != status {
			t.Errorf("%s: status %d, want %d: %.300s", path, r.status, status, r.raw)
		}
	}
	if r := p.do(domain.RoleOperator, "", "POST", "/v1/projections/timeline/parked/customer%2Fnobody/retry", nil); r.status != http.StatusNotFound {
		t.Errorf("retrying what is not parked: status %d: %s", r.status, r.raw)
	}
}
