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
		{"a large heap is collected as Go does by itself", 16 << 30, 3 << 30, 100},
		{"a small machine", 1 << 30, 64 * mib, 200},
		{"a small container", 256 * mib, 64 * mib, 100},
		{"nobody knows how much memory there is", 0, 64 * mib, 100},
	} {
		if got := percentFor(roomIn(c.memory), c.used); got != c.percent {
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
	c := &collector{room: 64 << 20, set: func(percent int) int { told <- percent; return 0 }}
	runtime.GC()
	c.collected()
	before := <-told
	kept := make([]byte, 256<<20)
	for len(told) == 0 {
		runtime.GC() // the cleanup runs after one of them, in its own time
		runtime.Gosched()
	}
	if after := <-told; after != leastPercent || after >= before {
		t.Errorf("with 256 MiB more in use than before it was told %d %%, before %d", after, before)
	}
	runtime.KeepAlive(kept)
}
