package domain

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Withdrawals are the folded stream of a title: from when it is out of the catalogue, everywhere or by country. Of two
// withdrawals of one country the later recorded counts, so that a date can be put off.
type Withdrawals struct {
	title      string
	seq        uint64
	everywhere instant
	countries  []withdrawal // by country
}

type withdrawal struct {
	country string
	from    instant
}

// From tells from when the title is withdrawn in a country, if it is.
func (t *Withdrawals) From(country string) (time.Time, bool) {
	from := t.everywhere
	if i, ok := t.find(country); ok {
		from = t.countries[i].from
	}
	return from.time(), from != 0
}

func (t *Withdrawals) find(country string) (int, bool) {
	return slices.BinarySearchFunc(t.countries, country, func(w withdrawal, c string) int { return strings.Compare(w.country, c) })
}

// Version is the seq of the last event folded.
func (t *Withdrawals) Version() uint64 { return t.seq }

// Apply folds the event after the last.
func (t *Withdrawals) Apply(e *Event) error {
	p, err := foldable[*TitleWithdrawn](e, t.seq)
	if err != nil {
		return err
	}
	from := instantOf(p.From)
	if len(p.Countries) == 0 {
		t.everywhere, t.countries = from, nil
	}
	for _, country := range p.Countries {
		if i, ok := t.find(country); ok {
			t.countries = with(t.countries, i, withdrawal{country, from})
		} else {
			t.countries = inserted(t.countries, i, withdrawal{country, from})
		}
	}
	t.seq = e.Seq
	return nil
}

// Clone is an independent copy.
func (t *Withdrawals) Clone() Aggregate { d := *t; return &d }

// Size is about how many bytes of memory the state holds.
func (t *Withdrawals) Size() int { return 96 + len(t.title) + 32*len(t.countries) }

// AppendBinary appends the state to b, encoded for a snapshot.
func (t *Withdrawals) AppendBinary(b []byte) ([]byte, error) { return appendState(b, t), nil }

func (t *Withdrawals) walk(w stateCoder) {
	w.seq(&t.seq)
	w.instant(&t.everywhere)
	walkEach(w, &t.countries, func(w stateCoder, c *withdrawal) {
		w.text(&c.country)
		w.instant(&c.from)
	})
}

// WithdrawRequest takes a title out of the catalogue.
type WithdrawRequest struct {
	Countries []string  // ISO 3166 alpha-2; empty: everywhere
	From      time.Time // zero, or past: at once
	Reason    *Reason
}

// Withdraw takes the title out of the catalogue of some countries from a moment on. A withdrawal never reaches into
// the past, because what was decided stays decided. One that changes nothing is not recorded.
func (t *Withdrawals) Withdraw(m Moment, r WithdrawRequest) (Verdict, error) {
	if _, ok := m.Reference.Title(t.title); !ok {
		return Verdict{}, fmt.Errorf("title %s: %w", t.title, ErrNotFound)
	}
	countries := slices.Clone(r.Countries)
	slices.Sort(countries)
	countries = slices.Compact(countries)
	for _, c := range countries {
		if err := checkCountry("countries", c); err != nil {
			return Verdict{}, err
		}
	}
	if err := checkReasonIfAny(r.Reason); err != nil {
		return Verdict{}, err
	}
	from := r.From.UTC().Truncate(time.Microsecond)
	if from.Before(m.Now) {
		from = m.Now
	}
	if t.changesNothing(countries, instantOf(from), instantOf(m.Now)) {
		return Verdict{}, nil
	}
	return Verdict{Events: []NewEvent{{Payload: &TitleWithdrawn{TitleID: t.title, Countries: countries, From: from, Reason: r.Reason}}}}, nil
}

// changesNothing tells whether the title goes at that moment anyway, or is gone already and would go at once.
func (t *Withdrawals) changesNothing(countries []string, from, now instant) bool {
	same := func(at instant) bool { return at == from || from == now && at != 0 && at <= now }
	if len(countries) == 0 {
		return same(t.everywhere) && !slices.ContainsFunc(t.countries, func(w withdrawal) bool { return !same(w.from) })
	}
	return !slices.ContainsFunc(countries, func(c string) bool {
		at, _ := t.From(c)
		return !same(instantOf(at))
	})
}

// PolicyVersions is the folded stream of a policy document: its newest version. Version 1 is in the program.
type PolicyVersions struct {
	name      string
	seq       uint64
	version   int     // newest; 0: nothing was published, version 1 is in force
	effective instant // of the newest
	document  []byte  // of the newest
}

// Newest is the number of the newest version.
func (p *PolicyVersions) Newest() int { return max(p.version, 1) }

// Version is the seq of the last event folded.
func (p *PolicyVersions) Version() uint64 { return p.seq }

// Apply folds the event after the last.
func (p *PolicyVersions) Apply(e *Event) error {
	d, err := foldable[*PolicyPublished](e, p.seq)
	if err != nil {
		return err
	}
	p.version, p.effective, p.document, p.seq = d.Version, instantOf(d.EffectiveFrom), d.Document, e.Seq
	return nil
}

// Clone is an independent copy.
func (p *PolicyVersions) Clone() Aggregate { d := *p; return &d }

// Size is about how many bytes of memory the state holds.
func (p *PolicyVersions) Size() int { return 96 + len(p.name) + len(p.document) }

// AppendBinary appends the state to b, encoded for a snapshot.
func (p *PolicyVersions) AppendBinary(b []byte) ([]byte, error) { return appendState(b, p), nil }

func (p *PolicyVersions) walk(w stateCoder) {
	w.seq(&p.seq)
	w.int(&p.version)
	w.instant(&p.effective)
	w.bytes(&p.document)
}

// PublishRequest puts the next version of a document in force.
type PublishRequest struct {
	Document      []byte    // canonical JSON of a valid document
	EffectiveFrom time.Time // zero, or past: at once
	Reason        *Reason
}

// Publish records the next version. It comes into force at the moment named, but never before now. In force at a moment
// is the highest version that has come into force by then, so a version also cancels one that was still to come. The
// newest document again, from then on or earlier, changes nothing.
func (p *PolicyVersions) Publish(m Moment, r PublishRequest) (Verdict, error) {
	if err := checkReasonIfAny(r.Reason); err != nil {
		return Verdict{}, err
	}
	if len(r.Document) == 0 {
		return Verdict{}, &FieldError{Field: "document", Problem: "is missing"}
	}
	from := r.EffectiveFrom.UTC().Truncate(time.Microsecond)
	if from.Before(m.Now) {
		from = m.Now
	}
	if bytes.Equal(r.Document, p.document) && p.effective <= instantOf(from) {
		return Verdict{}, nil
	}
	return Verdict{Events: []NewEvent{{Payload: &PolicyPublished{
		Policy: p.name, Version: p.Newest() + 1, EffectiveFrom: from, Document: r.Document, Reason: r.Reason,
	}}}}, nil
}

// foldable is the payload of an event that may follow seq, if it is of the type that the stream holds.
func foldable[P Payload](e *Event, seq uint64) (P, error) {
	var none P
	if e.Seq != seq+1 {
		return none, fmt.Errorf("folding %s: event %d can't follow event %d", e.Stream, e.Seq, seq)
	}
	data, err := e.Data()
	if err != nil {
		return none, fmt.Errorf("folding %s at %d: %w", e.Stream, e.Seq, err)
	}
	p, ok := data.(P)
	if !ok {
		return none, misplaced(e)
	}
	return p, nil
}

func misplaced(e *Event) error {
	return fmt.Errorf("folding %s at %d: %w: %s does not belong there", e.Stream, e.Seq, ErrUnknownEventType, e.Type)
}

// checkCountry wants two capital letters, as ISO 3166 has them.
func checkCountry(field, country string) error {
	if len(country) == 2 && country[0] >= 'A' && country[0] <= 'Z' && country[1] >= 'A' && country[1] <= 'Z' {
		return nil
	}
	return &FieldError{Field: field, Problem: fmt.Sprintf("holds %q, which is not two capital letters of ISO 3166", country)}
}
