package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	independent "github.com/fraugster/parquet-go"
)

// readParquet reads a file with another implementation than the one that wrote it.
func readParquet(t *testing.T, file []byte) []map[string]any {
	t.Helper()
	reader, err := independent.NewFileReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	for {
		row, err := reader.NextRow()
		if err == io.EOF { //nolint:errorlint // as its documentation says
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
}

func TestParquetIsReadBackByAnotherReader(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	const more = rowsOfGroup + 7 // a second row group
	e := Exported{Columns: []string{"type", "seq", "recorded_at", "blocked", "decision", "code"}, Rows: func(yield func(Row, error) bool) {
		if !yield(Row{"é\n\"", int64(-5), at, true, json.RawMessage(`{"x":1}`), ""}, nil) || !yield(Row{nil, nil, nil, nil, nil, nil}, nil) {
			return
		}
		for i := range more {
			if !yield(Row{fmt.Sprint("t", i%3), int64(i), at, false, json.RawMessage(nil), "C"}, nil) {
				return
			}
		}
	}}
	var out bytes.Buffer
	if n, err := e.WriteParquet(&out, nil); err != nil || n != more+2 {
		t.Fatalf("%d rows, %v", n, err)
	}
	rows := readParquet(t, out.Bytes())
	if len(rows) != more+2 {
		t.Fatalf("%d rows are read", len(rows))
	}
	first := rows[0]
	if string(first["type"].([]byte)) != "é\n\"" || first["seq"] != int64(-5) || first["recorded_at"] != at.UnixMicro() || first["blocked"] != true ||
		string(first["decision"].([]byte)) != `{"x":1}` || string(first["code"].([]byte)) != "" {
		t.Errorf("the first row is %v", first)
	}
	if len(rows[1]) != 0 {
		t.Errorf("a row without values is %v", rows[1])
	}
	if last := rows[len(rows)-1]; last["seq"] != int64(more-1) {
		t.Errorf("the last row is %v", last)
	}
}

func TestWhatParquetCannotHoldIsSaidWithItsColumn(t *testing.T) {
	t.Parallel()
	e := Exported{Columns: []string{"seq"}, Rows: func(yield func(Row, error) bool) { yield(Row{make(chan int)}, nil) }}
	if _, err := e.WriteParquet(io.Discard, nil); err == nil || !bytes.Contains([]byte(err.Error()), []byte("column seq")) {
		t.Errorf("%v", err)
	}
}
