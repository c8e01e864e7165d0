package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Plays are reported late, because the device was offline, and are always recorded, even after a revocation. What
// counts is the device's time of the play; one that can't be true (outside the time from issue to receipt by more than
// the drift bound) is replaced by the time of receipt, and the device's clock is suspect. The first play begins the
// playback life, and one play counts in each playback life, however often it is replayed. A play id is remembered for a
// set time: within it the same report again changes nothing; older plays are recorded and flagged, and not counted,
// because nobody can tell any more whether they were reported before.

// PlaybackReport is what a device reports of a play.
type PlaybackReport struct {
	LicenseID       string
	PlayID          string // the device's own, the same for start and stop
	Kind            string // start, stop
	DeviceTime      time.Time
	PositionSeconds int64
}

// RecordPlayback records a play.
func (c *Customer) RecordPlayback(m Moment, r PlaybackReport) (Verdict, error) {
	if err := r.check(); err != nil {
		return Verdict{}, err
	}
	l, err := c.findLicense(m, r.LicenseID)
	if err != nil || l.remembers(playHash(r.PlayID, r.Kind)) {
		return Verdict{}, err
	}
	play := c.readPlay(m, l, r)
	if r.Kind == PlayStop {
		return c.record(m, l, play.stopped()), nil
	}
	return c.record(m, l, play.started()...), nil
}

func (r PlaybackReport) check() error {
	if err := CheckID("play_id", r.PlayID); err != nil {
		return err
	}
	if r.Kind != PlayStart && r.Kind != PlayStop {
		return &FieldError{Field: "kind", Problem: "is neither start nor stop"}
	}
	if year := r.DeviceTime.UTC().Year(); year < 1970 || year > 9999 {
		return &FieldError{Field: "device_time", Problem: "is outside the years 1970 to 9999"}
	}
	if r.PositionSeconds < 0 {
		return &FieldError{Field: "position_seconds", Problem: "is negative"}
	}
	return nil
}

// reportedPlay is a report in the light of the books.
type reportedPlay struct {
	c            *Customer
	m            Moment
	l            *license
	r            PlaybackReport
	deviceTime   time.Time
	at           instant
	suspect      bool
	afterEnd     bool
	unremembered bool
}

func (c *Customer) readPlay(m Moment, l *license, r PlaybackReport) reportedPlay {
	policy := m.Reference.Policy(m.Now)
	drift, memory := policy.General.PlayDrift.Seconds(), policy.General.PlayMemory.Seconds()
	p := reportedPlay{c: c, m: m, l: l, r: r, deviceTime: r.DeviceTime.UTC().Truncate(time.Microsecond)}
	received, reported := instantOf(m.Now), instantOf(p.deviceTime)
	if reported < l.issuedAt.minus(drift) || reported > received.plus(drift) {
		p.at, p.suspect = received, true
	} else {
		p.at = min(max(reported, l.issuedAt), received)
	}
	p.afterEnd = l.endedAt != 0 && p.at >= l.endedAt || l.ending(m.Reference).passed(p.at)
	p.unremembered = p.at <= l.forgotten || p.at < received.minus(memory)
	return p
}

func (p *reportedPlay) started() []NewEvent {
	l := p.l
	earlierLife := p.at < l.lifeAt
	counted := l.lifeCounted
	if earlierLife {
		counted = l.beforeCounted
	}
	e := &PlaybackStarted{
		Subject: p.c.about(l), PlayID: p.r.PlayID, At: p.at.time(), DeviceTime: p.deviceTime, ReceivedTime: p.m.Now,
		ClockSuspect: p.suspect, PositionSeconds: p.r.PositionSeconds, AfterEnd: p.afterEnd, Unremembered: p.unremembered,
		FirstPlay: !earlierLife && !p.afterEnd && (l.firstPlay == 0 || p.at < l.firstPlay) && p.mayLive(),
		Counted:   !counted && !p.unremembered,
	}
	before, played := l.ending(p.m.Reference), *l
	if e.FirstPlay {
		played.firstPlay = p.at
	}
	end := played.ending(p.m.Reference)
	e.ExpiresAt, e.LimitedBy = end.at.pointer(), end.by
	if e.FirstPlay {
		e.PreviousExpiresAt = before.at.pointer()
	}
	events := []NewEvent{{Payload: e, OccurredAt: e.At}}
	if e.Counted {
		events = append(events, NewEvent{
			Payload:    &ContentPlayed{Subject: e.Subject, PlayID: p.r.PlayID, At: e.At},
			OccurredAt: e.At,
		})
	}
	return events
}

// mayLive tells whether a late report may show that the licence lives on: not on a device that was removed meanwhile.
func (p *reportedPlay) mayLive() bool {
	d := p.c.device(p.l.subject.DeviceID)
	return p.l.endedAt != 0 || d != nil && d.registered
}

func (p *reportedPlay) stopped() NewEvent {
	e := &PlaybackStopped{
		Subject: p.c.about(p.l), PlayID: p.r.PlayID, At: p.at.time(), DeviceTime: p.deviceTime, ReceivedTime: p.m.Now,
		ClockSuspect: p.suspect, PositionSeconds: p.r.PositionSeconds, AfterEnd: p.afterEnd, Unremembered: p.unremembered,
	}
	return NewEvent{Payload: e, OccurredAt: e.At}
}

func playHash(playID, kind string) uint64 {
	var space [MaxIDLength + 8]byte
	sum := sha256.Sum256(append(append(space[:0], kind...), playID...))
	return binary.LittleEndian.Uint64(sum[:8])
}
