package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"carryon/command"

	"carryon/api/strictyaml"
)

// A request says what it means or is refused: what would be overlooked, guessed or read twice in two ways is a problem
// that names the place. Unknown names, names given twice, letters of another case, fractions where whole numbers are
// wanted, bad UTF-8, anything after the document. huma checks types, ranges and patterns afterwards.

const maxDepth = 32 // of nested JSON

// readBody reads a body of at most that many bytes, and checks its form.
func readBody(w http.ResponseWriter, r *http.Request, s *Spec, patience time.Duration) ([]byte, *Problem) {
	most := s.MaxBody
	if r.ContentLength > most {
		return nil, tooLarge(most)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience)) // a writer without deadlines (in tests) does without
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	// net/http lifts the deadline once the body is read to its end, and needs it while it looks for the rest of one that
	// was not.
	switch timeout, _ := errors.AsType[interface {
		error
		Timeout() bool
	}](err); {
	case err != nil && timeout != nil && timeout.Timeout():
		return nil, New(TimedOut, "the body did not arrive within %s", patience).Because(err).header("Connection", "close")
	case err != nil:
		return nil, Field(Malformed, "body", "ended before it was complete").Because(err)
	case int64(len(body)) > most:
		return nil, tooLarge(most)
	case len(body) == 0:
		return nil, nil
	}
	wanted := []string{"application/json"}
	if s.YAML {
		wanted = append(wanted, strictyaml.MediaType)
	}
	if p := checkMediaType(r.Header, wanted); p != nil {
		return nil, p
	}
	if !utf8.Valid(body) {
		return nil, Field(Malformed, "body", "is not UTF-8")
	}
	return body, nil
}

func tooLarge(most int64) *Problem {
	return Field(TooLarge, "body", "is larger than %d bytes", most).header("Connection", "close")
}

func isYAML(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == strictyaml.MediaType
}

func checkMediaType(h http.Header, wanted []string) *Problem {
	given, kinds := h.Get("Content-Type"), strings.Join(wanted, " or ")
	kind, parameters, err := mime.ParseMediaType(given)
	charset := parameters["charset"]
	switch {
	case given == "":
		return Field(UnsupportedMediaType, "header.Content-Type", "is missing; %s is wanted", kinds)
	case err != nil || !slices.Contains(wanted, kind) || charset != "" && !strings.EqualFold(charset, "utf-8"):
		return Field(UnsupportedMediaType, "header.Content-Type", "is %q; %s is wanted", clip(given), kinds)
	case h.Get("Content-Encoding") != "" && !strings.EqualFold(h.Get("Content-Encoding"), "identity"):
		return Field(UnsupportedMediaType, "header.Content-Encoding", "is %q; bodies are read as they are", clip(h.Get("Content-Encoding")))
	}
	return nil
}

// parseJSON reads one JSON document, in which no object has a member twice. Numbers stay as they were written.
func parseJSON(body []byte) (any, *Problem) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	r := jsonReader{tokens: d, at: make([]step, 0, 8)}
	v, p := r.value()
	if p != nil {
		return nil, p
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, Field(Malformed, "body", "goes on after the JSON document, at byte %d", d.InputOffset())
	}
	return v, nil
}

// jsonReader reads a document and knows where in it it is.
type jsonReader struct {
	tokens *json.Decoder
	at     []step
}

// step is a member's name, or an index when there is none.
type step struct {
	name  string
	index int
	named bool
}

func (r *jsonReader) value() (any, *Problem) {
	token, err := r.tokens.Token()
	switch {
	case err != nil:
		return nil, r.notJSON(err)
	case len(r.at) > maxDepth:
		return nil, Field(Malformed, r.where(), "is nested deeper than %d levels", maxDepth)
	case token == json.Delim('['):
		return r.list()
	case token == json.Delim('{'):
		return r.object()
	}
	return token, nil
}

func (r *jsonReader) list() (any, *Problem) {
	values := []any{}
	r.at = append(r.at, step{})
	for r.tokens.More() {
		r.at[len(r.at)-1].index = len(values)
		v, p := r.value()
		if p != nil {
			return nil, p
		}
		values = append(values, v)
	}
	return values, r.end()
}

func (r *jsonReader) object() (any, *Problem) {
	members := map[string]any{}
	r.at = append(r.at, step{named: true})
	for r.tokens.More() {
		token, err := r.tokens.Token()
		if err != nil {
			return nil, r.notJSON(err)
		}
		name, _ := token.(string) // the decoder takes nothing else here
		r.at[len(r.at)-1].name = name
		if _, twice := members[name]; twice {
			return nil, Field(Malformed, r.where(), "is given twice")
		}
		v, p := r.value()
		if p != nil {
			return nil, p
		}
		members[name] = v
	}
	return members, r.end()
}

// end reads the bracket that ends a list or an object.
func (r *jsonReader) end() *Problem {
	r.at = r.at[:len(r.at)-1]
	if _, err := r.tokens.Token(); err != nil {
		return r.notJSON(err)
	}
	return nil
}

// where is the place as a problem names it: body.reason.code, body.countries[1].
func (r *jsonReader) where() string {
	place := "body"
	for _, s := range r.at {
		if s.named {
			place += "." + clip(s.name)
		} else {
			place += "[" + strconv.Itoa(s.index) + "]"
		}
	}
	return place
}

func (r *jsonReader) notJSON(err error) *Problem {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return Field(Malformed, "body", "is not JSON at byte %d: %v", syntax.Offset, syntax)
	}
	return Field(Malformed, "body", "is not JSON: it ends at byte %d before it is complete", r.tokens.InputOffset())
}

// checkBody tells everything that is wrong with a document by its schema.
func checkBody(registry huma.Registry, s *huma.Schema, v any) *Problem {
	p := New(Invalid, "")
	checkValue(registry, s, "body", v, p)
	validate(registry, s, "body", plain(v), p)
	if len(p.Errors) == 0 {
		return nil
	}
	return p
}

// checkValue looks for what huma lets pass: members whose names differ by case, and whole numbers written with a
// fraction, with an exponent or beyond 64 bits. Of alternatives it takes the one that the value is meant to be.
func checkValue(registry huma.Registry, s *huma.Schema, at string, v any, p *Problem) {
	if s = resolve(registry, s); s == nil || v == nil {
		return
	}
	if len(s.OneOf) > 0 {
		one := meant(registry, s.OneOf, v)
		if one == nil {
			p.add(at, "is %s", forms(registry, s.OneOf))
			return
		}
		checkValue(registry, one, at, v, p)
		validate(registry, one, at, plain(v), p)
		return
	}
	switch v := v.(type) {
	case map[string]any:
		if s.Type != huma.TypeObject {
			return
		}
		for _, name := range sortedKeys(v) {
			if member, known := s.Properties[name]; known {
				checkValue(registry, member, at+"."+name, v[name], p)
				if one := resolve(registry, member); v[name] == nil && len(one.OneOf) > 0 && slices.Contains(s.Required, name) {
					p.add(at+"."+name, "is null, %s", forms(registry, one.OneOf))
				}
			} else if open, isBool := s.AdditionalProperties.(bool); isBool && !open {
				p.add(at+"."+clip(name), "is not known here; %s", knownWords(sortedKeys(s.Properties)))
			}
		}
	case []any:
		for i, item := range v {
			checkValue(registry, s.Items, fmt.Sprintf("%s[%d]", at, i), item, p)
		}
	case string:
		checkFormat(s, at, v, p)
	case json.Number:
		if s.Type != huma.TypeInteger {
			return
		}
		if _, err := strconv.ParseInt(v.String(), 10, 64); err != nil {
			p.add(at, "is %s; a whole number is wanted%s", clip(v.String()), rangeOf(s))
		}
	}
}

func resolve(registry huma.Registry, s *huma.Schema) *huma.Schema {
	for s != nil && s.Ref != "" {
		s = registry.SchemaFromRef(s.Ref)
	}
	return s
}

// meant is the alternative of the value's own type; nil: it can't be meant as any of them.
func meant(registry huma.Registry, alternatives []*huma.Schema, v any) *huma.Schema {
	for _, s := range alternatives {
		one := resolve(registry, s)
		_, isString := v.(string)
		_, isObject := v.(map[string]any)
		if isString && one.Type == huma.TypeString || isObject && one.Type == huma.TypeObject {
			return one
		}
	}
	return nil
}

// forms says what a value may be that may be an object or a string, and is neither.
func forms(registry huma.Registry, alternatives []*huma.Schema) string {
	var words []string
	for _, s := range alternatives {
		switch s = resolve(registry, s); {
		case s.Type == huma.TypeObject:
			words = append(words, "an object with "+strings.Join(sortedKeys(s.Properties), ", "))
		case len(s.Enum) > 0:
			words = append(words, "one of the words "+listed(s.Enum))
		default:
			words = append(words, "a string ("+s.Description+")")
		}
	}
	return "neither " + strings.Join(words, " nor ")
}

func listed(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ", ")
}

// plain is a value with its numbers as huma reads them.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, member := range v {
			m[name] = plain(member)
		}
		return m
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = plain(item)
		}
		return items
	case json.Number:
		f, _ := v.Float64() // beyond the range: infinite, which no range allows
		return f
	}
	return v
}

// validate has huma check a value, and adds what checkValue has not found already.
func validate(registry huma.Registry, s *huma.Schema, at string, v any, p *Problem) {
	path, result := huma.NewPathBuffer(nil, 0), &huma.ValidateResult{}
	path.Push(at)
	huma.Validate(registry, s, path, huma.ModeWriteToServer, v, result)
	for _, err := range result.Errors {
		detail, ok := errors.AsType[*huma.ErrorDetail](err)
		if !ok || detail.Message == validation.MsgUnexpectedProperty || detail.Message == validation.MsgExpectedMatchExactlyOneSchema && p.names(detail.Location) {
			continue
		}
		field, message := inWords(detail)
		if !slices.ContainsFunc(p.Errors, func(f FieldProblem) bool { return f.Field == field }) {
			p.add(field, "%s", message)
		}
	}
}

// names tells whether the problem is about a place or about something in it already.
func (p *Problem) names(at string) bool {
	return slices.ContainsFunc(p.Errors, func(f FieldProblem) bool {
		return f.Field == at || strings.HasPrefix(f.Field, at+".") || strings.HasPrefix(f.Field, at+"[")
	})
}

func knownWords(names []string) string {
	if len(names) == 0 {
		return "nothing may be given"
	}
	return "known are " + strings.Join(names, ", ")
}

func rangeOf(s *huma.Schema) string {
	if s.Minimum == nil || s.Maximum == nil {
		return ""
	}
	return fmt.Sprintf(", from %.0f to %.0f", *s.Minimum, *s.Maximum)
}

// checkQuery checks the names and the form of query parameters, and brings lists into the one form that huma reads.
// Every list may be given as one parameter with commas or as several parameters; those whose values may hold commas
// only as several.
func checkQuery(op *huma.Operation, u *url.URL) (string, *Problem) {
	if u.RawQuery == "" {
		return "", nil
	}
	given, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", Field(Malformed, "query", "can't be read: a percent sign without two hexadecimal digits, or a semicolon")
	}
	known := map[string]*huma.Param{}
	for _, parameter := range op.Parameters {
		if parameter.In == "query" {
			known[parameter.Name] = parameter
		}
	}
	p := New(Invalid, "")
	for _, name := range sortedKeys(given) {
		parameter, values := known[name], given[name]
		switch {
		case parameter == nil:
			p.add("query."+clip(name), "is not known here; %s", knownWords(sortedKeys(known)))
		case slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) }):
			p.add("query."+name, "is not UTF-8")
		case slices.ContainsFunc(values, func(v string) bool { return strings.ContainsFunc(v, isControl) }):
			p.add("query."+name, "holds a control character")
		case slices.Contains(values, ""):
			p.add("query."+name, "is empty; leave it out instead")
		case parameter.Schema.Type == huma.TypeArray:
			if parameter.Explode == nil || !*parameter.Explode {
				given[name] = []string{strings.Join(values, ",")}
			}
			for i, value := range strings.Split(given[name][0], ",") {
				checkFormat(parameter.Schema.Items, fmt.Sprintf("query.%s[%d]", name, i), value, p)
			}
		case len(values) > 1:
			p.add("query."+name, "is given %d times", len(values))
		case parameter.Schema.Type == huma.TypeBoolean && values[0] != "true" && values[0] != "false":
			p.add("query."+name, "is %q; true and false are possible", clip(values[0]))
		default:
			checkFormat(parameter.Schema, "query."+name, values[0], p)
		}
	}
	if len(p.Errors) > 0 {
		return "", p
	}
	return given.Encode(), nil
}

// Formats of a schema.
const (
	formatTime    = "date-time"
	formatCountry = "country"
)

// checkFormat looks for texts of the right form that mean nothing. The form is huma's to check.
func checkFormat(s *huma.Schema, place, text string, p *Problem) {
	switch s.Format {
	case formatTime:
		checkTime(place, text, p)
	case formatCountry:
		if len(text) == 2 && strings.ToUpper(text) == text && !command.IsCountry(text) {
			p.add(place, "is %q, which is no country of ISO 3166", clip(text))
		}
	}
}

// Years that a time may lie in. The first of them keeps the zero time out, which is taken for no time at all everywhere
// behind this; a time after the last can't be written in RFC 3339.
const (
	firstYear = 1970
	lastYear  = 9999
)

// checkTime refuses a time that nobody can mean. That it is a time at all is huma's to check.
func checkTime(place, text string, p *Problem) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return
	}
	if year := at.UTC().Year(); year < firstYear || year > lastYear {
		p.add(place, "is in the year %d; %d to %d are possible", year, firstYear, lastYear)
	}
}

// checkHeaders refuses a header that is given twice, where only one of its values would be read.
func checkHeaders(op *huma.Operation, h http.Header) *Problem {
	for _, parameter := range op.Parameters {
		if n := len(h.Values(parameter.Name)); parameter.In == "header" && n > 1 {
			return Field(Malformed, "header."+parameter.Name, "is given %d times", n)
		}
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// clip keeps a caller's nonsense short and printable in an answer.
func clip(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
