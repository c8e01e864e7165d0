//go:build real

package profile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A short run of carryon chaos: processes are killed, paused, misled about the time, hidden from each other, and cut off
// from their servers; and the servers themselves are killed and paused, where CARRYON_TEST_CONTROL names what controls
// them (scripts/stack/stack, as CI does).
func TestATownInChaosLosesSkipsAndDoublesNothing(t *testing.T) {
	w := newTown(t, 1)
	args := []string{"chaos", "--seed", "1", "--faults", "30", "--round-commands", "3000", "--round-faults", "15", "--households", "60", "--callers", "16"}
	if control := os.Getenv("CARRYON_TEST_CONTROL"); control != "" {
		args = append(args, "--control", control)
	}
	text, status := w.run(t.Context(), args...)
	if status != 0 || !strings.Contains(text, "clean: ") {
		t.Errorf("chaos ended with status %d:\n%s", status, text)
		logs, _ := filepath.Glob(filepath.Join(w.dir, "tool", "store-1", "*.log"))
		for _, log := range logs {
			said, _ := os.ReadFile(log)
			t.Logf("%s:\n%s", filepath.Base(log), said[max(0, len(said)-3000):])
		}
		return
	}
	t.Log(text)
}
