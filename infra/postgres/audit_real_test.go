//go:build real

package postgres

import (
	"context"
	"errors"
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
	store *store
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
	for _, m := range auditedModels(t, testDB(t, testConfig(t)), entries) {
		t.Run(m.name, func(t *testing.T) {
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

// change harms a table, looks, and restores it from a copy.
func (m *audited) change(t *testing.T, text string, look func()) {
	t.Helper()
	db, table := m.store.db, ""
	for _, word := range strings.Fields(text) {
		if strings.HasPrefix(word, "@.") {
			table = m.store.in(word)
			break
		}
	}
	db.exec(t, m.store.in("CREATE TABLE @.copied AS TABLE ")+table)
	tag, err := db.write.Exec(t.Context(), m.store.in(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if tag.RowsAffected() == 0 {
		t.Fatalf("%s changes nothing", text)
	}
	look()
	db.exec(t, "DELETE FROM "+table)
	db.exec(t, "INSERT INTO "+table+m.store.in(" TABLE @.copied"))
	db.exec(t, m.store.in("DROP TABLE @.copied"))
}

func filled[T projector.Tx, S projector.Store[T]](t testing.TB, entries []domain.Entry, p projector.Projection[T], s S) S {
	t.Helper()
	for len(entries) > 0 {
		n := min(7, len(entries))
		for n > 1 && entries[n-1].Shard != entries[0].Shard {
			n--
		}
		if err := conformance.ApplyEntries(t.Context(), s, p, entries[:n]); err != nil {
			t.Fatal(err)
		}
		entries = entries[n:]
	}
	return s
}

func auditedModels(t *testing.T, db *DB, entries []domain.Entry) []audited {
	t.Helper()
	customers := filled(t, entries, projector.Customers{}, db.Customers(1, query.NewPseudonyms([]byte("k"))))
	timeline := filled(t, entries, projector.Timeline{}, db.Timeline(1))
	denials := filled(t, entries, projector.Denials{}, db.Denials(1))
	reference := filled(t, entries, projector.Reference{}, db.Reference(1))
	analytics := filled(t, entries, projector.Analytics{}, db.Analytics(1))
	of := func(a projector.Auditable) func(domain.StreamID, []domain.Event) ([]string, error) {
		return func(stream domain.StreamID, events []domain.Event) ([]string, error) {
			return a.AuditStream(context.WithoutCancel(t.Context()), stream, events)
		}
	}
	const one, other = "(SELECT min(stream) FROM @.customers)", "(SELECT max(stream) FROM @.customers)"
	const refusal = " WHERE (stream, seq) = (SELECT stream, min(seq) FROM @.denials GROUP BY stream LIMIT 1)"
	const event = " WHERE stream = (SELECT min(stream) FROM @.events) AND seq = 5"
	return []audited{
		{"customers", customers.store, of(customers), map[string]string{
			"another version":   "UPDATE @.customers SET version = version + 1 WHERE stream = " + one,
			"another state":     "UPDATE @.customers SET state = (SELECT state FROM @.customers WHERE stream = " + other + ") WHERE stream = " + one,
			"a missing state":   "DELETE FROM @.customers WHERE stream = " + one,
			"a missing device":  "DELETE FROM @.devices WHERE device = (SELECT min(device) FROM @.devices)",
			"another licence":   "UPDATE @.licenses SET title = 'x' WHERE license = (SELECT min(license) FROM @.licenses)",
			"a foreign licence": "INSERT INTO @.licenses (license, stream, device, title, seq) SELECT 'lic', stream, 'd', 't', 1 FROM @.customers WHERE stream = " + one,
		}},
		{"timeline", timeline.store, of(timeline), map[string]string{
			"a missing event":  "DELETE FROM @.events" + event,
			"another type":     "UPDATE @.events SET type = 'X'" + event,
			"another body":     "UPDATE @.events SET packed = (SELECT packed FROM @.events WHERE stream = (SELECT max(stream) FROM @.events) AND seq = 6)" + event,
			"another device":   "UPDATE @.events SET device = 'd'" + event,
			"another decision": "UPDATE @.events SET decision = 7" + event,
			"another version":  "UPDATE @.streams SET version = version + 1 WHERE stream = (SELECT min(stream) FROM @.streams)",
		}},
		{"denials", denials.store, of(denials), map[string]string{
			"a missing refusal": "DELETE FROM @.denials" + refusal,
			"another code":      "UPDATE @.denials SET code = 'X'" + refusal,
			"another number":    "UPDATE @.denials SET used = 77" + refusal,
			"a missing stream":  "DELETE FROM @.streams WHERE stream = (SELECT min(stream) FROM @.streams)",
		}},
		{"reference", reference.store, of(reference), map[string]string{
			"a missing withdrawal": "DELETE FROM @.withdrawals WHERE entry = (SELECT min(entry) FROM @.withdrawals)",
			"another date":         "UPDATE @.withdrawals SET from_ = from_ + 1",
		}},
		{"analytics", analytics.store, of(analytics), map[string]string{
			"a missing fact":        "DELETE FROM @.facts WHERE seq = (SELECT min(seq) FROM @.facts)",
			"another life":          "UPDATE @.lives SET own_end = 5 WHERE license = (SELECT min(license) FROM @.lives)",
			"a missing life":        "DELETE FROM @.lives WHERE license = (SELECT max(license) FROM @.lives)",
			"a missing combination": "DELETE FROM @.dimensions WHERE id = (SELECT min(dimensions) FROM @.facts)",
		}},
		{"roll-ups", analytics.store, func(domain.StreamID, []domain.Event) ([]string, error) {
			return analytics.AuditItself(context.WithoutCancel(t.Context()))
		}, map[string]string{
			"a count too many":  "UPDATE @.rollups SET n = n + 1 WHERE metric = 1 AND quarter = (SELECT min(quarter) FROM @.rollups WHERE metric = 1)",
			"a missing count":   "DELETE FROM @.rollups WHERE metric = 4",
			"an end too early":  "UPDATE @.rollups SET quarter = quarter - 900 WHERE metric = 5 AND n < 0 AND quarter = (SELECT max(quarter) FROM @.rollups WHERE metric = 5 AND n < 0)",
			"a fact not summed": "INSERT INTO @.facts (metric, quarter, customer, seq, dimensions, device, license, actor) VALUES (3, 900, 1, 1, 1, 1, 1, 1)",
		}},
	}
}
