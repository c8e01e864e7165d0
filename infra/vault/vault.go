// Package vault keeps a key per customer and seals personal words under it. Whoever has the log without the vault reads no
// word; erasing a customer's key erases the words everywhere they were ever copied to.
//
// A customer's key is 32 random bytes, wrapped under the master key. Two keys are derived from it: one seals
// (AES-256-GCM, a random nonce for each), one digests (HMAC-SHA-256). The customer's id is bound into both as
// associated data, so that neither a sealed word nor a wrapped key can be moved to another customer.
//
// An erased customer keeps a tombstone. Sealing and digesting for him return command.ErrErased, like opening: a new key
// would silently begin anew what was erased on request, so a person who comes back gets a new customer id.
package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/keys"
)

// Vault is the customers' keys.
type Vault struct {
	store  store
	cache  *cache
	maker  maker
	erased atomic.Int64 // keys that this process has erased
}

var _ command.Vault = (*Vault)(nil)

// store keeps wrapped keys.
type store interface {
	// load returns the wrapped key, nil when there is none, command.ErrErased when it was erased.
	load(ctx context.Context, customer string) ([]byte, error)
	// create makes the keys durable that are not there yet, and returns for each customer the one that is there
	// now, nil for an erased one.
	create(ctx context.Context, wrapped map[string][]byte) (map[string][]byte, error)
	// erase replaces the key by a tombstone.
	erase(ctx context.Context, customer string) error
	// erasures counts the keys that were ever erased, by any process.
	erasures(ctx context.Context) (int64, error)
	close() error
}

// keyBytes is the length of every key here.
const keyBytes = 32

func newVault(s store, master keys.Secret, cacheKeys int) *Vault {
	v := &Vault{store: s, cache: newCache(cacheKeys)}
	v.maker = maker{store: s, wrapping: newAEAD(master.Key("customer-keys"))}
	return v
}

// Close waits for keys that are being made.
func (v *Vault) Close() error {
	v.maker.close()
	return v.store.close()
}

// Seal implements command.Vault. For an erased customer it returns command.ErrErased.
func (v *Vault) Seal(ctx context.Context, customer, words string) (domain.Sealed, error) {
	if words == "" {
		return "", nil
	}
	k, err := v.key(ctx, customer, v.maker.make)
	if err != nil {
		return "", fmt.Errorf("sealing words of customer %s: %w", customer, err)
	}
	return k.seal(customer, words), nil
}

// Opener implements command.Vault. Whether any process has erased a key is asked of the store once, and not for each word
// of a page; whether this one has is looked at for each.
func (v *Vault) Opener(ctx context.Context, customer string) (command.Opener, error) {
	var erased int64
	var key *customerKey
	take := func(ctx context.Context) (err error) {
		erased = v.erased.Load() // before the key: an erasure meanwhile is seen with the next word
		if key, err = v.key(ctx, customer, noKey); err != nil {
			return fmt.Errorf("opening words of customer %s: %w", customer, err)
		}
		return nil
	}
	if err := take(ctx); err != nil {
		return nil, err
	}
	return func(ctx context.Context, sealed domain.Sealed) (string, error) {
		if sealed == "" {
			return "", nil
		}
		if key == nil || v.erased.Load() != erased {
			if err := take(ctx); err != nil {
				return "", err
			}
		}
		words, err := key.open(customer, sealed)
		if err != nil {
			return "", fmt.Errorf("opening words of customer %s: %w", customer, err)
		}
		return words, nil
	}, nil
}

// Digest implements command.Vault. The digest of no words is empty. For an erased customer it returns command.ErrErased.
func (v *Vault) Digest(ctx context.Context, customer, words string) (string, error) {
	if words == "" {
		return "", nil
	}
	k, err := v.key(ctx, customer, v.maker.make)
	if err != nil {
		return "", fmt.Errorf("digesting words of customer %s: %w", customer, err)
	}
	return k.digest(customer, words), nil
}

// Erase implements command.Vault. It can be repeated; a customer who had no key gets none either.
func (v *Vault) Erase(ctx context.Context, customer string) error {
	err := v.store.erase(ctx, customer)
	v.cache.forget(customer)
	v.erased.Add(1)
	if err != nil {
		return fmt.Errorf("erasing the key of customer %s: %w", customer, err)
	}
	return nil
}

// ErrNotSealedHere: the words were not sealed under this customer's key, or were changed since.
var ErrNotSealedHere = errors.New("not sealed under this key")

func noKey(context.Context, string) ([]byte, error) {
	return nil, fmt.Errorf("there is no key: %w", ErrNotSealedHere)
}

// key is the customer's key. A key that any process has erased is not used any more, even if it is in the cache; one
// that is not there is made by missing.
func (v *Vault) key(ctx context.Context, customer string, missing func(context.Context, string) ([]byte, error)) (*customerKey, error) {
	erasures, err := v.store.erasures(ctx)
	if err != nil {
		return nil, err
	}
	if k := v.cache.get(customer, erasures); k != nil {
		return k, nil
	}
	wrapped, err := v.store.load(ctx, customer)
	if err == nil && wrapped == nil {
		wrapped, err = missing(ctx, customer)
	}
	if err != nil {
		return nil, err
	}
	k, err := v.maker.unwrap(customer, wrapped)
	if err != nil {
		return nil, err
	}
	v.cache.put(customer, erasures, k)
	return k, nil
}

// customerKey is what a customer's key is used as.
type customerKey struct {
	sealing   cipher.AEAD
	digesting []byte
}

func newCustomerKey(secret []byte) *customerKey {
	return &customerKey{sealing: newAEAD(derive(secret, "seal")), digesting: derive(secret, "digest")}
}

func derive(secret []byte, purpose string) []byte {
	key, err := hkdf.Expand(sha256.New, secret, "carryon/customer/"+purpose, keyBytes)
	if err != nil {
		panic("hkdf: " + err.Error()) // the lengths are constants
	}
	return key
}

// newAEAD is AES-256-GCM that puts a random nonce before what it seals.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("aes: " + err.Error()) // the length is a constant
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("gcm: " + err.Error())
	}
	return aead
}

// sealedV1 begins sealed words: the format, so that there can be another.
const sealedV1 = "1."

func (k *customerKey) seal(customer, words string) domain.Sealed {
	box := k.sealing.Seal(nil, nil, []byte(words), []byte(customer))
	return domain.Sealed(sealedV1 + base64.RawURLEncoding.EncodeToString(box))
}

func (k *customerKey) open(customer string, sealed domain.Sealed) (string, error) {
	if len(sealed) < len(sealedV1) || sealed[:len(sealedV1)] != sealedV1 {
		return "", fmt.Errorf("unknown format: %w", ErrNotSealedHere)
	}
	box, err := base64.RawURLEncoding.DecodeString(string(sealed[len(sealedV1):]))
	if err != nil {
		return "", ErrNotSealedHere
	}
	words, err := k.sealing.Open(nil, nil, box, []byte(customer))
	if err != nil {
		return "", ErrNotSealedHere
	}
	return string(words), nil
}

func (k *customerKey) digest(customer, words string) string {
	mac := hmac.New(sha256.New, k.digesting)
	mac.Write([]byte(customer))
	mac.Write([]byte{0})
	mac.Write([]byte(words))
	return hex.EncodeToString(mac.Sum(nil))
}

func newSecret() []byte {
	secret := make([]byte, keyBytes)
	_, _ = rand.Read(secret) // never fails
	return secret
}
