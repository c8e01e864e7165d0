package domain

import "fmt"

// Apply folds the event after the last. It knows no rules, only what happened: rules of another day would fold
// history into another state. An event about a licence that the state has forgotten changes what it can.
func (c *Customer) Apply(e *Event) error {
	if e.Seq != c.seq+1 {
		return fmt.Errorf("folding %s: event %d can't follow event %d", e.Stream, e.Seq, c.seq)
	}
	data, err := e.FoldData()
	if err != nil {
		return fmt.Errorf("folding %s at %d: %w", e.Stream, e.Seq, err)
	}
	recorded := instantOf(e.RecordedAt)
	switch p := data.(type) {
	case *LicenseDenied:
		c.contact(e, p.DeviceID, recorded)
		c.rememberRefusal(refusalDigest(&p.Decision), e.Seq)
		c.advance(e.Seq, recorded)
		return nil // a refusal leaves everything as it was, so the refusals before it still stand
	case *LicenseIssued:
		c.contact(e, p.DeviceID, recorded)
		c.licenses = added(c.licenses, issued(p))
	case *LicenseReissued:
		c.contact(e, p.DeviceID, recorded)
		c.changeLicense(p.LicenseID, func(l *license) {
			l.reissues, l.quality, l.bytes = p.Reissue, p.Quality, p.SizeBytes
		})
	case *LicenseRenewed:
		c.contact(e, p.DeviceID, recorded)
		c.changeLicense(p.LicenseID, func(l *license) { l.renewed(p) })
	case *LicenseReleased:
		if p.Cause == CauseDevice {
			c.contact(e, p.DeviceID, recorded)
		}
		c.changeLicense(p.LicenseID, func(l *license) {
			l.endedAt, l.revoked, l.cause, l.removal = instantOf(p.ReleasedAt), false, p.Cause, p.Removal
		})
		c.pruneEnded()
	case *ReleaseConfirmed:
		c.contact(e, p.DeviceID, recorded)
		c.changeLicense(p.LicenseID, func(l *license) { l.removal = RemovalConfirmed })
	case *LicenseRevoked:
		c.changeLicense(p.LicenseID, func(l *license) {
			l.endedAt, l.revoked, l.cause, l.removal = instantOf(p.RevokedAt), true, p.Reason.Code, RemovalPending
		})
		c.pruneEnded()
	case *LicenseExpired:
		c.changeLicense(p.LicenseID, func(l *license) { l.expiryAt = instantOf(p.ExpiredAt) })
	case *PlaybackStarted:
		c.contact(e, p.DeviceID, recorded)
		c.changeDevice(p.DeviceID, func(d *device) { d.clockSuspect = p.ClockSuspect })
		c.changeLicense(p.LicenseID, func(l *license) { l.playStarted(p, recorded) })
	case *PlaybackStopped:
		c.contact(e, p.DeviceID, recorded)
		c.changeDevice(p.DeviceID, func(d *device) { d.clockSuspect = p.ClockSuspect })
		c.changeLicense(p.LicenseID, func(l *license) { l.remember(playHash(p.PlayID, PlayStop), recorded) })
	case *ContentDownloaded:
		at := instantOf(p.At)
		c.changeContent(p.TitleID, func(t *content) { t.downloads = insertedInstant(t.downloads, at) })
		c.changeDevice(p.DeviceID, func(d *device) { d.downloads = insertedInstant(d.downloads, at) })
	case *ContentRenewed:
		if p.CountsAsDownload {
			c.changeContent(p.TitleID, func(t *content) { t.downloads = insertedInstant(t.downloads, instantOf(p.At)) })
		}
	case *ContentPlayed:
		c.changeContent(p.TitleID, func(t *content) { t.plays = insertedInstant(t.plays, instantOf(p.At)) })
	case *DeviceRegistered:
		c.deviceRegistered(p, recorded)
		c.contact(e, p.DeviceID, recorded)
	case *DeviceRemoved:
		c.deviceRemoved(p, recorded)
	case *DeviceBlocked:
		c.changeDevice(p.DeviceID, func(d *device) { d.blocked, d.blockedAt, d.blockReason = true, recorded, p.Reason.Code })
	case *DeviceUnblocked:
		c.changeDevice(p.DeviceID, func(d *device) { d.blocked, d.blockedAt, d.blockReason = false, 0, "" })
	case *ExceptionGranted:
		c.exceptions = added(c.exceptions, &exception{
			id: p.ExceptionID, code: p.Code, scope: p.Scope, uses: p.Uses, usesLeft: p.Uses,
			grantedAt: recorded, expiresAt: instantAt(p.ExpiresAt), reason: p.Reason,
		})
	case *ExceptionUsed:
		c.changeException(p.ExceptionID, func(x *exception) {
			x.usesLeft = p.UsesLeft
			if x.usesLeft == 0 {
				x.closedAt = recorded
			}
		})
	case *ExceptionWithdrawn:
		c.changeException(p.ExceptionID, func(x *exception) { x.withdrawn, x.closedAt = true, recorded })
	case *PlanChanged:
		c.plan, c.country = p.Plan, p.Country
	case *MembershipChanged:
		c.membership = p.State
	case *GrantReconciled:
		if p.Outcome == ReconciledRevoked {
			c.changeLicense(p.LicenseID, func(l *license) {
				l.endedAt, l.revoked, l.cause, l.removal = recorded, true, ReasonOther, RemovalPending
			})
		}
	default:
		return misplaced(e)
	}
	c.refusals = nil
	c.advance(e.Seq, recorded)
	return nil
}

func (c *Customer) advance(seq uint64, recorded instant) {
	before := c.recordedAt
	c.seq, c.recordedAt = seq, max(before, recorded)
	if before != 0 && before.day() != c.recordedAt.day() {
		c.prune()
	}
}

// contact notes that the device was heard of: by itself, or by a service that speaks for it. What support or the
// system does about a device is no sign of the device.
func (c *Customer) contact(e *Event, deviceID string, recorded instant) {
	if e.Actor.Role != RoleDevice && e.Actor.Role != RoleService {
		return
	}
	c.changeDevice(deviceID, func(d *device) { d.lastContact = recorded })
}

func issued(p *LicenseIssued) *license {
	at := instantOf(p.IssuedAt)
	return &license{
		subject: p.Subject, basis: p.Basis, quality: p.Quality, bytes: p.SizeBytes, terms: p.Terms,
		issuedAt: at, startedAt: at, lifeAt: at, windowEnd: instantAt(p.WindowEnd), removal: RemovalNone,
	}
}

func (l *license) renewed(p *LicenseRenewed) {
	at := instantOf(p.RenewedAt)
	l.renewals, l.terms, l.startedAt, l.renewedAt = p.Renewal, p.Terms, at, at
	l.windowEnd, l.expiryAt = instantAt(p.WindowEnd), 0
	l.subject.Country = p.Country
	if p.PlaybackRestarted {
		l.lifeAt, l.firstPlay = at, 0
		l.beforeCounted, l.lifeCounted = l.lifeCounted, false
	}
}

func (l *license) playStarted(p *PlaybackStarted, recorded instant) {
	l.remember(playHash(p.PlayID, PlayStart), recorded)
	at := instantOf(p.At)
	if p.FirstPlay {
		l.firstPlay, l.expiryAt = at, 0
	}
	if p.Counted && at < l.lifeAt {
		l.beforeCounted = true
	} else if p.Counted {
		l.lifeCounted = true
	}
}

// deviceRegistered gives a slot, or changes what is known of a device. A device that comes back stands last and begins
// anew, as one that was forgotten does; only a block and the downloads of the month stay with it.
func (c *Customer) deviceRegistered(p *DeviceRegistered, recorded instant) {
	var d device
	i := c.deviceAt(p.DeviceID)
	if i >= 0 {
		d = *c.devices[i]
	}
	stays := d.registered
	if !stays {
		d = device{
			id: p.DeviceID, registered: true, registeredAt: recorded, blocked: d.blocked, blockedAt: d.blockedAt, blockReason: d.blockReason,
			downloads: d.downloads,
		}
	}
	d.kind, d.family, d.unknown = p.DeviceType, p.DeviceFamily, p.UnknownType
	if p.Name != "" {
		d.name, d.nameDigest = p.Name, p.NameDigest
	}
	switch {
	case stays:
		c.devices = with(c.devices, i, &d)
		return
	case i >= 0:
		c.devices = without(c.devices, i)
	}
	c.devices = added(c.devices, &d)
	c.swapped(swap{at: recorded})
}

// deviceRemoved frees the slot. The licences of the device that their own terms would let live end with it, whether or
// not an event of their own said so.
func (c *Customer) deviceRemoved(p *DeviceRemoved, recorded instant) {
	c.changeDevice(p.DeviceID, func(d *device) {
		d.registered, d.removedAt, d.replacedBy = false, recorded, p.ReplacedBy
	})
	if p.CountsAsReplacement {
		c.swapped(swap{at: recorded, removal: true})
	}
	c.licenses = change(c.licenses, func(l *license) *license {
		if l.subject.DeviceID != p.DeviceID || l.endedAt != 0 || l.ownEnding().passed(recorded) {
			return l
		}
		ended := *l
		ended.endedAt, ended.cause, ended.removal = recorded, p.cause(), RemovalPending
		return &ended
	})
	c.pruneEnded()
}

func (c *Customer) swapped(s swap) {
	c.swaps = added(c.swaps, s)
	if len(c.swaps) > MaxCounted {
		c.swaps = c.swaps[1:]
	}
}

func (c *Customer) changeException(id string, f func(*exception)) {
	i := c.exceptionAt(id)
	if i < 0 {
		return
	}
	x := *c.exceptions[i]
	f(&x)
	c.exceptions = with(c.exceptions, i, &x)
}
