package query

import (
	"errors"
	"time"

	"carryon/projector"
)

// Orders of a list.
const (
	OrderNewest = "newest"
	OrderOldest = "oldest"
)

// maxValueBytes is the longest value that a filter may have.
const maxValueBytes = 256

func checkOrder(order string) error {
	if order != "" && order != OrderNewest && order != OrderOldest {
		return fieldError("order", "is %q; newest and oldest are possible", order)
	}
	return nil
}

// Years that a range may lie in: in every time zone, and an hour to each side, it can be written in RFC 3339.
const (
	firstYear = 1970
	lastYear  = 9998
)

func checkRange(from, to time.Time) error {
	if err := errors.Join(checkYear("from", from), checkYear("to", to)); err != nil {
		return err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return fieldError("to", "is not after from")
	}
	return nil
}

func checkYear(field string, at time.Time) error {
	if year := at.UTC().Year(); !at.IsZero() && (year < firstYear || year > lastYear) {
		return fieldError(field, "is in the year %d; %d to %d are possible", year, firstYear, lastYear)
	}
	return nil
}

// checkWords refuses a question of signs only: they are left out of words, and what is left would match everything.
func checkWords(question string) error {
	if question != "" && len(projector.Words(question)) == 0 {
		return fieldError("q", "is %q, which holds no letter and no digit; leave it out to see everything", question)
	}
	return nil
}

func checkLength(field, value string) error {
	if len(value) > maxValueBytes {
		return fieldError(field, "is %d bytes long, at most %d are allowed", len(value), maxValueBytes)
	}
	return nil
}

func checkValues(field string, values []string) error {
	if len(values) > MaxFilterValues {
		return fieldError(field, "has %d values, at most %d are allowed", len(values), MaxFilterValues)
	}
	for _, v := range values {
		if v == "" {
			return fieldError(field, "holds an empty value")
		}
		if err := checkLength(field, v); err != nil {
			return err
		}
	}
	return nil
}

func checkOneOf(field, value string, possible ...string) error {
	if value == "" {
		return nil
	}
	for _, p := range possible {
		if value == p {
			return nil
		}
	}
	return fieldError(field, "is %q; possible are %s", value, list(possible))
}

// list is "a, b and c".
func list(words []string) string {
	out := ""
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			out += " and "
		default:
			out += ", "
		}
		out += w
	}
	return out
}
