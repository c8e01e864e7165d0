package conformance

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

func customerStates(l *library) {
	var after domain.StreamID
	seen := 0
	for {
		states := must[[]projector.CustomerState](l, "states")(l.models.Customers.StatesAfter(l.ctx, after, 5))
		for _, s := range states {
			if s.Stream <= after {
				l.Fatalf("%s comes after %s", s.Stream, after)
			}
			after = s.Stream
			seen++
			want, err := l.history.States()[s.Stream.ID()].AppendBinary(nil)
			if err != nil {
				l.Fatal(err)
			}
			events := l.of(s.Stream)
			last := events[len(events)-1]
			if !bytes.Equal(s.State, want) || s.Version != last.Seq || s.Position != last.Position || !s.RecordedAt.Equal(last.RecordedAt) {
				l.Fatalf("the state of %s at version %d, position %v differs from what the domain folds up to %d, %v", s.Stream, s.Version, s.Position, last.Seq, last.Position)
			}
			v := must[projector.StreamVersion](l, "version")(l.models.Customers.StreamVersion(l.ctx, s.Stream))
			if v.Version != last.Seq || v.Position != last.Position {
				l.Fatalf("the version of %s is %+v", s.Stream, v)
			}
		}
		if len(states) < 5 {
			break
		}
	}
	if seen != len(l.customers()) {
		l.Fatalf("%d states of %d customers", seen, len(l.customers()))
	}
}

// customerLists compares every list, read page by page, with the same list made from the event store.
func customerLists(l *library) {
	for _, id := range l.customers() {
		state, ref := l.history.States()[id], l.history.Reference()
		projected := must[query.StateAnswer](l, "state")(l.app.State.Handle(l.ctx, query.State{By: operator, Customer: id}))
		authoritative := must[query.StateAnswer](l, "state")(l.app.State.Handle(l.ctx, query.State{By: operator, Customer: id, Consistency: query.Consistency{Mode: query.Authoritative}}))
		if !reflect.DeepEqual(projected.State, authoritative.State) || projected.Version != authoritative.Version {
			l.Fatalf("state of %s:\nprojected     %+v\nauthoritative %+v", id, projected.State, authoritative.State)
		}
		if want := state.Summary(ref, l.now()); !reflect.DeepEqual(projected.State.Summary, want) {
			l.Fatalf("summary of %s: %+v, want %+v", id, projected.State.Summary, want)
		}
		if got, want := l.walkLicenses(query.Licenses{By: operator, Customer: id, Order: query.OrderOldest}), state.Licenses(ref, l.now()); !sameList(got, want) {
			l.Fatalf("licences of %s: %+v, want %+v", id, got, want)
		}
		active := slices.DeleteFunc(state.Licenses(ref, l.now()), func(v domain.LicenseView) bool { return v.Status != domain.StatusActive })
		slices.Reverse(active)
		if got := l.walkLicenses(query.Licenses{By: operator, Customer: id, State: domain.StatusActive}); !sameList(got, active) {
			l.Fatalf("active licences of %s: %+v, want %+v", id, got, active)
		}
		devices := must[query.DevicesAnswer](l, "devices")(l.app.Devices.Handle(l.ctx, query.Devices{By: operator, Customer: id, Page: query.Page{Limit: 200}}))
		for i, want := range state.Devices(ref, l.now()) {
			got, sealed := devices.Devices[i], want.Name
			want.Name = "" // it is shown opened
			if !reflect.DeepEqual(got.DeviceView, want) || sealed != "" && got.Name != "opened "+string(sealed)+" of "+id {
				l.Fatalf("device of %s: %+v, want %+v", id, got, want)
			}
		}
		exceptions := must[query.ExceptionsAnswer](l, "exceptions")(l.app.Exceptions.Handle(l.ctx, query.Exceptions{By: operator, Customer: id, Page: query.Page{Limit: 200}}))
		if want := state.Exceptions(l.now()); len(exceptions.Exceptions) != len(want) {
			l.Fatalf("%d exceptions of %s, want %d", len(exceptions.Exceptions), id, len(want))
		}
		customer := must[query.CustomerAnswer](l, "customer")(l.app.Customer.Handle(l.ctx, query.Customer{By: operator, Customer: id}))
		if !reflect.DeepEqual(customer.Summary, projected.State.Summary) || customer.Version != state.Version() {
			l.Fatalf("customer %s: %+v", id, customer)
		}
	}
	if _, err := l.app.Customer.Handle(l.ctx, query.Customer{By: operator, Customer: "c-nobody"}); !errors.Is(err, domain.ErrNotFound) {
		l.Fatalf("a customer without history: %v", err)
	}
	l.explainAll()
}

func sameList[T any](a, b []T) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }

func (l *library) walkLicenses(q query.Licenses) []domain.LicenseView {
	l.Helper()
	q.Page.Limit = 3
	var all []domain.LicenseView
	for {
		answer := must[query.LicensesAnswer](l, "licences")(l.app.Licenses.Handle(l.ctx, q))
		all = append(all, answer.Licenses...)
		if answer.NextCursor == "" {
			return all
		}
		q.Page.Cursor = answer.NextCursor
	}
}

// explainAll compares explanations from the read model with those of the domain.
func (l *library) explainAll() {
	l.Helper()
	for _, id := range l.customers() {
		title := l.history.recent[0]
		device := "d-" + id + "-0"
		q := query.Explain{By: operator, Customer: id, TitleID: title, DeviceID: device, DeviceType: "ipad"}
		answer := must[query.ExplainAnswer](l, "explain")(l.app.Explain.Handle(l.ctx, q))
		q.Consistency.Mode = query.Authoritative
		again := must[query.ExplainAnswer](l, "explain")(l.app.Explain.Handle(l.ctx, q))
		if !reflect.DeepEqual(answer.Decision, again.Decision) || answer.Sentence == "" || len(answer.Decision.Rules) == 0 {
			l.Fatalf("explanation for %s:\nprojected     %+v\nauthoritative %+v", id, answer, again)
		}
	}
	renewals := 0
	for _, id := range l.customers() {
		for _, license := range l.walkLicenses(query.Licenses{By: operator, Customer: id, State: domain.StatusActive}) {
			q := query.Explain{By: operator, Customer: id, LicenseID: license.LicenseID}
			answer := must[query.ExplainAnswer](l, "explain")(l.app.Explain.Handle(l.ctx, q))
			if d := answer.Decision; d.Command != domain.CommandRenew || d.Request.LicenseID != license.LicenseID || len(d.Rules) == 0 {
				l.Fatalf("explanation of a renewal: %+v", answer)
			}
			q.Maturity = "kids"
			if _, err := l.app.Explain.Handle(l.ctx, q); err == nil || !strings.Contains(err.Error(), "maturity") {
				l.Fatalf("a renewal with what does not go with it: %v", err)
			}
			renewals++
		}
	}
	if renewals == 0 {
		l.Fatal("nobody holds a licence")
	}
}

func customerLookups(l *library) {
	find := func(id string) []query.Found {
		return must[query.LookupAnswer](l, "lookup")(l.app.Lookup.Handle(l.ctx, query.Lookup{By: operator, Q: id})).Found
	}
	expect := func(kind, id, customer string) {
		l.Helper()
		if !slices.ContainsFunc(find(id), func(f query.Found) bool { return f.Kind == kind && f.ID == id && f.Customer == customer }) {
			l.Fatalf("%s is not found as a %s of %s, but as %+v", id, kind, customer, find(id))
		}
	}
	kinds := map[string]int{}
	for _, e := range l.events {
		data, err := e.Data()
		if err != nil {
			l.Fatal(err)
		}
		customer := e.Stream.ID()
		switch p := data.(type) {
		case *domain.LicenseIssued:
			expect("license", p.LicenseID, customer)
			kinds["license"]++
		case *domain.DeviceRegistered:
			expect("device", p.DeviceID, customer)
			kinds["device"]++
			things := must[[]query.Thing](l, "pseudonym")(l.models.Customers.ThingsBehind(l.ctx, l.pseudonyms.Device(customer, p.DeviceID)))
			if len(things) != 1 || things[0].Customer != customer || things[0].DeviceID != p.DeviceID {
				l.Fatalf("behind the pseudonym of device %s of %s are %+v", p.DeviceID, customer, things)
			}
		case *domain.ExceptionGranted:
			expect("exception", p.ExceptionID, customer)
			kinds["exception"]++
		}
	}
	for _, id := range l.customers() {
		expect("customer", id, id)
		things := must[[]query.Thing](l, "pseudonym")(l.models.Customers.ThingsBehind(l.ctx, l.pseudonyms.Customer(id)))
		if len(things) != 1 || things[0].Customer != id || things[0].Kind != "customer" {
			l.Fatalf("behind the pseudonym of %s are %+v", id, things)
		}
	}
	for _, kind := range []string{"license", "device", "exception"} {
		if kinds[kind] == 0 {
			l.Errorf("the history has no %s", kind)
		}
	}
	e := l.of(domain.CustomerStream(l.busiest()))[3]
	expect("command", e.CommandID, e.Stream.ID())
	expect("request", e.Correlation, e.Stream.ID())
	if id, decision := decidedLater(l); id == "" {
		l.Error("no command of the history begins with anything but its decision")
	} else if found := find(id); !slices.ContainsFunc(found, func(f query.Found) bool {
		return f.Kind == "command" && f.DecisionID == decision && !f.RecordedAt.IsZero()
	}) {
		l.Errorf("command %s does not lead to its decision %s, but to %+v", id, decision, found)
	}
	if found := find("nothing-has-this-id"); len(found) != 0 {
		l.Errorf("an id that nothing has: %+v", found)
	}
}

// decidedLater is a command whose first event holds no decision, and the decision of a later one.
func decidedLater(l *library) (command, decision string) {
	for _, customer := range l.customers() {
		first := ""
		for _, e := range l.of(domain.CustomerStream(customer)) {
			about, _, err := projector.AboutEvent(e)
			if err != nil {
				l.Fatal(err)
			}
			if e.CommandID == first && about.DecisionID() != "" {
				return e.CommandID, about.DecisionID()
			}
			if e.CommandID != command {
				command, first = e.CommandID, ""
				if about.DecisionID() == "" {
					first = e.CommandID
				}
			}
		}
	}
	return "", ""
}

func customerAsOf(l *library) {
	id := l.busiest()
	events := l.of(domain.CustomerStream(id))
	for _, n := range []int{0, 1, len(events) / 3, len(events) / 2, len(events) - 1} {
		at := events[n].RecordedAt
		want := domain.NewCustomer(id)
		for _, e := range events {
			if !e.RecordedAt.After(at) {
				if err := want.Apply(e); err != nil {
					l.Fatal(err)
				}
			}
		}
		for _, mode := range []string{query.Projected, query.Authoritative} {
			answer := must[query.StateAnswer](l, "state")(l.app.State.Handle(l.ctx, query.State{By: operator, Customer: id, AsOf: at, Consistency: query.Consistency{Mode: mode}}))
			if answer.Version != want.Version() || !answer.AsOf.Equal(at) || len(answer.State.Devices) != len(want.Devices(l.history.Reference(), at)) ||
				answer.State.Summary.Plan != want.Plan() {
				l.Fatalf("%s state of %s as of %s: version %d, want %d", mode, id, at, answer.Version, want.Version())
			}
		}
	}
	_, err := l.app.State.Handle(l.ctx, query.State{By: operator, Customer: id, AsOf: events[0].RecordedAt.Add(-time.Second)})
	if !errors.Is(err, domain.ErrNotFound) {
		l.Errorf("before the first event: %v", err)
	}
	_, err = l.app.State.Handle(l.ctx, query.State{By: operator, Customer: id, AsOf: l.now().Add(time.Hour)})
	if field, ok := errors.AsType[*domain.FieldError](err); !ok || field.Field != "as_of" {
		l.Errorf("in the future: %v", err)
	}
}

func customerImpact(l *library) {
	impact := query.Impact{Customers: l.models.Customers, Reference: l.ports.Reference, Clock: l.now}
	touched, series := 0, 0
	titles := slices.Clone(l.history.recent)
	for _, id := range l.history.recent {
		if t, ok := l.history.Catalogue().Title(id); ok && t.SeriesID != "" && !slices.Contains(titles, t.SeriesID) {
			titles = append(titles, t.SeriesID)
			series++
		}
	}
	if series == 0 {
		l.Fatal("no episode is among what was licensed")
	}
	of := func(title string) string {
		t, _ := l.history.Catalogue().Title(title)
		return t.SeriesID
	}
	for _, title := range titles {
		for _, countries := range [][]string{nil, {"US"}, {"FR", "DE"}} {
			var want query.Touched
			for _, id := range l.customers() {
				devices := map[string]bool{}
				for _, v := range l.history.States()[id].Licenses(l.history.Reference(), l.now()) {
					if (v.TitleID == title || of(v.TitleID) == title) && v.Status == domain.StatusActive && (countries == nil || slices.Contains(countries, v.Country)) {
						want.Licenses++
						devices[v.DeviceID] = true
					}
				}
				want.Devices += len(devices)
				if len(devices) > 0 {
					want.Customers++
					want.Examples = append(want.Examples, id)
				}
			}
			got := must[query.Touched](l, "impact")(impact.Withdrawal(l.ctx, title, countries, l.now()))
			slices.Sort(got.Examples) // of a series: episode by episode
			slices.Sort(want.Examples)
			if !reflect.DeepEqual(got, want) {
				l.Fatalf("withdrawing %s in %v touches %+v, want %+v", title, countries, got, want)
			}
			touched += got.Licenses
		}
	}
	if touched == 0 {
		l.Fatal("no withdrawal would touch anybody")
	}
	l.policyImpact(impact)
}

// policyImpact lowers a limit below what somebody uses.
func (l *library) policyImpact(impact query.Impact) {
	l.Helper()
	policy, err := domain.ParsePolicy(domain.DefaultPolicy().JSON())
	if err != nil {
		l.Fatal(err)
	}
	for name, plan := range policy.Plans {
		plan.MaxDownloadDevices.Max = 0
		policy.Plans[name] = plan
	}
	var want []string
	for _, id := range l.customers() {
		now := l.history.States()[id].Summary(l.history.Reference(), l.now())
		if now.Plan != "" && now.Devices.Used > 0 && (now.Devices.Limit == nil || now.Devices.Used <= *now.Devices.Limit) {
			want = append(want, id)
		}
	}
	got := must[query.Touched](l, "impact")(impact.Policy(l.ctx, policy))
	if len(want) == 0 || got.Customers != len(want) || got.ByRule[domain.RuleDevices] != len(want) || !slices.Equal(got.Examples, want) {
		l.Fatalf("a policy without devices touches %+v, want %v", got, want)
	}
	if none := must[query.Touched](l, "impact")(impact.Policy(l.ctx, domain.DefaultPolicy())); none.Customers != 0 {
		l.Fatalf("the policy in force touches %+v", none)
	}
}

func referenceRows(l *library) {
	want := l.history.Reference()
	got := must[domain.Reference](l, "reference")(l.ports.Reference.Now(l.ctx))
	withdrawn, published := 0, 1
	for _, e := range l.events {
		if e.Stream.Kind() == domain.KindTitle {
			withdrawn++
		}
		if e.Stream.Kind() == domain.KindPolicy {
			published++
		}
	}
	for _, title := range l.history.recent {
		for _, country := range []string{"US", "DE", "FR", "BR"} {
			a, isA := got.WithdrawnFrom(title, country)
			b, isB := want.WithdrawnFrom(title, country)
			if isA != isB || !a.Equal(b) {
				l.Fatalf("%s is withdrawn in %s from %v %t, want %v %t", title, country, a, isA, b, isB)
			}
		}
	}
	if withdrawn == 0 || published == 1 {
		l.Fatalf("the history holds %d withdrawals and %d policies", withdrawn, published)
	}
	if v := got.Versions(l.now()); v.Policy != published || v.DeviceTypes != 1 || v.Catalogue != l.history.Catalogue().Version() {
		l.Fatalf("versions are %+v, %d policies were published", v, published)
	}
	l.comparePolicies(published)
	first := l.events[0].RecordedAt
	today := l.history.Catalogue().Version()
	for version, want := range map[string]string{"": today, today: today, "before": "before", "lost": today} {
		past := must[domain.Reference](l, "reference")(l.ports.Reference.KnownAt(l.ctx, first, version))
		if got := past.Versions(l.now()).Catalogue; got != want {
			l.Fatalf("what was known over catalogue %q is over catalogue %q", version, got)
		}
	}
	early := must[domain.Reference](l, "reference")(l.ports.Reference.KnownAt(l.ctx, first, ""))
	if v := early.Versions(l.now()); v.Policy != 1 {
		l.Fatalf("before anything was published, version %d was known", v.Policy)
	}
}

func (l *library) comparePolicies(newest int) {
	l.Helper()
	version := must[query.PolicyVersionAnswer](l, "policy")(l.app.PolicyVersion.Handle(l.ctx, query.PolicyVersion{Policy: domain.PolicyDefault}))
	if version.Version != newest || !version.InForce || len(version.Versions) != newest || !bytes.Equal(version.Document, domain.DefaultPolicy().JSON()) {
		l.Fatalf("policy in force: %+v", version)
	}
	first := must[query.PolicyVersionAnswer](l, "policy")(l.app.PolicyVersion.Handle(l.ctx, query.PolicyVersion{Policy: domain.PolicyDefault, Version: 1}))
	if first.InForce || first.Version != 1 {
		l.Fatalf("first version: %+v", first)
	}
	diff := must[query.PolicyDiffAnswer](l, "diff")(l.app.PolicyDiff.Handle(l.ctx, query.PolicyDiff{Policy: domain.PolicyDefault}))
	if diff.To != newest || diff.From != newest-1 || len(diff.Changes) != 0 {
		l.Fatalf("equal versions differ: %+v", diff)
	}
	types := must[query.DeviceTypesAnswer](l, "device types")(l.app.DeviceTypes.Handle(l.ctx, query.DeviceTypes{}))
	if types.Version != 1 || !bytes.Equal(types.Document, domain.DefaultDeviceTypes().JSON()) {
		l.Fatalf("device types: %+v", types)
	}
	for _, q := range []query.PolicyVersion{{Policy: "nothing"}, {Policy: domain.PolicyDefault, Version: newest + 1}} {
		if _, err := l.app.PolicyVersion.Handle(l.ctx, q); !errors.Is(err, domain.ErrNotFound) {
			l.Errorf("%+v: %v", q, err)
		}
	}
}
