package command

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"carryon/domain"
)

// What a stream remembers of the commands it recorded, so that a command id that comes again gets the first answer. It
// is a fold of the stream's events like the state beside it, and part of the snapshot.
//
// A command is remembered for Keep from recorded_at on, which never decreases in a shard. A command id bound to the
// present is refused when its own time is older than KeyMaxAge, so one that may still be decided is always remembered.
// Counting from recorded_at, not from the id's time, also covers late reports, whose ids are old when they arrive, and
// keeps an id from the far future no longer than any other.
//
// The newest commands are kept one by one. Of those beyond a number, which an ordinary customer never reaches, only
// spans are kept: a command id whose time lies in a span is looked for in the stream's history.
type memory struct {
	keys  []uint64     // of items, side by side, for the search: the last eight bytes of the command id
	items []remembered // in the order recorded
	spans []span       // older ones, in the order recorded, at most one per day
}

type remembered struct {
	key      commandKey
	hash     [16]byte
	seq      uint64 // of the command's first event
	index    uint64 // of the entry that holds them
	recorded int64  // microseconds
	time     int64  // of the command id, microseconds; noTime: it has none
	events   uint32
}

// span stands for the commands that were recorded from seq `first` to seq `last`.
type span struct {
	first, last      uint64
	recorded         int64 // of the newest
	earliest, latest int64 // times of the command ids, microseconds
	future           int64 // the earliest time of those ids that were more than a day ahead; MaxInt64: none was
}

const (
	maxRemembered  = 1000
	rememberedSize = 96 // bytes of memory for one, with its key
	noTime         = -1
)

// commandKey is a command id in 16 bytes: a UUID as it is, any other id as its hash.
type commandKey [16]byte

func keyOf(commandID string) commandKey {
	if raw, err := parseUUIDv7(commandID); err == nil {
		return raw
	}
	sum := sha256.Sum256([]byte(commandID))
	return commandKey(sum[:16])
}

func keyTime(commandID string) int64 {
	t, err := CommandTime(commandID)
	if err != nil {
		return noTime
	}
	return t.UnixMicro()
}

func (k commandKey) tail() uint64 { return binary.BigEndian.Uint64(k[8:]) }

func hashOfRequest(requestHash string) [16]byte {
	sum := sha256.Sum256([]byte(requestHash))
	return [16]byte(sum[:16])
}

// find looks a command up among those kept one by one.
func (m *memory) find(key commandKey) (remembered, bool) {
	tail := key.tail()
	for i := len(m.keys) - 1; i >= 0; i-- { // what is repeated was mostly recorded just now
		if m.keys[i] == tail && m.items[i].key == key {
			return m.items[i], true
		}
	}
	return remembered{}, false
}

// search tells which part of the history may hold a command that was not found: nothing when last is 0.
func (m *memory) search(commandTime int64) (first, last uint64) {
	for i := range m.spans {
		s := &m.spans[i]
		if !s.mayHold(commandTime) {
			continue
		}
		if first == 0 {
			first = s.first
		}
		last = s.last
	}
	return first, last
}

func (s *span) mayHold(commandTime int64) bool {
	return commandTime == noTime || commandTime >= s.future || s.earliest <= commandTime && commandTime <= s.latest
}

// record folds an event: it is the command's first, or one more of the command that was recorded last.
func (m *memory) record(e *domain.Event, keep time.Duration) {
	recorded := e.RecordedAt.UnixMicro()
	key := keyOf(e.CommandID)
	if n := len(m.items); n > 0 {
		if last := &m.items[n-1]; last.key == key && last.seq+uint64(last.events) == e.Seq {
			last.events++
			return
		}
	}
	m.prune(recorded - keep.Microseconds())
	if len(m.items) >= maxRemembered {
		m.fold(&m.items[0])
		m.drop(1)
	}
	m.keys = append(m.keys, key.tail())
	m.items = append(m.items, remembered{
		key: key, hash: hashOfRequest(e.RequestHash), seq: e.Seq, index: e.Position.Index,
		recorded: recorded, time: keyTime(e.CommandID), events: 1,
	})
}

// prune forgets what was recorded before.
func (m *memory) prune(before int64) {
	n := 0
	for n < len(m.items) && m.items[n].recorded < before {
		n++
	}
	m.drop(n)
	n = 0
	for n < len(m.spans) && m.spans[n].recorded < before {
		n++
	}
	m.spans = m.spans[n:]
}

func (m *memory) drop(n int) {
	if n == 0 {
		return
	}
	m.items, m.keys = m.items[n:], m.keys[n:]
}

// fold lets a span stand for a command that is no longer kept by itself.
func (m *memory) fold(r *remembered) {
	n := len(m.spans)
	if n == 0 || m.spans[n-1].recorded/day.Microseconds() != r.recorded/day.Microseconds() {
		m.spans = append(m.spans, span{first: r.seq, earliest: math.MaxInt64, latest: math.MinInt64, future: math.MaxInt64})
		n++
	}
	s := &m.spans[n-1]
	s.last, s.recorded = r.seq+uint64(r.events)-1, r.recorded
	switch {
	case r.time == noTime: // is looked for in every span
	case r.time > r.recorded+day.Microseconds():
		s.future = min(s.future, r.time)
	default:
		s.earliest, s.latest = min(s.earliest, r.time), max(s.latest, r.time)
	}
}

func (m *memory) size() int { return cap(m.items)*rememberedSize + cap(m.spans)*40 }

// at is the entry that holds the event with that seq, 0 when it is not known.
func (m *memory) at(seq uint64) uint64 {
	for i := len(m.items) - 1; i >= 0 && m.items[i].seq+uint64(m.items[i].events) > seq; i-- {
		if m.items[i].seq <= seq {
			return m.items[i].index
		}
	}
	return 0
}

// appendTo writes the memory into a snapshot; equal memories give equal bytes.
func (m *memory) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(m.items)))
	for i := range m.items {
		r := &m.items[i]
		b = append(append(b, r.key[:]...), r.hash[:]...)
		b = binary.AppendUvarint(b, r.seq)
		b = binary.AppendUvarint(b, r.index)
		b = binary.AppendVarint(b, r.recorded)
		b = binary.AppendVarint(b, r.time)
		b = binary.AppendUvarint(b, uint64(r.events))
	}
	b = binary.AppendUvarint(b, uint64(len(m.spans)))
	for _, s := range m.spans {
		b = binary.AppendUvarint(b, s.first)
		b = binary.AppendUvarint(b, s.last)
		b = binary.AppendVarint(b, s.recorded)
		b = binary.AppendVarint(b, s.earliest)
		b = binary.AppendVarint(b, s.latest)
		b = binary.AppendVarint(b, s.future)
	}
	return b
}

var errDamaged = errors.New("snapshot is damaged")

// readMemory reads what appendTo wrote, and returns what follows it.
func readMemory(s string) (memory, string, error) {
	r := snapshotReader{rest: s}
	var m memory
	n := r.count(maxRemembered)
	m.items, m.keys = make([]remembered, n, n+1), make([]uint64, n, n+1) // who asks for the stream mostly adds a command
	for i := range m.items {
		item := &m.items[i]
		r.fill(item.key[:])
		r.fill(item.hash[:])
		item.seq, item.index = r.uvarint(), r.uvarint()
		item.recorded, item.time = r.varint(), r.varint()
		item.events = uint32(r.count(MaxCommandEvents))
		m.keys[i] = item.key.tail()
	}
	m.spans = make([]span, r.count(1<<16))
	for i := range m.spans {
		s := &m.spans[i]
		s.first, s.last = r.uvarint(), r.uvarint()
		s.recorded, s.earliest, s.latest, s.future = r.varint(), r.varint(), r.varint(), r.varint()
	}
	if r.failed {
		return memory{}, "", fmt.Errorf("reading the remembered commands: %w", errDamaged)
	}
	return m, r.rest, nil
}

// snapshotReader reads numbers and bytes one after the other; once it fails, it reads zeros.
type snapshotReader struct {
	rest   string
	failed bool
}

func (r *snapshotReader) uvarint() uint64 {
	var v uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		b := r.rest[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 { // more than 64 bits
				break
			}
			r.rest = r.rest[i+1:]
			return v
		}
	}
	r.fail()
	return 0
}

func (r *snapshotReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads how many follow, at most `most`.
func (r *snapshotReader) count(most uint64) int {
	v := r.uvarint()
	if v > most {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *snapshotReader) fill(to []byte) {
	if len(r.rest) < len(to) {
		r.fail()
		return
	}
	r.rest = r.rest[copy(to, r.rest):]
}

func (r *snapshotReader) fail() { r.failed, r.rest = true, "" }
