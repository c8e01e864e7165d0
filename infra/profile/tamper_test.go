package profile

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"carryon/api/cli"
	"carryon/api/simulate"
	"carryon/domain"
	"carryon/infra/codec"
	"carryon/projector"
)

// What is done to the event store behind the program's back, deleted, changed, or set back to an older state, is found
// by the audit, which names it. The read models have applied all of it before.

// forger changes an event store behind the program's back.
type forger interface {
	// remove takes an entry away.
	remove(t *testing.T, shard int, index uint64)
	// overwrite puts an entry where it says it is, in the store's own format.
	overwrite(t *testing.T, e *domain.Entry)
	// setBack leaves the log and the histories as they were when an entry was the newest.
	setBack(t *testing.T, e *domain.Entry)
	// forget takes the history of a stream away, but for its first event.
	forget(t *testing.T, stream domain.StreamID)
}

// tampering is one thing that is done, and how the audit must name it.
type tampering struct {
	name  string
	do    func(t *testing.T, f forger, log []domain.Entry)
	names func(log []domain.Entry) []string // each must be in one of the differences
}

// middle is the entry that is tampered with; a few come after it.
func middle(log []domain.Entry) *domain.Entry { return &log[len(log)/2] }

// copied is an entry that can be changed without changing the log that it is from.
func copied(e *domain.Entry) *domain.Entry {
	c := *e
	c.Events = slices.Clone(e.Events)
	return &c
}

func tamperings() []tampering {
	shardOf := func(log []domain.Entry) string { return fmt.Sprintf("chain: shard %d", log[0].Shard) }
	return []tampering{
		{"an entry is deleted", func(t *testing.T, f forger, log []domain.Entry) { f.remove(t, log[0].Shard, middle(log).Index) },
			func(log []domain.Entry) []string {
				return []string{shardOf(log), fmt.Sprintf("entry %d", middle(log).Index)}
			}},
		{"the newest entry is deleted", func(t *testing.T, f forger, log []domain.Entry) { f.remove(t, log[0].Shard, log[len(log)-1].Index) },
			func(log []domain.Entry) []string { return []string{fmt.Sprint(log[len(log)-1].Index)} }},
		{"an event is deleted", func(t *testing.T, f forger, log []domain.Entry) {
			e := copied(middle(log))
			e.Events = e.Events[:len(e.Events)-1]
			f.overwrite(t, e)
		}, func(log []domain.Entry) []string {
			events := middle(log).Events
			return []string{string(events[len(events)-1].Stream)}
		}},
		{"an event's payload is changed, with a right checksum", func(t *testing.T, f forger, log []domain.Entry) {
			e := copied(middle(log))
			e.Events[0].OccurredAt = e.Events[0].OccurredAt.AddDate(-1, 0, 0)
			f.overwrite(t, e)
		}, func(log []domain.Entry) []string { return []string{string(middle(log).Events[0].Stream)} }},
		{"who did it is changed", func(t *testing.T, f forger, log []domain.Entry) {
			e := copied(middle(log))
			e.Events[0].Actor.ID = "somebody-else"
			f.overwrite(t, e)
		}, func(log []domain.Entry) []string { return []string{string(middle(log).Events[0].Stream)} }},
		{"an entry is replaced by what an older one held", func(t *testing.T, f forger, log []domain.Entry) {
			e := copied(middle(log))
			e.ID, e.PreviousID = log[1].ID, log[1].PreviousID
			f.overwrite(t, e)
		}, func(log []domain.Entry) []string { return []string{shardOf(log)} }},
		{"two entries change places", func(t *testing.T, f forger, log []domain.Entry) {
			a, b := copied(middle(log)), copied(&log[len(log)/2+1])
			a.Events, b.Events = b.Events, a.Events
			for _, e := range []*domain.Entry{a, b} {
				for i := range e.Events {
					e.Events[i].Position = domain.Position{Shard: e.Shard, Index: e.Index, Place: i}
				}
				f.overwrite(t, e)
			}
		}, func(log []domain.Entry) []string { return []string{string(middle(log).Events[0].Stream)} }},
		{"an entry is said to be older than the one before", func(t *testing.T, f forger, log []domain.Entry) {
			e := copied(middle(log))
			e.RecordedAt = e.RecordedAt.AddDate(0, 0, -1)
			for i := range e.Events {
				e.Events[i].RecordedAt = e.RecordedAt
			}
			f.overwrite(t, e)
		}, func(log []domain.Entry) []string {
			return []string{fmt.Sprintf("entry %d was recorded before entry %d", middle(log).Index, middle(log).Index-1)}
		}},
		{"the store is set back to an older state", func(t *testing.T, f forger, log []domain.Entry) { f.setBack(t, middle(log)) },
			func(log []domain.Entry) []string {
				var each []string
				for _, model := range []string{"customers", "timeline", "denials", "analytics", "search"} {
					each = append(each, fmt.Sprintf("checkpoint: %s: applied entry %d of shard %d, whose log ends at entry %d", model, log[len(log)-1].Index, log[0].Shard, middle(log).Index))
				}
				return each
			}},
		{"the history of a stream is deleted", func(t *testing.T, f forger, log []domain.Entry) { f.forget(t, lively(log)) },
			func(log []domain.Entry) []string { return []string{"history: " + string(lively(log))} }},
	}
}

// lively is a stream with several events.
func lively(log []domain.Entry) domain.StreamID {
	count := map[domain.StreamID]int{}
	for i := range log {
		for j := range log[i].Events {
			if e := &log[i].Events[j]; count[e.Stream] > 8 {
				return e.Stream
			}
			count[log[i].Events[j].Stream]++
		}
	}
	return log[0].Events[0].Stream
}

// liveAWhile records some hundred events and has them projected. It answers the log of the shard that holds most.
func liveAWhile(t *testing.T, s *System, prefix string) []domain.Entry {
	t.Helper()
	titles := catalogueFiles{s.catalogue}
	if _, err := simulate.Run(t.Context(), simulate.Handlers{App: s.Commands()}, simulate.Options{
		Seed: 4, Households: 10, Prefix: prefix, Callers: 2, Commands: 300, Patience: 3, Titles: titles, Lookup: titles.Title,
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	heads, err := s.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	largest := 1
	for shard, head := range heads {
		if shard > 0 && head.Index > heads[largest].Index {
			largest = shard
		}
	}
	var log []domain.Entry
	for uint64(len(log)) < heads[largest].Index {
		page, err := s.log.Read(t.Context(), largest, uint64(len(log))+1, 1<<20)
		if err != nil || len(page) == 0 {
			t.Fatalf("reading the log: %v", err)
		}
		log = append(log, page...)
	}
	if len(log) < 20 {
		t.Fatalf("the log has %d entries, which is too few to tamper with", len(log))
	}
	return log
}

// mustName fails unless the audit found something, and named each.
func mustName(t *testing.T, report projector.AuditReport, names []string) {
	t.Helper()
	if report.Clean() {
		t.Fatal("the audit found nothing")
	}
	var said strings.Builder
	for _, d := range report.Differences {
		fmt.Fprintln(&said, d)
	}
	for _, name := range names {
		if !strings.Contains(said.String(), name) {
			t.Errorf("%q is not named in:\n%s", name, said.String())
		}
	}
}

func TestWhatIsDoneToTheFileBehindTheProgramsBackIsFound(t *testing.T) {
	t.Parallel()
	whole := t.TempDir()
	s := openTest(t, whole)
	log := liveAWhile(t, s, "t-")
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if report := auditFolder(t, copyFolder(t, whole)); !report.Clean() || !report.AtTails() {
		t.Fatalf("before anything was done: %v", report.Differences)
	}
	for _, c := range tamperings() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := copyFolder(t, whole)
			c.do(t, sqliteForger{filepath.Join(dir, "carryon.db")}, log)
			mustName(t, auditFolder(t, dir), c.names(log))
		})
	}
}

// A log that was set back and then went on another way, so that it is as long again, is not what the models applied.
func TestALogThatWentOnAnotherWayAfterItWasSetBackIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	log := liveAWhile(t, s, "t-")
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	sqliteForger{filepath.Join(dir, "carryon.db")}.setBack(t, middle(log))
	s = openTest(t, dir)
	titles := catalogueFiles{s.catalogue}
	for n := 0; ; n++ {
		heads, err := s.Heads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if heads[1].Index > log[len(log)-1].Index {
			break
		}
		if _, err := simulate.Run(t.Context(), simulate.Handlers{App: s.Commands()}, simulate.Options{
			Seed: 5, Households: 10, Prefix: fmt.Sprintf("u%d-", n), Callers: 1, Commands: 100, Patience: 3, Titles: titles, Lookup: titles.Title,
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CatchUp(t.Context(), nil); err == nil || !strings.Contains(err.Error(), projector.ErrHistoryDiffers.Error()) {
		t.Errorf("catching up with another history: %v", err)
	}
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	mustName(t, auditFolder(t, dir), []string{"checkpoint: timeline: applied entry", "checkpoint: search: applied entry"})
}

// inventIn has a read model show what never happened, through its own transaction.
func inventIn[T projector.Tx, M projector.Store[T]](t *testing.T, m *projector.Model[T, M], p projector.Projection[T], shard int, events []*domain.Event) {
	t.Helper()
	store, done, err := m.Take()
	defer done()
	if err != nil {
		t.Fatal(err)
	}
	tx, err := store.Begin(t.Context(), shard)
	if err == nil {
		defer tx.Rollback()
		err = p.Apply(t.Context(), tx, events)
	}
	if err == nil {
		err = tx.Commit(t.Context(), tx.Checkpoint())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// mustFindInventions writes the histories of customers whom the log does not know into every read model: the audit names
// each model and customer, and a repair takes them away.
func mustFindInventions(t *testing.T, s *System, log []domain.Entry) {
	t.Helper()
	stranger := func(stream domain.StreamID) domain.StreamID { return stream + "-stranger" }
	var events []*domain.Event
	var names []string
	for i := range log {
		for _, e := range log[i].Events {
			if e.Stream.Kind() != domain.KindCustomer {
				continue
			}
			e.Stream = stranger(e.Stream)
			events = append(events, &e)
			if e.Type == projector.DeniedType {
				names = append(names, "rows: denials "+string(e.Stream)+": ")
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("nobody was refused anything")
	}
	known := string(stranger(lively(log)))
	for _, model := range []string{"customers", "timeline", "analytics", "search"} {
		names = append(names, "rows: "+model+" "+known+": ")
	}
	shard := log[0].Shard
	inventIn(t, s.models.customers, projector.Projection[projector.CustomersTx](projector.Customers{}), shard, events)
	inventIn(t, s.models.timeline, projector.Projection[projector.TimelineTx](projector.Timeline{}), shard, events)
	inventIn(t, s.models.denials, projector.Projection[projector.DenialsTx](projector.Denials{}), shard, events)
	inventIn(t, s.models.analytics, projector.Projection[projector.AnalyticsTx](projector.Analytics{}), shard, events)
	inventIn(t, s.models.search, projector.Projection[projector.SearchTx](projector.Search{}), shard, events)
	report, err := s.Audit(t.Context(), cli.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wrong strings.Builder // of the differences only some are listed
	for _, w := range report.Wrong {
		if w.Stray {
			fmt.Fprintf(&wrong, "rows: %s: \n", w)
		}
	}
	for _, name := range names {
		if !strings.Contains(wrong.String(), name) {
			t.Errorf("%q is not named in:\n%s", name, wrong.String())
		}
	}
	repaired, err := s.Repair(t.Context(), report, nil)
	if err != nil || !repaired.Clean() {
		t.Errorf("left by the repair: %v, %v", repaired.Left, err)
	}
	auditClean(t, s)
}

func TestWhatReadModelsShowOfStrangersIsFoundAndTakenAway(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	mustFindInventions(t, s, liveAWhile(t, s, "t-"))
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// auditFolder audits what is there, without running anything before.
func auditFolder(t *testing.T, dir string) projector.AuditReport {
	t.Helper()
	s, err := OpenEmbedded(t.Context(), configured(t, dir), cli.OpenOptions{OnlyReads: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.WithoutCancel(t.Context()))
	report, err := s.Audit(t.Context(), cli.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error { // keys that others can read are refused
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	return to
}

// sqliteForger changes the file.
type sqliteForger struct{ path string }

func (f sqliteForger) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	result, err := db.Exec(statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s changed nothing: %v", statement, err)
	}
}

// at is where the file has an entry.
func (sqliteForger) at(shard int, index uint64) int64 { return int64(shard)<<40 | int64(index) } //nolint:gosec // small

func (f sqliteForger) remove(t *testing.T, shard int, index uint64) {
	t.Helper()
	f.exec(t, "DELETE FROM entry WHERE position = ?", f.at(shard, index))
}

func (f sqliteForger) overwrite(t *testing.T, e *domain.Entry) {
	t.Helper()
	data, err := codec.EncodeEvents(e)
	if err != nil {
		t.Fatal(err)
	}
	f.exec(t, "UPDATE entry SET id = ?, previous_id = ?, recorded_at = ?, events = ?, data = ? WHERE position = ?",
		e.ID[:], e.PreviousID[:], e.RecordedAt.UnixMicro(), len(e.Events), data, f.at(e.Shard, e.Index))
}

func (f sqliteForger) setBack(t *testing.T, e *domain.Entry) {
	t.Helper()
	f.exec(t, "DELETE FROM entry WHERE position > ? AND position < ?", f.at(e.Shard, e.Index), f.at(e.Shard+1, 0))
	f.exec(t, "DELETE FROM history WHERE shard = ? AND entry > ?", e.Shard, e.Index)
	f.exec(t, "DELETE FROM snapshot")
}

func (f sqliteForger) forget(t *testing.T, stream domain.StreamID) {
	t.Helper()
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(stream))
	f.exec(t, "DELETE FROM history WHERE last_seq > 1 AND stream = ?", int64(hash.Sum64())) //nolint:gosec // any bits do
}
