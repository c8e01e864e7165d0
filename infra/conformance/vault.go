package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"carryon/command"
	"carryon/domain"
)

// VaultFactory makes a vault that is new and empty; each call of connect is another process's way to it. Whatever it opens
// it closes by t.Cleanup.
type VaultFactory func(t *testing.T) (connect func(t *testing.T) command.Vault)

// Vault tests the contract of command.Vault: words are opened for their customer only; of many first keys one counts, for
// all processes; an erased customer stays erased, for all processes at once.
func Vault(t *testing.T, factory VaultFactory) {
	tests := []struct {
		name string
		test func(*testing.T, func(*testing.T) command.Vault)
	}{
		{"sealed words are opened for their customer only", vaultSeals},
		{"no words are sealed as none", vaultNothing},
		{"the same words of the same customer have the same digest, in every process", vaultDigests},
		{"an erased customer stays erased, for every process", vaultErases},
		{"what was taken to open words with opens none once this process has erased the key", vaultErasesWhileOpening},
		{"many first uses by several processes make one key", vaultFirstUses},
		{"of sealing and erasing at once, what was sealed after the erasure does not exist", vaultErasesBesideSealing},
		{"a call ends with its context", vaultContext},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, factory(t))
		})
	}
}

func sealed(t *testing.T, v command.Vault, customer, words string) domain.Sealed {
	t.Helper()
	s, err := v.Seal(t.Context(), customer, words)
	if err != nil {
		t.Fatalf("sealing for %s: %v", customer, err)
	}
	return s
}

func opened(t *testing.T, v command.Vault, customer string, s domain.Sealed) (string, error) {
	t.Helper()
	open, err := v.Opener(t.Context(), customer)
	if err != nil {
		return "", err
	}
	return open(t.Context(), s)
}

func opens(t *testing.T, v command.Vault, customer string, s domain.Sealed, want string) {
	t.Helper()
	if words, err := opened(t, v, customer, s); err != nil || words != want {
		t.Fatalf("opening for %s: %q, %v; want %q", customer, words, err, want)
	}
}

func vaultSeals(t *testing.T, connect func(*testing.T) command.Vault) {
	here, there := connect(t), connect(t)
	s := sealed(t, here, "c-1", "Ada's tablet")
	if strings.Contains(string(s), "tablet") {
		t.Errorf("sealed words show: %s", s)
	}
	opens(t, there, "c-1", s, "Ada's tablet")
	if again := sealed(t, here, "c-1", "Ada's tablet"); again == s {
		t.Error("the same words sealed twice look the same")
	}
	sealed(t, here, "c-2", "x")
	for customer, s := range map[string]domain.Sealed{"c-2": s, "c-3": s, "c-1": s[:len(s)-4] + "AAAA"} {
		if words, err := opened(t, there, customer, s); err == nil {
			t.Errorf("customer %s opens %q", customer, words)
		}
	}
}

func vaultNothing(t *testing.T, connect func(*testing.T) command.Vault) {
	v := connect(t)
	if s := sealed(t, v, "c-1", ""); s != "" {
		t.Errorf("sealed as %q", s)
	}
	sealed(t, v, "c-1", "words")
	opens(t, v, "c-1", "", "")
	if digest, err := v.Digest(t.Context(), "c-1", ""); digest != "" || err != nil {
		t.Errorf("digest %q, %v", digest, err)
	}
}

func vaultDigests(t *testing.T, connect func(*testing.T) command.Vault) {
	here, there := connect(t), connect(t)
	digest := func(v command.Vault, customer, words string) string {
		d, err := v.Digest(t.Context(), customer, words)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest(here, "c-1", "lost it")
	if first == "" || first != digest(there, "c-1", "lost it") {
		t.Errorf("digest %q differs from the other process's", first)
	}
	if first == digest(there, "c-1", "lost it.") || first == digest(here, "c-2", "lost it") {
		t.Error("other words or another customer have the same digest")
	}
}

func vaultErases(t *testing.T, connect func(*testing.T) command.Vault) {
	here, there := connect(t), connect(t)
	s := sealed(t, here, "c-1", "words")
	kept := sealed(t, here, "c-2", "kept")
	opens(t, there, "c-1", s, "words")
	for _, customer := range []string{"c-1", "c-1", "never-seen"} {
		if err := here.Erase(t.Context(), customer); err != nil {
			t.Fatal(err)
		}
	}
	for name, v := range map[string]command.Vault{"the process that erased": here, "another process": there, "a new process": connect(t)} {
		_, openErr := opened(t, v, "c-1", s)
		_, sealErr := v.Seal(t.Context(), "c-1", "new words")
		_, digestErr := v.Digest(t.Context(), "c-1", "words")
		_, neverErr := v.Seal(t.Context(), "never-seen", "words")
		for i, err := range []error{openErr, sealErr, digestErr, neverErr} {
			if !errors.Is(err, command.ErrErased) {
				t.Errorf("%s, call %d: %v, want ErrErased", name, i, err)
			}
		}
		opens(t, v, "c-2", kept, "kept")
	}
}

func vaultErasesWhileOpening(t *testing.T, connect func(*testing.T) command.Vault) {
	v := connect(t)
	words := map[string]domain.Sealed{"c-1": sealed(t, v, "c-1", "words"), "c-2": sealed(t, v, "c-2", "words")}
	openers := map[string]command.Opener{}
	for customer, s := range words {
		open, err := v.Opener(t.Context(), customer)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := open(t.Context(), s); err != nil || text != "words" {
			t.Fatalf("opening for %s: %q, %v", customer, text, err)
		}
		openers[customer] = open
	}
	if err := v.Erase(t.Context(), "c-1"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if text, err := openers["c-1"](t.Context(), words["c-1"]); !errors.Is(err, command.ErrErased) {
			t.Errorf("after the erasure: %q, %v, want ErrErased", text, err)
		}
		if text, err := openers["c-2"](t.Context(), words["c-2"]); err != nil || text != "words" {
			t.Errorf("another customer's: %q, %v", text, err)
		}
	}
}

func vaultFirstUses(t *testing.T, connect func(*testing.T) command.Vault) {
	const customers, uses = 12, 6
	processes := []command.Vault{connect(t), connect(t), connect(t)}
	words := make([]domain.Sealed, customers*uses)
	var all sync.WaitGroup
	for i := range words {
		all.Go(func() {
			var err error
			if words[i], err = processes[i%len(processes)].Seal(t.Context(), fmt.Sprint("c-", i/uses), fmt.Sprint("words ", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range words {
		opens(t, processes[(i+1)%len(processes)], fmt.Sprint("c-", i/uses), words[i], fmt.Sprint("words ", i))
	}
}

func vaultErasesBesideSealing(t *testing.T, connect func(*testing.T) command.Vault) {
	processes := []command.Vault{connect(t), connect(t)}
	for round := range 5 {
		customer := fmt.Sprint("c-", round)
		var all sync.WaitGroup
		for _, v := range processes {
			all.Go(func() {
				for range 10 {
					if _, err := v.Seal(t.Context(), customer, "words"); err != nil && !errors.Is(err, command.ErrErased) {
						t.Error(err)
					}
				}
			})
		}
		all.Go(func() {
			if err := processes[round%2].Erase(t.Context(), customer); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		for _, v := range processes {
			if _, err := v.Seal(t.Context(), customer, "words"); !errors.Is(err, command.ErrErased) {
				t.Errorf("after the erasure: %v", err)
			}
		}
	}
}

func vaultContext(t *testing.T, connect func(*testing.T) command.Vault) {
	v := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Seal(ctx, "c-1", "words"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
