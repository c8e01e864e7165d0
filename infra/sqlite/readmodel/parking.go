package readmodel

import (
	"context"
	"database/sql"

	"carryon/domain"
	"carryon/projector"
)

// ParkedAmong returns those of the streams that are parked.
func (t *tx) ParkedAmong(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.Parked, error) {
	if !t.anyParked {
		return nil, nil
	}
	parked := map[domain.StreamID]projector.Parked{}
	err := eachIn(ctx, t, "SELECT "+parkedColumns+" FROM parked WHERE stream IN (SELECT value FROM json_each(?))", streams, func(r *sql.Rows) error {
		p, err := scanParked(r)
		parked[p.Stream] = p
		return err
	})
	return parked, err
}

const parkedColumns = "stream, shard, first_seq, entry, place, reason, attempts, since"

func scanParked(r *sql.Rows) (projector.Parked, error) {
	var p projector.Parked
	var since int64
	err := r.Scan(&p.Stream, &p.Shard, &p.FirstSeq, &p.Position.Index, &p.Position.Place, &p.Reason, &p.Attempts, &since)
	p.Position.Shard, p.Since = p.Shard, fromMicros(since)
	return p, err
}

// Park parks a stream, or updates a parked one.
func (t *tx) Park(ctx context.Context, p projector.Parked) error {
	t.anyParked = true
	return t.exec(ctx, "INSERT INTO parked ("+parkedColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET shard = excluded.shard,
		first_seq = excluded.first_seq, entry = excluded.entry, place = excluded.place, reason = excluded.reason, attempts = excluded.attempts, since = excluded.since`,
		string(p.Stream), p.Shard, int64(p.FirstSeq), int64(p.Position.Index), p.Position.Place, p.Reason, p.Attempts, micros(p.Since))
}

// Unpark lets a stream flow again.
func (t *tx) Unpark(ctx context.Context, stream domain.StreamID) error {
	return t.exec(ctx, "DELETE FROM parked WHERE stream = ?", string(stream))
}

// Parked lists parked streams in order of stream, after the given one.
func (f *file) Parked(ctx context.Context, after domain.StreamID, limit int) ([]projector.Parked, error) {
	var all []projector.Parked
	err := f.each(ctx, "SELECT "+parkedColumns+" FROM parked WHERE stream > ? ORDER BY stream LIMIT ?", []any{string(after), limit}, func(r *sql.Rows) error {
		p, err := scanParked(r)
		all = append(all, p)
		return err
	})
	return all, err
}

// ParkedStream looks one stream up, and tells whether it is parked.
func (f *file) ParkedStream(ctx context.Context, stream domain.StreamID) (p projector.Parked, found bool, err error) {
	err = f.each(ctx, "SELECT "+parkedColumns+" FROM parked WHERE stream = ?", []any{string(stream)}, func(r *sql.Rows) error {
		found = true
		var err error
		p, err = scanParked(r)
		return err
	})
	return p, found, err
}
