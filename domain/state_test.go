package domain

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestAnEventThatCanNotFollowLeavesTheStateAlone(t *testing.T) {
	t.Parallel()
	w := busyCustomer(t)
	next := w.books.Version() + 1
	for name, x := range map[string]struct {
		event Event
		want  error
	}{
		"a gap":          {Event{Seq: next + 1, Type: "MembershipChanged", SchemaVersion: 1, Payload: []byte(`{"state":"paused"}`)}, nil},
		"a repetition":   {Event{Seq: next - 1, Type: "MembershipChanged", SchemaVersion: 1, Payload: []byte(`{"state":"paused"}`)}, nil},
		"unknown":        {Event{Seq: next, Type: "MoonRisen", SchemaVersion: 1, Payload: []byte(`{}`)}, ErrUnknownEventType},
		"future":         {Event{Seq: next, Type: "MembershipChanged", SchemaVersion: 99, Payload: []byte(`{}`)}, ErrFutureVersion},
		"another stream": {Event{Seq: next, Type: "TitleWithdrawn", SchemaVersion: 1, Payload: []byte(`{"title_id":"t"}`)}, ErrUnknownEventType},
		"damaged":        {Event{Seq: next, Type: "MembershipChanged", SchemaVersion: 1, Payload: []byte(`{"state":7}`)}, nil},
	} {
		before := marshalled(t, w.books)
		err := w.books.Apply(&x.event)
		if err == nil || x.want != nil && !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(before, marshalled(t, w.books)) {
			t.Errorf("%s changed the state", name)
		}
	}
}

func TestASnapshotOfAnotherFoldOrKindIsRefused(t *testing.T) {
	t.Parallel()
	data := marshalled(t, busyCustomer(t).books)
	if _, err := RestoreAggregate("customer/c1", FoldVersion+1, string(data)); !errors.Is(err, ErrFutureVersion) {
		t.Errorf("a newer fold: %v", err)
	}
	if _, err := RestoreAggregate("customer/c1", FoldVersion-1, string(data)); err == nil {
		t.Error("an older fold is taken")
	}
	for _, stream := range []StreamID{"customer/", "moon/c1", "customer", ""} {
		if _, err := NewAggregate(stream); err == nil {
			t.Errorf("stream %q is taken", stream)
		}
	}
	for i := range len(data) {
		if _, err := RestoreAggregate("customer/c1", FoldVersion, string(data[:i])); !errors.Is(err, errStateCut) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := RestoreAggregate("customer/c1", FoldVersion, string(append(data, 0))); !errors.Is(err, errStateCut) {
		t.Errorf("a byte too many: %v", err)
	}
}

func FuzzRestoreAggregate(f *testing.F) {
	w := newWorld()
	w.plan(f, "premium", "DE")
	w.movie("t1", "aurora")
	w.granted(f, "phone", "t1")
	f.Add(marshalled(f, w.books))
	f.Add(marshalled(f, NewCustomer("c1")))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, stream := range []StreamID{"customer/c1", "title/t1", "policy/default", "failopen/c1"} {
			state, err := RestoreAggregate(stream, FoldVersion, string(data))
			if err != nil {
				continue
			}
			again, err := RestoreAggregate(stream, FoldVersion, string(marshalled(t, state)))
			if err != nil {
				t.Fatalf("what was read from %x can't be read again: %v", data, err)
			}
			if !bytes.Equal(marshalled(t, state), marshalled(t, again)) {
				t.Fatalf("%x changes when it is read again", data)
			}
		}
	})
}

// States are shared between the shard writer, snapshots and reads: nothing but Apply may write to one.
func TestStatesMayBeReadAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := busyCustomer(t)
	m := w.moment()
	refused := w.ask("dev-phone-1", "unheard-of")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 20 {
				if _, err := w.books.AppendBinary(nil); err != nil {
					t.Error(err)
				}
				c := w.books.Clone().(*Customer)
				v, err := c.Acquire(m, w.ask("dev-phone-1", "new"))
				if err != nil {
					t.Error(err)
				}
				for i, n := range v.Events {
					e := Event{Seq: c.Version() + 1, RecordedAt: m.Now, Type: n.Payload.EventType(), data: n.Payload}
					if err := c.Apply(&e); err != nil {
						t.Errorf("event %d: %v", i, err)
					}
				}
				if _, err := w.books.Evaluate(m, refused); err != nil {
					t.Error(err)
				}
				w.books.Summary(w, w.now)
				w.books.Licenses(w, w.now)
				_ = w.books.Size()
			}
		})
	}
	wait.Wait()
}

func TestTheStateStaysSmallHoweverLongTheHistory(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.policy.Defaults.MaxDownloadsPerTitleYear = nil
	w.plan(t, "premium", "DE")
	for i := range 40 {
		w.movie(fmt.Sprintf("t%d", i), "unruled")
	}
	var size, events int
	for round := range 1500 {
		license := w.granted(t, "phone", fmt.Sprintf("t%d", round%40))
		w.do(t, func(c *Customer, m Moment) (Verdict, error) {
			return c.RecordPlayback(m, PlaybackReport{LicenseID: license, PlayID: fmt.Sprint(round), Kind: PlayStart, DeviceTime: m.Now})
		})
		w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, license, nil) })
		w.pass(36 * time.Hour)
		if round == 500 {
			size = w.books.Size()
		}
	}
	events = len(w.history)
	if now := w.books.Size(); now > size*11/10 || events < 5000 {
		t.Errorf("after %d events the state holds %d bytes; after a third of them it held %d", events, now, size)
	}
	if now := len(marshalled(t, w.books)); now > 40_000 {
		t.Errorf("a snapshot has %d bytes", now)
	}
}

func TestOnlySoManyEndedLicencesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.policy.Defaults.MaxDownloadsPerTitleYear = nil
	w.plan(t, "premium", "DE")
	w.movie("t", "unruled")
	var first, last string
	for i := range maxEnded + 10 {
		last = w.granted(t, "phone", "t")
		if i == 0 {
			first = last
		}
		w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, last, nil) })
		w.pass(time.Second)
	}
	if n := len(w.books.licenses); n != maxEnded {
		t.Errorf("%d licences are kept", n)
	}
	if w.books.license(first) != nil || w.books.license(last) == nil {
		t.Error("not the oldest went")
	}
	if n := len(w.books.content("t").downloads); n != maxEnded+10 {
		t.Errorf("%d downloads are counted", n)
	}
}

func TestPlaysBeyondTheBoundAreForgottenAndThenNotCounted(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.plan(t, "premium", "DE")
	w.movie("t", "unruled")
	license := w.granted(t, "phone", "t")
	report := func(play string, at time.Time) []Event {
		_, events := w.do(t, func(c *Customer, m Moment) (Verdict, error) {
			return c.RecordPlayback(m, PlaybackReport{LicenseID: license, PlayID: play, Kind: PlayStart, DeviceTime: at})
		})
		return events
	}
	began := w.now
	for i := range maxPlayMarks + 5 {
		w.pass(time.Minute)
		report(fmt.Sprint("play-", i), w.now)
	}
	if events := report(fmt.Sprint("play-", maxPlayMarks), began.Add((maxPlayMarks+1)*time.Minute)); len(events) != 0 {
		t.Errorf("a remembered play is recorded again: %v", typesOf(events))
	}
	events := report("play-0", began.Add(time.Minute))
	if len(events) != 1 || !payload(t, &events[0]).(*PlaybackStarted).Unremembered {
		t.Errorf("a forgotten play is recorded as %v", typesOf(events))
	}
	if n := len(w.books.license(license).plays); n != maxPlayMarks {
		t.Errorf("%d plays are remembered", n)
	}
}

func TestARefusalIsForgottenWhenSeventeenOthersFollow(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.plan(t, "standard", "DE")
	for i := range maxRefusals + 1 {
		w.acquire(t, w.ask("phone", fmt.Sprint("missing-", i)))
	}
	if v, _ := w.acquire(t, w.ask("phone", "missing-1")); v.Repeats == 0 {
		t.Error("the second refusal was forgotten")
	}
	if v, events := w.acquire(t, w.ask("phone", "missing-0")); v.Repeats != 0 || len(events) != 1 {
		t.Error("the first refusal is still known")
	}
	if len(w.books.refusals) != maxRefusals {
		t.Errorf("%d refusals are remembered", len(w.books.refusals))
	}
}

func TestOnlySoManyExceptionsAreOpenAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld()
	ask := ExceptionRequest{Code: CodeYearlyTitleLimit, Uses: 1, Reason: someReason}
	for range maxExceptions {
		w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.GrantException(m, ask) })
	}
	if _, err := w.books.GrantException(w.moment(), ask); !errors.Is(err, ErrConflict) {
		t.Errorf("one more: %v", err)
	}
}

func TestLapsedLicencesAreRecordedInFrontAFewAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.plan(t, "premium", "DE")
	for i := range maxLapsed + 4 {
		id := fmt.Sprintf("t%d", i)
		w.movie(id, "unruled")
		w.granted(t, "phone", id)
	}
	w.pass(40 * 24 * time.Hour)
	change := func(state string) []string {
		_, events := w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.ChangeMembership(m, state, nil) })
		return typesOf(events)
	}
	if got := change(MembershipPaused); len(got) != maxLapsed+1 || got[0] != "LicenseExpired" || got[maxLapsed] != "MembershipChanged" {
		t.Errorf("first %v", got)
	}
	if got := change(MembershipActive); len(got) != 4+1 {
		t.Errorf("then %v", got)
	}
	if got := change(MembershipPaused); len(got) != 1 {
		t.Errorf("at last %v", got)
	}
}

// What the longest windows reach back to must still be there, although the books have been pruned in between.
func TestNothingIsForgottenThatAWindowReachesBackTo(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		calendar bool
		use, ask string
		code     string
	}{
		"rolling month":  {false, "2026-01-01T12:00:00Z", "2026-01-31T11:59:59Z", CodeMonthlyDownloadLimit},
		"calendar month": {true, "2025-12-31T11:00:00Z", "2026-01-31T10:59:59Z", CodeMonthlyDownloadLimit}, // of January in Auckland
		"rolling year":   {false, "2025-03-01T12:00:00Z", "2026-03-01T11:59:59Z", CodeYearlyTitleLimit},
		"calendar year":  {true, "2027-12-31T11:00:00Z", "2028-12-31T10:59:59Z", CodeYearlyTitleLimit}, // a leap year in Auckland
	} {
		w := newWorld()
		if x.calendar {
			zone, err := time.LoadLocation("Pacific/Auckland")
			if err != nil {
				t.Fatal(err)
			}
			w.policy.General.MonthWindow = Calendar{Kind: WindowCalendar, TimeZone: zone.String(), location: zone}
			w.policy.General.YearWindow = w.policy.General.MonthWindow
		} else {
			w.policy.General.MonthWindow = Calendar{Kind: WindowRolling}
			w.policy.General.YearWindow = Calendar{Kind: WindowRolling}
		}
		if x.code == CodeMonthlyDownloadLimit {
			w.policy.Plans["standard"].MaxDownloadsPerDeviceMonth = &Limit{Max: 1}
		} else {
			w.policy.Studios["aurora"].MaxDownloadsPerTitleYear = &Limit{Max: 1}
		}
		w.movie("harbour", "aurora")
		use, err := time.Parse(time.RFC3339, x.use)
		if err != nil {
			t.Fatal(err)
		}
		ask, err := time.Parse(time.RFC3339, x.ask)
		if err != nil {
			t.Fatal(err)
		}
		w.now = use
		w.plan(t, "standard", "NZ")
		license := w.granted(t, "phone", "harbour")
		w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, license, nil) })
		for w.now = w.now.Add(24 * time.Hour); w.now.Before(ask); w.now = w.now.Add(24 * time.Hour) {
			w.plan(t, "standard", []string{"NZ", "AU"}[w.now.YearDay()%2]) // any event of another day prunes
		}
		w.now = ask
		if v, _ := w.acquire(t, w.ask("phone", "harbour")); v.Decision.Code != x.code {
			t.Errorf("%s: a second before the window's end\n%s", name, explain(v.Decision))
		}
		w.now = ask.Add(time.Second)
		if v, _ := w.acquire(t, w.ask("phone", "harbour")); v.Decision.Outcome != OutcomeGrant {
			t.Errorf("%s: at the window's end\n%s", name, explain(v.Decision))
		}
	}
}

func TestTheExceptionThatExpiresFirstIsUsedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.policy.Studios["aurora"].MaxDownloadsPerTitleYear = &Limit{}
	w.movie("harbour", "aurora")
	w.plan(t, "standard", "DE")
	var ids []string
	for _, days := range []int{0, 20, 10, 0, 10} {
		ask := ExceptionRequest{Code: CodeYearlyTitleLimit, Uses: 1, Reason: someReason}
		if days > 0 {
			ask.ExpiresAt = new(w.now.AddDate(0, 0, days))
		}
		w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.GrantException(m, ask) })
		ids = append(ids, w.books.exceptions[len(w.books.exceptions)-1].id)
	}
	for _, want := range []int{2, 4, 1, 0, 3} {
		v, _ := w.acquire(t, w.ask("phone", "harbour"))
		rule := ruleOf(v.Decision, RuleDownloadsPerYear)
		if rule.Exception != ids[want] {
			t.Errorf("exception %s is used, not number %d (%s)", rule.Exception, want, ids[want])
		}
		w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.RevokeAll(m, someReason) })
	}
}

// A snapshot is read back as it was written only by the fold and the layout that wrote it. Who changes either raises
// FoldVersion, and then this.
func TestTheFoldAndItsLayoutBelongToTheFoldVersion(t *testing.T) {
	t.Parallel()
	w := busyCustomer(t)
	license := w.books.licenses[59].subject.LicenseID
	w.do(t, func(c *Customer, m Moment) (Verdict, error) {
		return c.RecordPlayback(m, PlaybackReport{LicenseID: license, PlayID: "p", Kind: PlayStart, DeviceTime: m.Now})
	})
	w.do(t, func(c *Customer, m Moment) (Verdict, error) {
		return c.GrantException(m, ExceptionRequest{Code: CodeYearlyTitleLimit, Uses: 2, Reason: someReason})
	})
	w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.BlockDevice(m, "dev-tablet-2", someReason) })
	w.do(t, func(c *Customer, m Moment) (Verdict, error) { return c.RemoveDevice(m, "dev-tablet-2", nil) })
	w.acquire(t, w.ask("dev-phone-1", "unheard-of"))
	sum := fmt.Sprintf("%d %x", FoldVersion, sha256.Sum256(marshalled(t, w.books)))
	if want := "1 9f14f1fcc54f011da425b2ca5b145d8aa6a41d6935a765427d66fe20222385d2"; sum != want {
		t.Errorf("the fold is %q; it was %q", sum, want)
	}
}
