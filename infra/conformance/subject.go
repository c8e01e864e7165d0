// Package conformance holds one exported suite per port. Every adapter's tests call the suites of the ports that it
// implements; what an adapter can't do, it says in its Capabilities, and the tests that need it are skipped visibly.
package conformance

import (
	"testing"

	"carryon/command"
	"carryon/domain"
)

// Factory makes a store that is new and empty. Whatever it opens it closes by t.Cleanup.
type Factory func(t *testing.T) Subject

// Subject is a store under test.
type Subject struct {
	// Connect is another process's way to the store.
	Connect func(t *testing.T) Ports
	// Reopen ends all connections, as a restart of everything does, and opens the store again. Nil: see Capabilities.
	Reopen func(t *testing.T) Ports
	// Forget lets a shard's log forget its newest entries, and nothing else. Nil: see Capabilities.
	Forget func(t *testing.T, shard, entries int)
	// LoseHistory drops some events of a stream's history. Nil: see Capabilities.
	LoseHistory func(t *testing.T, stream domain.StreamID, from, to uint64)
	// LoseSnapshots drops all snapshots. Nil: see Capabilities.
	LoseSnapshots func(t *testing.T)

	Capabilities Capabilities
}

// Ports are one process's way to the store.
type Ports struct {
	Log       command.Log
	Histories command.Histories
	Snapshots command.Snapshots
}

// Capabilities say what a store can do. What it can't is tested as far as possible, or skipped visibly.
type Capabilities struct {
	// Derives: histories are written by Derive. False: they are the log itself, progress is always at the head, and
	// Derive does nothing.
	Derives bool
	// ManyProcesses: connections of different processes may claim at the same time. False: Connect is called once.
	ManyProcesses bool
	// Shards is how many customer shards the store has room for; 0: as many as wanted. Shard 0 comes on top.
	Shards int
	// MaxEntryBytes is the largest entry, by payloads, that the store takes; 0: any that the writer makes.
	MaxEntryBytes int
}

// connect opens the connections of some processes: one that all share, when the store has room for one only.
func (s *Subject) connect(t *testing.T, processes int) []Ports {
	t.Helper()
	ports := make([]Ports, processes)
	for i := range ports {
		if i > 0 && !s.Capabilities.ManyProcesses {
			ports[i] = ports[0]
			continue
		}
		ports[i] = s.Connect(t)
	}
	return ports
}

func skipWithout(t *testing.T, can bool, what string) {
	t.Helper()
	if !can {
		t.Skipf("this store can't: %s", what)
	}
}

// shardsOf is how many customer shards a test may use.
func (c *Capabilities) shardsOf() int {
	if c.Shards == 0 {
		return 1 << 10
	}
	return c.Shards
}
