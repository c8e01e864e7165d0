// Package projector builds the read models: it applies the entries of the shard logs, in order and each once, to the
// stores that the query side reads.
package projector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
)

// Log is what a consumer needs of the shard logs: see command.Log for the contract.
type Log interface {
	Head(ctx context.Context, shard int) (domain.Head, error)
	Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error)
}

// Histories is what the retry of a parked stream needs: see command.Histories for the contract.
type Histories interface {
	// Progress is the index up to which the shard's histories are known to be derived.
	Progress(ctx context.Context, shard int) (uint64, error)
	// ReadStream returns a stream's events from seq `from` on, in order; none means that there are no more here.
	ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error)
}

// Checkpoint is the last entry of a shard that a read model has applied. The zero Checkpoint: none.
type Checkpoint struct {
	Index uint64
	ID    domain.BatchID
}

// Store is a read model's store. T is the transaction that the model's projection writes through, so that one
// projection serves every store that can give it such a transaction.
type Store[T Tx] interface {
	// Begin opens a transaction on a shard and locks the shard's checkpoint. It returns ErrElsewhere (wrapped) when
	// another instance works on the shard now.
	Begin(ctx context.Context, shard int) (T, error)
	// Checkpoints are the last applied entries by shard.
	Checkpoints(ctx context.Context) (map[int]Checkpoint, error)
	// Parked lists parked streams in order of stream, after the given one.
	Parked(ctx context.Context, after domain.StreamID, limit int) ([]Parked, error)
	// ParkedStream looks one stream up, and tells whether it is parked.
	ParkedStream(ctx context.Context, stream domain.StreamID) (Parked, bool, error)
}

// Fillable is a store that is filled faster before it can be read well.
type Fillable interface {
	// Filled is called before a generation is audited or read, and again whenever it is opened to be read: the store
	// makes what only readers need, where it is not there yet.
	Filled(ctx context.Context) error
}

// Tx is one transaction of a read model: rows and checkpoint change together or not at all.
type Tx interface {
	// Checkpoint is the last applied entry, read under the lock.
	Checkpoint() Checkpoint
	// ParkedAmong returns those of the streams that are parked.
	ParkedAmong(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]Parked, error)
	// Park parks a stream, or updates the reason and attempts of a parked one.
	Park(ctx context.Context, p Parked) error
	// Unpark lets a stream flow again.
	Unpark(ctx context.Context, stream domain.StreamID) error
	// Commit makes everything durable together with the new checkpoint, which is the old one when a parked stream was
	// retried. It returns ErrElsewhere (wrapped) when another transaction on the shard was committed since Begin, even
	// one that left the checkpoint where it was: it may have unparked a stream whose events this one leaves out. So a
	// store without locks compares a version that every commit changes, not the checkpoint. A store that learns only now
	// that it can't take an event returns a *PoisonError (wrapped); stream, seq and position of its event are enough.
	Commit(ctx context.Context, to Checkpoint) error
	// Rollback gives everything up. After Commit it does nothing.
	Rollback()
}

// Patient is a Tx that lets others have the processor between its statements, until it is told that somebody waits for
// its rows.
type Patient interface {
	// Hurry is called before anything is written.
	Hurry()
}

// Projection turns events into rows of one read model. It is pure but for the transaction, keeps no state between
// calls, and gets each event of each stream once, in order; events of several streams and entries come together.
type Projection[T Tx] interface {
	// Name is the read model's name, as in "timeline".
	Name() string
	// Apply writes what the events change. An error that wraps ErrPoison names an event that can never be applied as
	// it is (see PoisonError); any other error is taken for transient, and the same events come again. When such an
	// error comes again and again, the consumer searches for the event that causes it, and parks that event's stream
	// if everything else can be applied without it. An error that wraps ErrTransient never leads there.
	Apply(ctx context.Context, tx T, events []*domain.Event) error
}

// Opener is a Projection that does not need all that events say: who reads ahead for it has it decode what it needs. For
// any other projection that is everything.
type Opener interface {
	Open(event *domain.Event)
}

// Parked is a stream whose events wait behind one that can't be applied.
type Parked struct {
	Stream   domain.StreamID
	Shard    int
	FirstSeq uint64          // the first event that was not applied
	Position domain.Position // of that event
	Reason   string
	Attempts int
	Since    time.Time
}

// PoisonError says which event can't be applied, and why. It wraps ErrPoison and the cause.
type PoisonError struct {
	Event *domain.Event
	Err   error
}

func (e *PoisonError) Error() string {
	return "event " + string(e.Event.Stream) + " can't be applied: " + e.Err.Error()
}

// Unwrap lets errors.Is find ErrPoison and the cause.
func (e *PoisonError) Unwrap() []error { return []error{ErrPoison, e.Err} }

// Unreadable says of the failure to make sense of a stored row that it is one. It wraps ErrUnreadable.
func Unreadable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnreadable, err)
}

var (
	// ErrPoison: an event can't be applied and never will be as it is.
	ErrPoison = errors.New("poison event")
	// ErrTransient: the store can't do it now and may later, as when it is locked, full or away.
	ErrTransient = errors.New("transient failure")
	// ErrParked: the stream is parked, so its rows do not show what was waited for.
	ErrParked = errors.New("parked")
	// ErrNotParked: there is nothing to retry, because the stream is not parked.
	ErrNotParked = errors.New("not parked")
	// ErrParkedElsewhere: the stream is parked at another event than the one that was named.
	ErrParkedElsewhere = errors.New("parked at another event")
	// ErrUnreadable: a stored row does not hold what was written.
	ErrUnreadable = errors.New("a stored row can't be read")
	// ErrElsewhere: another instance works on this shard now.
	ErrElsewhere = errors.New("shard is worked on elsewhere")
	// ErrHistoryDiffers: the log is not the one whose entries were applied. The shard stops.
	ErrHistoryDiffers = domain.ErrHistoryDiffers
)
