package projector

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Turns keep the consumers of a process from taking the processor away from its commands: while commands queue, only so
// many apply entries at the same time. They are a courtesy, not a lock: whoever has waited for his turn long enough goes
// on without one, so a model that hangs never holds another for long. The next turn is whose rows somebody waits for, and
// then who came first.
type Turns struct {
	most, few int
	busy      func() bool

	mu      sync.Mutex
	taken   int
	waiting []*turn // in order
}

type turn struct {
	wanted func() bool
	come   chan struct{} // closed when it has come
}

const turnPatience = 250 * time.Millisecond

// NewTurns lets so many consumers apply at the same time, and fewer while the process is busy.
func NewTurns(most, few int, busy func() bool) *Turns {
	return &Turns{most: most, few: few, busy: busy}
}

// take waits for a turn, and answers how to give it back. Without Turns everybody goes at once.
func (t *Turns) take(ctx context.Context, wanted func() bool) (giveBack func()) {
	if t == nil {
		return func() {}
	}
	t.mu.Lock()
	if len(t.waiting) == 0 && t.taken < t.allowed() {
		t.taken++
		t.mu.Unlock()
		return t.giveBack
	}
	mine := &turn{wanted: wanted, come: make(chan struct{})}
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	timer := time.NewTimer(turnPatience)
	defer timer.Stop()
	select {
	case <-mine.come:
		return t.giveBack
	case <-timer.C:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, mine); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		return func() {}
	}
	return t.giveBack // it came at the same moment
}

func (t *Turns) allowed() int {
	if t.busy() {
		return t.few
	}
	return t.most
}

func (t *Turns) giveBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	for allowed := t.allowed(); len(t.waiting) > 0 && t.taken < allowed; t.taken++ {
		next := max(0, slices.IndexFunc(t.waiting, func(other *turn) bool { return other.wanted() }))
		close(t.waiting[next].come)
		t.waiting = slices.Delete(t.waiting, next, next+1)
	}
}
