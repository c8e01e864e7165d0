package query

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"carryon/domain"
)

// lists are the filters that are lists of words, by name.
func (f *Filter) lists() []namedValues {
	return []namedValues{
		{"type", f.Type}, {"customer", f.Customer}, {"device_id", f.DeviceID}, {"title_id", f.TitleID}, {"series", f.Series},
		{"license_id", f.LicenseID}, {"studio", f.Studio}, {"plan", f.Plan}, {"country", f.Country}, {"device_type", f.DeviceType},
		{"device_family", f.DeviceFamily}, {"code", f.Code}, {"actor", f.Actor}, {"role", f.Role}, {"case", f.Case},
		{"trigger", f.Trigger}, {"basis", f.Basis},
	}
}

// KnownValues are the words that a field can hold, of the fields that hold no others; nil for the rest. Whoever asks by
// another one has mistyped it, and would take no answer for an answer.
func KnownValues(field string) []string {
	switch field {
	case "type":
		return domain.EventTypes()
	case "code":
		return domain.RefusalCodes()
	case "role":
		return []string{string(domain.RoleDevice), string(domain.RoleService), string(domain.RoleSupport), string(domain.RoleOperator), string(domain.RoleSystem)}
	case "trigger":
		return []string{domain.TriggerUser, domain.TriggerAuto}
	case "basis":
		return []string{domain.BasisBooks, domain.BasisFailOpen}
	}
	return nil
}

func checkKnown(field string, values []string) error {
	if known := KnownValues(field); known != nil {
		for _, v := range values {
			if !slices.Contains(known, v) {
				return fieldError(field, "holds %q; possible are %s", v, list(known))
			}
		}
	}
	return nil
}

type namedValues struct {
	name   string
	values []string
}

// filterNames are the names of all filters.
func filterNames() []string {
	var names []string
	for _, l := range (&Filter{}).lists() {
		names = append(names, l.name)
	}
	return append(names, "policy_version", "from", "to")
}

// used are the names of the filters that narrow something down.
func (f *Filter) used() []string {
	var names []string
	for _, l := range f.lists() {
		if len(l.values) > 0 {
			names = append(names, l.name)
		}
	}
	if len(f.PolicyVersion) > 0 {
		names = append(names, "policy_version")
	}
	if !f.From.IsZero() {
		names = append(names, "from")
	}
	if !f.To.IsZero() {
		names = append(names, "to")
	}
	return names
}

// hidden are the filters by what an analyst is never shown. A filter that may be used tells who somebody is as well as an
// answer does: who guesses an id, and finds an event, has resolved a pseudonym without a reason.
func (f *Filter) hidden() []namedValues {
	return []namedValues{{"license_id", f.LicenseID}, {"actor", f.Actor}, {"case", f.Case}}
}

func (f *Filter) check(by Caller) error {
	err := checkRange(f.From, f.To)
	for _, l := range f.hidden() {
		if len(l.values) > 0 && by.Actor.Role == domain.RoleAnalyst {
			err = errors.Join(err, fieldError(l.name, "can't be used by an analyst: it would tell who is behind a pseudonym"))
		}
	}
	for _, l := range f.lists() {
		err = errors.Join(err, checkValues(l.name, l.values), checkKnown(l.name, l.values))
	}
	if len(f.PolicyVersion) > MaxFilterValues {
		err = errors.Join(err, fieldError("policy_version", "has %d values, at most %d are allowed", len(f.PolicyVersion), MaxFilterValues))
	}
	for _, v := range f.PolicyVersion {
		if v < 1 {
			err = errors.Join(err, fieldError("policy_version", "holds %d; versions begin at 1", v))
		}
	}
	return err
}

// unveil turns an analyst's pseudonyms into what the read models hold. nobody: a pseudonym has nothing behind it, so
// that nothing can match.
func (p *Ports) unveil(ctx context.Context, by Caller, f Filter) (_ Filter, nobody bool, err error) {
	if by.Actor.Role != domain.RoleAnalyst || len(f.Customer)+len(f.DeviceID) == 0 {
		return f, false, nil
	}
	if p.Customers == nil {
		return f, false, fmt.Errorf("nothing here knows pseudonyms: %w", ErrUnavailable)
	}
	customers, err := p.behind(ctx, f.Customer, "customer")
	if err != nil {
		return f, false, err
	}
	devices, err := p.behind(ctx, f.DeviceID, "device")
	if err != nil {
		return f, false, err
	}
	if len(f.Customer) > 0 && len(customers) == 0 || len(f.DeviceID) > 0 && len(devices) == 0 {
		return f, true, nil
	}
	var ids, owners []string
	for _, t := range customers {
		ids = append(ids, t.Customer)
	}
	f.Customer = ids
	if len(f.DeviceID) > 0 {
		f.DeviceID = nil
		for _, t := range devices {
			f.DeviceID, owners = append(f.DeviceID, t.DeviceID), append(owners, t.Customer)
		}
		if f.Customer = restrict(f.Customer, owners); len(f.Customer) == 0 {
			return f, true, nil
		}
	}
	return f, false, nil
}

// stream is that of the one customer who is asked for: a wait for it ends when it is parked. Whoever asks for several waits
// for the shard. An analyst names no customers.
func (f *Filter) stream(by Caller) domain.StreamID {
	if len(f.Customer) != 1 || by.Actor.Role == domain.RoleAnalyst {
		return ""
	}
	return domain.CustomerStream(f.Customer[0])
}

// behind are the things of a kind behind pseudonyms.
func (p *Ports) behind(ctx context.Context, pseudonyms []string, kind string) ([]Thing, error) {
	var all []Thing
	for _, pseudonym := range pseudonyms {
		things, err := p.Customers.ThingsBehind(ctx, pseudonym)
		if err != nil {
			return nil, err
		}
		for _, t := range things {
			if t.Kind == kind {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

// restrict is what two lists have in common; an empty first one stands for everybody.
func restrict(some, others []string) []string {
	if len(some) == 0 {
		return others
	}
	var both []string
	for _, s := range some {
		for _, o := range others {
			if s == o {
				both = append(both, s)
				break
			}
		}
	}
	return both
}

// veilHit hides identities from an analyst.
func (p *Ports) veilHit(by Caller, h *Hit) {
	if by.Actor.Role != domain.RoleAnalyst {
		return
	}
	customer := h.Customer
	h.Customer = p.veilCustomer(customer)
	h.DeviceID = p.veilDevice(customer, h.DeviceID)
	h.Actor = domain.Actor{Role: h.Actor.Role} // who a device or a person was is nothing for analysts
	h.LicenseID, h.DecisionID, h.Case, h.Position = "", "", "", ""
}

func (p *Ports) veilCustomer(id string) string {
	if id == "" || p.Pseudonyms == nil {
		return ""
	}
	return p.Pseudonyms.Customer(id)
}

func (p *Ports) veilDevice(customer, id string) string {
	if id == "" || p.Pseudonyms == nil {
		return ""
	}
	return p.Pseudonyms.Device(customer, id)
}
