package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
)

// must is the result of a command that may not fail.
func must(t testing.TB) func(r command.Result, err error) command.Result {
	return func(r command.Result, err error) command.Result {
		t.Helper()
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return r
	}
}

// joined makes a customer with a plan.
func (w *world) joined(customer string) {
	w.t.Helper()
	must(w.t)(w.app.ChangePlan(context.Background(), command.ChangePlan{Meta: w.meta(), Customer: customer, Plan: "standard", Country: "DE"}))
}

func (w *world) acquire(customer, device, title string) command.AcquireLicense {
	return command.AcquireLicense{
		Meta: w.meta(), Customer: customer, TitleID: title, DeviceID: device, DeviceType: "phone-x", Country: "DE", Quality: "high", SizeBytes: 700 << 20,
	}
}

// licensed makes a customer with a plan and a licence, and returns the licence's id.
func (w *world) licensed(customer, device, title string) string {
	w.t.Helper()
	w.joined(customer)
	r := must(w.t)(w.app.AcquireLicense(context.Background(), w.acquire(customer, device, title)))
	if r.License == nil {
		w.t.Fatalf("no licence: %+v", r.Decision)
	}
	return licenseID(w.t, r)
}

func licenseID(t testing.TB, r command.Result) string {
	t.Helper()
	var p command.LicensePayload
	if r.License == nil {
		t.Fatalf("the answer carries no licence; decision %+v", r.Decision)
	}
	if err := json.Unmarshal(r.License.Payload, &p); err != nil {
		t.Fatalf("reading the licence: %v", err)
	}
	return p.LicenseID
}

var reason = command.ReasonGiven{Code: domain.ReasonLostDevice, Text: "Left on the train, says Ada", Case: "C-1001"}

// step is a command with a fixed id, and the types of the events that it records.
type step struct {
	name string
	do   func(context.Context, *command.App) (command.Result, error)
	want []string
}

func say[C any](name string, method func(*command.App, context.Context, C) (command.Result, error), c C, want ...string) step {
	do := func(ctx context.Context, a *command.App) (command.Result, error) { return method(a, ctx, c) }
	return step{name, do, want}
}

// conversation is a customer's life in commands.
func conversation(w *world) []step {
	const customer, device = "ada", "phone-1"
	expires := noon.Add(20 * 24 * time.Hour)
	first, again, second, third, refused := w.acquire(customer, device, "movie-1"), w.acquire(customer, device, "movie-1"),
		w.acquire(customer, device, "movie-2"), w.acquire(customer, device, "movie-2"), w.acquire(customer, device, "movie-1")
	first.DeviceName = "Ada's phone"
	license := domain.LicenseID("ada/" + first.CommandID)
	play := command.RecordPlayback{Meta: w.meta(), Customer: customer, LicenseID: license, PlayID: "p-1", Kind: domain.PlayStart, DeviceTime: noon}
	stop := play
	stop.Meta, stop.Kind, stop.PositionSeconds = w.meta(), domain.PlayStop, 90
	exception := command.GrantException{Meta: w.support(), Customer: customer, Code: domain.CodeYearlyTitleLimit,
		Scope: domain.Scope{Kind: domain.ScopeTitle, ID: "movie-1"}, Uses: 2, ExpiresAt: &expires, Reason: reason}
	return []step{
		say("ChangePlan", (*command.App).ChangePlan,
			command.ChangePlan{Meta: w.meta(), Customer: customer, Plan: "standard", Country: "DE"}, "PlanChanged"),
		say("ChangeMembership", (*command.App).ChangeMembership,
			command.ChangeMembership{Meta: w.meta(), Customer: customer, State: domain.MembershipActive}, "MembershipChanged"),
		say("RegisterDevice", (*command.App).RegisterDevice,
			command.RegisterDevice{Meta: w.meta(), Customer: customer, DeviceID: device, DeviceType: "phone-x", Name: "Ada's phone"}, "DeviceRegistered"),
		say("AcquireLicense", (*command.App).AcquireLicense, first, "LicenseIssued", "ContentDownloaded"),
		say("AcquireLicense again", (*command.App).AcquireLicense, again, "LicenseReissued"),
		say("RecordPlayback start", (*command.App).RecordPlayback, play, "PlaybackStarted", "ContentPlayed"),
		say("RecordPlayback stop", (*command.App).RecordPlayback, stop, "PlaybackStopped"),
		say("ReleaseLicense", (*command.App).ReleaseLicense,
			command.ReleaseLicense{Meta: w.meta(), Customer: customer, LicenseID: license}, "LicenseReleased"),
		say("ConfirmRelease", (*command.App).ConfirmRelease,
			command.ConfirmRelease{Meta: w.meta(), Customer: customer, LicenseID: license}, "ReleaseConfirmed"),
		say("AcquireLicense of another", (*command.App).AcquireLicense, second, "LicenseIssued", "ContentDownloaded"),
		say("RevokeLicense", (*command.App).RevokeLicense,
			command.RevokeLicense{Meta: w.support(), Customer: customer, LicenseID: domain.LicenseID("ada/" + second.CommandID), Reason: reason}, "LicenseRevoked"),
		say("AcquireLicense after a revocation", (*command.App).AcquireLicense, third, "LicenseIssued", "ContentDownloaded"),
		say("RevokeAllForCustomer", (*command.App).RevokeAllForCustomer,
			command.RevokeAllForCustomer{Meta: w.support(), Customer: customer, Reason: reason}, "LicenseRevoked"),
		say("BlockDevice", (*command.App).BlockDevice,
			command.BlockDevice{Meta: w.support(), Customer: customer, DeviceID: device, Reason: reason}, "DeviceBlocked"),
		say("AcquireLicense on a blocked device", (*command.App).AcquireLicense, refused, "LicenseDenied"),
		say("UnblockDevice", (*command.App).UnblockDevice,
			command.UnblockDevice{Meta: w.support(), Customer: customer, DeviceID: device, Reason: reason}, "DeviceUnblocked"),
		say("GrantException", (*command.App).GrantException, exception, "ExceptionGranted"),
		say("WithdrawException", (*command.App).WithdrawException, command.WithdrawException{
			Meta: w.support(), Customer: customer, ExceptionID: domain.ExceptionID("ada/" + exception.CommandID), Reason: reason}, "ExceptionWithdrawn"),
		say("RemoveDevice", (*command.App).RemoveDevice,
			command.RemoveDevice{Meta: w.support(), Customer: customer, DeviceID: device, Reason: &reason}, "DeviceRemoved"),
		say("WithdrawTitle", (*command.App).WithdrawTitle,
			command.WithdrawTitle{Meta: w.meta(), TitleID: "movie-2", Countries: []string{"FR", "DE"}}, "TitleWithdrawn"),
		say("PublishPolicy", (*command.App).PublishPolicy, command.PublishPolicy{
			Meta: w.meta(), Policy: domain.PolicyDefault, Document: fewDevices(1), EffectiveFrom: noon.Add(time.Hour)}, "PolicyPublished"),
	}
}

func TestEachCommandRecordsWhatItSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range conversation(w) {
		w.clock.advance(time.Second)
		r, err := s.do(t.Context(), w.app)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if !slices.Equal(types(r.Events), s.want) {
			t.Fatalf("%s recorded %v, want %v", s.name, types(r.Events), s.want)
		}
		last := r.Events[len(r.Events)-1]
		if r.Version != last.Seq || r.Position != last.Position || r.Stream != last.Stream {
			t.Errorf("%s answers version %d at %s, its last event has %d at %s", s.name, r.Version, r.Position, last.Seq, last.Position)
		}
	}
}

func TestARepeatedCommandGetsTheSameAnswerAfterARestart(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	steps := conversation(first)
	answers := make([][]byte, len(steps))
	for i, s := range steps {
		first.clock.advance(time.Second)
		answers[i] = answer(t, must(t)(s.do(t.Context(), first.app)))
	}
	before := len(first.recorded())
	first.stopWriter()
	second := newWorld(t, after(first))
	for i, s := range steps {
		second.clock.advance(time.Second)
		r, err := s.do(t.Context(), second.app)
		if err != nil {
			t.Fatalf("%s again: %v", s.name, err)
		}
		if !r.Repeated {
			t.Errorf("%s again is not said to be repeated", s.name)
		}
		if got := answer(t, r); !bytes.Equal(got, answers[i]) {
			t.Errorf("%s again gets another answer:\n%s\n%s", s.name, answers[i], got)
		}
	}
	if after := len(second.recorded()); after != before {
		t.Errorf("the repeats recorded %d events", after-before)
	}
}

// answer is everything in an answer but whether it is a repeated one.
func answer(t testing.TB, r command.Result) []byte {
	t.Helper()
	r.Repeated = false
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("writing the answer: %v", err)
	}
	return raw
}

func TestACommandIDWithAnotherBodyIsAConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	license := w.licensed("ada", "phone-1", "movie-1")
	play := command.RecordPlayback{Meta: w.meta(), Customer: "ada", LicenseID: license, PlayID: "p", Kind: "start", DeviceTime: noon}
	must(t)(w.app.RecordPlayback(t.Context(), play))
	block := command.BlockDevice{Meta: w.support(), Customer: "ada", DeviceID: "phone-1", Reason: reason}
	must(t)(w.app.BlockDevice(t.Context(), block))
	before := len(w.recorded())

	other := play
	other.PositionSeconds = 1
	if _, err := w.app.RecordPlayback(t.Context(), other); !errors.Is(err, command.ErrIdempotencyConflict) {
		t.Errorf("another position under the same id: %v, want a conflict", err)
	}
	otherCommand := command.ReleaseLicense{Meta: play.Meta, Customer: "ada", LicenseID: license}
	if _, err := w.app.ReleaseLicense(t.Context(), otherCommand); !errors.Is(err, command.ErrIdempotencyConflict) {
		t.Errorf("another command under the same id: %v, want a conflict", err)
	}
	otherWords := block
	otherWords.Reason.Text = "Left on the bus"
	if _, err := w.app.BlockDevice(t.Context(), otherWords); !errors.Is(err, command.ErrIdempotencyConflict) {
		t.Errorf("other words under the same id: %v, want a conflict", err)
	}
	upper := play
	upper.CommandID = strings.ToUpper(play.CommandID)
	if r, err := w.app.RecordPlayback(t.Context(), upper); err != nil || !r.Repeated {
		t.Errorf("the same id in capitals: repeated %t, %v", r.Repeated, err)
	}
	if n := len(w.recorded()) - before; n != 0 {
		t.Errorf("%d events were recorded", n)
	}
}

func TestOnlyAcquireAndRenewAreBoundToThePresent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	license := w.licensed("ada", "phone-1", "movie-1")
	before := len(w.recorded())
	for _, at := range []time.Time{noon.Add(-8 * 24 * time.Hour), noon.Add(time.Hour), noon.AddDate(-20, 0, 0), noon.AddDate(3000, 0, 0)} {
		acquire := w.acquire("ada", "phone-1", "movie-2")
		acquire.Meta = w.metaAt(at)
		_, err := w.app.AcquireLicense(t.Context(), acquire)
		drift, ok := errors.AsType[*command.DriftError](err)
		if !ok || !errors.Is(err, command.ErrTokenDrift) {
			t.Errorf("acquire with an id of %s: %v, want a drift", at, err)
			continue
		}
		if !drift.ServerTime.Equal(w.clock.now()) || !drift.CommandTime.Equal(at) {
			t.Errorf("drift says server %s and command %s, want %s and %s", drift.ServerTime, drift.CommandTime, w.clock.now(), at)
		}
		renew := command.RenewLicense{Meta: w.metaAt(at), Customer: "ada", LicenseID: license}
		if _, err := w.app.RenewLicense(t.Context(), renew); !errors.Is(err, command.ErrTokenDrift) {
			t.Errorf("renew with an id of %s: %v, want a drift", at, err)
		}
	}
	if n := len(w.recorded()) - before; n != 0 {
		t.Errorf("%d events were recorded", n)
	}
	late := command.RecordPlayback{
		Meta: w.metaAt(noon.Add(-30 * 24 * time.Hour)), Customer: "ada", LicenseID: license, PlayID: "p", Kind: "start", DeviceTime: noon,
	}
	must(t)(w.app.RecordPlayback(t.Context(), late))
}

func TestAStaleVersionWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joined("ada")
	one, two := uint64(1), uint64(2)
	register := command.RegisterDevice{Meta: w.meta(), Customer: "ada", DeviceID: "phone-1", DeviceType: "phone-x"}
	register.IfMatch = &two
	_, err := w.app.RegisterDevice(t.Context(), register)
	conflict, ok := errors.AsType[*command.VersionConflictError](err)
	if !ok || conflict.Actual != 1 || conflict.Expected != 2 {
		t.Fatalf("with If-Match 2 at version 1: %v", err)
	}
	register.Meta = w.meta()
	register.IfMatch = &one
	must(t)(w.app.RegisterDevice(t.Context(), register))
	if r, err := w.app.RegisterDevice(t.Context(), register); err != nil || !r.Repeated {
		t.Errorf("a repeat is looked up before If-Match: repeated %t, %v", r.Repeated, err)
	}
	zero := uint64(0)
	publish := command.PublishPolicy{Meta: w.meta(), Policy: domain.PolicyDefault, Document: domain.DefaultPolicy().JSON()}
	publish.IfMatch = &one
	if _, err := w.app.PublishPolicy(t.Context(), publish); !errors.Is(err, command.ErrVersionConflict) {
		t.Errorf("publishing on version 1 of an empty stream: %v", err)
	}
	publish.Meta = w.meta()
	publish.IfMatch = &zero
	must(t)(w.app.PublishPolicy(t.Context(), publish))
}

func TestPersonalWordsAreNeverRecordedInPlain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range conversation(w) {
		w.clock.advance(time.Second)
		must(t)(s.do(t.Context(), w.app))
	}
	sealed := 0
	for _, e := range w.recorded() {
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range []string{"Ada's phone", "train", "says Ada"} {
			if bytes.Contains(raw, []byte(words)) {
				t.Errorf("event %s %s holds %q", e.Type, e.ID, words)
			}
		}
		data, err := e.Data()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := data.(*domain.DeviceRegistered); ok {
			sealed++
			if name, err := w.vault.open("ada", p.Name); err != nil || name != "Ada's phone" {
				t.Errorf("the sealed name opens to %q, %v", name, err)
			}
		}
		if p, ok := data.(*domain.DeviceBlocked); ok {
			sealed++
			if text, err := w.vault.open("ada", p.Reason.Text); err != nil || text != reason.Text {
				t.Errorf("the sealed reason opens to %q, %v", text, err)
			}
		}
	}
	if sealed != 2 {
		t.Errorf("%d sealed words were found, want 2", sealed)
	}
}

func TestACustomerGetsAKeyOnlyWhenThereAreWordsToSeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.licensed("ada", "phone-1", "movie-1")
	dry := w.acquire("ada", "phone-2", "movie-2")
	dry.DeviceName, dry.DryRun = "Ada's tablet", true
	must(t)(w.app.AcquireLicense(t.Context(), dry))
	if w.vault.has("ada") {
		t.Error("a key was made without words to seal")
	}
	must(t)(w.app.RegisterDevice(t.Context(), command.RegisterDevice{Meta: w.meta(), Customer: "ada", DeviceID: "phone-1", DeviceType: "phone-x", Name: "Mine"}))
	if !w.vault.has("ada") {
		t.Error("no key was made although there was a name to seal")
	}
}

func TestARefusalIsAnAnswerWithItsWholeDecision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.licensed("ada", "phone-1", "movie-1")
	ask := w.acquire("ada", "phone-1", "nothing-of-the-kind")
	r := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if !r.Refused() || r.Decision.Code != domain.CodeTitleUnknown || r.License != nil {
		t.Fatalf("an unknown title: refused %t, decision %+v", r.Refused(), r.Decision)
	}
	if !slices.Equal(types(r.Events), []string{"LicenseDenied"}) {
		t.Errorf("recorded %v", types(r.Events))
	}
	if r.Decision.ID != domain.DecisionID("ada/"+ask.CommandID) || r.Decision.Versions.Catalogue != "catalogue-1" || r.Decision.Versions.Policy != 1 {
		t.Errorf("decision %+v", r.Decision)
	}
	before := len(w.recorded())
	equal := must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "nothing-of-the-kind")))
	if !equal.Refused() || !equal.Repeated || equal.Decision.ID != r.Decision.ID {
		t.Errorf("an equal refusal is answered from the recorded one: repeated %t, %s", equal.Repeated, equal.Decision.ID)
	}
	if n := len(w.recorded()) - before; n != 0 {
		t.Errorf("an equal refusal recorded %d events", n)
	}
}

func TestADryRunDecidesAndRecordsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	license := w.licensed("ada", "phone-1", "movie-1")
	before := len(w.recorded())
	ask := w.acquire("ada", "phone-1", "movie-2")
	ask.DryRun = true
	r := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if r.Decision == nil || r.Refused() || r.License != nil || len(r.Events) != 0 {
		t.Errorf("evaluated: %+v", r)
	}
	ask = w.acquire("ada", "phone-1", "movie-3")
	ask.DryRun = true
	if r := must(t)(w.app.AcquireLicense(t.Context(), ask)); !r.Refused() || r.Decision.Code != domain.CodeTitleNotDownloadable {
		t.Errorf("evaluated: %+v", r.Decision)
	}
	renew := command.RenewLicense{Meta: w.meta(), Customer: "ada", LicenseID: license, DryRun: true}
	if r := must(t)(w.app.RenewLicense(t.Context(), renew)); r.Decision == nil || r.License != nil {
		t.Errorf("evaluated: %+v", r)
	}
	if n := len(w.recorded()) - before; n != 0 {
		t.Errorf("%d events were recorded", n)
	}
}

func TestARenewalCarriesANewLicence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	license := w.licensed("ada", "phone-1", "movie-1")
	w.clock.advance(10 * 24 * time.Hour)
	r := must(t)(w.app.RenewLicense(t.Context(), command.RenewLicense{Meta: w.meta(), Customer: "ada", LicenseID: license}))
	if r.Refused() {
		t.Fatalf("refused: %+v", r.Decision)
	}
	var p command.LicensePayload
	if err := json.Unmarshal(r.License.Payload, &p); err != nil {
		t.Fatal(err)
	}
	if p.LicenseID != license || !p.IssuedAt.Equal(noon) || !p.StartsAt.Equal(w.clock.now()) || p.Serial == 0 {
		t.Errorf("payload %+v", p)
	}
}

// unlimited lifts what counts, so that a test can make a customer with many licences.
func unlimited(p *domain.Policy) {
	for _, plan := range p.Plans {
		plan.MaxActivePerDevice, plan.MaxDownloadsPerDeviceMonth = nil, nil
	}
	p.Defaults.MaxActivePerStudio = nil
	for _, studio := range p.Studios {
		studio.MaxActivePerStudio = nil
	}
}

// hoarder is a customer with n active licences on a device.
func (w *world) hoarder(customer string, n int, policy func(*domain.Policy)) {
	w.t.Helper()
	ctx := context.Background()
	must(w.t)(w.app.PublishPolicy(ctx, command.PublishPolicy{Meta: w.meta(), Policy: domain.PolicyDefault, Document: changed(policy)}))
	must(w.t)(w.app.ChangePlan(ctx, command.ChangePlan{Meta: w.meta(), Customer: customer, Plan: "premium", Country: "DE"}))
	for i := range n {
		if r := must(w.t)(w.app.AcquireLicense(ctx, w.acquire(customer, "phone-1", fmt.Sprintf("film-%d", i)))); r.Refused() {
			w.t.Fatalf("licence %d: %+v", i, r.Decision)
		}
	}
}

func TestMoreLicencesThanOneCommandMayRecordAreAllRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const held = 500
	w.hoarder("ada", held, unlimited)
	revoke := command.RevokeAllForCustomer{Meta: w.support(), Customer: "ada", Reason: reason}
	first := must(t)(w.app.RevokeAllForCustomer(t.Context(), revoke))
	revoked := func() (n int) {
		for _, e := range w.recorded() {
			if e.Type == "LicenseRevoked" {
				n++
			}
		}
		return n
	}
	if n := revoked(); n != held {
		t.Fatalf("%d of %d licences were revoked", n, held)
	}
	must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "film-new")))
	again := must(t)(w.app.RevokeAllForCustomer(t.Context(), revoke))
	if !again.Repeated || !bytes.Equal(answer(t, again), answer(t, first)) {
		t.Error("the repeat gets another answer")
	}
	if n := revoked(); n != held {
		t.Errorf("the repeat revoked what was issued since: %d, not %d", n, held)
	}
}

func TestACancelledMembershipTakesEverythingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hoarder("ada", 300, unlimited)
	cancel := command.ChangeMembership{Meta: w.meta(), Customer: "ada", State: domain.MembershipCancelled}
	first := must(t)(w.app.ChangeMembership(t.Context(), cancel))
	state, err := w.app.State(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := w.follower.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range state.State.Licenses(ref, w.clock.now()) {
		if l.Status == domain.StatusActive {
			t.Fatalf("licence %s is still active", l.LicenseID)
		}
	}
	again := must(t)(w.app.ChangeMembership(t.Context(), cancel))
	if !again.Repeated || !bytes.Equal(answer(t, again), answer(t, first)) {
		t.Error("the repeat gets another answer")
	}
}

func TestTwoCustomersWithOneCommandIDGetDifferentIds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joined("ada")
	w.joined("ben")
	one := w.acquire("ada", "phone-1", "movie-1")
	other := w.acquire("ben", "phone-1", "movie-1")
	other.CommandID = one.CommandID
	a, b := must(t)(w.app.AcquireLicense(t.Context(), one)), must(t)(w.app.AcquireLicense(t.Context(), other))
	if b.Repeated || licenseID(t, a) == licenseID(t, b) || a.Decision.ID == b.Decision.ID {
		t.Errorf("licences %s and %s, decisions %s and %s", licenseID(t, a), licenseID(t, b), a.Decision.ID, b.Decision.ID)
	}
	seen := map[string]bool{}
	for _, e := range w.recorded() {
		if seen[e.ID] {
			t.Errorf("two events have the id %s", e.ID)
		}
		seen[e.ID] = true
	}
}

// The hash of a request is recorded with its events: were it another one tomorrow, the repeats of today's commands
// would be taken for conflicts.
func TestRequestHashesStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range conversation(w) {
		w.clock.advance(time.Second)
		must(t)(s.do(t.Context(), w.app))
	}
	want := map[string]string{
		"PlanChanged":       "w_n9EFbo1ccyA4047JMTvA",
		"MembershipChanged": "-RLUPtF8z2wjawD2Ju6cKg",
		"LicenseReissued":   "KIOevUreUI-xtqF3dwb-4w",
		"TitleWithdrawn":    "CQN77q7iZ6DIn1gyiaWBSA",
	}
	for _, e := range w.recorded() {
		if hash, ok := want[e.Type]; ok && e.RequestHash != hash {
			t.Errorf("the request behind %s has the hash %q, it was %q", e.Type, e.RequestHash, hash)
		}
		delete(want, e.Type)
	}
	if len(want) > 0 {
		t.Errorf("not recorded: %v", want)
	}
}
