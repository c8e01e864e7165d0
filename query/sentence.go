package query

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"carryon/domain"
)

// Sentence says in plain words what an event says. It holds no personal words: those are shown beside it.
func Sentence(e *domain.Event, data domain.Payload) string {
	switch p := data.(type) {
	case *domain.LicenseIssued:
		basis := ""
		if p.Basis == domain.BasisFailOpen {
			basis = ", while the books could not be read"
		}
		return fmt.Sprintf("Downloaded %s on device %s%s%s%s.", titled(&p.Subject), p.DeviceID, until(p.ExpiresAt), basis, left(&p.Decision))
	case *domain.LicenseReissued:
		return fmt.Sprintf("Gave the licence for %s to device %s again (re-issue %d)%s.", titled(&p.Subject), p.DeviceID, p.Reissue, until(p.ExpiresAt))
	case *domain.LicenseRenewed:
		return fmt.Sprintf("Renewed %s on device %s (renewal %d)%s%s.", titled(&p.Subject), p.DeviceID, p.Renewal, until(p.ExpiresAt), left(&p.Decision))
	case *domain.LicenseDenied:
		return deniedSentence(p)
	case *domain.LicenseReleased:
		return fmt.Sprintf("The licence for %s on device %s was released%s%s%s.", titled(&p.Subject), p.DeviceID, releaseCause(p.Cause), because(p.Reason), removalWords(p.Removal))
	case *domain.ReleaseConfirmed:
		return fmt.Sprintf("Device %s confirmed that %s is gone from it%s.", p.DeviceID, titled(&p.Subject), because(p.Reason))
	case *domain.LicenseRevoked:
		return fmt.Sprintf("The licence for %s on device %s was revoked%s.", titled(&p.Subject), p.DeviceID, because(&p.Reason))
	case *domain.LicenseExpired:
		return fmt.Sprintf("The licence for %s on device %s ended on %s%s.", titled(&p.Subject), p.DeviceID, moment(p.ExpiredAt), limitedBy(p.LimitedBy))
	case *domain.PlaybackStarted:
		return fmt.Sprintf("Device %s began to play %s on %s%s.", p.DeviceID, titled(&p.Subject), moment(p.At), playNotes(p))
	case *domain.PlaybackStopped:
		return fmt.Sprintf("Device %s stopped playing %s on %s.", p.DeviceID, titled(&p.Subject), moment(p.At))
	case *domain.ContentDownloaded:
		return fmt.Sprintf("The download of %s counts.", titled(&p.Subject))
	case *domain.ContentRenewed:
		if p.CountsAsDownload {
			return fmt.Sprintf("The renewal of %s counts as a download of this year.", titled(&p.Subject))
		}
		return fmt.Sprintf("The renewal of %s counts.", titled(&p.Subject))
	case *domain.ContentPlayed:
		return fmt.Sprintf("The play of %s counts.", titled(&p.Subject))
	case *domain.DeviceRegistered:
		return registeredSentence(p)
	case *domain.DeviceRemoved:
		words := ""
		if p.ReplacedBy != "" {
			words = ", replaced by " + p.ReplacedBy
		}
		return fmt.Sprintf("Device %s gave up its place%s%s.", p.DeviceID, words, because(p.Reason))
	case *domain.DeviceBlocked:
		return fmt.Sprintf("Device %s was blocked%s.", p.DeviceID, because(&p.Reason))
	case *domain.DeviceUnblocked:
		return fmt.Sprintf("Device %s was unblocked%s.", p.DeviceID, because(&p.Reason))
	case *domain.ExceptionGranted:
		return fmt.Sprintf("“%s” may be passed %s%s%s%s.", RefusalWords(p.Code), times(p.Uses), forScope(p.Scope), until(p.ExpiresAt), because(&p.Reason))
	case *domain.ExceptionUsed:
		return fmt.Sprintf("Exception %s let “%s” be passed; %s left.", p.ExceptionID, RefusalWords(p.Code), plural(int64(p.UsesLeft), "use is", "uses are"))
	case *domain.ExceptionWithdrawn:
		return fmt.Sprintf("Exception %s was withdrawn%s.", p.ExceptionID, because(&p.Reason))
	case *domain.PlanChanged:
		return fmt.Sprintf("The plan is now %s in %s%s%s.", p.Plan, p.Country, before(p.PreviousPlan, p.PreviousCountry), because(p.Reason))
	case *domain.MembershipChanged:
		return fmt.Sprintf("The membership is now %s%s%s.", p.State, before(p.Previous), because(p.Reason))
	case *domain.GrantReconciled:
		if p.Outcome == "revoked" {
			return fmt.Sprintf("The grant of %s made without the books was settled: revoked, because of “%s”.", titled(&p.Subject), RefusalWords(p.Code))
		}
		return fmt.Sprintf("The grant of %s made without the books was settled: %s.", titled(&p.Subject), p.Outcome)
	case *domain.TitleWithdrawn:
		where := "everywhere"
		if len(p.Countries) > 0 {
			where = "in " + list(p.Countries)
		}
		return fmt.Sprintf("Title %s leaves the catalogue %s on %s%s.", p.TitleID, where, moment(p.From), because(p.Reason))
	case *domain.PolicyPublished:
		return fmt.Sprintf("Version %d of policy %s is in force from %s%s.", p.Version, p.Policy, moment(p.EffectiveFrom), because(p.Reason))
	}
	return e.Type + "."
}

func deniedSentence(p *domain.LicenseDenied) string {
	return refusalSentence(p.Command, p.Code, &p.Subject, RefusingRule(&p.Decision))
}

func refusalSentence(command, code string, s *domain.Subject, rule *domain.RuleResult) string {
	what := "The request was refused"
	switch {
	case command == domain.CommandAcquire:
		what = fmt.Sprintf("Refused to download %s on device %s", titled(s), s.DeviceID)
	case command == domain.CommandRenew:
		what = fmt.Sprintf("Refused to renew %s on device %s", titled(s), s.DeviceID)
	case s.DeviceID != "":
		what = fmt.Sprintf("Refused to register device %s", s.DeviceID)
	}
	return what + ": " + reason(code) + numbers(rule) + "."
}

// RefusingRule is the rule that a refusal names, nil when there is none.
func RefusingRule(d *domain.Decision) *domain.RuleResult {
	for i := range d.Rules {
		if d.Rules[i].Outcome == domain.RuleRefuse && (d.Code == "" || d.Rules[i].Code == d.Code) {
			return &d.Rules[i]
		}
	}
	return nil
}

// numbers is " (3 of 3 used, again from 1 Mar 2026, 00:00 UTC)".
func numbers(r *domain.RuleResult) string {
	if r == nil {
		return ""
	}
	var parts []string
	if r.Used != nil && r.Limit != nil {
		parts = append(parts, fmt.Sprintf("%d of %d used", *r.Used, *r.Limit))
	}
	if r.ResetsAt != nil {
		parts = append(parts, "again from "+moment(*r.ResetsAt))
	}
	if len(parts) == 0 && r.Detail != "" {
		parts = append(parts, r.Detail)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// left is what a grant leaves of the title's downloads of a year: ": 1 of 2 downloads left until 3 Mar 2026, 00:00 UTC". The
// next place comes free then. Other limits are told of when they are nearly reached.
func left(d *domain.Decision) string {
	words := ""
	for i := range d.Rules {
		r := &d.Rules[i]
		switch {
		case r.Rule == domain.RuleDownloadsPerYear && r.Used != nil && r.Limit != nil:
			words = fmt.Sprintf(": %d of %s left", max(0, *r.Limit-*r.Used-1), plural(*r.Limit, "download", "downloads")) + until(r.ResetsAt) + words
		case r.Outcome == domain.RuleWarn && r.Detail != "":
			words += "; " + r.Detail
		}
	}
	return words
}

func registeredSentence(p *domain.DeviceRegistered) string {
	words := ""
	if p.DeviceType != "" {
		words += " of type " + p.DeviceType
	}
	if p.UnknownType {
		words += " (unknown: default rules apply)"
	}
	if p.Replaces != "" {
		words += " in place of " + p.Replaces
	}
	if p.Implicit {
		words += " with its first request"
	}
	return fmt.Sprintf("Device %s%s took a place.", p.DeviceID, words)
}

func titled(s *domain.Subject) string {
	name := s.TitleName
	if name == "" {
		name = s.TitleID
	}
	if s.Series != "" && !strings.HasPrefix(name, s.Series) { // most names of episodes say it all
		return fmt.Sprintf("“%s” (%s, season %d, episode %d)", name, s.Series, s.Season, s.Episode)
	}
	return "“" + name + "”"
}

func moment(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 MST") }

func until(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " until " + moment(*t)
}

// ReasonWords tell a reason code after "because of".
func ReasonWords(code string) string {
	switch code {
	case domain.ReasonLostDevice:
		return "a lost device"
	case domain.ReasonChargeback:
		return "a chargeback"
	case domain.ReasonStudio:
		return "the studio"
	case domain.ReasonCustomer:
		return "the customer’s wish"
	case domain.ReasonOther:
		return "something else"
	}
	return strings.ReplaceAll(code, "_", " ")
}

func because(r *domain.Reason) string {
	if r == nil || r.Code == "" {
		return ""
	}
	words := ", because of " + ReasonWords(r.Code)
	if r.Case != "" {
		words += caseWords(r.Case)
	}
	return words
}

func before(values ...string) string {
	var known []string
	for _, v := range values {
		if v != "" {
			known = append(known, v)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return " (before: " + strings.Join(known, " in ") + ")"
}

func releaseCause(cause string) string {
	switch cause {
	case domain.CauseDeviceRemoved:
		return " with the removal of the device"
	case domain.CauseDeviceReplaced:
		return " because the device was replaced"
	case domain.CausePlanDowngrade:
		return " by the change to a smaller plan"
	}
	return ""
}

func removalWords(removal string) string {
	if removal == domain.RemovalPending {
		return "; the device has yet to confirm"
	}
	return ""
}

func limitedBy(part string) string {
	switch part {
	case domain.LimitedByRental:
		return ", not watched in time"
	case domain.LimitedByPlayback:
		return ", begun but not finished in time"
	case domain.LimitedByLicense:
		return ", at the end of its life"
	case domain.LimitedByWindow, domain.LimitedByWithdrawal:
		return ", because the title left the catalogue"
	}
	return ""
}

func playNotes(p *domain.PlaybackStarted) string {
	var notes []string
	if p.ClockSuspect {
		notes = append(notes, "the device's clock said "+moment(p.DeviceTime)+", which can't be")
	}
	if p.FirstPlay && p.ExpiresAt != nil {
		notes = append(notes, "so it may be finished until "+moment(*p.ExpiresAt))
	}
	if p.AfterEnd {
		notes = append(notes, "after the licence had ended")
	}
	if p.Unremembered {
		notes = append(notes, "reported too late to be counted")
	}
	if len(notes) == 0 {
		return ""
	}
	return "; " + strings.Join(notes, "; ")
}

func forScope(s domain.Scope) string {
	if s.ID == "" {
		return ""
	}
	return " for " + ScopeWords(s)
}

// ScopeWords is a scope with its id, inside a sentence.
func ScopeWords(s domain.Scope) string {
	if s.Kind == domain.ScopeLicense {
		return "licence " + s.ID
	}
	return s.Kind + " " + s.ID
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// RefusalWords says a refusal's code in plain words, with a capital letter.
func RefusalWords(code string) string {
	words, ok := refusalWords[code]
	if !ok {
		return code
	}
	return words
}

// reason is RefusalWords inside a sentence.
func reason(code string) string {
	words, ok := refusalWords[code]
	if !ok {
		return cmp.Or(code, "not allowed")
	}
	return strings.ToLower(words[:1]) + words[1:]
}

var refusalWords = map[string]string{
	domain.CodeMembershipInactive:     "Membership is not active",
	domain.CodePlanNotEligible:        "Not in the plan",
	domain.CodeTitleUnknown:           "Title unknown",
	domain.CodeTitleNotDownloadable:   "Title can’t be downloaded",
	domain.CodeTitleWithdrawn:         "Title withdrawn",
	domain.CodeRegionRestricted:       "Not in this country",
	domain.CodeProfileRestricted:      "Not for this profile",
	domain.CodeDeviceTypeUnsupported:  "Device type not supported",
	domain.CodeDeviceBlocked:          "Device blocked",
	domain.CodeDeviceLimitReached:     "Too many devices",
	domain.CodeDeviceReplacementLimit: "Too many devices replaced",
	domain.CodeActiveDownloadLimit:    "Device is full",
	domain.CodeMonthlyDownloadLimit:   "Monthly limit of the device",
	domain.CodeStudioLimitReached:     "Studio’s limit",
	domain.CodeYearlyTitleLimit:       "Title’s yearly limit",
	domain.CodePlayLimitReached:       "Title’s limit of plays",
	domain.CodeReissueLimitReached:    "Given again too often",
	domain.CodeLicenseRevoked:         "Licence revoked",
	domain.CodeLicenseReleased:        "Licence given back",
	domain.CodeLicenseExpired:         "Licence expired",
	domain.CodeRenewalTooSoon:         "Renewed too soon",
	domain.CodeRenewalLimitReached:    "Renewed too often",
}

func caseWords(number string) string { return " (case " + number + ")" }
