package catalogue

import (
	"testing"

	"pgregory.net/rapid"
)

func TestTheDistanceToABeginningIsThatOfThePlainDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[abc]{1,9}`)
		asked, name := word.Draw(t, "asked"), word.Draw(t, "name")
		most := rapid.IntRange(1, 2).Draw(t, "most")
		want := most + 1
		for n := range len(name) + 1 {
			want = min(want, plainDistance(asked, name[:n]))
		}
		got := prefixDistance(asked, name, most)
		// What begins otherwise in its first two letters is not looked at: a typo is rarely there, and it is dear.
		if got != want && (got <= most || alike(asked, name)) {
			t.Fatalf("%q begins %q with %d typos, want %d", asked, name, got, want)
		}
	})
}

func alike(a, b string) bool { return a[0] == b[0] }

// plainDistance counts insertions, deletions, replacements and swaps of neighbours.
func plainDistance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range b {
		d[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
