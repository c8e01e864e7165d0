package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"carryon/command"
)

// Set is the Ed25519 keys for one purpose, in one folder: a file for each, numbered 1, 2, 3… The one with the highest
// number signs; the others stay, because what they signed is still about. The order does not depend on a clock, and the
// number makes sure that of several processes that add a key at once each adds another.
type Set struct {
	dir string
	now command.Clock

	mu     sync.RWMutex
	keys   map[string]*key
	order  []*key // by number; the last one signs
	looked time.Time
}

type key struct {
	number    int
	id        string
	createdAt time.Time
	private   ed25519.PrivateKey
}

// keyFile is what a key's file holds.
type keyFile struct {
	Algorithm string    `json:"algorithm"`
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Seed      []byte    `json:"seed"` // 32 bytes, as in RFC 8032
}

const (
	algorithm = "Ed25519"
	suffix    = ".key"
)

// ErrUnknownKey: there is no key with this id.
var ErrUnknownKey = errors.New("unknown key")

// OpenSet reads the keys in a folder, and makes the first one when there is none.
func OpenSet(dir string, now command.Clock) (*Set, error) {
	s := &Set{dir: dir, now: now}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	if len(s.order) > 0 {
		return s, nil
	}
	if _, err := s.create(1); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making the first key: %w", err)
	}
	return s, s.Reload()
}

// Add makes a new key, which signs from now on. Other processes have it when they reload.
func (s *Set) Add() (id string, err error) {
	for {
		if err := s.Reload(); err != nil {
			return "", fmt.Errorf("adding a key: %w", err)
		}
		id, err := s.create(s.newest().number + 1)
		switch {
		case errors.Is(err, fs.ErrExist): // another process was faster
			continue
		case err != nil:
			return "", fmt.Errorf("adding a key: %w", err)
		}
		return id, s.Reload()
	}
}

func (s *Set) create(number int) (id string, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	id = keyID(public)
	content, err := json.MarshalIndent(keyFile{
		Algorithm: algorithm, ID: id, CreatedAt: s.now().UTC().Truncate(time.Microsecond), Seed: private.Seed(),
	}, "", "  ")
	if err != nil {
		return "", err
	}
	return id, createFile(filepath.Join(s.dir, strconv.Itoa(number)+suffix), append(content, '\n'))
}

// keyID is the beginning of a hash of the public key.
func keyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
}

// Reload reads the folder again, for keys that were added since.
func (s *Set) Reload() error {
	files, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading keys: %w", err)
	}
	keys := make(map[string]*key, len(files))
	order := make([]*key, 0, len(files))
	for _, file := range files {
		number, err := strconv.Atoi(strings.TrimSuffix(file.Name(), suffix))
		if err != nil || !strings.HasSuffix(file.Name(), suffix) {
			continue
		}
		k, err := readKey(filepath.Join(s.dir, file.Name()))
		if err != nil {
			return err
		}
		k.number = number
		keys[k.id] = k
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b *key) int { return a.number - b.number })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.order, s.looked = keys, order, s.now()
	return nil
}

func readKey(path string) (*key, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	var f keyFile
	if json.Unmarshal(content, &f) != nil || f.Algorithm != algorithm || len(f.Seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is no key file", path) // what is wrong with it could be a part of the key
	}
	private := ed25519.NewKeyFromSeed(f.Seed)
	if public := private.Public().(ed25519.PublicKey); keyID(public) != f.ID {
		return nil, fmt.Errorf("%s is damaged: its key is not that of the id %s", path, f.ID)
	}
	return &key{id: f.ID, createdAt: f.CreatedAt.UTC(), private: private}, nil
}

func (s *Set) newest() *key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.order) == 0 {
		return &key{} // the folder was emptied under us
	}
	return s.order[len(s.order)-1]
}

// find looks a key up, in the folder too when it is not known here: another process may have added it. It looks there
// once a second at most, since anybody can ask for anything.
func (s *Set) find(id string) (*key, error) {
	s.mu.RLock()
	k, looked := s.keys[id], s.looked
	s.mu.RUnlock()
	if since := s.now().Sub(looked); k == nil && (since < 0 || since >= time.Second) {
		if err := s.Reload(); err != nil {
			return nil, err
		}
		s.mu.RLock()
		k = s.keys[id]
		s.mu.RUnlock()
	}
	if k == nil {
		return nil, fmt.Errorf("%w %.40q", ErrUnknownKey, id)
	}
	return k, nil
}

// KeyID names the key that signs.
func (s *Set) KeyID() string { return s.newest().id }

// Sign signs the message with the named key. Ed25519 has one right answer, and both libraries give it; this one takes
// half the time, and signing is the dearest part of a grant. Whatever checks a signature uses the standard library.
func (s *Set) Sign(id string, message []byte) ([]byte, error) {
	k, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return voi.Sign(voi.PrivateKey(k.private), message), nil
}

// Signer is the key that signs, and its id.
func (s *Set) Signer() (id string, private ed25519.PrivateKey) {
	k := s.newest()
	return k.id, k.private
}

// Verifier is the public key with this id.
func (s *Set) Verifier(id string) (ed25519.PublicKey, error) {
	k, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return k.public(), nil
}

func (k *key) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// PublicKeys are all keys, the oldest first.
func (s *Set) PublicKeys() []command.PublicKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]command.PublicKey, len(s.order))
	for i, k := range s.order {
		out[i] = command.PublicKey{ID: k.id, Key: k.public(), CreatedAt: k.createdAt, Current: i == len(s.order)-1}
	}
	return out
}
