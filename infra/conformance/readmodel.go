package conformance

// The read models: whatever the store, the rows that the projections make of a history are what the history says, and
// the questions of the query side find them. Every test compares with a plain walk through the events.

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// ReadModels are the stores of a profile, new and empty. A nil one is not part of the profile: its tests are skipped,
// visibly.
type ReadModels struct {
	Customers interface {
		projector.Store[projector.CustomersTx]
		query.CustomersModel
	}
	Timeline interface {
		projector.Store[projector.TimelineTx]
		query.TimelineModel
	}
	Denials interface {
		projector.Store[projector.DenialsTx]
		query.DenialsModel
	}
	Analytics interface {
		projector.Store[projector.AnalyticsTx]
		query.AnalyticsModel
	}
	Search interface {
		projector.Store[projector.SearchTx]
		query.SearchModel
	}
	Reference interface {
		projector.Store[projector.ReferenceTx]
		query.ReferenceModel
	}
}

// ReadModelFactory makes new, empty stores.
type ReadModelFactory func(t testing.TB, pseudonyms query.Pseudonyms) ReadModels

// ReadModel runs the suite.
func ReadModel(t *testing.T, factory ReadModelFactory) {
	for _, test := range []struct {
		name  string
		needs string // models
		run   func(*library)
	}{
		{"timeline: pages hold every event once, in order, whatever the filter", "timeline", timelinePages},
		{"timeline: an id of a decision, command or request leads to its events", "timeline", timelineRefs},
		{"timeline: a cursor is good for its own question only", "timeline", timelineCursors},
		{"timeline: personal words are opened when they are read, and gone when they were erased", "timeline", timelineWords},
		{"denials: pages hold every refusal once, with its rule in numbers", "denials", denialPages},
		{"customers: states are those that the domain folds", "customers", customerStates},
		{"customers: lists say what the event store says", "customers reference", customerLists},
		{"customers: ids and pseudonyms are found", "customers timeline", customerLookups},
		{"customers: a state as of any moment is the fold of what was recorded by then", "timeline reference", customerAsOf},
		{"customers: whom a withdrawal touches are those whose licences it ends", "customers reference", customerImpact},
		{"reference: withdrawals and policies are those that were decided", "reference", referenceRows},
		{"analytics: counts are those of a walk through the events", "analytics", analyticsCounts},
		{"analytics: active licences are those that the domain calls active", "analytics", analyticsActive},
		{"analytics: active licences of the past do not change with the order of the shards", "analytics", analyticsOrder},
		{"analytics: days are those of the time zone, when the clocks change, too", "analytics", analyticsZones},
		{"analytics: what can't be answered is refused by name", "analytics", analyticsRefusals},
		{"search: hits are those that hold every word, the best first", "search", searchHits},
		{"search: the words are those that everybody may be shown", "search", searchHides},
		{"search: filters and facets are exact below the bound", "search", searchFilters},
		{"search: a typo finds what was meant", "search", searchTypos},
		{"search: nothing that a user types is syntax", "search", searchSyntax},
		{"search: pages hold every hit once while new ones come", "search", searchPages},
		{"analysts see pseudonyms, filter by them, and may resolve one", "search customers", analysts},
		{"a read that can't be recorded is refused", "customers timeline denials reference", unrecorded},
		{"what support searches and counts is recorded for each customer", "search customers analytics", recordedFigures},
		{"a read waits for the version it asks for, and says when it was not reached", "customers timeline reference", waitsForVersions},
		{"a transaction that is rolled back leaves nothing", "customers timeline denials analytics search", rolledBack},
		{"an event of a newer program is poison", "customers timeline denials analytics search", poisonous},
		{"exports hold every row once", "customers timeline denials search reference", exports},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newLibrary(t, factory, strings.Fields(test.needs)))
		})
	}
}

// library is a history, the read models of it, and the query side over them.
type library struct {
	*testing.T
	ctx        context.Context
	history    *History
	models     ReadModels
	pseudonyms query.Pseudonyms
	entries    []domain.Entry
	events     []*domain.Event // in the order in which they were applied
	factory    ReadModelFactory
	log        *accessLog
	words      *wordBook
	ports      query.Ports
	app        *query.App
}

const libraryCustomers = 12

func newLibrary(t *testing.T, factory ReadModelFactory, needs []string) *library {
	t.Helper()
	l := &library{T: t, ctx: t.Context(), pseudonyms: query.NewPseudonyms([]byte("a key for pseudonyms")), factory: factory, log: &accessLog{}, words: &wordBook{}}
	var err error
	if l.history, err = NewHistory(uint64(len(t.Name())), libraryCustomers, 3); err != nil {
		t.Fatal(err)
	}
	l.models = factory(t, l.pseudonyms)
	l.keep(needs)
	l.grow(2000)
	l.ports = query.Ports{
		Desk: query.Desk{Log: l.log, Now: l.now}, Clock: l.now, Cursors: query.NewCursors([]byte("a key for cursors")),
		Pseudonyms: l.pseudonyms, Words: l.words, Books: l, Waiters: map[string]query.Waiter{},
	}
	l.wire()
	return l
}

// wire puts the models that there are into the ports: a nil store must not become an interface that is not nil.
func (l *library) wire() {
	catalogue := func() query.Catalogue { return l.history.Catalogue() }
	if m := l.models.Customers; m != nil {
		l.ports.Customers, l.ports.Waiters["customers"] = m, projector.NewWaiter(m)
	}
	if m := l.models.Timeline; m != nil {
		l.ports.Timeline, l.ports.Waiters["timeline"] = m, projector.NewWaiter(m)
	}
	if m := l.models.Denials; m != nil {
		l.ports.Denials, l.ports.Waiters["denials"] = m, projector.NewWaiter(m)
	}
	if m := l.models.Analytics; m != nil {
		l.ports.Analytics, l.ports.Waiters["analytics"] = m, projector.NewWaiter(m)
	}
	if m := l.models.Search; m != nil {
		l.ports.Search, l.ports.Waiters["search"] = m, projector.NewWaiter(m)
	}
	if m := l.models.Reference; m != nil {
		l.ports.Reference = query.NewReferences(m, catalogue, keptBefore(catalogue))
	}
	l.ports.Catalogue = catalogue
	l.app = query.New(l.ports)
}

func (l *library) now() time.Time { return l.history.Now }

// keep leaves only the models that a test needs, and skips the test when the profile lacks one.
func (l *library) keep(needs []string) {
	l.Helper()
	all := l.models
	l.models = ReadModels{}
	there := false
	for _, model := range needs {
		switch model {
		case "customers":
			l.models.Customers, there = all.Customers, all.Customers != nil
		case "timeline":
			l.models.Timeline, there = all.Timeline, all.Timeline != nil
		case "denials":
			l.models.Denials, there = all.Denials, all.Denials != nil
		case "analytics":
			l.models.Analytics, there = all.Analytics, all.Analytics != nil
		case "search":
			l.models.Search, there = all.Search, all.Search != nil
		case "reference":
			l.models.Reference, there = all.Reference, all.Reference != nil
		default:
			l.Fatalf("there is no read model %s", model)
		}
		if !there {
			l.Skipf("this profile has no read model %s", model)
		}
	}
}

// grow goes on with the history and applies it.
func (l *library) grow(events int) {
	l.Helper()
	l.take(l.history.Grow(events))
}

// take takes in entries and applies them.
func (l *library) take(entries []domain.Entry) {
	l.Helper()
	l.entries = append(l.entries, entries...)
	for i := range entries {
		for j := range entries[i].Events {
			l.events = append(l.events, &entries[i].Events[j])
		}
	}
	l.apply(l.models, entries)
}

// apply applies entries to models.
func (l *library) apply(models ReadModels, entries []domain.Entry) {
	l.Helper()
	if models.Customers != nil {
		applyEntries(l, models.Customers, projector.Customers{}, entries)
	}
	if models.Timeline != nil {
		applyEntries(l, models.Timeline, projector.Timeline{}, entries)
	}
	if models.Denials != nil {
		applyEntries(l, models.Denials, projector.Denials{}, entries)
	}
	if models.Analytics != nil {
		applyEntries(l, models.Analytics, projector.Analytics{}, entries)
	}
	if models.Search != nil {
		applyEntries(l, models.Search, projector.Search{}, entries)
	}
	if models.Reference != nil {
		applyEntries(l, models.Reference, projector.Reference{}, entries)
	}
}

// applyEntries applies entries to one model, in transactions of several sizes.
func applyEntries[T projector.Tx](l *library, store projector.Store[T], p projector.Projection[T], entries []domain.Entry) {
	l.Helper()
	for size := 1; len(entries) > 0; size = size%23 + 1 {
		n := 1
		for n < len(entries) && n < size && entries[n].Shard == entries[0].Shard {
			n++
		}
		if err := ApplyEntries(l.ctx, store, p, entries[:n]); err != nil {
			l.Fatalf("%s: %v", p.Name(), err)
		}
		entries = entries[n:]
	}
}

// ApplyEntries applies entries of one shard in one transaction, as a consumer does.
func ApplyEntries[T projector.Tx](ctx context.Context, store projector.Store[T], p projector.Projection[T], entries []domain.Entry) error {
	tx, err := store.Begin(ctx, entries[0].Shard)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var events []*domain.Event
	for i := range entries {
		for j := range entries[i].Events {
			events = append(events, &entries[i].Events[j])
		}
	}
	if err := p.Apply(ctx, tx, events); err != nil {
		return err
	}
	last := &entries[len(entries)-1]
	return tx.Commit(ctx, projector.Checkpoint{Index: last.Index, ID: last.ID})
}

// Events makes a library the event store of its own history.
func (l *library) Events(_ context.Context, stream domain.StreamID, from uint64) iter.Seq2[*domain.Event, error] {
	return func(yield func(*domain.Event, error) bool) {
		for _, e := range l.of(stream) {
			if e.Seq >= from && !yield(e, nil) {
				return
			}
		}
	}
}

// of are the events of a stream, in order.
func (l *library) of(stream domain.StreamID) []*domain.Event {
	var events []*domain.Event
	for _, e := range l.events {
		if e.Stream == stream {
			events = append(events, e)
		}
	}
	return events
}

// customers are the ids of all customers, in order.
func (l *library) customers() []string {
	var ids []string
	for id := range l.history.States() {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// busiest is the customer with the most events.
func (l *library) busiest() string {
	most, id := 0, ""
	for _, c := range l.customers() {
		if n := len(l.of(domain.CustomerStream(c))); n > most {
			most, id = n, c
		}
	}
	return id
}

// as is a caller in a role.
func as(role domain.Role) query.Caller {
	return query.Caller{Actor: domain.Actor{ID: "somebody", Role: role}, RequestID: "req-test"}
}

var operator = as(domain.RoleOperator)

// must fails the test on an error.
func must[A any](l *library, what string) func(A, error) A {
	return func(answer A, err error) A {
		l.Helper()
		if err != nil {
			l.Fatalf("%s: %v", what, err)
		}
		return answer
	}
}

// accessLog is an access log in memory, that may be out of order.
type accessLog struct {
	entries []query.Access
	broken  error
}

func (a *accessLog) Record(_ context.Context, looks ...query.Access) error {
	if a.broken != nil {
		return a.broken
	}
	for _, access := range looks {
		access.Number = int64(len(a.entries) + 1)
		a.entries = append(a.entries, access)
	}
	return nil
}

func (a *accessLog) Accesses(_ context.Context, customer string, before int64, limit int) ([]query.Access, error) {
	var found []query.Access
	for _, access := range slices.Backward(a.entries) {
		if access.Customer == customer && (before == 0 || access.Number < before) && len(found) < limit {
			found = append(found, access)
		}
	}
	return found, nil
}

// wordBook opens words that were never closed, unless they were erased.
type wordBook struct{ erased bool }

func (w *wordBook) Opener(_ context.Context, customer string) (query.WordsOpener, error) {
	if w.erased {
		return nil, fmt.Errorf("the key of %s: %w", customer, query.ErrErased)
	}
	return func(_ context.Context, sealed domain.Sealed) (string, error) {
		return "opened " + string(sealed) + " of " + customer, nil
	}, nil
}

// catalogueBefore is one that was in force once: it holds what today's does, under another version.
type catalogueBefore struct{ query.Catalogue }

// Version is the one that is kept.
func (catalogueBefore) Version() string { return "before" }

func keptBefore(catalogue func() query.Catalogue) func(version string) (query.Catalogue, error) {
	return func(version string) (query.Catalogue, error) {
		if version != "before" {
			return nil, fmt.Errorf("catalogue %s: %w", version, domain.ErrNotFound)
		}
		return catalogueBefore{catalogue()}, nil
	}
}
