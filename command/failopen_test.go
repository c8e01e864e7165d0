package command_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
)

// failingOpen is a policy that lets titles be had while the books can't be read.
func failingOpen(p *domain.Policy) { p.Defaults.FailMode = domain.FailOpenMode }

// darkened is a second process on the store of a customer whose books it can't read.
func darkened(t *testing.T, policy func(*domain.Policy)) (before, w *world, f *faults) {
	t.Helper()
	before = newWorld(t)
	if policy != nil {
		must(t)(before.app.PublishPolicy(t.Context(), command.PublishPolicy{
			Meta: before.meta(), Policy: domain.PolicyDefault, Document: changed(policy),
		}))
	}
	before.joined("ada")
	before.stopWriter()
	f = &faults{}
	f.set(func(f *faults) { f.unreadable["customer/ada"] = true })
	return before, newWorld(t, after(before), withFaults(f)), f
}

func settling(t *testing.T, w *world) {
	t.Helper()
	if err := w.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func readable(f *faults) { f.set(func(f *faults) { f.unreadable["customer/ada"] = false }) }

func of(events []domain.Event, stream domain.StreamID) []domain.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e domain.Event) bool { return e.Stream != stream })
}

func TestWithoutTheBooksAShortLicenceIsGrantedWhereThePolicySaysOpen(t *testing.T) {
	t.Parallel()
	_, w, f := darkened(t, failingOpen)
	ask := w.acquire("ada", "phone-1", "movie-1")
	r := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if r.Stream != "failopen/ada" || !slices.Equal(types(r.Events), []string{"LicenseIssued"}) {
		t.Fatalf("recorded %v in %s", types(r.Events), r.Stream)
	}
	data, err := r.Events[0].Data()
	if err != nil {
		t.Fatal(err)
	}
	issued := data.(*domain.LicenseIssued)
	if issued.Basis != domain.BasisFailOpen || issued.ExpiresAt == nil || issued.ExpiresAt.After(noon.Add(48*time.Hour)) {
		t.Errorf("basis %s until %v", issued.Basis, issued.ExpiresAt)
	}
	if _, ok := verify(published(w.app), r.License.KeyID, r.License.Payload, r.License.Signature, "ada", "phone-1"); !ok {
		t.Error("the licence is refused")
	}
	first := answer(t, r)
	again := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if !again.Repeated || !bytes.Equal(answer(t, again), first) {
		t.Error("the repeat gets another answer while the books are dark")
	}

	settling(t, w)
	readable(f)
	eventually(t, "settled", func() bool { return len(of(w.recorded(), "failopen/ada")) == 2 })
	books := of(w.recorded(), "customer/ada")
	if got := types(books); !slices.Contains(got, "LicenseIssued") || !slices.Contains(got, "ContentDownloaded") || got[len(got)-1] != "GrantReconciled" {
		t.Errorf("the books say %v", got)
	}
	data, err = books[len(books)-1].Data()
	if err != nil {
		t.Fatal(err)
	}
	if settled := data.(*domain.GrantReconciled); settled.Outcome != domain.ReconciledKept || settled.LicenseID != issued.LicenseID {
		t.Errorf("settled as %+v", settled)
	}
	if books[len(books)-1].Actor.Role != domain.RoleSystem {
		t.Errorf("settled by %+v", books[len(books)-1].Actor)
	}
	again = must(t)(w.app.AcquireLicense(t.Context(), ask))
	if !again.Repeated || !bytes.Equal(answer(t, again), first) {
		t.Error("the repeat gets another answer when the books can be read again")
	}
	made, err := w.app.Decision(t.Context(), "ada", r.Decision.ID)
	if err != nil || !made.Same {
		t.Errorf("the decision made again, %v:\n%+v\n%+v", err, made.Recorded, made.Again)
	}
}

func TestWithoutTheBooksNothingIsGrantedWhereThePolicySaysClosed(t *testing.T) {
	t.Parallel()
	_, w, _ := darkened(t, func(p *domain.Policy) {
		p.Defaults.FailMode = domain.FailClosedMode
		for _, s := range p.Studios {
			s.FailMode = ""
		}
	})
	before := len(w.recorded())
	_, err := w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-1"))
	if !errors.Is(err, command.ErrUnreadable) || !errors.Is(err, command.ErrUnavailable) {
		t.Errorf("fail mode closed: %v", err)
	}
	if n := len(w.recorded()) - before; n != 0 {
		t.Errorf("%d events were recorded", n)
	}
}

func TestAGrantThatCannotBeRecordedIsNotMade(t *testing.T) {
	t.Parallel()
	_, w, f := darkened(t, failingOpen)
	f.set(func(f *faults) { f.unwritable[domain.ReferenceShard] = true })
	if _, err := w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-1")); !errors.Is(err, command.ErrUnavailable) {
		t.Errorf("neither books nor log: %v", err)
	}
	f.set(func(f *faults) { f.unwritable[domain.ReferenceShard] = false })
	dry := w.acquire("ada", "phone-1", "movie-1")
	dry.DryRun = true
	if r, err := w.app.AcquireLicense(t.Context(), dry); err == nil {
		t.Errorf("a dry run without the books answers %+v", r)
	}
	renew := command.RenewLicense{Meta: w.meta(), Customer: "ada", LicenseID: "lic_1"}
	if _, err := w.app.RenewLicense(t.Context(), renew); !errors.Is(err, command.ErrUnavailable) {
		t.Errorf("a renewal without the books: %v", err)
	}
}

func TestAGrantThatTheBooksWouldHaveRefusedIsRevokedWhenItIsSettled(t *testing.T) {
	t.Parallel()
	before := newWorld(t)
	must(t)(before.app.PublishPolicy(t.Context(), command.PublishPolicy{Meta: before.meta(), Policy: domain.PolicyDefault, Document: changed(failingOpen)}))
	before.licensed("ada", "phone-1", "movie-1")
	must(t)(before.app.BlockDevice(t.Context(), command.BlockDevice{Meta: before.support(), Customer: "ada", DeviceID: "phone-1", Reason: reason}))
	before.stopWriter()
	f := &faults{}
	f.set(func(f *faults) { f.unreadable["customer/ada"] = true })
	w := newWorld(t, after(before), withFaults(f))
	r := must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-2")))
	if r.License == nil {
		t.Fatalf("not granted: %+v", r.Decision)
	}
	settling(t, w)
	readable(f)
	eventually(t, "settled", func() bool { return len(of(w.recorded(), "failopen/ada")) == 2 })
	books := of(w.recorded(), "customer/ada")
	data, err := books[len(books)-1].Data()
	if err != nil {
		t.Fatal(err)
	}
	settled, ok := data.(*domain.GrantReconciled)
	if !ok || settled.Outcome != domain.ReconciledRevoked || settled.Code != domain.CodeDeviceBlocked {
		t.Errorf("settled as %+v", data)
	}
}

func TestSettlingGoesOnAfterACrashBetweenItsTwoAppends(t *testing.T) {
	t.Parallel()
	_, w, f := darkened(t, failingOpen)
	must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-1")))
	// From now on the books can be read, but what settles the grant can't be marked: as if the process died in between.
	f.set(func(f *faults) { f.unreadable["customer/ada"], f.unwritable[domain.ReferenceShard] = false, true })
	settling(t, w)
	settledBooks := func() bool {
		books := of(w.recorded(), "customer/ada")
		return books[len(books)-1].Type == "GrantReconciled"
	}
	eventually(t, "settled with the books", settledBooks)
	w.app.Close()
	w.stopWriter()
	if n := len(of(w.recorded(), "failopen/ada")); n != 1 {
		t.Fatalf("the failopen stream has %d events, want the grant alone", n)
	}
	inBooks := len(of(w.recorded(), "customer/ada"))

	second := newWorld(t, after(w))
	settling(t, second)
	eventually(t, "marked as settled", func() bool { return len(of(second.recorded(), "failopen/ada")) == 2 })
	if n := len(of(second.recorded(), "customer/ada")); n != inBooks {
		t.Errorf("the books grew from %d to %d events: the grant was counted twice", inBooks, n)
	}
}

func TestSettlingIsIdempotentEvenWhenItsCommandIdsAreForgotten(t *testing.T) {
	t.Parallel()
	_, w, f := darkened(t, failingOpen)
	must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-1")))
	f.set(func(f *faults) { f.unreadable["customer/ada"], f.unwritable[domain.ReferenceShard] = false, true })
	settling(t, w)
	eventually(t, "settled with the books", func() bool {
		books := of(w.recorded(), "customer/ada")
		return books[len(books)-1].Type == "GrantReconciled"
	})
	w.app.Close()
	w.stopWriter()
	inBooks := len(of(w.recorded(), "customer/ada"))
	w.clock.advance(20 * 24 * time.Hour)

	second := newWorld(t, after(w))
	settling(t, second)
	eventually(t, "marked as settled", func() bool { return len(of(second.recorded(), "failopen/ada")) == 2 })
	marks := of(second.recorded(), "failopen/ada")
	data, err := marks[1].Data()
	if err != nil {
		t.Fatal(err)
	}
	if settled := data.(*domain.GrantReconciled); settled.Outcome != domain.ReconciledKept {
		t.Errorf("marked as %+v", settled)
	}
	issued := 0
	for _, e := range of(second.recorded(), "customer/ada")[inBooks:] {
		if strings.HasPrefix(e.Type, "Content") || e.Type == "LicenseIssued" || e.Type == "GrantReconciled" {
			issued++
		}
	}
	if issued != 0 {
		t.Errorf("%d events count the grant again", issued)
	}
}

func TestAGrantIsGivenOutAgainWhileTheBooksAreDark(t *testing.T) {
	t.Parallel()
	_, w, f := darkened(t, failingOpen)
	first := must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-1")))
	w.clock.advance(time.Minute)
	ask := w.acquire("ada", "phone-1", "movie-1")
	second := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if licenseID(t, second) != licenseID(t, first) || !slices.Equal(types(second.Events), []string{"LicenseReissued"}) {
		t.Errorf("another licence %s, events %v", licenseID(t, second), types(second.Events))
	}
	readable(f)
	settling(t, w)
	eventually(t, "settled", func() bool { return len(of(w.recorded(), "failopen/ada")) == 3 })
	again := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if !again.Repeated || !bytes.Equal(answer(t, again), answer(t, second)) {
		t.Error("the repeat gets another answer after the settlement")
	}
}

func TestACommandThatTheBooksGrantedMeanwhileIsCountedOnce(t *testing.T) {
	t.Parallel()
	before, w, f := darkened(t, failingOpen)
	// Another process reads the books, and has not heard of the grant when the command comes to it.
	other := newWorld(t, after(before), withFollower(command.FollowerConfig{Interval: time.Hour, MaxStaleness: time.Hour}))
	ask := w.acquire("ada", "phone-1", "movie-1")
	given := must(t)(w.app.AcquireLicense(t.Context(), ask))
	booked := must(t)(other.app.AcquireLicense(t.Context(), ask))
	if licenseID(t, given) != licenseID(t, booked) || booked.Stream != "customer/ada" {
		t.Fatalf("licence %s without the books, %s with them in %s", licenseID(t, given), licenseID(t, booked), booked.Stream)
	}
	other.stopWriter()
	readable(f)
	settling(t, w)
	eventually(t, "settled", func() bool { return len(of(w.recorded(), "failopen/ada")) == 2 })
	downloads := 0
	for _, e := range w.recorded() {
		if e.Type == "ContentDownloaded" {
			downloads++
		}
	}
	if downloads != 1 {
		t.Errorf("%d downloads are counted", downloads)
	}
}
