package vault_test

import (
	"fmt"
	"sync/atomic"
	"testing"
)

func BenchmarkSealForAKnownCustomer(b *testing.B) {
	v := open(b, config(b.TempDir()))
	if _, err := v.Seal(b.Context(), "c-1", "words"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Seal(b.Context(), "c-1", "Ada's tablet"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSealForNewCustomers seals for 64 customers at a time who have no key: each key is durable before it is used.
func BenchmarkSealForNewCustomers(b *testing.B) {
	v := open(b, config(b.TempDir()))
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := v.Seal(b.Context(), fmt.Sprint("c-", n.Add(1)), "Ada's tablet"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
