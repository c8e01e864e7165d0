package simulate_test

import (
	"os"
	"path/filepath"
	"testing"

	"carryon/api/simulate"
)

func TestAJournalGoesOnBehindItsLastWholeLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ was, is string }{
		"new":       {"", "c 7 k\n"},
		"whole":     {"a 1 x\n", "a 1 x\nc 7 k\n"},
		"torn":      {"a 1 x\nb 2", "a 1 x\nc 7 k\n"},
		"only torn": {"b 2", "c 7 k\n"},
	} {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, []byte(c.was), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := simulate.OpenJournal(path)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := j.Acknowledged(simulate.Op{Customer: "c", Key: "k"}, simulate.Answer{Outcome: simulate.Accepted, Version: 7, Position: "1:1"}); err != nil {
			t.Fatal(name, err)
		}
		// Nothing was recorded by it: it is not in the journal.
		if err := j.Acknowledged(simulate.Op{Customer: "c", Key: "k"}, simulate.Answer{Outcome: simulate.Accepted}); err != nil {
			t.Fatal(name, err)
		}
		if err := j.Close(); err != nil || j.Lines() != 1 {
			t.Fatal(name, err, j.Lines())
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != c.is {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
