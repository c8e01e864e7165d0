package readmodel

import (
	"context"
	"database/sql"
	"strings"

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

var (
	upsertStreamNumbered = many{Head: upsertStream.Head, Tail: upsertStream.Tail + " RETURNING stream, id", Cols: upsertStream.Cols}
	upsertStreamByNumber = many{
		Head: "INSERT INTO streams (id, stream, version, shard, entry, place) VALUES",
		Tail: strings.Replace(upsertStream.Tail, "(stream)", "(id)", 1),
		Cols: upsertStream.Cols + 1,
	}
)

// SetVersions says how far the model is with the streams, and learns their numbers by the way.
func (t *tx) SetVersions(ctx context.Context, versions []projector.StreamVersion) error {
	if t.over {
		return t.afterwards()
	}
	known, unknown := make([]projector.StreamVersion, 0, len(versions)), []projector.StreamVersion(nil)
	numbers := make([]int64, 0, len(versions))
	for i := range versions {
		if n, ok := t.f.numbers.get(versions[i].Stream); ok {
			known, numbers = append(known, versions[i]), append(numbers, n)
		} else {
			unknown = append(unknown, versions[i])
		}
	}
	err := t.write(ctx, upsertStreamByNumber, len(known), func(i int, args []any) []any { return appendVersion(append(args, numbers[i]), &known[i]) })
	if err != nil {
		return err
	}
	return t.writeReturning(ctx, upsertStreamNumbered, len(unknown), bindVersions(unknown), t.number(nil))
}

// setVersions is SetVersions for a model that needs the numbers of few of them.
func (t *tx) setVersions(ctx context.Context, versions []projector.StreamVersion) error {
	return t.write(ctx, upsertStream, len(versions), bindVersions(versions))
}

func bindVersions(versions []projector.StreamVersion) func(i int, args []any) []any {
	return func(i int, args []any) []any { return appendVersion(args, &versions[i]) }
}

func appendVersion(args []any, v *projector.StreamVersion) []any {
	return append(args, v.Stream, int64(v.Version), v.Position.Shard, int64(v.Position.Index), v.Position.Place)
}

// number takes down the number of a stream, also in numbers where that is wanted.
func (t *tx) number(numbers map[domain.StreamID]int64) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var stream domain.StreamID
		var id int64
		if err := r.Scan(&stream, &id); err != nil {
			return err
		}
		t.f.numbers.put(stream, id)
		if numbers != nil {
			numbers[stream] = id
		}
		return nil
	}
}

var addStream = many{
	Head: "INSERT INTO streams (stream, version, shard, entry, place) VALUES",
	Tail: "RETURNING stream, id",
	Cols: 5,
}

// numbersOf are the numbers of streams, which are made where there are none.
func (t *tx) numbersOf(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]int64, error) {
	if t.over {
		return nil, t.afterwards()
	}
	numbers := make(map[domain.StreamID]int64, len(streams))
	for _, s := range streams {
		if n, ok := t.f.numbers.get(s); ok {
			numbers[s] = n
		}
	}
	unknown := missing(streams, numbers)
	if len(unknown) > 0 {
		if err := eachIn(ctx, t, "SELECT stream, id FROM streams WHERE stream IN (SELECT value FROM json_each(?))", unknown, t.number(numbers)); err != nil {
			return nil, err
		}
		fresh := missing(unknown, numbers)
		err := t.writeReturning(ctx, addStream, len(fresh), func(i int, args []any) []any { return append(args, fresh[i], 0, t.shard, 0, 0) }, t.number(numbers))
		if err != nil {
			return nil, err
		}
	}
	return numbers, nil
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
