package query

import (
	"time"

	"carryon/domain"
)

// What is shown of a customer's state, made by the domain from the folded state.
type (
	// CustomerSummary is plan, membership, slots and counters.
	CustomerSummary struct {
		Customer   string    `json:"customer"`
		Plan       string    `json:"plan,omitempty"`
		Country    string    `json:"country,omitempty"`
		Membership string    `json:"membership"`
		Devices    Counter   `json:"devices"` // slots used and their limit
		Counters   []Counter `json:"counters"`
		Suspect    []string  `json:"flags,omitempty"` // fail_open, clock_suspect
	}
	// Counter is a limit with what is used of it.
	Counter struct {
		Rule     string       `json:"rule"`
		Scope    domain.Scope `json:"scope"`
		Used     int64        `json:"used"`
		Limit    *int64       `json:"limit,omitempty"` // absent: unlimited
		ResetsAt *time.Time   `json:"resets_at,omitempty"`
	}
	// DeviceView is a device.
	DeviceView struct {
		DeviceID     string        `json:"device_id"`
		DeviceType   string        `json:"device_type,omitempty"`
		DeviceFamily string        `json:"device_family,omitempty"`
		Status       string        `json:"status"` // active, blocked, removed
		SealedName   domain.Sealed `json:"-"`
		RegisteredAt *time.Time    `json:"registered_at,omitempty"`
		RemovedAt    *time.Time    `json:"removed_at,omitempty"`
		LastContact  *time.Time    `json:"last_contact,omitempty"`
		ClockSuspect bool          `json:"clock_suspect"`
		Active       int           `json:"active_licenses"`
	}
	// LicenseView is a licence with both remaining durations.
	LicenseView struct {
		LicenseID     string     `json:"license_id"`
		DeviceID      string     `json:"device_id"`
		TitleID       string     `json:"title_id"`
		TitleName     string     `json:"title_name,omitempty"`
		Status        string     `json:"status"` // active, expired, released, revoked
		IssuedAt      time.Time  `json:"issued_at"`
		PlayableUntil *time.Time `json:"playable_until,omitempty"` // absent: unlimited
		LimitedBy     string     `json:"limited_by,omitempty"`
		Removal       string     `json:"removal"`
		WillStopAt    *time.Time `json:"will_stop_at,omitempty"`
		Basis         string     `json:"basis"`
	}
	// ExceptionView is something that support has allowed.
	ExceptionView struct {
		ExceptionID string        `json:"exception_id"`
		Code        string        `json:"code"`
		Scope       domain.Scope  `json:"scope"`
		Uses        int           `json:"uses"`
		UsesLeft    int           `json:"uses_left"`
		Status      string        `json:"status"` // active, used, expired, withdrawn
		GrantedAt   time.Time     `json:"granted_at"`
		ExpiresAt   *time.Time    `json:"expires_at,omitempty"`
		Reason      domain.Reason `json:"reason"`
	}
	// StateView is the whole state.
	StateView struct {
		Summary    CustomerSummary `json:"customer"`
		Devices    []DeviceView    `json:"devices"`
		Licenses   []LicenseView   `json:"licenses"`
		Exceptions []ExceptionView `json:"exceptions"`
	}
)
