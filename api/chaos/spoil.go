package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"carryon/api/simulate"
)

// spoil lets the faults of a course happen while the load goes on, and returns when all of them are mended. A fault that
// can't be mended ends the load by its cause. It answers what came of loads of its own.
func (r *round) spoil(ctx context.Context, end context.CancelCauseFunc, course Course, prefix string) <-chan *simulate.Report {
	bursts := make(chan *simulate.Report, len(course.Faults))
	var under sync.WaitGroup
	for i := range course.Faults {
		f := &course.Faults[i]
		if !r.reached(ctx, f.At*r.o.RoundCommands/1000) {
			break
		}
		under.Go(func() {
			defer f.Process.turn.Unlock()
			if f.Process.turn.Lock(); r.over() || ctx.Err() != nil {
				return
			}
			r.begun.Add(1)
			if f.Kind == Burst {
				report, err := r.burst(ctx, fmt.Sprintf("%sb%d-", prefix, i))
				if bursts <- report; err != nil {
					end(fmt.Errorf("a burst: %w", err))
				}
				r.count(Burst)
				return
			}
			if err := r.suffer(ctx, f); err != nil {
				end(err)
			}
		})
	}
	under.Wait()
	close(bursts)
	return bursts
}

// reached waits until so many commands were sent; false: the load is over.
func (r *round) reached(ctx context.Context, sent int64) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for r.sent.Load() < sent {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
	return !r.over()
}

func (r *round) over() bool { return r.sent.Load() >= r.o.RoundCommands }

func (r *round) count(kind Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[kind]++
}

// suffer has one fault happen, and mends it.
func (r *round) suffer(ctx context.Context, f *Fault) error {
	defer r.count(f.Kind)
	switch f.Kind {
	case Killed, KilledAgain, Ended:
		return r.restart(ctx, f)
	case Paused:
		if err := f.Process.signal(stopSignal); err != nil {
			return err
		}
		pause(ctx, f.Lasts)
		return f.Process.signal(goOnSignal)
	case ServerKilled, ServerPaused:
		return f.Server.suffer(ctx, f)
	case LinkCut, LinkSlow, LinkHalfOpen, LinkDeaf, Hidden:
		mode := map[Kind]Mode{LinkCut: Cut, LinkSlow: Slow, LinkHalfOpen: HalfOpen, LinkDeaf: LoseAnswers, Hidden: Cut}[f.Kind]
		link := f.Process.Links[f.Link]
		link.Set(mode, f.Delay)
		pause(ctx, f.Lasts)
		link.Set(Pass, 0)
	case Burst, ClockWrong: // are not suffered by themselves
	}
	return nil
}

// restart ends the process in one way or another, and starts it again with another clock.
func (r *round) restart(ctx context.Context, f *Fault) error {
	p := f.Process
	if err := p.Fell(); err != nil {
		return fmt.Errorf("%w: %w", ErrFound, err)
	}
	if f.Kind == Ended {
		if err := p.End(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrFound, err)
		}
	} else if err := p.Kill(); err != nil {
		return err
	}
	pause(ctx, f.Lasts/4)
	if f.Kind == KilledAgain {
		if _, _, err := p.launch(f.Clock); err != nil {
			return err
		}
		pause(ctx, f.Delay)
		if err := p.Kill(); err != nil {
			return err
		}
	}
	if f.Clock != 0 {
		r.count(ClockWrong)
	}
	if err := p.Start(ctx, f.Clock); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: after it was %s: %w", ErrFound, f.Kind, err)
	}
	return nil
}

// burst sends many commands at once, more than the queues hold.
func (r *round) burst(ctx context.Context, prefix string) (*simulate.Report, error) {
	options := r.o.Load
	options.Seed, options.Prefix, options.Journal = r.o.Seed, prefix, r.journal
	options.Callers, options.Households, options.Commands = 400, 400, 1600
	return simulate.Run(ctx, r.target(options.Callers), options)
}
