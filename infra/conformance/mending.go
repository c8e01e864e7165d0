package conformance

// Mending: whatever is wrong in the rows of a stream, an audit names it and a repair makes it what the events give,
// beside projectors that work, and touches nothing else.

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// MendSubject is a read model whose rows can be harmed.
type MendSubject[T projector.Tx] struct {
	Store interface {
		projector.Store[T]
		projector.Auditable
	}
	Projection projector.Projection[T]
	// Harms change rows behind the program's back, each by its name: at least one row is changed, one is missing, and
	// one is too many.
	Harms map[string]func(t testing.TB)
}

// Mending runs the suite. factory makes a new, empty store for the history's shards: 0 to 2.
func Mending[T projector.Tx](t *testing.T, factory func(t testing.TB) MendSubject[T]) {
	for _, test := range []struct {
		name string
		run  func(*infirmary[T])
	}{
		{"what is wrong is named, mended, and right then", mendsHarms[T]},
		{"everything at once is mended", mendsAllHarms[T]},
		{"what is right is the same after it was made anew", mendsWhatIsRight[T]},
		{"rows are made anew while projectors go on", mendsBesideTraffic[T]},
		{"a parked stream stays parked, shows what came before, and flows on when it is retried", mendsParked[T]},
		{"rows of a stream whose history differs are left alone", mendsNoDoubtful[T]},
		{"rows of streams that the log does not know are named and taken away", sweepsStrangers[T]},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newInfirmary(t, factory(t), 6, 0.7))
		})
	}
	t.Run("rows of streams that begin meanwhile are no strangers", func(t *testing.T) {
		t.Parallel()
		auditsNewStreams(newInfirmary(t, factory(t), 60, 0.1))
	})
}

// infirmary is a history, and a model of it.
type infirmary[T projector.Tx] struct {
	*testing.T
	subject MendSubject[T]
	log     *growingLog
}

func newInfirmary[T projector.Tx](t *testing.T, subject MendSubject[T], customers int, part float64) *infirmary[T] {
	t.Helper()
	h, err := NewHistory(11, customers, 2)
	if err != nil {
		t.Fatal(err)
	}
	i := &infirmary[T]{T: t, subject: subject, log: newGrowingLog(h.Grow(1200))}
	i.log.show(part)
	i.drain(i.consumer(subject.Projection))
	return i
}

func (i *infirmary[T]) consumer(p projector.Projection[T]) *projector.Consumer[T] {
	return projector.NewConsumer(projector.Config{QuietMin: time.Millisecond, QuietMax: 5 * time.Millisecond}, p, projector.Store[T](i.subject.Store), i.log, i.log, i.log.shards(), time.Now, nil)
}

// drain applies what the log shows.
func (i *infirmary[T]) drain(c *projector.Consumer[T]) {
	i.Helper()
	for _, shard := range i.log.shards() {
		for at := uint64(0); at < i.log.tail(shard); {
			outcome, err := c.Step(i.Context(), shard)
			if outcome == projector.Idle {
				outcome, err = c.Look(i.Context(), shard)
			}
			if outcome == projector.Stopped || i.Context().Err() != nil {
				i.Fatalf("shard %d: %v", shard, err)
			}
			at = i.checkpoints()[shard].Index
		}
	}
}

func (i *infirmary[T]) checkpoints() map[int]projector.Checkpoint {
	i.Helper()
	at, err := i.subject.Store.Checkpoints(i.Context())
	if err != nil {
		i.Fatal(err)
	}
	return at
}

func (i *infirmary[T]) target(c *projector.Consumer[T]) projector.AuditTarget {
	rows, _ := any(i.subject.Store).(projector.Auditable)
	return projector.AuditTarget{Log: i.log, Histories: i.log, Shards: i.log.shards(), Models: []projector.AuditedStore{{
		Name: i.subject.Projection.Name(), Store: i.subject.Store, Rows: rows, Mend: c,
	}}}
}

func (i *infirmary[T]) audit(c *projector.Consumer[T]) projector.AuditReport {
	i.Helper()
	report, err := projector.Audit(i.Context(), i.target(c), projector.AuditOptions{})
	if err != nil {
		i.Fatal(err)
	}
	return report
}

func (i *infirmary[T]) mustBeClean(c *projector.Consumer[T]) {
	i.Helper()
	if report := i.audit(c); !report.Clean() {
		i.Fatalf("%d differences: %v", len(report.Differences), report.Differences[:min(4, len(report.Differences))])
	}
}

// mend repairs what an audit finds: there must be something, and nothing may be left.
func (i *infirmary[T]) mend(c *projector.Consumer[T], harm string) {
	i.Helper()
	found := i.audit(c)
	if len(found.Wrong) == 0 {
		i.Fatalf("%s: the audit names no rows: %v", harm, found.Differences)
	}
	before := i.checkpoints()
	report, err := projector.Repair(i.Context(), i.target(c), found, nil)
	if err != nil {
		i.Fatalf("%s: %v", harm, err)
	}
	if !report.Clean() || len(report.Mended) < len(found.Wrong) {
		i.Fatalf("%s: found %v, mended %v, left %v", harm, found.Wrong, report.Mended, report.Left)
	}
	if !maps.Equal(before, i.checkpoints()) {
		i.Errorf("%s: the checkpoints moved", harm)
	}
}

func mendsHarms[T projector.Tx](i *infirmary[T]) {
	c := i.consumer(i.subject.Projection)
	i.mustBeClean(c)
	for _, harm := range slices.Sorted(maps.Keys(i.subject.Harms)) {
		i.subject.Harms[harm](i.T)
		i.mend(c, harm)
		i.mustBeClean(c)
	}
	i.log.show(1)
	i.drain(c)
	i.mustBeClean(c)
}

func mendsAllHarms[T projector.Tx](i *infirmary[T]) {
	c := i.consumer(i.subject.Projection)
	for _, harm := range slices.Sorted(maps.Keys(i.subject.Harms)) {
		i.subject.Harms[harm](i.T)
	}
	i.mend(c, "all")
	i.mustBeClean(c)
}

func mendsWhatIsRight[T projector.Tx](i *infirmary[T]) {
	c := i.consumer(i.subject.Projection)
	for stream, shard := range i.log.streams() {
		if err := c.Mend(i.Context(), shard, stream); err != nil {
			i.Fatalf("%s: %v", stream, err)
		}
	}
	i.mustBeClean(c)
}

func mendsBesideTraffic[T projector.Tx](i *infirmary[T]) {
	c, other := i.consumer(i.subject.Projection), i.consumer(i.subject.Projection)
	ctx, stop := context.WithCancel(i.Context())
	var running sync.WaitGroup
	for _, runs := range []*projector.Consumer[T]{c, other} { // as two processes
		running.Go(func() {
			if err := runs.Run(ctx); err != nil {
				i.Error(err)
			}
		})
	}
	streams := i.log.streams()
	names := slices.Sorted(maps.Keys(streams))
	for n := range names {
		i.log.show(0.7 + 0.3*float64(n+1)/float64(len(names)))
		if err := c.Mend(ctx, streams[names[n]], names[n]); err != nil {
			i.Errorf("%s: %v", names[n], err)
		}
	}
	stop()
	running.Wait()
	last := i.consumer(i.subject.Projection)
	i.drain(last)
	i.mustBeClean(last)
}

// refusing is a projection that takes an event for poison.
type refusing[T projector.Tx] struct {
	projector.Projection[T]
	stream domain.StreamID
	seq    uint64
}

func (r refusing[T]) Apply(ctx context.Context, tx T, events []*domain.Event) error {
	for _, e := range events {
		if e.Stream == r.stream && e.Seq == r.seq {
			return &projector.PoisonError{Event: e, Err: fmt.Errorf("made to fail")}
		}
	}
	return r.Projection.Apply(ctx, tx, events)
}

func mendsParked[T projector.Tx](i *infirmary[T]) {
	at := i.checkpoints()
	var stream domain.StreamID
	var seq uint64 // of an event that is still to come, with one before it
	for _, e := range i.log.all() {
		if e.Seq > 2 && e.Position.Index > at[e.Position.Shard].Index {
			stream, seq = e.Stream, e.Seq
			break
		}
	}
	if stream == "" {
		i.Fatal("nothing is to come")
	}
	i.log.show(1)
	refuses := i.consumer(refusing[T]{i.subject.Projection, stream, seq})
	i.drain(refuses)
	i.mustBeClean(refuses)
	if err := refuses.Mend(i.Context(), i.log.streams()[stream], stream); err != nil {
		i.Fatal(err)
	}
	if parked, is, err := i.subject.Store.ParkedStream(i.Context(), stream); err != nil || !is || parked.FirstSeq != seq {
		i.Fatalf("parked: %t at seq %d, want seq %d: %v", is, parked.FirstSeq, seq, err)
	}
	i.mustBeClean(refuses)
	c := i.consumer(i.subject.Projection)
	if err := c.RetryParked(i.Context(), stream); err != nil {
		i.Fatal(err)
	}
	i.mustBeClean(c)
}

func mendsNoDoubtful[T projector.Tx](i *infirmary[T]) {
	c := i.consumer(i.subject.Projection)
	wrong := map[string]bool{}
	for _, harm := range slices.Sorted(maps.Keys(i.subject.Harms)) {
		i.subject.Harms[harm](i.T)
	}
	found := i.audit(c)
	for _, w := range found.Wrong {
		i.log.spoil(w.Stream)
	}
	found = i.audit(c)
	for _, d := range found.Differences {
		if d.What == "history" { // of the newest streams nothing is derived yet
			wrong[d.Where] = true
		}
	}
	if len(wrong) == 0 {
		i.Fatal("no history differs")
	}
	report, err := projector.Repair(i.Context(), i.target(c), found, nil)
	if err != nil {
		i.Fatal(err)
	}
	for _, m := range report.Mended {
		if wrong[string(m.Stream)] {
			i.Errorf("%s was made from a history that differs", m)
		}
	}
	var said strings.Builder
	if err := report.Print(&said); err != nil {
		i.Fatal(err)
	}
	if report.Clean() || !strings.Contains(said.String(), "are left as they are") {
		i.Errorf("the repair says:\n%s", said.String())
	}
	i.log.heal()
	i.mend(c, "after the history was put right")
	i.mustBeClean(c)
}

// invent applies the events of a customer and of a title once more, under names that the log does not know.
func (i *infirmary[T]) invent() map[domain.StreamID]bool {
	i.Helper()
	invented := map[domain.StreamID]bool{}
	at, streams := i.checkpoints(), i.log.streams()
	for _, kind := range []string{domain.KindCustomer, domain.KindTitle} {
		for _, stream := range slices.Sorted(maps.Keys(streams)) {
			if stream.Kind() != kind {
				continue
			}
			shard, name := streams[stream], kind+"/stranger"
			var events []*domain.Event
			for _, e := range i.log.all() {
				if e.Stream == stream && e.Position.Index <= at[shard].Index {
					events = append(events, &domain.Event{
						ID: e.ID, Stream: domain.StreamID(name), Seq: e.Seq, Position: e.Position, Previous: e.Previous, Type: e.Type, SchemaVersion: e.SchemaVersion,
						OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt, CommandID: e.CommandID, RequestHash: e.RequestHash, Correlation: e.Correlation,
						Causation: e.Causation, Actor: e.Actor, Versions: e.Versions,
						Payload: bytes.ReplaceAll(e.Payload, []byte(`"`+stream.ID()+`"`), []byte(`"stranger"`)),
					})
				}
			}
			tx, err := i.subject.Store.Begin(i.Context(), shard)
			if err != nil {
				i.Fatal(err)
			}
			err = i.subject.Projection.Apply(i.Context(), tx, events)
			if err == nil {
				err = tx.Commit(i.Context(), tx.Checkpoint())
			}
			if err != nil {
				tx.Rollback() // the store is not closed while it is open
				i.Fatal(err)
			}
			invented[domain.StreamID(name)] = true
			break
		}
	}
	return invented
}

func sweepsStrangers[T projector.Tx](i *infirmary[T]) {
	c := i.consumer(i.subject.Projection)
	for stream := range i.log.streams() { // whose namesake's rows are not theirs
		for _, other := range []domain.StreamID{domain.FailOpenStream(stream.ID()), domain.CustomerStream("no-" + stream.ID())} {
			if words, err := i.subject.Store.AuditStream(i.Context(), other, nil); err != nil || len(words) > 0 {
				i.Errorf("%s: %v, %v", other, words, err)
			}
		}
	}
	invented := i.invent()
	named := map[domain.StreamID]bool{}
	found := i.audit(c)
	for _, w := range found.Wrong {
		if w.Stray && w.End == 0 {
			named[w.Stream] = true
		}
	}
	if len(named) == 0 {
		i.Fatalf("of %v nothing is named: %v", invented, found.Differences)
	}
	for name := range named {
		if !invented[name] && name.Kind() != "number" {
			i.Errorf("%s is none of %v", name, invented)
		}
	}
	sampled, err := projector.Audit(i.Context(), i.target(c), projector.AuditOptions{Sample: 2})
	if err != nil {
		i.Fatal(err)
	}
	for _, w := range sampled.Wrong {
		if w.Stray {
			i.Errorf("a sample names %s", w)
		}
	}
	// Where the log is in doubt they may be the only witness.
	spoiled := slices.Min(slices.Collect(maps.Keys(i.log.streams())))
	i.log.spoil(spoiled)
	doubtful := i.audit(c)
	report, err := projector.Repair(i.Context(), i.target(c), doubtful, nil)
	if err != nil {
		i.Fatal(err)
	}
	for _, w := range report.Mended {
		if w.Stray {
			i.Errorf("%s was taken away while the history of %s differs", w, spoiled)
		}
	}
	i.log.heal()
	ctx, stop := context.WithCancel(i.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			i.Error(err)
		}
	})
	i.log.show(0.8)
	other := i.consumer(i.subject.Projection)
	last, err := projector.Repair(ctx, i.target(other), i.audit(other), nil)
	if err != nil || !last.Clean() {
		i.Errorf("left %v, %v", last.Left, err)
	}
	stop()
	running.Wait()
	i.log.show(1)
	i.drain(other)
	i.mustBeClean(other)
}

func auditsNewStreams[T projector.Tx](i *infirmary[T]) {
	c := i.consumer(i.subject.Projection)
	ctx, stop := context.WithCancel(i.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			i.Error(err)
		}
	})
	for tenths := range 10 {
		i.log.show(float64(tenths+1) / 10)
		report := i.audit(c)
		if !report.Clean() {
			i.Errorf("%d differences: %v", len(report.Differences), report.Differences[:min(4, len(report.Differences))])
		}
	}
	stop()
	running.Wait()
}

// growingLog is a log that is made beforehand and shown bit by bit, and the histories of it, which are behind.
type growingLog struct {
	mu      sync.Mutex
	entries map[int][]domain.Entry
	shown   map[int]int
	spoiled map[domain.StreamID]bool // their histories differ from the log
}

func newGrowingLog(entries []domain.Entry) *growingLog {
	l := &growingLog{entries: map[int][]domain.Entry{}, shown: map[int]int{}, spoiled: map[domain.StreamID]bool{}}
	for _, e := range entries {
		l.entries[e.Shard] = append(l.entries[e.Shard], e)
	}
	return l
}

// show shows a part of each shard.
func (l *growingLog) show(part float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for shard, entries := range l.entries {
		l.shown[shard] = max(l.shown[shard], int(part*float64(len(entries))))
	}
}

func (l *growingLog) shards() []int { return slices.Sorted(maps.Keys(l.entries)) }

func (l *growingLog) tail(shard int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(l.shown[shard]) //nolint:gosec // small
}

// all are the events, whether shown or not.
func (l *growingLog) all() []*domain.Event {
	var events []*domain.Event
	for _, shard := range l.shards() {
		for i := range l.entries[shard] {
			for j := range l.entries[shard][i].Events {
				events = append(events, &l.entries[shard][i].Events[j])
			}
		}
	}
	return events
}

// streams are those that have been shown, and their shards.
func (l *growingLog) streams() map[domain.StreamID]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	streams := map[domain.StreamID]int{}
	for shard, entries := range l.entries {
		for i := range entries[:l.shown[shard]] {
			for j := range entries[i].Events {
				streams[entries[i].Events[j].Stream] = shard
			}
		}
	}
	return streams
}

// spoil makes the history of a stream another than the log has.
func (l *growingLog) spoil(stream domain.StreamID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spoiled[stream] = true
}

func (l *growingLog) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.spoiled)
}

// Head is the newest entry that is shown.
func (l *growingLog) Head(ctx context.Context, shard int) (domain.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.shown[shard]
	if n == 0 {
		return domain.Head{}, ctx.Err()
	}
	last := &l.entries[shard][n-1]
	return domain.Head{Index: last.Index, ID: last.ID}, ctx.Err()
}

// Read reads a few entries at a time.
func (l *growingLog) Read(ctx context.Context, shard int, from uint64, _ int) ([]domain.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := uint64(l.shown[shard]) //nolint:gosec // small
	if from == 0 || from > n {
		return nil, ctx.Err()
	}
	return slices.Clone(l.entries[shard][from-1 : min(n, from+20)]), ctx.Err()
}

// Progress is a third behind.
func (l *growingLog) Progress(ctx context.Context, shard int) (uint64, error) {
	return l.tail(shard) * 2 / 3, ctx.Err()
}

// ReadStream reads what is derived, a few events at a time.
func (l *growingLog) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, _ int) ([]domain.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var events []domain.Event
	for shard, entries := range l.entries {
		for i := range entries[:l.shown[shard]*2/3] {
			for _, e := range entries[i].Events {
				if e.Stream != stream || e.Seq < from || len(events) == 7 {
					continue
				}
				if l.spoiled[stream] {
					e.OccurredAt = e.OccurredAt.Add(-time.Hour)
				}
				events = append(events, e)
			}
		}
	}
	return events, ctx.Err()
}
