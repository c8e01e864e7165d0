package simulate

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"carryon/domain"
)

// Titles is the catalogue to choose from.
type Titles interface {
	// Pick draws a playable, popular ones more often.
	Pick(*rand.Rand) domain.Title
	// Next is the episode after this one, and false after the last or for a movie.
	Next(id string) (domain.Title, bool)
}

// Household is one simulated customer: its plan, its devices, what is on them, and how it behaves.
type Household struct {
	ID      string
	random  *rand.Rand
	plan    string
	country string
	devices []*device
	held    []*held
	ready   bool
	eager   float64        // how much it downloads, 1 is usual
	lately  string         // the newest refusal's code that support can lift
	beloved []domain.Title // what is downloaded again and again
	serial  int
	again   *Op // refused for the time in its key: asked again with a right one

	keysBehind time.Duration
}

// device is one of a household's. Its clock tells the times of its plays and of the keys it makes; what TOKEN_DRIFT
// taught it sets only the keys right, as a client does that can't set the clock of the machine it runs on.
type device struct {
	id, kind, name string
	drift          time.Duration // of its clock
	corrected      time.Duration // added to it for keys
	registered     bool
	blocked        bool
}

type held struct {
	license   string
	device    *device
	title     domain.Title
	issued    time.Time
	expires   time.Time
	renewAt   time.Time // when the app asks for a renewal; zero: it does not
	plays     int
	playing   string // play id that has begun
	playTime  time.Time
	released  bool
	confirmed bool
}

type planShare struct {
	name    string
	share   float64
	devices int // at most
}

// Shares of plans, countries and devices are our own pretence: no service publishes them.
var (
	plans     = []planShare{{"ads", 0.35, 2}, {"standard", 0.45, 3}, {"premium", 0.20, 6}}
	countries = []string{"US", "US", "US", "GB", "DE", "FR", "BR", "BR", "MX", "IN", "IN", "JP", "KR", "ES", "IT", "CA", "AU", "PL", "TR", "SE"}
	kinds     = []string{"iphone", "iphone", "iphone", "android-phone", "android-phone", "android-phone", "ipad", "android-tablet", "windows-pc", "macbook", "fire-tablet", "chromebook", "fridge-os-2"}
	rooms     = []string{"Kitchen", "Holiday", "Kids'", "Old", "Work", "Grandma's", "Car", "Bedroom"}
)

// NewHousehold draws a household from a seed. Households of one seed are the same in every run.
func NewHousehold(seed uint64, number int, prefix string) *Household {
	random := rand.New(rand.NewPCG(seed, uint64(number)+1)) //nolint:gosec // pretended people, not secrets
	h := &Household{ID: fmt.Sprintf("%s%05d", prefix, number), random: random, country: countries[random.IntN(len(countries))]}
	draw := random.Float64()
	most := 2
	for _, p := range plans {
		h.plan, most = p.name, p.devices
		if draw -= p.share; draw < 0 {
			break
		}
	}
	h.eager = 0.2 + random.Float64()
	if random.Float64() < 0.08 {
		h.eager = 7 // the few who meet every limit
	}
	for range 1 + random.IntN(most) {
		h.addDevice()
	}
	return h
}

func (h *Household) addDevice() *device {
	d := &device{
		id:   fmt.Sprintf("%s-d%d", h.ID, len(h.devices)+1),
		kind: kinds[h.random.IntN(len(kinds))],
	}
	d.name = rooms[h.random.IntN(len(rooms))] + " " + d.kind
	switch draw := h.random.Float64(); {
	case draw < 0.03: // up to years off
		d.drift = time.Duration(h.random.IntN(2000)-1000) * 24 * time.Hour
	case draw < 0.25:
		d.drift = time.Duration(h.random.IntN(600)-300) * time.Second
	}
	h.devices = append(h.devices, d)
	return d
}

// Next is what the household does at a moment. The answer to it must be given to Learn before Next is asked again.
func (h *Household) Next(now time.Time, titles Titles) Op {
	op := h.choose(now, titles)
	op.Customer = h.ID
	op.Key = NewKey(h.clock(op, now).Add(-h.keysBehind), h.random)
	return op
}

// clock is the time by the clock of whoever sends an operation. That of billing and support is right.
func (h *Household) clock(op Op, now time.Time) time.Time {
	switch op.Kind {
	case Plan, Membership, Block, Unblock, Revoke, Exception:
		return now
	case Acquire, Evaluate, Renew, Release, Confirm, PlayStart, PlayStop, Register, Remove:
	}
	if d := h.device(op.DeviceID); d != nil {
		return now.Add(d.drift + d.corrected)
	}
	return now
}

func (h *Household) choose(now time.Time, titles Titles) Op {
	if !h.ready {
		return Op{Kind: Plan, Plan: h.plan, Country: h.country}
	}
	if again := h.again; again != nil {
		h.again = nil
		return *again
	}
	if h.random.Float64() < 0.002 {
		return h.rarely()
	}
	if op, ok := h.tidyUp(now); ok {
		return op
	}
	if op, ok := h.watch(now); ok {
		return op
	}
	if op, ok := h.keepAlive(now); ok {
		return op
	}
	d := h.devices[h.random.IntN(len(h.devices))]
	if !d.registered && h.random.Float64() < 0.3 {
		return Op{Kind: Register, DeviceID: d.id, DeviceType: d.kind, DeviceName: d.name}
	}
	return h.download(d, titles)
}

func (h *Household) download(d *device, titles Titles) Op {
	op := Op{Kind: Acquire, DeviceID: d.id, DeviceType: d.kind, Trigger: "user", Quality: "standard", Country: h.country}
	if h.random.Float64() < 0.05 {
		op.Kind = Evaluate
	}
	if h.random.Float64() < 0.03 {
		op.Country = countries[h.random.IntN(len(countries))] // travelling
	}
	if h.random.Float64() < 0.2 && (h.plan != "ads" || h.random.Float64() < 0.1) {
		op.Quality = "high"
	}
	title := titles.Pick(h.random)
	if last := h.lastOn(d); last != nil {
		switch next, ok := titles.Next(last.title.ID); {
		case ok && h.random.Float64() < 0.6:
			title, op.Trigger = next, "auto" // the next episode comes by itself
		case h.random.Float64() < 0.04:
			title = last.title // a broken download, fetched again
		}
	}
	switch {
	case len(h.beloved) < 2:
		h.beloved = append(h.beloved, title)
	case op.Trigger == "user" && h.random.Float64() < 0.12:
		title = h.beloved[h.random.IntN(len(h.beloved))]
	}
	op.TitleID = title.ID
	op.SizeBytes = 150_000_000 + h.random.Int64N(900_000_000)
	return op
}

func (h *Household) lastOn(d *device) *held {
	for _, l := range slices.Backward(h.held) {
		if l.device == d {
			return l
		}
	}
	return nil
}

// watch begins or ends a play; offline plays are reported hours or days after they happened.
func (h *Household) watch(now time.Time) (Op, bool) {
	for _, l := range h.held {
		if l.playing == "" || l.confirmed {
			continue
		}
		length := time.Duration(20+h.random.IntN(90)) * time.Minute
		return Op{
			Kind: PlayStop, LicenseID: l.license, PlayID: l.playing, DeviceID: l.device.id,
			DeviceTime: l.playTime.Add(length), Position: int64(length.Seconds()),
		}, true
	}
	if len(h.held) == 0 || h.random.Float64() > 0.55 {
		return Op{}, false
	}
	l := h.held[h.random.IntN(len(h.held))]
	if l.confirmed {
		return Op{}, false
	}
	h.serial++
	at := now.Add(l.device.drift)
	if h.random.Float64() < 0.4 {
		at = at.Add(-time.Duration(h.random.IntN(72*60)) * time.Minute) // was offline
	}
	if at.Before(l.issued) && l.device.drift == 0 {
		at = l.issued.Add(time.Minute)
	}
	return Op{Kind: PlayStart, LicenseID: l.license, PlayID: fmt.Sprintf("%s-p%d", h.ID, h.serial), DeviceID: l.device.id, DeviceTime: at.UTC().Truncate(time.Millisecond)}, true
}

// keepAlive renews what is about to end, or what ended lately.
func (h *Household) keepAlive(now time.Time) (Op, bool) {
	for _, l := range h.held {
		if l.released || l.renewAt.IsZero() || now.Before(l.renewAt) || now.Sub(l.expires) > 5*24*time.Hour {
			continue
		}
		if h.random.Float64() < 0.8 {
			return Op{Kind: Renew, LicenseID: l.license, DeviceID: l.device.id, Trigger: "auto"}, true
		}
	}
	return Op{}, false
}

// lives notes when a licence ends, and when the app will ask for more.
func (l *held) lives(until time.Time) {
	l.expires, l.renewAt = until, time.Time{}
	if !until.IsZero() {
		l.renewAt = until.Add(-72 * time.Hour)
	}
}

// plays notes what the first play leaves of a licence's life. Most films have been seen by then; some apps ask for more
// shortly before it is over, some at every play, because the device is online just then.
func (h *Household) plays(l *held, until, now time.Time) {
	l.expires, l.renewAt = until, time.Time{}
	if until.IsZero() {
		return
	}
	switch draw := h.random.Float64(); {
	case draw < 0.1:
		l.renewAt = now
	case draw < 0.3:
		l.renewAt = until.Add(-6 * time.Hour)
	}
}

// tidyUp gives back what was watched, and confirms that it was deleted.
func (h *Household) tidyUp(now time.Time) (Op, bool) {
	for _, l := range h.held {
		if l.released && !l.confirmed && h.random.Float64() < 0.8 {
			return Op{Kind: Confirm, LicenseID: l.license, DeviceID: l.device.id}, true
		}
	}
	for _, l := range h.held {
		done := l.plays > 1 || l.plays > 0 && h.random.Float64() < 0.3 || !l.expires.IsZero() && now.After(l.expires.Add(48*time.Hour))
		if done && !l.released && l.playing == "" && h.random.Float64() < 0.25 {
			return Op{Kind: Release, LicenseID: l.license, DeviceID: l.device.id}, true
		}
	}
	return Op{}, false
}

// rarely is what billing and support do: a new phone, a changed plan, an unpaid bill, a stolen tablet.
func (h *Household) rarely() Op {
	d := h.devices[h.random.IntN(len(h.devices))]
	switch draw := h.random.Float64(); {
	case draw < 0.25:
		p := plans[h.random.IntN(len(plans))]
		return Op{Kind: Plan, Plan: p.name, Country: h.country}
	case draw < 0.4:
		states := []string{"on_hold", "active", "active", "paused", "active"}
		return Op{Kind: Membership, State: states[h.random.IntN(len(states))]}
	case draw < 0.6 && d.registered:
		return Op{Kind: Remove, DeviceID: d.id}
	case draw < 0.7 && d.registered && len(h.devices) < 9:
		old := d.id
		fresh := h.addDevice()
		return Op{Kind: Register, DeviceID: fresh.id, DeviceType: fresh.kind, DeviceName: fresh.name, Replaces: old}
	case draw < 0.8 && d.registered && !d.blocked:
		return Op{Kind: Block, DeviceID: d.id, Reason: "lost_device"}
	case draw < 0.85 && len(h.held) > 0:
		l := h.held[h.random.IntN(len(h.held))]
		return Op{Kind: Revoke, LicenseID: l.license, DeviceID: l.device.id, Reason: "customer"}
	default:
		code := cmp.Or(h.lately, "YEARLY_TITLE_LIMIT")
		return Op{Kind: Exception, Code: code, Reason: "customer"}
	}
}

// Learn takes the answer to what Next asked for.
func (h *Household) Learn(op Op, a Answer, now time.Time, titles func(string) (domain.Title, bool)) {
	if a.Outcome == Refused && slices.Contains(domain.OverridableCodes(), a.Code) {
		h.lately = a.Code
	}
	d := h.device(op.DeviceID)
	if a.Outcome != Accepted {
		h.learnRefusal(op, a, now)
		return
	}
	switch op.Kind {
	case Plan:
		h.ready = true
		h.plan = op.Plan
	case Register:
		d.registered = true
		h.gone(op.Replaces)
	case Acquire:
		d.registered = true
		l := h.license(a.LicenseID)
		if l == nil {
			title, _ := titles(op.TitleID)
			l = &held{license: a.LicenseID, device: d, title: title, issued: now}
			h.held = append(h.held, l)
		}
		l.lives(a.ExpiresAt)
	case Renew:
		if l := h.license(op.LicenseID); l != nil {
			l.lives(a.ExpiresAt)
		}
	case PlayStart:
		if l := h.license(op.LicenseID); l != nil {
			l.playing, l.playTime = op.PlayID, op.DeviceTime
			h.plays(l, a.ExpiresAt, now)
		}
	case PlayStop:
		if l := h.license(op.LicenseID); l != nil {
			l.playing = ""
			l.plays++
		}
	case Release:
		if l := h.license(op.LicenseID); l != nil {
			l.released = true
		}
	case Confirm, Revoke:
		h.forget(op.LicenseID)
	case Remove:
		h.gone(op.DeviceID)
	case Block:
		d.blocked = true
	case Unblock:
		d.blocked = false
	case Membership, Evaluate, Exception:
	}
}

// learnRefusal gives up on what can't be had, as an app would: else a household would ask for ever.
func (h *Household) learnRefusal(op Op, a Answer, now time.Time) {
	if a.Code == codeTokenDrift && h.setRight(op, a, now) {
		return
	}
	l := h.license(op.LicenseID)
	switch {
	case l == nil:
	case op.Kind == PlayStop && a.Outcome == Rejected:
		l.playing = ""
	case op.Kind == Renew && a.Code == domain.CodeRenewalTooSoon:
		l.renewAt = now.Add(24 * time.Hour)
	case op.Kind == Renew && a.Outcome == Refused:
		l.renewAt = time.Time{}
	case a.Outcome == Rejected:
		h.forget(op.LicenseID)
	}
	if a.Code == "DEVICE_BLOCKED" {
		if d := h.device(op.DeviceID); d != nil {
			d.blocked = true
		}
	}
}

// setRight takes the time from an answer that refused a key for its own, and has the operation asked again, with a new
// key.
func (h *Household) setRight(op Op, a Answer, now time.Time) bool {
	d := h.device(op.DeviceID)
	if d == nil || a.ServerTime.IsZero() {
		return false
	}
	d.corrected = a.ServerTime.Sub(now.Add(d.drift))
	h.again = &op
	return true
}

// AskSupport is what a household whose device was blocked does when it turns up again.
func (h *Household) AskSupport(now time.Time) (Op, bool) {
	for _, d := range h.devices {
		if d.blocked && h.random.Float64() < 0.1 {
			return Op{Kind: Unblock, Customer: h.ID, Key: NewKey(now.Add(-h.keysBehind), h.random), DeviceID: d.id, Reason: "customer"}, true
		}
	}
	return Op{}, false
}

func (h *Household) device(id string) *device {
	for _, d := range h.devices {
		if d.id == id {
			return d
		}
	}
	return nil
}

// gone is a device that was removed, or replaced by another: its licences went with it.
func (h *Household) gone(id string) {
	d := h.device(id)
	if d == nil {
		return
	}
	d.registered = false
	h.held = slices.DeleteFunc(h.held, func(l *held) bool { return l.device == d })
}

func (h *Household) license(id string) *held {
	for _, l := range h.held {
		if l.license == id {
			return l
		}
	}
	return nil
}

func (h *Household) forget(id string) {
	h.held = slices.DeleteFunc(h.held, func(l *held) bool { return l.license == id })
}
