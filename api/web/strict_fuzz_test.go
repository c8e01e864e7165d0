package web

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// What is accepted is JSON, means what encoding/json takes it for, and is refused when that would drop something.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1,"a":2}`, `{"a":{"b":[1,2,{"c":null}]}}`, `{"a":1e999}`, `[`, `{"a":1}x`, "{\"\xff\":1}", `"\ud800"`, `{"a":"\u0000"}`, ` {} `, `nul`, `{"a":-0}`,
		`{"\u0061":1,"a":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, p := parseJSON(body)
		if p != nil {
			if p.Status != 400 || len(p.Errors) != 1 {
				t.Fatalf("%q: %+v", body, p)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is not JSON, but was read as %v", body, v)
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(v, want) {
			t.Fatalf("%q was read as %#v, encoding/json says %#v, %v", body, v, want, err)
		}
	})
}

func TestAMemberThatIsGivenTwiceIsNamed(t *testing.T) {
	t.Parallel()
	for body, field := range map[string]string{
		`{"a":1,"a":1}`: "body.a", `{"x":[{"b":1,"b":2}]}`: "body.x[0].b", `{"\u0061":1,"a":2}`: "body.a",
	} {
		if _, p := parseJSON([]byte(body)); p == nil || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, p)
		}
	}
}
