package profile

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"carryon/command"
)

// later is an outside thing that need not be there when the process starts. It is opened once at the start; when it
// can't be reached, it is tried again in the background until it is there, and whoever needs it meanwhile is told why it
// is not. A failure that trying again does not mend ends the start.
type later[T any] struct {
	name   string
	open   func(context.Context) (T, error)
	close  func(T) error
	passes func(error) bool // tells whether a failure may pass
	logger *slog.Logger

	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	value T
	there bool
	err   error
}

// How long one try may take, and the pauses between tries.
const (
	openPatience = 15 * time.Second
	reopenMin    = 250 * time.Millisecond
	reopenMax    = 5 * time.Second
)

func openLater[T any](ctx context.Context, l *later[T]) (*later[T], error) {
	err := l.try(ctx)
	if err != nil && !l.passes(err) {
		return nil, err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	if err != nil {
		l.logger.Warn(l.name+" can't be reached yet and is tried again", "error", err)
		l.running.Go(func() { l.keepTrying(background) })
	}
	return l, nil
}

func (l *later[T]) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	value, err := l.open(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.err = fmt.Errorf("%s: %w", l.name, err)
		return l.err
	}
	l.value, l.there, l.err = value, true, nil
	return nil
}

func (l *later[T]) keepTrying(ctx context.Context) {
	for pause := reopenMin; ; pause = min(2*pause, reopenMax) {
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		err := l.try(ctx)
		switch {
		case err == nil:
			l.logger.Info(l.name + " is there")
			return
		case ctx.Err() != nil:
			return
		case !l.passes(err):
			l.logger.Error(l.name+" can't be used; mend it and start again", "error", err)
			return
		}
	}
}

// get is the thing, or why it is not there.
func (l *later[T]) get() (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.there {
		var none T
		return none, fmt.Errorf("%w: %w", command.ErrUnavailable, l.err)
	}
	return l.value, nil
}

// Close ends the trying, and closes the thing if it is there.
func (l *later[T]) Close() error {
	l.cancel()
	l.running.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.there {
		return nil
	}
	l.there = false
	l.err = fmt.Errorf("%s: %w", l.name, command.ErrClosed)
	return l.close(l.value)
}
