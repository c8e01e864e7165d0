package domain

// FailOpen is the folded stream of the grants that were made while a customer's books could not be read, and have not
// been settled with the books yet.
type FailOpen struct {
	customer string
	seq      uint64
	grants   []*openGrant // in the order of issue
}

// openGrant is a grant that the books do not know yet.
type openGrant struct {
	license   string
	device    string
	title     string
	issuedAt  instant
	expiresAt instant
	reissues  int
}

// Version is the seq of the last event folded.
func (f *FailOpen) Version() uint64 { return f.seq }

// Open are the licences of the grants that are not settled, in the order of issue.
func (f *FailOpen) Open() []string {
	ids := make([]string, len(f.grants))
	for i, g := range f.grants {
		ids[i] = g.license
	}
	return ids
}

// Clone is an independent copy.
func (f *FailOpen) Clone() Aggregate { d := *f; return &d }

// Size is about how many bytes of memory the state holds.
func (f *FailOpen) Size() int { return 96 + len(f.customer) + 192*len(f.grants) }

// AppendBinary appends the state to b, encoded for a snapshot.
func (f *FailOpen) AppendBinary(b []byte) ([]byte, error) { return appendState(b, f), nil }

func (f *FailOpen) walk(w stateCoder) {
	w.seq(&f.seq)
	walkAll(w, &f.grants, func(w stateCoder, g *openGrant) {
		w.text(&g.license)
		w.text(&g.device)
		w.text(&g.title)
		w.instant(&g.issuedAt)
		w.instant(&g.expiresAt)
		w.int(&g.reissues)
	})
}

// Apply folds the event after the last.
func (f *FailOpen) Apply(e *Event) error {
	data, err := foldable[Payload](e, f.seq)
	if err != nil {
		return err
	}
	switch p := data.(type) {
	case *LicenseIssued:
		f.grants = added(f.grants, &openGrant{
			license: p.LicenseID, device: p.DeviceID, title: p.TitleID, issuedAt: instantOf(p.IssuedAt), expiresAt: instantAt(p.ExpiresAt),
		})
	case *LicenseReissued:
		f.grants = change(f.grants, func(g *openGrant) *openGrant {
			if g.license != p.LicenseID {
				return g
			}
			again := *g
			again.reissues = p.Reissue
			return &again
		})
	case *GrantReconciled:
		f.grants = keep(f.grants, func(g *openGrant) bool { return g.license != p.LicenseID })
	default:
		return misplaced(e)
	}
	f.seq = e.Seq
	return nil
}

// CodeFailClosed is the code of a grant that may not be made without the books: the answer is "come back later".
const CodeFailClosed = "OVERLOADED"

// RuleFailMode is the rule that lets a grant be made without the books.
const RuleFailMode = "fail_mode"

// Grant decides on a licence while the customer's books can't be read: by what the catalogue and the documents say of
// title and device, if the title's fail_mode is open. The licence is short. A refusal is not recorded; nobody knows
// whether the books would have given another reason. What is open for the same title on the same device is given out
// again.
func (f *FailOpen) Grant(m Moment, r AcquireRequest) (Verdict, error) {
	if err := r.check(); err != nil {
		return Verdict{}, err
	}
	h := NewCustomer(f.customer).hear(m, CommandAcquire, r.request())
	kind, known := h.aboutDevice(r.DeviceType)
	h.aboutTitle(r.TitleID)
	h.countryThatCounts(r.Country, "")
	again := f.openFor(r.DeviceID, r.TitleID, h.now)

	h.failMode(len(f.grants), again != nil)
	h.deviceType(kind, known)
	h.titleKnown()
	h.downloadable()
	h.withdrawal()
	h.region()
	h.profileMaturity()
	if h.refused() {
		return Verdict{Decision: &h.decision}, nil
	}
	l := h.shortLicense(m)
	if again != nil {
		l.subject.LicenseID, l.issuedAt, l.startedAt = again.license, again.issuedAt, again.issuedAt
	}
	end := l.ending(h.ref)
	issued := &LicenseIssued{
		Subject: l.subject, Basis: BasisFailOpen, Quality: r.Quality, SizeBytes: r.SizeBytes, Terms: l.terms,
		IssuedAt: l.issuedAt.time(), WindowEnd: l.windowEnd.pointer(), ExpiresAt: end.at.pointer(), LimitedBy: end.by, KeyID: r.KeyID,
		Decision: h.decision,
	}
	if again == nil {
		return Verdict{Events: []NewEvent{{Payload: issued}}, Decision: &h.decision}, nil
	}
	return Verdict{Events: []NewEvent{{Payload: &LicenseReissued{
		Subject: issued.Subject, Reissue: again.reissues + 1, Quality: r.Quality, SizeBytes: r.SizeBytes, Terms: issued.Terms,
		IssuedAt: issued.IssuedAt, StartsAt: issued.IssuedAt, WindowEnd: issued.WindowEnd,
		ExpiresAt: issued.ExpiresAt, PreviousExpiresAt: issued.ExpiresAt, LimitedBy: issued.LimitedBy,
		KeyID: r.KeyID, Decision: h.decision,
	}}}, Decision: &h.decision}, nil
}

func (f *FailOpen) openFor(device, title string, now instant) *openGrant {
	for _, g := range f.grants {
		if g.device == device && g.title == title && (g.expiresAt == 0 || now < g.expiresAt) {
			return g
		}
	}
	return nil
}

// failMode: the title's rules say whether a grant may be made without the books, and a customer has only so many.
func (h *hearing) failMode(open int, again bool) {
	r := h.look(RuleFailMode, CodeFailClosed, ScopeCustomer, h.c.id)
	mode := h.rules.Choice(func(t *TitleRules) string { return t.FailMode }, FailClosedMode)
	r.Used, r.Limit = h.number(int64(open)), h.number(h.policy.maxOpenGrants())
	switch {
	case mode != FailOpenMode:
		r.Detail = "without the customer's books nothing is granted"
		h.refuse(r)
	case int64(open) >= h.policy.maxOpenGrants() && !again:
		r.Detail = "too many grants wait for the customer's books"
		h.refuse(r)
	}
}

// shortLicense is the licence of a fail-open grant: no part of its life is longer than fail_open_duration.
func (h *hearing) shortLicense(m Moment) license {
	long, _ := h.rules.Span(func(t *TitleRules) Span { return t.FailOpenDuration })
	if long == 0 {
		long = 48 * 3600
	}
	l := license{
		subject: h.subject, terms: h.rules.Terms(), issuedAt: h.now, startedAt: h.now, windowEnd: instantOf(h.window.To),
	}
	l.subject.LicenseID = LicenseID(m.CommandID)
	if l.terms.LicenseDuration == 0 || l.terms.LicenseDuration > long.Seconds() {
		l.terms.LicenseDuration = long.Seconds()
	}
	return l
}

// Settle marks a grant as settled with the books. One that is not open stays as it is.
func (f *FailOpen) Settle(m Moment, settled GrantReconciled) (Verdict, error) {
	if err := CheckID("license_id", settled.LicenseID); err != nil {
		return Verdict{}, err
	}
	if settled.Outcome != ReconciledKept && settled.Outcome != ReconciledRevoked {
		return Verdict{}, &FieldError{Field: "outcome", Problem: "is neither kept nor revoked"}
	}
	for _, g := range f.grants {
		if g.license == settled.LicenseID {
			return Verdict{Events: []NewEvent{{Payload: &settled}}}, nil
		}
	}
	return Verdict{}, nil
}
