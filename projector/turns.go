package projector

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Turns keep the consumers of a process from taking the processor away from its commands, and from a consumer whose rows
// somebody waits for: while commands queue, or somebody has just waited, only so many apply entries at the same time. Who
// is waited for goes at once, the others in the order in which they came. It is a courtesy, not a lock: whoever has waited
// for his turn long enough goes on without one, so a model that hangs never holds another for long.
type Turns struct {
	most, whileBusy, whileAwaited int
	busy                          func() bool

	mu      sync.Mutex
	taken   int
	awaited time.Time       // when one took a turn that was waited for, last
	waiting []chan struct{} // in order; closed when the turn has come
}

const (
	turnPatience = 250 * time.Millisecond
	// turnsAwaited is how long others hold back after a turn that was waited for: who waits for one waits for more.
	turnsAwaited = 100 * time.Millisecond
)

// NewTurns lets so many consumers apply at the same time, so many while the process is busy, and so many while
// somebody waits for rows of one of them, which is counted and goes at once.
func NewTurns(most, whileBusy, whileAwaited int, busy func() bool) *Turns {
	return &Turns{most: most, whileBusy: whileBusy, whileAwaited: whileAwaited, busy: busy}
}

// take waits for a turn, and answers how to give it back. Without Turns everybody goes at once.
func (t *Turns) take(ctx context.Context, readers *Waiter) (giveBack func()) {
	if t == nil {
		return func() {}
	}
	someone := readers.someone()
	t.mu.Lock()
	if awaited := readers.awaited(); awaited || len(t.waiting) == 0 && t.taken < t.allowed() {
		t.begin(awaited)
		t.mu.Unlock()
		return t.giveBack
	}
	mine := make(chan struct{})
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	timer := time.NewTimer(turnPatience)
	defer timer.Stop()
	awaited := false
	select {
	case <-mine:
		return t.giveBack
	case <-someone:
		awaited = true
	case <-timer.C:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, mine); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		if !awaited {
			return func() {}
		}
		t.begin(awaited)
	}
	return t.giveBack // or it came at the same moment
}

func (t *Turns) begin(awaited bool) {
	t.taken++
	if awaited {
		t.awaited = time.Now()
	}
}

func (t *Turns) allowed() int {
	allowed := t.most
	if t.busy() {
		allowed = min(allowed, t.whileBusy)
	}
	if time.Since(t.awaited) < turnsAwaited {
		allowed = min(allowed, t.whileAwaited)
	}
	return allowed
}

func (t *Turns) giveBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	for allowed := t.allowed(); len(t.waiting) > 0 && t.taken < allowed; t.taken++ {
		close(t.waiting[0])
		t.waiting = t.waiting[1:]
	}
}
