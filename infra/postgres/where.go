package postgres

import (
	"strconv"
	"strings"
	"time"

	"carryon/domain"
	"carryon/query"
)

// where gathers conditions. Values are always parameters; the text holds names of ours only.
type where struct {
	conditions []string
	args       []any
}

// arg makes a value a parameter.
func (w *where) arg(value any) string {
	w.args = append(w.args, value)
	return "$" + strconv.Itoa(len(w.args))
}

func (w *where) add(condition string) { w.conditions = append(w.conditions, condition) }

// compare adds a condition on one value.
func (w *where) compare(column, operator string, value any) {
	w.add(column + " " + operator + " " + w.arg(value))
}

// equal does nothing for an empty value.
func (w *where) equal(column, value string) {
	if value != "" {
		w.compare(column, "=", value)
	}
}

// in does nothing for an empty list.
func (w *where) in(column string, values []string) {
	switch len(values) {
	case 0:
	case 1:
		w.compare(column, "=", values[0])
	default:
		w.add(column + " = ANY (" + w.arg(values) + ")")
	}
}

// between is [from, to); zero moments are open.
func (w *where) between(column string, from, to time.Time) {
	if !from.IsZero() {
		w.compare(column, ">=", micros(from))
	}
	if !to.IsZero() {
		w.compare(column, "<", micros(to))
	}
}

// text is TRUE without conditions.
func (w *where) text() string {
	if len(w.conditions) == 0 {
		return "TRUE"
	}
	return strings.Join(w.conditions, " AND ")
}

// after continues behind a seq, 0 being the beginning, and returns the order that goes with it.
func (w *where) after(seq uint64, oldest bool) (order string) {
	switch {
	case oldest && seq > 0:
		w.compare("seq", ">", int64(seq))
	case seq > 0:
		w.compare("seq", "<", int64(seq))
	}
	if oldest {
		return "ASC"
	}
	return "DESC"
}

// behind continues an export behind a row, of some customers where the filter names them.
func (w *where) behind(q query.ExportAsked) {
	streams := make([]string, len(q.Filter.Customer))
	for i, customer := range q.Filter.Customer {
		streams[i] = string(domain.CustomerStream(customer))
	}
	w.in("stream", streams)
	if q.AfterStream != "" {
		w.add("(stream, seq) > (" + w.arg(string(q.AfterStream)) + ", " + w.arg(int64(q.AfterSeq)) + ")")
	}
}
