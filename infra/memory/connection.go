package memory

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"carryon/command"
	"carryon/domain"
)

// Connection is one process's way to the store. It is safe for concurrent use.
type Connection struct {
	store   *Store
	inject  atomic.Pointer[func(context.Context, Call) Fault]
	severed atomic.Bool
}

var (
	_ command.Log       = (*Connection)(nil)
	_ command.Histories = (*Connection)(nil)
	_ command.Snapshots = (*Connection)(nil)
)

// Connect opens a connection.
func (s *Store) Connect() *Connection { return &Connection{store: s} }

// Inject has a function asked before each call what is to go wrong with it. It may wait, to make the call slow, and
// then has to honour the context. Nil: nothing goes wrong.
func (c *Connection) Inject(fault func(context.Context, Call) Fault) {
	if fault == nil {
		c.inject.Store(nil)
		return
	}
	c.inject.Store(&fault)
}

// Sever cuts the process off, as its crash would: what it calls from now on does not reach the store, and what it is
// told is worth nothing.
func (c *Connection) Sever() { c.severed.Store(true) }

var errSevered = errors.New("the connection was cut")

// before says what goes wrong with a call.
func (c *Connection) before(ctx context.Context, call Call) (Fault, error) {
	fault := None
	if f := c.inject.Load(); f != nil {
		fault = (*f)(ctx, call)
	}
	switch {
	case c.severed.Load():
		return fault, c.fail(call, errSevered)
	case fault == None && ctx.Err() != nil:
		return fault, c.fail(call, ctx.Err())
	case fault == Unavailable:
		return fault, c.fail(call, errors.New("injected"))
	}
	return fault, nil
}

func (c *Connection) fail(call Call, err error) error {
	return fmt.Errorf("%s (shard %d, index %d, stream %q): %w: %w", call.Operation, call.Shard, call.Index, call.Stream, command.ErrUnavailable, err)
}

// Claim implements command.Log.
func (c *Connection) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	call := Call{Operation: OpClaim, Shard: e.Shard, Index: e.Index}
	fault, err := c.before(ctx, call)
	if err != nil {
		return command.Claimed{}, err
	}
	lost := fmt.Errorf("claiming entry %d of shard %d: %w", e.Index, e.Shard, command.ErrUnknown)
	switch fault {
	case LoseClaim:
		return command.Claimed{}, lost
	case DecideLate:
		c.store.decideLate(e)
		return command.Claimed{}, lost
	case LoseAnswer:
		c.store.claim(e)
		return command.Claimed{}, lost
	default:
		claimed := c.store.claim(e)
		if c.severed.Load() { // while it was decided
			return command.Claimed{}, lost
		}
		return claimed, nil
	}
}

// Head implements command.Log.
func (c *Connection) Head(ctx context.Context, shard int) (domain.Head, error) {
	if _, err := c.before(ctx, Call{Operation: OpHead, Shard: shard}); err != nil {
		return domain.Head{}, err
	}
	return c.store.head(shard), nil
}

// Read implements command.Log.
func (c *Connection) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	if _, err := c.before(ctx, Call{Operation: OpRead, Shard: shard, Index: from}); err != nil {
		return nil, err
	}
	return c.store.read(shard, from, maxBytes)
}

// Progress implements command.Histories.
func (c *Connection) Progress(ctx context.Context, shard int) (uint64, error) {
	if _, err := c.before(ctx, Call{Operation: OpProgress, Shard: shard}); err != nil {
		return 0, err
	}
	return c.store.progress(shard), nil
}

// Derive implements command.Histories.
func (c *Connection) Derive(ctx context.Context, entries []domain.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if _, err := c.before(ctx, Call{Operation: OpDerive, Shard: entries[0].Shard, Index: entries[0].Index}); err != nil {
		return err
	}
	return c.store.derive(entries)
}

// ReadStream implements command.Histories.
func (c *Connection) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	if _, err := c.before(ctx, Call{Operation: OpReadStream, Stream: stream}); err != nil {
		return nil, err
	}
	return c.store.readStream(stream, from, maxBytes)
}

// LoadSnapshot implements command.Snapshots.
func (c *Connection) LoadSnapshot(ctx context.Context, stream domain.StreamID) (command.Snapshot, bool, error) {
	if _, err := c.before(ctx, Call{Operation: OpLoadSnapshot, Stream: stream}); err != nil {
		return command.Snapshot{}, false, err
	}
	snapshot, ok := c.store.loadSnapshot(stream)
	return snapshot, ok, nil
}

// SaveSnapshots implements command.Snapshots.
func (c *Connection) SaveSnapshots(ctx context.Context, snapshots []command.Snapshot) error {
	if _, err := c.before(ctx, Call{Operation: OpSaveSnapshots}); err != nil {
		return err
	}
	c.store.saveSnapshots(snapshots)
	return nil
}
