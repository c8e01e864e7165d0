package queryapi

import (
	"strconv"
	"strings"
	"time"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

// What many questions take.

type (
	// CustomerPath names the customer.
	CustomerPath struct {
		Customer web.ID `path:"customer" doc:"The customer's id" example:"c-42"`
	}

	// Conditional lets an answer that has not changed be left out.
	Conditional struct {
		IfNoneMatch string `header:"If-None-Match" maxLength:"1024" doc:"ETag of an earlier answer: 304 when it still holds" example:"\"12\""`
	}

	// Fresh says how fresh an answer must be.
	Fresh struct {
		Consistency string `query:"consistency" enum:"projected,authoritative" doc:"projected: from the read model (without this parameter); authoritative: folded from the event store"`
		MinVersion  uint64 `query:"min_version" maximum:"9007199254740991" doc:"The answer waits until it shows this version of the stream" example:"12"`
		MinPosition string `query:"min_position" pattern:"^[0-9]{1,9}:[0-9]{1,15}$" patternDescription:"a position as shard:index" doc:"The answer waits until the read model has passed this position, shard:index" example:"1:345"`
	}

	// Reached is Fresh for questions across customers.
	Reached struct {
		MinPosition string `query:"min_position" pattern:"^[0-9]{1,9}:[0-9]{1,15}$" patternDescription:"a position as shard:index" doc:"The answer waits until the read model has passed this position, shard:index" example:"1:345"`
	}

	// Paged is a part of a long answer.
	Paged struct {
		Limit  int    `query:"limit" minimum:"1" maximum:"200" doc:"How many at most; 50 without" example:"50"`
		Cursor string `query:"cursor" maxLength:"8192" doc:"next_cursor of the page before, with the same other parameters"`
	}

	// Between bounds the time of recording.
	Between struct {
		From time.Time `query:"from" doc:"Recorded at or after, RFC 3339" example:"2026-01-01T00:00:00Z"`
		To   time.Time `query:"to" doc:"Recorded before, RFC 3339" example:"2027-01-01T00:00:00Z"`
	}

	// Ordered says which end comes first.
	Ordered struct {
		Order string `query:"order" enum:"newest,oldest,desc,asc" doc:"newest (or desc) first, which is so without this parameter, or oldest (or asc) first"`
	}

	// Filters narrow events down. Several values of one field are alternatives.
	Filters struct {
		Type          []string      `query:"type" maxItems:"20" doc:"Event types" example:"[\"LicenseDenied\"]"`
		Customer      []web.ID      `query:"customer" maxItems:"20" doc:"Customers; pseudonyms for analysts"`
		DeviceID      []web.ID      `query:"device_id" maxItems:"20" doc:"Devices; pseudonyms for analysts"`
		TitleID       []web.ID      `query:"title_id" maxItems:"20" doc:"Titles"`
		Series        []string      `query:"series,explode" maxItems:"20" doc:"Names of series"`
		LicenseID     []web.ID      `query:"license_id" maxItems:"20" doc:"Licences"`
		Studio        []string      `query:"studio" maxItems:"20" doc:"Studios"`
		Plan          []string      `query:"plan" maxItems:"20" doc:"Plans"`
		Country       []web.Country `query:"country" maxItems:"20" doc:"Countries, ISO 3166-1 alpha-2" example:"[\"DE\"]"`
		DeviceType    []web.ID      `query:"device_type" maxItems:"20" doc:"Device types"`
		DeviceFamily  []string      `query:"device_family" maxItems:"20" doc:"Device families"`
		Code          []string      `query:"code" maxItems:"20" doc:"Refusal codes" example:"[\"YEARLY_TITLE_LIMIT\"]"`
		Actor         []string      `query:"actor,explode" maxItems:"20" doc:"Ids of who did it"`
		Role          []string      `query:"role" maxItems:"20" doc:"Roles in which it was done: device, service, support, operator, system"`
		Case          []string      `query:"case,explode" maxItems:"20" doc:"Case numbers"`
		Trigger       []string      `query:"trigger" maxItems:"20" doc:"user, auto"`
		Basis         []string      `query:"basis" maxItems:"20" doc:"books, fail_open"`
		PolicyVersion []int         `query:"policy_version" maxItems:"20" doc:"Versions of the policy that was in force"`
		Between
	}
)

func (f *Fresh) consistency() (query.Consistency, error) {
	at, err := position(f.MinPosition)
	return query.Consistency{Mode: f.Consistency, MinVersion: f.MinVersion, MinPosition: at}, err
}

// position reads shard:index.
func position(text string) (domain.Position, error) {
	if text == "" {
		return domain.Position{}, nil
	}
	shard, index, _ := strings.Cut(text, ":")
	s, err := strconv.Atoi(shard)
	i, err2 := strconv.ParseUint(index, 10, 63)
	if err != nil || err2 != nil || i == 0 {
		return domain.Position{}, web.Field(web.Invalid, "query.min_position", "is not a position as shard:index, as in 1:345")
	}
	return domain.Position{Shard: s, Index: i}, nil
}

func (p *Paged) page() query.Page { return query.Page{Limit: p.Limit, Cursor: p.Cursor} }

func (o *Ordered) order() string {
	switch o.Order {
	case "asc":
		return query.OrderOldest
	case "desc":
		return query.OrderNewest
	}
	return o.Order
}

func (f *Filters) filter() query.Filter {
	return query.Filter{
		Type: f.Type, Customer: texts(f.Customer), DeviceID: texts(f.DeviceID), TitleID: texts(f.TitleID), Series: f.Series,
		LicenseID: texts(f.LicenseID), Studio: f.Studio, Plan: f.Plan, Country: texts(f.Country), DeviceType: texts(f.DeviceType),
		DeviceFamily: f.DeviceFamily, Code: f.Code, Actor: f.Actor, Role: f.Role, Case: f.Case, Trigger: f.Trigger, Basis: f.Basis,
		PolicyVersion: f.PolicyVersion, From: f.From, To: f.To,
	}
}

func texts[T ~string](names []T) []string {
	if len(names) == 0 {
		return nil
	}
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}
