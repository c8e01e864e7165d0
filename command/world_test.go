package command_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/memory"
)

// world is the command side of one process over a store in memory. Several worlds may share a store: several
// processes, or one before and after a restart.
type world struct {
	t        testing.TB
	store    *memory.Store
	faults   *faults
	clock    *clock
	vault    *vault
	signer   *signer
	follower *command.ReferenceFollower
	writer   *command.Writer
	app      *command.App
}

// option changes how a world is made.
type option func(*setting)

type setting struct {
	store    *memory.Store
	clock    *clock
	vault    *vault
	signer   *signer
	impact   command.Impact
	follower command.FollowerConfig
	faults   *faults
	metrics  *command.Metrics
	logger   *slog.Logger
}

// after is another process on the same store, with the same keys: the one before was stopped, or goes on beside it.
func after(w *world) option {
	return func(s *setting) { s.store, s.clock, s.vault, s.signer = w.store, w.clock, w.vault, w.signer }
}

func withImpact(i command.Impact) option { return func(s *setting) { s.impact = i } }

func withMetrics(m *command.Metrics) option { return func(s *setting) { s.metrics = m } }

func withLogger(l *slog.Logger) option { return func(s *setting) { s.logger = l } }

func withFaults(f *faults) option { return func(s *setting) { s.faults = f } }

func withFollower(c command.FollowerConfig) option { return func(s *setting) { s.follower = c } }

// noon is when the worlds begin.
var noon = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	s := setting{follower: command.FollowerConfig{Interval: 10 * time.Millisecond}}
	for _, o := range options {
		o(&s)
	}
	if s.store == nil {
		s.store, s.clock, s.vault, s.signer = memory.NewStore(), &clock{}, newVault(), newSigner("key-1")
		s.clock.set(noon)
	}
	if s.faults == nil {
		s.faults = &faults{}
	}
	connection := s.store.Connect()
	s.faults.Log, s.faults.Histories, s.faults.Snapshots = connection, connection, connection
	w := &world{t: t, store: s.store, faults: s.faults, clock: s.clock, vault: s.vault, signer: s.signer}
	w.follower = command.NewReferenceFollower(s.faults, catalogues{}, s.follower, nil)
	if err := w.follower.Start(t.Context()); err != nil {
		t.Fatalf("starting the follower: %v", err)
	}
	t.Cleanup(w.follower.Close)
	writer, err := command.NewWriter(command.WriterConfig{Name: "test", Shards: 2}, command.WriterPorts{
		Log: s.faults, Histories: s.faults, Snapshots: s.faults, Folding: command.DomainFolding(), Reference: w.follower.Reference, Clock: s.clock.now,
	})
	if err != nil {
		t.Fatalf("making the writer: %v", err)
	}
	writer.Start()
	t.Cleanup(func() { w.stopWriter() })
	w.writer = writer
	w.app, err = command.NewApp(command.Dependencies{
		Writer: writer, Books: command.NewBooks(s.faults, s.faults, command.DomainFolding(), 2), Reference: w.follower,
		Vault: s.vault, Signer: s.signer, Impact: s.impact, Clock: s.clock.now,
		FailOpen: command.FailOpen{Interval: 5 * time.Millisecond}, Metrics: s.metrics, Logger: s.logger,
	})
	if err != nil {
		t.Fatalf("making the app: %v", err)
	}
	t.Cleanup(w.app.Close)
	return w
}

func (w *world) stopWriter() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.writer.Close(ctx); err != nil && !errors.Is(err, command.ErrClosed) {
		w.t.Errorf("closing the writer: %v", err)
	}
}

// recorded are all events of the store, in the order of the logs.
func (w *world) recorded() []domain.Event {
	w.t.Helper()
	var events []domain.Event
	connection := w.store.Connect()
	for shard := range 3 {
		for from := uint64(1); ; {
			entries, err := connection.Read(context.Background(), shard, from, 1<<20)
			if err != nil {
				w.t.Fatalf("reading shard %d: %v", shard, err)
			}
			if len(entries) == 0 {
				break
			}
			for _, e := range entries {
				events = append(events, e.Events...)
			}
			from = entries[len(entries)-1].Index + 1
		}
	}
	return events
}

// heads are the newest entries of the shards.
func (w *world) heads() (heads [3]uint64) {
	for shard := range heads {
		head, err := w.store.Connect().Head(context.Background(), shard)
		if err != nil {
			panic(err) // a store in memory has no reason to fail
		}
		heads[shard] = head.Index
	}
	return heads
}

// types are the types of recorded events.
func types(events []domain.Event) []string {
	var types []string
	for i := range events {
		types = append(types, events[i].Type)
	}
	return types
}

var ids atomic.Uint64

// meta is what a command of a service carries, with a fresh id.
func (w *world) meta() command.Meta { return w.metaAt(w.clock.now()) }

func (w *world) metaAt(at time.Time) command.Meta {
	return command.Meta{
		CommandID: commandID(at), Actor: domain.Actor{ID: "billing", Role: domain.RoleService}, Correlation: "req-1",
	}
}

func (w *world) support() command.Meta {
	m := w.meta()
	m.Actor = domain.Actor{ID: "agent-7", Role: domain.RoleSupport}
	return m
}

// commandID is a UUIDv7 with the time, unlike any other.
func commandID(at time.Time) string {
	var raw [16]byte
	ms := uint64(at.UnixMilli())
	raw[0], raw[1], raw[2], raw[3], raw[4], raw[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	raw[6], raw[8] = 0x70, 0x80
	binary.BigEndian.PutUint32(raw[12:], uint32(ids.Add(1)))
	h := hex.EncodeToString(raw[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

type clock struct{ micro atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMicro(c.micro.Load()).UTC() }
func (c *clock) set(t time.Time)         { c.micro.Store(t.UnixMicro()) }
func (c *clock) advance(d time.Duration) { c.micro.Add(d.Microseconds()) }

// faults let a store's ports fail.
type faults struct {
	command.Log
	command.Histories
	command.Snapshots

	mu         sync.Mutex
	unreadable map[domain.StreamID]bool // histories and snapshots that can't be read
	unwritable map[int]bool             // shards whose claims fail for good
	logDown    map[int]bool             // shards whose log can't be read
	crash      func(e *domain.Entry) error
}

var errStore = errors.New("the store does not answer")

func (f *faults) set(change func(f *faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unreadable == nil {
		f.unreadable, f.unwritable, f.logDown = map[domain.StreamID]bool{}, map[int]bool{}, map[int]bool{}
	}
	change(f)
}

func (f *faults) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	f.mu.Lock()
	down := f.unreadable[stream]
	f.mu.Unlock()
	if down {
		return nil, fmt.Errorf("history of %s: %w: %w", stream, command.ErrUnavailable, errStore)
	}
	return f.Histories.ReadStream(ctx, stream, from, maxBytes)
}

func (f *faults) LoadSnapshot(ctx context.Context, stream domain.StreamID) (command.Snapshot, bool, error) {
	f.mu.Lock()
	down := f.unreadable[stream]
	f.mu.Unlock()
	if down {
		return command.Snapshot{}, false, fmt.Errorf("snapshot of %s: %w: %w", stream, command.ErrUnavailable, errStore)
	}
	return f.Snapshots.LoadSnapshot(ctx, stream)
}

func (f *faults) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	f.mu.Lock()
	down := f.logDown[shard]
	f.mu.Unlock()
	if down {
		return nil, fmt.Errorf("log of shard %d: %w: %w", shard, command.ErrUnavailable, errStore)
	}
	return f.Log.Read(ctx, shard, from, maxBytes)
}

func (f *faults) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	f.mu.Lock()
	down, crash := f.unwritable[e.Shard], f.crash
	f.mu.Unlock()
	if down {
		return command.Claimed{}, fmt.Errorf("claiming in shard %d: %w: %w", e.Shard, command.ErrStoreFull, errStore)
	}
	if crash != nil {
		if err := crash(e); err != nil {
			return command.Claimed{}, err
		}
	}
	return f.Log.Claim(ctx, e)
}

// catalogue has a movie, an episode and a title that can't be downloaded.
type catalogue struct{}

func (catalogue) Version() string { return "catalogue-1" }

func (catalogue) Studio(name string) bool {
	return slices.ContainsFunc(titles, func(t domain.Title) bool { return t.Studio == name })
}

func (catalogue) Title(id string) (domain.Title, bool) {
	if strings.HasPrefix(id, "film-") { // as many as a test wants
		film := titles[0]
		film.ID, film.Name = id, "Film "+id
		return film, true
	}
	i := slices.IndexFunc(titles, func(t domain.Title) bool { return t.ID == id })
	if i < 0 {
		return domain.Title{}, false
	}
	return titles[i], true
}

var titles = []domain.Title{
	{ID: "movie-1", Kind: domain.KindMovie, Name: "The Harbour", Studio: "aurora", Maturity: domain.MaturityTeen,
		Windows: []domain.Window{{}}, RegionRule: domain.RegionCurrent, Downloadable: true},
	{ID: "movie-2", Kind: domain.KindMovie, Name: "The Lighthouse", Studio: "aurora", Maturity: domain.MaturityTeen,
		Windows: []domain.Window{{}}, RegionRule: domain.RegionCurrent, Downloadable: true},
	{ID: "movie-3", Kind: domain.KindMovie, Name: "The Pier", Studio: "aurora", Maturity: domain.MaturityTeen,
		Windows: []domain.Window{{}}, RegionRule: domain.RegionCurrent},
	{ID: "series-1", Kind: domain.KindSeries, Name: "The Tide", Series: "The Tide", Studio: "aurora", Maturity: domain.MaturityTeen,
		Windows: []domain.Window{{}}, RegionRule: domain.RegionCurrent},
	{ID: "series-1-s01e01", Kind: domain.KindEpisode, Name: "The Tide, season 1, episode 1", Series: "The Tide", SeriesID: "series-1", Season: 1, Episode: 1,
		Studio: "aurora", Maturity: domain.MaturityTeen, Windows: []domain.Window{{}}, RegionRule: domain.RegionCurrent, Downloadable: true},
}

type catalogues struct{}

func (catalogues) Current() command.Catalogue { return catalogue{} }

func (catalogues) Version(version string) (command.Catalogue, error) {
	if version != (catalogue{}).Version() {
		return nil, fmt.Errorf("catalogue %s: %w", version, domain.ErrNotFound)
	}
	return catalogue{}, nil
}

// vault seals words with AES-GCM under a key per customer.
type vault struct {
	mu   sync.Mutex
	keys map[string][]byte
}

func newVault() *vault { return &vault{keys: map[string][]byte{}} }

func (v *vault) key(customer string) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys[customer] == nil {
		v.keys[customer] = make([]byte, 32)
		_, _ = rand.Read(v.keys[customer])
	}
	return v.keys[customer]
}

func (v *vault) has(customer string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.keys[customer] != nil
}

func (v *vault) box(customer string) cipher.AEAD {
	block, err := aes.NewCipher(v.key(customer))
	if err != nil {
		panic(err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return box
}

func (v *vault) Seal(_ context.Context, customer, words string) (domain.Sealed, error) {
	if words == "" {
		return "", nil
	}
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce)
	return domain.Sealed(base64.StdEncoding.EncodeToString(v.box(customer).Seal(nonce, nonce, []byte(words), nil))), nil
}

func (v *vault) Opener(_ context.Context, customer string) (command.Opener, error) {
	return func(_ context.Context, sealed domain.Sealed) (string, error) { return v.open(customer, sealed) }, nil
}

func (v *vault) open(customer string, sealed domain.Sealed) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(string(sealed))
	if err != nil || len(raw) < 12 {
		return "", fmt.Errorf("not a sealed word of %d bytes: %w", len(raw), errors.Join(err, command.ErrErased))
	}
	words, err := v.box(customer).Open(nil, raw[:12], raw[12:], nil)
	return string(words), err
}

func (v *vault) Digest(_ context.Context, customer, words string) (string, error) {
	mac := hmac.New(sha256.New, v.key(customer))
	mac.Write([]byte(words))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]), nil
}

func (v *vault) Erase(context.Context, string) error { return nil }

// signer signs with one or more keys, the last one being current.
type signer struct {
	ids  []string
	keys map[string]ed25519.PrivateKey
}

func newSigner(ids ...string) *signer {
	s := &signer{ids: ids, keys: map[string]ed25519.PrivateKey{}}
	for _, id := range ids {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		s.keys[id] = key
	}
	return s
}

func (s *signer) KeyID() string { return s.ids[len(s.ids)-1] }

func (s *signer) Sign(keyID string, message []byte) ([]byte, error) {
	key, ok := s.keys[keyID]
	if !ok {
		return nil, fmt.Errorf("key %s: %w", keyID, domain.ErrNotFound)
	}
	return ed25519.Sign(key, message), nil
}

func (s *signer) PublicKeys() []command.PublicKey {
	var keys []command.PublicKey
	for _, id := range s.ids {
		keys = append(keys, command.PublicKey{
			ID: id, Key: s.keys[id].Public().(ed25519.PublicKey), CreatedAt: noon, Current: id == s.KeyID(),
		})
	}
	return keys
}
