//go:build real

package profile_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkFigureServersRoles: one process with all roles, and a process for each role, on the same servers, under the
// same paced load over HTTP: how long commands of the most frequent kind took, and how much of the processors the processes
// used for a command, its projecting and the questions at the end included, the servers not. FIGURE_RATE is commands a
// second, FIGURE_TIME how long.
func BenchmarkFigureServersRoles(b *testing.B) {
	rate, lasting := "60", "20s"
	if text := os.Getenv("FIGURE_RATE"); text != "" {
		rate = text
	}
	if text := os.Getenv("FIGURE_TIME"); text != "" {
		lasting = text
	}
	for _, a := range []struct {
		name  string
		roles []string
	}{
		{"one process", []string{"command,projector,query"}},
		{"a process for each role", []string{"command", "projector", "query"}},
	} {
		b.Run(a.name, func(b *testing.B) {
			w := newTown(b, 1)
			houses := make([]*house, len(a.roles))
			for i, roles := range a.roles {
				houses[i] = w.build("process-"+strconv.Itoa(i), roles)
			}
			first, last := houses[0].url(), houses[len(houses)-1].url()
			load := func(prefix, duration string) string {
				text, status := w.load("--url", first, "--query-url", last, "--prefix", prefix, "--households", "500", "--callers", "64",
					"--rate", rate, "--duration", duration)()
				if status != 0 {
					b.Fatalf("the load ended with status %d:\n%s", status, text)
				}
				return text
			}
			load("w-", "10s") // warm
			before := make([]time.Duration, len(houses))
			for i, h := range houses {
				before[i] = h.processorTime(b)
			}
			commands, kind, p50, p99 := reported(b, load("m-", lasting))
			b.Logf("times of %s", kind)
			var sum time.Duration
			for i, h := range houses {
				used := h.processorTime(b) - before[i]
				sum += used
				if len(houses) > 1 {
					b.ReportMetric(float64(used.Microseconds())/1000/commands, h.roles+"-cpu-ms/command")
				}
			}
			b.ReportMetric(commands, "commands")
			b.ReportMetric(float64(p50.Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(sum.Microseconds())/1000/commands, "cpu-ms/command")
			b.ReportMetric(0, "ns/op")
			for _, h := range houses {
				h.stop()
			}
		})
	}
}

// tick is the unit of the processor times in /proc.
const tick = 10 * time.Millisecond

// processorTime is what the process has used so far, in user and in kernel mode.
func (h *house) processorTime(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // from the third on
	var sum int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return time.Duration(sum) * tick
}

var commandsIn = regexp.MustCompile(`(?m)^(\d+) commands in `)

// reported reads a load's report: how many commands there were, and how long those of the most frequent kind took.
func reported(b *testing.B, text string) (commands float64, kind string, p50, p99 time.Duration) {
	b.Helper()
	found := commandsIn.FindStringSubmatch(text)
	if found == nil {
		b.Fatalf("the load says no number of commands:\n%s", text)
	}
	commands, _ = strconv.ParseFloat(found[1], 64)
	most := 0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 8 {
			continue
		}
		accepted, err := strconv.Atoi(fields[1])
		if err != nil || accepted <= most {
			continue
		}
		middle, err := time.ParseDuration(fields[4])
		if err != nil {
			b.Fatal(err)
		}
		slow, err := time.ParseDuration(fields[6])
		if err != nil {
			b.Fatal(err)
		}
		most, kind, p50, p99 = accepted, fields[0], middle, slow
	}
	return commands, kind, p50, p99
}
