// Package sample makes entries like those of real handlers, for tests and benchmarks of stores: 64 commands or so of
// as many customers, two or three events each, with whole decisions in them. The same seed makes the same entries.
package sample

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"carryon/domain"
)

// Source makes the entries of one shard, each following on the one before.
type Source struct {
	Shard     int
	Customers int // drawn from, evenly

	random *rand.Rand
	last   domain.Head
	now    time.Time
	seqs   map[string]domain.Event // the newest event by customer, without its payload
}

// NewSource makes a source.
func NewSource(shard, customers int, seed uint64) *Source {
	return &Source{
		Shard: shard, Customers: customers, random: rand.New(rand.NewPCG(seed, 1)),
		now: time.Date(2026, 3, 1, 18, 0, 0, 0, time.UTC), seqs: make(map[string]domain.Event),
	}
}

// Next makes the next entry, of as many commands.
func (s *Source) Next(commands int) *domain.Entry {
	s.now = s.now.Add(time.Duration(1+s.random.IntN(5000)) * time.Microsecond)
	e := &domain.Entry{Shard: s.Shard, Index: s.last.Index + 1, PreviousID: s.last.ID, Writer: "host-4711", RecordedAt: s.now}
	for i := range e.ID {
		e.ID[i] = byte(s.random.Uint32())
	}
	s.last = domain.Head{Index: e.Index, ID: e.ID, Writer: e.Writer}
	for range commands {
		s.command(e)
	}
	return e
}

// command appends the events of an acquisition: granted, refused, or the first of a new device.
func (s *Source) command(e *domain.Entry) {
	customer := fmt.Sprintf("c-%08d", s.random.IntN(s.Customers))
	device := fmt.Sprintf("%s-d%d", customer, s.random.IntN(3))
	commandID := s.uuidV7()
	title := s.random.IntN(9000)
	subject := domain.Subject{
		LicenseID: "lic_" + s.text(26), DeviceID: device, DeviceType: "apple-ipad-10", DeviceFamily: "tablet",
		TitleID: fmt.Sprintf("tt%07d", title), TitleName: fmt.Sprintf("The Long Way Home, Part %d", title%40), Kind: "movie",
		Studio: fmt.Sprintf("studio-%d", title%6), Plan: "standard", Country: "DE", Trigger: "user",
	}
	decision := s.decision(commandID, subject)
	var payloads []domain.Payload
	if s.random.IntN(10) == 0 {
		decision.Outcome, decision.Code = domain.OutcomeRefuse, decision.Rules[3].Code
		decision.Rules[3].Outcome = domain.RuleRefuse
		payloads = append(payloads, &domain.LicenseDenied{Subject: subject, Command: "acquire", Code: decision.Code, Decision: decision})
	} else {
		if s.random.IntN(3) == 0 {
			payloads = append(payloads, &domain.DeviceRegistered{Subject: subject, Implicit: true})
		}
		expires := s.now.Add(30 * 24 * time.Hour)
		payloads = append(payloads, &domain.LicenseIssued{
			Subject: subject, Basis: domain.BasisBooks, Quality: "high", SizeBytes: 700_000_000 + s.random.Int64N(1e9),
			Terms:    domain.Terms{Persistent: true, RentalDuration: 30 * 86400, PlaybackDuration: 48 * 3600, LicenseDuration: 30 * 86400, RenewalDelay: 7 * 86400},
			IssuedAt: s.now, ExpiresAt: &expires, LimitedBy: "rental", KeyID: "lk_2026_01", Decision: decision,
		}, &domain.ContentDownloaded{Subject: subject, At: s.now})
	}
	for n, payload := range payloads {
		s.append(e, customer, commandID, n, payload)
	}
}

func (s *Source) append(e *domain.Entry, customer, commandID string, n int, payload domain.Payload) {
	data, err := json.Marshal(payload)
	if err != nil {
		panic(err) // plain structs
	}
	before := s.seqs[customer]
	event := domain.Event{
		ID: domain.EventID(commandID, n), Stream: domain.CustomerStream(customer), Seq: before.Seq + 1,
		Position: domain.Position{Shard: e.Shard, Index: e.Index, Place: len(e.Events)}, Previous: before.Position,
		Type: payload.EventType(), SchemaVersion: 1, OccurredAt: e.RecordedAt, RecordedAt: e.RecordedAt,
		CommandID: commandID, RequestHash: requestHash(commandID), Correlation: "req_" + commandID,
		Actor:    domain.Actor{ID: customer, Role: domain.RoleDevice},
		Versions: domain.Versions{Policy: 3, Plan: 2, DeviceTypes: 1, Catalogue: "b1946ac92492d2347c6235b4d2611184", Reference: 12},
		Payload:  data,
	}
	s.seqs[customer] = event
	e.Events = append(e.Events, event)
}

// decision looks at as many rules as an acquisition does.
func (s *Source) decision(commandID string, subject domain.Subject) domain.Decision {
	d := domain.Decision{
		ID: domain.DecisionID(commandID), Command: "acquire", Outcome: domain.OutcomeGrant, DecidedAt: s.now, CustomerVersion: uint64(s.random.IntN(500)),
		Versions: domain.Versions{Policy: 3, Plan: 2, DeviceTypes: 1, Catalogue: "b1946ac92492d2347c6235b4d2611184", Reference: 12},
		Request:  domain.Request{DeviceID: subject.DeviceID, DeviceType: subject.DeviceType, TitleID: subject.TitleID, Country: "DE", Trigger: "user", Quality: "high"},
	}
	for _, r := range []struct{ rule, code, source, kind, id string }{
		{"title_known", "TITLE_UNKNOWN", "", "title", subject.TitleID},
		{"membership", "MEMBERSHIP_INACTIVE", "", "customer", subject.DeviceID[:10]},
		{"region", "REGION_RESTRICTED", "", "title", subject.TitleID},
		{"max_download_devices", "DEVICE_LIMIT_REACHED", "plan standard", "customer", subject.DeviceID[:10]},
		{"max_active_per_device", "ACTIVE_DOWNLOAD_LIMIT", "plan standard", "device", subject.DeviceID},
		{"max_downloads_per_device_month", "MONTHLY_DOWNLOAD_LIMIT", "plan standard", "device", subject.DeviceID},
		{"max_active_per_studio", "STUDIO_LIMIT_REACHED", "studio " + subject.Studio, "studio", subject.Studio},
		{"max_downloads_per_title_year", "YEARLY_TITLE_LIMIT", "studio " + subject.Studio, "title", subject.TitleID},
	} {
		used, limit := s.random.Int64N(5), int64(5+s.random.IntN(3))
		resets := s.now.Add(time.Duration(s.random.IntN(1000)) * time.Hour)
		d.Rules = append(d.Rules, domain.RuleResult{
			Rule: r.rule, Code: r.code, Source: r.source, Scope: domain.Scope{Kind: r.kind, ID: r.id}, Used: &used, Limit: &limit, ResetsAt: &resets, Outcome: domain.RulePass,
		})
	}
	return d
}

// uuidV7 is a command id as a client makes it.
func (s *Source) uuidV7() string {
	ms := uint64(s.now.UnixMilli())
	return fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", ms>>16, ms&0xffff, s.random.IntN(1<<12), 0x8000|s.random.IntN(1<<14), s.random.Uint64N(1<<48))
}

func (s *Source) text(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[s.random.IntN(len(letters))]
	}
	return string(b)
}

func requestHash(commandID string) string {
	sum := sha256.Sum256([]byte(commandID))
	return hex.EncodeToString(sum[:])
}
