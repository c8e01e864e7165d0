package domain

import "fmt"

// RegisterRequest gives a device a slot, or changes what is known of it.
type RegisterRequest struct {
	DeviceID   string
	DeviceType string
	Name       Sealed // empty: as it is known
	NameDigest string // keyed hash of the name
	Replaces   string // the device that this one was before a reinstall
}

// RegisterDevice gives a device one of the plan's slots. A device that has one keeps it, whatever the plan says now, and
// may change its type or name; registering it as it is changes nothing. A device may replace another, which gives up
// its slot and its licences with it: the file on the reinstalled device is gone.
func (c *Customer) RegisterDevice(m Moment, r RegisterRequest) (Verdict, error) {
	h, err := c.hearRegister(m, r)
	if err != nil {
		return Verdict{}, err
	}
	if h.refused() {
		return c.deny(m, h.hearing, func() []Remedy { return c.remediesForRegister(m, r, h) }), nil
	}
	var events []NewEvent
	if h.replaced != nil {
		events = c.removed(m, h.replaced, h.removal, events)
	}
	if d := h.device; d == nil || !d.registered || d.kind != r.DeviceType || renames(d, r.Name, r.NameDigest) {
		events = append(events, NewEvent{Payload: &DeviceRegistered{
			Subject: h.deviceSubject(), Name: r.Name, NameDigest: r.NameDigest, UnknownType: !h.kindKnown, Replaces: r.Replaces,
		}})
	}
	return h.granted(c, m, nil, events), nil
}

// registerHearing is a hearing on a registration.
type registerHearing struct {
	*hearing
	device    *device // nil: not known yet
	kindKnown bool
	replaced  *device // that is removed with it; nil: none
	removal   *DeviceRemoved
}

func (c *Customer) hearRegister(m Moment, r RegisterRequest) (*registerHearing, error) {
	if err := CheckID("device_id", r.DeviceID); err != nil {
		return nil, err
	}
	if err := CheckID("device_type", r.DeviceType); err != nil {
		return nil, err
	}
	var replaces *device
	if r.Replaces != "" {
		if err := CheckID("replaces", r.Replaces); err != nil {
			return nil, err
		}
		if r.Replaces == r.DeviceID {
			return nil, &FieldError{Field: "replaces", Problem: "is the device itself"}
		}
		var err error
		if replaces, err = c.findDevice(m, r.Replaces); err != nil {
			return nil, fmt.Errorf("replacing: %w", err)
		}
	}
	books := c
	h := &registerHearing{device: c.device(r.DeviceID)}
	if replaces != nil && replaces.registered {
		h.replaced = replaces
		h.removal = &DeviceRemoved{
			Subject: c.aboutDevice(replaces), ReplacedBy: r.DeviceID, CountsAsReplacement: countsAsReplacement(m.Actor.Role),
		}
		books = c.withoutDevice(m, h.removal)
	}
	h.hearing = books.hear(m, CommandRegisterDevice, Request{DeviceID: r.DeviceID, DeviceType: r.DeviceType, Replaces: r.Replaces})
	if h.replaced != nil {
		h.replacing, h.swapping = c, h.removal.CountsAsReplacement
	}
	kind, known := h.aboutDevice(r.DeviceType)
	h.kindKnown, h.subject.Country = known, c.country

	if d := h.device; d != nil && d.registered {
		h.deviceType(kind, known)
		return h, nil
	}
	h.membership()
	h.planEligible()
	blocked := h.device
	if replaces != nil && replaces.blocked {
		blocked = replaces
	}
	h.deviceBlocked(blocked)
	h.deviceType(kind, known)
	h.slot(h.device)
	h.replacements(h.device)
	return h, nil
}

// withoutDevice are the books as they will be when the device is removed.
func (c *Customer) withoutDevice(m Moment, removal *DeviceRemoved) *Customer {
	books := c.clone()
	books.deviceRemoved(removal, instantOf(m.Now))
	return books
}
