package command_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"carryon/command"
)

func TestEveryCommandIsCountedByItsOutcome(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	w := newWorld(t, withMetrics(command.NewMetrics(registry)))
	w.joined("ada")
	ask := w.acquire("ada", "phone-1", "movie-1")
	must(t)(w.app.AcquireLicense(t.Context(), ask))
	must(t)(w.app.AcquireLicense(t.Context(), ask))
	must(t)(w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", "movie-3")))
	ask.SizeBytes++
	_, _ = w.app.AcquireLicense(t.Context(), ask)
	late := w.acquire("ada", "phone-1", "movie-1")
	late.Meta = w.metaAt(noon.AddDate(-1, 0, 0))
	_, _ = w.app.AcquireLicense(t.Context(), late)
	_, _ = w.app.ReleaseLicense(t.Context(), command.ReleaseLicense{Meta: w.meta(), Customer: "ada", LicenseID: "lic_x"})
	for series, want := range map[string]float64{
		"carryon_commands_total acquire done":                   1,
		"carryon_commands_total acquire idempotency_conflict":   1,
		"carryon_commands_total acquire refused":                1,
		"carryon_commands_total acquire repeated":               1,
		"carryon_commands_total acquire token_drift":            1,
		"carryon_commands_total change_plan done":               1,
		"carryon_commands_total release not_found":              1,
		"carryon_refusals_total TITLE_NOT_DOWNLOADABLE acquire": 1,
	} {
		if got := counters(t, registry)[series]; got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	for _, name := range []string{"carryon_reference_staleness_seconds", "carryon_reference_entry", "carryon_failopen_unsettled"} {
		if _, ok := counters(t, registry)[name]; !ok {
			t.Errorf("%s is not exported", name)
		}
	}
}

// counters are the values of counters and gauges, by name and label values.
func counters(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			series := family.GetName()
			for _, label := range m.GetLabel() {
				series += " " + label.GetValue()
			}
			values[series] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

func TestAFailureIsLoggedOnceAndWithoutPersonalWords(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	f := &faults{}
	w := newWorld(t, withFaults(f), withLogger(slog.New(slog.NewTextHandler(&lines, nil))))
	w.joined("ada")
	ask := command.RegisterDevice{Meta: w.meta(), Customer: "ada", DeviceID: "phone-1", DeviceType: "phone-x", Name: "Ada's phone"}
	f.set(func(f *faults) {
		for shard := range 3 {
			f.unwritable[shard] = true
		}
	})
	if _, err := w.app.RegisterDevice(t.Context(), ask); err == nil {
		t.Fatal("a full store records a device")
	}
	must := func(want string, n int) {
		t.Helper()
		if got := strings.Count(lines.String(), want); got != n {
			t.Errorf("the log says %q %d times, want %d:\n%s", want, got, n, lines.String())
		}
	}
	must("a command failed", 1)
	must("command_id="+ask.CommandID, 1)
	must("Ada", 0)
	if _, err := w.app.ReleaseLicense(t.Context(), command.ReleaseLicense{Meta: w.meta(), Customer: "ada", LicenseID: "lic_x"}); err == nil {
		t.Fatal("an unknown licence is released")
	}
	must("a command failed", 1)
}
