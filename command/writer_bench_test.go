package command_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/memory"
)

// BenchmarkShardWriter is the shard writer alone: 64 callers on streams of their own, a domain that costs next to
// nothing, payloads of 800 bytes, and a log in memory whose claims take no time, or a millisecond.
//
//	go test ./command -run '^$' -bench ShardWriter
func BenchmarkShardWriter(b *testing.B) {
	for _, claim := range []time.Duration{0, time.Millisecond} {
		b.Run(fmt.Sprintf("claim=%s", claim), func(b *testing.B) { benchmarkWriter(b, claim) })
	}
}

func benchmarkWriter(b *testing.B, claim time.Duration) {
	store := memory.NewStore()
	conn := store.Connect()
	if claim > 0 {
		conn.Inject(func(ctx context.Context, call memory.Call) memory.Fault {
			if call.Operation == memory.OpClaim {
				select {
				case <-time.After(claim):
				case <-ctx.Done():
				}
			}
			return memory.None
		})
	}
	w, err := command.NewWriter(command.WriterConfig{Name: "w"}, command.WriterPorts{
		Log: conn, Histories: conn, Snapshots: conn, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	w.Start()
	if err := w.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	filler := strings.Repeat("x", 780)
	var callers sync.WaitGroup
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	for c := range 64 {
		stream := domain.CustomerStream(fmt.Sprint("c-", c))
		callers.Go(func() {
			for next.Add(1) <= int64(b.N) {
				sub := command.Submission{Stream: stream, Meta: command.Meta{CommandID: tallyID()}, RequestHash: "h", Decider: conformance.Add{Amount: 1, Filler: filler}}
				if _, err := w.Submit(context.Background(), sub); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(float64(b.N)/float64(max(1, store.Head(1).Index)), "commands/entry")
	if err := w.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
