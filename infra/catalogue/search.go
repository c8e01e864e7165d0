package catalogue

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"carryon/domain"
)

// Search as you type over the names of movies and series: each word of the question must begin a word of the name, or
// differ from one by a typo. Accents and case do not matter. Exact prefixes come before typos, popular titles first.

// indexed are the folded words of a row.
type indexed struct{ words []string }

// Fold takes case and accents away.
func Fold(text string) string {
	folded, _, err := transform.String(transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), strings.ToLower(text))
	if err != nil {
		return strings.ToLower(text)
	}
	return folded
}

func wordsOf(text string) []string {
	return strings.FieldsFunc(Fold(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// Search answers titles from place `from` on, at most limit, and the number of all.
func (c *Catalogue) Search(question string, from, limit int) ([]domain.Title, int) {
	c.once.Do(func() {
		c.words = make([]indexed, len(c.rows))
		for i := range c.rows {
			c.words[i].words = wordsOf(c.rows[i].title.Name)
		}
	})
	asked := wordsOf(question)
	type hit struct {
		row   int
		typos int
	}
	var hits []hit
	for i := range c.rows {
		if c.rows[i].title.ID == question {
			hits = append(hits, hit{i, -1})
			continue
		}
		if typos, ok := c.words[i].match(asked); ok && (len(asked) > 0 || question == "") {
			hits = append(hits, hit{i, typos})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		if a.typos != b.typos {
			return a.typos - b.typos
		}
		wa, wb := c.rows[a.row].title.Weight, c.rows[b.row].title.Weight
		switch {
		case wa > wb:
			return -1
		case wa < wb:
			return 1
		}
		return a.row - b.row
	})
	total := len(hits)
	hits = hits[min(max(from, 0), total):]
	hits = hits[:min(max(limit, 0), len(hits))]
	titles := make([]domain.Title, len(hits))
	for i, h := range hits {
		titles[i] = c.rows[h.row].title
	}
	return titles, total
}

// match tells how many typos the name needs to hold every word that was asked for.
func (x indexed) match(asked []string) (int, bool) {
	all := 0
	for _, a := range asked {
		best := -1
		for _, w := range x.words {
			if strings.HasPrefix(w, a) {
				best = 0
				break
			}
			if allowed := typosAllowed(a); allowed > 0 {
				if d := prefixDistance(a, w, allowed); d <= allowed && (best < 0 || d < best) {
					best = d
				}
			}
		}
		if best < 0 {
			return 0, false
		}
		all += best
	}
	return all, true
}

func typosAllowed(word string) int {
	switch n := len(word); {
	case n < 4:
		return 0
	case n < 8:
		return 1
	}
	return 2
}

// prefixDistance is the least number of letters to insert, drop, replace or swap so that a begins w; above most it is
// most+1.
func prefixDistance(a, w string, most int) int {
	if len(w) < len(a)-most || a[0] != w[0] && (len(a) < 2 || len(w) < 2 || a[1] != w[0] && a[0] != w[1] && a[1] != w[1]) {
		return most + 1
	}
	w = w[:min(len(w), len(a)+most)]
	var before, previous, current [80]int
	if len(w) >= len(current) {
		return most + 1
	}
	for j := range len(w) + 1 {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		least := i
		for j := 1; j <= len(w); j++ {
			cost := 1
			if a[i-1] == w[j-1] {
				cost = 0
			}
			d := min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == w[j-2] && a[i-2] == w[j-1] {
				d = min(d, before[j-2]+1)
			}
			current[j] = d
			least = min(least, d)
		}
		if least > most {
			return most + 1
		}
		before, previous = previous, current
	}
	best := most + 1
	for j := max(0, len(a)-most); j <= len(w); j++ {
		best = min(best, previous[j])
	}
	return best
}
