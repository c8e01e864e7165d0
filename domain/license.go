package domain

// A licence for offline viewing lives on a device, is used again and again, and ends at
//
//	expires_at = min((issued|renewed) + rental while unplayed, (issued|renewed) + license, first play + playback, window end)
//
// where each part may be absent, which means unlimited. It is computed when it is asked for, never stored, never
// trusted from a client. Ending on the server and being gone from the device are two things: removal is pending until
// the device's record of destruction arrives.
type license struct {
	subject Subject // as it was issued: names and classes
	basis   string
	quality string
	bytes   int64
	terms   Terms

	issuedAt  instant // original issue
	startedAt instant // issue or last renewal: rental and license duration run from here
	windowEnd instant

	renewals  int
	reissues  int
	renewedAt instant // 0: never

	lifeAt        instant // when the playback life that is open now could begin: issue, or a renewal that restarted it
	firstPlay     instant // of this playback life
	lifeCounted   bool    // a play of this life counts for the title
	beforeCounted bool    // a play of the life before counts

	endedAt  instant // released or revoked; 0: not
	revoked  bool
	cause    string  // of a release, or reason code of a revocation
	removal  string  // RemovalNone, RemovalPending, RemovalConfirmed
	expiryAt instant // of the LicenseExpired that was recorded and still stands

	plays     []playMark // reported, newest last
	forgotten instant    // reports up to here may have been forgotten
}

// playMark remembers a reported play.
type playMark struct {
	hash uint64 // of play id and kind
	at   instant
}

// Statuses of a licence.
const (
	StatusActive   = "active"
	StatusExpired  = "expired"
	StatusReleased = "released"
	StatusRevoked  = "revoked"
)

// Parts that limit a licence's life.
const (
	LimitedByRental     = "rental"
	LimitedByPlayback   = "playback"
	LimitedByLicense    = "license"
	LimitedByWindow     = "window"
	LimitedByWithdrawal = "withdrawal"
)

// Causes of a release.
const (
	CauseDevice         = "device"
	CauseDeviceRemoved  = "device_removed"
	CauseDeviceReplaced = "device_replaced"
	CausePlanDowngrade  = "plan_downgrade"
)

// ending is the earliest end that the terms set; no instant means unlimited.
type ending struct {
	at instant
	by string
}

func (e *ending) limit(at instant, by string) {
	if at != 0 && at != endOfTime && (e.at == 0 || at < e.at) {
		e.at, e.by = at, by
	}
}

// passed tells whether the end has come: a licence is good before its end, not at it.
func (e ending) passed(now instant) bool { return e.at != 0 && e.at <= now }

func termsEnding(t *Terms, startedAt, firstPlay, windowEnd instant) ending {
	var e ending
	if t.RentalDuration > 0 && firstPlay == 0 {
		e.limit(startedAt.plus(t.RentalDuration), LimitedByRental)
	}
	if t.LicenseDuration > 0 {
		e.limit(startedAt.plus(t.LicenseDuration), LimitedByLicense)
	}
	if t.PlaybackDuration > 0 && firstPlay != 0 {
		e.limit(firstPlay.plus(t.PlaybackDuration), LimitedByPlayback)
	}
	e.limit(windowEnd, LimitedByWindow)
	return e
}

// ownEnding is the end by the licence's own terms, withdrawals left aside.
func (l *license) ownEnding() ending {
	return termsEnding(&l.terms, l.startedAt, l.firstPlay, l.windowEnd)
}

// ending is the end in view of what was withdrawn: leaving the catalogue ends a licence at once.
func (l *license) ending(ref Reference) ending {
	e := l.ownEnding()
	if from, ok := ref.WithdrawnFrom(l.subject.TitleID, l.subject.Country); ok {
		e.limit(instantOf(from), LimitedByWithdrawal)
	}
	return e
}

func (l *license) status(ref Reference, now instant) string {
	switch {
	case l.endedAt != 0 && l.revoked:
		return StatusRevoked
	case l.endedAt != 0:
		return StatusReleased
	case l.ending(ref).passed(now):
		return StatusExpired
	}
	return StatusActive
}

// active tells whether the licence holds a place of the caps.
func (l *license) active(ref Reference, now instant) bool {
	return l.endedAt == 0 && !l.ending(ref).passed(now)
}

// rememberedUntil is when a licence is forgotten that is remembered so long after its end.
func (l *license) rememberedUntil(memory Seconds) instant {
	end := l.endedAt
	if end == 0 {
		end = l.ownEnding().at
	}
	if end == 0 {
		return endOfTime
	}
	return end.plus(memory)
}

func (l *license) size() int {
	s := &l.subject
	return 640 + len(s.LicenseID) + len(s.DeviceID) + len(s.DeviceType) + len(s.TitleID) + len(s.TitleName) + len(s.Series) +
		len(s.ProfileID) + 16*len(l.plays)
}

// remembers tells whether a play was reported before.
func (l *license) remembers(hash uint64) bool {
	for i := range l.plays {
		if l.plays[i].hash == hash {
			return true
		}
	}
	return false
}

// remember adds a mark and forgets the oldest ones above the bound.
func (l *license) remember(hash uint64, recorded instant) {
	l.plays = added(l.plays, playMark{hash, recorded})
	for len(l.plays) > maxPlayMarks {
		l.forgotten = max(l.forgotten, l.plays[0].at)
		l.plays = l.plays[1:]
	}
}

func (c *Customer) licenseAt(id string) int {
	for i, l := range c.licenses {
		if l.subject.LicenseID == id {
			return i
		}
	}
	return -1
}

func (c *Customer) license(id string) *license {
	if i := c.licenseAt(id); i >= 0 {
		return c.licenses[i]
	}
	return nil
}

// activeOn is the active licence for a title on a device.
func (c *Customer) activeOn(device, title string, ref Reference, now instant) *license {
	for _, l := range c.licenses {
		if l.endedAt == 0 && l.subject.DeviceID == device && l.subject.TitleID == title && l.active(ref, now) {
			return l
		}
	}
	return nil
}

// changeLicense puts a changed copy in the licence's place; an unknown licence is left unknown.
func (c *Customer) changeLicense(id string, f func(*license)) {
	i := c.licenseAt(id)
	if i < 0 {
		return
	}
	l := *c.licenses[i]
	f(&l)
	c.licenses = with(c.licenses, i, &l)
}
