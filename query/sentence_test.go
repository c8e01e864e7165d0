package query_test

import (
	"testing"
	"time"

	"carryon/domain"
	"carryon/query"
)

func TestSentencesCanBeReadOutToACustomer(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)
	one, two := int64(1), int64(2)
	title := domain.Subject{LicenseID: "l", DeviceID: "kitchen", TitleID: "t1", TitleName: "The Mother"}
	year := domain.RuleResult{Rule: domain.RuleDownloadsPerYear, Used: &one, Limit: &two, ResetsAt: &at, Outcome: domain.RuleWarn, Detail: "this is the last download until 2026-03-03"}
	places := domain.RuleResult{Rule: domain.RuleDevices, Code: domain.CodeDeviceLimitReached, Used: &two, Limit: &two, Outcome: domain.RuleRefuse}
	granted := domain.Decision{Outcome: domain.OutcomeGrant, Rules: []domain.RuleResult{year}}
	refused := domain.Decision{Outcome: domain.OutcomeRefuse, Code: domain.CodeDeviceLimitReached, Rules: []domain.RuleResult{places}}
	why := &domain.Reason{Code: "chargeback", Text: "sealed", Case: "C-2"}
	for _, c := range []struct {
		data domain.Payload
		want string
	}{
		{&domain.LicenseIssued{Subject: title, ExpiresAt: &at, Decision: granted}, "Downloaded “The Mother” on device kitchen until 3 Mar 2026, 00:00 UTC: 0 of 2 downloads left until 3 Mar 2026, 00:00 UTC."},
		{&domain.LicenseRenewed{Subject: title, Renewal: 1, Decision: granted}, "Renewed “The Mother” on device kitchen (renewal 1): 0 of 2 downloads left until 3 Mar 2026, 00:00 UTC."},
		{&domain.LicenseDenied{Command: domain.CommandAcquire, Code: domain.CodeDeviceLimitReached, Subject: title, Decision: refused}, "Refused to download “The Mother” on device kitchen: too many devices (2 of 2 used)."},
		{&domain.LicenseDenied{Command: domain.CommandRenew, Code: "A_NEW_CODE", Subject: title}, "Refused to renew “The Mother” on device kitchen: A_NEW_CODE."},
		{&domain.LicenseExpired{Subject: title, ExpiredAt: at, LimitedBy: domain.LimitedByPlayback}, "The licence for “The Mother” on device kitchen ended on 3 Mar 2026, 00:00 UTC, begun but not finished in time."},
		{&domain.ExceptionGranted{Code: domain.CodeYearlyTitleLimit, Uses: 1, Reason: domain.Reason{Code: "customer", Case: "C-1"}}, "“Title’s yearly limit” may be passed once, because of the customer’s wish (case C-1)."},
		{&domain.PlanChanged{Plan: "ads", Country: "DE", PreviousPlan: "premium", Reason: why}, "The plan is now ads in DE (before: premium), because of a chargeback (case C-2)."},
		{&domain.MembershipChanged{State: "cancelled", Previous: "active", Reason: why}, "The membership is now cancelled (before: active), because of a chargeback (case C-2)."},
		{&domain.LicenseReleased{Subject: title, Cause: domain.CauseDevice, Removal: domain.RemovalPending, Reason: why}, "The licence for “The Mother” on device kitchen was released, because of a chargeback (case C-2); the device has yet to confirm."},
		{&domain.ReleaseConfirmed{Subject: title, Reason: why}, "Device kitchen confirmed that “The Mother” is gone from it, because of a chargeback (case C-2)."},
		{&domain.PolicyPublished{Policy: "default", Version: 2, EffectiveFrom: at, Reason: why}, "Version 2 of policy default is in force from 3 Mar 2026, 00:00 UTC, because of a chargeback (case C-2)."},
		{&domain.MembershipChanged{State: "paused", Previous: "active"}, "The membership is now paused (before: active)."},
	} {
		if got := query.Sentence(&domain.Event{}, c.data); got != c.want {
			t.Errorf("%s\n\tgot  %s\n\twant %s", c.data.EventType(), got, c.want)
		}
	}
}

func TestEveryRefusalHasWords(t *testing.T) {
	t.Parallel()
	for _, code := range domain.RefusalCodes() {
		if query.RefusalWords(code) == code {
			t.Errorf("%s has no words", code)
		}
	}
}
