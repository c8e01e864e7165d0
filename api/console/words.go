package console

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"carryon/domain"
	"carryon/query"
)

// What is shown is said in words that can be read out to a customer. Codes stand beside them, for those who know them.

func functions(assets map[string]*asset) template.FuncMap {
	return template.FuncMap{
		"asset": func(name string) string { return "/assets/" + name + "?v=" + assets[name].hash },
		"path":  path, "date": date, "day": day, "iso": iso, "from": from, "span": span, "number": number, "humane": humane,
		"rule": ruleWords, "code": codeWords, "outcome": outcomeWords, "bytes": bytesWords, "join": strings.Join,
		"words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
		"dict":  dict, "list": func(items ...any) []any { return items }, "short": short, "event": eventWords, "kind": kindWords, "limitedBy": limitedByWords,
		"field": formField, "capital": capital,
		"deref": func(n *int64) int64 { return *n }, "add": func(a, b int) int { return a + b }, "percent": percent,
	}
}

// formField names the field of a form that the API names as it knows it: "query.device_type".
func formField(name string) string {
	for _, place := range []string{"query.", "body.", "path.", "header."} {
		name = strings.TrimPrefix(name, place)
	}
	switch name {
	case "reason.code":
		return "Reason"
	case "reason.case":
		return "Case"
	case "reason.text":
		return "Your words"
	case "tz":
		return "Time zone"
	}
	if words := fieldWords(name); words != "" {
		return words
	}
	name = strings.NewReplacer("_", " ", ".", " ").Replace(name)
	if name == "" {
		return name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// capital begins a sentence.
func capital(s string) string {
	if s == "" {
		return s
	}
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[n:]
}

// dict makes a map for a part of a page.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("a dict of %d values", len(pairs))
	}
	d := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("a dict with the name %v", pairs[i])
		}
		d[name] = pairs[i+1]
	}
	return d, nil
}

// instant takes a time or a pointer to one.
func instant(t any) (time.Time, bool) {
	switch at := t.(type) {
	case time.Time:
		return at, !at.IsZero()
	case *time.Time:
		if at != nil {
			return *at, !at.IsZero()
		}
	}
	return time.Time{}, false
}

// date is "3 Mar 2026, 14:05" in UTC, as the whole console says.
func date(t any) string {
	at, ok := instant(t)
	if !ok {
		return "–"
	}
	return at.UTC().Format("2 Jan 2006, 15:04")
}

func day(t any) string {
	at, ok := instant(t)
	if !ok {
		return "–"
	}
	return at.UTC().Format("2 Jan 2006")
}

func iso(t any) string {
	at, ok := instant(t)
	if !ok {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// from is how far a moment is from another: "in 3 days", "2 hours ago".
func from(now time.Time, t any) string {
	at, ok := instant(t)
	if !ok {
		return ""
	}
	d := at.Sub(now)
	switch {
	case d > -time.Minute && d < time.Minute:
		return "now"
	case d > 0:
		return "in " + length(d)
	}
	return length(-d) + " ago"
}

// length is a duration in its largest unit.
func length(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{365 * 24 * time.Hour, "year"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int64(d / unit.of); n > 0 {
			if n == 1 {
				return "1 " + unit.name
			}
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return "under a minute"
}

// span is a remaining duration: nil is unlimited.
func span(s *domain.Seconds) string {
	switch {
	case s == nil:
		return "unlimited"
	case *s <= 0:
		return "0"
	}
	total := time.Duration(*s) * time.Second
	days, hours, minutes := int(total.Hours())/24, int(total.Hours())%24, int(total.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %02d min", hours, minutes)
	}
	return fmt.Sprintf("%d min", max(minutes, 1))
}

// number is "12,345".
func number(n any) string {
	var text string
	switch n := n.(type) {
	case int:
		text = strconv.Itoa(n)
	case int64:
		text = strconv.FormatInt(n, 10)
	case uint64:
		text = strconv.FormatUint(n, 10)
	default:
		return fmt.Sprint(n)
	}
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "−", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 1, 64) + " %"
}

// humane is seconds as a person says them.
func humane(seconds float64) string {
	switch {
	case seconds <= 0:
		return "none"
	case seconds < 1:
		return fmt.Sprintf("%.0f ms", math.Ceil(seconds*1000))
	case seconds < 120:
		return fmt.Sprintf("%.1f s", seconds)
	}
	return length(time.Duration(seconds * float64(time.Second)))
}

func bytesWords(n int64) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// short is an id that fits a narrow place.
func short(id string) string {
	if len(id) <= 18 {
		return id
	}
	return id[:10] + "…" + id[len(id)-4:]
}

func ruleWords(rule string) string {
	words := map[string]string{
		domain.RuleMembership: "Membership", domain.RulePlan: "Plan allows downloads", domain.RuleTitleKnown: "Title is in the catalogue",
		domain.RuleDownloadable: "Title may be downloaded", domain.RuleWithdrawal: "Title not withdrawn", domain.RuleRegion: "Available in this country",
		domain.RuleProfile: "Profile’s maturity", domain.RuleDeviceType: "Device type", domain.RuleDeviceBlocked: "Device not blocked",
		domain.RulePlanQuality: "Quality in the plan", domain.RuleDeviceQuality: "Quality on the device", domain.RuleDevices: "Download devices",
		domain.RuleReplacements: "Devices replaced in 30 days", domain.RuleActivePerDevice: "Active downloads on the device", domain.RuleActivePerAccount: "Active downloads of the account",
		domain.RuleDownloadsPerMonth: "Downloads on the device this month", domain.RuleActivePerStudio: "Active downloads of the studio",
		domain.RuleDownloadsPerYear: "Downloads of the title in a year", domain.RulePlaysPerPeriod: "Plays of the title",
		domain.RuleReissues: "Licence given again", domain.RuleRevoked: "Licence not revoked", domain.RuleReleased: "Licence not given back",
		domain.RuleRenewableUntil: "Still renewable", domain.RuleMinRenewInterval: "Time since the last renewal", domain.RuleMaxRenewals: "Renewals of the licence",
	}
	if w, ok := words[rule]; ok {
		return w
	}
	return strings.ReplaceAll(rule, "_", " ")
}

func codeWords(code string) string { return query.RefusalWords(code) }

func outcomeWords(outcome string) string {
	switch outcome {
	case domain.RulePass:
		return "passes"
	case domain.RuleWarn:
		return "passes, last ones"
	case domain.RuleRefuse:
		return "refuses"
	case domain.RuleOverridden:
		return "excepted"
	}
	return outcome
}

func limitedByWords(part string) string {
	switch part {
	case domain.LimitedByRental:
		return "time to start watching"
	case domain.LimitedByPlayback:
		return "time to finish watching"
	case domain.LimitedByLicense:
		return "life of the licence"
	case domain.LimitedByWindow:
		return "title leaves the catalogue"
	case domain.LimitedByWithdrawal:
		return "title was withdrawn"
	case "":
		return "nothing"
	}
	return part
}

// eventWords parts "LicenseIssued" into "Licence issued".
func eventWords(kind string) string {
	var b strings.Builder
	for i, r := range kind {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return strings.Replace(b.String(), "License", "Licence", 1)
}

// forCustomer is what may be read out to the customer about a decision.
func forCustomer(d *domain.Decision, title string) string {
	if d.Outcome == domain.OutcomeGrant {
		for i := range d.Rules {
			if r := &d.Rules[i]; r.Outcome == domain.RuleWarn && r.Used != nil && r.Limit != nil {
				return fmt.Sprintf("Nothing is in the way of it. It would leave %d of %d (%s)%s.", max(0, *r.Limit-*r.Used-1), *r.Limit, strings.ToLower(ruleWords(r.Rule)), again(r, ", until "))
			}
		}
		return "Nothing is in the way of it: the same request would be granted now."
	}
	if title == "" {
		title = "this title"
	}
	i := slices.IndexFunc(d.Rules, func(r domain.RuleResult) bool { return r.Outcome == domain.RuleRefuse && r.Code == d.Code })
	if i < 0 {
		return codeWords(d.Code) + "."
	}
	r := &d.Rules[i]
	of := ""
	if r.Limit != nil {
		of = number(*r.Limit)
	}
	switch d.Code {
	case domain.CodeYearlyTitleLimit:
		return fmt.Sprintf("You have downloaded %s %s in a year, which is as often as its studio allows%s.", title, timesWords(r.Used), again(r, ". You can download it again from "))
	case domain.CodeDeviceLimitReached:
		return fmt.Sprintf("Your plan has room for downloads on %s devices, and all places are taken. Remove downloads from a device you no longer use, and this one gets its place.", of)
	case domain.CodeDeviceReplacementLimit:
		return fmt.Sprintf("You have changed devices %s in the last 30 days, which is as often as allowed%s.", timesWords(r.Used), again(r, ". Another change is possible from "))
	case domain.CodeActiveDownloadLimit:
		return fmt.Sprintf("There are already %s downloads on this device, and more do not fit your plan. Delete one that you have watched%s.", of, again(r, ", or wait until one ends on "))
	case domain.CodeMonthlyDownloadLimit:
		return fmt.Sprintf("This device has made its %s downloads of this month%s.", of, again(r, ". It can download again from "))
	case domain.CodeStudioLimitReached:
		return fmt.Sprintf("You hold %s downloads of this studio, which is as many as it allows at a time. Delete one of them%s.", of, again(r, ", or wait until one ends on "))
	case domain.CodePlayLimitReached:
		return fmt.Sprintf("%s has been played %s, which is as often as its studio allows%s.", title, timesWords(r.Used), again(r, ". It can be played again from "))
	case domain.CodeTitleWithdrawn, domain.CodeTitleNotDownloadable, domain.CodeTitleUnknown:
		return fmt.Sprintf("%s can’t be downloaded: it is not, or no longer, offered for download.", title)
	case domain.CodeRegionRestricted:
		return fmt.Sprintf("%s is not offered for download in the country you are in.", title)
	case domain.CodeMembershipInactive:
		return "Your membership is not active at the moment. Downloads work again as soon as it is."
	case domain.CodePlanNotEligible:
		return "Your plan does not include this."
	case domain.CodeProfileRestricted:
		return fmt.Sprintf("%s is not for the age that this profile is set to.", title)
	case domain.CodeDeviceBlocked:
		return "This device was blocked from downloading. We can look at why together."
	case domain.CodeDeviceTypeUnsupported:
		return "This kind of device can’t hold downloads."
	case domain.CodeReissueLimitReached:
		return fmt.Sprintf("%s was given to this device %s again already. Delete the download and start over.", title, timesWords(r.Used))
	case domain.CodeRenewalTooSoon:
		return fmt.Sprintf("This download was renewed only lately%s.", again(r, ". It can be renewed again from "))
	case domain.CodeRenewalLimitReached:
		return "This download has been renewed as often as allowed. Download it anew."
	case domain.CodeLicenseExpired, domain.CodeLicenseReleased, domain.CodeLicenseRevoked:
		return "This download has ended and can’t be renewed. Download it anew."
	}
	return codeWords(d.Code) + "."
}

func again(r *domain.RuleResult, words string) string {
	if r.ResetsAt == nil {
		return ""
	}
	return words + r.ResetsAt.UTC().Format("2 January 2006")
}

func timesWords(n *int64) string {
	switch {
	case n == nil:
		return "already"
	case *n == 1:
		return "once"
	case *n == 2:
		return "twice"
	}
	return number(*n) + " times"
}
