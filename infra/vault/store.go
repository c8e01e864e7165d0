package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"carryon/infra/keys"
)

// Keys is a store of wrapped keys elsewhere, which processes share.
type Keys interface {
	// Load returns the wrapped key, nil when there is none, command.ErrErased when it was erased.
	Load(ctx context.Context, customer string) ([]byte, error)
	// Create makes the keys durable that are not there yet, and returns for each customer the one that is there
	// now, nil for an erased one.
	Create(ctx context.Context, wrapped map[string][]byte) (map[string][]byte, error)
	// Erase replaces the key by a tombstone.
	Erase(ctx context.Context, customer string) error
	// Erasures is a number that grows whenever a key is erased, by any process.
	Erasures(ctx context.Context) (int64, error)
	// MasterCheck tells which master key the keys are wrapped under: nil, if none was noted.
	MasterCheck(ctx context.Context) ([]byte, error)
	// NoteMasterCheck notes it, if none is noted, and returns the one that is noted now.
	NoteMasterCheck(ctx context.Context, check []byte) ([]byte, error)
	// Close ends what the store has open.
	Close() error
}

// OpenIn opens the vault in a store. Of the settings, Path is not used. Another master key than the one that the store
// was first used with is ErrMasterKey (wrapped).
func OpenIn(ctx context.Context, k Keys, cfg Config) (*Vault, error) {
	master, err := masterFor(ctx, k, cfg)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", errors.Join(err, k.Close()))
	}
	if cfg.CacheKeys == 0 {
		cfg.CacheKeys = defaultCacheKeys
	}
	return newVault(newElsewhere(k), master, cfg.CacheKeys), nil
}

func masterFor(ctx context.Context, k Keys, cfg Config) (keys.Secret, error) {
	known, err := k.MasterCheck(ctx)
	if err != nil {
		return keys.Secret{}, err
	}
	master, err := cfg.master(known != nil)
	if err != nil {
		return keys.Secret{}, err
	}
	check := sha256.Sum256(master.Key("vault-check"))
	if known == nil {
		if known, err = k.NoteMasterCheck(ctx, check[:]); err != nil {
			return keys.Secret{}, err
		}
	}
	if !hmac.Equal(known, check[:]) {
		return keys.Secret{}, fmt.Errorf("the vault was made under another master key: %w", ErrMasterKey)
	}
	return master, nil
}

// elsewhere is such a store, seen from here.
type elsewhere struct {
	keys    Keys
	counter *counter
}

func newElsewhere(k Keys) elsewhere { return elsewhere{k, &counter{count: k.Erasures}} }

func (e elsewhere) load(ctx context.Context, customer string) ([]byte, error) {
	return e.keys.Load(ctx, customer)
}

func (e elsewhere) create(ctx context.Context, wrapped map[string][]byte) (map[string][]byte, error) {
	return e.keys.Create(ctx, wrapped)
}

func (e elsewhere) erase(ctx context.Context, customer string) error {
	return e.keys.Erase(ctx, customer)
}

func (e elsewhere) erasures(ctx context.Context) (int64, error) { return e.counter.erasures(ctx) }

func (e elsewhere) close() error {
	e.counter.close()
	return e.keys.Close()
}
