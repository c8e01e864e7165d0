package projector

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Turns keep the consumers of a process from taking the processor away from its commands, and from a consumer whose rows
// somebody waits for: while commands queue, or somebody has just waited, only so many apply entries at the same time. Who
// is waited for goes at once, the others in the order in which they came. It is a courtesy, not a lock: who has waited
// for his turn long enough goes on all the same, so a model that hangs never holds another for long.
type Turns struct {
	most, whileBusy, whileAwaited int
	busy                          func() bool

	mu      sync.Mutex
	taken   int
	awaited time.Time // when a turn that was waited for was taken or given back, last
	urgent  line      // who is waited for, when too many of those go already
	others  line
}

// line is of those who wait for their turn, in order.
type line struct {
	waiting  []chan struct{} // each is closed when its turn has come
	insisted time.Time       // when one went because his patience had ended, last
}

const (
	// turnPatience is how long the first in line waits, turnPatienceAgain how long after him the next one goes.
	turnPatience      = 250 * time.Millisecond
	turnPatienceAgain = 50 * time.Millisecond
	// turnsAwaited is how long others hold back after a turn that was waited for: who waits for one waits for more.
	turnsAwaited = 100 * time.Millisecond
)

// NewTurns lets so many consumers apply at the same time, so many while the process is busy, and so many while
// somebody waits for rows of one of them. That one is counted, and goes at once: a consumer works on one shard, and it is
// not known which shard's rows are waited for, so where a model has many shards twice `most` go at most.
func NewTurns(most, whileBusy, whileAwaited int, busy func() bool) *Turns {
	return &Turns{most: most, whileBusy: whileBusy, whileAwaited: whileAwaited, busy: busy}
}

// take waits for a turn, and answers how to give it back. Without Turns everybody goes at once.
func (t *Turns) take(ctx context.Context, readers *Waiter) (giveBack func()) {
	if t == nil {
		return func() {}
	}
	someone := readers.someone()
	mine := make(chan struct{})
	t.mu.Lock()
	awaited := readers.awaited()
	if awaited {
		t.urgent.join(mine)
	} else {
		t.others.join(mine)
	}
	t.admit()
	t.mu.Unlock()
	timer := time.NewTimer(turnPatience)
	defer timer.Stop()
	for {
		select {
		case <-mine:
			return func() { t.giveBack(awaited) }
		case <-someone:
			someone = nil
			awaited = t.hurry(mine) || awaited
		case <-timer.C:
			t.insist(mine)
			timer.Reset(turnPatienceAgain)
		case <-ctx.Done():
			if t.leave(mine) {
				return func() {}
			}
		}
	}
}

// hurry moves one who begins to be waited for, and tells whether his turn had not come yet.
func (t *Turns) hurry(mine chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.others.remove(mine) {
		return false
	}
	t.urgent.join(mine)
	t.admit()
	return true
}

// insist lets one go whose patience has ended, unless others stand before him in his line or one of it has just gone so.
func (t *Turns) insist(mine chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range []*line{&t.urgent, &t.others} {
		if now := time.Now(); len(l.waiting) > 0 && l.waiting[0] == mine && now.Sub(l.insisted) >= turnPatienceAgain {
			l.insisted = now
			t.next(l)
			return
		}
	}
}

// leave takes one out of line who will not go, and tells whether his turn had not come yet.
func (t *Turns) leave(mine chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.urgent.remove(mine) || t.others.remove(mine)
}

// next lets the first of a line go.
func (t *Turns) next(l *line) {
	if l == &t.urgent {
		t.awaited = time.Now()
	}
	close(l.waiting[0])
	l.waiting = l.waiting[1:]
	t.taken++
}

// admit lets go who may.
func (t *Turns) admit() {
	for len(t.urgent.waiting) > 0 && t.taken < 2*t.most {
		t.next(&t.urgent)
	}
	if len(t.urgent.waiting) > 0 {
		return
	}
	for allowed := t.allowed(); len(t.others.waiting) > 0 && t.taken < allowed; {
		t.next(&t.others)
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

func (t *Turns) giveBack(awaited bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	if awaited {
		t.awaited = time.Now()
	}
	t.admit()
}

func (l *line) join(mine chan struct{}) { l.waiting = append(l.waiting, mine) }

// remove tells whether he stood there.
func (l *line) remove(mine chan struct{}) bool {
	i := slices.Index(l.waiting, mine)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	return i >= 0
}
