package cassandra

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/codec"
)

// Reading goes from entry to entry and from bucket to bucket. Each row comes with its bucket's head, so that a row that
// is missing is noticed at once: then the same is read again, then from every replica, and if it is missing there too,
// the reader fails. It never carries on.

// Read implements command.Log. An entry counts with the larger of its stored bytes and the bytes of its payloads.
func (s *Store) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	return s.readAt(ctx, quorum, shard, from, maxBytes)
}

func (s *Store) readAt(ctx context.Context, l level, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	page, err := s.page(ctx, l, shard, from, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("reading shard %d from entry %d: %w", shard, from, err)
	}
	return page, nil
}

func (s *Store) page(ctx context.Context, l level, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	if from == 0 {
		return nil, errors.New("entries begin at 1")
	}
	if err := s.layout.checkPlace(shard, from); err != nil {
		return nil, err
	}
	p := pager{store: s, shard: shard, left: maxBytes}
	for !p.full {
		before, left := len(p.entries), p.left
		next := from + uint64(before)
		back := func() { p.entries, p.left, p.full = p.entries[:before], left, false }
		err := p.read(ctx, l, next)
		if errors.Is(err, command.ErrDiffers) && l != anyReplica {
			s.cfg.Logger.Debug("log seems to differ, reading it again", "shard", shard, "from", next, "error", err.Error())
			back()
			err = p.read(ctx, l, next) // what was claimed between two questions is there when both are asked again
		}
		if errors.Is(err, command.ErrDiffers) && l != anyReplica {
			back()
			err = p.readEverywhere(ctx, next, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return p.entries, nil
}

// pager gathers a page.
type pager struct {
	store   *Store
	shard   int
	entries []domain.Entry
	left    int  // bytes
	full    bool // or the tail was reached
}

// readEverywhere reads again what could not be right. A replica that is away may be the one that has it.
func (p *pager) readEverywhere(ctx context.Context, from uint64, why error) error {
	p.store.cfg.Logger.Warn("log differs, reading it from every replica", "shard", p.shard, "from", from, "error", why.Error())
	err := p.read(ctx, everyReplica, from)
	if err != nil && !errors.Is(err, command.ErrDiffers) {
		return fmt.Errorf("%w; and not every replica answers: %w", command.ErrUnavailable, err)
	}
	return err
}

const readEntries = `SELECT entry, id, previous_id, writer, recorded_at, bytes, events, head FROM log WHERE shard = ? AND bucket = ? AND entry >= ? LIMIT ?`

// read appends entries of one bucket, from one entry on. None: the log ends before it.
func (p *pager) read(ctx context.Context, l level, from uint64) error {
	s := p.store
	bucket := s.layout.bucketOf(from)
	limit := s.sizes.rows(p.left, s.layout.LogBucket)
	before, last := len(p.entries), uint64(0)
	q := s.at(l, s.session.Query(readEntries, p.shard, bucket, int64(from), limit)).PageSize(rowsAtOnce)
	err := s.limited(ctx, func(ctx context.Context) error {
		rows := q.WithContext(ctx).Iter()
		var r entryRow
		for !p.full && rows.Scan(r.columns()...) {
			last = r.head
			if err := p.add(&r, from+uint64(len(p.entries)-before)); err != nil {
				return errors.Join(err, rows.Close())
			}
		}
		return rows.Close()
	})
	if err != nil {
		return err
	}
	next := from + uint64(len(p.entries)-before)
	switch {
	case p.full:
	case len(p.entries) == 0:
		p.full = true
		return p.confirmEnd(ctx, l, from, bucket)
	case next == from, next == last+1 && last < s.layout.last(bucket):
		p.full = true
	case len(p.entries)-before < limit && next <= last:
		return fmt.Errorf("entry %d is missing, the head is %d: %w", next, last, command.ErrDiffers)
	}
	return nil
}

// rowsAtOnce is how many entries an answer of the server holds.
const rowsAtOnce = 32

// add appends a row, unless it does not fit any more.
func (p *pager) add(r *entryRow, want uint64) error {
	e, err := r.header(p.shard)
	if err != nil {
		return err
	}
	if e.Index != want {
		return fmt.Errorf("entry %d is missing: %w", want, command.ErrDiffers)
	}
	if n := len(p.entries); n > 0 && e.PreviousID != p.entries[n-1].ID {
		return fmt.Errorf("entry %d does not follow on entry %d: %w", e.Index, e.Index-1, command.ErrDiffers)
	}
	size := max(r.bytes, len(r.events))
	p.store.sizes.saw(size)
	if p.left -= size; p.left <= 0 {
		p.full = true
		if p.left < 0 && len(p.entries) > 0 {
			return nil
		}
	}
	if err := codec.DecodeEvents(&e, r.events); err != nil {
		return err
	}
	p.entries = append(p.entries, e)
	return nil
}

const readHeads = `SELECT DISTINCT bucket, head FROM log WHERE shard = ? AND bucket IN (?, ?)`

// confirmEnd makes sure that a log ends where nothing more was found: neither does the bucket's head say otherwise, nor
// is there a bucket after it, nor has this process seen more.
func (p *pager) confirmEnd(ctx context.Context, l level, from uint64, bucket int64) error {
	s := p.store
	var end uint64
	err := s.limited(ctx, func(ctx context.Context) error {
		rows := s.at(l, s.session.Query(readHeads, p.shard, bucket, bucket+1)).WithContext(ctx).Iter()
		var head, in int64
		for rows.Scan(&in, &head) {
			end = max(end, uint64(head))
		}
		return rows.Close()
	})
	if err == nil && end < from && l != anyReplica && s.tails.index(p.shard) >= from {
		var head domain.Head
		head, err = s.head(ctx, p.shard)
		end = head.Index
		if err == nil && end < from {
			s.tails.forget(p.shard) // it was another log, and its end is behind us
		}
	}
	if err == nil && end >= from {
		err = fmt.Errorf("entry %d is missing, the head is %d: %w", from, end, command.ErrDiffers)
	}
	return err
}

// entryRow is a row as it is stored.
type entryRow struct {
	index        uint64
	id, previous []byte
	writer       string
	recordedAt   int64
	bytes        int
	events       []byte
	head         uint64
}

func (r *entryRow) columns() []any {
	r.id, r.previous, r.events = nil, nil, nil // the driver would write into them
	return []any{&r.index, &r.id, &r.previous, &r.writer, &r.recordedAt, &r.bytes, &r.events, &r.head}
}

func (r *entryRow) header(shard int) (domain.Entry, error) {
	e := domain.Entry{Shard: shard, Index: r.index, Writer: r.writer, RecordedAt: time.UnixMicro(r.recordedAt).UTC()}
	return e, errors.Join(setID(&e.ID, r.id), setID(&e.PreviousID, r.previous))
}

// sizes guess how many rows fill a page, from those that were read lately.
type sizes struct {
	mu      sync.Mutex
	typical int
}

const (
	firstGuess = 4 << 10
	smallest   = 64
)

func (z *sizes) saw(size int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.typical == 0 {
		z.typical = firstGuess
	}
	z.typical += (max(size, smallest) - z.typical) / 8
}

// rows is how many rows to ask for, of at most `most`.
func (z *sizes) rows(left, most int) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	typical := z.typical
	if typical < smallest {
		typical = firstGuess
	}
	return min(left/typical+2, most)
}
