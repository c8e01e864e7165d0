package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"carryon/domain"
)

// HTTP is a Carryon somewhere: one process, or several that share the work.
type HTTP struct {
	Commands []string // base URLs of the command API, as in http://127.0.0.1:8080
	Queries  string   // base URL of the query API; often the same
	Client   *http.Client
	Patience int // how often CheckVisible asks again what had no answer
	Token    func(role domain.Role, customer string) (string, error)

	turn atomic.Uint64
}

// NewHTTP is a target with room for so many callers. Commands go to the processes by turns, a repeated one to the next.
// Without a URL for queries they go to the first.
func NewHTTP(commands []string, queries string, callers int, token func(domain.Role, string) (string, error)) *HTTP {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented to be one
	transport.MaxIdleConnsPerHost = callers
	transport.MaxIdleConns = callers * len(commands)
	t := &HTTP{Client: &http.Client{Transport: transport, Timeout: 30 * time.Second}, Token: token}
	for _, base := range commands {
		t.Commands = append(t.Commands, strings.TrimRight(base, "/"))
	}
	if t.Queries = strings.TrimRight(queries, "/"); t.Queries == "" {
		t.Queries = t.Commands[0]
	}
	return t
}

type request struct {
	method, path string
	role         domain.Role
	body         map[string]any
}

// Do sends one operation.
func (t *HTTP) Do(ctx context.Context, op Op) Answer {
	r := describe(op)
	token, err := t.Token(r.role, op.Customer)
	if err != nil {
		return Answer{Outcome: Rejected, Code: "no token", Detail: err.Error()}
	}
	var body io.Reader
	if r.body != nil {
		raw, err := json.Marshal(r.body)
		if err != nil {
			return Answer{Outcome: Rejected, Code: "no body", Detail: err.Error()}
		}
		body = bytes.NewReader(raw)
	}
	base := t.Commands[t.turn.Add(1)%uint64(len(t.Commands))]
	req, err := http.NewRequestWithContext(ctx, r.method, base+r.path, body)
	if err != nil {
		return Answer{Outcome: Rejected, Code: "no request", Detail: err.Error()}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Idempotency-Key", op.Key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := t.Client.Do(req)
	if err != nil {
		return Answer{Outcome: Unknown, Detail: err.Error()}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return Answer{Outcome: Unknown, Status: resp.StatusCode, Detail: err.Error()}
	}
	return read(resp.StatusCode, raw)
}

func describe(op Op) request {
	customer := "/v1/customers/" + url.PathEscape(op.Customer)
	license := customer + "/licenses/" + url.PathEscape(op.LicenseID)
	device := customer + "/devices/" + url.PathEscape(op.DeviceID)
	reason := map[string]any{"code": op.Reason, "case": "SIM-1"}
	switch op.Kind {
	case Plan:
		return request{http.MethodPut, customer + "/plan", domain.RoleService, map[string]any{"plan": op.Plan, "country": op.Country}}
	case Membership:
		return request{http.MethodPut, customer + "/membership", domain.RoleService, map[string]any{"state": op.State}}
	case Acquire, Evaluate:
		path := customer + "/licenses"
		if op.Kind == Evaluate {
			path += "/evaluate"
		}
		return request{http.MethodPost, path, domain.RoleDevice, map[string]any{
			"title_id": op.TitleID, "device_id": op.DeviceID, "device_type": op.DeviceType, "country": op.Country,
			"trigger": op.Trigger, "quality": op.Quality, "size_bytes": op.SizeBytes,
		}}
	case Renew:
		return request{http.MethodPost, license + "/renew", domain.RoleDevice, nil}
	case Release:
		return request{http.MethodPost, license + "/release", domain.RoleDevice, nil}
	case Confirm:
		return request{http.MethodPost, license + "/confirm-release", domain.RoleDevice, nil}
	case PlayStart, PlayStop:
		return request{http.MethodPost, license + "/plays", domain.RoleDevice, map[string]any{
			"play_id": op.PlayID, "kind": strings.TrimPrefix(string(op.Kind), "play-"), "device_time": op.DeviceTime, "position_seconds": op.Position,
		}}
	case Register:
		body := map[string]any{"device_type": op.DeviceType, "name": op.DeviceName}
		if op.Replaces != "" {
			body["replaces"] = op.Replaces
		}
		return request{http.MethodPut, device, domain.RoleDevice, body}
	case Remove:
		return request{http.MethodDelete, device, domain.RoleDevice, nil}
	case Block, Unblock:
		return request{http.MethodPost, device + "/" + strings.TrimSuffix(string(op.Kind), "-device"), domain.RoleSupport, map[string]any{"reason": reason}}
	case Revoke:
		return request{http.MethodPost, license + "/revoke", domain.RoleSupport, map[string]any{"reason": reason}}
	case Exception:
		return request{http.MethodPost, customer + "/exceptions", domain.RoleSupport, map[string]any{"code": op.Code, "uses": 1, "reason": reason}}
	}
	return request{}
}

func read(status int, raw []byte) Answer {
	var body struct {
		Version  uint64 `json:"version"`
		Position string `json:"position"`
		Code     string `json:"code"`
		Title    string `json:"title"`
		Detail   string `json:"detail"`
		Decision *struct {
			ID      string `json:"id"`
			Outcome string `json:"outcome"`
			Code    string `json:"code"`
		} `json:"decision"`
		License *struct {
			LicenseID string     `json:"license_id"`
			ExpiresAt *time.Time `json:"expires_at"`
		} `json:"license"`
		ExpiresAt  *time.Time `json:"expires_at"`
		ServerTime *time.Time `json:"server_time"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return Answer{Outcome: Rejected, Status: status, Code: fmt.Sprintf("http %d", status), Detail: "the answer is not JSON: " + err.Error()}
	}
	a := Answer{Status: status, Version: body.Version, Position: body.Position, Code: body.Code, Detail: body.Detail}
	if body.Decision != nil {
		a.Decision = body.Decision.ID
	}
	a.expires(body.ExpiresAt)
	if body.License != nil {
		a.LicenseID = body.License.LicenseID
		a.expires(body.License.ExpiresAt)
	}
	if body.ServerTime != nil {
		a.ServerTime = *body.ServerTime
	}
	switch {
	case status < 300 && body.Decision != nil && body.Decision.Outcome == domain.OutcomeRefuse: // a dry run
		a.Outcome, a.Code = Refused, body.Decision.Code
	case status < 300:
		a.Outcome = Accepted
	case status == http.StatusForbidden && body.Decision != nil, a.Code == codeTokenDrift:
		a.Outcome = Refused
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		a.Outcome = Busy
	case status >= 500:
		a.Outcome = Unknown
	default:
		a.Outcome = Rejected
	}
	if a.Code == "" && a.Outcome != Accepted {
		a.Code = fmt.Sprintf("http %d", status)
	}
	return a
}

// ErrMissing: something acknowledged can't be seen.
var ErrMissing = errors.New("acknowledged, but not to be seen")

// CheckVisible pages through the timeline of every customer of a report and fails with the customers whose acknowledged
// versions are not all there, each once and in order. It answers the number of events it saw.
func (t *HTTP) CheckVisible(ctx context.Context, report *Report, progress func(done int64)) (int64, error) {
	var seen, done int64
	var missing []error
	for customer, version := range report.Latest {
		events, err := t.timeline(ctx, customer, version)
		if err != nil {
			return seen, err
		}
		for i, seq := range events {
			if seq != uint64(i)+1 { //nolint:gosec // an index
				missing = append(missing, fmt.Errorf("%w: %s: seq %d stands where %d belongs", ErrMissing, customer, seq, i+1))
				break
			}
		}
		if uint64(len(events)) < version {
			missing = append(missing, fmt.Errorf("%w: %s: %d events, version %d was acknowledged", ErrMissing, customer, len(events), version))
		}
		seen += int64(len(events))
		if done++; progress != nil {
			progress(done)
		}
		if len(missing) > 20 {
			break
		}
	}
	return seen, errors.Join(missing...)
}

func (t *HTTP) timeline(ctx context.Context, customer string, version uint64) ([]uint64, error) {
	var seqs []uint64
	cursor := ""
	for {
		q := url.Values{"order": {"asc"}, "limit": {"200"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		} else {
			q.Set("min_version", fmt.Sprint(version))
		}
		var page struct {
			Events []struct {
				Seq uint64 `json:"seq"`
			} `json:"events"`
			Next string `json:"next_cursor"`
		}
		path := "/v1/customers/" + url.PathEscape(customer) + "/timeline?" + q.Encode()
		err := t.Get(ctx, domain.RoleService, customer, path, &page)
		for attempt := 0; errors.Is(err, errNoAnswer) && attempt < t.Patience && pause(ctx, time.Duration(50<<min(attempt, 5))*time.Millisecond); attempt++ {
			err = t.Get(ctx, domain.RoleService, customer, path, &page)
		}
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			seqs = append(seqs, e.Seq)
		}
		if cursor = page.Next; cursor == "" {
			return seqs, nil
		}
	}
}

// errNoAnswer: nobody answers now, or says to come again, as a server does that is started again or a read model that lags.
var errNoAnswer = errors.New("there is no answer")

// Get reads from the query API into out.
func (t *HTTP) Get(ctx context.Context, role domain.Role, customer, path string, out any) error {
	token, err := t.Token(role, customer)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.Queries+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := t.Client.Do(req)
	if err != nil {
		return fmt.Errorf("GET %s: %w: %w", path, errNoAnswer, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w: %w", path, errNoAnswer, err)
	case resp.StatusCode > http.StatusInternalServerError: // which is a fault, and told
		return fmt.Errorf("GET %s: %w: %s: %.300s", path, errNoAnswer, resp.Status, raw)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("GET %s: %s: %.300s", path, resp.Status, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}
