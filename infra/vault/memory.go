package vault

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"sync"

	"carryon/command"
	"carryon/infra/keys"
)

// NewMemory is a vault that forgets everything, for tests.
func NewMemory() *Vault {
	var master [keys.SecretBytes]byte
	_, _ = rand.Read(master[:]) // never fails
	secret, err := keys.ParseSecret(base64.StdEncoding.EncodeToString(master[:]))
	if err != nil {
		panic(err) // it has the right length
	}
	return newVault(&memory{wrapped: make(map[string][]byte), erased: make(map[string]bool)}, secret, defaultCacheKeys)
}

type memory struct {
	mu      sync.Mutex
	wrapped map[string][]byte
	erased  map[string]bool
}

func (m *memory) load(ctx context.Context, customer string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.erased[customer] {
		return nil, command.ErrErased
	}
	return m.wrapped[customer], ctx.Err()
}

func (m *memory) create(ctx context.Context, wrapped map[string][]byte) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := make(map[string][]byte, len(wrapped))
	for customer, key := range wrapped {
		if m.wrapped[customer] == nil && !m.erased[customer] {
			m.wrapped[customer] = key
		}
		there[customer] = m.wrapped[customer]
	}
	return there, ctx.Err()
}

func (m *memory) erase(ctx context.Context, customer string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.wrapped, customer)
	m.erased[customer] = true
	return ctx.Err()
}

func (m *memory) erasures(ctx context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.erased)), ctx.Err()
}

func (m *memory) close() error { return nil }
