package query

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"carryon/domain"
)

func TestCursorsComeBackForTheirOwnQuestionOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := NewCursors([]byte("key"))
		question := rapid.SliceOf(rapid.String()).Draw(t, "question")
		place := rapid.Uint64().Draw(t, "place")
		cursor, err := c.seal(question, place)
		if err != nil {
			t.Fatal(err)
		}
		var got uint64
		if err := c.open(question, cursor, &got); err != nil || got != place {
			t.Fatalf("got %d, %v; want %d", got, err, place)
		}
		if err := c.open(append(question, "x"), cursor, &got); err == nil {
			t.Fatal("it opens for another question")
		}
		if err := NewCursors([]byte("other")).open(question, cursor, &got); err == nil {
			t.Fatal("it opens with another key")
		}
		broken := []byte(cursor)
		i := rapid.IntRange(0, len(broken)-1).Draw(t, "byte")
		broken[i] = map[bool]byte{true: 'A', false: 'B'}[broken[i] != 'A']
		// The last letter of base64 may carry bits that mean nothing.
		if err := c.open(question, string(broken), &got); err == nil && (i < len(broken)-1 || got != place) {
			t.Fatalf("it opens with byte %d changed", i)
		}
	})
}

func TestPagesOfAListHoldEverythingOnceWhileItChanges(t *testing.T) {
	t.Parallel()
	p := &Ports{Cursors: NewCursors(nil)}
	id := func(s *string) string { return *s }
	list := strings.Split("abcdefghij", "")
	page := Page{Limit: 3}
	var got []string
	for round := 0; ; round++ {
		from, err := p.listFrom(&page, "list")
		if err != nil {
			t.Fatal(err)
		}
		shown, next, err := listPage(p, list, from, 3, id, "list")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, shown...)
		if next == "" {
			break
		}
		page.Cursor = next
		switch round {
		case 0:
			list = append([]string{"x", "y"}, list...) // new ones in front
		case 1:
			list = list[4:] // the first ones are forgotten
		}
	}
	if !slices.Equal(got, strings.Split("abcdefghij", "")) {
		t.Errorf("the pages hold %v", got)
	}
}

func TestPageSizesAreBounded(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{0: DefaultPageSize, 1: 1, MaxPageSize: MaxPageSize} {
		if got, err := (Page{Limit: limit}).size(); err != nil || got != want {
			t.Errorf("%d: %d, %v", limit, got, err)
		}
	}
	for _, limit := range []int{-1, MaxPageSize + 1} {
		_, err := (Page{Limit: limit}).size()
		if field, ok := errors.AsType[*domain.FieldError](err); !ok || field.Field != "limit" {
			t.Errorf("%d: %v", limit, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	c := NewCursors([]byte("key"))
	good, err := c.seal("question", 7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		var place int
		if err := c.open("question", cursor, &place); err == nil && place != 7 {
			t.Errorf("%q opens at %d", cursor, place)
		}
	})
}
