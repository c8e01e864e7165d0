package readmodel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/compact"
	"carryon/infra/conformance"
	"carryon/infra/sqlite"
	"carryon/projector"
	"carryon/query"
)

func openRows(t *testing.T, path string) *file {
	t.Helper()
	f, err := openFile(t.Context(), path, rowSchema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFileOfAnOlderSchemaIsStaleAndOfANewerOneIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rows.1.db")
	if err := openRows(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	newer := rowSchema
	newer.Version++
	if _, err := openFile(t.Context(), path, newer); !errors.Is(err, ErrStale) {
		t.Errorf("an older file: %v", err)
	}
	older := rowSchema
	older.Version--
	if _, err := openFile(t.Context(), path, older); !errors.Is(err, domain.ErrFutureVersion) {
		t.Errorf("a newer file: %v", err)
	}
	if err := os.WriteFile(path+"x", []byte("this is no data base, but some text that is long enough to be one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openFile(t.Context(), path+"x", rowSchema); !errors.Is(err, sqlite.ErrForeign) {
		t.Errorf("another file: %v", err)
	}
}

func TestCustomersWithPseudonymsOfAnotherKeyAreStale(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "customers.1.db")
	for range 2 {
		s, err := OpenCustomers(t.Context(), path, query.NewPseudonyms([]byte("one key")))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenCustomers(t.Context(), path, query.NewPseudonyms([]byte("another key"))); !errors.Is(err, ErrStale) {
		t.Errorf("another key: %v", err)
	}
}

func TestOneOfTwoProcessesWorksOnAFileAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rows.1.db")
	one, other := openRows(t, path), openRows(t, path)
	first, err := one.begin(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.begin(t.Context(), 1); !errors.Is(err, projector.ErrElsewhere) {
		t.Errorf("the same shard in the same process: %v", err)
	}
	if _, err := other.begin(t.Context(), 1); !errors.Is(err, projector.ErrElsewhere) {
		t.Errorf("another process: %v", err)
	}
	if err := first.Commit(t.Context(), projector.Checkpoint{Index: 1, ID: domain.BatchID{1}}); err != nil {
		t.Fatal(err)
	}
	second, err := other.begin(t.Context(), 1)
	if err != nil {
		t.Fatalf("after the commit: %v", err)
	}
	defer second.Rollback()
	if second.Checkpoint() != (projector.Checkpoint{Index: 1, ID: domain.BatchID{1}}) {
		t.Errorf("the other process sees checkpoint %+v", second.Checkpoint())
	}
}

func TestAnotherShardWaitsForItsTurnAndGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	f := openRows(t, filepath.Join(t.TempDir(), "rows.1.db"))
	first, err := f.begin(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.begin(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the other shard works: %v", err)
	}
	began := make(chan error, 1)
	go func() {
		second, err := f.begin(t.Context(), 2)
		if err == nil {
			second.Rollback()
		}
		began <- err
	}()
	first.Rollback()
	if err := <-began; err != nil {
		t.Errorf("after the other shard has worked: %v", err)
	}
}

func TestATransactionThatIsOverRefusesToWrite(t *testing.T) {
	t.Parallel()
	f := openRows(t, filepath.Join(t.TempDir(), "rows.1.db"))
	x, err := f.begin(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	x.Rollback()
	if err := (suiteRows{f}).SetRow(t.Context(), x, conformance.ConsumerRow{Stream: "customer/c"}); err == nil {
		t.Error("it wrote")
	}
	if err := x.Commit(t.Context(), projector.Checkpoint{Index: 1}); err == nil {
		t.Error("it committed")
	}
}

func TestManyWritesEveryRowWhateverTheirNumber(t *testing.T) {
	t.Parallel()
	f := openRows(t, filepath.Join(t.TempDir(), "rows.1.db"))
	insert := many{Head: "INSERT INTO suite (stream, seq, count, digest) VALUES", Cols: 4}
	for _, n := range []int{0, 1, 2, 3, 127, 128, 129, 255, 1000} {
		x, err := f.begin(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		err = x.write(t.Context(), insert, n, func(i int, args []any) []any { return append(args, string(rune(i+1)), i, 0, "") })
		if err != nil {
			t.Fatalf("%d rows: %v", n, err)
		}
		var count, sum int
		if _, err := x.one(t.Context(), "SELECT count(*), ifnull(sum(seq), 0) FROM suite", nil, &count, &sum); err != nil || count != n || sum != n*(n-1)/2 {
			t.Errorf("%d rows: %d were written, sum %d, %v", n, count, sum, err)
		}
		x.Rollback()
	}
}

func TestPackedEventsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	h, err := conformance.NewHistory(3, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	packedBytes, bytes := 0, 0
	for _, entry := range h.Grow(500) {
		for _, e := range entry.Events {
			packed, err := compact.Event(&e)
			if err != nil {
				t.Fatal(err)
			}
			packedBytes, bytes = packedBytes+len(packed), bytes+len(e.Payload)
			got := domain.Event{Stream: e.Stream, Seq: e.Seq, Position: e.Position, RecordedAt: e.RecordedAt, Type: e.Type, Actor: e.Actor}
			if err := compact.UnpackEvent(&got, packed); err != nil {
				t.Fatal(err)
			}
			if projector.EventLine(&got) != projector.EventLine(&e) {
				t.Fatalf("got  %s\nwant %s", projector.EventLine(&got), projector.EventLine(&e))
			}
			for _, cut := range []int{0, 1, len(packed) / 2, len(packed) - 1} {
				if err := compact.UnpackEvent(&got, packed[:cut]); err == nil {
					t.Fatalf("%d of %d bytes are taken for an event", cut, len(packed))
				}
			}
		}
	}
	if packedBytes*2 > bytes {
		t.Errorf("%d bytes of payload are packed into %d", bytes, packedBytes)
	}
}

func TestAccessLogKeepsWhoLookedAcrossRestarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.db")
	at := time.Date(2026, 3, 1, 12, 0, 0, 123000, time.UTC)
	for i := range 3 {
		l, err := OpenAccessLog(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for _, customer := range []string{"c-1", "c-2"} {
			a := query.Access{At: at.Add(time.Duration(i) * time.Minute), Actor: domain.Actor{ID: "ines", Role: domain.RoleSupport}, Customer: customer, What: "timeline", Reason: "r", RequestID: "q"}
			if err := l.Record(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		all, err := l.Accesses(t.Context(), "c-1", 0, 10)
		if err != nil || len(all) != i+1 || !all[0].At.Equal(at.Add(time.Duration(i)*time.Minute)) || all[0].Actor.Role != domain.RoleSupport {
			t.Fatalf("after restart %d: %+v, %v", i, all, err)
		}
		before, err := l.Accesses(t.Context(), "c-1", all[0].Number, 1)
		if err != nil || i > 0 && (len(before) != 1 || before[0].Number != all[1].Number) {
			t.Fatalf("before the newest: %+v, %v", before, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Record(t.Context(), query.Access{}); err == nil {
			t.Error("a closed log records")
		}
	}
}
