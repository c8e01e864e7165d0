package projector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carryon/domain"
	"carryon/infra/memory/readmodel"
	"carryon/projector"
)

// audited makes a journal of two shards, and a model that has applied it but for one parked stream.
func audited(t *testing.T) (*fixture, projector.AuditTarget) {
	t.Helper()
	f := newFixture(projector.Config{}, counting{poison: "customer/p#2"}, nil)
	for i := range 20 {
		f.journal.claim(0, "a", "b")
		f.journal.claim(1, "c", "d", "c", fmt.Sprintf("e%d", i%3))
	}
	for range 3 {
		f.journal.claim(1, "p")
	}
	f.settle(t)
	return f, projector.AuditTarget{
		Log: f.journal, Histories: f.journal, Shards: []int{0, 1},
		ShardOf: func(stream domain.StreamID) int {
			if stream == "customer/a" || stream == "customer/b" {
				return 0
			}
			return 1
		},
		Models: []projector.AuditedStore{{
			Name: "counting", Store: f.store,
			Rows: recounting{f.store},
		}},
	}
}

func TestAnAuditOfWhatAgreesIsClean(t *testing.T) {
	t.Parallel()
	_, target := audited(t)
	stages := make(map[string]int64)
	report, err := projector.Audit(t.Context(), target, projector.AuditOptions{
		Progress: func(stage string, done, total int64) {
			if done > total {
				t.Errorf("%s: %d of %d", stage, done, total)
			}
			stages[stage] = total - done
		},
	})
	if err != nil || !report.Clean() {
		t.Fatalf("%v, %v", report.Differences, err)
	}
	if report.Histories != 8 || report.Recomputed != 8 || len(report.Parked) != 1 || report.AtTails() {
		t.Errorf("compared %d histories and %d streams, %d parked", report.Histories, report.Recomputed, len(report.Parked))
	}
	for stage, left := range stages {
		if left != 0 {
			t.Errorf("%s ended with %d left", stage, left)
		}
	}
	var out bytes.Buffer
	if err := report.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"shard 1", "applied 23 of 23", "customer/p at seq 2", "made to fail", "clean"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, out.String())
		}
	}
}

// asked is a model that notes which streams it was asked about.
type asked map[domain.StreamID]int

func (a asked) AuditStream(_ context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	a[stream] = len(events)
	return nil, nil
}

func TestAnAuditOfASampleComparesSoManyStreamsAndTheSameForASeed(t *testing.T) {
	t.Parallel()
	_, target := audited(t)
	chosen := func(seed uint64) string {
		model := asked{}
		target.Models[0].Rows = model
		report, err := projector.Audit(t.Context(), target, projector.AuditOptions{Sample: 3, Seed: seed})
		if err != nil || !report.Clean() || report.Histories != 3 || report.Recomputed != 3 || len(model) != 3 {
			t.Fatalf("%d histories, %d streams, %v, %v", report.Histories, report.Recomputed, report.Differences, err)
		}
		return fmt.Sprint(model)
	}
	different := make(map[string]bool)
	for seed := range uint64(20) {
		once, again := chosen(seed), chosen(seed)
		different[once] = true
		if once != again {
			t.Errorf("seed %d chooses now these streams and now those", seed)
		}
	}
	if len(different) < 10 {
		t.Errorf("20 seeds choose only %d samples", len(different))
	}
}

// differing is a model that differs in every stream, in several things.
type differing struct{}

func (differing) AuditStream(_ context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	return []string{projector.NotStored + "one", projector.NotGiven + "two of " + string(stream), fmt.Sprint("three of ", len(events))}, nil
}

func TestWhatIsFoundIsToldAlikeHoweverManyStreamsAreComparedAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(projector.Config{}, counting{}, nil)
	for i := range 150 { // more than are compared before what was found is put together
		f.journal.claim(0, fmt.Sprintf("%03d", i))
	}
	f.settle(t)
	target := projector.AuditTarget{Log: f.journal, Histories: f.journal, Shards: []int{0}, Models: []projector.AuditedStore{
		{Name: "counting", Store: f.store, Rows: recounting{f.store}}, {Name: "differing", Store: f.store, Rows: differing{}},
	}}
	told := func(workers int) string {
		last := int64(0)
		report, err := projector.Audit(t.Context(), target, projector.AuditOptions{Workers: workers, Progress: func(stage string, done, total int64) {
			if stage == "histories and rows" {
				if last++; done != last || total != 150 {
					t.Errorf("%d of %d after %d streams", done, total, last)
				}
			}
		}})
		if err != nil || report.More != 350 || report.Recomputed != 300 || report.Histories != 150 || len(report.Wrong) != 150 {
			t.Fatalf("%d histories, %d times rows, %d streams differ, %d more, %v", report.Histories, report.Recomputed, len(report.Wrong), report.More, err)
		}
		var out bytes.Buffer
		if err := report.Print(&out); err != nil {
			t.Fatal(err)
		}
		return out.String() + fmt.Sprint(report.Wrong)
	}
	one := told(1)
	for _, workers := range []int{2, 7, 1000} {
		if several := told(workers); several != one {
			t.Errorf("with %d at once:\n%s\none after the other:\n%s", workers, several, one)
		}
	}
}

// broken are histories that fail from one question on.
type broken struct {
	projector.Histories
	asked, good atomic.Int64
}

func (f *broken) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	if f.asked.Add(1) > f.good.Load() {
		return nil, errors.New("the disk is gone")
	}
	return f.Histories.ReadStream(ctx, stream, from, maxBytes)
}

func TestAnAuditThatFailsAsksNoMoreAndKeepsWhatItFound(t *testing.T) {
	t.Parallel()
	f := newFixture(projector.Config{}, counting{}, nil)
	for i := range 150 {
		f.journal.claim(0, fmt.Sprintf("%03d", i))
	}
	f.settle(t)
	for _, workers := range []int{1, 4} {
		histories := &broken{Histories: f.journal}
		histories.good.Store(40) // four for a stream that differs
		report, err := projector.Audit(t.Context(), projector.AuditTarget{Log: f.journal, Histories: histories, Shards: []int{0},
			Models: []projector.AuditedStore{{Name: "differing", Store: f.store, Rows: differing{}}}}, projector.AuditOptions{Workers: workers})
		if err == nil || strings.Count(err.Error(), "the disk is gone") != 1 {
			t.Errorf("with %d at once: %v", workers, err)
		}
		if asked := histories.asked.Load(); asked > 40+int64(workers) || len(report.Differences) < 3*(10-workers) {
			t.Errorf("with %d at once: asked %d times, %d differences are told", workers, asked, len(report.Differences))
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough of it"))
	if _, err := projector.Audit(ctx, projector.AuditTarget{Log: f.journal, Histories: f.journal, Shards: []int{0}}, projector.AuditOptions{Workers: 4}); err == nil || !strings.Contains(err.Error(), "enough of it") {
		t.Errorf("cancelled: %v", err)
	}
}

// overtaken is a model that applies more between being asked how far it is and being asked for its rows.
type overtaken struct {
	projector.Auditable
	overtake func()
}

func (o overtaken) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	o.overtake()
	return o.Auditable.AuditStream(ctx, stream, events)
}

func TestAModelThatWorksMeanwhileIsAskedAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		times    int
		compared bool
	}{{3, true}, {7, true}, {20, true}, {1 << 20, false}} {
		synctest.Test(t, func(t *testing.T) {
			f, target := audited(t)
			left := test.times
			target.Models[0].Rows = overtaken{target.Models[0].Rows, func() {
				if left--; left >= 0 {
					f.journal.claim(0, "a", "b")
					f.settle(t)
				}
			}}
			report, err := projector.Audit(t.Context(), target, projector.AuditOptions{})
			if err != nil || !report.Clean() || (len(report.Overtaken) == 0) != test.compared {
				t.Errorf("overtaken %d times: %v, not compared %v, %v", test.times, report.Differences, report.Overtaken, err)
			}
		})
	}
}

func TestAnAuditNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(f *fixture)
		want   string
	}{
		"a broken chain": {
			func(f *fixture) { f.journal.entries[1][4].PreviousID[3] ^= 1 }, "chain: shard 1: ",
		},
		"a changed entry": {
			func(f *fixture) { f.journal.entries[1][4].ID[3] ^= 1 }, "chain: shard 1: ",
		},
		"a missing entry": {
			func(f *fixture) {
				f.journal.entries[1] = append(f.journal.entries[1][:4:4], f.journal.entries[1][5:]...)
			}, "chain: shard 1: ",
		},
		"time that goes back": {
			func(f *fixture) { f.journal.entries[0][4].RecordedAt = start }, "chain: shard 0: entry 5 was recorded before entry 4",
		},
		"a forgotten tail": {
			func(f *fixture) { f.journal.entries[0] = f.journal.entries[0][:18] }, "checkpoint: counting: applied entry 20 of shard 0, whose log ends at entry 18",
		},
		"another batch at the checkpoint": {
			func(f *fixture) { f.journal.entries[0][19].ID[3] ^= 1 }, "checkpoint: counting: applied entry 20 of shard 0 as batch",
		},
		"a seq that is used twice": {
			func(f *fixture) { f.journal.entries[0][4].Events[0].Seq = 4 }, "stream: customer/a: seq 4 at 0:5 follows on seq 4",
		},
		"a wrong previous position": {
			func(f *fixture) { f.journal.entries[0][4].Events[0].Previous.Index = 2 }, "stream: customer/a: seq 5 says the one before stands at 0:2/0, it stands at 0:4/0",
		},
		"a wrong position": {
			func(f *fixture) { f.journal.entries[0][4].Events[0].Position.Place = 7 }, "stream: customer/a: seq 5 stands at 0:5/0 and says 0:5/7",
		},
		"a stream in another shard": {
			func(f *fixture) { f.journal.claim(0, "elsewhere") }, "stream: customer/elsewhere: seq 1 is in shard 0, the stream belongs to shard 1",
		},
		"a history that ends early": {
			func(f *fixture) { f.journal.history["customer/c"] = f.journal.history["customer/c"][:30] }, "history: customer/c: it ends at seq 30, and should go to seq 40",
		},
		"a history with a hole": {
			func(f *fixture) {
				h := f.journal.history["customer/c"]
				f.journal.history["customer/c"] = append(h[:10:10], h[11:]...)
			}, "history: customer/c: seq 12 follows on seq 10",
		},
		"a history that was changed": {
			func(f *fixture) { f.journal.history["customer/c"][16].Payload = []byte(`{}`) }, "history: customer/c: seq 17 is not what the log has at 1:9/0",
		},
		"a progress beyond the log": {
			func(f *fixture) { f.journal.derived[0] = 99 }, "history: shard 0: the histories say that they are derived up to entry 99, the log ends at 20",
		},
		"a row that was changed": {
			func(f *fixture) { write(f.store, 1, "customer/d", "1;2;4;") }, "rows: counting customer/d: not stored, but what the events give: 3",
		},
		"a row of an event that was not applied yet": {
			func(f *fixture) { write(f.store, 1, "customer/p", "1;2;") }, "rows: counting customer/p: stored, but not what the events give: 2",
		},
		"a parked stream that does not exist": {
			func(f *fixture) { park(f.store, projector.Parked{Stream: "customer/nobody", Shard: 1, FirstSeq: 1}) }, "parked: counting: customer/nobody is parked and not in the log",
		},
		"a parked stream beyond its end": {
			func(f *fixture) {
				park(f.store, projector.Parked{Stream: "customer/d", Shard: 1, FirstSeq: 99, Position: domain.Position{Shard: 1, Index: 2}})
			}, "parked: counting: customer/d is parked at seq 99 and ends at seq 20 in the log",
		},
		"a parked stream in another shard": {
			func(f *fixture) { park(f.store, projector.Parked{Stream: "customer/d", Shard: 0, FirstSeq: 1}) }, "parked: counting: customer/d is parked in shard 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, target := audited(t)
			test.damage(f)
			report, err := projector.Audit(t.Context(), target, projector.AuditOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var found bool
			for _, d := range report.Differences {
				found = found || strings.HasPrefix(d.String(), test.want)
			}
			if report.Clean() || !found {
				t.Errorf("not named: %q among %q", test.want, report.Differences)
			}
		})
	}
}

func TestHistoriesThatAreBehindTheLogAreNoDifference(t *testing.T) {
	t.Parallel()
	f, target := audited(t)
	f.journal.derived[1] = 20
	for stream, history := range f.journal.history {
		for i, event := range history {
			if event.Position.Shard == 1 && event.Position.Index > 21 {
				f.journal.history[stream] = history[:i]
				break
			}
		}
	}
	report, err := projector.Audit(t.Context(), target, projector.AuditOptions{})
	if err != nil || !report.Clean() {
		t.Errorf("%v, %v", report.Differences, err)
	}
}

func TestAModelThatIsBehindIsNoDifference(t *testing.T) {
	t.Parallel()
	f, target := audited(t)
	for range 5 {
		f.journal.claim(0, "a")
	}
	report, err := projector.Audit(t.Context(), target, projector.AuditOptions{})
	if err != nil || !report.Clean() || report.Models[0].Lag != 5 {
		t.Errorf("lag %d, %v, %v", report.Models[0].Lag, report.Differences, err)
	}
}

// unmade is a model with a stream whose events its projection does not take any more.
type unmade struct {
	projector.Auditable
	refuse func() error
}

func (u unmade) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	if stream == "customer/c" {
		return nil, u.refuse()
	}
	return u.Auditable.AuditStream(ctx, stream, events)
}

func TestAnAuditGoesOnAfterEventsThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func() error{
		"refused": func() error { return fmt.Errorf("making rows anew: %w", projector.ErrPoison) },
		"panics":  func() error { panic("over an event") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, target := audited(t)
			target.Models[0].Rows = unmade{target.Models[0].Rows, refuse}
			report, err := projector.Audit(t.Context(), target, projector.AuditOptions{})
			if err != nil || len(report.Differences) != 1 || !strings.Contains(report.Differences[0].String(), "counting customer/c") {
				t.Fatalf("%v, %v", report.Differences, err)
			}
			if report.Recomputed != 8 || len(report.Wrong) != 0 {
				t.Errorf("%d streams were compared, and %v would be mended", report.Recomputed, report.Wrong)
			}
		})
	}
}

func TestAnAuditThatCannotReadSaysSo(t *testing.T) {
	t.Parallel()
	f, target := audited(t)
	f.journal.fail = fmt.Errorf("made to fail")
	if _, err := projector.Audit(t.Context(), target, projector.AuditOptions{}); err == nil {
		t.Error("the audit of a log that can't be read succeeded")
	}
}

func write(store *readmodel.Store, shard int, stream domain.StreamID, value string) {
	change(store, shard, func(tx *readmodel.Tx) { tx.Put("events", string(stream), []byte(value)) })
}

func park(store *readmodel.Store, p projector.Parked) {
	p.Since, p.Reason, p.Attempts = time.Now(), "made to", 1
	change(store, 1, func(tx *readmodel.Tx) { _ = tx.Park(context.Background(), p) })
}

// change changes a store behind the consumer's back.
func change(store *readmodel.Store, shard int, how func(*readmodel.Tx)) {
	tx, err := store.Begin(context.Background(), shard)
	if err != nil {
		panic(err)
	}
	how(tx)
	if err := tx.Commit(context.Background(), tx.Checkpoint()); err != nil {
		panic(err)
	}
}

// holding is a model that says whose rows it has.
type holding struct {
	projector.Auditable
	projector.ByStream
	holders func() []domain.StreamID
}

func (h holding) Holders(context.Context) iter.Seq2[projector.Holder, error] {
	return projector.Each(h.holders(), nil)
}

func TestRowsOfAStreamThatTheLogDoesNotKnowAreNamed(t *testing.T) {
	t.Parallel()
	f, target := audited(t)
	write(f.store, 1, "customer/nobody", "1;2;")
	target.Models[0].Rows = holding{Auditable: target.Models[0].Rows, holders: func() []domain.StreamID {
		f.journal.claim(1, "late") // and its rows are there before it is asked about them
		f.settle(t)
		return []domain.StreamID{"customer/a", "customer/late", "customer/nobody", "customer/nobody", "customer/gone"}
	}}
	report, err := projector.Audit(t.Context(), target, projector.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Differences) != 2 || report.Differences[0].String() != "rows: counting customer/nobody: stored, but not what the events give: 1 (the log knows nothing of it)" {
		t.Errorf("named: %q", report.Differences)
	}
	if want := []projector.WrongRows{{Model: "counting", Shard: 1, Stream: "customer/nobody", Stray: true}}; !slices.Equal(report.Wrong, want) {
		t.Errorf("wrong: %v", report.Wrong)
	}
	f.journal.entries[0] = append(f.journal.entries[0][:4:4], f.journal.entries[0][5:]...)
	report, err = projector.Audit(t.Context(), target, projector.AuditOptions{})
	if err != nil || report.Clean() || len(report.Wrong) != 0 {
		t.Errorf("with a log that can't be read to its end: %v, %v", report.Wrong, err)
	}
}
