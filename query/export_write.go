package query

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteCSV writes a header and the rows (RFC 4180), and returns how many rows were written. Times are RFC 3339 in UTC;
// what is absent is empty. A text that a spreadsheet would take for a formula gets an apostrophe in front. written is
// told the number now and then; nil: nobody is.
func (e Exported) WriteCSV(w io.Writer, written func(rows int64)) (int64, error) {
	out := csv.NewWriter(w)
	if err := out.Write(e.Columns); err != nil {
		return 0, fmt.Errorf("write the header: %w", err)
	}
	record := make([]string, len(e.Columns))
	n, err := e.write(written, func(row Row) error {
		for i, cell := range row {
			record[i] = csvCell(cell)
		}
		return out.Write(record)
	})
	if err != nil {
		return n, err
	}
	out.Flush()
	return n, out.Error()
}

// WriteNDJSON writes a JSON object a line, with the columns in their order, and returns how many rows were written. What
// is absent is null.
func (e Exported) WriteNDJSON(w io.Writer, written func(rows int64)) (int64, error) {
	out := bufio.NewWriter(w)
	names := make([][]byte, len(e.Columns))
	for i, column := range e.Columns {
		var err error
		if names[i], err = json.Marshal(column); err != nil {
			return 0, fmt.Errorf("write the name of column %s: %w", column, err)
		}
	}
	var line []byte
	n, err := e.write(written, func(row Row) error {
		line = append(line[:0], '{')
		for i, cell := range row {
			if i > 0 {
				line = append(line, ',')
			}
			value, err := json.Marshal(cell)
			if err != nil {
				return fmt.Errorf("write column %s: %w", e.Columns[i], err)
			}
			line = append(append(append(line, names[i]...), ':'), value...)
		}
		_, err := out.Write(append(line, '}', '\n'))
		return err
	})
	if err != nil {
		return n, err
	}
	return n, out.Flush()
}

const tellEvery = 1000 // rows

func (e Exported) write(written func(int64), one func(Row) error) (n int64, err error) {
	for row, err := range e.Rows {
		if err == nil {
			err = one(row)
		}
		if err != nil {
			return n, fmt.Errorf("after row %d: %w", n, err)
		}
		if n++; written != nil && n%tellEvery == 0 {
			written(n)
		}
	}
	if written != nil {
		written(n)
	}
	return n, nil
}

func csvCell(cell any) string {
	switch v := cell.(type) {
	case nil:
		return ""
	case string:
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			return "'" + v
		}
		return v
	case json.RawMessage:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(cell)
}
