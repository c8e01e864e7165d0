package query

import (
	"fmt"
	"testing"
)

func TestDifferencesNameEveryFieldThatDiffers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, after, want string }{
		{`{"a":1}`, `{"a":1}`, `[]`},
		{`{"a": 1, "b":2}`, `{"b":2,"a":1}`, `[]`},
		{`{"a":{"b":1}}`, `{"a":{"b":2}}`, `[a.b changed 1 2]`},
		{`{"a":{"b":1}}`, `{"a":{"b":1,"c":[1,2]}}`, `[a.c added  [1,2]]`},
		{`{"a":{"b":1},"z":"x"}`, `{"z":"x"}`, `[a.b removed 1 ]`},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, `[a changed [1,2] [2,1]]`},
		{`{"a":1}`, `{"a":{"b":1}}`, `[a removed 1  a.b added  1]`},
		{`{"a":{}}`, `{"a":{"b":1}}`, `[a removed {}  a.b added  1]`},
		{`{}`, `{"a":null}`, `[ removed {}  a added  null]`},
	} {
		changes, err := differences([]byte(c.before), []byte(c.after))
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, change := range changes {
			words = append(words, fmt.Sprintf("%s %s %s %s", change.Path, change.Kind, change.Before, change.After))
		}
		if got := fmt.Sprint(words); got != c.want {
			t.Errorf("%s to %s: got %s, want %s", c.before, c.after, got, c.want)
		}
	}
	if _, err := differences([]byte(`{`), []byte(`{}`)); err == nil {
		t.Error("what is no JSON is compared")
	}
}
