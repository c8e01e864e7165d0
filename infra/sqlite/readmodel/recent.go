package readmodel

import "context"

// recent remembers some of what the connection that writes has read or written lately, so that it is not asked for
// again. It holds what stands in the file as long as every change comes through it: everything is forgotten when a
// transaction is rolled back, when rows are mended, and when another connection has written. Only the holder of the turn
// uses it: a transaction that is over must not.
type recent[K comparable, V any] struct {
	limit      int // of the sum of sizes
	size       func(V) int
	young, old map[K]V
	used       int // by the young ones
}

func newRecent[K comparable, V any](limit int, size func(V) int) *recent[K, V] {
	return &recent[K, V]{limit: limit, size: size, young: map[K]V{}}
}

// get finds what was used lately. What was not used while half of the room was filled is dropped.
func (r *recent[K, V]) get(k K) (V, bool) {
	v, ok := r.young[k]
	if ok {
		return v, true
	}
	if v, ok = r.old[k]; ok {
		r.put(k, v)
	}
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	if before, ok := r.young[k]; ok {
		r.used -= r.size(before)
	}
	r.young[k] = v
	r.used += r.size(v)
	if r.used > r.limit/2 {
		r.old, r.young, r.used = r.young, map[K]V{}, 0
	}
}

func (r *recent[K, V]) forget() {
	clear(r.young)
	r.old, r.used = nil, 0
}

// forgetful is what a file remembers.
type forgetful interface{ forget() }

// forget makes the file be asked again for everything.
func (f *file) forget() {
	for _, r := range f.remembers {
		r.forget()
	}
}

// forgetIfChanged forgets what another connection may have changed. It is called when nobody else can write.
func (t *tx) forgetIfChanged(ctx context.Context) error {
	if len(t.f.remembers) == 0 {
		return nil
	}
	var version int64
	if _, err := t.one(ctx, "PRAGMA data_version", nil, &version); err != nil {
		return err
	}
	if version != t.f.version {
		t.f.forget()
		t.f.version = version
	}
	return nil
}
