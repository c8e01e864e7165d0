package command

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"time"

	"carryon/domain"
)

// The shard writer. Commands of a shard queue; the writer takes all that waits, lets each be decided in order on the
// states that the ones before it left, and claims the next entry of the shard's log for the events of all of them. One
// round of the store serves many commands. Nobody is answered before the claim is known, and a command whose claim is
// not known is never decided again: the same claim is repeated until it is known.

// Decider decides one command on a stream's folded state. It is pure: it keeps no reference to the state, changes
// nothing, and is run again, on a newer state, when another process has written meanwhile.
type Decider interface {
	Decide(state domain.Aggregate, m domain.Moment) (domain.Verdict, error)
}

// DeciderFunc is a function as a Decider.
type DeciderFunc func(state domain.Aggregate, m domain.Moment) (domain.Verdict, error)

// Decide calls f.
func (f DeciderFunc) Decide(state domain.Aggregate, m domain.Moment) (domain.Verdict, error) {
	return f(state, m)
}

// Kind says what may come of a submission.
type Kind uint8

// The kinds of submission.
const (
	KindCommand Kind = iota // its events are recorded
	KindDryRun              // it is decided as a command would be now, and nothing is recorded
)

// Submission is one command on its way to its stream.
type Submission struct {
	Stream      domain.StreamID
	Meta        Meta    // CommandID and Actor are needed; IfMatch is looked at after the command id
	RequestHash string  // of the body: the same command id with another one is ErrIdempotencyConflict
	KeyBound    bool    // acquire, renew: a command id whose time is too old or in the future is ErrTokenDrift
	Kind        Kind    // command or dry run
	Decider     Decider // pure
	// Forward hands the command to the process that writes the shard now. What it returns is that process's answer; an
	// error that wraps ErrUnavailable means that it was not reached, and the command is decided here. Nil: not forwarded.
	Forward func(ctx context.Context, writer string) (Result, error)
}

// Folding is what the writer needs to know about the streams it holds: how their states begin, come back from a
// snapshot, and how an event is recorded.
type Folding struct {
	// Version is that of the fold: snapshots of another version are not used.
	Version int
	// Empty is the state of a stream before its first event.
	Empty func(stream domain.StreamID) (domain.Aggregate, error)
	// Restore decodes what AppendBinary wrote.
	Restore func(stream domain.StreamID, data string) (domain.Aggregate, error)
	// Record fills in the event's type, schema version and payload.
	Record func(e *domain.Event, p domain.Payload) error
	// Decision is the decision that the event records, nil if it records none, or none that can be read.
	Decision func(e *domain.Event) (*domain.Decision, error)
}

// WriterConfig are the settings of the shard writers of a process. Zero values stand for the defaults.
type WriterConfig struct {
	Name   string // of this process, unique among living processes; written into entries
	Shards int    // customers live in the shards 1..Shards; the reference shard 0 is one more

	QueuePerShard    int // submissions that may wait in a shard; more are refused with ErrOverloaded. Default 8192
	QueuePerStream   int // submissions that may wait for one stream. Default 64
	BatchBytes       int // payloads of one batch, unless one command is larger. Default TargetBatchBytes
	CacheBytes       int // of states in memory, per shard. Default 128 MiB
	HotBytes         int // of which ready to be decided on, and not frozen. Default a thirty-second of CacheBytes
	RecentBytes      int // of entries kept in memory per shard until they are derived and no load needs them. Default 32 MiB
	ConcurrentLoads  int // streams loaded at the same time, per shard. Default 16
	SnapshotEvery    int // events of a stream between snapshots. Default 200
	PublishQueue     int // entries that may wait for the bus, per shard; more are dropped. Default 256
	DeriveBatchBytes int // payloads of entries derived at once. Default 1 MiB

	MaxDeriveEvents int           // commands wait while more events than this are not derived. Default 20,000
	MaxDeriveLag    time.Duration // commands wait while an entry older than this is not derived. Default 5 s

	LeapEntries int // of other processes that are read on one by one; beyond, the log is opened anew. Default 1024

	KeyMaxAge   time.Duration // oldest command id that a key-bound command may carry. Default 7 days
	KeyMaxAhead time.Duration // how far ahead of our clock it may be. Default 5 minutes
	KeyKept     time.Duration // how long a command id is remembered after it was recorded. Default KeyMaxAge and a day

	StoreTimeout time.Duration // of one call of the log, histories or snapshots. Default 10 s

	BackoffMin time.Duration // first pause before an unknown claim is repeated, or a failed read. Default 5 ms
	BackoffMax time.Duration // longest pause. Default 1 s
}

const day = 24 * time.Hour

func (c WriterConfig) withDefaults() WriterConfig {
	orDefault(&c.Shards, 1)
	orDefault(&c.QueuePerShard, 8192)
	orDefault(&c.QueuePerStream, 64)
	orDefault(&c.BatchBytes, TargetBatchBytes)
	orDefault(&c.CacheBytes, 128<<20)
	orDefault(&c.HotBytes, c.CacheBytes/32)
	orDefault(&c.RecentBytes, 32<<20)
	orDefault(&c.ConcurrentLoads, 16)
	orDefault(&c.SnapshotEvery, 200)
	orDefault(&c.PublishQueue, 256)
	orDefault(&c.DeriveBatchBytes, DefaultReadMaxBytes)
	orDefault(&c.MaxDeriveEvents, 20_000)
	orDefault(&c.MaxDeriveLag, 5*time.Second)
	orDefault(&c.LeapEntries, 1024)
	orDefault(&c.KeyMaxAge, 7*day)
	orDefault(&c.KeyMaxAhead, 5*time.Minute)
	orDefault(&c.KeyKept, c.KeyMaxAge+day)
	orDefault(&c.StoreTimeout, 10*time.Second)
	orDefault(&c.BackoffMin, 5*time.Millisecond)
	orDefault(&c.BackoffMax, time.Second)
	return c
}

func orDefault[T int | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

func (c WriterConfig) check() error {
	var errs []error
	wrong := func(is bool, problem string) {
		if is {
			errs = append(errs, errors.New(problem))
		}
	}
	wrong(c.Name == "", "Name is missing")
	wrong(c.Shards < 1, "Shards is less than 1")
	wrong(c.QueuePerShard < 1 || c.QueuePerStream < 1, "a queue holds less than 1")
	wrong(c.BatchBytes < 1 || c.CacheBytes < 1 || c.HotBytes < 0 || c.RecentBytes < 1 || c.DeriveBatchBytes < 1, "a byte limit is less than 1")
	wrong(c.ConcurrentLoads < 1, "ConcurrentLoads is less than 1")
	wrong(c.SnapshotEvery < 1, "SnapshotEvery is less than 1")
	wrong(c.PublishQueue < 1, "PublishQueue is less than 1")
	wrong(c.MaxDeriveEvents < 1 || c.MaxDeriveLag < 1, "the bound on derivation is less than 1")
	wrong(c.LeapEntries < 1, "LeapEntries is less than 1")
	wrong(c.KeyMaxAge < 0 || c.KeyMaxAhead < 0, "a bound on command ids is negative")
	wrong(c.KeyKept < c.KeyMaxAge+c.KeyMaxAhead, "KeyKept is shorter than KeyMaxAge and KeyMaxAhead, so a repeated command could be taken for a new one")
	wrong(c.StoreTimeout < 1, "StoreTimeout is less than 1")
	wrong(c.BackoffMin < 1 || c.BackoffMax < c.BackoffMin, "BackoffMin and BackoffMax do not bound a pause")
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("shard writer settings: %w", err)
	}
	return nil
}

// WriterPorts is what the shard writers work with.
type WriterPorts struct {
	Log       Log
	Histories Histories
	Snapshots Snapshots
	Bus       Bus     // nil: entries are not published
	Folding   Folding // DomainFolding(), or a test's
	// Reference is the reference data as this process knows it now. It does not wait for I/O. An error refuses the
	// commands that were about to be decided.
	Reference func(ctx context.Context) (domain.Reference, error)
	Clock     Clock          // nil: time.Now
	Random    rand.Source    // of batch ids and pauses; nil: seeded by the system
	Metrics   *WriterMetrics // nil: counted, not exported
	Logger    *slog.Logger   // nil: silent
}

// Version is a stream as an authoritative read found it.
type Version struct {
	Stream   domain.StreamID
	State    domain.Aggregate // the caller's own copy
	Seq      uint64           // the stream's version; 0: no events yet
	Position domain.Position  // of the event with that seq
	Head     uint64           // entry of the shard up to which this is the whole truth
}

// ErrUnreadable: a stream's history could not be read, so nothing was decided. It comes with ErrUnavailable, or with
// ErrDiffers when the history is not what it should be.
var ErrUnreadable = errors.New("history can't be read")

// OverloadedError says that a queue is full, and when to come back. It wraps ErrOverloaded.
type OverloadedError struct {
	Queue      string // shard, stream
	RetryAfter time.Duration
}

func (e *OverloadedError) Error() string {
	return fmt.Sprintf("%v: the %s's queue is full, come back in %s", ErrOverloaded, e.Queue, e.RetryAfter)
}

// Unwrap lets errors.Is find ErrOverloaded.
func (e *OverloadedError) Unwrap() error { return ErrOverloaded }

// VersionConflictError names the version that If-Match should have named. It wraps ErrVersionConflict.
type VersionConflictError struct {
	Expected, Actual uint64
}

func (e *VersionConflictError) Error() string {
	return fmt.Sprintf("%v: the stream is at version %d, not %d", ErrVersionConflict, e.Actual, e.Expected)
}

// Unwrap lets errors.Is find ErrVersionConflict.
func (e *VersionConflictError) Unwrap() error { return ErrVersionConflict }

// PanicError says that a decision panicked. Its command was refused; no other was.
type PanicError struct {
	Command string // the command id
	Value   string
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("the decision on command %s panicked: %s", e.Command, e.Value)
}

// ShardOf is the shard of a stream, for a layout of that many customer shards. It never changes: the log of a running
// system depends on it.
func ShardOf(stream domain.StreamID, shards int) int {
	if stream.IsReference() {
		return domain.ReferenceShard
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream))
	return 1 + int(h.Sum64()%uint64(shards))
}
