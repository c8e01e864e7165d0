package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"carryon/domain"
)

// Loading a stream: the progress of the histories is read first, then the snapshot and the history after it, then the
// log from the progress on. In that order what is derived meanwhile is met twice, and nothing is missed. A reader that
// finds a hole never carries on: it reads again, then the log, then it fails.
type loader struct {
	log       Log
	histories Histories
	snapshots Snapshots
	folding   Folding
	keep      time.Duration
	logger    *slog.Logger
}

// foldError says that an event that is in the log can't be folded, however often it is tried.
type foldError struct{ err error }

func (e *foldError) Error() string { return e.err.Error() }
func (e *foldError) Unwrap() error { return e.err }

// forgottenError says that the log is shorter than what was derived from it. It wraps ErrDiffers. Unlike a hole in a
// history, it can't be mended from the log.
type forgottenError struct{ text string }

func (e *forgottenError) Error() string { return e.text }
func (e *forgottenError) Unwrap() error { return ErrDiffers }

func unfoldable(err error) bool {
	_, is := errors.AsType[*foldError](err)
	return is
}

func (l *loader) load(ctx context.Context, wanted loadRequest) (loadedStream, error) {
	loaded, err := l.fromHistories(ctx, wanted)
	if !hole(err) {
		return loaded, err
	}
	l.logger.Warn("history differs, reading it again", "shard", wanted.shard, "error", err.Error())
	loaded, err = l.fromHistories(ctx, wanted)
	if !hole(err) {
		return loaded, err
	}
	l.logger.Error("history differs, reading the log", "shard", wanted.shard, "error", err.Error())
	return l.fromLog(ctx, wanted)
}

func hole(err error) bool { return errors.Is(err, ErrDiffers) && !forgotten(err) }

func forgotten(err error) bool {
	_, is := errors.AsType[*forgottenError](err)
	return is
}

// fromHistories loads the usual way.
func (l *loader) fromHistories(ctx context.Context, wanted loadRequest) (loadedStream, error) {
	progress, err := l.histories.Progress(ctx, wanted.shard)
	if err != nil {
		return loadedStream{}, fmt.Errorf("reading the progress of shard %d: %w", wanted.shard, err)
	}
	f, err := l.begin(ctx, wanted.stream)
	if err != nil {
		return loadedStream{}, err
	}
	loaded := loadedStream{folded: f, saved: f.seq}
	for {
		events, err := l.histories.ReadStream(ctx, wanted.stream, f.seq+1, DefaultReadMaxBytes)
		if err != nil {
			return loadedStream{}, fmt.Errorf("reading the history of %s from %d: %w", wanted.stream, f.seq+1, err)
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			if err := l.fold(f, &events[i]); err != nil {
				return loadedStream{}, err
			}
		}
	}
	if known := max(progress, f.position.Index); known > wanted.through {
		return loaded, l.confirm(ctx, wanted, known)
	}
	return loaded, l.tail(ctx, wanted, f, progress+1)
}

// begin is the newest usable snapshot, or the state before the first event.
func (l *loader) begin(ctx context.Context, stream domain.StreamID) (*folded, error) {
	snapshot, ok, err := l.snapshots.LoadSnapshot(ctx, stream)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("loading the snapshot of %s: %w", stream, ctx.Err())
	case err != nil: // a cache that fails is a cache that is empty
		l.logger.Warn("snapshot not read", "error", err.Error())
	case ok:
		var f *folded
		err := guarded(func() (err error) {
			f, err = restore(&snapshot, &l.folding)
			return err
		})
		if err == nil {
			return f, nil
		}
		l.logger.Info("snapshot not used", "error", err.Error())
	}
	return l.empty(stream)
}

func (l *loader) empty(stream domain.StreamID) (*folded, error) {
	state, err := l.folding.Empty(stream)
	if err != nil {
		return nil, err
	}
	return &folded{state: state}, nil
}

func (l *loader) fold(f *folded, e *domain.Event) error {
	err := f.apply(e, l.keep)
	if err != nil && !errors.Is(err, ErrDiffers) {
		return &foldError{err}
	}
	return err
}

// confirm makes sure that the log reaches as far as what was derived from it: it may have forgotten its tail.
func (l *loader) confirm(ctx context.Context, wanted loadRequest, known uint64) error {
	head, err := l.log.Head(ctx, wanted.shard)
	if err != nil {
		return fmt.Errorf("reading the head of shard %d: %w", wanted.shard, err)
	}
	if head.Index < known {
		return &forgottenError{fmt.Sprintf("%s was derived up to entry %d of shard %d, whose log ends at entry %d: %v", wanted.stream, known, wanted.shard, head.Index, ErrDiffers)}
	}
	return nil
}

// tail folds what is not in the history: from the log, and from where it can be had from memory.
func (l *loader) tail(ctx context.Context, wanted loadRequest, f *folded, from uint64) error {
	for from <= wanted.through {
		if recent := wanted.recent; len(recent) > 0 && from >= recent[0].Index {
			return l.foldEntries(recent[from-recent[0].Index:], f, wanted.stream)
		}
		entries, err := l.log.Read(ctx, wanted.shard, from, DefaultReadMaxBytes)
		if err != nil {
			return fmt.Errorf("reading the log of shard %d from %d: %w", wanted.shard, from, err)
		}
		if len(entries) == 0 {
			return &forgottenError{fmt.Sprintf("entry %d of shard %d was in the log and is not: %v", from, wanted.shard, ErrDiffers)}
		}
		for i := range entries {
			if entries[i].Index > wanted.through {
				return nil
			}
			if err := l.foldEntries([]*domain.Entry{&entries[i]}, f, wanted.stream); err != nil {
				return err
			}
		}
		from = entries[len(entries)-1].Index + 1
	}
	return nil
}

func (l *loader) foldEntries(entries []*domain.Entry, f *folded, stream domain.StreamID) error {
	return foldEntries(entries, f, stream, l.keep)
}

// foldEntries folds those events of a stream that are not folded yet.
func foldEntries(entries []*domain.Entry, f *folded, stream domain.StreamID, keep time.Duration) error {
	for _, entry := range entries {
		for i := range entry.Events {
			e := &entry.Events[i]
			if e.Stream != stream || e.Seq <= f.seq {
				continue
			}
			if err := f.apply(e, keep); err != nil {
				if errors.Is(err, ErrDiffers) {
					return err
				}
				return &foldError{err}
			}
		}
	}
	return nil
}

// fromLog loads a stream whose history has a hole, from the log alone.
func (l *loader) fromLog(ctx context.Context, wanted loadRequest) (loadedStream, error) {
	f, err := l.empty(wanted.stream)
	if err != nil {
		return loadedStream{}, err
	}
	wanted.recent = nil
	return loadedStream{folded: f}, l.tail(ctx, wanted, f, 1)
}

// events reads recorded events by seq: from the history, and where it lacks or has a hole, from the log.
func (l *loader) events(ctx context.Context, wanted eventsRequest) ([]domain.Event, error) {
	progress, err := l.histories.Progress(ctx, wanted.shard)
	if err != nil {
		return nil, fmt.Errorf("reading the progress of shard %d: %w", wanted.shard, err)
	}
	c := collected{wanted: wanted, next: wanted.seq}
	from := progress + 1
	switch err := l.collectHistory(ctx, &c); {
	case errors.Is(err, ErrDiffers):
		l.logger.Error("history differs, reading the log", "shard", wanted.shard, "error", err.Error())
		from = 1
	case err != nil:
		return nil, err
	}
	if err := l.collectLog(ctx, &c, from); err != nil {
		return nil, err
	}
	return c.events, nil
}

// collected are the events found so far.
type collected struct {
	wanted eventsRequest
	next   uint64 // seq of the one looked for
	events []domain.Event
}

func (c *collected) done() bool { return c.next >= c.wanted.seq+uint64(c.wanted.count) }

func (c *collected) take(events []domain.Event) {
	for i := range events {
		e := &events[i]
		if e.Stream != c.wanted.stream || e.Seq != c.next || c.done() {
			continue
		}
		c.next++
		if c.wanted.commandID == "" || e.CommandID == c.wanted.commandID {
			c.events = append(c.events, *e)
		}
	}
}

func (l *loader) collectHistory(ctx context.Context, c *collected) error {
	maxBytes := DefaultReadMaxBytes
	if c.wanted.commandID == "" { // a command's events: mostly few and small
		maxBytes = 8 << 10 * min(c.wanted.count, 64)
	}
	for !c.done() {
		events, err := l.histories.ReadStream(ctx, c.wanted.stream, c.next, maxBytes)
		if err != nil {
			return fmt.Errorf("reading the history of %s from %d: %w", c.wanted.stream, c.next, err)
		}
		if len(events) == 0 {
			return nil
		}
		if events[0].Seq != c.next {
			return fmt.Errorf("reading the history of %s: event %d where %d should be: %w", c.wanted.stream, events[0].Seq, c.next, ErrDiffers)
		}
		c.take(events)
	}
	return nil
}

func (l *loader) collectLog(ctx context.Context, c *collected, from uint64) error {
	maxBytes := DefaultReadMaxBytes
	if c.wanted.index > 0 {
		from, maxBytes = c.wanted.index, 1 // that entry, and no other
	}
	for !c.done() {
		entries, err := l.log.Read(ctx, c.wanted.shard, from, maxBytes)
		if err != nil {
			return fmt.Errorf("reading the log of shard %d from %d: %w", c.wanted.shard, from, err)
		}
		if len(entries) == 0 {
			return fmt.Errorf("event %d of %s is neither in its history nor in the log: %w", c.next, c.wanted.stream, ErrDiffers)
		}
		for i := range entries {
			c.take(entries[i].Events)
		}
		if c.wanted.index > 0 && !c.done() {
			return fmt.Errorf("event %d of %s is not in entry %d, which should hold it: %w", c.next, c.wanted.stream, c.wanted.index, ErrDiffers)
		}
		from = entries[len(entries)-1].Index + 1
	}
	return nil
}
