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

// remade takes documents in instead of an index that is new and empty.
type remade struct {
	projector.Tx
	documents []projector.Document
}

func (m *remade) AddDocuments(_ context.Context, rows []projector.Document) error {
	m.documents = append(m.documents, rows...)
	return nil
}

// auditPage is how many documents are read at once.
const auditPage = 1000

// AuditStream compares a stream's documents. Those of later events are left alone: they are being applied now, or wait
// behind one that is refused.
func (s *Search) AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error) {
	m := &remade{}
	pointers := make([]*domain.Event, len(events))
	last := uint64(0)
	for i := range events {
		pointers[i], last = &events[i], max(last, events[i].Seq)
	}
	if err := (projector.Search{}).Apply(ctx, m, pointers); err != nil {
		return nil, fmt.Errorf("make documents of %s anew: %w", stream, err)
	}
	if len(events) > 0 {
		if err := s.Show(ctx, events[len(events)-1].Position); err != nil {
			return nil, err
		}
	}
	stored := map[string]string{} // by document
	err := s.eachOfStream(ctx, stream, func(id string, d *document) {
		if d.Seq <= last {
			stored[id] = line(d)
		}
	})
	if err != nil {
		return nil, err
	}
	var differing []string
	for i := range m.documents {
		made := documentOf(&m.documents[i])
		id := eventID(stream, made.Seq)
		was, is := stored[id]
		switch made := line(made); {
		case !is:
			differing = append(differing, projector.NotStored+made)
		case was != made:
			differing = append(differing, projector.NotGiven+was, projector.NotStored+made)
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
