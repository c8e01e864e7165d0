// Package explore plays every schedule of a world, or as many random ones as wanted, until a rule of the world is
// broken; and makes the schedule that broke it short. It is for tests of concurrent code that can be run one step at a
// time: without goroutines of its own, sleeps or a clock.
//
// A world says what may happen next, and does it. It is deterministic: the same moves lead to the same state, so a
// schedule is a list of moves, and going back is beginning anew. States are told apart by a fingerprint; what follows
// on a state that was met before is not played again.
package explore

import (
	"fmt"
	"strings"
)

// World is what is explored. It is used by one goroutine.
type World interface {
	// Moves tells how many things may happen next. Which, and in which order, follows from the moves so far. None: the
	// end, where Settle judges.
	Moves() int
	// Key names the i-th of them: what happens to whom. It finds the move again in a shorter schedule.
	Key(i int) string
	// Weight is how likely a random schedule takes the i-th, against the others; 0: never.
	Weight(i int) int
	// Do lets the i-th happen. An error says which rule is broken.
	Do(i int) error
	// Fingerprint tells states apart: worlds with equal fingerprints have the same future.
	Fingerprint() uint64
	// Settle lets everything that has begun come to its end, with nothing going wrong any more, and judges.
	Settle() error
	// Close ends what the world holds.
	Close()
}

// Failure is a broken rule, and the schedule that broke it.
type Failure struct {
	Err   error
	Path  Path
	Keys  []string // of the moves
	Found Found    // how it was found
}

// Found is how much was played until a failure was found, and how long its schedule was then.
type Found struct {
	States, Schedules, Moves int
}

func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v\n", f.Err)
	for i, key := range f.Keys {
		fmt.Fprintf(&b, "%4d  %s\n", i+1, key)
	}
	b.WriteString("      and then nothing goes wrong any more")
	return b.String()
}

// Unwrap gives the broken rule.
func (f *Failure) Unwrap() error { return f.Err }

// Path is a schedule: at each step the number of the move that was taken.
type Path []uint16

const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// String writes a path so that it can be handed to a command: a letter or digit a move.
func (p Path) String() string {
	var b strings.Builder
	for _, n := range p {
		for ; int(n) >= len(digits); n -= uint16(len(digits)) {
			b.WriteByte('+')
		}
		b.WriteByte(digits[n])
	}
	return b.String()
}

// ParsePath reads what String wrote.
func ParsePath(s string) (Path, error) {
	var path Path
	plus := uint16(0)
	for _, c := range []byte(s) {
		if c == '+' {
			plus += uint16(len(digits))
			continue
		}
		n := strings.IndexByte(digits, c)
		if n < 0 {
			return nil, fmt.Errorf("%q is no schedule: %q", s, c)
		}
		path, plus = append(path, plus+uint16(n)), 0
	}
	return path, nil
}

// Play plays one schedule, lets the world settle, and returns what was broken. A path that the world does not know ends
// with an error.
func Play(w World, path Path) (keys []string, broken, err error) {
	for step, n := range path {
		if count := w.Moves(); int(n) >= count {
			return keys, nil, fmt.Errorf("step %d of the schedule is move %d of %d: it belongs to another world", step+1, n, count)
		}
		keys = append(keys, w.Key(int(n)))
		if broken := w.Do(int(n)); broken != nil {
			return keys, broken, nil
		}
	}
	return keys, w.Settle(), nil
}
