package projector

import (
	"context"
	"errors"
)

// A read model is built anew beside itself: as another generation, with rows, checkpoints and parked streams of its own,
// that starts at the first entry of every shard. Generations have numbers. The current one is read; one with a higher
// number is being built, or was begun and left; one with a lower number is left over and goes. Every step may be the last
// one of a process that is killed: what it leaves is found by these rules.

// Generations are the generations of one read model, wherever it is kept. Any number of processes use them at once.
type Generations interface {
	// Current is the generation that is read: 1 until another was promoted.
	Current(ctx context.Context) (int, error)
	// List are the generations that there are, in order.
	List(ctx context.Context) ([]int, error)
	// Create begins the generation behind the newest one, empty. Two that create at once get two generations.
	Create(ctx context.Context) (int, error)
	// PromoteFrom makes a generation the current one, in one step and durably, if the current one is still `from`; it
	// tells whether it did.
	PromoteFrom(ctx context.Context, from, generation int) (bool, error)
	// Drop removes a generation and all its rows. One that is not there is dropped already. It returns ErrCurrent
	// (wrapped) for the current one.
	Drop(ctx context.Context, generation int) error
	// Claim keeps everybody else, in this process and others, from building a generation of the model, until release is
	// called or the process ends, however it ends. It returns ErrRebuilding (wrapped) at once when somebody has it.
	Claim(ctx context.Context) (release func(), err error)
}

var (
	// ErrCurrent: the generation is the one that is read.
	ErrCurrent = errors.New("this generation is read now")
	// ErrRebuilding: the read model is being rebuilt already, here or by another process.
	ErrRebuilding = errors.New("the read model is being rebuilt already")
	// ErrNoRebuild: the read model is not being rebuilt in this process.
	ErrNoRebuild = errors.New("the read model is not being rebuilt here")
	// ErrNotRead: another generation is read by now, so what was found in this one is of no interest any more.
	ErrNotRead = errors.New("this generation is not read any more: audit again")
	// ErrStale: a generation was written by an older program, with another fold or with another key; the model must be
	// built anew.
	ErrStale = errors.New("read model must be built anew")
)
