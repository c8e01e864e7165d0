package simulate_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"carryon/api/simulate"
)

func TestQuantilesAreWithinFourPercentOfTheTrueOnes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "duration"))
		var h simulate.Histogram
		h.Add(d)
		h.Add(48 * time.Hour)
		got := h.Quantile(0.5)
		if got < d || float64(got) > float64(d)*1.04+1 {
			t.Fatalf("added %d, the median is given as %d", d, got)
		}
	})
}

func TestTheLargestQuantileIsTheMaximum(t *testing.T) {
	t.Parallel()
	var h simulate.Histogram
	for i := range 1000 {
		h.Add(time.Duration(i) * time.Microsecond)
	}
	if h.Quantile(1) != 999*time.Microsecond || h.Max() != 999*time.Microsecond || h.Count() != 1000 {
		t.Fatalf("quantile(1)=%v max=%v count=%d", h.Quantile(1), h.Max(), h.Count())
	}
}
