package readmodel

import (
	"context"
	"database/sql"
	"fmt"

	"carryon/domain"
	"carryon/projector"
)

// streams gives each stream a small number, which rows carry instead of its name, and says how far the model is with it.
const streamTable = `
CREATE TABLE streams (
	id INTEGER PRIMARY KEY, stream TEXT NOT NULL UNIQUE,
	version INTEGER NOT NULL, shard INTEGER NOT NULL, entry INTEGER NOT NULL, place INTEGER NOT NULL
);
`

var upsertStream = many{
	Head: "INSERT INTO streams (stream, version, shard, entry, place) VALUES",
	Tail: "ON CONFLICT (stream) DO UPDATE SET version = excluded.version, shard = excluded.shard, entry = excluded.entry, place = excluded.place",
	Cols: 5,
}

// SetVersions says how far the model is with the streams.
func (t *tx) SetVersions(ctx context.Context, versions []projector.StreamVersion) error {
	return t.write(ctx, upsertStream, len(versions), func(i int, args []any) []any {
		v := &versions[i]
		return append(args, v.Stream, int64(v.Version), v.Position.Shard, int64(v.Position.Index), v.Position.Place)
	})
}

var addStream = many{
	Head: "INSERT INTO streams (stream, version, shard, entry, place) VALUES",
	Tail: "ON CONFLICT (stream) DO NOTHING",
	Cols: 5,
}

// numbersOf are the numbers of streams, which are made where there are none.
func (t *tx) numbersOf(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]int64, error) {
	numbers := make(map[domain.StreamID]int64, len(streams))
	for range 2 {
		err := eachIn(ctx, t, "SELECT stream, id FROM streams WHERE stream IN (SELECT value FROM json_each(?))", missing(streams, numbers), func(r *sql.Rows) error {
			var stream domain.StreamID
			var id int64
			err := r.Scan(&stream, &id)
			numbers[stream] = id
			return err
		})
		if err != nil {
			return nil, err
		}
		unknown := missing(streams, numbers)
		if len(unknown) == 0 {
			return numbers, nil
		}
		err = t.write(ctx, addStream, len(unknown), func(i int, args []any) []any { return append(args, unknown[i], 0, t.shard, 0, 0) })
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("read model %s: streams that were just written are not there", t.f.model)
}

func missing(streams []domain.StreamID, numbers map[domain.StreamID]int64) []domain.StreamID {
	var unknown []domain.StreamID
	seen := map[domain.StreamID]bool{}
	for _, s := range streams {
		if _, ok := numbers[s]; !ok && !seen[s] {
			seen[s] = true
			unknown = append(unknown, s)
		}
	}
	return unknown
}

// StreamVersion is how far the model is with a stream; the zero StreamVersion when it knows nothing of it.
func (f *file) StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error) {
	v := projector.StreamVersion{Stream: stream}
	_, err := f.one(ctx, "SELECT version, shard, entry, place FROM streams WHERE stream = ?", []any{stream},
		&v.Version, &v.Position.Shard, &v.Position.Index, &v.Position.Place)
	return v, err
}
