package query

import (
	"slices"
	"strings"

	"carryon/projector"
)

// highlights marks where the words of a question stand in a document. It is done here, on the text that is shown, so
// that every search engine marks the same.
func highlights(d *projector.Document, words []WordAsked) []Highlight {
	if len(words) == 0 {
		return nil
	}
	var all []Highlight
	for _, f := range []struct{ field, text string }{
		{"title_name", d.TitleName}, {"series", d.Series}, {"studio", d.Studio}, {"code", d.Code},
	} {
		if parts, found := mark(f.text, words); found {
			all = append(all, Highlight{Field: f.field, Parts: parts})
		}
	}
	return all
}

// mark parts a text into what matches and what does not.
func mark(text string, words []WordAsked) (parts []Part, found bool) {
	at := 0
	for _, w := range projector.Words(text) {
		if !slices.ContainsFunc(words, func(asked WordAsked) bool { return asked.matches(w.Folded) }) {
			continue
		}
		if w.Start > at {
			parts = append(parts, Part{Text: text[at:w.Start]})
		}
		parts = append(parts, Part{Text: text[w.Start:w.End], Match: true})
		at, found = w.End, true
	}
	if at < len(text) {
		parts = append(parts, Part{Text: text[at:]})
	}
	return parts, found
}

func (w WordAsked) matches(word string) bool {
	return word == w.Word || w.Prefix && strings.HasPrefix(word, w.Word) || slices.Contains(w.Typos, word)
}
