package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"

	"carryon/projector"
	"carryon/query"
)

var referenceSchema = schema{Model: "reference", Version: 1, Tables: `
CREATE TABLE policies (
	policy TEXT NOT NULL, version INTEGER NOT NULL, effective_from INTEGER NOT NULL, document BLOB NOT NULL, recorded_at INTEGER NOT NULL,
	actor TEXT NOT NULL, role TEXT NOT NULL, shard INTEGER NOT NULL, entry INTEGER NOT NULL, place INTEGER NOT NULL,
	PRIMARY KEY (policy, version)
) WITHOUT ROWID;
CREATE TABLE withdrawals (
	shard INTEGER NOT NULL, entry INTEGER NOT NULL, place INTEGER NOT NULL, title TEXT NOT NULL, countries TEXT NOT NULL, -- JSON
	from_ INTEGER NOT NULL, recorded_at INTEGER NOT NULL, PRIMARY KEY (shard, entry, place)
) WITHOUT ROWID;
`}

// Reference keeps what was decided for everyone.
type Reference struct {
	*file
	projector.ByStream
}

var (
	_ projector.Store[projector.ReferenceTx] = (*Reference)(nil)
	_ query.ReferenceModel                   = (*Reference)(nil)
)

// OpenReference opens or makes the file of the reference model.
func OpenReference(ctx context.Context, path string) (*Reference, error) {
	f, err := openFile(ctx, path, referenceSchema)
	if err != nil {
		return nil, err
	}
	return &Reference{file: f}, nil
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

var upsertPolicy = many{
	Head: "INSERT INTO policies (policy, version, effective_from, document, recorded_at, actor, role, shard, entry, place) VALUES", Cols: 10,
	Tail: `ON CONFLICT (policy, version) DO UPDATE SET effective_from = excluded.effective_from, document = excluded.document, recorded_at = excluded.recorded_at,
		actor = excluded.actor, role = excluded.role, shard = excluded.shard, entry = excluded.entry, place = excluded.place`,
}

// AddPolicies adds versions of policy documents.
func (t referenceTx) AddPolicies(ctx context.Context, rows []projector.PolicyRow) error {
	return t.write(ctx, upsertPolicy, len(rows), func(i int, args []any) []any {
		r := &rows[i]
		return append(args, r.Policy, r.Version, micros(r.EffectiveFrom), r.Document, micros(r.RecordedAt), r.Actor.ID, string(r.Actor.Role),
			r.Position.Shard, int64(r.Position.Index), r.Position.Place)
	})
}

var insertWithdrawal = many{
	Head: "INSERT INTO withdrawals (shard, entry, place, title, countries, from_, recorded_at) VALUES", Cols: 7,
	Tail: `ON CONFLICT (shard, entry, place) DO UPDATE SET title = excluded.title, countries = excluded.countries, from_ = excluded.from_,
		recorded_at = excluded.recorded_at`,
}

// AddWithdrawals adds withdrawals of titles.
func (t referenceTx) AddWithdrawals(ctx context.Context, rows []projector.WithdrawalRow) error {
	countries := make([]string, len(rows))
	for i := range rows {
		data, err := json.Marshal(rows[i].Countries)
		if err != nil {
			return err
		}
		countries[i] = string(data)
	}
	return t.write(ctx, insertWithdrawal, len(rows), func(i int, args []any) []any {
		r := &rows[i]
		return append(args, r.Position.Shard, int64(r.Position.Index), r.Position.Place, r.TitleID, countries[i], micros(r.From), micros(r.RecordedAt))
	})
}

// Policies are all published versions, in order of document and version.
func (s *Reference) Policies(ctx context.Context) ([]projector.PolicyRow, error) {
	var all []projector.PolicyRow
	err := s.each(ctx, `SELECT policy, version, effective_from, document, recorded_at, actor, role, shard, entry, place FROM policies
		ORDER BY policy, version`, nil, func(rows *sql.Rows) error {
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
	err := s.each(ctx, "SELECT shard, entry, place, title, countries, from_, recorded_at FROM withdrawals ORDER BY shard, entry, place", nil, func(rows *sql.Rows) error {
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
	_, err := s.one(ctx, "SELECT entry FROM checkpoint WHERE shard = 0 AND entry > 0", nil, &entry)
	return entry, err
}
