package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/codec"
)

// Histories are an index over the entries: for each stream, in which entries its events stand, and where. A claim writes
// both at once, so they can't differ.

// run is some events of a stream that stand side by side in an entry.
type run struct {
	stream  int64 // hash of the name
	lastSeq uint64
	place   int // of the first
	events  int
}

// runs gathers the rows of the histories.
func runs(events []domain.Event) []run {
	out := make([]run, 0, len(events))
	for i := range events {
		e := &events[i]
		if i > 0 && e.Stream == events[i-1].Stream && e.Seq == events[i-1].Seq+1 {
			last := &out[len(out)-1]
			last.lastSeq = e.Seq
			last.events++
			continue
		}
		out = append(out, run{stream: streamHash(e.Stream), lastSeq: e.Seq, place: i, events: 1})
	}
	return out
}

// streamHash is FNV-1a with 64 bits. The files depend on it.
func streamHash(stream domain.StreamID) int64 {
	h := uint64(14695981039346656037)
	for i := range len(stream) {
		h = (h ^ uint64(stream[i])) * 1099511628211
	}
	return int64(h)
}

// runsAtOnce are the rows that one statement inserts, largest first.
var runsAtOnce = [...]int{64, 16, 4, 1}

func insertRunsQuery(n int) string {
	return `INSERT OR REPLACE INTO history (stream, last_seq, shard, entry, place, events) VALUES (?,?,?,?,?,?)` + strings.Repeat(",(?,?,?,?,?,?)", n-1)
}

func (w *writer) insertRuns(e *domain.Entry, rest []run) error {
	for _, n := range runsAtOnce {
		for len(rest) >= n {
			args := make([]any, 0, 6*n)
			for _, r := range rest[:n] {
				args = append(args, r.stream, int64(r.lastSeq), e.Shard, int64(e.Index), r.place, r.events)
			}
			if err := w.exec(insertRunsQuery(n), args...); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	return nil
}

// Progress implements command.Histories: they are derived up to the head. Where this process has just claimed or looked,
// what it saw is good enough, because an older progress is never wrong: loading a customer asks for it each time.
func (s *LogStore) Progress(ctx context.Context, shard int) (uint64, error) {
	if index, fresh := s.heads.recent(shard); fresh {
		return index, ctx.Err()
	}
	head, err := s.Head(ctx, shard)
	if err == nil {
		s.heads.saw(shard, head.Index)
	}
	return head.Index, err
}

// heads are the newest entries that this process has seen.
type heads struct {
	mu   sync.Mutex
	seen map[int]sight
}

type sight struct {
	index uint64
	at    time.Time
}

// sightTime is how long what was seen counts.
const sightTime = 100 * time.Millisecond

func (h *heads) saw(shard int, index uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil {
		h.seen = make(map[int]sight)
	}
	h.seen[shard] = sight{index, time.Now()}
}

func (h *heads) recent(shard int) (index uint64, fresh bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.seen[shard]
	return s.index, time.Since(s.at) < sightTime
}

// Derive implements command.Histories. The claim has written the rows already, so it does nothing, until a hole was found:
// from then on it writes those that are not there.
func (s *LogStore) Derive(ctx context.Context, entries []domain.Entry) error {
	if !s.damaged.Load() || len(entries) == 0 {
		return ctx.Err()
	}
	first, last := &entries[0], &entries[len(entries)-1]
	err := s.begin(ctx)
	if err == nil {
		err = s.derive(ctx, entries)
		s.end()
	}
	if err != nil {
		return fmt.Errorf("writing the histories of entries %d to %d of shard %d again: %w", first.Index, last.Index, first.Shard, err)
	}
	return nil
}

// derive runs the transaction. Whoever calls it has the turn.
func (s *LogStore) derive(ctx context.Context, entries []domain.Entry) error {
	w, err := s.writer(ctx)
	if err != nil {
		return err
	}
	if err := w.begin(ctx); err != nil {
		return s.notWritten(err)
	}
	for i := range entries {
		if err := w.insertRuns(&entries[i], runs(entries[i].Events)); err != nil {
			return s.notWritten(errors.Join(err, w.rollback()))
		}
	}
	if err := w.commit(); err != nil {
		return s.notWritten(err) // or written: they are the same rows
	}
	return nil
}

// ReadStream implements command.Histories.
func (s *LogStore) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	page, err := s.readStream(ctx, stream, max(from, 1), maxBytes)
	if errors.Is(err, command.ErrDiffers) {
		s.damaged.Store(true)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s from %d: %w", stream, from, unread(err))
	}
	return page, nil
}

// 40 is indexBits.
const streamQuery = `SELECT h.last_seq, h.place, h.events, h.entry,
	ifnull(e.position, 0), e.id, e.previous_id, ifnull(e.writer, ''), ifnull(e.recorded_at, 0), ifnull(e.bytes, 0), e.data
	FROM history h LEFT JOIN entry e ON e.position = (h.shard << 40) | h.entry
	WHERE h.stream = ? AND h.last_seq >= ? ORDER BY h.last_seq`

func (s *LogStore) readStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) (page []domain.Event, err error) {
	rows, err := s.readingStream.QueryContext(ctx, streamHash(stream), int64(from))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	size := 0
	for rows.Next() {
		var h run
		var index uint64
		var r entryRow
		if err := rows.Scan(append([]any{&h.lastSeq, &h.place, &h.events, &index}, r.columns()...)...); err != nil {
			return nil, err
		}
		if r.position == 0 {
			return nil, fmt.Errorf("event %d stands in entry %d, which is missing: %w", h.lastSeq, index, command.ErrDiffers)
		}
		events, err := r.cut(h, stream, from+uint64(len(page)))
		if err != nil {
			return nil, err
		}
		for i := range events {
			if size += len(events[i].Payload); len(page) > 0 && size > maxBytes {
				return page, nil
			}
			page = append(page, events[i])
		}
	}
	return page, rows.Err()
}

// cut returns the events of the run from seq `from` on, none when the run is another stream's.
func (r *entryRow) cut(h run, stream domain.StreamID, from uint64) ([]domain.Event, error) {
	e, err := r.header()
	if err != nil {
		return nil, err
	}
	first := h.lastSeq - uint64(h.events) + 1
	skip := 0
	if from > first {
		skip = int(min(from-first, uint64(h.events)-1))
	}
	places := make([]int, 0, h.events-skip)
	for i := skip; i < h.events; i++ {
		places = append(places, h.place+i)
	}
	events, err := codec.DecodePlaces(&e, r.data, places)
	if err != nil {
		return nil, err
	}
	if events[0].Stream != stream {
		return nil, nil
	}
	for i := range events {
		if events[i].Stream != stream || events[i].Seq != from+uint64(i) {
			return nil, fmt.Errorf("event %d of %s stands where event %d should: %w", events[i].Seq, events[i].Stream, from+uint64(i), command.ErrDiffers)
		}
	}
	return events, nil
}
