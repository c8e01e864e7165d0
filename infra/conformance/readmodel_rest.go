package conformance

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

func analysts(l *library) {
	analyst := as(domain.RoleAnalyst)
	id := l.busiest()
	real := must[query.SearchEventsAnswer](l, "search")(l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: operator, Filter: query.Filter{Customer: []string{id}}, Page: query.Page{Limit: 200}}))
	veiled := must[query.SearchEventsAnswer](l, "search")(l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: analyst, Filter: query.Filter{Customer: []string{l.pseudonyms.Customer(id)}}, Page: query.Page{Limit: 200}}))
	if len(real.Hits) == 0 || len(veiled.Hits) != len(real.Hits) || veiled.Total != real.Total {
		l.Fatalf("%d hits behind the pseudonym, %d of the customer", len(veiled.Hits), len(real.Hits))
	}
	secret := []string{id, "agent-ines", "agent-tomas", "CASE-", "lic_", "dec_", "d-c-"}
	for i, hit := range veiled.Hits {
		text := fmt.Sprintf("%+v", hit)
		for _, s := range secret {
			if strings.Contains(text, s) {
				l.Fatalf("an analyst sees %q: %s", s, text)
			}
		}
		if hit.Customer != l.pseudonyms.Customer(id) || real.Hits[i].DeviceID != "" && hit.DeviceID != l.pseudonyms.Device(id, real.Hits[i].DeviceID) {
			l.Fatalf("the pseudonyms are %+v", hit)
		}
	}
	if none := must[query.SearchEventsAnswer](l, "search")(l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: analyst, Filter: query.Filter{Customer: []string{id}}})); none.Total != 0 {
		l.Fatalf("an analyst who knows the customer's id finds %d events by it", none.Total)
	}
	for what, err := range map[string]error{
		"customer": second(l.app.Customer.Handle(l.ctx, query.Customer{By: analyst, Customer: id})),
		"timeline": second(l.app.Timeline.Handle(l.ctx, query.Timeline{By: analyst, Customer: id})),
		"state":    second(l.app.State.Handle(l.ctx, query.State{By: analyst, Customer: id})),
		"access":   second(l.app.Access.Handle(l.ctx, query.Accesses{By: analyst, Customer: id})),
		"export":   second(l.app.Export.Handle(l.ctx, query.Export{By: analyst, Table: "timeline"})),
	} {
		if !errors.Is(err, query.ErrForbidden) {
			l.Errorf("an analyst asks for %s: %v", what, err)
		}
	}
	l.hiddenFilters(analyst)
	l.resolves(analyst, id)
}

// hiddenFilters: who guesses what is hidden, and finds something by it, has resolved a pseudonym without a record.
func (l *library) hiddenFilters(analyst query.Caller) {
	l.Helper()
	now := l.now()
	ask := map[string]func(query.Filter) error{
		"search": func(f query.Filter) error {
			return second(l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: analyst, Filter: f}))
		},
		"analytics": func(f query.Filter) error {
			f.From, f.To = now.Add(-time.Hour), now
			return second(l.app.Analytics.Handle(l.ctx, query.Analytics{By: analyst, Metric: projector.MetricDownloads, Filter: f}))
		},
	}
	for _, table := range query.Tables() {
		ask["export "+table] = func(f query.Filter) error {
			return second(l.app.Export.Handle(l.ctx, query.Export{By: analyst, Table: table, Filter: f}))
		}
	}
	for name, f := range map[string]query.Filter{
		"actor": {Actor: []string{l.busiest()}}, "license_id": {LicenseID: []string{"lic_1"}}, "case": {Case: []string{"CASE-7"}},
	} {
		for what, handle := range ask {
			if field, ok := errors.AsType[*domain.FieldError](handle(f)); !ok || field.Field != name {
				l.Errorf("an analyst filters %s by %s: %v", what, name, field)
			}
		}
	}
}

func recordedFigures(l *library) {
	support, id := as(domain.RoleSupport), l.busiest()
	others := slices.DeleteFunc(l.customers(), func(other string) bool { return other == id })
	now := l.now()
	search := func(f query.Filter, limit int) func() error {
		return func() error {
			return second(l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: support, Filter: f, Page: query.Page{Limit: limit}}))
		}
	}
	count := func(f query.Filter) func() error {
		f.From, f.To = now.Add(-time.Hour), now
		return func() error {
			return second(l.app.Analytics.Handle(l.ctx, query.Analytics{By: support, Metric: projector.MetricDownloads, Filter: f}))
		}
	}
	pageOf := map[string]bool{}
	for _, hit := range must[query.SearchEventsAnswer](l, "search")(l.app.SearchEvents.Handle(l.ctx, query.SearchEvents{By: operator, Page: query.Page{Limit: 20}})).Hits {
		if hit.Customer != "" {
			pageOf[hit.Customer] = true
		}
	}
	for _, test := range []struct {
		name, what string
		ask        func() error
		want       []string
	}{
		{"a search of one customer", "search", search(query.Filter{Customer: []string{id}}, 1), []string{id}},
		{"a search of two that shows one", "search", search(query.Filter{Customer: []string{id, others[0], id}}, 1), []string{id, others[0]}},
		{"a search of one that finds nothing", "search", search(query.Filter{Customer: []string{id}, Case: []string{"nothing"}}, 1), []string{id}},
		{"a search of everybody", "search", search(query.Filter{}, 20), slices.Collect(maps.Keys(pageOf))},
		{"figures of one customer", "analytics", count(query.Filter{Customer: []string{id}}), []string{id}},
		{"figures of everybody", "analytics", count(query.Filter{}), nil},
	} {
		l.log.entries, l.log.broken = nil, nil
		if err := test.ask(); err != nil {
			l.Errorf("%s: %v", test.name, err)
		}
		var got []string
		for _, look := range l.log.entries {
			got = append(got, look.Customer)
			if look.What != test.what || look.Actor != support.Actor || look.RequestID != support.RequestID || !look.At.Equal(now) {
				l.Errorf("%s: recorded %+v", test.name, look)
			}
		}
		slices.Sort(got)
		slices.Sort(test.want)
		if !slices.Equal(got, test.want) {
			l.Errorf("%s: recorded for %v, want %v", test.name, got, test.want)
		}
		l.log.broken = errors.New("disk full")
		if err := test.ask(); len(test.want) > 0 && !errors.Is(err, query.ErrUnavailable) {
			l.Errorf("%s without a record: %v", test.name, err)
		}
	}
	l.log.broken = nil
	for name, f := range map[string]query.Filter{
		"device_id": {DeviceID: []string{"d"}}, "license_id": {LicenseID: []string{"lic_1"}}, "actor": {Actor: []string{id}},
	} {
		if field, ok := errors.AsType[*domain.FieldError](count(f)()); !ok || field.Field != name {
			l.Errorf("support counts by %s: %v", name, field)
		}
	}
}

// second leaves the error of an answer.
func second[A any](_ A, err error) error { return err }

func (l *library) resolves(analyst query.Caller, id string) {
	l.Helper()
	_, err := l.app.Resolve.Handle(l.ctx, query.Resolve{By: analyst, Pseudonym: l.pseudonyms.Customer(id)})
	if field, ok := errors.AsType[*domain.FieldError](err); !ok || field.Field != "reason" {
		l.Errorf("without a reason: %v", err)
	}
	if len(l.log.entries) != 0 {
		l.Fatalf("recorded before anything was resolved: %+v", l.log.entries)
	}
	answer := must[query.ResolveAnswer](l, "resolve")(l.app.Resolve.Handle(l.ctx, query.Resolve{By: analyst, Pseudonym: l.pseudonyms.Customer(id), Reason: "a complaint"}))
	if answer.Customer != id {
		l.Errorf("behind the pseudonym of %s is %+v", id, answer)
	}
	_, err = l.app.Resolve.Handle(l.ctx, query.Resolve{By: analyst, Pseudonym: "pc_nothing", Reason: "a guess"})
	if !errors.Is(err, domain.ErrNotFound) || len(l.log.entries) != 2 {
		l.Errorf("a pseudonym that nothing has: %v; recorded %+v", err, l.log.entries)
	}
	if _, err := l.app.Resolve.Handle(l.ctx, query.Resolve{By: as(domain.RoleSupport), Pseudonym: "pc_x", Reason: "r"}); !errors.Is(err, query.ErrForbidden) {
		l.Errorf("support resolves: %v", err)
	}
	for _, reason := range []string{"x\x00y", "a\nb", "\xff"} {
		_, err = l.app.Resolve.Handle(l.ctx, query.Resolve{By: analyst, Pseudonym: l.pseudonyms.Customer(id), Reason: reason})
		if field, ok := errors.AsType[*domain.FieldError](err); !ok || field.Field != "reason" {
			l.Errorf("for the reason %q: %v", reason, err)
		}
	}
	if none := must[query.AccessesAnswer](l, "accesses")(l.app.Access.Handle(l.ctx, query.Accesses{By: operator, Customer: "nobody"})); none.Accesses == nil {
		l.Error("nobody's accesses are null, not an empty list")
	}
	read := must[query.AccessesAnswer](l, "accesses")(l.app.Access.Handle(l.ctx, query.Accesses{By: operator, Customer: id}))
	if len(read.Accesses) != 1 || read.Accesses[0].Reason != "a complaint" || read.Accesses[0].Actor != analyst.Actor || read.Accesses[0].RequestID != analyst.RequestID {
		l.Errorf("the access log says %+v", read.Accesses)
	}
}

func unrecorded(l *library) {
	support, id := as(domain.RoleSupport), l.busiest()
	ask := map[string]func() error{
		"customer": func() error { return second(l.app.Customer.Handle(l.ctx, query.Customer{By: support, Customer: id})) },
		"devices":  func() error { return second(l.app.Devices.Handle(l.ctx, query.Devices{By: support, Customer: id})) },
		"licenses": func() error { return second(l.app.Licenses.Handle(l.ctx, query.Licenses{By: support, Customer: id})) },
		"exceptions": func() error {
			return second(l.app.Exceptions.Handle(l.ctx, query.Exceptions{By: support, Customer: id}))
		},
		"denials":  func() error { return second(l.app.Denials.Handle(l.ctx, query.Denials{By: support, Customer: id})) },
		"timeline": func() error { return second(l.app.Timeline.Handle(l.ctx, query.Timeline{By: support, Customer: id})) },
		"state":    func() error { return second(l.app.State.Handle(l.ctx, query.State{By: support, Customer: id})) },
		"explain": func() error {
			return second(l.app.Explain.Handle(l.ctx, query.Explain{By: support, Customer: id, TitleID: l.history.recent[0], DeviceID: "d", DeviceType: "ipad"}))
		},
		"lookup": func() error { return second(l.app.Lookup.Handle(l.ctx, query.Lookup{By: support, Q: id})) },
		"export timeline": func() error {
			return second(l.app.Export.Handle(l.ctx, query.Export{By: support, Table: "timeline", Filter: query.Filter{Customer: []string{id}}}))
		},
	}
	for what, handle := range ask {
		l.log.entries, l.log.broken = nil, nil
		if err := handle(); err != nil {
			l.Errorf("%s: %v", what, err)
		}
		if len(l.log.entries) != 1 || l.log.entries[0].What != what || l.log.entries[0].Customer != id || !l.log.entries[0].At.Equal(l.now()) {
			l.Errorf("%s: recorded %+v", what, l.log.entries)
		}
		l.log.broken = errors.New("disk full")
		if err := handle(); !errors.Is(err, query.ErrUnavailable) {
			l.Errorf("%s without a record: %v", what, err)
		}
	}
	if _, err := l.app.Customer.Handle(l.ctx, query.Customer{By: operator, Customer: id}); err != nil {
		l.Errorf("an operator's read needs no record: %v", err)
	}
}

func waitsForVersions(l *library) {
	id := l.busiest()
	ahead := query.Consistency{Mode: query.Authoritative, MinVersion: 1 << 40}
	for what, err := range map[string]error{
		"customer": second(l.app.Customer.Handle(l.ctx, query.Customer{By: operator, Customer: id, Consistency: ahead})),
		"timeline": second(l.app.Timeline.Handle(l.ctx, query.Timeline{By: operator, Customer: id, Consistency: ahead})),
		"denials":  second(l.app.Denials.Handle(l.ctx, query.Denials{By: operator, Customer: id, Consistency: ahead})),
	} {
		if !errors.Is(err, query.ErrBehind) {
			l.Errorf("%s from the event store, at a version that is not there: %v", what, err)
		}
	}
	stream := domain.CustomerStream(id)
	events := l.of(stream)
	version := events[len(events)-1].Seq
	ask := func(ctx context.Context, c query.Consistency) error {
		return errors.Join(
			second(l.app.Customer.Handle(ctx, query.Customer{By: operator, Customer: id, Consistency: c})),
			second(l.app.Timeline.Handle(ctx, query.Timeline{By: operator, Customer: id, Consistency: c})))
	}
	if err := ask(l.ctx, query.Consistency{MinVersion: version, MinPosition: events[len(events)-1].Position}); err != nil {
		l.Fatalf("what is there: %v", err)
	}
	short, cancel := context.WithTimeout(l.ctx, 50*time.Millisecond)
	defer cancel()
	err := ask(short, query.Consistency{MinVersion: version + 1})
	behind, ok := errors.AsType[*query.BehindError](err)
	if !ok || !errors.Is(err, query.ErrBehind) || behind.Wanted != fmt.Sprintf("version %d", version+1) || behind.Reached != fmt.Sprintf("version %d", version) {
		l.Fatalf("what is not there yet: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- ask(l.ctx, query.Consistency{MinVersion: version + 1}) }()
	for len(l.of(stream)) == len(events) {
		l.grow(50)
	}
	if err := <-waited; err != nil {
		l.Fatalf("what came: %v", err)
	}
	l.parkedRead(stream, id)
}

// parkedRead asks for more of a stream that is parked.
func (l *library) parkedRead(stream domain.StreamID, id string) {
	l.Helper()
	events := l.of(stream)
	last := events[len(events)-1]
	tx := must[projector.CustomersTx](l, "begin")(l.models.Customers.Begin(l.ctx, last.Position.Shard))
	defer tx.Rollback()
	position := domain.Position{Shard: last.Position.Shard, Index: last.Position.Index + 1}
	err := tx.Park(l.ctx, projector.Parked{Stream: stream, Shard: position.Shard, FirstSeq: last.Seq + 1, Position: position, Reason: "test", Attempts: 1, Since: l.now()})
	if err := errors.Join(err, tx.Commit(l.ctx, tx.Checkpoint())); err != nil {
		l.Fatal(err)
	}
	_, err = l.app.Customer.Handle(l.ctx, query.Customer{By: operator, Customer: id, Consistency: query.Consistency{MinVersion: last.Seq + 1}})
	parked, ok := errors.AsType[*query.ParkedError](err)
	if !ok || !errors.Is(err, query.ErrParked) || parked.FirstSeq != last.Seq+1 || !strings.Contains(err.Error(), fmt.Sprintf("parked at seq %d", last.Seq+1)) {
		l.Fatalf("more of a parked stream: %v", err)
	}
	if _, err := l.app.Customer.Handle(l.ctx, query.Customer{By: operator, Customer: id, Consistency: query.Consistency{MinVersion: last.Seq}}); err != nil {
		l.Fatalf("what is there of a parked stream: %v", err)
	}
}

func rolledBack(l *library) {
	entries := l.history.Grow(300)
	for i := range entries {
		if i < 20 {
			tryAndGiveUp(l, l.models.Timeline, projector.Timeline{}, &entries[i])
			tryAndGiveUp(l, l.models.Customers, projector.Customers{}, &entries[i])
			tryAndGiveUp(l, l.models.Denials, projector.Denials{}, &entries[i])
			tryAndGiveUp(l, l.models.Analytics, projector.Analytics{}, &entries[i])
			tryAndGiveUp(l, l.models.Search, projector.Search{}, &entries[i])
		}
		l.take(entries[i : i+1])
	}
	customerStates(l)
	timelinePages(l)
	q := query.Analytics{By: operator, Metric: "denials", GroupBy: []string{"code"}, Top: 100, Interval: "day", Measure: "count"}
	q.Filter.From, q.Filter.To = l.events[0].RecordedAt, l.now().Add(time.Hour)
	l.compareCounts(q, l.happenings())
	l.compareFilter(l.documents(), query.Filter{})
}

func tryAndGiveUp[T projector.Tx](l *library, store projector.Store[T], p projector.Projection[T], e *domain.Entry) {
	l.Helper()
	tx, err := store.Begin(l.ctx, e.Shard)
	if err != nil {
		l.Fatal(err)
	}
	defer tx.Rollback()
	events := make([]*domain.Event, len(e.Events))
	for i := range e.Events {
		events[i] = &e.Events[i]
	}
	if err := p.Apply(l.ctx, tx, events); err != nil {
		l.Fatal(err)
	}
	tx.Rollback()
	checkpoints, err := store.Checkpoints(l.ctx)
	if err != nil || checkpoints[e.Shard].Index >= e.Index {
		l.Fatalf("after giving up entry %d the checkpoint is %+v, %v", e.Index, checkpoints[e.Shard], err)
	}
}

func poisonous(l *library) {
	good := l.of(domain.CustomerStream(l.busiest()))
	last := *good[len(good)-1]
	for name, poison := range map[string]domain.Event{
		"an unknown type":  {Type: "LicenseTeleported", SchemaVersion: 1, Payload: json.RawMessage(`{}`)},
		"a future version": {Type: "LicenseDenied", SchemaVersion: 99, Payload: json.RawMessage(`{}`)},
		"no JSON":          {Type: "LicenseDenied", SchemaVersion: 1, Payload: json.RawMessage(`{`)},
	} {
		poison.Stream, poison.Seq, poison.RecordedAt, poison.Position = last.Stream, last.Seq+1, l.now(), domain.Position{Shard: last.Position.Shard, Index: last.Position.Index + 9}
		for model, err := range map[string]error{
			"timeline":  applyOne(l, l.models.Timeline, projector.Timeline{}, &poison),
			"customers": applyOne(l, l.models.Customers, projector.Customers{}, &poison),
			"denials":   applyOne(l, l.models.Denials, projector.Denials{}, &poison),
			"analytics": applyOne(l, l.models.Analytics, projector.Analytics{}, &poison),
			"search":    applyOne(l, l.models.Search, projector.Search{}, &poison),
		} {
			named, ok := errors.AsType[*projector.PoisonError](err)
			if !ok || !errors.Is(err, projector.ErrPoison) || named.Event != &poison {
				l.Errorf("%s in %s: %v", name, model, err)
			}
		}
	}
}

func exports(l *library) {
	counts := map[string]int{"customers": len(l.customers()), "events": len(l.events)}
	for _, e := range l.events {
		if e.Stream.Kind() == domain.KindCustomer {
			counts["timeline"]++
		}
		if e.Type == projector.DeniedType {
			counts["denials"]++
		}
	}
	for _, state := range l.history.States() {
		counts["devices"] += len(state.Devices(l.history.Reference(), l.now()))
		counts["licenses"] += len(state.Licenses(l.history.Reference(), l.now()))
		counts["exceptions"] += len(state.Exceptions(l.now()))
	}
	for _, table := range query.Tables() {
		text, rows := l.exported(query.Export{By: operator, Table: table})
		if rows != counts[table] {
			l.Errorf("%s: %d rows, want %d", table, rows, counts[table])
		}
		for _, word := range []string{"c2VhbGVk", "opened"} {
			if strings.Contains(text, word) {
				l.Errorf("%s: an export holds personal words: %s", table, word)
			}
		}
		if table == "timeline" || table == "exceptions" {
			continue
		}
		veiled, rows := l.exported(query.Export{By: as(domain.RoleAnalyst), Table: table})
		if rows != counts[table] {
			l.Errorf("%s for an analyst: %d rows, want %d", table, rows, counts[table])
		}
		for _, word := range []string{"c-0000", "agent-ines", "lic_", "dec_"} {
			if strings.Contains(veiled, word) {
				l.Errorf("%s for an analyst holds %s", table, word)
			}
		}
	}
	id := l.busiest()
	_, rows := l.exported(query.Export{By: operator, Table: "timeline", Filter: query.Filter{Customer: []string{id}, Type: []string{"LicenseIssued"}}})
	if want := len(l.timelineOf(query.Timeline{Customer: id, Type: []string{"LicenseIssued"}})); rows != want {
		l.Errorf("filtered: %d rows, want %d", rows, want)
	}
	_, err := l.app.Export.Handle(l.ctx, query.Export{By: operator, Table: "devices", Filter: query.Filter{Code: []string{"x"}}})
	if field, ok := errors.AsType[*domain.FieldError](err); !ok || field.Field != "code" {
		l.Errorf("a filter that does not fit: %v", err)
	}
}

// exported is a table as CSV and the number of its rows, which must all be different; NDJSON must have as many.
func (l *library) exported(q query.Export) (string, int) {
	l.Helper()
	var text, lines bytes.Buffer
	n := must[int64](l, "csv")(must[query.Exported](l, q.Table)(l.app.Export.Handle(l.ctx, q)).WriteCSV(&text, nil))
	m := must[int64](l, "ndjson")(must[query.Exported](l, q.Table)(l.app.Export.Handle(l.ctx, q)).WriteNDJSON(&lines, nil))
	records, err := csv.NewReader(bytes.NewReader(text.Bytes())).ReadAll()
	if err != nil || int64(len(records)) != n+1 || m != n || int64(bytes.Count(lines.Bytes(), []byte("\n"))) != n {
		l.Fatalf("%s: %d rows as CSV, %d as NDJSON, %d records: %v", q.Table, n, m, len(records), err)
	}
	seen := map[string]bool{}
	for _, r := range records {
		line := strings.Join(r, "|")
		if seen[line] && q.Table != "licenses" && q.Table != "events" {
			l.Fatalf("%s: %s comes twice", q.Table, line)
		}
		seen[line] = true
	}
	for line := range bytes.Lines(lines.Bytes()) {
		if !json.Valid(line) {
			l.Fatalf("%s: %s is no JSON", q.Table, line)
		}
	}
	return text.String(), int(n)
}

// applyOne tries one event and gives it up.
func applyOne[T projector.Tx](l *library, store projector.Store[T], p projector.Projection[T], e *domain.Event) error {
	l.Helper()
	tx, err := store.Begin(l.ctx, e.Position.Shard)
	if err != nil {
		l.Fatal(err)
	}
	defer tx.Rollback()
	return p.Apply(l.ctx, tx, []*domain.Event{e})
}
