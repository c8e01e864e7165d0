//go:build real

package cassandra_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gocql/gocql"
	"github.com/google/go-cmp/cmp"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
)

func TestALogGoesOnOverTheBordersOfBuckets(t *testing.T) {
	t.Parallel()
	for _, bucket := range []int{1, 2, 3, 10} {
		t.Run(fmt.Sprint("buckets of ", bucket), func(t *testing.T) {
			t.Parallel()
			cfg := newKeyspace(t)
			cfg.Layout.LogBucket = bucket
			s, c := open(t, cfg), newChain(1)
			for range 23 {
				e := c.next("customer/a", "customer/b")
				claim(t, s, e)
				s.ForgetTails(1)
				want := domain.Head{Index: e.Index, ID: e.ID, Writer: e.Writer}
				if head, err := s.Head(t.Context(), 1); err != nil || head != want {
					t.Fatalf("found from nothing: %+v, %v; want %+v", head, err, want)
				}
			}
			wantLog(t, open(t, cfg), c)
			for from := range c.entries {
				for _, maxBytes := range []int{1, 200, 1 << 20} {
					page, err := s.Read(t.Context(), 1, uint64(from)+1, maxBytes)
					if err != nil || len(page) == 0 {
						t.Fatalf("%d entries, %v", len(page), err)
					}
					if diff := cmp.Diff(c.entries[from:from+len(page)], page, ignorePrivate); diff != "" {
						t.Fatal(diff)
					}
				}
				got, err := s.Claim(t.Context(), &c.entries[from])
				if err != nil || !got.Applied {
					t.Fatalf("entry %d again: %+v, %v", from+1, got, err)
				}
				other := c.entries[from]
				other.ID[0]++
				if got, err := s.Claim(t.Context(), &other); err != nil || got.Applied || got.Head.Index != 23 {
					t.Fatalf("another batch at entry %d: %+v, %v", from+1, got, err)
				}
			}
		})
	}
}

func TestNoEntryIsClaimedWithoutTheOneBefore(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	cfg.Layout.LogBucket = 3
	s, c := open(t, cfg), newChain(1)
	for range 4 {
		claim(t, s, c.next("customer/a"))
	}
	head := domain.Head{Index: 4, ID: c.entries[3].ID, Writer: "writer-1"}
	for index := uint64(5); index < 12; index++ { // 7 and 10 begin buckets
		for _, previous := range []domain.BatchID{{}, {1}, c.entries[3].ID, c.entries[2].ID} {
			if index == 5 && previous == c.entries[3].ID {
				continue
			}
			e := domain.Entry{Shard: 1, Index: index, ID: domain.BatchID{9}, PreviousID: previous, Writer: "w", RecordedAt: epoch}
			if got, err := s.Claim(t.Context(), &e); err != nil || got.Applied || got.Head != head {
				t.Errorf("entry %d after %s: %+v, %v", index, previous, got, err)
			}
		}
	}
	wantLog(t, s, c)
}

func TestAReaderStopsAtAHole(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	cfg.Layout.LogBucket = 4
	s := open(t, cfg)
	b := raw(t, cfg)
	holes := map[string]struct {
		gone  []int64 // entries
		reads []uint64
	}{
		"in the middle of a bucket":   {[]int64{6}, []uint64{1, 5, 6}},
		"at the beginning of one":     {[]int64{5}, []uint64{1, 5}},
		"at the end of one":           {[]int64{8}, []uint64{1, 7, 8}},
		"at the end of the log":       {[]int64{10}, []uint64{1, 9, 10}},
		"two at the end of the log":   {[]int64{9, 10}, []uint64{1, 8, 9, 10}},
		"a whole bucket but its head": {[]int64{5, 6, 7, 8}, []uint64{1, 5, 6, 8}},
	}
	shard := 0
	for name, hole := range holes {
		c := newChain(shard)
		for range 10 {
			claim(t, s, c.next("customer/a"))
		}
		for _, entry := range hole.gone {
			batch := b.session.NewBatch(gocql.UnloggedBatch)
			batch.Query(`UPDATE log SET head_writer = 'x' WHERE shard = ? AND bucket = ? IF head > 0`, shard, (entry-1)/4)
			batch.Query(`DELETE FROM log WHERE shard = ? AND bucket = ? AND entry = ?`, shard, (entry-1)/4, entry)
			if applied, _, err := b.session.MapExecuteBatchCAS(batch, make(map[string]any)); err != nil || !applied {
				t.Fatal(applied, err)
			}
		}
		for _, from := range hole.reads {
			wantHole(t, s, name, shard, from, uint64(hole.gone[0]))
		}
		shard++
	}
}

func TestAReaderStopsBelowABucketThatIsGone(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	cfg.Layout.LogBucket = 4
	s, c := open(t, cfg), newChain(1)
	for range 10 {
		claim(t, s, c.next("customer/a"))
	}
	b := raw(t, cfg)
	batch := b.session.NewBatch(gocql.UnloggedBatch)
	batch.Query(`UPDATE log SET head = null, head_id = null, head_writer = null WHERE shard = 1 AND bucket = 1 IF head > 0`)
	for entry := range 4 {
		batch.Query(`DELETE FROM log WHERE shard = 1 AND bucket = 1 AND entry = ?`, 5+entry)
	}
	if applied, _, err := b.session.MapExecuteBatchCAS(batch, make(map[string]any)); err != nil || !applied {
		t.Fatal(applied, err)
	}
	for _, store := range []*cassandra.Store{s, open(t, cfg)} {
		for _, from := range []uint64{1, 5, 7} {
			wantHole(t, store, "a bucket", 1, from, 5)
		}
	}
}

// A reader asks for entries, then for the head. What is claimed in between is no difference: nobody is warned, and a
// replica that is away is not asked.
func TestWhatIsClaimedBetweenTwoQuestionsIsRead(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	writer, c := open(t, cfg), newChain(1)
	for range 3 {
		claim(t, writer, c.next("customer/a"))
	}
	var warned warnings
	between := func(string) {}
	cfg.Logger = slog.New(&warned)
	reader := open(t, cfg.After(func(statement string) { between(statement) }))
	if _, err := reader.Read(t.Context(), 1, 1, 1<<20); err != nil {
		t.Fatal(err)
	}
	asked := 0
	between = func(statement string) {
		if asked++; asked == 1 {
			if !strings.Contains(statement, "FROM log") {
				t.Errorf("it begins with %s", statement)
			}
			claim(t, writer, c.next("customer/a"))
		}
	}
	page, err := reader.Read(t.Context(), 1, 4, 1<<20)
	between = func(string) {}
	if diff := cmp.Diff(c.entries[3:], page, ignorePrivate); err != nil || diff != "" || warned.n.Load() > 0 || asked < 3 {
		t.Fatalf("after %d questions: %v %s, and %d warnings that something differs", asked, err, diff, warned.n.Load())
	}
}

// warnings counts those that something differs.
type warnings struct{ n atomic.Int64 }

func (w *warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler           { return w }
func (w *warnings) WithGroup(string) slog.Handler                { return w }

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "differs") {
		w.n.Add(1)
	}
	return nil
}

// wantHole reads page after page until a hole is told, which must be before an entry behind it is.
func wantHole(t *testing.T, s *cassandra.Store, name string, shard int, from, hole uint64) {
	t.Helper()
	for next := from; ; {
		page, err := s.Read(t.Context(), shard, next, 1)
		if errors.Is(err, command.ErrDiffers) {
			return
		}
		if err != nil || len(page) == 0 {
			t.Errorf("%s: reading from %d on ended at %d without a word: %v", name, from, next, err)
			return
		}
		next = page[len(page)-1].Index + 1
		if from <= hole && next > hole {
			t.Errorf("%s: reading from %d on jumped over %d", name, from, hole)
			return
		}
	}
}

func TestAStoreThatForgotItsTailOverABorderRefusesTheNextClaim(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	cfg.Layout = cassandra.Layout{Shards: 1, LogBucket: 4, HistoryBucket: 4}
	s, c := open(t, cfg), newChain(1)
	for range 9 {
		claim(t, s, c.next("customer/a"))
	}
	forget(t, cfg, 1, 3)
	got, err := s.Claim(t.Context(), c.next("customer/a"))
	if errors.Is(err, command.ErrUnknown) || err == nil && (got.Applied || got.Head.Index != 6 || got.Head.ID != c.entries[5].ID) {
		t.Fatalf("%+v, %v", got, err)
	}
	c.entries = c.entries[:6]
	wantLog(t, s, c)
	wantLog(t, open(t, cfg), c)
}

func TestReadersMayAskForLess(t *testing.T) {
	t.Parallel()
	s, c := open(t, newKeyspace(t)), newChain(1)
	for range 3 {
		claim(t, s, c.next("customer/a"))
	}
	for _, fast := range []*cassandra.Reader{s.Reader(cassandra.Acknowledged), s.Reader(cassandra.AnyReplica)} {
		head, err := fast.Head(t.Context(), 1)
		if err != nil || head.Index != 3 || head.ID != c.entries[2].ID {
			t.Fatalf("%+v, %v", head, err)
		}
		page, err := fast.Read(t.Context(), 1, 1, 1<<20)
		if diff := cmp.Diff(c.entries, page, ignorePrivate); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
	}
}
