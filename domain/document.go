package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Documents are read field by field, so that every mistake is reported at once and by its path: an unknown field, a
// wrong type, a number out of range.

// DocumentErrors are all mistakes of a document.
type DocumentErrors []*FieldError

func (e DocumentErrors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the mistakes one by one.
func (e DocumentErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, p := range e {
		errs[i] = p
	}
	return errs
}

// problems gathers mistakes.
type problems struct{ list DocumentErrors }

func (p *problems) add(field, problem string) {
	p.list = append(p.list, &FieldError{Field: field, Problem: problem})
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return p.list
}

// object is a JSON object that is being read.
type object struct {
	at     string // its path, empty for the document
	fields map[string]json.RawMessage
	read   map[string]bool
	p      *problems
}

// openDocument begins to read a document.
func openDocument(document []byte, p *problems) *object {
	if err := checkJSON(document); err != nil {
		p.add("document", err.Error())
		return nil
	}
	return openObject("", document, p)
}

// checkJSON says what keeps the bytes from being one JSON value without a key twice.
func checkJSON(document []byte) error {
	if len(bytes.TrimSpace(document)) == 0 {
		return errors.New("is empty")
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	if err := checkValue(decoder, maxDepth); err != nil {
		return fmt.Errorf("is not valid JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("has something after its end")
	}
	return nil
}

// maxDepth is how deep a document may be nested. The deepest that means anything is 4.
const maxDepth = 16

func checkValue(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if depth == 0 {
		return fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	delim, _ := token.(json.Delim)
	switch delim {
	case '{':
		seen := map[string]bool{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name := fmt.Sprint(key)
			if seen[name] {
				return fmt.Errorf("%q stands twice in one object", name)
			}
			seen[name] = true
			if err := checkValue(d, depth-1); err != nil {
				return err
			}
		}
		_, err = d.Token()
	case '[':
		for d.More() {
			if err := checkValue(d, depth-1); err != nil {
				return err
			}
		}
		_, err = d.Token()
	}
	return err
}

func openObject(at string, raw json.RawMessage, p *problems) *object {
	o := &object{at: at, read: map[string]bool{}, p: p}
	if err := json.Unmarshal(raw, &o.fields); err != nil || o.fields == nil {
		name := at
		if name == "" {
			name = "document"
		}
		p.add(name, "is not an object")
		return nil
	}
	return o
}

func (o *object) path(field string) string {
	if field == "" {
		field = `""`
	}
	if o.at == "" {
		return field
	}
	return o.at + "." + field
}

// take is the field's bytes; false when it is absent.
func (o *object) take(field string) (json.RawMessage, bool) {
	o.read[field] = true
	raw, ok := o.fields[field]
	return raw, ok
}

// close reports what nobody asked for.
func (o *object) close() {
	for _, field := range slices.Sorted(maps.Keys(o.fields)) {
		if !o.read[field] {
			o.p.add(o.path(field), "is unknown; known are "+strings.Join(slices.Sorted(maps.Keys(o.read)), ", "))
		}
	}
}

// object opens a nested object; nil when it is absent or none.
func (o *object) object(field string) *object {
	raw, ok := o.take(field)
	if !ok {
		return nil
	}
	return openObject(o.path(field), raw, o.p)
}

// each reads the nested objects of a map, in the order of their names.
func (o *object) each(field string, read func(name string, o *object)) {
	m := o.object(field)
	if m == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m.fields)) {
		if err := CheckID(m.path(name), name); err != nil {
			m.p.add(m.path(name), "is no id: letters, digits and -._~:@ are allowed, at most 128")
		}
		if nested := m.object(name); nested != nil {
			read(name, nested)
			nested.close()
		}
	}
}

func (o *object) value(field string, into any, want string) bool {
	raw, ok := o.take(field)
	if !ok {
		return false
	}
	if string(raw) == "null" {
		o.p.add(o.path(field), "is null; wanted "+want+", or leave it out")
		return false
	}
	if err := json.Unmarshal(raw, into); err != nil {
		o.p.add(o.path(field), fmt.Sprintf("is %.60s; wanted %s", raw, want))
		return false
	}
	return true
}

func (o *object) text(field string) string {
	var s string
	o.value(field, &s, "a text")
	return s
}

// filled is a text that must be there.
func (o *object) filled(field string) string {
	var s string
	_, given := o.fields[field]
	if read := o.value(field, &s, "a text"); strings.TrimSpace(s) == "" && (read || !given) {
		o.p.add(o.path(field), "is missing or empty")
	}
	return s
}

func (o *object) texts(field string) []string {
	var s []string
	o.value(field, &s, "a list of texts")
	return s
}

func (o *object) number(field string, low, high int64) (int64, bool) {
	var n int64
	if !o.value(field, &n, fmt.Sprintf("a whole number from %d to %d", low, high)) {
		return 0, false
	}
	if n < low || n > high {
		o.p.add(o.path(field), fmt.Sprintf("is %d; wanted a whole number from %d to %d", n, low, high))
		return 0, false
	}
	return n, true
}

func (o *object) flag(field string) *bool {
	var b bool
	if !o.value(field, &b, "true or false") {
		return nil
	}
	return &b
}

func (o *object) span(field string) Span {
	var text string
	if !o.value(field, &text, `a duration such as "30d" or "48h"`) {
		return 0
	}
	s, err := ParseSpan(text)
	if err != nil {
		o.p.add(o.path(field), err.Error())
	}
	return s
}

// spanUpTo is a span that may not be longer than the books remember.
func (o *object) spanUpTo(field string, longest Seconds) Span {
	s := o.span(field)
	if s.Seconds() > longest {
		o.p.add(o.path(field), fmt.Sprintf("is %q; the books remember %s", s, Span(longest)))
		return 0
	}
	return s
}

// qualities are those that may be downloaded; absent: all.
func (o *object) qualities() []string {
	qualities := o.texts("qualities")
	if qualities != nil && len(qualities) == 0 {
		o.p.add(o.path("qualities"), "is empty; leave it out to allow all")
	}
	for i, q := range qualities {
		if !slices.Contains(Qualities(), q) {
			o.p.add(fmt.Sprintf("%s[%d]", o.path("qualities"), i), fmt.Sprintf("is %q; wanted one of %s", q, strings.Join(Qualities(), ", ")))
		}
	}
	return qualities
}

// choice is a text that must be one of a few; absent it is the first.
func (o *object) choice(field string, known ...string) string {
	if _, ok := o.fields[field]; !ok {
		o.read[field] = true
		return known[0]
	}
	return o.optionalChoice(field, known...)
}

// optionalChoice is a text that must be one of a few, empty when it is absent.
func (o *object) optionalChoice(field string, known ...string) string {
	if _, ok := o.fields[field]; !ok {
		o.read[field] = true
		return ""
	}
	var s string
	if o.value(field, &s, "a text") && !slices.Contains(known, s) {
		o.p.add(o.path(field), fmt.Sprintf("is %q; wanted one of %s", s, strings.Join(known, ", ")))
	}
	return s
}

func mustParse[T any](document T, err error) T {
	if err != nil {
		panic("an embedded document is wrong: " + err.Error()) // found by the first test that runs
	}
	return document
}

// canonical is the one form of a document that is recorded and compared.
func canonical(document any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		panic("a document can't be written: " + err.Error()) // documents hold nothing that can't
	}
	return bytes.TrimSpace(b.Bytes())
}
