package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"carryon/domain"
)

// A customer's books may be out of reach: a store that does not answer, a history that differs. Where the policy says
// "fail open" for the title, a device then gets a short licence all the same. It goes to the stream failopen/{customer}
// of the reference shard, so that it is on record before it is given; if that can't be claimed either, nothing is
// granted. When the books can be read again, the grant is settled with them: recorded, counted, and kept or revoked.
//
// Settling is two appends to two streams: first the customer's, then the failopen stream's mark. Each has a command id
// derived from the grant's, and the books know a licence that they already hold, so a crash anywhere is repaired by
// doing it again, in any process.

// FailOpen are the settings of settling grants without the books; whether one is made is the policy's word. Zero values
// stand for the defaults.
type FailOpen struct {
	Interval time.Duration // between rounds of settling. Default 5 s
	PerRound int           // grants settled in one round at most. Default 100
	Timeout  time.Duration // for one grant. Default 10 s
}

func (c FailOpen) withDefaults() FailOpen {
	orDefault(&c.Interval, 5*time.Second)
	orDefault(&c.PerRound, 100)
	orDefault(&c.Timeout, 10*time.Second)
	return c
}

// mayFailOpen tells whether a request failed for want of the books, and not of the caller's patience.
func (a *App) mayFailOpen(ctx context.Context, r *request, err error) bool {
	// not when another process may have recorded the command: then there would be two answers
	return !r.dryRun && ctx.Err() == nil && !errors.Is(err, ErrUnknown) && (errors.Is(err, ErrUnreadable) || errors.Is(err, ErrDiffers))
}

// grantedWithoutBooks tells whether a command was answered by a grant without the books: its repeat must get that
// answer, although the books may be readable by now.
func (a *App) grantedWithoutBooks(r *request, customer string) bool {
	return !r.dryRun && a.reference.grants.granted(customer, r.meta.CommandID)
}

// failOpen grants without the books what the policy allows. When it allows nothing, or the grant can't be recorded
// either, the answer is why the books could not be read.
func (a *App) failOpen(ctx context.Context, r request, customer string, ask domain.AcquireRequest, unreadable error) (Result, error) {
	r.name, r.stream, r.customer = "acquire_fail_open", domain.FailOpenStream(customer), nil
	r.command = nil // every process may write the reference shard
	meta := *r.meta
	meta.IfMatch = nil // names a version of books that nobody can read
	r.meta = &meta
	r.stand = func(state domain.Aggregate, m domain.Moment) (domain.Verdict, error) {
		grants, ok := state.(*domain.FailOpen)
		if !ok {
			return domain.Verdict{}, fmt.Errorf("stream %s holds %T", domain.FailOpenStream(customer), state)
		}
		return grants.Grant(m, ask)
	}
	result, err := a.handle(ctx, r)
	switch {
	case err == nil && result.Refused(): // the books might have given another reason: come back later
		return Result{}, unreadable
	case errors.Is(err, ErrIdempotencyConflict), errors.Is(err, ErrTokenDrift), errors.Is(err, ErrUnknown):
		return Result{}, err
	case err != nil:
		return Result{}, fmt.Errorf("neither the books can be read nor a grant recorded without them: %w: %w", ErrUnavailable, errors.Join(unreadable, err))
	}
	if !result.Repeated {
		a.metrics.emergency.WithLabelValues("granted").Inc()
		a.logger.WarnContext(ctx, "granted without the books", "command_id", meta.CommandID, "correlation", meta.Correlation, "error", unreadable)
	}
	return a.knowing(ctx, result, nil)
}

// grantBook is what the reference shard says about grants without the books: those that wait to be settled, and for as
// long as their command ids may come again, those that were settled.
type grantBook struct {
	mu     sync.Mutex
	grants map[string][]*givenGrant // by customer
	open   int
}

type givenGrant struct {
	event    domain.Event // LicenseIssued
	license  string
	commands []string // that it answers: the one that it was made for, and those that had it given out again
	settled  bool
}

// keepSettled is how long a settled grant is remembered: longer than command ids are accepted.
const keepSettled = 9 * day

// note reads events of failopen streams, in the order of the log.
func (b *grantBook) note(events []*domain.Event) error {
	if len(events) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		data, err := e.Data()
		if err != nil {
			return err
		}
		customer := e.Stream.ID()
		switch p := data.(type) {
		case *domain.LicenseIssued:
			if b.grants == nil {
				b.grants = map[string][]*givenGrant{}
			}
			b.grants[customer] = append(b.grants[customer], &givenGrant{event: *e, license: p.LicenseID, commands: []string{e.CommandID}})
			b.open++
		case *domain.LicenseReissued:
			for _, g := range b.grants[customer] {
				if g.license == p.LicenseID {
					g.commands = append(g.commands, e.CommandID)
				}
			}
		case *domain.GrantReconciled:
			for _, g := range b.grants[customer] {
				if g.license == p.LicenseID && !g.settled {
					g.settled = true
					b.open--
				}
			}
		}
	}
	b.forget(events[len(events)-1].RecordedAt.Add(-keepSettled))
	return nil
}

func (b *grantBook) forget(before time.Time) {
	for customer, grants := range b.grants {
		kept := grants[:0:0]
		for _, g := range grants {
			if !g.settled || !g.event.RecordedAt.Before(before) {
				kept = append(kept, g)
			}
		}
		if b.grants[customer] = kept; len(kept) == 0 {
			delete(b.grants, customer)
		}
	}
}

func (b *grantBook) granted(customer, commandID string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.grants[customer] {
		if slices.Contains(g.commands, commandID) {
			return true
		}
	}
	return false
}

// unsettled are the grants that wait, by customer in the order in which they were given.
func (b *grantBook) unsettled() map[string][]domain.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting := map[string][]domain.Event{}
	for customer, grants := range b.grants {
		for _, g := range grants {
			if !g.settled {
				waiting[customer] = append(waiting[customer], g.event)
			}
		}
	}
	return waiting
}

func (b *grantBook) openCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// emergency settles grants that were made without the books.
type emergency struct {
	app     *App
	config  FailOpen
	retries map[string]retry // by customer whose books still can't be read
	cancel  context.CancelFunc
	running sync.WaitGroup
}

type retry struct {
	after    time.Time
	attempts int
}

func newEmergency(a *App, config FailOpen) *emergency {
	return &emergency{app: a, config: config.withDefaults(), retries: map[string]retry{}}
}

func (e *emergency) start(ctx context.Context) error {
	if e.cancel != nil {
		return errors.New("settling grants without the books was started before")
	}
	settle, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.running.Go(func() { e.run(settle) })
	return nil
}

func (e *emergency) close() {
	if e.cancel != nil {
		e.cancel()
	}
	e.running.Wait()
}

func (e *emergency) run(ctx context.Context) {
	for {
		e.round(ctx)
		// Several processes may settle the same grants, which is harmless; chance keeps it rare.
		pause := time.NewTimer(e.config.Interval/2 + rand.N(e.config.Interval))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// round settles what waits, as much as one round may.
func (e *emergency) round(ctx context.Context) {
	grants := &e.app.reference.grants
	left := e.config.PerRound
	for customer, events := range grants.unsettled() {
		if time.Now().Before(e.retries[customer].after) || !e.app.writes(domain.CustomerStream(customer)) {
			continue
		}
		for i := range events {
			if left--; left < 0 || ctx.Err() != nil {
				break
			}
			if err := e.settleInTime(ctx, &events[i]); err != nil {
				e.postpone(ctx, customer, err)
				break
			}
			delete(e.retries, customer)
		}
	}
	e.app.metrics.unsettled.Set(float64(grants.openCount()))
}

// postpone tries a customer again later: twice as late each time, up to a hundred intervals.
func (e *emergency) postpone(ctx context.Context, customer string, err error) {
	r := e.retries[customer]
	if r.attempts == 0 && ctx.Err() == nil {
		e.app.logger.WarnContext(ctx, "a grant without the books can't be settled yet", "error", err)
	}
	r.after = time.Now().Add(min(e.config.Interval<<min(r.attempts, 10), 100*e.config.Interval))
	r.attempts++
	e.retries[customer] = r
}

func (e *emergency) settleInTime(ctx context.Context, grant *domain.Event) error {
	ctx, cancel := context.WithTimeout(ctx, e.config.Timeout)
	defer cancel()
	return e.app.settle(ctx, grant)
}

// settle brings a grant into the customer's books, and then marks it as settled.
func (a *App) settle(ctx context.Context, grant *domain.Event) error {
	data, err := grant.Data()
	if err != nil {
		return fmt.Errorf("reading the grant in event %s: %w", grant.ID, err)
	}
	issued, ok := data.(*domain.LicenseIssued)
	if !ok {
		return fmt.Errorf("event %s is a %s, not a grant", grant.ID, grant.Type)
	}
	settled, err := a.settleWithBooks(ctx, grant, issued)
	if err != nil {
		return fmt.Errorf("settling licence %s with the books: %w", issued.LicenseID, err)
	}
	if err := a.markSettled(ctx, grant, settled); err != nil {
		return fmt.Errorf("marking licence %s as settled: %w", issued.LicenseID, err)
	}
	a.metrics.emergency.WithLabelValues(settled.Outcome).Inc()
	a.logger.LogAttrs(ctx, slog.LevelInfo, "a grant without the books was settled", slog.String("outcome", settled.Outcome), slog.String("code", settled.Code))
	return nil
}

func (a *App) settleWithBooks(ctx context.Context, grant *domain.Event, issued *domain.LicenseIssued) (*domain.GrantReconciled, error) {
	customer := grant.Stream.ID()
	meta := a.settling(grant, "settle")
	result, err := a.handle(ctx, request{
		name: "settle_grant", meta: &meta, stream: domain.CustomerStream(customer), hash: hashOf("settle_grant").text(issued.LicenseID).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.Reconcile(m, issued)
		},
	})
	if err != nil {
		return nil, err
	}
	if settled, err := reconciliation(result.Events, issued.LicenseID); settled != nil || err != nil {
		return settled, err
	}
	// The books knew the licence: an earlier attempt was so long ago that its command id is forgotten, or the command
	// came again and was granted by the books, under the same licence id.
	for e, err := range a.books.Events(ctx, domain.CustomerStream(customer), 1) {
		if err != nil {
			return nil, err
		}
		if settled, err := reconciliation([]domain.Event{*e}, issued.LicenseID); settled != nil || err != nil {
			return settled, err
		}
	}
	return &domain.GrantReconciled{Subject: issued.Subject, Outcome: domain.ReconciledKept}, nil
}

// reconciliation finds how a licence was settled among events.
func reconciliation(events []domain.Event, license string) (*domain.GrantReconciled, error) {
	for i := range events {
		if events[i].Type != typeReconciled {
			continue
		}
		data, err := events[i].Data()
		if err != nil {
			return nil, fmt.Errorf("reading event %s: %w", events[i].ID, err)
		}
		if r, ok := data.(*domain.GrantReconciled); ok && r.LicenseID == license {
			return r, nil
		}
	}
	return nil, nil
}

func (a *App) markSettled(ctx context.Context, grant *domain.Event, settled *domain.GrantReconciled) error {
	meta := a.settling(grant, "settled")
	result, err := a.handle(ctx, request{
		name: "mark_settled", meta: &meta, stream: grant.Stream, hash: hashOf("mark_settled").text(settled.LicenseID).sum(),
		stand: func(state domain.Aggregate, m domain.Moment) (domain.Verdict, error) {
			grants, ok := state.(*domain.FailOpen)
			if !ok {
				return domain.Verdict{}, fmt.Errorf("stream %s holds %T", grant.Stream, state)
			}
			return grants.Settle(m, *settled)
		},
	})
	_, err = a.knowing(ctx, result, err)
	return err
}

func (a *App) settling(grant *domain.Event, step string) Meta {
	return Meta{
		CommandID: derivedCommandID(grant.CommandID, step), Minted: true, Correlation: grant.Correlation,
		Actor: domain.Actor{ID: "reconciler", Role: domain.RoleSystem},
	}
}

var typeReconciled = (&domain.GrantReconciled{}).EventType()
