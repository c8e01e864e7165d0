package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"carryon/domain"
)

// Who asks decides what is shown: support sees the customer and leaves a record of having looked; an analyst sees
// pseudonyms, and may resolve one for a reason, which is recorded; a device sees its own customer, which the way in
// has checked.

// Caller is who asks.
type Caller struct {
	Actor     domain.Actor
	RequestID string // the request's id, for the record
}

// Access is one recorded look at a customer.
type Access struct {
	Number    int64        `json:"-"` // grows; given by the log
	At        time.Time    `json:"at"`
	Actor     domain.Actor `json:"actor"`
	Customer  string       `json:"customer"`
	What      string       `json:"what"` // the question, as in "timeline"; resolve for a pseudonym
	Reason    string       `json:"reason,omitempty"`
	RequestID string       `json:"request_id,omitempty"`
}

// AccessLog records looks at customers, durably: a look that can't be recorded is refused.
type AccessLog interface {
	// Record writes looks down, all of them or none.
	Record(ctx context.Context, looks ...Access) error
	// Accesses lists what was recorded about a customer, newest first, before a number; 0: from the newest.
	Accesses(ctx context.Context, customer string, before int64, limit int) ([]Access, error)
}

// Pseudonyms hides identities from analysts: keyed hashes, the same for the same thing.
type Pseudonyms interface {
	Customer(id string) string
	Device(customer, device string) string
}

// Words opens personal words at the moment of reading.
type Words interface {
	// Opener takes the customer's key once, for the words of one answer; an error that wraps ErrErased, from it or from
	// what it returns, says that the key is gone.
	Opener(ctx context.Context, customer string) (WordsOpener, error)
}

// WordsOpener decrypts words of one customer, for one answer.
type WordsOpener func(ctx context.Context, sealed domain.Sealed) (string, error)

// Clock tells the time.
type Clock func() time.Time

// Desk is where a caller is let in to a customer's affairs, and where it is written down.
type Desk struct {
	Log AccessLog
	Now Clock
}

// admit lets the caller look at what of a customer, after it was recorded where it must be.
func (d Desk) admit(ctx context.Context, by Caller, customer, what string) error {
	if err := domain.CheckID("customer", customer); err != nil {
		return err
	}
	switch by.Actor.Role {
	case domain.RoleAnalyst:
		return fmt.Errorf("%s of a customer: an analyst sees pseudonyms: %w", what, ErrForbidden)
	case domain.RoleSupport:
		return d.record(ctx, Access{Actor: by.Actor, Customer: customer, What: what, RequestID: by.RequestID})
	case domain.RoleDevice, domain.RoleService, domain.RoleOperator, domain.RoleSystem:
		return nil
	}
	return fmt.Errorf("%s of a customer: %w", what, ErrForbidden)
}

// looked records that support looked at what of customers, once for each, where a question is about none or several of
// them. Others leave no record. An event that concerns no customer is nobody's.
func (d Desk) looked(ctx context.Context, by Caller, customers []string, what string) error {
	if by.Actor.Role != domain.RoleSupport {
		return nil
	}
	var looks []Access
	for _, customer := range customers {
		if customer != "" && !slices.ContainsFunc(looks, func(a Access) bool { return a.Customer == customer }) {
			looks = append(looks, Access{Actor: by.Actor, Customer: customer, What: what, RequestID: by.RequestID})
		}
	}
	return d.record(ctx, looks...)
}

func (d Desk) record(ctx context.Context, looks ...Access) error {
	if len(looks) == 0 {
		return nil
	}
	what := looks[0].What
	if d.Log == nil || d.Now == nil {
		return fmt.Errorf("no access log to record that %s of a customer was read: %w", what, ErrUnavailable)
	}
	now := d.Now().UTC()
	for i := range looks {
		looks[i].At = now
	}
	if err := d.Log.Record(ctx, looks...); err != nil {
		return fmt.Errorf("record that %s of a customer was read: %w", what, errors.Join(ErrUnavailable, err))
	}
	return nil
}
