package conformance

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"carryon/domain"
	"carryon/infra/catalogue"
)

// History makes a lawful history for read models: customers do what customers do, and everything that is recorded was
// decided by the domain. The same seed makes the same history.
type History struct {
	Customers int // at most; new ones come until there are so many
	Shards    int // of customers: 1 to Shards; the reference shard is 0
	Now       time.Time
	Pace      time.Duration // at most between two commands

	random    *rand.Rand
	catalogue *catalogue.Catalogue
	ids       []string
	states    map[string]*domain.Customer
	reference *HistoryReference
	last      map[domain.StreamID]domain.Position
	seqs      map[domain.StreamID]uint64
	heads     map[int]domain.Head
	commands  uint64
	everyone  int // decisions for everyone
	pending   map[int][]domain.Event
	devices   []string
	recent    []string // titles that somebody has
}

// NewHistory begins a history on 1 February 2026, over the catalogue that comes with the program.
func NewHistory(seed uint64, customers, shards int) (*History, error) {
	titles, err := catalogue.Embedded()
	if err != nil {
		return nil, err
	}
	h := &History{
		Customers: customers, Shards: shards, Now: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), Pace: 3 * time.Hour,
		random: rand.New(rand.NewPCG(seed, 0xca)), catalogue: titles, states: map[string]*domain.Customer{},
		last: map[domain.StreamID]domain.Position{}, seqs: map[domain.StreamID]uint64{}, heads: map[int]domain.Head{}, pending: map[int][]domain.Event{},
	}
	h.reference = &HistoryReference{catalogue: titles, policy: domain.DefaultPolicy(), types: domain.DefaultDeviceTypes(), version: 1, withdrawn: map[string]*domain.Withdrawals{}}
	for id := range h.reference.types.Types {
		h.devices = append(h.devices, id)
	}
	slices.Sort(h.devices)
	return h, nil
}

// Catalogue is what the history's titles are from.
func (h *History) Catalogue() *catalogue.Catalogue { return h.catalogue }

// Reference is what is known now.
func (h *History) Reference() domain.Reference { return h.reference.clone() }

// States are the customers' folded states, as they are now.
func (h *History) States() map[string]*domain.Customer { return h.states }

// Grow goes on until at least so many more events were recorded, and returns the entries that hold them, in an order in
// which they may be applied.
func (h *History) Grow(events int) []domain.Entry {
	var entries []domain.Entry
	for n := 0; n < events; {
		h.Now = h.Now.Add(time.Duration(h.random.Int64N(int64(h.Pace/time.Microsecond))+1) * time.Microsecond)
		n += h.step()
		for shard := 0; shard <= h.Shards; shard++ {
			if len(h.pending[shard]) > 0 && h.random.IntN(8) == 0 {
				entries = append(entries, h.claim(shard))
			}
		}
	}
	for shard := 0; shard <= h.Shards; shard++ {
		if len(h.pending[shard]) > 0 {
			entries = append(entries, h.claim(shard))
		}
	}
	return entries
}

// claim makes an entry of what is pending.
func (h *History) claim(shard int) domain.Entry {
	head := h.heads[shard]
	e := domain.Entry{Shard: shard, Index: head.Index + 1, PreviousID: head.ID, Writer: "history", Events: h.pending[shard]}
	e.RecordedAt = e.Events[len(e.Events)-1].RecordedAt
	binary.BigEndian.PutUint64(e.ID[:], uint64(shard)<<40|e.Index)
	e.ID[15] = 1
	for i := range e.Events {
		event := &e.Events[i]
		event.Position = domain.Position{Shard: shard, Index: e.Index, Place: i}
		event.Previous = h.last[event.Stream]
		h.last[event.Stream] = event.Position
	}
	h.heads[shard] = domain.Head{Index: e.Index, ID: e.ID, Writer: e.Writer}
	h.pending[shard] = nil
	return e
}

// ShardOf is the shard of a stream.
func (h *History) ShardOf(stream domain.StreamID) int {
	if stream.IsReference() {
		return 0
	}
	hash := fnv.New32a()
	hash.Write([]byte(stream))
	return 1 + int(hash.Sum32()%uint32(h.Shards))
}

func (h *History) pick(words ...string) string { return words[h.random.IntN(len(words))] }

// step is one command; it returns how many events it recorded.
func (h *History) step() int {
	if len(h.ids) < h.Customers && (len(h.ids) == 0 || h.random.IntN(12) == 0) {
		return h.arrive()
	}
	if h.random.IntN(100) == 0 {
		return h.decideForEveryone()
	}
	c := h.states[h.ids[h.random.IntN(len(h.ids))]]
	switch n := h.random.IntN(100); {
	case n < 42:
		return h.acquire(c)
	case n < 52:
		return h.onLicense(c, "renew")
	case n < 76:
		return h.onLicense(c, "play")
	case n < 83:
		return h.onLicense(c, "release")
	case n < 87:
		return h.onLicense(c, "confirm")
	case n < 89:
		return h.onLicense(c, "revoke")
	default:
		return h.onAccount(c)
	}
}

func (h *History) arrive() int {
	id := fmt.Sprintf("c-%05d", len(h.ids)+1)
	h.ids = append(h.ids, id)
	c := domain.NewCustomer(id)
	h.states[id] = c
	plan, country := h.pick("ads", "standard", "premium"), h.pick("US", "DE", "FR", "BR", "JP")
	return h.record(c, domain.Actor{ID: "billing", Role: domain.RoleService}, func(m domain.Moment) (domain.Verdict, error) {
		return c.ChangePlan(m, plan, country, nil)
	})
}

func (h *History) acquire(c *domain.Customer) int {
	title := h.catalogue.Pick(h.random).ID
	if len(h.recent) > 0 && h.random.IntN(3) == 0 {
		title = h.recent[h.random.IntN(len(h.recent))]
	}
	if len(h.recent) < 40 {
		h.recent = append(h.recent, title)
	} else {
		h.recent[h.random.IntN(40)] = title
	}
	n := h.random.IntN(4)
	device := fmt.Sprintf("d-%s-%d", c.ID(), n)
	kind := h.devices[(n*7+int(c.ID()[len(c.ID())-1]))%len(h.devices)]
	r := domain.AcquireRequest{
		DeviceID: device, DeviceType: kind, DeviceName: "c2VhbGVk", DeviceNameDigest: "d", TitleID: title, Trigger: h.pick("user", "user", "auto"),
		Country: h.pick("", "", "US", "DE"), SizeBytes: 1 << 30, KeyID: "k1",
	}
	return h.record(c, domain.Actor{ID: device, Role: domain.RoleDevice}, func(m domain.Moment) (domain.Verdict, error) { return c.Acquire(m, r) })
}

func (h *History) onLicense(c *domain.Customer, what string) int {
	licenses := c.Licenses(h.reference, h.Now)
	if len(licenses) == 0 {
		return 0
	}
	l := licenses[h.random.IntN(len(licenses))]
	actor := domain.Actor{ID: l.DeviceID, Role: domain.RoleDevice}
	switch what {
	case "renew":
		return h.record(c, actor, func(m domain.Moment) (domain.Verdict, error) {
			return c.Renew(m, domain.RenewRequest{LicenseID: l.LicenseID, Country: h.pick("", "", "", "US"), Trigger: "auto", KeyID: "k1"})
		})
	case "play":
		late := time.Duration(h.random.Int64N(int64(72 * time.Hour)))
		if h.random.IntN(2) == 0 {
			late = 0
		}
		r := domain.PlaybackReport{LicenseID: l.LicenseID, PlayID: fmt.Sprintf("p-%d", h.commands), Kind: h.pick("start", "start", "stop"), DeviceTime: h.Now.Add(-late)}
		return h.record(c, actor, func(m domain.Moment) (domain.Verdict, error) { return c.RecordPlayback(m, r) })
	case "release":
		return h.record(c, actor, func(m domain.Moment) (domain.Verdict, error) { return c.Release(m, l.LicenseID, nil) })
	case "confirm":
		return h.record(c, actor, func(m domain.Moment) (domain.Verdict, error) { return c.ConfirmRelease(m, l.LicenseID, nil) })
	}
	return h.record(c, h.agent(), func(m domain.Moment) (domain.Verdict, error) { return c.Revoke(m, l.LicenseID, h.reason()) })
}

func (h *History) onAccount(c *domain.Customer) int {
	devices := c.Devices(h.reference, h.Now)
	if len(devices) == 0 {
		return 0
	}
	d := devices[h.random.IntN(len(devices))].DeviceID
	reason := h.reason()
	return h.record(c, h.agent(), func(m domain.Moment) (domain.Verdict, error) {
		switch h.random.IntN(9) {
		case 0, 1:
			return c.RemoveDevice(m, d, &reason)
		case 2:
			return c.BlockDevice(m, d, reason)
		case 3, 4:
			return c.UnblockDevice(m, d, reason)
		case 5:
			expires := m.Now.Add(72 * time.Hour)
			return c.GrantException(m, domain.ExceptionRequest{Code: domain.CodeYearlyTitleLimit, Uses: 2, ExpiresAt: &expires, Reason: reason})
		case 6:
			return c.ChangeMembership(m, h.pick("active", "active", "on_hold", "paused"), nil)
		case 7:
			return c.RegisterDevice(m, domain.RegisterRequest{DeviceID: fmt.Sprintf("d-%s-n%d", c.ID(), h.random.IntN(3)), DeviceType: "ipad"})
		}
		return c.ChangePlan(m, h.pick("ads", "standard", "premium"), h.pick("US", "DE"), nil)
	})
}

func (h *History) agent() domain.Actor {
	return domain.Actor{ID: h.pick("agent-ines", "agent-tomas"), Role: domain.RoleSupport}
}

func (h *History) reason() domain.Reason {
	return domain.Reason{Code: h.pick("lost_device", "customer", "fraud"), Text: "c2VhbGVk", Case: fmt.Sprintf("CASE-%d", h.random.IntN(50))}
}

// decideForEveryone withdraws a title, or publishes a policy.
func (h *History) decideForEveryone() int {
	actor := domain.Actor{ID: "ops", Role: domain.RoleOperator}
	if h.everyone++; h.everyone%4 == 2 {
		policy := *h.reference.policy
		stream := domain.PolicyStream(domain.PolicyDefault)
		h.reference.version++
		return h.append(stream, h.command(), actor, []domain.NewEvent{{Payload: &domain.PolicyPublished{
			Policy: domain.PolicyDefault, Version: h.reference.version, EffectiveFrom: h.Now, Document: policy.JSON(),
		}}}, func(*domain.Event) error { return nil })
	}
	if len(h.recent) == 0 {
		return 0
	}
	title := h.recent[h.random.IntN(len(h.recent))]
	w := h.reference.withdrawn[title]
	if w == nil {
		state, err := domain.NewAggregate(domain.TitleStream(title))
		if err != nil {
			panic(err)
		}
		w = state.(*domain.Withdrawals) //nolint:forcetypeassert // of that kind of stream
	}
	w = w.Clone().(*domain.Withdrawals) //nolint:forcetypeassert // a clone is of its own kind
	r := domain.WithdrawRequest{From: h.Now.Add(time.Duration(h.random.IntN(20)) * 24 * time.Hour)}
	if h.random.IntN(2) == 0 {
		r.Countries = []string{h.pick("US", "DE", "FR")}
	}
	command := h.command()
	verdict, err := w.Withdraw(h.moment(command, actor, 0), r)
	if err != nil {
		panic(fmt.Sprintf("withdrawing %s: %v", title, err))
	}
	n := h.append(domain.TitleStream(title), command, actor, verdict.Events, w.Apply)
	h.reference.withdrawn[title] = w
	return n
}

func (h *History) command() string {
	h.commands++
	return fmt.Sprintf("0198c0de-%04x-7000-8000-%012x", h.commands&0xffff, h.commands)
}

func (h *History) moment(command string, actor domain.Actor, version uint64) domain.Moment {
	return domain.Moment{Now: h.Now, CommandID: command, Actor: actor, Version: version, Reference: h.reference}
}

// record decides and folds. What does not fit the state is as if nobody had asked.
func (h *History) record(c *domain.Customer, actor domain.Actor, decide func(domain.Moment) (domain.Verdict, error)) int {
	command := h.command()
	verdict, err := decide(h.moment(command, actor, c.Version()))
	if err != nil {
		return 0
	}
	return h.append(domain.CustomerStream(c.ID()), command, actor, verdict.Events, c.Apply)
}

func (h *History) append(stream domain.StreamID, command string, actor domain.Actor, events []domain.NewEvent, fold func(*domain.Event) error) int {
	shard := h.ShardOf(stream)
	for i, n := range events {
		e := domain.Event{
			ID: domain.EventID(command, i), Stream: stream, Seq: h.seqs[stream] + 1, OccurredAt: n.OccurredAt, RecordedAt: h.Now, CommandID: command,
			Correlation: "req-" + command[len(command)-8:], RequestHash: "h", Actor: actor, Versions: h.reference.Versions(h.Now), Causation: n.Causation,
		}
		if e.OccurredAt.IsZero() {
			e.OccurredAt = h.Now
		}
		if err := e.SetData(n.Payload); err != nil {
			panic(fmt.Sprintf("recording for %s: %v", stream, err))
		}
		if err := fold(&e); err != nil {
			panic(fmt.Sprintf("folding %s: %v", stream, err))
		}
		h.seqs[stream]++
		h.pending[shard] = append(h.pending[shard], e)
	}
	return len(events)
}

// HistoryReference is a reference of a history.
type HistoryReference struct {
	catalogue *catalogue.Catalogue
	policy    *domain.Policy
	types     *domain.DeviceTypes
	version   int
	withdrawn map[string]*domain.Withdrawals
}

var _ domain.Reference = (*HistoryReference)(nil)

func (r *HistoryReference) clone() *HistoryReference {
	c := *r
	c.withdrawn = map[string]*domain.Withdrawals{}
	for title, w := range r.withdrawn {
		c.withdrawn[title] = w
	}
	return &c
}

// Policy is always the default one: its published versions all say the same.
func (r *HistoryReference) Policy(time.Time) *domain.Policy { return r.policy }

// DeviceTypes are the default ones.
func (r *HistoryReference) DeviceTypes(time.Time) *domain.DeviceTypes { return r.types }

// Title looks up in the catalogue.
func (r *HistoryReference) Title(id string) (domain.Title, bool) { return r.catalogue.Title(id) }

// Studio tells whether the catalogue has a title of a studio.
func (r *HistoryReference) Studio(name string) bool { return r.catalogue.Studio(name) }

// WithdrawnFrom is as the title's stream has it.
func (r *HistoryReference) WithdrawnFrom(title, country string) (time.Time, bool) {
	if w := r.withdrawn[title]; w != nil {
		return w.From(country)
	}
	return time.Time{}, false
}

// Versions names them.
func (r *HistoryReference) Versions(time.Time) domain.Versions {
	return domain.Versions{Policy: r.version, DeviceTypes: 1, Catalogue: r.catalogue.Version()}
}
