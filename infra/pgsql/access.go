package pgsql

import (
	"context"
	"fmt"
	"math"
	"time"

	"carryon/domain"
	"carryon/query"
)

// AccessLog keeps who looked at which customer. It is no read model: nothing brings it back.
type AccessLog struct{ server *Server }

var _ query.AccessLog = AccessLog{}

// AccessLog is the server's.
func (s *Server) AccessLog() AccessLog { return AccessLog{s} }

// Record adds a record.
func (l AccessLog) Record(ctx context.Context, a query.Access) error {
	if err := l.server.Migrate(ctx); err != nil {
		return err
	}
	_, err := l.server.db.ExecContext(ctx, "INSERT INTO accesses (at, actor, role, customer, what, reason, request) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		a.At.UnixMicro(), a.Actor.ID, string(a.Actor.Role), a.Customer, a.What, a.Reason, a.RequestID)
	if err != nil {
		return fmt.Errorf("write the access log: %w", failure(err))
	}
	return nil
}

// Accesses lists what was recorded about a customer, newest first, before a number; 0: from the newest.
func (l AccessLog) Accesses(ctx context.Context, customer string, before int64, limit int) ([]query.Access, error) {
	if err := l.server.Migrate(ctx); err != nil {
		return nil, err
	}
	if before == 0 {
		before = math.MaxInt64
	}
	rows, err := l.server.db.QueryContext(ctx, `SELECT number, at, actor, role, customer, what, reason, request FROM accesses
		WHERE customer = $1 AND number < $2 ORDER BY number DESC LIMIT $3`, customer, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read the access log: %w", failure(err))
	}
	defer rows.Close()
	var all []query.Access
	for rows.Next() {
		var a query.Access
		var at int64
		var role string
		if err := rows.Scan(&a.Number, &at, &a.Actor.ID, &role, &a.Customer, &a.What, &a.Reason, &a.RequestID); err != nil {
			return nil, fmt.Errorf("read the access log: %w", err)
		}
		a.At, a.Actor.Role = time.UnixMicro(at).UTC(), domain.Role(role)
		all = append(all, a)
	}
	return all, failure(rows.Err())
}
