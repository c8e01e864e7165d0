package elastic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"carryon/domain"
	"carryon/projector"
)

// tx is what stands in for a transaction: writes are gathered, and Commit sends them first and the checkpoint last, on
// the condition that nobody has written that since Begin. Its methods are not for concurrent use.
//
// Whoever is stopped between the two leaves documents behind that the checkpoint does not cover yet. They are those that
// will be written again, the same, before it does.
type tx struct {
	s      *store
	shard  int
	doc    kept[checkpoint]
	at     projector.Checkpoint
	parked map[domain.StreamID]projector.Parked // without their reasons
	writes []write
	events []domain.Event // beside each write: stream, seq and position of the event it comes from
	gone   []domain.StreamID
	anew   map[domain.StreamID]bool // streams that are written from their first event on
	swept  []write                  // documents to be removed that are no event's
	over   bool
}

var errOver = errors.New("the transaction is over")

// begin reads the checkpoint, unless this process wrote it a moment ago. Nothing is locked.
func (s *store) begin(ctx context.Context, shard int) (*tx, error) {
	t := &tx{s: s, shard: shard, parked: map[domain.StreamID]projector.Parked{}}
	if !slices.Contains(s.shards, shard) {
		return nil, fmt.Errorf("read model %s: shard %d is not one of those it was opened for", s.generations.design.model, shard)
	}
	err := s.Prepare(ctx)
	if err == nil {
		t.doc, err = s.checkpointNow(ctx, shard)
		err = storeError(err)
	}
	if err == nil {
		t.at, err = t.doc.Source.State.at()
	}
	if err != nil {
		return nil, fmt.Errorf("read model %s: open a transaction on shard %d: %w", s.generations.design.model, shard, err)
	}
	for i := range t.doc.Source.State.Parked {
		p := t.doc.Source.State.Parked[i].parked(shard)
		t.parked[p.Stream] = p
	}
	return t, nil
}

// Checkpoint is the last applied entry.
func (t *tx) Checkpoint() projector.Checkpoint { return t.at }

// ParkedAmong returns those of the streams that are parked.
func (t *tx) ParkedAmong(_ context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.Parked, error) {
	if t.over {
		return nil, errOver
	}
	if len(t.parked) == 0 {
		return nil, nil
	}
	among := map[domain.StreamID]projector.Parked{}
	for _, stream := range streams {
		if p, is := t.parked[stream]; is {
			among[stream] = p
		}
	}
	return among, nil
}

// Park parks a stream, or updates a parked one.
func (t *tx) Park(_ context.Context, p projector.Parked) error {
	if t.over {
		return errOver
	}
	t.parked[p.Stream] = p
	t.gone = slices.DeleteFunc(t.gone, func(s domain.StreamID) bool { return s == p.Stream })
	t.add(domain.Event{}, write{id: parkedID(p.Stream), source: stated{Own: ownParked, State: parkedReason{p.Reason}}})
	return nil
}

// Unpark lets a stream flow again.
func (t *tx) Unpark(_ context.Context, stream domain.StreamID) error {
	if t.over {
		return errOver
	}
	delete(t.parked, stream)
	t.gone = append(t.gone, stream)
	return nil
}

// add gathers a write, and which event it comes from.
func (t *tx) add(event domain.Event, w write) {
	t.writes, t.events = append(t.writes, w), append(t.events, event)
}

// Rollback gives everything up. After Commit it does nothing.
func (t *tx) Rollback() { t.over = true }

// Commit sends what was gathered and then the checkpoint. It returns a *projector.PoisonError (wrapped) for the first
// event whose document is refused; then the checkpoint stays.
func (t *tx) Commit(ctx context.Context, to projector.Checkpoint) error {
	err := errOver
	if !t.over {
		t.over = true
		err = t.commit(ctx, to)
	}
	if err != nil {
		t.s.letGo(t.shard)
		return fmt.Errorf("read model %s: commit shard %d up to entry %d: %w", t.s.generations.design.model, t.shard, to.Index, err)
	}
	return nil
}

func (t *tx) commit(ctx context.Context, to projector.Checkpoint) error {
	// What a retry writes is newer than what the stream's events were written as at first: whoever takes those back late
	// must not take back this.
	for i := range t.writes {
		t.writes[i].version *= 2
		if t.writes[i].version > 0 && slices.Contains(t.gone, t.events[i].Stream) {
			t.writes[i].version++
		}
	}
	if err := t.outrank(ctx); err != nil {
		return err
	}
	refusals, err := t.s.c.bulk(ctx, t.s.index, t.writes)
	if err != nil {
		return err
	}
	if len(refusals) > 0 {
		return t.refuse(ctx, refusals)
	}
	if err := t.removeStrays(ctx); err != nil {
		return err
	}
	if err := t.sweep(ctx); err != nil {
		return err
	}
	if err := t.writeCheckpoint(ctx, to); err != nil {
		return err
	}
	if len(t.gone) > 0 {
		t.s.forgetShown(t.shard)
	}
	t.forgetReasons(ctx)
	return nil
}

// refuse takes back what was written of the later events of streams whose event was refused: they are to wait behind it.
// It does so even when another has gone on meanwhile: nobody else knows of these documents. But those that were there
// before, and are only written anew, stay.
func (t *tx) refuse(ctx context.Context, refusals []refused) error {
	slices.SortFunc(refusals, func(a, b refused) int { return cmp.Compare(a.at, b.at) })
	first := map[domain.StreamID]uint64{}
	for _, r := range refusals {
		event := &t.events[r.at]
		if event.Stream == "" {
			return fmt.Errorf("document %s of our own is refused: %s", t.writes[r.at].id, r.reason)
		}
		if seq, known := first[event.Stream]; !known || event.Seq < seq {
			first[event.Stream] = event.Seq
		}
	}
	var back []write
	for i := range t.events {
		if seq, is := first[t.events[i].Stream]; is && !t.anew[t.events[i].Stream] && t.events[i].Seq > seq && t.events[i].Stream != "" {
			back = append(back, write{id: t.writes[i].id, version: t.writes[i].version})
		}
	}
	if len(back) > 0 {
		if _, err := t.s.c.bulk(ctx, t.s.index, back); err != nil {
			return err
		}
	}
	event := t.events[refusals[0].at]
	return &projector.PoisonError{Event: &event, Err: errors.New(refusals[0].reason)}
}

// settleTries are how often a checkpoint is written whose fate is not known.
const settleTries = 3

// writeCheckpoint writes it on condition. When the answer is lost, what is there tells whether it was written: each
// commit has a name.
func (t *tx) writeCheckpoint(ctx context.Context, to projector.Checkpoint) error {
	next := checkpoint{Index: to.Index, Commit: randomID(), Parked: t.parkedStreams()}
	if to.Index > 0 {
		next.ID = to.ID.String()
	}
	id := checkpointID(t.shard)
	var err error
	for range settleTries {
		var written kept[checkpoint]
		written, err = t.doc.change(ctx, t.s.c, t.s.index, id, stated{Own: ownCheckpoint, State: next})
		if err == nil {
			written.Source.State = next
			t.s.hold(t.shard, written)
			return nil
		}
		if says(err, noSuchIndex) || ctx.Err() != nil {
			return storeError(err)
		}
		now, lookErr := look[checkpoint](ctx, t.s.c, t.s.index, id)
		switch {
		case lookErr != nil:
			return errors.Join(storeError(err), lookErr)
		case now.Source.State.Commit == next.Commit:
			return nil
		case now.Found != t.doc.Found || now.SeqNo != t.doc.SeqNo || now.Term != t.doc.Term:
			return projector.ErrElsewhere
		}
	}
	return storeError(err)
}

func (t *tx) parkedStreams() []parkedStream {
	list := make([]parkedStream, 0, len(t.parked))
	for _, p := range t.parked {
		list = append(list, parkedStream{Stream: p.Stream, FirstSeq: p.FirstSeq, Index: p.Position.Index, Place: p.Position.Place, Attempts: p.Attempts, Since: p.Since})
	}
	slices.SortFunc(list, func(a, b parkedStream) int { return strings.Compare(string(a.Stream), string(b.Stream)) })
	return list
}

// forgetReasons removes what nobody looks at any more. What stays does no harm.
func (t *tx) forgetReasons(ctx context.Context) {
	for _, stream := range t.gone {
		_ = t.s.c.call(ctx, http.MethodDelete, "/"+t.s.index+"/_doc/"+url.PathEscape(parkedID(stream)), nil, nil)
	}
}
