//go:build real

package postgres

import (
	"testing"

	"carryon/infra/conformance"
	"carryon/projector"
	"carryon/query"
)

func TestRowsAreMendedStreamByStream(t *testing.T) {
	t.Parallel()
	const refusal = " WHERE (stream, seq) = (SELECT stream, max(seq) FROM @.denials GROUP BY stream LIMIT 1)"
	const event = " WHERE stream = (SELECT min(stream) FROM @.events) AND seq = "
	t.Run("customers", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.CustomersTx] {
			s := testDB(t, testConfig(t)).Customers(1, query.NewPseudonyms([]byte("k")))
			const one, other = "(SELECT min(stream) FROM @.customers)", "(SELECT max(stream) FROM @.customers)"
			return conformance.MendSubject[projector.CustomersTx]{Store: s, Projection: projector.Customers{}, Harms: harms(s.store, map[string]string{
				"another version":    "UPDATE @.customers SET version = version + 1 WHERE stream = " + one,
				"another's state":    "UPDATE @.customers SET state = (SELECT state FROM @.customers WHERE stream = " + other + ") WHERE stream = " + one,
				"another name":       "UPDATE @.customers SET stream = 'customer/nobody' WHERE stream = " + other,
				"a missing state":    "DELETE FROM @.customers WHERE stream = " + one,
				"a damaged state":    `UPDATE @.customers SET state = '\xff00' WHERE stream = (SELECT max(stream) FROM @.customers)`,
				"a missing device":   "DELETE FROM @.devices WHERE device = (SELECT min(device) FROM @.devices)",
				"another licence":    "UPDATE @.licenses SET title = 'x' WHERE license = (SELECT min(license) FROM @.licenses)",
				"another's licence":  "UPDATE @.licenses SET stream = (SELECT max(stream) FROM @.licenses) WHERE license = (SELECT min(license) FROM @.licenses)",
				"a licence too many": "INSERT INTO @.licenses (license, stream, device, title, seq) SELECT 'lic', stream, 'd', 't', 1 FROM @.customers LIMIT 1",
				"a stranger":         "INSERT INTO @.customers (stream, pseudonym, version, shard, entry, place, recorded_at, state) SELECT 'customer/stranger', 'p', version, shard, entry, place, recorded_at, state FROM @.customers WHERE stream = " + one,
				"a stranger's thing": "INSERT INTO @.devices (stream, device, pseudonym, type, family, seq) VALUES ('customer/nobody-else', 'd', 'p', 't', 'f', 1)",
				"a thing of no kind": "INSERT INTO @.exceptions (exception, stream, code, seq) VALUES ('x', 'nobody', 'c', 1)",
			})}
		})
	})
	t.Run("timeline", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.TimelineTx] {
			s := testDB(t, testConfig(t)).Timeline(1)
			return conformance.MendSubject[projector.TimelineTx]{Store: s, Projection: projector.Timeline{}, Harms: harms(s.store, map[string]string{
				"a missing event":   "DELETE FROM @.events" + event + "5",
				"a damaged body":    `UPDATE @.events SET packed = '\xff00'` + event + "6",
				"another body":      "UPDATE @.events SET packed = (SELECT packed FROM @.events WHERE stream = (SELECT max(stream) FROM @.events) AND seq = 6)" + event + "7",
				"another decision":  "UPDATE @.events SET decision = 7" + event + "9",
				"another version":   "UPDATE @.streams SET version = version + 1 WHERE stream = (SELECT min(stream) FROM @.streams)",
				"an event too many": "UPDATE @.events SET seq = seq + 100000 WHERE stream = (SELECT max(stream) FROM @.events) AND seq = 3",
				"a stranger":        "INSERT INTO @.streams (stream, version, shard, entry, place) VALUES ('customer/stranger', 7, 1, 3, 0)",
				"a stranger's":      "UPDATE @.events SET stream = 'customer/c-00002-s'" + event + "4",
			})}
		})
	})
	t.Run("denials", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.DenialsTx] {
			s := testDB(t, testConfig(t)).Denials(1)
			return conformance.MendSubject[projector.DenialsTx]{Store: s, Projection: projector.Denials{}, Harms: harms(s.store, map[string]string{
				"a missing refusal":  "DELETE FROM @.denials" + refusal,
				"another code":       "UPDATE @.denials SET code = 'X'" + refusal,
				"a damaged decision": `UPDATE @.denials SET decision = '\xff00'` + refusal,
				"a refusal too many": "UPDATE @.denials SET seq = seq + 100000" + refusal,
				"a stranger's":       "UPDATE @.denials SET stream = 'customer/c-00002-s'" + refusal,
				"a missing stream":   "DELETE FROM @.streams WHERE stream = (SELECT min(stream) FROM @.streams)",
			})}
		})
	})
	t.Run("reference", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.ReferenceTx] {
			s := testDB(t, testConfig(t)).Reference(1)
			return conformance.MendSubject[projector.ReferenceTx]{Store: s, Projection: projector.Reference{}, Harms: harms(s.store, map[string]string{
				"a missing withdrawal":  "DELETE FROM @.withdrawals WHERE entry = (SELECT min(entry) FROM @.withdrawals)",
				"another date":          "UPDATE @.withdrawals SET from_ = from_ + 1",
				"another title":         "UPDATE @.withdrawals SET title = 'tt0000000' WHERE entry = (SELECT max(entry) FROM @.withdrawals)",
				"damaged countries":     "UPDATE @.withdrawals SET countries = '[' WHERE place = (SELECT min(place) FROM @.withdrawals)",
				"a withdrawal too many": "INSERT INTO @.withdrawals (shard, entry, place, title, countries, from_, recorded_at) SELECT shard, entry, place + 1000, title, countries, from_, recorded_at FROM @.withdrawals LIMIT 1",
				"an unknown title":      "INSERT INTO @.withdrawals (shard, entry, place, title, countries, from_, recorded_at) SELECT shard, entry, place + 2000, 'tt0000001', countries, from_, recorded_at FROM @.withdrawals LIMIT 1",
				"an unknown document":   "INSERT INTO @.policies (policy, version, effective_from, document, recorded_at, actor, role, shard, entry, place) SELECT 'invented', version, effective_from, document, recorded_at, actor, role, shard, entry, place FROM @.policies LIMIT 1",
			})}
		})
	})
	t.Run("analytics", func(t *testing.T) {
		t.Parallel()
		conformance.Mending(t, func(t testing.TB) conformance.MendSubject[projector.AnalyticsTx] {
			s := testDB(t, testConfig(t)).Analytics(1)
			return conformance.MendSubject[projector.AnalyticsTx]{Store: s, Projection: projector.Analytics{}, Harms: harms(s.store, map[string]string{
				"a missing fact":    "DELETE FROM @.facts WHERE seq = (SELECT min(seq) FROM @.facts)",
				"another quarter":   "UPDATE @.facts SET quarter = quarter + 900 WHERE seq = (SELECT max(seq) FROM @.facts)",
				"another's fact":    "UPDATE @.facts SET customer = 7 WHERE seq = (SELECT max(seq) FROM @.facts)",
				"a fact too many":   "UPDATE @.facts SET seq = seq + 100000 WHERE seq = (SELECT max(seq) FROM @.facts)",
				"another life":      "UPDATE @.lives SET own_end = 5 WHERE license = (SELECT min(license) FROM @.lives)",
				"another's life":    "UPDATE @.lives SET customer = (SELECT max(customer) FROM @.lives) WHERE license = (SELECT min(license) FROM @.lives)",
				"a missing life":    "DELETE FROM @.lives WHERE license = (SELECT max(license) FROM @.lives)",
				"a count too many":  "UPDATE @.rollups SET n = n + 1 WHERE metric = 1 AND quarter = (SELECT min(quarter) FROM @.rollups WHERE metric = 1)",
				"missing counts":    "DELETE FROM @.rollups WHERE metric = 4",
				"an end too early":  "UPDATE @.rollups SET quarter = quarter - 900 WHERE metric = 5 AND n < 0 AND quarter = (SELECT max(quarter) FROM @.rollups WHERE metric = 5 AND n < 0)",
				"a stranger's life": "UPDATE @.lives SET customer = 'stranger' WHERE license = (SELECT max(license) FROM @.lives)",
				"a withdrawal":      "UPDATE @.withdrawals SET from_ = from_ + 1 WHERE title = (SELECT min(title) FROM @.withdrawals)",
				"no withdrawal":     "DELETE FROM @.withdrawals WHERE title = (SELECT max(title) FROM @.withdrawals)",
				"one too many":      "INSERT INTO @.withdrawals (title, country, from_) SELECT title, 'XX', from_ FROM @.withdrawals LIMIT 1",
				"an unknown title":  "INSERT INTO @.withdrawals (title, country, from_) SELECT 'tt0000001', country, from_ FROM @.withdrawals LIMIT 1",
			})}
		})
	})
}

// harms change the database by SQL.
func harms(s *store, texts map[string]string) map[string]func(t testing.TB) {
	all := map[string]func(t testing.TB){}
	for name, text := range texts {
		all[name] = func(t testing.TB) {
			t.Helper()
			tag, err := s.db.write.Exec(t.Context(), s.in(text))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if tag.RowsAffected() == 0 {
				t.Fatalf("%s changes nothing", name)
			}
		}
	}
	return all
}
