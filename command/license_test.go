package command_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"carryon/command"
)

// verify is the procedure of docs/licence-format.md, with nothing but the published keys and the standard library.
func verify(keys map[string]ed25519.PublicKey, keyID string, payload, signature []byte, customer, device string) (map[string]any, bool) {
	key, ok := keys[keyID]
	if !ok || !ed25519.Verify(key, payload, signature) {
		return nil, false
	}
	var says map[string]any
	if json.Unmarshal(payload, &says) != nil {
		return nil, false
	}
	fits := says["version"] == float64(1) && says["key_id"] == keyID && says["customer"] == customer && says["device_id"] == device
	return says, fits
}

func published(app *command.App) map[string]ed25519.PublicKey {
	keys := map[string]ed25519.PublicKey{}
	for _, k := range app.PublicKeys() {
		keys[k.ID] = k.Key
	}
	return keys
}

func TestALicenceIsVerifiedOfflineFromThePublishedKeysAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joined("ada")
	r := must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-1")))
	keys := published(w.app)
	l := r.License
	says, ok := verify(keys, l.KeyID, l.Payload, l.Signature, "ada", "phone-1")
	if !ok {
		t.Fatalf("a true licence is refused: %s", l.Payload)
	}
	issued, err := time.Parse(time.RFC3339Nano, says["issued_at"].(string))
	if err != nil || !issued.Equal(noon) {
		t.Errorf("issued_at is %v, want %s", says["issued_at"], noon)
	}
	if says["title_id"] != "movie-1" || says["persistent"] != true || says["basis"] != "books" {
		t.Errorf("the licence says %v", says)
	}
	if _, ok := says["terms"].(map[string]any); !ok {
		t.Errorf("the licence has no terms: %v", says)
	}
	forged := append([]byte(nil), l.Payload...)
	forged[len(forged)/2] ^= 1
	if _, ok := verify(keys, l.KeyID, forged, l.Signature, "ada", "phone-1"); ok {
		t.Error("a changed payload passes")
	}
	if _, ok := verify(keys, l.KeyID, l.Payload, l.Signature, "ada", "phone-2"); ok {
		t.Error("another device's licence passes")
	}
	if _, ok := verify(keys, "key-0", l.Payload, l.Signature, "ada", "phone-1"); ok {
		t.Error("an unknown key passes")
	}
}

func TestAnOldKeyStillSignsTheAnswersOfItsTime(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	first.joined("ada")
	ask := first.acquire("ada", "phone-1", "movie-1")
	before := must(t)(first.app.AcquireLicense(t.Context(), ask))
	first.stopWriter()

	rotated := newSigner("key-1", "key-2")
	rotated.keys["key-1"] = first.signer.keys["key-1"]
	first.signer = rotated
	second := newWorld(t, after(first))
	again := must(t)(second.app.AcquireLicense(t.Context(), ask))
	if string(again.License.Signature) != string(before.License.Signature) || again.License.KeyID != "key-1" {
		t.Errorf("the repeat is signed by %s and differs", again.License.KeyID)
	}
	fresh := must(t)(second.app.AcquireLicense(t.Context(), second.acquire("ada", "phone-1", "movie-2")))
	if fresh.License.KeyID != "key-2" {
		t.Errorf("a new licence is signed by %s", fresh.License.KeyID)
	}
	for _, r := range []command.Result{again, fresh} {
		if _, ok := verify(published(second.app), r.License.KeyID, r.License.Payload, r.License.Signature, "ada", "phone-1"); !ok {
			t.Errorf("the licence of %s is refused", r.License.KeyID)
		}
	}
}

func TestALicenceGivenOutAgainAfterARenewalRunsFromTheRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	license := w.licensed("ada", "phone-1", "movie-1")
	w.clock.advance(10 * 24 * time.Hour)
	renewed := must(t)(w.app.RenewLicense(t.Context(), command.RenewLicense{Meta: w.meta(), Customer: "ada", LicenseID: license}))
	w.clock.advance(time.Hour)
	again := must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-1")))
	read := func(r command.Result) (p command.LicensePayload) {
		if err := json.Unmarshal(r.License.Payload, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	was, is := read(renewed), read(again)
	if is.LicenseID != license || is.Serial <= was.Serial {
		t.Errorf("licence %s, serial %d after %d", is.LicenseID, is.Serial, was.Serial)
	}
	if !is.StartsAt.Equal(was.StartsAt) || !is.IssuedAt.Equal(was.IssuedAt) || is.ExpiresAt == nil || !is.ExpiresAt.Equal(*was.ExpiresAt) {
		t.Errorf("it runs from %s to %v, the renewed one from %s to %v", is.StartsAt, is.ExpiresAt, was.StartsAt, was.ExpiresAt)
	}
}

func TestAGrantThatCannotBeSignedIsSignedWhenTheCommandComesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joined("ada")
	ask := w.acquire("ada", "phone-1", "movie-1")
	key := w.signer.keys["key-1"]
	delete(w.signer.keys, "key-1")
	if _, err := w.app.AcquireLicense(t.Context(), ask); !errors.Is(err, command.ErrUnknown) {
		t.Errorf("recorded and not signed: %v, want unknown", err)
	}
	w.signer.keys["key-1"] = key
	r := must(t)(w.app.AcquireLicense(t.Context(), ask))
	if !r.Repeated || r.License == nil {
		t.Errorf("again: repeated %t, licence %v", r.Repeated, r.License)
	}
}
