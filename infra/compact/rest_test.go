package compact

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

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
		if quick, is := appendRest(nil, &got); is && !bytes.Equal(quick, written) {
			t.Errorf("%+v was written as %s, want %s", got, quick, written)
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

func TestEventsOfAnyTextComeBack(t *testing.T) {
	t.Parallel()
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	for _, text := range []string{"", "plain", `"\<&>`, "å\u2028", strings.Repeat("long", 20_000)} {
		e := domain.Event{
			ID: text, SchemaVersion: 2, CommandID: text, RequestHash: text, Correlation: text, Causation: text, RecordedAt: at, OccurredAt: at.Add(-time.Hour),
			Versions: domain.Versions{Policy: 3, Plan: 2, DeviceTypes: 4, Catalogue: text, Reference: math.MaxInt64},
			Previous: domain.Position{Shard: 2, Index: math.MaxInt64, Place: 3}, Payload: []byte(`{"a":"` + strings.Repeat("b", len(text)) + `"}`),
		}
		packed, err := Event(&e)
		if err != nil {
			t.Fatal(err)
		}
		got := domain.Event{RecordedAt: at}
		if err := UnpackEvent(&got, packed); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%.80q: %.200v, %v", text, got, err)
		}
	}
}
