package domain

// AcquireRequest asks for a licence for a title on a device.
type AcquireRequest struct {
	DeviceID         string
	DeviceType       string
	DeviceName       Sealed // empty: as it is known
	DeviceNameDigest string // keyed hash of the name
	TitleID          string
	Country          string // where the customer is; empty: the home country
	ProfileID        string
	Maturity         string // of the profile: kids, teen, adult; empty: adult
	Trigger          string // user, auto
	Quality          string // standard, high, uhd; empty: as the device likes
	SizeBytes        int64
	KeyID            string // of the key that signs the licence
}

// Acquire decides on a licence for a title on a device. What is active there is issued again, which moves no counter;
// a device that has no slot is registered in passing. A refusal is recorded with the whole decision, unless the same
// refusal was recorded before and nothing has happened since.
func (c *Customer) Acquire(m Moment, r AcquireRequest) (Verdict, error) {
	h, err := c.hearAcquire(m, r)
	if err != nil {
		return Verdict{}, err
	}
	if h.refused() {
		return c.deny(m, h.hearing, func() []Remedy { return c.remediesForAcquire(m, r, h) }), nil
	}
	return c.grant(m, r, h), nil
}

// Evaluate decides as Acquire does and records nothing.
func (c *Customer) Evaluate(m Moment, r AcquireRequest) (Verdict, error) {
	h, err := c.hearAcquire(m, r)
	if err != nil {
		return Verdict{}, err
	}
	if h.refused() {
		h.decision.Remedies = c.remediesForAcquire(m, r, h)
	}
	return Verdict{Decision: &h.decision}, nil
}

func (r *AcquireRequest) check() error {
	if err := CheckID("title_id", r.TitleID); err != nil {
		return err
	}
	if err := CheckID("device_id", r.DeviceID); err != nil {
		return err
	}
	if err := CheckID("device_type", r.DeviceType); err != nil {
		return err
	}
	if r.ProfileID != "" {
		if err := CheckID("profile_id", r.ProfileID); err != nil {
			return err
		}
	}
	if r.Country != "" {
		if err := checkCountry("country", r.Country); err != nil {
			return err
		}
	}
	switch r.Maturity {
	case "", MaturityKids, MaturityTeen, MaturityAdult:
	default:
		return &FieldError{Field: "maturity", Problem: "is none of kids, teen, adult"}
	}
	switch r.Quality {
	case "", "standard", "high", "uhd":
	default:
		return &FieldError{Field: "quality", Problem: "is none of standard, high, uhd"}
	}
	if r.SizeBytes < 0 {
		return &FieldError{Field: "size_bytes", Problem: "is negative"}
	}
	return checkTrigger(&r.Trigger)
}

// request is what of it the rules read.
func (r *AcquireRequest) request() Request {
	return Request{
		DeviceID: r.DeviceID, DeviceType: r.DeviceType, TitleID: r.TitleID, Country: r.Country, ProfileID: r.ProfileID,
		Maturity: r.Maturity, Trigger: r.Trigger, Quality: r.Quality, SizeBytes: r.SizeBytes,
	}
}

func checkTrigger(trigger *string) error {
	switch *trigger {
	case "":
		*trigger = TriggerUser
	case TriggerUser, TriggerAuto:
	default:
		return &FieldError{Field: "trigger", Problem: "is neither user nor auto"}
	}
	return nil
}

// acquireHearing is a hearing on an acquisition.
type acquireHearing struct {
	*hearing
	device    *device // nil: not known yet
	kindKnown bool
	reissue   *license // active on the device: it is issued again
}

func (c *Customer) hearAcquire(m Moment, r AcquireRequest) (*acquireHearing, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	h := &acquireHearing{hearing: c.hear(m, CommandAcquire, r.request())}
	kind, known := h.aboutDevice(r.DeviceType)
	h.kindKnown = known
	h.aboutTitle(r.TitleID)
	h.countryThatCounts(r.Country, "")
	h.device = c.device(r.DeviceID)
	h.reissue = c.activeOn(r.DeviceID, r.TitleID, m.Reference, h.now)
	if h.reissue != nil {
		h.subject.LicenseID = h.reissue.subject.LicenseID
	}

	h.membership()
	h.planEligible()
	h.deviceBlocked(h.device)
	h.deviceType(kind, known)
	h.titleKnown()
	h.downloadable()
	h.withdrawal()
	h.region()
	h.profileMaturity()
	h.quality(kind)
	if h.reissue != nil {
		h.reissues(h.reissue)
		return h, nil
	}
	h.slot(h.device)
	h.replacements(h.device)
	h.activePerDevice()
	h.activePerAccount()
	h.downloadsPerMonth(h.device)
	h.activePerStudio()
	h.downloadsPerYear()
	h.playsPerPeriod()
	return h, nil
}

// grant are the events of an acquisition that the rules allow.
func (c *Customer) grant(m Moment, r AcquireRequest, h *acquireHearing) Verdict {
	events := make([]NewEvent, 0, 4)
	if registered := h.registration(r); registered != nil {
		events = append(events, NewEvent{Payload: registered})
	}
	if h.reissue != nil {
		events = append(events, NewEvent{Payload: h.reissued(r)})
	} else {
		issued := h.issued(m, r)
		events = append(events, NewEvent{Payload: issued}, NewEvent{Payload: &ContentDownloaded{Subject: issued.Subject, At: m.Now}})
	}
	return h.granted(c, m, nil, events)
}

// granted completes a grant: the exceptions that it needed are used up, and it says what it was decided from.
func (h *hearing) granted(c *Customer, m Moment, spared *license, events []NewEvent) Verdict {
	for _, x := range h.needed {
		events = append(events, NewEvent{Payload: &ExceptionUsed{
			Subject: h.subject, ExceptionID: x.id, Code: x.code, UsesLeft: x.usesLeft - 1,
		}})
	}
	v := c.record(m, spared, events...)
	v.Decision = &h.decision
	return v
}

// registration is what the books learn about the device, nil when it is nothing new.
func (h *acquireHearing) registration(r AcquireRequest) *DeviceRegistered {
	d := h.device
	if d != nil && d.registered && d.kind == r.DeviceType && !renames(d, r.DeviceName, r.DeviceNameDigest) {
		return nil
	}
	return &DeviceRegistered{
		Subject: h.deviceSubject(), Name: r.DeviceName, NameDigest: r.DeviceNameDigest, UnknownType: !h.kindKnown, Implicit: true,
	}
}

// deviceSubject is the subject of an event about the device alone.
func (h *hearing) deviceSubject() Subject {
	s := &h.subject
	return Subject{DeviceID: s.DeviceID, DeviceType: s.DeviceType, DeviceFamily: s.DeviceFamily, Plan: s.Plan, Country: h.c.country}
}

// renames tells whether a name is another than the one that is known. Without a digest there is no telling, and it is
// taken for another.
func renames(d *device, name Sealed, digest string) bool {
	return name != "" && (digest == "" || digest != d.nameDigest)
}

func (h *acquireHearing) issued(m Moment, r AcquireRequest) *LicenseIssued {
	l := license{
		subject: h.subject, terms: h.rules.Terms(), issuedAt: h.now, startedAt: h.now, windowEnd: instantOf(h.window.To),
	}
	l.subject.LicenseID = LicenseID(m.CommandID)
	end := l.ending(h.ref)
	return &LicenseIssued{
		Subject: l.subject, Basis: BasisBooks, Quality: r.Quality, SizeBytes: r.SizeBytes, Terms: l.terms, IssuedAt: m.Now,
		WindowEnd: l.windowEnd.pointer(), ExpiresAt: end.at.pointer(), LimitedBy: end.by, KeyID: r.KeyID, Decision: h.decision,
	}
}

func (h *acquireHearing) reissued(r AcquireRequest) *LicenseReissued {
	l := h.reissue
	subject := h.subject
	subject.Country = l.subject.Country // of the issue: the licence stays what it is
	end := l.ending(h.ref)
	return &LicenseReissued{
		Subject: subject, Reissue: l.reissues + 1, Quality: r.Quality, SizeBytes: r.SizeBytes, Terms: l.terms,
		IssuedAt: l.issuedAt.time(), StartsAt: l.startedAt.time(), WindowEnd: l.windowEnd.pointer(),
		ExpiresAt: end.at.pointer(), PreviousExpiresAt: end.at.pointer(), LimitedBy: end.by,
		KeyID: r.KeyID, Decision: h.decision,
	}
}

// deny records a refusal, or points to the recorded one that says the same.
func (c *Customer) deny(m Moment, h *hearing, remedies func() []Remedy) Verdict {
	d := &h.decision
	if seq := c.refusedBefore(d); seq != 0 {
		return Verdict{Decision: d, Repeats: seq}
	}
	d.Remedies = remedies()
	v := c.record(m, nil, NewEvent{Payload: &LicenseDenied{Subject: h.subject, Command: d.Command, Code: d.Code, Decision: *d}})
	v.Decision = d
	return v
}
