package readmodel

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	"carryon/domain"
	"carryon/infra/compact"
	"carryon/projector"
	"carryon/query"
)

// Rows lie by customer and seq, so that a customer's history is one stretch of the file, with all that filters read.
// The event itself lies beside them, packed, in the order of arrival.
var timelineSchema = schema{Model: "timeline", Version: 2, Tables: streamTable + `
CREATE TABLE events (
	stream INTEGER NOT NULL, seq INTEGER NOT NULL, recorded_at INTEGER NOT NULL, type TEXT NOT NULL,
	actor TEXT NOT NULL, role TEXT NOT NULL, device TEXT NOT NULL, title TEXT NOT NULL, license TEXT NOT NULL,
	entry INTEGER NOT NULL, place INTEGER NOT NULL, body INTEGER NOT NULL,
	PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
CREATE TABLE bodies (id INTEGER PRIMARY KEY, packed BLOB NOT NULL);
-- A decision's, command's or request's id, hashed to 64 bits, leads to where it stands; the row itself is compared.
CREATE TABLE refs (hash INTEGER NOT NULL, stream INTEGER NOT NULL, seq INTEGER NOT NULL);
`, Indexes: `
CREATE INDEX IF NOT EXISTS refs_hash ON refs (hash, stream, seq);
`}

// Timeline keeps the timeline.
type Timeline struct {
	*file
	projector.ByStream
}

var (
	_ projector.Store[projector.TimelineTx] = (*Timeline)(nil)
	_ query.TimelineModel                   = (*Timeline)(nil)
)

// OpenTimeline opens or makes the timeline's file.
func OpenTimeline(ctx context.Context, path string) (*Timeline, error) {
	f, err := openFile(ctx, path, timelineSchema)
	if err != nil {
		return nil, err
	}
	return &Timeline{file: f}, nil
}

// Begin opens a transaction: see projector.Store.
func (s *Timeline) Begin(ctx context.Context, shard int) (projector.TimelineTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return timelineTx{t}, nil
}

type timelineTx struct{ *tx }

// bodyBits number the events of one shard.
const bodyBits = 48

var (
	insertEvent = many{Head: "INSERT OR ROLLBACK INTO events (stream, seq, recorded_at, type, actor, role, device, title, license, entry, place, body) VALUES", Cols: 12}
	insertBody  = many{Head: "INSERT OR ROLLBACK INTO bodies (id, packed) VALUES", Cols: 2}
	insertRef   = many{Head: "INSERT OR ROLLBACK INTO refs (hash, stream, seq) VALUES", Cols: 3}
)

// AddTimeline adds rows.
func (t timelineTx) AddTimeline(ctx context.Context, rows []projector.TimelineRow) error {
	packing := pack(rows)
	defer packing.group.Wait()
	streams := make([]domain.StreamID, len(rows))
	for i := range rows {
		streams[i] = rows[i].Event.Stream
	}
	numbers, err := t.numbersOf(ctx, streams)
	if err != nil {
		return err
	}
	number := make([]int64, len(rows)) // of the stream of each row
	for i, stream := range streams {
		number[i] = numbers[stream]
	}
	var body int64
	first := int64(t.shard) << bodyBits // each shard has numbers of its own: several may be written at once
	if _, err := t.one(ctx, "SELECT coalesce(max(id), ?) FROM bodies WHERE id >= ? AND id < ?", []any{first, first, first + 1<<bodyBits}, &body); err != nil {
		return err
	}
	byKey := func(i, j int) int {
		return cmp.Or(cmp.Compare(number[i], number[j]), cmp.Compare(rows[i].Event.Seq, rows[j].Event.Seq))
	}
	err = t.writeInOrder(ctx, insertEvent, len(rows), byKey, func(i int, args []any) []any {
		r, e := &rows[i], rows[i].Event
		return append(args, number[i], int64(e.Seq), micros(e.RecordedAt), e.Type, e.Actor.ID, string(e.Actor.Role),
			r.DeviceID, r.TitleID, r.LicenseID, int64(e.Position.Index), e.Position.Place, body+1+int64(i))
	})
	if err != nil {
		return err
	}
	if err := t.addRefs(ctx, rows, number); err != nil {
		return err
	}
	packed, err := packing.wait()
	if err != nil {
		return err
	}
	return t.write(ctx, insertBody, len(rows), func(i int, args []any) []any { return append(args, body+1+int64(i), packed[i]) })
}

// packing packs the events of rows beside other work. Who begins it waits for it.
type packing struct {
	group  sync.WaitGroup
	packed [][]byte
	err    error
}

func pack(rows []projector.TimelineRow) *packing {
	p := &packing{packed: make([][]byte, len(rows))}
	p.group.Go(func() {
		for i := range rows {
			var err error
			if p.packed[i], err = packEvent(rows[i].Event); err != nil {
				p.err = &projector.PoisonError{Event: rows[i].Event, Err: err}
				return
			}
		}
	})
	return p
}

// packEvent turns a panic into an error: nobody else does, beside the consumer's work.
func packEvent(e *domain.Event) (packed []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return compact.Event(e)
}

func (p *packing) wait() ([][]byte, error) {
	p.group.Wait()
	return p.packed, p.err
}

type ref struct {
	hash   int64
	stream int64
	seq    int64
}

func (t timelineTx) addRefs(ctx context.Context, rows []projector.TimelineRow, number []int64) error {
	refs := make([]ref, 0, 2*len(rows))
	for i := range rows {
		r, e := &rows[i], rows[i].Event
		add := func(id string) {
			if id != "" {
				refs = append(refs, ref{hashOf(id), number[i], int64(e.Seq)})
			}
		}
		add(r.DecisionID)
		if r.Opens {
			add(e.CommandID)
			if e.Correlation != e.CommandID {
				add(e.Correlation)
			}
		}
	}
	slices.SortFunc(refs, func(a, b ref) int { return cmp.Compare(a.hash, b.hash) }) // for the index
	return t.write(ctx, insertRef, len(refs), func(i int, args []any) []any { return append(args, refs[i].hash, refs[i].stream, refs[i].seq) })
}

func hashOf(id string) int64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return int64(h.Sum64())
}

const timelineColumns = "s.stream, s.shard, e.seq, e.recorded_at, e.type, e.actor, e.role, e.entry, e.place, b.packed"

// scanEvent scans timelineColumns, and what stands behind them into more.
func scanEvent(r *sql.Rows, more ...any) (*domain.Event, error) {
	var e domain.Event
	var recorded int64
	var packed []byte
	into := []any{&e.Stream, &e.Position.Shard, &e.Seq, &recorded, &e.Type, &e.Actor.ID, &e.Actor.Role, &e.Position.Index, &e.Position.Place, &packed}
	if err := r.Scan(append(into, more...)...); err != nil {
		return nil, err
	}
	e.RecordedAt = fromMicros(recorded)
	return &e, projector.Unreadable(compact.UnpackEvent(&e, packed))
}

// TimelinePage returns events of one customer in the order asked for: see query.TimelineModel.
func (s *Timeline) TimelinePage(ctx context.Context, q query.TimelinePage) (rows query.TimelineRows, err error) {
	// Before the page, so that the page shows at least this.
	if rows.Version, err = s.StreamVersion(ctx, domain.CustomerStream(q.Customer)); err != nil {
		return rows, err
	}
	var w where
	w.add("e.stream = (SELECT id FROM streams WHERE stream = ?)", domain.CustomerStream(q.Customer))
	w.in("e.type", q.Type)
	w.equal("e.device", q.DeviceID)
	w.equal("e.title", q.TitleID)
	w.equal("e.license", q.LicenseID)
	w.equal("e.actor", q.Actor)
	w.between("e.recorded_at", q.From, q.To)
	order := w.after("e.seq", q.AfterSeq, q.Oldest)
	text := "SELECT " + timelineColumns + " FROM (SELECT * FROM events e WHERE " + w.text() + " ORDER BY e.stream " + order + ", e.seq " + order + " LIMIT ?) e" +
		" JOIN streams s ON s.id = e.stream JOIN bodies b ON b.id = e.body ORDER BY e.seq " + order
	err = s.each(ctx, text, append(w.args, q.Limit), func(r *sql.Rows) error {
		e, err := scanEvent(r)
		rows.Events = append(rows.Events, e)
		return err
	})
	return rows, err
}

// EventsByRef returns the events whose decision, command or request has the id, oldest first, at most limit. What leads
// to an event stands there again after each time that the event was mended.
func (s *Timeline) EventsByRef(ctx context.Context, id string, limit int) ([]*domain.Event, error) {
	var events []*domain.Event
	err := s.each(ctx, "SELECT "+timelineColumns+` FROM (SELECT DISTINCT stream, seq FROM refs WHERE hash = ?) r JOIN events e ON e.stream = r.stream AND e.seq = r.seq
		JOIN streams s ON s.id = e.stream JOIN bodies b ON b.id = e.body ORDER BY e.recorded_at, e.stream, e.seq LIMIT ?`,
		[]any{hashOf(id), limit}, func(r *sql.Rows) error {
			e, err := scanEvent(r)
			if err != nil {
				return err
			}
			events = append(events, e)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", strings.ToValidUTF8(id, "?"), err)
	}
	return events, nil
}

// EventsAfter returns events of all customers, in order of stream and seq: see query.TimelineModel.
func (s *Timeline) EventsAfter(ctx context.Context, q query.ExportAsked) ([]*domain.Event, error) {
	var w where
	w.in("e.type", q.Filter.Type)
	w.in("e.device", q.Filter.DeviceID)
	w.in("e.title", q.Filter.TitleID)
	w.in("e.license", q.Filter.LicenseID)
	w.in("e.actor", q.Filter.Actor)
	w.in("e.role", q.Filter.Role)
	w.between("e.recorded_at", q.Filter.From, q.Filter.To)
	w.behind(q, "e")
	var events []*domain.Event
	err := s.each(ctx, "SELECT "+timelineColumns+" FROM streams s CROSS JOIN events e ON e.stream = s.id JOIN bodies b ON b.id = e.body WHERE "+
		w.text()+" ORDER BY s.stream, e.seq LIMIT ?", append(w.args, q.Limit), func(r *sql.Rows) error {
		e, err := scanEvent(r)
		events = append(events, e)
		return err
	})
	return events, err
}
