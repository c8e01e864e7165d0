package commandapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"carryon/api/web"
	"carryon/command"
	"carryon/domain"
)

// maxPolicy is the largest body of a policy. What a stored document may hold is less: the problem says so.
const maxPolicy = 1 << 20

type (
	// Withdrawal takes a title out of the catalogue.
	Withdrawal struct {
		Countries []web.Country `json:"countries" maxItems:"300" nullable:"false" doc:"Where, ISO 3166-1 alpha-2; an empty list: everywhere" example:"[\"DE\",\"AT\"]"`
		From      *time.Time    `json:"from,omitempty" doc:"From when; absent, or a moment that has passed: at once" example:"2026-12-01T00:00:00Z"`
		Reason    *Reason       `json:"reason,omitempty" doc:"Why; an operator must give one, but for a dry run; a service need not"`
	}

	// PolicyDocument is a policy document as it was sent.
	PolicyDocument json.RawMessage

	// ReasonGiven is a reason beside a body that has no place for one.
	ReasonGiven struct {
		Code string `query:"reason.code" enum:"lost_device,chargeback,fraud,studio,customer,other" doc:"Why; needed, but for a dry run" example:"studio"`
		Text string `query:"reason.text" maxLength:"1000" doc:"In your own words; kept encrypted" example:"New terms from December"`
		Case string `query:"reason.case" maxLength:"128" doc:"Case number" example:"CHG-12"`
	}

	// Keys are the keys that devices check licences with.
	Keys struct {
		CacheControl string `header:"Cache-Control"`
		Body         KeyList
	}
	// KeyList is every key that a device may meet.
	KeyList struct {
		Keys []Key `json:"keys" nullable:"false"`
	}
	// Key is one key.
	Key struct {
		KeyID     string    `json:"key_id" example:"k1"`
		Algorithm string    `json:"algorithm" enum:"Ed25519"`
		PublicKey []byte    `json:"public_key" doc:"base64 of 32 bytes"`
		CreatedAt time.Time `json:"created_at"`
		Current   bool      `json:"current" doc:"Signs new licences now"`
	}
)

// UnmarshalJSON keeps the bytes.
func (d *PolicyDocument) UnmarshalJSON(raw []byte) error {
	return (*json.RawMessage)(d).UnmarshalJSON(raw)
}

// Schema only says that a document is an object: it is checked as a whole, with every mistake named.
func (*PolicyDocument) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "As in GET /v1/policies/{policy}/versions/{version}"}
}

func (r *ReasonGiven) given() *command.ReasonGiven {
	if *r == (ReasonGiven{}) {
		return nil
	}
	return &command.ReasonGiven{Code: r.Code, Text: r.Text, Case: r.Case}
}

func (r routes) reference() {
	web.Handle(r.api, web.Spec{
		ID: "withdraw-title", Method: http.MethodPost, Path: "/v1/titles/{title}/withdraw", Tag: "reference", Timeout: r.timeout, Problems: decided,
		Summary:     "Take a title out of the catalogue",
		Description: "Of some countries, from a moment on. That ends its licences there at once; every process knows within seconds. With dry_run=true nothing is recorded, no Idempotency-Key is needed, and impact says who would be touched.",
	}, func(ctx context.Context, in *struct {
		Title  web.ID `path:"title" doc:"The title's id" example:"t00042"`
		DryRun bool   `query:"dry_run" doc:"Only tell who would be touched"`
		KeyTaken
		Body Withdrawal
	}) (*Done, error) {
		m, err := in.meta(ctx)
		switch {
		case err != nil:
			return nil, err
		case m.Minted && !in.DryRun:
			return nil, web.Field(web.Invalid, "header.Idempotency-Key", "is missing")
		}
		c := command.WithdrawTitle{Meta: m, TitleID: string(in.Title), DryRun: in.DryRun, Reason: in.Body.Reason.givenIfAny()}
		for _, country := range in.Body.Countries {
			c.Countries = append(c.Countries, string(country))
		}
		if in.Body.From != nil {
			c.From = *in.Body.From
		}
		withdrawn, err := r.do.WithdrawTitle(ctx, c)
		if errors.Is(err, domain.ErrNotFound) {
			return nil, web.Field(web.NotFound, "path.title", "is not in the catalogue").Because(err)
		}
		return done(withdrawn, err)
	})
	web.Handle(r.api, web.Spec{
		ID: "publish-policy", Method: http.MethodPut, Path: "/v1/policies/{policy}", Tag: "reference", Timeout: r.timeout, MaxBody: maxPolicy, YAML: true,
		Problems: decided, Summary: "Publish a version of a policy document",
		Description: "The body is the document itself, as GET /v1/policies/{policy}/versions/{version} shows it, in JSON or as application/yaml. It is checked as a whole and every mistake is named. Versions are 1, 2, 3…; none is ever changed: to undo one, publish the one before it again. With dry_run=true nothing is recorded, and impact says who would be over a limit.",
	}, func(ctx context.Context, in *struct {
		Policy        string    `path:"policy" enum:"default,device-types" doc:"Which document" example:"default"`
		EffectiveFrom time.Time `query:"effective_from" doc:"From when it is in force; absent: at once" example:"2026-12-01T00:00:00Z"`
		DryRun        bool      `query:"dry_run" doc:"Only check the document and tell who would be touched"`
		ReasonGiven
		KeyTaken
		Body PolicyDocument
	}) (*Done, error) {
		m, err := in.meta(ctx)
		if err != nil {
			return nil, err
		}
		return done(r.do.PublishPolicy(ctx, command.PublishPolicy{
			Meta: m, Policy: in.Policy, Document: in.Body, EffectiveFrom: in.EffectiveFrom, DryRun: in.DryRun,
			Reason: in.given(),
		}))
	})
	web.Handle(r.api, web.Spec{
		ID: "shadow-report", Method: http.MethodGet, Path: "/v1/shadow", Tag: "reference", Timeout: r.timeout,
		Summary: "What the shadow policy would have decided", Description: "Since this process started with --shadow-policy: how many decisions it would have made otherwise, by rule, and the latest thousand. 404 without one.",
	}, func(context.Context, *struct{}) (*Shade, error) {
		report, err := r.do.Shadow()
		if err != nil {
			return nil, err
		}
		return &Shade{Body: report}, nil
	})
	web.Handle(r.api, web.Spec{
		ID: "list-keys", Method: http.MethodGet, Path: "/v1/keys", Tag: "reference", Timeout: r.timeout,
		Summary: "The keys that devices check licences with", Description: "Keys are added, not replaced: a device fetches the list when it is online and keeps it. How to check a licence offline: docs/licence-format.md.",
	}, func(context.Context, *struct{}) (*Keys, error) {
		out := &Keys{CacheControl: "public, max-age=300", Body: KeyList{Keys: []Key{}}}
		for _, k := range r.do.PublicKeys() {
			out.Body.Keys = append(out.Body.Keys, Key{KeyID: k.ID, Algorithm: "Ed25519", PublicKey: k.Key, CreatedAt: k.CreatedAt.UTC(), Current: k.Current})
		}
		return out, nil
	})
}

// Shade is what a shadow policy has decided.
type Shade struct {
	Body command.ShadowReport
}
