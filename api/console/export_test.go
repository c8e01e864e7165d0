package console_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	independent "github.com/fraugster/parquet-go"

	"carryon/domain"
)

// Every export of the console is read back, in each format by a reader that has nothing to do with the writer, and holds
// the rows of the page.

// cells are the rows of a file: column to value, as text; what is absent is left out.
type cells []map[string]string

func readBack(t testing.TB, format string, file []byte) cells {
	t.Helper()
	t.Helper()
	var rows cells
	switch format {
	case "csv":
		records, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
		if err != nil || len(records) == 0 {
			t.Fatalf("CSV: %v: %.300s", err, file)
		}
		for _, record := range records[1:] {
			row := map[string]string{}
			for i, value := range record {
				if value != "" {
					row[records[0][i]] = value
				}
			}
			rows = append(rows, row)
		}
	case "ndjson":
		lines := json.NewDecoder(bytes.NewReader(file))
		lines.UseNumber()
		for {
			var line map[string]any
			err := lines.Decode(&line)
			if errors.Is(err, io.EOF) {
				return rows
			}
			if err != nil {
				t.Fatalf("NDJSON: %v: %.300s", err, file)
			}
			rows = append(rows, textOf(line))
		}
	case "parquet":
		reader, err := independent.NewFileReader(bytes.NewReader(file))
		if err != nil {
			t.Fatalf("Parquet: %v: %.300s", err, file)
		}
		for {
			line, err := reader.NextRow()
			if err == io.EOF { //nolint:errorlint // as its documentation says
				return rows
			}
			if err != nil {
				t.Fatalf("Parquet: %v", err)
			}
			for column := range line {
				if us, ok := line[column].(int64); ok && (strings.HasSuffix(column, "_at") || column == "from") {
					line[column] = time.UnixMicro(us).UTC().Format(time.RFC3339Nano)
				}
			}
			rows = append(rows, textOf(line))
		}
	}
	return rows
}

func textOf(line map[string]any) map[string]string {
	row := map[string]string{}
	for column, value := range line {
		text := fmt.Sprint(value)
		if raw, ok := value.([]byte); ok {
			text = string(raw)
		}
		if value != nil && text != "" {
			if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
				text = at.UTC().Format(time.RFC3339Nano)
			}
			row[column] = text
		}
	}
	return row
}

// exported is an export in every format, which must hold the same.
func (v *visitor) exported(path string, q url.Values) cells {
	v.w.t.Helper()
	var first cells
	for _, format := range []string{"csv", "ndjson", "parquet"} {
		asked := maps.Clone(q)
		asked.Set("format", format)
		got := v.get(path + "?" + asked.Encode())
		if got.status != http.StatusOK || !strings.Contains(got.header.Get("Content-Disposition"), "."+format) {
			v.w.t.Fatalf("%s as %s: status %d, %q: %.300s", path, format, got.status, got.header.Get("Content-Disposition"), got.text)
		}
		rows := readBack(v.w.t, format, []byte(got.text))
		if first == nil {
			first = rows
			continue
		}
		if len(rows) != len(first) {
			v.w.t.Fatalf("%s has %d rows as CSV and %d as %s", path, len(first), len(rows), format)
		}
		for i := range rows {
			if !maps.Equal(rows[i], first[i]) {
				v.w.t.Fatalf("%s, row %d: %v as CSV, %v as %s", path, i, first[i], rows[i], format)
			}
		}
	}
	return first
}

func TestAnExportHoldsExactlyWhatThePageShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30, 6000) // more than one page of every table
	w.caughtUp()
	support, analyst := w.visitor(domain.RoleSupport), w.visitor(domain.RoleAnalyst)

	// A search with words, ranked: the file has the order of the pages.
	q := url.Values{"q": {"the"}, "type": {"LicenseIssued", "LicenseDenied"}}
	rows := analyst.exported("/search/export", q)
	var shown []string
	for next := "/search?" + q.Encode(); next != ""; {
		page := analyst.get(next)
		if page.status != http.StatusOK {
			t.Fatalf("%s: status %d", next, page.status)
		}
		shown = append(shown, pick(page.text, `<td data-h="Customer"><a href="[^"]*" title="([^"]+)"`)...)
		next = ""
		if older := pick(page.text, `aria-label="Pages"><a class="button" href="([^"]+)"`); len(older) > 0 {
			next = strings.ReplaceAll(older[0], "&amp;", "&")
		}
	}
	if len(rows) <= 50 || len(rows) != len(shown) {
		t.Fatalf("the file has %d rows, the pages show %d; it takes more than 50 to fill a page", len(rows), len(shown))
	}
	for i, row := range rows {
		if row["customer"] != shown[i] {
			t.Fatalf("row %d is of %s, on the page of %s", i, row["customer"], shown[i])
		}
		if row["type"] != "LicenseIssued" && row["type"] != "LicenseDenied" || strings.HasPrefix(row["customer"], "c00") || row["license_id"] != "" || row["decision_id"] != "" {
			t.Fatalf("row %d is %v", i, row)
		}
	}
	again := analyst.exported("/search/export", q)
	if again[0]["customer"] != rows[0]["customer"] {
		t.Error("the pseudonyms are others the second time")
	}

	// Figures, compared with the range before.
	q = url.Values{"metric": {"denials"}, "group_by": {"code", "plan", "policy_version"}, "interval": {"month"}, "compare": {"previous"}, "tz": {"Europe/Berlin"}, "top": {"100"}}
	rows = support.exported("/analytics/export", q)
	sums := map[string]int64{}
	for _, row := range rows {
		var n int64
		if _, err := fmt.Sscan(row["value"], &n); err != nil || row["previous"] == "" || row["group_total"] == "" || row["tz"] != "Europe/Berlin" {
			t.Fatalf("a row of figures is %v (%v)", row, err)
		}
		sums[row["from"]] += n
		if n > 0 && (row["refusal_rate"] == "" || row["policy_version"] != "1") {
			t.Fatalf("a row with refusals is %v", row)
		}
	}
	total := int64(0)
	for _, n := range sums {
		total += n
	}
	if page := support.get("/analytics?" + q.Encode()); total == 0 || !strings.Contains(page.text, "<p><b>"+grouped(total)+"</b>refusals") {
		t.Errorf("the file has %d refusals, which the page does not say", total)
	}

	// A customer's timeline with its filters.
	customer := support.busiest()
	q = url.Values{"type": {"LicenseIssued"}, "from": {time.Now().AddDate(0, 0, -60).Format(time.DateOnly)}}
	rows = support.exported("/customers/"+customer+"/timeline/export", q)
	var seqs []string
	for next := "/customers/" + customer + "?" + q.Encode(); next != ""; {
		page := support.get(next)
		seqs = append(seqs, pick(page.text, `id="event-([0-9]+)"`)...)
		next = ""
		for _, link := range pick(page.text, `href="([^"]+)">Older events`) {
			next = strings.ReplaceAll(link, "&amp;", "&")
		}
	}
	slices.Reverse(seqs)
	if len(rows) == 0 || len(rows) != len(seqs) {
		t.Fatalf("the timeline's file has %d rows, the pages show %d", len(rows), len(seqs))
	}
	for i, row := range rows {
		if row["seq"] != seqs[i] || row["customer"] != customer || row["type"] != "LicenseIssued" || row["sentence"] == "" {
			t.Fatalf("row %d is %v, on the page event %s", i, row, seqs[i])
		}
	}
	if got := analyst.get("/customers/" + customer + "/timeline/export"); got.status != http.StatusForbidden {
		t.Errorf("an analyst exports a timeline: status %d", got.status)
	}
	if got := support.get("/search/export?sort=sideways"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("a bad question: status %d: %.200s", got.status, got.text)
	}
}

func pick(text, expression string) []string {
	var found []string
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// busiest is the customer of whom a search finds most on its first page.
func (v *visitor) busiest() string {
	counts, most := map[string]int{}, ""
	for _, customer := range pick(v.get("/search?type=LicenseIssued").text, `<td data-h="Customer"><a href="[^"]*" title="([^"]+)"`) {
		if counts[customer]++; counts[customer] > counts[most] {
			most = customer
		}
	}
	return most
}

// grouped is a number below a million as the pages write it.
func grouped(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
