//go:build real

package cassandra_test

import (
	"path/filepath"
	"testing"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
	"carryon/infra/conformance"
	"carryon/infra/vault"
)

func TestItKeepsTheContractOfTheLog(t *testing.T)       { conformance.Log(t, subject) }
func TestItKeepsTheContractOfHistories(t *testing.T)    { conformance.Histories(t, subject) }
func TestItKeepsTheContractOfSnapshots(t *testing.T)    { conformance.Snapshots(t, subject) }
func TestItKeepsTheContractOfAnEventStore(t *testing.T) { conformance.Store(t, subject) }

func TestItKeepsTheContractOfMembers(t *testing.T) {
	conformance.Members(t, func(t *testing.T) func(*testing.T) command.Members {
		cfg := newKeyspace(t)
		return func(t *testing.T) command.Members { return open(t, cfg).Members() }
	})
}

func TestItKeepsTheContractOfAVault(t *testing.T) {
	conformance.Vault(t, func(t *testing.T) func(*testing.T) command.Vault {
		cfg, master := newKeyspace(t), filepath.Join(t.TempDir(), "master.key")
		return func(t *testing.T) command.Vault {
			v, err := vault.OpenIn(t.Context(), open(t, cfg).VaultKeys(), vault.Config{MasterFile: master})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := v.Close(); err != nil {
					t.Error(err)
				}
			})
			return v
		}
	})
}

// subject is a keyspace of its own. Its buckets are small, so that every test crosses their borders.
func subject(t *testing.T) conformance.Subject {
	cfg := newKeyspace(t)
	cfg.Layout = cassandra.Layout{Shards: 3, LogBucket: 7, HistoryBucket: 5}
	connect := func(t *testing.T) conformance.Ports {
		s := open(t, cfg)
		return conformance.Ports{Log: s, Histories: s, Snapshots: s}
	}
	return conformance.Subject{
		Connect: connect,
		Reopen:  connect,
		Forget: func(t *testing.T, shard, entries int) {
			forget(t, cfg, shard, entries)
		},
		LoseHistory: func(t *testing.T, stream domain.StreamID, from, to uint64) {
			loseHistory(t, cfg, stream, from, to)
		},
		LoseSnapshots: func(t *testing.T) { raw(t, cfg).exec(`TRUNCATE snapshots`) },
		Capabilities:  conformance.Capabilities{Derives: true, ManyProcesses: true, Shards: cfg.Layout.Shards},
	}
}
