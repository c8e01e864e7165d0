package commandapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"carryon/api/web"
	"carryon/command"
	"carryon/domain"
)

// What every command takes besides its own fields.

type (
	// CustomerPath names the customer.
	CustomerPath struct {
		Customer web.ID `path:"customer" doc:"The customer's id" example:"c-42"`
	}

	// LicensePath names a licence of a customer.
	LicensePath struct {
		CustomerPath
		License web.ID `path:"license" doc:"The licence's id" example:"lic_0c5h3v8m1q9w2k7r4t6y0z1x3a"`
	}

	// DevicePath names a device of a customer.
	DevicePath struct {
		CustomerPath
		Device web.ID `path:"device" doc:"The device's id" example:"dev-1"`
	}

	// KeyNeeded are the headers of a POST that commands.
	KeyNeeded struct {
		Key     string `header:"Idempotency-Key" required:"true" minLength:"36" maxLength:"36" doc:"UUID of version 7, made when the command was first meant; the same again when it is repeated" example:"0198c0de-7a11-7000-8000-000000000000"`
		IfMatch string `header:"If-Match" maxLength:"64" doc:"The stream's version that the caller has seen, in quotes: the command is refused with 412 when it has another. Absent or *: any" example:"\"12\""`
	}

	// KeyTaken are the headers of a PUT or DELETE, and of a dry run.
	KeyTaken struct {
		Key     string `header:"Idempotency-Key" minLength:"36" maxLength:"36" doc:"UUID of version 7; without one, the command gets one here and a repeat is a command of its own" example:"0198c0de-7a11-7000-8000-000000000000"`
		IfMatch string `header:"If-Match" maxLength:"64" doc:"The stream's version that the caller has seen, in quotes: the command is refused with 412 when it has another. Absent or *: any" example:"\"12\""`
	}
)

func (k KeyNeeded) meta(ctx context.Context) (command.Meta, error) {
	return meta(ctx, k.Key, k.IfMatch)
}
func (k KeyTaken) meta(ctx context.Context) (command.Meta, error) { return meta(ctx, k.Key, k.IfMatch) }

// meta is what the request says about the command: who, under which id, seen from which version.
func meta(ctx context.Context, key, ifMatch string) (command.Meta, error) {
	version, p := web.IfMatch(ifMatch)
	if p != nil {
		return command.Meta{}, p
	}
	m := command.Meta{CommandID: key, Actor: web.Caller(ctx).Actor(), IfMatch: version, Correlation: web.RequestOf(ctx).ID}
	if m.CommandID == "" {
		m.CommandID, m.Minted = web.NewCommandID(), true
	}
	return m, nil
}

// Reason is why a person does something: an object, or just its code.
type Reason struct {
	Code string `json:"code" enum:"lost_device,chargeback,fraud,studio,customer,other" doc:"Why" example:"lost_device"`
	Text string `json:"text,omitempty" maxLength:"1000" doc:"In the person's own words; personal, kept encrypted" example:"Left it on the train"`
	Case string `json:"case,omitempty" maxLength:"128" doc:"Case number" example:"CASE-1234"`
}

// reasonObject is Reason without its own reading and schema.
type reasonObject Reason

// UnmarshalJSON reads either form.
func (r *Reason) UnmarshalJSON(raw []byte) error { return readEither(raw, &r.Code, (*reasonObject)(r)) }

// Schema describes either form.
func (r *Reason) Schema(registry huma.Registry) *huma.Schema {
	return either(registry, "Reason", reasonObject{}, &huma.Schema{Type: huma.TypeString, Enum: anys(domain.ReasonCodes()), Description: "Just the code"})
}

func (r *Reason) given() command.ReasonGiven {
	return command.ReasonGiven{Code: r.Code, Text: r.Text, Case: r.Case}
}

func (r *Reason) givenIfAny() *command.ReasonGiven {
	if r == nil {
		return nil
	}
	given := r.given()
	return &given
}

// Scope is what an exception covers: an object, or the kind alone, or kind:id.
type Scope struct {
	Kind string `json:"kind" enum:"customer,device,title,studio,license" doc:"What kind of thing" example:"device"`
	ID   web.ID `json:"id,omitempty" doc:"Which; not for the whole customer" example:"dev-1"`
}

type scopeObject Scope

// UnmarshalJSON reads either form.
func (s *Scope) UnmarshalJSON(raw []byte) error {
	var text string
	if err := readEither(raw, &text, (*scopeObject)(s)); err != nil || text == "" {
		return err
	}
	kind, id, _ := strings.Cut(text, ":")
	s.Kind, s.ID = kind, web.ID(id)
	return nil
}

// Schema describes either form.
func (s *Scope) Schema(registry huma.Registry) *huma.Schema {
	longest := 136
	return either(registry, "ExceptionScope", scopeObject{}, &huma.Schema{
		Type: huma.TypeString, MaxLength: &longest, Pattern: "^(customer|(device|title|studio|license):[A-Za-z0-9._~:@-]+)$",
		PatternDescription: "customer, nor a kind and an id as in device:dev-1", Description: "customer, or kind:id as in device:dev-1",
	})
}

func readEither(raw []byte, text *string, object any) error {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte(`"`)) {
		if err := json.Unmarshal(raw, text); err != nil {
			return fmt.Errorf("reading a string: %w", err)
		}
		return nil
	}
	if err := json.Unmarshal(raw, object); err != nil {
		return fmt.Errorf("reading an object: %w", err)
	}
	return nil
}
