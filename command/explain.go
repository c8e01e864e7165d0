package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"carryon/domain"
)

// Why, or why not: the same function that decides a request explains it. An explanation decides the request on the
// books as they are, or were at a moment, with what was known then about policies and withdrawals, and records nothing.

// ExplainRequest asks what the rules say to an acquisition or a renewal; one of the two is given.
type ExplainRequest struct {
	Customer string
	Actor    domain.Actor
	Acquire  *domain.AcquireRequest
	Renew    *domain.RenewRequest
	When     AsOf // the zero AsOf is now
}

// Explanation is a decision, and the books it was made on.
type Explanation struct {
	Decision domain.Decision
	Version  uint64          // of the customer's stream
	Position domain.Position // of the event with that seq
}

// explanationID stands where a command id would: an explanation is nobody's command.
const explanationID = "explanation"

// Explain decides a request without doing it, now or at a moment of the past.
func (a *App) Explain(ctx context.Context, q ExplainRequest) (Explanation, error) {
	if (q.Acquire == nil) == (q.Renew == nil) {
		return Explanation{}, FieldErrors{{Field: "request", Problem: "is neither an acquisition nor a renewal, or both"}}
	}
	if q.When.Time.After(a.now()) {
		return Explanation{}, FieldErrors{{Field: "at", Problem: "is in the future"}}
	}
	state, err := a.StateAsOf(ctx, q.Customer, q.When)
	if err != nil {
		return Explanation{}, err
	}
	ref, at, err := a.referenceAsOf(ctx, q.When, state)
	if err != nil {
		return Explanation{}, err
	}
	m := domain.Moment{Now: at, CommandID: explanationID, Actor: q.Actor, Version: state.Version, Reference: ref}
	var verdict domain.Verdict
	if q.Acquire != nil {
		ask := *q.Acquire
		for _, d := range state.State.Devices(ref, at) {
			if ask.DeviceType == "" && d.DeviceID == ask.DeviceID {
				ask.DeviceType = d.DeviceType
			}
		}
		verdict, err = state.State.Evaluate(m, ask)
	} else {
		verdict, err = state.State.EvaluateRenew(m, *q.Renew)
	}
	if err != nil {
		return Explanation{}, invalid(err, "")
	}
	return Explanation{Decision: *verdict.Decision, Version: state.Version, Position: state.Position}, nil
}

// referenceAsOf is what was known at a moment, and the moment itself.
func (a *App) referenceAsOf(ctx context.Context, when AsOf, state CustomerState) (domain.Reference, time.Time, error) {
	if when.IsNow() {
		ref, err := a.reference.Reference(ctx)
		return ref, a.now(), err
	}
	at := when.Time.UTC().Truncate(time.Microsecond)
	if when.Time.IsZero() {
		at = state.RecordedAt
	}
	ref, err := a.reference.AsKnownAt(ctx, at, state.Catalogue)
	return ref, at, err
}

// Recomputed is a recorded decision, and what the same function makes of the same books again.
type Recomputed struct {
	Event    domain.Event    // that recorded the decision
	Recorded domain.Decision // as it was recorded
	Again    domain.Decision // as it was made again, from history
	Same     bool            // byte for byte
}

// Decision finds a recorded decision of a customer by its id, and makes it again from history: the books as they were,
// the versions it names, its own moment. domain.ErrNotFound (wrapped) means that the customer has no such decision.
func (a *App) Decision(ctx context.Context, customer, decisionID string) (Recomputed, error) {
	var f form
	f.id("customer", customer)
	f.id("decision", decisionID)
	if err := f.err(); err != nil {
		return Recomputed{}, err
	}
	for made, err := range a.remake(ctx, customer, func(d *domain.Decision) bool { return d.ID == decisionID }) {
		return made, err
	}
	return Recomputed{}, fmt.Errorf("decision %s of customer %s: %w", decisionID, customer, domain.ErrNotFound)
}

// Decisions are all recorded decisions of a customer, in the order of the history, each made again as Decision does. An
// error ends them.
func (a *App) Decisions(ctx context.Context, customer string) iter.Seq2[Recomputed, error] {
	return a.remake(ctx, customer, func(*domain.Decision) bool { return true })
}

func (a *App) remake(ctx context.Context, customer string, wanted func(*domain.Decision) bool) iter.Seq2[Recomputed, error] {
	return func(yield func(Recomputed, error) bool) {
		var before *domain.Customer // the books before the command whose events are being read
		var command string
		books := domain.NewCustomer(customer)
		for e, err := range a.books.Events(ctx, domain.CustomerStream(customer), 1) {
			if err != nil {
				yield(Recomputed{}, err)
				return
			}
			if e.CommandID != command {
				command, before = e.CommandID, books.Clone().(*domain.Customer)
			}
			d, err := a.books.folding.Decision(e)
			if err != nil { // folding alone would not notice
				yield(Recomputed{}, fmt.Errorf("reading what customer %s was told: %w", customer, err))
				return
			}
			if d != nil && wanted(d) {
				made, err := a.recompute(ctx, before, e, d)
				if !yield(made, err) || err != nil {
					return
				}
			}
			if err := books.Apply(e); err != nil {
				yield(Recomputed{}, fmt.Errorf("folding customer %s: %w", customer, err))
				return
			}
		}
	}
}

func (a *App) recompute(ctx context.Context, books *domain.Customer, e *domain.Event, recorded *domain.Decision) (Recomputed, error) {
	without, err := a.madeWithoutBooks(ctx, e, recorded)
	if err != nil {
		return Recomputed{}, err
	}
	ref, err := a.reference.AsKnown(ctx, recorded.Versions.Reference, recorded.Versions.Catalogue)
	if err != nil {
		return Recomputed{}, fmt.Errorf("what decision %s was made from: %w", recorded.ID, err)
	}
	m := domain.Moment{Now: recorded.DecidedAt, CommandID: namesake(e.Stream, e.CommandID), Actor: e.Actor, Version: recorded.CustomerVersion, Reference: ref}
	var made *domain.Decision
	if without != nil {
		m.CommandID = namesake(e.Stream, without.commandID)
		var verdict domain.Verdict
		verdict, err = without.state.Grant(m, acquisition(&recorded.Request))
		made = verdict.Decision
	} else {
		made, err = redecide(books, m, recorded)
	}
	if err != nil {
		return Recomputed{}, fmt.Errorf("making decision %s again: %w", recorded.ID, err)
	}
	again := Recomputed{Event: *e, Recorded: *recorded, Again: *made}
	was, err := json.Marshal(&again.Recorded)
	if err != nil {
		return Recomputed{}, fmt.Errorf("writing decision %s: %w", recorded.ID, err)
	}
	is, err := json.Marshal(&again.Again)
	if err != nil {
		return Recomputed{}, fmt.Errorf("writing decision %s: %w", recorded.ID, err)
	}
	again.Same = bytes.Equal(was, is)
	return again, nil
}

// openGrants is a customer's failopen stream before a command was decided on it.
type openGrants struct {
	state     *domain.FailOpen
	commandID string
}

// madeWithoutBooks finds what a grant was decided on that the books took over; nil for any other event.
func (a *App) madeWithoutBooks(ctx context.Context, e *domain.Event, recorded *domain.Decision) (*openGrants, error) {
	data, err := e.Data()
	if err != nil {
		return nil, err
	}
	if issued, ok := data.(*domain.LicenseIssued); !ok || issued.Basis != domain.BasisFailOpen {
		return nil, nil
	}
	stream := domain.FailOpenStream(e.Stream.ID())
	state, err := domain.NewAggregate(stream)
	if err != nil {
		return nil, err
	}
	for e, err := range a.books.Events(ctx, stream, 1) {
		if err != nil {
			return nil, err
		}
		if e.Seq > recorded.CustomerVersion {
			return &openGrants{state: state.(*domain.FailOpen), commandID: e.CommandID}, nil
		}
		if err := state.Apply(e); err != nil {
			return nil, fmt.Errorf("folding %s: %w", stream, err)
		}
	}
	return nil, fmt.Errorf("stream %s ends before the grant that decision %s made: %w", stream, recorded.ID, ErrDiffers)
}
