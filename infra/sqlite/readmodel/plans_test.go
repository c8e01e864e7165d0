package readmodel

import (
	"context"
	"database/sql"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// walksAll is the plan of a walk through a whole table, or a whole index of it, under the names that queries use; through
// a part of the query itself, where that has the name.
var walksAll = regexp.MustCompile(`^SCAN (customers|devices|licenses|exceptions|events|e|bodies|b|refs|denials|facts|lives|l|documents|streams|s)\b`)

// What is asked of one thing takes no longer the more there is of others. SQLite plans without looking at how much there
// is, so empty tables show it.
func TestWhatIsAskedOfOneThingIsFoundByAnIndex(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	path := func(model string) string { return filepath.Join(dir, model+".1.db") }
	customers := readable(t, func() (*Customers, error) {
		return OpenCustomers(ctx, path("customers"), query.NewPseudonyms([]byte("k")))
	})
	timeline := readable(t, func() (*Timeline, error) { return OpenTimeline(ctx, path("timeline")) })
	denials := readable(t, func() (*Denials, error) { return OpenDenials(ctx, path("denials")) })
	analytics := readable(t, func() (*Analytics, error) { return OpenAnalytics(ctx, path("analytics")) })
	for what, a := range map[string]struct {
		of  *file
		ask func() error
	}{
		"a customer's state":        {customers.file, func() error { _, _, err := customers.State(ctx, "c"); return err }},
		"a customer's version":      {customers.file, func() error { _, err := customers.StreamVersion(ctx, "customer/c"); return err }},
		"things with an id":         {customers.file, func() error { _, err := customers.Things(ctx, "x", 10); return err }},
		"things behind a pseudonym": {customers.file, func() error { _, err := customers.ThingsBehind(ctx, "p_x"); return err }},
		"customers with a title":    {customers.file, func() error { _, err := customers.StatesWithTitle(ctx, "t1", "", 10); return err }},
		"a page of a timeline": {timeline.file, func() error {
			_, err := timeline.TimelinePage(ctx, query.TimelinePage{Customer: "c", Limit: 10})
			return err
		}},
		"events of an id": {timeline.file, func() error { _, err := timeline.EventsByRef(ctx, "x", 10); return err }},
		"a page of refusals": {denials.file, func() error {
			_, err := denials.DenialsPage(ctx, query.DenialsPage{Customer: "c", Limit: 10})
			return err
		}},
		"active licences of a licence":  {analytics.file, func() error { return activeOf(ctx, analytics, query.Filter{LicenseID: []string{"l"}}) }},
		"active licences of a customer": {analytics.file, func() error { return activeOf(ctx, analytics, query.Filter{Customer: []string{"c"}}) }},
		"a customer in the audit":       {analytics.file, func() error { _, err := analytics.AuditStream(ctx, domain.CustomerStream("c"), nil); return err }},
	} {
		clear(a.of.queries) // their connections close with the file
		if err := a.ask(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if len(a.of.queries) == 0 {
			t.Errorf("%s: nothing was asked", what)
		}
		for text := range a.of.queries {
			plan := planOf(t, a.of, text)
			for _, step := range plan {
				if name := walksAll.FindStringSubmatch(step); name != nil && !isPart(plan, name[1]) {
					t.Errorf("%s: %s\n%s", what, step, text)
				}
			}
		}
	}
}

// readable opens a model with what readers need.
func readable[S interface {
	projector.Fillable
	Close() error
}](t *testing.T, open func() (S, error)) S {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Filled(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func activeOf(ctx context.Context, a *Analytics, who query.Filter) error {
	asked := query.CountsAsked{
		Metric: projector.MetricActive, Measure: query.MeasureCount, Filter: who,
		Cuts: []time.Time{time.Unix(0, 0), time.Unix(900, 0)}, MaxRows: 10,
	}
	if _, err := a.ActiveChanges(ctx, asked); err != nil {
		return err
	}
	for _, err := range a.ActiveEdges(ctx, asked) {
		if err != nil {
			return err
		}
	}
	return nil
}

// isPart tells whether a plan makes what has the name itself.
func isPart(plan []string, name string) bool {
	return slices.Contains(plan, "CO-ROUTINE "+name) || slices.Contains(plan, "MATERIALIZE "+name) //nolint:misspell // so SQLite says
}

func planOf(t *testing.T, f *file, text string) (steps []string) {
	t.Helper()
	rows, err := f.db.Reader.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, make([]any, 100)...) // as many as any has
	if err != nil {
		t.Fatal(err)
	}
	err = scanAll(rows, func(r *sql.Rows) error {
		var id, parent, unused int
		var step string
		err := r.Scan(&id, &parent, &unused, &step)
		steps = append(steps, step)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}
