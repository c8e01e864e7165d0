package simulate

import (
	"math"
	"math/bits"
	"time"
)

// Histogram counts durations in buckets of at most 3.2 % width, so that memory does not grow with the run.
type Histogram struct {
	counts [64 * sub]int64
	total  int64
	max    time.Duration
}

const sub = 32 // buckets per doubling

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
	h.max = max(h.max, d)
}

// Count is how many durations were added.
func (h *Histogram) Count() int64 { return h.total }

// Max is the longest.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is the upper edge of the bucket that holds the q-th duration, 0 < q ≤ 1; 0 when nothing was added.
func (h *Histogram) Quantile(q float64) time.Duration {
	want := int64(math.Ceil(q * float64(h.total)))
	for i, n := range h.counts {
		if want -= n; want <= 0 && n > 0 {
			return min(edge(i), h.max)
		}
	}
	return 0
}

// Merge adds what another histogram counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < sub {
		return int(n)
	}
	exp := bits.Len64(n) - 6 // so that n>>exp lies in [32, 64)
	return exp*sub + int(n>>exp)
}

func edge(i int) time.Duration {
	if i < 2*sub {
		return time.Duration(i)
	}
	exp := i/sub - 1
	return time.Duration((uint64(i%sub+sub)+1)<<exp - 1) //nolint:gosec // bucket made i from an int64
}
