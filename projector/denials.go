package projector

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"carryon/domain"
)

// Denials are the refusals, each with the rule that refused in numbers and the whole decision: what support reads when
// a customer asks why not.

// Denials is the projection of the denials.
type Denials struct{}

// DenialsTx is what the denials are written through.
type DenialsTx interface {
	Tx
	AddDenials(ctx context.Context, rows []DenialRow) error
	// SetVersions says how far the model is with the streams.
	SetVersions(ctx context.Context, versions []StreamVersion) error
}

// DenialRow is one refusal.
type DenialRow struct {
	Customer   string
	Seq        uint64
	Position   domain.Position
	RecordedAt time.Time
	Actor      domain.Actor
	domain.Subject
	Command    string // acquire, renew, register_device
	Code       string
	Rule       string       // the rule that refused; empty when the decision names none
	Scope      domain.Scope // what that rule counted over
	Used       *int64
	Limit      *int64
	ResetsAt   *time.Time
	DecisionID string
	Decision   []byte // JSON
}

// Name is "denials".
func (Denials) Name() string { return "denials" }

// Open decodes refusals.
func (Denials) Open(e *domain.Event) {
	if e.Type == DeniedType {
		e.Decode()
	}
}

// Apply adds a row for every refusal.
func (Denials) Apply(ctx context.Context, tx DenialsTx, events []*domain.Event) error {
	var rows []DenialRow
	for _, e := range events {
		if err := readable(e); err != nil {
			return err
		}
		if e.Stream.Kind() != domain.KindCustomer || e.Type != DeniedType {
			continue
		}
		row, err := DenialOf(e)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	versions := customersOnly(newestOf(events))
	if len(versions) == 0 {
		return nil
	}
	// First: so a store has a row for each stream before others refer to it.
	if err := tx.SetVersions(ctx, versions); err != nil || len(rows) == 0 {
		return err
	}
	return tx.AddDenials(ctx, rows)
}

// DeniedType is the type of the events that the denials are made of.
var DeniedType = (*domain.LicenseDenied)(nil).EventType()

// DenialOf is the row of a refusal.
func DenialOf(e *domain.Event) (DenialRow, error) {
	data, err := e.Data()
	if err != nil {
		return DenialRow{}, &PoisonError{Event: e, Err: err}
	}
	p, ok := data.(*domain.LicenseDenied)
	if !ok {
		return DenialRow{}, &PoisonError{Event: e, Err: fmt.Errorf("%s is no refusal", e.Type)}
	}
	decision, err := json.Marshal(&p.Decision)
	if err != nil {
		return DenialRow{}, &PoisonError{Event: e, Err: err}
	}
	row := DenialRow{
		Customer: e.Stream.ID(), Seq: e.Seq, Position: e.Position, RecordedAt: e.RecordedAt, Actor: e.Actor, Subject: p.Subject,
		Command: p.Command, Code: p.Code, DecisionID: p.Decision.ID, Decision: decision,
	}
	for i := range p.Decision.Rules {
		r := &p.Decision.Rules[i]
		if r.Outcome == domain.RuleRefuse && r.Code == p.Code {
			row.Rule, row.Scope, row.Used, row.Limit, row.ResetsAt = r.Rule, r.Scope, r.Used, r.Limit, r.ResetsAt
			break
		}
	}
	return row, nil
}
