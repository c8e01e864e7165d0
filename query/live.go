package query

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Live asks for the running stream of events, from now on or from where an earlier stream ended.
type Live struct {
	By     Caller
	Filter string   // an expression over LiveFields; empty: everything
	Fields []string // of LiveFields that are told; empty: all
	After  string   // the id of the last item that was received; empty: from now on
}

// LiveItem is one item of the stream.
type LiveItem struct {
	Kind string // event, notice, beat
	ID   string // what Live.After continues behind
	Data []byte // JSON: an event, or what happened to the stream; none for a beat
}

// The kinds of items.
const (
	LiveEvent  = "event"
	LiveNotice = "notice" // the stream ends, or events were left out
	LiveBeat   = "beat"   // nothing matched for a while; the stream is alive
)

// LiveFilters compiles filter expressions.
type LiveFilters interface {
	// Compile returns a *FilterError for an expression that can't be used.
	Compile(expression string) (LiveFilter, error)
}

// LiveFilter is a compiled expression. It may be used by several goroutines at once.
type LiveFilter interface {
	// Match tells whether an event passes. field returns the value of one of LiveFields: a string, an int64, a time.Time.
	Match(field func(name string) any) (bool, error)
	// Texts are the texts that stand in the expression.
	Texts() []string
}

// FilterError says where and why an expression can't be used.
type FilterError struct {
	Column  int // from 1; 0: it concerns the whole
	Problem string
}

func (e *FilterError) Error() string {
	if e.Column == 0 {
		return e.Problem
	}
	return fmt.Sprintf("column %d: %s", e.Column, e.Problem)
}

// LiveField is a field that a filter may use and that an event is told with.
type LiveField struct {
	Name string
	Type string // string, int, timestamp
	of   func(*Hit) any
}

// LiveFields are the fields of a live event, in the order in which they are told. Texts that an event does not have are
// empty in a filter, and left out of what is told.
func LiveFields() []LiveField { return liveFields }

var liveFields = []LiveField{
	{"customer", "string", func(h *Hit) any { return h.Customer }},
	{"seq", "int", func(h *Hit) any { return int64(h.Seq) }}, //nolint:gosec // far from overflowing
	{"type", "string", func(h *Hit) any { return h.Type }},
	{"occurred_at", "timestamp", func(h *Hit) any { return h.OccurredAt }},
	{"recorded_at", "timestamp", func(h *Hit) any { return h.RecordedAt }},
	{"actor", "string", func(h *Hit) any { return h.Actor.ID }},
	{"role", "string", func(h *Hit) any { return string(h.Actor.Role) }},
	{"device_id", "string", func(h *Hit) any { return h.DeviceID }},
	{"device_type", "string", func(h *Hit) any { return h.DeviceType }},
	{"device_family", "string", func(h *Hit) any { return h.DeviceFamily }},
	{"title_id", "string", func(h *Hit) any { return h.TitleID }},
	{"title_name", "string", func(h *Hit) any { return h.TitleName }},
	{"series", "string", func(h *Hit) any { return h.Series }},
	{"studio", "string", func(h *Hit) any { return h.Studio }},
	{"plan", "string", func(h *Hit) any { return h.Plan }},
	{"country", "string", func(h *Hit) any { return h.Country }},
	{"license_id", "string", func(h *Hit) any { return h.LicenseID }},
	{"code", "string", func(h *Hit) any { return h.Code }},
	{"case", "string", func(h *Hit) any { return h.Case }},
	{"trigger", "string", func(h *Hit) any { return h.Trigger }},
	{"basis", "string", func(h *Hit) any { return h.Basis }},
	{"policy_version", "int", func(h *Hit) any { return int64(h.PolicyVersion) }},
	{"decision_id", "string", func(h *Hit) any { return h.DecisionID }},
	{"position", "string", func(h *Hit) any { return h.Position }},
}

func liveField(name string) *LiveField {
	i := slices.IndexFunc(liveFields, func(f LiveField) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &liveFields[i]
}

// Bounds of a live stream.
const (
	MaxLiveFilter    = 2048   // bytes of an expression
	MaxLiveListeners = 2000   // of one process
	MaxLiveBehind    = 20_000 // entries of a shard that a stream may be continued over
	liveQueue        = 1024   // items that may wait for a reader
	liveBeat         = 15 * time.Second
)

// LiveRun tells the running stream to one listener, until ctx ends, send fails, or the stream is ended; that is told by a
// notice first.
type LiveRun func(ctx context.Context, send func(LiveItem) error) error

// liveStream is a stream that was asked for.
type liveStream struct {
	hub      *Hub
	listener *listener
	after    place // where it continues; nil: now
}

// place is how far each shard was told: everything up to an event.
type place map[int]livePosition

type livePosition struct {
	Index uint64 `json:"i"`
	Place int    `json:"p"` // of the last event of the entry that was told; wholeEntry: all
}

const wholeEntry = -1

func (p place) tells(at domain.Position) bool {
	told, known := p[at.Shard]
	return known && (at.Index < told.Index || at.Index == told.Index && (told.Place == wholeEntry || at.Place <= told.Place))
}

// LiveHandler answers Live.
type LiveHandler struct{ p *Ports }

// Handle checks what is asked. Nothing runs before the stream is listened to.
func (h LiveHandler) Handle(ctx context.Context, q Live) (LiveRun, error) {
	hub := h.p.Live
	if hub == nil {
		return nil, fmt.Errorf("no live stream here: %w", ErrUnavailable)
	}
	l := &listener{queue: make(chan told, liveQueue)}
	l.group.veiled = q.By.Actor.Role == domain.RoleAnalyst
	l.group.filter = strings.TrimSpace(q.Filter)
	if len(l.group.filter) > MaxLiveFilter {
		return nil, fieldError("filter", "is %d bytes long, at most %d are allowed", len(q.Filter), MaxLiveFilter)
	}
	for _, name := range q.Fields {
		if liveField(name) == nil {
			return nil, fieldError("fields", "has %q, which is none of %s", name, liveNames())
		}
	}
	for _, f := range liveFields { // in their own order, each once
		if slices.Contains(q.Fields, f.Name) {
			l.fields = append(l.fields, f.Name)
		}
	}
	l.fieldsKey = strings.Join(l.fields, ",")
	if l.group.filter != "" {
		var err error
		if l.filter, err = hub.filters.Compile(l.group.filter); err != nil {
			return nil, fieldError("filter", "%s", err)
		}
	}
	s := &liveStream{hub: hub, listener: l}
	if q.After != "" {
		if err := h.p.Cursors.open(liveQuestion{l.group.veiled}, q.After, &s.after); err != nil {
			return nil, fieldError("Last-Event-ID", "is not one that was given out here")
		}
		if err := hub.near(ctx, s.after); err != nil {
			return nil, err
		}
	}
	return s.run, h.looked(ctx, q.By, l)
}

// looked records that support listens, with what it listens for; and for every customer who is named in the filter, or
// whose device, licence or exception is. Who passes by in a stream of everybody is not recorded one by one.
func (h LiveHandler) looked(ctx context.Context, by Caller, l *listener) error {
	if by.Actor.Role != domain.RoleSupport {
		return nil
	}
	about := []string{}
	if l.filter != nil && h.p.Customers != nil {
		for _, text := range l.filter.Texts() {
			if domain.CheckID("filter", text) != nil {
				continue
			}
			things, err := h.p.Customers.Things(ctx, text, maxFound)
			if err != nil {
				return fmt.Errorf("look up whom the filter names: %w", err)
			}
			for _, t := range things {
				about = append(about, t.Customer)
			}
		}
	}
	what := strings.TrimSpace("live " + l.group.filter)
	if err := h.p.Desk.record(ctx, Access{Actor: by.Actor, What: what, RequestID: by.RequestID}); err != nil {
		return err
	}
	return h.p.Desk.looked(ctx, by, about, what)
}

func liveNames() string {
	names := make([]string, len(liveFields))
	for i, f := range liveFields {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

// liveQuestion is what the ids of a stream are bound to.
type liveQuestion struct{ Veiled bool }

// rendering is an event as it is told, made once for all who are told the same.
type rendering struct {
	hub    *Hub
	event  *projector.Document
	where  func() place
	hits   [2]*Hit           // open, veiled
	ids    [2]string         // the same
	bodies map[string][]byte // by veil and fields
}

func (r *rendering) hit(veiled bool) *Hit {
	i, by := 0, Caller{}
	if veiled {
		i, by.Actor.Role = 1, domain.RoleAnalyst
	}
	if r.hits[i] == nil {
		hit := r.hub.ports.hit(by, scored{SearchHit: SearchHit{Document: *r.event}}, nil)
		r.hits[i] = &hit
	}
	return r.hits[i]
}

func (r *rendering) id(veiled bool) string {
	i := 0
	if veiled {
		i = 1
	}
	if r.ids[i] == "" {
		r.ids[i] = r.hub.id(r.where(), veiled)
	}
	return r.ids[i]
}

func (r *rendering) body(veiled bool, fields []string, key string) []byte {
	if veiled {
		key = "\x00" + key
	}
	if body := r.bodies[key]; body != nil {
		return body
	}
	if r.bodies == nil {
		r.bodies = map[string][]byte{}
	}
	r.bodies[key] = tellHit(r.hit(veiled), fields)
	return r.bodies[key]
}

// tellHit writes the fields of an event as JSON.
func tellHit(h *Hit, fields []string) []byte {
	out := []byte{'{'}
	for _, f := range liveFields {
		if len(fields) > 0 && !slices.Contains(fields, f.Name) {
			continue
		}
		v := f.of(h)
		if v == "" || v == int64(0) && f.Name == "policy_version" {
			continue
		}
		value, err := json.Marshal(v)
		if err != nil {
			continue // texts, numbers and times can be written
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = append(out, f.Name...)
		out = append(out, '"', ':')
		out = append(out, value...)
	}
	return append(out, '}')
}
