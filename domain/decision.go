package domain

import "time"

// Decision is a value: every rule that was looked at, in order, with what it read and what came of it. The same
// function makes it for a real request, a dry run, an explanation of an old refusal, and a replay of history under
// another policy.
type Decision struct {
	ID              string       `json:"id"`             // derived from the command id
	Command         string       `json:"command"`        // acquire, renew, register_device, …
	Outcome         string       `json:"outcome"`        // grant, refuse
	Code            string       `json:"code,omitempty"` // of the first rule that refuses
	DecidedAt       time.Time    `json:"decided_at"`
	CustomerVersion uint64       `json:"customer_version"` // the stream's seq that it was decided on
	Versions        Versions     `json:"versions"`
	Request         Request      `json:"request"`
	Rules           []RuleResult `json:"rules"`
	Remedies        []Remedy     `json:"remedies,omitempty"` // what would help; each was proved by a dry run
}

// Outcomes of a decision.
const (
	OutcomeGrant  = "grant"
	OutcomeRefuse = "refuse"
)

// Request is what was asked, as far as the rules read it.
type Request struct {
	DeviceID   string `json:"device_id,omitempty"`
	DeviceType string `json:"device_type,omitempty"`
	TitleID    string `json:"title_id,omitempty"`
	LicenseID  string `json:"license_id,omitempty"`
	Country    string `json:"country,omitempty"` // where the customer is, if the caller knows
	ProfileID  string `json:"profile_id,omitempty"`
	Maturity   string `json:"maturity,omitempty"` // of the profile
	Trigger    string `json:"trigger,omitempty"`
	Quality    string `json:"quality,omitempty"`
	SizeBytes  int64  `json:"size_bytes,omitempty"`
	Replaces   string `json:"replaces,omitempty"`
}

// RuleResult is what one rule read and what came of it.
type RuleResult struct {
	Rule      string     `json:"rule"`                // the limit's name, as in max_active_per_device
	Code      string     `json:"code"`                // the refusal code that belongs to it
	Scope     Scope      `json:"scope"`               // what the rule counted over
	Source    string     `json:"source,omitempty"`    // where the limit comes from, as in "plan standard" or "studio aurora"
	Used      *int64     `json:"used,omitempty"`      // before this request
	Limit     *int64     `json:"limit,omitempty"`     // nil: unlimited, or a rule without a count
	ResetsAt  *time.Time `json:"resets_at,omitempty"` // when a place comes free by itself
	Outcome   string     `json:"outcome"`             // pass, warn, refuse, overridden
	Exception string     `json:"exception,omitempty"` // that overrode it
	Detail    string     `json:"detail,omitempty"`    // in plain words, where the numbers do not say it
	HeldBy    []Holder   `json:"held_by,omitempty"`
}

// Outcomes of a rule.
const (
	RulePass       = "pass"
	RuleWarn       = "warn"
	RuleRefuse     = "refuse"
	RuleOverridden = "overridden"
)

// Scope is what a rule or exception covers.
type Scope struct {
	Kind string `json:"kind,omitempty"` // customer, device, title, studio, license
	ID   string `json:"id,omitempty"`
}

// Holder is a device or licence that holds one of the places a limit counts.
type Holder struct {
	Kind      string     `json:"kind"` // device, license
	ID        string     `json:"id"`
	DeviceID  string     `json:"device_id,omitempty"` // of a licence
	TitleID   string     `json:"title_id,omitempty"`
	TitleName string     `json:"title_name,omitempty"`
	Until     *time.Time `json:"until,omitempty"` // when the place comes free by itself
}

// Remedy is something that would let the same request pass. It was proved by a dry run before it was offered.
type Remedy struct {
	Action string     `json:"action"` // remove_device, release_license, wait, unblock_device, grant_exception, change_plan, renew_instead …
	Kind   string     `json:"kind,omitempty"`
	ID     string     `json:"id,omitempty"`
	At     *time.Time `json:"at,omitempty"` // for wait: from when
	Who    Role       `json:"who"`          // who can do it
}
