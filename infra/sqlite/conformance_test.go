package sqlite_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/sqlite"
)

// subject is a log file. Each connection opens it anew, as another process does.
func subject(t *testing.T) conformance.Subject {
	path := filepath.Join(t.TempDir(), "carryon.db")
	var open []*sqlite.LogStore
	connect := func(t *testing.T) conformance.Ports {
		s := openLog(t, path)
		open = append(open, s)
		return conformance.Ports{Log: s, Histories: s, Snapshots: s}
	}
	damage := func(t *testing.T, statement string, args ...any) {
		t.Helper()
		if err := open[0].Damage(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	return conformance.Subject{
		Connect: connect,
		Reopen: func(t *testing.T) conformance.Ports {
			for _, s := range open {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			open = nil
			return connect(t)
		},
		Forget: func(t *testing.T, shard, entries int) {
			head, err := open[0].Head(t.Context(), shard)
			if err != nil {
				t.Fatal(err)
			}
			damage(t, fmt.Sprintf("DELETE FROM entry WHERE position > %d << 40 | %d AND position < %d << 40", shard, head.Index-uint64(entries), shard+1))
		},
		LoseHistory: func(t *testing.T, stream domain.StreamID, from, to uint64) {
			damage(t, "DELETE FROM history WHERE stream = ? AND last_seq >= ? AND last_seq - events < ?", sqlite.StreamHash(stream), int64(from), int64(to))
		},
		LoseSnapshots: func(t *testing.T) { damage(t, "DELETE FROM snapshot") },
		Capabilities:  conformance.Capabilities{ManyProcesses: true},
	}
}

func TestLogKeepsItsContract(t *testing.T) { t.Parallel(); conformance.Log(t, subject) }

func TestHistoriesKeepTheirContract(t *testing.T) { t.Parallel(); conformance.Histories(t, subject) }

func TestSnapshotsKeepTheirContract(t *testing.T) { t.Parallel(); conformance.Snapshots(t, subject) }

func TestShardWriterOverTheStoreKeepsItsContract(t *testing.T) {
	t.Parallel()
	conformance.Store(t, subject)
}
