package domain

import (
	"math"
	"time"
)

// instant is a moment in microseconds since 1970, UTC, as states keep it: a third of a time.Time, and comparable.
// 0 is "none", as the zero time.Time is.
type instant int64

const endOfTime = instant(math.MaxInt64)

func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.UnixMicro())
}

func instantAt(t *time.Time) instant {
	if t == nil {
		return 0
	}
	return instantOf(*t)
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(i)).UTC()
}

// pointer is nil for "none", and for the end of time.
func (i instant) pointer() *time.Time {
	if i == 0 || i == endOfTime {
		return nil
	}
	t := i.time()
	return &t
}

// plus is i later by s, or the end of time where that can't be written.
func (i instant) plus(s Seconds) instant {
	if s > Seconds((endOfTime-max(i, 0))/1e6) {
		return endOfTime
	}
	return i + instant(s)*1e6
}

func (i instant) minus(s Seconds) instant { return i - instant(s)*1e6 }

// day numbers the UTC days; days before 1970 count backwards.
func (i instant) day() int64 {
	const length = 24 * 3600 * 1e6
	d := int64(i) / length
	if int64(i)%length < 0 {
		d--
	}
	return d
}
