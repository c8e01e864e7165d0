package celfilter_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"carryon/infra/celfilter"
	"carryon/query"
)

func event(name string) any {
	switch name {
	case "type":
		return "LicenseDenied"
	case "code":
		return "DEVICE_LIMIT_REACHED"
	case "seq":
		return int64(7)
	case "policy_version":
		return int64(2)
	case "occurred_at", "recorded_at":
		return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	}
	for _, f := range query.LiveFields() {
		if f.Name == name {
			return ""
		}
	}
	return nil
}

func TestFiltersSeeTheFieldsOfAnEvent(t *testing.T) {
	t.Parallel()
	filters, err := celfilter.New()
	if err != nil {
		t.Fatal(err)
	}
	for expression, want := range map[string]bool{
		`type == "LicenseDenied"`:                              true,
		`type == "LicenseIssued"`:                              false,
		`code.startsWith("DEVICE_") && policy_version >= 2`:    true,
		`recorded_at < timestamp("2026-01-01T00:00:00Z")`:      false,
		`recorded_at.getHours("Europe/Berlin") == 13`:          true,
		`code != "" && trigger in ["", "user"]`:                true,
		`case == "" && studio in ["", "house"]`:                true,
		`["LicenseDenied", "x"].exists(k, k == type)`:          true,
		`type.matches("^License(Denied|Issued)$") && seq == 7`: true,
	} {
		f, err := filters.Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got, err := f.Match(event); err != nil || got != want {
			t.Errorf("%s: %v, %v", expression, got, err)
		}
	}
}

func TestAFilterThatCannotBeUsedIsRefusedWithTheColumn(t *testing.T) {
	t.Parallel()
	filters, err := celfilter.New()
	if err != nil {
		t.Fatal(err)
	}
	for expression, want := range map[string]struct {
		column int
		says   string
	}{
		`typ == "x"`:                   {1, "typ"},
		`type == "a" && cod == "x"`:    {16, "cod"},
		"type == \"a\" &&\n  cod != 1": {18, "cod"},
		`seq == "seven"`:               {5, "=="},
		`type ==`:                      {8, ""},
		`type == "Foo"`:                {9, `type is never "Foo"; possible are ContentDownloaded, `},
		"seq > 1 &&\n\"NOPE\" != code": {12, `code is never "NOPE"; possible are `},
		`role in ["device", "god"]`:    {20, `role is never "god"; possible are device, service, support, operator, system`},
		`!(trigger == "x")`:            {14, "possible are user, auto"},
		`basis == "guess"`:             {10, "possible are books, fail_open"},
		`type`:                         {0, "true or false"},
		`[type].map(x, x) == [type]`:   {0, ""},
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100): {0, ""},
		`type == "` + string([]byte{0xff}) + `"`:                     {0, ""},
	} {
		_, err := filters.Compile(expression)
		var wrong *query.FilterError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if want.column > 0 && wrong.Column != want.column || !strings.Contains(wrong.Problem, want.says) || strings.Contains(wrong.Error(), "\n") {
			t.Errorf("%s: column %d, %q", expression, wrong.Column, wrong.Problem)
		}
	}
}

func TestAnEvaluationThatCostsTooMuchFails(t *testing.T) {
	t.Parallel()
	filters, err := celfilter.New()
	if err != nil {
		t.Fatal(err)
	}
	ten := `["0","1","2","3","4","5","6","7","8","9"]`
	dear := ten + `.all(a, ` + ten + `.all(b, ` + ten + `.all(c, ` + ten + `.all(d, a + b + c + d != type))))`
	var wrong *query.FilterError
	if _, err := filters.Compile(dear); !errors.As(err, &wrong) || !strings.Contains(wrong.Problem, "costs too much") {
		t.Errorf("what costs too much for every event is taken: %v", err)
	}
	f, err := filters.Compile(`type == "LicenseDenied" && ` + dear)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := f.Match(event); err == nil {
		t.Fatalf("it was evaluated in %s", time.Since(begin))
	}
}

func BenchmarkMatch(b *testing.B) {
	filters, err := celfilter.New()
	if err != nil {
		b.Fatal(err)
	}
	f, err := filters.Compile(`type == "LicenseDenied" && code.startsWith("DEVICE_")`)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if match, err := f.Match(event); err != nil || !match {
			b.Fatal(match, err)
		}
	}
}
