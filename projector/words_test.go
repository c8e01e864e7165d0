package projector

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"carryon/domain"
)

func TestWordsAreFoldedAlike(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"The Mother":                  "the mother",
		"Amélie — Le Fabuleux Destin": "amelie le fabuleux destin",
		"Don't Look Up":               "dont look up",
		"Don’t":                       "dont",
		"DEVICE_LIMIT_REACHED":        "device limit reached",
		"Ærø Straße Łódź Đặng ıİ":     "aero strasse lodz dang ii",
		"ﬁlm ²":                       "film 2",
		"오징어 게임":                      "오징어 게임",
		"CASE-42/a":                   "case 42 a",
		"'quoted'":                    "quoted",
		"  ":                          "",
		"\uE000license":               "license",
		strings.Repeat("é", 100):      strings.Repeat("e", 64),
		"a\x00b":                      "a b",
	} {
		var got []string
		for _, w := range Words(text) {
			got = append(got, w.Folded)
		}
		if text == "오징어 게임" { // folding takes syllables apart, in text and question alike
			if len(got) != 2 || got[0] != Fold("오징어") {
				t.Errorf("%q is %q", text, got)
			}
			continue
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q is %q, want %q", text, strings.Join(got, " "), want)
		}
	}
}

func TestTypeWordsPartCamels(t *testing.T) {
	t.Parallel()
	if got := TypeWords("LicenseIssued"); !slices.Equal(got, []string{"license", "issued"}) {
		t.Errorf("LicenseIssued is %q", got)
	}
}

func TestEveryEventTypeHasAPlaceInTheReadModels(t *testing.T) {
	t.Parallel()
	for _, eventType := range domain.EventTypes() {
		e := &domain.Event{Stream: "customer/c", Seq: 1, Type: eventType, SchemaVersion: domain.SchemaVersion(eventType), Payload: []byte(`{}`)}
		if _, _, err := AboutEvent(e); err != nil {
			t.Errorf("%s: %v", eventType, err)
		}
		if err := readable(e); err != nil {
			t.Errorf("%s: %v", eventType, err)
		}
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"The Mother", "Don’t", "Ærø", "\xff\xfe", "\uE000x", "İ", "a\u0301", "ﬃ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		end := 0
		for _, w := range Words(text) {
			if w.Start < end || w.End <= w.Start || w.End > len(text) {
				t.Fatalf("%q: a word from %d to %d after %d", text, w.Start, w.End, end)
			}
			end = w.End
			if w.Folded == "" || len(w.Folded) > maxWordBytes || !utf8.ValidString(w.Folded) {
				t.Fatalf("%q: a word is folded to %q", text, w.Folded)
			}
			for _, r := range w.Folded {
				if !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) {
					t.Fatalf("%q: a folded word holds %q", text, r)
				}
			}
			if again := Fold(w.Folded); again != w.Folded {
				t.Fatalf("%q is folded to %q, and that to %q", text, w.Folded, again)
			}
		}
	})
}
