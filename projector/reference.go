package projector

import (
	"context"
	"time"

	"carryon/domain"
)

// The reference model is what was decided for everyone: versions of the policy documents, and withdrawals of titles. The
// query side makes its decisions and explanations from it, so that it needs no log.

// Reference is the projection of the reference model.
type Reference struct{}

// ReferenceTx is what the reference model is written through.
type ReferenceTx interface {
	Tx
	AddPolicies(ctx context.Context, rows []PolicyRow) error
	AddWithdrawals(ctx context.Context, rows []WithdrawalRow) error
}

// PolicyRow is a version of a policy document.
type PolicyRow struct {
	Policy        string
	Version       int
	EffectiveFrom time.Time
	Document      []byte // JSON
	RecordedAt    time.Time
	Actor         domain.Actor
	Position      domain.Position
}

// WithdrawalRow is a withdrawal, as it was recorded.
type WithdrawalRow struct {
	TitleID    string
	Countries  []string // none: everywhere, and nothing said of single countries before counts any more
	From       time.Time
	RecordedAt time.Time
	Position   domain.Position
}

// Name is "reference".
func (Reference) Name() string { return "reference" }

// Apply keeps policies and withdrawals. Customers' events pass by.
func (Reference) Apply(ctx context.Context, tx ReferenceTx, events []*domain.Event) error {
	var policies []PolicyRow
	var withdrawals []WithdrawalRow
	for _, e := range events {
		if err := readable(e); err != nil {
			return err
		}
		if !e.Stream.IsReference() {
			continue
		}
		data, err := e.Data()
		if err != nil {
			return &PoisonError{Event: e, Err: err}
		}
		switch p := data.(type) {
		case *domain.PolicyPublished:
			policies = append(policies, PolicyRow{
				Policy: p.Policy, Version: p.Version, EffectiveFrom: p.EffectiveFrom, Document: p.Document,
				RecordedAt: e.RecordedAt, Actor: e.Actor, Position: e.Position,
			})
		case *domain.TitleWithdrawn:
			withdrawals = append(withdrawals, withdrawalRow(e, p))
		}
	}
	if len(policies) > 0 {
		if err := tx.AddPolicies(ctx, policies); err != nil {
			return err
		}
	}
	if len(withdrawals) > 0 {
		return tx.AddWithdrawals(ctx, withdrawals)
	}
	return nil
}

func withdrawalRow(e *domain.Event, p *domain.TitleWithdrawn) WithdrawalRow {
	return WithdrawalRow{TitleID: p.TitleID, Countries: p.Countries, From: p.From, RecordedAt: e.RecordedAt, Position: e.Position}
}
