package profile

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/sqlite"
	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
	"carryon/query"
)

// A store outlives the programs that write it. Here one is written by a program of the past, with plays in their first
// schema version and the first fold, and read by one of today; and the other way round, which is refused.

// program is one whose way to fold and record is another.
type program struct {
	embedded
	change func(*command.Folding)
}

func (p program) openStores(ctx context.Context, s *System) error {
	p.change(&s.folding)
	return p.embedded.openStores(ctx, s)
}

func openProgram(t *testing.T, dir string, change func(*command.Folding)) *System {
	t.Helper()
	c, err := config.Load(config.Sources{Flags: map[string]string{"data": dir, "listen": "127.0.0.1:0", "snapshot-every": "10"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), c, cli.OpenOptions{}, program{change: change})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeProgram(t *testing.T, s *System) {
	t.Helper()
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

const playType = "PlaybackStarted"

// firstPlays reads plays in their first schema version only.
type firstPlays struct{}

func (firstPlays) ReadUpTo(typ string) (int, []string) {
	if typ == playType {
		return 1, []string{"of the past"}
	}
	return domain.SchemaVersion(typ), nil
}

// ofThePast records plays as they were recorded at first.
func ofThePast(f *command.Folding) { f.Record = command.RecordFor(firstPlays{}) }

// secondFold is a program that folds otherwise, and counts the snapshots that it restores.
type secondFold struct {
	mu       sync.Mutex
	restored []string
}

func (f *secondFold) change(folding *command.Folding) {
	restore := folding.Restore
	folding.Version++
	folding.Restore = func(stream domain.StreamID, data string) (domain.Aggregate, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.restored = append(f.restored, data)
		return restore(stream, data)
	}
}

// playsBy counts the plays in the log by schema version, and checks what is read of each.
func playsBy(t *testing.T, s *System) map[int]int {
	t.Helper()
	count := map[int]int{}
	for _, e := range eventsOf(t, s) {
		if e.Type != playType {
			continue
		}
		count[e.SchemaVersion]++
		if e.SchemaVersion > 1 {
			continue
		}
		var raw struct {
			PlayedAt time.Time `json:"played_at"`
			Position int64     `json:"position"`
		}
		if err := json.Unmarshal(e.Payload, &raw); err != nil || raw.PlayedAt.IsZero() {
			t.Fatalf("a play of the past is %s: %v", e.Payload, err)
		}
		data, err := e.Data()
		if err != nil {
			t.Fatal(err)
		}
		if p := data.(*domain.PlaybackStarted); !p.At.Equal(raw.PlayedAt) || !p.DeviceTime.Equal(raw.PlayedAt) || p.PositionSeconds != raw.Position {
			t.Fatalf("%s is read as %+v", e.Payload, p)
		}
	}
	return count
}

func eventsOf(t *testing.T, s *System) []domain.Event {
	t.Helper()
	var events []domain.Event
	for from := uint64(1); ; {
		entries, err := s.log.Read(t.Context(), 1, from, 4<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			return events
		}
		for i := range entries {
			events = append(events, entries[i].Events...)
		}
		from = entries[len(entries)-1].Index + 1
	}
}

// statesOf are the folded states of all customers.
func statesOf(t *testing.T, s *System) map[domain.StreamID][]byte {
	t.Helper()
	states := map[domain.StreamID][]byte{}
	for _, e := range eventsOf(t, s) {
		if states[e.Stream] != nil || e.Stream.Kind() != domain.KindCustomer {
			continue
		}
		state, err := s.books.Customer(t.Context(), e.Stream.ID(), command.AsOf{})
		if err != nil {
			t.Fatal(err)
		}
		if states[e.Stream], err = state.State.AppendBinary(nil); err != nil {
			t.Fatal(err)
		}
	}
	return states
}

func snapshotsOf(t *testing.T, s *System, states map[domain.StreamID][]byte) map[domain.StreamID]command.Snapshot {
	t.Helper()
	found := map[domain.StreamID]command.Snapshot{}
	for stream := range states {
		snapshot, is, err := s.log.LoadSnapshot(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if is {
			found[stream] = snapshot
		}
	}
	return found
}

// asOf is when something was exported that changes with the time.
var asOf = regexp.MustCompile(`"as_of":"[^"]*",`)

// exported is everything that can be exported, a line for each row; rows of one moment may come in any order.
func exported(t *testing.T, s *System) string {
	t.Helper()
	var out bytes.Buffer
	for _, table := range query.Tables() {
		e, err := s.Queries().Export.Handle(t.Context(), query.Export{By: query.Caller{Actor: domain.Actor{ID: "x", Role: domain.RoleOperator}}, Table: table})
		if err != nil {
			t.Fatal(table, err)
		}
		if _, err := e.WriteNDJSON(&out, nil); err != nil {
			t.Fatal(table, err)
		}
	}
	lines := strings.Split(asOf.ReplaceAllString(out.String(), ""), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// beforeUpcasters is the timeline of a program that can't read plays of the first version.
type beforeUpcasters struct{ projector.Timeline }

func (p beforeUpcasters) Apply(ctx context.Context, tx projector.TimelineTx, events []*domain.Event) error {
	for _, e := range events {
		if e.Type == playType && e.SchemaVersion == 1 {
			return &projector.PoisonError{Event: e, Err: errors.New("made to fail: there is no upcaster")}
		}
	}
	return p.Timeline.Apply(ctx, tx, events)
}

// parkPlays lets a projector without the upcaster fill the timeline.
func parkPlays(t *testing.T, dir string) {
	t.Helper()
	log, err := sqlite.OpenLog(t.Context(), filepath.Join(dir, "carryon.db"), sqlite.LogConfig{Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	timeline, err := readmodel.OpenTimeline(t.Context(), filepath.Join(dir, "read", "timeline.1.db"))
	if err != nil {
		t.Fatal(err)
	}
	c := projector.NewConsumer(projector.Config{}, projector.Projection[projector.TimelineTx](beforeUpcasters{}), projector.Store[projector.TimelineTx](timeline), log, log, []int{1}, time.Now, nil)
	for idle := 0; idle < 2; {
		outcome, err := c.Step(t.Context(), 1)
		switch outcome {
		case projector.Progressed:
			idle = 0
		case projector.Idle:
			idle++
		default:
			t.Fatalf("%s: %v", outcome, err)
		}
	}
	if err := errors.Join(timeline.Close(), log.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreOfThePastIsReadByTheProgramOfToday(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openProgram(t, dir, ofThePast)
	load(t, s, 41, "a", 900)
	states := statesOf(t, s)
	if plays := playsBy(t, s); plays[1] < 20 || len(plays) != 1 {
		t.Fatalf("plays by schema version, written in the past: %v", plays)
	}
	closeProgram(t, s)
	parkPlays(t, dir)

	fold := &secondFold{}
	s = openProgram(t, dir, fold.change)
	old := snapshotsOf(t, s, states)
	if len(old) < 10 {
		t.Fatalf("the past left %d snapshots", len(old))
	}
	for stream, state := range statesOf(t, s) {
		if !bytes.Equal(state, states[stream]) {
			t.Errorf("%s is folded to another state than it had in the past", stream)
		}
	}
	load(t, s, 42, "a", 400) // the same customers go on
	for _, data := range fold.restored {
		for stream, snapshot := range old {
			if snapshot.FoldVersion != domain.FoldVersion || bytes.Contains(snapshot.Data, []byte(data)) && len(data) > 0 {
				t.Fatalf("a snapshot of the old fold was used: %s at seq %d, fold %d", stream, snapshot.Seq, snapshot.FoldVersion)
			}
		}
	}
	plays := playsBy(t, s)
	if plays[1] < 20 || plays[2] == 0 || len(plays) != 2 {
		t.Errorf("plays by schema version, written in the past and today: %v", plays)
	}
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	retryPlays(t, s)
	auditClean(t, s)
	before := exported(t, s)
	if n := strings.Count(before, `"`+playType+`"`); n < 2*(plays[1]+plays[2]) {
		t.Errorf("%d plays are exported in timeline and events, of %v", n, plays)
	}
	for _, m := range s.models.all {
		if err := s.Rebuild(t.Context(), m.Name(), projector.RebuildOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	auditClean(t, s)
	if after := exported(t, s); after != before {
		t.Errorf("after the rebuild something else is exported than before:\n%s", firstDifference(before, after))
	}
	closeProgram(t, s)

	again := &secondFold{}
	s = openProgram(t, dir, again.change)
	load(t, s, 43, "a", 100)
	if len(again.restored) == 0 {
		t.Error("no snapshot of the new fold is used")
	}
	closeProgram(t, s)
}

// firstDifference shows where two texts part.
func firstDifference(a, b string) string {
	other := strings.Split(b, "\n")
	for i, line := range strings.Split(a, "\n") {
		if i >= len(other) || line != other[i] {
			return line + "\n" + strings.Join(other[min(i, len(other)):min(i+1, len(other))], "")
		}
	}
	return ""
}

// retryPlays retries what the program without the upcaster has parked.
func retryPlays(t *testing.T, s *System) {
	t.Helper()
	parked, err := s.models.timeline.Parked(t.Context(), "", 1000)
	if err != nil || len(parked) == 0 {
		t.Fatalf("parked: %v: %v", parked, err)
	}
	answer, err := s.Queries().RetryAllParked.Handle(t.Context(), query.RetryAllParked{By: query.Caller{Actor: domain.Actor{ID: "x", Role: domain.RoleOperator}}, Model: "timeline"})
	if err != nil || answer.Flow != len(parked) || answer.Stay != 0 {
		t.Fatalf("of %d parked streams: %+v: %v", len(parked), answer, err)
	}
}

func TestCustomersOfAnotherFoldAreBuiltAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	load(t, s, 44, "a", 300)
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	closeProgram(t, s)
	relabel(t, filepath.Join(dir, "read", "customers.1.db"), -1)
	s = openTest(t, dir)
	defer closeProgram(t, s)
	if n := s.models.customers.Generation(); n != 2 {
		t.Errorf("generation %d is read", n)
	}
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	auditClean(t, s)
}

// relabel lets a file say that it is of another version.
func relabel(t *testing.T, path string, by int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(fmt.Sprintf("PRAGMA user_version = %d; PRAGMA wal_checkpoint(TRUNCATE)", version+by)); err != nil {
		t.Fatal(err)
	}
}

func TestAnOlderProgramLeavesTheFilesOfANewerOneAlone(t *testing.T) {
	t.Parallel()
	whole := t.TempDir()
	s := openTest(t, whole)
	load(t, s, 45, "a", 200)
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	closeProgram(t, s)
	for _, file := range []string{"carryon.db", "vault.db", "access.db", "read/customers.1.db", "read/search.1.db"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			dir := copyFolder(t, whole)
			relabel(t, filepath.Join(dir, file), 1)
			before := filesIn(t, dir)
			_, err := OpenEmbedded(t.Context(), configured(t, dir), cli.OpenOptions{})
			if !errors.Is(err, domain.ErrFutureVersion) || !strings.Contains(err.Error(), "use the program that wrote it") {
				t.Errorf("opening it: %v", err)
			}
			if after := filesIn(t, dir); !maps.Equal(before, after) {
				t.Errorf("there was %v, there is %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			}
		})
	}
}

// filesIn are the files of a folder and what they hold.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if len(data) > 0 { // an empty -wal comes with looking
			files[path] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAnOlderProgramDecidesNothingOnEventsOfANewerOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openProgram(t, dir, func(f *command.Folding) {
		record := f.Record
		f.Record = func(e *domain.Event, p domain.Payload) error {
			err := record(e, p)
			if e.Type == playType {
				e.SchemaVersion++
			}
			return err
		}
	})
	load(t, s, 46, "a", 300)
	newer := playsBy(t, s)
	if newer[domain.SchemaVersion(playType)+1] == 0 || len(newer) != 1 {
		t.Fatalf("plays by schema version: %v", newer)
	}
	var played string
	for _, e := range eventsOf(t, s) {
		if e.Type == playType {
			played = e.Stream.ID()
		}
	}
	heads, err := s.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closeProgram(t, s)
	removeSnapshots(t, dir)

	s = openTest(t, dir)
	defer closeProgram(t, s)
	_, err = s.Commands().ChangePlan(t.Context(), command.ChangePlan{
		Meta: command.Meta{CommandID: "01900000-0000-7000-8000-000000000001", Actor: domain.Actor{ID: "x", Role: domain.RoleService}}, Customer: played, Plan: "premium", Country: "US",
	})
	if !errors.Is(err, domain.ErrFutureVersion) {
		t.Errorf("a command of %s: %v", played, err)
	}
	if _, err := s.books.Customer(t.Context(), played, command.AsOf{}); !errors.Is(err, domain.ErrFutureVersion) {
		t.Errorf("the state of %s: %v", played, err)
	}
	if now, err := s.Heads(t.Context()); err != nil || !maps.Equal(now, heads) {
		t.Errorf("the log ends at %v, and ended at %v: %v", now, heads, err)
	}
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	parked, is, err := s.models.timeline.ParkedStream(t.Context(), domain.CustomerStream(played))
	if err != nil || !is || !strings.Contains(parked.Reason, domain.ErrFutureVersion.Error()) {
		t.Errorf("parked: %t, %+v: %v", is, parked, err)
	}
}

// removeSnapshots lets states be made from the events.
func removeSnapshots(t *testing.T, dir string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "carryon.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("DELETE FROM snapshot"); err != nil {
		t.Fatal(err)
	}
}
