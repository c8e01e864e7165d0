package command_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"carryon/command"
	"carryon/domain"
)

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("in ten seconds: not %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("interrupted before: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// changed is the embedded policy with a change.
func changed(change func(p *domain.Policy)) []byte {
	p := domain.DefaultPolicy()
	change(p)
	return p.JSON()
}

func fewDevices(n int64) []byte {
	return changed(func(p *domain.Policy) { p.Plans["standard"].MaxDownloadDevices = &domain.Limit{Max: n} })
}

func TestAPolicyTakesEffectAtItsMomentAndIsNamedByDecisions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.licensed("ada", "phone-1", "movie-1")
	moment := noon.Add(time.Hour)
	published := must(t)(w.app.PublishPolicy(t.Context(), command.PublishPolicy{
		Meta: w.meta(), Policy: domain.PolicyDefault, Document: fewDevices(1), EffectiveFrom: moment,
	}))
	ask := w.acquire("ada", "tablet-1", "movie-2")
	ask.DryRun = true
	before := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if before.Refused() || before.Decision.Versions.Policy != 1 {
		t.Errorf("before its moment: %+v", before.Decision)
	}
	if before.Decision.Versions.Reference != published.Position.Index {
		t.Errorf("the decision knew the reference shard up to %d; the policy is in entry %d", before.Decision.Versions.Reference, published.Position.Index)
	}
	w.clock.set(moment)
	ask.Meta = w.meta()
	at := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if !at.Refused() || at.Decision.Code != domain.CodeDeviceLimitReached || at.Decision.Versions.Policy != 2 {
		t.Errorf("at its moment: %+v", at.Decision)
	}
}

func TestALaterVersionCancelsOneThatWasStillToCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	publish := func(document []byte, from time.Time) {
		t.Helper()
		must(t)(w.app.PublishPolicy(t.Context(), command.PublishPolicy{Meta: w.meta(), Policy: domain.PolicyDefault, Document: document, EffectiveFrom: from}))
	}
	publish(fewDevices(1), noon.Add(2*time.Hour))
	publish(fewDevices(3), noon.Add(time.Hour))
	ref, err := w.follower.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Time
		want int
	}{{noon, 1}, {noon.Add(time.Hour), 3}, {noon.Add(3 * time.Hour), 3}} {
		if got := ref.Versions(c.at).Policy; got != c.want {
			t.Errorf("at %s version %d is in force, want %d", c.at, got, c.want)
		}
	}
}

func TestDeviceTypesArePublishedLikePolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	types := domain.DefaultDeviceTypes()
	types.Types["fridge"] = domain.DeviceType{Name: "A fridge", Family: "tv", OS: "ice", SecurityLevel: "software"}
	must(t)(w.app.PublishPolicy(t.Context(), command.PublishPolicy{Meta: w.meta(), Policy: domain.PolicyDeviceTypes, Document: types.JSON()}))
	w.joined("ada")
	ask := w.acquire("ada", "fridge-1", "movie-1")
	ask.DeviceType = "fridge"
	r := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if !r.Refused() || r.Decision.Code != domain.CodeDeviceTypeUnsupported || r.Decision.Versions.DeviceTypes != 2 {
		t.Errorf("a fridge that keeps nothing: %+v", r.Decision)
	}
}

func TestAWithdrawalStopsARenewalAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	license := w.licensed("ada", "phone-1", "movie-1")
	w.clock.advance(10 * 24 * time.Hour)
	must(t)(w.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: w.meta(), TitleID: "movie-1", Countries: []string{"DE"}}))
	r := must(t)(w.app.RenewLicense(t.Context(), command.RenewLicense{Meta: w.meta(), Customer: "ada", LicenseID: license}))
	if !r.Refused() || r.Decision.Code != domain.CodeTitleWithdrawn {
		t.Fatalf("renewing a withdrawn title: %+v", r.Decision)
	}
	elsewhere := w.acquire("ben", "phone-9", "movie-1")
	elsewhere.Country = "FR"
	must(t)(w.app.ChangePlan(t.Context(), command.ChangePlan{Meta: w.meta(), Customer: "ben", Plan: "standard", Country: "FR"}))
	if r := must(t)(w.app.AcquireLicense(t.Context(), elsewhere)); r.Refused() {
		t.Errorf("in another country: %+v", r.Decision)
	}
}

func TestAnotherProcessKnowsAWithdrawalWithinItsStaleness(t *testing.T) {
	t.Parallel()
	one := newWorld(t)
	two := newWorld(t, after(one))
	r := must(t)(one.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: one.meta(), TitleID: "movie-1"}))
	if one.follower.Index() < r.Position.Index {
		t.Errorf("whoever wrote entry %d knows only %d", r.Position.Index, one.follower.Index())
	}
	eventually(t, "known to the other process", func() bool { return two.follower.Index() >= r.Position.Index })
	ref, err := two.follower.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if from, gone := ref.WithdrawnFrom("movie-1", "DE"); !gone || !from.Equal(noon) {
		t.Errorf("withdrawn from %s, %t", from, gone)
	}
}

func TestNothingIsDecidedOnAReferenceThatIsTooStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &faults{}
		w := newWorld(t, withFaults(f), withFollower(command.FollowerConfig{Interval: time.Second, MaxStaleness: 5 * time.Second}))
		w.joined("ada")
		f.set(func(f *faults) { f.logDown[domain.ReferenceShard] = true })
		<-time.After(4 * time.Second)
		must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-1")))
		<-time.After(2 * time.Second)
		before := len(w.recorded())
		if _, err := w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-2")); !errors.Is(err, command.ErrUnavailable) {
			t.Errorf("on a stale reference: %v", err)
		}
		if n := len(w.recorded()) - before; n != 0 {
			t.Errorf("%d events were recorded", n)
		}
		f.set(func(f *faults) { f.logDown[domain.ReferenceShard] = false })
		<-time.After(2 * time.Second)
		must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-2")))
	})
}

func TestAFollowerStopsAtALogThatIsNotTheOneItFollowed(t *testing.T) {
	t.Parallel()
	one := newWorld(t)
	must(t)(one.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: one.meta(), TitleID: "movie-1"}))
	must(t)(one.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: one.meta(), TitleID: "movie-2"}))
	follower := command.NewReferenceFollower(tampered{one.store.Connect()}, catalogues{}, command.FollowerConfig{}, nil)
	if err := follower.Start(t.Context()); !errors.Is(err, command.ErrDiffers) {
		t.Fatalf("following a log with a broken chain: %v", err)
	}
	if _, err := follower.Reference(t.Context()); !errors.Is(err, command.ErrUnavailable) {
		t.Errorf("its reference: %v", err)
	}
}

// tampered is a log whose second entry has another predecessor.
type tampered struct{ command.Log }

func (l tampered) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	entries, err := l.Log.Read(ctx, shard, from, maxBytes)
	for i := range entries {
		if entries[i].Index == 2 {
			entries[i].PreviousID[0] ^= 1
		}
	}
	return entries, err
}

func TestAPastReferenceIsWhatWasKnownThen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := must(t)(w.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: w.meta(), TitleID: "movie-1"}))
	w.clock.advance(time.Hour)
	must(t)(w.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: w.meta(), TitleID: "movie-2"}))
	ref, err := w.follower.AsKnown(t.Context(), first.Position.Index, "catalogue-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, gone := ref.WithdrawnFrom("movie-1", "DE"); !gone {
		t.Error("what was known is forgotten")
	}
	if _, gone := ref.WithdrawnFrom("movie-2", "DE"); gone {
		t.Error("what was not known yet is known")
	}
	at, err := w.follower.AsKnownAt(t.Context(), noon, "catalogue-0")
	if err != nil {
		t.Fatal(err)
	}
	if _, gone := at.WithdrawnFrom("movie-2", "DE"); gone {
		t.Error("at noon the later withdrawal is known")
	}
	if _, err := w.follower.AsKnown(t.Context(), 1, "catalogue-0"); !errors.Is(err, domain.ErrNotFound) {
		t.Errorf("over a catalogue that is not kept: %v", err)
	}
}

func TestASeriesIsWithdrawnWithItsEpisodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joined("ada")
	const episode = "series-1-s01e01"
	if r, err := w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", episode)); err != nil || r.Refused() {
		t.Fatalf("before: %+v, %v", r.Decision, err)
	}
	must(t)(w.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: w.meta(), TitleID: "series-1", Countries: []string{"DE"}}))
	state, err := w.app.State(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := w.follower.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range state.State.Licenses(ref, w.clock.now()) {
		if l.TitleID == episode && l.Status == domain.StatusActive {
			t.Errorf("the licence for the episode stands: %+v", l)
		}
	}
	r, err := w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", episode))
	if err != nil || !r.Refused() {
		t.Errorf("after: %+v, %v", r.Decision, err)
	}
	// Whichever is earlier counts: that of the episode alone, or that of its series.
	must(t)(w.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: w.meta(), TitleID: episode, From: w.clock.now().Add(time.Hour)}))
	if ref, err = w.follower.Reference(t.Context()); err != nil {
		t.Fatal(err)
	}
	if from, gone := ref.WithdrawnFrom(episode, "DE"); !gone || from.After(w.clock.now()) {
		t.Errorf("in Germany from %s, %v", from, gone)
	}
	if from, gone := ref.WithdrawnFrom(episode, "FR"); !gone || !from.After(w.clock.now()) {
		t.Errorf("in France from %s, %v", from, gone)
	}
}

func TestADryRunOfWhatTouchesEveryoneTellsWhomAndRecordsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withImpact(impact{}))
	withdraw := command.WithdrawTitle{Meta: w.meta(), TitleID: "movie-1", DryRun: true}
	if r := must(t)(w.app.WithdrawTitle(t.Context(), withdraw)); r.Impact == nil || r.Impact.Licenses != 3 {
		t.Errorf("a withdrawal would touch %+v", r.Impact)
	}
	publish := command.PublishPolicy{Meta: w.meta(), Policy: domain.PolicyDefault, Document: fewDevices(1), DryRun: true}
	if r := must(t)(w.app.PublishPolicy(t.Context(), publish)); r.Impact == nil || r.Impact.Customers != 1 {
		t.Errorf("a policy would touch %+v", r.Impact)
	}
	if n := len(w.recorded()); n != 0 {
		t.Errorf("%d events were recorded", n)
	}
	blind := newWorld(t)
	if _, err := blind.app.WithdrawTitle(t.Context(), withdraw); !errors.Is(err, command.ErrUnavailable) {
		t.Errorf("without read models: %v", err)
	}
	withdraw.TitleID = "nothing-of-the-kind"
	if _, err := w.app.WithdrawTitle(t.Context(), withdraw); !errors.Is(err, domain.ErrNotFound) {
		t.Errorf("of an unknown title: %v", err)
	}
}

// impact answers with what it was asked about.
type impact struct{}

func (impact) WithdrawalImpact(_ context.Context, title string, _ []string, from time.Time) (command.Touched, error) {
	if title != "movie-1" || from.IsZero() {
		return command.Touched{}, nil
	}
	return command.Touched{Customers: 2, Licenses: 3}, nil
}

func (impact) PolicyImpact(_ context.Context, p *domain.Policy) (command.Touched, error) {
	return command.Touched{Customers: int(p.Plans["standard"].MaxDownloadDevices.Max)}, nil
}
