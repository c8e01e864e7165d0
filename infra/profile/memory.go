package profile

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// A round of the garbage collector takes a processor from commands and read models for tens of milliseconds, however little
// it frees, and answers are given and shown later for it. So a process that serves lets its heap grow to as much as it has
// room for, which does not grow with the data, and not to more than a multiple of what is in use. Only where half of that is
// in use, the heap grows to twice what is, as Go lets it by itself.
//
// It is the heap whose size is kept, not what is allocated between two rounds: memory that was never used before is
// what a command waits longest for, since the machine has to find and clear each page of it.
const (
	mostHeap     = 768 << 20 // bytes, when a round begins
	heapOfMemory = 8         // the heap is at most this part of the memory that there is
	mostPercent  = 800       // more than is in use, so that a small store stays small
	leastPercent = 100       // what Go does by itself
)

// fewerCollections lets the heap of the embedded profile grow to three times what is in use before the garbage collector
// begins, not to twice, where nobody is served: for what is done once, and may be done on a small machine beside the
// service. GOGC in the environment stands.
var fewerCollections = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
})

// roomier tells the garbage collector how much to leave, and tells it anew after each round, since what is in use changes.
// GOGC in the environment stands, and GOMEMLIMIT bounds the whole as always.
var roomier = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		(&collector{heap: heapIn(allowed()), set: debug.SetGCPercent}).collected()
	}
})

// allowed is how much memory this process may use, in bytes: what its container allows, or what the machine has; 0 where neither
// is known.
func allowed() uint64 {
	most, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil {
		return 0
	}
	return most
}

func heapIn(memory uint64) uint64 { return min(mostHeap, memory/heapOfMemory) }

// percentFor is what to tell the garbage collector (as GOGC) when so many bytes are in use.
func percentFor(heap, used uint64) int {
	return int(max(leastPercent, min(mostPercent, (max(heap, used)-used)*100/max(used, 1))))
}

// collector is told after each round of the garbage collector.
type collector struct {
	heap    uint64 // bytes, see mostHeap
	percent int
	set     func(percent int) int
	ended   atomic.Bool // nobody is to be told any more
}

// collected sets what fits the heap as the last round left it, and arranges to be called after the next one, by the
// runtime: never twice at the same time, since each call arranges one.
func (c *collector) collected() {
	if c.ended.Load() {
		return
	}
	if p := percentFor(c.heap, liveBytes()); p != c.percent {
		c.percent = p
		c.set(p)
	}
	runtime.AddCleanup(&struct{ _ *collector }{}, (*collector).collected, c)
}

// liveBytes are those that the last round found in use.
func liveBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
