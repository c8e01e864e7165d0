package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/codec/sample"
	"carryon/infra/sqlite"
)

// BenchmarkClaimAgainstBareRows claims entries of 64 commands, and inserts the same events as rows into a plain table, 64
// rows in a transaction, with the same driver and pragmas, taking turns in one run. Both sync each commit.
func BenchmarkClaimAgainstBareRows(b *testing.B) {
	for name, table := range map[string]string{
		"rows without an index":                          bareTable,
		"rows with an index, as needed to read a stream": bareTable + `; CREATE UNIQUE INDEX stream_seq ON event (stream, seq)`,
	} {
		b.Run(name, func(b *testing.B) {
			s, bare := newLog(b), newBare(b, table)
			source := sample.NewSource(1, 20_000, 1)
			var rows []domain.Event
			var events int
			var claiming, inserting time.Duration
			for b.Loop() {
				e := source.Next(64)
				started := time.Now()
				claim(b, s, e)
				claiming += time.Since(started)
				events += len(e.Events)

				rows = append(rows, e.Events...)
				for len(rows) >= 64 {
					started := time.Now()
					bare.insert(b, rows[:64])
					inserting += time.Since(started)
					rows = rows[64:]
				}
			}
			claimed := float64(events) / claiming.Seconds()
			inserted := float64(events-len(rows)) / inserting.Seconds()
			b.ReportMetric(claimed, "claimed-events/s")
			b.ReportMetric(inserted, "bare-rows/s")
			b.ReportMetric(claimed/inserted, "ratio")
			b.ReportMetric(float64(claiming.Microseconds())/float64(b.N), "µs/claim")
			b.ReportMetric(0, "ns/op")
		})
	}
}

const bareTable = `CREATE TABLE event (
	id TEXT, stream TEXT, seq INTEGER, shard INTEGER, entry INTEGER, place INTEGER, previous_entry INTEGER, previous_place INTEGER, type TEXT,
	schema_version INTEGER, occurred_at INTEGER, recorded_at INTEGER, command_id TEXT, request_hash TEXT, correlation TEXT, causation TEXT,
	actor TEXT, role TEXT, policy INTEGER, plan INTEGER, device_types INTEGER, catalogue TEXT, reference INTEGER, payload BLOB)`

type bare struct {
	conn *sql.Conn
	stmt *sql.Stmt
}

func newBare(b *testing.B, table string) *bare {
	file, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "bare.db"), sqlite.FileConfig{
		ApplicationID: 1, Version: 1, Durability: sqlite.Full,
		Migrate: func(ctx context.Context, tx *sql.Tx, _ int) error { _, err := tx.ExecContext(ctx, table); return err },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { file.Close() })
	conn, err := file.Writer.Conn(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	stmt, err := conn.PrepareContext(context.Background(), `INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`)
	if err != nil {
		b.Fatal(err)
	}
	return &bare{conn, stmt}
}

// insert runs one transaction. Its context can't end, so that the driver watches nothing.
func (r *bare) insert(b *testing.B, events []domain.Event) {
	ctx := context.Background()
	tx, err := r.conn.BeginTx(ctx, nil)
	if err != nil {
		b.Fatal(err)
	}
	stmt := tx.StmtContext(ctx, r.stmt)
	for i := range events {
		e := &events[i]
		_, err := stmt.ExecContext(ctx, e.ID, string(e.Stream), int64(e.Seq), e.Position.Shard, int64(e.Position.Index), e.Position.Place,
			int64(e.Previous.Index), e.Previous.Place, e.Type, e.SchemaVersion, e.OccurredAt.UnixMicro(), e.RecordedAt.UnixMicro(), e.CommandID, e.RequestHash,
			e.Correlation, e.Causation, e.Actor.ID, string(e.Actor.Role), e.Versions.Policy, e.Versions.Plan, e.Versions.DeviceTypes, e.Versions.Catalogue,
			int64(e.Versions.Reference), []byte(e.Payload))
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkReadStream reads the last 100 events of customers of a store with many, as loading a customer without a
// snapshot does.
func BenchmarkReadStream(b *testing.B) {
	s := newLog(b)
	source := sample.NewSource(1, 500, 1)
	newest := map[domain.StreamID]uint64{}
	for range 1000 {
		e := source.Next(64)
		claim(b, s, e)
		for i := range e.Events {
			newest[e.Events[i].Stream] = e.Events[i].Seq
		}
	}
	var streams []domain.StreamID
	for stream := range newest {
		streams = append(streams, stream)
	}
	events, n := 0, 0
	for b.Loop() {
		stream := streams[n%len(streams)]
		n++
		page, err := s.ReadStream(b.Context(), stream, newest[stream]-99, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		events += len(page)
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkRead reads the log from its beginning, as a projector that starts anew does.
func BenchmarkRead(b *testing.B) {
	s := newLog(b)
	source := sample.NewSource(1, 5000, 1)
	for range 500 {
		claim(b, s, source.Next(64))
	}
	events, from := 0, uint64(1)
	for b.Loop() {
		page, err := s.Read(b.Context(), 1, from, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		for i := range page {
			events += len(page[i].Events)
		}
		if from += uint64(len(page)); len(page) == 0 {
			from = 1
		}
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkLookups are what loading a customer costs at the least.
func BenchmarkLookups(b *testing.B) {
	s := newLog(b)
	source := sample.NewSource(1, 5000, 1)
	for range 100 {
		claim(b, s, source.Next(64))
	}
	for name, look := range map[string]func() error{
		"a stream without events":    func() error { _, err := s.ReadStream(b.Context(), "customer/new", 1, 1<<20); return err },
		"a stream without snapshot":  func() error { _, _, err := s.LoadSnapshot(b.Context(), "customer/new"); return err },
		"the head":                   func() error { _, err := s.Head(b.Context(), 1); return err },
		"the tail, nothing after it": func() error { _, err := s.Read(b.Context(), 1, 101, 1<<20); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := look(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
