package query

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Impact tells whom a withdrawal or a policy would touch, from the customers' states. It is advice for a person who is
// about to decide; the command itself never needs it.
type Impact struct {
	Customers CustomersModel
	Reference *References
	Clock     Clock
}

// Touched is whom a change would touch, counted, with some examples.
type Touched struct {
	Customers int
	Licenses  int
	Devices   int
	ByRule    map[string]int // customers over a limit that they are not over now, by rule
	Examples  []string       // customers, at most 20
}

const (
	maxExamples  = 20
	statesAtOnce = 200
)

// Withdrawal tells whose active licences for a title would end earlier.
func (i Impact) Withdrawal(ctx context.Context, title string, countries []string, from time.Time) (Touched, error) {
	ref, now, err := i.moment(ctx)
	if err != nil {
		return Touched{}, err
	}
	if from.Before(now) {
		from = now
	}
	countries = sortedCountries(countries)
	titles := []string{title}
	for _, episode := range i.Reference.catalogue().Episodes(title) {
		titles = append(titles, episode.ID)
	}
	var t Touched
	seen := map[string]bool{} // those with licences for several episodes
	for _, one := range titles {
		for customer, err := range i.states(ctx, func(after domain.StreamID) ([]projector.CustomerState, error) {
			return i.Customers.StatesWithTitle(ctx, one, after, statesAtOnce)
		}) {
			if err != nil {
				return Touched{}, fmt.Errorf("whom a withdrawal of %s touches: %w", title, err)
			}
			if seen[customer.ID()] {
				continue
			}
			if len(titles) > 1 {
				seen[customer.ID()] = true
			}
			var devices []string
			for _, l := range customer.Licenses(ref, now) {
				ends := l.PlayableUntil == nil || l.PlayableUntil.After(from)
				_, there := slices.BinarySearch(countries, l.Country)
				if !slices.Contains(titles, l.TitleID) || l.Status != domain.StatusActive || !ends || len(countries) > 0 && !there {
					continue
				}
				t.Licenses++
				if !slices.Contains(devices, l.DeviceID) {
					devices = append(devices, l.DeviceID)
				}
			}
			if len(devices) > 0 {
				t.add(customer.ID(), len(devices))
			}
		}
	}
	return t, nil
}

// Policy tells who would be over a limit that they are not over now.
func (i Impact) Policy(ctx context.Context, policy *domain.Policy) (Touched, error) {
	ref, now, err := i.moment(ctx)
	if err != nil {
		return Touched{}, err
	}
	changed := under{ref, policy}
	t := Touched{ByRule: map[string]int{}}
	for customer, err := range i.states(ctx, func(after domain.StreamID) ([]projector.CustomerState, error) {
		return i.Customers.StatesAfter(ctx, after, statesAtOnce)
	}) {
		if err != nil {
			return Touched{}, fmt.Errorf("whom the policy touches: %w", err)
		}
		before, after := over(customer.Summary(ref, now)), over(customer.Summary(changed, now))
		rules := map[string]bool{}
		devices := 0
		for place := range after {
			if before[place] || rules[place.rule] && place.scope.Kind != domain.ScopeDevice {
				continue
			}
			rules[place.rule] = true
			if place.scope.Kind == domain.ScopeDevice {
				devices++
			}
		}
		for rule := range rules {
			t.ByRule[rule]++
		}
		if len(rules) > 0 {
			t.add(customer.ID(), devices)
		}
	}
	return t, nil
}

// limited is a limit and what it counts over.
type limited struct {
	rule  string
	scope domain.Scope
}

// over are the limits that a customer is over.
func over(s domain.Summary) map[limited]bool {
	places := map[limited]bool{}
	for _, c := range s.Counters {
		if c.Limit != nil && c.Used > *c.Limit {
			places[limited{c.Rule, c.Scope}] = true
		}
	}
	return places
}

func (t *Touched) add(customer string, devices int) {
	t.Customers++
	t.Devices += devices
	if len(t.Examples) < maxExamples {
		t.Examples = append(t.Examples, customer)
	}
}

func (i Impact) moment(ctx context.Context) (domain.Reference, time.Time, error) {
	ref, err := i.Reference.Now(ctx)
	return ref, i.Clock().UTC().Truncate(time.Microsecond), err
}

// states yields customers' states, page by page, in order of stream.
func (i Impact) states(ctx context.Context, page func(after domain.StreamID) ([]projector.CustomerState, error)) iter.Seq2[*domain.Customer, error] {
	return func(yield func(*domain.Customer, error) bool) {
		var after domain.StreamID
		for ctx.Err() == nil {
			states, err := page(after)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, s := range states {
				customer, err := s.Customer()
				if !yield(customer, err) || err != nil {
					return
				}
				after = s.Stream
			}
			if len(states) < statesAtOnce {
				return
			}
		}
		yield(nil, context.Cause(ctx))
	}
}
