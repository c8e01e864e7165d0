package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	"carryon/domain"
)

// WithdrawTitle takes a title out of the catalogue of some countries from a moment on. That ends its licences there
// at once; renewals and acquisitions are refused as soon as a process knows.
type WithdrawTitle struct {
	Meta
	TitleID   string
	Countries []string     // empty: everywhere
	From      time.Time    // zero: at once
	Reason    *ReasonGiven `json:",omitempty"` // support and operators give one, unless they only try
	DryRun    bool         // only tells who would be touched
}

func (c *WithdrawTitle) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("title_id", c.TitleID)
	if len(c.Countries) > MaxCountries {
		f.add("countries", "are %d, at most %d are allowed", len(c.Countries), MaxCountries)
	} else {
		for i, country := range c.Countries {
			f.country(fmt.Sprintf("countries[%d]", i), country)
		}
	}
	if !c.From.IsZero() {
		f.moment("from", c.From)
	}
	if !c.DryRun {
		f.reasonOf(c.Actor.Role, "reason", c.Reason)
	}
	return f.err()
}

// WithdrawTitle records the withdrawal. A title that the catalogue does not know is domain.ErrNotFound. A moment that
// has passed means at once: what was decided before stays decided.
func (a *App) WithdrawTitle(ctx context.Context, c WithdrawTitle) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	countries := slices.Clone(c.Countries)
	slices.Sort(countries)
	ask := domain.WithdrawRequest{Countries: slices.Compact(countries), From: c.From.UTC().Truncate(time.Microsecond)}
	if c.DryRun {
		return a.withdrawalImpact(ctx, c.TitleID, ask)
	}
	reason, err := a.sealReasonIfAny(ctx, string(domain.TitleStream(c.TitleID)), c.Reason)
	if err != nil {
		return Result{}, err
	}
	ask.Reason = reason.recordedIfAny()
	result, err := a.handle(ctx, request{
		name: "withdraw_title", meta: &c.Meta, stream: domain.TitleStream(c.TitleID), command: &c,
		hash: hashOf("withdraw_title").text(c.TitleID).texts(ask.Countries).time(ask.From).optionalReason(reason).sum(),
		stand: func(state domain.Aggregate, m domain.Moment) (domain.Verdict, error) {
			title, ok := state.(*domain.Withdrawals)
			if !ok {
				return domain.Verdict{}, fmt.Errorf("stream of title %s holds %T", c.TitleID, state)
			}
			if err := withdrawsInTime(ask.From, m.Now); err != nil {
				return domain.Verdict{}, err
			}
			return title.Withdraw(m, ask)
		},
	})
	return a.knowing(ctx, result, err)
}

// withdrawsInTime refuses a beginning that is too far off, tried or done.
func withdrawsInTime(from, now time.Time) error {
	var f form
	if !from.IsZero() {
		f.withinHorizon("from", from, now)
	}
	return f.err()
}

func (a *App) withdrawalImpact(ctx context.Context, title string, ask domain.WithdrawRequest) (Result, error) {
	if err := withdrawsInTime(ask.From, a.now()); err != nil {
		return Result{}, err
	}
	ref, err := a.reference.Reference(ctx)
	if err != nil {
		return Result{}, err
	}
	if _, known := ref.Title(title); !known {
		return Result{}, fmt.Errorf("title %s: %w", title, domain.ErrNotFound)
	}
	if a.impact == nil {
		return Result{}, fmt.Errorf("whom a withdrawal would touch is known to the read models only: %w", ErrUnavailable)
	}
	from := ask.From
	if now := a.now(); from.Before(now) {
		from = now
	}
	touched, err := a.impact.WithdrawalImpact(ctx, title, ask.Countries, from)
	if err != nil {
		return Result{}, fmt.Errorf("whom the withdrawal of title %s would touch: %w", title, err)
	}
	return Result{Stream: domain.TitleStream(title), Impact: &touched}, nil
}

// knowing lets this process know what it wrote to the reference shard before the caller is answered.
func (a *App) knowing(ctx context.Context, r Result, err error) (Result, error) {
	if err != nil || len(r.Events) == 0 {
		return r, err
	}
	if err := a.reference.Reach(ctx, r.Position.Index); err != nil {
		// It is recorded, and known here a moment later: no reason to tell the caller otherwise.
		a.logger.WarnContext(ctx, "what was just recorded for everyone is not known here yet", "position", r.Position.String(), "error", err)
	}
	return r, nil
}
