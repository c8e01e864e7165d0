package sqlite

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestCheckpointersCopyOneAfterAnother(t *testing.T) {
	for _, c := range []struct {
		name        string
		took, pause time.Duration
	}{
		{"as long a pause", 30 * time.Millisecond, 30 * time.Millisecond},
		{"a long one", 5 * time.Second, longestPause},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, began := NewQueue(), time.Now()
				if !q.take(t.Context()) {
					t.Fatal("nobody stands in the queue, and its turn did not come")
				}
				came := make(chan time.Duration)
				go func() {
					if q.take(t.Context()) {
						came <- time.Since(began)
					}
				}()
				<-time.After(c.took) // copies, in pretended time
				synctest.Wait()
				select {
				case <-came:
					t.Fatal("two copy at the same time")
				default:
				}
				q.leave(t.Context(), c.took)
				if got, want := <-came, c.took+c.pause; got != want {
					t.Errorf("the next one copied after %v, not %v", got, want)
				}
			})
		})
	}
}

func TestACheckpointerThatEndsHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, began := NewQueue(), time.Now()
		ended, end := context.WithCancel(t.Context())
		q.take(ended)
		end()
		if q.take(ended) {
			t.Error("one that ended waits no more")
		}
		q.leave(ended, time.Hour)
		if !q.take(t.Context()) || time.Since(began) != 0 {
			t.Errorf("the next one waited %v for one that had ended", time.Since(began))
		}
	})
}

func TestACheckpointerAloneWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		began := time.Now()
		for range 3 {
			if !q.take(t.Context()) {
				t.Fatal("it waited")
			}
			q.leave(t.Context(), time.Hour)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it waited %v", waited)
		}
	})
}
