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

var _ projector.Clearing = searchTx{}

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
		err := (&Search{t.s}).eachOfStream(ctx, stream, func(id string, d *document) {
			if d.Seq <= last[stream] && !written[id] {
				strays = append(strays, write{id: id})
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
