package vault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/vault"
)

func config(dir string) vault.Config {
	return vault.Config{Path: filepath.Join(dir, "vault.db"), MasterFile: filepath.Join(dir, "master.key")}
}

func open(t testing.TB, cfg vault.Config) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// each runs a test on the vault in a file and on the one in memory.
func each(t *testing.T, test func(t *testing.T, v *vault.Vault)) {
	t.Parallel()
	t.Run("file", func(t *testing.T) { t.Parallel(); test(t, open(t, config(t.TempDir()))) })
	t.Run("memory", func(t *testing.T) { t.Parallel(); test(t, vault.NewMemory()) })
}

func seal(t *testing.T, v *vault.Vault, customer, words string) domain.Sealed {
	t.Helper()
	sealed, err := v.Seal(t.Context(), customer, words)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func opened(t *testing.T, v *vault.Vault, customer string, sealed domain.Sealed) (string, error) {
	t.Helper()
	open, err := v.Opener(t.Context(), customer)
	if err != nil {
		return "", err
	}
	return open(t.Context(), sealed)
}

func wantOpen(t *testing.T, v *vault.Vault, customer string, sealed domain.Sealed, want string) {
	t.Helper()
	if words, err := opened(t, v, customer, sealed); err != nil || words != want {
		t.Fatalf("open: %q, %v, want %q", words, err, want)
	}
}

func TestSealedWordsAreOpenedForTheirCustomerOnly(t *testing.T) {
	each(t, func(t *testing.T, v *vault.Vault) {
		sealed := seal(t, v, "c-1", "Ada's tablet")
		if strings.Contains(string(sealed), "tablet") {
			t.Errorf("sealed words show: %s", sealed)
		}
		wantOpen(t, v, "c-1", sealed, "Ada's tablet")
		if again := seal(t, v, "c-1", "Ada's tablet"); again == sealed {
			t.Error("the same words sealed twice look the same")
		}
		seal(t, v, "c-2", "x")
		for customer, s := range map[string]domain.Sealed{"c-2": sealed, "c-3": sealed, "c-1": sealed[:len(sealed)-4] + "AAAA"} {
			if words, err := opened(t, v, customer, s); !errors.Is(err, vault.ErrNotSealedHere) {
				t.Errorf("customer %s: %q, %v", customer, words, err)
			}
		}
	})
}

func TestNoWordsAreSealedAsNone(t *testing.T) {
	each(t, func(t *testing.T, v *vault.Vault) {
		if sealed := seal(t, v, "c-1", ""); sealed != "" {
			t.Errorf("sealed as %q", sealed)
		}
		seal(t, v, "c-1", "words")
		wantOpen(t, v, "c-1", "", "")
		if digest, err := v.Digest(t.Context(), "c-1", ""); digest != "" || err != nil {
			t.Errorf("digest %q, %v", digest, err)
		}
	})
}

func TestADigestIsTheSameForTheSameWordsOfTheSameCustomer(t *testing.T) {
	each(t, func(t *testing.T, v *vault.Vault) {
		digest := func(customer, words string) string {
			d, err := v.Digest(t.Context(), customer, words)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		first := digest("c-1", "lost it")
		if first != digest("c-1", "lost it") || len(first) != 64 {
			t.Errorf("digest %q differs from the second one", first)
		}
		if first == digest("c-1", "lost it.") || first == digest("c-2", "lost it") {
			t.Error("other words or another customer have the same digest")
		}
	})
}

func TestAnErasedCustomerStaysErased(t *testing.T) {
	each(t, func(t *testing.T, v *vault.Vault) {
		sealed := seal(t, v, "c-1", "words")
		for _, customer := range []string{"c-1", "c-1", "never-seen"} {
			if err := v.Erase(t.Context(), customer); err != nil {
				t.Fatal(err)
			}
		}
		_, openErr := opened(t, v, "c-1", sealed)
		_, sealErr := v.Seal(t.Context(), "c-1", "new words")
		_, digestErr := v.Digest(t.Context(), "c-1", "words")
		_, neverErr := v.Seal(t.Context(), "never-seen", "words")
		for i, err := range []error{openErr, sealErr, digestErr, neverErr} {
			if !errors.Is(err, command.ErrErased) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

func TestManyFirstUsesMakeOneKey(t *testing.T) {
	each(t, func(t *testing.T, v *vault.Vault) {
		const customers, uses = 40, 5
		sealed := make([]domain.Sealed, customers*uses)
		var wg sync.WaitGroup
		for i := range sealed {
			wg.Go(func() {
				var err error
				if sealed[i], err = v.Seal(t.Context(), fmt.Sprint("c-", i%customers), fmt.Sprint("words ", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range sealed {
			wantOpen(t, v, fmt.Sprint("c-", i%customers), sealed[i], fmt.Sprint("words ", i))
		}
	})
}

func TestTwoProcessesAgreeOnAFirstKeyAndOnAnErasure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := open(t, config(dir)), open(t, config(dir))
	sealed := make([]domain.Sealed, 50)
	var wg sync.WaitGroup
	for i := range sealed {
		v := []*vault.Vault{a, b}[i%2]
		wg.Go(func() {
			var err error
			if sealed[i], err = v.Seal(t.Context(), "c-1", "words"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range sealed {
		wantOpen(t, []*vault.Vault{b, a}[i%2], "c-1", sealed[i], "words")
	}
	if err := a.Erase(t.Context(), "c-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := opened(t, b, "c-1", sealed[0]); !errors.Is(err, command.ErrErased) {
		t.Errorf("the other process still opens: %v", err)
	}
}

func TestAReopenedVaultHasItsKeys(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	first, err := vault.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, first, "c-1", "words")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, open(t, cfg), "c-1", sealed, "words")
	if _, err := first.Seal(t.Context(), "c-2", "words"); err == nil {
		t.Error("a closed vault seals")
	}
}

func TestAVaultIsNotOpenedUnderAnotherMasterKey(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	seal(t, open(t, cfg), "c-1", "words")
	other := cfg
	other.MasterFile = filepath.Join(t.TempDir(), "other.key")
	if _, err := vault.Open(t.Context(), other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its master key: %v", err)
	}
	if _, err := os.Stat(other.MasterFile); err == nil {
		t.Error("a new master key was made for a vault that is in use")
	}
	other.MasterKey = strings.Repeat("A", 43) + "="
	if _, err := vault.Open(t.Context(), other); !errors.Is(err, vault.ErrMasterKey) {
		t.Errorf("with another master key: %v", err)
	}
	other.MasterKey = "hunter2"
	if _, err := vault.Open(t.Context(), other); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("with a broken master key: %v", err)
	}
}

func TestAnErasedKeyIsInNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v := open(t, config(dir))
	for i := range 20 {
		seal(t, v, fmt.Sprintf("customer-%02d", i), "words")
	}
	key := vault.WrappedKey(t, v, "customer-07")
	if !vault.InFiles(t, dir, key) {
		t.Fatal("the key is not found before it is erased, so the search finds nothing")
	}
	if err := v.Erase(t.Context(), "customer-07"); err != nil {
		t.Fatal(err)
	}
	if vault.InFiles(t, dir, key) {
		t.Error("the erased key is still in a file")
	}
}

func TestAVaultGivesUpWhenItsCallerDoes(t *testing.T) {
	each(t, func(t *testing.T, v *vault.Vault) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.Seal(ctx, "c-1", "words"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
