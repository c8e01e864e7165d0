// Package codec writes the events of an entry as bytes and reads them back, bit for bit.
//
//	version  1 byte
//	events   uvarint
//	frames   uvarint, then for each: events, bytes raw, bytes stored, all uvarint
//	         the stored frames, one after another: zstd, or raw where that did not help
//	checksum CRC-32C, 4 bytes, of the entry's header and of everything before
//
// A frame holds some tens of KiB of whole events and stands for itself, so that a single event is cut out of an entry
// without unpacking the rest. Inside a frame an event says only what differs from the event before it: the events of a
// command share nearly all of their envelope. The checksum covers the entry's shard, index, ids, writer and time as
// well, so that events that came under another header are found.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"carryon/command"
	"carryon/domain"
)

// version is the format that this program writes, and the newest that it reads.
const version = 1

// Limits of an entry. What is larger is refused on writing, and taken for broken on reading.
const (
	MaxEvents     = 1 << 16  // events of an entry
	MaxEventBytes = 1 << 20  // one event with its envelope
	MaxBytes      = 96 << 20 // all events, unpacked

	targetFrame = 32 << 10 // a frame is closed when it has grown to this
	maxFrame    = targetFrame + MaxEventBytes
	minFrame    = 1 // bytes of an event, at the least
)

// ErrBroken: the bytes are not what was written. It wraps domain.ErrHistoryDiffers.
var ErrBroken = fmt.Errorf("broken entry: %w", domain.ErrHistoryDiffers)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is a row of the frame table.
type frame struct {
	events, raw, stored int
}

// EncodeEvents returns the events of e as bytes. Places and shards are not written: every event must have the
// Position that the entry gives it. Too many or too large events are command.ErrTooLarge (wrapped).
func EncodeEvents(e *domain.Entry) ([]byte, error) { return encode(e, zip) }

// EncodeUnpacked does as EncodeEvents does, but leaves the packing to the store: one that packs many small rows together
// finds what they share.
func EncodeUnpacked(e *domain.Entry) ([]byte, error) { return encode(e, unpacked) }

func unpacked(raw, into []byte) []byte { return append(into, raw...) }

func encode(e *domain.Entry, pack func(raw, into []byte) []byte) ([]byte, error) {
	if len(e.Events) > MaxEvents {
		return nil, fmt.Errorf("encoding entry %d of shard %d: %d events, at most %d fit: %w", e.Index, e.Shard, len(e.Events), MaxEvents, command.ErrTooLarge)
	}
	b := builders.Get().(*builder)
	defer b.release()
	b.pack = pack
	if err := b.addAll(e); err != nil {
		return nil, fmt.Errorf("encoding entry %d of shard %d: %w", e.Index, e.Shard, err)
	}
	out := make([]byte, 0, 1+binary.MaxVarintLen64*(2+3*len(b.frames))+len(b.packed)+crc32.Size)
	out = append(out, version)
	out = binary.AppendUvarint(out, uint64(len(e.Events)))
	out = binary.AppendUvarint(out, uint64(len(b.frames)))
	for _, f := range b.frames {
		out = binary.AppendUvarint(out, uint64(f.events))
		out = binary.AppendUvarint(out, uint64(f.raw))
		out = binary.AppendUvarint(out, uint64(f.stored))
	}
	out = append(out, b.packed...)
	return binary.LittleEndian.AppendUint32(out, checksum(e, out)), nil
}

// DecodeEvents reads all events of the entry, whose other fields are known, into e.Events. Bytes that are not those
// that were written for this entry are ErrBroken (wrapped); a newer format is domain.ErrFutureVersion (wrapped).
func DecodeEvents(e *domain.Entry, data []byte) error {
	t, err := readTable(e, data)
	if err != nil {
		return fmt.Errorf("entry %d of shard %d: %w", e.Index, e.Shard, err)
	}
	events := make([]domain.Event, t.events)
	place := 0
	for i := range t.frames {
		n := t.frames[i].events
		if err := t.decode(i, e, place, events[place:place+n]); err != nil {
			return fmt.Errorf("entry %d of shard %d: events %d to %d: %w", e.Index, e.Shard, place, place+n-1, err)
		}
		place += n
	}
	e.Events = events
	return nil
}

// DecodePlaces cuts the events at the given places, which ascend, out of the entry; the errors are those of
// DecodeEvents. The events returned keep nothing of data or of their neighbours in memory.
func DecodePlaces(e *domain.Entry, data []byte, places []int) ([]domain.Event, error) {
	t, err := readTable(e, data)
	if err != nil {
		return nil, fmt.Errorf("entry %d of shard %d: %w", e.Index, e.Shard, err)
	}
	out := make([]domain.Event, 0, len(places))
	first := 0
	for i := range t.frames {
		after := first + t.frames[i].events
		here := 0
		for here < len(places) && places[here] < after {
			if places[here] < first || (here > 0 && places[here] <= places[here-1]) {
				return nil, fmt.Errorf("cutting entry %d of shard %d: places %v do not ascend from 0", e.Index, e.Shard, places)
			}
			here++
		}
		if out, err = t.cut(i, e, first, places[:here], out); err != nil {
			return nil, fmt.Errorf("entry %d of shard %d: events %d to %d: %w", e.Index, e.Shard, first, after-1, err)
		}
		places, first = places[here:], after
	}
	if len(places) > 0 {
		return nil, fmt.Errorf("entry %d of shard %d: no event at place %d of %d: %w", e.Index, e.Shard, places[0], t.events, ErrBroken)
	}
	return out, nil
}

// checksum binds the bytes to the entry that they were written for.
func checksum(e *domain.Entry, data []byte) uint32 {
	var header [8 + 8 + 16 + 16 + 8]byte
	binary.LittleEndian.PutUint64(header[0:], uint64(e.Shard))
	binary.LittleEndian.PutUint64(header[8:], e.Index)
	copy(header[16:], e.ID[:])
	copy(header[32:], e.PreviousID[:])
	binary.LittleEndian.PutUint64(header[48:], uint64(e.RecordedAt.UnixMicro()))
	sum := crc32.Update(0, castagnoli, header[:])
	sum = crc32.Update(sum, castagnoli, []byte(e.Writer))
	return crc32.Update(sum, castagnoli, data)
}

// table is an entry whose checksum was right and whose frame table holds.
type table struct {
	events int
	frames []frame
	packed []byte // the stored frames
	at     []int  // where frame i begins in packed
}

func readTable(e *domain.Entry, data []byte) (table, error) {
	var t table
	if len(data) < 1+1+1+crc32.Size {
		return t, fmt.Errorf("%w: %d bytes are too few", ErrBroken, len(data))
	}
	if data[0] > version {
		return t, fmt.Errorf("entry format %d, this program reads up to %d: %w", data[0], version, domain.ErrFutureVersion)
	}
	if data[0] != version {
		return t, fmt.Errorf("%w: format %d", ErrBroken, data[0])
	}
	body, sum := data[:len(data)-crc32.Size], data[len(data)-crc32.Size:]
	if binary.LittleEndian.Uint32(sum) != checksum(e, body) {
		return t, fmt.Errorf("%w: checksum", ErrBroken)
	}
	r := reader{data: body[1:]}
	t.events = r.count(MaxEvents)
	frames := r.count(t.events)
	if r.err != nil {
		return t, r.err
	}
	t.frames, t.at = make([]frame, frames), make([]int, frames)
	events, raw, stored := 0, 0, 0
	for i := range t.frames {
		f := frame{events: r.count(t.events), raw: r.count(maxFrame), stored: r.count(maxFrame)}
		if r.err != nil {
			return t, r.err
		}
		if f.events < 1 || f.raw < f.events*minFrame || f.stored < 1 || f.stored > f.raw {
			return t, fmt.Errorf("%w: frame %d: %d events in %d bytes, stored as %d", ErrBroken, i, f.events, f.raw, f.stored)
		}
		t.frames[i], t.at[i] = f, stored
		events, raw, stored = events+f.events, raw+f.raw, stored+f.stored
	}
	t.packed = r.data
	if events != t.events || raw > MaxBytes || stored != len(t.packed) {
		return t, fmt.Errorf("%w: the frames hold %d events in %d bytes, stored as %d", ErrBroken, events, raw, stored)
	}
	return t, nil
}

// unpack returns frame i as it was before it was packed, in into if there is room.
func (t *table) unpack(i int, into []byte) ([]byte, error) {
	f := t.frames[i]
	stored := t.packed[t.at[i]:][:f.stored]
	if f.stored == f.raw {
		return append(into[:0], stored...), nil
	}
	raw, err := unzip(stored, into, f.raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return raw, nil
}

// decode reads all events of frame i, which begins at place first. They keep the unpacked frame.
func (t *table) decode(i int, e *domain.Entry, first int, into []domain.Event) error {
	raw, err := t.unpack(i, nil)
	if err != nil {
		return err
	}
	r := eventReader{reader: reader{data: raw}, entry: e}
	for n := range into {
		if err := r.next(first+n, &into[n]); err != nil {
			return err
		}
	}
	return r.end()
}

// cut reads the events of frame i at the given places, copied out of the frame, and appends them to out.
func (t *table) cut(i int, e *domain.Entry, first int, places []int, out []domain.Event) ([]domain.Event, error) {
	if len(places) == 0 {
		return out, nil
	}
	buffer := scratch.Get().(*[]byte)
	defer scratch.Put(buffer)
	raw, err := t.unpack(i, *buffer)
	if err != nil {
		return nil, err
	}
	*buffer = raw[:0]
	r := eventReader{reader: reader{data: raw}, entry: e}
	var event domain.Event
	for place := first; len(places) > 0; place++ {
		if place < places[0] {
			if err := r.skip(place); err != nil {
				return nil, err
			}
			continue
		}
		if err := r.next(place, &event); err != nil {
			return nil, err
		}
		event.Payload = append([]byte(nil), event.Payload...)
		out, places = append(out, event), places[1:]
	}
	return out, nil
}

// reader reads numbers and bytes; after the first error it reads nothing.
type reader struct {
	data []byte
	err  error
}

var errShort = errors.New("too short")

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %w", ErrBroken, err)
	}
	r.data = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.data = r.data[n:]
	return v
}

// count is a number of things, at most limit.
func (r *reader) count(limit int) int {
	v := r.uvarint()
	if v > uint64(limit) {
		r.fail(fmt.Errorf("%d where at most %d are allowed", v, limit))
		return 0
	}
	return int(v)
}

func (r *reader) bytes() []byte {
	n := r.count(len(r.data))
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}
