package elastic

import (
	"context"
	"fmt"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// An audit makes the documents of a stream anew, by the search's own projection into memory, and compares them with the
// stored ones.

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
	err = s.eachOfStream(ctx, stream, func(id string, d *document) {
		if d.Seq <= last {
			stored[id] = line(d)
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

// eachOfStream reads a stream's documents as they are found.
func (s *Search) eachOfStream(ctx context.Context, stream domain.StreamID, f func(id string, d *document)) error {
	asked := query.SearchAsked{Tier: query.TierLoose, Oldest: true, Limit: auditPage}
	for more := true; more; {
		page, err := s.ofStream(ctx, stream, &asked)
		if err != nil {
			return err
		}
		for i := range page {
			f(page[i].ID, &page[i].Source)
		}
		more = len(page) == auditPage
	}
	return nil
}

// ofStream reads a page of a stream's documents, and lets the question go on behind it.
func (s *Search) ofStream(ctx context.Context, stream domain.StreamID, asked *query.SearchAsked) ([]hit, error) {
	body := object{
		"query": object{"bool": object{"filter": oneOf("stream", []string{string(stream)})}},
		"size":  auditPage, "sort": inOrder(asked.Oldest), "track_total_hits": false,
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
