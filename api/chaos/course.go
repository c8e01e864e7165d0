package chaos

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is a kind of fault, in words.
type Kind string

// The kinds of faults.
const (
	Killed       Kind = "process killed (-9)"
	KilledAgain  Kind = "process killed while it started"
	Paused       Kind = "process paused"
	Ended        Kind = "process ended in order"
	ClockWrong   Kind = "clock wrong"
	LinkCut      Kind = "connections cut"
	LinkSlow     Kind = "connections delayed"
	LinkHalfOpen Kind = "connections half open"
	LinkDeaf     Kind = "answers lost"
	Hidden       Kind = "process hidden from the others: two owners"
	Burst        Kind = "burst into full queues"
	ServerKilled Kind = "server killed (-9)"
	ServerPaused Kind = "server paused"
)

// Fault is one fault of a round.
type Fault struct {
	Kind    Kind
	Process *Process
	Link    string // of the process
	Server  *Server
	At      int64         // when so many thousandths of the round's commands were sent
	Lasts   time.Duration // until it is mended
	Delay   time.Duration // of connections, and between the start of a process and its next end
	Clock   time.Duration // of a process that is started again
}

// Course is what happens in a round.
type Course struct {
	Clocks map[string]time.Duration // of the processes as the round begins
	Faults []Fault                  // in order
}

// Draw draws the course of a round with n faults.
func Draw(seed uint64, round, n int, processes []*Process, servers []*Server) Course {
	random := rand.New(rand.NewPCG(seed, uint64(round))) //nolint:gosec // not a secret
	// A few clocks for all: processes with the same one understand each other, as they sign what they ask of each other
	// and say when; others don't.
	clocks := []time.Duration{0, 0, wrong(random)}
	c := Course{Clocks: map[string]time.Duration{}}
	for _, p := range processes {
		c.Clocks[p.Name] = clocks[random.IntN(len(clocks))]
	}
	for range n {
		f := Fault{
			Process: processes[random.IntN(len(processes))],
			Lasts:   time.Duration(random.ExpFloat64() * float64(1500*time.Millisecond)),
			Clock:   clocks[random.IntN(len(clocks))],
			Delay:   time.Duration(random.IntN(600)) * time.Millisecond,
		}
		f.Lasts = min(f.Lasts, 12*time.Second)
		switch draw := random.IntN(100); {
		case draw < 28:
			f.Kind = Killed
		case draw < 36:
			f.Kind = KilledAgain
		case draw < 50:
			f.Kind = Paused
		case draw < 56:
			f.Kind = Ended
		case draw < 62:
			f.Kind = Burst
		case draw < 68 && len(servers) > 0:
			f.Kind, f.Server = ServerKilled, servers[random.IntN(len(servers))]
		case draw < 74 && len(servers) > 0:
			f.Kind, f.Server = ServerPaused, servers[random.IntN(len(servers))]
		default:
			f.onLink(random)
		}
		f.At = int64(random.IntN(900)) + 20
		c.Faults = append(c.Faults, f)
	}
	slices.SortStableFunc(c.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return c
}

// onLink makes it a fault of one of the process's connections.
func (f *Fault) onLink(random *rand.Rand) {
	links := make([]string, 0, len(f.Process.Links))
	for name := range f.Process.Links {
		links = append(links, name)
	}
	slices.Sort(links)
	f.Link = links[random.IntN(len(links))]
	kinds := []Kind{LinkCut, LinkSlow, LinkHalfOpen, LinkDeaf, LinkDeaf}
	f.Kind = kinds[random.IntN(len(kinds))]
	if f.Link == Others {
		f.Kind = Hidden
		f.Lasts = max(f.Lasts, 2*time.Second)
	}
	f.Delay /= 4
}

// wrong draws a clock's offset of up to a day.
func wrong(random *rand.Rand) time.Duration {
	const day = 24 * time.Hour
	return time.Duration(random.Int64N(int64(2*day))) - day
}
