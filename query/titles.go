package query

import (
	"context"
	"fmt"

	"carryon/domain"
)

// Titles asks for movies and series of the catalogue by their name.
type Titles struct {
	Q    string // words or the beginnings of words, or an id; empty: all, the most popular first
	Page Page
}

// TitlesAnswer is a page of titles.
type TitlesAnswer struct {
	Catalogue  string      `json:"catalogue"` // version: a hash of its content
	Total      int         `json:"total"`
	Titles     []TitleView `json:"titles"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

// TitleView is a title of the catalogue.
type TitleView struct {
	TitleID      string       `json:"title_id"`
	Kind         string       `json:"kind"` // movie, episode, series
	Name         string       `json:"name"`
	Series       string       `json:"series,omitempty"`
	Season       int          `json:"season,omitempty"`
	Episode      int          `json:"episode,omitempty"`
	Studio       string       `json:"studio"`
	Rating       string       `json:"rating,omitempty"`
	Maturity     string       `json:"maturity"` // kids, teen, adult
	Genres       []string     `json:"genres,omitempty"`
	Released     string       `json:"released,omitempty"`
	Windows      []WindowView `json:"windows"`
	RegionRule   string       `json:"region_rule"` // current, home, issue: which country counts
	Downloadable bool         `json:"downloadable"`
	Views        int64        `json:"views,omitempty"` // as published
}

// WindowView is when a title may be had in some countries.
type WindowView struct {
	Countries []string `json:"countries,omitempty"` // ISO 3166 alpha-2; none: everywhere
	From      string   `json:"from,omitempty"`      // RFC 3339; absent: always was
	To        string   `json:"to,omitempty"`        // RFC 3339, exclusive; absent: without end
}

// Catalogue is what may be licensed.
type Catalogue interface {
	// Version is a hash of the content.
	Version() string
	// Title looks a playable or a series up.
	Title(id string) (domain.Title, bool)
	// Studio tells whether there is a title of a studio.
	Studio(name string) bool
	// Search answers titles by their name from place `from` on, at most limit, and the number of all.
	Search(question string, from, limit int) ([]domain.Title, int)
	// Episodes are the episodes of a series, in order; none for what is no series.
	Episodes(series string) []domain.Title
}

// TitlesHandler answers Titles.
type TitlesHandler struct{ p *Ports }

// titlePlace is where a page ended, in the answer of one version of the catalogue.
type titlePlace struct {
	Version string `json:"v"`
	At      int    `json:"a"`
}

// Handle answers with a page of titles.
func (h TitlesHandler) Handle(_ context.Context, q Titles) (TitlesAnswer, error) {
	size, err := q.Page.size()
	if err != nil {
		return TitlesAnswer{}, err
	}
	if len(q.Q) > MaxQueryBytes {
		return TitlesAnswer{}, fieldError("q", "is %d bytes long, at most %d are allowed", len(q.Q), MaxQueryBytes)
	}
	if err := checkWords(q.Q); err != nil {
		return TitlesAnswer{}, err
	}
	if h.p.Catalogue == nil {
		return TitlesAnswer{}, fmt.Errorf("no catalogue here: %w", ErrUnavailable)
	}
	catalogue := h.p.Catalogue()
	var place titlePlace
	if q.Page.Cursor != "" {
		if err := h.p.Cursors.open([]string{"titles", q.Q}, q.Page.Cursor, &place); err != nil {
			return TitlesAnswer{}, err
		}
		if place.Version != catalogue.Version() {
			return TitlesAnswer{}, fieldError("cursor", "is of another version of the catalogue: begin again")
		}
	}
	titles, total := catalogue.Search(q.Q, place.At, size)
	answer := TitlesAnswer{Catalogue: catalogue.Version(), Total: total, Titles: make([]TitleView, len(titles))}
	for i := range titles {
		answer.Titles[i] = titleView(&titles[i])
	}
	if next := place.At + len(titles); next < total && len(titles) > 0 {
		answer.NextCursor, err = h.p.Cursors.seal([]string{"titles", q.Q}, titlePlace{Version: catalogue.Version(), At: next})
	}
	return answer, err
}

func titleView(t *domain.Title) TitleView {
	v := TitleView{
		TitleID: t.ID, Kind: t.Kind, Name: t.Name, Series: t.Series, Season: t.Season, Episode: t.Episode, Studio: t.Studio, Rating: t.Rating,
		Maturity: t.Maturity, Genres: t.Genres, Released: t.Released, Windows: make([]WindowView, len(t.Windows)), RegionRule: t.RegionRule,
		Downloadable: t.Downloadable, Views: t.Views,
	}
	for i, w := range t.Windows {
		v.Windows[i] = WindowView{Countries: w.Countries}
		if !w.From.IsZero() {
			v.Windows[i].From = w.From.UTC().Format(timeFormat)
		}
		if !w.To.IsZero() {
			v.Windows[i].To = w.To.UTC().Format(timeFormat)
		}
	}
	return v
}

const timeFormat = "2006-01-02T15:04:05.999999Z07:00"
