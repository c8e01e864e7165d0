package tables

import (
	"slices"
	"testing"

	"carryon/domain"
	"carryon/projector"
)

// Stored rows hold these numbers: they never change.
func TestNumbersStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		parts []string
		want  int64
	}{
		{[]string{""}, 3970492405946891596},
		{[]string{"anna"}, 5338204811240524709},
		{[]string{"an", "na"}, 4980951175936856334},
		{DimensionValues(&projector.Dimensions{TitleID: "t00001", Plan: "standard", PolicyVersion: 2}), 1470601020592011049},
	} {
		if got := Number(c.parts...); got != c.want {
			t.Errorf("%q has the number %d, not %d", c.parts, got, c.want)
		}
	}
	if NumberOrZero("") != 0 || NumberOrZero("a", "") != 0 || NumberOrZero("", "a") != Number("", "a") {
		t.Error("an empty value has a number")
	}
	for metric, want := range map[string]int16{
		projector.MetricDownloads: 1, projector.MetricRenewals: 2, projector.MetricPlays: 3, projector.MetricDenials: 4, projector.MetricActive: 5,
	} {
		if got, err := MetricNumber(metric); got != want || err != nil {
			t.Errorf("%s has the number %d, not %d: %v", metric, got, want, err)
		}
	}
	if _, err := MetricNumber("invented"); err == nil {
		t.Error("an invented metric has a number")
	}
}

func TestANameStandsForANumber(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, 1<<63 - 1} {
		if got, is := Numbered(NumberName(n)); !is || got != n {
			t.Errorf("%d came back as %d, %v", n, got, is)
		}
	}
	for _, name := range []domain.StreamID{"", "customer/1", "number/", "number/x", "number/9223372036854775808"} {
		if n, is := Numbered(name); is {
			t.Errorf("%q stands for %d", name, n)
		}
	}
	names := AnalyticsNames(domain.CustomerStream("anna"))
	if want := []domain.StreamID{"customer/anna", NumberName(Number("anna"))}; !slices.Equal(names, want) {
		t.Errorf("anna has rows under %v, not %v", names, want)
	}
	if names := AnalyticsNames("title/t1"); !slices.Equal(names, []domain.StreamID{"title/t1"}) {
		t.Errorf("a title has rows under %v", names)
	}
}

func TestEveryDimensionHasAColumnOfItsOwn(t *testing.T) {
	t.Parallel()
	var d projector.Dimensions
	var policy string
	if columns, values := len(ScanDimensions(&d, &policy)), len(DimensionValues(&d)); columns != values || columns != len(d.Columns()) {
		t.Errorf("%d columns are scanned, %d values are kept", columns, values)
	}
	seen := map[string]bool{}
	for _, field := range []string{"title_id", "series", "studio", "plan", "country", "device_type", "device_family", "trigger", "code", "basis", "role", "policy_version"} {
		column, known := DimensionColumn(field)
		if !known || seen[column] {
			t.Errorf("%s has the column %q", field, column)
		}
		seen[column] = true
	}
	if column, known := DimensionColumn("id; --"); known {
		t.Errorf("an invented dimension has the column %q", column)
	}
}
