package query

import (
	"context"

	"carryon/domain"
)

// Titles asks for titles of the catalogue by their name.
type Titles struct {
	Q    string // words or the beginning of words, or an id; empty: all
	Kind string // movie, series, episode; empty: all
	Page Page
}

// TitlesAnswer is a page of titles.
type TitlesAnswer struct {
	Catalogue  string         `json:"catalogue"` // version: a hash of its content
	Titles     []domain.Title `json:"titles"`
	NextCursor string         `json:"next_cursor,omitempty"`
}

// TitlesHandler answers Titles.
type TitlesHandler struct{ p *Ports }

// Handle answers with a page of titles.
func (h TitlesHandler) Handle(ctx context.Context, q Titles) (TitlesAnswer, error) {
	return TitlesAnswer{}, ErrUnavailable
}
