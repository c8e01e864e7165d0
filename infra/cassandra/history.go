package cassandra

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/codec"
	"carryon/infra/compact"
)

// Histories are derived from the log by plain writes. Every cell of a row is taken from the entry, its timestamp too, so
// whoever derives an entry again, now or years later, writes the same cells.

// Progress implements command.Histories. What was derived once stays derived, so an older answer is never wrong.
func (s *Store) Progress(ctx context.Context, shard int) (uint64, error) {
	err := s.layout.checkPlace(shard, 0)
	var index uint64
	if err == nil {
		index, err = s.readProgress(ctx, shard)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the progress of shard %d: %w", shard, err)
	}
	return index, nil
}

func (s *Store) readProgress(ctx context.Context, shard int) (index uint64, err error) {
	_, err = s.scanOne(ctx, s.at(quorum, s.session.Query(`SELECT entry FROM progress WHERE shard = ?`, shard)), &index)
	if err == nil {
		s.derived.saw(shard, index)
	}
	return index, err
}

// Derive implements command.Histories.
func (s *Store) Derive(ctx context.Context, entries []domain.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	first, last := &entries[0], &entries[len(entries)-1]
	if err := s.derive(ctx, entries); err != nil {
		return fmt.Errorf("deriving the entries %d to %d of shard %d: %w", first.Index, last.Index, first.Shard, err)
	}
	return nil
}

func (s *Store) derive(ctx context.Context, entries []domain.Entry) error {
	first, last := &entries[0], &entries[len(entries)-1]
	for i := range entries {
		if err := s.layout.checkPlace(entries[i].Shard, entries[i].Index); err != nil {
			return err
		}
		if entries[i].Shard != first.Shard || entries[i].Index != first.Index+uint64(i) || entries[i].Index == 0 {
			return fmt.Errorf("entry %d of shard %d does not follow", entries[i].Index, entries[i].Shard)
		}
	}
	if err := s.writeHistories(ctx, entries); err != nil {
		return err
	}
	return s.moveProgress(ctx, first.Shard, first.Index-1, last)
}

// moveProgress moves the progress from an entry that was read there or written by us, and whose predecessors are all
// derived therefore, to the last entry that was derived now. The timestamp is the entry's: a process that comes late
// with less does not move it back.
func (s *Store) moveProgress(ctx context.Context, shard int, from uint64, to *domain.Entry) error {
	at := s.derived.index(shard)
	if at != from {
		var err error
		if at, err = s.readProgress(ctx, shard); err != nil {
			return err
		}
	}
	if at != from {
		return nil
	}
	q := s.session.Query(`INSERT INTO progress (shard, entry) VALUES (?, ?) USING TIMESTAMP ?`, shard, int64(to.Index), to.RecordedAt.UnixMicro())
	if err := s.write(ctx, q); err != nil {
		return err
	}
	s.derived.saw(shard, to.Index)
	return nil
}

func (s *Store) write(ctx context.Context, q *gocql.Query) error {
	return s.limited(ctx, func(ctx context.Context) error { return q.Consistency(s.cfg.quorum()).WithContext(ctx).Exec() })
}

// How many rows one write holds, unless they are all of one partition: over several partitions a server warns of
// batches of more than ten partitions or 5 KiB.
const (
	rowsAWrite  = 8
	bytesAWrite = 4 << 10
	// rowsOfOne is how many rows of one partition a write holds.
	rowsOfOne  = 128
	bytesOfOne = 512 << 10
)

const addEvent = `INSERT INTO history (stream, bucket, seq, shard, entry, place, event) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`

type partition struct {
	stream domain.StreamID
	bucket int64
}

type historyRow struct {
	partition
	seq       uint64
	position  domain.Position
	event     []byte
	timestamp int64
}

// writeHistories writes the rows of all events, several in a write, as many writes at once as the gate lets through.
func (s *Store) writeHistories(ctx context.Context, entries []domain.Entry) error {
	rows, err := s.historyRows(entries)
	if err != nil {
		return err
	}
	writes := gatherWrites(rows)
	return atOnce(ctx, writesADerive, len(writes), func(ctx context.Context, i int) error { return s.writeRows(ctx, writes[i]) })
}

// writesADerive is how many writes of one derivation are under way: claims and reads want to get through.
const writesADerive = 16

func (s *Store) writeRows(ctx context.Context, rows []historyRow) error {
	return s.limited(ctx, func(ctx context.Context) error {
		b := s.session.NewBatch(gocql.UnloggedBatch).WithContext(ctx).RetryPolicy(nil).DefaultTimestamp(false)
		b.SetConsistency(s.cfg.quorum())
		for _, r := range rows {
			b.Query(addEvent, string(r.stream), r.bucket, int64(r.seq), r.position.Shard, int64(r.position.Index), r.position.Place, r.event, r.timestamp)
		}
		return s.session.ExecuteBatch(b)
	})
}

// historyRows are the rows of all events, those of a partition side by side.
func (s *Store) historyRows(entries []domain.Entry) ([][]historyRow, error) {
	var order []partition
	byPartition := make(map[partition][]historyRow)
	for i := range entries {
		e := &entries[i]
		for place := range e.Events {
			event := &e.Events[place]
			if event.Seq == 0 {
				return nil, fmt.Errorf("entry %d: an event of %s has no seq", e.Index, event.Stream)
			}
			data, err := encodeEvent(event)
			if err != nil {
				return nil, err
			}
			p := partition{event.Stream, s.layout.historyBucketOf(event.Seq)}
			if byPartition[p] == nil {
				order = append(order, p)
			}
			byPartition[p] = append(byPartition[p], historyRow{partition: p, seq: event.Seq, position: event.Position, event: data, timestamp: e.RecordedAt.UnixMicro()})
		}
	}
	rows := make([][]historyRow, 0, len(order))
	for _, p := range order {
		rows = append(rows, byPartition[p])
	}
	return rows, nil
}

// gatherWrites cuts what is long, and puts what is short together.
func gatherWrites(partitions [][]historyRow) (writes [][]historyRow) {
	var several []historyRow
	bytes := 0
	for _, rows := range partitions {
		for len(rows) > 0 {
			n, size := fitting(rows)
			if n == len(rows) && n <= rowsAWrite && size <= bytesAWrite {
				if len(several)+n > rowsAWrite || bytes+size > bytesAWrite {
					writes, several, bytes = append(writes, several), nil, 0
				}
				several, bytes = append(several, rows...), bytes+size
			} else {
				writes = append(writes, rows[:n:n])
			}
			rows = rows[n:]
		}
	}
	if len(several) > 0 {
		writes = append(writes, several)
	}
	return writes
}

// fitting is how many rows of one partition one write holds, at least one.
func fitting(rows []historyRow) (n, size int) {
	for n < min(len(rows), rowsOfOne) {
		if size += len(rows[n].event) + len(rows[n].stream) + rowOverhead; n > 0 && size > bytesOfOne {
			return n, size
		}
		n++
	}
	return n, size
}

// rowOverhead is about what the other columns take in a request.
const rowOverhead = 64

// An event stands in its row as the only event of an entry that has nothing else: what the entry would say stands in
// the row. Its place is kept there, too. It is packed here and not by the server, which would pack it again with every
// flush and compaction: that was a third of its work. Packed is the first byte of a row that is; the codec's own version
// that of one that is not.
const packed = 0x80

func encodeEvent(event *domain.Event) ([]byte, error) {
	alone := *event
	alone.Position.Place = 0
	data, err := codec.EncodeUnpacked(&domain.Entry{Shard: event.Position.Shard, Index: event.Position.Index, RecordedAt: beginning, Events: []domain.Event{alone}})
	if err != nil {
		return nil, err
	}
	return compact.AppendPacked([]byte{packed}, data), nil
}

var beginning = time.UnixMicro(0).UTC()

func decodeEvent(position domain.Position, data []byte) (domain.Event, error) {
	if len(data) > 0 && data[0] == packed {
		var err error
		if data, err = compact.Unpack(data[1:]); err != nil {
			return domain.Event{}, fmt.Errorf("a packed row: %w: %w", command.ErrDiffers, err)
		}
	}
	e := domain.Entry{Shard: position.Shard, Index: position.Index, RecordedAt: beginning}
	if err := codec.DecodeEvents(&e, data); err != nil {
		return domain.Event{}, err
	}
	if len(e.Events) != 1 {
		return domain.Event{}, fmt.Errorf("a row of %d events: %w", len(e.Events), command.ErrDiffers)
	}
	e.Events[0].Position = position
	return e.Events[0], nil
}

// ReadStream implements command.Histories.
func (s *Store) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	page, err := s.readStream(ctx, stream, max(from, 1), maxBytes)
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s from %d: %w", stream, from, err)
	}
	return page, nil
}

func (s *Store) readStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	p := historyPager{store: s, stream: stream, left: maxBytes}
	for !p.full {
		before, left := len(p.events), p.left
		next := from + uint64(before)
		back := func() { p.events, p.left, p.full = p.events[:before], left, false }
		err := p.read(ctx, quorum, next)
		if errors.Is(err, command.ErrDiffers) {
			s.cfg.Logger.Debug("history seems to differ, reading it again", "error", err.Error())
			back()
			err = p.read(ctx, quorum, next) // rows of one derivation are written side by side, and while these questions are asked
		}
		if errors.Is(err, command.ErrDiffers) {
			s.cfg.Logger.Warn("history differs, reading it from every replica", "error", err.Error())
			back()
			if err = p.read(ctx, everyReplica, next); err != nil && !errors.Is(err, command.ErrDiffers) {
				err = fmt.Errorf("%w; and not every replica answers: %w", command.ErrUnavailable, err)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return p.events, nil
}

// historyPager gathers a page of a history.
type historyPager struct {
	store  *Store
	stream domain.StreamID
	events []domain.Event
	left   int  // bytes
	full   bool // or the end was reached
}

const (
	readEvents = `SELECT seq, shard, entry, place, event FROM history WHERE stream = ? AND bucket = ? AND seq >= ? LIMIT ?`
	// eventsAtOnce is how many events an answer of the server holds.
	eventsAtOnce = 64
)

// read appends events of one bucket, from one event on. None: the history ends before it.
func (p *historyPager) read(ctx context.Context, l level, from uint64) error {
	s := p.store
	bucket := s.layout.historyBucketOf(from)
	before, limit := len(p.events), s.eventSizes.rows(p.left, s.layout.HistoryBucket)
	err := s.limited(ctx, func(ctx context.Context) error {
		rows := s.at(l, s.session.Query(readEvents, string(p.stream), bucket, int64(from), limit)).PageSize(eventsAtOnce).WithContext(ctx).Iter()
		for !p.full {
			var seq uint64
			var at domain.Position
			var data []byte
			if !rows.Scan(&seq, &at.Shard, &at.Index, &at.Place, &data) {
				break
			}
			if err := p.add(from+uint64(len(p.events)-before), seq, at, data); err != nil {
				return errors.Join(err, rows.Close())
			}
		}
		return rows.Close()
	})
	if got := len(p.events) - before; got < limit && s.layout.historyBucketOf(from+uint64(got)) == bucket {
		p.full = true
	}
	if err == nil && len(p.events) == 0 {
		err = p.confirmEnd(ctx, l, from, bucket)
	}
	return err
}

func (p *historyPager) add(want, seq uint64, at domain.Position, data []byte) error {
	if seq != want {
		return fmt.Errorf("event %d is missing: %w", want, command.ErrDiffers)
	}
	event, err := decodeEvent(at, data)
	if err != nil {
		return fmt.Errorf("event %d: %w", seq, err)
	}
	if event.Stream != p.stream || event.Seq != seq {
		return fmt.Errorf("event %d of %s stands where event %d should: %w", event.Seq, event.Stream, seq, command.ErrDiffers)
	}
	p.store.eventSizes.saw(len(event.Payload))
	if p.left -= len(event.Payload); p.left <= 0 {
		p.full = true
		if p.left < 0 && len(p.events) > 0 {
			return nil
		}
	}
	p.events = append(p.events, event)
	return nil
}

// confirmEnd makes sure that no bucket comes after one that is not full.
func (p *historyPager) confirmEnd(ctx context.Context, l level, missing uint64, bucket int64) error {
	s := p.store
	var seq uint64
	q := s.session.Query(`SELECT seq FROM history WHERE stream = ? AND bucket = ? LIMIT 1`, string(p.stream), bucket+1)
	found, err := s.scanOne(ctx, s.at(l, q), &seq)
	if err == nil && found {
		err = fmt.Errorf("event %d is missing, and event %d is there: %w", missing, seq, command.ErrDiffers)
	}
	return err
}

// marks are how far the histories are derived, as this process has read or written it.
type marks struct {
	mu   sync.Mutex
	seen map[int]uint64
}

func (m *marks) saw(shard int, index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = make(map[int]uint64)
	}
	m.seen[shard] = index
}

func (m *marks) index(shard int) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[shard]
}
