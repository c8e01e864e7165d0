package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"carryon/domain"
)

// The reference follower knows what is decided for everyone: the policies and device types that were published, the
// titles that were withdrawn, and the catalogue. It follows the log of the reference shard, without the broker, entry
// by entry, and hands out a value that never changes. How long ago it last saw the tail is its staleness, which is
// bounded: beyond the bound nothing is decided here, rather than on rules of who knows when. What this process wrote
// itself it knows before it answers.

// FollowerConfig are the settings of a reference follower. Zero values stand for the defaults.
type FollowerConfig struct {
	Interval     time.Duration // between looks at the log. Default 250 ms
	MaxStaleness time.Duration // commands are refused when the log was last seen longer ago. Default 30 s
	MaxBytes     int           // of entries read at once. Default 1 MiB
}

func (c FollowerConfig) withDefaults() FollowerConfig {
	orDefault(&c.Interval, 250*time.Millisecond)
	orDefault(&c.MaxStaleness, 30*time.Second)
	orDefault(&c.MaxBytes, DefaultReadMaxBytes)
	return c
}

// ReferenceFollower follows the reference shard. Start it before use.
type ReferenceFollower struct {
	config     FollowerConfig
	log        Log
	catalogues Catalogues
	logger     *slog.Logger

	current atomic.Pointer[Reference]
	seen    atomic.Pointer[time.Time] // when the tail was last seen, by the monotonic clock: pretended time is nothing to it

	turn    chan struct{} // holds one token: whoever takes it may touch what follows
	last    domain.Head
	changes []change // in the order of the log
	broken  error    // the log is not the one that was followed

	grants  grantBook // made without the books
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// change is one event of the reference shard that a reference is made of.
type change struct {
	index      uint64
	recordedAt time.Time
	event      domain.Event
}

// NewReferenceFollower follows the reference shard of a log. Logger may be nil.
func NewReferenceFollower(log Log, catalogues Catalogues, config FollowerConfig, logger *slog.Logger) *ReferenceFollower {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f := &ReferenceFollower{
		config: config.withDefaults(), log: log, catalogues: catalogues, logger: logger, turn: make(chan struct{}, 1),
	}
	f.turn <- struct{}{}
	return f
}

// Start reads the log to its tail, and then follows it until Close. A log that is not there yet is no failure: until it
// is, Reference says so.
func (f *ReferenceFollower) Start(ctx context.Context) error {
	if f.cancel != nil {
		return errors.New("the reference shard is followed already")
	}
	if err := f.catchUp(ctx); err != nil && !errors.Is(err, ErrUnavailable) { // until it is there, Reference says why
		return fmt.Errorf("following the reference shard: %w", err)
	}
	follow, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	f.running.Go(func() { f.follow(follow) })
	return nil
}

// Close ends the following and waits for it.
func (f *ReferenceFollower) Close() {
	if f.cancel != nil {
		f.cancel()
	}
	f.running.Wait()
}

// Reference is what is known now. ErrUnavailable (wrapped) means that it is older than the bound allows.
func (f *ReferenceFollower) Reference(context.Context) (domain.Reference, error) {
	ref := f.current.Load()
	if ref == nil {
		return nil, fmt.Errorf("policies and withdrawals have not been read yet: %w", ErrUnavailable)
	}
	if stale := f.Staleness(); stale > f.config.MaxStaleness {
		return nil, fmt.Errorf("policies and withdrawals were last read %s ago, at most %s are allowed: %w",
			stale.Round(time.Millisecond), f.config.MaxStaleness, ErrUnavailable)
	}
	return ref.over(f.catalogues.Current()), nil
}

// Staleness is how long ago the tail of the reference shard was last seen.
func (f *ReferenceFollower) Staleness() time.Duration {
	seen := f.seen.Load()
	if seen == nil {
		return math.MaxInt64
	}
	return time.Since(*seen)
}

// Index is the last entry of the reference shard that is known here.
func (f *ReferenceFollower) Index() uint64 {
	if ref := f.current.Load(); ref != nil {
		return ref.index
	}
	return 0
}

// Reach reads on until an entry of the reference shard is known: whoever wrote it sees it from then on.
func (f *ReferenceFollower) Reach(ctx context.Context, index uint64) error {
	if f.Index() >= index {
		return nil
	}
	if err := f.catchUp(ctx); err != nil {
		return fmt.Errorf("reading the reference shard up to entry %d: %w", index, err)
	}
	if reached := f.Index(); reached < index {
		return fmt.Errorf("the reference shard ends at entry %d, not at %d: %w", reached, index, ErrDiffers)
	}
	return nil
}

// AsKnown is the reference as it was when `index` was the last entry known, over a catalogue by version: what a
// recorded decision was made from.
func (f *ReferenceFollower) AsKnown(ctx context.Context, index uint64, catalogue string) (domain.Reference, error) {
	return f.past(ctx, catalogue, func(c *change) bool { return c.index <= index }, index)
}

// AsKnownAt is the reference as it was recorded up to a moment, over a catalogue by version: the one that was in force as
// far as the customer's events tell. Where they tell of none, or of one that is not kept any more, it is today's.
func (f *ReferenceFollower) AsKnownAt(ctx context.Context, at time.Time, catalogue string) (domain.Reference, error) {
	if catalogue != "" {
		if _, err := f.catalogues.Version(catalogue); errors.Is(err, domain.ErrNotFound) {
			catalogue = ""
		}
	}
	if catalogue == "" {
		catalogue = f.catalogues.Current().Version()
	}
	return f.past(ctx, catalogue, func(c *change) bool { return !c.recordedAt.After(at) }, 0)
}

func (f *ReferenceFollower) past(ctx context.Context, catalogue string, known func(*change) bool, index uint64) (domain.Reference, error) {
	books, err := f.catalogues.Version(catalogue)
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", catalogue, err)
	}
	if err := f.take(ctx); err != nil {
		return nil, err
	}
	changes := f.changes[:len(f.changes):len(f.changes)]
	f.giveBack()
	ref := newReference()
	for i := range changes {
		if !known(&changes[i]) {
			break
		}
		if err := ref.apply(&changes[i].event); err != nil {
			return nil, err
		}
		ref.index = changes[i].index
	}
	ref.index = max(ref.index, index)
	return ref.over(books), nil
}

// follow looks at the log again and again.
func (f *ReferenceFollower) follow(ctx context.Context) {
	tick := time.NewTicker(f.config.Interval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := f.catchUp(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil && !failing:
			f.logger.ErrorContext(ctx, "the reference shard can't be followed", "error", err, "last_entry", f.Index())
		case err == nil && failing:
			f.logger.InfoContext(ctx, "the reference shard is followed again", "last_entry", f.Index())
		}
		failing = err != nil
	}
}

// catchUp applies what the log holds beyond the last entry known.
func (f *ReferenceFollower) catchUp(ctx context.Context) error {
	if err := f.take(ctx); err != nil {
		return err
	}
	defer f.giveBack()
	if f.broken != nil {
		return f.broken
	}
	for {
		begun := time.Now()
		entries, err := f.log.Read(ctx, domain.ReferenceShard, f.last.Index+1, f.config.MaxBytes)
		if err != nil {
			return fmt.Errorf("reading shard %d from entry %d: %w", domain.ReferenceShard, f.last.Index+1, err)
		}
		if err := f.applyAll(entries); err != nil {
			f.broken = err
			return err
		}
		if len(entries) == 0 {
			f.seen.Store(&begun)
			return nil
		}
	}
}

func (f *ReferenceFollower) take(ctx context.Context) error {
	select {
	case <-f.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the reference: %w", ctx.Err())
	}
}

func (f *ReferenceFollower) giveBack() { f.turn <- struct{}{} }

// applyAll makes the next reference of the last one and entries. It changes nothing when it fails.
func (f *ReferenceFollower) applyAll(entries []domain.Entry) error {
	ref := f.current.Load()
	if ref != nil && len(entries) == 0 {
		return nil
	}
	if ref == nil {
		ref = newReference()
	}
	next := ref.clone()
	last, changes := f.last, f.changes
	var granted []*domain.Event
	for i := range entries {
		entry := &entries[i]
		if entry.Index != last.Index+1 || entry.PreviousID != last.ID {
			return fmt.Errorf("entry %d of the reference shard does not follow entry %d: %w", entry.Index, last.Index, ErrDiffers)
		}
		for j := range entry.Events {
			e := &entry.Events[j]
			switch e.Stream.Kind() {
			case domain.KindTitle, domain.KindPolicy:
				if err := next.apply(e); err != nil {
					return fmt.Errorf("entry %d of the reference shard: %w", entry.Index, err)
				}
				changes = append(changes, change{index: entry.Index, recordedAt: entry.RecordedAt, event: *e})
			case domain.KindFailOpen:
				granted = append(granted, e)
			}
		}
		last = domain.Head{Index: entry.Index, ID: entry.ID, Writer: entry.Writer}
	}
	next.index = last.Index
	if err := f.grants.note(granted); err != nil {
		return fmt.Errorf("reading grants without the books: %w", err)
	}
	f.last, f.changes = last, changes
	f.current.Store(next)
	return nil
}
