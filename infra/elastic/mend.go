package elastic

import (
	"context"
	"net/http"

	"carryon/domain"
	"carryon/projector"
)

// A stream's documents are made anew by being written again, in place, with a version above any that is there: so a
// search finds them all the while. What is there of the stream and was not written then goes, and the checkpoint comes
// last, as ever. Whoever is stopped in between leaves documents that are right.

var (
	_ projector.Clearing = searchTx{}
	_ projector.Sweeping = searchTx{}
)

// Sweep has a stream's documents behind its end removed: see projector.Sweeping. What somebody writes meanwhile in the
// place of one that was looked at is not removed with it.
func (t searchTx) Sweep(ctx context.Context, stream domain.StreamID, end func(context.Context) (uint64, error)) error {
	if t.over {
		return errOver
	}
	if err := t.s.refresh(ctx); err != nil {
		return err
	}
	var found []hit
	if err := (&Search{store: t.s}).eachOfStream(ctx, stream, func(h *hit) { found = append(found, *h) }); err != nil {
		return err
	}
	seq, err := end(ctx) // after the look: what is in the log later was not there then
	if err != nil {
		return err
	}
	for i := range found {
		if isBeyond(&found[i], seq) {
			t.tx.swept = append(t.tx.swept, write{id: found[i].ID, only: &found[i]})
		}
	}
	return nil
}

// sweep removes what was found to be behind a stream's end.
func (t *tx) sweep(ctx context.Context) error {
	if len(t.swept) == 0 {
		return nil
	}
	if _, err := t.s.c.bulk(ctx, t.s.index, t.swept); err != nil {
		return err
	}
	return t.s.refresh(ctx)
}

// Clear has a stream's documents outranked, and those that are none of its events removed: see projector.Clearing.
func (t searchTx) Clear(_ context.Context, stream domain.StreamID) error {
	if t.over {
		return errOver
	}
	if t.anew == nil {
		t.tx.anew = map[domain.StreamID]bool{}
	}
	t.anew[stream] = true
	return nil
}

const (
	// firstAnew is above every version that follows from a place in a log.
	firstAnew = 1 << 61
	// anewStep is above what a document that was just removed is remembered by.
	anewStep = 1 << 10
	// versionsAtOnce are asked for.
	versionsAtOnce = 1000
)

// outrank gives documents that are written anew a version above those that the stream's have.
func (t *tx) outrank(ctx context.Context) error {
	if len(t.anew) == 0 {
		return nil
	}
	var ids []string
	for i := range t.writes {
		if t.anew[t.events[i].Stream] {
			ids = append(ids, t.writes[i].id)
		}
	}
	highest := int64(firstAnew)
	for len(ids) > 0 {
		n := min(versionsAtOnce, len(ids))
		var answer struct {
			Docs []struct {
				Version int64 `json:"_version"`
			} `json:"docs"`
		}
		if err := t.s.c.call(ctx, http.MethodPost, "/"+t.s.index+"/_mget?_source=false", object{"ids": ids[:n]}, &answer); err != nil {
			return storeError(err)
		}
		for _, d := range answer.Docs {
			highest = max(highest, d.Version)
		}
		ids = ids[n:]
	}
	for i := range t.writes {
		if t.anew[t.events[i].Stream] {
			t.writes[i].version = highest + anewStep
		}
	}
	return nil
}

// removeStrays removes what stands among the documents that were written anew and is not one of them. Documents of later
// events are left alone: somebody may be writing them now.
func (t *tx) removeStrays(ctx context.Context) error {
	if len(t.anew) == 0 {
		return nil
	}
	if err := t.s.refresh(ctx); err != nil {
		return err
	}
	written, last := map[string]bool{}, map[domain.StreamID]uint64{}
	for i := range t.writes {
		written[t.writes[i].id] = true
		last[t.events[i].Stream] = max(last[t.events[i].Stream], t.events[i].Seq)
	}
	var strays []write
	for stream := range t.anew {
		err := (&Search{store: t.s}).eachOfStream(ctx, stream, func(h *hit) {
			if h.Source.Seq <= last[stream] && !written[h.ID] {
				strays = append(strays, write{id: h.ID})
			}
		})
		if err != nil {
			return err
		}
	}
	if len(strays) == 0 {
		return nil
	}
	if _, err := t.s.c.bulk(ctx, t.s.index, strays); err != nil {
		return err
	}
	return t.s.refresh(ctx)
}
