package domain

import (
	"slices"
	"strings"
)

// DownloadedContent counts what a customer did with a title, over all devices and profiles: it is what the limits per
// title read, so that they need not load a year of licences. A release or revocation does not take a use back.
type content struct {
	title     string
	downloads []instant // acquisitions, and renewals that count as downloads; ascending
	plays     []instant // that count; ascending
}

func (t *content) size() int { return 96 + len(t.title) + 8*(len(t.downloads)+len(t.plays)) }

// pruned is t without what has left every window; nil when nothing is left.
func (t *content) pruned(now instant) *content {
	from := now.minus(RememberUses)
	downloads, plays := after(t.downloads, from), after(t.plays, from)
	switch {
	case len(downloads) == len(t.downloads) && len(plays) == len(t.plays):
		return t
	case len(downloads)+len(plays) == 0:
		return nil
	}
	return &content{title: t.title, downloads: downloads, plays: plays}
}

var noContent content

// content is what the customer did with a title; never nil.
func (c *Customer) content(title string) *content {
	if i, ok := c.contentAt(title); ok {
		return c.contents[i]
	}
	return &noContent
}

func (c *Customer) contentAt(title string) (int, bool) {
	return slices.BinarySearchFunc(c.contents, title, func(t *content, title string) int { return strings.Compare(t.title, title) })
}

func (c *Customer) changeContent(title string, f func(*content)) {
	i, ok := c.contentAt(title)
	if !ok {
		t := &content{title: title}
		f(t)
		c.contents = inserted(c.contents, i, t)
		return
	}
	t := *c.contents[i]
	f(&t)
	c.contents = with(c.contents, i, &t)
}
