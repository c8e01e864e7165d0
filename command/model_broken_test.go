package command_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each rule is broken on purpose, and must be noticed; or the model proves nothing. The rules are broken in copies of the
// sources that only a test build of its own sees (go build -overlay), so that the program holds no switches for it. The
// build holds all breaches, each behind its name in an environment variable; without one it must pass as the program does.
var modelBreaches = flag.Bool("model.breaches", false, "break each rule on purpose, too (builds the test once more)")

const breachVariable = "CARRYON_BREACH"

// breach is a rule and how to break it.
type breach struct {
	rule     string
	scenario string // within which it must be noticed
	edits    []edit
}

// edit replaces a piece of a source file. broken("…") in the new piece is replaced by whether this rule is to be broken.
type edit struct{ file, old, new string }

var breaches = []breach{
	{"no later index is claimed before the one in flight is known", "one busy writer", []edit{{
		"command/shard.go", "	case b.unknown || maybeWritten(err): // once", `	case BROKEN && maybeWritten(err) && s.open != nil:
		s.flight, s.op = nil, opNone
		for _, st := range b.touched {
			st.folded.state, st.flight = st.flight.state, nil
		}
		for _, p := range b.subs {
			for i := p.from; i < p.to; i++ {
				p.stream.folded.advance(&b.entry.Events[i], s.cfg.KeyKept)
			}
			s.answer(p, outcome{err: ErrUnknown})
		}
		s.advance(&b.entry)
	case b.unknown || maybeWritten(err): // once`,
	}}},
	{"an unknown batch is repeated at its own entry and at no other", "two writers", []edit{
		{"command/shard.go", "	case b.unknown || maybeWritten(err): // once", `	case BROKEN && maybeWritten(err):
		b.unknown, s.op = true, opLooking
		s.do(headTask{})
	case b.unknown || maybeWritten(err): // once`},
		{"command/shard.go", "	for _, st := range b.touched { // by decisions that came to nothing", `	if BROKEN && b.writes > 0 {
		if err != nil {
			s.do(headTask{})
			return
		}
		b.entry.Index, b.entry.PreviousID = h.Index+1, h.ID
		for i := range b.entry.Events {
			b.entry.Events[i].Position.Index = h.Index + 1
		}
		s.claim()
		return
	}
	for _, st := range b.touched { // by decisions that came to nothing`},
	}},
	{"what was decided is decided again when another process took the entry", "two writers", []edit{{
		"command/shard.go", "	s.taken++\n	s.decideAgain(b)", `	if BROKEN {
		b.entry.Index, b.entry.PreviousID = found.Index+1, found.ID
		for i := range b.entry.Events {
			b.entry.Events[i].Position.Index = found.Index + 1
		}
		s.claim()
		return
	}
	s.taken++
	s.decideAgain(b)`,
	}}},
	{"nobody is answered before the claim is known", "two writers", []edit{{
		"command/shard.go", "	s.first(claimTask{entry: &s.flight.entry})", `	if BROKEN {
		s.answerAll(s.flight)
	}
	s.first(claimTask{entry: &s.flight.entry})`,
	}}},
	{"nothing is published before the claim is known", "one busy writer", []edit{{
		"command/shard.go", "	s.first(claimTask{entry: &s.flight.entry})", `	if BROKEN {
		s.do(publishTask{entry: &s.flight.entry})
	}
	s.first(claimTask{entry: &s.flight.entry})`,
	}}},
	{"an unknown claim did not fail", "two writers", []edit{{
		"command/shard.go", "	case b.unknown || maybeWritten(err): // once", `	case BROKEN && err != nil:
		s.failures = 0
		s.unwritten(b, fmt.Errorf("injected: %w", ErrUnavailable))
	case b.unknown || maybeWritten(err): // once`,
	}}},
	{"what was once unknown is not known by a later error", "the same command at both writers", []edit{{
		"command/shard.go", "	case b.unknown || maybeWritten(err): // once", `	case BROKEN && b.unknown && !maybeWritten(err):
		s.failures = 0
		s.unwritten(b, err)
	case b.unknown || maybeWritten(err): // once`,
	}}},
	{"a taken claim was not applied", "two writers", []edit{{
		"command/shard.go", "	case err == nil && (c.Applied ||", "	case err == nil && (BROKEN || c.Applied ||",
	}}},
	{"everything that was dropped is decided again", "one busy writer beside another", []edit{{
		"command/shard.go", "	s.giveBack(b)\n	if open != nil {", "	s.giveBack(b)\n	if open != nil && !BROKEN {",
	}}},
	{"decisions are made on copies of the states", "two writers", []edit{{
		"command/shard_decide.go", "		st.open = &draft{state: state.Clone(), seq: seq, position: position}", `		st.open = &draft{state: state, seq: seq, position: position}
		if !BROKEN {
			st.open.state = state.Clone()
		}`,
	}}},
	{"the command id is looked up before If-Match", "the same command at both writers", []edit{
		{"command/shard.go", "	case s.answerRecorded(p):", "	case BROKEN:\n		s.queue = append(s.queue, p)\n	case s.answerRecorded(p):"},
		{"command/shard_decide.go", "	case s.answerRecorded(p):", `	case BROKEN && p.sub.Meta.IfMatch != nil && *p.sub.Meta.IfMatch != st.seq():
		s.refuse(p, &VersionConflictError{Expected: *p.sub.Meta.IfMatch, Actual: st.seq()})
		return true
	case s.answerRecorded(p):`},
	}},
	{"the command id is looked up", "the same command at both writers", []edit{
		{"command/shard.go", "	case s.answerRecorded(p):", "	case BROKEN:\n		s.queue = append(s.queue, p)\n	case s.answerRecorded(p):"},
		{"command/shard_decide.go", "	case s.answerRecorded(p):", `	case !BROKEN && s.answerRecorded(p):`},
		{"command/shard_decide.go", "	if want := p.sub.Meta.IfMatch; want != nil", "	if want := p.sub.Meta.IfMatch; !BROKEN && want != nil"},
	}},
	{"an answer that writes nothing waits for a look at the head", "reads beside another writer", []edit{{
		"command/shard.go", "	if b.writes == 0 {\n		s.op = opLooking", `	if BROKEN && b.writes == 0 {
		s.flight = nil
		for _, st := range b.touched {
			st.flight = nil
		}
		s.answerAll(b)
		return
	}
	if b.writes == 0 {
		s.op = opLooking`,
	}}},
	{"a read waits for the batch that it came with", "reads beside another writer", []edit{{
		"command/shard_decide.go", "	if p.read {\n", `	if BROKEN && p.read {
		s.answer(p, outcome{version: s.look(st)})
		return true
	}
	if p.read {
`,
	}}},
	{"the progress is read before the history", "histories and snapshots", []edit{{
		"command/writer_load.go", "	if known := max(progress, f.position.Index); known > wanted.through {", `	if BROKEN {
		if progress, err = l.histories.Progress(ctx, wanted.shard); err != nil {
			return loadedStream{}, err
		}
	}
	if known := max(progress, f.position.Index); known > wanted.through {`,
	}}},
	{"what is not derived yet is read from the log", "histories and snapshots", []edit{{
		"command/writer_load.go", "	return loaded, l.tail(ctx, wanted, f, progress+1)", `	if BROKEN {
		return loaded, nil
	}
	return loaded, l.tail(ctx, wanted, f, progress+1)`,
	}}},
	{"what is claimed during a load is folded, too", "loading beside another writer", []edit{{
		"command/shard_streams.go", "	if err == nil {\n		err = s.foldSince(", "	if err == nil && !BROKEN {\n		err = s.foldSince(",
	}}},
	{"a frozen stream is let go when another process wrote to it", "frozen streams", []edit{{
		"command/shard.go", "			s.drop(st)\n			continue", "			if !BROKEN {\n				s.drop(st)\n			}\n			continue",
	}}},
	{"a leap forgets what was known of the streams", "leaping over what another wrote", []edit{{
		"command/shard_leap.go", "		st.folded, st.frozen, st.bad,", "		if BROKEN && st.folded != nil {\n			s.hot.push(st)\n			continue\n		}\n		st.folded, st.frozen, st.bad,",
	}}},
	{"histories that were not derived are derived again", "derivations that fail", []edit{{
		"command/shard_streams.go", "func (s *shard) deriveFailed(err error) {\n", `func (s *shard) deriveFailed(err error) {
	if BROKEN {
		s.moveDerived(s.head.Index)
		return
	}
`,
	}}},
	{"a writer whose log differs stops", "a log that forgets", []edit{{
		"command/shard.go", "	if found.Index < b.entry.Index {\n", `	if BROKEN && found.Index < b.entry.Index {
		s.head, s.recent.entries, s.recent.bytes = found, nil, 0
		b.entry.Index, b.entry.PreviousID = found.Index+1, found.ID
		for i := range b.entry.Events {
			b.entry.Events[i].Position.Index = found.Index + 1
		}
		s.claim()
		return
	}
	if found.Index < b.entry.Index {
`,
	}}},

	{"rows and checkpoint are committed together", "a consumer", []edit{{
		"projector/consumer_apply.go", "	if err := tx.Commit(ctx, checkpointOf(batch)); err != nil {", `	if BROKEN {
		if err := tx.Commit(ctx, s.last); err != nil {
			return fmt.Errorf("committing the rows: %w", err)
		}
		if tx, err = c.store.Begin(ctx, s.shard); err != nil {
			return fmt.Errorf("opening a transaction: %w", err)
		}
	}
	if err := tx.Commit(ctx, checkpointOf(batch)); err != nil {`,
	}}},
	{"a quiet shard's log is looked at", "a consumer", []edit{{
		"projector/consumer_step.go", "	return c.round(ctx, shard, func(s *shardState) (Outcome, error) { return c.look(ctx, s) })", `	if BROKEN {
		return Idle, nil
	}
	return c.round(ctx, shard, func(s *shardState) (Outcome, error) { return c.look(ctx, s) })`,
	}}},
	{"the chain of batch ids is checked", "a consumer of a log that forgets", []edit{
		{"projector/consumer_shard.go", "	if e.PreviousID != last.ID {", "	if !BROKEN && e.PreviousID != last.ID {"},
		{"projector/consumer_shard.go", "		if e.PreviousID != end.ID {", "		if !BROKEN && e.PreviousID != end.ID {"},
		{"projector/consumer_step.go", "		if entries[0].ID != last.ID {", "		if !BROKEN && entries[0].ID != last.ID {"},
	}},
	{"an entry is applied after the one before it", "a consumer", []edit{{
		"projector/consumer_shard.go", "		e := s.waiting[end.Index+1]\n", `		e := s.waiting[end.Index+1]
		if BROKEN && e == nil {
			for _, later := range s.waiting {
				if e == nil || later.Index < e.Index {
					e = later
				}
			}
			if e != nil {
				s.removeWaiting(e)
				s.ready = append(s.ready, e)
				continue
			}
		}
`,
	}}},
	{"an entry that another instance applied is skipped", "two consumers", []edit{{
		"projector/consumer_apply.go", "	if at := tx.Checkpoint(); at != s.last {", "	if at := tx.Checkpoint(); !BROKEN && at != s.last {",
	}}},
	{"later events of a parked stream wait", "a parked stream", []edit{{
		"projector/consumer_apply.go", "		if _, waits := parked[event.Stream]; !waits {",
		"		if _, waits := parked[event.Stream]; !waits || BROKEN && event.Seq != parked[event.Stream].FirstSeq {",
	}}},
	{"a retry applies nothing beyond the checkpoint", "a parked stream", []edit{{
		"projector/parking.go", "|| event.Position.Index > upTo.Index {", "|| !BROKEN && event.Position.Index > upTo.Index {",
	}}},
	{"a retry begins at the first event that was not applied", "a parked stream", []edit{{
		"projector/parking.go", "		next, from := parked.FirstSeq, parked.Position.Index\n", `		next, from := parked.FirstSeq, parked.Position.Index
		if BROKEN {
			next, from = next+1, upTo.Index+1
		}
`,
	}}},
	{"a parked stream is applied in the transaction that unparks it", "a parked stream", []edit{{
		"projector/parking.go", "	if err := c.stillThere(ctx, parked.Shard, at); err != nil {", `	if BROKEN {
		if err := tx.Commit(ctx, at); err != nil {
			return err
		}
		if tx, err = c.store.Begin(ctx, parked.Shard); err != nil {
			return err
		}
		for events, err := range c.missed(ctx, parked, at) {
			if err != nil {
				return err
			}
			if err := c.apply(ctx, tx, events, false); err != nil {
				return err
			}
		}
	}
	if err := c.stillThere(ctx, parked.Shard, at); err != nil {`,
	}}},
}

// breachSource is what each broken package is given.
const breachSource = `package %s

import "os"

var breach = os.Getenv(%q)

func broken(rule string) bool { return breach == rule }
`

func TestEachBrokenRuleIsNoticed(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sources := breachedSources(t, root)
	if !*modelBreaches {
		return // they fit; make model tries each
	}
	binary := buildBreaches(t, root, sources)
	t.Run("none", func(t *testing.T) {
		if out, err := runBreach(t, binary, "", "two writers"); err != nil {
			t.Fatalf("nothing is broken, and yet: %v\n%s", err, out)
		}
	})
	found := regexp.MustCompile(`Found after .* moves`)
	for _, b := range breaches {
		t.Run(b.rule, func(t *testing.T) {
			t.Parallel()
			out, err := runBreach(t, binary, b.rule, b.scenario)
			if err == nil {
				t.Fatalf("nobody noticed in %q:\n%s", b.scenario, out)
			}
			notice := found.Find(out)
			if notice == nil {
				t.Fatalf("ended with %v\n%s", err, out)
			}
			t.Logf("%s: %s: %s", b.scenario, notice, what(out))
		})
	}
}

// A read model's store without locks must not compare the checkpoint alone: see projector.Tx.Commit.
func TestAStoreThatComparesNothingButTheCheckpointIsNoticed(t *testing.T) {
	t.Parallel()
	sc, _ := scenarioNamed("a parked stream")
	sc.kind, sc.budget = forgetful, 0
	done, failed := search(sc, 200_000)
	if failed == nil {
		t.Fatalf("nobody noticed: %v", done)
	}
	t.Log(failed)
}

// what is the first line of a report.
func what(out []byte) string {
	_, rest, _ := strings.Cut(string(out), "states a second")
	for line := range strings.Lines(rest) {
		if _, says, ok := strings.Cut(line, "_test.go:"); ok {
			_, says, _ = strings.Cut(says, ": ")
			return strings.TrimSpace(says)
		}
	}
	return ""
}

func runBreach(t *testing.T, binary, rule, scenario string) ([]byte, error) {
	t.Helper()
	run := exec.CommandContext(t.Context(), binary, "-test.run", "^TestNoScheduleOfTheModelBreaksARule$", "-test.v", "-test.timeout", "2m",
		"-model.scenario", scenario, "-model.states", "200000", "-model.workers", "1")
	run.Env = append(os.Environ(), breachVariable+"="+rule)
	return run.CombinedOutput()
}

// breachedSources are the sources with all breaches in them.
func breachedSources(t *testing.T, root string) map[string]string {
	t.Helper()
	sources := make(map[string]string)
	for _, b := range breaches {
		for _, e := range b.edits {
			source := sources[e.file]
			if source == "" {
				source = read(t, filepath.Join(root, e.file))
			}
			if strings.Count(source, e.old) != 1 {
				t.Fatalf("%s holds this %d times; say anew how to break the rule that %s:\n%s", e.file, strings.Count(source, e.old), b.rule, e.old)
			}
			sources[e.file] = strings.Replace(source, e.old, strings.ReplaceAll(e.new, "BROKEN", fmt.Sprintf("broken(%q)", b.rule)), 1)
		}
	}
	return sources
}

// buildBreaches builds this test with all breaches in it.
func buildBreaches(t *testing.T, root string, sources map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"command", "projector"} {
		sources[name+"/breach.go"] = fmt.Sprintf(breachSource, name, breachVariable)
	}
	replace := make(map[string]string)
	for file, source := range sources {
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		write(t, copied, []byte(source))
		replace[filepath.Join(root, file)] = copied
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "overlay.json"), overlay)
	binary := filepath.Join(dir, "breaches.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, bytes.TrimSpace(out))
	}
	return binary
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
