package projector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"carryon/domain"
)

// Progress is what a wait reads of a read model. Every Store has it.
type Progress interface {
	Checkpoints(ctx context.Context) (map[int]Checkpoint, error)
	ParkedStream(ctx context.Context, stream domain.StreamID) (Parked, bool, error)
}

// Waiter lets reads wait until a read model has come far enough. It polls the store's checkpoints, one reading for all
// who wait; a consumer in the same process tells it at once. It has no goroutine of its own.
type Waiter struct {
	store Progress

	waits   atomic.Int64  // that are under way
	reading chan struct{} // holds a token while somebody reads the checkpoints

	mu      sync.Mutex
	epoch   uint64 // of the generation that is read: what is told of another is not heard
	at      map[int]uint64
	told    map[int]time.Time // when a consumer in this process moved the checkpoint
	readAt  time.Time
	stops   map[int]error
	changed chan struct{} // closed at the next change
	begun   chan struct{} // closed when somebody begins to wait and nobody did
}

// How often the checkpoints are read while somebody waits.
const (
	pollMin = 5 * time.Millisecond
	pollMax = 100 * time.Millisecond
	// parkedEach is after how many readings of a version it is asked whether the stream is parked.
	parkedEach = 4
	// toldLately is how long after it told something a consumer in this process is believed to be the one that works.
	toldLately = time.Second
)

// NewWaiter makes a waiter on a read model.
func NewWaiter(store Progress) *Waiter {
	return &Waiter{
		store: store, reading: make(chan struct{}, 1),
		at: make(map[int]uint64), told: make(map[int]time.Time), stops: make(map[int]error), changed: make(chan struct{}), begun: make(chan struct{}),
	}
}

// WaitFor waits until the checkpoint of the position's shard has passed the position. It returns a *ParkedError when
// the stream is parked at or before it, ErrHistoryDiffers (wrapped) when a consumer in this process found that, and
// the context's error when the context ends first.
func (w *Waiter) WaitFor(ctx context.Context, pos domain.Position, stream domain.StreamID) error {
	var mine wait
	defer mine.end(w)
	isBefore := func(p Parked) bool { return p.Position.Index <= pos.Index }
	var err error
	for poll, rounds := pollMin, 0; err == nil; poll, rounds = min(poll*3/2, pollMax), rounds+1 {
		at, changed, stopped := w.now(pos.Shard)
		if at >= pos.Index {
			err = w.parked(ctx, stream, isBefore) // after the checkpoint: what it covers was applied, or is parked
			break
		}
		mine.begin(w)
		if rounds == 0 || stopped != nil {
			err = w.parked(ctx, stream, isBefore) // then there is nothing to wait for
		}
		if err == nil {
			err = stopped
		}
		if err == nil {
			err = w.next(ctx, changed, w.patience(pos.Shard, poll))
		}
	}
	if err != nil {
		return fmt.Errorf("waiting until %s is applied: %w", pos, err)
	}
	return nil
}

// WaitForVersion waits until a read model shows a version of a stream. current reads the version that it shows. Errors
// are as WaitFor's.
func (w *Waiter) WaitForVersion(ctx context.Context, stream domain.StreamID, version uint64,
	current func(context.Context) (uint64, error),
) error {
	var mine wait
	defer mine.end(w)
	isBefore := func(p Parked) bool { return p.FirstSeq <= version }
	for poll, rounds := pollMin, 0; ; poll, rounds = min(poll*3/2, pollMax), rounds+1 {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		shown, err := current(ctx)
		if err == nil && shown >= version {
			return nil
		}
		if err == nil && rounds%parkedEach == 0 {
			err = w.parked(ctx, stream, isBefore)
		}
		if err == nil {
			mine.begin(w)
			err = w.next(ctx, changed, poll)
		}
		if err != nil {
			return fmt.Errorf("waiting until version %d of %s is applied: %w", version, stream, err)
		}
	}
}

// patience is how long to wait before the checkpoints are read. Where a consumer in this process moves the shard's, and
// tells, they need no frequent reading.
func (w *Waiter) patience(shard int, poll time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if told, ever := w.told[shard]; ever && time.Since(told) < toldLately {
		return pollMax
	}
	return poll
}

// awaited tells whether somebody waits.
func (w *Waiter) awaited() bool { return w.waits.Load() > 0 }

// someone is closed when somebody begins to wait, unless somebody does now.
func (w *Waiter) someone() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun
}

// wait is one that has begun when it turned out that there is something to wait for.
type wait struct{ begun bool }

func (m *wait) begin(w *Waiter) {
	if m.begun {
		return
	}
	m.begun = true
	if w.waits.Add(1) == 1 {
		w.mu.Lock()
		defer w.mu.Unlock()
		close(w.begun)
		w.begun = make(chan struct{})
	}
}

func (m *wait) end(w *Waiter) {
	if m.begun {
		w.waits.Add(-1)
	}
}

// parked returns a *ParkedError when the stream is parked where it matters.
func (w *Waiter) parked(ctx context.Context, stream domain.StreamID, matters func(Parked) bool) error {
	if stream == "" {
		return nil
	}
	parked, is, err := w.store.ParkedStream(ctx, stream)
	if err != nil {
		return err
	}
	if is && matters(parked) {
		return &ParkedError{Parked: parked}
	}
	return nil
}

// next waits for a change, at most as long as a poll takes, and then sees to it that the checkpoints were read lately.
func (w *Waiter) next(ctx context.Context, changed <-chan struct{}, poll time.Duration) error {
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return w.read(ctx, poll)
	}
}

// read reads the checkpoints, unless somebody else has within the last while.
func (w *Waiter) read(ctx context.Context, lately time.Duration) error {
	select {
	case w.reading <- struct{}{}:
		defer func() { <-w.reading }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	w.mu.Lock()
	fresh, epoch := time.Since(w.readAt) < lately, w.epoch
	w.mu.Unlock()
	if fresh {
		return nil
	}
	checkpoints, err := w.store.Checkpoints(ctx)
	if err != nil && !errors.Is(err, ErrTransient) {
		return err
	}
	w.mu.Lock()
	w.readAt = time.Now()
	w.mu.Unlock()
	for shard, checkpoint := range checkpoints {
		w.reached(epoch, shard, checkpoint)
	}
	return nil
}

// now is how far a shard is known to be, a channel that is closed at the next change, and why it has stopped.
func (w *Waiter) now(shard int) (uint64, <-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[shard], w.changed, w.stops[shard]
}

// reached says that a shard is so far in the generation of an epoch.
func (w *Waiter) reached(epoch uint64, shard int, checkpoint Checkpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch == w.epoch && checkpoint.Index > w.at[shard] {
		w.at[shard] = checkpoint.Index
		w.announce()
	}
}

// moved says that a consumer in this process has brought a shard so far in the generation of an epoch.
func (w *Waiter) moved(epoch uint64, shard int, checkpoint Checkpoint) {
	w.mu.Lock()
	if epoch == w.epoch {
		w.told[shard] = time.Now()
	}
	w.mu.Unlock()
	w.reached(epoch, shard, checkpoint)
}

// stopped says that a shard will not come any further.
func (w *Waiter) stopped(epoch uint64, shard int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch != w.epoch {
		return
	}
	w.stops[shard] = err
	w.announce()
}

// nextEpoch is that of the generation that will be read after this one.
func (w *Waiter) nextEpoch() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epoch + 1
}

// restart forgets how far the shards were: another generation is read now.
func (w *Waiter) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epoch++
	clear(w.at)
	clear(w.told)
	clear(w.stops)
	w.readAt = time.Time{}
	w.announce()
}

func (w *Waiter) announce() {
	close(w.changed)
	w.changed = make(chan struct{})
}
