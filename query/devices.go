package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
)

// Devices asks for a customer's devices.
type Devices struct {
	By          Caller
	Customer    string
	State       string // registered, blocked, removed; empty: all
	Page        Page
	Consistency Consistency
}

// DevicesAnswer is a page of a customer's devices, in the order in which they first came.
type DevicesAnswer struct {
	Made
	At         time.Time   `json:"at"`
	Devices    []DeviceRow `json:"devices"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

// DeviceRow is a device with its name opened.
type DeviceRow struct {
	domain.DeviceView
	Name       string `json:"name,omitempty"`        // personal
	NameErased bool   `json:"name_erased,omitempty"` // the customer's key was erased
}

// DevicesHandler answers Devices.
type DevicesHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history.
func (h DevicesHandler) Handle(ctx context.Context, q Devices) (DevicesAnswer, error) {
	err := checkOneOf("state", q.State, domain.DeviceStatusRegistered, domain.DeviceStatusBlocked, domain.DeviceStatusRemoved)
	size, sizeErr := q.Page.size()
	question := []string{"devices", q.Customer, q.State}
	from, cursorErr := h.p.listFrom(&q.Page, question...)
	if err := errors.Join(err, sizeErr, cursorErr); err != nil {
		return DevicesAnswer{}, err
	}
	b, err := h.p.customerBooks(ctx, q.By, q.Customer, "devices", q.Consistency)
	if err != nil {
		return DevicesAnswer{}, err
	}
	views := only(b.customer.Devices(b.ref, b.at), func(v *domain.DeviceView) bool { return isOrAny(q.State, v.Status) })
	shown, next, err := listPage(h.p, views, from, size, func(v *domain.DeviceView) string { return v.DeviceID }, question...)
	if err != nil {
		return DevicesAnswer{}, err
	}
	answer := DevicesAnswer{Made: b.Made, At: b.at, NextCursor: next}
	if answer.Devices, err = deviceRows(ctx, h.p.wordsOf(q.By, q.Customer), shown); err != nil {
		return DevicesAnswer{}, fmt.Errorf("read devices: %w", err)
	}
	return answer, nil
}

// deviceRows opens the devices' names.
func deviceRows(ctx context.Context, words *opener, views []domain.DeviceView) ([]DeviceRow, error) {
	rows := make([]DeviceRow, len(views))
	for i, v := range views {
		rows[i].DeviceView = v
		var err error
		if rows[i].Name, rows[i].NameErased, err = words.open(ctx, v.Name); err != nil {
			return nil, err
		}
		rows[i].DeviceView.Name = ""
	}
	return rows, nil
}
