package conformance

// The consumer contract (see carryon/projector): however messages are doubled, reordered or lost, whatever crashes and
// however many instances work at once, the rows of a read model are a fold of the log's prefix that ends at the
// checkpoint, each event once; and the checkpoint reaches the tail.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// ConsumerSubject is a read-model store under test, new and empty.
type ConsumerSubject[T projector.Tx] struct {
	Store projector.Store[T]
	Rows  ConsumerRows[T]
}

// ConsumerRows are the rows of the suite's own small read model, one for each stream.
type ConsumerRows[T projector.Tx] interface {
	// Row reads a stream's row in a transaction; the zero ConsumerRow when there is none.
	Row(ctx context.Context, tx T, stream domain.StreamID) (ConsumerRow, error)
	// SetRow writes a stream's row in a transaction.
	SetRow(ctx context.Context, tx T, row ConsumerRow) error
	// All reads what is committed.
	All(ctx context.Context) ([]ConsumerRow, error)
}

// ConsumerRow is what the suite's read model knows of a stream: enough to tell whether every event was applied once
// and in order.
type ConsumerRow struct {
	Stream domain.StreamID
	Seq    uint64 // of the last event
	Count  int    // of events applied
	Digest string // over the ids of all events, in order of applying
}

// with is the row after one more event.
func (r ConsumerRow) with(e *domain.Event) ConsumerRow {
	digest := sha256.Sum256([]byte(r.Digest + e.ID))
	return ConsumerRow{Stream: e.Stream, Seq: e.Seq, Count: r.Count + 1, Digest: hex.EncodeToString(digest[:8])}
}

// Consumer runs the suite. The factory makes a new, empty store for each test.
func Consumer[T projector.Tx](t *testing.T, factory func(t testing.TB) ConsumerSubject[T]) {
	tests := []struct {
		name string
		run  func(*scene[T])
	}{
		{"applies what is offered, without reading the log", appliesOffered[T]},
		{"pulls what no message brought", pullsMissing[T]},
		{"skips what comes again", skipsDuplicates[T]},
		{"puts reordered messages in order", ordersMessages[T]},
		{"finds lost messages by looking at the log", findsLost[T]},
		{"keeps what is offered within bounds and reaches the tail all the same", boundsWaiting[T]},
		{"applies a backlog in batches within bounds", boundsBatches[T]},
		{"applies an entry without events", appliesEmptyEntry[T]},
		{"starts again after a crash between applying and committing", crashBeforeCommit[T]},
		{"starts again after a crash right after the commit", crashAfterCommit[T]},
		{"goes on when the answer to a commit is lost", lostCommit[T]},
		{"lets one of two instances through", twoInstances[T]},
		{"yields when the checkpoint moves under an open transaction", overlappingInstances[T]},
		{"parks the stream of an event that says it is poison", parks[T](kindPoison)},
		{"parks the stream of an event that fails with a plain error", parks[T](kindPlain)},
		{"parks the stream of an event that panics", parks[T](kindPanic)},
		{"parks the streams of many poison events of one batch", parksMany[T]},
		{"lets later events of a parked stream wait in order", laterEventsWait[T]},
		{"retries a parked stream up to the checkpoint and not beyond", retryStopsAtCheckpoint[T]},
		{"retries from the log what the histories lack", retryFromLog[T]},
		{"keeps a stream parked whose event still fails", retryStillFails[T]},
		{"moves a parked stream on to its next poison event", retryMovesOn[T]},
		{"retries once when it crashes before or after the commit", retryCrashes[T]},
		{"refuses to retry what is not parked", retryNotParked[T]},
		{"never parks because of a transient failure", transientNeverParks[T]},
		{"does not park a plain failure that goes away", plainFailureGoesAway[T]},
		{"parks nothing while the store is out of order", outageParksNothing[T]},
		{"stops a shard whose log forgot its tail", forgottenTail[T]},
		{"stops a shard whose log forgot its tail and went on", forgottenTailAndWentOn[T]},
		{"stops a shard whose last applied entry was changed", changedEntry[T]},
		{"stops a shard whose log lost an entry", lostEntry[T]},
		{"stops a shard whose log hides a hole", hiddenHole[T]},
		{"stops a shard whose log says itself that it differs", logDiffers[T]},
		{"goes on when a stray message does not fit the log", strayMessage[T]},
		{"waits until a position is applied", waits[T]},
		{"says that a stream is parked instead of waiting", waitsForParked[T]},
		{"says that a stream was parked while it was waited for", waitsForParkedMeanwhile[T]},
		{"is not held by a slow model", slowModel[T](factory)},
		{"is not held in one shard by another", slowShard[T]},
		{"runs by itself, with two instances at once", runs[T]},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newScene(t, factory(t)))
		})
	}
	t.Run("keeps its word on random schedules", func(t *testing.T) {
		t.Parallel()
		consumerSchedules(t, factory)
	})
}

// The kinds of events of the suite, which say how the suite's projection fares with them.
const (
	kindCounted = "Counted"
	kindPoison  = "Poison" // fails with a PoisonError
	kindPlain   = "Plain"  // fails with an error that says nothing
	kindPanic   = "Panic"  // makes the projection panic
)

// scene is a log, a store and the instances that work on it.
type scene[T projector.Tx] struct {
	*testing.T
	ctx     context.Context
	subject ConsumerSubject[T]
	log     *scriptedLog
	fixed   map[string]bool // kinds of events that fail no more
	shards  []int
}

func newScene[T projector.Tx](t *testing.T, subject ConsumerSubject[T]) *scene[T] {
	return &scene[T]{
		T: t, ctx: t.Context(), subject: subject, log: newScriptedLog(),
		fixed: make(map[string]bool), shards: []int{0, 1},
	}
}

// instance is one process with a consumer. When it has crashed, nothing that it does reaches the store.
type instance[T projector.Tx] struct {
	*projector.Consumer[*guardedTx[T]]
	store *guardedStore[T]
}

// instance starts a process; another one after a crash is a restart.
func (s *scene[T]) instance(cfg projector.Config) *instance[T] {
	store := &guardedStore[T]{inner: s.subject.Store}
	projection := &counting[T]{rows: s.subject.Rows, store: store, fixed: s.fixed}
	consumer := projector.NewConsumer(cfg, projection, projector.Store[*guardedTx[T]](store), s.log, s.log, s.shards, time.Now, nil)
	return &instance[T]{Consumer: consumer, store: store}
}

// settle steps and looks until there is nothing to do in any shard. It fails the test when that takes too long.
func (s *scene[T]) settle(c *instance[T]) {
	s.Helper()
	for _, shard := range s.shards {
		s.settleShard(c, shard)
	}
}

func (s *scene[T]) settleShard(c *instance[T], shard int) {
	s.Helper()
	var err error
	for range 10_000 {
		var outcome projector.Outcome
		if outcome, err = c.Step(s.ctx, shard); outcome == projector.Idle {
			outcome, err = c.Look(s.ctx, shard)
		}
		if outcome == projector.Idle || outcome == projector.Stopped {
			return
		}
	}
	s.Fatalf("shard %d does not come to rest; last error: %v", shard, err)
}

// steps steps until a shard has nothing more to do, without looking at the log.
func (s *scene[T]) steps(c *instance[T], shard int) {
	s.Helper()
	for range 10_000 {
		if outcome, _ := c.Step(s.ctx, shard); outcome == projector.Idle || outcome == projector.Stopped {
			return
		}
	}
	s.Fatalf("shard %d does not come to rest", shard)
}

// check is the oracle: rows and parked streams are what the log up to the checkpoints says.
func (s *scene[T]) check() {
	s.Helper()
	if err := s.differences(); err != nil {
		s.Fatal(err)
	}
}

func (s *scene[T]) differences() error {
	checkpoints, err := s.subject.Store.Checkpoints(s.ctx)
	if err != nil {
		return err
	}
	parked, err := s.parked()
	if err != nil {
		return err
	}
	expected := make(map[domain.StreamID]ConsumerRow)
	waiting := make(map[domain.StreamID]bool)
	for _, shard := range s.shards {
		at := checkpoints[shard]
		original := s.log.original(shard)
		if at.Index > uint64(len(original)) {
			return fmt.Errorf("shard %d: the checkpoint %d is beyond the %d entries ever claimed", shard, at.Index, len(original))
		}
		for _, e := range original[:at.Index] {
			if e.Index == at.Index && e.ID != at.ID {
				return fmt.Errorf("shard %d: the checkpoint says batch %s at entry %d, which is %s", shard, at.ID, at.Index, e.ID)
			}
			for i := range e.Events {
				event := &e.Events[i]
				if p, is := parked[event.Stream]; is && event.Seq >= p.FirstSeq {
					waiting[event.Stream] = true
					if event.Seq == p.FirstSeq && event.Position != p.Position {
						return fmt.Errorf("%s is parked at %+v, but seq %d stands at %+v", event.Stream, p.Position, p.FirstSeq, event.Position)
					}
					continue
				}
				expected[event.Stream] = expected[event.Stream].with(event)
			}
		}
	}
	for stream := range parked {
		if !waiting[stream] {
			return fmt.Errorf("%s is parked at seq %d, which was not reached", stream, parked[stream].FirstSeq)
		}
	}
	return s.compareRows(expected)
}

func (s *scene[T]) compareRows(expected map[domain.StreamID]ConsumerRow) error {
	rows, err := s.subject.Rows.All(s.ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if want := expected[row.Stream]; row != want {
			return fmt.Errorf("row %+v, but the log up to the checkpoint gives %+v", row, want)
		}
		delete(expected, row.Stream)
	}
	for _, stream := range slices.Sorted(maps.Keys(expected)) {
		return fmt.Errorf("no row, but the log up to the checkpoint gives %+v", expected[stream])
	}
	return nil
}

func (s *scene[T]) parked() (map[domain.StreamID]projector.Parked, error) {
	list, err := s.subject.Store.Parked(s.ctx, "", 1000)
	parked := make(map[domain.StreamID]projector.Parked, len(list))
	for _, p := range list {
		parked[p.Stream] = p
	}
	return parked, err
}

// checkAt checks, and that the checkpoint of a shard is at an entry.
func (s *scene[T]) checkAt(shard int, index uint64) {
	s.Helper()
	s.check()
	checkpoints, err := s.subject.Store.Checkpoints(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	if at := checkpoints[shard].Index; at != index {
		s.Fatalf("shard %d: the checkpoint is at entry %d, want %d", shard, at, index)
	}
}

// checkAtTail checks, and that everything was applied.
func (s *scene[T]) checkAtTail() {
	s.Helper()
	for _, shard := range s.shards {
		s.checkAt(shard, s.log.tail(shard))
	}
}

// checkParked checks that exactly these streams are parked, at these seqs.
func (s *scene[T]) checkParked(want map[domain.StreamID]uint64) {
	s.Helper()
	parked, err := s.parked()
	if err != nil {
		s.Fatal(err)
	}
	got := make(map[domain.StreamID]uint64, len(parked))
	for stream, p := range parked {
		got[stream] = p.FirstSeq
		if p.Reason == "" || p.Attempts < 1 || p.Since.IsZero() {
			s.Errorf("parked without reason, attempts or time: %+v", p)
		}
	}
	if !maps.Equal(got, want) {
		s.Fatalf("parked: %v, want %v", got, want)
	}
}

// checkStopped checks that a shard has stopped because history differs, and says so.
func (s *scene[T]) checkStopped(c *instance[T], shard int) {
	s.Helper()
	s.check()
	if outcome, err := c.Step(s.ctx, shard); outcome != projector.Stopped || !errors.Is(err, projector.ErrHistoryDiffers) {
		s.Fatalf("the shard goes on: %v, %v", outcome, err)
	}
	for _, status := range c.Status() {
		if status.Shard == shard && (!status.Differs || status.Err == "") {
			s.Fatalf("the status does not say that history differs: %+v", status)
		}
	}
}

// counting is the suite's projection.
type counting[T projector.Tx] struct {
	rows  ConsumerRows[T]
	store *guardedStore[T]
	fixed map[string]bool
}

func (*counting[T]) Name() string { return "counting" }

func (p *counting[T]) Apply(ctx context.Context, tx *guardedTx[T], events []*domain.Event) error {
	p.store.note(events)
	if err := tx.store.at(opApply); err != nil {
		return err
	}
	rows := make(map[domain.StreamID]ConsumerRow)
	for _, event := range events {
		row, read := rows[event.Stream]
		if !read {
			var err error
			if row, err = p.rows.Row(ctx, tx.inner, event.Stream); err != nil {
				return err
			}
		}
		if !p.fixed[event.Type] {
			switch event.Type {
			case kindPoison:
				return fmt.Errorf("counting: %w", &projector.PoisonError{Event: event, Err: errors.New("made to fail")})
			case kindPlain:
				return errors.New("made to fail without saying why")
			case kindPanic:
				panic("made to panic")
			}
		}
		rows[event.Stream] = row.with(event)
	}
	for _, stream := range slices.Sorted(maps.Keys(rows)) {
		if err := p.rows.SetRow(ctx, tx.inner, rows[stream]); err != nil {
			return err
		}
	}
	return nil
}
