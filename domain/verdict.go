package domain

import "fmt"

// A verdict's events come in the order in which they are folded. In front stand the expiries that nobody has recorded
// yet, for the record: no answer depends on them, so a few per command are enough.
const maxLapsed = 16

// MaxVerdictEvents is the most events that one verdict holds. What a command would have to say beyond that it says
// when it is given again (see Verdict.Remaining).
const MaxVerdictEvents = 240

// record is a verdict on a command that the rules do not decide. Without events nothing changes, not even what lapsed.
func (c *Customer) record(m Moment, spared *license, events ...NewEvent) Verdict {
	if len(events) == 0 {
		return Verdict{}
	}
	return Verdict{Events: append(c.lapsed(m, spared), events...)}
}

// lapsed are the expiries to record. The spared licence is the one that a late report may yet show alive.
func (c *Customer) lapsed(m Moment, spared *license) []NewEvent {
	var events []NewEvent
	now := instantOf(m.Now)
	for _, l := range c.licenses {
		if l == spared || l.endedAt != 0 || l.expiryAt != 0 {
			continue
		}
		end := l.ending(m.Reference)
		if !end.passed(now) {
			continue
		}
		events = append(events, NewEvent{
			Payload:    &LicenseExpired{Subject: c.about(l), ExpiredAt: end.at.time(), LimitedBy: end.by},
			OccurredAt: end.at.time(),
		})
		if len(events) == maxLapsed {
			break
		}
	}
	return events
}

// about is the subject of an event about a licence.
func (c *Customer) about(l *license) Subject {
	s := l.subject
	s.Plan, s.Trigger = c.plan, ""
	return s
}

// aboutDevice is the subject of an event about a device.
func (c *Customer) aboutDevice(d *device) Subject {
	return Subject{DeviceID: d.id, DeviceType: d.kind, DeviceFamily: d.family, Plan: c.plan, Country: c.country}
}

// findLicense finds a licence that the books still hold: one that ended longer ago than ended_license_memory is gone,
// whether or not it was pruned already.
func (c *Customer) findLicense(m Moment, id string) (*license, error) {
	if err := CheckID("license_id", id); err != nil {
		return nil, err
	}
	l := c.license(id)
	memory := m.Reference.Policy(m.Now).endedLicenseMemory()
	if l == nil || l.rememberedUntil(memory) <= instantOf(m.Now) {
		return nil, fmt.Errorf("licence %s of customer %s: %w", id, c.id, ErrNotFound)
	}
	return l, nil
}

// findDevice finds a device that the books still know: one that was removed is known as long as something of it counts.
func (c *Customer) findDevice(m Moment, id string) (*device, error) {
	if err := CheckID("device_id", id); err != nil {
		return nil, err
	}
	d := c.device(id)
	if d == nil || !c.remembers(d, instantOf(m.Now)) {
		return nil, fmt.Errorf("device %s of customer %s: %w", id, c.id, ErrNotFound)
	}
	return d, nil
}
