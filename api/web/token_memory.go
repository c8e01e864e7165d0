package web

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Checking a signature costs more than deciding a command, and a client sends the same token again and again: what was
// found valid is remembered by the hash of the token, for a short while and never beyond its expiry. A key that is taken
// away stops working within that while.

const (
	rememberedTokens = 10_000
	rememberedFor    = time.Minute
)

type tokenMemory struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]knownToken
}

type knownToken struct {
	who   Identity
	until time.Time
}

func (m *tokenMemory) find(token string, now time.Time) (Identity, bool) {
	key := sha256.Sum256([]byte(token))
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.known[key]
	if !ok || !now.Before(k.until) || k.until.Sub(now) > rememberedFor { // the clock went back: check anew
		return Identity{}, false
	}
	return k.who, true
}

func (m *tokenMemory) keep(token string, who Identity, now, expires time.Time) {
	until := now.Add(rememberedFor)
	if expires.Before(until) {
		until = expires
	}
	key := sha256.Sum256([]byte(token))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= rememberedTokens {
		m.known = make(map[[sha256.Size]byte]knownToken) // starting over is cheaper than keeping an order
	}
	m.known[key] = knownToken{who, until}
}
