package query

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"carryon/domain"
)

// Resolve asks who stands behind a pseudonym. It needs a reason, and is recorded.
type Resolve struct {
	By        Caller
	Pseudonym string // of a customer or device
	Reason    string // 1 to 512 bytes
}

// ResolveAnswer is who stands behind a pseudonym.
type ResolveAnswer struct {
	Customer string `json:"customer"`
	DeviceID string `json:"device_id,omitempty"` // when the pseudonym is a device's
}

// ResolveHandler answers Resolve.
type ResolveHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a pseudonym that nothing has; that is recorded too.
func (h ResolveHandler) Handle(ctx context.Context, q Resolve) (ResolveAnswer, error) {
	if err := errors.Join(domain.CheckID("pseudonym", q.Pseudonym), checkReason(q.Reason)); err != nil {
		return ResolveAnswer{}, err
	}
	if q.By.Actor.Role != domain.RoleAnalyst && q.By.Actor.Role != domain.RoleOperator {
		return ResolveAnswer{}, fmt.Errorf("resolve a pseudonym: %w", ErrForbidden)
	}
	if h.p.Customers == nil {
		return ResolveAnswer{}, fmt.Errorf("nothing here knows pseudonyms: %w", ErrUnavailable)
	}
	things, err := h.p.Customers.ThingsBehind(ctx, q.Pseudonym)
	if err != nil {
		return ResolveAnswer{}, fmt.Errorf("resolve a pseudonym: %w", err)
	}
	var answer ResolveAnswer
	if len(things) > 0 {
		answer = ResolveAnswer{Customer: things[0].Customer, DeviceID: things[0].DeviceID}
	}
	err = h.p.Desk.record(ctx, Access{
		Actor: q.By.Actor, Customer: answer.Customer, What: "resolve " + q.Pseudonym, Reason: q.Reason, RequestID: q.By.RequestID,
	})
	if err != nil {
		return ResolveAnswer{}, err
	}
	if len(things) == 0 {
		return ResolveAnswer{}, fmt.Errorf("pseudonym %s: %w", q.Pseudonym, domain.ErrNotFound)
	}
	return answer, nil
}

func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return fieldError("reason", "is missing")
	}
	if !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl) {
		return fieldError("reason", "holds a control character, or is not UTF-8")
	}
	if len(reason) > MaxQueryBytes {
		return fieldError("reason", "is %d bytes long, at most %d are allowed", len(reason), MaxQueryBytes)
	}
	return nil
}

// Accesses asks who looked at a customer.
type Accesses struct {
	By       Caller
	Customer string
	Page     Page
}

// AccessesAnswer is a page of recorded looks, newest first.
type AccessesAnswer struct {
	Accesses   []Access `json:"accesses"`
	NextCursor string   `json:"next_cursor,omitempty"`
}

// AccessHandler answers Accesses.
type AccessHandler struct{ p *Ports }

// Handle answers with a page of recorded looks; for operators only.
func (h AccessHandler) Handle(ctx context.Context, q Accesses) (AccessesAnswer, error) {
	size, err := q.Page.size()
	if err := errors.Join(err, domain.CheckID("customer", q.Customer)); err != nil {
		return AccessesAnswer{}, err
	}
	if q.By.Actor.Role != domain.RoleOperator {
		return AccessesAnswer{}, fmt.Errorf("read the access log: %w", ErrForbidden)
	}
	if h.p.Desk.Log == nil {
		return AccessesAnswer{}, fmt.Errorf("no access log here: %w", ErrUnavailable)
	}
	var before int64
	question := []string{"accesses", q.Customer}
	if q.Page.Cursor != "" {
		if err := h.p.Cursors.open(question, q.Page.Cursor, &before); err != nil {
			return AccessesAnswer{}, err
		}
	}
	accesses, err := h.p.Desk.Log.Accesses(ctx, q.Customer, before, size+1)
	if err != nil {
		return AccessesAnswer{}, fmt.Errorf("read the access log of customer %s: %w", q.Customer, err)
	}
	answer := AccessesAnswer{Accesses: accesses}
	if accesses == nil {
		answer.Accesses = []Access{}
	}
	if len(accesses) > size {
		answer.Accesses = accesses[:size]
		answer.NextCursor, err = h.p.Cursors.seal(question, accesses[size-1].Number)
	}
	return answer, err
}
