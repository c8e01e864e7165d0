package catalogue

import (
	"cmp"
	"slices"
	"strings"

	"carryon/domain"
	"carryon/projector"
)

// Search as you type over the names of movies and series: each word of the question must begin a word of the name, or
// differ from one by a typo. Accents and case do not matter. Exact prefixes come before typos, popular titles first.

// folded are the words of a text as they are compared, in the way of every search of this program.
func folded(text string) []string {
	found := projector.Words(text)
	words := make([]string, len(found))
	for i, w := range found {
		words[i] = w.Folded
	}
	return words
}

// Search answers titles from place `from` on, at most limit, and the number of all. The id of a title is found too, and
// comes first. Without a question it answers everything.
func (c *Catalogue) Search(question string, from, limit int) ([]domain.Title, int) {
	hits := c.hits(question)
	named, ok := c.Title(question)
	titles := make([]domain.Title, 0, max(0, min(limit, len(hits)+1)))
	total := len(hits)
	if ok {
		total++
	}
	for place := max(from, 0); place < total && len(titles) < limit; place++ {
		switch {
		case ok && place == 0:
			titles = append(titles, named)
		case ok:
			titles = append(titles, c.rows[hits[place-1].row].title)
		default:
			titles = append(titles, c.rows[hits[place].row].title)
		}
	}
	return titles, total
}

// hit is a row that a question finds.
type hit struct{ row, typos int }

// hits are the rows that a question finds by their names, the best first.
func (c *Catalogue) hits(question string) []hit {
	c.once.Do(func() {
		c.words = make([][]string, len(c.rows))
		for i := range c.rows {
			c.words[i] = folded(c.rows[i].title.Name)
		}
	})
	asked := folded(question)
	if len(asked) == 0 && question != "" {
		return nil // nothing but marks
	}
	var hits []hit
	for i := range c.rows {
		if typos, ok := match(c.words[i], asked); ok && c.rows[i].title.ID != question {
			hits = append(hits, hit{i, typos})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(
			a.typos-b.typos,
			cmp.Compare(c.rows[b.row].title.Weight, c.rows[a.row].title.Weight),
			a.row-b.row,
		)
	})
	return hits
}

// match tells how many typos the name needs to hold every word that was asked for.
func match(words, asked []string) (int, bool) {
	all := 0
	for _, a := range asked {
		best := -1
		for _, w := range words {
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
