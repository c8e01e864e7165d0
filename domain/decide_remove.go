package domain

// Removing a device ends its licences: they are released, and their removal from the device is pending until it is
// confirmed. When the slot is free again is the plan's slot_freed_on. A removal by the customer is the first half of a
// replacement; one by support, or by the system, is not.

// maxReleases is how many releases a removal spells out. The removal itself ends what is beyond (see the fold).
const maxReleases = 200

// RemoveDevice frees a device's slot. A device that was removed before stays as it is.
func (c *Customer) RemoveDevice(m Moment, deviceID string, reason *Reason) (Verdict, error) {
	if err := checkReasonIfAny(reason); err != nil {
		return Verdict{}, err
	}
	d, err := c.findDevice(m, deviceID)
	if err != nil || !d.registered {
		return Verdict{}, err
	}
	return c.record(m, nil, c.removed(m, d, &DeviceRemoved{CountsAsReplacement: countsAsReplacement(m.Actor.Role), Reason: reason}, nil)...), nil
}

// removed appends the releases and the removal, whose subject it fills in.
func (c *Customer) removed(m Moment, d *device, removal *DeviceRemoved, events []NewEvent) []NewEvent {
	now := instantOf(m.Now)
	removal.Subject = c.aboutDevice(d)
	releases := 0
	for _, l := range c.licenses {
		if l.subject.DeviceID != d.id || l.endedAt != 0 || l.ownEnding().passed(now) || releases == maxReleases {
			continue
		}
		events = append(events, c.released(m, l, removal.cause(), RemovalPending, nil))
		releases++
	}
	return append(events, NewEvent{Payload: removal})
}

// cause is that of the releases that go with the removal.
func (e *DeviceRemoved) cause() string {
	if e.ReplacedBy != "" {
		return CauseDeviceReplaced
	}
	return CauseDeviceRemoved
}

// countsAsReplacement: what support or the system removes does not use up the customer's replacements.
func countsAsReplacement(by Role) bool { return by == RoleDevice || by == RoleService }
