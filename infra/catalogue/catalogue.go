// Package catalogue keeps what may be licensed: the titles that come with the program, or an imported file.
package catalogue

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"sync"

	"carryon/command"
	"carryon/domain"
)

// Catalogue is one version of the titles. It never changes, and any number may read it at once.
type Catalogue struct {
	version  string
	rows     []row // in the order of the file
	byID     map[string]int
	studios  map[string]bool
	weights  []float64 // running sums, for drawing
	movies   int
	series   int
	episodes int

	once  sync.Once
	words [][]string // of each row's name, folded; made by the first search
}

var _ command.Catalogue = (*Catalogue)(nil)

// row is a line of the file, with what was derived. Episodes are made when they are asked for: there are tens of
// thousands, and most are never met.
type row struct {
	title   domain.Title
	work    string // the name without season and second name
	seasons []int  // of a series
}

// Version is a hash of the file. What is derived from a file depends on nothing else, and is never derived in another
// way: decisions name the version and must come out again.
func (c *Catalogue) Version() string { return c.version }

// Counts tells how many movies, series and episodes there are.
func (c *Catalogue) Counts() (movies, series, episodes int) { return c.movies, c.series, c.episodes }

// Title finds a movie, series or episode.
func (c *Catalogue) Title(id string) (domain.Title, bool) {
	if i, ok := c.byID[id]; ok {
		return c.rows[i].title, true
	}
	series, season, number, ok := parseEpisodeID(id)
	if !ok {
		return domain.Title{}, false
	}
	at, ok := c.byID[series]
	if !ok || !slices.Contains(c.rows[at].seasons, season) || number < 1 || number > episodesOf(series, season) {
		return domain.Title{}, false
	}
	return c.episode(&c.rows[at], season, number), true
}

// Studio tells whether there is a title of a studio.
func (c *Catalogue) Studio(name string) bool { return c.studios[name] }

func (c *Catalogue) episode(r *row, season, number int) domain.Title {
	t := r.title
	t.ID, t.Kind = EpisodeID(r.title.ID, season, number), domain.KindEpisode
	t.Name = r.work + ", season " + strconv.Itoa(season) + ", episode " + strconv.Itoa(number)
	t.Series, t.SeriesID, t.Season, t.Episode = r.work, r.title.ID, season, number
	return t
}

// EpisodeID names an episode of a series: t00003-s01e04.
func EpisodeID(series string, season, number int) string {
	return fmt.Sprintf("%s-s%02de%02d", series, season, number)
}

// parseEpisodeID takes apart what EpisodeID made.
func parseEpisodeID(id string) (series string, season, number int, ok bool) {
	const tail = len("-s01e04")
	at := len(id) - tail
	if at < 1 {
		return "", 0, 0, false
	}
	series, suffix := id[:at], id[at:]
	if suffix[:2] != "-s" || suffix[4] != 'e' {
		return "", 0, 0, false
	}
	season, seasonOK := twoDigits(suffix[2:4])
	number, numberOK := twoDigits(suffix[5:7])
	return series, season, number, seasonOK && numberOK
}

func twoDigits(s string) (int, bool) {
	tens, ones := s[0]-'0', s[1]-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}

// All are the rows of the file in their order: movies and series.
func (c *Catalogue) All(yield func(domain.Title) bool) {
	for i := range c.rows {
		if !yield(c.rows[i].title) {
			return
		}
	}
}

// Playables are all that can be licensed, movies and episodes, in the order of the file. The weight of an episode is
// that of its series: they share it.
func (c *Catalogue) Playables() iter.Seq[domain.Title] {
	return func(yield func(domain.Title) bool) {
		for i := range c.rows {
			r := &c.rows[i]
			if r.title.Kind == domain.KindMovie {
				if !yield(r.title) {
					return
				}
				continue
			}
			for t := range c.episodesIn(r) {
				if !yield(t) {
					return
				}
			}
		}
	}
}

// Episodes are the episodes of a series, in order; none for what is no series.
func (c *Catalogue) Episodes(series string) []domain.Title {
	i, ok := c.byID[series]
	if !ok {
		return nil
	}
	return slices.Collect(c.episodesIn(&c.rows[i]))
}

func (c *Catalogue) episodesIn(r *row) iter.Seq[domain.Title] {
	return func(yield func(domain.Title) bool) {
		for _, season := range r.seasons {
			for n := range episodesOf(r.title.ID, season) {
				if !yield(c.episode(r, season, n+1)) {
					return
				}
			}
		}
	}
}

// Next is the episode after this one, also over the end of a season; false after the last and for a movie.
func (c *Catalogue) Next(id string) (domain.Title, bool) {
	series, season, number, ok := parseEpisodeID(id)
	if !ok {
		return domain.Title{}, false
	}
	if t, ok := c.Title(EpisodeID(series, season, number+1)); ok {
		return t, true
	}
	return c.Title(EpisodeID(series, season+1, 1))
}

// Pick draws a playable, popular ones more often; of a series an episode, the first ones more often.
func (c *Catalogue) Pick(random *rand.Rand) domain.Title {
	x := random.Float64() * c.weights[len(c.weights)-1]
	r := &c.rows[min(sort.SearchFloat64s(c.weights, x), len(c.rows)-1)]
	if r.title.Kind == domain.KindMovie {
		return r.title
	}
	season := r.seasons[min(random.IntN(len(r.seasons)), random.IntN(len(r.seasons)))]
	n := episodesOf(r.title.ID, season)
	return c.episode(r, season, 1+min(random.IntN(n), random.IntN(n), random.IntN(n)))
}

func (c *Catalogue) add(r row) {
	last := 0.0
	if n := len(c.weights); n > 0 {
		last = c.weights[n-1]
	}
	c.byID[r.title.ID] = len(c.rows)
	c.studios[r.title.Studio] = true
	c.rows = append(c.rows, r)
	c.weights = append(c.weights, last+r.title.Weight)
	if r.title.Kind == domain.KindMovie {
		c.movies++
		return
	}
	c.series++
	for _, season := range r.seasons {
		c.episodes += episodesOf(r.title.ID, season)
	}
}
