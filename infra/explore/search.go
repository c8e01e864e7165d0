package explore

import (
	"fmt"
	"sync"
)

// Search plays every schedule of a world.
type Search struct {
	New     func() World
	Workers int // goroutines, each with worlds of its own; 0: one
	States  int // give up after so many; 0: never
	Depth   int // play no schedule longer than this; 0: any length
}

// Searched is what a search played.
type Searched struct {
	States    int // that differ
	Moves     int // from one state to another, each once
	Schedules int // played to an end, or to a state that was known
	Ends      int // of which to an end
	Deepest   int // moves
	Cut       int // schedules that were ended by Depth
	All       bool
}

func (s Searched) String() string {
	how := "all"
	if !s.All {
		how = "NOT all"
	}
	return fmt.Sprintf("%d states (%s), %d moves, %d schedules, %d ends, at most %d moves deep, %d cut off",
		s.States, how, s.Moves, s.Schedules, s.Ends, s.Deepest, s.Cut)
}

// node is a move after a schedule.
type node struct {
	before *node
	move   uint16
	depth  int
}

func (n *node) path() Path {
	path := make(Path, n.depth)
	for ; n != nil && n.depth > 0; n = n.before {
		path[n.depth-1] = n.move
	}
	return path
}

// search is what the workers share.
type search struct {
	Search
	mu      sync.Mutex
	wake    *sync.Cond
	known   map[uint64]struct{}
	todo    []*node // last in, first out: so few are kept
	working int
	done    Searched
	failed  *Failure
	full    bool
}

// Run plays every schedule. It returns the first broken rule that was found, with its schedule made short.
func (s Search) Run() (Searched, *Failure) {
	r := &search{Search: s, known: make(map[uint64]struct{}), todo: []*node{{}}}
	r.wake = sync.NewCond(&r.mu)
	var group sync.WaitGroup
	for range max(1, s.Workers) {
		group.Go(r.work)
	}
	group.Wait()
	r.done.States = len(r.known)
	r.done.All = r.failed == nil && !r.full && r.done.Cut == 0
	if r.failed == nil {
		return r.done, nil
	}
	r.failed.Found = Found{States: r.done.States, Schedules: r.done.Schedules}
	return r.done, Minimise(s.New, r.failed)
}

func (r *search) work() {
	for n := r.next(); n != nil; n = r.next() {
		count, failed := r.play(n)
		r.took(count, failed)
	}
}

// next is a schedule to be played, nil when there is none left.
func (r *search) next() *node {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.failed != nil || r.full {
			r.wake.Broadcast()
			return nil
		}
		if last := len(r.todo) - 1; last >= 0 {
			n := r.todo[last]
			r.todo = r.todo[:last]
			r.working++
			return n
		}
		if r.working == 0 {
			r.wake.Broadcast()
			return nil
		}
		r.wake.Wait()
	}
}

func (r *search) took(count Searched, failed *Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.working--
	r.done.Moves += count.Moves
	r.done.Schedules++
	r.done.Ends += count.Ends
	r.done.Cut += count.Cut
	r.done.Deepest = max(r.done.Deepest, count.Deepest)
	if failed != nil && r.failed == nil {
		r.failed = failed
	}
	r.wake.Broadcast()
}

// play plays a schedule, and goes on from its end with one move of each new state; the others are for later. Which one
// follows from the state, as if by chance: so a search that is not played to its end has seen a bit of everything, and
// not only what differs in the last moves.
func (r *search) play(n *node) (count Searched, failed *Failure) {
	w := r.New()
	defer w.Close()
	path := n.path()
	for i, move := range path {
		w.Moves()
		if err := w.Do(int(move)); err != nil {
			return count, r.failure(err, path[:i+1])
		}
	}
	if n.depth > 0 {
		count.Moves++
	}
	for {
		count.Deepest = max(count.Deepest, n.depth)
		state := w.Fingerprint()
		if !r.isNew(state) {
			return count, nil
		}
		moves := w.Moves()
		cut := r.Depth > 0 && n.depth >= r.Depth && moves > 0
		if cut || moves == 0 {
			if count.Ends++; cut {
				count.Cut++
			}
			if err := w.Settle(); err != nil {
				return count, r.failure(err, n.path())
			}
			return count, nil
		}
		now := int(state % uint64(moves))
		r.later(n, moves, now)
		n = &node{before: n, move: uint16(now), depth: n.depth + 1}
		count.Moves++
		if err := w.Do(now); err != nil {
			return count, r.failure(err, n.path())
		}
	}
}

func (r *search) isNew(state uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.known[state]; known {
		return false
	}
	r.known[state] = struct{}{}
	r.full = r.full || r.States > 0 && len(r.known) >= r.States
	return !r.full
}

// later leaves all moves of a state but one for later.
func (r *search) later(n *node, moves, now int) {
	if moves == 1 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range moves {
		if i == now {
			continue
		}
		r.todo = append(r.todo, &node{before: n, move: uint16(i), depth: n.depth + 1})
	}
	r.wake.Broadcast()
}

// failure plays a schedule again, for the names of its moves.
func (r *search) failure(err error, path Path) *Failure {
	return &Failure{Err: err, Path: path, Keys: keysOf(r.New(), path)}
}

func keysOf(w World, path Path) (keys []string) {
	defer w.Close()
	for _, move := range path {
		w.Moves()
		keys = append(keys, w.Key(int(move)))
		if w.Do(int(move)) != nil {
			break
		}
	}
	return keys
}
