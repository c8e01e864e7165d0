package queryapi

import (
	"net/http"

	"carryon/api/web"
)

// Answer is a good answer, or that the caller has it already.
type Answer[A any] struct {
	Status       int
	ETag         string `header:"ETag" doc:"The version that the answer was made from, in quotes"`
	CacheControl string `header:"Cache-Control"`
	Body         A
}

// versioned answers with a stream's version as ETag.
func versioned[A any](c Conditional, version uint64, body A) *Answer[A] {
	return tagged(c, web.ETag(version), body)
}

// tagged answers with an ETag, or that nothing has changed. The caller may keep the answer, and must ask again.
func tagged[A any](c Conditional, tag string, body A) *Answer[A] {
	a := &Answer[A]{Status: http.StatusOK, ETag: tag, CacheControl: "private, no-cache", Body: body}
	if web.NoneMatch(c.IfNoneMatch, tag) {
		a.Status = http.StatusNotModified
	}
	return a
}

// plain answers without an ETag.
func plain[A any](body A, err error) (*Answer[A], error) {
	if err != nil {
		return nil, err
	}
	return &Answer[A]{Status: http.StatusOK, Body: body}, nil
}
