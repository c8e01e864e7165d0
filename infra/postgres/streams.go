package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"carryon/domain"
	"carryon/projector"
)

var setVersions = replacing("streams", "stream", "stream text", "version bigint", "shard int", "entry bigint", "place int")

// SetVersions says how far the model is with the streams.
func (t *tx) SetVersions(ctx context.Context, versions []projector.StreamVersion) error {
	versions = lastOfEach(versions, func(v *projector.StreamVersion) domain.StreamID { return v.Stream })
	return t.write(ctx, setVersions,
		columnOf(versions, func(v *projector.StreamVersion) string { return string(v.Stream) }),
		columnOf(versions, func(v *projector.StreamVersion) int64 { return int64(v.Version) }),
		columnOf(versions, func(v *projector.StreamVersion) int32 { return int32(v.Position.Shard) }),
		columnOf(versions, func(v *projector.StreamVersion) int64 { return int64(v.Position.Index) }),
		columnOf(versions, func(v *projector.StreamVersion) int32 { return int32(v.Position.Place) }))
}

// lastOfEach keeps the last row of each key: one statement must not write the same row twice.
func lastOfEach[R any, K comparable](rows []R, key func(*R) K) []R {
	last := make(map[K]int, len(rows))
	for i := range rows {
		last[key(&rows[i])] = i
	}
	if len(last) == len(rows) {
		return rows
	}
	kept := make([]R, 0, len(last))
	for i := range rows {
		if last[key(&rows[i])] == i {
			kept = append(kept, rows[i])
		}
	}
	return kept
}

// streamVersion asks a table that has a row per stream how far the model is with one.
func (s *store) streamVersion(ctx context.Context, table string, stream domain.StreamID) (projector.StreamVersion, error) {
	v := projector.StreamVersion{Stream: stream}
	l := versionOf(table, &v)
	err := s.each(ctx, l.text, l.args, l.scan)
	return v, err
}

// versionOf looks up how far the model is with a stream, into v.
func versionOf(table string, v *projector.StreamVersion) lookup {
	return lookup{"SELECT version, shard, entry, place FROM @." + table + " WHERE stream = $1", []any{string(v.Stream)}, func(r pgx.Rows) error {
		return r.Scan(&v.Version, &v.Position.Shard, &v.Position.Index, &v.Position.Place)
	}}
}
