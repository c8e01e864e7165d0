package explore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"carryon/infra/explore"
)

// counters is a small world: processes that add to a number by reading it and writing it back. The rule is that nothing
// added is lost, which breaks when one reads before another has written.
type counters struct {
	number int
	steps  []int // of each process
	read   []int
	closed bool
}

func newCounters(processes int) *counters {
	return &counters{steps: make([]int, processes), read: make([]int, processes)}
}

func (c *counters) enabled() (who []int) {
	for p, step := range c.steps {
		if step < 2 {
			who = append(who, p)
		}
	}
	return who
}

func (c *counters) Moves() int     { return len(c.enabled()) }
func (c *counters) Weight(int) int { return 1 }
func (c *counters) Close()         { c.closed = true }
func (c *counters) Key(i int) string {
	p := c.enabled()[i]
	return fmt.Sprintf("p%d.%d", p, c.steps[p])
}

func (c *counters) Do(i int) error {
	p := c.enabled()[i]
	if c.steps[p]++; c.steps[p] == 1 {
		c.read[p] = c.number
	} else {
		c.number = c.read[p] + 1
	}
	return nil
}

func (c *counters) Fingerprint() uint64 {
	h := uint64(c.number)
	for p := range c.steps {
		h = h*1000003 + uint64(c.steps[p])*31 + uint64(c.read[p])
	}
	return h
}

var errLost = errors.New("something added is lost")

func (c *counters) Settle() error {
	for c.Moves() > 0 {
		_ = c.Do(0)
	}
	if c.number != len(c.steps) {
		return errLost
	}
	return nil
}

func TestASearchFindsTheScheduleThatBreaksARuleAndMakesItShort(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2} {
		_, failed := explore.Search{New: func() explore.World { return newCounters(3) }, Workers: workers}.Run()
		if failed == nil || !errors.Is(failed, errLost) {
			t.Fatalf("found %v", failed)
		}
		// Two reads in a row are enough: what follows is left to Settle.
		if got := failed.Keys; len(got) > 2 {
			t.Errorf("the schedule was not made short: %v", got)
		}
		w := newCounters(3)
		keys, broken, err := explore.Play(w, failed.Path)
		if err != nil || !errors.Is(broken, errLost) || !slices.Equal(keys, failed.Keys) {
			t.Errorf("played again: %v, %v, %v", keys, broken, err)
		}
		if text := failed.Error(); !strings.Contains(text, failed.Keys[0]) || !strings.Contains(text, errLost.Error()) {
			t.Errorf("the report does not tell: %s", text)
		}
	}
}

func TestASearchMeetsEachStateOnce(t *testing.T) {
	t.Parallel()
	done, failed := explore.Search{New: func() explore.World { return newCounters(1) }}.Run()
	if failed != nil || !done.All || done.States != 3 || done.Moves != 2 || done.Ends != 1 || done.Deepest != 2 {
		t.Errorf("one process: %v, %v", done, failed)
	}
	var want explore.Searched
	for workers := 1; workers <= 3; workers++ {
		got, failed := explore.Search{New: func() explore.World { return &independent{newCounters(4)} }, Workers: workers}.Run()
		if failed != nil || !got.All || got.States != 3*3*3*3 || got.Moves != 4*2*27 {
			t.Errorf("%d workers: %v, %v", workers, got, failed)
		}
		if workers == 1 {
			want = got
		}
		if got.States != want.States || got.Moves != want.Moves {
			t.Errorf("%d workers: %v, one: %v", workers, got, want)
		}
	}
}

// independent processes do not touch each other's numbers.
type independent struct{ *counters }

func (i *independent) Do(n int) error { i.steps[i.enabled()[n]]++; return nil }
func (i *independent) Settle() error  { return nil }

func TestASearchSaysWhenItDidNotSeeEverything(t *testing.T) {
	t.Parallel()
	fresh := func() explore.World { return &independent{newCounters(4)} }
	if done, failed := (explore.Search{New: fresh, States: 10}).Run(); failed != nil || done.All || done.States < 10 || done.States > 12 {
		t.Errorf("ten states at most: %v, %v", done, failed)
	}
	if done, failed := (explore.Search{New: fresh, Depth: 3}).Run(); failed != nil || done.All || done.Cut == 0 || done.Deepest != 3 {
		t.Errorf("three moves at most: %v, %v", done, failed)
	}
}

func TestARandomScheduleIsNamedByItsSeed(t *testing.T) {
	t.Parallel()
	random := explore.Random{New: func(uint64) explore.World { return newCounters(2) }, Moves: 10}
	_, seed, failed := random.Run(1, 1000)
	if failed == nil {
		t.Fatal("nothing found")
	}
	played, again, f := random.Run(seed, 1)
	if f == nil || again != seed || played.Schedules != 1 || !slices.Equal(f.Path, failed.Path) {
		t.Errorf("seed %d again: %v, %v", seed, f, played)
	}
	if played, _, f := (explore.Random{New: func(uint64) explore.World { return newCounters(1) }, Moves: 10, Workers: 2}).Run(1, 500); f != nil || played.Schedules != 500 || played.Moves != 1000 {
		t.Errorf("one process: %v, %v", played, f)
	}
}

func TestAPathIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	path := explore.Path{0, 9, 10, 35, 36, 61, 62, 130, 1000}
	again, err := explore.ParsePath(path.String())
	if err != nil || !slices.Equal(path, again) {
		t.Errorf("%s: %v, %v", path, again, err)
	}
	if _, err := explore.ParsePath("0-1"); err == nil {
		t.Error("read what is no path")
	}
	if _, _, err := explore.Play(newCounters(1), explore.Path{7}); err == nil {
		t.Error("played a move that there is not")
	}
}
