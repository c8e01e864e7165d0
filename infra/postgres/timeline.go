package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/infra/compact"
	"carryon/projector"
	"carryon/query"
)

// Timeline keeps the timeline: what filters read in columns, the rest of each event packed.
type Timeline struct {
	*store
	projector.ByStream
}

var (
	_ projector.Store[projector.TimelineTx] = (*Timeline)(nil)
	_ query.TimelineModel                   = (*Timeline)(nil)
)

var timelineDesign = designOf("timeline", 1)

// Timeline is a generation of the timeline.
func (db *DB) Timeline(generation int) *Timeline {
	return &Timeline{store: newStore(db, timelineDesign, generation)}
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

var addEvents = inserting("events", "", "stream text", "seq bigint", "shard int", "entry bigint", "place int", "recorded_at bigint",
	"decision bigint", "command bigint", "correlation bigint", "type text", "actor text", "role text", "device text", "title text", "license text", "packed bytea")

// AddTimeline adds rows.
func (t timelineTx) AddTimeline(ctx context.Context, rows []projector.TimelineRow) error {
	type row = projector.TimelineRow
	packed := make([][]byte, len(rows))
	for i := range rows {
		var err error
		if packed[i], err = compact.Event(rows[i].Event); err != nil {
			return &projector.PoisonError{Event: rows[i].Event, Err: err}
		}
	}
	return t.write(ctx, addEvents,
		columnOf(rows, func(r *row) string { return string(r.Event.Stream) }),
		columnOf(rows, func(r *row) int64 { return int64(r.Event.Seq) }),
		columnOf(rows, func(r *row) int32 { return int32(r.Event.Position.Shard) }),
		columnOf(rows, func(r *row) int64 { return int64(r.Event.Position.Index) }),
		columnOf(rows, func(r *row) int32 { return int32(r.Event.Position.Place) }),
		columnOf(rows, func(r *row) int64 { return micros(r.Event.RecordedAt) }),
		columnOf(rows, func(r *row) *int64 { return refsOf(r).decision }),
		columnOf(rows, func(r *row) *int64 { return refsOf(r).command }),
		columnOf(rows, func(r *row) *int64 { return refsOf(r).correlation }),
		columnOf(rows, func(r *row) string { return r.Event.Type }),
		columnOf(rows, func(r *row) string { return r.Event.Actor.ID }),
		columnOf(rows, func(r *row) string { return string(r.Event.Actor.Role) }),
		columnOf(rows, func(r *row) string { return r.DeviceID }),
		columnOf(rows, func(r *row) string { return r.TitleID }),
		columnOf(rows, func(r *row) string { return r.LicenseID }),
		packed)
}

// refs are the ids that lead to an event, as hashes; nil: none.
type refs struct{ decision, command, correlation *int64 }

func refsOf(r *projector.TimelineRow) refs {
	f := refs{decision: hashOrNull(r.DecisionID)}
	if r.Opens {
		f.command = hashOrNull(r.Event.CommandID)
		if r.Event.Correlation != r.Event.CommandID {
			f.correlation = hashOrNull(r.Event.Correlation)
		}
	}
	return f
}

func hashOf(id string) int64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return int64(h.Sum64())
}

func hashOrNull(id string) *int64 {
	if id == "" {
		return nil
	}
	h := hashOf(id)
	return &h
}

// StreamVersion is how far the model is with a customer.
func (s *Timeline) StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error) {
	return s.streamVersion(ctx, "streams", stream)
}

const eventColumns = "stream, shard, seq, recorded_at, type, actor, role, entry, place, packed"

// scanEvent scans eventColumns, and what stands behind them into more.
func scanEvent(r pgx.Rows, more ...any) (*domain.Event, error) {
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

func (s *Timeline) events(ctx context.Context, text string, args ...any) ([]*domain.Event, error) {
	var events []*domain.Event
	err := s.each(ctx, text, args, func(r pgx.Rows) error {
		e, err := scanEvent(r)
		events = append(events, e)
		return err
	})
	return events, err
}

// TimelinePage returns events of one customer in the order asked for: see query.TimelineModel.
func (s *Timeline) TimelinePage(ctx context.Context, q query.TimelinePage) (query.TimelineRows, error) {
	stream := domain.CustomerStream(q.Customer)
	rows := query.TimelineRows{Version: projector.StreamVersion{Stream: stream}}
	var w where
	w.compare("stream", "=", string(stream))
	w.in("type", q.Type)
	w.equal("device", q.DeviceID)
	w.equal("title", q.TitleID)
	w.equal("license", q.LicenseID)
	w.equal("actor", q.Actor)
	w.between("recorded_at", q.From, q.To)
	order := w.after(q.AfterSeq, q.Oldest)
	text := "SELECT " + eventColumns + " FROM @.events WHERE " + w.text() + " ORDER BY stream " + order + ", seq " + order + " LIMIT " + w.arg(q.Limit)
	err := s.together(ctx, // the version before the page, so that the page shows at least that
		versionOf("streams", &rows.Version),
		lookup{text, w.args, func(r pgx.Rows) error {
			e, err := scanEvent(r)
			rows.Events = append(rows.Events, e)
			return err
		}})
	return rows, err
}

// EventsByRef returns the events whose decision, command or request has the id, oldest first, at most limit.
func (s *Timeline) EventsByRef(ctx context.Context, id string, limit int) ([]*domain.Event, error) {
	events, err := s.events(ctx, "SELECT "+eventColumns+` FROM @.events WHERE decision = $1 OR command = $1 OR correlation = $1
		ORDER BY recorded_at, stream, seq LIMIT $2`, hashOf(id), limit)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", strings.ToValidUTF8(id, "?"), err)
	}
	return events, nil
}

// EventsAfter returns events of all customers, in order of stream and seq: see query.TimelineModel.
func (s *Timeline) EventsAfter(ctx context.Context, q query.ExportAsked) ([]*domain.Event, error) {
	var w where
	w.in("type", q.Filter.Type)
	w.in("device", q.Filter.DeviceID)
	w.in("title", q.Filter.TitleID)
	w.in("license", q.Filter.LicenseID)
	w.in("actor", q.Filter.Actor)
	w.in("role", q.Filter.Role)
	w.between("recorded_at", q.Filter.From, q.Filter.To)
	w.behind(q)
	return s.events(ctx, "SELECT "+eventColumns+" FROM @.events WHERE "+w.text()+" ORDER BY stream, seq LIMIT "+w.arg(q.Limit), w.args...)
}
