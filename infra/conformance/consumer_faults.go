package conformance

import (
	"context"
	"errors"
	"sync"

	"carryon/domain"
	"carryon/projector"
)

// op is a moment in a consumer's transaction at which something may go wrong.
type op string

const (
	opCheckpoints op = "checkpoints"
	opLookUp      op = "look up a parked stream"
	opBegin       op = "begin"
	opParked      op = "parked"
	opPark        op = "park"
	opUnpark      op = "unpark"
	opApply       op = "apply"
	opCommit      op = "commit"    // before
	opCommitted   op = "committed" // after; an error is a lost answer
)

var (
	errCrashed = errors.New("the process has crashed")
	errFlaky   = errors.New("made to fail for a while")
)

// guardedStore is one process's way to the store under test: things can be made to go wrong on it, and after a crash
// nothing goes through any more.
type guardedStore[T projector.Tx] struct {
	inner projector.Store[T]

	mu       sync.Mutex
	hook     func(op) error // asked at each op; nil: all goes well
	crashed  bool
	largest  int // most events of one call of the projection
	calls    int
	overlaps bool // the hook is running: do not ask it again
}

// on sets what is asked at each op.
func (g *guardedStore[T]) on(hook func(op) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hook = hook
}

// crash makes everything fail from now on.
func (g *guardedStore[T]) crash() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.crashed = true
	return errCrashed
}

func (g *guardedStore[T]) isCrashed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.crashed
}

// at asks the hook, which may do other things meanwhile, but is not asked about those.
func (g *guardedStore[T]) at(o op) error {
	g.mu.Lock()
	hook, crashed, busy := g.hook, g.crashed, g.overlaps
	if hook != nil && !busy {
		g.overlaps = true
	}
	g.mu.Unlock()
	if crashed {
		return errCrashed
	}
	if hook == nil || busy {
		return nil
	}
	defer func() {
		g.mu.Lock()
		g.overlaps = false
		g.mu.Unlock()
	}()
	return hook(o)
}

func (g *guardedStore[T]) note(events []*domain.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.largest = max(g.largest, len(events))
	g.calls++
}

func (g *guardedStore[T]) Begin(ctx context.Context, shard int) (*guardedTx[T], error) {
	if err := g.at(opBegin); err != nil {
		return nil, err
	}
	inner, err := g.inner.Begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return &guardedTx[T]{inner: inner, store: g}, nil
}

func (g *guardedStore[T]) Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error) {
	if err := g.at(opCheckpoints); err != nil {
		return nil, err
	}
	return g.inner.Checkpoints(ctx)
}

func (g *guardedStore[T]) Parked(ctx context.Context, after domain.StreamID, limit int) ([]projector.Parked, error) {
	return g.inner.Parked(ctx, after, limit)
}

func (g *guardedStore[T]) ParkedStream(ctx context.Context, stream domain.StreamID) (projector.Parked, bool, error) {
	if err := g.at(opLookUp); err != nil {
		return projector.Parked{}, false, err
	}
	return g.inner.ParkedStream(ctx, stream)
}

// guardedTx is a transaction of such a process.
type guardedTx[T projector.Tx] struct {
	inner T
	store *guardedStore[T]
}

func (t *guardedTx[T]) Checkpoint() projector.Checkpoint { return t.inner.Checkpoint() }

func (t *guardedTx[T]) ParkedAmong(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.Parked, error) {
	if err := t.store.at(opParked); err != nil {
		return nil, err
	}
	return t.inner.ParkedAmong(ctx, streams)
}

func (t *guardedTx[T]) Park(ctx context.Context, p projector.Parked) error {
	if err := t.store.at(opPark); err != nil {
		return err
	}
	return t.inner.Park(ctx, p)
}

func (t *guardedTx[T]) Unpark(ctx context.Context, stream domain.StreamID) error {
	if err := t.store.at(opUnpark); err != nil {
		return err
	}
	return t.inner.Unpark(ctx, stream)
}

func (t *guardedTx[T]) Commit(ctx context.Context, to projector.Checkpoint) error {
	if err := t.store.at(opCommit); err != nil {
		return err
	}
	if err := t.inner.Commit(ctx, to); err != nil {
		return err
	}
	return t.store.at(opCommitted)
}

// Rollback is what becomes of a crashed process's transaction, too.
func (t *guardedTx[T]) Rollback() { t.inner.Rollback() }
