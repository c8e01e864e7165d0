package profile

import (
	"runtime"
	"testing"
)

func TestRoomBetweenRoundsOfTheGarbageCollector(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name         string
		memory, used uint64
		percent      int
	}{
		{"a small store stays small", 16 << 30, 20 * mib, 800},
		{"an empty heap", 16 << 30, 0, 800},
		{"as much as there is room for", 16 << 30, 128 * mib, 500},
		{"with more in use the heap is as large as before", 16 << 30, 192 * mib, 300},
		{"a large heap is collected as Go does by itself", 16 << 30, 3 << 30, 100},
		{"a small machine", 2 << 30, 64 * mib, 300},
		{"a small machine, half of what it gives in use", 1 << 30, 64 * mib, 100},
		{"a small container", 256 * mib, 64 * mib, 100},
		{"nobody knows how much memory there is", 0, 64 * mib, 100},
	} {
		if got := percentFor(heapIn(c.memory), c.used); got != c.percent {
			t.Errorf("%s: %d of %d bytes in use: collected at %d %%, not at %d", c.name, c.used, c.memory, got, c.percent)
		}
	}
	if allowed() == 0 && runtime.GOOS == "linux" {
		t.Error("how much memory there is was not found out")
	}
}

// What is in use changes, and with it what is set: after a round, not once.
func TestTheGarbageCollectorIsToldAnewAfterARound(t *testing.T) {
	told := make(chan int, 100)
	runtime.GC()
	base := liveBytes() + 16<<20
	c := &collector{heap: 9 * base, set: func(percent int) int {
		select {
		case told <- percent:
		default: // the runtime is never held
		}
		return 0
	}}
	t.Cleanup(func() { c.ended.Store(true) })
	c.collected()
	if before := <-told; before != mostPercent {
		t.Fatalf("with much room it was told %d %%", before)
	}
	kept := make([]byte, 2*base)
	for len(told) == 0 {
		runtime.GC() // the cleanup runs after one of them, in its own time
		runtime.Gosched()
	}
	if after := <-told; after >= mostPercent {
		t.Errorf("with three times as much in use as before it was told %d %%", after)
	}
	runtime.KeepAlive(kept)
}
