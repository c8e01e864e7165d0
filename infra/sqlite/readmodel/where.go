package readmodel

import (
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

func (w *where) add(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

// equal does nothing for an empty value.
func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

// in does nothing for an empty list.
func (w *where) in(column string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	w.add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

// between is [from, to); zero moments are open.
func (w *where) between(column string, from, to time.Time) {
	if !from.IsZero() {
		w.add(column+" >= ?", micros(from))
	}
	if !to.IsZero() {
		w.add(column+" < ?", micros(to))
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
func (w *where) after(column string, seq uint64, oldest bool) (order string) {
	switch {
	case oldest && seq > 0:
		w.add(column+" > ?", int64(seq))
	case seq > 0:
		w.add(column+" < ?", int64(seq))
	}
	if oldest {
		return "ASC"
	}
	return "DESC"
}

// behind continues an export behind a row, of some customers where the filter names them.
func (w *where) behind(q query.ExportAsked, table string) {
	if len(q.Filter.Customer) > 0 {
		streams := make([]string, len(q.Filter.Customer))
		for i, customer := range q.Filter.Customer {
			streams[i] = string(domain.CustomerStream(customer))
		}
		w.in("s.stream", streams)
	}
	if q.AfterStream != "" {
		w.add("s.stream >= ? AND (s.stream > ? OR "+table+".seq > ?)", q.AfterStream, q.AfterStream, int64(q.AfterSeq))
	}
}
