package domain

import (
	"slices"
	"time"
)

// Kinds of title. What is licensed is a playable: a movie or an episode. A series is not licensable.
const (
	KindMovie   = "movie"
	KindEpisode = "episode"
	KindSeries  = "series"
)

// Maturities of a title and of a profile, from the tamest to the wildest. A profile may have what is not wilder.
const (
	MaturityKids  = "kids"
	MaturityTeen  = "teen"
	MaturityAdult = "adult"
)

// MaturityAllows tells whether a profile may have a title.
func MaturityAllows(profile, title string) bool { return maturityRank(title) <= maturityRank(profile) }

func maturityRank(m string) int {
	switch m {
	case MaturityKids:
		return 0
	case MaturityTeen:
		return 1
	}
	return 2
}

// Region rules say which country counts for a traveller.
const (
	RegionCurrent = "current" // where the customer is
	RegionHome    = "home"    // the plan's country
	RegionIssue   = "issue"   // where the licence was issued: a renewal does not look again
)

// Title is an entry of the catalogue.
type Title struct {
	ID           string
	Kind         string // movie, episode, series
	Name         string // of an episode: that of its series, season and number
	Series       string // name of the series; of an episode and of a series
	SeriesID     string // of the series; of an episode
	Season       int    // 1, 2, 3…; of an episode
	Episode      int    // 1, 2, 3…; of an episode
	Studio       string
	Rating       string // as published, as in TV-MA; may be empty
	Maturity     string // kids, teen, adult
	Genres       []string
	Released     string // year or date, as published; may be empty
	Windows      []Window
	RegionRule   string // current, home, issue
	Downloadable bool
	Views        int64   // published views; 0: not published
	Weight       float64 // popularity for load and ranking
}

// Playable tells whether the title is licensable at all.
func (t *Title) Playable() bool { return t.Kind == KindMovie || t.Kind == KindEpisode }

// WindowAt is the window that is open in a country at a moment. Without one it answers the next that will open, and
// false.
func (t *Title) WindowAt(country string, at time.Time) (Window, bool) {
	var next Window
	for _, w := range t.Windows {
		if !w.Covers(country) {
			continue
		}
		if w.Open(at) {
			return w, true
		}
		if w.From.After(at) && (next.From.IsZero() || w.From.Before(next.From)) {
			next = w
		}
	}
	return next, false
}

// Window is when a title may be had in some countries.
type Window struct {
	Countries []string  // ISO 3166 alpha-2, sorted; empty: everywhere
	From      time.Time // zero: always was
	To        time.Time // zero: without end; the window is closed at To
}

// Covers tells whether the window is for a country.
func (w Window) Covers(country string) bool {
	if len(w.Countries) == 0 {
		return true
	}
	_, found := slices.BinarySearch(w.Countries, country)
	return found
}

// Open tells whether the window is open at a moment.
func (w Window) Open(at time.Time) bool {
	return !at.Before(w.From) && (w.To.IsZero() || at.Before(w.To))
}

// WithdrawnWith is from when an episode is withdrawn: as soon as it is itself, or its series is.
func WithdrawnWith(series time.Time, seriesGone bool, episode time.Time, episodeGone bool) (time.Time, bool) {
	if seriesGone && (!episodeGone || series.Before(episode)) {
		return series, true
	}
	return episode, episodeGone
}
