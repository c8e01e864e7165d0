package readmodel

import (
	"context"
	"path/filepath"
	"testing"

	"carryon/infra/conformance"
	"carryon/projector"
	"carryon/query"
)

func TestRowsAreMendedStreamByStream(t *testing.T) {
	t.Parallel()
	t.Run("customers", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.CustomersTx] {
			s := openedAt(t, func(ctx context.Context, path string) (*Customers, error) {
				return OpenCustomers(ctx, path, query.NewPseudonyms([]byte("k")))
			})
			return conformance.MendSubject[projector.CustomersTx]{Store: s, Projection: projector.Customers{}, Harms: harms(s.file, map[string]string{
				"another version":    "UPDATE customers SET version = version + 1 WHERE stream = (SELECT min(stream) FROM customers)",
				"another's state":    "UPDATE customers SET state = (SELECT state FROM customers c ORDER BY stream DESC LIMIT 1) WHERE stream = (SELECT min(stream) FROM customers)",
				"another name":       "UPDATE customers SET stream = 'customer/nobody' WHERE stream = (SELECT max(stream) FROM customers)",
				"a missing state":    "DELETE FROM customers WHERE stream = (SELECT min(stream) FROM customers)",
				"a damaged state":    "UPDATE customers SET state = x'ff00' WHERE stream = (SELECT max(stream) FROM customers)",
				"a missing device":   "DELETE FROM devices WHERE device = (SELECT min(device) FROM devices)",
				"another licence":    "UPDATE licenses SET title = 'x' WHERE license = (SELECT min(license) FROM licenses)",
				"another's licence":  "UPDATE licenses SET stream = (SELECT max(stream) FROM licenses) WHERE license = (SELECT min(license) FROM licenses)",
				"a licence too many": "INSERT INTO licenses (license, stream, device, title, seq) SELECT 'lic', stream, 'd', 't', 1 FROM customers LIMIT 1",
				"a stranger":         "INSERT INTO customers SELECT 'customer/stranger', 'p', version, shard, entry, place, recorded_at, state FROM customers LIMIT 1",
				"a stranger's thing": "INSERT INTO devices (stream, device, pseudonym, type, family, seq) VALUES ('customer/nobody-else', 'd', 'p', 't', 'f', 1)",
				"a thing of no kind": "INSERT INTO exceptions (exception, stream, code, seq) VALUES ('x', 'nobody', 'c', 1)",
			})}
		})
	})
	t.Run("timeline", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.TimelineTx] {
			s := openedAt(t, OpenTimeline)
			return conformance.MendSubject[projector.TimelineTx]{Store: s, Projection: projector.Timeline{}, Harms: harms(s.file, map[string]string{
				"a missing event":   "DELETE FROM events WHERE seq = 3",
				"another type":      "UPDATE events SET type = 'X' WHERE seq = 5 AND stream = 1",
				"a damaged body":    "UPDATE bodies SET packed = x'ff00' WHERE id = (SELECT body FROM events WHERE stream = 1 AND seq = 6)",
				"another body":      "UPDATE events SET body = body + 1 WHERE seq = 7 AND stream = 1",
				"an event too many": "INSERT INTO events SELECT stream, seq + 100000, recorded_at, type, actor, role, device, title, license, entry, place, body FROM events WHERE stream = 2 AND seq = 1",
				"a missing stream":  "DELETE FROM streams WHERE id = (SELECT max(id) FROM streams)",
				"a stranger":        "INSERT INTO streams (stream, version, shard, entry, place) VALUES ('customer/stranger', 7, 1, 3, 0)",
				"a stranger's":      "INSERT INTO streams (id, stream, version, shard, entry, place) VALUES (777, 'customer/s', 1, 1, 3, 0); INSERT INTO events SELECT 777, seq, recorded_at, type, actor, role, device, title, license, entry, place, body FROM events WHERE stream = 2 AND seq = 1",
				"an event of none":  "INSERT INTO events SELECT 999, seq, recorded_at, type, actor, role, device, title, license, entry, place, body FROM events WHERE stream = 2 AND seq = 1",
				"another version":   "UPDATE streams SET version = version + 1 WHERE id = 1",
			})}
		})
	})
	t.Run("denials", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.DenialsTx] {
			s := openedAt(t, OpenDenials)
			return conformance.MendSubject[projector.DenialsTx]{Store: s, Projection: projector.Denials{}, Harms: harms(s.file, map[string]string{
				"a missing refusal":  "DELETE FROM denials WHERE (stream, seq) IN (SELECT stream, min(seq) FROM denials)",
				"another code":       "UPDATE denials SET code = 'X' WHERE (stream, seq) IN (SELECT stream, max(seq) FROM denials)",
				"a damaged decision": "UPDATE denials SET decision = x'ff00' WHERE (stream, seq) IN (SELECT stream, min(seq) FROM denials)",
				"a refusal too many": "UPDATE denials SET seq = seq + 100000 WHERE (stream, seq) IN (SELECT stream, max(seq) FROM denials GROUP BY stream LIMIT 1)",
				"a stranger's":       "INSERT INTO streams (id, stream, version, shard, entry, place) VALUES (777, 'customer/s', 1, 1, 3, 0); UPDATE denials SET stream = 777 WHERE (stream, seq) IN (SELECT stream, min(seq) FROM denials GROUP BY stream LIMIT 1)",
				"a refusal of none":  "UPDATE denials SET stream = 999 WHERE (stream, seq) IN (SELECT stream, max(seq) FROM denials GROUP BY stream LIMIT 1)",
			})}
		})
	})
	t.Run("search", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.SearchTx] {
			s := openedAt(t, OpenSearch)
			return conformance.MendSubject[projector.SearchTx]{Store: s, Projection: projector.Search{}, Harms: harms(s.file, map[string]string{
				"a missing document":  "DELETE FROM documents WHERE id = (SELECT max(id) FROM documents)",
				"another title":       "UPDATE documents SET title_name = (SELECT max(id) FROM titles) WHERE seq = 4",
				"missing words":       "DELETE FROM words WHERE rowid = (SELECT min(id) FROM documents WHERE stream IN (SELECT id FROM streams WHERE stream GLOB 'customer/*'))",
				"another's document":  "UPDATE documents SET stream = (SELECT max(o.stream) FROM documents o WHERE o.stream != documents.stream) WHERE id = (SELECT max(id) FROM documents WHERE seq = 5)",
				"a document too many": "UPDATE documents SET seq = seq + 100000 WHERE id = (SELECT max(id) FROM documents WHERE seq = 6)",
				"a stranger's":        "INSERT INTO streams (id, stream, version, shard, entry, place) VALUES (777, 'customer/s', 1, 1, 3, 0); UPDATE documents SET stream = 777 WHERE id = (SELECT max(id) FROM documents WHERE seq = 7)",
				"a document of none":  "UPDATE documents SET stream = 999 WHERE id = (SELECT max(id) FROM documents WHERE seq = 8)",
			})}
		})
	})
	t.Run("reference", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.ReferenceTx] {
			s := openedAt(t, OpenReference)
			return conformance.MendSubject[projector.ReferenceTx]{Store: s, Projection: projector.Reference{}, Harms: harms(s.file, map[string]string{
				"a missing withdrawal":  "DELETE FROM withdrawals WHERE entry = (SELECT min(entry) FROM withdrawals)",
				"another date":          "UPDATE withdrawals SET from_ = from_ + 1",
				"another title":         "UPDATE withdrawals SET title = 'tt0000000' WHERE entry = (SELECT max(entry) FROM withdrawals)",
				"damaged countries":     "UPDATE withdrawals SET countries = '[' WHERE place = (SELECT min(place) FROM withdrawals)",
				"a withdrawal too many": "INSERT INTO withdrawals SELECT shard, entry, place + 1000, title, countries, from_, recorded_at FROM withdrawals LIMIT 1",
				"an unknown title":      "INSERT INTO withdrawals SELECT shard, entry, place + 2000, 'tt0000001', countries, from_, recorded_at FROM withdrawals LIMIT 1",
				"an unknown document":   "INSERT INTO policies SELECT 'invented', version, effective_from, document, recorded_at, actor, role, shard, entry, place FROM policies LIMIT 1",
				"another document":      "UPDATE policies SET document = CAST('{}' AS BLOB)",
			})}
		})
	})
	t.Run("analytics", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.AnalyticsTx] {
			s := openedAt(t, OpenAnalytics)
			return conformance.MendSubject[projector.AnalyticsTx]{Store: s, Projection: projector.Analytics{}, Harms: harms(s.file, map[string]string{
				"a missing fact":    "DELETE FROM facts WHERE seq = (SELECT min(seq) FROM facts)",
				"another quarter":   "UPDATE facts SET quarter = quarter + 900 WHERE seq = (SELECT max(seq) FROM facts)",
				"another's fact":    "UPDATE facts SET customer = 7 WHERE seq = (SELECT max(seq) FROM facts)",
				"a fact too many":   "INSERT INTO facts SELECT metric, quarter, shard, entry, place + 100000, customer, seq + 100000, dimensions, device, license, actor FROM facts LIMIT 1",
				"another life":      "UPDATE lives SET own_end = 5 WHERE license = (SELECT min(license) FROM lives)",
				"another's life":    "UPDATE lives SET customer = (SELECT max(customer) FROM lives) WHERE license = (SELECT min(license) FROM lives)",
				"a missing life":    "DELETE FROM lives WHERE license = (SELECT max(license) FROM lives)",
				"a count too many":  "UPDATE rollups SET n = n + 1 WHERE metric = 1 AND quarter = (SELECT min(quarter) FROM rollups WHERE metric = 1)",
				"missing counts":    "DELETE FROM rollups WHERE metric = 4",
				"an end too early":  "UPDATE rollups SET quarter = quarter - 900 WHERE metric = 5 AND n < 0 AND quarter = (SELECT max(quarter) FROM rollups WHERE metric = 5 AND n < 0)",
				"counts of nothing": "INSERT INTO rollups (metric, quarter, dimensions, n) VALUES (2, 900, 1, 5)",
				"a stranger's life": "UPDATE lives SET customer = 'stranger' WHERE license = (SELECT max(license) FROM lives)",
				"a withdrawal":      "UPDATE withdrawals SET from_ = from_ + 1 WHERE title = (SELECT min(title) FROM withdrawals)",
				"no withdrawal":     "DELETE FROM withdrawals WHERE title = (SELECT max(title) FROM withdrawals)",
				"one too many":      "INSERT INTO withdrawals SELECT title, 'XX', from_ FROM withdrawals LIMIT 1",
				"an unknown title":  "INSERT INTO withdrawals SELECT 'tt0000001', country, from_ FROM withdrawals LIMIT 1",
			})}
		})
	})
}

func openedAt[S interface {
	Close() error
	Filled(context.Context) error
}](t testing.TB, open func(context.Context, string) (S, error)) S {
	t.Helper()
	s, err := open(t.Context(), filepath.Join(t.TempDir(), "rows.1.db"))
	if err == nil {
		err = s.Filled(t.Context()) // as every file that is read
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// harms change the file by SQL.
func harms(f *file, texts map[string]string) map[string]func(t testing.TB) {
	all := map[string]func(t testing.TB){}
	for name, text := range texts {
		all[name] = func(t testing.TB) {
			t.Helper()
			if r, err := f.conn.ExecContext(t.Context(), text); err != nil {
				t.Fatalf("%s: %v", name, err)
			} else if n, _ := r.RowsAffected(); n == 0 {
				t.Fatalf("%s changes nothing", name)
			}
		}
	}
	return all
}
