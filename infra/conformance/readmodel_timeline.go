package conformance

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// timelineQuestions are questions about a customer, and what a walk through the events answers.
func (l *library) timelineQuestions(customer string) []query.Timeline {
	events := l.of(domain.CustomerStream(customer))
	middle := events[len(events)/2].RecordedAt
	var device, title, license, actor string
	for _, e := range events {
		if about, _, err := projector.AboutEvent(e); err == nil && about.LicenseID != "" {
			device, title, license, actor = about.DeviceID, about.TitleID, about.LicenseID, e.Actor.ID
			break
		}
	}
	return []query.Timeline{
		{}, {Order: query.OrderOldest}, {DeviceID: device}, {TitleID: title}, {LicenseID: license, Order: query.OrderOldest}, {Actor: actor},
		{Type: []string{"LicenseDenied", "DeviceRegistered"}}, {From: middle}, {To: middle, Order: query.OrderOldest},
		{From: middle.Add(-48 * time.Hour), To: middle, DeviceID: device}, {DeviceID: "d-nobody"}, {Type: []string{"PlanChanged"}, TitleID: title},
	}
}

// timelineOf is the plain answer.
func (l *library) timelineOf(q query.Timeline) []uint64 {
	seqs := []uint64{}
	for _, e := range l.of(domain.CustomerStream(q.Customer)) {
		about, _, err := projector.AboutEvent(e)
		if err != nil {
			l.Fatal(err)
		}
		switch {
		case len(q.Type) > 0 && !slices.Contains(q.Type, e.Type),
			q.DeviceID != "" && about.DeviceID != q.DeviceID, q.TitleID != "" && about.TitleID != q.TitleID,
			q.LicenseID != "" && about.LicenseID != q.LicenseID, q.Actor != "" && e.Actor.ID != q.Actor,
			!q.From.IsZero() && e.RecordedAt.Before(q.From), !q.To.IsZero() && !e.RecordedAt.Before(q.To):
			continue
		}
		seqs = append(seqs, e.Seq)
	}
	if q.Order != query.OrderOldest {
		slices.Reverse(seqs)
	}
	return seqs
}

func timelinePages(l *library) {
	for _, customer := range l.customers() {
		for _, q := range l.timelineQuestions(customer) {
			q.Customer, q.By = customer, operator
			want := l.timelineOf(q)
			for _, mode := range []string{query.Projected, query.Authoritative} {
				q.Consistency.Mode = mode
				for _, size := range []int{7, 200} {
					q.Page = query.Page{Limit: size}
					if got := l.walkTimeline(q); !slices.Equal(got, want) {
						l.Fatalf("%s, %d a page, %+v:\ngot  %v\nwant %v", mode, size, q, got, want)
					}
				}
			}
		}
	}
}

// walkTimeline follows the cursors.
func (l *library) walkTimeline(q query.Timeline) []uint64 {
	l.Helper()
	seqs := []uint64{}
	for {
		answer := must[query.TimelineAnswer](l, "timeline")(l.app.Timeline.Handle(l.ctx, q))
		for _, e := range answer.Events {
			seqs = append(seqs, e.Seq)
			l.checkTimelineEvent(q.Customer, &e)
		}
		if last := l.of(domain.CustomerStream(q.Customer)); answer.Version != uint64(len(last)) {
			l.Fatalf("the answer says version %d of %d", answer.Version, len(last))
		}
		if answer.NextCursor == "" {
			return seqs
		}
		if len(answer.Events) != q.Page.Limit {
			l.Fatalf("a page that is not the last has %d of %d events", len(answer.Events), q.Page.Limit)
		}
		q.Page.Cursor = answer.NextCursor
	}
}

// checkTimelineEvent compares an event of a page with the recorded one.
func (l *library) checkTimelineEvent(customer string, got *query.TimelineEvent) {
	l.Helper()
	e := l.of(domain.CustomerStream(customer))[got.Seq-1]
	same := got.EventID == e.ID && got.Type == e.Type && got.OccurredAt.Equal(e.OccurredAt) && got.RecordedAt.Equal(e.RecordedAt) &&
		got.Actor == e.Actor && got.CommandID == e.CommandID && got.Correlation == e.Correlation && got.Position == e.Position.String() && got.Versions == e.Versions
	if !same {
		l.Fatalf("event %d of %s is shown as %+v, recorded as %+v", e.Seq, customer, got, e)
	}
	if got.Sentence == "" || got.Sentence == e.Type+"." || strings.Contains(got.Sentence, "%!") {
		l.Fatalf("event %d of %s (%s) is told as %q", e.Seq, customer, e.Type, got.Sentence)
	}
}

func timelineRefs(l *library) {
	decisions := 0
	for i, e := range l.events {
		about, _, err := projector.AboutEvent(e)
		if err != nil {
			l.Fatal(err)
		}
		if e.Stream.Kind() != domain.KindCustomer || i%7 != 0 {
			continue
		}
		for _, id := range []string{e.CommandID, e.Correlation} {
			events := must[[]*domain.Event](l, "events by reference")(l.models.Timeline.EventsByRef(l.ctx, id, 10))
			if !slices.ContainsFunc(events, func(f *domain.Event) bool { return f.Stream == e.Stream && f.CommandID == e.CommandID }) {
				l.Fatalf("%s does not lead to event %d of %s", id, e.Seq, e.Stream)
			}
		}
		if about.Decision == nil {
			continue
		}
		decisions++
		answer := must[query.DecisionAnswer](l, "decision")(l.app.Decision.Handle(l.ctx, query.Decision{By: operator, ID: about.DecisionID()}))
		recorded, err := json.Marshal(about.Decision)
		if err != nil {
			l.Fatal(err)
		}
		if string(answer.Decision) != string(recorded) || answer.Seq != e.Seq || answer.Customer != e.Stream.ID() {
			l.Fatalf("decision %s is answered as %s of event %d of %s", about.DecisionID(), answer.Decision, answer.Seq, answer.Customer)
		}
		_, err = l.app.Decision.Handle(l.ctx, query.Decision{By: operator, ID: about.DecisionID(), Customer: "c-somebody-else"})
		if !errors.Is(err, domain.ErrNotFound) {
			l.Fatalf("another customer asks for the decision: %v", err)
		}
	}
	if decisions == 0 {
		l.Fatal("the history holds no decision")
	}
	if _, err := l.app.Decision.Handle(l.ctx, query.Decision{By: operator, ID: "dec_none"}); !errors.Is(err, domain.ErrNotFound) {
		l.Fatalf("a decision that there is not: %v", err)
	}
}

func timelineCursors(l *library) {
	q := query.Timeline{By: operator, Customer: l.busiest(), Page: query.Page{Limit: 5}}
	first := must[query.TimelineAnswer](l, "timeline")(l.app.Timeline.Handle(l.ctx, q))
	q.Page.Cursor = first.NextCursor
	for name, other := range map[string]query.Timeline{
		"another customer": {By: operator, Customer: l.customers()[0], Page: q.Page},
		"another order":    {By: operator, Customer: q.Customer, Page: q.Page, Order: query.OrderOldest},
		"another filter":   {By: operator, Customer: q.Customer, Page: q.Page, DeviceID: "d"},
		"a changed cursor": {By: operator, Customer: q.Customer, Page: query.Page{Limit: 5, Cursor: "A" + q.Page.Cursor[1:]}},
		"no cursor at all": {By: operator, Customer: q.Customer, Page: query.Page{Limit: 5, Cursor: "%%"}},
	} {
		if other.Customer == q.Customer && name == "another customer" {
			other.Customer = l.customers()[1]
		}
		_, err := l.app.Timeline.Handle(l.ctx, other)
		if field, ok := errors.AsType[*domain.FieldError](err); !ok || field.Field != "cursor" {
			l.Errorf("%s: %v", name, err)
		}
	}
	again := must[query.TimelineAnswer](l, "timeline")(l.app.Timeline.Handle(l.ctx, q))
	if again.Events[0].Seq != first.Events[4].Seq-1 {
		l.Errorf("the second page begins with %d after %d", again.Events[0].Seq, first.Events[4].Seq)
	}
}

func timelineWords(l *library) {
	q := query.Timeline{By: operator, Customer: l.busiest(), Type: []string{"DeviceRegistered"}, Page: query.Page{Limit: 50}}
	answer := must[query.TimelineAnswer](l, "timeline")(l.app.Timeline.Handle(l.ctx, q))
	named := slices.IndexFunc(answer.Events, func(e query.TimelineEvent) bool { return e.Words != "" }) // not every device has a name
	if named < 0 {
		l.Fatal("no event of the history has words")
	}
	if words := answer.Events[named].Words; words != "opened c2VhbGVk of "+q.Customer || answer.Events[named].WordsErased {
		l.Errorf("the words of an event are %q", words)
	}
	l.veiledTimelines()
	l.words.erased = true
	answer = must[query.TimelineAnswer](l, "timeline")(l.app.Timeline.Handle(l.ctx, q))
	if e := answer.Events[named]; e.Words != "" || !e.WordsErased {
		l.Errorf("after erasing, the words of an event are %q, erased %t", e.Words, e.WordsErased)
	}
}

// veiledTimelines reads every timeline as a device: who of the staff acted, and for which case, is not in it.
func (l *library) veiledTimelines() {
	l.Helper()
	acts, cases := 0, 0
	for _, id := range l.customers() {
		q := query.Timeline{By: operator, Customer: id, Page: query.Page{Limit: 200}}
		all := must[query.TimelineAnswer](l, "timeline")(l.app.Timeline.Handle(l.ctx, q))
		q.By = query.Caller{Actor: domain.Actor{ID: id, Role: domain.RoleDevice}}
		veiled := must[query.TimelineAnswer](l, "timeline")(l.app.Timeline.Handle(l.ctx, q))
		for i, e := range veiled.Events {
			full := all.Events[i]
			if full.Actor.Role != domain.RoleDevice {
				acts++
				if e.Actor.ID != "" || e.Actor.Role != full.Actor.Role {
					l.Fatalf("a device is told that %+v acted", e.Actor)
				}
			}
			if full.Case != "" {
				cases++
				if e.Case != "" || strings.Contains(e.Sentence, full.Case) || e.Sentence == "" {
					l.Fatalf("a device is told of a case: %+v", e)
				}
			}
		}
		q.Actor = "agent-ines"
		if _, err := l.app.Timeline.Handle(l.ctx, q); err == nil {
			l.Fatal("a device asks what somebody of the staff did")
		}
	}
	if acts == 0 || cases == 0 {
		l.Fatalf("the history holds %d acts of the staff, %d of them with a case", acts, cases)
	}
}

func denialPages(l *library) {
	refused := 0
	for _, customer := range l.customers() {
		var want []query.Denial
		for _, e := range l.of(domain.CustomerStream(customer)) {
			if e.Type == projector.DeniedType {
				want = append(want, l.denialOf(e))
			}
		}
		refused += len(want)
		for _, mode := range []string{query.Projected, query.Authoritative} {
			if got := l.walkDenials(query.Denials{By: operator, Customer: customer, Order: query.OrderOldest, Consistency: query.Consistency{Mode: mode}}); !reflect.DeepEqual(got, want) {
				l.Fatalf("%s denials of %s:\ngot  %+v\nwant %+v", mode, customer, got, want)
			}
		}
		if len(want) == 0 {
			continue
		}
		d := want[len(want)/2]
		q := query.Denials{By: operator, Customer: customer, Code: []string{d.Code}, DeviceID: d.DeviceID, TitleID: d.TitleID}
		got := l.walkDenials(q)
		matches := slices.DeleteFunc(slices.Clone(want), func(w query.Denial) bool {
			return w.Code != d.Code || w.DeviceID != d.DeviceID || w.TitleID != d.TitleID
		})
		slices.Reverse(matches)
		if !reflect.DeepEqual(got, matches) {
			l.Fatalf("filtered denials of %s: got %+v, want %+v", customer, got, matches)
		}
	}
	if refused == 0 {
		l.Fatal("the history holds no refusal")
	}
}

// denialOf is a refusal as it must be shown.
func (l *library) denialOf(e *domain.Event) query.Denial {
	l.Helper()
	data, err := e.Data()
	if err != nil {
		l.Fatal(err)
	}
	p := data.(*domain.LicenseDenied) //nolint:forcetypeassert // of that type of event
	decision, err := json.Marshal(&p.Decision)
	if err != nil {
		l.Fatal(err)
	}
	d := query.Denial{
		Seq: e.Seq, RecordedAt: e.RecordedAt, Command: p.Command, Code: p.Code, DeviceID: p.DeviceID, DeviceType: p.DeviceType,
		TitleID: p.TitleID, TitleName: p.TitleName, Series: p.Series, Studio: p.Studio, LicenseID: p.LicenseID, Actor: e.Actor,
		DecisionID: p.Decision.ID, Decision: decision, Position: e.Position.String(), Sentence: query.Sentence(e, data),
	}
	rule := query.RefusingRule(&p.Decision)
	d.Rule, d.Scope, d.Used, d.Limit, d.ResetsAt = rule.Rule, rule.Scope, rule.Used, rule.Limit, rule.ResetsAt
	return d
}

func (l *library) walkDenials(q query.Denials) []query.Denial {
	l.Helper()
	q.Page.Limit = 3
	var all []query.Denial
	for {
		answer := must[query.DenialsAnswer](l, "denials")(l.app.Denials.Handle(l.ctx, q))
		all = append(all, answer.Denials...)
		if answer.NextCursor == "" {
			return all
		}
		q.Page.Cursor = answer.NextCursor
	}
}
