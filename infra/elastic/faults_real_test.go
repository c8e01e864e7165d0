//go:build real

package elastic

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/projector"
	"carryon/query"
)

// wire is the way to the real servers, on which answers can be lost.
type wire struct {
	lose atomic.Pointer[func(r *http.Request, answered bool) bool]
}

var errLost = errors.New("connection reset by the test")

func (w *wire) on(lose func(r *http.Request, answered bool) bool) { w.lose.Store(&lose) }

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	lose := w.lose.Load()
	if lose != nil && (*lose)(r, false) {
		return nil, errLost
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && lose != nil && (*lose)(r, true) {
		response.Body.Close()
		return nil, errLost
	}
	return response, err
}

// entriesLog is a log, and the histories of it, of what was made beforehand.
type entriesLog map[int][]domain.Entry

func (l entriesLog) Head(_ context.Context, shard int) (domain.Head, error) {
	entries := l[shard]
	if len(entries) == 0 {
		return domain.Head{}, nil
	}
	last := &entries[len(entries)-1]
	return domain.Head{Index: last.Index, ID: last.ID}, nil
}

func (l entriesLog) Read(_ context.Context, shard int, from uint64, _ int) ([]domain.Entry, error) {
	entries := l[shard]
	if from > uint64(len(entries)) {
		return nil, nil
	}
	return entries[from-1 : min(uint64(len(entries)), from+30)], nil
}

func (entriesLog) Progress(context.Context, int) (uint64, error) { return 0, nil }

func (entriesLog) ReadStream(context.Context, domain.StreamID, uint64, int) ([]domain.Event, error) {
	return nil, nil
}

func (l entriesLog) shards() []int {
	var shards []int
	for shard := range l {
		shards = append(shards, shard)
	}
	return shards
}

func (l entriesLog) events() int {
	n := 0
	for _, entries := range l {
		for i := range entries {
			n += len(entries[i].Events)
		}
	}
	return n
}

func someLog(t testing.TB, events int) entriesLog {
	t.Helper()
	h, err := conformance.NewHistory(7, 5, 2)
	if err != nil {
		t.Fatal(err)
	}
	log := entriesLog{}
	for _, e := range h.Grow(events) {
		log[e.Shard] = append(log[e.Shard], e)
	}
	return log
}

func consumerOf(log entriesLog, s *Search) *projector.Consumer[projector.SearchTx] {
	return projector.NewConsumer(projector.Config{}, projector.Search{}, projector.Store[projector.SearchTx](s), log, log, log.shards(), time.Now, nil)
}

// drain steps until all shards are at rest.
func drain(t testing.TB, c *projector.Consumer[projector.SearchTx], log entriesLog) {
	t.Helper()
	for _, shard := range log.shards() {
		for quiet := 0; quiet < 2; {
			outcome, err := c.Step(t.Context(), shard)
			switch outcome {
			case projector.Idle:
				if outcome, err = c.Look(t.Context(), shard); outcome == projector.Idle {
					quiet++
				}
			case projector.Stopped:
				t.Fatalf("shard %d stops: %v", shard, err)
			}
			if t.Context().Err() != nil {
				t.Fatalf("shard %d: %v", shard, err)
			}
		}
	}
}

// checkWhole checks that each event is found once, and that what is stored is what the events give.
func checkWhole(t testing.TB, s *Search, log entriesLog, without int) {
	t.Helper()
	checkpoints, err := s.Checkpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	streams := map[domain.StreamID][]domain.Event{}
	for shard, entries := range log {
		last := &entries[len(entries)-1]
		if want := (projector.Checkpoint{Index: last.Index, ID: last.ID}); checkpoints[shard] != want {
			t.Errorf("shard %d is at %+v, want %+v", shard, checkpoints[shard], want)
		}
		if err := s.Show(t.Context(), domain.Position{Shard: shard, Index: last.Index}); err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			for _, e := range entries[i].Events {
				streams[e.Stream] = append(streams[e.Stream], e)
			}
		}
	}
	n, err := s.Count(t.Context(), query.SearchAsked{Tier: query.TierLoose}, 1<<30)
	if err != nil || n != int64(log.events()-without) {
		t.Errorf("%d events are found, want %d: %v", n, log.events()-without, err)
	}
	if without > 0 {
		return
	}
	for stream, events := range streams {
		if differing, err := s.AuditStream(t.Context(), stream, events); err != nil || len(differing) > 0 {
			t.Errorf("%s: %v, %v", stream, differing, err)
		}
	}
}

func searchOn(t testing.TB, cfg Config, log entriesLog, w *wire) *Search {
	t.Helper()
	if w != nil {
		cfg.transport = w
	}
	return NewSearch(testClient(t, cfg), 1, log.shards())
}

func TestADocumentThatIsRefusedParksItsStreamWithTheReason(t *testing.T) {
	t.Parallel()
	log := someLog(t, 400)
	s := searchOn(t, testConfig(t), log, nil)
	var refusedEvent *domain.Event
	behind := 0
	for shard, entries := range log {
		for i := range entries {
			for j := range entries[i].Events {
				e := &entries[i].Events[j]
				switch {
				case shard == 0:
				case refusedEvent == nil && e.Seq == 3:
					e.Actor = domain.Actor{ID: strings.Repeat("x", 40_000), Role: domain.RoleSupport} // longer than any value may be
					refusedEvent, behind = e, 1
				case refusedEvent != nil && e.Stream == refusedEvent.Stream:
					behind++
				}
			}
		}
	}
	if behind < 2 {
		t.Fatal("nothing comes behind the event")
	}
	c := consumerOf(log, s)
	drain(t, c, log)
	parked, is, err := s.ParkedStream(t.Context(), refusedEvent.Stream)
	if err != nil || !is || parked.FirstSeq != 3 || parked.Position != refusedEvent.Position || !strings.Contains(parked.Reason, "immense term") {
		t.Fatalf("parked: %t, %+v: %v", is, parked, err)
	}
	list, err := s.Parked(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0] != parked {
		t.Errorf("parked: %+v: %v", list, err)
	}
	checkWhole(t, s, log, behind)
	if err := c.RetryParked(t.Context(), refusedEvent.Stream); !errors.Is(err, projector.ErrParked) {
		t.Errorf("a retry of what is still refused: %v", err)
	}
	if parked, _, _ := s.ParkedStream(t.Context(), refusedEvent.Stream); parked.Attempts != 2 {
		t.Errorf("after it: %+v", parked)
	}
	refusedEvent.Actor.ID = "agent-ines"
	if err := c.RetryParked(t.Context(), refusedEvent.Stream); err != nil {
		t.Fatal(err)
	}
	if _, is, err := s.ParkedStream(t.Context(), refusedEvent.Stream); is || err != nil {
		t.Errorf("still parked: %v", err)
	}
	if err := s.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkWhole(t, s, log, 0)
}

func TestWhoTakesBackLateTakesNothingBackThatARetryWrote(t *testing.T) {
	t.Parallel()
	log := entriesLog{1: someLog(t, 200)[1]}
	var poison *domain.Event
	behind := 0
	for i := range log[1] {
		for j := range log[1][i].Events {
			switch e := &log[1][i].Events[j]; {
			case poison == nil && e.Seq == 2:
				poison = e
			case poison != nil && e.Stream == poison.Stream:
				behind++
			}
		}
	}
	if behind == 0 {
		t.Fatal("nothing comes behind the event")
	}
	actor := poison.Actor
	poison.Actor = domain.Actor{ID: strings.Repeat("x", 40_000), Role: domain.RoleSupport}
	cfg, w := testConfig(t), &wire{}
	late, quick := searchOn(t, cfg, log, w), searchOn(t, cfg, log, nil)
	if err := late.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	held, release := make(chan struct{}), make(chan struct{})
	var bulks atomic.Int32
	w.on(func(r *http.Request, answered bool) bool {
		if !answered && strings.HasSuffix(r.URL.Path, "_bulk") && bulks.Add(1) == 2 { // the one that takes back
			close(held)
			<-release
		}
		return false
	})
	ended := make(chan error, 1)
	go func() {
		ended <- conformance.ApplyEntries(t.Context(), projector.Store[projector.SearchTx](late), projector.Search{}, log[1])
	}()
	select {
	case <-held:
	case err := <-ended:
		t.Fatalf("nothing was taken back: %v", err)
	}
	c := consumerOf(log, quick)
	drain(t, c, log)
	poison.Actor = actor
	if err := c.RetryParked(t.Context(), poison.Stream); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-ended; err == nil {
		t.Error("who was late was not told")
	}
	if err := quick.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkWhole(t, quick, log, 0)
}

func TestWhatIsDroppedIsNeverPromotedAndItsNumberNotGivenAgain(t *testing.T) {
	t.Parallel()
	g := testClient(t, testConfig(t)).Generations()
	next, err := g.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Drop(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if did, err := g.PromoteFrom(t.Context(), 1, next); did || err != nil {
		t.Errorf("promoted: %t, %v", did, err)
	}
	again, err := g.Create(t.Context())
	if err != nil || again != next+1 {
		t.Errorf("after generation %d was dropped, generation %d was made: %v", next, again, err)
	}
	if did, err := g.PromoteFrom(t.Context(), 1, again); !did || err != nil {
		t.Errorf("promoted: %t, %v", did, err)
	}
}

func TestACommitWhoseAnswerIsLostIsFoundOut(t *testing.T) {
	t.Parallel()
	log := someLog(t, 200)
	w := &wire{}
	s := searchOn(t, testConfig(t), log, w)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lost atomic.Int32
	w.on(func(r *http.Request, answered bool) bool {
		return answered && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "_doc/checkpoint") && lost.Add(1) > 0
	})
	for shard, entries := range log {
		if err := conformance.ApplyEntries(t.Context(), projector.Store[projector.SearchTx](s), projector.Search{}, entries); err != nil {
			t.Fatalf("shard %d: %v", shard, err)
		}
	}
	if int(lost.Load()) != len(log) {
		t.Errorf("%d answers were lost, for %d commits", lost.Load(), len(log))
	}
	checkWhole(t, s, log, 0)
}

func TestOfACommitWhoseRequestIsLostNothingIsSaidThatIsNotSo(t *testing.T) {
	t.Parallel()
	log := someLog(t, 100)
	w := &wire{}
	s := searchOn(t, testConfig(t), log, w)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.on(func(r *http.Request, answered bool) bool {
		return !answered && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "_doc/checkpoint")
	})
	err := conformance.ApplyEntries(t.Context(), projector.Store[projector.SearchTx](s), projector.Search{}, log[1])
	if !errors.Is(err, projector.ErrTransient) {
		t.Fatalf("a commit that did not get through: %v", err)
	}
	if checkpoints, err := s.Checkpoints(t.Context()); err != nil || len(checkpoints) != 0 {
		t.Fatalf("after it: %v, %v", checkpoints, err)
	}
	w.on(func(*http.Request, bool) bool { return false })
	drain(t, consumerOf(log, s), log)
	checkWhole(t, s, log, 0)
}

func TestABulkThatFailsHalfwayIsDoneAgainAndCountsOnce(t *testing.T) {
	t.Parallel()
	log := someLog(t, 600)
	cfg := testConfig(t)
	cfg.BulkEach = 20
	w := &wire{}
	s := searchOn(t, cfg, log, w)
	var bulks atomic.Int32
	w.on(func(r *http.Request, answered bool) bool { // some are lost on the way, some with their answers
		if !strings.HasSuffix(r.URL.Path, "/_bulk") {
			return false
		}
		n := bulks.Add(1)
		return n%7 == 0 && n < 100
	})
	drain(t, consumerOf(log, s), log)
	if bulks.Load() < 20 {
		t.Errorf("only %d bulks", bulks.Load())
	}
	if parked, err := s.Parked(t.Context(), "", 10); err != nil || len(parked) > 0 {
		t.Errorf("parked: %v, %v", parked, err)
	}
	checkWhole(t, s, log, 0)
}

func TestWhatIsAwayComesBackAndNothingIsParked(t *testing.T) {
	t.Parallel()
	log := someLog(t, 300)
	w := &wire{}
	s := searchOn(t, testConfig(t), log, w)
	var away atomic.Bool
	away.Store(true)
	w.on(func(*http.Request, bool) bool { return away.Load() })
	c := consumerOf(log, s)
	for range 5 {
		if outcome, err := c.Step(t.Context(), 1); outcome != projector.Failed || !errors.Is(err, projector.ErrTransient) {
			t.Fatalf("while it is away: %v, %v", outcome, err)
		}
	}
	if err := s.c.Ready(t.Context()); !errors.Is(err, query.ErrUnavailable) {
		t.Errorf("ready: %v", err)
	}
	if _, err := s.Count(t.Context(), query.SearchAsked{}, 1); !errors.Is(err, query.ErrUnavailable) {
		t.Errorf("a question: %v", err)
	}
	away.Store(false)
	drain(t, c, log)
	if err := s.c.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
	if parked, err := s.Parked(t.Context(), "", 10); err != nil || len(parked) > 0 {
		t.Errorf("parked: %v, %v", parked, err)
	}
	checkWhole(t, s, log, 0)
}

func TestSeveralInstancesAtOnceWriteEachEventOnce(t *testing.T) {
	t.Parallel()
	log := someLog(t, 600)
	cfg := testConfig(t)
	var group sync.WaitGroup
	for range 3 {
		s := searchOn(t, cfg, log, nil)
		group.Go(func() { drain(t, consumerOf(log, s), log) })
	}
	group.Wait()
	checkWhole(t, searchOn(t, cfg, log, nil), log, 0)
}

func TestAGenerationThatWasDroppedDoesNotComeBack(t *testing.T) {
	t.Parallel()
	log := someLog(t, 50)
	s := searchOn(t, testConfig(t), log, nil)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := s.Generations()
	next, err := g.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tx, err := s.Begin(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if did, err := g.PromoteFrom(t.Context(), 1, next); err != nil || !did {
		t.Fatalf("promoted: %t, %v", did, err)
	}
	if err := g.Drop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := tx.AddDocuments(t.Context(), []projector.Document{{Stream: "customer/a", Seq: 1, Position: domain.Position{Shard: 1, Index: 1}, Type: "x"}}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context(), projector.Checkpoint{Index: 1}); !errors.Is(err, ErrGone) || !errors.Is(err, projector.ErrTransient) {
		t.Errorf("a commit to what is gone: %v", err)
	}
	if _, err := OpenSearch(t.Context(), s.c, 1, log.shards()); !errors.Is(err, ErrGone) {
		t.Errorf("opening what is gone: %v", err)
	}
	if list, err := g.List(t.Context()); err != nil || len(list) != 1 || list[0] != next {
		t.Errorf("there are %v: %v", list, err)
	}
	var alias map[string]any
	if err := s.c.call(t.Context(), http.MethodGet, "/_alias/"+g.Alias(), nil, &alias); err != nil || alias[g.Index(next)] == nil || len(alias) != 1 {
		t.Errorf("the alias is on %v: %v", alias, err)
	}
}
