package query

import (
	"context"
	"maps"
	"sync"

	"carryon/domain"
)

// Whoever waits holds a request open for as long as its deadline allows. So that nobody can hold all of them by asking for
// what will never be, only so many wait at once, and fewer for the same stream; the others are told at once that the read
// model is behind.
const (
	maxWaits     = 512
	maxWaitsEach = 16
)

// waitRoom counts who waits, for all read models together.
type waitRoom struct {
	mu      sync.Mutex
	all     int
	streams map[domain.StreamID]int
}

// bounded are waiters whose waits are counted together.
func bounded(waiters map[string]Waiter) map[string]Waiter {
	room := &waitRoom{streams: map[domain.StreamID]int{}}
	waiters = maps.Clone(waiters)
	for name, waiter := range waiters {
		waiters[name] = boundedWaiter{waiter, room}
	}
	return waiters
}

func (r *waitRoom) enter(stream domain.StreamID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= maxWaits || stream != "" && r.streams[stream] >= maxWaitsEach {
		return false
	}
	r.all++
	r.streams[stream]++
	return true
}

func (r *waitRoom) leave(stream domain.StreamID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.streams[stream]--; r.streams[stream] == 0 {
		delete(r.streams, stream)
	}
}

type boundedWaiter struct {
	Waiter
	room *waitRoom
}

// WaitFor is Waiter's.
func (b boundedWaiter) WaitFor(ctx context.Context, pos domain.Position, stream domain.StreamID) error {
	if !b.room.enter(stream) {
		return context.DeadlineExceeded
	}
	defer b.room.leave(stream)
	return b.Waiter.WaitFor(ctx, pos, stream)
}

// WaitForVersion is Waiter's. What is there already is not waited for.
func (b boundedWaiter) WaitForVersion(ctx context.Context, stream domain.StreamID, version uint64, current func(context.Context) (uint64, error)) error {
	if shown, err := current(ctx); err == nil && shown >= version {
		return nil
	}
	if !b.room.enter(stream) {
		return context.DeadlineExceeded
	}
	defer b.room.leave(stream)
	return b.Waiter.WaitForVersion(ctx, stream, version, current)
}
