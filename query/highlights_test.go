package query

import (
	"strings"
	"testing"

	"carryon/projector"
)

func TestHighlightsMarkWholeWordsOfTheText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		word WordAsked
		want string
	}{
		{"The Mother", WordAsked{Word: "mother"}, "The [Mother]"},
		{"Amélie & the Mothers", WordAsked{Word: "moth", Prefix: true}, "Amélie & the [Mothers]"},
		{"Amélie", WordAsked{Word: "amelie"}, "[Amélie]"},
		{"Don't Look Up", WordAsked{Word: "dont"}, "[Don't] Look Up"},
		{"A Mother's mother", WordAsked{Word: "mohter", Typos: []string{"mother"}}, "A Mother's [mother]"},
		{"Mothers", WordAsked{Word: "moth"}, ""},
		{"DEVICE_LIMIT_REACHED", WordAsked{Word: "limit"}, "DEVICE_[LIMIT]_REACHED"},
	} {
		var got strings.Builder
		parts, found := mark(c.text, []WordAsked{c.word})
		for _, p := range parts {
			if p.Match {
				got.WriteString("[" + p.Text + "]")
			} else {
				got.WriteString(p.Text)
			}
		}
		if !found {
			got.Reset()
		}
		if got.String() != c.want {
			t.Errorf("%+v in %q: got %q, want %q", c.word, c.text, got.String(), c.want)
		}
	}
	d := &projector.Document{TitleName: "The Mother", Dimensions: projector.Dimensions{Studio: "mother pictures", Code: "X"}}
	if all := highlights(d, []WordAsked{{Word: "mother"}}); len(all) != 2 || all[0].Field != "title_name" || all[1].Field != "studio" {
		t.Errorf("highlights are %+v", all)
	}
}
