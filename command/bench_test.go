package command_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"carryon/command"
)

// BenchmarkCommands is the whole path of a command but for the disk: 64 callers, each of whom checks, hashes, submits,
// waits for the decision to be in a log in memory, and signs. One operation is one command.
//
//	go test ./command -run '^$' -bench Commands -cpuprofile cpu.out
func BenchmarkCommands(b *testing.B) {
	const callers, customers = 64, 4096
	newCustomers := func(b *testing.B) *world {
		w := newWorld(b)
		must(b)(w.app.PublishPolicy(b.Context(), command.PublishPolicy{Meta: w.meta(), Policy: "default", Document: changed(unlimited)}))
		for i := range customers {
			w.joined(fmt.Sprintf("customer-%d", i))
		}
		return w
	}
	run := func(b *testing.B, command func(i int64) error) {
		var next atomic.Int64
		b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
		b.ReportAllocs()
		b.ResetTimer()
		begin := time.Now()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := command(next.Add(1)); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "commands/s")
	}
	b.Run("acquire", func(b *testing.B) {
		w := newCustomers(b)
		run(b, func(i int64) error {
			ask := w.acquire(fmt.Sprintf("customer-%d", i%customers), "phone-1", fmt.Sprintf("film-%d", i))
			r, err := w.app.AcquireLicense(b.Context(), ask)
			if err == nil && r.License == nil {
				return fmt.Errorf("not granted: %+v", r.Decision)
			}
			return err
		})
	})
	b.Run("play", func(b *testing.B) {
		w := newCustomers(b)
		licenses := make([]string, customers)
		for i := range licenses {
			licenses[i] = licenseID(b, must(b)(w.app.AcquireLicense(b.Context(), w.acquire(fmt.Sprintf("customer-%d", i), "phone-1", "film-1"))))
		}
		run(b, func(i int64) error {
			_, err := w.app.RecordPlayback(b.Context(), command.RecordPlayback{
				Meta: w.meta(), Customer: fmt.Sprintf("customer-%d", i%customers), LicenseID: licenses[i%customers],
				PlayID: fmt.Sprintf("play-%d", i), Kind: "start", DeviceTime: noon,
			})
			return err
		})
	})
}
