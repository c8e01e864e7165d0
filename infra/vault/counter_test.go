package vault

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carryon/command"
)

// slowCount is a store that takes a second to count, and notes how many questions it was asked.
type slowCount struct {
	now, asked atomic.Int64 // what there is to be counted, and the questions
	err        error
}

func (s *slowCount) count(ctx context.Context) (int64, error) {
	s.asked.Add(1)
	n := s.now.Load() // the earliest that an answer may be of
	select {
	case <-time.After(time.Second):
		return n, s.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func TestWhoAsksForTheErasuresGetsACountOfAfterHeAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &slowCount{}
		c := &counter{count: store.count}
		const askers = 100
		for i := range askers { // one each 50 ms: twenty while a question is answered
			least := store.now.Add(1)
			go func() {
				if n, err := c.erasures(t.Context()); err != nil || n < least {
					t.Errorf("asker %d: %d, %v; %d keys were erased when he asked", i, n, err, least)
				}
			}()
			synctest.Wait()
			<-time.After(50 * time.Millisecond)
		}
		<-time.After(3 * time.Second)
		synctest.Wait()
		if asked := store.asked.Load(); asked > askers/5 {
			t.Errorf("%d questions for %d askers", asked, askers)
		}
		c.close()
	})
}

func TestOneWhoGivesUpLeavesTheCountToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &slowCount{}
		store.now.Store(7)
		c := &counter{count: store.count}
		hasty, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		other := make(chan string, 1)
		go func() {
			n, err := c.erasures(t.Context())
			other <- fmt.Sprint(n, err)
		}()
		if _, err := c.erasures(hasty); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, command.ErrUnavailable) {
			t.Errorf("the hasty one: %v", err)
		}
		if got := <-other; got != "7 <nil>" {
			t.Errorf("the other one: %s", got)
		}
		synctest.Wait() // the question that the hasty one asked may have been another one, and is answered now
		store.err = command.ErrUnavailable
		if _, err := c.erasures(t.Context()); !errors.Is(err, command.ErrUnavailable) {
			t.Errorf("a store that is away: %v", err)
		}
		c.close()
		if _, err := c.erasures(t.Context()); !errors.Is(err, command.ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
	})
}
