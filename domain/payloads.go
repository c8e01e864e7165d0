package domain

import "time"

// Subject is what most events are about. It repeats what reads would otherwise have to look up in another place and
// at another time: names and classes as they were when the event was recorded.
type Subject struct {
	LicenseID    string `json:"license_id,omitempty"`
	DeviceID     string `json:"device_id,omitempty"`
	DeviceType   string `json:"device_type,omitempty"`
	DeviceFamily string `json:"device_family,omitempty"` // phone, tablet, tv, computer, …; "unknown" for an unknown type
	TitleID      string `json:"title_id,omitempty"`      // the playable: a movie or an episode
	TitleName    string `json:"title_name,omitempty"`
	Kind         string `json:"kind,omitempty"`   // movie, episode
	Series       string `json:"series,omitempty"` // name of the series, for an episode
	Season       int    `json:"season,omitempty"`
	Episode      int    `json:"episode,omitempty"`
	Studio       string `json:"studio,omitempty"`
	Plan         string `json:"plan,omitempty"`
	Country      string `json:"country,omitempty"` // that counted for the decision
	ProfileID    string `json:"profile_id,omitempty"`
	Trigger      string `json:"trigger,omitempty"` // user, auto
}

// Terms are the durations of a licence, in DRM terms, in whole seconds. 0 means the part is absent, which means
// unlimited.
type Terms struct {
	Persistent       bool    `json:"persistent"`
	RentalDuration   Seconds `json:"rental_duration,omitempty"`   // start watching within this time of issue or renewal
	PlaybackDuration Seconds `json:"playback_duration,omitempty"` // finish watching within this time of the first play
	LicenseDuration  Seconds `json:"license_duration,omitempty"`  // ends within this time of issue or renewal in any case
	RenewalDelay     Seconds `json:"renewal_delay,omitempty"`     // the device may ask for a renewal from this time on
	RetryInterval    Seconds `json:"retry_interval,omitempty"`    // between failed renewals
}

// Seconds is a duration in whole seconds.
type Seconds int64

// Duration is s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Reason is why a person did something: a code, and where they gave them, words and a case number. The words are
// personal and sealed under the customer's key.
type Reason struct {
	Code string `json:"code"` // lost_device, chargeback, fraud, studio, customer, other
	Text Sealed `json:"text,omitempty"`
	Case string `json:"case,omitempty"`
}

// Sealed is a personal word, encrypted under a key of the customer's own: base64 of nonce and box. The domain never
// opens one. Erasing the key erases the word everywhere.
type Sealed string

// Bases of a grant.
const (
	BasisBooks    = "books"     // decided on the customer's history
	BasisFailOpen = "fail_open" // decided while the history could not be read
)

// Removal says how far the removal of a licence from its device has come.
const (
	RemovalNone      = "none"
	RemovalPending   = "pending"   // ended on the server; the device has not confirmed destruction
	RemovalConfirmed = "confirmed" // the device's record of destruction has arrived
)

// The events of a customer's stream.
type (
	// LicenseIssued: a download licence was granted.
	LicenseIssued struct {
		Subject
		Basis     string     `json:"basis"` // books, fail_open
		Quality   string     `json:"quality,omitempty"`
		SizeBytes int64      `json:"size_bytes,omitempty"`
		Terms     Terms      `json:"terms"`
		IssuedAt  time.Time  `json:"issued_at"`
		WindowEnd *time.Time `json:"window_end,omitempty"` // when the title leaves the catalogue of the country
		ExpiresAt *time.Time `json:"expires_at,omitempty"` // nil: unlimited
		LimitedBy string     `json:"limited_by,omitempty"` // which part sets ExpiresAt: rental, playback, license, window, withdrawal
		KeyID     string     `json:"key_id"`               // the key that signs the licence
		Decision  Decision   `json:"decision"`
	}

	// LicenseReissued: an active licence was given out again, as after a broken download. Moves no counter.
	LicenseReissued struct {
		Subject
		Reissue           int        `json:"reissue"` // 1 for the first
		Quality           string     `json:"quality,omitempty"`
		SizeBytes         int64      `json:"size_bytes,omitempty"`
		Terms             Terms      `json:"terms"`
		IssuedAt          time.Time  `json:"issued_at"` // of the original issue
		StartsAt          time.Time  `json:"starts_at"` // of the issue or the last renewal: rental and licence life run from here
		WindowEnd         *time.Time `json:"window_end,omitempty"`
		ExpiresAt         *time.Time `json:"expires_at,omitempty"`
		PreviousExpiresAt *time.Time `json:"previous_expires_at,omitempty"`
		LimitedBy         string     `json:"limited_by,omitempty"`
		KeyID             string     `json:"key_id"`
		Decision          Decision   `json:"decision"`
	}

	// LicenseRenewed: a licence's life was prolonged.
	LicenseRenewed struct {
		Subject
		Renewal           int        `json:"renewal"` // 1 for the first
		Terms             Terms      `json:"terms"`
		IssuedAt          time.Time  `json:"issued_at"` // of the original issue
		RenewedAt         time.Time  `json:"renewed_at"`
		WindowEnd         *time.Time `json:"window_end,omitempty"`
		ExpiresAt         *time.Time `json:"expires_at,omitempty"`
		PreviousExpiresAt *time.Time `json:"previous_expires_at,omitempty"`
		LimitedBy         string     `json:"limited_by,omitempty"`
		PlaybackRestarted bool       `json:"playback_restarted,omitempty"` // the playback life begins anew
		KeyID             string     `json:"key_id"`
		Decision          Decision   `json:"decision"`
	}

	// LicenseDenied: a request was refused. Changes no counter.
	LicenseDenied struct {
		Subject
		Command  string   `json:"command"` // acquire, renew, register_device
		Code     string   `json:"code"`
		Decision Decision `json:"decision"`
	}

	// LicenseReleased: the device gave the licence back, or its device was removed.
	LicenseReleased struct {
		Subject
		ReleasedAt        time.Time  `json:"released_at"`
		PreviousExpiresAt *time.Time `json:"previous_expires_at,omitempty"`
		Removal           string     `json:"removal"`         // pending, confirmed
		Cause             string     `json:"cause,omitempty"` // device, device_removed, device_replaced, plan_downgrade
		Reason            *Reason    `json:"reason,omitempty"`
	}

	// ReleaseConfirmed: the device's record of destruction has arrived.
	ReleaseConfirmed struct {
		Subject
		ConfirmedAt time.Time `json:"confirmed_at"`
		Reason      *Reason   `json:"reason,omitempty"`
	}

	// LicenseRevoked: the licence was taken back.
	LicenseRevoked struct {
		Subject
		RevokedAt         time.Time  `json:"revoked_at"`
		PreviousExpiresAt *time.Time `json:"previous_expires_at,omitempty"`
		Reason            Reason     `json:"reason"`
	}

	// LicenseExpired: appended lazily, for the record; no answer depends on it.
	LicenseExpired struct {
		Subject
		ExpiredAt time.Time `json:"expired_at"`
		LimitedBy string    `json:"limited_by,omitempty"`
	}

	// PlaybackStarted: a play was reported, perhaps late.
	PlaybackStarted struct {
		Subject
		PlayID            string     `json:"play_id"`
		At                time.Time  `json:"at"` // that counts: device time, or received time when that is suspect
		DeviceTime        time.Time  `json:"device_time"`
		ReceivedTime      time.Time  `json:"received_time"`
		ClockSuspect      bool       `json:"clock_suspect,omitempty"`
		PositionSeconds   int64      `json:"position_seconds"`
		FirstPlay         bool       `json:"first_play,omitempty"`   // begins the playback life
		Counted           bool       `json:"counted,omitempty"`      // as a play of the title; replays inside one playback life are not
		AfterEnd          bool       `json:"after_end,omitempty"`    // the licence had ended on the server
		Unremembered      bool       `json:"unremembered,omitempty"` // too old to know whether it was reported before: not counted
		ExpiresAt         *time.Time `json:"expires_at,omitempty"`   // of the licence, after this play
		PreviousExpiresAt *time.Time `json:"previous_expires_at,omitempty"`
		LimitedBy         string     `json:"limited_by,omitempty"`
	}

	// PlaybackStopped: the end of a play was reported, perhaps late.
	PlaybackStopped struct {
		Subject
		PlayID          string    `json:"play_id"`
		At              time.Time `json:"at"`
		DeviceTime      time.Time `json:"device_time"`
		ReceivedTime    time.Time `json:"received_time"`
		ClockSuspect    bool      `json:"clock_suspect,omitempty"`
		PositionSeconds int64     `json:"position_seconds"`
		AfterEnd        bool      `json:"after_end,omitempty"`
		Unremembered    bool      `json:"unremembered,omitempty"`
	}

	// ContentDownloaded: an acquisition counts for customer and title.
	ContentDownloaded struct {
		Subject
		At time.Time `json:"at"`
	}

	// ContentRenewed: a renewal counts for customer and title.
	ContentRenewed struct {
		Subject
		At               time.Time `json:"at"`
		CountsAsDownload bool      `json:"counts_as_download,omitempty"` // against the yearly limit
	}

	// ContentPlayed: a play counts for customer and title.
	ContentPlayed struct {
		Subject
		PlayID string    `json:"play_id"`
		At     time.Time `json:"at"`
	}

	// DeviceRegistered: a device took a slot, or a known one changed its type or name.
	DeviceRegistered struct {
		Subject
		Name        Sealed `json:"name,omitempty"`
		NameDigest  string `json:"name_digest,omitempty"`  // keyed hash of the name: the same name again changes nothing
		UnknownType bool   `json:"unknown_type,omitempty"` // default rules apply
		Replaces    string `json:"replaces,omitempty"`
		Implicit    bool   `json:"implicit,omitempty"` // by the first acquire
	}

	// DeviceRemoved: a device gave up its slot.
	DeviceRemoved struct {
		Subject
		ReplacedBy          string  `json:"replaced_by,omitempty"`
		CountsAsReplacement bool    `json:"counts_as_replacement"` // against device_replacements_per_30d; not when support did it
		Reason              *Reason `json:"reason,omitempty"`
	}

	// DeviceBlocked: the device may get nothing until it is unblocked.
	DeviceBlocked struct {
		Subject
		Reason Reason `json:"reason"`
	}

	// DeviceUnblocked ends a block.
	DeviceUnblocked struct {
		Subject
		Reason Reason `json:"reason"`
	}

	// ExceptionGranted: support allows what a limit would refuse, a number of times.
	ExceptionGranted struct {
		ExceptionID string     `json:"exception_id"`
		Code        string     `json:"code"`  // the refusal code it overrides
		Scope       Scope      `json:"scope"` // empty: the whole customer
		Uses        int        `json:"uses"`  // how often it may be used
		ExpiresAt   *time.Time `json:"expires_at,omitempty"`
		Reason      Reason     `json:"reason"`
	}

	// ExceptionUsed: a grant needed the exception.
	ExceptionUsed struct {
		Subject
		ExceptionID string `json:"exception_id"`
		Code        string `json:"code"`
		UsesLeft    int    `json:"uses_left"`
	}

	// ExceptionWithdrawn ends an exception before its time.
	ExceptionWithdrawn struct {
		ExceptionID string `json:"exception_id"`
		Reason      Reason `json:"reason"`
	}

	// PlanChanged: the customer's plan and home country.
	PlanChanged struct {
		Plan            string  `json:"plan"`
		Country         string  `json:"country"`
		PreviousPlan    string  `json:"previous_plan,omitempty"`
		PreviousCountry string  `json:"previous_country,omitempty"`
		Reason          *Reason `json:"reason,omitempty"`
	}

	// MembershipChanged: active, on_hold, paused or cancelled.
	MembershipChanged struct {
		State    string  `json:"state"`
		Previous string  `json:"previous,omitempty"`
		Reason   *Reason `json:"reason,omitempty"`
	}

	// GrantReconciled settles a grant that was made fail-open: kept or revoked. In the failopen stream it marks that
	// grant as settled; in the customer's stream it follows the LicenseIssued that records the grant.
	GrantReconciled struct {
		Subject
		Outcome string `json:"outcome"`        // kept, revoked
		Code    string `json:"code,omitempty"` // the refusal that the books would have given
	}
)

// The events of the reference shard.
type (
	// TitleWithdrawn: a title leaves the catalogue of some countries from a moment on.
	TitleWithdrawn struct {
		TitleID   string    `json:"title_id"`
		Countries []string  `json:"countries"` // ISO 3166 alpha-2; empty: everywhere
		From      time.Time `json:"from"`
		Reason    *Reason   `json:"reason,omitempty"`
	}

	// PolicyPublished: a version of a policy document, in force from a moment on.
	PolicyPublished struct {
		Policy        string    `json:"policy"`  // default, device-types
		Version       int       `json:"version"` // 1, 2, 3…
		EffectiveFrom time.Time `json:"effective_from"`
		Document      []byte    `json:"document"` // canonical JSON of the document
		Reason        *Reason   `json:"reason,omitempty"`
	}
)
