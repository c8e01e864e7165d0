//go:build real

package profile_test

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/infra/profile"
)

// BenchmarkFigureServersRecovery: a process of each role is killed with -9 under a paced load and started again at once,
// one role after the other: how long it is from the kill until that process is ready, and until every read model shows
// everything that was in the log after the kill, so everything that was acknowledged before it. FIGURE_RATE is commands
// a second, FIGURE_KILLS how many of each role.
func BenchmarkFigureServersRecovery(b *testing.B) {
	rate, kills := cmp.Or(os.Getenv("FIGURE_RATE"), "60"), 10
	if text := os.Getenv("FIGURE_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	w := newTown(b, 1)
	killed := []*house{w.build("command", "command"), w.build("projector", "projector"), w.build("query", "query")}
	log := w.openLog(b)
	journal := filepath.Join(w.dir, "journal")
	load := exec.Command(w.program, "simulate", "--url", killed[0].url(), "--households", "300", "--callers", "32", "--rate", rate,
		"--duration", "1h", "--patience", "100", "--journal", journal, "--prefix", "r-", "--no-check", "--data", filepath.Join(w.dir, "tool"))
	load.Env, load.Stderr = w.env, os.Stderr
	if err := load.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = load.Process.Kill() // it goes on for an hour
		_ = load.Wait()
	})
	grow(b, journal, 300)
	for _, h := range killed {
		var ready, visible []time.Duration
		for range kills {
			grow(b, journal, 100)
			begin := time.Now()
			h.kill()
			heads, err := log.Heads(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			h.start()
			ready = append(ready, time.Since(begin))
			for ticker := time.NewTicker(5 * time.Millisecond); ; <-ticker.C {
				shown, err := log.Shows(b.Context(), heads)
				if err != nil {
					b.Fatal(err)
				}
				if shown {
					ticker.Stop()
					break
				}
			}
			visible = append(visible, time.Since(begin))
		}
		for what, times := range map[string][]time.Duration{"ready": ready, "visible": visible} {
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Milliseconds()), h.roles+"-"+what+"-median-ms")
			b.ReportMetric(float64(times[len(times)-1].Milliseconds()), h.roles+"-"+what+"-max-ms")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// openLog opens the stores of the town in this process, to read them.
func (w *town) openLog(b *testing.B) *profile.System {
	b.Helper()
	flags := map[string]string{"data": b.TempDir()}
	for key, value := range w.flags {
		flags[key] = value
	}
	c, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		b.Fatal(err)
	}
	s, err := profile.OpenDistributed(b.Context(), c, cli.OpenOptions{OnlyReads: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return s
}
