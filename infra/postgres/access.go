package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"

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

// Record adds records, in one statement: all of them or none.
func (l *AccessLog) Record(ctx context.Context, looks ...query.Access) error {
	if err := l.db.Prepare(ctx); err != nil {
		return err
	}
	var statement strings.Builder
	statement.WriteString("INSERT INTO @.accesses (at, actor, role, customer, what, reason, request) VALUES ")
	args := make([]any, 0, 7*len(looks))
	for i, a := range looks {
		if i > 0 {
			statement.WriteString(", ")
		}
		n := len(args)
		fmt.Fprintf(&statement, "($%d, $%d, $%d, $%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4, n+5, n+6, n+7)
		args = append(args, micros(a.At), a.Actor.ID, string(a.Actor.Role), a.Customer, a.What, storable(a.Reason), storable(a.RequestID))
	}
	if _, err := l.db.aside.Exec(ctx, in(l.db.config.Prefix, statement.String()), args...); err != nil {
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
