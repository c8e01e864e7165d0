package domain

import (
	"testing"
	"time"
)

func TestOnlyMoviesAndEpisodesAreLicensable(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]bool{KindMovie: true, KindEpisode: true, KindSeries: false, "": false} {
		if title := (Title{Kind: kind}); title.Playable() != want {
			t.Errorf("a %q is licensable: %v", kind, !want)
		}
	}
}

func TestAProfileMayHaveWhatIsNotWilder(t *testing.T) {
	t.Parallel()
	order := []string{MaturityKids, MaturityTeen, MaturityAdult}
	for i, profile := range order {
		for j, title := range order {
			if got := MaturityAllows(profile, title); got != (j <= i) {
				t.Errorf("a profile for %s may have what is for %s: %v", profile, title, got)
			}
		}
	}
	if MaturityAllows(MaturityTeen, "") || MaturityAllows(MaturityKids, "unrated") {
		t.Error("a title without a known maturity is not for adults only")
	}
}

func TestTheWindowOfACountryAtAMoment(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	german := []string{"AT", "CH", "DE"}
	title := Title{Windows: []Window{
		{Countries: german, From: day(1), To: day(5)}, // ended on the 5th,
		{Countries: german, From: day(20)},            // and comes back on the 20th
		{Countries: german, From: day(10), To: day(12)},
		{Countries: []string{"US"}, To: day(8)},
	}}
	for _, c := range []struct {
		name    string
		country string
		at      time.Time
		open    bool
		from    time.Time // of the window that is open, or opens next
	}{
		{"the first moment", "DE", day(1), true, day(1)},
		{"the last moment", "CH", day(5).Add(-time.Microsecond), true, day(1)},
		{"the moment of the end", "DE", day(5), false, day(10)},
		{"before all", "AT", day(1).Add(-time.Microsecond), false, day(1)},
		{"between the second and the third", "DE", day(15), false, day(20)},
		{"without end", "DE", day(20).AddDate(90, 0, 0), true, day(20)},
		{"from ever", "US", day(1).AddDate(-90, 0, 0), true, time.Time{}},
		{"ended for good", "US", day(8), false, time.Time{}},
		{"a country that was never served", "FR", day(3), false, time.Time{}},
		{"no country", "", day(3), false, time.Time{}},
		{"a country between others", "BE", day(3), false, time.Time{}},
	} {
		w, open := title.WindowAt(c.country, c.at)
		if open != c.open || !w.From.Equal(c.from) {
			t.Errorf("%s: open %v from %v, want %v from %v", c.name, open, w.From, c.open, c.from)
		}
	}
	everywhere := Title{Windows: []Window{{}}}
	for _, country := range []string{"DE", "ZZ", ""} {
		if w, open := everywhere.WindowAt(country, day(1)); !open || !w.To.IsZero() {
			t.Errorf("a title for everywhere is open %v in %q, until %v", open, country, w.To)
		}
	}
	if _, open := (&Title{}).WindowAt("DE", day(1)); open {
		t.Error("a title without windows is open")
	}
}
