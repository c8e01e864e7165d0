package command

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"carryon/domain"
)

// request is a checked command on its way to its stream.
type request struct {
	name   string // of the command, in metrics and logs
	meta   *Meta
	stream domain.StreamID
	hash   string
	bound  bool // its command id is bound to the present
	dryRun bool

	// One of the two decides.
	customer func(books *domain.Customer, m domain.Moment) (domain.Verdict, error)
	stand    func(books domain.Aggregate, m domain.Moment) (domain.Verdict, error)

	shadow *Shadow // decides beside it; nil: nobody does
	shade  shade

	command any // as it came, for a process that writes the shard; personal words in it are sealed again there
}

// Decide lets a request stand as the Decider of its submission.
func (r *request) Decide(state domain.Aggregate, m domain.Moment) (domain.Verdict, error) {
	if r.customer == nil {
		return r.stand(state, m)
	}
	books, ok := state.(*domain.Customer)
	if !ok {
		return domain.Verdict{}, errNotACustomer(r.stream, state)
	}
	verdict, err := r.customer(books, m)
	if r.shadow != nil && err == nil && verdict.Decision != nil && !r.dryRun {
		r.shade = r.shadow.decide(books, m, verdict.Decision)
	}
	return verdict, err
}

// handle has a request decided and recorded, and completes its answer: the licence is signed here, in the caller's own
// goroutine, from what was recorded.
func (a *App) handle(ctx context.Context, r request) (result Result, err error) {
	begin := time.Now()
	r.shadow = a.shadow
	defer func() { a.observe(ctx, &r, &result, err, time.Since(begin)) }()
	s := Submission{
		Stream: r.stream, Meta: *r.meta, RequestHash: r.hash, KeyBound: r.bound && !r.dryRun, Decider: &r,
	}
	if a.forwarder != nil && r.command != nil {
		s.Forward = func(ctx context.Context, writer string) (Result, error) {
			return a.forwarder.Forward(ctx, writer, r.command)
		}
	}
	if r.dryRun {
		s.Kind = KindDryRun
	}
	result, err = a.writer.Submit(ctx, s)
	if err != nil {
		return Result{}, invalid(err, "")
	}
	a.compareShade(&r, &result)
	return a.complete(result)
}

// compareShade counts what the shadow policy would have decided, once the decision is recorded.
func (a *App) compareShade(r *request, result *Result) {
	if r.shade.made == nil || result.Repeated || result.Elsewhere || result.Decision == nil || r.shade.made.ID != result.Decision.ID {
		return
	}
	for i := range result.Events {
		if d, err := a.books.folding.Decision(&result.Events[i]); err == nil && d != nil && d.ID == r.shade.made.ID {
			a.shadow.record(r.shade, result.Events[i].Seq)
			return
		}
	}
}

// complete adds the signed licence to an answer that grants one. The grant is recorded by then: who repeats the command
// when the key is there again gets it.
func (a *App) complete(r Result) (Result, error) {
	if r.Elsewhere { // it was completed there
		return r, nil
	}
	license, err := signedLicense(a.signer, r.Events)
	if err != nil {
		return Result{}, fmt.Errorf("recorded at %s, and not answered: %w: %s", r.Position, ErrUnknown, err.Error())
	}
	r.License = license
	return r, nil
}

// part is a request that carries on one that had more to say than one command may record: under an id derived from its
// id, so that doing it again finds it done.
func (r request) part(n int) request {
	meta := *r.meta
	meta.CommandID, meta.IfMatch = derivedCommandID(r.meta.CommandID, "part "+strconv.Itoa(n)), nil
	r.meta, r.command = &meta, nil
	return r
}

// handleRest carries on a change that ends more licences than one command may record. The change itself was recorded
// first and is the answer; its parts end the rest, as long as the change still stands.
func (a *App) handleRest(ctx context.Context, r request, stands func(books *domain.Customer) bool, result Result) (Result, error) {
	decide := r.customer
	ends := len(result.Events) > 1 && !result.Elsewhere // else the other process has carried it on
	for n := 1; ends; n++ {
		part := r.part(n)
		part.customer = func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			if !stands(books) {
				return domain.Verdict{}, nil
			}
			return decide(books, m)
		}
		more, err := a.handle(ctx, part)
		if err != nil { // the change stands: nobody may be told that nothing was done
			return Result{}, fmt.Errorf("recorded at %s, and not yet carried through: %w: %s", result.Position, ErrUnknown, err.Error())
		}
		ends = len(more.Events) > 0
	}
	return result, nil
}
