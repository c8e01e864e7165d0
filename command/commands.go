package command

import (
	"time"

	"carryon/domain"
)

// Meta is what every command carries.
type Meta struct {
	CommandID   string       // UUIDv7 (RFC 9562), the Idempotency-Key or one minted at the edge
	Minted      bool         // minted by us: the caller sent none
	Actor       domain.Actor // who, and in which role
	IfMatch     *uint64      // the stream's version that the caller has seen; nil: any
	Correlation string       // the request's id
}

// Result is the answer to a command, assembled from what was recorded, so that the same command id gets the same
// answer from any process, after any crash.
type Result struct {
	Stream   domain.StreamID
	Version  uint64           // the stream's seq after the command
	Position domain.Position  // of the last event; zero when nothing was recorded
	Events   []domain.Event   // recorded by this command; empty when nothing changed
	Decision *domain.Decision // for commands that the rules decide; Outcome tells whether it was refused
	License  *SignedLicense   // of a grant
	Repeated bool             // the answer of an earlier attempt or of an equal refusal
	Impact   *Touched         // of a dry run of a withdrawal or policy
}

// SignedLicense is a licence that a device can check offline against the published keys.
type SignedLicense struct {
	KeyID     string
	Payload   []byte // the exact bytes that were signed: JSON
	Signature []byte // Ed25519, 64 bytes
}

// The commands of a customer's stream.
type (
	// AcquireLicense asks for a licence for a title on a device.
	AcquireLicense struct {
		Meta
		Customer   string
		TitleID    string
		DeviceID   string
		DeviceType string
		DeviceName string // personal; sealed before it is recorded
		Country    string // where the customer is; empty: the home country
		ProfileID  string
		Maturity   string // of the profile: kids, teen, adult; empty: adult
		Trigger    string // user, auto; empty: user
		Quality    string
		SizeBytes  int64
		DryRun     bool // EvaluateLicense: decides without doing
	}
	// RenewLicense prolongs a licence.
	RenewLicense struct {
		Meta
		Customer, LicenseID string
		Country             string
		Trigger             string
		DryRun              bool
	}
	// ReleaseLicense gives a licence back; the device has yet to confirm that it destroyed it.
	ReleaseLicense struct {
		Meta
		Customer, LicenseID string
	}
	// ConfirmRelease is the device's record of destruction.
	ConfirmRelease struct {
		Meta
		Customer, LicenseID string
	}
	// RecordPlayback reports a play, perhaps late.
	RecordPlayback struct {
		Meta
		Customer, LicenseID string
		PlayID              string
		Kind                string // start, stop
		DeviceTime          time.Time
		PositionSeconds     int64
	}
	// RevokeLicense takes a licence back.
	RevokeLicense struct {
		Meta
		Customer, LicenseID string
		Reason              ReasonGiven
	}
	// RevokeAllForCustomer takes every licence back.
	RevokeAllForCustomer struct {
		Meta
		Customer string
		Reason   ReasonGiven
	}
	// RegisterDevice gives a device a slot, or changes its type or name.
	RegisterDevice struct {
		Meta
		Customer, DeviceID, DeviceType string
		Name                           string // personal; sealed before it is recorded
		Replaces                       string // the device that this one was before a reinstall
	}
	// RemoveDevice frees a device's slot. Support gives a reason; a customer need not.
	RemoveDevice struct {
		Meta
		Customer, DeviceID string
		Reason             *ReasonGiven
	}
	// BlockDevice keeps a device from getting anything.
	BlockDevice struct {
		Meta
		Customer, DeviceID string
		Reason             ReasonGiven
	}
	// UnblockDevice ends a block.
	UnblockDevice struct {
		Meta
		Customer, DeviceID string
		Reason             ReasonGiven
	}
	// ChangePlan sets plan and home country.
	ChangePlan struct {
		Meta
		Customer, Plan, Country string
	}
	// ChangeMembership sets the membership's state: active, on_hold, paused, cancelled.
	ChangeMembership struct {
		Meta
		Customer, State string
	}
	// GrantException allows what a limit would refuse, a number of times.
	GrantException struct {
		Meta
		Customer  string
		Code      string // the refusal code to override
		Scope     domain.Scope
		Uses      int
		ExpiresAt *time.Time
		Reason    ReasonGiven
	}
	// WithdrawException ends an exception before its time.
	WithdrawException struct {
		Meta
		Customer, ExceptionID string
		Reason                ReasonGiven
	}
)

// The commands of the reference shard.
type (
	// WithdrawTitle takes a title out of the catalogue of some countries from a moment on.
	WithdrawTitle struct {
		Meta
		TitleID   string
		Countries []string // empty: everywhere
		From      time.Time
		DryRun    bool // only tells who would be touched
	}
	// PublishPolicy puts a version of a policy document in force from a moment on.
	PublishPolicy struct {
		Meta
		Policy        string    // default, device-types
		Document      []byte    // JSON
		EffectiveFrom time.Time // zero: at once
		DryRun        bool
	}
)

// ReasonGiven is a reason as a person gives it, before its words are sealed.
type ReasonGiven struct {
	Code string // lost_device, chargeback, fraud, studio, customer, other
	Text string // personal
	Case string
}
