package domain

import (
	"testing"
	"time"
)

func TestCalendarWindowsFollowTheClocksOfTheirZone(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		zone, now, from, ends string
	}{
		{"UTC", "2026-02-15T12:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"Europe/Berlin", "2026-03-31T21:59:59Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"}, // summer time begins inside
		{"Europe/Berlin", "2026-03-31T22:00:00Z", "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"},
		{"Europe/Berlin", "2026-10-31T12:00:00Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"}, // and ends inside
		{"America/New_York", "2026-01-01T04:59:59Z", "2025-12-01T05:00:00Z", "2026-01-01T05:00:00Z"},
		{"Pacific/Apia", "2011-12-15T00:00:00Z", "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"},     // a day is left out
		{"America/Asuncion", "2017-10-15T12:00:00Z", "2017-10-01T04:00:00Z", "2017-11-01T03:00:00Z"}, // the clocks jump over the first midnight
		{"America/Asuncion", "2017-10-01T03:59:59Z", "2017-09-01T04:00:00Z", "2017-10-01T04:00:00Z"},
	} {
		zone, err := time.LoadLocation(x.zone)
		if err != nil {
			t.Fatal(err)
		}
		p := &Policy{General: General{MonthWindow: Calendar{Kind: WindowCalendar, TimeZone: x.zone, location: zone}}}
		now, err := time.Parse(time.RFC3339, x.now)
		if err != nil {
			t.Fatal(err)
		}
		w := p.month(instantOf(now))
		from, ends := (w.from + 1).time().Format(time.RFC3339), w.ends.time().Format(time.RFC3339)
		if from != x.from || ends != x.ends {
			t.Errorf("%s at %s: from %s to %s, not from %s to %s", x.zone, x.now, from, ends, x.from, x.ends)
		}
	}
}

func TestAUseLeavesARollingYearAfter365Days(t *testing.T) {
	t.Parallel()
	p := &Policy{General: General{YearWindow: Calendar{Kind: WindowRolling}}}
	use := instantOf(time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC))
	leaves := p.year(use).leaves(use)
	if got := leaves.time().Format(time.RFC3339); got != "2025-02-28T12:00:00Z" {
		t.Errorf("it leaves at %s", got)
	}
	if len(after([]instant{use}, p.year(leaves-1).from)) != 1 || len(after([]instant{use}, p.year(leaves).from)) != 0 {
		t.Error("it leaves at another moment than it says")
	}
}

func TestLongDurationsDoNotOverflow(t *testing.T) {
	t.Parallel()
	terms := Terms{LicenseDuration: 1 << 62, RentalDuration: 1 << 62}
	end := termsEnding(&terms, instantOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), 0, 0)
	if end.at != 0 {
		t.Errorf("a licence for ages ends at %s", end.at.time())
	}
}

func TestRemainingDurations(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.movie("harbour", "aurora")
	w.plan(t, "standard", "DE")
	license := w.granted(t, "phone", "harbour")
	view := func() LicenseView {
		v, ok := w.books.License(license, w, w.now)
		if !ok {
			t.Fatal("the licence is gone")
		}
		return v
	}
	w.pass(24 * time.Hour)
	if v := view(); *v.LicenseRemaining != 29*86400 || *v.PlaybackRemaining != 48*3600 {
		t.Errorf("unplayed: %d and %d seconds", *v.LicenseRemaining, *v.PlaybackRemaining)
	}
	w.do(t, func(c *Customer, m Moment) (Verdict, error) {
		return c.RecordPlayback(m, PlaybackReport{LicenseID: license, PlayID: "p", Kind: PlayStart, DeviceTime: m.Now})
	})
	w.pass(time.Hour)
	if v := view(); *v.LicenseRemaining != 29*86400-3600 || *v.PlaybackRemaining != 47*3600 {
		t.Errorf("played: %d and %d seconds", *v.LicenseRemaining, *v.PlaybackRemaining)
	}
	w.pass(48 * time.Hour)
	if v := view(); *v.LicenseRemaining != 0 || *v.PlaybackRemaining != 0 || v.Status != StatusExpired {
		t.Errorf("expired: %d and %d seconds, %s", *v.LicenseRemaining, *v.PlaybackRemaining, v.Status)
	}
}
