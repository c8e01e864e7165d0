package command

import (
	"context"
	"errors"
	"time"

	"carryon/domain"
)

// A customer's books may be out of reach: a store that does not answer, a history that differs. Where the policy says
// "fail open" for the title, a device then gets a short licence all the same. It goes to the stream failopen/{customer}
// of the reference shard, so that it is on record before it is given; if that can't be claimed either, nothing is
// granted. When the books can be read again, the grant is settled with them: recorded, counted, and kept or revoked.
// Settling is idempotent, command by command and as a whole, so a crash anywhere in it is repaired by doing it again.

// FailOpen are the settings of grants without the books. The zero value: none are made, none are settled.
type FailOpen struct {
	Enabled  bool
	Interval time.Duration // between rounds of settling. Default 5 s
	PerRound int           // customers settled in one round at most. Default 100
	Timeout  time.Duration // for one customer. Default 10 s
}

func (c FailOpen) withDefaults() FailOpen {
	orDefault(&c.Interval, 5*time.Second)
	orDefault(&c.PerRound, 100)
	orDefault(&c.Timeout, 10*time.Second)
	return c
}

// mayFailOpen tells whether a request failed for want of the books, and not of the caller's patience.
func (a *App) mayFailOpen(ctx context.Context, r *request, err error) bool {
	return a.emergency != nil && !r.dryRun && ctx.Err() == nil && errors.Is(err, ErrUnreadable)
}

// failOpen grants without the books what the policy allows. When it does not, or the grant can't be recorded either,
// the answer is why the books could not be read.
func (a *App) failOpen(ctx context.Context, r request, customer string, ask domain.AcquireRequest, unreadable error) (Result, error) {
	return Result{}, unreadable
}

// emergency keeps the grants made without the books, and settles them.
type emergency struct {
	app    *App
	config FailOpen
}

func newEmergency(a *App, config FailOpen) *emergency {
	if !config.Enabled {
		return nil
	}
	return &emergency{app: a, config: config.withDefaults()}
}

// granted tells whether a command was answered by a grant without the books.
func (e *emergency) granted(customer, commandID string) bool { return false }

func (e *emergency) start(context.Context) error { return nil }

func (e *emergency) close() {}
