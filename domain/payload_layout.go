package domain

// The layouts of the payloads that come with nearly every command: field by field as their structs say. See payloadCoder.

func (p *LicenseIssued) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptText("basis", &p.Basis)
	c.text("quality", &p.Quality)
	c.number("size_bytes", &p.SizeBytes)
	c.open("terms")
	termsFields(c, &p.Terms)
	c.close()
	c.keptMoment("issued_at", &p.IssuedAt)
	c.pointedMoment("window_end", &p.WindowEnd)
	c.pointedMoment("expires_at", &p.ExpiresAt)
	c.text("limited_by", &p.LimitedBy)
	c.keptText("key_id", &p.KeyID)
	grantDecision(c, &p.Decision)
}

func (p *LicenseReissued) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptInt("reissue", &p.Reissue)
	c.text("quality", &p.Quality)
	c.number("size_bytes", &p.SizeBytes)
	c.open("terms")
	termsFields(c, &p.Terms)
	c.close()
	c.keptMoment("issued_at", &p.IssuedAt)
	c.keptMoment("starts_at", &p.StartsAt)
	c.pointedMoment("window_end", &p.WindowEnd)
	c.pointedMoment("expires_at", &p.ExpiresAt)
	c.pointedMoment("previous_expires_at", &p.PreviousExpiresAt)
	c.text("limited_by", &p.LimitedBy)
	c.keptText("key_id", &p.KeyID)
	grantDecision(c, &p.Decision)
}

func (p *LicenseRenewed) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptInt("renewal", &p.Renewal)
	c.open("terms")
	termsFields(c, &p.Terms)
	c.close()
	c.keptMoment("issued_at", &p.IssuedAt)
	c.keptMoment("renewed_at", &p.RenewedAt)
	c.pointedMoment("window_end", &p.WindowEnd)
	c.pointedMoment("expires_at", &p.ExpiresAt)
	c.pointedMoment("previous_expires_at", &p.PreviousExpiresAt)
	c.text("limited_by", &p.LimitedBy)
	c.flag("playback_restarted", &p.PlaybackRestarted)
	c.keptText("key_id", &p.KeyID)
	grantDecision(c, &p.Decision)
}

func (p *LicenseDenied) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptText("command", &p.Command)
	c.keptText("code", &p.Code)
	c.open("decision")
	decisionFields(c, &p.Decision)
	c.close()
}

func (p *LicenseReleased) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptMoment("released_at", &p.ReleasedAt)
	c.pointedMoment("previous_expires_at", &p.PreviousExpiresAt)
	c.keptText("removal", &p.Removal)
	c.text("cause", &p.Cause)
	if c.openPointed("reason", p.Reason != nil) {
		if p.Reason == nil { // reading
			p.Reason = &Reason{}
		}
		c.keptText("code", &p.Reason.Code)
		c.text("text", (*string)(&p.Reason.Text))
		c.text("case", &p.Reason.Case)
		c.close()
	}
}

func (p *LicenseExpired) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptMoment("expired_at", &p.ExpiredAt)
	c.text("limited_by", &p.LimitedBy)
}

func (p *PlaybackStarted) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptText("play_id", &p.PlayID)
	c.keptMoment("at", &p.At)
	c.keptMoment("device_time", &p.DeviceTime)
	c.keptMoment("received_time", &p.ReceivedTime)
	c.flag("clock_suspect", &p.ClockSuspect)
	c.keptNumber("position_seconds", &p.PositionSeconds)
	c.flag("first_play", &p.FirstPlay)
	c.flag("counted", &p.Counted)
	c.flag("after_end", &p.AfterEnd)
	c.flag("unremembered", &p.Unremembered)
	c.pointedMoment("expires_at", &p.ExpiresAt)
	c.pointedMoment("previous_expires_at", &p.PreviousExpiresAt)
	c.text("limited_by", &p.LimitedBy)
}

func (p *PlaybackStopped) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptText("play_id", &p.PlayID)
	c.keptMoment("at", &p.At)
	c.keptMoment("device_time", &p.DeviceTime)
	c.keptMoment("received_time", &p.ReceivedTime)
	c.flag("clock_suspect", &p.ClockSuspect)
	c.keptNumber("position_seconds", &p.PositionSeconds)
	c.flag("after_end", &p.AfterEnd)
	c.flag("unremembered", &p.Unremembered)
}

func (p *ContentDownloaded) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptMoment("at", &p.At)
}

func (p *ContentRenewed) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptMoment("at", &p.At)
	c.flag("counts_as_download", &p.CountsAsDownload)
}

func (p *ContentPlayed) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.keptText("play_id", &p.PlayID)
	c.keptMoment("at", &p.At)
}

func (p *DeviceRegistered) walk(c payloadCoder) {
	subjectFields(c, &p.Subject)
	c.text("name", (*string)(&p.Name))
	c.text("name_digest", &p.NameDigest)
	c.flag("unknown_type", &p.UnknownType)
	c.text("replaces", &p.Replaces)
	c.flag("implicit", &p.Implicit)
}

func subjectFields(c payloadCoder, s *Subject) {
	c.text("license_id", &s.LicenseID)
	c.text("device_id", &s.DeviceID)
	c.text("device_type", &s.DeviceType)
	c.text("device_family", &s.DeviceFamily)
	c.text("title_id", &s.TitleID)
	c.text("title_name", &s.TitleName)
	c.text("kind", &s.Kind)
	c.text("series", &s.Series)
	c.int("season", &s.Season)
	c.int("episode", &s.Episode)
	c.text("studio", &s.Studio)
	c.text("plan", &s.Plan)
	c.text("country", &s.Country)
	c.text("profile_id", &s.ProfileID)
	c.text("trigger", &s.Trigger)
}

func termsFields(c payloadCoder, t *Terms) {
	c.keptFlag("persistent", &t.Persistent)
	c.number("rental_duration", (*int64)(&t.RentalDuration))
	c.number("playback_duration", (*int64)(&t.PlaybackDuration))
	c.number("license_duration", (*int64)(&t.LicenseDuration))
	c.number("renewal_delay", (*int64)(&t.RenewalDelay))
	c.number("retry_interval", (*int64)(&t.RetryInterval))
}

// grantDecision is the decision of something that was granted, and the last field: who reads to fold reads its id.
func grantDecision(c payloadCoder, d *Decision) {
	c.open("decision")
	c.keptText("id", &d.ID)
	if c.passedRest() {
		return
	}
	restOfDecision(c, d)
	c.close()
}

func decisionFields(c payloadCoder, d *Decision) {
	c.keptText("id", &d.ID)
	restOfDecision(c, d)
}

func restOfDecision(c payloadCoder, d *Decision) {
	c.keptText("command", &d.Command)
	c.keptText("outcome", &d.Outcome)
	c.text("code", &d.Code)
	c.keptMoment("decided_at", &d.DecidedAt)
	c.keptSeq("customer_version", &d.CustomerVersion)
	c.open("versions")
	versionsFields(c, &d.Versions)
	c.close()
	c.open("request")
	requestFields(c, &d.Request)
	c.close()
	walkKeptList(c, "rules", &d.Rules, 20, ruleResultFields)
	walkList(c, "remedies", &d.Remedies, remedyFields)
}

func versionsFields(c payloadCoder, v *Versions) {
	c.keptInt("policy", &v.Policy)
	c.keptInt("plan", &v.Plan)
	c.keptInt("device_types", &v.DeviceTypes)
	c.keptText("catalogue", &v.Catalogue)
	c.keptSeq("reference", &v.Reference)
}

func requestFields(c payloadCoder, r *Request) {
	c.text("device_id", &r.DeviceID)
	c.text("device_type", &r.DeviceType)
	c.text("title_id", &r.TitleID)
	c.text("license_id", &r.LicenseID)
	c.text("country", &r.Country)
	c.text("profile_id", &r.ProfileID)
	c.text("maturity", &r.Maturity)
	c.text("trigger", &r.Trigger)
	c.text("quality", &r.Quality)
	c.number("size_bytes", &r.SizeBytes)
	c.text("replaces", &r.Replaces)
}

func ruleResultFields(c payloadCoder, r *RuleResult) {
	c.keptText("rule", &r.Rule)
	c.keptText("code", &r.Code)
	c.open("scope")
	scopeFields(c, &r.Scope)
	c.close()
	c.text("source", &r.Source)
	c.pointedNumber("used", &r.Used)
	c.pointedNumber("limit", &r.Limit)
	c.pointedMoment("resets_at", &r.ResetsAt)
	c.keptText("outcome", &r.Outcome)
	c.text("exception", &r.Exception)
	c.text("detail", &r.Detail)
	walkList(c, "held_by", &r.HeldBy, holderFields)
}

func scopeFields(c payloadCoder, s *Scope) {
	c.text("kind", &s.Kind)
	c.text("id", &s.ID)
}

func holderFields(c payloadCoder, h *Holder) {
	c.keptText("kind", &h.Kind)
	c.keptText("id", &h.ID)
	c.text("device_id", &h.DeviceID)
	c.text("title_id", &h.TitleID)
	c.text("title_name", &h.TitleName)
	c.pointedMoment("until", &h.Until)
}

func remedyFields(c payloadCoder, r *Remedy) {
	c.keptText("action", &r.Action)
	c.text("kind", &r.Kind)
	c.text("id", &r.ID)
	c.pointedMoment("at", &r.At)
	c.keptText("who", (*string)(&r.Who))
}
