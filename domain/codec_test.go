package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// What was recorded must be readable for ever. testdata/golden/TYPE.vN.json is an event payload as a program that wrote
// schema version N of TYPE recorded it. A golden file is never edited: when a payload changes so that its file no longer
// comes back byte for byte, the schema version goes up, an upcaster leads to it, and a new file stands beside the old.
// Where a field was added that may be absent, and that an older program may pass over, the version stays: TYPE.vN+FIELD.json
// is as a program that has it recorded it.
//
//	go test ./domain -run Golden -new-golden     writes the files that are missing, and touches no other

var newGolden = flag.Bool("new-golden", false, "write the golden files that are missing; never touches one that is there")

const goldenDir = "testdata/golden"

// grown are the newest versions that got a field later which may be absent.
func grown(typ string) string {
	switch typ {
	case "LicenseReleased", "ReleaseConfirmed", "PlanChanged", "MembershipChanged", "PolicyPublished":
		return "+reason"
	}
	return ""
}

func TestGoldenFilesExistForEveryTypeAndVersionAndForNoOther(t *testing.T) {
	want := map[string]bool{}
	for _, typ := range EventTypes() {
		names := map[string]int{fmt.Sprintf("%s.v%d%s.json", typ, SchemaVersion(typ), grown(typ)): SchemaVersion(typ)}
		for version := 1; version <= SchemaVersion(typ); version++ {
			names[fmt.Sprintf("%s.v%d.json", typ, version)] = version
		}
		for name, version := range names {
			want[name] = true
			path := filepath.Join(goldenDir, name)
			_, err := os.Stat(path)
			if errors.Is(err, os.ErrNotExist) && *newGolden && version == SchemaVersion(typ) {
				_, _, raw, encodeErr := EncodePayload(specimen(t, typ))
				if encodeErr != nil {
					t.Fatal(encodeErr)
				}
				err = os.WriteFile(path, append(raw, '\n'), 0o600)
			}
			if err != nil {
				t.Errorf("version %d of %s has no golden file: %v", version, typ, err)
			}
		}
	}
	files, err := os.ReadDir(goldenDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !want[f.Name()] {
			t.Errorf("%s is of no type and version that this program reads: was a type dropped?", f.Name())
		}
	}
}

func TestGoldenFilesAreReadAndTheNewestComeBackByteForByte(t *testing.T) {
	t.Parallel()
	for _, typ := range EventTypes() {
		for version := 1; version <= SchemaVersion(typ); version++ {
			raw := golden(t, typ, version)
			p, err := DecodePayload(typ, version, raw)
			if err != nil {
				t.Errorf("version %d of %s: %v", version, typ, err)
				continue
			}
			if p.EventType() != typ {
				t.Errorf("version %d of %s was read as %s", version, typ, p.EventType())
			}
			_, now, again, err := EncodePayload(p)
			if err != nil {
				t.Errorf("version %d of %s: %v", version, typ, err)
			}
			if version == now && !bytes.Equal(raw, again) {
				t.Errorf("version %d of %s comes back changed; raise its schema version:\n was %s\n is  %s", version, typ, raw, again)
			}
		}
		raw := goldenFile(t, fmt.Sprintf("%s.v%d%s.json", typ, SchemaVersion(typ), grown(typ)))
		p, err := DecodePayload(typ, SchemaVersion(typ), raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, again, err := EncodePayload(p); err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s%s comes back changed: %v\n was %s\n is  %s", typ, grown(typ), err, raw, again)
		}
	}
}

// A golden file that leaves a field empty would not notice that the field was renamed.
func TestGoldenFilesOfTheNewestVersionFillEveryField(t *testing.T) {
	t.Parallel()
	for _, typ := range EventTypes() {
		p, err := DecodePayload(typ, SchemaVersion(typ), goldenFile(t, fmt.Sprintf("%s.v%d%s.json", typ, SchemaVersion(typ), grown(typ))))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range emptyFields(reflect.ValueOf(p).Elem(), typ) {
			t.Errorf("%s is empty in the golden file", path)
		}
	}
}

func TestEncodingIsTheSameAsTheStandardLibrarysWithoutHTMLEscapes(t *testing.T) {
	t.Parallel()
	for _, typ := range EventTypes() {
		p := specimen(t, typ)
		_, _, raw, err := EncodePayload(p)
		if err != nil {
			t.Fatal(err)
		}
		if want := plainJSON(t, p); !bytes.Equal(raw, want) {
			t.Errorf("%s:\n got %s\nwant %s", typ, raw, want)
		}
	}
}

func TestHandWrittenLayoutsWriteAndReadWhatTheStandardLibraryDoes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	walked := 0
	for _, typ := range EventTypes() {
		w, ok := specimen(t, typ).(walker)
		if !ok {
			continue
		}
		walked++
		for range 500 {
			scatter(reflect.ValueOf(w).Elem(), random)
			raw, written := writeWalked(w)
			if want := plainJSON(t, w); written && !bytes.Equal(raw, want) {
				t.Fatalf("%s is written\n %s\nby the standard library\n %s", typ, raw, want)
			} else if !written {
				raw = want // without rules
			}
			got, err := DecodePayload(typ, SchemaVersion(typ), raw)
			want, wantErr := plainly(typ, SchemaVersion(typ), raw)
			if err != nil || wantErr != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s is read as\n %+v, %v\nby the standard library as\n %+v, %v", raw, got, err, want, wantErr)
			}
		}
	}
	if walked < 10 {
		t.Errorf("only %d payloads have a layout of their own", walked)
	}
}

// Else everything would go the slow way, and no other test would notice.
func TestHandWrittenLayoutsReadOrdinaryPayloads(t *testing.T) {
	t.Parallel()
	const ordinary = `{"device_id":"d","title_name":"Amélie","season":2,"command":"acquire","code":"PLAN_NOT_ELIGIBLE","decision":{"id":"dec_1",` +
		`"command":"acquire","outcome":"refuse","decided_at":"2026-01-17T22:00:00.5Z","customer_version":0,"versions":{"policy":1,"plan":0,` +
		`"device_types":1,"catalogue":"c","reference":0},"request":{},"rules":[{"rule":"plan","code":"PLAN_NOT_ELIGIBLE","scope":{},"used":-3,` +
		`"outcome":"refuse","held_by":[{"kind":"device","id":"d"},{"kind":"device","id":"e"}]}],"remedies":[{"action":"wait","who":"device"}]}}`
	if !readWalked([]byte(ordinary), new(LicenseDenied), false) {
		t.Error("an ordinary payload is left to the standard library")
	}
	for what, odd := range map[string]string{
		"a space":           strings.Replace(ordinary, ":", ": ", 1),
		"another order":     strings.Replace(ordinary, `"device_id":"d","title_name":"Amélie",`, `"title_name":"Amélie","device_id":"d",`, 1),
		"an unknown field":  strings.Replace(ordinary, `"season":2,`, `"season":2,"colour":1,`, 1),
		"a field twice":     strings.Replace(ordinary, `"season":2,`, `"season":2,"season":3,`, 1),
		"capital letters":   strings.Replace(ordinary, `"season"`, `"SEASON"`, 1),
		"an escape":         strings.Replace(ordinary, "é", `\u00e9`, 1),
		"bytes of no text":  strings.Replace(ordinary, "é", "\xe9", 1),
		"nothing":           strings.Replace(ordinary, `"device_id":"d"`, `"device_id":null`, 1),
		"a leading zero":    strings.Replace(ordinary, `"season":2`, `"season":02`, 1),
		"a fraction":        strings.Replace(ordinary, `"season":2`, `"season":2.0`, 1),
		"a huge number":     strings.Replace(ordinary, `"season":2`, `"season":9223372036854775808`, 1),
		"no number":         strings.Replace(ordinary, `"season":2`, `"season":-`, 1),
		"a negative seq":    strings.Replace(ordinary, `"customer_version":0`, `"customer_version":-1`, 1),
		"an empty list":     strings.Replace(ordinary, `"remedies":[{"action":"wait","who":"device"}]`, `"remedies":[]`, 1),
		"a comma too many":  strings.Replace(ordinary, `"season":2,`, `"season":2,,`, 1),
		"a comma before":    strings.Replace(ordinary, `{"device_id"`, `{,"device_id"`, 1),
		"something behind":  ordinary + "}",
		"a missing object":  strings.Replace(ordinary, `"request":{},`, ``, 1),
		"a bad time":        strings.Replace(ordinary, "2026-01-17T22", "2026-13-17T22", 1),
		"a missing bracket": strings.Replace(ordinary, `"who":"device"}]`, `"who":"device"}`, 1),
	} {
		if odd == ordinary {
			t.Fatalf("%s: nothing was changed", what)
		}
		if readWalked([]byte(odd), new(LicenseDenied), false) {
			t.Errorf("%s is read by the layout", what)
		}
		got, err := DecodePayload("LicenseDenied", 1, []byte(odd))
		want, wantErr := plainly("LicenseDenied", 1, []byte(odd))
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as\n %+v, %v\nby the standard library as\n %+v, %v", what, got, err, want, wantErr)
		}
	}
	for cut := range len(ordinary) {
		if readWalked([]byte(ordinary[:cut]), new(LicenseDenied), false) {
			t.Errorf("the first %d bytes are read as a whole", cut)
		}
	}
}

func TestATimeThatCantBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	far := time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, p := range []Payload{&ContentDownloaded{At: far}, &LicenseExpired{ExpiredAt: far}, &TitleWithdrawn{From: far}} {
		if _, _, raw, err := EncodePayload(p); err == nil {
			t.Errorf("%s is written as %s", p.EventType(), raw)
		}
	}
}

func TestEveryEventOfTheDomainHasItsNameAsType(t *testing.T) {
	t.Parallel()
	want := []string{
		"LicenseIssued", "LicenseReissued", "LicenseRenewed", "PlaybackStarted", "PlaybackStopped", "LicenseReleased", "ReleaseConfirmed",
		"LicenseRevoked", "LicenseExpired", "ContentDownloaded", "ContentRenewed", "ContentPlayed", "DeviceRegistered", "DeviceRemoved",
		"DeviceBlocked", "DeviceUnblocked", "ExceptionGranted", "ExceptionUsed", "ExceptionWithdrawn", "PlanChanged", "MembershipChanged",
		"GrantReconciled", "TitleWithdrawn", "PolicyPublished", "LicenseDenied",
	}
	slices.Sort(want)
	if got := EventTypes(); !slices.Equal(got, want) {
		t.Errorf("types are %v, want %v", got, want)
	}
	for _, typ := range want {
		p := specimen(t, typ)
		if p.EventType() != typ || SchemaVersion(typ) < 1 {
			t.Errorf("%s has type %q and version %d", typ, p.EventType(), SchemaVersion(typ))
		}
	}
	if v := SchemaVersion("LicenceIssued"); v != 0 {
		t.Errorf("a type that does not exist has version %d", v)
	}
}

func TestWhatANewerProgramWroteIsToldApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		typ     string
		version int
		raw     string
		want    error
	}{
		{"a type of the future", "LicenseLent", 1, `{}`, ErrUnknownEventType},
		{"no type", "", 1, `{}`, ErrUnknownEventType},
		{"a version of the future", "LicenseIssued", SchemaVersion("LicenseIssued") + 1, `{}`, ErrFutureVersion},
		{"a far future", "PlaybackStarted", 1 << 40, `{}`, ErrFutureVersion},
		{"no version", "LicenseIssued", 0, `{}`, nil},
		{"a negative version", "LicenseIssued", -1, `{}`, nil},
		{"no bytes", "LicenseIssued", 1, ``, nil},
		{"half a payload", "LicenseIssued", 1, `{"license_id":"l"`, nil},
		{"a number for a text", "LicenseIssued", 1, `{"license_id":7}`, nil},
		{"a list", "LicenseIssued", 1, `[]`, nil},
		{"nothing", "LicenseIssued", 1, ` null`, nil},
	} {
		p, err := DecodePayload(c.typ, c.version, []byte(c.raw))
		if err == nil || p != nil {
			t.Errorf("%s: read as %+v", c.name, p)
			continue
		}
		for _, sentinel := range []error{ErrUnknownEventType, ErrFutureVersion} {
			if errors.Is(err, sentinel) != errors.Is(c.want, sentinel) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
	}
}

func TestAPayloadOfAnUnknownTypeIsNotWritten(t *testing.T) {
	t.Parallel()
	if _, _, _, err := EncodePayload(lentPayload{}); !errors.Is(err, ErrUnknownEventType) {
		t.Errorf("error %v", err)
	}
	e := Event{ID: "evt_1"}
	if err := e.SetData(lentPayload{}); !errors.Is(err, ErrUnknownEventType) || e.Type != "" || e.Payload != nil {
		t.Errorf("error %v, event %+v", err, e)
	}
}

type lentPayload struct{}

func (lentPayload) EventType() string { return "LicenseLent" }

func TestAFreshEventAnswersFromMemoryAndAReadOneFromItsBytes(t *testing.T) {
	t.Parallel()
	p := &PlanChanged{Plan: "premium", Country: "DE", PreviousPlan: "ads"}
	var fresh Event
	if err := fresh.SetData(p); err != nil {
		t.Fatal(err)
	}
	if got, err := fresh.Data(); err != nil || got != Payload(p) || !fresh.IsDecoded() {
		t.Errorf("fresh: %v, %v", got, err)
	}
	read := Event{Type: fresh.Type, SchemaVersion: fresh.SchemaVersion, Payload: fresh.Payload}
	got, err := read.Data()
	if err != nil || !reflect.DeepEqual(got, Payload(p)) || read.IsDecoded() {
		t.Errorf("read: %+v, %v, decoded %v", got, err, read.IsDecoded())
	}
	read.Decode()
	first, _ := read.Data()
	second, _ := read.Data()
	if !read.IsDecoded() || first != second || !reflect.DeepEqual(first, Payload(p)) {
		t.Errorf("decoded: %+v and %+v", first, second)
	}
	odd := Event{ID: "evt_1", Type: "LicenseLent", SchemaVersion: 1, Payload: []byte(`{}`)}
	odd.Decode()
	if _, err := odd.Data(); !errors.Is(err, ErrUnknownEventType) || !strings.Contains(err.Error(), "evt_1") || odd.IsDecoded() {
		t.Errorf("an event of an unknown type: %v", err)
	}
}

func TestAPlayOfSchemaVersion1CountsAsItDid(t *testing.T) {
	t.Parallel()
	p, err := DecodePayload("PlaybackStarted", 1, golden(t, "PlaybackStarted", 1))
	if err != nil {
		t.Fatal(err)
	}
	got, ok := p.(*PlaybackStarted)
	if !ok {
		t.Fatalf("it is a %T", p)
	}
	at := time.Date(2025, 11, 2, 19, 30, 12, 345678000, time.UTC)
	want := PlaybackStarted{
		Subject: Subject{
			LicenseID: "lic_00000000000000000000000000", DeviceID: "device-1", DeviceType: "iphone-15", DeviceFamily: "phone",
			TitleID: "t00003-s01e04", TitleName: "The Night Agent, season 1, episode 4", Kind: "episode", Series: "The Night Agent",
			Season: 1, Episode: 4, Studio: "house", Plan: "premium", Country: "DE", ProfileID: "profile-1",
		},
		PlayID: "play-1", At: at, DeviceTime: at, ReceivedTime: at, PositionSeconds: 754, FirstPlay: true, Counted: true,
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("read as\n %+v\nwant\n %+v", *got, want)
	}
	if got.ClockSuspect {
		t.Error("the clock is suspected, though nothing was known of it")
	}
}

func TestAnEventIsWrittenForReadersOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	p := specimen(t, "PlaybackStarted").(*PlaybackStarted)
	var e Event
	if err := e.SetDataUpTo(p, 1); err != nil {
		t.Fatal(err)
	}
	if e.Type != "PlaybackStarted" || e.SchemaVersion != 1 || strings.Contains(string(e.Payload), "received_time") {
		t.Fatalf("written as %s v%d: %s", e.Type, e.SchemaVersion, e.Payload)
	}
	want := *p // what version 1 has no place for is lost, for the writer as for everybody
	want.DeviceTime, want.ReceivedTime, want.ClockSuspect = p.At, p.At, false
	read, err := DecodePayload(e.Type, e.SchemaVersion, e.Payload)
	if err != nil || !reflect.DeepEqual(read, Payload(&want)) {
		t.Errorf("read back as\n %+v, %v\nwant\n %+v", read, err, &want)
	}
	if folded, err := e.Data(); err != nil || !reflect.DeepEqual(folded, read) {
		t.Errorf("the writer folds\n %+v, %v\nand readers\n %+v", folded, err, read)
	}
	for _, newest := range []int{2, 3} {
		if err := e.SetDataUpTo(p, newest); err != nil || e.SchemaVersion != 2 {
			t.Errorf("for readers of version %d: version %d, %v", newest, e.SchemaVersion, err)
		}
	}
	before := e
	if err := e.SetDataUpTo(specimen(t, "LicenseIssued"), 0); !errors.Is(err, ErrFutureVersion) || !reflect.DeepEqual(e, before) {
		t.Errorf("for readers who don't know the type: %v, and the event is %+v", err, e)
	}
}

func TestAnUpcasterSaysWhatIsWrongWithOldBytes(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"position":3}`:            "played_at is missing",
		`{"played_at":"yesterday"}`: "played_at",
		`{"played_at":12}`:          "played_at",
		`[]`:                        "upcasting PlaybackStarted from version 1",
		`null`:                      "played_at is missing",
		`{"played_at":`:             "upcasting PlaybackStarted from version 1",
		`{"played_at":"2025-01-01T00:00:00Z","position":"far"}`: "position_seconds",
	} {
		if _, err := DecodePayload("PlaybackStarted", 1, []byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
	p, err := DecodePayload("PlaybackStarted", 1, []byte(`{"play_id":"p","played_at":"2025-01-01T00:00:00Z"}`))
	if err != nil || p.(*PlaybackStarted).PositionSeconds != 0 || p.(*PlaybackStarted).PlayID != "p" {
		t.Errorf("a play without position: %+v, %v", p, err)
	}
}

func TestTheJSONFormOfAnEventIsStable(t *testing.T) {
	t.Parallel()
	e := exampleEvent()
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"evt_1","stream":"customer/c-1","seq":7,"position":{"shard":1,"index":42,"place":3},` +
		`"previous":{"shard":1,"index":40,"place":0},"type":"PlanChanged","schema_version":1,"occurred_at":"2026-03-01T11:59:59.999999Z",` +
		`"recorded_at":"2026-03-01T12:00:00.000001Z","command_id":"01956f2e-7c00-7000-8000-000000000001","request_hash":"ab12","correlation":"req_1",` +
		`"causation":"evt_0","actor":{"id":"billing","role":"service"},"versions":{"policy":3,"plan":2,"device_types":1,"catalogue":"abc","reference":12},` +
		`"payload":{"plan":"premium","country":"DE"}}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	var back Event
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(back, e) {
		t.Errorf("came back as %+v, %v", back, err)
	}
	first := Event{ID: "e", Type: "PlanChanged", Payload: json.RawMessage(`{}`)}
	if raw, err := json.Marshal(&first); err != nil || strings.Contains(string(raw), "previous") || strings.Contains(string(raw), "causation") {
		t.Errorf("a stream's first event: %s, %v", raw, err)
	}
}

func TestBrokenJSONOfAnEventChangesNothing(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{}`, `{"type":"PlanChanged"}`, `{"payload":{}}`, `[]`, `{"type":"PlanChanged","seq":-1,"payload":{}}`,
		`{"type":"PlanChanged","recorded_at":"soon","payload":{}}`, `{"type":"PlanChanged","payload":{}`, `7`,
	} {
		e := exampleEvent()
		if err := json.Unmarshal([]byte(raw), &e); err == nil {
			t.Errorf("%s is accepted", raw)
		}
		if !reflect.DeepEqual(e, exampleEvent()) {
			t.Errorf("%s changed the event", raw)
		}
	}
	if raw, err := json.Marshal(Event{ID: "evt_1"}); err == nil {
		t.Errorf("an event without payload is written as %s", raw)
	}
}

// FuzzDecodePayload: whatever the bytes, decoding fails or gives a payload that is written and read the same ever after.
func FuzzDecodePayload(f *testing.F) {
	for _, typ := range EventTypes() {
		for version := 1; version <= SchemaVersion(typ); version++ {
			f.Add(typ, version, golden(f, typ, version))
		}
	}
	f.Add("LicenseIssued", 1, []byte(`{"issued_at":"2026-01-01T00:00:00+05:30","license_id":"\ud800","decision":{"rules":null}}`))
	f.Add("PolicyPublished", 1, []byte(`{"document":"e30="}`))
	_, _, ordinary, err := EncodePayload(grant(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("LicenseIssued", 1, ordinary)
	f.Add("LicenseIssued", 1, []byte(`{"basis":"books","terms":{"persistent":true},"issued_at":"2026-01-01T00:00:00Z","key_id":"k","decision":{"rules":{]}}}`))
	f.Fuzz(func(t *testing.T, typ string, version int, raw []byte) {
		p, err := DecodePayload(typ, version, raw)
		plain, plainErr := plainly(typ, version, raw)
		if (err == nil) != (plainErr == nil) || err == nil && !reflect.DeepEqual(p, plain) {
			t.Fatalf("%s is read as\n %+v, %v\nby the standard library as\n %+v, %v", raw, p, err, plain, plainErr)
		}
		if err != nil {
			if p != nil {
				t.Fatalf("an error and a payload: %v, %+v", err, p)
			}
			return
		}
		_, newest, first, err := EncodePayload(p)
		if err != nil {
			return // a year beyond 9999 can be read with an offset, and not written
		}
		if want := plainJSON(t, p); !bytes.Equal(first, want) {
			t.Fatalf("written as\n %s\nthe standard library writes\n %s", first, want)
		}
		again, err := DecodePayload(typ, newest, first)
		if err != nil {
			t.Fatalf("%s was written, and can't be read: %v", first, err)
		}
		toFold, err := decodePayload(typ, newest, first, true)
		if err != nil || !reflect.DeepEqual(withoutDecision(toFold), withoutDecision(again)) {
			t.Fatalf("%s is read as\n %+v\nand to fold as\n %+v, %v", first, again, toFold, err)
		}
		_, _, second, err := EncodePayload(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("written first as\n %s\nand then as\n %s (%v)", first, second, err)
		}
	})
}

// withoutDecision is a payload without what folding does not look at: of a grant's decision the id is left.
func withoutDecision(p Payload) Payload {
	switch p := p.(type) {
	case *LicenseIssued:
		without := *p
		without.Decision = Decision{ID: p.Decision.ID}
		return &without
	case *LicenseReissued:
		without := *p
		without.Decision = Decision{ID: p.Decision.ID}
		return &without
	case *LicenseRenewed:
		without := *p
		without.Decision = Decision{ID: p.Decision.ID}
		return &without
	}
	return p
}

func TestWhoFoldsIsSparedDecisionsThatChangeNoState(t *testing.T) {
	t.Parallel()
	spared := 0
	for _, typ := range EventTypes() {
		plain := strings.NewReplacer(`\"`, "", `\t`, "", "\\u2028", "").Replace(string(golden(t, typ, SchemaVersion(typ)))) // escapes go the slow way
		e := Event{Type: typ, SchemaVersion: SchemaVersion(typ), Payload: []byte(plain)}
		whole, err := e.Data()
		if err != nil {
			t.Fatal(err)
		}
		toFold, err := e.FoldData()
		if err != nil || !reflect.DeepEqual(withoutDecision(toFold), withoutDecision(whole)) {
			t.Errorf("%s is read as\n %+v\nand to fold as\n %+v, %v", typ, whole, toFold, err)
		}
		if !reflect.DeepEqual(toFold, whole) {
			spared++
		}
		e.DecodeToFold()
		if data, err := e.Data(); e.IsDecoded() || err != nil || !reflect.DeepEqual(data, whole) {
			t.Errorf("%s, decoded to be folded, says\n %+v, not\n %+v, %v", typ, data, whole, err)
		}
		if again, _ := e.FoldData(); !reflect.DeepEqual(again, toFold) {
			t.Errorf("%s, decoded to be folded, is folded as\n %+v, not\n %+v", typ, again, toFold)
		}
		e.Decode()
		if data, _ := e.Data(); !e.IsDecoded() || !reflect.DeepEqual(data, whole) {
			t.Errorf("%s, decoded again, says\n %+v, not\n %+v", typ, data, whole)
		}
		if again, _ := e.FoldData(); !reflect.DeepEqual(again, whole) {
			t.Errorf("%s, decoded, is folded as\n %+v, not\n %+v", typ, again, whole)
		}
	}
	if spared != 3 { // issued, re-issued, renewed
		t.Errorf("%d types have something to be spared", spared)
	}
}

// FuzzEventJSON: whatever the bytes, reading an event fails or gives one that comes back the same.
func FuzzEventJSON(f *testing.F) {
	raw, err := json.Marshal(exampleEvent())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"type":"PlaybackStarted","schema_version":1,"payload":{"played_at":"2025-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"type":"x","payload":"<&>\u2028","recorded_at":"2026-01-01T00:00:00.123456789+01:00"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e Event
		if json.Unmarshal(raw, &e) != nil {
			return
		}
		_, _ = e.Data() // must not panic
		first, err := json.Marshal(e)
		if err != nil {
			return // a year beyond 9999
		}
		var again Event
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%s was written, and can't be read: %v", first, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("written first as\n %s\nand then as\n %s (%v)", first, second, err)
		}
	})
}

// The walk against encoding/json, in one run: what hand-written layouts are worth.
func BenchmarkEncodeGrant(b *testing.B) {
	p := grant(b)
	b.Run("walk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, _, err := EncodePayload(p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reflection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			plainJSON(b, p)
		}
	})
}

func BenchmarkDecodeGrant(b *testing.B) {
	typ, version, raw, err := EncodePayload(grant(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("walk", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodePayload(typ, version, raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reflection", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			if err := json.Unmarshal(raw, new(LicenseIssued)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// grant is the licence that a busy customer gets, with a whole decision in it.
func grant(b testing.TB) Payload {
	w := busyCustomer(b)
	v, err := w.books.Acquire(w.moment(), w.ask("dev-phone-1", "new"))
	if err != nil {
		b.Fatal(err)
	}
	i := slices.IndexFunc(v.Events, func(e NewEvent) bool { return e.Payload.EventType() == "LicenseIssued" })
	if i < 0 {
		b.Fatal("no licence was issued")
	}
	return v.Events[i].Payload
}

func golden(t testing.TB, typ string, version int) []byte {
	t.Helper()
	return goldenFile(t, fmt.Sprintf("%s.v%d.json", typ, version))
}

func goldenFile(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(raw, []byte("\n"))
}

// plainly reads a payload by the standard library alone.
func plainly(typ string, version int, raw []byte) (Payload, error) {
	c, ok := codecFor(typ)
	if !ok || version < 1 || version > c.version {
		return nil, ErrUnknownEventType
	}
	raw, err := upcast(typ, version, c.version, raw)
	if err != nil {
		return nil, err
	}
	p := c.empty()
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, err
	}
	if string(bytes.TrimSpace(raw)) == "null" {
		return nil, errors.New("nothing")
	}
	return p, nil
}

// scatter fills some fields with this and that, and empties the others.
func scatter(v reflect.Value, random *rand.Rand) {
	v.SetZero()
	if v.Kind() != reflect.Struct && random.IntN(3) == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMicro(random.Int64N(1 << 52)).UTC()))
		return
	}
	texts := []string{"a", "acquire", "t00003-s01e04", "Zoë", "더 글로리", `"quoted"`, `back\slash`, "<&>", "\u2028", "tab\t", "\x7f", "\x01", "\xff", "\U0001F600"}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			scatter(v.Field(i), random)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		scatter(v.Elem(), random)
	case reflect.Slice:
		n := random.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			scatter(v.Index(i), random)
		}
	case reflect.String:
		v.SetString(texts[random.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(random.Int64() >> random.IntN(64) * int64(1-2*random.IntN(2)))
	case reflect.Uint64:
		v.SetUint(random.Uint64() >> random.IntN(64))
	default:
		panic("a payload holds a " + v.Kind().String())
	}
}

// plainJSON is what the standard library makes of a payload.
func plainJSON(t testing.TB, p Payload) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(p); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func exampleEvent() Event {
	return Event{
		ID: "evt_1", Stream: "customer/c-1", Seq: 7, Position: Position{1, 42, 3}, Previous: Position{1, 40, 0}, Type: "PlanChanged",
		SchemaVersion: 1, OccurredAt: time.Date(2026, 3, 1, 11, 59, 59, 999999000, time.UTC),
		RecordedAt: time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC), CommandID: "01956f2e-7c00-7000-8000-000000000001",
		RequestHash: "ab12", Correlation: "req_1", Causation: "evt_0", Actor: Actor{ID: "billing", Role: RoleService},
		Versions: Versions{Policy: 3, Plan: 2, DeviceTypes: 1, Catalogue: "abc", Reference: 12},
		Payload:  json.RawMessage(`{"plan":"premium","country":"DE"}`),
	}
}

// specimen is a payload of a type with every field filled, each text after its field.
func specimen(t testing.TB, typ string) Payload {
	t.Helper()
	c, ok := codecFor(typ)
	if !ok {
		t.Fatalf("%s is no type", typ)
	}
	p := c.empty()
	n := 0
	fillIn(reflect.ValueOf(p).Elem(), "", &n)
	return p
}

func fillIn(v reflect.Value, name string, n *int) {
	switch v.Interface().(type) {
	case time.Time:
		*n++
		v.Set(reflect.ValueOf(time.Date(2026, 3, 1, 12, 0, *n, 123456000, time.UTC)))
		return
	case []byte:
		v.SetBytes([]byte(`{"a":"` + name + `"}`))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			fillIn(v.Field(i), tag, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem(), name, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fillIn(v.Index(i), name, n)
		}
	case reflect.String:
		*n++
		text := fmt.Sprintf("%s %d", strings.ReplaceAll(name, "_", " "), *n)
		if *n%7 == 6 {
			text += ": \"Zoë\" & <Ünal>\t\u2028" // what JSON writes in its own ways
		}
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		*n++
		v.SetInt(int64(*n))
	case reflect.Uint64:
		*n++
		v.SetUint(uint64(*n))
	default:
		panic("a payload holds a " + v.Kind().String())
	}
}

func emptyFields(v reflect.Value, path string) []string {
	var empty []string
	switch {
	case v.IsZero():
		return []string{path}
	case v.Type() == reflect.TypeFor[time.Time]():
	case v.Kind() == reflect.Pointer:
		return emptyFields(v.Elem(), path)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			empty = append(empty, emptyFields(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			empty = append(empty, emptyFields(v.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return empty
}
