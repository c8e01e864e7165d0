package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// ReferenceModel is the read model of what was decided for everyone.
type ReferenceModel interface {
	// Policies are all published versions, in order of document and version.
	Policies(ctx context.Context) ([]projector.PolicyRow, error)
	// Withdrawals are all that were recorded, in the order in which they were.
	Withdrawals(ctx context.Context) ([]projector.WithdrawalRow, error)
	// Entry is the last entry of the reference shard that was applied.
	Entry(ctx context.Context) (uint64, error)
}

// References makes a domain.Reference of the reference model and the catalogue, and keeps it for as long as neither
// changes. It is safe for concurrent use.
type References struct {
	model     ReferenceModel
	catalogue func() Catalogue
	kept      func(version string) (Catalogue, error)

	mu     sync.Mutex
	latest *reference
}

// NewReferences reads the model, and asks for the catalogue in force each time. kept hands out past ones by version; its
// error wraps domain.ErrNotFound for one that is not kept any more.
func NewReferences(model ReferenceModel, catalogue func() Catalogue, kept func(version string) (Catalogue, error)) *References {
	return &References{model: model, catalogue: catalogue, kept: kept}
}

// Policies are all published versions.
func (r *References) Policies(ctx context.Context) ([]projector.PolicyRow, error) {
	return r.model.Policies(ctx)
}

// Now is what is known now.
func (r *References) Now(ctx context.Context) (domain.Reference, error) {
	entry, err := r.model.Entry(ctx) // before the rows: they are at least of this entry
	if err != nil {
		return nil, fmt.Errorf("read the reference model: %w", err)
	}
	catalogue := r.catalogue()
	r.mu.Lock()
	latest := r.latest
	r.mu.Unlock()
	if latest != nil && latest.entry == entry && latest.catalogue.Version() == catalogue.Version() {
		return latest, nil
	}
	made, err := r.make(ctx, entry, catalogue, time.Time{})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = made
	return made, nil
}

// KnownAt is what was recorded by a moment, over a catalogue by version: the one that was in force as far as the customer's
// events tell. Where they tell of none, or of one that is not kept any more, it is today's.
func (r *References) KnownAt(ctx context.Context, at time.Time, version string) (domain.Reference, error) {
	catalogue := r.catalogue()
	if version != "" && version != catalogue.Version() {
		past, err := r.kept(version)
		switch {
		case err == nil:
			catalogue = past
		case !errors.Is(err, domain.ErrNotFound):
			return nil, fmt.Errorf("catalogue %s: %w", version, err)
		}
	}
	return r.make(ctx, 0, catalogue, at)
}

// make reads everything; recorded after a moment, unless it is zero, does not count.
func (r *References) make(ctx context.Context, entry uint64, catalogue Catalogue, until time.Time) (*reference, error) {
	policies, err := r.model.Policies(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	withdrawals, err := r.model.Withdrawals(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the withdrawals: %w", err)
	}
	ref := newReference(entry, catalogue)
	for i := range policies {
		if knownBy(policies[i].RecordedAt, until) {
			if err := ref.publish(&policies[i]); err != nil {
				return nil, err
			}
		}
	}
	for i := range withdrawals {
		if knownBy(withdrawals[i].RecordedAt, until) {
			ref.withdraw(&withdrawals[i])
		}
	}
	return ref, nil
}

func knownBy(recorded, until time.Time) bool { return until.IsZero() || !recorded.After(until) }

// reference is a domain.Reference. It never changes once it was handed out.
type reference struct {
	entry       uint64
	catalogue   Catalogue
	policies    []document[*domain.Policy]
	deviceTypes []document[*domain.DeviceTypes]
	gone        map[string]map[string]time.Time // withdrawals by title and country; the country "" is all others
}

// document is a version of a policy document.
type document[T any] struct {
	version int
	from    time.Time
	content T
}

var _ domain.Reference = (*reference)(nil)

func newReference(entry uint64, catalogue Catalogue) *reference {
	return &reference{
		entry: entry, catalogue: catalogue, gone: map[string]map[string]time.Time{},
		policies:    []document[*domain.Policy]{{version: 1, content: domain.DefaultPolicy()}},
		deviceTypes: []document[*domain.DeviceTypes]{{version: 1, content: domain.DefaultDeviceTypes()}},
	}
}

func (r *reference) publish(row *projector.PolicyRow) error {
	switch row.Policy {
	case domain.PolicyDefault:
		content, err := domain.ParsePolicy(row.Document)
		if err != nil {
			return fmt.Errorf("policy %s version %d: %w", row.Policy, row.Version, err)
		}
		r.policies = append(r.policies, document[*domain.Policy]{row.Version, row.EffectiveFrom, content})
	case domain.PolicyDeviceTypes:
		content, err := domain.ParseDeviceTypes(row.Document)
		if err != nil {
			return fmt.Errorf("policy %s version %d: %w", row.Policy, row.Version, err)
		}
		r.deviceTypes = append(r.deviceTypes, document[*domain.DeviceTypes]{row.Version, row.EffectiveFrom, content})
	}
	return nil
}

// withdraw is as the fold of a title's stream has it: of two withdrawals of one country the later recorded counts, and
// one of everywhere counts everywhere.
func (r *reference) withdraw(row *projector.WithdrawalRow) {
	if len(row.Countries) == 0 || r.gone[row.TitleID] == nil {
		countries := map[string]time.Time{}
		r.gone[row.TitleID] = countries
	}
	if len(row.Countries) == 0 {
		r.gone[row.TitleID][""] = row.From
	}
	for _, country := range row.Countries {
		r.gone[row.TitleID][country] = row.From
	}
}

// newest is the highest version that has come into force.
func newest[T any](versions []document[T], at time.Time) *document[T] {
	for i := len(versions) - 1; i > 0; i-- {
		if !versions[i].from.After(at) {
			return &versions[i]
		}
	}
	return &versions[0]
}

// Policy is the policy document in force at a moment.
func (r *reference) Policy(at time.Time) *domain.Policy { return newest(r.policies, at).content }

// DeviceTypes is the device type document in force at a moment.
func (r *reference) DeviceTypes(at time.Time) *domain.DeviceTypes {
	return newest(r.deviceTypes, at).content
}

// Title looks a playable or a series up in the catalogue.
func (r *reference) Title(id string) (domain.Title, bool) { return r.catalogue.Title(id) }

// Studio tells whether the catalogue has a title of a studio.
func (r *reference) Studio(name string) bool { return r.catalogue.Studio(name) }

// WithdrawnFrom tells from when a title is withdrawn in a country, if it is: itself, or with its series.
func (r *reference) WithdrawnFrom(title, country string) (time.Time, bool) {
	from, gone := r.withdrawn(title, country)
	if len(r.gone) == 0 {
		return from, gone
	}
	if t, ok := r.catalogue.Title(title); ok && t.SeriesID != "" {
		series, seriesGone := r.withdrawn(t.SeriesID, country)
		return domain.WithdrawnWith(series, seriesGone, from, gone)
	}
	return from, gone
}

func (r *reference) withdrawn(title, country string) (time.Time, bool) {
	countries := r.gone[title]
	if from, ok := countries[country]; ok {
		return from, true
	}
	from, ok := countries[""]
	return from, ok
}

// Versions names what the above answers come from.
func (r *reference) Versions(at time.Time) domain.Versions {
	return domain.Versions{
		Policy: newest(r.policies, at).version, DeviceTypes: newest(r.deviceTypes, at).version, Catalogue: r.catalogue.Version(), Reference: r.entry,
	}
}

// under is the reference with another policy in force.
type under struct {
	domain.Reference
	policy *domain.Policy
}

func (u under) Policy(time.Time) *domain.Policy { return u.policy }

// sortedCountries are countries as a set.
func sortedCountries(countries []string) []string {
	sorted := slices.Clone(countries)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
