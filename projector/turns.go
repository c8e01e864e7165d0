package projector

import (
	"context"
	"time"
)

// Turns keep the consumers of a process from taking the processor away from its commands: only so many apply entries at
// the same time. They are a courtesy, not a lock: whoever has waited for his turn long enough goes on without one, so a
// model that hangs never holds another for long.
type Turns struct{ free chan struct{} }

const turnPatience = 250 * time.Millisecond

// NewTurns lets n consumers apply at the same time.
func NewTurns(n int) *Turns {
	t := &Turns{free: make(chan struct{}, n)}
	for range n {
		t.free <- struct{}{}
	}
	return t
}

// take waits for a turn, and answers how to give it back. Without Turns everybody goes at once.
func (t *Turns) take(ctx context.Context) (giveBack func()) {
	if t == nil {
		return func() {}
	}
	select {
	case <-t.free:
		return t.giveBack
	default:
	}
	timer := time.NewTimer(turnPatience)
	defer timer.Stop()
	select {
	case <-t.free:
		return t.giveBack
	case <-timer.C:
	case <-ctx.Done():
	}
	return func() {}
}

func (t *Turns) giveBack() { t.free <- struct{}{} }
