package web

import (
	"math"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// huma says what it expected; a problem says what is wrong with the field and what would be right. Messages continue
// the sentence that begins with the field.

const wantedTime = "is not a time in RFC 3339, as in 2026-03-01T12:00:00Z"

var phrases = map[string]string{
	"expected string":                          "is not a string",
	"expected integer":                         "is not a whole number",
	"expected number":                          "is not a number",
	"expected boolean":                         "is neither true nor false",
	"expected array":                           "is not a list",
	"expected object":                          "is not an object",
	"invalid integer":                          "is not a whole number in range",
	"invalid boolean":                          "is neither true nor false",
	"invalid float":                            "is not a number",
	"expected string to be RFC 3339 date-time": wantedTime,
}

var beginnings = []struct{ theirs, ours, end string }{
	{"expected number >= ", "is less than ", ""},
	{"expected number > ", "is not more than ", ""},
	{"expected number <= ", "is more than ", ""},
	{"expected number < ", "is not less than ", ""},
	{"expected length >= ", "is shorter than ", " characters"},
	{"expected length <= ", "is longer than ", " characters"},
	{"expected array length >= ", "has fewer values than ", ""},
	{"expected array length <= ", "has more values than ", ""},
	{"expected string to match pattern ", "does not match ", ""},
	{"expected string to be ", "is not ", ""},
	{"expected value to be one of ", "is none of ", ""},
	{"invalid date/time", wantedTime, "\x00"},
	{"required ", "is missing", "\x00"},
	{"expected value to match exactly one schema", "has none of the forms that are possible here", "\x00"},
}

// inWords is a finding of huma as field and message.
func inWords(d *huma.ErrorDetail) (field, message string) {
	if name, ok := strings.CutPrefix(d.Message, "expected required property "); ok {
		return d.Location + "." + strings.TrimSuffix(name, " to be present"), "is missing"
	}
	if ours, ok := phrases[d.Message]; ok {
		return d.Location, ours
	}
	for _, b := range beginnings {
		rest, ok := strings.CutPrefix(d.Message, b.theirs)
		switch {
		case !ok:
		case b.end == "\x00":
			return d.Location, b.ours
		default:
			return d.Location, b.ours + number(strings.Trim(rest, `"`)) + b.end
		}
	}
	return d.Location, "is wrong: " + d.Message
}

// number writes a number as a person does: huma writes a whole million as 1e+06.
func number(text string) string {
	if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(n, 0) && !math.IsNaN(n) {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return text
}
