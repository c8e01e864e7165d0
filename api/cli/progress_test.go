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
		const line = "chaos: 500 of 1000 events (50 %), 50 a second, 10 s left\n"
		if out.String() != line+line {
			t.Errorf("it says %q", out.String())
		}
	})
}

func TestARateIsToldAfterAWhileAndATotalCorrected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &stages{r: &run{Streams: Streams{Err: &out}}}
		<-time.After(time.Hour) // what is begun later has gone on for no time
		s.set("filling", 5, 12)
		<-time.After(2 * time.Second)
		s.set("filling", 10, 10)
		s.set("comparing", 1, 4)
		<-time.After(time.Second)
		s.set("comparing", 3, 4)
		s.whole()
		s.done() // tells it once
		const want = "filling: 5 of 12 (41 %)\nfilling: 10 of 10 (100 %), 5 a second\nfilling: 10 of 10 (100 %), 5 a second\n" +
			"comparing: 1 of 4 (25 %)\ncomparing: 4 of 4 (100 %), 4 a second\n"
		if out.String() != want {
			t.Errorf("it says %q", out.String())
		}
	})
}
