package projector

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Words of a text are folded in one way for every search engine: small letters, without accents, so that "Amélie" is
// found by "amelie" and "Don't" by "dont". What stands between letters and digits parts words, but for apostrophes.
// Scripts that write no spaces are one word from one mark to the next: they are found by their beginnings.

// Word is a word of a text: folded, and where it stands in the text, in bytes.
type Word struct {
	Folded     string
	Start, End int
}

const maxWordBytes = 64 // longer words are cut, in text and question alike

// Words are the words of a text, in order.
func Words(text string) []Word {
	var words []Word
	start := -1
	end := func(at int) {
		if start >= 0 {
			if folded := Fold(text[start:at]); folded != "" {
				words = append(words, Word{Folded: folded, Start: start, End: at})
			}
			start = -1
		}
	}
	for i, r := range text {
		switch {
		case isWordRune(r):
			if start < 0 {
				start = i
			}
		case isApostrophe(r) && start >= 0:
		default:
			end(i)
		}
	}
	end(len(text))
	return words
}

// Fold makes one word comparable; what is neither letter nor digit is left out.
func Fold(word string) string {
	var out strings.Builder
	if isPlain(word) {
		out.Grow(len(word))
		for i := range len(word) {
			c := word[i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			out.WriteByte(c)
		}
		return cut(out.String())
	}
	for _, r := range norm.NFKD.String(word) {
		if unicode.Is(unicode.Mn, r) || !isWordRune(r) {
			continue
		}
		r = unicode.ToLower(r)
		if s := spelled(r); s != "" {
			out.WriteString(s)
			continue
		}
		out.WriteRune(r)
	}
	return cut(out.String())
}

func isPlain(word string) bool {
	for i := range len(word) {
		c := word[i]
		if c >= utf8.RuneSelf || !isWordRune(rune(c)) {
			return false
		}
	}
	return true
}

func isWordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)
}

func isApostrophe(r rune) bool { return r == '\'' || r == '’' || r == 'ʼ' }

// spelled are letters that no decomposition takes apart, as they are typed without them.
func spelled(r rune) string {
	switch r {
	case 'ß':
		return "ss"
	case 'æ':
		return "ae"
	case 'œ':
		return "oe"
	case 'ø':
		return "o"
	case 'ð', 'đ':
		return "d"
	case 'þ':
		return "th"
	case 'ł':
		return "l"
	case 'ı':
		return "i"
	}
	return ""
}

func cut(word string) string {
	if len(word) <= maxWordBytes {
		return word
	}
	at := maxWordBytes
	for !utf8.RuneStart(word[at]) {
		at--
	}
	return word[:at]
}

// TypeWords are the words of an event type: "LicenseIssued" is license, issued.
func TypeWords(eventType string) []string {
	var words []string
	start := 0
	for i, r := range eventType {
		if i > start && unicode.IsUpper(r) {
			words = append(words, Fold(eventType[start:i]))
			start = i
		}
	}
	return append(words, Fold(eventType[start:]))
}
