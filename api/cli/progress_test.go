package cli

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsDoneASecondIsCountedFromWhereWorkWasTakenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := resumedProgress(&out, "chaos", "events", 1000, 400)
		<-time.After(2 * time.Second)
		p.Set(500)
		p.Set(300) // told late
		p.Done()
		const line = "chaos: 500 of 1000 events (50 %), 50 a second\n"
		if out.String() != line+line {
			t.Errorf("it says %q", out.String())
		}
	})
}
