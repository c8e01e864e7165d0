package domain

// A blocked device gets nothing until it is unblocked. A block outlives the device's removal, and a device can't be
// replaced by another to get around it.

// BlockDevice keeps a device from getting anything. A blocked device stays as it is.
func (c *Customer) BlockDevice(m Moment, deviceID string, reason Reason) (Verdict, error) {
	if err := checkReason(reason); err != nil {
		return Verdict{}, err
	}
	d, err := c.findDevice(m, deviceID)
	if err != nil || d.blocked {
		return Verdict{}, err
	}
	return c.record(m, nil, NewEvent{Payload: &DeviceBlocked{Subject: c.aboutDevice(d), Reason: reason}}), nil
}

// UnblockDevice ends a block. A device that is not blocked stays as it is.
func (c *Customer) UnblockDevice(m Moment, deviceID string, reason Reason) (Verdict, error) {
	if err := checkReason(reason); err != nil {
		return Verdict{}, err
	}
	d, err := c.findDevice(m, deviceID)
	if err != nil || !d.blocked {
		return Verdict{}, err
	}
	return c.record(m, nil, NewEvent{Payload: &DeviceUnblocked{Subject: c.aboutDevice(d), Reason: reason}}), nil
}
