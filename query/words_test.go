package query

import (
	"context"
	"fmt"
	"testing"

	"carryon/domain"
)

// keyBox counts how often a key is taken, and how many words are opened before it is erased.
type keyBox struct{ taken, lasts int }

func (b *keyBox) Opener(context.Context, string) (WordsOpener, error) {
	b.taken++
	return func(_ context.Context, sealed domain.Sealed) (string, error) {
		if b.lasts--; b.lasts < 0 {
			return "", fmt.Errorf("erased meanwhile: %w", ErrErased)
		}
		return "opened " + string(sealed), nil
	}, nil
}

func TestAnAnswerTakesTheKeyOnceAndOnlyForWords(t *testing.T) {
	t.Parallel()
	box := &keyBox{lasts: 2}
	o := (&Ports{Words: box}).wordsOf(Caller{}, "c-1")
	for i, want := range []struct {
		sealed domain.Sealed
		words  string
		erased bool
		taken  int
	}{
		{"", "", false, 0},
		{"a", "opened a", false, 1},
		{"b", "opened b", false, 1},
		{"c", "", true, 1}, // erased while the answer is made
		{"d", "", true, 1},
		{"", "", false, 1},
	} {
		words, erased, err := o.open(t.Context(), want.sealed)
		if words != want.words || erased != want.erased || err != nil || box.taken != want.taken {
			t.Errorf("word %d: %q, %t, %v, key taken %d times; want %+v", i, words, erased, err, box.taken, want)
		}
	}
}
