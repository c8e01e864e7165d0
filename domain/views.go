package domain

import "time"

// What reads show of a customer, made from the state by the domain, so that the command API, the read models, an
// explanation and a state as of a past day all say the same.
type (
	// Summary is plan, membership, slots and counters.
	Summary struct {
		CustomerID string    `json:"customer_id"`
		Version    uint64    `json:"version"` // of the stream
		AsOf       time.Time `json:"as_of"`
		Plan       string    `json:"plan,omitempty"`
		Country    string    `json:"country,omitempty"` // home
		Membership string    `json:"membership"`
		Devices    Counter   `json:"devices"`  // slots
		Counters   []Counter `json:"counters"` // every limit that something was counted against
		Flags      []string  `json:"flags,omitempty"`
	}

	// Counter is a limit, and what is used of it.
	Counter struct {
		Rule     string     `json:"rule"`
		Code     string     `json:"code"` // of a refusal by it
		Scope    Scope      `json:"scope"`
		Name     string     `json:"name,omitempty"`   // of the title, where the scope is one
		Source   string     `json:"source,omitempty"` // where the limit comes from
		Used     int64      `json:"used"`
		Limit    *int64     `json:"limit,omitempty"`     // absent: unlimited
		ResetsAt *time.Time `json:"resets_at,omitempty"` // when a place comes free by itself
	}

	// DeviceView is a device. A removed one is shown as long as the books remember it.
	DeviceView struct {
		DeviceID       string     `json:"device_id"`
		DeviceType     string     `json:"device_type,omitempty"`
		DeviceFamily   string     `json:"device_family,omitempty"`
		UnknownType    bool       `json:"unknown_type,omitempty"`
		Name           Sealed     `json:"name,omitempty"`
		Status         string     `json:"status"` // registered, blocked, removed
		HoldsSlot      bool       `json:"holds_slot"`
		Blocked        bool       `json:"blocked"` // a block outlives a removal
		BlockedAt      *time.Time `json:"blocked_at,omitempty"`
		BlockReason    string     `json:"block_reason,omitempty"` // code
		RegisteredAt   *time.Time `json:"registered_at,omitempty"`
		RemovedAt      *time.Time `json:"removed_at,omitempty"` // absent while it is registered
		ReplacedBy     string     `json:"replaced_by,omitempty"`
		LastContact    *time.Time `json:"last_contact,omitempty"`
		ClockSuspect   bool       `json:"clock_suspect"`
		ActiveLicenses int        `json:"active_licenses"`
	}

	// LicenseView is a licence. A remaining duration is absent when that part is unlimited, and 0 when it has run out.
	LicenseView struct {
		Subject
		Status        string     `json:"status"` // active, expired, released, revoked
		Basis         string     `json:"basis"`
		Quality       string     `json:"quality,omitempty"`
		SizeBytes     int64      `json:"size_bytes,omitempty"`
		Terms         Terms      `json:"terms"`
		IssuedAt      time.Time  `json:"issued_at"`
		RenewedAt     *time.Time `json:"renewed_at,omitempty"`
		Renewals      int        `json:"renewals"`
		Reissues      int        `json:"reissues"`
		FirstPlay     *time.Time `json:"first_play,omitempty"`     // of the playback life that is open
		PlayableUntil *time.Time `json:"playable_until,omitempty"` // by the books; absent: unlimited
		LimitedBy     string     `json:"limited_by,omitempty"`
		// From when a device shows what remains of the licence; absent when it does not end, or has ended.
		RemainingShownFrom *time.Time `json:"remaining_shown_from,omitempty"`
		LicenseRemaining   *Seconds   `json:"license_duration_remaining,omitempty"`
		PlaybackRemaining  *Seconds   `json:"playback_duration_remaining,omitempty"`
		EndedAt            *time.Time `json:"ended_at,omitempty"`
		Cause              string     `json:"cause,omitempty"`        // of a release, or the reason code of a revocation
		Removal            string     `json:"removal"`                // none, pending, confirmed
		WillStopAt         *time.Time `json:"will_stop_at,omitempty"` // when the device stops at the latest, should it hear nothing
	}

	// ExceptionView is something that support has allowed.
	ExceptionView struct {
		ExceptionID string     `json:"exception_id"`
		Code        string     `json:"code"`
		Scope       Scope      `json:"scope"`
		Uses        int        `json:"uses"`
		UsesLeft    int        `json:"uses_left"`
		Status      string     `json:"status"` // open, used, expired, withdrawn
		GrantedAt   time.Time  `json:"granted_at"`
		ExpiresAt   *time.Time `json:"expires_at,omitempty"`
		ClosedAt    *time.Time `json:"closed_at,omitempty"` // used up or withdrawn
		Reason      Reason     `json:"reason"`
	}
)

// Statuses of a device and of an exception.
const (
	DeviceStatusRegistered   = "registered"
	DeviceStatusBlocked      = "blocked"
	DeviceStatusRemoved      = "removed"
	ExceptionStatusOpen      = "open"
	ExceptionStatusUsed      = "used"
	ExceptionStatusExpired   = "expired"
	ExceptionStatusWithdrawn = "withdrawn"
)

// Flags of a customer: what support should look at.
const (
	FlagFailOpen     = "fail_open"     // a licence was granted while the books could not be read
	FlagClockSuspect = "clock_suspect" // a device reports impossible times
	FlagBlocked      = "device_blocked"
	FlagUnknownType  = "unknown_device_type"
)

// Devices are the devices that the books remember, in the order in which they last took a slot.
func (c *Customer) Devices(ref Reference, now time.Time) []DeviceView {
	at := instantOf(now)
	policy := ref.Policy(now)
	views := make([]DeviceView, 0, len(c.devices))
	for _, d := range c.devices {
		if c.remembers(d, at) {
			views = append(views, c.deviceView(d, policy, ref, at))
		}
	}
	return views
}

func (c *Customer) deviceView(d *device, policy *Policy, ref Reference, now instant) DeviceView {
	v := DeviceView{
		DeviceID: d.id, DeviceType: d.kind, DeviceFamily: d.family, UnknownType: d.unknown, Name: d.name,
		Status: DeviceStatusRegistered, Blocked: d.blocked, BlockedAt: d.blockedAt.pointer(), BlockReason: d.blockReason,
		RegisteredAt: d.registeredAt.pointer(), ReplacedBy: d.replacedBy, LastContact: d.lastContact.pointer(),
		ClockSuspect: d.clockSuspect,
	}
	v.HoldsSlot, _ = c.holdsSlot(d, policy, ref, now)
	switch {
	case !d.registered:
		v.Status, v.RemovedAt = DeviceStatusRemoved, d.removedAt.pointer()
	case d.blocked:
		v.Status = DeviceStatusBlocked
	}
	for _, l := range c.licenses {
		if l.subject.DeviceID == d.id && l.active(ref, now) {
			v.ActiveLicenses++
		}
	}
	return v
}

// Licenses are the licences that the books remember, in the order of issue.
func (c *Customer) Licenses(ref Reference, now time.Time) []LicenseView {
	at, memory := instantOf(now), ref.Policy(now).endedLicenseMemory()
	views := make([]LicenseView, 0, len(c.licenses))
	for _, l := range c.licenses {
		if l.rememberedUntil(memory) > at {
			views = append(views, c.licenseView(l, ref, at))
		}
	}
	return views
}

// License is one licence, if the books remember it.
func (c *Customer) License(id string, ref Reference, now time.Time) (LicenseView, bool) {
	l := c.license(id)
	if l == nil || l.rememberedUntil(ref.Policy(now).endedLicenseMemory()) <= instantOf(now) {
		return LicenseView{}, false
	}
	return c.licenseView(l, ref, instantOf(now)), true
}

func (c *Customer) licenseView(l *license, ref Reference, now instant) LicenseView {
	end, own := l.ending(ref), l.ownEnding()
	v := LicenseView{
		Subject: l.subject, Status: l.status(ref, now), Basis: l.basis, Quality: l.quality, SizeBytes: l.bytes, Terms: l.terms,
		IssuedAt: l.issuedAt.time(), RenewedAt: l.renewedAt.pointer(), Renewals: l.renewals, Reissues: l.reissues,
		FirstPlay: l.firstPlay.pointer(), PlayableUntil: end.at.pointer(), LimitedBy: end.by,
		EndedAt: l.endedAt.pointer(), Cause: l.cause, Removal: l.removal,
	}
	if end.at != 0 && v.Status == StatusActive {
		v.RemainingShownFrom = max(l.issuedAt, end.at.minus(ref.Policy(now.time()).showRemainingFrom())).pointer()
	}
	if l.endedAt != 0 {
		v.PlayableUntil, v.LimitedBy = v.EndedAt, v.Status
	}
	if l.removal != RemovalConfirmed {
		v.WillStopAt = own.at.pointer()
	}
	v.LicenseRemaining, v.PlaybackRemaining = l.remaining(ref, now)
	return v
}

// remaining are the two durations that a device shows: until the licence ends whatever is played, and what is left of
// the playback life.
func (l *license) remaining(ref Reference, now instant) (licence, playback *Seconds) {
	var none Seconds
	if !l.active(ref, now) {
		return &none, &none
	}
	unplayed := *l
	unplayed.firstPlay = 0
	if l.firstPlay != 0 {
		unplayed.terms.RentalDuration = 0
	}
	if end := unplayed.ending(ref); end.at != 0 {
		s := Seconds((end.at - now) / 1e6)
		licence = &s
	}
	if s := l.terms.PlaybackDuration; s > 0 {
		if l.firstPlay != 0 {
			s = max(0, min(s, Seconds((l.firstPlay.plus(s)-now)/1e6)))
		}
		playback = &s
	}
	return licence, playback
}

// Exceptions are the exceptions that the books remember, in the order in which they were granted.
func (c *Customer) Exceptions(now time.Time) []ExceptionView {
	at := instantOf(now)
	views := make([]ExceptionView, 0, len(c.exceptions))
	for _, x := range c.exceptions {
		if x.rememberedUntil() <= at {
			continue
		}
		views = append(views, ExceptionView{
			ExceptionID: x.id, Code: x.code, Scope: x.scope, Uses: x.uses, UsesLeft: x.usesLeft, Status: x.status(at),
			GrantedAt: x.grantedAt.time(), ExpiresAt: x.expiresAt.pointer(), ClosedAt: x.closedAt.pointer(), Reason: x.reason,
		})
	}
	return views
}

func (x *exception) status(now instant) string {
	switch {
	case x.withdrawn:
		return ExceptionStatusWithdrawn
	case x.closedAt != 0:
		return ExceptionStatusUsed
	case !x.open(now):
		return ExceptionStatusExpired
	}
	return ExceptionStatusOpen
}
