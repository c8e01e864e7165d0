package command

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"carryon/domain"
)

// What a command may hold. A value outside is refused with the field's name before anything is read or written, by
// whichever way the command came in.
const (
	MaxTextRunes       = 1000               // free text: a reason, a device's name
	MaxCaseBytes       = domain.MaxIDLength // a case number
	MaxActorBytes      = 256                // an actor's id
	MaxCorrelation     = 256                // bytes of a request id
	MaxSizeBytes       = 1 << 40            // of a download: one tebibyte
	MaxPositionSeconds = 1_000_000          // inside a title: more than eleven days
	MaxCountries       = 300                // of one withdrawal; ISO 3166 has about 250
	MaxDocumentBytes   = MaxEventBytes / 2  // of a policy, as sent: its event carries it in base64
)

// A time that a person names for something to begin or end lies within this of the present; further off, a clock or a
// unit is wrong.
const maxHorizon = 10 * 366 * 24 * time.Hour

var (
	reasonCodes = domain.ReasonCodes()
	maturities  = []string{domain.MaturityKids, domain.MaturityTeen, domain.MaturityAdult}
	qualities   = domain.Qualities()
	triggers    = []string{domain.TriggerUser, domain.TriggerAuto}
)

// FieldErrors are all the fields of a command that are wrong, at once.
type FieldErrors []*domain.FieldError

func (e FieldErrors) Error() string {
	parts := make([]string, len(e))
	for i, f := range e {
		parts[i] = f.Error()
	}
	return strings.Join(parts, "; ")
}

// Unwrap lets errors.As find each *domain.FieldError.
func (e FieldErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, f := range e {
		errs[i] = f
	}
	return errs
}

// invalid turns what the domain says of fields into FieldErrors; any other error stays as it is.
func invalid(err error, prefix string) error {
	if document, ok := errors.AsType[domain.DocumentErrors](err); ok {
		fields := make(FieldErrors, len(document))
		for i, e := range document {
			fields[i] = &domain.FieldError{Field: prefix + e.Field, Problem: e.Problem}
		}
		return fields
	}
	if _, ok := errors.AsType[FieldErrors](err); ok {
		return err
	}
	if e, ok := errors.AsType[*domain.FieldError](err); ok {
		return FieldErrors{{Field: prefix + e.Field, Problem: e.Problem}}
	}
	return err
}

// form collects what is wrong with a command's fields.
type form struct{ wrong FieldErrors }

func (f *form) add(field, format string, args ...any) {
	f.wrong = append(f.wrong, &domain.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

func (f *form) err() error {
	if len(f.wrong) == 0 {
		return nil
	}
	return f.wrong
}

// meta checks what every command carries, and puts the command id into its one form.
func (f *form) meta(m *Meta) {
	switch id, err := CanonicalCommandID(m.CommandID); {
	case m.CommandID == "":
		f.add("command_id", "is missing")
	case err != nil:
		f.add("command_id", "%v", err)
	default:
		m.CommandID = id
	}
	switch {
	case m.Actor.ID == "":
		f.add("actor", "is missing")
	case len(m.Actor.ID) > MaxActorBytes:
		f.add("actor", "is %d bytes long, at most %d are allowed", len(m.Actor.ID), MaxActorBytes)
	case !plain(m.Actor.ID):
		f.add("actor", "holds what can't be shown: bad UTF-8 or control characters")
	}
	switch m.Actor.Role {
	case domain.RoleDevice, domain.RoleService, domain.RoleSupport, domain.RoleOperator, domain.RoleSystem:
	default:
		f.add("role", "is %q, which may not command", string(m.Actor.Role))
	}
	if len(m.Correlation) > MaxCorrelation || !plain(m.Correlation) {
		f.add("correlation", "is longer than %d bytes, or holds what can't be shown", MaxCorrelation)
	}
}

func (f *form) id(field, id string) {
	if e, ok := errors.AsType[*domain.FieldError](domain.CheckID(field, id)); ok {
		f.wrong = append(f.wrong, e)
	}
}

func (f *form) optionalID(field, id string) {
	if id != "" {
		f.id(field, id)
	}
}

// choice wants one of the words; an empty one is left to the caller's default.
func (f *form) choice(field, word string, words ...string) {
	for _, w := range words {
		if word == w {
			return
		}
	}
	if word == "" {
		f.add(field, "is missing; it is one of %s", strings.Join(words, ", "))
		return
	}
	f.add(field, "is %q; it is one of %s", clip(word), strings.Join(words, ", "))
}

func (f *form) optionalChoice(field, word string, words ...string) {
	if word != "" {
		f.choice(field, word, words...)
	}
}

func (f *form) between(field string, n, low, high int64) {
	if n < low || n > high {
		f.add(field, "is %d; %d to %d are allowed", n, low, high)
	}
}

// country wants an ISO 3166-1 alpha-2 code in capital letters.
func (f *form) country(field, code string) {
	if code == "" {
		f.add(field, "is missing")
		return
	}
	if !IsCountry(code) {
		f.add(field, "is %q, which is no country: two capital letters of ISO 3166 are wanted, as in DE", clip(code))
	}
}

func (f *form) optionalCountry(field, code string) {
	if code != "" {
		f.country(field, code)
	}
}

// IsCountry tells whether a code is a country's in ISO 3166-1 alpha-2.
func IsCountry(code string) bool {
	if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
		return false
	}
	region, err := language.ParseRegion(code)
	return err == nil && region.IsCountry() && region.Canonicalize().String() == code // GB, not UK
}

// moment wants a time that can be meant: one that can be written in RFC 3339. How far off it may be is checked against
// the moment of the decision, because a repeat must get its first answer, however late it comes.
func (f *form) moment(field string, t time.Time) {
	if year := t.UTC().Year(); t.IsZero() || year < 1970 || year > 9999 {
		f.add(field, "is in the year %d; 1970 to 9999 are possible", year)
	}
}

// withinHorizon refuses a moment that is so far from now that a clock or a unit must be wrong.
func (f *form) withinHorizon(field string, t, now time.Time) {
	if t.Before(now.Add(-maxHorizon)) || t.After(now.Add(maxHorizon)) {
		f.add(field, "is %s, more than ten years from now (%s)", t.Format(time.RFC3339), now.Format(time.RFC3339))
	}
}

// endsInTime wants an end that is still to come.
func (f *form) endsInTime(field string, t *time.Time, now time.Time) {
	switch {
	case t == nil:
	case !t.After(now):
		f.add(field, "is %s, which has passed (it is %s)", t.Format(time.RFC3339), now.Format(time.RFC3339))
	default:
		f.withinHorizon(field, *t, now)
	}
}

// microseconds is t as it is recorded: UTC, cut to microseconds.
func microseconds(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC().Truncate(time.Microsecond)
	return &u
}

func orElse(word, other string) string {
	if word == "" {
		return other
	}
	return word
}

// text wants words that a person wrote: UTF-8, no control characters but line breaks and tabs.
func (f *form) text(field, words string) {
	if len(words) <= MaxTextRunes && plainASCII(words) {
		return
	}
	if !utf8.ValidString(words) {
		f.add(field, "is not UTF-8")
		return
	}
	if n := utf8.RuneCountInString(words); n > MaxTextRunes {
		f.add(field, "is %d characters long, at most %d are allowed", n, MaxTextRunes)
	}
	for _, r := range words {
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' || reorders(r) {
			f.add(field, "holds the control character %U", r)
			return
		}
	}
}

// reorders tells whether a character makes what follows be shown in another order than it is written.
func reorders(r rune) bool { return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' }

// line wants words that stand in a line of their own, as a name does.
func (f *form) line(field, words string) {
	f.text(field, words)
	if i := strings.IndexAny(words, "\n\r\t\u2028\u2029"); i >= 0 {
		f.add(field, "is more than one line")
	}
}

// reason wants what a person must give for an act: a known code, and words and a case number where there are some.
func (f *form) reason(field string, r ReasonGiven) {
	f.choice(field+".code", r.Code, reasonCodes...)
	f.text(field+".text", r.Text)
	if len(r.Case) > MaxCaseBytes || !plain(r.Case) {
		f.add(field+".case", "is longer than %d bytes, or holds what can't be shown", MaxCaseBytes)
	}
}

// reasonOf wants a reason of whoever is a person: support and operators give one for every act, a device or a service
// may.
func (f *form) reasonOf(role domain.Role, field string, r *ReasonGiven) {
	switch {
	case r != nil:
		f.reason("reason", *r)
	case role == domain.RoleSupport, role == domain.RoleOperator:
		f.add(field, "is missing: support and operators give one for every act, its code one of %s", strings.Join(reasonCodes, ", "))
	}
}

// deviceTime wants a moment that can be written in RFC 3339. A clock that is years off is no mistake of the request:
// the play is recorded and the clock flagged.
func (f *form) deviceTime(field string, t time.Time) {
	switch {
	case t.IsZero():
		f.add(field, "is missing")
	case t.UTC().Year() < 1970 || t.UTC().Year() > 9999:
		f.add(field, "is in the year %d; 1970 to 9999 are possible", t.UTC().Year())
	}
}

func plain(s string) bool {
	if plainASCII(s) {
		return true
	}
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, unicode.IsControl)
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// clip keeps a caller's nonsense short in an error.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
