package command

import (
	"fmt"
	"maps"
	"time"

	"carryon/domain"
)

// Reference is what is decided for everyone, as of an entry of the reference shard. It never changes.
type Reference struct {
	index       uint64
	catalogue   Catalogue
	version     string // of the catalogue
	policies    []inForce[*domain.Policy]
	deviceTypes []inForce[*domain.DeviceTypes]
	withdrawals map[string]*domain.Withdrawals // by title; each immutable once in here
}

// inForce is a version of a document, and from when it is in force. The versions ascend; the first is in the program
// and always was in force.
type inForce[T any] struct {
	version  int
	from     time.Time
	document T
}

// newest is the highest version that has come into force: one that was published later also cancels those before it
// that were still to come.
func newest[T any](versions []inForce[T], at time.Time) *inForce[T] {
	for i := len(versions) - 1; i > 0; i-- {
		if !versions[i].from.After(at) {
			return &versions[i]
		}
	}
	return &versions[0]
}

// newReference is what the program itself knows.
func newReference() *Reference {
	return &Reference{
		policies:    []inForce[*domain.Policy]{{version: 1, document: domain.DefaultPolicy()}},
		deviceTypes: []inForce[*domain.DeviceTypes]{{version: 1, document: domain.DefaultDeviceTypes()}},
		withdrawals: map[string]*domain.Withdrawals{},
	}
}

// clone shares what never changes; what apply adds to the copy is not seen in the original.
func (r *Reference) clone() *Reference {
	c := *r
	c.policies = r.policies[:len(r.policies):len(r.policies)]
	c.deviceTypes = r.deviceTypes[:len(r.deviceTypes):len(r.deviceTypes)]
	c.withdrawals = maps.Clone(r.withdrawals)
	return &c
}

func (r *Reference) over(c Catalogue) *Reference {
	d := *r
	d.catalogue, d.version = c, c.Version()
	return &d
}

// apply folds an event of a title's or a policy's stream into r, which nobody else has yet.
func (r *Reference) apply(e *domain.Event) error {
	if e.Stream.Kind() == domain.KindTitle {
		return r.withdraw(e)
	}
	data, err := e.Data()
	if err != nil {
		return err
	}
	p, ok := data.(*domain.PolicyPublished)
	if !ok {
		return fmt.Errorf("event %s of stream %s is a %s", e.ID, e.Stream, e.Type)
	}
	switch p.Policy {
	case domain.PolicyDefault:
		document, err := domain.ParsePolicy(p.Document)
		if err != nil {
			return fmt.Errorf("policy %s, version %d: %w", p.Policy, p.Version, err)
		}
		r.policies = append(r.policies, inForce[*domain.Policy]{p.Version, p.EffectiveFrom, document})
	case domain.PolicyDeviceTypes:
		document, err := domain.ParseDeviceTypes(p.Document)
		if err != nil {
			return fmt.Errorf("policy %s, version %d: %w", p.Policy, p.Version, err)
		}
		r.deviceTypes = append(r.deviceTypes, inForce[*domain.DeviceTypes]{p.Version, p.EffectiveFrom, document})
	default:
		return fmt.Errorf("event %s publishes the policy %q, which this program does not know", e.ID, p.Policy)
	}
	return nil
}

func (r *Reference) withdraw(e *domain.Event) error {
	title := e.Stream.ID()
	var books domain.Aggregate
	if known, ok := r.withdrawals[title]; ok {
		books = known.Clone()
	} else {
		var err error
		if books, err = domain.NewAggregate(e.Stream); err != nil {
			return err
		}
	}
	if err := books.Apply(e); err != nil {
		return err
	}
	withdrawals, ok := books.(*domain.Withdrawals)
	if !ok {
		return fmt.Errorf("stream %s holds %T, not withdrawals", e.Stream, books)
	}
	r.withdrawals[title] = withdrawals
	return nil
}

// Policy is the policy document in force at a moment.
func (r *Reference) Policy(at time.Time) *domain.Policy { return newest(r.policies, at).document }

// DeviceTypes is the device type document in force at a moment.
func (r *Reference) DeviceTypes(at time.Time) *domain.DeviceTypes {
	return newest(r.deviceTypes, at).document
}

// Title looks a playable or a series up in the catalogue.
func (r *Reference) Title(id string) (domain.Title, bool) { return r.catalogue.Title(id) }

// Studio tells whether the catalogue has a title of a studio.
func (r *Reference) Studio(name string) bool { return r.catalogue.Studio(name) }

// WithdrawnFrom tells from when a title is withdrawn in a country, if it is: itself, or with its series.
func (r *Reference) WithdrawnFrom(title, country string) (time.Time, bool) {
	from, gone := r.withdrawn(title, country)
	if len(r.withdrawals) == 0 || r.catalogue == nil {
		return from, gone
	}
	if t, ok := r.catalogue.Title(title); ok && t.SeriesID != "" {
		series, seriesGone := r.withdrawn(t.SeriesID, country)
		return domain.WithdrawnWith(series, seriesGone, from, gone)
	}
	return from, gone
}

func (r *Reference) withdrawn(title, country string) (time.Time, bool) {
	if w, ok := r.withdrawals[title]; ok {
		return w.From(country)
	}
	return time.Time{}, false
}

// Versions names what the answers at a moment come from. The plan's version depends on the customer; it is left 0.
func (r *Reference) Versions(at time.Time) domain.Versions {
	return domain.Versions{
		Policy: newest(r.policies, at).version, DeviceTypes: newest(r.deviceTypes, at).version, Catalogue: r.version, Reference: r.index,
	}
}

var _ domain.Reference = (*Reference)(nil)
