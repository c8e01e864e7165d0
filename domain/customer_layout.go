package domain

// AppendBinary appends the state to b, encoded for a snapshot: equal states give equal bytes.
func (c *Customer) AppendBinary(b []byte) ([]byte, error) { return appendState(b, c), nil }

func (c *Customer) walk(w stateCoder) {
	w.seq(&c.seq)
	w.instant(&c.recordedAt)
	w.text(&c.plan)
	w.text(&c.country)
	w.text(&c.membership)
	walkAll(w, &c.devices, walkDevice)
	walkAll(w, &c.licenses, walkLicense)
	walkAll(w, &c.contents, walkContent)
	walkAll(w, &c.exceptions, walkException)
	walkEach(w, &c.swaps, func(w stateCoder, s *swap) {
		w.instant(&s.at)
		w.flag(&s.removal)
	})
	walkEach(w, &c.refusals, walkRefusal)
}

func walkDevice(w stateCoder, d *device) {
	w.text(&d.id)
	w.text(&d.kind)
	w.text(&d.family)
	w.flag(&d.unknown)
	w.text((*string)(&d.name))
	w.text(&d.nameDigest)
	w.flag(&d.registered)
	w.instant(&d.registeredAt)
	w.instant(&d.removedAt)
	w.text(&d.replacedBy)
	w.flag(&d.blocked)
	w.instant(&d.blockedAt)
	w.text(&d.blockReason)
	w.instant(&d.lastContact)
	w.flag(&d.clockSuspect)
	walkInstants(w, &d.downloads)
}

func walkLicense(w stateCoder, l *license) {
	walkSubject(w, &l.subject)
	w.text(&l.basis)
	w.text(&l.quality)
	w.number(&l.bytes)
	walkTerms(w, &l.terms)
	w.instant(&l.issuedAt)
	w.instant(&l.startedAt)
	w.instant(&l.windowEnd)
	w.int(&l.renewals)
	w.int(&l.reissues)
	w.instant(&l.renewedAt)
	w.instant(&l.lifeAt)
	w.instant(&l.firstPlay)
	w.flag(&l.lifeCounted)
	w.flag(&l.beforeCounted)
	w.instant(&l.endedAt)
	w.flag(&l.revoked)
	w.text(&l.cause)
	w.text(&l.removal)
	w.instant(&l.expiryAt)
	walkEach(w, &l.plays, func(w stateCoder, p *playMark) {
		w.hash(&p.hash)
		w.instant(&p.at)
	})
	w.instant(&l.forgotten)
}

func walkSubject(w stateCoder, s *Subject) {
	for _, text := range [...]*string{&s.LicenseID, &s.DeviceID, &s.DeviceType, &s.DeviceFamily, &s.TitleID, &s.TitleName, &s.Kind,
		&s.Series, &s.Studio, &s.Plan, &s.Country, &s.ProfileID, &s.Trigger} {
		w.text(text)
	}
	w.int(&s.Season)
	w.int(&s.Episode)
}

func walkTerms(w stateCoder, t *Terms) {
	w.flag(&t.Persistent)
	walkSeconds(w, &t.RentalDuration)
	walkSeconds(w, &t.PlaybackDuration)
	walkSeconds(w, &t.LicenseDuration)
	walkSeconds(w, &t.RenewalDelay)
	walkSeconds(w, &t.RetryInterval)
}

func walkContent(w stateCoder, t *content) {
	w.text(&t.title)
	walkInstants(w, &t.downloads)
	walkInstants(w, &t.plays)
}

func walkException(w stateCoder, x *exception) {
	w.text(&x.id)
	w.text(&x.code)
	w.text(&x.scope.Kind)
	w.text(&x.scope.ID)
	w.int(&x.uses)
	w.int(&x.usesLeft)
	w.instant(&x.grantedAt)
	w.instant(&x.expiresAt)
	w.flag(&x.withdrawn)
	w.instant(&x.closedAt)
	walkReason(w, &x.reason)
}

func walkReason(w stateCoder, r *Reason) {
	w.text(&r.Code)
	w.text((*string)(&r.Text))
	w.text(&r.Case)
}

func walkRefusal(w stateCoder, r *refusal) {
	w.hash(&r.digest[0])
	w.hash(&r.digest[1])
	w.seq(&r.seq)
}
