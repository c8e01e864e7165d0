package query

import (
	"context"
	"errors"
	"slices"
	"time"

	"carryon/domain"
)

// Licenses asks for a customer's licences.
type Licenses struct {
	By          Caller
	Customer    string
	DeviceID    string
	TitleID     string
	State       string // active, released, revoked, expired; empty: all
	Order       string // newest (default), oldest: by issue
	Page        Page
	Consistency Consistency
}

// LicensesAnswer is a page of a customer's licences.
type LicensesAnswer struct {
	Made
	At         time.Time            `json:"at"`
	Licenses   []domain.LicenseView `json:"licenses"`
	NextCursor string               `json:"next_cursor,omitempty"`
}

// LicensesHandler answers Licenses.
type LicensesHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history.
func (h LicensesHandler) Handle(ctx context.Context, q Licenses) (LicensesAnswer, error) {
	err := errors.Join(checkOneOf("state", q.State, domain.StatusActive, domain.StatusReleased, domain.StatusRevoked, domain.StatusExpired),
		checkOrder(q.Order), checkLength("device_id", q.DeviceID), checkLength("title_id", q.TitleID))
	size, sizeErr := q.Page.size()
	question := []string{"licenses", q.Customer, q.DeviceID, q.TitleID, q.State, q.Order}
	from, cursorErr := h.p.listFrom(&q.Page, question...)
	if err := errors.Join(err, sizeErr, cursorErr); err != nil {
		return LicensesAnswer{}, err
	}
	b, err := h.p.customerBooks(ctx, q.By, q.Customer, "licenses", q.Consistency)
	if err != nil {
		return LicensesAnswer{}, err
	}
	views := only(b.customer.Licenses(b.ref, b.at), func(v *domain.LicenseView) bool {
		return isOrAny(q.State, v.Status) && isOrAny(q.DeviceID, v.DeviceID) && isOrAny(q.TitleID, v.TitleID)
	})
	if q.Order != OrderOldest {
		slices.Reverse(views)
	}
	shown, next, err := listPage(h.p, views, from, size, func(v *domain.LicenseView) string { return v.LicenseID }, question...)
	return LicensesAnswer{Made: b.Made, At: b.at, Licenses: shown, NextCursor: next}, err
}
