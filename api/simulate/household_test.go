package simulate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
)

// fewTitles is a catalogue without series.
type fewTitles struct{}

func (fewTitles) Pick(random *rand.Rand) domain.Title {
	return domain.Title{ID: fmt.Sprintf("t%d", random.IntN(40)), Kind: domain.KindMovie}
}
func (fewTitles) Next(string) (domain.Title, bool)     { return domain.Title{}, false }
func (fewTitles) Title(id string) (domain.Title, bool) { return domain.Title{ID: id}, true }

// obliging says yes to everything, but for keys whose time is off, and answers a play with the playback life's end.
type obliging struct {
	t        *testing.T
	now      time.Time
	licenses int
	devices  map[string]bool // registered
	asked    map[simulate.Kind]int
	drifted  *simulate.Op // the last operation refused for its key's time
	set      int          // keys that were set right
}

func (o *obliging) answer(op simulate.Op) simulate.Answer {
	o.asked[op.Kind]++
	at, err := command.CommandTime(op.Key)
	if err != nil {
		o.t.Fatal(err)
	}
	off := o.now.Sub(at)
	if d := o.drifted; d != nil && op.DeviceID == d.DeviceID && (op.Kind == simulate.Acquire || op.Kind == simulate.Renew) {
		asked := op
		if asked.Key = d.Key; asked != *d || op.Key == d.Key {
			o.t.Errorf("after TOKEN_DRIFT of %+v came %+v: wanted the same with another key", *d, op)
		}
		if off.Abs() > time.Second {
			o.t.Errorf("after TOKEN_DRIFT the key is still %s off", off)
		}
		o.drifted = nil
		o.set++
	}
	if (op.Kind == simulate.Acquire || op.Kind == simulate.Renew) && (off > 7*24*time.Hour || off < -5*time.Minute) {
		o.drifted = &op
		return simulate.Answer{Outcome: simulate.Refused, Code: "TOKEN_DRIFT", ServerTime: o.now}
	}
	a := simulate.Answer{Outcome: simulate.Accepted, Position: "1:1"}
	switch op.Kind { //nolint:exhaustive // the others are just accepted
	case simulate.Acquire:
		o.devices[op.DeviceID] = true
		o.licenses++
		a.LicenseID, a.ExpiresAt = fmt.Sprintf("l%d", o.licenses), o.now.Add(30*24*time.Hour)
	case simulate.PlayStart:
		a.ExpiresAt = o.now.Add(48 * time.Hour)
	case simulate.Renew:
		return simulate.Answer{Outcome: simulate.Refused, Code: domain.CodeRenewalTooSoon}
	case simulate.Register:
		if op.Replaces != "" && !o.devices[op.Replaces] {
			o.t.Errorf("%s replaces %s, which is not registered", op.DeviceID, op.Replaces)
		}
		delete(o.devices, op.Replaces)
		o.devices[op.DeviceID] = true
	case simulate.Remove:
		delete(o.devices, op.DeviceID)
	}
	return a
}

func live(t *testing.T, o *obliging, home *simulate.Household, turns int, each time.Duration) {
	t.Helper()
	for range turns {
		op := home.Next(o.now, fewTitles{})
		home.Learn(op, o.answer(op), o.now, fewTitles{}.Title)
		o.now = o.now.Add(each)
	}
}

func TestAMinuteIsEnoughForSomeRenewals(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)
	renewals, plays := 0, 0
	for n := range 50 {
		o := &obliging{t: t, now: begin, devices: map[string]bool{}, asked: map[simulate.Kind]int{}}
		live(t, o, simulate.NewHousehold(5, n, "h"), 60, time.Second)
		renewals += o.asked[simulate.Renew]
		plays += o.asked[simulate.PlayStart]
	}
	if renewals*100 < plays || renewals*2 > plays {
		t.Errorf("%d renewals after %d plays: wanted a fair share, not all", renewals, plays)
	}
}

func TestAClockThatIsOffIsSetByTheAnswerAndTheCommandSentAgain(t *testing.T) {
	t.Parallel()
	set := 0
	for n := range 200 {
		o := &obliging{t: t, now: time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC), devices: map[string]bool{}, asked: map[simulate.Kind]int{}}
		live(t, o, simulate.NewHousehold(6, n, "h"), 60, time.Second)
		set += o.set
	}
	if set == 0 {
		t.Error("no device of 200 households has a clock that is off")
	}
}

func TestOnlyARegisteredDeviceIsReplaced(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		o := &obliging{t: t, now: time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC), devices: map[string]bool{}, asked: map[simulate.Kind]int{}}
		live(t, o, simulate.NewHousehold(7, n, "h"), 5000, time.Hour)
	}
}

func TestTheEndOfThePlaybackLifeComesWithTheAnswerToAPlay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := time.Date(2026, time.October, 1, 12, 0, 0, 0, time.UTC)
	w.now.Store(begin.UnixNano())
	random := rand.New(rand.NewPCG(1, 2))
	do := func(op simulate.Op) simulate.Answer {
		t.Helper()
		op.Customer, op.Key = "c-1", simulate.NewKey(begin, random)
		a := simulate.Handlers{App: w.app}.Do(context.WithoutCancel(t.Context()), op)
		if a.Outcome != simulate.Accepted {
			t.Fatalf("%s: %+v", op.Kind, a)
		}
		return a
	}
	do(simulate.Op{Kind: simulate.Plan, Plan: "premium", Country: "US"})
	grant := do(simulate.Op{Kind: simulate.Acquire, DeviceID: "d-1", DeviceType: "iphone", TitleID: w.titles.Catalogue().Pick(random).ID, Country: "US"})
	play := do(simulate.Op{Kind: simulate.PlayStart, LicenseID: grant.LicenseID, PlayID: "p-1", DeviceTime: begin})
	if play.ExpiresAt.IsZero() || !play.ExpiresAt.Before(grant.ExpiresAt) {
		t.Errorf("the licence ended at %s, after its first play at %s", grant.ExpiresAt, play.ExpiresAt)
	}
}
