package conformance

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"carryon/projector"
)

// GenerationsFactory makes the generations of a read model that was never kept before; each call of connect is another
// process's way to them. Whatever it opens it closes by t.Cleanup.
type GenerationsFactory func(t *testing.T) (connect func(t *testing.T) projector.Generations)

// Generations tests the contract of projector.Generations.
func Generations(t *testing.T, factory GenerationsFactory) {
	tests := []struct {
		name string
		test func(*testing.T, func(*testing.T) projector.Generations)
	}{
		{"the first generation is read until another is promoted", generationsFirst},
		{"a new generation is behind all others and not read", generationsCreate},
		{"those who create at once get different generations", generationsRace},
		{"a promotion is seen by everyone, and once by those who compete", generationsPromote},
		{"a generation is not promoted over another than the one that was meant", generationsPromoteFrom},
		{"what is dropped is gone, and dropped again without complaint", generationsDrop},
		{"the generation that is read is not dropped", generationsDropCurrent},
		{"of those who want to build, one may, until it lets go", generationsClaim},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, factory(t))
		})
	}
}

func currentIs(t *testing.T, g projector.Generations, want int) {
	t.Helper()
	if n, err := g.Current(t.Context()); err != nil || n != want {
		t.Fatalf("generation %d is read: %v; want %d", n, err, want)
	}
}

func created(t *testing.T, g projector.Generations) int {
	t.Helper()
	n, err := g.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func promoted(t *testing.T, g projector.Generations, from, to int, want bool) {
	t.Helper()
	if did, err := g.PromoteFrom(t.Context(), from, to); err != nil || did != want {
		t.Fatalf("promoting %d over %d: %t, %v; want %t", to, from, did, err, want)
	}
}

func holds(t *testing.T, g projector.Generations, n int, want bool) {
	t.Helper()
	list, err := g.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(list) || slices.Contains(list, n) != want {
		t.Fatalf("the generations are %v; that %d is among them should be %t", list, n, want)
	}
}

func generationsFirst(t *testing.T, connect func(*testing.T) projector.Generations) {
	currentIs(t, connect(t), 1)
}

func generationsCreate(t *testing.T, connect func(*testing.T) projector.Generations) {
	g := connect(t)
	for _, want := range []int{2, 3} {
		if n := created(t, g); n != want {
			t.Fatalf("generation %d is begun, want %d", n, want)
		}
		holds(t, connect(t), want, true)
	}
	currentIs(t, g, 1)
}

func generationsRace(t *testing.T, connect func(*testing.T) projector.Generations) {
	const racers = 8
	numbers := make([]int, racers)
	var group sync.WaitGroup
	for i := range racers {
		g := connect(t)
		group.Go(func() {
			var err error
			if numbers[i], err = g.Create(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	slices.Sort(numbers)
	if different := slices.Compact(slices.Clone(numbers)); len(different) != racers || different[0] < 2 {
		t.Errorf("the new generations are %v", numbers)
	}
}

func generationsPromote(t *testing.T, connect func(*testing.T) projector.Generations) {
	g := connect(t)
	next := created(t, g)
	const racers = 4
	var did atomic.Int32
	var group sync.WaitGroup
	for range racers {
		g := connect(t)
		group.Go(func() {
			promoted, err := g.PromoteFrom(t.Context(), 1, next)
			if err != nil {
				t.Error(err)
			}
			if promoted {
				did.Add(1)
			}
		})
	}
	group.Wait()
	if n := did.Load(); n != 1 {
		t.Errorf("%d of those who competed promoted; want one", n)
	}
	currentIs(t, g, next)
	currentIs(t, connect(t), next)
}

func generationsPromoteFrom(t *testing.T, connect func(*testing.T) projector.Generations) {
	g := connect(t)
	second, third := created(t, g), created(t, g)
	promoted(t, g, second, third, false)
	currentIs(t, g, 1)
	promoted(t, g, 1, second, true)
	promoted(t, g, 1, third, false)
	currentIs(t, g, second)
	promoted(t, g, second, third, true)
	currentIs(t, connect(t), third)
	if n := created(t, g); n <= third {
		t.Errorf("generation %d is begun behind %d", n, third)
	}
}

func generationsDrop(t *testing.T, connect func(*testing.T) projector.Generations) {
	g := connect(t)
	second, third := created(t, g), created(t, g)
	for range 2 {
		if err := g.Drop(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		holds(t, connect(t), second, false)
	}
	holds(t, g, third, true)
	promoted(t, g, 1, third, true)
	if err := g.Drop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	holds(t, g, 1, false)
	currentIs(t, connect(t), third)
}

func generationsDropCurrent(t *testing.T, connect func(*testing.T) projector.Generations) {
	g := connect(t)
	if err := g.Drop(t.Context(), 1); !errors.Is(err, projector.ErrCurrent) {
		t.Errorf("dropping the generation that is read from the beginning: %v", err)
	}
	next := created(t, g)
	promoted(t, g, 1, next, true)
	if err := g.Drop(t.Context(), next); !errors.Is(err, projector.ErrCurrent) {
		t.Errorf("dropping the generation that is read: %v", err)
	}
	holds(t, g, next, true)
}

func generationsClaim(t *testing.T, connect func(*testing.T) projector.Generations) {
	one, other := connect(t), connect(t)
	release, err := one.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, g := range map[string]projector.Generations{"the same": one, "another": other} {
		if _, err := g.Claim(t.Context()); !errors.Is(err, projector.ErrRebuilding) {
			t.Errorf("%s claims what is claimed: %v", name, err)
		}
	}
	created(t, other) // others are not kept from anything else
	currentIs(t, other, 1)
	release()
	again, err := other.Claim(t.Context())
	if err != nil {
		t.Fatalf("claiming what was let go: %v", err)
	}
	again()
}
