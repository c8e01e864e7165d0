package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Everything that an agent or analyst sees can be taken out as rows, but for personal words: those are shown one
// customer at a time. Rows come page by page from the read models, so memory stays flat and no reader holds a store up.

// Export asks for every row of a table.
type Export struct {
	By     Caller
	Table  string // timeline, denials, events, customers, devices, licenses, exceptions
	Filter Filter // as far as it fits the table: see ExportFilters
}

// Tables are what may be exported.
func Tables() []string {
	return []string{"timeline", "denials", "events", "customers", "devices", "licenses", "exceptions"}
}

// Row is one row of an export, in the order of the table's columns.
type Row []any // string, int64, float64, bool, time.Time, json.RawMessage, nil

// Exported is a table on its way out. Rows may be ranged over once; an error ends them.
type Exported struct {
	Columns []string
	Rows    iter.Seq2[Row, error]
}

// ExportAsked is what an export asks of a read model that it walks through.
type ExportAsked struct {
	Filter      Filter
	AfterStream domain.StreamID // continue behind this row; empty: from the beginning
	AfterSeq    uint64
	Limit       int
}

// ExportHandler answers Export.
type ExportHandler struct{ p *Ports }

// exportPage is how many rows are held at a time.
const exportPage = 500

// Handle begins an export; Exported.WriteCSV and WriteNDJSON write it. Support may export single customers, which is recorded;
// an analyst gets pseudonyms, and no timeline.
func (h ExportHandler) Handle(ctx context.Context, q Export) (Exported, error) {
	if err := q.Check(); err != nil {
		return Exported{}, err
	}
	if err := h.admit(ctx, q); err != nil {
		return Exported{}, err
	}
	filter, nobody, err := h.p.unveil(ctx, q.By, q.Filter)
	if err != nil {
		return Exported{}, fmt.Errorf("export %s: %w", q.Table, err)
	}
	q.Filter = filter
	e, err := h.table(ctx, q)
	if err == nil && nobody {
		e.Rows = func(func(Row, error) bool) {}
	}
	return e, err
}

// ExportFilters are the filters that a table may be narrowed down with.
func ExportFilters(table string) []string {
	switch table {
	case "timeline":
		return []string{"type", "customer", "device_id", "title_id", "license_id", "actor", "role", "from", "to"}
	case "denials":
		return []string{"customer", "device_id", "title_id", "studio", "code", "from", "to"}
	case "devices":
		return []string{"customer", "device_id", "device_type", "device_family"}
	case "licenses":
		return []string{"customer", "device_id", "title_id", "series", "license_id", "studio", "country", "device_type", "device_family", "basis"}
	case "customers":
		return []string{"customer", "plan", "country"}
	case "exceptions":
		return []string{"customer", "code"}
	}
	return filterNames()
}

// Check tells everything that is wrong with what is asked, each as a *domain.FieldError.
func (q *Export) Check() error {
	err := q.Filter.check(q.By)
	if unknown := checkOneOf("table", orSpace(q.Table), Tables()...); unknown != nil {
		return errors.Join(err, unknown)
	}
	possible := ExportFilters(q.Table)
	for _, name := range q.Filter.used() {
		if !slices.Contains(possible, name) {
			err = errors.Join(err, fieldError(name, "can't be used with the table %s; possible are %s", q.Table, list(possible)))
		}
	}
	return err
}

// orSpace makes "nothing" a value that is not possible.
func orSpace(s string) string {
	if s == "" {
		return " "
	}
	return s
}

// admit lets the caller at the table.
func (h ExportHandler) admit(ctx context.Context, q Export) error {
	switch q.By.Actor.Role {
	case domain.RoleOperator, domain.RoleSystem:
		return nil
	case domain.RoleAnalyst:
		if q.Table != "timeline" && q.Table != "exceptions" {
			return nil
		}
	case domain.RoleSupport:
		if len(q.Filter.Customer) == 0 {
			return fieldError("customer", "is missing: support exports single customers")
		}
		return h.p.Desk.looked(ctx, q.By, q.Filter.Customer, "export "+q.Table)
	}
	return fmt.Errorf("export %s: %w", q.Table, ErrForbidden)
}

func (h ExportHandler) table(ctx context.Context, q Export) (Exported, error) {
	missing := func(model string) (Exported, error) {
		return Exported{}, fmt.Errorf("export %s: no read model %s here: %w", q.Table, model, ErrUnavailable)
	}
	switch q.Table {
	case "timeline":
		if h.p.Timeline == nil {
			return missing("timeline")
		}
		return Exported{timelineColumns, h.timeline(ctx, q)}, nil
	case "denials":
		if h.p.Denials == nil {
			return missing("denials")
		}
		return Exported{denialColumns, h.denials(ctx, q)}, nil
	case "events":
		if h.p.Search == nil {
			return missing("search")
		}
		return Exported{eventColumns, h.events(ctx, q)}, nil
	}
	if h.p.Customers == nil || h.p.Reference == nil {
		return missing("customers")
	}
	ref, err := h.p.Reference.Now(ctx)
	if err != nil {
		return Exported{}, fmt.Errorf("export %s: %w", q.Table, err)
	}
	x := &stateExport{ExportHandler: h, q: q, ref: ref, now: h.p.Clock().UTC().Truncate(time.Microsecond)}
	switch q.Table {
	case "customers":
		return Exported{customerColumns, x.rows(ctx, x.customer)}, nil
	case "devices":
		return Exported{deviceColumns, x.rows(ctx, x.devices)}, nil
	case "licenses":
		return Exported{licenseColumns, x.rows(ctx, x.licenses)}, nil
	}
	return Exported{exceptionColumns, x.rows(ctx, x.exceptions)}, nil
}

var timelineColumns = []string{
	"customer", "seq", "event_id", "type", "occurred_at", "recorded_at", "actor", "role", "device_id", "title_id", "title_name", "series",
	"license_id", "code", "decision_id", "command_id", "correlation", "case", "position", "sentence",
}

func (h ExportHandler) timeline(ctx context.Context, q Export) iter.Seq2[Row, error] {
	return pages(func(after *domain.Event) ([]*domain.Event, error) {
		asked := ExportAsked{Filter: q.Filter, Limit: exportPage}
		if after != nil {
			asked.AfterStream, asked.AfterSeq = after.Stream, after.Seq
		}
		return h.p.Timeline.EventsAfter(ctx, asked)
	}, func(e *domain.Event) (Row, error) {
		about, data, err := projector.AboutEvent(e)
		if err != nil {
			return nil, err
		}
		return Row{
			e.Stream.ID(), int64(e.Seq), e.ID, e.Type, e.OccurredAt, e.RecordedAt, e.Actor.ID, string(e.Actor.Role), about.DeviceID, about.TitleID,
			about.TitleName, about.Series, about.LicenseID, about.Code, about.DecisionID(), e.CommandID, e.Correlation, about.Case,
			e.Position.String(), Sentence(e, data),
		}, nil
	})
}

var denialColumns = []string{
	"customer", "seq", "recorded_at", "command", "code", "rule", "scope_kind", "scope_id", "used", "limit", "resets_at", "device_id", "device_type",
	"title_id", "title_name", "series", "studio", "license_id", "decision_id", "decision",
}

func (h ExportHandler) denials(ctx context.Context, q Export) iter.Seq2[Row, error] {
	analyst := q.By.Actor.Role == domain.RoleAnalyst
	return pages(func(after *projector.DenialRow) ([]*projector.DenialRow, error) {
		asked := ExportAsked{Filter: q.Filter, Limit: exportPage}
		if after != nil {
			asked.AfterStream, asked.AfterSeq = domain.CustomerStream(after.Customer), after.Seq
		}
		rows, err := h.p.Denials.DenialsAfter(ctx, asked)
		return pointers(rows), err
	}, func(r *projector.DenialRow) (Row, error) {
		row := Row{
			r.Customer, int64(r.Seq), r.RecordedAt, r.Command, r.Code, r.Rule, r.Scope.Kind, r.Scope.ID, number(r.Used), number(r.Limit),
			momentOrNil(r.ResetsAt), r.DeviceID, r.DeviceType, r.TitleID, r.TitleName, r.Series, r.Studio, r.LicenseID, r.DecisionID, json.RawMessage(r.Decision),
		}
		if analyst { // a decision and a scope name devices and licences
			row[0], row[11] = h.p.veilCustomer(r.Customer), h.p.veilDevice(r.Customer, r.DeviceID)
			row[7], row[17], row[18], row[19] = "", "", "", nil
		}
		return row, nil
	})
}

var eventColumns = []string{
	"customer", "seq", "type", "occurred_at", "recorded_at", "actor", "role", "device_id", "device_type", "device_family", "title_id", "title_name",
	"series", "studio", "plan", "country", "license_id", "code", "case", "trigger", "basis", "policy_version", "decision_id", "position",
}

func (h ExportHandler) events(ctx context.Context, q Export) iter.Seq2[Row, error] {
	return pages(func(after *SearchHit) ([]*SearchHit, error) {
		asked := SearchAsked{Filter: q.Filter, Tier: TierLoose, Oldest: true, Limit: exportPage}
		if after != nil {
			asked.After, asked.Tie = after.ID, after.Tie
		}
		hits, err := h.p.Search.Hits(ctx, asked)
		return pointers(hits), err
	}, func(s *SearchHit) (Row, error) { return h.p.eventRow(q.By, scored{SearchHit: *s}), nil })
}

// eventRow is a hit in the order of eventColumns, as the caller may see it.
func (p *Ports) eventRow(by Caller, hit scored) Row {
	e := p.hit(by, hit, nil)
	return Row{
		e.Customer, int64(e.Seq), e.Type, e.OccurredAt, e.RecordedAt, e.Actor.ID, string(e.Actor.Role), e.DeviceID, e.DeviceType, e.DeviceFamily,
		e.TitleID, e.TitleName, e.Series, e.Studio, e.Plan, e.Country, e.LicenseID, e.Code, e.Case, e.Trigger, e.Basis, int64(e.PolicyVersion),
		e.DecisionID, e.Position,
	}
}

// stateExport makes rows of customers' states, as of one moment.
type stateExport struct {
	ExportHandler
	q   Export
	ref domain.Reference
	now time.Time
}

// rows walks through the states and makes rows of each.
func (x *stateExport) rows(ctx context.Context, of func(*domain.Customer, func(Row) bool) bool) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for customer, err := range x.states(ctx) {
			if err != nil {
				yield(nil, fmt.Errorf("export %s: %w", x.q.Table, err))
				return
			}
			if !of(customer, func(r Row) bool { return yield(r, nil) }) {
				return
			}
		}
	}
}

// states are those of the customers that the filter names, or all.
func (x *stateExport) states(ctx context.Context) iter.Seq2[*domain.Customer, error] {
	if len(x.q.Filter.Customer) == 0 {
		return (Impact{Customers: x.p.Customers}).states(ctx, func(after domain.StreamID) ([]projector.CustomerState, error) {
			return x.p.Customers.StatesAfter(ctx, after, statesAtOnce)
		})
	}
	return func(yield func(*domain.Customer, error) bool) {
		for _, id := range x.q.Filter.Customer {
			state, found, err := x.p.Customers.State(ctx, id)
			if err == nil && !found {
				continue
			}
			var customer *domain.Customer
			if err == nil {
				customer, err = state.Customer()
			}
			if !yield(customer, err) || err != nil {
				return
			}
		}
	}
}

func (x *stateExport) name(customer string) string {
	if x.q.By.Actor.Role == domain.RoleAnalyst {
		return x.p.veilCustomer(customer)
	}
	return customer
}

func (x *stateExport) deviceName(customer, device string) string {
	if x.q.By.Actor.Role == domain.RoleAnalyst {
		return x.p.veilDevice(customer, device)
	}
	return device
}

var customerColumns = []string{"customer", "version", "as_of", "plan", "country", "membership", "devices_used", "devices_limit", "flags"}

func (x *stateExport) customer(c *domain.Customer, yield func(Row) bool) bool {
	s, f := c.Summary(x.ref, x.now), &x.q.Filter
	if !oneOf(f.Plan, s.Plan) || !oneOf(f.Country, s.Country) {
		return true
	}
	return yield(Row{
		x.name(c.ID()), int64(s.Version), s.AsOf, s.Plan, s.Country, s.Membership, s.Devices.Used, number(s.Devices.Limit), strings.Join(s.Flags, " "),
	})
}

var deviceColumns = []string{
	"customer", "device_id", "device_type", "device_family", "status", "holds_slot", "blocked", "registered_at", "removed_at", "last_contact",
	"clock_suspect", "active_licenses",
}

func (x *stateExport) devices(c *domain.Customer, yield func(Row) bool) bool {
	f := &x.q.Filter
	for _, d := range c.Devices(x.ref, x.now) {
		if !oneOf(f.DeviceID, d.DeviceID) || !oneOf(f.DeviceType, d.DeviceType) || !oneOf(f.DeviceFamily, d.DeviceFamily) {
			continue
		}
		if !yield(Row{
			x.name(c.ID()), x.deviceName(c.ID(), d.DeviceID), d.DeviceType, d.DeviceFamily, d.Status, d.HoldsSlot, d.Blocked, momentOrNil(d.RegisteredAt),
			momentOrNil(d.RemovedAt), momentOrNil(d.LastContact), d.ClockSuspect, int64(d.ActiveLicenses),
		}) {
			return false
		}
	}
	return true
}

var licenseColumns = []string{
	"customer", "license_id", "device_id", "device_type", "device_family", "title_id", "title_name", "series", "studio", "country", "status", "basis",
	"issued_at", "renewed_at", "renewals", "reissues", "first_play", "playable_until", "limited_by", "ended_at", "cause", "removal", "will_stop_at",
}

func (x *stateExport) licenses(c *domain.Customer, yield func(Row) bool) bool {
	f := &x.q.Filter
	for _, l := range c.Licenses(x.ref, x.now) {
		if !oneOf(f.DeviceID, l.DeviceID) || !oneOf(f.TitleID, l.TitleID) || !oneOf(f.Series, l.Series) || !oneOf(f.LicenseID, l.LicenseID) ||
			!oneOf(f.Studio, l.Studio) || !oneOf(f.Country, l.Country) || !oneOf(f.DeviceType, l.DeviceType) ||
			!oneOf(f.DeviceFamily, l.DeviceFamily) || !oneOf(f.Basis, l.Basis) {
			continue
		}
		id := l.LicenseID
		if x.q.By.Actor.Role == domain.RoleAnalyst {
			id = ""
		}
		if !yield(Row{
			x.name(c.ID()), id, x.deviceName(c.ID(), l.DeviceID), l.DeviceType, l.DeviceFamily, l.TitleID, l.TitleName, l.Series, l.Studio, l.Country,
			l.Status, l.Basis, l.IssuedAt, momentOrNil(l.RenewedAt), int64(l.Renewals), int64(l.Reissues), momentOrNil(l.FirstPlay), momentOrNil(l.PlayableUntil),
			l.LimitedBy, momentOrNil(l.EndedAt), l.Cause, l.Removal, momentOrNil(l.WillStopAt),
		}) {
			return false
		}
	}
	return true
}

var exceptionColumns = []string{"customer", "exception_id", "code", "scope_kind", "scope_id", "uses", "uses_left", "status", "granted_at", "expires_at", "closed_at", "reason", "case"}

func (x *stateExport) exceptions(c *domain.Customer, yield func(Row) bool) bool {
	for _, e := range c.Exceptions(x.now) {
		if !oneOf(x.q.Filter.Code, e.Code) {
			continue
		}
		if !yield(Row{
			x.name(c.ID()), e.ExceptionID, e.Code, e.Scope.Kind, e.Scope.ID, int64(e.Uses), int64(e.UsesLeft), e.Status, e.GrantedAt,
			momentOrNil(e.ExpiresAt), momentOrNil(e.ClosedAt), e.Reason.Code, e.Reason.Case,
		}) {
			return false
		}
	}
	return true
}

func oneOf(wanted []string, is string) bool { return len(wanted) == 0 || slices.Contains(wanted, is) }

// pages makes rows of things that are read page by page, each behind the last.
func pages[T any](next func(after *T) ([]*T, error), row func(*T) (Row, error)) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var last *T
		for {
			page, err := next(last)
			if err != nil {
				yield(nil, fmt.Errorf("export: %w", err))
				return
			}
			for _, thing := range page {
				r, err := row(thing)
				if !yield(r, err) || err != nil {
					return
				}
				last = thing
			}
			if len(page) < exportPage {
				return
			}
		}
	}
}

func pointers[T any](list []T) []*T {
	all := make([]*T, len(list))
	for i := range list {
		all[i] = &list[i]
	}
	return all
}

func number(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}

func momentOrNil(t *time.Time) any {
	if t == nil {
		return nil
	}
	return *t
}
