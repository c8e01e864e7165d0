package domain

import "slices"

// Customer is the folded state of one account: the consistency boundary of everything the account holds, because the
// limits span its devices and titles. Profiles of an account share it.
//
// Everything a slice or pointer in here leads to is immutable: a change puts a copy in its place. So a clone is a copy
// of this struct and nothing else, however much the customer holds, and a clone can't disturb the original.
//
// The state is bounded. What no rule can read any more and no report can name any more is pruned, by the recorded
// time of the events alone, so that every process prunes the same (see prune).
type Customer struct {
	id         string
	seq        uint64  // of the last event folded
	recordedAt instant // of that event

	plan       string
	country    string // home country
	membership string // empty until a change is recorded: active

	devices    []*device    // in the order in which they last took a slot
	licenses   []*license   // in the order of issue
	contents   []*content   // by title
	exceptions []*exception // in the order in which they were granted
	swaps      []swap       // what may be halves of replacements, in order
	refusals   []refusal    // since anything else happened, newest last
}

// Membership states.
const (
	MembershipActive    = "active"
	MembershipOnHold    = "on_hold"
	MembershipPaused    = "paused"
	MembershipCancelled = "cancelled"
)

// How long the state remembers. Each is longer than any window, grace or memory that a policy may ask for
// (see Policy validation), so that forgetting never changes a decision.
const (
	// RememberEnded is how long a licence that ended is kept: so long can a play of it be reported, its destruction
	// be confirmed, and a renewal of it be refused with the right reason.
	RememberEnded Seconds = 90 * 24 * 3600
	// RememberUses is how long downloads, renewals and plays of a title are kept: a leap year, and a day for zones.
	RememberUses Seconds = 368 * 24 * 3600
	// RememberDeviceUses is how long downloads of a device, removals and registrations are kept.
	RememberDeviceUses Seconds = 33 * 24 * 3600

	// MaxUsePeriod is the longest window that uses can be counted in.
	MaxUsePeriod Seconds = 366 * 24 * 3600

	// MaxCounted is how many uses of one title or one device are kept, the newest: no limit on them is higher.
	MaxCounted = 4096

	maxRefusals   = 16   // remembered; the oldest is forgotten first
	maxEnded      = 1024 // ended licences that are kept; those that ended first are forgotten first
	maxPlayMarks  = 128  // of one licence that are kept, the newest
	maxExceptions = 64   // open ones that a customer may have
)

// NewCustomer is the state before the first event.
func NewCustomer(id string) *Customer { return &Customer{id: id} }

// ID is the customer's id.
func (c *Customer) ID() string { return c.id }

// Version is the seq of the last event folded.
func (c *Customer) Version() uint64 { return c.seq }

// Plan is the customer's plan, empty before the first ChangePlan.
func (c *Customer) Plan() string { return c.plan }

// Country is the home country.
func (c *Customer) Country() string { return c.country }

// Membership is the state of the membership; a customer of whom nothing else was recorded is active.
func (c *Customer) Membership() string {
	if c.membership == "" {
		return MembershipActive
	}
	return c.membership
}

// Clone is an independent copy.
func (c *Customer) Clone() Aggregate { return c.clone() }

func (c *Customer) clone() *Customer {
	d := *c
	return &d
}

// Size is about how many bytes of memory the state holds.
func (c *Customer) Size() int {
	n := 256 + len(c.id) + 16*len(c.swaps) + 48*len(c.refusals)
	for _, d := range c.devices {
		n += d.size()
	}
	for _, l := range c.licenses {
		n += l.size()
	}
	for _, t := range c.contents {
		n += t.size()
	}
	for _, x := range c.exceptions {
		n += x.size()
	}
	return n
}

// prune forgets what has left every window and retention at the recorded time of the newest event. It runs when the
// UTC day of the recorded time changes, so the cost is spread and the result depends on the events alone.
func (c *Customer) prune() {
	now := c.recordedAt
	c.swaps = keep(c.swaps, func(s swap) bool { return s.at > now.minus(RememberDeviceUses) })
	c.exceptions = keep(c.exceptions, func(x *exception) bool { return x.rememberedUntil() > now })
	c.licenses = keep(c.licenses, func(l *license) bool { return l.rememberedUntil(RememberEnded) > now })
	c.contents = change(c.contents, func(t *content) *content { return t.pruned(now) })
	c.devices = change(c.devices, func(d *device) *device {
		if !c.remembers(d, now) {
			return nil
		}
		return d.pruned(now)
	})
}

// remembers tells whether anything of the device still counts: its slot, a block, a download, a licence.
func (c *Customer) remembers(d *device, now instant) bool {
	return d.registered || d.blocked || len(after(d.downloads, now.minus(RememberDeviceUses))) > 0 ||
		slices.ContainsFunc(c.licenses, func(l *license) bool {
			return l.subject.DeviceID == d.id && l.rememberedUntil(RememberEnded) > now
		})
}

// pruneEnded bounds the number of ended licences, whatever their age.
func (c *Customer) pruneEnded() {
	ended := 0
	for _, l := range c.licenses {
		if l.endedAt != 0 {
			ended++
		}
	}
	for ; ended > maxEnded; ended-- {
		first := -1
		for i, l := range c.licenses {
			if l.endedAt != 0 && (first < 0 || l.endedAt < c.licenses[first].endedAt) {
				first = i
			}
		}
		c.licenses = without(c.licenses, first)
	}
}

// The slices of a state are never written in place: these make the changed copy.

func with[T any](s []T, i int, v T) []T {
	c := slices.Clone(s)
	c[i] = v
	return c
}

func added[T any](s []T, v T) []T {
	c := make([]T, len(s)+1)
	copy(c, s)
	c[len(s)] = v
	return c
}

func inserted[T any](s []T, i int, v T) []T {
	c := make([]T, len(s)+1)
	copy(c, s[:i])
	c[i] = v
	copy(c[i+1:], s[i:])
	return c
}

func without[T any](s []T, i int) []T {
	c := make([]T, len(s)-1)
	copy(c, s[:i])
	copy(c[i:], s[i+1:])
	return c
}

// keep is s itself when everything stays.
func keep[T any](s []T, stays func(T) bool) []T {
	for i, v := range s {
		if !stays(v) {
			c := append(make([]T, 0, len(s)), s[:i]...)
			for _, v := range s[i+1:] {
				if stays(v) {
					c = append(c, v)
				}
			}
			return orNil(c)
		}
	}
	return s
}

// change replaces elements, or drops those that become nil. It is s itself when nothing changes.
func change[T any](s []*T, f func(*T) *T) []*T {
	for i, v := range s {
		w := f(v)
		if w == v {
			continue
		}
		c := append(make([]*T, 0, len(s)), s[:i]...)
		if w != nil {
			c = append(c, w)
		}
		for _, v := range s[i+1:] {
			if w := f(v); w != nil {
				c = append(c, w)
			}
		}
		return orNil(c)
	}
	return s
}

// orNil makes "none" always nil, so that equal states are deeply equal.
func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// after is the part of the ascending instants later than t.
func after(s []instant, t instant) []instant {
	i, _ := slices.BinarySearch(s, t+1)
	return orNil(s[i:])
}

// insertedInstant keeps the instants ascending, and the newest MaxCounted of them.
func insertedInstant(s []instant, t instant) []instant {
	i, _ := slices.BinarySearch(s, t+1)
	s = inserted(s, i, t)
	if len(s) > MaxCounted {
		s = s[len(s)-MaxCounted:]
	}
	return s
}
