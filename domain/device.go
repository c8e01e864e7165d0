package domain

// A device takes one of the slots that the plan gives. A device that was removed is still remembered: its downloads
// of the month keep counting, its licences may not have been destroyed yet, and a block outlives a removal.
type device struct {
	id           string
	kind         string // device type
	family       string
	unknown      bool // the type is unknown: default rules apply
	name         Sealed
	nameDigest   string
	registered   bool
	registeredAt instant
	removedAt    instant // of the last removal, 0: never
	replacedBy   string
	blocked      bool
	blockedAt    instant
	blockReason  string // code
	lastContact  instant
	clockSuspect bool      // its last report of a play carried an impossible time
	downloads    []instant // ascending
}

// swap is half a replacement: a removal by the customer, or a device that took a slot.
type swap struct {
	at      instant
	removal bool
}

func (d *device) size() int {
	return 256 + len(d.id) + len(d.kind) + len(d.name) + len(d.nameDigest) + 8*len(d.downloads)
}

func (d *device) pruned(now instant) *device {
	kept := after(d.downloads, now.minus(RememberDeviceUses))
	if len(kept) == len(d.downloads) {
		return d
	}
	e := *d
	e.downloads = kept
	return &e
}

func (c *Customer) deviceAt(id string) int {
	for i, d := range c.devices {
		if d.id == id {
			return i
		}
	}
	return -1
}

// device is a known device, removed ones included; nil when there is none.
func (c *Customer) device(id string) *device {
	if i := c.deviceAt(id); i >= 0 {
		return c.devices[i]
	}
	return nil
}

// changeDevice puts a changed copy in the device's place; an unknown device is left unknown.
func (c *Customer) changeDevice(id string, f func(*device)) {
	i := c.deviceAt(id)
	if i < 0 {
		return
	}
	d := *c.devices[i]
	f(&d)
	c.devices = with(c.devices, i, &d)
}
