package sqlite_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/sqlite"
)

func damage(t *testing.T, s *sqlite.LogStore, statement string, args ...any) {
	t.Helper()
	if err := s.Damage(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func wantHead(t *testing.T, s *sqlite.LogStore, shard int, index uint64) {
	t.Helper()
	if head, err := s.Head(t.Context(), shard); err != nil || head.Index != index {
		t.Fatalf("head %+v, %v, want entry %d", head, err, index)
	}
}

// noise makes the payloads of an entry incompressible, so that it needs some room.
func noise(e *domain.Entry, bytes int) *domain.Entry {
	for i := range e.Events {
		e.Events[i].Payload = make([]byte, bytes)
		_, _ = rand.Read(e.Events[i].Payload)
	}
	return e
}

func TestAClaimThatFindsNoRoomIsNotWrittenAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	s, c := newLog(t), newChain(1)
	claim(t, s, c.next("customer/a"))
	damage(t, s, "PRAGMA max_page_count = 20")
	e := noise(c.next("customer/a", "customer/b"), 100_000)
	for range 2 {
		if got, err := s.Claim(t.Context(), e); !errors.Is(err, command.ErrStoreFull) || errors.Is(err, command.ErrUnknown) {
			t.Fatalf("%+v, %v", got, err)
		}
		wantHead(t, s, 1, 1)
	}
	damage(t, s, "PRAGMA max_page_count = 100000")
	claim(t, s, e)
}

func TestAClaimOnAReadOnlyStoreIsNotWritten(t *testing.T) {
	t.Parallel()
	s, c := newLog(t), newChain(1)
	claim(t, s, c.next("customer/a"))
	damage(t, s, "PRAGMA query_only = 1")
	if got, err := s.Claim(t.Context(), c.next("customer/a")); !errors.Is(err, command.ErrStoreFull) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := s.SaveSnapshots(t.Context(), []command.Snapshot{{Stream: "customer/a"}}); !errors.Is(err, command.ErrStoreFull) {
		t.Fatal(err)
	}
	wantHead(t, s, 1, 1)
}

// lock takes the write lock as another process does, until release is called.
func lock(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		conn.Close()
		db.Close()
	}
}

func TestAClaimWaitsForAnotherProcessAsLongAsItsContextAllows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	s, c := openLog(t, path), newChain(1)
	claim(t, s, c.next("customer/a"))
	release := lock(t, path)
	e := c.next("customer/a")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := s.Claim(ctx, e); !errors.Is(err, command.ErrUnavailable) || errors.Is(err, command.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%+v, %v", got, err)
	}
	release()
	wantHead(t, s, 1, 1)
	claim(t, s, e)
}

func TestAClaimOutlastsTheBusyTimeoutWhereItsContextAllows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	s, err := sqlite.OpenLog(t.Context(), path, sqlite.LogConfig{BusyWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	release := lock(t, path)
	time.AfterFunc(100*time.Millisecond, release)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if got, err := s.Claim(ctx, newChain(1).next("customer/a")); err != nil || !got.Applied {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestAClaimWithoutADeadlineGivesUpInTheEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	s, err := sqlite.OpenLog(t.Context(), path, sqlite.LogConfig{BusyWait: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	defer lock(t, path)()
	if got, err := s.Claim(context.Background(), newChain(1).next("customer/a")); !errors.Is(err, command.ErrUnavailable) || errors.Is(err, command.ErrUnknown) {
		t.Fatalf("%+v, %v", got, err)
	}
}

// A claim that was given up while it waited must not be written after its caller was told so.
func TestAClaimThatWasGivenUpIsNeverWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	s, c := openLog(t, path), newChain(1)
	for round := range 20 {
		release := lock(t, path)
		ctx, cancel := context.WithCancel(t.Context())
		e := c.next("customer/a")
		answers := make(chan error, 1)
		go func() {
			_, err := s.Claim(ctx, e)
			answers <- err
		}()
		go cancel()
		go release()
		switch err := <-answers; {
		case err == nil:
		case errors.Is(err, command.ErrUnknown):
			claim(t, s, e) // until it is known
		case errors.Is(err, command.ErrUnavailable):
			head, err := s.Head(t.Context(), 1)
			if err != nil || head.Index != e.Index-1 {
				t.Fatalf("round %d: given up, and then the head is %+v, %v", round, head, err)
			}
			claim(t, s, e)
		default:
			t.Fatal(err)
		}
	}
}

func TestADamagedLogIsNeverReadAsAShorterOne(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"an entry is missing":           "DELETE FROM entry WHERE position = 1 << 40 | 3",
		"the first entries are missing": "DELETE FROM entry WHERE position <= 1 << 40 | 2",
		"an entry has another id":       "UPDATE entry SET id = zeroblob(16) WHERE position = 1 << 40 | 3",
		"an entry follows on another":   "UPDATE entry SET previous_id = zeroblob(16) WHERE position = 1 << 40 | 3",
		"an entry's events are others":  "UPDATE entry SET data = (SELECT data FROM entry WHERE position = 1 << 40 | 2) WHERE position = 1 << 40 | 3",
		"an entry's writer is another":  "UPDATE entry SET writer = 'x' WHERE position = 1 << 40 | 3",
		"an entry's id is no id":        "UPDATE entry SET id = 'x' WHERE position = 1 << 40 | 3",
		"an entry is empty":             "UPDATE entry SET data = '' WHERE position = 1 << 40 | 3",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newLog(t), newChain(1)
			for range 5 {
				claim(t, s, c.next("customer/a", "customer/b"))
			}
			damage(t, s, statement)
			if page, err := s.Read(t.Context(), 1, 1, 1<<20); !errors.Is(err, command.ErrDiffers) {
				t.Errorf("read: %d entries, %v", len(page), err)
			}
			if page, err := s.ReadStream(t.Context(), "customer/b", 1, 1<<20); !errors.Is(err, command.ErrDiffers) && !strings.Contains(name, "follows") {
				t.Errorf("history: %d events, %v", len(page), err)
			}
		})
	}
}

// Hashes of stream names are 64 bits: two names with one hash have to be possible, though we know none.
func TestStreamsWithTheSameHashAreToldApart(t *testing.T) {
	t.Parallel()
	s, c := newLog(t), newChain(1)
	var want []domain.Event
	for range 4 {
		e := c.next("customer/a", "customer/b", "customer/a")
		claim(t, s, e)
		want = append(want, e.Events[0], e.Events[2])
	}
	damage(t, s, "UPDATE history SET stream = ? WHERE stream = ?", sqlite.StreamHash("customer/a"), sqlite.StreamHash("customer/b"))
	for from := range want {
		got, err := s.ReadStream(t.Context(), "customer/a", uint64(from)+1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		sameEvents(t, want[from:], got)
	}
}

func TestASnapshotThatIsDamagedOrAnothersIsNotThere(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"changed":                         "UPDATE snapshot SET data = 'hallo'",
		"of another stream with its hash": "UPDATE snapshot SET stream = 'customer/b'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLog(t)
			if err := s.SaveSnapshots(t.Context(), []command.Snapshot{{Stream: "customer/a", Seq: 7, Data: []byte("hello")}}); err != nil {
				t.Fatal(err)
			}
			if _, found, err := s.LoadSnapshot(t.Context(), "customer/a"); err != nil || !found {
				t.Fatalf("%v, %v", found, err)
			}
			damage(t, s, statement)
			if snapshot, found, err := s.LoadSnapshot(t.Context(), "customer/a"); err != nil || found {
				t.Fatalf("%+v, %v", snapshot, err)
			}
		})
	}
}

func TestASnapshotMayBeEmpty(t *testing.T) {
	t.Parallel()
	s := newLog(t)
	if err := s.SaveSnapshots(t.Context(), []command.Snapshot{{Stream: "customer/a", Seq: 7}}); err != nil {
		t.Fatal(err)
	}
	if snapshot, found, err := s.LoadSnapshot(t.Context(), "customer/a"); err != nil || !found || snapshot.Seq != 7 || len(snapshot.Data) != 0 {
		t.Errorf("%+v, %v, %v", snapshot, found, err)
	}
}

func TestClaimsSyncAlthoughSnapshotsDoNot(t *testing.T) {
	t.Parallel()
	s, c := newLog(t), newChain(1)
	claim(t, s, c.next("customer/a"))
	save := func(ctx context.Context) error {
		return s.SaveSnapshots(ctx, []command.Snapshot{{Stream: "customer/a", Data: []byte("x")}})
	}
	wantFull := func() {
		t.Helper()
		if mode, err := s.Synchronous(t.Context()); err != nil || mode != 2 {
			t.Fatalf("synchronous is %d, %v, want 2: FULL", mode, err)
		}
	}
	wantFull()
	if err := save(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantFull()
	damage(t, s, "PRAGMA query_only = 1")
	if err := save(t.Context()); err == nil {
		t.Fatal("saved on a read-only connection")
	}
	wantFull()
}

func TestTheWriteAheadLogDoesNotGrowForEver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	s, c := openLog(t, path), newChain(1)
	const entryBytes, total = 512 << 10, 96 << 20
	for written := 0; written < total; written += entryBytes {
		claim(t, s, noise(c.next("customer/a", "customer/b"), entryBytes/2))
	}
	wal, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if wal.Size() > total/2 {
		t.Errorf("%d MiB after %d MiB were claimed", wal.Size()>>20, total>>20)
	}
}

func TestAClosedStoreRefusesEverything(t *testing.T) {
	t.Parallel()
	s, err := sqlite.OpenLog(t.Context(), filepath.Join(t.TempDir(), "carryon.db"), sqlite.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Claim(t.Context(), newChain(1).next("customer/a")); !errors.Is(err, command.ErrClosed) {
		t.Errorf("claim: %v", err)
	}
	if err := s.SaveSnapshots(t.Context(), nil); !errors.Is(err, command.ErrClosed) {
		t.Errorf("save: %v", err)
	}
	if _, err := s.Head(t.Context(), 1); err == nil {
		t.Error("the head is still read")
	}
}

func TestAnEntryThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	s := newLog(t)
	for name, change := range map[string]func(*domain.Entry){
		"no such shard":          func(e *domain.Entry) { e.Shard = -1; e.Events = nil },
		"a place of another one": func(e *domain.Entry) { e.Events[0].Position.Index++ },
		"an event too large":     func(e *domain.Entry) { noise(e, 2<<20) },
	} {
		e := newChain(1).next("customer/a")
		change(e)
		if got, err := s.Claim(t.Context(), e); err == nil || errors.Is(err, command.ErrUnknown) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	wantHead(t, s, 1, 0)
	if _, err := s.Claim(t.Context(), noise(newChain(1).next("customer/a"), 2<<20)); !errors.Is(err, command.ErrTooLarge) {
		t.Errorf("an event too large: %v", err)
	}
}
