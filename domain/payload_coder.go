package domain

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// The payloads that come with nearly every command are written and read by one description of their layout (their walk),
// so that the two can't part, and several times as fast as by reflection: a decision has some 150 fields. The bytes are
// those of encoding/json, and what is read is what encoding/json would read; anything out of the ordinary (an escape, a
// space, a field in another place) is left to it. The walk of a payload repeats the tags of its struct; the tests
// compare the two for every field and for fuzzed bytes.
//
// A kept field is written even when it is empty.
type payloadCoder interface {
	text(name string, s *string)
	keptText(name string, s *string)
	number(name string, n *int64)
	keptNumber(name string, n *int64)
	pointedNumber(name string, n **int64)
	int(name string, n *int)
	keptInt(name string, n *int)
	keptSeq(name string, n *uint64)
	flag(name string, b *bool)
	keptFlag(name string, b *bool)
	keptMoment(name string, t *time.Time)
	pointedMoment(name string, t **time.Time)

	open(name string)                        // an object; without a name: in a list, or the whole
	openPointed(name string, have bool) bool // false: there is none
	close()
	openList(name string, have int) bool // false: there is none
	openKeptList(name string, have int) bool
	more(i, have int) bool // ends the list when it says no
	passedRest() bool      // who reads has no use for the rest of this object, the last of the payload, and passed over it
}

// walker is a payload with a walk.
type walker interface {
	Payload
	walk(payloadCoder)
}

// walkList walks a list that is left out when it is empty.
func walkList[T any](c payloadCoder, name string, list *[]T, walk func(payloadCoder, *T)) {
	if c.openList(name, len(*list)) {
		walkItems(c, list, walk)
	}
}

// walkKeptList walks a list that is always there, and that holds about so many.
func walkKeptList[T any](c payloadCoder, name string, list *[]T, about int, walk func(payloadCoder, *T)) {
	if !c.openKeptList(name, len(*list)) {
		return
	}
	if *list == nil { // reading
		*list = make([]T, 0, about)
	}
	walkItems(c, list, walk)
}

func walkItems[T any](c payloadCoder, list *[]T, walk func(payloadCoder, *T)) {
	for i := 0; c.more(i, len(*list)); i++ {
		if i == len(*list) { // reading
			var item T
			*list = append(*list, item)
		}
		c.open("")
		walk(c, &(*list)[i])
		c.close()
	}
}

var payloadBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

const maxPooledPayload = 64 << 10

// writeWalked writes a payload; false leaves it to encoding/json.
func writeWalked(p walker) ([]byte, bool) {
	buffer, _ := payloadBuffers.Get().(*[]byte)
	w := payloadWriter{out: (*buffer)[:0]}
	w.open("")
	p.walk(&w)
	w.close()
	raw := slices.Clone(w.out)
	if cap(w.out) <= maxPooledPayload {
		*buffer = w.out
		payloadBuffers.Put(buffer)
	}
	return raw, !w.odd
}

// payloadWriter appends JSON to out.
type payloadWriter struct {
	out []byte
	odd bool
}

func (w *payloadWriter) name(name string) {
	if w.out[len(w.out)-1] != '{' {
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, '"')
	w.out = append(w.out, name...)
	w.out = append(w.out, '"', ':')
}

func (w *payloadWriter) text(name string, s *string) {
	if *s != "" {
		w.keptText(name, s)
	}
}

func (w *payloadWriter) keptText(name string, s *string) {
	w.name(name)
	if isPlainText(*s) {
		w.out = append(w.out, '"')
		w.out = append(w.out, *s...)
		w.out = append(w.out, '"')
		return
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(*s); err != nil {
		w.odd = true
	}
	w.out = append(w.out, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// isPlainText tells whether JSON writes a text as it is.
func isPlainText(s string) bool {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == '\\':
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || utf8.ValidString(s) && !strings.ContainsAny(s, "\u2028\u2029")
}

func (w *payloadWriter) number(name string, n *int64) {
	if *n != 0 {
		w.keptNumber(name, n)
	}
}

func (w *payloadWriter) keptNumber(name string, n *int64) {
	w.name(name)
	w.out = strconv.AppendInt(w.out, *n, 10)
}

func (w *payloadWriter) pointedNumber(name string, n **int64) {
	if *n != nil {
		w.keptNumber(name, *n)
	}
}

func (w *payloadWriter) int(name string, n *int) {
	if *n != 0 {
		w.keptInt(name, n)
	}
}

func (w *payloadWriter) keptInt(name string, n *int) {
	w.name(name)
	w.out = strconv.AppendInt(w.out, int64(*n), 10)
}

func (w *payloadWriter) keptSeq(name string, n *uint64) {
	w.name(name)
	w.out = strconv.AppendUint(w.out, *n, 10)
}

func (w *payloadWriter) flag(name string, b *bool) {
	if *b {
		w.keptFlag(name, b)
	}
}

func (w *payloadWriter) keptFlag(name string, b *bool) {
	w.name(name)
	w.out = strconv.AppendBool(w.out, *b)
}

func (w *payloadWriter) keptMoment(name string, t *time.Time) {
	w.name(name)
	w.out = append(w.out, '"')
	out, err := t.AppendText(w.out)
	if err != nil {
		w.odd = true // encoding/json says what is wrong
		return
	}
	w.out = append(out, '"')
}

func (w *payloadWriter) pointedMoment(name string, t **time.Time) {
	if *t != nil {
		w.keptMoment(name, *t)
	}
}

func (w *payloadWriter) open(name string) {
	if name != "" {
		w.name(name)
	}
	w.out = append(w.out, '{')
}

func (w *payloadWriter) close() { w.out = append(w.out, '}') }

func (w *payloadWriter) openPointed(name string, have bool) bool {
	if have {
		w.open(name)
	}
	return have
}

func (w *payloadWriter) openList(name string, have int) bool {
	if have == 0 {
		return false
	}
	w.name(name)
	w.out = append(w.out, '[')
	return true
}

// openKeptList leaves an empty list to encoding/json, which tells null and [] apart.
func (w *payloadWriter) openKeptList(name string, have int) bool {
	w.odd = w.odd || have == 0
	return w.openList(name, have)
}

func (w *payloadWriter) more(i, have int) bool {
	switch {
	case i == have:
		w.out = append(w.out, ']')
	case i > 0:
		w.out = append(w.out, ',')
	}
	return i < have
}

// readWalked reads a payload; false leaves it to encoding/json, with an empty one. Who reads to fold passes over what
// changes no state.
func readWalked(raw []byte, p walker, toFold bool) bool {
	r := payloadReader{in: raw, toFold: toFold}
	r.open("")
	p.walk(&r)
	r.close()
	return !r.odd && r.at == len(raw)
}

// passedRest: whatever there is, is written.
func (w *payloadWriter) passedRest() bool { return false }

// payloadReader reads what a payloadWriter wrote. After the first odd thing it reads nothing more.
type payloadReader struct {
	in      []byte
	at      int
	odd     bool
	toFold  bool
	numbers []int64     // that pointers point to, in pieces
	moments []time.Time // likewise
	recent  [8]string   // texts that were read lately: a decision names the same things again and again
	next    int         // of recent, to be forgotten next
}

// found steps over a field's name, if it is the one that comes.
func (r *payloadReader) found(name string) bool {
	at := r.at
	if r.odd || at >= len(r.in) {
		return false
	}
	if r.in[at-1] != '{' {
		if r.in[at] != ',' {
			return false
		}
		at++
	}
	end := at + len(name) + 3
	if end > len(r.in) || r.in[at] != '"' || string(r.in[at+1:end-2]) != name || r.in[end-2] != '"' || r.in[end-1] != ':' {
		return false
	}
	r.at = end
	return true
}

func (r *payloadReader) expect(c byte) {
	if r.odd || r.at >= len(r.in) || r.in[r.at] != c {
		r.odd = true
		return
	}
	r.at++
}

func (r *payloadReader) keptText(name string, s *string) { r.text(name, s) }

func (r *payloadReader) text(name string, s *string) {
	if r.found(name) {
		*s = r.shared(r.quoted())
	}
}

// quoted reads a text without escapes.
func (r *payloadReader) quoted() []byte {
	r.expect('"')
	begin, ascii := r.at, true
	for ; r.at < len(r.in); r.at++ {
		switch c := r.in[r.at]; {
		case c == '"':
			text := r.in[begin:r.at]
			r.at++
			if !ascii && !utf8.Valid(text) {
				r.odd = true
			}
			return text
		case c < ' ' || c == '\\':
			r.odd = true
			return nil
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.odd = true
	return nil
}

// shared is a text, copied only if it was not met before.
func (r *payloadReader) shared(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	for i := range r.recent {
		if r.recent[i] == string(text) {
			return r.recent[i]
		}
	}
	if word, ok := payloadWords[string(text)]; ok {
		return word
	}
	s := string(text)
	r.recent[r.next] = s
	r.next = (r.next + 1) % len(r.recent)
	return s
}

// payloadWords are the texts that stand in most payloads: one copy of each does for all.
var payloadWords = func() map[string]string {
	words := make(map[string]string)
	for _, list := range [][]string{
		RefusalCodes(), Qualities(), {
			RuleMembership, RulePlan, RuleTitleKnown, RuleDownloadable, RuleWithdrawal, RuleRegion, RuleProfile, RuleDeviceType,
			RuleDeviceBlocked, RulePlanQuality, RuleDeviceQuality, RuleDevices, RuleReplacements, RuleActivePerDevice,
			RuleActivePerAccount, RuleDownloadsPerMonth, RuleActivePerStudio, RuleDownloadsPerYear, RulePlaysPerPeriod, RuleReissues, RuleRevoked,
			RuleReleased, RuleRenewableUntil, RuleMinRenewInterval, RuleMaxRenewals,
			CommandAcquire, CommandRenew, CommandRegisterDevice, ScopeCustomer, ScopeDevice, ScopeTitle, ScopeStudio, ScopeLicense,
			OutcomeGrant, OutcomeRefuse, RulePass, RuleWarn, RuleRefuse, RuleOverridden, TriggerUser, TriggerAuto, KindMovie, KindEpisode,
			MaturityKids, MaturityTeen, MaturityAdult, BasisBooks, BasisFailOpen, RemovalPending, RemovalConfirmed, UnknownFamily,
			"phone", "tablet", "computer", "tv", "console",
		},
	} {
		for _, word := range list {
			words[word] = word
		}
	}
	return words
}()

func (r *payloadReader) keptNumber(name string, n *int64) { r.number(name, n) }

func (r *payloadReader) number(name string, n *int64) {
	if r.found(name) {
		*n = r.whole()
	}
}

// whole reads a whole number that is well within 64 bits.
func (r *payloadReader) whole() int64 {
	negative := r.at < len(r.in) && r.in[r.at] == '-'
	if negative {
		r.at++
	}
	begin, n := r.at, int64(0)
	for ; r.at < len(r.in) && r.in[r.at]-'0' <= 9; r.at++ {
		n = n*10 + int64(r.in[r.at]-'0')
		if r.at-begin == 18 {
			r.odd = true
			return 0
		}
	}
	if r.at == begin || r.in[begin] == '0' && r.at-begin > 1 {
		r.odd = true
	}
	if negative {
		return -n
	}
	return n
}

func (r *payloadReader) pointedNumber(name string, n **int64) {
	if !r.found(name) {
		return
	}
	if len(r.numbers) == cap(r.numbers) {
		r.numbers = make([]int64, 0, 32)
	}
	r.numbers = append(r.numbers, r.whole())
	*n = &r.numbers[len(r.numbers)-1]
}

func (r *payloadReader) keptInt(name string, n *int) { r.int(name, n) }

func (r *payloadReader) int(name string, n *int) {
	if r.found(name) {
		*n = int(r.whole())
	}
}

func (r *payloadReader) keptSeq(name string, n *uint64) {
	if !r.found(name) {
		return
	}
	if r.at < len(r.in) && r.in[r.at] == '-' {
		r.odd = true
		return
	}
	*n = uint64(r.whole()) //nolint:gosec // not negative
}

func (r *payloadReader) keptFlag(name string, b *bool) { r.flag(name, b) }

func (r *payloadReader) flag(name string, b *bool) {
	if !r.found(name) {
		return
	}
	switch rest := r.in[r.at:]; {
	case bytes.HasPrefix(rest, []byte("true")):
		*b = true
		r.at += len("true")
	case bytes.HasPrefix(rest, []byte("false")):
		*b = false
		r.at += len("false")
	default:
		r.odd = true
	}
}

func (r *payloadReader) keptMoment(name string, t *time.Time) {
	if r.found(name) && t.UnmarshalText(r.quoted()) != nil {
		r.odd = true
	}
}

func (r *payloadReader) pointedMoment(name string, t **time.Time) {
	if !r.found(name) {
		return
	}
	if len(r.moments) == cap(r.moments) {
		r.moments = make([]time.Time, 0, 8)
	}
	var moment time.Time
	if moment.UnmarshalText(r.quoted()) != nil {
		r.odd = true
		return
	}
	r.moments = append(r.moments, moment)
	*t = &r.moments[len(r.moments)-1]
}

func (r *payloadReader) open(name string) {
	if name != "" && !r.found(name) {
		r.odd = true
		return
	}
	r.expect('{')
}

func (r *payloadReader) close() { r.expect('}') }

func (r *payloadReader) openPointed(name string, _ bool) bool {
	if !r.found(name) {
		return false
	}
	r.expect('{')
	return !r.odd
}

func (r *payloadReader) openList(name string, _ int) bool {
	if !r.found(name) {
		return false
	}
	r.expect('[')
	return !r.odd
}

func (r *payloadReader) openKeptList(name string, have int) bool { return r.openList(name, have) }

func (r *payloadReader) more(i, _ int) bool {
	switch {
	case r.odd || r.at >= len(r.in):
		r.odd = true
		return false
	case r.in[r.at] == ']':
		r.at++
		r.odd = i == 0 // a list that is there and empty is not what is written
		return false
	case i > 0:
		r.expect(',')
	}
	return !r.odd
}

// passedRest steps to the end of the payload, whose last field is an object that is being read: what is left of that is
// not looked at.
func (r *payloadReader) passedRest() bool {
	if !r.toFold || r.odd {
		return false
	}
	if len(r.in)-r.at < 2 || r.in[len(r.in)-2] != '}' {
		r.odd = true
		return true
	}
	r.at = len(r.in) - 1
	return true
}
