package elastic

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// An audit makes the documents of a stream anew, by the search's own projection into memory, and compares them with the
// stored ones.

var (
	_ projector.Listing      = (*Search)(nil)
	_ projector.AuditsBeyond = (*Search)(nil)
)

// auditPage is how many documents are read at once.
const auditPage = 1000

// AuditStream compares a stream's documents. Those of later events are left alone: they are being applied now, or wait
// behind one that is refused.
func (s *Search) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	made, err := projector.Remake[projector.SearchTx](ctx, projector.Search{}, events)
	if err != nil {
		return nil, err
	}
	last := uint64(0)
	if n := len(events); n > 0 {
		last = events[n-1].Seq
		if err := s.Show(ctx, events[n-1].Position); err != nil {
			return nil, err
		}
	}
	stored := map[string]string{} // by document
	err = s.eachOfStream(ctx, stream, func(h *hit) {
		if h.Source.Seq <= last {
			stored[h.ID] = line(&h.Source)
		}
	})
	if err != nil {
		return nil, err
	}
	var differing []string
	for i := range made.Documents {
		again := documentOf(&made.Documents[i])
		id := eventID(stream, again.Seq)
		was, is := stored[id]
		switch again := line(again); {
		case !is:
			differing = append(differing, projector.NotStored+again)
		case was != again:
			differing = append(differing, projector.NotGiven+was, projector.NotStored+again)
		}
		delete(stored, id)
	}
	for _, was := range stored {
		differing = append(differing, projector.NotGiven+was)
	}
	return differing, nil
}

// AuditBeyond names a stream's documents behind a seq: see projector.AuditsBeyond.
func (s *Search) AuditBeyond(ctx context.Context, stream domain.StreamID, seq uint64) ([]string, error) {
	var words []string
	err := s.refresh(ctx)
	if err == nil {
		err = s.eachOfStream(ctx, stream, func(h *hit) {
			if isBeyond(h, seq) {
				words = append(words, projector.NotGiven+line(&h.Source))
			}
		})
	}
	return words, err
}

func isBeyond(h *hit, seq uint64) bool { return seq == 0 || h.Source.Seq > seq }

// holdersPage is how many documents are read at once for whose they are.
const holdersPage = 10_000

// Holders are those that have documents, with the seq of each: see projector.Listing. All are read as they are at one
// moment.
func (s *Search) Holders(ctx context.Context) iter.Seq2[projector.Holder, error] {
	return func(yield func(projector.Holder, error) bool) {
		if err := s.eachHolder(ctx, func(h projector.Holder) bool { return yield(h, nil) }); err != nil {
			yield(projector.Holder{}, err)
		}
	}
}

func (s *Search) eachHolder(ctx context.Context, f func(projector.Holder) bool) error {
	err := s.Prepare(ctx)
	if err == nil {
		err = s.refresh(ctx)
	}
	if err != nil {
		return err
	}
	const patience = "5m"
	var moment struct {
		ID string `json:"id"`
	}
	if err := s.c.call(ctx, http.MethodPost, "/"+s.index+"/_pit?keep_alive="+patience, nil, &moment); err != nil {
		return s.failed("whose documents there are", readError(err))
	}
	defer func() {
		closing := context.WithoutCancel(ctx) // or it would be kept until its time is over
		_ = s.c.call(closing, http.MethodDelete, "/_pit", object{"id": moment.ID}, nil)
	}()
	body := object{
		"pit": object{"id": moment.ID, "keep_alive": patience}, "size": holdersPage, "sort": []object{{"_shard_doc": "asc"}}, "track_total_hits": false,
		"_source": []string{"stream", "seq"}, "query": object{"bool": object{"must_not": object{"exists": object{"field": "own"}}}},
	}
	for {
		var answer searched
		err := s.c.call(ctx, http.MethodPost, "/_search?allow_partial_search_results=false", body, &answer)
		if err == nil && answer.TimedOut {
			err = errors.New("the time was too short for all of the index")
		}
		if err != nil {
			return s.failed("whose documents there are", readError(err))
		}
		page := answer.Hits.Hits
		for i := range page {
			if !f(projector.Holder{Name: domain.StreamID(page[i].Source.Stream), Seq: page[i].Source.Seq}) {
				return nil
			}
		}
		if len(page) < holdersPage {
			return nil
		}
		body["search_after"] = page[len(page)-1].Sort
	}
}

// eachOfStream reads a stream's documents as they are found.
func (s *Search) eachOfStream(ctx context.Context, stream domain.StreamID, f func(h *hit)) error {
	asked := query.SearchAsked{Tier: query.TierLoose, Oldest: true, Limit: auditPage}
	for more := true; more; {
		page, err := s.ofStream(ctx, stream, &asked)
		if err != nil {
			return err
		}
		for i := range page {
			f(&page[i])
		}
		more = len(page) == auditPage
	}
	return nil
}

// ofStream reads a page of a stream's documents, and lets the question go on behind it.
func (s *Search) ofStream(ctx context.Context, stream domain.StreamID, asked *query.SearchAsked) ([]hit, error) {
	body := object{
		"query": object{"bool": object{"filter": oneOf("stream", []string{string(stream)})}},
		"size":  auditPage, "sort": inOrder(asked.Oldest), "track_total_hits": false, "seq_no_primary_term": true,
	}
	if asked.After != 0 {
		keys, err := after(*asked)
		if err != nil {
			return nil, err
		}
		body["search_after"] = keys
	}
	answer, err := s.search(ctx, body)
	if err != nil {
		return nil, err
	}
	page := answer.Hits.Hits
	if len(page) > 0 {
		end := &page[len(page)-1].Source
		asked.After, asked.Tie = end.At, tie(end)
	}
	return page, nil
}

// line is all that a document says.
func line(d *document) string { return fmt.Sprintf("%+v", *d) }
