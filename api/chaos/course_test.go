package chaos_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"carryon/api/chaos"
)

func processes(t *testing.T, names ...string) []*chaos.Process {
	t.Helper()
	var all []*chaos.Process
	for _, name := range names {
		p, err := chaos.NewProcess(name, "none", []string{"command"}, nil, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
		all = append(all, p)
	}
	return all
}

func TestASeedDrawsTheSameCourseAgain(t *testing.T) {
	t.Parallel()
	all := processes(t, "a", "b", "c")
	servers := []*chaos.Server{{Name: "s"}}
	first, again, other := chaos.Draw(7, 3, 50, all, servers), chaos.Draw(7, 3, 50, all, servers), chaos.Draw(7, 4, 50, all, servers)
	if !reflect.DeepEqual(first, again) {
		t.Error("the same seed and round drew another course")
	}
	if reflect.DeepEqual(first, other) {
		t.Error("another round drew the same course")
	}
}

func TestACourseIsInOrderAndBounded(t *testing.T) {
	t.Parallel()
	all := processes(t, "a", "b")
	kinds := map[chaos.Kind]int{}
	clocks := map[time.Duration]bool{}
	for round := range 200 {
		course := chaos.Draw(1, round, 20, all, []*chaos.Server{{Name: "s"}})
		if !slices.IsSortedFunc(course.Faults, func(a, b chaos.Fault) int { return int(a.At - b.At) }) {
			t.Fatal("not in order")
		}
		for _, f := range course.Faults {
			kinds[f.Kind]++
			clocks[f.Clock] = true
			if f.Lasts > 12*time.Second || f.At < 0 || f.At > 950 || f.Clock.Abs() > 24*time.Hour {
				t.Errorf("out of bounds: %+v", f)
			}
			if (f.Kind == chaos.ServerKilled || f.Kind == chaos.ServerPaused) != (f.Server != nil) {
				t.Errorf("a server and a fault of another kind: %+v", f)
			}
		}
	}
	for _, kind := range []chaos.Kind{
		chaos.Killed, chaos.KilledAgain, chaos.Paused, chaos.Ended, chaos.LinkCut, chaos.LinkSlow, chaos.LinkHalfOpen, chaos.LinkDeaf,
		chaos.Burst, chaos.ServerKilled, chaos.ServerPaused,
	} {
		if kinds[kind] < 40 {
			t.Errorf("%s happened %d times in 4,000 faults", kind, kinds[kind])
		}
	}
	if len(clocks) < 100 {
		t.Errorf("%d different clocks in 200 rounds", len(clocks))
	}
}

func TestARunGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := chaos.LoadState(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no run: %v", err)
	}
	s := chaos.NewState("embedded", "", 5)
	s.Rounds, s.Events, s.FaultKinds[chaos.Killed], s.FaultKinds[chaos.Paused] = 3, 4000, 2, 1
	if err := s.Save(dir); err != nil {
		t.Fatal(err)
	}
	again, err := chaos.LoadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Faults() != 3 || again.Events != 4000 || again.Rounds != 3 || again.Seed != 5 || !again.Clean() {
		t.Errorf("%+v", again)
	}
	for _, spoil := range []func(*chaos.State){
		func(s *chaos.State) { s.Skipped++ }, func(s *chaos.State) { s.Doubled++ }, func(s *chaos.State) { s.Lost++ },
		func(s *chaos.State) { s.Unknown++ }, func(s *chaos.State) { s.Differently++ }, func(s *chaos.State) { s.Found = []string{"x"} },
	} {
		s := *again
		spoil(&s)
		var out strings.Builder
		if err := s.Print(&out); err != nil || s.Clean() || strings.Contains(out.String(), "clean") {
			t.Errorf("%v, clean %t:\n%s", err, s.Clean(), out.String())
		}
	}
}
