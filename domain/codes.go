package domain

import "slices"

// Refusal codes, one per limit.
const (
	CodeMembershipInactive     = "MEMBERSHIP_INACTIVE"
	CodePlanNotEligible        = "PLAN_NOT_ELIGIBLE"
	CodeTitleUnknown           = "TITLE_UNKNOWN"
	CodeTitleNotDownloadable   = "TITLE_NOT_DOWNLOADABLE"
	CodeTitleWithdrawn         = "TITLE_WITHDRAWN"
	CodeRegionRestricted       = "REGION_RESTRICTED"
	CodeProfileRestricted      = "PROFILE_RESTRICTED"
	CodeDeviceTypeUnsupported  = "DEVICE_TYPE_UNSUPPORTED"
	CodeDeviceBlocked          = "DEVICE_BLOCKED"
	CodeDeviceLimitReached     = "DEVICE_LIMIT_REACHED"
	CodeDeviceReplacementLimit = "DEVICE_REPLACEMENT_LIMIT"
	CodeActiveDownloadLimit    = "ACTIVE_DOWNLOAD_LIMIT"
	CodeMonthlyDownloadLimit   = "MONTHLY_DOWNLOAD_LIMIT"
	CodeStudioLimitReached     = "STUDIO_LIMIT_REACHED"
	CodeYearlyTitleLimit       = "YEARLY_TITLE_LIMIT"
	CodePlayLimitReached       = "PLAY_LIMIT_REACHED"
	CodeReissueLimitReached    = "REISSUE_LIMIT_REACHED"
	CodeLicenseRevoked         = "LICENSE_REVOKED"
	CodeLicenseReleased        = "LICENSE_RELEASED"
	CodeLicenseExpired         = "LICENSE_EXPIRED"
	CodeRenewalTooSoon         = "RENEWAL_TOO_SOON"
	CodeRenewalLimitReached    = "RENEWAL_LIMIT_REACHED"
)

// Names of the rules, as decisions list them. A limit has the name it has in the policy document.
const (
	RuleMembership        = "membership"
	RulePlan              = "plan"
	RuleTitleKnown        = "title_known"
	RuleDownloadable      = "downloadable"
	RuleWithdrawal        = "withdrawal"
	RuleRegion            = "region"
	RuleProfile           = "profile_maturity"
	RuleDeviceType        = "device_type"
	RuleDeviceBlocked     = "device_blocked"
	RulePlanQuality       = "plan_quality"
	RuleDeviceQuality     = "device_quality"
	RuleDevices           = "max_download_devices"
	RuleReplacements      = "device_replacements_per_30d"
	RuleActivePerDevice   = "max_active_per_device"
	RuleActivePerAccount  = "max_active_per_account"
	RuleDownloadsPerMonth = "max_downloads_per_device_month"
	RuleActivePerStudio   = "max_active_per_studio"
	RuleDownloadsPerYear  = "max_downloads_per_title_year"
	RulePlaysPerPeriod    = "max_plays_per_period"
	RuleReissues          = "max_reissues"
	RuleRevoked           = "license_not_revoked"
	RuleReleased          = "license_not_released"
	RuleRenewableUntil    = "renewable_until"
	RuleMinRenewInterval  = "min_renew_interval"
	RuleMaxRenewals       = "max_renewals"
)

// Commands that the rules decide.
const (
	CommandAcquire        = "acquire"
	CommandRenew          = "renew"
	CommandRegisterDevice = "register_device"
)

// Kinds of scope.
const (
	ScopeCustomer = "customer"
	ScopeDevice   = "device"
	ScopeTitle    = "title"
	ScopeStudio   = "studio"
	ScopeLicense  = "license"
)

// Reason codes: why a person did something.
const (
	ReasonLostDevice = "lost_device"
	ReasonChargeback = "chargeback"
	ReasonFraud      = "fraud"
	ReasonStudio     = "studio"
	ReasonCustomer   = "customer"
	ReasonOther      = "other"
)

// Outcomes of reconciling a fail-open grant.
const (
	ReconciledKept    = "kept"
	ReconciledRevoked = "revoked"
)

// Kinds of a reported play.
const (
	PlayStart = "start"
	PlayStop  = "stop"
)

// Triggers of an acquisition or renewal.
const (
	TriggerUser = "user"
	TriggerAuto = "auto"
)

// RefusalCodes are the codes that a decision can refuse with.
func RefusalCodes() []string {
	return []string{
		CodeMembershipInactive, CodePlanNotEligible, CodeTitleUnknown, CodeTitleNotDownloadable, CodeTitleWithdrawn, CodeRegionRestricted,
		CodeProfileRestricted, CodeDeviceTypeUnsupported, CodeDeviceBlocked, CodeDeviceLimitReached, CodeDeviceReplacementLimit,
		CodeActiveDownloadLimit, CodeMonthlyDownloadLimit, CodeStudioLimitReached, CodeYearlyTitleLimit, CodePlayLimitReached,
		CodeReissueLimitReached, CodeLicenseRevoked, CodeLicenseReleased, CodeLicenseExpired, CodeRenewalTooSoon, CodeRenewalLimitReached,
	}
}

// OverridableCodes are those that an exception may lift: the ones that count, not the ones that a contract, a law or
// the catalogue sets.
func OverridableCodes() []string {
	return []string{
		CodeDeviceLimitReached, CodeDeviceReplacementLimit, CodeActiveDownloadLimit, CodeMonthlyDownloadLimit, CodeStudioLimitReached,
		CodeYearlyTitleLimit, CodePlayLimitReached, CodeReissueLimitReached, CodeRenewalTooSoon, CodeRenewalLimitReached,
	}
}

func overridable(code string) bool {
	switch code {
	case CodeDeviceLimitReached, CodeDeviceReplacementLimit, CodeActiveDownloadLimit, CodeMonthlyDownloadLimit, CodeStudioLimitReached,
		CodeYearlyTitleLimit, CodePlayLimitReached, CodeReissueLimitReached, CodeRenewalTooSoon, CodeRenewalLimitReached:
		return true
	}
	return false
}

// ReasonCodes are the codes that a reason may have.
func ReasonCodes() []string {
	return []string{ReasonLostDevice, ReasonChargeback, ReasonFraud, ReasonStudio, ReasonCustomer, ReasonOther}
}

// brief is a reason without its words, for what follows from an act by the hundred: the act itself has them.
func (r *Reason) brief() *Reason {
	if r == nil {
		return nil
	}
	return &Reason{Code: r.Code, Case: r.Case}
}

// checkReasonIfAny is for an act that a program may do without a reason.
func checkReasonIfAny(r *Reason) error {
	if r == nil {
		return nil
	}
	return checkReason(*r)
}

func checkReason(r Reason) error {
	if r.Code == "" {
		return &FieldError{Field: "reason.code", Problem: "is missing"}
	}
	if !slices.Contains(ReasonCodes(), r.Code) {
		return &FieldError{Field: "reason.code", Problem: "is none of lost_device, chargeback, fraud, studio, customer, other"}
	}
	if len(r.Case) > MaxIDLength {
		return &FieldError{Field: "reason.case", Problem: "is longer than 128 bytes"}
	}
	return nil
}
