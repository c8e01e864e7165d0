// Package command decides: it loads a stream, lets the domain decide on it, and appends the events to the log of the
// stream's shard. The shard writer in it is the heart of the system.
package command

import (
	"context"
	"errors"
	"time"

	"carryon/domain"
)

// Log is the truth: per shard a sequence of entries with index 1, 2, 3… without holes, each claimed once, by exactly
// one writer, and never changed.
//
// The conformance suite of this port is infra/conformance.Log.
type Log interface {
	// Claim makes e entry e.Index, if entry e.Index-1 is the head and has e.PreviousID. Every event of e has its
	// Position. Claiming again with the same ID is recognised and gives the first result, even when later entries
	// have followed.
	//
	// Without an error the outcome is known: applied, or taken by another batch. An error that wraps ErrUnknown
	// means that it is not: the same entry must be claimed again until it is known. Any other error means that
	// nothing was written and nothing will be: ErrTooLarge, ErrStoreFull, or a store that does not fit.
	Claim(ctx context.Context, e *domain.Entry) (Claimed, error)

	// Head is the newest entry: a linearizable read, so that after any answer of Claim, by any process, the entry of
	// that answer or a later one is seen.
	Head(ctx context.Context, shard int) (domain.Head, error)

	// Read returns entries from index `from` on, contiguous and in order, as many as fit in maxBytes (at least one,
	// if there is one). None means that the tail was reached. A hole in the log is ErrDiffers, never a shorter answer.
	Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error)
}

// Claimed is the known outcome of a claim.
type Claimed struct {
	Applied bool
	Head    domain.Head // the head that was found when not applied
}

// Histories are the events by stream, derived from the log. Writing them again writes the same.
//
// The conformance suite of this port is infra/conformance.Histories.
type Histories interface {
	// Progress is the index up to which the shard's histories are known to be derived. It may fall back after a
	// crash, which costs work and nothing else.
	Progress(ctx context.Context, shard int) (uint64, error)

	// Derive writes the history rows of contiguous entries of one shard, and then moves the progress, if it stands
	// at the entry before the first of them, to the last. A store whose log is its history does nothing.
	Derive(ctx context.Context, entries []domain.Entry) error

	// ReadStream returns a stream's events from seq `from` on, in order, as many as fit in maxBytes (at least one, if
	// there is one). None means that there are no more here. A hole is ErrDiffers.
	ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error)
}

// Snapshots are a cache of folded streams. They may vanish at any time.
type Snapshots interface {
	// LoadSnapshot returns the newest snapshot, and false when there is none.
	LoadSnapshot(ctx context.Context, stream domain.StreamID) (Snapshot, bool, error)
	// SaveSnapshots replaces the snapshots of the streams.
	SaveSnapshots(ctx context.Context, snapshots []Snapshot) error
}

// Snapshot is a folded stream at a seq.
type Snapshot struct {
	Stream      domain.StreamID
	Seq         uint64
	Position    domain.Position // of the event with that seq
	FoldVersion int
	Data        []byte
}

// Bus carries claimed entries to whoever listens. It may lose them: the log proves.
type Bus interface {
	// Publish hands an entry over; it may block, and the writer never waits for it.
	Publish(ctx context.Context, e *domain.Entry) error
}

// Catalogue is what may be licensed. It never changes once handed out.
type Catalogue interface {
	// Title looks a playable or a series up.
	Title(id string) (domain.Title, bool)
	// Studio tells whether there is a title of a studio.
	Studio(name string) bool
	// Version is a hash of the content.
	Version() string
}

// Catalogues hands out the catalogue in force, and past ones by version, so that a decision can be made again.
type Catalogues interface {
	Current() Catalogue
	// Version returns domain.ErrNotFound (wrapped) for a version that is not kept.
	Version(version string) (Catalogue, error)
}

// Vault keeps a key per customer, and seals personal words under it.
type Vault interface {
	// Seal encrypts words under the customer's key, which is made, durably, when there is none. Empty words stay empty.
	Seal(ctx context.Context, customer, words string) (domain.Sealed, error)
	// Opener takes the customer's key once, for the words of one answer. It, or what it returns, returns ErrErased when
	// the key was erased: by this process, if that was before the words are opened; by another, if it was before Opener.
	Opener(ctx context.Context, customer string) (Opener, error)
	// Digest is a keyed hash of words under the customer's key, so that a request hash gives nothing away.
	Digest(ctx context.Context, customer, words string) (string, error)
	// Erase destroys the customer's key for good: every sealed word of the customer becomes unreadable, everywhere.
	Erase(ctx context.Context, customer string) error
}

// Opener decrypts words of one customer. It is for one answer and one goroutine: whoever keeps it longer does not learn
// of an erasure by another process.
type Opener func(ctx context.Context, sealed domain.Sealed) (string, error)

// Signer signs licences with Ed25519.
type Signer interface {
	// KeyID names the key that signs new licences.
	KeyID() string
	// Sign signs the exact bytes with the named key.
	Sign(keyID string, message []byte) ([]byte, error)
	// PublicKeys are all keys that devices may meet: the current one and older ones.
	PublicKeys() []PublicKey
}

// PublicKey is a published licence key.
type PublicKey struct {
	ID        string
	Key       []byte // 32 bytes, Ed25519
	CreatedAt time.Time
	Current   bool
}

// Impact tells whom a withdrawal or a policy would touch, from the read models. It is advice for a person: the
// command itself never needs it.
type Impact interface {
	WithdrawalImpact(ctx context.Context, title string, countries []string, from time.Time) (Touched, error)
	PolicyImpact(ctx context.Context, policy *domain.Policy) (Touched, error)
}

// Touched is whom a change would touch, counted, with some examples.
type Touched struct {
	Customers int
	Licenses  int
	Devices   int
	ByRule    map[string]int // customers over a limit, by rule
	Examples  []string       // customers, at most 20
}

// Clock tells the time.
type Clock func() time.Time

// What the errors of the ports and of the writer wrap.
var (
	// ErrUnknown: it is not known whether the claim was applied.
	ErrUnknown = errors.New("outcome unknown")
	// ErrTooLarge: an event, a command or an entry is larger than the store takes.
	ErrTooLarge = errors.New("too large")
	// ErrStoreFull: the store has no room or is read-only; nothing was written.
	ErrStoreFull = errors.New("store full")
	// ErrDiffers: the log or a history is not what was read before: a hole, another entry, a forgotten tail.
	// The consumers know the same value as projector.ErrHistoryDiffers.
	ErrDiffers = domain.ErrHistoryDiffers
	// ErrOverloaded: a queue is full; come back later.
	ErrOverloaded = errors.New("overloaded")
	// ErrClosed: the process is shutting down.
	ErrClosed = errors.New("closed")
	// ErrVersionConflict: If-Match names another version than the stream's.
	ErrVersionConflict = errors.New("version conflict")
	// ErrIdempotencyConflict: the command id was used with another body.
	ErrIdempotencyConflict = errors.New("idempotency conflict")
	// ErrTokenDrift: the command id's time is too old or in the future.
	ErrTokenDrift = errors.New("token drift")
	// ErrErased: the customer's key was erased.
	ErrErased = errors.New("erased")
	// ErrUnavailable: the store or another dependency can't be reached; nothing was decided.
	ErrUnavailable = errors.New("unavailable")
)

// Limits of §4 of the design: what one event, command and batch may hold.
const (
	MaxEventBytes       = 256 << 10 // payload of one event
	MaxCommandEvents    = 256       // events of one command
	MaxCommandBytes     = 1 << 20   // payloads of one command
	TargetBatchBytes    = 256 << 10 // payloads of one batch, unless one command is larger
	DefaultReadMaxBytes = 1 << 20
)
