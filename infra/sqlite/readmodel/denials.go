package readmodel

import (
	"context"
	"database/sql"
	"fmt"

	"carryon/domain"
	"carryon/infra/compact"
	"carryon/projector"
	"carryon/query"
)

// Rows lie by customer and seq: a customer's refusals are one stretch of the file.
var denialsSchema = schema{Model: "denials", Version: 1, Tables: streamTable + `
CREATE TABLE denials (
	stream INTEGER NOT NULL, seq INTEGER NOT NULL, recorded_at INTEGER NOT NULL, entry INTEGER NOT NULL, place INTEGER NOT NULL,
	actor TEXT NOT NULL, role TEXT NOT NULL, command TEXT NOT NULL, code TEXT NOT NULL, rule TEXT NOT NULL,
	scope_kind TEXT NOT NULL, scope_id TEXT NOT NULL, used INTEGER, limit_ INTEGER, resets_at INTEGER,
	device TEXT NOT NULL, device_type TEXT NOT NULL, title TEXT NOT NULL, title_name TEXT NOT NULL, series TEXT NOT NULL,
	season INTEGER NOT NULL, episode INTEGER NOT NULL, studio TEXT NOT NULL, license TEXT NOT NULL,
	decision_id TEXT NOT NULL, decision BLOB NOT NULL,
	PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
`}

// Denials keeps the refusals.
type Denials struct {
	*file
	projector.ByStream
}

var (
	_ projector.Store[projector.DenialsTx] = (*Denials)(nil)
	_ query.DenialsModel                   = (*Denials)(nil)
)

// OpenDenials opens or makes the file of the denials.
func OpenDenials(ctx context.Context, path string) (*Denials, error) {
	f, err := openFile(ctx, path, denialsSchema)
	if err != nil {
		return nil, err
	}
	return &Denials{file: f}, nil
}

// Begin opens a transaction: see projector.Store.
func (s *Denials) Begin(ctx context.Context, shard int) (projector.DenialsTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return denialsTx{t}, nil
}

type denialsTx struct{ *tx }

// SetVersions says how far the model is with the streams.
func (t denialsTx) SetVersions(ctx context.Context, versions []projector.StreamVersion) error {
	return t.setVersions(ctx, versions)
}

var insertDenial = many{Head: `INSERT INTO denials (stream, seq, recorded_at, entry, place, actor, role, command, code, rule, scope_kind, scope_id,
	used, limit_, resets_at, device, device_type, title, title_name, series, season, episode, studio, license, decision_id, decision) VALUES`, Cols: 26}

// AddDenials adds rows.
func (t denialsTx) AddDenials(ctx context.Context, rows []projector.DenialRow) error {
	streams := make([]domain.StreamID, len(rows))
	packed := make([][]byte, len(rows))
	for i := range rows {
		streams[i] = domain.CustomerStream(rows[i].Customer)
		packed[i] = compact.Pack(rows[i].Decision)
	}
	numbers, err := t.numbersOf(ctx, streams)
	if err != nil {
		return err
	}
	return t.write(ctx, insertDenial, len(rows), func(i int, args []any) []any {
		r := &rows[i]
		return append(args, numbers[streams[i]], int64(r.Seq), micros(r.RecordedAt), int64(r.Position.Index), r.Position.Place,
			r.Actor.ID, string(r.Actor.Role), r.Command, r.Code, r.Rule, r.Scope.Kind, r.Scope.ID,
			intOrNull(r.Used), intOrNull(r.Limit), microsOrNull(r.ResetsAt), r.DeviceID, r.DeviceType, r.TitleID, r.TitleName,
			r.Series, r.Season, r.Episode, r.Studio, r.LicenseID, r.DecisionID, packed[i])
	})
}

func intOrNull(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}

const denialColumns = `s.stream, s.shard, d.seq, d.recorded_at, d.entry, d.place, d.actor, d.role, d.command, d.code, d.rule, d.scope_kind, d.scope_id,
	d.used, d.limit_, d.resets_at, d.device, d.device_type, d.title, d.title_name, d.series, d.season, d.episode, d.studio, d.license, d.decision_id, d.decision`

func scanDenial(rows *sql.Rows) (projector.DenialRow, error) {
	var r projector.DenialRow
	var stream domain.StreamID
	var recorded int64
	var used, limit, resets sql.NullInt64
	var packed []byte
	err := rows.Scan(&stream, &r.Position.Shard, &r.Seq, &recorded, &r.Position.Index, &r.Position.Place, &r.Actor.ID, &r.Actor.Role,
		&r.Command, &r.Code, &r.Rule, &r.Scope.Kind, &r.Scope.ID, &used, &limit, &resets, &r.DeviceID, &r.DeviceType, &r.TitleID,
		&r.TitleName, &r.Series, &r.Season, &r.Episode, &r.Studio, &r.LicenseID, &r.DecisionID, &packed)
	if err != nil {
		return r, err
	}
	r.Customer, r.RecordedAt, r.ResetsAt = stream.ID(), fromMicros(recorded), fromNullMicros(resets)
	if used.Valid {
		r.Used = &used.Int64
	}
	if limit.Valid {
		r.Limit = &limit.Int64
	}
	if r.Decision, err = compact.Unpack(packed); err != nil {
		return r, projector.Unreadable(fmt.Errorf("unpack decision %s: %w", r.DecisionID, err))
	}
	return r, nil
}

// DenialsPage returns refusals of one customer in the order asked for: see query.DenialsModel.
func (s *Denials) DenialsPage(ctx context.Context, q query.DenialsPage) ([]projector.DenialRow, error) {
	var w where
	w.add("d.stream = (SELECT id FROM streams WHERE stream = ?)", domain.CustomerStream(q.Customer))
	w.in("d.code", q.Code)
	w.equal("d.device", q.DeviceID)
	w.equal("d.title", q.TitleID)
	w.between("d.recorded_at", q.From, q.To)
	order := w.after("d.seq", q.AfterSeq, q.Oldest)
	var denials []projector.DenialRow
	err := s.each(ctx, "SELECT "+denialColumns+" FROM denials d JOIN streams s ON s.id = d.stream WHERE "+w.text()+
		" ORDER BY d.stream "+order+", d.seq "+order+" LIMIT ?", append(w.args, q.Limit), func(rows *sql.Rows) error {
		r, err := scanDenial(rows)
		denials = append(denials, r)
		return err
	})
	return denials, err
}

// DenialsAfter returns refusals of all customers, in order of stream and seq: see query.DenialsModel.
func (s *Denials) DenialsAfter(ctx context.Context, q query.ExportAsked) ([]projector.DenialRow, error) {
	var w where
	w.in("d.code", q.Filter.Code)
	w.in("d.device", q.Filter.DeviceID)
	w.in("d.title", q.Filter.TitleID)
	w.in("d.studio", q.Filter.Studio)
	w.between("d.recorded_at", q.Filter.From, q.Filter.To)
	w.behind(q, "d")
	var denials []projector.DenialRow
	err := s.each(ctx, "SELECT "+denialColumns+" FROM streams s CROSS JOIN denials d ON d.stream = s.id WHERE "+w.text()+" ORDER BY s.stream, d.seq LIMIT ?",
		append(w.args, q.Limit), func(rows *sql.Rows) error {
			r, err := scanDenial(rows)
			denials = append(denials, r)
			return err
		})
	return denials, err
}
