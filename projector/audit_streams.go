package projector

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carryon/domain"
)

// digest is over the events of a stream, in order.
type digest [16]byte

// with is the digest after one more event: over all that was recorded of it.
func (d digest) with(e *domain.Event) digest {
	text := func(b []byte, s string) []byte { return append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	position := func(b []byte, p domain.Position) []byte {
		b = binary.AppendVarint(b, int64(p.Shard))
		b = binary.AppendUvarint(b, p.Index)
		return binary.AppendVarint(b, int64(p.Place))
	}
	b := slices.Grow(d[:], 512+len(e.Payload))
	b = binary.AppendUvarint(b, e.Seq)
	b = position(position(b, e.Position), e.Previous)
	b = binary.AppendVarint(b, int64(e.SchemaVersion))
	b = binary.AppendVarint(b, e.OccurredAt.UnixMicro())
	b = binary.AppendVarint(b, e.RecordedAt.UnixMicro())
	for _, s := range []string{
		e.ID, string(e.Stream), e.Type, e.CommandID, e.RequestHash, e.Correlation, e.Causation,
		e.Actor.ID, string(e.Actor.Role), e.Versions.Catalogue,
	} {
		b = text(b, s)
	}
	for _, n := range []int{e.Versions.Policy, e.Versions.Plan, e.Versions.DeviceTypes} {
		b = binary.AppendVarint(b, int64(n))
	}
	b = binary.AppendUvarint(b, e.Versions.Reference)
	sum := sha256.Sum256(append(b, e.Payload...))
	return digest(sum[:16])
}

// sample picks n of the sorted streams, always the same ones for a seed, and keeps them sorted.
func sample(streams []domain.StreamID, n int, seed uint64) []domain.StreamID {
	random := rand.New(rand.NewPCG(seed, 0))
	picked := make([]domain.StreamID, 0, n)
	for i, stream := range streams {
		if random.IntN(len(streams)-i) < n-len(picked) {
			picked = append(picked, stream)
		}
	}
	return picked
}

// streamsAtOnce are compared, by each worker, before what was found of them is put together: many, so that few wait for
// the slowest.
const streamsAtOnce = 16

// compareStreams compares the history of each stream with the log, and then the rows of each model with the history: a
// history is read once for all of them. What is found is told in the order of the streams, however many are compared at
// once.
func (a *audit) compareStreams(ctx context.Context) error {
	streams := a.sampled()
	var mu sync.Mutex
	done := int64(0)
	compared := func() { // who is told may let us wait
		mu.Lock()
		defer mu.Unlock()
		done++
		a.Progress("histories and rows", done, int64(len(streams)))
	}
	for some := range slices.Chunk(streams, streamsAtOnce*a.Workers) {
		parts, err := a.compareAtOnce(ctx, some, compared)
		for _, part := range parts {
			if part != nil {
				a.add(part)
			}
		}
		if err != nil {
			return err
		}
	}
	if err := a.compareOvertaken(ctx); err != nil {
		return err
	}
	for m := range a.Models {
		if err := a.compareSums(ctx, &a.Models[m]); err != nil {
			return err
		}
	}
	return nil
}

// compareAtOnce compares streams, each in a part of its own: nil for those that it did not come to, because of the error.
func (a *audit) compareAtOnce(ctx context.Context, streams []domain.StreamID, compared func()) ([]*audit, error) {
	parts := make([]*audit, len(streams))
	failed := make([]error, len(streams))
	all, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var taken atomic.Int64
	var working sync.WaitGroup
	for range min(a.Workers, len(streams)) {
		working.Go(func() {
			for i := int(taken.Add(1)) - 1; i < len(streams) && all.Err() == nil; i = int(taken.Add(1)) - 1 {
				parts[i] = a.part()
				if failed[i] = parts[i].compareOneStream(all, streams[i]); failed[i] != nil {
					giveUp()
					return
				}
				compared()
			}
		})
	}
	working.Wait()
	if ctx.Err() != nil {
		return parts, context.Cause(ctx)
	}
	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	for _, err := range failed {
		if !errors.Is(err, context.Canceled) { // those that were given up say that
			return parts, err
		}
	}
	return parts, errors.Join(failed...)
}

// part is an audit of one stream, within this one: what was read before is shared and only read, what it finds is its
// own until it is added.
func (a *audit) part() *audit {
	return &audit{AuditTarget: a.AuditTarget, report: &AuditReport{}, streams: a.streams, checkpoints: a.checkpoints}
}

// add puts what a part has found behind what was found before.
func (a *audit) add(part *audit) {
	a.report.Histories += part.report.Histories
	a.report.Recomputed += part.report.Recomputed
	a.overtaken = append(a.overtaken, part.overtaken...)
	a.broken = a.broken || part.broken
	for _, wrong := range part.report.Wrong {
		a.wrong(wrong)
	}
	for where := range part.report.doubtful {
		a.doubt(where)
	}
	for _, d := range part.report.Differences {
		a.found(d)
	}
	a.report.More += part.report.More
}

// compareOneStream compares a stream's history, and its rows in each model.
func (a *audit) compareOneStream(ctx context.Context, id domain.StreamID) error {
	if err := a.compareHistory(ctx, id); err != nil {
		return err
	}
	for m := range a.Models {
		model := &a.Models[m]
		if model.Rows == nil {
			continue
		}
		if err := a.compareStream(ctx, model, id); err != nil {
			return fmt.Errorf("comparing %s in %s: %w", id, model.Name, err)
		}
		a.report.Recomputed++
	}
	return nil
}

// compareSums compares what a model has of many streams together.
func (a *audit) compareSums(ctx context.Context, model *AuditedStore) error {
	self, can := model.Rows.(SelfAuditable)
	if !can {
		return nil
	}
	words, err := self.AuditItself(ctx)
	if err != nil {
		return fmt.Errorf("comparing %s with itself: %w", model.Name, err)
	}
	a.rowsDiffer(WrongRows{Model: model.Name}, words)
	return nil
}

// compareHistory reads the history of a stream: up to what is said to be derived it must be what the log has. What it
// holds beyond is not said to be whole yet.
func (a *audit) compareHistory(ctx context.Context, id domain.StreamID) error {
	stream, where := a.streams[id], string(id)
	var seq uint64
	var sum digest
	err := a.eachOfHistory(ctx, id, func(event *domain.Event) bool {
		if event.Seq != seq+1 {
			a.differs("history", where, "seq %d follows on seq %d", event.Seq, seq)
			seq = stream.derived // named already
			sum = stream.derivedDigest
			return false
		}
		seq++
		sum = sum.with(event)
		return seq < stream.derived
	})
	switch {
	case err != nil:
		return err
	case seq < stream.derived:
		a.differs("history", where, "it ends at seq %d, and should go to seq %d at least", seq, stream.derived)
	case seq == stream.derived && sum != stream.derivedDigest:
		if err := a.locate(ctx, id); err != nil {
			return err
		}
	}
	a.report.Histories++
	return nil
}

// readHistory is the history of the stream that is being compared.
type readHistory struct {
	stream  domain.StreamID
	derived uint64 // the progress of its shard, read before
	events  []domain.Event
}

// history reads the history of a stream, unless it was just read. One that can't be read to its end is named once, and
// ends where it can't.
func (a *audit) history(ctx context.Context, id domain.StreamID) (*readHistory, error) {
	if a.read.stream == id {
		return &a.read, nil
	}
	shard := a.streams[id].shard
	derived, err := a.Histories.Progress(ctx, shard)
	if err != nil {
		return nil, fmt.Errorf("reading the progress of shard %d: %w", shard, err)
	}
	read := readHistory{stream: id, derived: derived}
	for next := uint64(1); ; {
		events, err := a.Histories.ReadStream(ctx, id, next, auditPage)
		if errors.Is(err, ErrHistoryDiffers) {
			a.differs("history", string(id), "from seq %d on: %v", next, err)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the history of %s from seq %d on: %w", id, next, err)
		}
		if len(events) == 0 {
			break
		}
		read.events = append(read.events, events...)
		next = events[len(events)-1].Seq + 1
	}
	a.read = read
	return &a.read, nil
}

// eachOfHistory calls f with a stream's events until it returns false.
func (a *audit) eachOfHistory(ctx context.Context, id domain.StreamID, f func(*domain.Event) bool) error {
	read, err := a.history(ctx, id)
	if err != nil {
		return err
	}
	for i := range read.events {
		if !f(&read.events[i]) {
			return nil
		}
	}
	return nil
}

// locate finds the first event whose history is not what the log has, by reading each event's entry.
func (a *audit) locate(ctx context.Context, id domain.StreamID) error {
	found, position := false, domain.Position{}
	var failed error
	err := a.eachOfHistory(ctx, id, func(event *domain.Event) bool {
		var entries []domain.Entry
		if entries, failed = a.Log.Read(ctx, a.streams[id].shard, event.Position.Index, 1); failed != nil {
			return false
		}
		position = event.Position
		found = len(entries) == 0 || entries[0].Index != position.Index || position.Place >= len(entries[0].Events) ||
			digest{}.with(&entries[0].Events[position.Place]) != digest{}.with(event)
		if found {
			a.differs("history", string(id), "seq %d is not what the log has at %s/%d", event.Seq, position, position.Place)
		}
		return !found
	})
	if err == nil && failed == nil && !found {
		a.differs("history", string(id), "it is not what the log has")
	}
	return errors.Join(err, failed)
}

// compareParked checks that parked streams are parked at events that exist and that the model has passed.
func (a *audit) compareParked(ctx context.Context) error {
	for _, model := range a.Models {
		for p, err := range allParked(ctx, model.Store) {
			if err != nil {
				return fmt.Errorf("listing the parked streams of %s: %w", model.Name, err)
			}
			a.report.Parked = append(a.report.Parked, AuditedParked{Model: model.Name, Parked: p})
			a.compareOneParked(model.Name, p)
		}
	}
	return nil
}

func (a *audit) compareOneParked(model string, p Parked) {
	stream := a.streams[p.Stream]
	for _, walked := range a.report.Shards {
		if walked.Shard == p.Shard && p.Position.Index > walked.Head {
			return // parked while the audit was under way
		}
	}
	switch {
	case stream == nil:
		a.differs("parked", model, "%s is parked and not in the log", p.Stream)
	case p.FirstSeq > stream.seq:
		a.differs("parked", model, "%s is parked at seq %d and ends at seq %d in the log", p.Stream, p.FirstSeq, stream.seq)
	case p.Shard != stream.shard || p.Position.Shard != stream.shard:
		a.differs("parked", model, "%s is parked in shard %d, at %s, and is in shard %d", p.Stream, p.Shard, p.Position, stream.shard)
	}
}

// compareStream compares the rows of one stream. A model that works meanwhile may have applied more than it had when it
// was asked; then it is asked again.
func (a *audit) compareStream(ctx context.Context, model *AuditedStore, id domain.StreamID) error {
	for range overtakenTries {
		overtaken, err := a.compareOnce(ctx, model, id)
		if !overtaken || err != nil {
			return err
		}
	}
	a.overtaken = append(a.overtaken, overtakenStream{model, id})
	return nil
}

// overtakenStream is one that changed whenever it was compared: no difference, and not compared either.
type overtakenStream struct {
	model *AuditedStore
	id    domain.StreamID
}

const (
	overtakenTries  = 5
	overtakenRounds = 12
)

// compareOvertaken asks again for those that changed all the while, at growing distances. What changes even then is
// named in the report, so that nobody takes it for compared.
func (a *audit) compareOvertaken(ctx context.Context) error {
	for round := 0; round < overtakenRounds && len(a.overtaken) > 0; round++ {
		sleep(ctx, min(time.Second, time.Millisecond<<round))
		left := a.overtaken[:0]
		for _, o := range a.overtaken {
			overtaken, err := a.compareOnce(ctx, o.model, o.id)
			if err != nil {
				return fmt.Errorf("comparing %s in %s: %w", o.id, o.model.Name, err)
			}
			if overtaken {
				left = append(left, o)
			}
		}
		a.overtaken = left
	}
	for _, o := range a.overtaken {
		a.report.Recomputed--
		a.report.Overtaken = append(a.report.Overtaken, fmt.Sprintf("%s in %s", o.id, o.model.Name))
	}
	return ctx.Err()
}

// compareOnce compares the rows of a stream with its events, and tells whether the model went on meanwhile.
func (a *audit) compareOnce(ctx context.Context, model *AuditedStore, id domain.StreamID) (overtaken bool, err error) {
	events, err := a.appliedEvents(ctx, model, id)
	if err != nil {
		return false, err
	}
	words, err := auditStream(ctx, model, id, events)
	inapplicable := err != nil && isPermanent(err)
	if err != nil && !inapplicable || err == nil && len(words) == 0 {
		return false, err
	}
	why := err
	a.read = readHistory{}
	again, err := a.appliedEvents(ctx, model, id)
	if err != nil || len(again) != len(events) {
		return err == nil, err
	}
	wrong := WrongRows{Model: model.Name, Shard: a.streams[id].shard, Stream: id}
	if inapplicable { // and not parked: it was dropped, or an older program could apply it
		a.differs("events", wrong.String(), "are said to be applied, and can't be by this program: %v", why)
		return false, nil
	}
	a.rowsDiffer(wrong, words)
	return false, nil
}

// auditStream is the model's; a projection that panics over an event can't apply it. A row that can't be read is a
// difference, too, which may hide others: mending makes all rows of the stream anew.
func auditStream(ctx context.Context, model *AuditedStore, id domain.StreamID, events []domain.Event) (words []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			words, err = nil, fmt.Errorf("%w: %w", ErrPoison, &panicError{value: r})
		}
	}()
	words, err = model.Rows.AuditStream(ctx, id, events)
	if errors.Is(err, ErrUnreadable) {
		return []string{err.Error()}, nil
	}
	return words, err
}

func (a *audit) rowsDiffer(wrong WrongRows, words []string) {
	if len(words) > 0 {
		a.wrong(wrong)
	}
	for _, said := range words {
		a.differs(whatRows, wrong.String(), "%s", said)
	}
}

// wrong lists rows to be made anew, as far as there is room.
func (a *audit) wrong(wrong WrongRows) {
	if len(a.report.Wrong) >= maxWrong {
		a.report.MoreWrong = true
		return
	}
	a.report.Wrong = append(a.report.Wrong, wrong)
}

// appliedEvents are the events of a stream that a model has applied: up to its checkpoint, and before the first failed
// one when it is parked.
func (a *audit) appliedEvents(ctx context.Context, model *AuditedStore, id domain.StreamID) ([]domain.Event, error) {
	shard := a.streams[id].shard
	checkpoints, err := model.Store.Checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	parked, is, err := model.Store.ParkedStream(ctx, id)
	if err != nil {
		return nil, err
	}
	var events []domain.Event
	take := func(event *domain.Event) bool {
		if event.Position.Index > checkpoints[shard].Index || is && event.Seq >= parked.FirstSeq {
			return false
		}
		if event.Seq == uint64(len(events))+1 {
			events = append(events, *event)
		}
		return true
	}
	if err = a.eachOfHistory(ctx, id, take); err != nil {
		return nil, err
	}
	for from := a.read.derived + 1; err == nil && from <= checkpoints[shard].Index; {
		var entries []domain.Entry
		if entries, err = a.Log.Read(ctx, shard, from, auditPage); err != nil || len(entries) == 0 {
			break
		}
		for i := range entries {
			for j := range entries[i].Events {
				if event := &entries[i].Events[j]; event.Stream == id {
					take(event)
				}
			}
		}
		from = entries[len(entries)-1].Index + 1
	}
	return events, err
}
