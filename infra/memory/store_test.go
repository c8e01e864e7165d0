package memory_test

import (
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/memory"
)

func subject(*testing.T) conformance.Subject {
	store := memory.NewStore()
	connect := func(*testing.T) conformance.Ports {
		c := store.Connect()
		return conformance.Ports{Log: c, Histories: c, Snapshots: c}
	}
	return conformance.Subject{
		Connect: connect,
		Reopen:  connect,
		Forget:  func(_ *testing.T, shard, entries int) { store.Forget(shard, entries) },
		LoseHistory: func(_ *testing.T, stream domain.StreamID, from, to uint64) {
			store.LoseHistory(stream, from, to)
		},
		LoseSnapshots: func(*testing.T) { store.LoseSnapshots() },
		Capabilities:  conformance.Capabilities{Derives: true, ManyProcesses: true},
	}
}

func TestTheLogInMemoryIsALog(t *testing.T) { conformance.Log(t, subject) }

func TestTheHistoriesInMemoryAreHistories(t *testing.T) { conformance.Histories(t, subject) }

func TestTheSnapshotsInMemoryAreSnapshots(t *testing.T) { conformance.Snapshots(t, subject) }

func TestTheShardWriterKeepsItsWordOverTheStoreInMemory(t *testing.T) { conformance.Store(t, subject) }
