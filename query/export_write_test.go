package query

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func table(rows ...Row) Exported {
	return Exported{Columns: []string{"a", "b"}, Rows: func(yield func(Row, error) bool) {
		for _, r := range rows {
			var err error
			if r == nil {
				err = errors.New("broken")
			}
			if !yield(r, err) {
				return
			}
		}
	}}
}

func TestRowsAreWrittenAsTheyAre(t *testing.T) {
	t.Parallel()
	rows := []Row{
		{"plain", int64(-1)}, {"quo\"te,\nline", nil}, {"=1+1", true}, {"-x", 1.5},
		{"@é", time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))}, {"", json.RawMessage(`{"x":1}`)},
	}
	var csv, ndjson strings.Builder
	told := int64(0)
	if n, err := table(rows...).WriteCSV(&csv, func(n int64) { told = n }); err != nil || n != 6 || told != 6 {
		t.Errorf("%d rows, told %d, %v", n, told, err)
	}
	want := "a,b\nplain,-1\n\"quo\"\"te,\nline\",\n'=1+1,true\n'-x,1.5\n'@é,2026-01-02T02:04:05.000006Z\n,\"{\"\"x\"\":1}\"\n"
	if csv.String() != want {
		t.Errorf("got  %q\nwant %q", csv.String(), want)
	}
	if n, err := table(rows...).WriteNDJSON(&ndjson, nil); err != nil || n != 6 {
		t.Errorf("%d rows, %v", n, err)
	}
	want = `{"a":"plain","b":-1}
{"a":"quo\"te,\nline","b":null}
{"a":"=1+1","b":true}
{"a":"-x","b":1.5}
{"a":"@é","b":"2026-01-02T03:04:05.000006+01:00"}
{"a":"","b":{"x":1}}
`
	if ndjson.String() != want {
		t.Errorf("got  %s\nwant %s", ndjson.String(), want)
	}
}

func TestAnExportThatBreaksOffSaysAfterHowManyRows(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if n, err := table(Row{"x", nil}, nil).WriteCSV(&out, nil); err == nil || n != 1 || !strings.Contains(err.Error(), "after row 1") {
		t.Errorf("%d rows, %v", n, err)
	}
	if n, err := table(Row{"x", nil}, nil).WriteNDJSON(&out, nil); err == nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}
