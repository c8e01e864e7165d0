package readmodel

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"carryon/infra/conformance"
	"carryon/projector"
)

func TestGenerationsInAFolderPassTheSuite(t *testing.T) {
	t.Parallel()
	conformance.Generations(t, func(t *testing.T) func(*testing.T) projector.Generations {
		dir := filepath.Join(t.TempDir(), "read")
		return func(t *testing.T) projector.Generations {
			g, err := GenerationsOf(dir, "rows")
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
	})
}

func TestAPointerThatHoldsNoNumberIsSaidAndNotGuessed(t *testing.T) {
	t.Parallel()
	g, err := GenerationsOf(t.TempDir(), "rows")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"x", "", "0", "-1", "1 2"} {
		if err := os.WriteFile(g.pointer(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := g.Current(t.Context()); err == nil || !strings.Contains(err.Error(), g.pointer()) {
			t.Errorf("%q: generation %d, %v", text, n, err)
		}
	}
}

func TestOnlyAGenerationsOwnFilesCountAndGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, err := GenerationsOf(dir, "rows")
	if err != nil {
		t.Fatal(err)
	}
	others := []string{"rows.02.db", "rows.x.db", "rows.2.db.copy", "rowsmore.2.db", "other.2.db"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n, err := g.Create(t.Context())
	if err != nil || n != 2 {
		t.Fatalf("generation %d: %v", n, err)
	}
	f, err := openFile(context.Background(), g.Path(n), rowSchema)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if list, err := g.List(t.Context()); err != nil || !slices.Equal(list, []int{2}) {
		t.Fatalf("the generations are %v: %v", list, err)
	}
	if err := g.Drop(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
