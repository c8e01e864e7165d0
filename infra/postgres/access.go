package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/query"
)

// AccessLog keeps who looked at which customer. It is no read model: nothing brings it back, so a record counts once
// its transaction is committed.
type AccessLog struct{ db *DB }

var _ query.AccessLog = (*AccessLog)(nil)

// AccessLog keeps the access log among what the models share.
func (db *DB) AccessLog() *AccessLog { return &AccessLog{db} }

// Record adds a record.
func (l *AccessLog) Record(ctx context.Context, a query.Access) error {
	if err := l.db.Prepare(ctx); err != nil {
		return err
	}
	_, err := l.db.aside.Exec(ctx, in(l.db.config.Prefix, "INSERT INTO @.accesses (at, actor, role, customer, what, reason, request) VALUES ($1, $2, $3, $4, $5, $6, $7)"),
		micros(a.At), a.Actor.ID, string(a.Actor.Role), a.Customer, a.What, storable(a.Reason), storable(a.RequestID))
	if err != nil {
		return fmt.Errorf("write the access log: %w", readError(err))
	}
	return nil
}

// Accesses lists what was recorded about a customer, newest first, before a number; 0: from the newest.
func (l *AccessLog) Accesses(ctx context.Context, customer string, before int64, limit int) ([]query.Access, error) {
	if err := l.db.Prepare(ctx); err != nil {
		return nil, err
	}
	if before == 0 {
		before = math.MaxInt64
	}
	rows, err := l.db.read.Query(ctx, in(l.db.config.Prefix, `SELECT number, at, actor, role, customer, what, reason, request FROM @.accesses
		WHERE customer = $1 AND number < $2 ORDER BY number DESC LIMIT $3`), customer, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read the access log: %w", readError(err))
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (a query.Access, err error) {
		var at int64
		var role string
		err = r.Scan(&a.Number, &at, &a.Actor.ID, &role, &a.Customer, &a.What, &a.Reason, &a.RequestID)
		a.At, a.Actor.Role = fromMicros(at), domain.Role(role)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the access log: %w", readError(err))
	}
	return all, nil
}
