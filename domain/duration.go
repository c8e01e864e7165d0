package domain

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// MaxSeconds is the longest duration that a document may name: ten years.
const MaxSeconds Seconds = 3650 * 24 * 60 * 60

// Span is a duration in a document, as in "30d", "48h", "15m", "90s" or "1y" (365 days). 0 stands for an absent one.
type Span Seconds

// Seconds is the span as a duration of a licence.
func (s Span) Seconds() Seconds { return Seconds(s) }

// ParseSpan reads a duration. Zero and negative ones, and those beyond ten years, are refused.
func ParseSpan(text string) (Span, error) {
	const want = `a duration such as "30d", "48h", "15m", "90s" or "1y"`
	if text == "" {
		return 0, fmt.Errorf("is empty; wanted %s, or leave it out for unlimited", want)
	}
	number, unit := text[:len(text)-1], text[len(text)-1]
	scale, ok := map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'y': 365 * 86400}[unit]
	if !ok || strings.ContainsAny(number, "+_ ") {
		return 0, fmt.Errorf("is %q; wanted %s", text, want)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil && n != math.MaxInt64 && n != math.MinInt64:
		return 0, fmt.Errorf("is %q; wanted %s", text, want)
	case n == 0 && err == nil:
		return 0, fmt.Errorf("is %q; zero means nothing here: leave it out for unlimited", text)
	case n < 0:
		return 0, fmt.Errorf("is %q; a duration can't be negative", text)
	case n > int64(MaxSeconds)/scale:
		return 0, fmt.Errorf("is %q; the longest is ten years", text)
	}
	return Span(n * scale), nil
}

// String is the form that ParseSpan reads, in the largest unit that fits.
func (s Span) String() string {
	n := int64(s)
	for _, u := range []struct {
		name  string
		scale int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}} {
		if n%u.scale == 0 {
			return strconv.FormatInt(n/u.scale, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "s"
}

// MarshalText writes the span into a document.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
