package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carryon/infra/keys"
)

// ticking is a clock that goes on by a second each time it is read.
func ticking() func() time.Time {
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

func openSet(t *testing.T, dir string) *keys.Set {
	t.Helper()
	s, err := keys.OpenSet(dir, ticking())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t *testing.T, s *keys.Set) string {
	t.Helper()
	id, err := s.Add()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Keys are made and signatures are checked by another library than the one that signs.
func TestBothLibrariesSignAlike(t *testing.T) {
	t.Parallel()
	set := openSet(t, t.TempDir())
	id, private := set.Signer()
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "message")
		signature, err := set.Sign(id, message)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(signature, ed25519.Sign(private, message)) {
			t.Fatalf("the standard library signs otherwise: %x", signature)
		}
	})
}

func TestASignatureIsCheckedWithThePublishedKeyAlone(t *testing.T) {
	t.Parallel()
	ring, err := keys.Open(t.TempDir(), ticking())
	if err != nil {
		t.Fatal(err)
	}
	message := []byte(`{"license":"lic_1"}`)
	signature, err := ring.Sign(ring.KeyID(), message)
	if err != nil {
		t.Fatal(err)
	}
	published := ring.PublicKeys()
	if len(published) != 1 || published[0].ID != ring.KeyID() || !published[0].Current || published[0].CreatedAt.IsZero() {
		t.Fatalf("published: %+v", published)
	}
	if !ed25519.Verify(published[0].Key, message, signature) {
		t.Error("the signature is wrong")
	}
	if again, err := ring.Sign(ring.KeyID(), message); err != nil || !bytes.Equal(again, signature) {
		t.Errorf("signed again it differs (%v)", err)
	}
	if _, err := ring.Sign("other", message); !errors.Is(err, keys.ErrUnknownKey) {
		t.Errorf("signed with an unknown key: %v", err)
	}
}

func TestAnAddedKeySignsAndTheOldOnesStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSet(t, dir)
	first := s.KeyID()
	old, err := s.Sign(first, []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	second := add(t, s)
	reopened := openSet(t, dir)
	for name, s := range map[string]*keys.Set{"the one that added it": s, "one that came later": reopened} {
		if s.KeyID() != second || second == first {
			t.Errorf("%s: signs with %s, the first was %s, the second %s", name, s.KeyID(), first, second)
		}
		published := s.PublicKeys()
		if len(published) != 2 || published[0].ID != first || published[0].Current || published[1].ID != second || !published[1].Current {
			t.Errorf("%s publishes %+v", name, published)
		}
		if again, err := s.Sign(first, []byte("m")); err != nil || !bytes.Equal(again, old) {
			t.Errorf("%s can't sign with the first key any more: %v", name, err)
		}
	}
}

func TestAKeyThatAnotherProcessAddedIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	here, there := openSet(t, dir), openSet(t, dir)
	id := add(t, there)
	public, err := here.Verifier(id)
	if err != nil {
		t.Fatal(err)
	}
	kid, private := there.Signer()
	if kid != id || !ed25519.Verify(public, []byte("token"), ed25519.Sign(private, []byte("token"))) {
		t.Error("it is another key")
	}
	if _, err := here.Verifier("nobody's"); !errors.Is(err, keys.ErrUnknownKey) {
		t.Error(err)
	}
}

func TestProcessesThatStartAtOnceAgree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rings := make([]*keys.Ring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			var err error
			if rings[i], err = keys.Open(dir, ticking()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, r := range rings {
		if r.KeyID() != rings[0].KeyID() || r.Tokens.KeyID() != rings[0].Tokens.KeyID() || r.Pseudonyms().Customer("c") != rings[0].Pseudonyms().Customer("c") {
			t.Fatal("two processes have different keys")
		}
	}
	ids := make([]string, 6)
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = rings[i].Add(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all := openSet(t, filepath.Join(dir, "licence")).PublicKeys(); len(all) != 1+len(ids) {
		t.Errorf("%d keys after %d were added to one at once", len(all), len(ids))
	}
}

func TestSecretFilesAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("permissions are something else there")
	}
	dir := t.TempDir()
	if _, err := keys.Open(dir, ticking()); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has permissions %v (%v)", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil || files != 3 {
		t.Fatalf("%d files, %v", files, err)
	}
	for _, file := range []string{"licence/1.key", "token/1.key", "secret"} {
		path := filepath.Join(dir, file)
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Open(dir, ticking()); !errors.Is(err, keys.ErrExposed) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s readable by others: %v", file, err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADamagedKeyIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openSet(t, dir)
	path := filepath.Join(dir, "1.key")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty":       "",
		"cut off":     string(whole[:len(whole)/2]),
		"no JSON":     "hunter2 hunter2",
		"another key": strings.Replace(string(whole), `"seed": "`, `"seed": "AAAA`, 1),
		"another id":  strings.Replace(string(whole), `"id": "`, `"id": "x`, 1),
		"another way": strings.Replace(string(whole), "Ed25519", "RSA", 1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := keys.OpenSet(dir, ticking()); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.OpenSecret(secret); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), secret) {
		t.Errorf("a broken secret: %v", err)
	}
}

func TestASecretNeverShows(t *testing.T) {
	t.Parallel()
	s, err := keys.ParseSecret(strings.Repeat("Q", 43) + "=")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if shown := fmt.Sprintf(format, s); shown != "[secret]" {
			t.Errorf("%s shows %s", format, shown)
		}
	}
	if bytes.Equal(s.Key("a"), s.Key("b")) || len(s.Key("a")) != 32 {
		t.Error("two purposes have the same key")
	}
}

func TestPseudonymsAreTheSameForTheSameThingOnly(t *testing.T) {
	t.Parallel()
	ring, err := keys.Open(t.TempDir(), ticking())
	if err != nil {
		t.Fatal(err)
	}
	p := ring.Pseudonyms()
	seen := map[string]string{}
	for _, things := range [][]string{
		{p.Customer("c-1"), p.Customer("c-1")}, {p.Customer("c-2")}, {p.Device("c-1", "d-1"), p.Device("c-1", "d-1")}, {p.Device("c-1", "d-2")}, {p.Device("c-2", "d-1")}, {p.Device("c-1d-", "1")},
	} {
		for _, pseudonym := range things {
			if pseudonym != things[0] {
				t.Errorf("%s and %s for the same thing", pseudonym, things[0])
			}
			if other := seen[pseudonym]; other != "" && other != things[0] || strings.Contains(pseudonym, "c-1") {
				t.Errorf("%s", pseudonym)
			}
		}
		if seen[things[0]] != "" {
			t.Errorf("%s is used twice", things[0])
		}
		seen[things[0]] = things[0]
	}
	other, err := keys.Open(t.TempDir(), ticking())
	if err != nil {
		t.Fatal(err)
	}
	if other.Pseudonyms().Customer("c-1") == p.Customer("c-1") {
		t.Error("two installations give the same pseudonym")
	}
}
