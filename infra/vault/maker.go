package vault

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"sync"
	"time"

	"carryon/command"
)

// maker makes keys, many in one transaction: whoever asks while others are being made waits for the next round, which
// makes one key for each customer who was asked for, however often. A key is used only when it is durable.
type maker struct {
	store    store
	wrapping cipher.AEAD

	mu      sync.Mutex
	next    *round // gathers; nil: nobody waits
	running bool
	closed  bool
	rounds  sync.WaitGroup
}

type round struct {
	wanted map[string]bool
	done   chan struct{}
	made   map[string][]byte // wrapped
	err    error
}

// roundTime is how long a round may take, whoever waits for it.
const roundTime = 10 * time.Second

// make returns the customer's new key, wrapped.
func (m *maker) make(ctx context.Context, customer string) ([]byte, error) {
	r, err := m.join(customer)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("making a key: %w: %w", command.ErrUnavailable, context.Cause(ctx))
	case <-r.done:
	}
	if r.err != nil {
		return nil, fmt.Errorf("making a key: %w", r.err)
	}
	if r.made[customer] == nil {
		return nil, command.ErrErased
	}
	return r.made[customer], nil
}

func (m *maker) join(customer string) (*round, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, command.ErrClosed
	}
	if m.next == nil {
		m.next = &round{wanted: make(map[string]bool), done: make(chan struct{})}
	}
	m.next.wanted[customer] = true
	r := m.next
	if !m.running {
		m.running = true
		m.rounds.Go(m.run)
	}
	return r, nil
}

// run makes rounds until nobody waits.
func (m *maker) run() {
	for {
		m.mu.Lock()
		r := m.next
		m.next = nil
		if r == nil {
			m.running = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		r.made, r.err = m.round(r)
		close(r.done)
	}
}

func (m *maker) round(r *round) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), roundTime)
	defer cancel()
	wrapped := make(map[string][]byte, len(r.wanted))
	for customer := range r.wanted {
		wrapped[customer] = m.wrapping.Seal(nil, nil, newSecret(), []byte(customer))
	}
	return m.store.create(ctx, wrapped)
}

func (m *maker) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.rounds.Wait()
}

// ErrMasterKey: a key was not wrapped under this master key, or was damaged.
var ErrMasterKey = errors.New("not wrapped under this master key")

func (m *maker) unwrap(customer string, wrapped []byte) (*customerKey, error) {
	secret, err := m.wrapping.Open(nil, nil, wrapped, []byte(customer))
	if err != nil || len(secret) != keyBytes {
		return nil, ErrMasterKey
	}
	return newCustomerKey(secret), nil
}
