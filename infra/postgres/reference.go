package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// Reference keeps what was decided for everyone.
type Reference struct {
	*store
	projector.ByStream
}

var (
	_ projector.Store[projector.ReferenceTx] = (*Reference)(nil)
	_ query.ReferenceModel                   = (*Reference)(nil)
)

var referenceDesign = designOf("reference", 1)

// Reference is a generation of the reference model.
func (db *DB) Reference(generation int) *Reference {
	return &Reference{store: newStore(db, referenceDesign, generation)}
}

// Begin opens a transaction: see projector.Store.
func (s *Reference) Begin(ctx context.Context, shard int) (projector.ReferenceTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return referenceTx{t}, nil
}

type referenceTx struct{ *tx }

var addPolicies = replacing("policies", "policy, version", "policy text", "version int", "effective_from bigint", "document bytea", "recorded_at bigint",
	"actor text", "role text", "shard int", "entry bigint", "place int")

type documentVersion struct {
	policy  string
	version int
}

// AddPolicies adds versions of policy documents.
func (t referenceTx) AddPolicies(ctx context.Context, rows []projector.PolicyRow) error {
	type row = projector.PolicyRow
	rows = lastOfEach(rows, func(r *row) documentVersion { return documentVersion{r.Policy, r.Version} })
	return t.write(ctx, addPolicies,
		columnOf(rows, func(r *row) string { return r.Policy }),
		columnOf(rows, func(r *row) int32 { return int32(r.Version) }),
		columnOf(rows, func(r *row) int64 { return micros(r.EffectiveFrom) }),
		columnOf(rows, func(r *row) []byte { return r.Document }),
		columnOf(rows, func(r *row) int64 { return micros(r.RecordedAt) }),
		columnOf(rows, func(r *row) string { return r.Actor.ID }),
		columnOf(rows, func(r *row) string { return string(r.Actor.Role) }),
		columnOf(rows, func(r *row) int32 { return int32(r.Position.Shard) }),
		columnOf(rows, func(r *row) int64 { return int64(r.Position.Index) }),
		columnOf(rows, func(r *row) int32 { return int32(r.Position.Place) }))
}

var addWithdrawals = replacing("withdrawals", "shard, entry, place", "shard int", "entry bigint", "place int", "title text", "countries text", "from_ bigint", "recorded_at bigint")

// AddWithdrawals adds withdrawals of titles.
func (t referenceTx) AddWithdrawals(ctx context.Context, rows []projector.WithdrawalRow) error {
	type row = projector.WithdrawalRow
	countries := make([]string, len(rows))
	for i := range rows {
		data, err := json.Marshal(rows[i].Countries)
		if err != nil {
			return err
		}
		countries[i] = string(data)
	}
	return t.write(ctx, addWithdrawals,
		columnOf(rows, func(r *row) int32 { return int32(r.Position.Shard) }),
		columnOf(rows, func(r *row) int64 { return int64(r.Position.Index) }),
		columnOf(rows, func(r *row) int32 { return int32(r.Position.Place) }),
		columnOf(rows, func(r *row) string { return r.TitleID }), countries,
		columnOf(rows, func(r *row) int64 { return micros(r.From) }),
		columnOf(rows, func(r *row) int64 { return micros(r.RecordedAt) }))
}

// Policies are all published versions, in order of document and version.
func (s *Reference) Policies(ctx context.Context) ([]projector.PolicyRow, error) {
	var all []projector.PolicyRow
	err := s.each(ctx, `SELECT policy, version, effective_from, document, recorded_at, actor, role, shard, entry, place FROM @.policies
		ORDER BY policy, version`, nil, func(rows pgx.Rows) error {
		var r projector.PolicyRow
		var effective, recorded int64
		err := rows.Scan(&r.Policy, &r.Version, &effective, &r.Document, &recorded, &r.Actor.ID, &r.Actor.Role, &r.Position.Shard, &r.Position.Index, &r.Position.Place)
		r.EffectiveFrom, r.RecordedAt = fromMicros(effective), fromMicros(recorded)
		all = append(all, r)
		return err
	})
	return all, err
}

// Withdrawals are all that were recorded, in the order in which they were.
func (s *Reference) Withdrawals(ctx context.Context) ([]projector.WithdrawalRow, error) {
	var all []projector.WithdrawalRow
	err := s.each(ctx, "SELECT shard, entry, place, title, countries, from_, recorded_at FROM @.withdrawals ORDER BY shard, entry, place", nil, func(rows pgx.Rows) error {
		var w projector.WithdrawalRow
		var countries string
		var from, recorded int64
		if err := rows.Scan(&w.Position.Shard, &w.Position.Index, &w.Position.Place, &w.TitleID, &countries, &from, &recorded); err != nil {
			return err
		}
		w.From, w.RecordedAt = fromMicros(from), fromMicros(recorded)
		all = append(all, w)
		return projector.Unreadable(json.Unmarshal([]byte(countries), &all[len(all)-1].Countries))
	})
	return all, err
}

// Entry is the last entry of the reference shard that was applied.
func (s *Reference) Entry(ctx context.Context) (uint64, error) {
	var entry uint64
	_, err := s.one(ctx, "SELECT entry FROM @.checkpoint WHERE shard = $1", []any{domain.ReferenceShard}, &entry)
	return entry, err
}
