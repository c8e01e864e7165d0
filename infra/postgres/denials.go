package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/infra/compact"
	"carryon/projector"
	"carryon/query"
)

// Denials keeps the refusals.
type Denials struct {
	*store
	projector.ByStream
}

var (
	_ projector.Store[projector.DenialsTx] = (*Denials)(nil)
	_ query.DenialsModel                   = (*Denials)(nil)
)

var denialsDesign = designOf("denials", 1)

// Denials is a generation of the denials.
func (db *DB) Denials(generation int) *Denials {
	return &Denials{store: newStore(db, denialsDesign, generation)}
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

var addDenials = inserting("denials", "", "stream text", "seq bigint", "recorded_at bigint", "shard int", "entry bigint", "place int",
	"actor text", "role text", "command text", "code text", "rule text", "scope_kind text", "scope_id text",
	"used bigint", "limit_ bigint", "resets_at bigint", "device text", "device_type text", "title text", "title_name text", "series text",
	"season int", "episode int", "studio text", "license text", "decision_id text", "decision bytea")

// AddDenials adds rows.
func (t denialsTx) AddDenials(ctx context.Context, rows []projector.DenialRow) error {
	type row = projector.DenialRow
	return t.write(ctx, addDenials,
		columnOf(rows, func(r *row) string { return string(domain.CustomerStream(r.Customer)) }),
		columnOf(rows, func(r *row) int64 { return int64(r.Seq) }),
		columnOf(rows, func(r *row) int64 { return micros(r.RecordedAt) }),
		columnOf(rows, func(r *row) int32 { return int32(r.Position.Shard) }),
		columnOf(rows, func(r *row) int64 { return int64(r.Position.Index) }),
		columnOf(rows, func(r *row) int32 { return int32(r.Position.Place) }),
		columnOf(rows, func(r *row) string { return r.Actor.ID }),
		columnOf(rows, func(r *row) string { return string(r.Actor.Role) }),
		columnOf(rows, func(r *row) string { return r.Command }),
		columnOf(rows, func(r *row) string { return r.Code }),
		columnOf(rows, func(r *row) string { return r.Rule }),
		columnOf(rows, func(r *row) string { return r.Scope.Kind }),
		columnOf(rows, func(r *row) string { return r.Scope.ID }),
		columnOf(rows, func(r *row) *int64 { return r.Used }),
		columnOf(rows, func(r *row) *int64 { return r.Limit }),
		columnOf(rows, func(r *row) *int64 { return microsOrNull(r.ResetsAt) }),
		columnOf(rows, func(r *row) string { return r.DeviceID }),
		columnOf(rows, func(r *row) string { return r.DeviceType }),
		columnOf(rows, func(r *row) string { return r.TitleID }),
		columnOf(rows, func(r *row) string { return r.TitleName }),
		columnOf(rows, func(r *row) string { return r.Series }),
		columnOf(rows, func(r *row) int32 { return int32(r.Season) }),
		columnOf(rows, func(r *row) int32 { return int32(r.Episode) }),
		columnOf(rows, func(r *row) string { return r.Studio }),
		columnOf(rows, func(r *row) string { return r.LicenseID }),
		columnOf(rows, func(r *row) string { return r.DecisionID }),
		columnOf(rows, func(r *row) []byte { return compact.Pack(r.Decision) }))
}

// StreamVersion is how far the model is with a customer.
func (s *Denials) StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error) {
	return s.streamVersion(ctx, "streams", stream)
}

const denialColumns = `stream, shard, seq, recorded_at, entry, place, actor, role, command, code, rule, scope_kind, scope_id,
	used, limit_, resets_at, device, device_type, title, title_name, series, season, episode, studio, license, decision_id, decision`

func scanDenial(rows pgx.Rows) (projector.DenialRow, error) {
	var r projector.DenialRow
	var stream domain.StreamID
	var recorded int64
	var resets *int64
	var packed []byte
	err := rows.Scan(&stream, &r.Position.Shard, &r.Seq, &recorded, &r.Position.Index, &r.Position.Place, &r.Actor.ID, &r.Actor.Role,
		&r.Command, &r.Code, &r.Rule, &r.Scope.Kind, &r.Scope.ID, &r.Used, &r.Limit, &resets, &r.DeviceID, &r.DeviceType, &r.TitleID,
		&r.TitleName, &r.Series, &r.Season, &r.Episode, &r.Studio, &r.LicenseID, &r.DecisionID, &packed)
	if err != nil {
		return r, err
	}
	r.Customer, r.RecordedAt, r.ResetsAt = stream.ID(), fromMicros(recorded), fromMicrosOrNull(resets)
	if r.Decision, err = compact.Unpack(packed); err != nil {
		return r, projector.Unreadable(fmt.Errorf("unpack decision %s: %w", r.DecisionID, err))
	}
	return r, nil
}

// DenialsPage returns refusals of one customer in the order asked for: see query.DenialsModel.
func (s *Denials) DenialsPage(ctx context.Context, q query.DenialsPage) ([]projector.DenialRow, error) {
	var w where
	w.compare("stream", "=", string(domain.CustomerStream(q.Customer)))
	w.in("code", q.Code)
	w.equal("device", q.DeviceID)
	w.equal("title", q.TitleID)
	w.between("recorded_at", q.From, q.To)
	order := w.after(q.AfterSeq, q.Oldest)
	return s.denials(ctx, "SELECT "+denialColumns+" FROM @.denials WHERE "+w.text()+" ORDER BY stream "+order+", seq "+order+" LIMIT "+w.arg(q.Limit), w.args...)
}

// DenialsAfter returns refusals of all customers, in order of stream and seq: see query.DenialsModel.
func (s *Denials) DenialsAfter(ctx context.Context, q query.ExportAsked) ([]projector.DenialRow, error) {
	var w where
	w.in("code", q.Filter.Code)
	w.in("device", q.Filter.DeviceID)
	w.in("title", q.Filter.TitleID)
	w.in("studio", q.Filter.Studio)
	w.between("recorded_at", q.Filter.From, q.Filter.To)
	w.behind(q)
	return s.denials(ctx, "SELECT "+denialColumns+" FROM @.denials WHERE "+w.text()+" ORDER BY stream, seq LIMIT "+w.arg(q.Limit), w.args...)
}

func (s *Denials) denials(ctx context.Context, text string, args ...any) ([]projector.DenialRow, error) {
	var denials []projector.DenialRow
	err := s.each(ctx, text, args, func(rows pgx.Rows) error {
		r, err := scanDenial(rows)
		denials = append(denials, r)
		return err
	})
	return denials, err
}
