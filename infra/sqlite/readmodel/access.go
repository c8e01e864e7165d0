package readmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"carryon/domain"
	"carryon/infra/sqlite"
	"carryon/query"
)

// accessID marks an access log: "cRac".
const accessID = 0x63526163

// AccessLog keeps who looked at which customer. It is no read model: nothing brings it back, so every record is synced
// before it counts.
type AccessLog struct{ db *sqlite.File }

var _ query.AccessLog = (*AccessLog)(nil)

// OpenAccessLog opens or makes the file of the access log.
func OpenAccessLog(ctx context.Context, path string) (*AccessLog, error) {
	db, err := sqlite.Open(ctx, path, sqlite.FileConfig{
		ApplicationID: accessID, Version: 1, Durability: sqlite.Full, Readers: 2, CacheBytes: 1 << 20,
		Migrate: func(ctx context.Context, tx *sql.Tx, _ int) error {
			_, err := tx.ExecContext(ctx, `
				CREATE TABLE accesses (
					number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL, customer TEXT NOT NULL,
					what TEXT NOT NULL, reason TEXT NOT NULL, request TEXT NOT NULL
				);
				CREATE INDEX accesses_customer ON accesses (customer, number);`)
			return err
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open the access log: %w", err)
	}
	return &AccessLog{db}, nil
}

// Close closes the file.
func (l *AccessLog) Close() error { return l.db.Close() }

// Record adds records, in one statement: all of them or none.
func (l *AccessLog) Record(ctx context.Context, looks ...query.Access) error {
	var statement strings.Builder
	statement.WriteString("INSERT INTO accesses (at, actor, role, customer, what, reason, request) VALUES ")
	args := make([]any, 0, 7*len(looks))
	for i, a := range looks {
		if i > 0 {
			statement.WriteString(", ")
		}
		statement.WriteString("(?, ?, ?, ?, ?, ?, ?)")
		args = append(args, micros(a.At), a.Actor.ID, string(a.Actor.Role), a.Customer, a.What, a.Reason, a.RequestID)
	}
	if _, err := l.db.Writer.ExecContext(ctx, statement.String(), args...); err != nil {
		return fmt.Errorf("write the access log: %w", err)
	}
	return nil
}

// Accesses lists what was recorded about a customer, newest first, before a number; 0: from the newest.
func (l *AccessLog) Accesses(ctx context.Context, customer string, before int64, limit int) (all []query.Access, err error) {
	if before == 0 {
		before = never
	}
	rows, err := l.db.Reader.QueryContext(ctx, `SELECT number, at, actor, role, customer, what, reason, request FROM accesses
		WHERE customer = ? AND number < ? ORDER BY number DESC LIMIT ?`, customer, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read the access log: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var a query.Access
		var at int64
		var role string
		if err := rows.Scan(&a.Number, &at, &a.Actor.ID, &role, &a.Customer, &a.What, &a.Reason, &a.RequestID); err != nil {
			return nil, fmt.Errorf("read the access log: %w", err)
		}
		a.At, a.Actor.Role = fromMicros(at), domain.Role(role)
		all = append(all, a)
	}
	return all, rows.Err()
}
