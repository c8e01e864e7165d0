package webtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Bad requests, made from what the OpenAPI document says is good: for each part of each route's request, each way in
// which it can be wrong, with the name that the problem must give.

// Document is an OpenAPI document, as far as requests go.
type Document struct {
	Paths      map[string]map[string]*Operation `json:"paths"`
	Components struct {
		Schemas map[string]*Schema `json:"schemas"`
	} `json:"components"`
}

// Operation is a route.
type Operation struct {
	OperationID string      `json:"operationId"`
	Parameters  []Parameter `json:"parameters"`
	RequestBody *struct {
		Required bool                                `json:"required"`
		Content  map[string]struct{ Schema *Schema } `json:"content"`
	} `json:"requestBody"`
	Method, Path string `json:"-"`
}

// Parameter is a parameter of a route.
type Parameter struct {
	Name     string  `json:"name"`
	In       string  `json:"in"`
	Required bool    `json:"required"`
	Explode  *bool   `json:"explode"`
	Schema   *Schema `json:"schema"`
}

// Schema is what is good.
type Schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"` // a word, or a list of a word and null
	Format     string             `json:"format"`
	Enum       []any              `json:"enum"`
	Pattern    string             `json:"pattern"`
	MinLength  *int               `json:"minLength"`
	MaxLength  *int               `json:"maxLength"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	MaxItems   *int               `json:"maxItems"`
	Items      *Schema            `json:"items"`
	Properties map[string]*Schema `json:"properties"`
	Required   []string           `json:"required"`
	OneOf      []*Schema          `json:"oneOf"`
	Examples   []any              `json:"examples"`
	Closed     any                `json:"additionalProperties"`
}

// Read reads a document.
func Read(t testing.TB, raw []byte) *Document {
	t.Helper()
	var d Document
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	for path, methods := range d.Paths {
		for method, op := range methods {
			op.Path, op.Method = path, strings.ToUpper(method)
		}
	}
	return &d
}

// Operations are the routes, in order.
func (d *Document) Operations() []*Operation {
	var ops []*Operation
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			ops = append(ops, d.Paths[path][method])
		}
	}
	return ops
}

func (d *Document) schema(s *Schema) *Schema {
	for s != nil && s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return s
}

func (s *Schema) kind() string {
	if list, ok := s.Type.([]any); ok {
		word, _ := list[0].(string)
		return word
	}
	word, _ := s.Type.(string)
	return word
}

// Good is a value of a schema: its example, if it has one.
func (d *Document) Good(s *Schema) any {
	s = d.schema(s)
	switch {
	case len(s.OneOf) > 0:
		return d.Good(s.OneOf[0])
	case len(s.Examples) > 0:
		return s.Examples[0]
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.kind() == "object":
		v := map[string]any{}
		for name, property := range s.Properties {
			v[name] = d.Good(property)
		}
		return v
	case s.kind() == "array":
		return []any{d.Good(s.Items)}
	case s.kind() == "integer":
		if s.Minimum != nil {
			return *s.Minimum
		}
		return float64(1)
	case s.kind() == "boolean":
		return true
	case s.Format == "date-time":
		return "2026-03-01T12:00:00Z"
	}
	return "abc"
}

// Good is a good request. Optional query parameters are left out.
func (o *Operation) Good(d *Document) Request {
	r := Request{Method: o.Method, Path: o.Path, Header: map[string]string{}}
	query := url.Values{}
	for _, p := range o.Parameters {
		value := text(d.Good(p.Schema))
		switch p.In {
		case "path":
			r.Path = strings.ReplaceAll(r.Path, "{"+p.Name+"}", url.PathEscape(value))
		case "query":
			if p.Required {
				query.Set(p.Name, value)
			}
		case "header":
			if p.Required || p.Name == "Idempotency-Key" {
				r.Header[p.Name] = value
			}
		}
	}
	if len(query) > 0 {
		r.Path += "?" + query.Encode()
	}
	if s := o.body(); s != nil {
		r.Body = d.Good(s)
	}
	return r
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return fmt.Sprintf("%.0f", v)
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = text(item)
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

func (o *Operation) body() *Schema {
	if o.RequestBody == nil {
		return nil
	}
	s := o.RequestBody.Content["application/json"].Schema
	if s != nil && s.Format == "binary" {
		return nil
	}
	return s
}

// Bad is a bad request.
type Bad struct {
	What    string // is wrong with it
	Names   string // what the problem must name
	Request Request
}

// Bad are the ways in which a route's request can be wrong.
func (o *Operation) Bad(d *Document) []Bad {
	bad := o.badParameters(d)
	if s := o.body(); s != nil {
		bad = append(bad, o.badBodies(d, s)...)
	}
	return bad
}

func (o *Operation) badParameters(d *Document) []Bad {
	var bad []Bad
	add := func(what, names string, change func(*Request)) {
		r := o.Good(d)
		change(&r)
		bad = append(bad, Bad{What: what, Names: names, Request: r})
	}
	ask := func(query string) func(*Request) {
		return func(r *Request) {
			if strings.Contains(r.Path, "?") {
				r.Path += "&" + query
			} else {
				r.Path += "?" + query
			}
		}
	}
	add("unknown parameter", "query.nonsense", ask("nonsense=1"))
	add("half a percent sign", "query", ask("nonsense=%4"))
	for _, p := range o.Parameters {
		s := d.schema(p.Schema)
		good := url.QueryEscape(text(d.Good(s)))
		switch p.In {
		case "path":
			segment := func(value string) func(*Request) {
				return func(r *Request) {
					fresh := o.Path
					for _, other := range o.Parameters {
						if other.In == "path" {
							v := text(d.Good(other.Schema))
							if other.Name == p.Name {
								v = value
							}
							fresh = strings.ReplaceAll(fresh, "{"+other.Name+"}", url.PathEscape(v))
						}
					}
					_, query, _ := strings.Cut(r.Path, "?")
					r.Path = strings.TrimSuffix(fresh+"?"+query, "?")
				}
			}
			add("a space", "path."+p.Name, segment("a b"))
			add("bad UTF-8", "path."+p.Name, segment("a\xff"))
			add("a NUL", "path."+p.Name, segment("a\x00b"))
			add("too long", "path."+p.Name, segment(strings.Repeat("a", 5000)))
		case "query":
			if p.Required {
				add("missing", "query."+p.Name, func(r *Request) { r.Path = without(r.Path, p.Name) })
			}
			replace := func(value string) func(*Request) {
				return func(r *Request) { r.Path = without(r.Path, p.Name); ask(p.Name + "=" + value)(r) }
			}
			add("empty", "query."+p.Name, replace(""))
			add("bad UTF-8", "query."+p.Name, replace("%ff"))
			add("a control character", "query."+p.Name, replace("%00"))
			if s.kind() != "array" {
				add("twice", "query."+p.Name, replace(good+"&"+p.Name+"="+good))
			}
			for what, value := range badTexts(s) {
				add(what, "query."+p.Name, replace(url.QueryEscape(value)))
			}
		case "header":
			if p.Required {
				add("missing", "header."+p.Name, func(r *Request) { r.Header[p.Name] = "" })
			}
			set := func(value string) func(*Request) { return func(r *Request) { r.Header[p.Name] = value } }
			switch p.Name {
			case "Idempotency-Key":
				add("not a UUID", "header."+p.Name, set("nonsense"))
				add("a UUID of version 4", "header."+p.Name, set("0d9a3f3e-7f6d-4a0c-9f0b-6a1f2e3d4c5b"))
				add("too long", "header."+p.Name, set(strings.Repeat("a", 500)))
			case "If-Match":
				for _, value := range []string{"12", `"x"`, `W/"12"`, `"12", "13"`, `"-1"`, `"99999999999999999999"`, `"012"`, `"`} {
					add("not a version: "+value, "header."+p.Name, set(value))
				}
			}
		}
	}
	return bad
}

func without(path, name string) string {
	base, query, _ := strings.Cut(path, "?")
	values, _ := url.ParseQuery(query)
	values.Del(name)
	if len(values) == 0 {
		return base
	}
	return base + "?" + values.Encode()
}

// badTexts are bad values of a parameter, by what is wrong with them.
func badTexts(s *Schema) map[string]string {
	bad := map[string]string{}
	if s.kind() == "array" {
		s = s.Items
	}
	switch {
	case s.kind() == "integer":
		bad["a word"], bad["a fraction"], bad["overflowing"] = "x", "1.5", "99999999999999999999"
		if s.Minimum != nil {
			bad["too small"] = fmt.Sprintf("%.0f", *s.Minimum-1)
		}
		if s.Maximum != nil {
			bad["too large"] = fmt.Sprintf("%.0f", *s.Maximum+1)
		}
	case s.kind() == "boolean":
		bad["a word"], bad["a number"] = "perhaps", "1"
	case s.Format == "date-time":
		bad["a word"], bad["a date"], bad["a thirteenth month"] = "yesterday", "2026-03-01", "2026-13-01T00:00:00Z"
		bad["the zero time"], bad["before 1970"], bad["after 9999"] = "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00"
	case len(s.Enum) > 0:
		bad["none of the possible"] = "nonsense"
	case s.Pattern != "":
		bad["does not match"] = "{ }"
	}
	if s.MaxLength != nil && s.kind() == "string" {
		bad["too long"] = strings.Repeat("a", *s.MaxLength+1)
	}
	return bad
}

func (o *Operation) badBodies(d *Document, s *Schema) []Bad {
	var bad []Bad
	whole := func(what, names string, body any) {
		r := o.Good(d)
		r.Body = body
		bad = append(bad, Bad{What: what, Names: names, Request: r})
	}
	good, _ := json.Marshal(d.Good(s))
	if o.RequestBody.Required {
		whole("missing", "body", nil)
	}
	whole("not JSON", "body", "{")
	whole("nothing but space", "body", "  ")
	whole("a list", "body", "[]")
	whole("a word", "body", `"x"`)
	whole("goes on", "body", string(good)+"{}")
	whole("bad UTF-8 in a name", "body", strings.Replace(string(good), "{", "{\"\xff\":1,", 1))
	if strings.Contains(string(good), `":"`) {
		whole("bad UTF-8 in a value", "body", strings.Replace(string(good), `":"`, "\":\"\xff", 1))
		whole("half a rune in a value", "body", strings.Replace(string(good), `":"`, "\":\"\xe2\x82", 1))
	}
	whole("huge", "body", `{"x":"`+strings.Repeat("a", 2<<20)+`"}`)
	whole("deep", "body", strings.Repeat(`{"x":`, 5000)+"1"+strings.Repeat("}", 5000))
	r := o.Good(d)
	r.Body = string(good)
	r.Header["Content-Type"] = "text/plain"
	bad = append(bad, Bad{What: "plain text", Names: "header.Content-Type", Request: r})
	r = o.Good(d)
	r.Body, r.Header["Content-Encoding"] = string(good), "gzip"
	bad = append(bad, Bad{What: "compressed", Names: "header.Content-Encoding", Request: r})

	for _, m := range d.mutants("body", s, d.Good(s)) {
		r := o.Good(d)
		r.Body = m.value
		if m.raw != "" {
			r.Body = m.raw
		}
		bad = append(bad, Bad{What: m.what, Names: m.names, Request: r})
	}
	return bad
}

// number is a number that is written as it stands.
type number string

// MarshalJSON writes it.
func (n number) MarshalJSON() ([]byte, error) { return []byte(n), nil }

type mutant struct {
	what, names string
	value       any
	raw         string
}

// mutants are bad values of a schema, each made from a good one.
func (d *Document) mutants(at string, s *Schema, good any) []mutant {
	s = d.schema(s)
	var bad []mutant
	add := func(what string, value any) { bad = append(bad, mutant{what: what, names: at, value: value}) }
	if len(s.OneOf) > 0 {
		for _, one := range s.OneOf {
			if d.schema(one).kind() == "object" {
				bad = append(bad, d.mutants(at, one, good)...)
			} else {
				bad = append(bad, d.mutants(at, one, d.Good(one))...)
			}
		}
		return slices.DeleteFunc(bad, func(m mutant) bool { // what is wrong for one form may be right for another
			return m.names == at && (m.what == "a word" || m.what == "an object")
		})
	}
	switch s.kind() {
	case "object":
		members, _ := good.(map[string]any)
		change := func(what, names string, f func(map[string]any)) {
			copied := maps.Clone(members)
			f(copied)
			bad = append(bad, mutant{what: what, names: names, value: copied})
		}
		add("a number", 7)
		add("a list", []any{})
		if s.Closed == false {
			change("unknown member", at+".nonsense", func(m map[string]any) { m["nonsense"] = 1 })
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			change("capitals: "+name, at+"."+strings.ToUpper(name), func(m map[string]any) { m[strings.ToUpper(name)] = m[name]; delete(m, name) })
			if slices.Contains(s.Required, name) {
				change("missing: "+name, at+"."+name, func(m map[string]any) { delete(m, name) })
				change("null: "+name, at+"."+name, func(m map[string]any) { m[name] = nil })
			}
			for _, inner := range d.mutants(at+"."+name, s.Properties[name], members[name]) {
				change(inner.what, inner.names, func(m map[string]any) { m[name] = inner.value })
			}
			if at == "body" {
				raw, _ := json.Marshal(members)
				value, _ := json.Marshal(members[name])
				bad = append(bad, mutant{what: "twice: " + name, names: at + "." + name, raw: fmt.Sprintf(`{%q:%s,%s`, name, value, raw[1:])})
			}
		}
	case "array":
		add("a number", 7)
		if s.MaxItems != nil {
			add("too many", slices.Repeat([]any{d.Good(s.Items)}, *s.MaxItems+1))
		}
		for _, inner := range d.mutants(at+"[0]", s.Items, d.Good(s.Items)) {
			bad = append(bad, mutant{what: inner.what, names: inner.names, value: []any{inner.value}})
		}
	case "integer":
		for what, value := range map[string]any{
			"a word": "x", "a fraction": number("1.5"), "an exponent": number("1e2"), "beyond 64 bits": number("9223372036854775808"),
			"beyond floats": number("1e999"), "true": true,
		} {
			add(what, value)
		}
		if s.Minimum != nil {
			add("too small", *s.Minimum-1)
			add("far too small", number("-9223372036854775808"))
		}
		if s.Maximum != nil {
			add("too large", *s.Maximum+1)
			add("far too large", number(fmt.Sprint(math.MaxInt64)))
		}
	case "boolean":
		add("a word", "x")
	case "string":
		add("a number", 7)
		add("an object", map[string]any{})
		for what, value := range badTexts(s) {
			add(what, value)
		}
		if s.MinLength != nil && *s.MinLength > 0 {
			add("empty", "")
		}
	}
	return bad
}
