package compact

import (
	"encoding/json"
	"math"
	"testing"

	"carryon/domain"
)

func FuzzARestIsReadAsTheJSONThatItIs(f *testing.F) {
	for _, r := range []rest{
		{},
		{ID: "c-1", Schema: 1, Versions: domain.Versions{Policy: 1, Catalogue: "5f"}, Previous: domain.Position{Index: 7, Place: 1}},
		{
			ID: "e", Schema: 2, Occurred: -1, Command: "c", Hash: "h", Correlation: "r", Causation: "u",
			Versions: domain.Versions{Policy: 3, Plan: 2, DeviceTypes: 4, Catalogue: "å<", Reference: math.MaxUint64},
			Previous: domain.Position{Shard: 2, Index: math.MaxInt64, Place: 3},
		},
		{ID: `"\\`, Command: `","v":{"policy":`},
	} {
		head, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(head)
	}
	for _, odd := range []string{`{"i":"a","s":01}`, `{"s":1,"i":"a"}`, `{"i":"a","s":1.5}`, `{"i":"a"`, ` {}`, `{"i":"` + "\xff" + `"}`} {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		got, plain := readRest(head)
		if !plain {
			return
		}
		written, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var want, again rest
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatal(err)
		}
		if json.Unmarshal(head, &want) == nil && want != again { // what is no JSON was never written
			t.Errorf("%q was read as %+v, want %+v", head, again, want)
		}
	})
}

func TestARestIsPlainAsARule(t *testing.T) {
	t.Parallel()
	want := rest{ID: "c-1", Schema: 1, Occurred: 5, Command: "k", Correlation: "r", Versions: domain.Versions{Policy: 1, Catalogue: "5f"}, Previous: domain.Position{Index: 7}}
	head, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, plain := readRest(head); !plain || got != want {
		t.Errorf("%s was read as %+v, plain %v", head, got, plain)
	}
}
