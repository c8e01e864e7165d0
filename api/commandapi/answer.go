package commandapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"carryon/api/web"
	"carryon/command"
	"carryon/domain"
)

// An answer is assembled from what was recorded. A refusal by the rules is a problem, unless only a dry run was asked for.

type (
	// Done is the answer to a command.
	Done struct {
		ETag string `header:"ETag" doc:"The version, in quotes"`
		// The body of a repeat is that of the first answer, byte for byte, so what tells them apart stands here.
		Replayed string `header:"Idempotency-Replayed" doc:"true for the answer of an earlier attempt with this key, else absent"`
		Body     Outcome
	}

	// Outcome says what came of a command.
	Outcome struct {
		Version  uint64           `json:"version" doc:"The stream's seq after the command" example:"12"`
		Position string           `json:"position" doc:"Where it is recorded, shard:index; empty when nothing was recorded" example:"1:345"`
		Decision *domain.Decision `json:"decision" doc:"What the rules said; null for commands that they do not decide"`
		License  *License         `json:"license,omitempty" doc:"Of a grant: the licence, signed"`
		Events   []Recorded       `json:"events" doc:"What was recorded; empty when nothing changed"`
		// ExceptionID is that of a granted exception.
		ExceptionID string `json:"exception_id,omitempty" doc:"Of a granted exception"`
		// The first play begins the playback life, so the device learns here by when it must have asked for a renewal.
		ExpiresAt     *time.Time `json:"expires_at,omitempty" doc:"Of a play that began: when the licence ends, as the play leaves it; absent: unlimited"`
		LimitedBy     string     `json:"limited_by,omitempty" doc:"Of a play that began: which part ends the licence first: rental, playback, license, window, withdrawal"`
		PolicyVersion int        `json:"policy_version,omitempty" doc:"Of a published policy document"`
		Impact        *Touched   `json:"impact,omitempty" doc:"Of a dry run of a withdrawal or policy: who would be touched"`
	}

	// Recorded is one event that was recorded.
	Recorded struct {
		Seq     uint64 `json:"seq" example:"12"`
		Type    string `json:"type" example:"LicenseIssued"`
		EventID string `json:"event_id" example:"evt_0c5h3v8m1q9w2k7r4t6y0z1x3a"`
	}

	// License is a licence that a device can check offline with the published keys: docs/licence-format.md.
	License struct {
		KeyID     string     `json:"key_id" doc:"The key that signed: GET /v1/keys" example:"k1"`
		Payload   []byte     `json:"payload" doc:"base64 of the exact bytes that were signed: JSON"`
		Signature []byte     `json:"signature" doc:"base64 of 64 bytes: Ed25519 (RFC 8032) over the payload"`
		LicenseID string     `json:"license_id" doc:"As in the payload"`
		DeviceID  string     `json:"device_id" doc:"As in the payload"`
		TitleID   string     `json:"title_id" doc:"As in the payload"`
		IssuedAt  time.Time  `json:"issued_at" doc:"As in the payload"`
		ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"As in the payload; absent: unlimited"`
		LimitedBy string     `json:"limited_by,omitempty" doc:"Which part ends it first: rental, playback, license, window"`
	}

	// Touched is whom a change would touch.
	Touched struct {
		Customers int            `json:"customers" doc:"How many"`
		Licenses  int            `json:"licenses" doc:"How many of theirs"`
		Devices   int            `json:"devices" doc:"How many of theirs"`
		ByRule    map[string]int `json:"by_rule,omitempty" doc:"Customers over a limit, by rule"`
		Examples  []string       `json:"examples,omitempty" doc:"Some of the customers, at most 20"`
	}
)

// done is the answer to a command that may be refused.
func done(r command.Result, err error) (*Done, error) {
	if err != nil {
		return nil, err
	}
	if r.Refused() {
		return nil, refusal(&r)
	}
	return tried(r, nil)
}

// tried is the answer to a dry run: a refusal is what was asked about.
func tried(r command.Result, err error) (*Done, error) {
	if err != nil {
		return nil, err
	}
	out := Outcome{Version: r.Version, Decision: r.Decision, Events: make([]Recorded, len(r.Events))}
	if r.Position.Index > 0 {
		out.Position = r.Position.String()
	}
	for i := range r.Events {
		e := &r.Events[i]
		out.Events[i] = Recorded{Seq: e.Seq, Type: e.Type, EventID: e.ID}
		if err := out.mention(e); err != nil {
			return nil, err
		}
	}
	if out.License, err = license(r.License); err != nil {
		return nil, err
	}
	if t := r.Impact; t != nil {
		out.Impact = &Touched{Customers: t.Customers, Licenses: t.Licenses, Devices: t.Devices, ByRule: t.ByRule, Examples: t.Examples}
	}
	answer := &Done{Body: out}
	if r.Repeated {
		answer.Replayed = "true"
	}
	if r.Version > 0 {
		answer.ETag = web.ETag(r.Version)
	}
	return answer, nil
}

// mention adds what the caller needs to name what he made.
func (o *Outcome) mention(e *domain.Event) error {
	switch e.Type {
	case (*domain.ExceptionGranted)(nil).EventType(), (*domain.PolicyPublished)(nil).EventType(), (*domain.PlaybackStarted)(nil).EventType():
	default:
		return nil
	}
	data, err := e.Data()
	if err != nil {
		return fmt.Errorf("reading back what was recorded: %w", err)
	}
	switch d := data.(type) {
	case *domain.ExceptionGranted:
		o.ExceptionID = d.ExceptionID
	case *domain.PolicyPublished:
		o.PolicyVersion = d.Version
	case *domain.PlaybackStarted:
		o.ExpiresAt, o.LimitedBy = d.ExpiresAt, d.LimitedBy
	}
	return nil
}

func license(signed *command.SignedLicense) (*License, error) {
	if signed == nil {
		return nil, nil
	}
	var p command.LicensePayload
	if err := json.Unmarshal(signed.Payload, &p); err != nil {
		return nil, fmt.Errorf("reading back a licence: %w", err)
	}
	return &License{
		KeyID: signed.KeyID, Payload: signed.Payload, Signature: signed.Signature, LicenseID: p.LicenseID, DeviceID: p.DeviceID,
		TitleID: p.TitleID, IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt, LimitedBy: p.LimitedBy,
	}, nil
}

var errNoRule = errors.New("a decision refuses, but none of its rules does")

// refusal is a refusal as a problem, with the numbers of the first rule that refuses.
func refusal(r *command.Result) error {
	d := r.Decision
	i := slices.IndexFunc(d.Rules, func(rule domain.RuleResult) bool { return rule.Outcome == domain.RuleRefuse && rule.Code == d.Code })
	if i < 0 {
		return fmt.Errorf("decision %s: %w", d.ID, errNoRule)
	}
	rule := &d.Rules[i]
	p := web.New(web.Refused, "%s", say(d.Code, rule))
	p.Code, p.Scope, p.Used, p.Limit, p.ResetsAt = d.Code, &rule.Scope, rule.Used, rule.Limit, rule.ResetsAt
	p.HeldBy, p.Remedies, p.Decision, p.Version = rule.HeldBy, d.Remedies, d, &r.Version
	if r.Position.Index > 0 {
		p.Position = r.Position.String()
	}
	return p
}

func say(code string, rule *domain.RuleResult) string {
	text := code
	if rule.Detail != "" {
		text += ": " + rule.Detail
	}
	if rule.Used != nil && rule.Limit != nil {
		text += fmt.Sprintf(" (%d of %d used)", *rule.Used, *rule.Limit)
	}
	if rule.ResetsAt != nil {
		text += "; free again from " + rule.ResetsAt.UTC().Format(time.RFC3339)
	}
	return text
}
