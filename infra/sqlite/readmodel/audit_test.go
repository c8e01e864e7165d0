package readmodel

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/projector"
	"carryon/query"
)

// audited is a read model with a history in it.
type audited struct {
	name  string
	file  *file
	audit func(stream domain.StreamID, events []domain.Event) ([]string, error)
	harm  map[string]string // what SQL does
}

func TestAuditFindsRowsThatAreNotWhatTheEventsGive(t *testing.T) {
	t.Parallel()
	h, err := conformance.NewHistory(11, 6, 1)
	if err != nil {
		t.Fatal(err)
	}
	entries := h.Grow(1500)
	streams := map[domain.StreamID][]domain.Event{}
	for _, entry := range entries {
		for _, e := range entry.Events {
			streams[e.Stream] = append(streams[e.Stream], e)
		}
	}
	for _, m := range auditedModels(t, entries) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for stream, events := range streams {
				if words, err := m.audit(stream, events); err != nil || len(words) > 0 {
					t.Fatalf("%s is in order, but: %v, %v", stream, words, err)
				}
			}
			for harm, text := range m.harm {
				m.change(t, text, func() {
					found := 0
					for stream, events := range streams {
						words, err := m.audit(stream, events)
						if err != nil && !errors.Is(err, projector.ErrUnreadable) {
							t.Fatalf("%s: %v", harm, err)
						}
						if len(words) > 0 || err != nil {
							found++
						}
					}
					if found == 0 {
						t.Errorf("%s is not found", harm)
					}
				})
			}
		})
	}
}

// change harms the file, looks, and restores it from a copy.
func (m *audited) change(t *testing.T, text string, look func()) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := m.file.conn.ExecContext(t.Context(), "VACUUM INTO '"+copied+"'"); err != nil {
		t.Fatal(err)
	}
	if r, err := m.file.conn.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	} else if n, _ := r.RowsAffected(); n == 0 {
		t.Fatalf("%s changes nothing", text)
	}
	look()
	table := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(text, "UPDATE "), "DELETE FROM "), "INSERT INTO "))[0]
	restore := "ATTACH '" + copied + "' AS c; DELETE FROM main." + table + "; INSERT INTO main." + table + " SELECT * FROM c." + table + "; DETACH c;"
	if _, err := m.file.conn.ExecContext(t.Context(), restore); err != nil {
		t.Fatal(err)
	}
}

func auditedModels(t *testing.T, entries []domain.Entry) []audited {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+".1.db") }
	customers := filled(t, entries, projector.Customers{}, func(ctx context.Context) (*Customers, error) {
		return OpenCustomers(ctx, path("customers"), query.NewPseudonyms([]byte("k")))
	})
	timeline := filled(t, entries, projector.Timeline{}, func(ctx context.Context) (*Timeline, error) { return OpenTimeline(ctx, path("timeline")) })
	denials := filled(t, entries, projector.Denials{}, func(ctx context.Context) (*Denials, error) { return OpenDenials(ctx, path("denials")) })
	search := filled(t, entries, projector.Search{}, func(ctx context.Context) (*Search, error) { return OpenSearch(ctx, path("search")) })
	reference := filled(t, entries, projector.Reference{}, func(ctx context.Context) (*Reference, error) { return OpenReference(ctx, path("reference")) })
	analytics := filled(t, entries, projector.Analytics{}, func(ctx context.Context) (*Analytics, error) { return OpenAnalytics(ctx, path("analytics")) })
	rollups := filled(t, entries, projector.Analytics{}, func(ctx context.Context) (*Analytics, error) { return OpenAnalytics(ctx, path("roll-ups")) })
	of := func(a projector.Auditable) func(domain.StreamID, []domain.Event) ([]string, error) {
		return func(stream domain.StreamID, events []domain.Event) ([]string, error) {
			return a.AuditStream(t.Context(), stream, events)
		}
	}
	return []audited{
		{"customers", customers.file, of(customers), map[string]string{
			"another version":   "UPDATE customers SET version = version + 1 WHERE rowid = 2",
			"another state":     "UPDATE customers SET state = (SELECT state FROM customers c ORDER BY rowid DESC LIMIT 1) WHERE rowid = 1",
			"a missing state":   "DELETE FROM customers WHERE rowid = 3",
			"a missing device":  "DELETE FROM devices WHERE device = (SELECT min(device) FROM devices)",
			"another licence":   "UPDATE licenses SET title = 'x' WHERE license = (SELECT min(license) FROM licenses)",
			"a foreign licence": "INSERT INTO licenses (license, stream, device, title, seq) SELECT 'lic', stream, 'd', 't', 1 FROM customers WHERE rowid = 1",
		}},
		{"timeline", timeline.file, of(timeline), map[string]string{
			"a missing event": "DELETE FROM events WHERE seq = 3",
			"another type":    "UPDATE events SET type = 'X' WHERE seq = 5 AND stream = 1",
			"another body":    "UPDATE events SET body = body + 1 WHERE seq = 7 AND stream = 1",
			"another device":  "UPDATE events SET device = 'd' WHERE seq = 2 AND stream = 2",
			"another version": "UPDATE streams SET version = version + 1 WHERE id = 1",
		}},
		{"denials", denials.file, of(denials), map[string]string{
			"a missing refusal": "DELETE FROM denials WHERE (stream, seq) IN (SELECT stream, min(seq) FROM denials)",
			"another code":      "UPDATE denials SET code = 'X' WHERE (stream, seq) IN (SELECT stream, min(seq) FROM denials)",
			"another number":    "UPDATE denials SET used = 77 WHERE (stream, seq) IN (SELECT stream, min(seq) FROM denials)",
			"another version":   "UPDATE streams SET version = version + 1 WHERE id = 1",
		}},
		{"search", search.file, of(search), map[string]string{
			"a missing document": "DELETE FROM documents WHERE id = (SELECT max(id) FROM documents)",
			"another title":      "UPDATE documents SET title_name = (SELECT max(id) FROM titles) WHERE seq = 4",
			"another actor":      "UPDATE documents SET actor = 'somebody' WHERE seq = 4",
		}},
		{"reference", reference.file, of(reference), map[string]string{
			"a missing withdrawal": "DELETE FROM withdrawals WHERE entry = (SELECT min(entry) FROM withdrawals)",
			"another date":         "UPDATE withdrawals SET from_ = from_ + 1",
		}},
		{"analytics", analytics.file, of(analytics), map[string]string{
			"a missing fact": "DELETE FROM facts WHERE seq = (SELECT min(seq) FROM facts)",
			"another place":  "UPDATE facts SET entry = entry + 1000000 WHERE seq = (SELECT min(seq) FROM facts)",
			"another life":   "UPDATE lives SET own_end = 5 WHERE license = (SELECT min(license) FROM lives)",
			"a missing life": "DELETE FROM lives WHERE license = (SELECT max(license) FROM lives)",
		}},
		{"roll-ups", rollups.file, func(domain.StreamID, []domain.Event) ([]string, error) { return rollups.AuditItself(t.Context()) }, map[string]string{
			"a count too many":  "UPDATE rollups SET n = n + 1 WHERE metric = 1 AND quarter = (SELECT min(quarter) FROM rollups WHERE metric = 1)",
			"a missing count":   "DELETE FROM rollups WHERE metric = 4",
			"an end too early":  "UPDATE rollups SET quarter = quarter - 900 WHERE metric = 5 AND n < 0 AND quarter = (SELECT max(quarter) FROM rollups WHERE metric = 5 AND n < 0)",
			"a fact not summed": "INSERT INTO facts (metric, quarter, shard, entry, place, customer, seq, dimensions, device, license, actor) VALUES (3, 900, 1, 1, 1, 1, 1, 1, 1, 1, 1)",
		}},
	}
}

func filled[T projector.Tx, S interface {
	projector.Store[T]
	Close() error
}](t *testing.T, entries []domain.Entry, p projector.Projection[T], open func(context.Context) (S, error)) S {
	t.Helper()
	s, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for len(entries) > 0 {
		if err := conformance.ApplyEntries(t.Context(), s, p, entries[:1]); err != nil {
			t.Fatal(err)
		}
		entries = entries[1:]
	}
	return s
}
