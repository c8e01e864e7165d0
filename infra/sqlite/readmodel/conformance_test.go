package readmodel_test

import (
	"context"
	"path/filepath"
	"testing"

	"carryon/infra/conformance"
	"carryon/infra/sqlite/readmodel"
	"carryon/query"
)

func TestStoresPassTheReadModelSuite(t *testing.T) {
	t.Parallel()
	conformance.ReadModel(t, open)
}

// open makes all read models in a folder of the test's own.
func open(t testing.TB, pseudonyms query.Pseudonyms) conformance.ReadModels {
	t.Helper()
	dir := t.TempDir()
	return conformance.ReadModels{
		Customers: opened(t, dir, "customers", func(ctx context.Context, path string) (*readmodel.Customers, error) {
			return readmodel.OpenCustomers(ctx, path, pseudonyms)
		}),
		Timeline:  opened(t, dir, "timeline", readmodel.OpenTimeline),
		Denials:   opened(t, dir, "denials", readmodel.OpenDenials),
		Analytics: opened(t, dir, "analytics", readmodel.OpenAnalytics),
		Search:    opened(t, dir, "search", readmodel.OpenSearch),
		Reference: opened(t, dir, "reference", readmodel.OpenReference),
	}
}

func opened[M interface {
	Close() error
	Filled(context.Context) error
}](t testing.TB, dir, name string, open func(context.Context, string) (M, error)) M {
	t.Helper()
	m, err := open(t.Context(), filepath.Join(dir, name+".1.db"))
	if err == nil {
		err = m.Filled(t.Context()) // as every file that is read
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}
