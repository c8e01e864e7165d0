package query

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
)

// Parquet needs the type of a column before its first value, so the columns that are not text are named here. Columns
// stand in the order of their names, and every value may be missing; an empty text is written as it is. Row groups are
// small enough that memory stays flat.

const rowsOfGroup = 20_000

// columnType is what a column of any table holds.
func columnType(column string) parquet.Node {
	switch {
	case slices.Contains(numberColumns, column):
		return parquet.Int(64)
	case slices.Contains(truthColumns, column):
		return parquet.Leaf(parquet.BooleanType)
	case slices.Contains(momentColumns, column):
		return parquet.Timestamp(parquet.Microsecond)
	case column == "refusal_rate":
		return parquet.Leaf(parquet.DoubleType)
	case column == "decision":
		return parquet.JSON()
	}
	return parquet.String()
}

var (
	numberColumns = []string{
		"seq", "version", "used", "limit", "devices_used", "devices_limit", "policy_version", "renewals", "reissues", "uses", "uses_left", "active_licenses",
		"value", "group_total", "previous", "group_previous", "decided",
	}
	truthColumns  = []string{"holds_slot", "blocked", "clock_suspect"}
	momentColumns = []string{
		"occurred_at", "recorded_at", "resets_at", "as_of", "registered_at", "removed_at", "last_contact", "issued_at", "renewed_at", "first_play",
		"playable_until", "ended_at", "will_stop_at", "granted_at", "expires_at", "closed_at", "from",
	}
)

// WriteParquet writes the rows as Parquet, compressed with Snappy, and answers how many there were.
func (e Exported) WriteParquet(w io.Writer, written func(rows int64)) (int64, error) {
	group := parquet.Group{}
	for _, column := range e.Columns {
		group[column] = parquet.Optional(parquet.Encoded(columnType(column), &parquet.Plain)) // every reader knows it
	}
	schema := parquet.NewSchema("carryon", group)
	out := parquet.NewWriter(w, schema, parquet.Compression(&parquet.Snappy), parquet.CreatedBy("carryon", "1", ""))
	place := map[string]int{}
	for i, path := range schema.Columns() {
		place[path[0]] = i
	}
	inGroup := 0
	row := make(parquet.Row, len(e.Columns))
	n, err := e.write(written, func(cells Row) error {
		for i, cell := range cells {
			value, err := parquetValue(cell)
			if err != nil {
				return fmt.Errorf("column %s: %w", e.Columns[i], err)
			}
			at, level := place[e.Columns[i]], 1
			if value.IsNull() {
				level = 0
			}
			row[at] = value.Level(0, level, at)
		}
		if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
			return err
		}
		if inGroup++; inGroup < rowsOfGroup {
			return nil
		}
		inGroup = 0
		return out.Flush()
	})
	if err != nil {
		return n, err
	}
	if err := out.Close(); err != nil {
		return n, fmt.Errorf("write the end: %w", err)
	}
	return n, nil
}

func parquetValue(cell any) (parquet.Value, error) {
	switch v := cell.(type) {
	case nil:
		return parquet.NullValue(), nil
	case string:
		return parquet.ByteArrayValue([]byte(v)), nil
	case json.RawMessage:
		if v == nil {
			return parquet.NullValue(), nil
		}
		return parquet.ByteArrayValue(v), nil
	case float64:
		return parquet.DoubleValue(v), nil
	case bool:
		return parquet.BooleanValue(v), nil
	case int64:
		return parquet.Int64Value(v), nil
	case int:
		return parquet.Int64Value(int64(v)), nil
	case time.Time:
		return parquet.Int64Value(v.UnixMicro()), nil
	}
	return parquet.Value{}, fmt.Errorf("%T can't be written", cell)
}
