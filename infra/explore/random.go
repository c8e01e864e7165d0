package explore

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Random plays random schedules, each named by a seed.
type Random struct {
	New     func(seed uint64) World
	Workers int // goroutines, each with worlds of its own; 0: one
	Moves   int // of a schedule at most, until it settles
}

// Played is what random schedules came to.
type Played struct {
	Schedules, Moves int
}

// Run plays the schedules of some seeds from the first on. It returns a broken rule, with the seed and its schedule
// made short.
func (r Random) Run(first uint64, count int) (Played, uint64, *Failure) {
	var next, moves, schedules atomic.Int64
	var once sync.Once
	var failed *Failure
	var failedSeed uint64
	var group sync.WaitGroup
	for range max(1, r.Workers) {
		group.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= int64(count) {
					return
				}
				seed := first + uint64(n)
				played, f := r.play(seed)
				moves.Add(int64(played))
				schedules.Add(1)
				if f != nil {
					once.Do(func() { failed, failedSeed = f, seed })
					next.Store(int64(count))
				}
			}
		})
	}
	group.Wait()
	played := Played{Schedules: int(schedules.Load()), Moves: int(moves.Load())}
	if failed == nil {
		return played, 0, nil
	}
	failed.Keys = keysOf(r.New(failedSeed), failed.Path)
	failed.Found = Found{Schedules: played.Schedules}
	return played, failedSeed, Minimise(func() World { return r.New(failedSeed) }, failed)
}

// play plays the schedule of a seed.
func (r Random) play(seed uint64) (int, *Failure) {
	w := r.New(seed)
	defer w.Close()
	random := rand.New(rand.NewPCG(seed, 1))
	var path Path
	for len(path) < r.Moves {
		n := draw(w, random)
		if n < 0 {
			break
		}
		path = append(path, uint16(n))
		if err := w.Do(n); err != nil {
			return len(path), &Failure{Err: err, Path: path}
		}
	}
	if err := w.Settle(); err != nil {
		return len(path), &Failure{Err: err, Path: path}
	}
	return len(path), nil
}

// draw draws a move by weight; -1: there is none.
func draw(w World, random *rand.Rand) int {
	count, sum := w.Moves(), 0
	for i := range count {
		sum += w.Weight(i)
	}
	if sum == 0 {
		return -1
	}
	at := random.IntN(sum)
	for i := range count {
		if at -= w.Weight(i); at < 0 {
			return i
		}
	}
	return -1
}
