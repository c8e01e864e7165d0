package query

import (
	"context"
	"time"
)

// Devices asks for a customer's devices.
type Devices struct {
	By          Caller
	Customer    string
	State       string // active, blocked, removed; empty: all
	Page        Page
	Consistency Consistency
}

// DevicesAnswer is a page of a customer's devices, in order of id.
type DevicesAnswer struct {
	Made
	At         time.Time   `json:"at"`
	Devices    []DeviceRow `json:"devices"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

// DeviceRow is a device with its name opened.
type DeviceRow struct {
	DeviceView
	Name       string `json:"name,omitempty"`        // personal
	NameErased bool   `json:"name_erased,omitempty"` // the customer's key was erased
}

// DevicesHandler answers Devices.
type DevicesHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history.
func (h DevicesHandler) Handle(ctx context.Context, q Devices) (DevicesAnswer, error) {
	return DevicesAnswer{}, ErrUnavailable
}
